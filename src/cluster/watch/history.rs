//! Detects that the cluster's history has run backwards, as after etcd was restored from a backup.
//!
//! Resource versions then run backwards too. A watch that resumes from the version it knew gets no events until versions have
//! caught up, which may take days. No error comes (kubernetes/kubernetes#107457; client-go has the same problem). A version covers
//! the whole cluster, so a list of one object shows the current one, whatever has changed. If it is behind an earlier one,
//! everything is relisted.
//!
//! **Limit.** A history that runs backwards and catches up within `ROUND`, between two lists, is not noticed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How often the version is checked, by a list of one object.
pub const ROUND: Duration = Duration::from_secs(30);

/// The highest version seen. Pure.
#[derive(Debug, Default)]
pub struct ResourceVersionTracker(AtomicU64);

impl ResourceVersionTracker {
    /// Notes a version. One that is not a number cannot be compared and is ignored.
    pub fn observe(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|version| version.parse().ok()) {
            self.0.fetch_max(version, Ordering::Relaxed);
        }
    }

    /// Returns the highest version so far, to compare with a list that is requested afterwards.
    pub fn highest(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Returns true if a list of version `listed` shows that history has run backwards. `before` is the highest version before the
    /// list was requested. The highest version then starts again from `listed`.
    pub fn has_run_backwards(&self, before: u64, listed: Option<&str>) -> bool {
        let Some(listed) = listed.and_then(|version| version.parse::<u64>().ok()) else { return false };
        let turned = listed < before;
        match turned {
            true => self.0.store(listed, Ordering::Relaxed),
            false => self.observe(Some(&listed.to_string())),
        }
        turned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_has_turned_when_a_list_is_behind_what_was_heard_before_it_was_asked_for() {
        let history = ResourceVersionTracker::default();
        assert!(!history.has_run_backwards(history.highest(), Some("100")));
        history.observe(Some("120"));
        history.observe(Some("110"));
        let before = history.highest();
        // An event that overtakes the list is later than the list.
        history.observe(Some("130"));
        assert!(!history.has_run_backwards(before, Some("125")));
        assert!(
            !history.has_run_backwards(history.highest(), Some("no number"))
                && !history.has_run_backwards(history.highest(), None)
        );
        assert!(history.has_run_backwards(history.highest(), Some("90")));
        assert!(!history.has_run_backwards(history.highest(), Some("91")), "once");
        assert_eq!(history.highest(), 91);
    }
}
