//! Builds the list of conditions by Kubernetes' rules. Pure: time is a parameter.
//!
//! **Contract.** `lastTransitionTime` changes only when the status of a condition changes. The same findings always give the same
//! list, so nothing is written when nothing has changed.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// The condition types that every connection has, in the order they are written.
pub const ALWAYS: [&str; 5] = ["Ready", "Active", "Unauthorized", "Forbidden", "Unreachable"];
/// The summary: True exactly when `Active` is True.
pub const READY: &str = "Ready";
/// Whether the candidate can be promoted. Present while there is one.
pub const CANDIDATE_READY: &str = "CandidateReady";
/// kstatus: only a person can fix this. Present while True, absent otherwise.
pub const STALLED: &str = "Stalled";
/// kstatus: the operator retries. Present while True, absent otherwise.
pub const RECONCILING: &str = "Reconciling";

/// A condition to write, without its transition time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredCondition {
    /// Its type.
    pub type_: &'static str,
    /// Its status.
    pub status: Status,
    /// Its reason.
    pub reason: String,
    /// Its message.
    pub message: String,
}

/// A condition's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    #[allow(missing_docs)]
    True,
    #[allow(missing_docs)]
    False,
    #[allow(missing_docs)]
    Unknown,
}

impl Status {
    /// Returns the spelling of Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::True => "True",
            Status::False => "False",
            Status::Unknown => "Unknown",
        }
    }
}

/// Returns the condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Returns exactly the desired conditions. A condition whose status is unchanged keeps its previous transition time.
pub fn merge_conditions(
    previous: &[Condition],
    desired: Vec<DesiredCondition>,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    desired
        .into_iter()
        .map(|desired| {
            let since = find(previous, desired.type_)
                .filter(|before| before.status == desired.status.as_str())
                .map_or_else(|| whole_seconds(now), |before| before.last_transition_time.clone());
            Condition {
                type_: desired.type_.to_owned(),
                status: desired.status.as_str().to_owned(),
                reason: desired.reason,
                message: desired.message,
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

/// Truncates a time to whole seconds, as Kubernetes stores it, so that the written value equals the value read back.
pub fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).expect("a second of a time in range is in range"))
}

/// Returns a previous condition as a desired one, unchanged.
pub fn unchanged(type_: &'static str, before: &Condition) -> DesiredCondition {
    let status = match before.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    DesiredCondition { type_, status, reason: before.reason.clone(), message: before.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millisecond(second * 1000 + 999).expect("in range")
    }

    fn desired(type_: &'static str, status: Status, reason: &str) -> DesiredCondition {
        DesiredCondition { type_, status, reason: reason.to_owned(), message: format!("because of {reason}") }
    }

    #[test]
    fn the_time_moves_with_the_status_and_with_nothing_else() {
        let first = merge_conditions(&[], vec![desired("Ready", Status::False, "A")], Some(1), at(100));
        assert_eq!(first[0].last_transition_time, whole_seconds(at(100)));
        let reworded = merge_conditions(&first, vec![desired("Ready", Status::False, "B")], Some(2), at(200));
        assert_eq!(reworded[0].last_transition_time, whole_seconds(at(100)));
        assert_eq!((reworded[0].reason.as_str(), reworded[0].observed_generation), ("B", Some(2)));
        let turned = merge_conditions(&reworded, vec![desired("Ready", Status::True, "C")], Some(2), at(300));
        assert_eq!(turned[0].last_transition_time, whole_seconds(at(300)));
    }

    #[test]
    fn the_same_findings_give_the_same_list() {
        let list = || vec![desired("Ready", Status::True, "A"), desired("Active", Status::True, "A")];
        let first = merge_conditions(&[], list(), Some(1), at(1));
        assert_eq!(merge_conditions(&first, list(), Some(1), at(9)), first);
    }

    #[test]
    fn what_is_no_longer_wanted_goes() {
        let first = merge_conditions(
            &[],
            vec![desired("Ready", Status::False, "A"), desired("Stalled", Status::True, "A")],
            None,
            at(1),
        );
        let second = merge_conditions(&first, vec![desired("Ready", Status::True, "B")], None, at(2));
        assert!(find(&second, "Stalled").is_none());
    }
}
