//! The condition `CandidateReady`: whether the candidate would work as the live values.

use jiff::Timestamp;
use ukg_pro::catalogue::Requirement;

use crate::api::conditions::{self, CANDIDATE_READY, DesiredCondition, Status};
use crate::api::messages::{self, MessageArgs};
use crate::api::{CandidateStatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::EventToPost;
use crate::controller::decide::conclusion::{message_args, ready};
use crate::controller::decide::observation::{Observation, Observed, is_transient};
use crate::controller::gate::{self, Hold, candidate_fingerprint};

/// The condition and status of the candidate.
pub(super) struct CandidateOutcome {
    pub(super) condition: DesiredCondition,
    pub(super) reason: Option<Reason>,
    pub(super) status: Option<CandidateStatus>,
}

impl CandidateOutcome {
    /// Returns `None` if there is no candidate. The condition stays as it was while the candidate is not checked, and through
    /// transient failures.
    pub(super) fn of(
        connection: &UkgProConnection,
        requirements: &[Requirement],
        observed: &Observed,
        previous: &UkgProConnectionStatus,
        now: Timestamp,
    ) -> Option<Self> {
        let promoted = connection.promoted()?;
        let candidate_fingerprint = candidate_fingerprint(&promoted.spec, requirements);
        let looked = observed.candidate.as_ref().map(|observation| (observation, observation.finding(&Default::default())));
        let status = looked.as_ref().and_then(|(observation, _)| {
            let resolved = observation.resolved()?;
            let version = resolved.secret_version.clone();
            let worked = observation.worked(gate::recorded(&promoted, resolved).worked);
            let before = previous
                .candidate
                .as_ref()
                .filter(|before| before.checked_spec == candidate_fingerprint && before.secret_resource_version == version);
            let login_attempts = observation.attempts(before.and_then(|before| before.login_attempts.clone()));
            Some(CandidateStatus {
                checked_spec: candidate_fingerprint.clone(),
                secret_resource_version: version,
                worked,
                login_attempts,
            })
        });
        let before = conditions::find(&previous.conditions, CANDIDATE_READY);
        let same = previous.candidate.as_ref().is_some_and(|before| {
            let version = status.as_ref().map(|status| &status.secret_resource_version);
            before.checked_spec == candidate_fingerprint
                && version.map_or(looked.is_none(), |version| *version == before.secret_resource_version)
        });
        // A hold that does not end by itself repeats what was reported.
        let passes = looked.as_ref().is_none_or(|(observation, (reason, _))| match observation {
            Observation::Held(_, Hold::Paused(_)) => true,
            Observation::Held(_, hold) => hold.until().is_none() && before.is_some_and(|before| before.status == "False"),
            _ => is_transient(*reason),
        });
        if let Some(before) = before.filter(|_| same && passes) {
            return Some(Self {
                condition: conditions::unchanged(CANDIDATE_READY, before),
                reason: None,
                // Only the login attempts are updated.
                status: status.or_else(|| previous.candidate.clone()).map(|status| CandidateStatus {
                    worked: previous.candidate.as_ref().map(|before| before.worked).unwrap_or_default(),
                    ..status
                }),
            });
        }
        let (reason, message) = match looked {
            None => (Reason::Probing, messages::message(Reason::Probing, &MessageArgs::default())),
            Some((observation, (reason, detail))) => {
                let args = message_args(observation, reason, detail, &promoted.spec.secret_ref.name, now);
                (reason, messages::candidate(reason, &args))
            }
        };
        let ready = match reason {
            _ if reason.verdict() == Some(Verdict::Active) => Status::True,
            _ if is_transient(reason) => Status::Unknown,
            _ => ready(reason),
        };
        let condition = DesiredCondition { type_: CANDIDATE_READY, status: ready, reason: reason.as_str().to_owned(), message };
        Some(Self { condition, reason: Some(reason).filter(|reason| *reason != Reason::Probing), status })
    }

    /// Returns an event if the candidate's reason changed.
    pub(super) fn event(self, previous: &UkgProConnectionStatus) -> Option<EventToPost> {
        let before = conditions::find(&previous.conditions, CANDIDATE_READY).map(|before| before.reason.as_str());
        let reason = self.reason.filter(|reason| before != Some(reason.as_str()))?;
        let warning = reason.verdict() != Some(Verdict::Active);
        Some(EventToPost { of_candidate: true, warning, reason, message: self.condition.message })
    }
}
