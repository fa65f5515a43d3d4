//! Finds connections that were not checked in time.
//!
//! Pure bookkeeping: time is a parameter, as the uptime of [`crate::schedule::clock::Clock`].
//!
//! **Contract.** `Ready` is never a guess, even when checks stand still: a connection is overdue when `INTERVALS` of its intervals
//! and `SLACK` have passed without a completed check, whatever the cause. An overdue connection is reported once, until it is
//! checked again.
//!
//! **Bound.** One entry for each connection, which is forgotten when the connection is deleted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::OverdueCause;
use crate::cluster::watch::ConnectionRef;

/// After how many intervals a connection is overdue. One check may be late and one may be put off; after three, its state is
/// unknown.
const INTERVALS: u32 = 3;
/// The longest wait after a Kubernetes error: one such wait does not make a connection with the minimum interval overdue.
const SLACK: Duration = Duration::from_secs(120);

/// The time by which each connection must be checked again.
#[derive(Default)]
pub struct Overdue(Mutex<HashMap<ConnectionRef, Entry>>);

struct Entry {
    due_by: Duration,
    /// What last kept the connection from being checked.
    cause: OverdueCause,
    is_reported: bool,
}

impl Entry {
    fn after(interval: Duration, now: Duration) -> Self {
        Self { due_by: now + interval * INTERVALS + SLACK, cause: OverdueCause::default(), is_reported: false }
    }
}

impl Overdue {
    /// Records that a check of the connection ended.
    pub fn checked(&self, connection: &ConnectionRef, interval: Duration, now: Duration) {
        self.all().insert(connection.clone(), Entry::after(interval, now));
    }

    /// Records that the connection will be checked. An earlier record stays until then.
    pub fn expected(&self, connection: &ConnectionRef, interval: Duration, now: Duration) {
        self.all().entry(connection.clone()).or_insert_with(|| Entry::after(interval, now));
    }

    /// Records what kept the connection from being checked.
    pub fn stalled(&self, connection: &ConnectionRef, cause: OverdueCause) {
        if let Some(entry) = self.all().get_mut(connection) {
            entry.cause = cause;
        }
    }

    /// Returns the connections that are overdue and were not reported, and why they were not checked.
    pub fn unreported(&self, now: Duration) -> Vec<(ConnectionRef, OverdueCause)> {
        let all = self.all();
        let unreported = all.iter().filter(|(_, entry)| entry.due_by <= now && !entry.is_reported);
        unreported.map(|(connection, entry)| (connection.clone(), entry.cause)).collect()
    }

    /// Returns true if the connection is still overdue: it may have been checked since it was found to be.
    pub fn is_overdue(&self, connection: &ConnectionRef, now: Duration) -> bool {
        self.all().get(connection).is_some_and(|entry| entry.due_by <= now)
    }

    /// Marks the connection as reported, unless it was checked meanwhile: then the next time must be reported too.
    pub fn mark_reported(&self, connection: &ConnectionRef, now: Duration) {
        if let Some(entry) = self.all().get_mut(connection)
            && entry.due_by <= now
        {
            entry.is_reported = true;
        }
    }

    /// Returns how many connections are overdue.
    pub fn count(&self, now: Duration) -> usize {
        self.all().values().filter(|entry| entry.due_by <= now).count()
    }

    /// Returns the number of namespaces in which most connections are overdue for another cause than their host, and the number of
    /// all namespaces with connections. One tenant's trouble is not the operator's, however many connections it has.
    pub fn namespaces(&self, now: Duration) -> (usize, usize) {
        let mut counts = HashMap::<String, (usize, usize)>::new();
        for (connection, entry) in self.all().iter() {
            let (overdue, all) = counts.entry(connection.namespace().to_owned()).or_default();
            *overdue += usize::from(entry.due_by <= now && entry.cause != OverdueCause::Host);
            *all += 1;
        }
        (counts.values().filter(|(overdue, all)| overdue * 2 > *all).count(), counts.len())
    }

    /// Forgets a connection.
    pub fn forget(&self, connection: &ConnectionRef) {
        self.all().remove(connection);
    }

    /// Forgets everything, because another operator has checked the connections meanwhile.
    pub fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionRef, Entry>> {
        // Each change is one insertion, update or removal, so a poisoned mutex holds valid data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn a_connection_is_overdue_after_three_intervals_and_told_of_once() {
        let (overdue, a) = (Overdue::default(), ConnectionRef::new(Some("hr"), Some("a")));
        overdue.checked(&a, minutes(10), minutes(0));
        overdue.stalled(&a, OverdueCause::Ledger);
        // A check that is put off does not count as a check.
        overdue.expected(&a, minutes(10), minutes(20));
        assert_eq!(overdue.unreported(minutes(31)), []);
        assert_eq!(overdue.unreported(minutes(32)), [(a.clone(), OverdueCause::Ledger)]);
        assert_eq!(overdue.unreported(minutes(33)).len(), 1, "not told of yet");
        overdue.mark_reported(&a, minutes(33));
        assert_eq!(overdue.unreported(minutes(600)), []);
        assert_eq!(overdue.count(minutes(600)), 1, "and overdue for as long as it is not checked");
        overdue.checked(&a, minutes(10), minutes(601));
        assert_eq!((overdue.count(minutes(601)), overdue.is_overdue(&a, minutes(601))), (0, false));
        // A report that was about to be sent comes too late.
        overdue.mark_reported(&a, minutes(601));
        assert_eq!(overdue.unreported(minutes(633)), [(a.clone(), OverdueCause::NoWorker)]);
        overdue.forget(&a);
        assert_eq!(overdue.count(minutes(900)), 0);
    }

    #[test]
    fn what_one_tenant_has_is_no_trouble_of_the_operator() {
        let overdue = Overdue::default();
        let of = |namespace, name: &str| ConnectionRef::new(Some(namespace), Some(name));
        for name in 0..100 {
            overdue.checked(&of("busy", &name.to_string()), minutes(1), minutes(0));
        }
        overdue.checked(&of("hr", "a"), minutes(600), minutes(0));
        assert_eq!((overdue.count(minutes(60)), overdue.namespaces(minutes(60))), (100, (1, 2)));
        overdue.checked(&of("hr", "a"), minutes(1), minutes(0));
        assert_eq!(overdue.namespaces(minutes(60)), (2, 2));
        overdue.stalled(&of("hr", "a"), OverdueCause::Host);
        assert_eq!(overdue.namespaces(minutes(60)), (1, 2), "a host that limits requests is none either");
    }
}
