//! Decisions that keep the verdict, and the one that withdraws an overdue verdict.
//!
//! The verdict is kept while changed values are checked, while a host is waited for, and while the connection is suspended.

use std::time::Duration;

use jiff::Timestamp;

use crate::api::conditions::{self, CANDIDATE_READY, DesiredCondition, READY, RECONCILING, STALLED, Status};
use crate::api::messages::{self, MessageArgs};
use crate::api::verdict::{is_settled, verdict_reason};
use crate::api::{OverdueCause, PermissionState, PermissionStatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::conclusion::{Conclusion, conditions_of};
use crate::controller::decide::observation::{Observation, Observed};
use crate::controller::decide::requeue::add_jitter;
use crate::controller::decide::status::binding;
use crate::controller::decide::{Decision, EventToPost};

/// Returns the conditions that are always present, and those of the types in `also`, unchanged.
fn all_unchanged(previous: &UkgProConnectionStatus, also: &[&'static str]) -> impl Iterator<Item = DesiredCondition> {
    previous.conditions.iter().filter_map(|condition| {
        let type_ = conditions::ALWAYS.into_iter().chain(also.iter().copied()).find(|type_| *type_ == condition.type_)?;
        Some(conditions::unchanged(type_, condition))
    })
}

/// Keeps the verdict while changed values are checked, and reports that in `Reconciling`. `Stalled` is dropped: only the new
/// values show whether a user must act. Returns `None` if the status has no verdict about the present spec, because then nobody
/// can mistake it for a verdict about the new values.
pub fn rechecking(connection: &UkgProConnection, now: Timestamp) -> Option<Decision> {
    let previous = connection.status.as_ref().filter(|_| is_settled(connection) && !connection.spec.suspend)?;
    let message = messages::rechecking(&connection.spec.secret_ref.name);
    let reconciling =
        DesiredCondition { type_: RECONCILING, status: Status::True, reason: Reason::Probing.as_str().to_owned(), message };
    let desired = all_unchanged(previous, &[CANDIDATE_READY]).chain([reconciling]).collect();
    let conditions = conditions::merge_conditions(&previous.conditions, desired, connection.metadata.generation, now);
    let status = UkgProConnectionStatus { conditions, ..previous.clone() };
    Some(Decision { status, events: Vec::new(), requeue: Duration::ZERO })
}

/// Keeps the verdict while a check that a user waits for must wait for its host: `Reconciling` says why and until when. If the
/// login must wait, the verdict says so already.
pub(super) fn keep_while_delayed(
    connection: &UkgProConnection,
    previous: &UkgProConnectionStatus,
    observed: &Observed,
    until: Timestamp,
    now: Timestamp,
) -> Decision {
    let Conclusion { reason, message } = Conclusion::of(connection, observed, previous, now);
    let is_paused = reason == Reason::LoginPaused;
    let also: &[_] = if is_paused { &[CANDIDATE_READY, STALLED, RECONCILING] } else { &[CANDIDATE_READY] };
    let kept = all_unchanged(previous, also);
    let waits = DesiredCondition { type_: RECONCILING, status: Status::True, reason: reason.as_str().to_owned(), message };
    let generation = connection.metadata.generation;
    let status = UkgProConnectionStatus {
        observed_generation: generation,
        next_check_time: Some(conditions::whole_seconds(until)),
        login_attempts: observed.observation.attempts(previous.login_attempts.clone()),
        conditions: conditions::merge_conditions(
            &previous.conditions,
            kept.chain((!is_paused).then_some(waits)).collect(),
            generation,
            now,
        ),
        ..previous.clone()
    };
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
    // Changed values are tried at once, but no event reports a change where Secrets are not watched.
    let wait = if is_paused { wait.min(connection.spec.interval()) } else { wait };
    Decision { status, events: Vec::new(), requeue: add_jitter(connection, wait, now) }
}

/// Withdraws an Active verdict that could not be checked for several intervals, and says why; `None` if there is none. What is
/// known about the values stays, so that no login is spent on learning it again.
pub fn overdue(connection: &UkgProConnection, why: OverdueCause, now: Timestamp) -> Option<Decision> {
    let previous = connection.status.as_ref()?;
    let is_ready = verdict_reason(previous).and_then(Reason::verdict) == Some(Verdict::Active);
    if !is_ready || connection.spec.suspend {
        return None;
    }
    let args = MessageArgs { detail: messages::overdue_text(why).to_owned(), ..MessageArgs::default() };
    let message = messages::message(Reason::CheckOverdue, &args);
    let mut desired = conditions_of(&Conclusion { reason: Reason::CheckOverdue, message: message.clone() });
    let candidate = conditions::find(&previous.conditions, CANDIDATE_READY);
    desired.extend(candidate.map(|candidate| conditions::unchanged(CANDIDATE_READY, candidate)));
    let unknown = |permission: &PermissionStatus| PermissionStatus {
        state: PermissionState::Unknown,
        reason: Some(Reason::CheckOverdue.as_str().to_owned()),
        remedy: None,
        since: conditions::whole_seconds(now),
        ..permission.clone()
    };
    // If the spec has changed since without a check, the generation stays that of the verdict.
    let status = UkgProConnectionStatus {
        state: "Unknown".to_owned(),
        missing: None,
        failures: 0,
        conditions: conditions::merge_conditions(&previous.conditions, desired, previous.observed_generation, now),
        permissions: previous.permissions.iter().map(unknown).collect(),
        ..previous.clone()
    };
    let events = vec![EventToPost { of_candidate: false, warning: true, reason: Reason::CheckOverdue, message }];
    Some(Decision { status, events, requeue: Duration::ZERO })
}

/// Keeps the verdict; only `Ready` says that the connection is not checked. A verdict about other spec fields than the present
/// ones is dropped.
pub(super) fn suspended(connection: &UkgProConnection, previous: &UkgProConnectionStatus, now: Timestamp) -> Decision {
    let generation = connection.metadata.generation;
    let stays = previous.checked_spec == Some(connection.spec.checked());
    let message = messages::message(Reason::Suspended, &MessageArgs::default());
    let keep = |type_: &'static str| {
        let before = conditions::find(&previous.conditions, type_).filter(|_| stays);
        let before = before.map_or(
            DesiredCondition { type_, status: Status::Unknown, reason: String::new(), message: String::new() },
            |condition| conditions::unchanged(type_, condition),
        );
        match before.reason.as_str() {
            "" => DesiredCondition { reason: Reason::Suspended.as_str().to_owned(), message: message.clone(), ..before },
            _ if type_ == READY => {
                DesiredCondition { reason: Reason::Suspended.as_str().to_owned(), message: message.clone(), ..before }
            }
            _ => before,
        }
    };
    let promoted = connection.spec.promoted().map(|spec| spec.checked());
    let same_candidate = previous
        .candidate
        .as_ref()
        .is_some_and(|candidate| promoted.is_some_and(|checked| candidate.checked_spec.starts_with(&checked)));
    let candidate =
        conditions::find(&previous.conditions, CANDIDATE_READY).filter(|_| stays && same_candidate).map(|_| CANDIDATE_READY);
    let desired = conditions::ALWAYS.into_iter().chain(candidate).map(keep).collect();
    let before = if stays { previous.clone() } else { UkgProConnectionStatus::default() };
    let status = UkgProConnectionStatus {
        observed_generation: generation,
        binding: binding(connection, previous, &Observation::Suspended),
        candidate: before.candidate.clone().filter(|_| same_candidate),
        state: if before.state.is_empty() { "Unknown".to_owned() } else { before.state },
        conditions: conditions::merge_conditions(&previous.conditions, desired, generation, now),
        ..before
    };
    Decision { status, events: Vec::new(), requeue: add_jitter(connection, connection.spec.interval(), now) }
}
