//! Remembers which connections this process has seen, and for which of them somebody waits. Pure bookkeeping.
//!
//! **Contract.** A connection that is seen for the first time and has a verdict about its present spec is not checked at once, so
//! that a restart causes no rush. The exception is a connection that was woken by a Secret meanwhile.
//!
//! **Bound.** One entry for each connection, which is forgotten when the connection is deleted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::watch::ConnectionRef;

/// The connections that were seen, and why the next check of each is made.
#[derive(Default)]
pub struct Wakeups(Mutex<HashMap<ConnectionRef, Trigger>>, Refusals);

/// How often in a row the API server refused what a connection refers to. Connections whose references may be read are not in it.
type Refusals = Mutex<HashMap<ConnectionRef, u32>>;

/// Why the next check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trigger {
    /// The check is due as scheduled.
    Routine,
    /// Somebody waits for the check.
    Urgent,
    /// Somebody waits for the check because a Secret changed, which a check that runs meanwhile may have read already.
    Secret,
}

impl Wakeups {
    /// Returns true if the connection is seen for the first time.
    pub fn is_first_sight(&self, connection: &ConnectionRef) -> bool {
        let mut all = self.all();
        let first = !all.contains_key(connection);
        if first {
            all.insert(connection.clone(), Trigger::Routine);
        }
        first
    }

    /// Records that something has changed that a check depends on.
    pub fn wake(&self, connection: &ConnectionRef) {
        self.all().insert(connection.clone(), Trigger::Urgent);
    }

    /// Records that a Secret of the connection has changed.
    pub fn wake_by_secret(&self, connection: &ConnectionRef) {
        let mut all = self.all();
        if all.get(connection) != Some(&Trigger::Urgent) {
            all.insert(connection.clone(), Trigger::Secret);
        }
    }

    /// Returns true if only Secrets have woken the connection since its last check began.
    pub fn is_woken_by_secret(&self, connection: &ConnectionRef) -> bool {
        self.all().get(connection) == Some(&Trigger::Secret)
    }

    /// Returns true if something has changed that the next check depends on.
    pub fn is_woken(&self, connection: &ConnectionRef) -> bool {
        matches!(self.all().get(connection), Some(Trigger::Urgent | Trigger::Secret))
    }

    /// Records that a check of the connection has begun, with everything that has changed until now.
    pub fn begun(&self, connection: &ConnectionRef) {
        self.all().insert(connection.clone(), Trigger::Routine);
    }

    /// Records that the API server refused what a connection refers to. Returns how often in a row it has.
    pub fn refused(&self, connection: &ConnectionRef) -> u32 {
        let mut refusals = self.refusals();
        let count = refusals.entry(connection.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// Records that what a connection refers to may be read.
    pub fn admitted(&self, connection: &ConnectionRef) {
        self.refusals().remove(connection);
    }

    /// Forgets everything, because another operator has acted meanwhile.
    pub fn forget_all(&self) {
        self.all().clear();
        self.refusals().clear();
    }

    /// Forgets a connection.
    pub fn forget(&self, connection: &ConnectionRef) {
        self.all().remove(connection);
        self.refusals().remove(connection);
    }

    fn refusals(&self) -> MutexGuard<'_, HashMap<ConnectionRef, u32>> {
        // Each change is one insertion or removal, so a poisoned mutex holds valid data.
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionRef, Trigger>> {
        // Each change is one insertion or removal, so a poisoned mutex holds valid data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_woken_before_it_was_seen_is_not_put_off() {
        let (wakeups, [a, b]) = (Wakeups::default(), ["a", "b"].map(|name| ConnectionRef::new(Some("hr"), Some(name))));
        assert!(wakeups.is_first_sight(&a) && !wakeups.is_first_sight(&a));
        assert!(!wakeups.is_woken(&a));
        wakeups.wake(&b);
        assert!(wakeups.is_woken(&b) && !wakeups.is_first_sight(&b));
        wakeups.begun(&b);
        assert!(!wakeups.is_woken(&b));
        wakeups.forget(&b);
        assert!(wakeups.is_first_sight(&b));
    }

    #[test]
    fn refusals_are_counted_in_a_row() {
        let (wakeups, a) = (Wakeups::default(), ConnectionRef::new(Some("hr"), Some("a")));
        assert_eq!([wakeups.refused(&a), wakeups.refused(&a)], [1, 2]);
        wakeups.admitted(&a);
        assert_eq!(wakeups.refused(&a), 1);
        wakeups.forget(&a);
        assert_eq!(wakeups.refused(&a), 1);
    }

    #[test]
    fn who_is_woken_by_more_than_a_secret_is_not_let_off() {
        let (wakeups, a) = (Wakeups::default(), ConnectionRef::new(Some("hr"), Some("a")));
        wakeups.wake_by_secret(&a);
        assert!(wakeups.is_woken(&a) && wakeups.is_woken_by_secret(&a) && !wakeups.is_first_sight(&a));
        wakeups.wake(&a);
        wakeups.wake_by_secret(&a);
        assert!(wakeups.is_woken(&a) && !wakeups.is_woken_by_secret(&a));
        wakeups.begun(&a);
        assert!(!wakeups.is_woken(&a) && !wakeups.is_woken_by_secret(&a));
    }
}
