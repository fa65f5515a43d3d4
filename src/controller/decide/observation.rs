//! What a check observed, and the one reason that it comes down to.

use std::time::Duration;

use ukg_pro::catalogue::{Api, Requirement};
use ukg_pro::login::{LoginFailure, Refusal, UndeterminedReason};
use ukg_pro::outcome::Outcome;
use ukg_pro::transport::Unanswered;

use crate::api::messages::{self, MessageArgs};
use crate::api::verdict::verdict_reason;
use crate::api::{
    CaReference, LoginAttempts, PermissionState, Reason, UkgProConnection, UkgProConnectionStatus, Verdict, Worked, conditions,
};
use crate::controller::gate::{Hold, Paused, is_about_values, is_refusal};
use crate::controller::lint::{self, Finding};
use crate::controller::probe::{self, Probed};
use crate::controller::resolve::{CaFlaw, Resolved, Unresolved, VALUE_MAX};
use crate::login_guard::RestResult;

/// The wait for what was left out of a check, and the longest wait for a missing right or CA bundle: no more than the least
/// interval.
pub(super) const SOON: Duration = Duration::from_secs(60);

/// How far the check got. Each variant holds what is known at that point and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing was read or sent.
    Suspended,
    /// The connection refers to nothing that can be checked.
    Unresolved(Unresolved),
    /// Values that cannot be right.
    Malformed(Resolved, Vec<Finding>),
    /// A login that was not sent.
    Held(Resolved, Hold),
    /// A login that gave no session, and, if its answer was no refusal either, the consecutive logins of that kind.
    LoginFailed(Resolved, LoginFailure, Option<Paused>),
    /// A login that worked, and the result of each probe.
    Probed(Resolved, Vec<Probed>),
    /// These values were found to work, with these permissions, while they were the candidate.
    Promoted(Resolved, Vec<Requirement>),
}

/// An observation, together with what it means after the previous status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    pub(super) observation: Observation,
    /// What was observed of the candidate, if there is one and it was checked.
    pub(super) candidate: Option<Observation>,
    /// How many consecutive checks, with this one, got no usable answer, up to the failure threshold; 0 if this one got an
    /// answer. Counted when the check is made, so that deciding again does not count again.
    pub(super) failures: i32,
    /// Whether it adds nothing to what is known about the values, so that their verdict stands.
    pub(super) adds_nothing: bool,
    /// The wait until what was left out is checked, if something was.
    pub(super) again_in: Option<Duration>,
}

impl Observed {
    /// Creates an observation of this connection as it is.
    pub fn of(connection: &UkgProConnection, observation: Observation, candidate: Option<Observation>) -> Self {
        let threshold = connection.spec.failure_threshold();
        let before = match (&connection.status, observation.resolved()) {
            (Some(status), Some(resolved)) if is_about_values(status, connection, resolved) => {
                status.failures.clamp(0, threshold)
            }
            _ => 0,
        };
        let adds_nothing = match &observation {
            Observation::Held(_, Hold::Delayed(..)) => true,
            // Unless another connection has tried the same values since.
            Observation::Held(_, Hold::Paused(paused)) => {
                connection.status.as_ref().is_some_and(|status| status.tried() >= Some(paused.tried))
            }
            _ => false,
        };
        let is_failure = is_transient(observation.reason()) || (observation.paused().is_some() && !adds_nothing);
        let failures = if is_failure { (before + 1).min(threshold) } else { 0 };
        Self { observation, candidate, failures, adds_nothing, again_in: None }
    }

    /// The same, to be checked again soon.
    pub fn again_soon(self) -> Self {
        self.again_in(SOON)
    }

    /// The same, to be checked again after this time. Every check covers the live values too, so none is made before the part
    /// that was left out can be checked.
    pub fn again_in(self, wait: Duration) -> Self {
        Self { again_in: Some(wait.max(SOON)), ..self }
    }

    /// Returns the reason it comes down to by itself.
    pub fn reason(&self) -> Reason {
        self.observation.reason()
    }

    /// Whether nothing was sent, because the host must not be asked yet.
    pub fn is_delayed(&self) -> bool {
        matches!(self.observation, Observation::Held(_, Hold::Delayed(..)))
    }

    /// Whether a login was sent for it.
    pub fn cost_a_login(&self) -> bool {
        self.observation.cost_a_login() || self.candidate.as_ref().is_some_and(Observation::cost_a_login)
    }

    /// Returns what was resolved, if the check got that far.
    pub fn resolved(&self) -> Option<&Resolved> {
        self.observation.resolved()
    }
}

/// Whether a reason may pass by itself, and so does not replace another at once. An answer that shows nothing is still an answer.
pub(super) fn is_transient(reason: Reason) -> bool {
    reason.verdict() == Some(Verdict::Unreachable)
}

impl Observation {
    /// Returns the reads that returned people although they match nobody, and their host.
    pub fn unfiltered(&self) -> impl Iterator<Item = (&Requirement, &str)> {
        let (host, probed) = match self {
            Self::Probed(resolved, probed) => (resolved.endpoint.as_str(), probed.as_slice()),
            _ => ("", &[][..]),
        };
        let unfiltered = probed.iter().filter(|found| found.outcome == Outcome::GrantedUnfiltered);
        unfiltered.map(move |found| (&found.requirement, host))
    }

    /// Whether a login was sent for it.
    pub fn cost_a_login(&self) -> bool {
        matches!(self, Self::LoginFailed(..) | Self::Probed(..))
    }

    /// Returns what was resolved, if the check got that far.
    pub fn resolved(&self) -> Option<&Resolved> {
        match self {
            Self::Suspended | Self::Unresolved(_) => None,
            Self::Malformed(resolved, _)
            | Self::Held(resolved, _)
            | Self::LoginFailed(resolved, ..)
            | Self::Probed(resolved, _)
            | Self::Promoted(resolved, _) => Some(resolved),
        }
    }

    /// Returns what has worked with these values, given what had worked before.
    pub(super) fn worked(&self, before: Worked) -> Worked {
        match self {
            Self::Probed(_, probed) => {
                let rest = match probe::rest_result(probed) {
                    Some(RestResult::Works) => true,
                    Some(RestResult::Refused) => false,
                    Some(RestResult::Unanswered) | None => before.rest,
                };
                Worked { login: true, rest }
            }
            Self::Promoted(_, granted) => {
                Worked { login: true, rest: before.rest || granted.iter().any(|required| required.api == Api::Rest) }
            }
            Self::LoginFailed(_, failure, _) if failure.forbids_automatic_retry() => Worked::default(),
            Self::Held(_, hold) if hold.until().is_none() => Worked::default(),
            _ => before,
        }
    }

    /// Returns the consecutive logins that were answered neither with a session nor with a refusal, if the last login is one of
    /// them.
    pub fn paused(&self) -> Option<Paused> {
        match self {
            Self::LoginFailed(_, _, paused) => *paused,
            Self::Held(_, Hold::Paused(paused)) => Some(*paused),
            _ => None,
        }
    }

    /// Returns what the status records of these logins.
    pub(super) fn attempts(&self, before: Option<LoginAttempts>) -> Option<LoginAttempts> {
        match self {
            Self::Probed(..) | Self::Promoted(..) => None,
            Self::LoginFailed(_, failure, _) if failure.forbids_automatic_retry() => None,
            Self::Held(_, Hold::Refused(_) | Hold::StatusStands) => None,
            _ => self.paused().map(|paused| paused.tried.into()).or(before),
        }
    }

    /// Whether the host gave no usable answer; `None` if it was not asked.
    pub fn is_unanswered(&self) -> Option<bool> {
        match self {
            Self::LoginFailed(_, failure, _) => Some(matches!(failure, LoginFailure::Unanswered(_))),
            Self::Probed(_, probed) => Some(probed.iter().any(|found| matches!(found.outcome, Outcome::Error(_)))),
            _ => None,
        }
    }

    /// Whether it is about the host's certificate.
    pub fn is_about_trust(&self) -> bool {
        matches!(self.reason(), Reason::TlsUntrusted | Reason::TlsFailed)
    }

    /// Returns why no usable answers came, at the login or at reads.
    pub(super) fn unanswered(&self) -> impl Iterator<Item = Unanswered> {
        let (login, probed) = match self {
            Self::LoginFailed(_, LoginFailure::Unanswered(unanswered), _) => (Some(*unanswered), &[][..]),
            Self::Probed(_, probed) => (None, &probed[..]),
            _ => (None, &[][..]),
        };
        login.into_iter().chain(probed.iter().filter_map(|found| match found.outcome {
            Outcome::Error(unanswered) => Some(unanswered),
            _ => None,
        }))
    }

    /// Returns how long the host asked to wait, if it did.
    pub(super) fn asked_to_wait(&self) -> Option<Duration> {
        let of = |unanswered| match unanswered {
            Unanswered::RateLimited { retry_after } | Unanswered::Unavailable { retry_after } => retry_after,
            _ => None,
        };
        self.unanswered().filter_map(of).max()
    }

    /// Returns `Some` if the host limits requests, with the longest wait that it asked for, if any.
    pub fn rate_limited(&self) -> Option<Option<Duration>> {
        let of = |unanswered| match unanswered {
            Unanswered::RateLimited { retry_after } => Some(retry_after),
            _ => None,
        };
        self.unanswered().filter_map(of).max()
    }

    pub(super) fn reason(&self) -> Reason {
        self.finding(&UkgProConnectionStatus::default()).0
    }

    /// Returns the one reason it comes down to, and its detail.
    pub(super) fn finding(&self, previous: &UkgProConnectionStatus) -> (Reason, String) {
        match self {
            Self::Suspended => (Reason::Suspended, String::new()),
            Self::Unresolved(unresolved) => reason_of_unresolved(unresolved),
            Self::Malformed(_, findings) => (lint::reason(findings), lint::text(findings)),
            Self::Held(_, hold) => reason_of_hold(*hold, previous),
            Self::LoginFailed(_, failure, paused) => reason_of_login(*failure, *paused),
            Self::Probed(_, probed) => reason_of_probes(probed),
            Self::Promoted(_, granted) => (reason_of_success(granted.len()), String::new()),
        }
    }
}

fn reason_of_unresolved(unresolved: &Unresolved) -> (Reason, String) {
    match unresolved {
        Unresolved::PermissionsUnknown(unknown) => {
            let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
            (Reason::PermissionUnknown, unknown.join("; "))
        }
        Unresolved::TooManyPermissions => {
            (Reason::PermissionUnknown, "there are more than 128 of them; divide them among several connections".to_owned())
        }
        Unresolved::SecretNotFound => (Reason::SecretNotFound, String::new()),
        Unresolved::Forbidden(what) => (Reason::ReferenceForbidden, what.clone()),
        Unresolved::SecretKeysMissing(keys) => (Reason::SecretKeyMissing, keys.join(", ")),
        Unresolved::KeyShared(key) => (Reason::SecretValueMalformed, messages::key_shared(key)),
        Unresolved::SecretValueTooLong(key) => {
            (Reason::SecretValueMalformed, format!("{key} is longer than {VALUE_MAX} bytes, and no UKG Pro value is"))
        }
        Unresolved::SecretValueNotText(key) => (Reason::SecretValueMalformed, format!("{key} is not text (UTF-8)")),
        Unresolved::EndpointInvalid(found, place, suggestion) => {
            (Reason::EndpointInvalid, format!("{} ({place}) {}", found.part, found.advice(suggestion.as_ref())))
        }
        Unresolved::DomainNotAllowed(allowed) => {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            (Reason::DomainNotAllowed, allowed.join(", "))
        }
        Unresolved::Ca(ca, flaw) => reason_of_authorities(ca, *flaw),
    }
}

fn reason_of_authorities(ca: &CaReference, flaw: CaFlaw) -> (Reason, String) {
    let CaReference { kind, name, key } = ca;
    let object = format!("{} {name}", kind.as_str());
    let unusable = |flaw: &str| (Reason::CaInvalid, format!("key {key} of {object} (spec.caRef) cannot be used: {flaw}"));
    match flaw {
        CaFlaw::ObjectNotFound => (Reason::CaNotFound, format!("{object} is not in this namespace")),
        CaFlaw::KeyMissing => (Reason::CaNotFound, format!("{object} has no key {key}")),
        CaFlaw::Bundle(flaw) => unusable(&flaw.to_string()),
        CaFlaw::TooLarge => unusable("it is larger than 128 KiB; leave out the authorities that the platform already trusts"),
    }
}

/// Returns the reason of a hold. It repeats what the status said about these values; if it said nothing, it says that they were
/// refused before.
fn reason_of_hold(hold: Hold, previous: &UkgProConnectionStatus) -> (Reason, String) {
    let told = verdict_reason(previous).filter(|reason| is_refusal(*reason));
    let reason = match (hold, told) {
        (Hold::Uncertain(until), _) => return (Reason::LoginUncertain, conditions::whole_seconds(until).0.to_string()),
        (Hold::Limit(until), _) => return (Reason::LoginLimitReached, conditions::whole_seconds(until).0.to_string()),
        (Hold::Delayed(delay, until), _) => {
            return (Reason::CheckDelayed, messages::delay(delay, conditions::whole_seconds(until).0));
        }
        (Hold::Paused(paused), _) => {
            let until = conditions::whole_seconds(paused.until()).0;
            return (Reason::LoginPaused, messages::paused(paused.tried.times, None, until));
        }
        (Hold::PasswordRefused, _) => return (Reason::PasswordHeld, String::new()),
        (Hold::StatusStands, Some(told)) => told,
        (Hold::Refused(_), Some(Reason::LoginHeld)) => Reason::LoginHeld,
        // The values may have changed to others that were refused for another reason.
        (Hold::Refused(failure), Some(_)) => return (reason_of_failure(failure), of_detail(failure)),
        (Hold::Refused(LoginFailure::Undetermined(_)), None) => Reason::LoginFailedUnexplained,
        (Hold::Refused(_) | Hold::StatusStands, None) => Reason::LoginHeld,
    };
    (reason, String::new())
}

/// Returns the reason of a login that gave no session: its answer, or, if the tries of a day are used up, that they are.
fn reason_of_login(failure: LoginFailure, paused: Option<Paused>) -> (Reason, String) {
    let (reason, detail) = (reason_of_failure(failure), of_detail(failure));
    match paused.filter(|paused| paused.is_spent()) {
        Some(paused) => {
            let last = messages::what(reason, &MessageArgs { detail, ..MessageArgs::default() });
            let until = conditions::whole_seconds(paused.until()).0;
            (Reason::LoginPaused, messages::paused(paused.tried.times, Some(&last), until))
        }
        None => (reason, detail),
    }
}

fn of_detail(failure: LoginFailure) -> String {
    match failure {
        LoginFailure::Unanswered(unanswered) => detail_of(unanswered),
        LoginFailure::Refused(Refusal::Account(state)) => state.to_string(),
        LoginFailure::Undetermined(unclear) => unclear.to_string(),
        LoginFailure::Refused(_) => String::new(),
    }
}

fn detail_of(unanswered: Unanswered) -> String {
    match unanswered {
        Unanswered::Unreadable(oddity) => oddity.to_string(),
        Unanswered::TlsUntrusted(flaw) => messages::untrusted(flaw),
        Unanswered::TlsFailed(flaw) => messages::handshake(flaw).to_owned(),
        _ => String::new(),
    }
}

fn reason_of_failure(failure: LoginFailure) -> Reason {
    match failure {
        LoginFailure::Refused(Refusal::Credentials) => Reason::CredentialsRejected,
        LoginFailure::Refused(Refusal::CustomerApiKey) => Reason::CustomerApiKeyRejected,
        LoginFailure::Refused(Refusal::UserApiKey) => Reason::UserApiKeyRejected,
        LoginFailure::Refused(Refusal::Account(_)) => Reason::AccountUnusable,
        LoginFailure::Undetermined(UndeterminedReason::Failed) => Reason::LoginFailedUnexplained,
        LoginFailure::Undetermined(_) => Reason::LoginUndetermined,
        LoginFailure::Unanswered(unanswered) => reason_of_unanswered(unanswered),
    }
}

pub(super) fn reason_of_unanswered(unanswered: Unanswered) -> Reason {
    match unanswered {
        Unanswered::HostNotFound => Reason::HostNotFound,
        Unanswered::AddressNotAllowed => Reason::AddressNotAllowed,
        Unanswered::ConnectTimeout => Reason::ConnectTimeout,
        Unanswered::ConnectRefused => Reason::ConnectRefused,
        Unanswered::ProxyFailed => Reason::ProxyFailed,
        Unanswered::TlsUntrusted(_) => Reason::TlsUntrusted,
        Unanswered::TlsFailed(_) => Reason::TlsFailed,
        Unanswered::AnswerTimeout => Reason::AnswerTimeout,
        Unanswered::ConnectionLost => Reason::ConnectionLost,
        Unanswered::NotUkgPro => Reason::NotUkgPro,
        Unanswered::Unreadable(_) => Reason::AnswerUnreadable,
        Unanswered::RateLimited { .. } => Reason::RateLimited,
        Unanswered::Unavailable { .. } | Unanswered::ServerError => Reason::ServerError,
    }
}

/// Returns the worst certain result: a denial is certain, an error may pass, an unclear answer proves nothing.
fn reason_of_probes(probed: &[Probed]) -> (Reason, String) {
    let titles_of = |is: &dyn Fn(Outcome) -> bool| {
        let found: Vec<_> = probed.iter().filter(|p| is(p.outcome)).map(|p| p.requirement.row.title.as_str()).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let titles = |state: PermissionState| titles_of(&|outcome| permission_state(outcome) == state);
    let works = probed.iter().any(|found| found.outcome.is_granted());
    let error = probed.iter().find_map(|found| match found.outcome {
        // If other reads work, the host as a whole is not at fault.
        Outcome::Error(Unanswered::ServerError) if works => {
            Some((Reason::ServerError, titles_of(&|other| other == found.outcome).unwrap_or_default()))
        }
        Outcome::Error(unanswered) => Some((reason_of_unanswered(unanswered), detail_of(unanswered))),
        _ => None,
    });
    if let Some(denied) = titles(PermissionState::Denied) {
        let is_permission = |outcome| matches!(outcome, Outcome::Denied | Outcome::TokenRefused { denies: true });
        let by_permission = probed.iter().any(|found| is_permission(found.outcome));
        (if by_permission { Reason::PermissionsMissing } else { Reason::RestLoginRefused }, denied)
    } else if let Some(error) = error {
        error
    } else if probed.iter().any(|found| found.outcome == Outcome::Held) {
        (Reason::LoginUncertain, messages::UNCERTAIN_START_DETAIL.to_owned())
    } else if let Some(unclear) = titles(PermissionState::Undetermined) {
        (Reason::PermissionsUndetermined, unclear)
    } else {
        (reason_of_success(probed.len()), String::new())
    }
}

/// Returns the reason of a success with this number of permissions, all granted.
fn reason_of_success(permissions: usize) -> Reason {
    if permissions == 0 { Reason::OnlyLoginTested } else { Reason::AllPermissionsGranted }
}

pub(super) fn permission_state(outcome: Outcome) -> PermissionState {
    match outcome {
        Outcome::Granted | Outcome::GrantedUnfiltered => PermissionState::Granted,
        Outcome::Denied | Outcome::LoginRefused | Outcome::TokenRefused { denies: true } => PermissionState::Denied,
        Outcome::Undetermined | Outcome::TokenRefused { denies: false } => PermissionState::Undetermined,
        Outcome::Held => PermissionState::Unknown,
        Outcome::Error(_) => PermissionState::Error,
    }
}
