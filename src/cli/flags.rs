//! The flags that several commands share, and the parsers of their values.

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

/// The limits of what connections may do and require.
#[derive(Args)]
pub(super) struct PolicyArgs {
    /// Domains that connections may contact, on port 443; for another port write example.com:8443, for all ports example.com:*
    #[arg(long, env = "UKGPRO_ALLOWED_DOMAINS", value_delimiter = ',', default_value = "ultipro.com,ultipro.ca,ukgpro.com")]
    allowed_domains: Vec<AllowedDomain>,

    /// Subdomains that a Secret may contain, besides UKG's own (service or rental with digits, servicet); the connection's status
    /// shows them. Write a name such as acme, or a prefix and # if digits follow, such as acme#
    #[arg(long, env = "UKGPRO_SECRET_SUBDOMAINS", value_delimiter = ',')]
    secret_subdomains: Vec<SubdomainForm>,

    /// File with permissions and profiles to add to the built-in ones; an entry of the same name replaces the built-in one
    #[arg(long, env = "UKGPRO_CONFIG")]
    config: Option<PathBuf>,

    /// Let a host resolve to a loopback, link-local or private address. A proxy (HTTPS_PROXY, NO_PROXY) may always have such an
    /// address, and resolves the hosts behind it by its own rules
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

/// Parses the name of a Kubernetes object.
pub(super) fn object_name(text: &str) -> Result<String, String> {
    if api::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, hyphens and dots".to_owned())
    }
}

/// Parses a class as the CRD does for `spec.controllerClass`.
pub(super) fn class(text: &str) -> Result<String, String> {
    if api::is_class(text) {
        Ok(text.to_owned())
    } else {
        Err("write at most 63 lower-case letters, digits and hyphens".to_owned())
    }
}
