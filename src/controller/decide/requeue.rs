//! When to look again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;

use crate::api::conditions::{self, READY};
use crate::api::verdict::{is_settled, standing_reason};
use crate::api::{Disposition, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::conclusion::Conclusion;
use crate::controller::decide::observation::{Observation, Observed, SOON};
use crate::schedule::hosts::PAUSE_MAX;

/// The first wait after a transient failure.
pub(super) const RETRY_MIN: Duration = Duration::from_secs(15);

/// The first wait for what another is to put there.
pub(super) const LOOK_MIN: Duration = Duration::from_secs(5);

/// The longest: an outage of hours must not mean hours more until it is seen to have ended.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(600);

/// When a connection that this process has not looked at is to be checked; `None` for at once. Settled ones come somewhere within
/// their wait, by their identity and the moment, so that a restart is no rush.
pub fn first_due(connection: &UkgProConnection, now: Timestamp) -> Option<Duration> {
    let status = connection.status.as_ref().filter(|_| is_settled(connection) && !connection.spec.suspend)?;
    let reason = standing_reason(status)?;
    // By the moment as well: the same ones must not come last after each of many restarts.
    let share = share(&(connection.metadata.uid.as_deref(), now.as_millisecond()));
    let wait = wait(connection, status, reason, now).mul_f64(share);
    let held = status.next_check_time.as_ref().map(|until| Duration::try_from(until.0.duration_since(now)).unwrap_or_default());
    Some(held.map_or(wait, |held| wait.min(held)))
}

/// When to look again. Nobody is asked again before the time it gave, and what is held until a time is looked at then.
pub(super) fn requeue(
    connection: &UkgProConnection,
    previous: &UkgProConnectionStatus,
    status: &UkgProConnectionStatus,
    finding: &Conclusion,
    observed: &Observed,
    now: Timestamp,
) -> Duration {
    let mut wait = wait(connection, status, finding.reason, now);
    let first = standing_reason(previous).is_none_or(|reason| reason == Reason::Probing);
    if first && finding.reason.disposition() == Disposition::Settled {
        // Connections that were made together do not stay together.
        wait = wait.mul_f64(0.5 + share(&(connection.metadata.uid.as_deref(), "second")) / 2.0);
    }
    if let Some(paused) = observed.observation.paused() {
        // Before that nothing can be learned.
        wait = Duration::try_from(paused.until().duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
    } else if let Some(until) = &status.next_check_time {
        wait = wait.min(Duration::try_from(until.0.duration_since(now)).unwrap_or_default() + Duration::from_secs(1));
    }
    if let Some(again_in) = observed.again_in {
        wait = wait.min(again_in);
    }
    let both = [Some(&observed.observation), observed.candidate.as_ref()];
    let asked = both.into_iter().flatten().filter_map(Observation::asked_to_wait).max();
    let asked = asked.unwrap_or_default().min(PAUSE_MAX);
    spread(connection, wait.max(asked), now)
}

/// How long a status stands before it is looked at again. Transient failures are retried after 15 s, doubling: by their count
/// while the connection is Degraded, then by how long it has been Unreachable, up to ten minutes or the interval; what a reference
/// names and is not there is looked for likewise. All is read off the status, so a restart does not begin anew.
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
        // A right that is given is not told of, nor is what is in a ConfigMap; it is looked for without a login.
        Reason::ReferenceForbidden | Reason::CaNotFound | Reason::CaInvalid => lasted(READY).clamp(LOOK_MIN, SOON),
        // It is told of unless `--watch-secrets` leaves it out.
        Reason::SecretNotFound => lasted(READY).clamp(RETRY_MIN, longest),
        _ if reason.verdict() == Some(Verdict::Unreachable) => lasted(Verdict::Unreachable.as_str()).clamp(RETRY_MIN, longest),
        _ => interval,
    }
}

/// Adds up to a tenth, by the object's identity and the moment, so that connections made together do not stay together.
pub(super) fn spread(connection: &UkgProConnection, wait: Duration, now: Timestamp) -> Duration {
    wait + wait.mul_f64(share(&(connection.metadata.uid.as_deref(), now.as_millisecond())) / 10.0)
}

/// From 0 to 1, by what it is of.
pub(super) fn share(of: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}
