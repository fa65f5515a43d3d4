//! A connection's way from what a user wrote to what the operator writes back.
//!
//! ```text
//! resolve ─▶ lint ─▶ gate ─▶ authenticate ─▶ probe ─▶ decide ─▶ publish
//! ```
//!
//! One file per arrow; [`reconcile`] and [`check`] below are these calls and nothing else.
//!
//! **Invariant.** `Err` means that Kubernetes could not be read or written, and nothing else. A bad Secret, a refused login and a
//! missing permission are what the operator exists to report: they are values, rungs of [`Observation`].

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::api::UkgProConnection;
use crate::ledger::Ledger;
use crate::ukg::catalogue::{Catalogue, Requirement};
use crate::ukg::transport::Transport;
use crate::watch::{SecretIndex, Seen};

pub mod authenticate;
pub mod decide;
pub mod gate;
pub mod lint;
pub mod probe;
pub mod publish;
pub mod resolve;

use decide::Observation;
use lint::Lint;
use resolve::{Resolved, Target, Unresolved};

/// A Kubernetes request either ends well within this or its server is in trouble; kube itself would retry for minutes.
pub const KUBERNETES_DEADLINE: Duration = Duration::from_secs(15);

/// What every reconcile shares.
pub struct Context {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// What whoever runs the operator allows.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// The HTTPS client of all connections without a CA of their own.
    pub transport: Transport,
    /// Which credentials were refused.
    pub ledger: Ledger,
    /// Which connections use which Secret.
    pub secrets: Arc<SecretIndex>,
    /// How far the watch has come, to wait for one's own writes.
    pub seen: Arc<Seen>,
    /// The name this process reports events under.
    pub instance: String,
}

/// What whoever runs the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains connections may name.
    pub allowed_domains: Vec<String>,
    /// Whether a host may resolve to a loopback, link-local or private address.
    pub allow_private_addresses: bool,
}

/// Kubernetes could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading what the connection refers to.
    #[error("reading what spec refers to: {0}")]
    Resolve(#[from] resolve::Error),
    /// Writing the verdict.
    #[error("writing the verdict: {0}")]
    Publish(#[from] publish::Error),
    /// A defect: the check panicked. It is contained, and tried again.
    #[error("the check ended by a panic, which is a defect of the operator")]
    Panicked,
}

/// Checks a connection and writes down what was found; gives when to look again.
pub async fn reconcile(connection: &UkgProConnection, context: &Context) -> Result<Duration, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let observation = observe(connection, requirements.clone(), context).await?;
    let decision = decide::decide(connection, &requirements.unwrap_or_default(), &observation, Timestamp::now());
    publish::publish(connection, &decision, context).await?;
    Ok(decision.requeue)
}

async fn observe(
    connection: &UkgProConnection,
    requirements: Result<Vec<Requirement>, Unresolved>,
    context: &Context,
) -> Result<Observation, Error> {
    if connection.spec.suspend {
        return Ok(Observation::Suspended);
    }
    let requirements = match requirements {
        Ok(requirements) => requirements,
        Err(unresolved) => return Ok(Observation::Unresolved(unresolved)),
    };
    let referents = resolve::fetch(connection, context).await?;
    Ok(match resolve::resolve(connection, requirements, referents, &context.policy, &context.transport) {
        Ok(target) => check(connection, &target, &context.ledger).await,
        Err(unresolved) => Observation::Unresolved(unresolved),
    })
}

/// Checks a target, from lint to the probes.
pub async fn check(connection: &UkgProConnection, target: &Target, ledger: &Ledger) -> Observation {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys);
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Observation::Malformed(resolved, fatal);
    }
    let fingerprint = ledger.fingerprint(&target.endpoint, &target.credentials);
    if let Some(hold) = gate::gate(connection, &resolved, ledger.refusal(fingerprint)) {
        return Observation::Held(resolved, hold);
    }
    let deadline = Instant::now() + connection.spec.timeout();
    match authenticate::authenticate(target, fingerprint, ledger, deadline).await {
        Ok(session) => Observation::Probed(resolved, probe::probe(target, &session, deadline).await),
        Err(failure) => Observation::LoginFailed(resolved, failure),
    }
}

/// What a Kubernetes client's error comes down to, without texts of the other side: they may quote what was sent.
pub fn kubernetes_failure(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::SerdeError(_) => "the API server's answer could not be decoded".to_owned(),
        kube::Error::Auth(_) => "the operator's own credentials for the API server could not be read".to_owned(),
        _ => "the API server could not be reached".to_owned(),
    }
}
