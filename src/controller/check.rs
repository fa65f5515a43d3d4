//! One check of one target: lint, gate, login, probes. Speaks to UKG Pro and uses the login ledger.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use ukg_pro::catalogue::Api;
use ukg_pro::login::{LoginFailure, Refusal, Session};
use ukg_pro::outcome::Outcome;

use super::authenticate::{MeteredServices, WebServices};
use super::decide::Observation;
use super::gate::{Gate, Hold};
use super::lint::Lint;
use super::probe::{BasicAuthState, Probed};
use super::resolve::{Resolved, Target};
use crate::api::{Delay, PermissionState, PermissionStatus, UkgProConnection};
use crate::controller::context::Context;
use crate::controller::host_access::Wait;
use crate::controller::{authenticate, gate, lint, namespace, probe, publish, uid};
use crate::login_guard::{
    Account, CredentialIds, Ledger, LoginLock, LoginPermit, LoginResult, RestResult, SHARED_FOR, Sharing, StatusRecord, storage,
};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::WaitReason;
use crate::telemetry::metrics::LoginOutcome;

/// Checks a target, unless its account is rate limited, and counts the requests. Also returns the account.
pub(super) async fn check_measured(
    connection: &UkgProConnection,
    target: &Target,
    context: &Context,
) -> Result<(Observation, Account), storage::Error> {
    let CredentialIds { account, .. } =
        context.ledger.credential_ids(&namespace(connection), &target.endpoint, &target.credentials).await?;
    if let Some(wait) = context.hosts.limited(&target.endpoint.to_string(), account, context.clock.uptime()) {
        return Ok((delay_or_finding(connection, target, Delay::AccountLimited, wait, context).await?, account));
    }
    let services = MeteredServices { services: target, metrics: &context.metrics };
    let observation = check(connection, target, &services, &context.ledger, &context.clock).await?;
    if matches!(observation, Observation::Held(..)) {
        context.metrics.login(LoginOutcome::Held);
    }
    publish::warn_of_unfiltered(&observation, context).await;
    Ok((observation, account))
}

/// Returns what can be found out about a target whose host must not be asked yet.
pub(super) async fn check_without_host(
    connection: &UkgProConnection,
    target: &Target,
    Wait(wait, reason): Wait,
    context: &Context,
) -> Result<Observation, storage::Error> {
    let delay = match reason {
        WaitReason::Limited => Delay::HostLimited,
        WaitReason::Busy => Delay::Busy,
    };
    delay_or_finding(connection, target, delay, wait, context).await
}

/// Returns a delay, unless a finding that needs no host comes first: values that cannot be right, or that would not be sent
/// anyway.
async fn delay_or_finding(
    connection: &UkgProConnection,
    target: &Target,
    delay: Delay,
    wait: Duration,
    context: &Context,
) -> Result<Observation, storage::Error> {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys, target.uses_rest());
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Ok(Observation::Malformed(resolved, fatal));
    }
    let Context { ledger, clock, .. } = context;
    let ids = ledger.credential_ids(&namespace(connection), &target.endpoint, &target.credentials).await?;
    let request = match connection.open_request() {
        Some(value) => Some(ledger.request(&uid(connection), value).await?),
        None => None,
    };
    let now = clock.now();
    let hold = match gate::gate(connection, &resolved, &ledger.known(ids, now), request, now) {
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
) -> Result<Observation, storage::Error> {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys, target.uses_rest());
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Ok(Observation::Malformed(resolved, fatal));
    }
    let ids = ledger.credential_ids(&namespace(connection), &target.endpoint, &target.credentials).await?;
    let recorded = gate::recorded(connection, &resolved);
    let check = Check { connection, target, resolved: &resolved, services, ledger, clock, ids, recorded };
    match check.run().await {
        Ok(probed) => Ok(Observation::Probed(resolved, probed)),
        Err(CheckAborted::Held(hold)) => Ok(Observation::Held(resolved, hold)),
        Err(CheckAborted::LoginFailed(failure)) => {
            let now = clock.now();
            let paused = gate::paused(connection, &resolved, &ledger.known(ids, now), now);
            Ok(Observation::LoginFailed(resolved, failure, paused.filter(|_| failure.is_unclear())))
        }
        Err(CheckAborted::Guard(error)) => Err(error),
    }
}

/// One check of values that lint has not ruled out.
struct Check<'a, S> {
    connection: &'a UkgProConnection,
    target: &'a Target,
    resolved: &'a Resolved,
    services: &'a S,
    ledger: &'a Ledger,
    clock: &'a Clock,
    ids: CredentialIds,
    recorded: StatusRecord,
}

/// Why a check sends no read, or no further one.
enum CheckAborted {
    /// The gate permits no login.
    Held(Hold),
    /// A login failed: this check's own, or one with the same values in another check, which this one waited for.
    LoginFailed(LoginFailure),
    /// The login ledger cannot be read or written.
    Guard(storage::Error),
}

impl From<storage::Error> for CheckAborted {
    fn from(error: storage::Error) -> Self {
        Self::Guard(error)
    }
}

/// A session, from this check's login or from another's.
enum LoginSession {
    /// This check's own login.
    Own(Arc<Session>),
    /// Another check's login with the same values, a moment ago.
    Shared(Arc<Session>),
}

impl LoginSession {
    fn session(&self) -> &Arc<Session> {
        match self {
            Self::Own(session) | Self::Shared(session) => session,
        }
    }
}

/// A login that worked, while its permissions are probed.
struct LoggedIn<'a> {
    session: LoginSession,
    /// What is known about basic authentication, which REST reads use.
    basic: BasicAuthState,
    /// When its reads must have ended.
    deadline: Instant,
    /// Still open if the REST reads decide how the login ends.
    permit: Option<LoginPermit<'a>>,
}

impl LoggedIn<'_> {
    /// Whether the login itself was a REST read.
    fn is_by_rest(&self) -> bool {
        matches!(**self.session.session(), Session::Basic)
    }
}

/// Attempts to store an intent. Another operator may write the ledger at the same time; after so many conflicts something is
/// wrong.
const INTENT_TRIES: usize = 3;

impl<'a, S: WebServices> Check<'a, S> {
    async fn run(&self) -> Result<Vec<Probed>, CheckAborted> {
        let (permit, basic) = self.permission(self.lock().await?).await?;
        let login = self.log_in(permit, basic).await?;
        let session = login.session.session().clone();
        let is_doubtful_if_denied = matches!(login.session, LoginSession::Shared(_));
        let basic = login.basic;
        let deadline = login.deadline;
        self.count_reads(basic);
        let mut probed = probe::probe(self.services, &self.target.requirements, &session, basic, deadline).await;
        let lock = self.end(login, &probed).await?;
        let is_doubtful = match is_doubtful_if_denied {
            // A token may expire early, so a denial proves nothing if the token is not fresh.
            true => probed.iter().any(|found| is_by_soap(found) && !is_shown(found)),
            false => may_be_expired_token(self.connection, &probed),
        };
        if is_doubtful {
            self.reprobe_with_newer_session(lock, &session, basic, deadline, &mut probed).await?;
        }
        Ok(probed)
    }

    /// Waits until no other check logs in with the same values. If another's login failed meanwhile, that failure is this check's
    /// too.
    async fn lock(&self) -> Result<LoginLock, CheckAborted> {
        let lock = self.ledger.login_lock(self.ids).await;
        match lock.failed_meanwhile(self.target.ca_digest) {
            Some(failure) => Err(CheckAborted::LoginFailed(failure)),
            None => Ok(lock),
        }
    }

    /// Asks the gate, and stores the intent to log in if the values are not known to work.
    async fn permission(&self, lock: LoginLock) -> Result<(LoginPermit<'a>, BasicAuthState), CheckAborted> {
        let Self { connection, ledger, clock, ids, recorded, .. } = *self;
        let request = match connection.open_request() {
            Some(value) => Some(ledger.request(&uid(connection), value).await?),
            None => None,
        };
        let sharing = Sharing { ca_digest: self.target.ca_digest, time: clock.real(SHARED_FOR) };
        let permit = |intent| LoginPermit::new(ledger, ids, recorded, lock, sharing, intent);
        let by_rest = self.target.uses_rest();
        for _ in 0..INTENT_TRIES {
            let known = ledger.known(ids, clock.now());
            let basic = match gate::gate(connection, self.resolved, &known, request, clock.now()) {
                Gate::Held(hold) => return Err(CheckAborted::Held(hold)),
                Gate::WithoutRest(hold) => BasicAuthState::Held(hold),
                Gate::Open if known.rest_works => BasicAuthState::Works,
                Gate::Open if recorded.worked.rest => BasicAuthState::Recorded,
                Gate::Open => BasicAuthState::Untried,
            };
            let works = known.login_works && !(by_rest && basic.is_unsure());
            // A granted request is recorded in any case.
            if works && request.is_none() {
                return Ok((permit(None), basic));
            }
            let rest = by_rest && !matches!(basic, BasicAuthState::Held(_));
            if let Some(intent) = ledger.begin(ids, rest, request, recorded, clock.now()).await? {
                return Ok((permit(Some(intent)), basic));
            }
        }
        Err(CheckAborted::Guard(storage::Error::Contended))
    }

    /// Takes another check's session, or logs in. A user who requests a check wants a new login.
    async fn log_in(&self, permit: LoginPermit<'a>, basic: BasicAuthState) -> Result<LoggedIn<'a>, CheckAborted> {
        let is_asked_for = self.connection.open_request().is_some();
        let deadline = Instant::now() + self.connection.spec.timeout();
        let (session, permit) = match permit.shared_session().filter(|_| !is_asked_for) {
            Some(session) => (LoginSession::Shared(session), permit),
            None => {
                let (session, permit) = self.send_login(permit, deadline).await?;
                (LoginSession::Own(session), permit)
            }
        };
        let mut login = LoggedIn { session, basic, deadline, permit: None };
        if login.is_by_rest() {
            login.basic = BasicAuthState::Works;
        }
        // If no REST read is needed to confirm the login, record it now, so that other checks need not wait. A request covers the
        // whole check.
        if !self.target.uses_rest() || (!login.basic.is_unsure() && !is_asked_for) {
            permit.succeeded(login.is_by_rest().then_some(RestResult::Works), self.clock.now()).await;
        } else {
            login.permit = Some(permit);
        }
        Ok(login)
    }

    async fn send_login(
        &self,
        permit: LoginPermit<'a>,
        deadline: Instant,
    ) -> Result<(Arc<Session>, LoginPermit<'a>), CheckAborted> {
        self.ledger.count(self.ids.account, 1, self.clock.now());
        authenticate::authenticate(self.services, permit, deadline, self.clock).await.map_err(CheckAborted::LoginFailed)
    }

    /// Counts the REST reads: UKG Pro counts each as a login.
    fn count_reads(&self, basic: BasicAuthState) {
        if !matches!(basic, BasicAuthState::Held(_)) {
            self.ledger.count(self.ids.account, self.rest_reads(), self.clock.now());
        }
    }

    fn rest_reads(&self) -> u32 {
        let reads = self.target.requirements.iter().filter(|requirement| requirement.api == Api::Rest).count();
        u32::try_from(reads).unwrap_or(u32::MAX)
    }

    /// Records what the REST reads show about the login. Returns the lock if it is still held.
    async fn end(&self, login: LoggedIn<'a>, probed: &[Probed]) -> Result<Option<LoginLock>, CheckAborted> {
        let Self { ledger, ids, recorded, clock, .. } = *self;
        if !self.target.uses_rest() {
            return Ok(None);
        }
        let is_by_rest = login.is_by_rest();
        let rest = probe::rest_result(probed).filter(|_| !matches!(login.basic, BasicAuthState::Held(_)));
        if rest == Some(RestResult::Refused) && is_by_rest {
            // REST is the only way to log in.
            let failure = LoginFailure::Refused(Refusal::Credentials);
            match login.permit {
                Some(permit) => permit.failed(failure, clock.now()).await,
                None => ledger.login_failed_later(ids, failure, recorded, self.target.ca_digest, clock.now()).await,
            }
            return Err(CheckAborted::LoginFailed(failure));
        }
        let rest = if is_by_rest { Some(RestResult::Works) } else { rest };
        match login.permit {
            Some(permit) => Ok(Some(permit.succeeded(rest, clock.now()).await)),
            None => {
                ledger.end(ids, None, LoginResult::Read { rest }, recorded, clock.now()).await;
                Ok(None)
            }
        }
    }

    /// Repeats the SOAP probes with a session from a newer login than the doubtful one.
    async fn reprobe_with_newer_session(
        &self,
        lock: Option<LoginLock>,
        doubtful: &Arc<Session>,
        basic: BasicAuthState,
        mut deadline: Instant,
        probed: &mut [Probed],
    ) -> Result<(), CheckAborted> {
        let lock = match lock {
            Some(lock) => lock,
            None => self.lock().await?,
        };
        // Another check may have logged in since, for the same reason.
        let newer = lock.shared(self.target.ca_digest).filter(|other| !Arc::ptr_eq(other, doubtful));
        let (session, _lock) = match newer {
            Some(session) => (session, lock),
            None => {
                let (permit, _) = self.permission(lock).await?;
                // The time left may be too short for a login and the reads, so the timeout starts again.
                deadline = Instant::now() + self.connection.spec.timeout();
                let (session, permit) = self.send_login(permit, deadline).await?;
                (session, permit.succeeded(None, self.clock.now()).await)
            }
        };
        let again: Vec<_> = self.target.requirements.iter().filter(|one| one.api == Api::Soap).cloned().collect();
        let again = probe::probe(self.services, &again, &session, basic, deadline).await;
        probed.iter_mut().filter(|found| is_by_soap(found)).zip(again).for_each(|(found, again)| *found = again);
        Ok(())
    }
}

fn is_by_soap(found: &Probed) -> bool {
    found.requirement.api == Api::Soap
}

/// Returns true if an expired token cannot explain the answer.
fn is_shown(found: &Probed) -> bool {
    found.outcome.is_granted() || matches!(found.outcome, Outcome::Error(_))
}

/// Whether a token of this check's own login was refused as expired, or was refused although another service accepted it. If the
/// status already says that this permission is denied or undetermined, that is how UKG Pro answers, and a further login would
/// show nothing new.
fn may_be_expired_token(connection: &UkgProConnection, probed: &[Probed]) -> bool {
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
