//! What a status says: its reason, and whether it is about the connection as it is. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions;
use super::reason::{Reason, Verdict};
use super::spec::UkgProConnection;
use super::status::UkgProConnectionStatus;

/// The reason behind the verdict conditions, which outlives a suspension; `None` for a status of no operator or of a newer one.
pub fn standing_reason(status: &UkgProConnectionStatus) -> Option<Reason> {
    let of = |condition: &Condition| Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason);
    let verdict = Verdict::ALL.iter().find(|verdict| conditions::is_true(&status.conditions, verdict.as_str()));
    conditions::find(&status.conditions, verdict.unwrap_or(&Verdict::Active).as_str()).and_then(of)
}

/// Whether a status is about the connection as it is, so that nobody waits for a check.
pub fn is_settled(connection: &UkgProConnection) -> bool {
    let Some(status) = &connection.status else { return false };
    status.observed_generation == connection.metadata.generation
        && connection.open_request().is_none()
        && status.checked_spec.as_ref() == Some(&connection.spec.checked())
        && is_verdict(status)
}

/// Whether a check has told something of the connection as it is or as it was.
pub fn has_verdict(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(is_verdict)
}

/// Whether a status tells of a check that was made, and still vouches for it.
pub fn is_verdict(status: &UkgProConnectionStatus) -> bool {
    let none = [Reason::Probing, Reason::CheckDelayed, Reason::CheckOverdue];
    standing_reason(status).is_some_and(|reason| !none.contains(&reason))
}

/// Whether the last check got no usable answer.
pub fn is_failing(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(|status| {
        status.failures > 0 || standing_reason(status).and_then(Reason::verdict) == Some(Verdict::Unreachable)
    })
}
