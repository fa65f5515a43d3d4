//! What all steps of a reconcile share: the context, the operator's policy, and the errors.

use std::sync::Arc;
use std::time::Duration;

use ukg_pro::catalogue::Catalogue;
use ukg_pro::endpoint::{AllowedDomain, SubdomainForm};
use ukg_pro::transport::{ProxySettings, Trust};
use ukg_pro::words::Words;

use super::publish::{ReportedUnfilteredReads, UnwrittenObservations};
use super::resolve::Transports;
use crate::api::OverdueCause;
use crate::cluster::watch::{Connections, SecretIndex};
use crate::controller::{publish, resolve};
use crate::login_guard::{self, Ledger};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::Hosts;
use crate::schedule::overdue::Overdue;
use crate::schedule::wakeups::Wakeups;
use crate::telemetry::metrics::Metrics;

/// The state that all reconciles share.
pub struct Context {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// What the operator's administrator allows.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// The HTTPS clients.
    pub transports: Transports,
    /// The login ledger: which credentials must not be sent.
    pub ledger: Arc<Ledger>,
    /// The rate limits and outages that the connections of one host share.
    pub hosts: Arc<Hosts>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Which connections this process has seen, and which are checked with priority.
    pub wakeups: Wakeups,
    /// Which connections were not checked in time.
    pub overdue: Arc<Overdue>,
    /// The clock.
    pub clock: Clock,
    /// Observations that could not be written.
    pub unwritten: UnwrittenObservations,
    /// Which reads returned people although they match nobody.
    pub unfiltered: ReportedUnfilteredReads,
    /// Which connections use which Secret.
    pub secrets: Arc<SecretIndex>,
    /// The cache of connections.
    pub connections: Arc<Connections>,
    /// The name under which this process reports events.
    pub instance: String,
    /// The operator's own namespace.
    pub system_namespace: String,
}

/// What the operator's administrator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains that connections may name.
    pub allowed_domains: Vec<AllowedDomain>,
    /// The subdomains that may come from a Secret, besides UKG's own.
    pub secret_subdomains: Vec<SubdomainForm>,
    /// Whether a host may resolve to a loopback, link-local or private address.
    pub allow_private_addresses: bool,
    /// The words by which the texts of UKG Pro's answers are classified.
    pub words: Arc<Words>,
    /// How often the time of a check is written although nothing else changed; never if `None`.
    pub heartbeat: Option<Duration>,
}

impl Policy {
    /// Returns whom to trust on the way to UKG Pro, for the operator and for a single check alike.
    pub fn trust(&self, proxy: ProxySettings) -> Trust {
        Trust { extra_roots: Vec::new(), allow_private_addresses: self.allow_private_addresses, proxy }
    }
}

/// Why a reconcile failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What the connection refers to could not be read.
    #[error("reading the objects that spec refers to: {0}")]
    Resolve(#[from] resolve::Error),
    /// The login ledger could not be read or written.
    #[error(transparent)]
    Ledger(#[from] login_guard::storage::Error),
    /// The verdict could not be written.
    #[error("writing the verdict: {0}")]
    Publish(#[from] publish::Error),
    /// The check panicked, which is a defect. The panic is contained, and the check is retried.
    #[error("the check panicked, which is a defect of the operator")]
    Panicked,
}

impl Error {
    /// Returns the activity that the error blocks.
    pub fn overdue_cause(&self) -> OverdueCause {
        match self {
            Error::Resolve(_) => OverdueCause::Reading,
            Error::Ledger(_) => OverdueCause::Ledger,
            Error::Publish(_) => OverdueCause::Writing,
            Error::Panicked => OverdueCause::NoWorker,
        }
    }
}
