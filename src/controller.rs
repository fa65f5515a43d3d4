//! The reconcile loop of a connection: from the spec that a user wrote to the status, events and log lines that the operator
//! writes.
//!
//! ```text
//! resolve ─▶ lint ─▶ gate ─▶ authenticate ─▶ probe ─▶ decide ─▶ publish
//! ```
//!
//! Each step is one file. [`reconcile()`] runs all of them, [`check()`] those from lint to probe.
//!
//! **Invariant.** `Err` means that Kubernetes could not be read or written, and nothing else. A bad Secret, a refused login and a
//! missing permission are what the operator exists to report: they are values, variants of [`Observation`].

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;
use ukg_pro::catalogue::Requirement;

use crate::api::{Delay, UkgProConnection, verdict};
use crate::cluster::watch::ConnectionRef;
use crate::schedule::hosts::Priority;
use crate::telemetry::metrics::Stage;

pub mod authenticate;
mod check;
mod context;
pub mod decide;
pub mod gate;
mod host_access;
pub mod lint;
pub mod probe;
pub mod publish;
pub mod resolve;

pub use check::check;
use check::{check_measured, check_without_host};
pub use context::{Context, Error, Policy};
use decide::{Observation, Observed};
use gate::Hold;
pub use host_access::register_with_host;
use host_access::{HostSlot, Wait, limit, priority, report_to_host};
use publish::Published;
use resolve::Unresolved;

/// Attempts to write a status. After a conflict the status is decided again, as soon as the watch shows the other write.
const PUBLISH_TRIES: usize = 5;

/// When a connection is checked next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// No check was made, because the host must not be asked yet. Check after this time.
    Later(Duration),
    /// Check again after this time.
    Again(Duration),
    /// Check when the connection changes.
    Change,
}

/// Checks a connection and writes the result to its status.
pub async fn reconcile(connection: Arc<UkgProConnection>, context: &Context) -> Result<Next, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let begun = Instant::now();
    let connection = announce_recheck(connection, context).await?;
    let observed = match try_check(&connection, requirements.clone(), context).await? {
        Step::Later(wait) => return Ok(Next::Later(wait)),
        Step::Found(observed) => *observed,
    };
    if !observed.is_delayed() {
        // Give up a slot at the host that is no longer needed, for example because the connection was suspended.
        context.hosts.release_slot(&uid(&connection));
    }
    let requirements = requirements.unwrap_or_default();
    let mut current = connection;
    for _ in 0..PUBLISH_TRIES {
        let mut decision = decide::decide(&current, &requirements, &observed, context.clock.now());
        decision.status.last_checked_time =
            decide::last_checked(&current, &decision.status, &observed, context.policy.heartbeat, context.clock.now());
        let published = Instant::now();
        match publish::publish(&current, &decision, context).await {
            Ok(Published::Done) => {
                context.metrics.took(Stage::Publish, published.elapsed());
                let reason = verdict::verdict_reason(&decision.status).unwrap_or(observed.reason());
                context.metrics.checked(reason, begun.elapsed());
                return Ok(match observed.is_delayed() {
                    true => Next::Later(decision.requeue),
                    false => Next::Again(decision.requeue),
                });
            }
            Ok(Published::Gone) => return Ok(Next::Change),
            Ok(Published::Outdated) => {
                context.connections.wait_for_newer(&current).await;
                match latest(&current, context) {
                    Some(latest) => current = latest,
                    // The change itself triggers a check.
                    None => return Ok(Next::Change),
                }
            }
            Err(error) => {
                context.unwritten.keep(&current, observed);
                return Err(error.into());
            }
        }
    }
    context.unwritten.keep(&current, observed);
    Err(publish::Error::Contended.into())
}

/// If the Secret's values have changed since the verdict, writes to the status that they are being checked, before anything is
/// sent: a user who has corrected a password must not take the old verdict for the new one. If this write fails, nothing is sent
/// to UKG Pro.
async fn announce_recheck(connection: Arc<UkgProConnection>, context: &Context) -> Result<Arc<UkgProConnection>, Error> {
    if !context.secrets.is_outdated(&connection) {
        return Ok(connection);
    }
    let Some(decision) = decide::rechecking(&connection, context.clock.now()) else { return Ok(connection) };
    publish::publish(&connection, &decision, context).await?;
    Ok(latest(&connection, context).unwrap_or(connection))
}

/// Returns the connection as the cache has it, unless an observation of this one is not valid for it.
fn latest(connection: &UkgProConnection, context: &Context) -> Option<Arc<UkgProConnection>> {
    let key = ConnectionRef::of(connection);
    let latest = context.connections.get(&key).map(|cached| Arc::new(cached.connection(&key)));
    latest.filter(|latest| is_same(latest, connection))
}

/// Whether an observation of one version of the object is valid for the other.
fn is_same(latest: &UkgProConnection, current: &UkgProConnection) -> bool {
    latest.metadata.uid == current.metadata.uid
        && latest.metadata.generation == current.metadata.generation
        && latest.requested_at() == current.requested_at()
}

/// The result of an attempt to check.
enum Step {
    /// The host must not be asked before this time has passed.
    Later(Duration),
    /// The result of the check, as far as it got.
    Found(Box<Observed>),
}

async fn try_check(
    connection: &UkgProConnection,
    requirements: Result<Vec<Requirement>, Unresolved>,
    context: &Context,
) -> Result<Step, Error> {
    let requirements = match requirements {
        Ok(requirements) if !connection.spec.suspend => requirements,
        unfit => {
            let observation = match unfit {
                Err(unresolved) if !connection.spec.suspend => Observation::Unresolved(unresolved),
                _ => Observation::Suspended,
            };
            // Its results no longer count for the state of its host. Their removal is not reported as an outage or recovery.
            context.hosts.withdraw(&uid(connection));
            return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
        }
    };
    let reference = ConnectionRef::of(connection);
    let priority = priority(connection, context);
    let known_host = resolve::host(&connection.spec).or_else(|| context.hosts.of(&uid(connection)));
    // Ask for a slot before anything is read, so that a connection that waits a little costs nothing and holds no secrets
    // meanwhile. If the host requires a long wait, report first what can be found without the host.
    let slot = match known_host.map(|host| HostSlot::begin(context, connection, &uid(connection), host, priority)).transpose() {
        Ok(slot) => Ok(slot),
        // Short waits and waits of settled connections end here. A woken connection goes on: its values may have changed, and a
        // user waits for the result.
        Err(Wait(wait, _))
            if wait < REPORTED_WAIT || (verdict::is_settled(connection) && !context.wakeups.is_woken(&reference)) =>
        {
            return Ok(Step::Later(wait));
        }
        Err(wait) => Err(wait),
    };
    context.wakeups.begun(&reference);
    let step = check_connection(connection, requirements, priority, slot, context).await;
    // What was read has led to no result. Wake the connection, so that the change is not lost, whether its watch event has
    // arrived or not.
    if !matches!(step, Ok(Step::Found(_))) && (context.secrets.is_news(&reference, connection) || priority == Priority::Urgent)
    {
        context.wakeups.wake(&reference);
    }
    step
}

/// A wait for the host that is long enough to check first what needs no host.
const REPORTED_WAIT: Duration = Duration::from_secs(5);

/// A wait behind other checks that is reported in the status: one more write for each connection at a large fleet's first start.
const REPORTED_QUEUE_WAIT: Duration = Duration::from_secs(300);

async fn check_connection(
    connection: &UkgProConnection,
    requirements: Vec<Requirement>,
    priority: Priority,
    slot: Result<Option<HostSlot<'_>>, Wait>,
    context: &Context,
) -> Result<Step, Error> {
    let resolving = context.metrics.stage(Stage::Resolve);
    let references = resolve::fetch(connection, context).await?;
    resolving.stop();
    let target = references.and_then(|references| {
        resolve::resolve(connection, requirements.clone(), references, &context.policy, &context.transports)
    });
    let mut asked = None;
    let mut account = None;
    let mut own_trust = false;
    let live = match target {
        Err(unresolved) => Observation::Unresolved(unresolved),
        Ok(target) => {
            let resolved = target.resolved();
            own_trust = target.ca_digest.is_some();
            // An observation that could not be written is used again: repeating it would cost another login.
            if let Some(observed) = context.unwritten.take(connection, &resolved) {
                return Ok(Step::Found(Box::new(observed)));
            }
            if gate::is_promoted(connection, &resolved, &requirements) {
                let observation = Observation::Promoted(resolved, requirements);
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None).again_soon())));
            }
            let slot = match slot {
                Ok(Some(slot)) if slot.host == resolved.endpoint => Ok(slot),
                Ok(before) => {
                    drop(before);
                    HostSlot::begin(context, connection, &uid(connection), resolved.endpoint.clone(), priority)
                }
                Err(wait) => Err(wait),
            };
            let (found, of) = match slot {
                Err(wait) => (check_without_host(connection, &target, wait, context).await?, None),
                Ok(slot) => {
                    asked = Some(slot);
                    let (found, account) = check_measured(connection, &target, context).await?;
                    (found, Some(account))
                }
            };
            account = of;
            if let Observation::Held(resolved, Hold::Delayed(delay, until)) = found {
                let wait = Duration::try_from(until.duration_since(context.clock.now())).unwrap_or_default();
                let is_awaited = !verdict::is_settled(connection) || !gate::is_about(connection, &resolved);
                // At a start with thousands of connections each waits for a slot. Only a long wait is reported.
                let worth_telling = if delay == Delay::Busy { REPORTED_QUEUE_WAIT } else { REPORTED_WAIT };
                if wait < worth_telling || !is_awaited {
                    return Ok(Step::Later(wait));
                }
                let observation = Observation::Held(resolved, Hold::Delayed(delay, until));
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
            }
            found
        }
    };
    report_to_host(connection, &live, account, own_trust, context).await;
    let Some(promoted) = connection.promoted() else {
        context.hosts.forget(&candidate_key(&uid(connection)));
        return Ok(Step::Found(Box::new(Observed::of(connection, live, None))));
    };
    // A host that gives the live values no usable answer gives the candidate none either.
    let candidate = match live.is_unanswered() {
        Some(true) => Ok(CandidateCheck::Later(None)),
        _ => check_candidate(&promoted, requirements, priority, asked.as_ref(), context).await,
    };
    Ok(Step::Found(Box::new(match candidate {
        Ok(CandidateCheck::Later(wait)) => Observed::of(connection, live, None).again_in(wait.unwrap_or_default()),
        Ok(CandidateCheck::Found(candidate)) => {
            context.hosts.release_slot(&candidate_key(&uid(connection)));
            Observed::of(connection, live, Some(candidate))
        }
        // Keep the live observation, which may have cost a login. The candidate is checked again soon.
        Err(error) => {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            tracing::warn!(namespace, name, %error, "candidate not checked");
            Observed::of(connection, live, None).again_soon()
        }
    })))
}

/// The result of an attempt to check the candidate.
enum CandidateCheck {
    Found(Observation),
    /// The candidate's host must be waited for; the wait, if it is known.
    Later(Option<Duration>),
}

/// Checks the candidate as if it were live.
async fn check_candidate(
    promoted: &UkgProConnection,
    requirements: Vec<Requirement>,
    priority: Priority,
    asked: Option<&HostSlot<'_>>,
    context: &Context,
) -> Result<CandidateCheck, Error> {
    let references = resolve::fetch(promoted, context).await?;
    let target = references
        .and_then(|references| resolve::resolve(promoted, requirements, references, &context.policy, &context.transports));
    let target = match target {
        Ok(target) => target,
        Err(unresolved) => return Ok(CandidateCheck::Found(Observation::Unresolved(unresolved))),
    };
    let key = candidate_key(&uid(promoted));
    let host = target.resolved().endpoint;
    let _slot = match asked.is_some_and(|slot| slot.host == host) {
        true => None,
        false => match HostSlot::begin(context, promoted, &key, host, priority) {
            Ok(slot) => Some(slot),
            Err(Wait(wait, _)) => return Ok(CandidateCheck::Later(Some(wait))),
        },
    };
    let (observation, account) = check_measured(promoted, &target, context).await?;
    if let Observation::Held(_, Hold::Delayed(_, until)) = &observation {
        return Ok(CandidateCheck::Later(Duration::try_from(until.duration_since(context.clock.now())).ok()));
    }
    limit(promoted, &observation, account, context);
    Ok(CandidateCheck::Found(observation))
}

/// Returns the key of a connection's candidate among the connections of a host.
pub fn candidate_key(uid: &str) -> String {
    format!("{uid}/candidate")
}

fn namespace(connection: &UkgProConnection) -> String {
    connection.namespace().unwrap_or_default()
}

fn uid(connection: &UkgProConnection) -> String {
    connection.uid().unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests;
