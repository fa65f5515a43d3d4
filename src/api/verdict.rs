//! Reads the reason from a status, and whether it is about the current connection. Pure.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions;
use super::reason::{Reason, Verdict};
use super::spec::UkgProConnection;
use super::status::UkgProConnectionStatus;

/// Returns the reason of the verdict conditions, which a suspension does not change; `None` if no operator, or a newer one, wrote
/// the status.
pub fn verdict_reason(status: &UkgProConnectionStatus) -> Option<Reason> {
    let of = |condition: &Condition| Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason);
    let verdict = Verdict::ALL.iter().find(|verdict| conditions::is_true(&status.conditions, verdict.as_str()));
    conditions::find(&status.conditions, verdict.unwrap_or(&Verdict::Active).as_str()).and_then(of)
}

/// Whether the status covers the current spec and check request, so nobody waits for a check.
pub fn is_settled(connection: &UkgProConnection) -> bool {
    let Some(status) = &connection.status else { return false };
    status.observed_generation == connection.metadata.generation
        && connection.open_request().is_none()
        && status.checked_spec.as_ref() == Some(&connection.spec.checked())
        && is_verdict(status)
}

/// Whether the connection has a verdict, about its current or an earlier spec.
pub fn has_verdict(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(is_verdict)
}

/// Whether a status is the result of a check and is still valid.
pub fn is_verdict(status: &UkgProConnectionStatus) -> bool {
    let none = [Reason::Probing, Reason::CheckDelayed, Reason::CheckOverdue];
    verdict_reason(status).is_some_and(|reason| !none.contains(&reason))
}

/// Whether the last check got no usable answer.
pub fn is_failing(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(|status| {
        status.failures > 0 || verdict_reason(status).and_then(Reason::verdict) == Some(Verdict::Unreachable)
    })
}
