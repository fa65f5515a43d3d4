//! decide: what was observed → the status to be, an event if the verdict changed, and when to look again. Pure.
//!
//! **Contract.** `Ready` is True exactly when `Active` is, and `Active` only after an observed success. Exactly one of the four
//! verdict conditions is True once there is a verdict, and all are Unknown while there is none. Deciding twice on the same
//! observation gives the same status. An Active connection stays so, as `Degraded`, through fewer than `failureThreshold` checks in a
//! row that got no usable answer; everything that was seen counts at once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use ukg_pro::catalogue::Requirement;

use super::gate::is_of;
use crate::api::verdict::{is_verdict, standing_reason};
use crate::api::{Reason, UkgProConnection, UkgProConnectionStatus, Verdict, conditions};

mod candidate;
mod conclusion;
mod observation;
mod requeue;
mod standing;
mod status;

use self::requeue::requeue;
use self::status::status;
use candidate::Rehearsal;
use conclusion::Conclusion;
pub use observation::{Observation, Observed};
pub use requeue::first_due;
pub use standing::{overdue, rechecking};
use standing::{stands, suspended};

/// What is to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The whole status.
    pub status: UkgProConnectionStatus,
    /// What to tell people, if a verdict changed.
    pub events: Vec<Note>,
    /// When to look again.
    pub requeue: Duration,
}

/// A Kubernetes event to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is about the candidate.
    pub of_candidate: bool,
    /// Whether it is bad news.
    pub warning: bool,
    /// Its reason.
    pub reason: Reason,
    /// Its text.
    pub message: String,
}

/// Decides, given the rows that are required.
pub fn decide(connection: &UkgProConnection, requirements: &[Requirement], observed: &Observed, now: Timestamp) -> Decision {
    let none = UkgProConnectionStatus::default();
    let previous = connection.status.as_ref().unwrap_or(&none);
    if observed.observation == Observation::Suspended {
        return suspended(connection, previous, now);
    }
    if let Observation::Held(resolved, hold) = &observed.observation
        && observed.stands
        && let Some(until) = hold.until()
        && is_of(previous, connection, resolved)
        && is_verdict(previous)
    {
        return stands(connection, previous, observed, until, now);
    }
    let finding = Conclusion::of(connection, observed, previous, now);
    let candidate = Rehearsal::of(connection, requirements, observed, previous, now);
    let status = status(connection, requirements, previous, observed, &finding, candidate.as_ref(), now);
    let events = event(previous, &status, &finding).into_iter();
    let events = events.chain(candidate.and_then(|candidate| candidate.event(previous))).collect();
    let requeue = requeue(connection, previous, &status, &finding, observed, now);
    Decision { status, events, requeue }
}

/// When the connection was last checked, as far as that is written down: with whatever else is written, and by itself no more often than
/// the heartbeat.
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

/// An event where the reason or the set of missing permissions changed; the first success is no news, nor is a hiccup.
fn event(previous: &UkgProConnectionStatus, status: &UkgProConnectionStatus, finding: &Conclusion) -> Option<Note> {
    let before = standing_reason(previous).unwrap_or(Reason::Probing);
    let good = finding.reason.verdict() == Some(Verdict::Active);
    let same = before == finding.reason && previous.missing == status.missing;
    let neutral = [Reason::Probing, Reason::Suspended, Reason::CheckDelayed];
    let was_good = neutral.contains(&before) || before.verdict() == Some(Verdict::Active);
    if same || (was_good && good) || finding.reason == Reason::CheckDelayed {
        return None;
    }
    Some(Note { of_candidate: false, warning: !good, reason: finding.reason, message: finding.message.clone() })
}

#[cfg(test)]
pub(crate) mod tests;
