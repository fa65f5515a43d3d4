use ukg_pro::catalogue::{Api, Catalogue, Unknown};
use ukg_pro::endpoint::{EndpointFlaw, Flaw, Part};
use ukg_pro::login::{LoginFailure, Refusal, UndeterminedReason};
use ukg_pro::outcome::Outcome;
use ukg_pro::transport::{BundleFlaw, BundleWarnings, HandshakeFlaw, TrustFlaw, Unanswered, UnreadableReason};
use ukg_pro::words::AccountState;

use super::*;
use crate::api::conditions::{READY, RECONCILING, STALLED};
use crate::api::reason::{Kstatus, OverdueCause};
use crate::api::spec::CaReference;
use crate::api::status::{ApiKind, PermissionState, Worked};
use crate::api::verdict::is_settled;
use crate::api::{CaKind, Delay, SecretReference, UkgProConnectionSpec, messages};
use crate::controller::decide::observation::SOON;
use crate::controller::decide::requeue::wait;
use crate::controller::gate::{self, Hold, Paused};
use crate::controller::lint::{Finding, ValueFlaw};
use crate::controller::probe::Probed;
use crate::controller::resolve::{CaFlaw, Resolved, Unresolved};
use crate::login_guard::Attempts;

pub(crate) fn connection() -> UkgProConnection {
    let spec = UkgProConnectionSpec {
        secret_ref: SecretReference { name: "acme-ukg-pro".to_owned(), keys: Default::default(), trim: Default::default() },
        domain: Some("ultipro.com".to_owned()),
        subdomain: Some("service4".to_owned()),
        ca_ref: None,
        profiles: Vec::new(),
        permissions: ["EmployeePersonDetails", "PtoPlanIntegration"]
            .map(|name| crate::api::RequiredPermission { name: name.to_owned(), api: Default::default() })
            .to_vec(),
        interval: "10m".to_owned(),
        timeout: "30s".to_owned(),
        failure_threshold: 3,
        candidate_secret_ref: None,
        suspend: false,
        controller_class: None,
    };
    let mut connection = UkgProConnection::new("acme", spec);
    connection.metadata.namespace = Some("hr".to_owned());
    connection.metadata.uid = Some("0d9c".to_owned());
    connection.metadata.generation = Some(1);
    connection
}

pub(crate) fn resolved() -> Resolved {
    Resolved {
        endpoint: "https://service4.ultipro.com".to_owned(),
        secret_version: "7".to_owned(),
        has_unknown_subdomain: false,
        suspicious: Vec::new(),
        bundle_warnings: Default::default(),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn requirements() -> Vec<Requirement> {
    super::super::resolve::requirements(&connection().spec, &Catalogue::built_in()).expect("known")
}

/// Decides as the operator does, with the rows that [`connection`] wants.
fn decide(connection: &UkgProConnection, observation: &Observation, now: Timestamp) -> Decision {
    super::decide(connection, &requirements(), &Observed::of(connection, observation.clone(), None), now)
}

fn probed(outcomes: [Outcome; 2]) -> Observation {
    let found = requirements().into_iter().zip(outcomes);
    Observation::Probed(resolved(), found.map(|(requirement, outcome)| Probed { requirement, outcome }).collect())
}

fn paused(times: u16, at: Timestamp, worked: bool) -> Paused {
    Paused { tried: Attempts { times, at }, worked }
}

fn authorities() -> CaReference {
    CaReference { kind: CaKind::ConfigMap, name: "acme-ca".to_owned(), key: "ca.crt".to_owned() }
}

/// Returns an observation that comes down to this reason.
fn observation_of(reason: Reason) -> Observation {
    let failed = |failure| Observation::LoginFailed(resolved(), failure, None);
    let unanswered = |unanswered| failed(LoginFailure::Unanswered(unanswered));
    let finding = |flaw| Observation::Malformed(resolved(), vec![Finding { key: "password".to_owned(), flaw }]);
    match reason {
        Reason::AllPermissionsGranted => probed([Outcome::Granted; 2]),
        Reason::OnlyLoginTested => Observation::Probed(resolved(), Vec::new()),
        Reason::CredentialsRejected => failed(LoginFailure::Refused(Refusal::Credentials)),
        Reason::CustomerApiKeyRejected => failed(LoginFailure::Refused(Refusal::CustomerApiKey)),
        Reason::AccountUnusable => failed(LoginFailure::Refused(Refusal::Account(AccountState::Locked))),
        Reason::UserApiKeyRejected => failed(LoginFailure::Refused(Refusal::UserApiKey)),
        Reason::LoginHeld => Observation::Held(resolved(), Hold::Refused(LoginFailure::Refused(Refusal::Credentials))),
        Reason::PermissionsMissing => probed([Outcome::Granted, Outcome::Denied]),
        Reason::RestLoginRefused => probed([Outcome::Granted, Outcome::LoginRefused]),
        Reason::HostNotFound => unanswered(Unanswered::HostNotFound),
        Reason::ConnectTimeout => unanswered(Unanswered::ConnectTimeout),
        Reason::ConnectRefused => unanswered(Unanswered::ConnectRefused),
        Reason::ProxyFailed => unanswered(Unanswered::ProxyFailed),
        Reason::TlsUntrusted => unanswered(Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing)),
        Reason::TlsFailed => unanswered(Unanswered::TlsFailed(HandshakeFlaw::NotTls)),
        Reason::AnswerTimeout => unanswered(Unanswered::AnswerTimeout),
        Reason::ConnectionLost => unanswered(Unanswered::ConnectionLost),
        Reason::NotUkgPro => unanswered(Unanswered::NotUkgPro),
        Reason::AnswerUnreadable => unanswered(Unanswered::Unreadable(UnreadableReason::Compressed)),
        Reason::RateLimited => unanswered(Unanswered::RateLimited { retry_after: None }),
        Reason::ServerError => unanswered(Unanswered::ServerError),
        Reason::AddressNotAllowed => unanswered(Unanswered::AddressNotAllowed),
        Reason::SecretNotFound => Observation::Unresolved(Unresolved::SecretNotFound),
        Reason::SecretKeyMissing => Observation::Unresolved(Unresolved::SecretKeysMissing(vec!["password".to_owned()])),
        Reason::SecretValueMalformed => finding(ValueFlaw::LineEnd),
        Reason::ApiKeysSwapped => finding(ValueFlaw::SameAs("customerApiKey".to_owned())),
        Reason::EndpointInvalid => Observation::Unresolved(Unresolved::EndpointInvalid(
            EndpointFlaw { part: Part::Subdomain, flaw: Flaw::Scheme },
            "spec.subdomain".to_owned(),
            None,
        )),
        Reason::DomainNotAllowed => {
            Observation::Unresolved(Unresolved::DomainNotAllowed(vec!["ultipro.com".parse().expect("a domain")]))
        }
        Reason::ReferenceForbidden => Observation::Unresolved(Unresolved::Forbidden("Secret acme".to_owned())),
        Reason::CaNotFound => Observation::Unresolved(Unresolved::Ca(authorities(), CaFlaw::ObjectNotFound)),
        Reason::CaInvalid => Observation::Unresolved(Unresolved::Ca(authorities(), CaFlaw::Bundle(BundleFlaw::Pkcs7))),
        Reason::PermissionUnknown => {
            Observation::Unresolved(Unresolved::PermissionsUnknown(vec![Unknown::Permission("Nope".to_owned(), Vec::new())]))
        }
        Reason::LoginUndetermined => failed(LoginFailure::Undetermined(UndeterminedReason::Fault)),
        Reason::LoginPaused => Observation::Held(resolved(), Hold::Paused(paused(4, at(0), false))),
        Reason::PasswordHeld => Observation::Held(resolved(), Hold::PasswordRefused),
        Reason::LoginUncertain => Observation::Held(resolved(), Hold::Uncertain(at(86_400))),
        Reason::LoginLimitReached => Observation::Held(resolved(), Hold::Limit(at(86_400))),
        Reason::LoginFailedUnexplained => failed(LoginFailure::Undetermined(UndeterminedReason::Failed)),
        Reason::PermissionsUndetermined => probed([Outcome::Granted, Outcome::Undetermined]),
        Reason::Suspended => Observation::Suspended,
        Reason::CheckDelayed => Observation::Held(resolved(), Hold::Delayed(Delay::AccountLimited, at(600))),
        Reason::Degraded | Reason::Probing | Reason::CheckOverdue => {
            unreachable!("no observation says that nothing was observed")
        }
    }
}

fn observable() -> impl Iterator<Item = Reason> {
    Reason::ALL.iter().copied().filter(|reason| !matches!(reason, Reason::Probing | Reason::Degraded | Reason::CheckOverdue))
}

/// A connection whose last check came down to this reason; `None` for one that was never checked.
pub(crate) fn connection_with(reason: Option<Reason>) -> UkgProConnection {
    static DEFAULT: std::sync::OnceLock<UkgProConnectionStatus> = std::sync::OnceLock::new();
    let mut connection = connection();
    connection.status = Some(DEFAULT.get_or_init(default_status).clone());
    if let Some(reason) = reason {
        connection.status = Some(decide(&connection, &observation_of(reason), at(0)).status);
    }
    connection
}

/// The default status, as the API server fills it in.
fn default_status() -> UkgProConnectionStatus {
    let default = crate::api::crd().spec.versions.remove(0).schema.and_then(|s| s.open_api_v3_schema);
    let default = default.and_then(|s| s.properties).and_then(|mut p| p.remove("status")).and_then(|s| s.default);
    serde_json::from_value(default.expect("a default").0).expect("a status")
}

fn status_of<'a>(status: &'a UkgProConnectionStatus, type_: &str) -> &'a str {
    conditions::find(&status.conditions, type_).map_or("absent", |condition| condition.status.as_str())
}

fn assert_invariants(status: &UkgProConnectionStatus, what: &str) {
    let verdicts: Vec<_> = Verdict::ALL.iter().map(|verdict| status_of(status, verdict.as_str())).collect();
    let true_ones = verdicts.iter().filter(|status| **status == "True").count();
    let unknown = verdicts.iter().filter(|status| **status == "Unknown").count();
    assert!((true_ones, unknown) == (1, 0) || (true_ones, unknown) == (0, 4), "{what}: {verdicts:?}");
    assert_eq!(status_of(status, "Ready") == "True", status_of(status, "Active") == "True", "{what}");
    let both = (status_of(status, "Stalled"), status_of(status, "Reconciling"));
    assert!(matches!(both, ("absent", "absent") | ("True", "absent") | ("absent", "True")), "{what}: {both:?}");
    let state = Verdict::ALL.iter().find(|v| status_of(status, v.as_str()) == "True").map_or("Unknown", |v| v.as_str());
    assert_eq!(status.state, state, "{what}");
    assert!(status.conditions.iter().all(|c| !c.reason.is_empty() && c.observed_generation == status.observed_generation));
}

#[test]
fn every_observation_gives_its_reason_and_conditions_that_fit() {
    for reason in observable().filter(|reason| *reason != Reason::Suspended) {
        let status = decide(&connection_with(None), &observation_of(reason), at(0)).status;
        assert_invariants(&status, reason.as_str());
        let ready = conditions::find(&status.conditions, "Ready").expect("always there");
        assert_eq!(ready.reason, reason.as_str());
        assert_eq!(status.state, reason.verdict().map_or("Unknown", Verdict::as_str), "{reason:?}");
        assert_eq!(status_of(&status, "Stalled") == "True", reason.kstatus() == Kstatus::Failed, "{reason:?}");
        assert_eq!(status_of(&status, "Reconciling") == "True", reason.kstatus() == Kstatus::InProgress, "{reason:?}");
        assert_eq!(verdict_reason(&status), Some(reason));
    }
}

/// Every login outcome, and every pair of probe outcomes after a login that worked.
#[test]
fn the_verdict_for_every_combination_of_login_and_probe_outcomes() {
    let transient = [
        Unanswered::HostNotFound,
        Unanswered::AddressNotAllowed,
        Unanswered::ConnectTimeout,
        Unanswered::ConnectRefused,
        Unanswered::ProxyFailed,
        Unanswered::TlsUntrusted(TrustFlaw::OtherName),
        Unanswered::TlsFailed(HandshakeFlaw::OldVersion),
        Unanswered::AnswerTimeout,
        Unanswered::ConnectionLost,
        Unanswered::NotUkgPro,
        Unanswered::Unreadable(UnreadableReason::Encoding),
        Unanswered::Unavailable { retry_after: None },
        Unanswered::RateLimited { retry_after: None },
        Unanswered::ServerError,
    ];
    let verdict = |observation| decide(&connection_with(None), &observation, at(0)).status.state;
    for refusal in [Refusal::Credentials, Refusal::CustomerApiKey, Refusal::UserApiKey] {
        assert_eq!(verdict(Observation::LoginFailed(resolved(), LoginFailure::Refused(refusal), None)), "Unauthorized");
    }
    for unclear in
        [UndeterminedReason::Failed, UndeterminedReason::NoToken, UndeterminedReason::Fault, UndeterminedReason::Other]
    {
        assert_eq!(verdict(Observation::LoginFailed(resolved(), LoginFailure::Undetermined(unclear), None)), "Unknown");
    }
    for unanswered in transient {
        assert_eq!(verdict(Observation::LoginFailed(resolved(), unanswered.into(), None)), "Unreachable");
    }

    let mut outcomes = vec![Outcome::Granted, Outcome::Denied, Outcome::LoginRefused, Outcome::Undetermined, Outcome::Held];
    outcomes.extend(transient.map(Outcome::Error));
    let is_denied = |outcome: &Outcome| matches!(outcome, Outcome::Denied | Outcome::LoginRefused);
    let is_error = |outcome: &Outcome| matches!(outcome, Outcome::Error(_));
    for first in &outcomes {
        for second in &outcomes {
            let pair = [*first, *second];
            let expected = if pair.iter().any(is_denied) {
                "Forbidden"
            } else if pair.iter().any(is_error) {
                "Unreachable"
            } else if pair.iter().any(|outcome| matches!(outcome, Outcome::Undetermined | Outcome::Held)) {
                "Unknown"
            } else {
                "Active"
            };
            assert_eq!(verdict(probed(pair)), expected, "{pair:?}");
        }
    }
    assert_eq!(verdict(Observation::Probed(resolved(), Vec::new())), "Active", "only the login is required");
}

#[test]
fn each_permission_is_reported_by_itself() {
    let status =
        decide(&connection_with(None), &probed([Outcome::Error(Unanswered::ServerError), Outcome::Denied]), at(5)).status;
    let found: Vec<_> = status.permissions.iter().map(|p| (p.name.as_str(), p.state, p.reason.as_deref(), p.api)).collect();
    assert_eq!(
        found,
        [
            ("EmployeePersonDetails", PermissionState::Error, Some("ServerError"), ApiKind::Soap),
            ("PtoPlanIntegration", PermissionState::Denied, Some("PermissionsMissing"), ApiKind::Rest),
        ]
    );
    assert_eq!(status.missing.as_deref(), Some("PtoPlanIntegration"));
    let ready = conditions::find(&status.conditions, "Ready").expect("always there");
    assert!(ready.message.contains("PTO Plan Integration") && !ready.message.contains("Employee Person Details"));
}

#[test]
fn a_permission_keeps_its_time_while_its_state_stays() {
    let mut connection = connection_with(None);
    connection.status = Some(decide(&connection, &probed([Outcome::Granted, Outcome::Denied]), at(0)).status);
    let later = decide(&connection, &probed([Outcome::Granted, Outcome::Granted]), at(60)).status;
    assert_eq!(later.permissions[0].since.0, at(0));
    assert_eq!(later.permissions[1].since.0, at(60));
}

#[test]
fn nothing_moves_while_nothing_changes() {
    for reason in observable() {
        let connection = connection_with(Some(reason));
        let again = decide(&connection, &observation_of(reason), at(3600));
        assert_eq!(Some(&again.status), connection.status.as_ref(), "{reason:?}");
        assert_eq!(again.events, [], "{reason:?}");
    }
}

#[test]
fn from_every_state_to_every_other_the_invariants_hold_and_one_event_tells() {
    for before in observable().map(Some).chain([None]) {
        for after in observable() {
            let connection = connection_with(before);
            let decision = decide(&connection, &observation_of(after), at(60));
            let what = format!("{before:?} to {after:?}");
            assert_invariants(&decision.status, &what);
            let previous = connection.status.as_ref().expect("a default");
            for condition in &decision.status.conditions {
                let earlier = conditions::find(&previous.conditions, &condition.type_);
                let moved = earlier.is_none_or(|earlier| earlier.last_transition_time != condition.last_transition_time);
                let changed = earlier.is_none_or(|earlier| earlier.status != condition.status);
                assert_eq!(moved, changed, "{what}: {}", condition.type_);
            }
            // No event: a hold repeats an earlier result, a suspension is the user's own doing, and a first success or a delay is
            // no news.
            let told = verdict_reason(&decision.status);
            let works = |reason: Reason| reason.verdict() == Some(Verdict::Active);
            let good = before.is_none_or(|before| works(before) || matches!(before, Reason::Suspended | Reason::CheckDelayed));
            let quiet = matches!(after, Reason::Suspended | Reason::CheckDelayed);
            let news = told != verdict_reason(previous) && !quiet && !(good && decision.status.state == "Active");
            assert_eq!(!decision.events.is_empty(), news, "{what}");
            assert!(decision.events.iter().all(|note| note.warning != works(after)));
        }
    }
}

#[test]
fn a_held_login_repeats_what_was_said_and_a_newcomer_learns_of_it() {
    let refused = Hold::Refused(LoginFailure::Refused(Refusal::Credentials));
    for (before, hold, after) in [
        (Some(Reason::CustomerApiKeyRejected), Hold::StatusStands, Reason::CustomerApiKeyRejected),
        (Some(Reason::LoginFailedUnexplained), Hold::StatusStands, Reason::LoginFailedUnexplained),
        (Some(Reason::CredentialsRejected), refused, Reason::CredentialsRejected),
        (Some(Reason::UserApiKeyRejected), refused, Reason::CredentialsRejected),
        (Some(Reason::LoginHeld), refused, Reason::LoginHeld),
        (None, refused, Reason::LoginHeld),
        (Some(Reason::SecretNotFound), refused, Reason::LoginHeld),
        (None, Hold::Refused(LoginFailure::Undetermined(UndeterminedReason::Failed)), Reason::LoginFailedUnexplained),
        (Some(Reason::AnswerTimeout), Hold::Uncertain(at(86_400)), Reason::LoginUncertain),
        (Some(Reason::CredentialsRejected), Hold::Limit(at(86_400)), Reason::LoginLimitReached),
    ] {
        let decision = decide(&connection_with(before), &Observation::Held(resolved(), hold), at(60));
        assert_eq!(verdict_reason(&decision.status), Some(after), "{before:?} {hold:?}");
    }
}

#[test]
fn suspending_keeps_the_verdict_and_resuming_forgets_nothing() {
    let connection = connection_with(Some(Reason::PermissionsMissing));
    let status = decide(&connection, &Observation::Suspended, at(60)).status;
    assert_eq!((status.state.as_str(), status.missing.as_deref()), ("Forbidden", Some("PtoPlanIntegration")));
    let ready = conditions::find(&status.conditions, "Ready").expect("always there");
    assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("False", "Suspended"));
    assert_eq!(verdict_reason(&status), Some(Reason::PermissionsMissing));

    // Nothing is said about a spec that was never checked.
    let mut other = connection.clone();
    other.spec.subdomain = Some("service5".to_owned());
    let unchecked = decide(&other, &Observation::Suspended, at(60)).status;
    assert_eq!(
        (unchecked.state.as_str(), status_of(&unchecked, "Ready"), unchecked.missing.as_deref()),
        ("Unknown", "Unknown", None)
    );
    assert_invariants(&unchecked, "suspended with another spec");

    let fresh = decide(&connection_with(None), &Observation::Suspended, at(60)).status;
    assert_eq!((fresh.state.as_str(), status_of(&fresh, "Ready")), ("Unknown", "Unknown"));
}

#[test]
fn what_may_not_be_read_makes_unknown_and_is_looked_at_again_within_a_minute_or_so() {
    for before in [None, Some(Reason::AllPermissionsGranted), Some(Reason::CredentialsRejected)] {
        let decided = decide(&connection_with(before), &observation_of(Reason::ReferenceForbidden), at(60));
        assert_eq!(status_of(&decided.status, "Ready"), "Unknown", "{before:?}");
        assert!(decided.requeue <= SOON + SOON / 10, "{before:?}: {:?}", decided.requeue);
        assert!(is_settled(&UkgProConnection { status: Some(decided.status), ..connection_with(before) }));
    }
}

#[test]
fn a_workload_can_bind_while_the_secret_that_is_named_holds_a_login() {
    let bound = |connection: &UkgProConnection, observation| {
        let status = decide(connection, &observation, at(60)).status;
        status.binding.map(|binding| binding.name)
    };
    let named = || Some("acme-ukg-pro".to_owned());
    let without_a_login = |reason| matches!(reason, Reason::SecretNotFound | Reason::SecretKeyMissing);
    let not_looked_at = |reason| {
        use Reason::*;
        matches!(
            reason,
            EndpointInvalid | DomainNotAllowed | CaNotFound | CaInvalid | ReferenceForbidden | PermissionUnknown | Suspended
        )
    };
    for reason in observable() {
        let first = bound(&connection_with(None), observation_of(reason));
        assert_eq!(first, named().filter(|_| !without_a_login(reason) && !not_looked_at(reason)), "{reason:?} at first");
        let active = connection_with(Some(Reason::AllPermissionsGranted));
        let later = bound(&active, observation_of(reason));
        assert_eq!(later, named().filter(|_| !without_a_login(reason)), "{reason:?} of an active connection");
        let mut renamed = active;
        renamed.spec.secret_ref.name = "acme-next".to_owned();
        let next = bound(&renamed, observation_of(reason));
        let expected = first.map(|_| "acme-next".to_owned());
        assert_eq!(next, expected, "{reason:?} with another Secret named");
    }
    let broken = Observation::Unresolved(Unresolved::SecretValueNotText("password".to_owned()));
    assert_eq!(bound(&connection_with(Some(Reason::AllPermissionsGranted)), broken), None);
}

#[test]
fn a_request_made_while_suspended_is_answered_afterwards() {
    let mut connection = connection_with(Some(Reason::AllPermissionsGranted));
    connection.metadata.annotations = Some([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())].into());
    connection.status = Some(decide(&connection, &Observation::Suspended, at(60)).status);
    assert_eq!(connection.open_request(), Some("now"));
    connection.status = Some(decide(&connection, &observation_of(Reason::AllPermissionsGranted), at(90)).status);
    assert_eq!(connection.open_request(), None);
}

/// What has worked is remembered until a refusal, another Secret or another spec; transient failures do not change it.
#[test]
fn what_has_worked_outlasts_trouble_on_the_way() {
    use Reason::{
        AllPermissionsGranted, AnswerTimeout, CredentialsRejected, LoginUncertain, PermissionsMissing, RestLoginRefused,
    };
    for (course_of, login, rest) in [
        ([AllPermissionsGranted, AnswerTimeout, AnswerTimeout, AnswerTimeout].as_slice(), true, true),
        (&[AllPermissionsGranted, AnswerTimeout, LoginUncertain], true, true),
        (&[PermissionsMissing, AnswerTimeout], true, true),
        (&[RestLoginRefused, AnswerTimeout], true, false),
        (&[AllPermissionsGranted, CredentialsRejected, AnswerTimeout], false, false),
        (&[AnswerTimeout, AnswerTimeout], false, false),
    ] {
        let checks: Vec<_> = course_of.iter().map(|reason| observation_of(*reason)).collect();
        let connection = UkgProConnection {
            spec: crate::api::UkgProConnectionSpec { failure_threshold: 1, ..connection().spec },
            ..connection_with(None)
        };
        let last = course(connection.clone(), &checks).pop().expect("some");
        assert_eq!(last.worked, Worked { login, rest }, "{course_of:?}");
        let mut after = UkgProConnection { status: Some(last), ..connection };
        assert_eq!(gate::recorded(&after, &resolved()).worked, Worked { login, rest }, "{course_of:?}");
        after.spec.subdomain = Some("service5".to_owned());
        assert_eq!(gate::recorded(&after, &resolved()).worked, Worked::default(), "another host");
    }
}

#[test]
fn an_event_names_a_permission_that_was_taken_away() {
    let connection = connection_with(Some(Reason::PermissionsMissing));
    let decision = decide(&connection, &probed([Outcome::Denied, Outcome::Denied]), at(60));
    let note = decision.events.first().expect("news");
    assert!(note.message.contains("Employee Person Details"), "{}", note.message);
}

#[test]
fn the_longest_status_fits_the_crd() {
    let row = ukg_pro::catalogue::Row {
        name: "N".repeat(63),
        title: "t".repeat(128),
        enables: "e".repeat(256),
        soap: None,
        rest: Some(ukg_pro::catalogue::RestProbe { path: "/x".to_owned(), people: false, page_size: "per_Page".to_owned() }),
    };
    let requirement = Requirement { row: std::sync::Arc::new(row), api: Api::Rest };
    let found = vec![Probed { requirement, outcome: Outcome::Denied }; 128];
    let status = decide(&connection_with(None), &Observation::Probed(resolved(), found), at(0)).status;
    let bound = |path: &str| {
        let crd = serde_json::to_value(crate::api::crd()).expect("JSON");
        let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"];
        status.pointer(path).and_then(serde_json::Value::as_u64).expect(path) as usize
    };
    assert!(status.missing.expect("all").len() <= bound("/properties/missing/maxLength"));
    assert!(status.permissions.len() <= bound("/properties/permissions/maxItems"));
    let remedy = status.permissions[0].remedy.as_ref().expect("denied");
    assert!(remedy.len() <= bound("/properties/permissions/items/properties/remedy/maxLength"), "{}", remedy.len());
    // The API server's limit for a condition's message.
    assert!(status.conditions.iter().all(|condition| condition.message.len() <= 32_768));
}

#[test]
fn a_transient_failure_is_retried_ever_later_up_to_the_interval() {
    let connection = connection_with(Some(Reason::ConnectTimeout));
    let wait = |seconds| decide(&connection, &observation_of(Reason::ConnectTimeout), at(seconds)).requeue.as_secs();
    for (lasted, low, high) in [(0, 15, 17), (20, 20, 22), (300, 300, 330), (100_000, 600, 660), (-3600, 15, 17)] {
        let waited = wait(lasted);
        assert!((low..=high).contains(&waited), "after {lasted} s: {waited} s");
    }
    let limited = LoginFailure::Unanswered(Unanswered::RateLimited { retry_after: Some(Duration::from_secs(120)) });
    let told = decide(&connection, &Observation::LoginFailed(resolved(), limited, None), at(1)).requeue.as_secs();
    let unavailable = LoginFailure::Unanswered(Unanswered::Unavailable { retry_after: Some(Duration::from_secs(2_000)) });
    let said = decide(&connection, &Observation::LoginFailed(resolved(), unavailable, None), at(1)).requeue.as_secs();
    assert!((2_000..=2_200).contains(&said), "{said}");
    assert!((120..=132).contains(&told), "as told: {told}");
    let active = decide(&connection, &observation_of(Reason::AllPermissionsGranted), at(1)).requeue.as_secs();
    assert!((600..=660).contains(&active));
    // Whatever the verdict, a host is not asked again too soon; and the end of an outage of hours is noticed within minutes.
    let limited = Outcome::Error(Unanswered::RateLimited { retry_after: Some(Duration::from_secs(3000)) });
    let told = decide(&connection, &probed([Outcome::Denied, limited]), at(1)).requeue.as_secs();
    assert!((3000..=3300).contains(&told), "as told: {told}");
    let mut daily = connection;
    daily.spec.interval = "24h".to_owned();
    let waited = decide(&daily, &observation_of(Reason::ConnectTimeout), at(20_000)).requeue.as_secs();
    assert!((600..=660).contains(&waited), "{waited} s");
}

/// No watch reports a new ConfigMap, nor a Secret that is not watched.
#[test]
fn what_is_not_there_is_looked_for_soon_and_then_ever_later() {
    for (reason, looks) in [
        (Reason::CaNotFound, [(0, 5), (20, 20), (300, 60), (100_000, 60)]),
        (Reason::CaInvalid, [(0, 5), (20, 20), (300, 60), (100_000, 60)]),
        (Reason::SecretNotFound, [(0, 15), (20, 20), (300, 300), (100_000, 600)]),
        (Reason::ReferenceForbidden, [(0, 5), (20, 20), (300, 60), (100_000, 60)]),
    ] {
        // The wait begins anew, whatever was wrong before and for how long.
        for before in [None, Some(Reason::CredentialsRejected), Some(Reason::PermissionUnknown)] {
            let first = decide(&connection_with(before), &observation_of(reason), at(50_000)).requeue;
            assert!(first <= Duration::from_secs(looks[0].1).mul_f64(1.1), "{reason:?} after {before:?}: {first:?}");
        }
        let connection = connection_with(Some(reason));
        for (lasted, expected) in looks {
            let waited = decide(&connection, &observation_of(reason), at(lasted)).requeue;
            let expected = Duration::from_secs(expected);
            assert!((expected..=expected + expected / 10).contains(&waited), "{reason:?} after {lasted} s: {waited:?}");
        }
    }
}

#[test]
fn what_is_wrong_with_the_authorities_is_told_by_kind_name_and_key() {
    let message = |flaw| {
        let observation = Observation::Unresolved(Unresolved::Ca(authorities(), flaw));
        let status = decide(&connection_with(None), &observation, at(0)).status;
        conditions::find(&status.conditions, "Ready").expect("always there").message.clone()
    };
    for (flaw, told) in [
        (CaFlaw::ObjectNotFound, "ConfigMap acme-ca is not in this namespace"),
        (CaFlaw::KeyMissing, "ConfigMap acme-ca has no key ca.crt"),
        (CaFlaw::TooLarge, "key ca.crt of ConfigMap acme-ca (spec.caRef) cannot be used: it is larger than 128 KiB"),
        (CaFlaw::Bundle(BundleFlaw::Pkcs7), "key ca.crt of ConfigMap acme-ca (spec.caRef) cannot be used: it contains PKCS#7"),
    ] {
        assert!(message(flaw).contains(told), "{flaw:?}: {}", message(flaw));
    }
}

/// A user who has misspelt `permissions` must notice.
#[test]
fn where_nothing_is_required_it_is_said_that_only_the_login_was_tested() {
    let resolved = resolved();
    for observation in [Observation::Probed(resolved.clone(), Vec::new()), Observation::Promoted(resolved, Vec::new())] {
        let status = decide(&connection_with(None), &observation, at(0)).status;
        let ready = conditions::find(&status.conditions, "Ready").expect("always there");
        assert_eq!((ready.status.as_str(), ready.reason.as_str()), ("True", "OnlyLoginTested"));
        assert!(ready.message.contains("spec.permissions or spec.profiles"), "{}", ready.message);
    }
}

#[test]
fn messages_name_the_secret_the_host_and_the_place_but_no_value() {
    for (reason, parts) in [
        (Reason::CredentialsRejected, ["acme-ukg-pro", "https://service4.ultipro.com", messages::PAGE]),
        (Reason::SecretKeyMissing, ["acme-ukg-pro", "password", "spec.secretRef.keys"]),
        (Reason::SecretValueMalformed, ["acme-ukg-pro", "password ends with a newline", "stringData"]),
        (Reason::EndpointInvalid, ["spec.subdomain", "https://", "service4"]),
        (Reason::PermissionUnknown, ["Nope", "spec.permissions", "PtoPlanIntegration"]),
    ] {
        let status = decide(&connection_with(None), &observation_of(reason), at(0)).status;
        let message = &conditions::find(&status.conditions, "Ready").expect("always there").message;
        for part in parts {
            assert!(message.contains(part), "{reason:?} lacks {part}: {message}");
        }
    }
}

#[test]
fn what_looked_odd_is_told_once_it_may_be_the_cause() {
    let odd = Resolved {
        has_unknown_subdomain: true,
        bundle_warnings: Default::default(),
        suspicious: vec![Finding { key: "userApiKey".to_owned(), flaw: ValueFlaw::SwappedWith("customerApiKey".to_owned()) }],
        ..resolved()
    };
    let message = |observation: &Observation| {
        let status = decide(&connection_with(None), observation, at(0)).status;
        conditions::find(&status.conditions, "Ready").expect("always there").message.clone()
    };
    let failed = |resolved: &Resolved, failure| message(&Observation::LoginFailed(resolved.clone(), failure, None));
    let swapped = "Suspicious values in the Secret: userApiKey and customerApiKey look swapped.";
    for (failure, hint) in [
        (LoginFailure::Refused(Refusal::Credentials), Some(swapped)),
        (LoginFailure::Refused(Refusal::CustomerApiKey), Some(swapped)),
        (LoginFailure::Refused(Refusal::UserApiKey), Some(swapped)),
        (LoginFailure::Undetermined(UndeterminedReason::Failed), Some(swapped)),
        (LoginFailure::Undetermined(UndeterminedReason::Fault), Some(swapped)),
        (Unanswered::HostNotFound.into(), Some(messages::LOGIN_SITE)),
        (Unanswered::TlsUntrusted(TrustFlaw::OtherName).into(), Some(messages::LOGIN_SITE)),
        (Unanswered::NotUkgPro.into(), Some(messages::LOGIN_SITE)),
        (Unanswered::ConnectTimeout.into(), None),
        (Unanswered::ServerError.into(), None),
    ] {
        let said = failed(&odd, failure);
        for each in [swapped, messages::LOGIN_SITE] {
            assert_eq!(said.contains(each), hint == Some(each), "{failure:?}: {said}");
        }
        assert!(!failed(&resolved(), failure).contains("Suspicious") && !failed(&resolved(), failure).contains("looks like"));
    }
    let refused = LoginFailure::Refused(Refusal::Credentials);
    let held = message(&Observation::Held(odd.clone(), Hold::Refused(refused)));
    assert!(held.contains(swapped), "{held}");
    let said = failed(&odd, refused);
    assert!(said.find(swapped) < said.find(messages::PAGE), "before the remedy, or an event might lose it: {said}");

    // A hold repeats the refusal's message word for word; otherwise the status would change although nothing has.
    let mut connection = connection_with(None);
    connection.status = Some(decide(&connection, &Observation::LoginFailed(odd.clone(), refused, None), at(0)).status);
    let again = decide(&connection, &Observation::Held(odd, Hold::StatusStands), at(60));
    assert_eq!((Some(again.status), again.events), (connection.status, Vec::new()));
}

#[test]
fn while_changed_values_are_checked_the_verdict_stays_and_nobody_takes_it_for_theirs() {
    assert_eq!(rechecking(&connection_with(None), at(60)), None, "there is no verdict to be taken for another");
    // These reasons do not come from a check.
    let none = [Reason::Probing, Reason::CheckDelayed, Reason::CheckOverdue, Reason::Suspended, Reason::Degraded];
    for reason in Reason::ALL.iter().copied().filter(|reason| !none.contains(reason)) {
        let connection = connection_with(Some(reason));
        let before = connection.status.clone().expect("a status");
        let decision = rechecking(&connection, at(60)).expect("a verdict");
        let status = decision.status;
        let reconciling = conditions::find(&status.conditions, RECONCILING).expect("it is said");
        assert!(reconciling.status == "True" && reconciling.message.contains("has changed"), "{reason:?}");
        assert!(conditions::find(&status.conditions, STALLED).is_none(), "{reason:?}");
        for type_ in conditions::ALWAYS {
            assert_eq!(conditions::find(&status.conditions, type_), conditions::find(&before.conditions, type_), "{reason:?}");
        }
        assert_eq!((status.state, decision.events), (before.state, Vec::new()));
        // The result is then decided as if the status had not changed meanwhile.
        let told =
            UkgProConnection { status: Some(rechecking(&connection, at(60)).expect("as above").status), ..connection.clone() };
        let found = probed([Outcome::Granted; 2]);
        let (was, is) = (decide(&connection, &found, at(70)), decide(&told, &found, at(70)));
        assert_eq!((was.status, was.events), (is.status, is.events), "{reason:?}");
    }
    let mut suspended = connection_with(Some(Reason::CredentialsRejected));
    suspended.spec.suspend = true;
    assert_eq!(rechecking(&suspended, at(60)), None);
}

#[test]
fn what_should_be_corrected_in_a_ca_bundle_is_said_once_it_counts() {
    let message = |reason_of: &dyn Fn(Resolved) -> Observation, bundle_warnings, now| {
        let status = decide(&connection_with(None), &reason_of(Resolved { bundle_warnings, ..resolved() }), now).status;
        conditions::find(&status.conditions, "Ready").expect("always there").message.clone()
    };
    let works = |resolved| match probed([Outcome::Granted; 2]) {
        Observation::Probed(_, found) => Observation::Probed(resolved, found),
        other => other,
    };
    let untrusted =
        |resolved| Observation::LoginFailed(resolved, Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing).into(), None);
    let expiring = BundleWarnings { private_key: false, first_expiry: Some(at(100)) };
    for of in [&works as &dyn Fn(Resolved) -> Observation, &untrusted] {
        assert_eq!(message(of, expiring, at(0)), message(of, BundleWarnings::default(), at(0)));
        let said = message(of, expiring, at(200));
        assert!(said.contains("expired on 2027-01-15"), "{said}");
        let said = message(of, BundleWarnings { private_key: true, first_expiry: None }, at(0));
        assert!(said.contains("contains a private key"), "{said}");
    }
}

#[test]
fn one_read_that_fails_beside_others_is_named() {
    let of = |outcomes: &[Outcome]| {
        let requirements = requirements();
        let probed =
            requirements.into_iter().zip(outcomes).map(|(requirement, outcome)| Probed { requirement, outcome: *outcome });
        let status = decide(&connection_with(None), &Observation::Probed(resolved(), probed.collect()), at(0)).status;
        let ready = conditions::find(&status.conditions, "Ready").expect("always there").clone();
        (ready.reason, ready.message)
    };
    let error = Outcome::Error(Unanswered::ServerError);
    let (reason, message) = of(&[error, Outcome::Granted]);
    assert_eq!(reason, "ServerError");
    assert!(message.contains("the reads of Employee Person Details.") && message.contains(messages::PAGE), "{message}");
    let late = Outcome::Error(Unanswered::AnswerTimeout);
    assert!(!of(&[error, late]).1.contains("Employee Job"), "that one has another trouble");
    let (_, message) = of(&[error, error]);
    assert!(message.contains("gave no usable answer") && !message.contains(messages::PAGE), "{message}");
}

#[test]
fn a_web_page_of_a_host_that_has_worked_is_trouble_on_the_way() {
    let mut connection = connection_with(None);
    connection.spec.failure_threshold = 1;
    let page = Observation::LoginFailed(resolved(), Unanswered::NotUkgPro.into(), None);
    let message = |connection: &UkgProConnection| {
        let status = decide(connection, &page, at(0)).status;
        conditions::find(&status.conditions, "Ready").expect("always there").message.clone()
    };
    assert!(message(&connection).contains("login page"), "{}", message(&connection));
    let mut worked = connection_with(Some(Reason::AllPermissionsGranted));
    worked.spec.failure_threshold = 1;
    assert!(message(&worked).contains("maintenance") && !message(&worked).contains("login page"), "{}", message(&worked));
    // Nor if this check itself has logged in there.
    let read = probed([Outcome::Granted, Outcome::Error(Unanswered::NotUkgPro)]);
    let status = decide(&connection, &read, at(0)).status;
    let said = conditions::find(&status.conditions, "Ready").expect("always there").message.clone();
    assert!(said.contains("maintenance"), "{said}");
    // The message stays the same while this lasts.
    let first = message(&worked);
    worked.status = Some(decide(&worked, &page, at(0)).status);
    assert_eq!(message(&worked), first);
}

/// Returns the statuses after each of these consecutive checks.
fn course(mut connection: UkgProConnection, checks: &[Observation]) -> Vec<UkgProConnectionStatus> {
    let mut course = Vec::new();
    for (n, observation) in checks.iter().enumerate() {
        let status = decide(&connection, observation, at(60 * i64::try_from(n).expect("few"))).status;
        assert_invariants(&status, &format!("check {n}"));
        connection.status = Some(status.clone());
        course.push(status);
    }
    course
}

fn states(course: &[UkgProConnectionStatus]) -> Vec<(&str, Reason)> {
    course.iter().map(|status| (status.state.as_str(), verdict_reason(status).expect("a reason"))).collect()
}

#[test]
fn an_active_connection_stays_so_until_failures_in_a_row_reach_the_threshold() {
    use Reason::{AllPermissionsGranted as Good, ConnectTimeout, Degraded, LoginUndetermined, PermissionsMissing, ServerError};
    let of = |reasons: &[Reason]| reasons.iter().map(|reason| observation_of(*reason)).collect::<Vec<_>>();
    for (what, checks, expected) in [
        ("dead", [ConnectTimeout; 4].as_slice(), ["Active", "Active", "Unreachable", "Unreachable"].as_slice()),
        ("dead in several ways", &[ConnectTimeout, ServerError, ConnectTimeout], &["Active", "Active", "Unreachable"]),
        ("an answer from which nothing can be told is one", &[LoginUndetermined], &["Unknown"]),
        ("each second lost", &[ConnectTimeout, Good, ConnectTimeout, Good, ConnectTimeout], &["Active"; 5]),
        ("two of three lost", &[ConnectTimeout, ConnectTimeout, Good, ConnectTimeout, ConnectTimeout], &["Active"; 5]),
        ("a denial counts at once", &[ConnectTimeout, PermissionsMissing], &["Active", "Forbidden"]),
        (
            "so does recovery",
            &[ConnectTimeout, ConnectTimeout, ConnectTimeout, Good],
            &["Active", "Active", "Unreachable", "Active"],
        ),
        ("a refusal", &[Reason::CredentialsRejected], &["Unauthorized"]),
        ("who was never Active", &[PermissionsMissing, ConnectTimeout], &["Forbidden", "Unreachable"]),
    ] {
        let course = course(connection_with(Some(Good)), &of(checks));
        let found: Vec<_> = states(&course).iter().map(|(state, _)| *state).collect();
        assert_eq!(found, expected, "{what}");
        for (status, (state, reason)) in course.iter().zip(states(&course)) {
            assert_eq!(reason == Degraded, state == "Active" && status.failures > 0, "{what}");
            // While Degraded, the permissions stay as they were.
            assert!(state != "Active" || status.permissions.iter().all(|p| p.state == PermissionState::Granted), "{what}");
        }
    }
    let once = course(
        UkgProConnection {
            spec: crate::api::UkgProConnectionSpec { failure_threshold: 1, ..connection().spec },
            ..connection_with(Some(Good))
        },
        &of(&[ConnectTimeout]),
    );
    assert_eq!(states(&once), [("Unreachable", ConnectTimeout)]);
}

#[test]
fn a_degraded_connection_says_what_failed_and_how_often() {
    let course = course(connection_with(Some(Reason::AllPermissionsGranted)), &vec![observation_of(Reason::ConnectTimeout); 2]);
    let message = &conditions::find(&course[1].conditions, "Ready").expect("always there").message;
    assert!(
        message.contains(
            "Failed checks in a row: 2 of 3. The connection to https://service4.ultipro.com, or its TLS handshake, timed out."
        ),
        "{message}"
    );
    let waits: Vec<_> = course
        .iter()
        .map(|status| {
            let connection = UkgProConnection { status: Some(status.clone()), ..connection() };
            wait(&connection, status, Reason::Degraded, at(0)).as_secs()
        })
        .collect();
    assert_eq!(waits, [15, 30]);
}

#[test]
fn a_verdict_about_other_values_does_not_carry_over_a_failure() {
    for (what, version, subdomain) in [("another Secret", "8", "service4"), ("another host", "7", "service5")] {
        let mut connection = connection_with(Some(Reason::AllPermissionsGranted));
        connection.spec.subdomain = Some(subdomain.to_owned());
        let resolved = Resolved { secret_version: version.to_owned(), ..resolved() };
        let failed = Observation::LoginFailed(resolved, LoginFailure::Unanswered(Unanswered::ConnectTimeout), None);
        assert_eq!(decide(&connection, &failed, at(60)).status.state, "Unreachable", "{what}");
    }
}

#[test]
fn deciding_again_on_a_status_that_was_written_after_all_does_not_count_again() {
    let connection = connection_with(Some(Reason::AllPermissionsGranted));
    let observed = Observed::of(&connection, observation_of(Reason::ConnectTimeout), None);
    let status = super::decide(&connection, &requirements(), &observed, at(0)).status;
    let written = UkgProConnection { status: Some(status.clone()), ..connection };
    assert_eq!(super::decide(&written, &requirements(), &observed, at(0)).status, status);
}

#[test]
fn a_restart_spreads_settled_connections_over_their_wait_and_puts_nobody_else_off() {
    let due = |connection: &UkgProConnection| first_due(connection, at(0)).map(|wait| wait.as_secs_f64());
    let mut connection = connection_with(Some(Reason::AllPermissionsGranted));
    let mut all: Vec<_> = (0..1000)
        .map(|n| {
            connection.metadata.uid = Some(n.to_string());
            due(&connection).expect("settled")
        })
        .collect();
    all.sort_by(f64::total_cmp);
    for (position, wait) in all.iter().enumerate() {
        let even = position as f64 * 600.0 / 1000.0;
        assert!((wait - even).abs() < 40.0, "{position}: {wait}");
    }
    assert!(due(&connection_with(Some(Reason::ConnectTimeout))).is_some_and(|wait| wait <= 15.0), "a retry goes on");
    assert_eq!(due(&connection_with(None)), None, "never checked");
    connection.metadata.generation = Some(2);
    assert_eq!(due(&connection), None, "changed");
    let mut asked = connection_with(Some(Reason::AllPermissionsGranted));
    asked.metadata.annotations = Some([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())].into());
    assert_eq!(due(&asked), None, "asked for");
}

mod candidate {
    use super::*;
    use crate::controller::gate::is_promoted;

    fn with_candidate(reason: Reason) -> UkgProConnection {
        let mut connection = connection_with(Some(reason));
        let next = SecretReference { name: "next".to_owned(), ..connection.spec.secret_ref.clone() };
        connection.spec.candidate_secret_ref = Some(next);
        connection
    }

    fn check(connection: &UkgProConnection, live: Reason, candidate: Option<Reason>, second: i64) -> Decision {
        let observed = Observed::of(connection, observation_of(live), candidate.map(observation_of));
        super::super::decide(connection, &requirements(), &observed, at(second))
    }

    fn ready(status: &UkgProConnectionStatus) -> (&str, &str) {
        conditions::find(&status.conditions, "CandidateReady")
            .map_or(("absent", ""), |c| (c.status.as_str(), c.reason.as_str()))
    }

    #[test]
    fn it_has_a_condition_of_its_own_and_does_not_touch_the_verdict() {
        for live in [Reason::AllPermissionsGranted, Reason::CredentialsRejected, Reason::PermissionsMissing] {
            for (candidate, expected) in [
                (Reason::AllPermissionsGranted, "True"),
                (Reason::CredentialsRejected, "False"),
                (Reason::PermissionsMissing, "False"),
                (Reason::SecretNotFound, "False"),
                (Reason::ConnectTimeout, "Unknown"),
                (Reason::LoginUndetermined, "Unknown"),
            ] {
                let connection = with_candidate(live);
                let decision = check(&connection, live, Some(candidate), 60);
                assert_eq!(ready(&decision.status), (expected, candidate.as_str()), "{live:?}");
                assert_eq!(decision.events.len(), 1, "{live:?} {candidate:?}: only the candidate is news");
                let alone = check(&connection_with(Some(live)), live, None, 60).status;
                let without = |status: &UkgProConnectionStatus| {
                    let mut status = status.clone();
                    status.conditions.retain(|condition| condition.type_ != "CandidateReady");
                    UkgProConnectionStatus { candidate: None, ..status }
                };
                assert_eq!(without(&decision.status), without(&alone), "{live:?} {candidate:?}");
            }
        }
    }

    #[test]
    fn it_says_which_secret_is_meant_and_goes_with_the_field() {
        let mut connection = with_candidate(Reason::AllPermissionsGranted);
        let status = check(&connection, Reason::AllPermissionsGranted, Some(Reason::AllPermissionsGranted), 60).status;
        let message = &conditions::find(&status.conditions, "CandidateReady").expect("there").message;
        assert!(message.contains("name Secret next in spec.secretRef"), "{message}");
        connection.status = Some(status.clone());
        let again = check(&connection, Reason::AllPermissionsGranted, Some(Reason::AllPermissionsGranted), 3600);
        assert_eq!((again.status, again.events), (status.clone(), Vec::new()), "nothing moves");
        let suspended = decide(&connection, &Observation::Suspended, at(3600)).status;
        assert_eq!(ready(&suspended), ("True", "AllPermissionsGranted"), "it stays while nobody looks");
        connection.spec.candidate_secret_ref = None;
        let gone = check(&connection, Reason::AllPermissionsGranted, None, 7200).status;
        assert_eq!((ready(&gone), &gone.candidate), (("absent", ""), &None));
    }

    #[test]
    fn a_hiccup_does_not_unmake_it() {
        let mut connection = with_candidate(Reason::AllPermissionsGranted);
        connection.status =
            Some(check(&connection, Reason::AllPermissionsGranted, Some(Reason::AllPermissionsGranted), 0).status);
        let hiccup = check(&connection, Reason::AllPermissionsGranted, Some(Reason::ConnectTimeout), 60);
        assert_eq!((ready(&hiccup.status), hiccup.events.len()), (("True", "AllPermissionsGranted"), 0));
        let refused = check(&connection, Reason::AllPermissionsGranted, Some(Reason::CredentialsRejected), 60).status;
        assert_eq!(ready(&refused), ("False", "CredentialsRejected"));
        // A hold after that reports the same, and nothing changes.
        connection.status = Some(refused.clone());
        let held = check(&connection, Reason::AllPermissionsGranted, Some(Reason::LoginHeld), 120);
        assert_eq!((held.status, held.events), (refused, Vec::new()));
    }

    #[test]
    fn what_has_worked_with_it_is_known_to_its_gate() {
        let mut connection = with_candidate(Reason::CredentialsRejected);
        connection.status =
            Some(check(&connection, Reason::CredentialsRejected, Some(Reason::AllPermissionsGranted), 0).status);
        let promoted = connection.promoted().expect("a candidate");
        assert_eq!(gate::recorded(&promoted, &resolved()).worked, Worked { login: true, rest: true });
        connection.status = Some(check(&connection, Reason::CredentialsRejected, Some(Reason::ConnectTimeout), 60).status);
        let promoted = connection.promoted().expect("a candidate");
        assert_eq!(
            gate::recorded(&promoted, &resolved()).worked,
            Worked { login: true, rest: true },
            "after trouble on the way"
        );
        assert_eq!(gate::recorded(&connection, &resolved()).worked, Worked::default(), "the live one was refused");
    }

    #[test]
    fn naming_it_promotes_exactly_what_was_checked() {
        let mut before = with_candidate(Reason::CredentialsRejected);
        before.status = Some(check(&before, Reason::CredentialsRejected, Some(Reason::AllPermissionsGranted), 0).status);
        let promoted = |change: fn(&mut UkgProConnection), version: &str| {
            let mut after = before.clone();
            after.spec = after.spec.promoted().expect("a candidate");
            change(&mut after);
            is_promoted(&after, &Resolved { secret_version: version.to_owned(), ..resolved() }, &requirements())
        };
        assert!(promoted(|_| {}, "7"));
        assert!(promoted(|after| after.spec.interval = "1h".to_owned(), "7"), "no verdict depends on it");
        assert!(!promoted(|_| {}, "8"), "another version of the Secret");
        assert!(!promoted(|after| after.spec.permissions.truncate(1), "7"), "other permissions");
        assert!(!promoted(|after| after.spec.subdomain = Some("service5".to_owned()), "7"), "another host");
        let ask = |after: &mut UkgProConnection| {
            after.metadata.annotations = Some([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())].into());
        };
        assert!(!promoted(ask, "7"), "a person wants to know anew");
        let mut after = before.clone();
        after.spec = after.spec.promoted().expect("a candidate");
        assert!(!is_promoted(&after, &resolved(), &requirements()[..1]), "a profile that has other permissions by now");
        assert!(!is_promoted(&before, &resolved(), &requirements()), "it is still the candidate");

        let mut after = before.clone();
        after.spec = after.spec.promoted().expect("a candidate");
        let status = decide(&after, &Observation::Promoted(resolved(), requirements()), at(60)).status;
        assert_invariants(&status, "promoted");
        assert_eq!((status.state.as_str(), ready(&status)), ("Active", ("absent", "")));
        assert!(status.permissions.iter().all(|permission| permission.state == PermissionState::Granted));
        after.status = Some(status);
        assert!(!is_promoted(&after, &resolved(), &requirements()), "once");

        before.status = Some(check(&before, Reason::CredentialsRejected, Some(Reason::PermissionsMissing), 0).status);
        let mut after = before.clone();
        after.spec = after.spec.promoted().expect("a candidate");
        assert!(!is_promoted(&after, &resolved(), &requirements()), "it was not ready");
    }
}

#[test]
fn that_a_connection_is_checked_is_written_down_once_in_a_heartbeat() {
    let hour = Some(Duration::from_secs(3600));
    let mut connection = connection_with(Some(Reason::AllPermissionsGranted));
    let checked = |connection: &UkgProConnection, observation: Observation, heartbeat, second| {
        let status = connection.status.clone().unwrap_or_default();
        let observed = Observed::of(connection, observation, None);
        last_checked(connection, &status, &observed, heartbeat, at(second)).map(|time| time.0)
    };
    let good = || observation_of(Reason::AllPermissionsGranted);
    assert_eq!(checked(&connection, good(), hour, 10), Some(at(10)));
    if let Some(status) = &mut connection.status {
        status.last_checked_time = Some(Time(at(10)));
    }
    assert_eq!(checked(&connection, good(), hour, 3609), Some(at(10)));
    assert_eq!(checked(&connection, good(), hour, 3610), Some(at(3610)));
    assert_eq!(checked(&connection, observation_of(Reason::LoginHeld), hour, 9999), Some(at(10)), "nothing was asked");
    assert_eq!(checked(&connection, good(), hour, -9999), Some(at(-9999)), "the clock was set back");
    assert_eq!(checked(&connection, good(), None, 9999), Some(at(10)), "it is off");
    // It is updated with any other change, or it would be older than the verdict.
    let mut other = connection.status.clone().expect("a status");
    other.state = "Forbidden".to_owned();
    let observed = Observed::of(&connection, good(), None);
    for heartbeat in [hour, None] {
        let told = last_checked(&connection, &other, &observed, heartbeat, at(20)).map(|time| time.0);
        assert_eq!(told, Some(at(20)), "{heartbeat:?}");
    }
}

#[test]
fn a_check_that_waits_for_its_host_says_for_what_and_until_when() {
    let check_without_host = |resolved| Observation::Held(resolved, Hold::Delayed(Delay::AccountLimited, at(3_600)));
    // A new connection, and one whose Secret changed after its verdict: nothing is known about these values.
    for before in [None, Some(Reason::AllPermissionsGranted), Some(Reason::CredentialsRejected)] {
        let mut connection = connection_with(before);
        connection.metadata.annotations = Some([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())].into());
        let changed = Resolved { secret_version: "8".to_owned(), ..resolved() };
        let decision = decide(&connection, &check_without_host(changed), at(60));
        let status = &decision.status;
        assert_eq!((status.state.as_str(), status_of(status, "Ready")), ("Unknown", "Unknown"), "{before:?}");
        assert_eq!(status_of(status, "Reconciling"), "True");
        let ready = conditions::find(&status.conditions, READY).expect("always there");
        assert_eq!(ready.reason, "CheckDelayed");
        assert!(ready.message.contains("this account") && ready.message.contains(&at(3_600).to_string()), "{}", ready.message);
        assert_eq!(status.next_check_time.as_ref().map(|time| time.0), Some(at(3_600)));
        assert_eq!(status.last_handled_reconcile_at, None, "the request is not answered yet");
        assert_eq!(decision.events, [], "it is no news");
        assert!(decision.requeue >= Duration::from_secs(600), "{:?}", decision.requeue);
        assert!(!is_settled(&UkgProConnection { status: Some(status.clone()), ..connection.clone() }), "somebody waits");

        // Nothing changes while it waits.
        connection.status = Some(status.clone());
        let again =
            decide(&connection, &check_without_host(Resolved { secret_version: "8".to_owned(), ..resolved() }), at(120));
        assert_eq!(again.status, *status, "{before:?}");
    }

    // A verdict about these values stands while a request waits.
    let mut active = connection_with(Some(Reason::AllPermissionsGranted));
    active.metadata.annotations = Some([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())].into());
    let decision = decide(&active, &check_without_host(resolved()), at(60));
    let status = &decision.status;
    assert_eq!((status.state.as_str(), status_of(status, "Ready")), ("Active", "True"));
    let reconciling = conditions::find(&status.conditions, RECONCILING).expect("it waits");
    assert_eq!(reconciling.reason, "CheckDelayed");
    assert_eq!(status.last_handled_reconcile_at, None);
    assert_eq!(status.worked, active.status.as_ref().expect("a status").worked);
    active.status = Some(status.clone());
    let checked = decide(&active, &probed([Outcome::Granted; 2]), at(3_700)).status;
    assert_eq!((status_of(&checked, "Ready"), checked.last_handled_reconcile_at.as_deref()), ("True", Some("now")));
    assert!(conditions::find(&checked.conditions, RECONCILING).is_none() && checked.next_check_time.is_none());
}

#[test]
fn ready_is_taken_back_where_nothing_was_checked_for_several_intervals() {
    for reason in observable() {
        let mut connection = connection_with(Some(reason));
        let decision = overdue(&connection, OverdueCause::Ledger, at(2_000));
        if reason.verdict() != Some(Verdict::Active) {
            assert_eq!(decision, None, "{reason:?} claims nothing that works");
            continue;
        }
        let decision = decision.expect("Ready is taken back");
        let (status, before) = (&decision.status, connection.status.clone().expect("a status"));
        assert_eq!(
            (status.state.as_str(), status_of(status, "Ready"), status_of(status, "Active")),
            ("Unknown", "Unknown", "Unknown")
        );
        let ready = conditions::find(&status.conditions, READY).expect("always there");
        assert_eq!(ready.reason, "CheckOverdue");
        assert!(ready.message.contains("ledger"), "{}", ready.message);
        assert!(status.permissions.iter().all(|permission| permission.state == PermissionState::Unknown));
        assert_eq!((status.worked, &status.secret_resource_version), (before.worked, &before.secret_resource_version));
        assert_eq!(decision.events.len(), 1);
        connection.status = Some(status.clone());
        assert_eq!(overdue(&connection, OverdueCause::Ledger, at(4_000)), None, "it is said once");
        assert!(!is_settled(&connection));
        let again = decide(&connection, &probed([Outcome::Granted; 2]), at(5_000));
        assert_eq!((again.status.state.as_str(), again.events.len()), ("Active", 1), "that it works again is news");
    }
    let mut suspended = connection_with(Some(Reason::AllPermissionsGranted));
    suspended.spec.suspend = true;
    assert_eq!(overdue(&suspended, OverdueCause::NoWorker, at(2_000)), None);
}

/// The text that the cache compresses connections against. `WRITE_TYPICAL=1` writes it.
#[test]
fn the_typical_connection_of_the_cache_is_one_that_is_active_with_every_row() {
    let catalogue = Catalogue::built_in();
    let requirements: Vec<_> = catalogue.rows().filter_map(|row| catalogue.require(&row.name, None).ok()).collect();
    let spec = serde_json::json!({"secretRef": {"name": "ukg-pro"}, "domain": "ultipro.com", "subdomain": "service4"});
    let mut spec: UkgProConnectionSpec = serde_json::from_value(spec).expect("a spec");
    let required = |name: &String| crate::api::RequiredPermission { name: name.clone(), api: Default::default() };
    spec.permissions = requirements.iter().map(|requirement| required(&requirement.row.name)).collect();
    let mut connection = UkgProConnection::new("ukg-pro", spec);
    connection.metadata.generation = Some(1);
    let resolved = Resolved {
        endpoint: "https://service4.ultipro.com".to_owned(),
        secret_version: "1".to_owned(),
        has_unknown_subdomain: false,
        suspicious: Vec::new(),
        bundle_warnings: Default::default(),
    };
    let granted = |requirement| Probed { requirement, outcome: Outcome::Granted };
    let probed = Observation::Probed(resolved, requirements.iter().cloned().map(granted).collect());
    let decision = super::decide(&connection, &requirements, &Observed::of(&connection, probed, None), Timestamp::UNIX_EPOCH);
    let typical = serde_json::to_string(&(&connection.spec, Some(&decision.status))).expect("JSON");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/cluster/watch/typical.json");
    if std::env::var_os("WRITE_TYPICAL").is_some() {
        std::fs::write(path, typical).expect("written");
        return;
    }
    let written = std::fs::read_to_string(path).expect("a file");
    assert!(
        written == typical,
        "src/cluster/watch/typical.json has drifted; run this with WRITE_TYPICAL=1 and commit the result"
    );
}

/// Where Secrets are not watched, nothing but a check notices that the values have changed.
#[test]
fn a_paused_login_is_looked_at_once_an_interval_however_often_it_is_decided() {
    let observation = Observation::Held(resolved(), Hold::Paused(paused(4, at(0), false)));
    let mut connection = connection_with(Some(Reason::LoginUndetermined));
    for second in [60, 120, 180] {
        let decision = decide(&connection, &observation, at(second));
        let interval = connection.spec.interval();
        assert!(decision.requeue <= interval + interval / 10, "after {second} s: {:?}", decision.requeue);
        connection.status = Some(decision.status);
    }
}
