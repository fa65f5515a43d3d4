//! Which connections this process has looked at, and which of them somebody waits for. Pure bookkeeping.
//!
//! **Contract.** A connection that is seen for the first time and has a verdict about its present spec is not checked at once, so that
//! a restart is no rush; unless it was woken by a Secret meanwhile.
//!
//! **Bound.** An entry a connection; forgotten when it is deleted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::cluster::watch::ConnectionRef;

/// The connections that were looked at, and why the next check of each is made.
#[derive(Default)]
pub struct Agenda(Mutex<HashMap<ConnectionRef, Why>>, Refusals);

/// How often in a row what a connection refers to was refused; those that may be read are not in it.
type Refusals = Mutex<HashMap<ConnectionRef, u32>>;

/// Why the next check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Its time has come.
    Routine,
    /// Somebody waits for it.
    Urgent,
    /// The same, because of a Secret that the check that runs meanwhile may have read.
    Secret,
}

impl Agenda {
    /// Whether this is the first that is seen of a connection.
    pub fn is_first_sight(&self, connection: &ConnectionRef) -> bool {
        let mut all = self.all();
        let first = !all.contains_key(connection);
        if first {
            all.insert(connection.clone(), Why::Routine);
        }
        first
    }

    /// Something that a check depends on has changed.
    pub fn wake(&self, connection: &ConnectionRef) {
        self.all().insert(connection.clone(), Why::Urgent);
    }

    /// A Secret of it has changed.
    pub fn wake_by_secret(&self, connection: &ConnectionRef) {
        let mut all = self.all();
        if all.get(connection) != Some(&Why::Urgent) {
            all.insert(connection.clone(), Why::Secret);
        }
    }

    /// Whether a Secret is all that it was woken by since its last check began.
    pub fn is_woken_by_secret(&self, connection: &ConnectionRef) -> bool {
        self.all().get(connection) == Some(&Why::Secret)
    }

    /// Whether something that the next check depends on has changed.
    pub fn is_woken(&self, connection: &ConnectionRef) -> bool {
        matches!(self.all().get(connection), Some(Why::Urgent | Why::Secret))
    }

    /// A check of it has begun, with everything that has changed until now.
    pub fn begun(&self, connection: &ConnectionRef) {
        self.all().insert(connection.clone(), Why::Routine);
    }

    /// The API server refused what a connection refers to. Gives how often it has in a row.
    pub fn refused(&self, connection: &ConnectionRef) -> u32 {
        let mut refusals = self.refusals();
        let count = refusals.entry(connection.clone()).or_default();
        *count = count.saturating_add(1);
        *count
    }

    /// What a connection refers to may be read.
    pub fn admitted(&self, connection: &ConnectionRef) {
        self.refusals().remove(connection);
    }

    /// Forgets everything: another operator has acted meanwhile.
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
        // One insertion or removal at a time, so a poisoned lock holds good data.
        self.1.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> MutexGuard<'_, HashMap<ConnectionRef, Why>> {
        // One insertion or removal at a time, so a poisoned lock holds good data.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_woken_before_it_was_seen_is_not_put_off() {
        let (agenda, [a, b]) = (Agenda::default(), ["a", "b"].map(|name| ConnectionRef::new(Some("hr"), Some(name))));
        assert!(agenda.is_first_sight(&a) && !agenda.is_first_sight(&a));
        assert!(!agenda.is_woken(&a));
        agenda.wake(&b);
        assert!(agenda.is_woken(&b) && !agenda.is_first_sight(&b));
        agenda.begun(&b);
        assert!(!agenda.is_woken(&b));
        agenda.forget(&b);
        assert!(agenda.is_first_sight(&b));
    }

    #[test]
    fn refusals_are_counted_in_a_row() {
        let (agenda, a) = (Agenda::default(), ConnectionRef::new(Some("hr"), Some("a")));
        assert_eq!([agenda.refused(&a), agenda.refused(&a)], [1, 2]);
        agenda.admitted(&a);
        assert_eq!(agenda.refused(&a), 1);
        agenda.forget(&a);
        assert_eq!(agenda.refused(&a), 1);
    }

    #[test]
    fn who_is_woken_by_more_than_a_secret_is_not_let_off() {
        let (agenda, a) = (Agenda::default(), ConnectionRef::new(Some("hr"), Some("a")));
        agenda.wake_by_secret(&a);
        assert!(agenda.is_woken(&a) && agenda.is_woken_by_secret(&a) && !agenda.is_first_sight(&a));
        agenda.wake(&a);
        agenda.wake_by_secret(&a);
        assert!(agenda.is_woken(&a) && !agenda.is_woken_by_secret(&a));
        agenda.begun(&a);
        assert!(!agenda.is_woken(&a) && !agenda.is_woken_by_secret(&a));
    }
}
