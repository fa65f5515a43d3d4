//! When a connection is checked next: its interval, backoff and jitter.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::conditions::{self, RECONCILING, STALLED};
use crate::api::verdict::{is_settled, verdict_reason};
use crate::api::{Kstatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::conclusion::Conclusion;
use crate::controller::decide::observation::{Observation, Observed, SOON};
use crate::schedule::hosts::PAUSE_MAX;

/// The first wait after a transient failure.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(15);

/// The first wait for a missing right or CA bundle.
const LOOK_MIN: Duration = Duration::from_secs(5);

/// The longest wait after a transient failure: the end of an outage of hours must not go unnoticed for hours.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Returns when a connection that this process has not checked is due; `None` for at once. Settled ones are spread over their
/// wait by a jitter from their identity and the time, so that a restart causes no burst.
pub fn first_due(connection: &UkgProConnection, now: Timestamp) -> Option<Duration> {
    let status = connection.status.as_ref().filter(|_| is_settled(connection) && !connection.spec.suspend)?;
    let reason = verdict_reason(status)?;
    // The time is part of the jitter: repeated restarts must not always put the same connections last.
    let jitter = jitter(&(connection.metadata.uid.as_deref(), now.as_millisecond()));
    let wait = wait(connection, status, reason, now).mul_f64(jitter);
    let held = status.next_check_time.as_ref().map(|until| Duration::try_from(until.0.duration_since(now)).unwrap_or_default());
    Some(held.map_or(wait, |held| wait.min(held)))
}

/// Returns when to check again: not before the time that the host asked for, and no later than the end of a hold.
pub(super) fn requeue(
    connection: &UkgProConnection,
    previous: &UkgProConnectionStatus,
    status: &UkgProConnectionStatus,
    finding: &Conclusion,
    observed: &Observed,
    now: Timestamp,
) -> Duration {
    let mut wait = wait(connection, status, finding.reason, now);
    if verdict_reason(previous) != Some(finding.reason) {
        // The trouble is new, whatever was wrong before and for how long.
        wait = match finding.reason {
            Reason::ReferenceForbidden | Reason::CaNotFound | Reason::CaInvalid => LOOK_MIN,
            Reason::SecretNotFound => RETRY_MIN,
            _ => wait,
        };
    }
    let first = verdict_reason(previous).is_none_or(|reason| reason == Reason::Probing);
    if first && finding.reason.kstatus() == Kstatus::Current {
        // Spread connections that were created together.
        wait = wait.mul_f64(0.5 + jitter(&(connection.metadata.uid.as_deref(), "second")) / 2.0);
    }
    if let Some(paused) = observed.observation.paused() {
        // Changed values are tried at once, but no event reports a change where Secrets are not watched.
        let paused = Duration::try_from(paused.until().duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
        wait = connection.spec.interval().min(paused);
    } else if let Some(until) = &status.next_check_time {
        wait = wait.min(Duration::try_from(until.0.duration_since(now)).unwrap_or_default() + Duration::from_secs(1));
    }
    if let Some(again_in) = observed.again_in {
        wait = wait.min(again_in);
    }
    let both = [Some(&observed.observation), observed.candidate.as_ref()];
    let asked = both.into_iter().flatten().filter_map(Observation::asked_to_wait).max();
    let asked = asked.unwrap_or_default().min(PAUSE_MAX);
    add_jitter(connection, wait.max(asked), now)
}

/// Returns how long a status stands before the next check. Transient failures are retried with a backoff: after 15 s, doubling,
/// up to ten minutes or the interval. The backoff follows the count of failures while the connection is Degraded, then the time
/// it has been Unreachable. A missing object is looked for likewise. All is read from the status, so a restart does not start
/// anew.
pub(super) fn wait(connection: &UkgProConnection, status: &UkgProConnectionStatus, reason: Reason, now: Timestamp) -> Duration {
    let interval = connection.spec.interval();
    let longest = interval.clamp(RETRY_MIN, RETRY_MAX);
    if reason == Reason::Degraded {
        let doubled = RETRY_MIN * 2_u32.pow(u32::try_from(status.failures.clamp(1, 10) - 1).unwrap_or(0));
        return doubled.min(longest);
    }
    let lasted = |type_| {
        let since = conditions::find(&status.conditions, type_).map(|condition| condition.last_transition_time.0);
        since.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default()
    };
    match reason {
        // No watch reports a right that is granted or a ConfigMap that changes. Looking for them costs no login. The condition that
        // says who acts next is there since this trouble began; `Ready` may have been False for another reason before.
        Reason::ReferenceForbidden | Reason::CaNotFound => lasted(RECONCILING).clamp(LOOK_MIN, SOON),
        Reason::CaInvalid => lasted(STALLED).clamp(LOOK_MIN, SOON),
        // The watch reports it, unless `--watch-secrets` leaves it out.
        Reason::SecretNotFound => lasted(RECONCILING).clamp(RETRY_MIN, longest),
        _ if reason.verdict() == Some(Verdict::Unreachable) => lasted(Verdict::Unreachable.as_str()).clamp(RETRY_MIN, longest),
        _ => interval,
    }
}

/// Adds a jitter of up to a tenth, derived from the object's identity and the time, so that connections that were created together
/// do not stay together.
pub(super) fn add_jitter(connection: &UkgProConnection, wait: Duration, now: Timestamp) -> Duration {
    wait + wait.mul_f64(jitter(&(connection.metadata.uid.as_deref(), now.as_millisecond())) / 10.0)
}

/// Returns a number from 0 to 1 that depends on the hash of `of`.
pub(super) fn jitter(of: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
