//! What every step shares, and what can go wrong with Kubernetes.

use std::sync::Arc;
use std::time::Duration;

use ukg_pro::catalogue::Catalogue;
use ukg_pro::endpoint::{AllowedDomain, SubdomainForm};
use ukg_pro::transport::{ProxySettings, Trust};
use ukg_pro::words::Words;

use super::publish::{Undelivered, Unfiltered};
use super::resolve::Transports;
use crate::api::Stall;
use crate::cluster::watch::{Connections, SecretIndex};
use crate::controller::{publish, resolve};
use crate::login_guard::{self, Ledger};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::Hosts;
use crate::schedule::overdue::Staleness;
use crate::schedule::wakeups::Agenda;
use crate::telemetry::metrics::Metrics;

/// What every reconcile shares.
pub struct Context {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// What whoever runs the operator allows.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// The HTTPS clients.
    pub transports: Transports,
    /// Which credentials must not be sent.
    pub ledger: Arc<Ledger>,
    /// What the connections of one host have in common.
    pub hosts: Arc<Hosts>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which connections were looked at.
    pub agenda: Agenda,
    /// Which were not checked in time.
    pub staleness: Arc<Staleness>,
    /// The time.
    pub clock: Clock,
    /// What was found and could not be written.
    pub undelivered: Undelivered,
    /// Which reads were answered with people.
    pub unfiltered: Unfiltered,
    /// Which connections use which Secret.
    pub secrets: Arc<SecretIndex>,
    /// The connections as they are known.
    pub connections: Arc<Connections>,
    /// The name this process reports events under.
    pub instance: String,
    /// The operator's own namespace.
    pub system_namespace: String,
}

/// What whoever runs the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains connections may name.
    pub allowed_domains: Vec<AllowedDomain>,
    /// The subdomains that may come from a Secret, besides UKG's own.
    pub secret_subdomains: Vec<SubdomainForm>,
    /// Whether a host may resolve to a loopback, link-local or private address.
    pub allow_private_addresses: bool,
    /// What the texts of answers speak of.
    pub words: Arc<Words>,
    /// How often it is written down that a connection was checked though nothing changed; never where `None`.
    pub heartbeat: Option<Duration>,
}

impl Policy {
    /// Whom to trust on the way to UKG Pro, for an operator and for a single check alike.
    pub fn trust(&self, proxy: ProxySettings) -> Trust {
        Trust { extra_roots: Vec::new(), allow_private_addresses: self.allow_private_addresses, proxy }
    }
}

/// Kubernetes could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading what the connection refers to.
    #[error("reading what spec refers to: {0}")]
    Resolve(#[from] resolve::Error),
    /// Reading or writing the login ledger.
    #[error(transparent)]
    Ledger(#[from] login_guard::storage::Error),
    /// Writing the verdict.
    #[error("writing the verdict: {0}")]
    Publish(#[from] publish::Error),
    /// A defect: the check panicked. It is contained, and tried again.
    #[error("the check ended by a panic, which is a defect of the operator")]
    Panicked,
}

impl Error {
    /// What it keeps from being done.
    pub fn stall(&self) -> Stall {
        match self {
            Error::Resolve(_) => Stall::Reading,
            Error::Ledger(_) => Stall::Ledger,
            Error::Publish(_) => Stall::Writing,
            Error::Panicked => Stall::NoWorker,
        }
    }
}
