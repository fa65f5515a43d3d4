//! Which connections were not checked in time. Pure bookkeeping: time is a parameter, as the uptime of [`crate::schedule::clock::Clock`].
//!
//! **Contract.** `Ready` is never a guess, also not by standing still: a connection is overdue when `INTERVALS` of its intervals and
//! `SLACK` have passed without a check that came to an end, whatever the cause. It is told of once, until it is checked again.
//!
//! **Bound.** An entry a connection; forgotten when it is deleted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::Stall;
use crate::cluster::watch::ConnectionRef;

/// One check may be late, and one may be put off; after three nobody knows any more.
const INTERVALS: u32 = 3;
/// The longest wait after an error of Kubernetes: a connection with the least interval is not overdue for one of these.
const SLACK: Duration = Duration::from_secs(120);

/// When each connection must have been checked again.
#[derive(Default)]
pub struct Staleness(Mutex<HashMap<ConnectionRef, Entry>>);

struct Entry {
    due_by: Duration,
    /// What last kept it from being checked.
    stall: Stall,
    is_told: bool,
}

impl Entry {
    fn after(interval: Duration, now: Duration) -> Self {
        Self { due_by: now + interval * INTERVALS + SLACK, stall: Stall::default(), is_told: false }
    }
}

impl Staleness {
    /// A check of it came to an end.
    pub fn checked(&self, connection: &ConnectionRef, interval: Duration, now: Duration) {
        self.all().insert(connection.clone(), Entry::after(interval, now));
    }

    /// It will be checked; what is known of it stands until then.
    pub fn expected(&self, connection: &ConnectionRef, interval: Duration, now: Duration) {
        self.all().entry(connection.clone()).or_insert_with(|| Entry::after(interval, now));
    }

    /// Something kept it from being checked.
    pub fn stalled(&self, connection: &ConnectionRef, stall: Stall) {
        if let Some(entry) = self.all().get_mut(connection) {
            entry.stall = stall;
        }
    }

    /// Those that are overdue and were not told of, and why they were not checked.
    pub fn news(&self, now: Duration) -> Vec<(ConnectionRef, Stall)> {
        let all = self.all();
        let news = all.iter().filter(|(_, entry)| entry.due_by <= now && !entry.is_told);
        news.map(|(connection, entry)| (connection.clone(), entry.stall)).collect()
    }

    /// Whether it is overdue still: it may have been checked since it was found to be.
    pub fn is_overdue(&self, connection: &ConnectionRef, now: Duration) -> bool {
        self.all().get(connection).is_some_and(|entry| entry.due_by <= now)
    }

    /// It was told of, unless it was checked meanwhile: then the next time is to be told of too.
    pub fn told(&self, connection: &ConnectionRef, now: Duration) {
        if let Some(entry) = self.all().get_mut(connection)
            && entry.due_by <= now
        {
            entry.is_told = true;
        }
    }

    /// How many are overdue.
    pub fn count(&self, now: Duration) -> usize {
        self.all().values().filter(|entry| entry.due_by <= now).count()
    }

    /// The namespaces with connections of which most are overdue, for another cause than their host, and all that have some: what one
    /// tenant has is no trouble of the operator, however many they are.
    pub fn namespaces(&self, now: Duration) -> (usize, usize) {
        let mut counts = HashMap::<String, (usize, usize)>::new();
        for (connection, entry) in self.all().iter() {
            let (overdue, all) = counts.entry(connection.namespace().to_owned()).or_default();
            *overdue += usize::from(entry.due_by <= now && entry.stall != Stall::Host);
            *all += 1;
        }
        (counts.values().filter(|(overdue, all)| overdue * 2 > *all).count(), counts.len())
    }

    /// Forgets a connection.
    pub fn forget(&self, connection: &ConnectionRef) {
        self.all().remove(connection);
    }

    /// Forgets everything: another operator has checked them meanwhile.
    pub fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionRef, Entry>> {
        // One insertion, change or removal at a time, so a poisoned lock holds good data.
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
        let (staleness, a) = (Staleness::default(), ConnectionRef::new(Some("hr"), Some("a")));
        staleness.checked(&a, minutes(10), minutes(0));
        staleness.stalled(&a, Stall::Ledger);
        // What is put off meanwhile is not checked.
        staleness.expected(&a, minutes(10), minutes(20));
        assert_eq!(staleness.news(minutes(31)), []);
        assert_eq!(staleness.news(minutes(32)), [(a.clone(), Stall::Ledger)]);
        assert_eq!(staleness.news(minutes(33)).len(), 1, "not told of yet");
        staleness.told(&a, minutes(33));
        assert_eq!(staleness.news(minutes(600)), []);
        assert_eq!(staleness.count(minutes(600)), 1, "and overdue for as long as it is not checked");
        staleness.checked(&a, minutes(10), minutes(601));
        assert_eq!((staleness.count(minutes(601)), staleness.is_overdue(&a, minutes(601))), (0, false));
        // Who was about to tell of it comes too late.
        staleness.told(&a, minutes(601));
        assert_eq!(staleness.news(minutes(633)), [(a.clone(), Stall::NoWorker)]);
        staleness.forget(&a);
        assert_eq!(staleness.count(minutes(900)), 0);
    }

    #[test]
    fn what_one_tenant_has_is_no_trouble_of_the_operator() {
        let staleness = Staleness::default();
        let of = |namespace, name: &str| ConnectionRef::new(Some(namespace), Some(name));
        for name in 0..100 {
            staleness.checked(&of("busy", &name.to_string()), minutes(1), minutes(0));
        }
        staleness.checked(&of("hr", "a"), minutes(600), minutes(0));
        assert_eq!((staleness.count(minutes(60)), staleness.namespaces(minutes(60))), (100, (1, 2)));
        staleness.checked(&of("hr", "a"), minutes(1), minutes(0));
        assert_eq!(staleness.namespaces(minutes(60)), (2, 2));
        staleness.stalled(&of("hr", "a"), Stall::Host);
        assert_eq!(staleness.namespaces(minutes(60)), (1, 2), "a host that limits requests is none either");
    }
}
