//! Flags that several commands have, and how their values are read.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use ukg_pro::catalogue::Catalogue;
use ukg_pro::endpoint::{AllowedDomain, SubdomainForm};
use ukg_pro::words::Words;

use super::catalogue;
use crate::api;
use crate::controller::Policy;

/// What connections may do, and what they may ask for.
#[derive(Args)]
pub(super) struct PolicyArgs {
    /// Domains that connections may speak to, on port 443; another port as in example.com:8443, every port as in example.com:*
    #[arg(long, env = "UKGPRO_ALLOWED_DOMAINS", value_delimiter = ',', default_value = "ultipro.com,ultipro.ca,ukgpro.com")]
    allowed_domains: Vec<AllowedDomain>,

    /// Subdomains that may come from a Secret, besides UKG's own (service or rental with digits, servicet): what does is shown in the
    /// connection's status. A name such as acme, or its beginning and # where digits follow, such as acme#
    #[arg(long, env = "UKGPRO_SECRET_SUBDOMAINS", value_delimiter = ',')]
    secret_subdomains: Vec<SubdomainForm>,

    /// File of permissions and profiles that are added to the built-in ones, or replace them by name
    #[arg(long, env = "UKGPRO_CONFIG")]
    config: Option<PathBuf>,

    /// Let a host resolve to a loopback, link-local or private address. A proxy (HTTPS_PROXY, NO_PROXY) may always have one, and
    /// resolves the hosts behind it by its own rules
    #[arg(long, env = "UKGPRO_ALLOW_PRIVATE_ADDRESSES")]
    allow_private_addresses: bool,
}

impl PolicyArgs {
    pub(super) fn catalogue(&self) -> Result<Catalogue, String> {
        catalogue::load(self.config.as_deref())
    }

    pub(super) fn policy(self, words: Arc<Words>, heartbeat: Option<Duration>) -> Policy {
        let Self { allowed_domains, secret_subdomains, allow_private_addresses, .. } = self;
        Policy { allowed_domains, secret_subdomains, allow_private_addresses, words, heartbeat }
    }
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    api::duration(text).ok_or_else(|| "write hours, minutes and seconds, such as 5m or 1h30m".to_owned())
}

/// The name of a Kubernetes object.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    if api::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, hyphens and dots".to_owned())
    }
}

/// As the CRD has `spec.controllerClass`.
pub(super) fn class(text: &str) -> Result<String, String> {
    if api::is_class(text) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits and hyphens, 63 at the most".to_owned())
    }
}
