//! The decide step: turns an observation into the new status, an event if the verdict changed, and the time of the next check.
//! Pure.
//!
//! **Contract.** `Ready` is True exactly when `Active` is, and `Active` is True only after an observed success. While there is a
//! verdict, exactly one of the four verdict conditions is True; while there is none, all are Unknown. Deciding twice on the same
//! observation gives the same status. An Active connection stays so, as `Degraded`, through fewer than `failureThreshold`
//! consecutive checks without a usable answer. Any usable answer counts at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ukg_pro::catalogue::Requirement;

use super::gate::is_about_values;
use crate::api::verdict::{is_verdict, verdict_reason};
use crate::api::{Reason, UkgProConnection, UkgProConnectionStatus, Verdict, conditions};

mod candidate;
mod conclusion;
mod kept_verdict;
mod observation;
mod requeue;
mod status;

use self::requeue::requeue;
use self::status::status;
use candidate::CandidateOutcome;
use conclusion::Conclusion;
use kept_verdict::{keep_while_delayed, suspended};
pub use kept_verdict::{overdue, rechecking};
pub use observation::{Observation, Observed};
pub use requeue::first_due;

/// What to publish.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The whole status.
    pub status: UkgProConnectionStatus,
    /// The events to post, if a verdict changed.
    pub events: Vec<EventToPost>,
    /// The time until the next check.
    pub requeue: Duration,
}

/// A Kubernetes event to post.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventToPost {
    /// Whether it is about the candidate.
    pub of_candidate: bool,
    /// Whether its type is `Warning`.
    pub warning: bool,
    /// Its reason.
    pub reason: Reason,
    /// Its text.
    pub message: String,
}

/// Decides on an observation, given the required catalogue rows.
pub fn decide(connection: &UkgProConnection, requirements: &[Requirement], observed: &Observed, now: Timestamp) -> Decision {
    let none = UkgProConnectionStatus::default();
    let previous = connection.status.as_ref().unwrap_or(&none);
    if observed.observation == Observation::Suspended {
        return suspended(connection, previous, now);
    }
    if let Observation::Held(resolved, hold) = &observed.observation
        && observed.adds_nothing
        && let Some(until) = hold.until()
        && is_about_values(previous, connection, resolved)
        && is_verdict(previous)
    {
        return keep_while_delayed(connection, previous, observed, until, now);
    }
    let finding = Conclusion::of(connection, observed, previous, now);
    let candidate = CandidateOutcome::of(connection, requirements, observed, previous, now);
    let status = status(connection, requirements, previous, observed, &finding, candidate.as_ref(), now);
    let events = event(previous, &status, &finding).into_iter();
    let events = events.chain(candidate.and_then(|candidate| candidate.event(previous))).collect();
    let requeue = requeue(connection, previous, &status, &finding, observed, now);
    Decision { status, events, requeue }
}

/// Returns when the connection was last checked, as far as the status records it: together with any other change, and by itself
/// no more often than the heartbeat.
pub fn last_checked(
    connection: &UkgProConnection,
    status: &UkgProConnectionStatus,
    observed: &Observed,
    heartbeat: Option<Duration>,
    now: Timestamp,
) -> Option<Time> {
    let before = connection.status.as_ref().and_then(|status| status.last_checked_time.clone());
    let heartbeat = heartbeat.and_then(|heartbeat| SignedDuration::try_from(heartbeat).ok());
    let is_old = |heartbeat| before.as_ref().is_none_or(|before| now.duration_since(before.0).abs() >= heartbeat);
    let is_due = heartbeat.is_some_and(is_old) || connection.status.as_ref() != Some(status);
    if observed.observation.cost_a_login() && is_due { Some(conditions::whole_seconds(now)) } else { before }
}

/// Returns an event if the reason or the set of missing permissions changed. A first success, a Degraded check and a delay are no
/// news.
fn event(previous: &UkgProConnectionStatus, status: &UkgProConnectionStatus, finding: &Conclusion) -> Option<EventToPost> {
    let before = verdict_reason(previous).unwrap_or(Reason::Probing);
    let good = finding.reason.verdict() == Some(Verdict::Active);
    let same = before == finding.reason && previous.missing == status.missing;
    let neutral = [Reason::Probing, Reason::Suspended, Reason::CheckDelayed];
    let was_good = neutral.contains(&before) || before.verdict() == Some(Verdict::Active);
    if same || (was_good && good) || finding.reason == Reason::CheckDelayed {
        return None;
    }
    Some(EventToPost { of_candidate: false, warning: !good, reason: finding.reason, message: finding.message.clone() })
}

#[cfg(test)]
pub(crate) mod tests;
