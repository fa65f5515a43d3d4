//! A connection's way from what a user wrote to what the operator writes back.
//!
//! ```text
//! resolve ─▶ lint ─▶ gate ─▶ authenticate ─▶ probe ─▶ decide ─▶ publish
//! ```
//!
//! One file per arrow; [`reconcile()`] and [`check()`] are these calls and nothing else.
//!
//! **Invariant.** `Err` means that Kubernetes could not be read or written, and nothing else. A bad Secret, a refused login and a
//! missing permission are what the operator exists to report: they are values, rungs of [`Observation`].

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tokio::time::Instant;
use ukg_pro::catalogue::Requirement;

use crate::api::{Delay, UkgProConnection, verdict};
use crate::cluster::watch::ConnectionRef;
use crate::schedule::hosts::Lane;
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
use check::{delayed, measured};
pub use context::{Context, Error, Policy};
use decide::{Observation, Observed};
use gate::Hold;
pub use host_access::expect;
use host_access::{Visit, Wait, lane, limit, tell_host};
use publish::Published;
use resolve::Unresolved;

/// A status is decided anew on another's write so often; each round waits for the watch to show that write.
const PUBLISH_TRIES: usize = 5;

/// What comes after a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It was not made: its host is to be asked later.
    Later(Duration),
    /// Another, after this time.
    Again(Duration),
    /// A change will tell.
    Change,
}

/// Checks a connection and writes down what was found.
pub async fn reconcile(connection: Arc<UkgProConnection>, context: &Context) -> Result<Next, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let begun = Instant::now();
    let connection = tell_of_change(connection, context).await?;
    let observed = match observe(&connection, requirements.clone(), context).await? {
        Step::Later(wait) => return Ok(Next::Later(wait)),
        Step::Found(observed) => *observed,
    };
    if !observed.is_delayed() {
        // It may have had a turn at its host that it does not need any more, as one that is suspended.
        context.hosts.give_up(&uid(&connection));
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
                let reason = verdict::standing_reason(&decision.status).unwrap_or(observed.reason());
                context.metrics.checked(reason, begun.elapsed());
                return Ok(match observed.is_delayed() {
                    true => Next::Later(decision.requeue),
                    false => Next::Again(decision.requeue),
                });
            }
            Ok(Published::Gone) => return Ok(Next::Change),
            Ok(Published::Outdated) => {
                context.connections.passes(&current).await;
                let key = ConnectionRef::of(&current);
                let latest = context.connections.get(&key).map(|kept| Arc::new(kept.connection(&key)));
                match latest {
                    Some(latest) if is_same(&latest, &current) => current = latest,
                    // What changed is about to be checked itself.
                    _ => return Ok(Next::Change),
                }
            }
            Err(error) => {
                context.undelivered.keep(&current, observed);
                return Err(error.into());
            }
        }
    }
    context.undelivered.keep(&current, observed);
    Err(publish::Error::Contended.into())
}

/// Where the values have changed since the verdict, the status says first of all that they are being checked: who has mended a password
/// and waits must not take the old verdict for the new one. Nothing is sent to UKG Pro if that cannot be written.
async fn tell_of_change(connection: Arc<UkgProConnection>, context: &Context) -> Result<Arc<UkgProConnection>, Error> {
    if !context.secrets.is_outdated(&connection) {
        return Ok(connection);
    }
    let Some(decision) = decide::rechecking(&connection, context.clock.now()) else { return Ok(connection) };
    publish::publish(&connection, &decision, context).await?;
    let key = ConnectionRef::of(&connection);
    let latest = context.connections.get(&key).map(|kept| Arc::new(kept.connection(&key)));
    Ok(latest.filter(|latest| is_same(latest, &connection)).unwrap_or(connection))
}

/// Whether an observation of the one is an observation of the other.
fn is_same(latest: &UkgProConnection, current: &UkgProConnection) -> bool {
    latest.metadata.uid == current.metadata.uid
        && latest.metadata.generation == current.metadata.generation
        && latest.requested_at() == current.requested_at()
}

/// What became of the wish to check.
enum Step {
    /// The host is not to be asked before this time has passed.
    Later(Duration),
    /// It was checked, as far as that went.
    Found(Box<Observed>),
}

async fn observe(
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
            // It witnesses no more how its host fares, and its leaving is no news of the host.
            context.hosts.withdraw(&uid(connection));
            return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
        }
    };
    let reference = ConnectionRef::of(connection);
    let lane = lane(connection, context);
    let hinted = resolve::host(&connection.spec).or_else(|| context.hosts.of(&uid(connection)));
    // Before anything is read, so that who must wait for a little costs nothing and holds no secrets meanwhile. Where the host wants
    // a pause, what can be told without it is told before.
    let visit = match hinted.map(|host| Visit::begin(context, connection, &uid(connection), host, lane)).transpose() {
        Ok(visit) => Ok(visit),
        // The values may have changed where a Secret has woken it, and somebody waits to hear of these.
        Err(Wait(wait, _)) if wait < LONG || (verdict::is_settled(connection) && !context.agenda.is_woken(&reference)) => {
            return Ok(Step::Later(wait));
        }
        Err(wait) => Err(wait),
    };
    context.agenda.begun(&reference);
    let step = look(connection, requirements, lane, visit, context).await;
    // What it has read has come to nothing, and is news as before, whether its event has come or comes yet.
    if !matches!(step, Ok(Step::Found(_))) && (context.secrets.is_news(&reference, connection) || lane == Lane::Urgent) {
        context.agenda.wake(&reference);
    }
    step
}

/// A wait for which it is worth while to look at what needs no host.
const LONG: Duration = Duration::from_secs(5);

/// A wait for a turn behind others that is told in the status: one more write for each connection of a large fleet's first start.
const LONG_TURN: Duration = Duration::from_secs(300);

async fn look(
    connection: &UkgProConnection,
    requirements: Vec<Requirement>,
    lane: Lane,
    visit: Result<Option<Visit<'_>>, Wait>,
    context: &Context,
) -> Result<Step, Error> {
    let resolving = context.metrics.stage(Stage::Resolve);
    let referents = resolve::fetch(connection, context).await?;
    resolving.stop();
    let target = referents.and_then(|referents| {
        resolve::resolve(connection, requirements.clone(), referents, &context.policy, &context.transports)
    });
    let mut asked = None;
    let mut account = None;
    let mut own_trust = false;
    let live = match target {
        Err(unresolved) => Observation::Unresolved(unresolved),
        Ok(target) => {
            let resolved = target.resolved();
            own_trust = target.authority.is_some();
            // What was found and could not be written is not looked for again: that would be another login.
            if let Some(observed) = context.undelivered.take(connection, &resolved) {
                return Ok(Step::Found(Box::new(observed)));
            }
            if gate::is_promoted(connection, &resolved, &requirements) {
                let observation = Observation::Promoted(resolved, requirements);
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None).again_soon())));
            }
            let visit = match visit {
                Ok(Some(visit)) if visit.host == resolved.endpoint => Ok(visit),
                Ok(before) => {
                    drop(before);
                    Visit::begin(context, connection, &uid(connection), resolved.endpoint.clone(), lane)
                }
                Err(wait) => Err(wait),
            };
            let (found, of) = match visit {
                Err(wait) => (delayed(connection, &target, wait, context).await?, None),
                Ok(visit) => {
                    asked = Some(visit);
                    let (found, account) = measured(connection, &target, context).await?;
                    (found, Some(account))
                }
            };
            account = of;
            if let Observation::Held(resolved, Hold::Delayed(delay, until)) = found {
                let wait = Duration::try_from(until.duration_since(context.clock.now())).unwrap_or_default();
                let is_awaited = !verdict::is_settled(connection) || !gate::is_about(connection, &resolved);
                // At a start with thousands of connections each has its turn; that is told only where it takes long.
                let worth_telling = if delay == Delay::Busy { LONG_TURN } else { LONG };
                if wait < worth_telling || !is_awaited {
                    return Ok(Step::Later(wait));
                }
                let observation = Observation::Held(resolved, Hold::Delayed(delay, until));
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
            }
            found
        }
    };
    tell_host(connection, &live, account, own_trust, context).await;
    // A host that gives no answer now gives none to the candidate either.
    let Some(promoted) = connection.promoted() else {
        context.hosts.forget(&candidate_of(&uid(connection)));
        return Ok(Step::Found(Box::new(Observed::of(connection, live, None))));
    };
    let candidate = match live.is_unanswered() {
        Some(true) => Ok(Rehearsed::Later(None)),
        _ => rehearse(&promoted, requirements, lane, asked.as_ref(), context).await,
    };
    Ok(Step::Found(Box::new(match candidate {
        Ok(Rehearsed::Later(wait)) => Observed::of(connection, live, None).again_in(wait.unwrap_or_default()),
        Ok(Rehearsed::Found(candidate)) => {
            context.hosts.give_up(&candidate_of(&uid(connection)));
            Observed::of(connection, live, Some(candidate))
        }
        // The live observation may have cost a login; the candidate's turn comes again.
        Err(error) => {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            tracing::warn!(namespace, name, %error, "candidate not checked");
            Observed::of(connection, live, None).again_soon()
        }
    })))
}

/// What became of looking at the candidate.
enum Rehearsed {
    Found(Observation),
    /// Its host must be waited for, for so long where that is known.
    Later(Option<Duration>),
}

/// What would be found if the candidate were the live one.
async fn rehearse(
    promoted: &UkgProConnection,
    requirements: Vec<Requirement>,
    lane: Lane,
    asked: Option<&Visit<'_>>,
    context: &Context,
) -> Result<Rehearsed, Error> {
    let referents = resolve::fetch(promoted, context).await?;
    let target = referents
        .and_then(|referents| resolve::resolve(promoted, requirements, referents, &context.policy, &context.transports));
    let target = match target {
        Ok(target) => target,
        Err(unresolved) => return Ok(Rehearsed::Found(Observation::Unresolved(unresolved))),
    };
    let key = candidate_of(&uid(promoted));
    let host = target.resolved().endpoint;
    let _visit = match asked.is_some_and(|visit| visit.host == host) {
        true => None,
        false => match Visit::begin(context, promoted, &key, host, lane) {
            Ok(visit) => Some(visit),
            Err(Wait(wait, _)) => return Ok(Rehearsed::Later(Some(wait))),
        },
    };
    let (observation, account) = measured(promoted, &target, context).await?;
    if let Observation::Held(_, Hold::Delayed(_, until)) = &observation {
        return Ok(Rehearsed::Later(Duration::try_from(until.duration_since(context.clock.now())).ok()));
    }
    limit(promoted, &observation, account, context);
    Ok(Rehearsed::Found(observation))
}

/// The place of a connection's candidate among the connections of a host.
pub fn candidate_of(uid: &str) -> String {
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
