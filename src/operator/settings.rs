//! What a running operator is told.

use ukg_pro::catalogue::Catalogue;
use ukg_pro::transport::ProxySettings;

use crate::controller::Policy;
use crate::login_guard::{self, Limits};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::Pace;

/// What a running operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespaces to watch; all where there are none.
    pub namespaces: Vec<String>,
    /// Which connections to look after, by their labels; all where `None`.
    pub selector: Option<String>,
    /// Which connections to look after, by `spec.controllerClass`; those without one where `None`.
    pub controller_class: Option<String>,
    /// How a changed Secret is noticed.
    pub secret_watch: SecretWatch,
    /// The operator's own namespace, for the login ledger and for what is told of hosts.
    pub system_namespace: String,
    /// The Secret that holds the login ledger.
    pub ledger_secret: String,
    /// How many logins an account may see in a day.
    pub limits: Limits,
    /// How fast a host may be asked.
    pub pace: Pace,
    /// The time.
    pub clock: Clock,
    /// What connections may do.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// How UKG Pro is reached.
    pub proxy: ProxySettings,
    /// How many checks may run at once.
    pub concurrency: usize,
    /// The name this process reports events under.
    pub instance: String,
}

/// How a changed Secret is noticed. Values are read when they are needed, whichever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretWatch {
    /// All of them are watched, their metadata only: at once
    #[default]
    All,
    /// Those with the label ukgpro.dev/watch=true are watched, their metadata only: at once for these, for others at the next check
    Labelled,
    /// None is watched: at the next check
    None,
}

/// The label of Secrets that [`SecretWatch::Labelled`] watches.
pub const WATCH_LABEL: &str = "ukgpro.dev/watch=true";

/// Why an operator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTPS client.
    #[error("no HTTPS client could be made; see that the CA certificates of the platform are there (SSL_CERT_FILE)")]
    Transport(#[from] ukg_pro::transport::TransportError),
    /// No random numbers.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    /// The login ledger.
    #[error(transparent)]
    Ledger(#[from] login_guard::storage::Error),
}
