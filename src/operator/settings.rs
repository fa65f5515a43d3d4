//! The settings of a running operator.

use ukg_pro::catalogue::Catalogue;
use ukg_pro::transport::ProxySettings;

use crate::controller::Policy;
use crate::login_guard::{self, Limits};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::HostLimits;

/// The settings of a running operator.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespaces to watch; all if empty.
    pub namespaces: Vec<String>,
    /// The label selector of the connections to manage; all if `None`.
    pub selector: Option<String>,
    /// The `spec.controllerClass` of the connections to manage; those without a class if `None`.
    pub controller_class: Option<String>,
    /// How changes of Secrets are noticed.
    pub secret_watch: SecretWatch,
    /// The operator's own namespace, for the login ledger and for events about hosts.
    pub system_namespace: String,
    /// The Secret that holds the login ledger.
    pub ledger_secret: String,
    /// The daily login limits of an account.
    pub limits: Limits,
    /// The rate limits of a host.
    pub host_limits: HostLimits,
    /// The clock.
    pub clock: Clock,
    /// The policy for connections.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// The proxy settings for UKG Pro.
    pub proxy: ProxySettings,
    /// The maximum number of concurrent checks.
    pub concurrency: usize,
    /// The reporting instance of events.
    pub instance: String,
}

/// How changes of Secrets are noticed. Values are read when needed, in every mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretWatch {
    /// All Secrets are watched, metadata only; changes are noticed at once
    #[default]
    All,
    /// Secrets with the label ukgpro.dev/watch=true are watched, metadata only; their changes are noticed at once, others at the
    /// next check
    Labelled,
    /// No Secret is watched; changes are noticed at the next check
    None,
}

/// The label of Secrets that [`SecretWatch::Labelled`] watches.
pub const WATCH_LABEL: &str = "ukgpro.dev/watch=true";

/// Why an operator could not start, or could not store its ledger at the end.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The HTTPS client cannot be made.
    #[error("no HTTPS client could be made; check that the CA certificates of the platform exist (SSL_CERT_FILE)")]
    Transport(#[from] ukg_pro::transport::TransportError),
    /// The platform gave no random numbers.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    /// The login ledger cannot be read or written.
    #[error(transparent)]
    Ledger(#[from] login_guard::storage::Error),
}
