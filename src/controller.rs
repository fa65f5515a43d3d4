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
use crate::ukg::outcome::Outcome;
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
use gate::Gate;
use lint::Lint;
use publish::{Published, Undelivered};
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
    /// What was found and could not be written.
    pub undelivered: Undelivered,
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

/// A status is decided anew on another's write so often; each round waits for the watch to show that write.
const PUBLISH_TRIES: usize = 5;

/// Checks a connection and writes down what was found; gives when to look again, or `None` where a change will tell.
pub async fn reconcile(connection: Arc<UkgProConnection>, context: &Context) -> Result<Option<Duration>, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let observation = observe(&connection, requirements.clone(), context).await?;
    let requirements = requirements.unwrap_or_default();
    let mut current = connection;
    for _ in 0..PUBLISH_TRIES {
        let decision = decide::decide(&current, &requirements, &observation, Timestamp::now());
        match publish::publish(&current, &decision, context).await {
            Ok(Published::Done) => return Ok(Some(decision.requeue)),
            Ok(Published::Gone) => return Ok(None),
            Ok(Published::Outdated) => {
                context.seen.passes(&current).await;
                match context.seen.latest(&current) {
                    Some(latest) if is_same(&latest, &current) => current = latest,
                    // What changed is about to be checked itself.
                    _ => return Ok(None),
                }
            }
            Err(error) => {
                context.undelivered.keep(&current, observation);
                return Err(error.into());
            }
        }
    }
    context.undelivered.keep(&current, observation);
    Err(publish::Error::Contended.into())
}

/// Whether an observation of the one is an observation of the other.
fn is_same(latest: &UkgProConnection, current: &UkgProConnection) -> bool {
    latest.metadata.uid == current.metadata.uid
        && latest.metadata.generation == current.metadata.generation
        && latest.requested_at() == current.requested_at()
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
    let target = match resolve::resolve(connection, requirements, referents, &context.policy, &context.transport) {
        Ok(target) => target,
        Err(unresolved) => return Ok(Observation::Unresolved(unresolved)),
    };
    // What was found and could not be written is not looked for again: that would be another login.
    if let Some(observation) = context.undelivered.take(connection, &target.resolved()) {
        return Ok(observation);
    }
    Ok(check(connection, &target, &context.ledger).await)
}

/// Checks a target, from lint to the probes.
pub async fn check(connection: &UkgProConnection, target: &Target, ledger: &Ledger) -> Observation {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys);
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Observation::Malformed(resolved, fatal);
    }
    let fingerprint = ledger.fingerprint(&target.endpoint, &target.credentials);
    // Held until the login has ended, so that the next with the same values knows how.
    let mut turn = ledger.turn(fingerprint).await;
    if connection.open_request().is_some() {
        ledger.release(fingerprint);
    }
    let gate = gate::gate(connection, &resolved, ledger.refusal(fingerprint));
    if let Gate::Held(hold) = gate {
        return Observation::Held(resolved, hold);
    }
    let deadline = Instant::now() + connection.spec.timeout();
    let session = match authenticate::authenticate(target, &mut turn, deadline).await {
        Ok(session) => session,
        Err(failure) => {
            ledger.record(fingerprint, failure);
            return Observation::LoginFailed(resolved, failure);
        }
    };
    drop(turn);
    let probed = probe::probe(target, &session, gate == Gate::WithoutRest, deadline).await;
    if probed.iter().any(|found| found.outcome == Outcome::LoginRefused) {
        ledger.record_rest(fingerprint);
    }
    Observation::Probed(resolved, probed)
}

/// What a Kubernetes client's error comes down to, without texts of the other side: they may quote what was sent.
pub fn kubernetes_failure(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::BuildRequest(_) => "no request to the API server could be made of these names".to_owned(),
        kube::Error::SerdeError(_) => "the API server's answer could not be decoded".to_owned(),
        kube::Error::Auth(_) => "the operator's own credentials for the API server could not be read".to_owned(),
        _ => "the API server could not be reached".to_owned(),
    }
}
