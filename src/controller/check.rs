//! One check of one target: lint, gate, login, probes. Touches UKG Pro and the login ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ukg_pro::catalogue::Api;
use ukg_pro::login::{LoginFailure, Refusal, Session};
use ukg_pro::outcome::Outcome;

use super::authenticate::{Measured, WebServices};
use super::decide::Observation;
use super::gate::{Gate, Hold};
use super::lint::Lint;
use super::probe::{Basic, Probed};
use super::resolve::{Resolved, Target};
use crate::api::{Delay, PermissionState, PermissionStatus, UkgProConnection};
use crate::controller::context::Context;
use crate::controller::host_access::Wait;
use crate::controller::{authenticate, gate, lint, namespace, probe, publish, uid};
use crate::login_guard::{self, Account, End, Intent, Ledger, Lend, RestEnd, SHARED_FOR, Subject};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::Cause;
use crate::telemetry::metrics::LoginOutcome;

/// Checks a target, and counts what was sent for it; gives the account too.
pub(super) async fn measured(
    connection: &UkgProConnection,
    target: &Target,
    context: &Context,
) -> Result<(Observation, Account), login_guard::storage::Error> {
    let Subject { account, .. } = context.ledger.subject(&namespace(connection), &target.endpoint, &target.credentials).await?;
    if let Some(wait) = context.hosts.limited(&target.endpoint.to_string(), account, context.clock.uptime()) {
        return Ok((held_back(connection, target, Delay::AccountLimited, wait, context).await?, account));
    }
    let services = Measured { services: target, metrics: &context.metrics };
    let observation = check(connection, target, &services, &context.ledger, &context.clock).await?;
    if matches!(observation, Observation::Held(..)) {
        context.metrics.login(LoginOutcome::Held);
    }
    publish::warn_of_unfiltered(&observation, context).await;
    Ok((observation, account))
}

/// What can be said of a target whose host is not to be asked yet.
pub(super) async fn delayed(
    connection: &UkgProConnection,
    target: &Target,
    Wait(wait, cause): Wait,
    context: &Context,
) -> Result<Observation, login_guard::storage::Error> {
    let delay = match cause {
        Cause::Limited => Delay::HostLimited,
        Cause::Busy => Delay::Busy,
    };
    held_back(connection, target, delay, wait, context).await
}

/// What needs no host comes before the delay: values that cannot be right, and values that would not be sent anyway.
pub(super) async fn held_back(
    connection: &UkgProConnection,
    target: &Target,
    delay: Delay,
    wait: Duration,
    context: &Context,
) -> Result<Observation, login_guard::storage::Error> {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys, target.uses_rest());
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Ok(Observation::Malformed(resolved, fatal));
    }
    let Context { ledger, clock, .. } = context;
    let subject = ledger.subject(&namespace(connection), &target.endpoint, &target.credentials).await?;
    let request = match connection.open_request() {
        Some(value) => Some(ledger.request(&uid(connection), value).await?),
        None => None,
    };
    let now = clock.now();
    let hold = match gate::gate(connection, &resolved, &ledger.known(subject, now), request, now) {
        Gate::Held(hold) => hold,
        Gate::Open | Gate::WithoutRest(_) => {
            let wait = jiff::SignedDuration::try_from(wait).unwrap_or(jiff::SignedDuration::MAX);
            Hold::Delayed(delay, now.saturating_add(wait).unwrap_or(jiff::Timestamp::MAX))
        }
    };
    Ok(Observation::Held(resolved, hold))
}

/// Checks a target, from lint to the probes.
pub async fn check(
    connection: &UkgProConnection,
    target: &Target,
    services: &impl WebServices,
    ledger: &Ledger,
    clock: &Clock,
) -> Result<Observation, login_guard::storage::Error> {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys, target.uses_rest());
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Ok(Observation::Malformed(resolved, fatal));
    }
    let subject = ledger.subject(&namespace(connection), &target.endpoint, &target.credentials).await?;
    let vouched = gate::vouched(connection, &resolved);
    // Held until the login has ended, so that the next with the same values knows how.
    let mut turn = ledger.turn(subject).await;
    if let Some(failure) = turn.failed_meanwhile(target.authority) {
        return Ok(login_failed(connection, resolved, failure, subject, ledger, clock));
    }
    let (basic, mut intent) = match pass(connection, target, &resolved, ledger, subject, clock).await? {
        Pass::Go(basic, intent) => (basic, intent.map(|intent| *intent)),
        Pass::Held(hold) => return Ok(Observation::Held(resolved, hold)),
    };
    let mut deadline = Instant::now() + connection.spec.timeout();
    let lend = Lend { authority: target.authority, time: clock.real(SHARED_FOR) };
    let requirements = &target.requirements;
    // A person who asks wants to know anew.
    let lent = turn.shared(target.authority).filter(|_| connection.open_request().is_none());
    let is_lent = lent.is_some();
    let session = match lent {
        Some(session) => session,
        None => {
            ledger.count(subject.account, 1, clock.now());
            match authenticate::authenticate(services, &mut turn, deadline, lend).await {
                Ok(session) => session,
                Err(failure) => {
                    ledger.end(subject, intent, End::LoginFailed(failure), vouched, clock.now()).await;
                    return Ok(login_failed(connection, resolved, failure, subject, ledger, clock));
                }
            }
        }
    };
    let by_rest = requirements.iter().filter(|requirement| requirement.api == Api::Rest).count();
    let mut turn = Some(turn);
    let logged_in_by_rest = matches!(*session, Session::Basic);
    let basic = if logged_in_by_rest { Basic::Works } else { basic };
    // What is known to work is entered at once, so that the others need not wait; a request stands for the whole check.
    let is_entered = by_rest == 0 || (!basic.is_unsure() && connection.open_request().is_none());
    if is_entered {
        let rest = logged_in_by_rest.then_some(RestEnd::Works);
        ledger.end(subject, intent.take(), End::LoggedIn { rest }, vouched, clock.now()).await;
        turn = None;
    }
    if !matches!(basic, Basic::Held(_)) {
        ledger.count(subject.account, u32::try_from(by_rest).unwrap_or(u32::MAX), clock.now());
    }
    let mut probed = probe::probe(services, requirements, &session, basic, deadline).await;
    if by_rest > 0 {
        let rest = probe::rest_end(&probed).filter(|_| !matches!(basic, Basic::Held(_)));
        if rest == Some(RestEnd::Refused) && logged_in_by_rest {
            // There is no other way in.
            let failure = LoginFailure::Refused(Refusal::Credentials);
            ledger.end(subject, intent, End::LoginFailed(failure), vouched, clock.now()).await;
            match &mut turn {
                Some(turn) => turn.failed(failure, target.authority),
                None => ledger.turn(subject).await.failed(failure, target.authority),
            }
            return Ok(login_failed(connection, resolved, failure, subject, ledger, clock));
        }
        let rest = if logged_in_by_rest { Some(RestEnd::Works) } else { rest };
        let end = if is_entered { End::Read { rest } } else { End::LoggedIn { rest } };
        ledger.end(subject, intent, end, vouched, clock.now()).await;
    }
    // A token may end before its time, so a denial by one that is not fresh shows nothing, nor does it that one is refused which another
    // service has taken. REST reads go without one.
    let by_soap = |found: &Probed| found.requirement.api == Api::Soap;
    let is_shown = |found: &Probed| found.outcome.is_granted() || matches!(found.outcome, Outcome::Error(_));
    let doubtful = match is_lent {
        true => probed.iter().any(|found| by_soap(found) && !is_shown(found)),
        false => is_token_in_doubt(connection, &probed),
    };
    if doubtful {
        let mut turn = match turn.take() {
            Some(turn) => turn,
            None => ledger.turn(subject).await,
        };
        if let Some(failure) = turn.failed_meanwhile(target.authority) {
            return Ok(login_failed(connection, resolved, failure, subject, ledger, clock));
        }
        // Another may have logged in since, for the same reason.
        let fresher = turn.shared(target.authority).filter(|other| !Arc::ptr_eq(other, &session));
        let session = match fresher {
            Some(session) => session,
            None => {
                let intent = match pass(connection, target, &resolved, ledger, subject, clock).await? {
                    Pass::Go(_, intent) => intent.map(|intent| *intent),
                    Pass::Held(hold) => return Ok(Observation::Held(resolved, hold)),
                };
                ledger.count(subject.account, 1, clock.now());
                // What is left of the time may be too little for a login and the reads.
                deadline = Instant::now() + connection.spec.timeout();
                let result = authenticate::authenticate(services, &mut turn, deadline, lend).await;
                let end = result.as_ref().map_or_else(|failure| End::LoginFailed(*failure), |_| End::LoggedIn { rest: None });
                ledger.end(subject, intent, end, vouched, clock.now()).await;
                match result {
                    Ok(session) => session,
                    Err(failure) => return Ok(login_failed(connection, resolved, failure, subject, ledger, clock)),
                }
            }
        };
        let again = requirements.iter().filter(|requirement| requirement.api == Api::Soap).cloned().collect::<Vec<_>>();
        let again = probe::probe(services, &again, &session, basic, deadline).await;
        probed.iter_mut().filter(|found| by_soap(found)).zip(again).for_each(|(found, again)| *found = again);
    }
    drop(turn);
    Ok(Observation::Probed(resolved, probed))
}

/// Whether a token of this check's own login was refused as one that has ended is, or though another service has taken it. Where the
/// status says already that this permission is denied or cannot be told, that is how UKG Pro answers, and no further login would show
/// anything else.
pub(super) fn is_token_in_doubt(connection: &UkgProConnection, probed: &[Probed]) -> bool {
    let is_taken = |found: &Probed| found.requirement.api == Api::Soap && found.outcome.is_granted();
    let was_taken = probed.iter().any(is_taken);
    let is_old = |found: &Probed| {
        let mut before = connection.status.iter().flat_map(|status| &status.permissions);
        let of = |before: &PermissionStatus| before.name == found.requirement.row.name;
        let before = before.find(|before| of(before)).map(|before| before.state);
        matches!(before, Some(PermissionState::Denied | PermissionState::Undetermined))
    };
    probed.iter().any(|found| match found.outcome {
        Outcome::TokenRefused { denies } => (!denies || was_taken) && !is_old(found),
        _ => false,
    })
}

/// A login that gave no session, with what is entered of those before it.
pub(super) fn login_failed(
    connection: &UkgProConnection,
    resolved: Resolved,
    failure: LoginFailure,
    subject: Subject,
    ledger: &Ledger,
    clock: &Clock,
) -> Observation {
    let now = clock.now();
    let paused = gate::paused(connection, &resolved, &ledger.known(subject, now), now).filter(|_| failure.is_unclear());
    Observation::LoginFailed(resolved, failure, paused)
}

/// What the gate comes to, when the ledger has it in writing.
pub(super) enum Pass {
    Go(Basic, Option<Box<Intent>>),
    Held(Hold),
}

/// Another operator may write the ledger at the same time; after so many rounds something is wrong.
pub(super) const INTENT_TRIES: usize = 3;

pub(super) async fn pass(
    connection: &UkgProConnection,
    target: &Target,
    resolved: &Resolved,
    ledger: &Ledger,
    subject: Subject,
    clock: &Clock,
) -> Result<Pass, login_guard::storage::Error> {
    let request = match connection.open_request() {
        Some(value) => Some(ledger.request(&uid(connection), value).await?),
        None => None,
    };
    let vouched = gate::vouched(connection, resolved);
    let by_rest = target.requirements.iter().any(|requirement| requirement.api == Api::Rest);
    for _ in 0..INTENT_TRIES {
        let known = ledger.known(subject, clock.now());
        let basic = match gate::gate(connection, resolved, &known, request, clock.now()) {
            Gate::Held(hold) => return Ok(Pass::Held(hold)),
            Gate::WithoutRest(hold) => Basic::Held(hold),
            Gate::Open if known.rest_works => Basic::Works,
            Gate::Open if vouched.worked.rest => Basic::Vouched,
            Gate::Open => Basic::Untried,
        };
        let works = known.login_works && !(by_rest && basic.is_unsure());
        // That a request was granted is written down in any case.
        if works && request.is_none() {
            return Ok(Pass::Go(basic, None));
        }
        let rest = by_rest && !matches!(basic, Basic::Held(_));
        if let Some(intent) = ledger.begin(subject, rest, request, vouched, clock.now()).await? {
            return Ok(Pass::Go(basic, Some(Box::new(intent))));
        }
    }
    Err(login_guard::storage::Error::Contended)
}
