//! The whole status after a check.

use jiff::Timestamp;
use ukg_pro::catalogue::{Api, Requirement};
use ukg_pro::outcome::Outcome;

use crate::api::{
    Access, ApiKind, Binding, PermissionState, PermissionStatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict,
    conditions, messages,
};
use crate::controller::decide::candidate::CandidateOutcome;
use crate::controller::decide::conclusion::{Conclusion, conditions_of};
use crate::controller::decide::observation::{Observation, Observed, permission_state, reason_of_unanswered};
use crate::controller::gate::{self, Paused, is_about_values};
use crate::controller::resolve::Unresolved;

pub(super) fn status(
    connection: &UkgProConnection,
    requirements: &[Requirement],
    previous: &UkgProConnectionStatus,
    observed: &Observed,
    finding: &Conclusion,
    candidate: Option<&CandidateOutcome>,
    now: Timestamp,
) -> UkgProConnectionStatus {
    let Observed { observation, failures, .. } = observed;
    let generation = connection.metadata.generation;
    let permissions = match finding.reason {
        // As far as is known, they have not changed.
        Reason::Degraded => previous.permissions.clone(),
        reason => permissions(requirements, previous, observation, reason, now),
    };
    let missing: Vec<_> = permissions.iter().filter(|p| p.state == PermissionState::Denied).map(|p| p.name.as_str()).collect();
    let resolved = observation.resolved();
    let held_until = match observation {
        Observation::Held(_, hold) => hold.until(),
        _ => observation.paused().map(Paused::until),
    };
    let is_same = resolved.is_some_and(|resolved| is_about_values(previous, connection, resolved));
    let attempts = observation.attempts(previous.login_attempts.clone().filter(|_| is_same));
    let mut desired = conditions_of(finding);
    desired.extend(candidate.map(|candidate| candidate.condition.clone()));
    UkgProConnectionStatus {
        observed_generation: generation,
        state: finding.reason.verdict().map_or("Unknown", Verdict::as_str).to_owned(),
        endpoint: resolved.map(|resolved| resolved.endpoint.clone()),
        binding: binding(connection, previous, observation),
        // A request that waits is not answered yet.
        last_handled_reconcile_at: match finding.reason {
            Reason::CheckDelayed => previous.last_handled_reconcile_at.clone(),
            _ => connection.requested_at().map(str::to_owned),
        },
        checked_spec: Some(connection.spec.checked()),
        missing: (!missing.is_empty()).then(|| missing.join(", ")),
        secret_resource_version: resolved.map(|resolved| resolved.secret_version.clone()),
        failures: if finding.reason == Reason::Degraded { *failures } else { 0 },
        worked: resolved.map(|resolved| observation.worked(gate::recorded(connection, resolved).worked)).unwrap_or_default(),
        last_checked_time: previous.last_checked_time.clone(),
        next_check_time: held_until.map(conditions::whole_seconds),
        login_attempts: attempts,
        candidate: candidate.and_then(|candidate| candidate.status.clone()),
        conditions: conditions::merge_conditions(&previous.conditions, desired, generation, now),
        permissions,
    }
}

/// Returns what a workload can bind to. Consumers of a binding look for a Secret, not for a verdict: an outage at UKG Pro must
/// not unbind running workloads, and consumers that need a verdict can wait for `Ready`. So the binding depends only on the
/// Secret and its name.
pub(super) fn binding(
    connection: &UkgProConnection,
    previous: &UkgProConnectionStatus,
    observation: &Observation,
) -> Option<Binding> {
    let binding = Binding { name: connection.spec.secret_ref.name.clone() };
    let is_there = match observation {
        Observation::Unresolved(
            Unresolved::SecretNotFound
            | Unresolved::SecretKeysMissing(_)
            | Unresolved::SecretValueNotText(_)
            | Unresolved::SecretValueTooLong(_)
            | Unresolved::KeyShared(_),
        ) => false,
        // Something else is wrong, and the Secret was not read, or not completely.
        Observation::Unresolved(_) | Observation::Suspended => previous.binding.as_ref() == Some(&binding),
        _ => true,
    };
    is_there.then_some(binding)
}

pub(super) fn permissions(
    requirements: &[Requirement],
    previous: &UkgProConnectionStatus,
    observation: &Observation,
    overall: Reason,
    now: Timestamp,
) -> Vec<PermissionStatus> {
    let describe = |requirement: &Requirement, state: PermissionState, reason: Option<Reason>| {
        let row = &requirement.row;
        let before = previous.permissions.iter().find(|before| before.name == row.name && before.state == state);
        PermissionStatus {
            name: row.name.clone(),
            title: row.title.clone(),
            access: Access::View,
            api: match requirement.api {
                Api::Soap => ApiKind::Soap,
                Api::Rest => ApiKind::Rest,
            },
            state,
            reason: reason.map(|reason| reason.as_str().to_owned()),
            remedy: messages::remedy(state, row),
            since: before.map_or_else(|| conditions::whole_seconds(now), |before| before.since.clone()),
        }
    };
    match observation {
        Observation::Probed(_, probed) => probed
            .iter()
            .map(|found| {
                let reason = match found.outcome {
                    Outcome::Granted | Outcome::GrantedUnfiltered => None,
                    Outcome::Denied | Outcome::TokenRefused { denies: true } => Some(Reason::PermissionsMissing),
                    Outcome::LoginRefused => Some(Reason::RestLoginRefused),
                    Outcome::Undetermined | Outcome::TokenRefused { denies: false } => Some(Reason::PermissionsUndetermined),
                    Outcome::Held => Some(Reason::LoginUncertain),
                    Outcome::Error(unanswered) => Some(reason_of_unanswered(unanswered)),
                };
                describe(&found.requirement, permission_state(found.outcome), reason)
            })
            .collect(),
        Observation::Promoted(_, granted) => {
            granted.iter().map(|requirement| describe(requirement, PermissionState::Granted, None)).collect()
        }
        // Not tested by this check, so nothing is claimed.
        _ => requirements.iter().map(|requirement| describe(requirement, PermissionState::Unknown, Some(overall))).collect(),
    }
}
