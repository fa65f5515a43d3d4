//! The gate step: decides from the ledger and the status which credentials may be sent. Pure.
//!
//! **Contract.** Credentials that UKG Pro refused are not sent again until their values change or a user requests one more try.
//! Credentials whose login has no known result are not sent again within a day. Credentials that were answered neither with a
//! session nor with a refusal are sent as often as [`attempts`](crate::login_guard::attempts) permits. Two records say so: the
//! [ledger](crate::login_guard), by the values themselves, and, if that is lost, the connection's status, by the Secret's version
//! and the spec fields that a verdict depends on. The daily limits of an account override both. A user's request passes the limit
//! of refusals up to twice that limit, so that a tool that requests all the time is stopped too.

use jiff::Timestamp;
use ukg_pro::catalogue::Requirement;
use ukg_pro::login::LoginFailure;

use super::resolve::Resolved;
use crate::api::conditions::{self, CANDIDATE_READY};
use crate::api::verdict::verdict_reason;
use crate::api::{Delay, Reason, UkgProConnection, UkgProConnectionSpec, UkgProConnectionStatus, Verdict};
use crate::login_guard::attempts::WORKED_MAX;
use crate::login_guard::entries::a_day_after;
use crate::login_guard::{Attempts, Entry, Login, LoginHistory, Request, Rest, StatusRecord};

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// A login and all probes.
    Open,
    /// A login, but no REST read.
    WithoutRest(RestHold),
    /// Nothing.
    Held(Hold),
}

/// Why no REST read is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestHold {
    /// REST refused this login.
    Refused,
    /// A REST read with this login had no answer.
    Uncertain,
}

/// Consecutive logins that were answered neither with a session nor with a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paused {
    /// How many, and when the last was.
    pub tried: Attempts,
    /// Whether the values had worked before.
    pub worked: bool,
}

impl Paused {
    /// Returns when the next login may be sent.
    pub fn until(self) -> Timestamp {
        self.tried.until(self.worked)
    }

    /// Whether the daily number of logins for values that never worked is used up.
    pub fn is_spent(self) -> bool {
        self.tried.is_spent(self.worked)
    }
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// These values have failed with this result, for this connection or another.
    Refused(LoginFailure),
    /// The status records a refusal for this Secret and spec.
    StatusStands,
    /// The same user name and password were refused with a User API key and these values have none, or the other way round.
    PasswordRefused,
    /// These values were sent and the result is unknown; held until this time.
    Uncertain(Timestamp),
    /// These values were answered neither with a session nor with a refusal, and the next try must wait.
    Paused(Paused),
    /// The account has reached a daily limit; held until this time.
    Limit(Timestamp),
    /// The host must not be asked before this time.
    Delayed(Delay, Timestamp),
}

impl Hold {
    /// Returns when the hold ends by itself; `None` if it does not.
    pub fn until(self) -> Option<Timestamp> {
        match self {
            Hold::Refused(_) | Hold::StatusStands | Hold::PasswordRefused => None,
            Hold::Uncertain(until) | Hold::Limit(until) | Hold::Delayed(_, until) => Some(until),
            Hold::Paused(paused) => Some(paused.until()),
        }
    }
}

/// Decides what may be sent, given what the ledger knows about these values. `request` is one that no check has answered.
pub fn gate(
    connection: &UkgProConnection,
    resolved: &Resolved,
    known: &LoginHistory,
    request: Option<Request>,
    now: Timestamp,
) -> Gate {
    if let Some(until) = known.spent_until {
        return Gate::Held(Hold::Limit(until));
    }
    let granted = known.entry.as_ref().map_or(&[][..], |entry| &entry.granted);
    if request.is_some_and(|request| !granted.contains(&request)) {
        return known.requests_failed_until.map_or(Gate::Open, |until| Gate::Held(Hold::Limit(until)));
    }
    let status = connection.status.as_ref().filter(|status| is_about_values(status, connection, resolved));
    let StatusRecord { worked: recorded, .. } = recorded(connection, resolved);
    let unknown = Entry::default();
    let entry = known.entry.as_ref().unwrap_or(&unknown);
    let uncertain = entry.times_within_a_day(now) > 0;
    match entry.login {
        Some(Login::Refused(failure) | Login::BegunAgain(failure)) => return Gate::Held(Hold::Refused(failure)),
        _ if !known.login_works && status.is_some_and(says_refused) => return Gate::Held(Hold::StatusStands),
        // A killed process left this intent. Values that have worked are sent once more, but not again and again.
        Some(Login::Begun) if uncertain && !(recorded.login && entry.times < 2) => {
            return Gate::Held(Hold::Uncertain(a_day_after(entry.at)));
        }
        _ => {}
    }
    if let Some(paused) = paused(connection, resolved, known, now).filter(|paused| paused.until() > now) {
        return Gate::Held(Hold::Paused(paused));
    }
    if !(known.login_works || recorded.login) && known.refused_where_one_has_no_key {
        return Gate::Held(Hold::PasswordRefused);
    }
    if let (false, Some(until)) = (known.login_works || recorded.login, known.failed_until) {
        return Gate::Held(Hold::Limit(until));
    }
    match entry.rest {
        Some(Rest::Refused) => Gate::WithoutRest(RestHold::Refused),
        Some(Rest::Begun) if uncertain && !recorded.rest => Gate::WithoutRest(RestHold::Uncertain),
        None if !known.rest_works && status.is_some_and(says_refused_by_rest) => Gate::WithoutRest(RestHold::Refused),
        _ => Gate::Open,
    }
}

/// Returns what this connection's status records about these values.
pub fn recorded(connection: &UkgProConnection, resolved: &Resolved) -> StatusRecord {
    let status = connection.status.as_ref().filter(|status| is_about_values(status, connection, resolved));
    status.map(|status| StatusRecord { worked: status.worked, tried: status.tried() }).unwrap_or_default()
}

/// Returns how many logins in a row with these values were answered neither with a session nor with a refusal, according to the
/// record with the latest login. A status does not count if this process has seen the values work since.
pub fn paused(connection: &UkgProConnection, resolved: &Resolved, known: &LoginHistory, now: Timestamp) -> Option<Paused> {
    let StatusRecord { worked, tried } = recorded(connection, resolved);
    let tried = known.tried.max(tried.filter(|_| !known.login_works))?;
    // If the clock was ahead, the pause starts now instead of in the future. The count is capped: a status may hold any number.
    let tried = Attempts { at: tried.at.min(conditions::whole_seconds(now).0), times: tried.times.min(WORKED_MAX) };
    let has_worked = known.entry.as_ref().is_some_and(Entry::has_worked);
    Some(Paused { tried, worked: known.login_works || worked.login || has_worked })
}

/// Whether a connection's status is about these values and the present spec.
pub fn is_about(connection: &UkgProConnection, resolved: &Resolved) -> bool {
    connection.status.as_ref().is_some_and(|status| is_about_values(status, connection, resolved))
}

/// Whether a status is about these values and the present spec.
pub fn is_about_values(status: &UkgProConnectionStatus, connection: &UkgProConnection, resolved: &Resolved) -> bool {
    status.checked_spec.as_ref() == Some(&connection.spec.checked())
        && status.secret_resource_version.as_deref() == Some(&resolved.secret_version)
}

/// Whether these values, with this spec and these permissions, were found to work while they were the candidate. False while a
/// request is open: a user who requests a check wants a new login.
pub fn is_promoted(connection: &UkgProConnection, resolved: &Resolved, requirements: &[Requirement]) -> bool {
    let Some(status) = connection.status.as_ref().filter(|_| connection.open_request().is_none()) else { return false };
    conditions::is_true(&status.conditions, CANDIDATE_READY)
        && status.checked_spec.as_ref() != Some(&connection.spec.checked())
        && status.candidate.as_ref().is_some_and(|candidate| {
            candidate.checked_spec == candidate_fingerprint(&connection.spec, requirements)
                && candidate.secret_resource_version == resolved.secret_version
        })
}

/// Returns a fingerprint of a spec and of the permissions it requires: another catalogue may give a profile other permissions.
pub fn candidate_fingerprint(spec: &UkgProConnectionSpec, requirements: &[Requirement]) -> String {
    let rows: Vec<_> = requirements.iter().map(|required| format!("{} {}", required.row.name, required.api)).collect();
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, rows.join("\n").as_bytes());
    let rows: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{rows}", spec.checked())
}

fn says_refused(status: &UkgProConnectionStatus) -> bool {
    verdict_reason(status).is_some_and(is_refusal)
}

/// Whether a reason says that the login was refused, or probably was.
pub fn is_refusal(reason: Reason) -> bool {
    reason.verdict() == Some(Verdict::Unauthorized) || reason == Reason::LoginFailedUnexplained
}

fn says_refused_by_rest(status: &UkgProConnectionStatus) -> bool {
    let rest = Reason::RestLoginRefused.as_str();
    status.permissions.iter().any(|permission| permission.reason.as_deref() == Some(rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::REQUESTED_AT;
    use crate::controller::decide::tests::{connection_with, resolved};
    use crate::login_guard::entries::tests::request;
    use ukg_pro::login::Refusal;

    const FAILURE: LoginFailure = LoginFailure::Refused(Refusal::Credentials);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("in range")
    }

    fn known(login: Option<Login>, rest: Option<Rest>) -> LoginHistory {
        let entry = Entry { login, rest, at: at(0), times: 1, ..Entry::default() };
        LoginHistory { entry: (login.is_some() || rest.is_some()).then_some(entry), ..LoginHistory::default() }
    }

    #[test]
    fn a_refusal_holds_until_the_values_change_or_a_person_asks() {
        let login = Some(Login::Refused(FAILURE));
        let stands = Gate::Held(Hold::StatusStands);
        let without_rest = Gate::WithoutRest(RestHold::Refused);
        for (what, reason, secret, login, rest, expected) in [
            ("the ledger knows", None, "7", login, None, Gate::Held(Hold::Refused(FAILURE))),
            ("the ledger knows of REST", None, "7", None, Some(Rest::Refused), without_rest),
            ("never checked", None, "7", None, None, Gate::Open),
            ("refused, nothing changed", Some(Reason::CredentialsRejected), "7", None, None, stands),
            ("held, nothing changed", Some(Reason::LoginHeld), "7", None, None, stands),
            ("unexplained, nothing changed", Some(Reason::LoginFailedUnexplained), "7", None, None, stands),
            ("refused by REST, nothing changed", Some(Reason::RestLoginRefused), "7", None, None, without_rest),
            ("refused, Secret changed", Some(Reason::CredentialsRejected), "8", None, None, Gate::Open),
            ("refused by REST, Secret changed", Some(Reason::RestLoginRefused), "8", None, None, Gate::Open),
            ("active", Some(Reason::AllPermissionsGranted), "7", None, None, Gate::Open),
            ("forbidden", Some(Reason::PermissionsMissing), "7", None, None, Gate::Open),
            ("unreachable", Some(Reason::ConnectTimeout), "7", None, None, Gate::Open),
        ] {
            let mut connection = connection_with(reason);
            let known = known(login, rest);
            let resolved = Resolved { secret_version: secret.to_owned(), ..resolved() };
            assert_eq!(gate(&connection, &resolved, &known, None, at(0)), expected, "{what}");
            assert_eq!(gate(&connection, &resolved, &known, None, at(1_000_000)), expected, "{what}, days later");

            // An edit that no verdict depends on does not end the hold.
            connection.spec.interval = "1h".to_owned();
            connection.metadata.generation = Some(2);
            assert_eq!(gate(&connection, &resolved, &known, None, at(0)), expected, "{what}, interval changed");

            connection.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
            assert_eq!(gate(&connection, &resolved, &known, Some(request(1)), at(0)), Gate::Open, "{what}, asked for");
            let mut granted = known.clone();
            if let Some(entry) = &mut granted.entry {
                entry.granted = vec![request(1)];
                assert_eq!(gate(&connection, &resolved, &granted, Some(request(1)), at(0)), expected, "{what}, granted");
                assert_eq!(gate(&connection, &resolved, &granted, Some(request(2)), at(0)), Gate::Open, "{what}, again");
            }

            connection.spec.subdomain = Some("service5".to_owned());
            let elsewhere = if known.entry.is_some() { expected } else { Gate::Open };
            assert_eq!(gate(&connection, &resolved, &known, None, at(0)), elsewhere, "{what}, another host");
        }
    }

    #[test]
    fn a_login_without_a_known_end_is_not_repeated_within_a_day() {
        let day = at(86_400);
        let held = Gate::Held(Hold::Uncertain(day));
        let rest_held = Gate::WithoutRest(RestHold::Uncertain);
        for (what, reason, login, rest, times, early) in [
            ("never worked", None, Some(Login::Begun), None, 1, held),
            ("unreachable since", Some(Reason::AnswerTimeout), Some(Login::Begun), None, 1, held),
            ("works, by its status", Some(Reason::AllPermissionsGranted), Some(Login::Begun), None, 1, Gate::Open),
            ("works, killed twice", Some(Reason::AllPermissionsGranted), Some(Login::Begun), None, 2, held),
            ("works in part", Some(Reason::PermissionsMissing), Some(Login::Begun), None, 1, Gate::Open),
            ("REST", None, None, Some(Rest::Begun), 1, rest_held),
            ("REST works, by its status", Some(Reason::AllPermissionsGranted), None, Some(Rest::Begun), 1, Gate::Open),
        ] {
            let connection = connection_with(reason);
            let mut known = known(login, rest);
            if let Some(entry) = &mut known.entry {
                entry.times = times;
            }
            let gate = |now| gate(&connection, &resolved(), &known, None, now);
            assert_eq!(gate(at(1)), early, "{what}");
            assert_eq!(gate(at(86_399)), early, "{what}");
            assert_eq!(gate(at(-3_600)), early, "{what}, the clock was set back");
            assert_eq!(gate(day), Gate::Open, "{what}, a day later");
        }
        let refused = connection_with(Some(Reason::CredentialsRejected));
        let known = known(Some(Login::Begun), None);
        assert_eq!(
            gate(&refused, &resolved(), &known, None, day),
            Gate::Held(Hold::StatusStands),
            "what was seen stands longer"
        );
    }

    #[test]
    fn answers_that_are_neither_yes_nor_no_wait_for_the_next_login_whoever_remembers() {
        let tried = |times| Some(Attempts { times, at: at(0) });
        let held = |times, worked| Gate::Held(Hold::Paused(Paused { tried: Attempts { times, at: at(0) }, worked }));
        let unclear = |worked| LoginHistory { tried: tried(2), ..known(Some(Login::Unclear { worked }), None) };
        let works = LoginHistory { login_works: true, ..LoginHistory::default() };
        let none = LoginHistory::default();
        for (what, reason, told, known, second, expected) in [
            ("the ledger knows", None, None, &unclear(false), 3_599, held(2, false)),
            ("an hour later", None, None, &unclear(false), 3_600, Gate::Open),
            ("the status knows", None, tried(4), &none, 86_399, held(4, false)),
            ("a day later", None, tried(4), &none, 86_400, Gate::Open),
            ("the status knows more", None, tried(3), &unclear(false), 3_600, held(3, false)),
            ("it worked, says the status", Some(Reason::AllPermissionsGranted), tried(1), &none, 14, held(1, true)),
            ("it worked, and 15 s have passed", Some(Reason::AllPermissionsGranted), tried(1), &none, 15, Gate::Open),
            ("it worked, says the ledger", None, None, &unclear(true), 29, held(2, true)),
            ("it worked since, as this process knows", None, tried(9), &works, 1, Gate::Open),
            ("a clock that was set back", None, tried(4), &none, 0, held(4, false)),
        ] {
            let mut connection = connection_with(reason.or(Some(Reason::LoginUndetermined)));
            if let Some(status) = &mut connection.status {
                status.login_attempts = told.map(Into::into);
            }
            assert_eq!(gate(&connection, &resolved(), known, None, at(second)), expected, "{what}");
            assert_eq!(gate(&connection, &resolved(), known, Some(request(1)), at(second)), Gate::Open, "{what}, asked for");
        }
        // The status says nothing about other values.
        let mut connection = connection_with(Some(Reason::LoginUndetermined));
        if let Some(status) = &mut connection.status {
            status.login_attempts = tried(4).map(Into::into);
        }
        let resolved = Resolved { secret_version: "8".to_owned(), ..resolved() };
        assert_eq!(gate(&connection, &resolved, &none, None, at(1)), Gate::Open);
    }

    #[test]
    fn an_account_sees_so_many_logins_and_so_many_refusals_a_day() {
        let (limit, until) = (|until| Gate::Held(Hold::Limit(until)), at(5));
        let spent = LoginHistory { spent_until: Some(until), ..LoginHistory::default() };
        let failed = LoginHistory { failed_until: Some(until), ..LoginHistory::default() };
        let requests = LoginHistory { requests_failed_until: Some(until), ..failed.clone() };
        let works = LoginHistory { login_works: true, ..failed.clone() };
        let (new, active) = (connection_with(None), connection_with(Some(Reason::AllPermissionsGranted)));
        for (what, connection, known, request, expected) in [
            ("too many logins", &new, &spent, None, limit(until)),
            ("too many logins, though it works", &active, &spent, None, limit(until)),
            ("too many logins, though asked for", &new, &spent, Some(request(1)), limit(until)),
            ("too many refusals", &new, &failed, None, limit(until)),
            ("too many refusals of other values", &new, &works, None, Gate::Open),
            ("too many refusals, works by its status", &active, &failed, None, Gate::Open),
            ("too many refusals, asked for", &new, &failed, Some(request(1)), Gate::Open),
            ("too many requests", &new, &requests, Some(request(1)), limit(until)),
        ] {
            assert_eq!(gate(connection, &resolved(), known, request, at(0)), expected, "{what}");
        }
    }
}
