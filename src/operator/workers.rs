//! The workers that check connections, and whether this process may act.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use crate::api::OverdueCause;
use crate::cluster::leader_election::Term;
use crate::cluster::watch::ConnectionRef;
use crate::controller::{self, Context, Error, Next, decide};
use crate::schedule::work_queue::Queue;

/// The first and the longest backoff after a failure to read or write Kubernetes.
const ERROR_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// Checks queued connections one after another.
pub(super) async fn work(queue: Arc<Queue>, context: Arc<Context>, checks: Arc<CheckState>) {
    while let Some((connection, mut queued)) = queue.next().await {
        context.metrics.waited(queued.runs());
        // A separate task turns a panic into an error of this check.
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
pub(super) enum LeadershipState {
    /// There is no election.
    Always,
    /// It leads as long as this term lasts.
    Term(Term),
    /// Another operator may.
    None,
}

pub(super) async fn check(connection: ConnectionRef, context: Arc<Context>, checks: Arc<CheckState>) -> Result<Next, Error> {
    // The next leader checks all connections. A login that was sent is in the ledger as begun.
    checks.run_while_leading(check_as_leader(connection, context, checks.clone())).await.unwrap_or(Ok(Next::Change))
}

async fn check_as_leader(connection: ConnectionRef, context: Arc<Context>, checks: Arc<CheckState>) -> Result<Next, Error> {
    // It may have been deleted while it was queued.
    let Some(kept) = context.connections.get(&connection) else { return Ok(Next::Change) };
    // Another controller's finalizer may keep it for long. Nobody needs its status any more.
    if kept.revision.is_deleted {
        checks.forget(&kept.revision.uid, &context);
        checks.forget_name(&connection, &context);
        return Ok(Next::Change);
    }
    let latest = Arc::new(kept.connection(&connection));
    let first = context.wakeups.is_first_sight(&connection);
    // A Secret's event may arrive when a running check is about to read that very version. Another check is then unnecessary.
    let is_read = context.wakeups.is_woken_by_secret(&connection)
        && !checks.has_failed(&connection)
        && context.secrets.is_read(&connection);
    let put_off = decide::first_due(&latest, context.clock.now()).filter(|_| first || is_read);
    let next = match put_off {
        Some(wait) => {
            context.overdue.expected(&connection, latest.spec.interval(), context.clock.uptime());
            if is_read {
                context.wakeups.begun(&connection);
            }
            controller::register_with_host(&latest, &context);
            Ok(Next::Again(wait))
        }
        None => {
            let (interval, overdue) = (latest.spec.interval(), &context.overdue);
            overdue.expected(&connection, interval, context.clock.uptime());
            let next = controller::reconcile(latest, &context).await;
            match &next {
                Ok(Next::Again(_)) => overdue.checked(&connection, interval, context.clock.uptime()),
                Ok(Next::Later(_)) => overdue.stalled(&connection, OverdueCause::Host),
                Ok(Next::Change) => {}
                Err(error) => overdue.stalled(&connection, error.overdue_cause()),
            }
            next
        }
    };
    // If the connection was deleted or recreated meanwhile, the check may have stored state for the old one again.
    let now = context.connections.get(&connection);
    if now.as_ref().map(|now| &now.revision.uid) != Some(&kept.revision.uid) {
        checks.forget(&kept.revision.uid, &context);
        if now.is_none() {
            checks.forget_name(&connection, &context);
        }
    }
    next
}

/// The state of checks besides their verdicts.
pub(super) struct CheckState {
    /// The number of failures of Kubernetes in a row, for each connection whose last check failed. Deleted connections have no
    /// entry.
    pub(super) failures: Mutex<HashMap<ConnectionRef, u32>>,
    pub(super) leadership: Mutex<LeadershipState>,
}

impl CheckState {
    pub(super) fn new(leadership: LeadershipState) -> Self {
        Self { failures: Mutex::default(), leadership: Mutex::new(leadership) }
    }

    pub(super) fn leadership(&self) -> LeadershipState {
        self.leadership.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs `act` while this operator may act; `None` if it may not, or no longer.
    pub(super) async fn run_while_leading<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        match self.leadership() {
            LeadershipState::None => None,
            LeadershipState::Always => Some(act.await),
            LeadershipState::Term(term) => tokio::select! {
                biased;
                () = term.lost() => None,
                done = act => Some(done),
            },
        }
    }

    pub(super) fn set_leadership(&self, leadership: LeadershipState) {
        *self.leadership.lock().unwrap_or_else(PoisonError::into_inner) = leadership;
    }

    fn has_failed(&self, connection: &ConnectionRef) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(connection)
    }

    pub(super) fn succeeded(&self, connection: &ConnectionRef) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(connection);
    }

    /// Removes what is stored under the name of a deleted connection.
    pub(super) fn forget_name(&self, connection: &ConnectionRef, context: &Context) {
        self.succeeded(connection);
        context.wakeups.forget(connection);
        context.overdue.forget(connection);
    }

    /// Removes what is stored under the uid, which differs for a later connection of the same name.
    pub(super) fn forget(&self, uid: &str, context: &Context) {
        context.unwritten.forget(uid);
        context.hosts.forget(uid);
        context.hosts.forget(&controller::candidate_key(uid));
    }

    /// Counts and logs a failure, and returns the backoff.
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

/// Returns a backoff that doubles from the first to the longest.
fn error_wait(count: u32) -> Duration {
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
