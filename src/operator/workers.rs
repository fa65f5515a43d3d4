//! The workers that check connections, and what they may do while this process leads.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::api::Stall;
use crate::cluster::leader_election::Term;
use crate::cluster::watch::ConnectionRef;
use crate::controller::{self, Context, Error, Next, decide};
use crate::schedule::work_queue::Queue;

/// After failures to read or write Kubernetes: the first wait, and the longest.
pub(super) const ERROR_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// Checks one connection after the other.
pub(super) async fn work(queue: Arc<Queue>, context: Arc<Context>, checks: Arc<Checks>) {
    while let Some((connection, mut queued)) = queue.next().await {
        context.metrics.waited(queued.runs());
        // A task of its own, so that a panic is an error of this check.
        let check = tokio::spawn(check(connection.clone(), context.clone(), checks.clone()));
        let ended = AbortOnDropHandle::new(check).await.unwrap_or(Err(Error::Panicked));
        let next = match ended {
            Ok(Next::Later(wait)) => Some(context.clock.real(wait)),
            Ok(Next::Again(wait)) => {
                checks.succeeded(&connection);
                Some(context.clock.real(wait))
            }
            Ok(Next::Change) => None,
            Err(_) if context.connections.get(&connection).is_none() => None,
            Err(error) => Some(checks.failed(&connection, &error)),
        };
        queue.done(&connection, next);
    }
}

/// Whether this operator may act.
#[derive(Clone)]
pub(super) enum Mandate {
    /// There is no election.
    Always,
    /// For as long as this lasts.
    Term(Term),
    /// Another may.
    None,
}

pub(super) async fn check(connection: ConnectionRef, context: Arc<Context>, checks: Arc<Checks>) -> Result<Next, Error> {
    // Who takes over looks at all. What was sent is in the ledger as begun.
    checks.mandated(check_as_leader(connection, context, checks.clone())).await.unwrap_or(Ok(Next::Change))
}

pub(super) async fn check_as_leader(
    connection: ConnectionRef,
    context: Arc<Context>,
    checks: Arc<Checks>,
) -> Result<Next, Error> {
    // It may have been deleted while it waited.
    let Some(kept) = context.connections.get(&connection) else { return Ok(Next::Change) };
    // A foreign finalizer may hold it for long; nobody wants to know any more.
    if kept.edition.is_deleted {
        checks.forget(&kept.edition.uid, &context);
        checks.forget_name(&connection, &context);
        return Ok(Next::Change);
    }
    let latest = Arc::new(kept.connection(&connection));
    let first = context.agenda.is_first_sight(&connection);
    // The event of a Secret may come while a check is about to read that very version; then there is nothing to look at again.
    let is_read = context.agenda.is_woken_by_secret(&connection)
        && !checks.has_failed(&connection)
        && context.secrets.is_read(&connection);
    let put_off = decide::first_due(&latest, context.clock.now()).filter(|_| first || is_read);
    let next = match put_off {
        Some(wait) => {
            context.staleness.expected(&connection, latest.spec.interval(), context.clock.uptime());
            if is_read {
                context.agenda.begun(&connection);
            }
            controller::expect(&latest, &context);
            Ok(Next::Again(wait))
        }
        None => {
            let (interval, staleness) = (latest.spec.interval(), &context.staleness);
            staleness.expected(&connection, interval, context.clock.uptime());
            let next = controller::reconcile(latest, &context).await;
            match &next {
                Ok(Next::Again(_)) => staleness.checked(&connection, interval, context.clock.uptime()),
                Ok(Next::Later(_)) => staleness.stalled(&connection, Stall::Host),
                Ok(Next::Change) => {}
                Err(error) => staleness.stalled(&connection, error.stall()),
            }
            next
        }
    };
    // Of one that went meanwhile, or was made again, the check has perhaps entered something anew.
    let now = context.connections.get(&connection);
    if now.as_ref().map(|now| &now.edition.uid) != Some(&kept.edition.uid) {
        checks.forget(&kept.edition.uid, &context);
        if now.is_none() {
            checks.forget_name(&connection, &context);
        }
    }
    next
}

/// How checks fare, besides their verdicts.
pub(super) struct Checks {
    /// How often in a row Kubernetes failed a connection's check; those that succeed, and those that are deleted, are not in it.
    pub(super) failures: Mutex<HashMap<ConnectionRef, u32>>,
    pub(super) mandate: Mutex<Mandate>,
}

impl Checks {
    pub(super) fn new(mandate: Mandate) -> Self {
        Self { failures: Mutex::default(), mandate: Mutex::new(mandate) }
    }

    pub(super) fn mandate(&self) -> Mandate {
        self.mandate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this comes to while this operator may act; `None` where it may not, or not any more.
    pub(super) async fn mandated<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        match self.mandate() {
            Mandate::None => None,
            Mandate::Always => Some(act.await),
            Mandate::Term(term) => tokio::select! {
                biased;
                () = term.lost() => None,
                done = act => Some(done),
            },
        }
    }

    pub(super) fn change_mandate(&self, mandate: Mandate) {
        *self.mandate.lock().unwrap_or_else(PoisonError::into_inner) = mandate;
    }

    pub(super) fn has_failed(&self, connection: &ConnectionRef) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(connection)
    }

    pub(super) fn succeeded(&self, connection: &ConnectionRef) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(connection);
    }

    /// Forgets what is kept of a connection that is not there any more.
    pub(super) fn forget_name(&self, connection: &ConnectionRef, context: &Context) {
        self.succeeded(connection);
        context.agenda.forget(connection);
        context.staleness.forget(connection);
    }

    /// The same by its uid, which another of the name has not.
    pub(super) fn forget(&self, uid: &str, context: &Context) {
        context.undelivered.forget(uid);
        context.hosts.forget(uid);
        context.hosts.forget(&controller::candidate_of(uid));
    }

    /// When to try again.
    pub(super) fn failed(&self, connection: &ConnectionRef, error: &Error) -> Duration {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(connection.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let wait = error_wait(count);
        let (namespace, name) = (connection.namespace(), connection.name());
        tracing::warn!(namespace, name, %error, retry_seconds = wait.as_secs(), "check not finished");
        wait
    }
}

/// Doubles from the first wait to the longest.
pub(super) fn error_wait(count: u32) -> Duration {
    let (first, longest) = ERROR_RETRY;
    first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_errors_double_up_to_a_bound() {
        let waits: Vec<_> = [1, 2, 3, 8, 100, u32::MAX].map(|count| error_wait(count).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 120, 120, 120]);
    }
}
