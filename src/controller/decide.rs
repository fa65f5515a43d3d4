//! decide: what was observed → the status to be, an event if the verdict changed, and when to look again. Pure.
//!
//! **Contract.** `Ready` is True exactly when `Active` is, and `Active` only after an observed success. Exactly one of the four
//! verdict conditions is True once there is a verdict, and all are Unknown while there is none. Deciding twice on the same
//! observation gives the same status.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::gate::Hold;
use super::lint::{self, Finding};
use super::probe::Probed;
use super::resolve::{CaFlaw, Resolved, Unresolved};
use crate::api::{
    Access, ApiKind, Disposition, PermissionState, PermissionStatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict,
};
use crate::conditions::{self, READY, RECONCILING, STALLED, Status, Wanted};
use crate::ukg::catalogue::{Api, Requirement};
use crate::ukg::login::{LoginFailure, Refusal, Unclear};
use crate::ukg::outcome::Outcome;
use crate::ukg::transport::Unanswered;
use crate::wording::{self, Facts};

/// How far the check got. A ladder: each rung has what is known there and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Nothing was looked at.
    Suspended,
    /// The connection refers to nothing that can be checked.
    Unresolved(Unresolved),
    /// Values that cannot be right.
    Malformed(Resolved, Vec<Finding>),
    /// A login that is not tried.
    Held(Resolved, Hold),
    /// A login that gave no session.
    LoginFailed(Resolved, LoginFailure),
    /// A login that worked, and what each probe found.
    Probed(Resolved, Vec<Probed>),
}

/// What is to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The whole status.
    pub status: UkgProConnectionStatus,
    /// What to tell people, if the verdict changed.
    pub event: Option<Note>,
    /// When to look again.
    pub requeue: Duration,
}

/// A Kubernetes event to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Whether it is bad news.
    pub warning: bool,
    /// Its reason.
    pub reason: Reason,
    /// Its text.
    pub message: String,
}

/// The first wait after a transient failure.
const RETRY_MIN: Duration = Duration::from_secs(15);
/// The longest: an outage of hours must not mean hours more until it is seen to have ended.
const RETRY_MAX: Duration = Duration::from_secs(600);

/// Decides, given the rows that are required.
pub fn decide(
    connection: &UkgProConnection,
    requirements: &[Requirement],
    observation: &Observation,
    now: Timestamp,
) -> Decision {
    let none = UkgProConnectionStatus::default();
    let previous = connection.status.as_ref().unwrap_or(&none);
    if *observation == Observation::Suspended {
        return suspended(connection, previous, now);
    }
    let finding = Conclusion::of(connection, observation, previous);
    let status = status(connection, requirements, previous, observation, &finding, now);
    let event = event(previous, &status, &finding);
    let requeue = requeue(connection, &status, finding.reason, finding.retry_after, now);
    Decision { status, event, requeue }
}

/// The reason behind the verdict conditions, which outlives a suspension; `None` for a status of no operator or of a newer one.
pub fn standing_reason(status: &UkgProConnectionStatus) -> Option<Reason> {
    let of = |condition: &Condition| Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason);
    let verdict = Verdict::ALL.iter().find(|verdict| conditions::is_true(&status.conditions, verdict.as_str()));
    conditions::find(&status.conditions, verdict.unwrap_or(&Verdict::Active).as_str()).and_then(of)
}

/// The one reason an observation comes down to.
struct Conclusion {
    reason: Reason,
    message: String,
    retry_after: Option<Duration>,
}

impl Conclusion {
    fn of(connection: &UkgProConnection, observation: &Observation, previous: &UkgProConnectionStatus) -> Self {
        let (reason, detail) = match observation {
            Observation::Suspended => (Reason::Suspended, String::new()),
            Observation::Unresolved(unresolved) => of_unresolved(unresolved),
            Observation::Malformed(_, findings) => (lint::reason(findings), lint::text(findings)),
            Observation::Held(_, hold) => (of_hold(*hold, previous), String::new()),
            Observation::LoginFailed(_, failure) => (of_failure(*failure), String::new()),
            Observation::Probed(_, probed) => of_probes(probed),
        };
        let host = observation.resolved().map(|resolved| resolved.endpoint.clone()).unwrap_or_default();
        let hint = observation.resolved().and_then(|resolved| hint(reason, resolved)).unwrap_or_default();
        let facts = Facts { secret: connection.spec.secret_ref.name.clone(), host, detail, hint };
        Self { reason, message: wording::message(reason, &facts), retry_after: observation.retry_after() }
    }
}

impl Observation {
    /// Whether a login was sent for it.
    pub fn cost_a_login(&self) -> bool {
        matches!(self, Self::LoginFailed(..) | Self::Probed(..))
    }

    /// What was resolved, where it got so far.
    pub fn resolved(&self) -> Option<&Resolved> {
        match self {
            Self::Suspended | Self::Unresolved(_) => None,
            Self::Malformed(resolved, _)
            | Self::Held(resolved, _)
            | Self::LoginFailed(resolved, _)
            | Self::Probed(resolved, _) => Some(resolved),
        }
    }

    /// The longest wait that the host asked for.
    fn retry_after(&self) -> Option<Duration> {
        let of = |unanswered: Unanswered| match unanswered {
            Unanswered::RateLimited { retry_after } => retry_after,
            _ => None,
        };
        match self {
            Self::LoginFailed(_, LoginFailure::Unanswered(unanswered)) => of(*unanswered),
            Self::Probed(_, probed) => probed
                .iter()
                .filter_map(|found| match found.outcome {
                    Outcome::Error(unanswered) => of(unanswered),
                    _ => None,
                })
                .max(),
            _ => None,
        }
    }
}

fn of_unresolved(unresolved: &Unresolved) -> (Reason, String) {
    match unresolved {
        Unresolved::PermissionsUnknown(unknown) => {
            let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
            (Reason::PermissionUnknown, unknown.join("; "))
        }
        Unresolved::TooManyPermissions => (Reason::PermissionUnknown, "together more than 128 permissions".to_owned()),
        Unresolved::SecretNotFound => (Reason::SecretNotFound, String::new()),
        Unresolved::SecretKeysMissing(keys) => (Reason::SecretKeyMissing, keys.join(", ")),
        Unresolved::SecretValueNotText(key) => (Reason::SecretValueMalformed, format!("{key} is not text (UTF-8)")),
        Unresolved::EndpointInvalid(found, place, suggestion) => {
            (Reason::EndpointInvalid, format!("{} ({place}) {}", found.part, found.advice(suggestion.as_ref())))
        }
        Unresolved::DomainNotAllowed(allowed) => (Reason::DomainNotAllowed, format!("allowed are {}", allowed.join(", "))),
        Unresolved::CaInvalid(flaw) => (
            Reason::CaInvalid,
            match flaw {
                CaFlaw::ObjectNotFound => "there is no such object",
                CaFlaw::KeyMissing => "the object lacks the key",
                CaFlaw::NotPem => "the key holds no certificate in PEM",
            }
            .to_owned(),
        ),
    }
}

/// What was noticed before the login and may be why it came to this.
fn hint(reason: Reason, resolved: &Resolved) -> Option<String> {
    match reason {
        Reason::CredentialsRejected
        | Reason::CustomerApiKeyRejected
        | Reason::UserApiKeyRejected
        | Reason::LoginHeld
        | Reason::LoginFailedUnexplained
        | Reason::LoginUndetermined => {
            (!resolved.suspicious.is_empty()).then(|| wording::suspicious(&lint::text(&resolved.suspicious)))
        }
        Reason::HostNotFound | Reason::NotUkgPro | Reason::TlsUntrusted => {
            resolved.looks_like_login_site.then(|| wording::LOGIN_SITE.to_owned())
        }
        _ => None,
    }
}

/// A hold repeats what this connection was told of these values; one that has been told nothing yet learns that they were refused
/// before.
fn of_hold(hold: Hold, previous: &UkgProConnectionStatus) -> Reason {
    let told = standing_reason(previous)
        .filter(|reason| reason.verdict() == Some(Verdict::Unauthorized) || *reason == Reason::LoginFailedUnexplained);
    match (told, hold) {
        (Some(told), Hold::StatusStands) => told,
        (Some(told), Hold::Refused(_)) if told == Reason::LoginHeld => told,
        // The values may have changed to others that were refused otherwise.
        (Some(_), Hold::Refused(failure)) => of_failure(failure),
        (None, Hold::Refused(LoginFailure::Undetermined(_))) => Reason::LoginFailedUnexplained,
        (None, _) => Reason::LoginHeld,
    }
}

fn of_failure(failure: LoginFailure) -> Reason {
    match failure {
        LoginFailure::Refused(Refusal::Credentials) => Reason::CredentialsRejected,
        LoginFailure::Refused(Refusal::CustomerApiKey) => Reason::CustomerApiKeyRejected,
        LoginFailure::Refused(Refusal::UserApiKey) => Reason::UserApiKeyRejected,
        LoginFailure::Undetermined(Unclear::Failed) => Reason::LoginFailedUnexplained,
        LoginFailure::Undetermined(_) => Reason::LoginUndetermined,
        LoginFailure::Unanswered(unanswered) => of_unanswered(unanswered),
    }
}

fn of_unanswered(unanswered: Unanswered) -> Reason {
    match unanswered {
        Unanswered::HostNotFound => Reason::HostNotFound,
        Unanswered::AddressNotAllowed => Reason::AddressNotAllowed,
        Unanswered::ConnectTimeout => Reason::ConnectTimeout,
        Unanswered::ConnectRefused => Reason::ConnectRefused,
        Unanswered::ProxyFailed => Reason::ProxyFailed,
        Unanswered::TlsUntrusted => Reason::TlsUntrusted,
        Unanswered::TlsFailed => Reason::TlsFailed,
        Unanswered::AnswerTimeout => Reason::AnswerTimeout,
        Unanswered::ConnectionLost => Reason::ConnectionLost,
        Unanswered::NotUkgPro => Reason::NotUkgPro,
        Unanswered::RateLimited { .. } => Reason::RateLimited,
        Unanswered::ServerError => Reason::ServerError,
    }
}

/// The worst certain thing first: a denial is certain, an error may pass, an unclear answer proves nothing.
fn of_probes(probed: &[Probed]) -> (Reason, String) {
    let titles = |state: PermissionState| {
        let found: Vec<_> =
            probed.iter().filter(|p| state_of(p.outcome) == state).map(|p| p.requirement.row.title.as_str()).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let error = probed.iter().find_map(|found| match found.outcome {
        Outcome::Error(unanswered) => Some(of_unanswered(unanswered)),
        _ => None,
    });
    if let Some(denied) = titles(PermissionState::Denied) {
        let by_permission = probed.iter().any(|found| found.outcome == Outcome::Denied);
        (if by_permission { Reason::PermissionsMissing } else { Reason::RestLoginRefused }, denied)
    } else if let Some(reason) = error {
        (reason, String::new())
    } else if let Some(unclear) = titles(PermissionState::Undetermined) {
        (Reason::PermissionsUndetermined, unclear)
    } else {
        (Reason::AllPermissionsGranted, String::new())
    }
}

fn state_of(outcome: Outcome) -> PermissionState {
    match outcome {
        Outcome::Granted => PermissionState::Granted,
        Outcome::Denied | Outcome::LoginRefused => PermissionState::Denied,
        Outcome::Undetermined => PermissionState::Undetermined,
        Outcome::Error(_) => PermissionState::Error,
    }
}

fn status(
    connection: &UkgProConnection,
    requirements: &[Requirement],
    previous: &UkgProConnectionStatus,
    observation: &Observation,
    finding: &Conclusion,
    now: Timestamp,
) -> UkgProConnectionStatus {
    let generation = connection.metadata.generation;
    let permissions = permissions(requirements, previous, observation, finding.reason, now);
    let missing: Vec<_> = permissions.iter().filter(|p| p.state == PermissionState::Denied).map(|p| p.name.as_str()).collect();
    let resolved = observation.resolved();
    UkgProConnectionStatus {
        observed_generation: generation,
        state: finding.reason.verdict().map_or("Unknown", Verdict::as_str).to_owned(),
        endpoint: resolved.map(|resolved| resolved.endpoint.clone()),
        last_handled_reconcile_at: connection.requested_at().map(str::to_owned),
        checked_spec: Some(connection.spec.checked()),
        missing: (!missing.is_empty()).then(|| missing.join(", ")),
        secret_resource_version: resolved.map(|resolved| resolved.secret_version.clone()),
        conditions: conditions::renew(&previous.conditions, conditions_of(finding), generation, now),
        permissions,
    }
}

fn conditions_of(finding: &Conclusion) -> Vec<Wanted> {
    let Conclusion { reason, message, .. } = finding;
    let wanted = |type_, status, message: &str| Wanted {
        type_,
        status,
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
    };
    let verdict = reason.verdict();
    let mut list = vec![wanted(READY, ready(*reason), message)];
    list.extend(Verdict::ALL.iter().map(|each| match verdict {
        None => wanted(each.as_str(), Status::Unknown, &wording::otherwise(READY)),
        Some(verdict) if verdict == *each => wanted(each.as_str(), Status::True, message),
        Some(verdict) => wanted(each.as_str(), Status::False, &wording::otherwise(verdict.as_str())),
    }));
    match reason.disposition() {
        Disposition::Settled => {}
        Disposition::Retried => list.push(wanted(RECONCILING, Status::True, message)),
        Disposition::Stalled => list.push(wanted(STALLED, Status::True, message)),
    }
    list
}

/// False where it is certain that the connection cannot be used as it is, Unknown where that cannot be told.
fn ready(reason: Reason) -> Status {
    match (reason.verdict(), reason) {
        (Some(Verdict::Active), _) => Status::True,
        (None, Reason::Probing | Reason::LoginUndetermined | Reason::PermissionsUndetermined) => Status::Unknown,
        _ => Status::False,
    }
}

fn permissions(
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
            remedy: wording::remedy(state, row),
            since: before.map_or_else(|| conditions::whole_seconds(now), |before| before.since.clone()),
        }
    };
    match observation {
        Observation::Probed(_, probed) => probed
            .iter()
            .map(|found| {
                let reason = match found.outcome {
                    Outcome::Granted => None,
                    Outcome::Denied => Some(Reason::PermissionsMissing),
                    Outcome::LoginRefused => Some(Reason::RestLoginRefused),
                    Outcome::Undetermined => Some(Reason::PermissionsUndetermined),
                    Outcome::Error(unanswered) => Some(of_unanswered(unanswered)),
                };
                describe(&found.requirement, state_of(found.outcome), reason)
            })
            .collect(),
        // Not tested this time, so nothing is claimed.
        _ => requirements.iter().map(|requirement| describe(requirement, PermissionState::Unknown, Some(overall))).collect(),
    }
}

/// The verdict stays; only `Ready` says that nobody looks. A verdict about other fields than the spec has now is no verdict about it.
fn suspended(connection: &UkgProConnection, previous: &UkgProConnectionStatus, now: Timestamp) -> Decision {
    let generation = connection.metadata.generation;
    let stays = previous.checked_spec == Some(connection.spec.checked());
    let message = wording::message(Reason::Suspended, &Facts::default());
    let keep = |type_: &'static str| {
        let before = conditions::find(&previous.conditions, type_).filter(|_| stays);
        let status = match before.map(|condition| condition.status.as_str()) {
            Some("True") => Status::True,
            Some("False") => Status::False,
            _ => Status::Unknown,
        };
        let (reason, message) = match before {
            Some(condition) if type_ != READY => (condition.reason.clone(), condition.message.clone()),
            _ => (Reason::Suspended.as_str().to_owned(), message.clone()),
        };
        Wanted { type_, status, reason, message }
    };
    let wanted = conditions::ALWAYS.into_iter().map(keep).collect();
    let before = if stays { previous.clone() } else { UkgProConnectionStatus::default() };
    let status = UkgProConnectionStatus {
        observed_generation: generation,
        last_handled_reconcile_at: connection.requested_at().map(str::to_owned),
        state: if before.state.is_empty() { "Unknown".to_owned() } else { before.state },
        conditions: conditions::renew(&previous.conditions, wanted, generation, now),
        ..before
    };
    Decision { status, event: None, requeue: spread(connection, connection.spec.interval(), now) }
}

/// An event where the reason or the set of missing permissions changed; the first success is no news.
fn event(previous: &UkgProConnectionStatus, status: &UkgProConnectionStatus, finding: &Conclusion) -> Option<Note> {
    let before = standing_reason(previous).unwrap_or(Reason::Probing);
    let good = finding.reason.verdict() == Some(Verdict::Active);
    let same = before == finding.reason && previous.missing == status.missing;
    if same || (matches!(before, Reason::Probing | Reason::Suspended) && good) {
        return None;
    }
    Some(Note { warning: !good, reason: finding.reason, message: finding.message.clone() })
}

/// Transient failures are retried after as long as they have lasted (so the wait doubles), from 15 s up to ten minutes or the
/// interval. That is read off the status, so a restart does not begin anew. Nobody is asked again before the time it gave.
fn requeue(
    connection: &UkgProConnection,
    status: &UkgProConnectionStatus,
    reason: Reason,
    retry_after: Option<Duration>,
    now: Timestamp,
) -> Duration {
    let interval = connection.spec.interval();
    let wait = if reason.verdict() == Some(Verdict::Unreachable) {
        let since = conditions::find(&status.conditions, Verdict::Unreachable.as_str()).map(|c| c.last_transition_time.0);
        let lasted = since.and_then(|since| Duration::try_from(now.duration_since(since)).ok()).unwrap_or_default();
        lasted.clamp(RETRY_MIN, interval.clamp(RETRY_MIN, RETRY_MAX))
    } else {
        interval
    };
    spread(connection, wait.max(retry_after.unwrap_or_default()), now)
}

/// Adds up to a tenth, by the object's identity and the moment, so that connections made together do not stay together.
fn spread(connection: &UkgProConnection, wait: Duration, now: Timestamp) -> Duration {
    let mut hasher = DefaultHasher::new();
    (connection.metadata.uid.as_deref(), now.as_millisecond()).hash(&mut hasher);
    let share = f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX);
    wait + wait.mul_f64(share / 10.0)
}

#[cfg(test)]
pub(crate) mod tests;
