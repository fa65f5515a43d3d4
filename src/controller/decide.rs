//! decide: what was observed → the status to be, an event if the verdict changed, and when to look again. Pure.
//!
//! **Contract.** `Ready` is True exactly when `Active` is, and `Active` only after an observed success. Exactly one of the four
//! verdict conditions is True once there is a verdict, and all are Unknown while there is none. Deciding twice on the same
//! observation gives the same status. An Active connection stays so, as `Degraded`, through fewer than `failureThreshold` checks in a
//! row that got no usable answer; everything that was seen counts at once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::gate::{self, Hold, Paused, is_of, is_refusal, mark};
use super::lint::{self, Finding};
use super::probe::{self, Probed};
use super::resolve::{CaFlaw, Resolved, Unresolved, VALUE_MAX};
use crate::api::{
    Access, ApiKind, Binding, CaReference, CandidateStatus, Disposition, LoginAttempts, PermissionState, PermissionStatus,
    Reason, Stall, UkgProConnection, UkgProConnectionStatus, Verdict, Worked,
};
use crate::conditions::{self, CANDIDATE_READY, READY, RECONCILING, STALLED, Status, Wanted};
use crate::hosts::PAUSE_MAX;
use crate::ledger::RestEnd;
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
    /// A login that gave no session; and where its answer was no refusal either, how many there were of these in a row.
    LoginFailed(Resolved, LoginFailure, Option<Paused>),
    /// A login that worked, and what each probe found.
    Probed(Resolved, Vec<Probed>),
    /// These very values were found to work, with these permissions, while they were the candidate.
    Promoted(Resolved, Vec<Requirement>),
}

/// What was observed, and what that makes together with what was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    observation: Observation,
    /// What was observed of the candidate, where there is one and it was looked at.
    candidate: Option<Observation>,
    /// Which check in a row without a usable answer this is, as far as the status counts them; 0 if it got one. Counted when it is
    /// made, so that deciding on it again does not count again.
    failures: i32,
    /// Whether it tells nothing of the values that was not known, so that what is told of them stands.
    stands: bool,
    /// After how long what was left out should be looked at, where something was.
    again_in: Option<Duration>,
}

impl Observed {
    /// An observation of this connection as it is.
    pub fn of(connection: &UkgProConnection, observation: Observation, candidate: Option<Observation>) -> Self {
        let threshold = connection.spec.failure_threshold();
        let before = match (&connection.status, observation.resolved()) {
            (Some(status), Some(resolved)) if is_of(status, connection, resolved) => status.failures.clamp(0, threshold),
            _ => 0,
        };
        let stands = match &observation {
            Observation::Held(_, Hold::Delayed(..)) => true,
            // Unless another connection has tried the same values since.
            Observation::Held(_, Hold::Paused(paused)) => {
                connection.status.as_ref().is_some_and(|status| status.tried() >= Some(paused.tried))
            }
            _ => false,
        };
        let is_failure = is_transient(observation.reason()) || (observation.paused().is_some() && !stands);
        let failures = if is_failure { (before + 1).min(threshold) } else { 0 };
        Self { observation, candidate, failures, stands, again_in: None }
    }

    /// The same, to be looked at again soon.
    pub fn again_soon(self) -> Self {
        self.again_in(SOON)
    }

    /// The same, to be looked at again after so long: each look is a check of the live values too, so not before that can be made which
    /// was left out.
    pub fn again_in(self, wait: Duration) -> Self {
        Self { again_in: Some(wait.max(SOON)), ..self }
    }

    /// The reason it comes down to by itself.
    pub fn reason(&self) -> Reason {
        self.observation.reason()
    }

    /// Whether nothing was looked at yet, since the host is not to be asked.
    pub fn is_delayed(&self) -> bool {
        matches!(self.observation, Observation::Held(_, Hold::Delayed(..)))
    }

    /// Whether a login was sent for it.
    pub fn cost_a_login(&self) -> bool {
        self.observation.cost_a_login() || self.candidate.as_ref().is_some_and(Observation::cost_a_login)
    }

    /// What was resolved, where it got so far.
    pub fn resolved(&self) -> Option<&Resolved> {
        self.observation.resolved()
    }
}

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

/// The first wait after a transient failure.
const RETRY_MIN: Duration = Duration::from_secs(15);
/// The first wait for what another is to put there.
const LOOK_MIN: Duration = Duration::from_secs(5);
/// When something was left out, and the longest wait for what another is to put there: no more than the least interval.
const SOON: Duration = Duration::from_secs(60);
/// The longest: an outage of hours must not mean hours more until it is seen to have ended.
const RETRY_MAX: Duration = Duration::from_secs(600);

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

/// The reason behind the verdict conditions, which outlives a suspension; `None` for a status of no operator or of a newer one.
pub fn standing_reason(status: &UkgProConnectionStatus) -> Option<Reason> {
    let of = |condition: &Condition| Reason::ALL.iter().copied().find(|reason| reason.as_str() == condition.reason);
    let verdict = Verdict::ALL.iter().find(|verdict| conditions::is_true(&status.conditions, verdict.as_str()));
    conditions::find(&status.conditions, verdict.unwrap_or(&Verdict::Active).as_str()).and_then(of)
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

/// Whether a status is about the connection as it is, so that nobody waits for a check.
pub fn is_settled(connection: &UkgProConnection) -> bool {
    let Some(status) = &connection.status else { return false };
    status.observed_generation == connection.metadata.generation
        && connection.open_request().is_none()
        && status.checked_spec.as_ref() == Some(&connection.spec.checked())
        && is_verdict(status)
}

/// Whether a check has told something of the connection as it is or as it was.
pub fn has_verdict(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(is_verdict)
}

/// Whether a status tells of a check that was made, and still vouches for it.
fn is_verdict(status: &UkgProConnectionStatus) -> bool {
    let none = [Reason::Probing, Reason::CheckDelayed, Reason::CheckOverdue];
    standing_reason(status).is_some_and(|reason| !none.contains(&reason))
}

/// Whether the last check got no usable answer.
pub fn is_failing(connection: &UkgProConnection) -> bool {
    connection.status.as_ref().is_some_and(|status| {
        status.failures > 0 || standing_reason(status).and_then(Reason::verdict) == Some(Verdict::Unreachable)
    })
}

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

/// Whether a reason may pass by itself, and so is not taken for the truth at once where another was before. An answer from which
/// nothing can be told is an answer.
fn is_transient(reason: Reason) -> bool {
    reason.verdict() == Some(Verdict::Unreachable)
}

/// The one reason an observation comes down to.
struct Conclusion {
    reason: Reason,
    message: String,
}

impl Conclusion {
    fn of(connection: &UkgProConnection, observed: &Observed, previous: &UkgProConnectionStatus, now: Timestamp) -> Self {
        let Observed { observation, failures, .. } = observed;
        let (reason, detail) = observation.finding(previous);
        let facts = facts(observation, reason, detail, &connection.spec.secret_ref.name, now);
        // Another connection with the same values has met it, which is as good as to have met it oneself.
        let stays = (is_transient(reason) || matches!(observation, Observation::Held(_, Hold::Paused(_))))
            && *failures < connection.spec.failure_threshold()
            && standing_reason(previous).and_then(Reason::verdict) == Some(Verdict::Active)
            && observation.resolved().is_some_and(|resolved| is_of(previous, connection, resolved));
        if stays {
            let what = wording::what(reason, &facts);
            let detail = format!("check {failures} of {} in a row failed. {what}", connection.spec.failure_threshold());
            let facts = Facts { detail, hint: String::new(), ..facts };
            return Self { reason: Reason::Degraded, message: wording::message(Reason::Degraded, &facts) };
        }
        // In this very check, or before it.
        let has_worked = |resolved: &Resolved| observation.worked(gate::vouched(connection, resolved).worked).login;
        let message = match reason {
            Reason::NotUkgPro if observation.resolved().is_some_and(has_worked) => wording::page_of_a_known_host(&facts),
            _ => wording::message(reason, &facts),
        };
        Self { reason, message }
    }
}

fn facts(observation: &Observation, reason: Reason, detail: String, secret: &str, now: Timestamp) -> Facts {
    let host = observation.resolved().map(|resolved| resolved.endpoint.clone()).unwrap_or_default();
    let hint = observation.resolved().and_then(|resolved| hint(reason, resolved, now)).unwrap_or_default();
    Facts { secret: secret.to_owned(), host, detail, hint }
}

/// What the candidate comes to.
struct Rehearsal {
    condition: Wanted,
    reason: Option<Reason>,
    status: Option<CandidateStatus>,
}

impl Rehearsal {
    /// `None` without a candidate. While it is not looked at, and through trouble on the way, it stays what it was.
    fn of(
        connection: &UkgProConnection,
        requirements: &[Requirement],
        observed: &Observed,
        previous: &UkgProConnectionStatus,
        now: Timestamp,
    ) -> Option<Self> {
        let promoted = connection.promoted()?;
        let mark = mark(&promoted.spec, requirements);
        let looked = observed.candidate.as_ref().map(|observation| (observation, observation.finding(&Default::default())));
        let status = looked.as_ref().and_then(|(observation, _)| {
            let resolved = observation.resolved()?;
            let version = resolved.secret_version.clone();
            let worked = observation.worked(gate::vouched(&promoted, resolved).worked);
            let before = previous
                .candidate
                .as_ref()
                .filter(|before| before.checked_spec == mark && before.secret_resource_version == version);
            let login_attempts = observation.attempts(before.and_then(|before| before.login_attempts.clone()));
            Some(CandidateStatus { checked_spec: mark.clone(), secret_resource_version: version, worked, login_attempts })
        });
        let before = conditions::find(&previous.conditions, CANDIDATE_READY);
        let same = previous.candidate.as_ref().is_some_and(|before| {
            let version = status.as_ref().map(|status| &status.secret_resource_version);
            before.checked_spec == mark
                && version.map_or(looked.is_none(), |version| *version == before.secret_resource_version)
        });
        // A hold without an end repeats what was said.
        let passes = looked.as_ref().is_none_or(|(observation, (reason, _))| match observation {
            Observation::Held(_, Hold::Paused(_)) => true,
            Observation::Held(_, hold) => hold.until().is_none() && before.is_some_and(|before| before.status == "False"),
            _ => is_transient(*reason),
        });
        if let Some(before) = before.filter(|_| same && passes) {
            return Some(Self {
                condition: as_it_was(CANDIDATE_READY, before),
                reason: None,
                // But for the attempts there were.
                status: status.or_else(|| previous.candidate.clone()).map(|status| CandidateStatus {
                    worked: previous.candidate.as_ref().map(|before| before.worked).unwrap_or_default(),
                    ..status
                }),
            });
        }
        let (reason, message) = match looked {
            None => (Reason::Probing, wording::message(Reason::Probing, &Facts::default())),
            Some((observation, (reason, detail))) => {
                let facts = facts(observation, reason, detail, &promoted.spec.secret_ref.name, now);
                (reason, wording::candidate(reason, &facts))
            }
        };
        let ready = match reason {
            _ if reason.verdict() == Some(Verdict::Active) => Status::True,
            _ if is_transient(reason) => Status::Unknown,
            _ => ready(reason),
        };
        let condition = Wanted { type_: CANDIDATE_READY, status: ready, reason: reason.as_str().to_owned(), message };
        Some(Self { condition, reason: Some(reason).filter(|reason| *reason != Reason::Probing), status })
    }

    /// An event where the candidate's reason changed.
    fn event(self, previous: &UkgProConnectionStatus) -> Option<Note> {
        let before = conditions::find(&previous.conditions, CANDIDATE_READY).map(|before| before.reason.as_str());
        let reason = self.reason.filter(|reason| before != Some(reason.as_str()))?;
        let warning = reason.verdict() != Some(Verdict::Active);
        Some(Note { of_candidate: true, warning, reason, message: self.condition.message })
    }
}

fn as_it_was(type_: &'static str, before: &Condition) -> Wanted {
    let status = match before.status.as_str() {
        "True" => Status::True,
        "False" => Status::False,
        _ => Status::Unknown,
    };
    Wanted { type_, status, reason: before.reason.clone(), message: before.message.clone() }
}

impl Observation {
    /// The reads that were answered with people though they match nobody, and by which host.
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

    /// What was resolved, where it got so far.
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

    /// What has worked with these values, given what had.
    fn worked(&self, before: Worked) -> Worked {
        match self {
            Self::Probed(_, probed) => {
                let rest = match probe::rest_end(probed) {
                    Some(RestEnd::Works) => true,
                    Some(RestEnd::Refused) => false,
                    Some(RestEnd::Unanswered) | None => before.rest,
                };
                Worked { login: true, rest }
            }
            Self::Promoted(_, granted) => {
                Worked { login: true, rest: before.rest || granted.iter().any(|required| required.api == Api::Rest) }
            }
            Self::LoginFailed(_, failure, _) if failure.spends_the_credentials() => Worked::default(),
            Self::Held(_, hold) if hold.until().is_none() => Worked::default(),
            _ => before,
        }
    }

    /// The logins in a row that were answered neither with a session nor with a refusal, where the last is one of them.
    pub fn paused(&self) -> Option<Paused> {
        match self {
            Self::LoginFailed(_, _, paused) => *paused,
            Self::Held(_, Hold::Paused(paused)) => Some(*paused),
            _ => None,
        }
    }

    /// What a status says of them.
    fn attempts(&self, before: Option<LoginAttempts>) -> Option<LoginAttempts> {
        match self {
            Self::Probed(..) | Self::Promoted(..) => None,
            Self::LoginFailed(_, failure, _) if failure.spends_the_credentials() => None,
            Self::Held(_, Hold::Refused(_) | Hold::StatusStands) => None,
            _ => self.paused().map(|paused| paused.tried.into()).or(before),
        }
    }

    /// Whether the host gave no usable answer; `None` where it was not asked.
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

    /// Why no usable answers came, at the login or at reads.
    fn unanswered(&self) -> impl Iterator<Item = Unanswered> {
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

    /// How long the host asked to be left alone, if it did.
    fn asked_to_wait(&self) -> Option<Duration> {
        let of = |unanswered| match unanswered {
            Unanswered::RateLimited { retry_after } | Unanswered::Unavailable { retry_after } => retry_after,
            _ => None,
        };
        self.unanswered().filter_map(of).max()
    }

    /// Whether the host limits requests, and the longest wait that it asked for, if any.
    pub fn rate_limited(&self) -> Option<Option<Duration>> {
        let of = |unanswered| match unanswered {
            Unanswered::RateLimited { retry_after } => Some(retry_after),
            _ => None,
        };
        self.unanswered().filter_map(of).max()
    }

    fn reason(&self) -> Reason {
        self.finding(&UkgProConnectionStatus::default()).0
    }

    /// The one reason it comes down to, and what that is about in particular.
    fn finding(&self, previous: &UkgProConnectionStatus) -> (Reason, String) {
        match self {
            Self::Suspended => (Reason::Suspended, String::new()),
            Self::Unresolved(unresolved) => of_unresolved(unresolved),
            Self::Malformed(_, findings) => (lint::reason(findings), lint::text(findings)),
            Self::Held(_, hold) => of_hold(*hold, previous),
            Self::LoginFailed(_, failure, paused) => of_login(*failure, *paused),
            Self::Probed(_, probed) => of_probes(probed),
            Self::Promoted(_, granted) => (of_success(granted.len()), String::new()),
        }
    }
}

fn of_unresolved(unresolved: &Unresolved) -> (Reason, String) {
    match unresolved {
        Unresolved::PermissionsUnknown(unknown) => {
            let unknown: Vec<_> = unknown.iter().map(ToString::to_string).collect();
            (Reason::PermissionUnknown, unknown.join("; "))
        }
        Unresolved::TooManyPermissions => {
            (Reason::PermissionUnknown, "together more than 128 permissions, which several connections may share".to_owned())
        }
        Unresolved::SecretNotFound => (Reason::SecretNotFound, String::new()),
        Unresolved::Forbidden(what) => (Reason::ReferenceForbidden, what.clone()),
        Unresolved::SecretKeysMissing(keys) => (Reason::SecretKeyMissing, keys.join(", ")),
        Unresolved::KeyShared(key) => (Reason::SecretValueMalformed, wording::key_shared(key)),
        Unresolved::SecretValueTooLong(key) => {
            (Reason::SecretValueMalformed, format!("{key} has more than {VALUE_MAX} bytes, which no value of UKG Pro has"))
        }
        Unresolved::SecretValueNotText(key) => (Reason::SecretValueMalformed, format!("{key} is not text (UTF-8)")),
        Unresolved::EndpointInvalid(found, place, suggestion) => {
            (Reason::EndpointInvalid, format!("{} ({place}) {}", found.part, found.advice(suggestion.as_ref())))
        }
        Unresolved::DomainNotAllowed(allowed) => {
            let allowed: Vec<_> = allowed.iter().map(ToString::to_string).collect();
            (Reason::DomainNotAllowed, format!("allowed are {}", allowed.join(", ")))
        }
        Unresolved::Ca(ca, flaw) => of_authorities(ca, *flaw),
    }
}

fn of_authorities(ca: &CaReference, flaw: CaFlaw) -> (Reason, String) {
    let CaReference { kind, name, key } = ca;
    let object = format!("{} {name}", kind.as_str());
    let unusable = |flaw: &str| (Reason::CaInvalid, format!("key {key} of {object} cannot be used: {flaw}"));
    match flaw {
        CaFlaw::ObjectNotFound => (Reason::CaNotFound, format!("{object} is not in this namespace")),
        CaFlaw::KeyMissing => (Reason::CaNotFound, format!("{object} has no key {key}")),
        CaFlaw::Bundle(flaw) => unusable(&flaw.to_string()),
        CaFlaw::TooLarge => unusable("it holds more than 128 KiB; leave out what the platform trusts already"),
    }
}

/// What was noticed before the login and may be why it came to this.
fn hint(reason: Reason, resolved: &Resolved, now: Timestamp) -> Option<String> {
    match reason {
        Reason::AllPermissionsGranted | Reason::OnlyLoginTested => wording::blemish(resolved.blemish, now),
        Reason::CredentialsRejected
        | Reason::CustomerApiKeyRejected
        | Reason::UserApiKeyRejected
        | Reason::RestLoginRefused
        | Reason::LoginHeld
        | Reason::LoginFailedUnexplained
        | Reason::LoginUndetermined => {
            (!resolved.suspicious.is_empty()).then(|| wording::suspicious(&lint::text(&resolved.suspicious)))
        }
        Reason::HostNotFound | Reason::NotUkgPro | Reason::TlsUntrusted if resolved.looks_like_login_site => {
            Some(wording::LOGIN_SITE.to_owned())
        }
        Reason::TlsUntrusted => wording::blemish(resolved.blemish, now),
        _ => None,
    }
}

/// A hold repeats what this connection was told of these values; one that has been told nothing yet learns that they were refused
/// before.
fn of_hold(hold: Hold, previous: &UkgProConnectionStatus) -> (Reason, String) {
    let told = standing_reason(previous).filter(|reason| is_refusal(*reason));
    let reason = match (hold, told) {
        (Hold::Uncertain(until), _) => return (Reason::LoginUncertain, conditions::whole_seconds(until).0.to_string()),
        (Hold::Limit(until), _) => return (Reason::LoginLimitReached, conditions::whole_seconds(until).0.to_string()),
        (Hold::Delayed(delay, until), _) => {
            return (Reason::CheckDelayed, wording::delay(delay, conditions::whole_seconds(until).0));
        }
        (Hold::Paused(paused), _) => {
            let until = conditions::whole_seconds(paused.until()).0;
            return (Reason::LoginPaused, wording::paused(paused.tried.times, None, until));
        }
        (Hold::PasswordRefused, _) => return (Reason::PasswordHeld, String::new()),
        (Hold::StatusStands, Some(told)) => told,
        (Hold::Refused(_), Some(Reason::LoginHeld)) => Reason::LoginHeld,
        // The values may have changed to others that were refused otherwise.
        (Hold::Refused(failure), Some(_)) => return (of_failure(failure), of_detail(failure)),
        (Hold::Refused(LoginFailure::Undetermined(_)), None) => Reason::LoginFailedUnexplained,
        (Hold::Refused(_) | Hold::StatusStands, None) => Reason::LoginHeld,
    };
    (reason, String::new())
}

/// A login that gave no session: what its answer says, or, when there were too many of these, that.
fn of_login(failure: LoginFailure, paused: Option<Paused>) -> (Reason, String) {
    let (reason, detail) = (of_failure(failure), of_detail(failure));
    match paused.filter(|paused| paused.is_spent()) {
        Some(paused) => {
            let last = wording::what(reason, &Facts { detail, ..Facts::default() });
            let until = conditions::whole_seconds(paused.until()).0;
            (Reason::LoginPaused, wording::paused(paused.tried.times, Some(&last), until))
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
        Unanswered::TlsUntrusted(flaw) => wording::untrusted(flaw),
        Unanswered::TlsFailed(flaw) => wording::handshake(flaw).to_owned(),
        _ => String::new(),
    }
}

fn of_failure(failure: LoginFailure) -> Reason {
    match failure {
        LoginFailure::Refused(Refusal::Credentials) => Reason::CredentialsRejected,
        LoginFailure::Refused(Refusal::CustomerApiKey) => Reason::CustomerApiKeyRejected,
        LoginFailure::Refused(Refusal::UserApiKey) => Reason::UserApiKeyRejected,
        LoginFailure::Refused(Refusal::Account(_)) => Reason::AccountUnusable,
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

/// The worst certain thing first: a denial is certain, an error may pass, an unclear answer proves nothing.
fn of_probes(probed: &[Probed]) -> (Reason, String) {
    let titles_of = |is: &dyn Fn(Outcome) -> bool| {
        let found: Vec<_> = probed.iter().filter(|p| is(p.outcome)).map(|p| p.requirement.row.title.as_str()).collect();
        (!found.is_empty()).then(|| found.join(", "))
    };
    let titles = |state: PermissionState| titles_of(&|outcome| state_of(outcome) == state);
    let works = probed.iter().any(|found| found.outcome.is_granted());
    let error = probed.iter().find_map(|found| match found.outcome {
        // Where others work it is not the host as a whole.
        Outcome::Error(Unanswered::ServerError) if works => {
            Some((Reason::ServerError, titles_of(&|other| other == found.outcome).unwrap_or_default()))
        }
        Outcome::Error(unanswered) => Some((of_unanswered(unanswered), detail_of(unanswered))),
        _ => None,
    });
    if let Some(denied) = titles(PermissionState::Denied) {
        let is_permission = |outcome| matches!(outcome, Outcome::Denied | Outcome::TokenRefused { denies: true });
        let by_permission = probed.iter().any(|found| is_permission(found.outcome));
        (if by_permission { Reason::PermissionsMissing } else { Reason::RestLoginRefused }, denied)
    } else if let Some(error) = error {
        error
    } else if probed.iter().any(|found| found.outcome == Outcome::Held) {
        (Reason::LoginUncertain, wording::WITHIN_A_DAY.to_owned())
    } else if let Some(unclear) = titles(PermissionState::Undetermined) {
        (Reason::PermissionsUndetermined, unclear)
    } else {
        (of_success(probed.len()), String::new())
    }
}

/// A success with so many permissions, all of them granted.
fn of_success(permissions: usize) -> Reason {
    if permissions == 0 { Reason::OnlyLoginTested } else { Reason::AllPermissionsGranted }
}

fn state_of(outcome: Outcome) -> PermissionState {
    match outcome {
        Outcome::Granted | Outcome::GrantedUnfiltered => PermissionState::Granted,
        Outcome::Denied | Outcome::LoginRefused | Outcome::TokenRefused { denies: true } => PermissionState::Denied,
        Outcome::Undetermined | Outcome::TokenRefused { denies: false } => PermissionState::Undetermined,
        Outcome::Held => PermissionState::Unknown,
        Outcome::Error(_) => PermissionState::Error,
    }
}

fn status(
    connection: &UkgProConnection,
    requirements: &[Requirement],
    previous: &UkgProConnectionStatus,
    observed: &Observed,
    finding: &Conclusion,
    candidate: Option<&Rehearsal>,
    now: Timestamp,
) -> UkgProConnectionStatus {
    let Observed { observation, failures, .. } = observed;
    let generation = connection.metadata.generation;
    let permissions = match finding.reason {
        // They are what they were, as far as is known.
        Reason::Degraded => previous.permissions.clone(),
        reason => permissions(requirements, previous, observation, reason, now),
    };
    let missing: Vec<_> = permissions.iter().filter(|p| p.state == PermissionState::Denied).map(|p| p.name.as_str()).collect();
    let resolved = observation.resolved();
    let held_until = match observation {
        Observation::Held(_, hold) => hold.until(),
        _ => observation.paused().map(Paused::until),
    };
    let is_same = resolved.is_some_and(|resolved| is_of(previous, connection, resolved));
    let attempts = observation.attempts(previous.login_attempts.clone().filter(|_| is_same));
    let mut wanted = conditions_of(finding);
    wanted.extend(candidate.map(|candidate| candidate.condition.clone()));
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
        worked: resolved.map(|resolved| observation.worked(gate::vouched(connection, resolved).worked)).unwrap_or_default(),
        last_checked_time: previous.last_checked_time.clone(),
        next_check_time: held_until.map(conditions::whole_seconds),
        login_attempts: attempts,
        candidate: candidate.and_then(|candidate| candidate.status.clone()),
        conditions: conditions::renew(&previous.conditions, wanted, generation, now),
        permissions,
    }
}

/// What a workload can bind to. Whoever consumes it looks for a Secret, not for a verdict: an outage at UKG Pro must not unbind what
/// runs, and `Ready` is there to be waited for. So it goes with the Secret and its name alone.
fn binding(connection: &UkgProConnection, previous: &UkgProConnectionStatus, observation: &Observation) -> Option<Binding> {
    let binding = Binding { name: connection.spec.secret_ref.name.clone() };
    let is_there = match observation {
        Observation::Unresolved(
            Unresolved::SecretNotFound
            | Unresolved::SecretKeysMissing(_)
            | Unresolved::SecretValueNotText(_)
            | Unresolved::SecretValueTooLong(_)
            | Unresolved::KeyShared(_),
        ) => false,
        // Something else is wrong, and the Secret was not looked at or not to the end.
        Observation::Unresolved(_) | Observation::Suspended => previous.binding.as_ref() == Some(&binding),
        _ => true,
    };
    is_there.then_some(binding)
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
        (None, Reason::Probing | Reason::LoginUndetermined | Reason::LoginUncertain | Reason::LoginLimitReached)
        | (None, Reason::LoginPaused)
        | (None, Reason::PermissionsUndetermined | Reason::CheckDelayed | Reason::CheckOverdue | Reason::ReferenceForbidden) => {
            Status::Unknown
        }
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
                    Outcome::Granted | Outcome::GrantedUnfiltered => None,
                    Outcome::Denied | Outcome::TokenRefused { denies: true } => Some(Reason::PermissionsMissing),
                    Outcome::LoginRefused => Some(Reason::RestLoginRefused),
                    Outcome::Undetermined | Outcome::TokenRefused { denies: false } => Some(Reason::PermissionsUndetermined),
                    Outcome::Held => Some(Reason::LoginUncertain),
                    Outcome::Error(unanswered) => Some(of_unanswered(unanswered)),
                };
                describe(&found.requirement, state_of(found.outcome), reason)
            })
            .collect(),
        Observation::Promoted(_, granted) => {
            granted.iter().map(|requirement| describe(requirement, PermissionState::Granted, None)).collect()
        }
        // Not tested this time, so nothing is claimed.
        _ => requirements.iter().map(|requirement| describe(requirement, PermissionState::Unknown, Some(overall))).collect(),
    }
}

/// The conditions that are always there, and those of these types, as they were.
fn as_they_were(previous: &UkgProConnectionStatus, also: &[&'static str]) -> impl Iterator<Item = Wanted> {
    previous.conditions.iter().filter_map(|condition| {
        let type_ = conditions::ALWAYS.into_iter().chain(also.iter().copied()).find(|type_| *type_ == condition.type_)?;
        Some(as_it_was(type_, condition))
    })
}

/// The verdict stays while other values are checked than those it is about, and `Reconciling` says so; only the new values can tell
/// whether a person is needed. `None` where there is no verdict on the spec as it is, for then nobody takes the status for one.
pub fn rechecking(connection: &UkgProConnection, now: Timestamp) -> Option<Decision> {
    let previous = connection.status.as_ref().filter(|_| is_settled(connection) && !connection.spec.suspend)?;
    let message = wording::rechecking(&connection.spec.secret_ref.name);
    let reconciling = Wanted { type_: RECONCILING, status: Status::True, reason: Reason::Probing.as_str().to_owned(), message };
    let wanted = as_they_were(previous, &[CANDIDATE_READY]).chain([reconciling]).collect();
    let conditions = conditions::renew(&previous.conditions, wanted, connection.metadata.generation, now);
    let status = UkgProConnectionStatus { conditions, ..previous.clone() };
    Some(Decision { status, events: Vec::new(), requeue: Duration::ZERO })
}

/// The verdict stays while a check that somebody waits for must wait for the host: `Reconciling` says for what and until when. Where the
/// login must wait, the verdict has said so.
fn stands(
    connection: &UkgProConnection,
    previous: &UkgProConnectionStatus,
    observed: &Observed,
    until: Timestamp,
    now: Timestamp,
) -> Decision {
    let Conclusion { reason, message } = Conclusion::of(connection, observed, previous, now);
    let is_paused = reason == Reason::LoginPaused;
    let also: &[_] = if is_paused { &[CANDIDATE_READY, STALLED, RECONCILING] } else { &[CANDIDATE_READY] };
    let kept = as_they_were(previous, also);
    let waits = Wanted { type_: RECONCILING, status: Status::True, reason: reason.as_str().to_owned(), message };
    let generation = connection.metadata.generation;
    let status = UkgProConnectionStatus {
        observed_generation: generation,
        next_check_time: Some(conditions::whole_seconds(until)),
        login_attempts: observed.observation.attempts(previous.login_attempts.clone()),
        conditions: conditions::renew(
            &previous.conditions,
            kept.chain((!is_paused).then_some(waits)).collect(),
            generation,
            now,
        ),
        ..previous.clone()
    };
    let wait = Duration::try_from(until.duration_since(now)).unwrap_or_default() + Duration::from_secs(1);
    Decision { status, events: Vec::new(), requeue: spread(connection, wait, now) }
}

/// What an Active connection comes to that could not be checked for several intervals, and why; `None` where there is nothing to take
/// back. What is known of its values stays, or a login would be spent on learning it again.
pub fn overdue(connection: &UkgProConnection, why: Stall, now: Timestamp) -> Option<Decision> {
    let previous = connection.status.as_ref()?;
    let is_ready = standing_reason(previous).and_then(Reason::verdict) == Some(Verdict::Active);
    if !is_ready || connection.spec.suspend {
        return None;
    }
    let facts = Facts { detail: wording::stall(why).to_owned(), ..Facts::default() };
    let message = wording::message(Reason::CheckOverdue, &facts);
    let mut wanted = conditions_of(&Conclusion { reason: Reason::CheckOverdue, message: message.clone() });
    let candidate = conditions::find(&previous.conditions, CANDIDATE_READY);
    wanted.extend(candidate.map(|candidate| as_it_was(CANDIDATE_READY, candidate)));
    let unknown = |permission: &PermissionStatus| PermissionStatus {
        state: PermissionState::Unknown,
        reason: Some(Reason::CheckOverdue.as_str().to_owned()),
        remedy: None,
        since: conditions::whole_seconds(now),
        ..permission.clone()
    };
    // The spec may have changed since without a check: then the generation of the verdict stays.
    let status = UkgProConnectionStatus {
        state: "Unknown".to_owned(),
        missing: None,
        failures: 0,
        conditions: conditions::renew(&previous.conditions, wanted, previous.observed_generation, now),
        permissions: previous.permissions.iter().map(unknown).collect(),
        ..previous.clone()
    };
    let events = vec![Note { of_candidate: false, warning: true, reason: Reason::CheckOverdue, message }];
    Some(Decision { status, events, requeue: Duration::ZERO })
}

/// The verdict stays; only `Ready` says that nobody looks. A verdict about other fields than the spec has now is no verdict about it.
fn suspended(connection: &UkgProConnection, previous: &UkgProConnectionStatus, now: Timestamp) -> Decision {
    let generation = connection.metadata.generation;
    let stays = previous.checked_spec == Some(connection.spec.checked());
    let message = wording::message(Reason::Suspended, &Facts::default());
    let keep = |type_: &'static str| {
        let before = conditions::find(&previous.conditions, type_).filter(|_| stays);
        let before = before
            .map_or(Wanted { type_, status: Status::Unknown, reason: String::new(), message: String::new() }, |condition| {
                as_it_was(type_, condition)
            });
        match before.reason.as_str() {
            "" => Wanted { reason: Reason::Suspended.as_str().to_owned(), message: message.clone(), ..before },
            _ if type_ == READY => Wanted { reason: Reason::Suspended.as_str().to_owned(), message: message.clone(), ..before },
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
    let wanted = conditions::ALWAYS.into_iter().chain(candidate).map(keep).collect();
    let before = if stays { previous.clone() } else { UkgProConnectionStatus::default() };
    let status = UkgProConnectionStatus {
        observed_generation: generation,
        binding: binding(connection, previous, &Observation::Suspended),
        candidate: before.candidate.clone().filter(|_| same_candidate),
        state: if before.state.is_empty() { "Unknown".to_owned() } else { before.state },
        conditions: conditions::renew(&previous.conditions, wanted, generation, now),
        ..before
    };
    Decision { status, events: Vec::new(), requeue: spread(connection, connection.spec.interval(), now) }
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

/// When to look again. Nobody is asked again before the time it gave, and what is held until a time is looked at then.
fn requeue(
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
fn wait(connection: &UkgProConnection, status: &UkgProConnectionStatus, reason: Reason, now: Timestamp) -> Duration {
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
fn spread(connection: &UkgProConnection, wait: Duration, now: Timestamp) -> Duration {
    wait + wait.mul_f64(share(&(connection.metadata.uid.as_deref(), now.as_millisecond())) / 10.0)
}

/// From 0 to 1, by what it is of.
fn share(of: &impl Hash) -> f64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    f64::from(u32::try_from(hasher.finish() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
pub(crate) mod tests;
