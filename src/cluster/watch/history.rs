//! Whether the cluster's history has run backwards, as after etcd was restored from a backup.
//!
//! Versions run backwards with it, and a watch that goes on from the version it knew is told of nothing until they have caught up, which may
//! take days; no error comes (kubernetes/kubernetes#107457; so it is with client-go). A version is the whole cluster's, so a list of one
//! object tells the present one, whatever has changed: when it is behind what was heard before, everything is listed anew.
//!
//! **Limit.** A history that has been overtaken again before it is looked at, within `ROUND`, is not noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often it is looked at: a list of one object.
pub const ROUND: Duration = Duration::from_secs(30);

/// The highest version that was heard of. Pure.
#[derive(Debug, Default)]
pub struct History(AtomicU64);

impl History {
    /// A version was heard of. One that is no number is none that can be compared.
    pub fn heard(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.0.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// The highest so far, to compare a list with that is asked for from now on.
    pub fn highest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Whether a list of this version shows that history has run backwards, given the highest before it was asked for. Then it begins anew.
    pub fn has_turned(&self, before: u64, listed: Option<&str>) -> bool {
        let Some(listed) = listed.and_then(|version| version.parse::<u64>().ok()) else { return false };
        let turned = listed < before;
        match turned {
            true => self.0.store(listed, Ordering::Relaxed),
            false => self.heard(Some(&listed.to_string())),
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_has_turned_when_a_list_is_behind_what_was_heard_before_it_was_asked_for() {
        let history = History::default();
        assert!(!history.has_turned(history.highest(), Some("100")));
        history.heard(Some("120"));
        history.heard(Some("110"));
        let before = history.highest();
        // An event that overtakes the list is later than it.
        history.heard(Some("130"));
        assert!(!history.has_turned(before, Some("125")));
        assert!(!history.has_turned(history.highest(), Some("no number")) && !history.has_turned(history.highest(), None));
        assert!(history.has_turned(history.highest(), Some("90")));
        assert!(!history.has_turned(history.highest(), Some("91")), "once");
        assert_eq!(history.highest(), 91);
    }
}
