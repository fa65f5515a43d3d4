//! A connection's way from what a user wrote to what the operator writes back.
//!
//! ```text
//! resolve ─▶ lint ─▶ gate ─▶ authenticate ─▶ probe ─▶ decide ─▶ publish
//! ```
//!
//! One file per arrow; [`reconcile`] and [`check`] below are these calls and nothing else.
//!
//! **Invariant.** `Err` means that Kubernetes could not be read or written, and nothing else. A bad Secret, a refused login and a
//! missing permission are what the operator exists to report: they are values, rungs of [`Observation`].

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use rustls::CertificateError;
use tokio::time::Instant;

use crate::agenda::Agenda;
use crate::api::{Delay, PermissionState, PermissionStatus, Stall, UkgProConnection};
use crate::clock::Clock;
use crate::hosts::{Admission, Cause, Hosts, Lane, Visitor};
use crate::ledger::{self, Account, End, Intent, Ledger, Lend, RestEnd, SHARED_FOR, Subject};
use crate::metrics::{LoginOutcome, Metrics, Stage};
use crate::staleness::Staleness;
use crate::ukg::catalogue::{Api, Catalogue, Requirement};
use crate::ukg::endpoint::{AllowedDomain, SubdomainForm};
use crate::ukg::login::{LoginFailure, Refusal, Session};
use crate::ukg::outcome::Outcome;
use crate::ukg::transport::{ProxySettings, Trust};
use crate::ukg::words::Words;
use crate::watch::{ConnectionRef, Connections, SecretIndex};
use crate::watchdog::deadlines::Late;

pub mod authenticate;
pub mod decide;
pub mod gate;
pub mod lint;
pub mod probe;
pub mod publish;
pub mod resolve;

use authenticate::{Measured, WebServices};
use decide::{Observation, Observed};
use gate::{Gate, Hold};
use lint::Lint;
use probe::{Basic, Probed};
use publish::{Published, Undelivered, Unfiltered};
use resolve::{Resolved, Target, Transports, Unresolved};

/// A Kubernetes request either ends well within this or its server is in trouble; kube itself would retry for minutes.
pub const KUBERNETES_DEADLINE: Duration = Duration::from_secs(15);

/// What every reconcile shares.
pub struct Context {
    /// The Kubernetes API.
    pub kubernetes: kube::Client,
    /// What whoever runs the operator allows.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// The HTTPS clients.
    pub transports: Transports,
    /// Which credentials must not be sent.
    pub ledger: Arc<Ledger>,
    /// What the connections of one host have in common.
    pub hosts: Arc<Hosts>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which connections were looked at.
    pub agenda: Agenda,
    /// Which were not checked in time.
    pub staleness: Arc<Staleness>,
    /// The time.
    pub clock: Clock,
    /// What was found and could not be written.
    pub undelivered: Undelivered,
    /// Which reads were answered with people.
    pub unfiltered: Unfiltered,
    /// Which connections use which Secret.
    pub secrets: Arc<SecretIndex>,
    /// The connections as they are known.
    pub connections: Arc<Connections>,
    /// The name this process reports events under.
    pub instance: String,
    /// The operator's own namespace.
    pub system_namespace: String,
}

/// What whoever runs the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains connections may name.
    pub allowed_domains: Vec<AllowedDomain>,
    /// The subdomains that may come from a Secret, besides UKG's own.
    pub secret_subdomains: Vec<SubdomainForm>,
    /// Whether a host may resolve to a loopback, link-local or private address.
    pub allow_private_addresses: bool,
    /// What the texts of answers speak of.
    pub words: Arc<Words>,
    /// How often it is written down that a connection was checked though nothing changed; never where `None`.
    pub heartbeat: Option<Duration>,
}

impl Policy {
    /// Whom to trust on the way to UKG Pro, for an operator and for a single check alike.
    pub fn trust(&self, proxy: ProxySettings) -> Trust {
        Trust { extra_roots: Vec::new(), allow_private_addresses: self.allow_private_addresses, proxy }
    }
}

/// Kubernetes could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading what the connection refers to.
    #[error("reading what spec refers to: {0}")]
    Resolve(#[from] resolve::Error),
    /// Reading or writing the login ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::store::Error),
    /// Writing the verdict.
    #[error("writing the verdict: {0}")]
    Publish(#[from] publish::Error),
    /// A defect: the check panicked. It is contained, and tried again.
    #[error("the check ended by a panic, which is a defect of the operator")]
    Panicked,
}

impl Error {
    /// What it keeps from being done.
    pub fn stall(&self) -> Stall {
        match self {
            Error::Resolve(_) => Stall::Reading,
            Error::Ledger(_) => Stall::Ledger,
            Error::Publish(_) => Stall::Writing,
            Error::Panicked => Stall::NoWorker,
        }
    }
}

/// A status is decided anew on another's write so often; each round waits for the watch to show that write.
const PUBLISH_TRIES: usize = 5;

/// What comes after a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// It was not made: its host is to be asked later.
    Later(Duration),
    /// Another, after this time.
    Again(Duration),
    /// A change will tell.
    Change,
}

/// Checks a connection and writes down what was found.
pub async fn reconcile(connection: Arc<UkgProConnection>, context: &Context) -> Result<Next, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let begun = Instant::now();
    let connection = tell_of_change(connection, context).await?;
    let observed = match observe(&connection, requirements.clone(), context).await? {
        Step::Later(wait) => return Ok(Next::Later(wait)),
        Step::Found(observed) => *observed,
    };
    if !observed.is_delayed() {
        // It may have had a turn at its host that it does not need any more, as one that is suspended.
        context.hosts.give_up(&uid(&connection));
    }
    let requirements = requirements.unwrap_or_default();
    let mut current = connection;
    for _ in 0..PUBLISH_TRIES {
        let mut decision = decide::decide(&current, &requirements, &observed, context.clock.now());
        decision.status.last_checked_time =
            decide::last_checked(&current, &decision.status, &observed, context.policy.heartbeat, context.clock.now());
        let published = Instant::now();
        match publish::publish(&current, &decision, context).await {
            Ok(Published::Done) => {
                context.metrics.took(Stage::Publish, published.elapsed());
                let reason = decide::standing_reason(&decision.status).unwrap_or(observed.reason());
                context.metrics.checked(reason, begun.elapsed());
                return Ok(match observed.is_delayed() {
                    true => Next::Later(decision.requeue),
                    false => Next::Again(decision.requeue),
                });
            }
            Ok(Published::Gone) => return Ok(Next::Change),
            Ok(Published::Outdated) => {
                context.connections.passes(&current).await;
                let key = ConnectionRef::of(&current);
                let latest = context.connections.get(&key).map(|kept| Arc::new(kept.connection(&key)));
                match latest {
                    Some(latest) if is_same(&latest, &current) => current = latest,
                    // What changed is about to be checked itself.
                    _ => return Ok(Next::Change),
                }
            }
            Err(error) => {
                context.undelivered.keep(&current, observed);
                return Err(error.into());
            }
        }
    }
    context.undelivered.keep(&current, observed);
    Err(publish::Error::Contended.into())
}

/// Where the values have changed since the verdict, the status says first of all that they are being checked: who has mended a password
/// and waits must not take the old verdict for the new one. Nothing is sent to UKG Pro if that cannot be written.
async fn tell_of_change(connection: Arc<UkgProConnection>, context: &Context) -> Result<Arc<UkgProConnection>, Error> {
    if !context.secrets.is_outdated(&connection) {
        return Ok(connection);
    }
    let Some(decision) = decide::rechecking(&connection, context.clock.now()) else { return Ok(connection) };
    publish::publish(&connection, &decision, context).await?;
    let key = ConnectionRef::of(&connection);
    let latest = context.connections.get(&key).map(|kept| Arc::new(kept.connection(&key)));
    Ok(latest.filter(|latest| is_same(latest, &connection)).unwrap_or(connection))
}

/// Whether an observation of the one is an observation of the other.
fn is_same(latest: &UkgProConnection, current: &UkgProConnection) -> bool {
    latest.metadata.uid == current.metadata.uid
        && latest.metadata.generation == current.metadata.generation
        && latest.requested_at() == current.requested_at()
}

/// What became of the wish to check.
enum Step {
    /// The host is not to be asked before this time has passed.
    Later(Duration),
    /// It was checked, as far as that went.
    Found(Box<Observed>),
}

async fn observe(
    connection: &UkgProConnection,
    requirements: Result<Vec<Requirement>, Unresolved>,
    context: &Context,
) -> Result<Step, Error> {
    let requirements = match requirements {
        Ok(requirements) if !connection.spec.suspend => requirements,
        unfit => {
            let observation = match unfit {
                Err(unresolved) if !connection.spec.suspend => Observation::Unresolved(unresolved),
                _ => Observation::Suspended,
            };
            // It witnesses no more how its host fares, and its leaving is no news of the host.
            context.hosts.withdraw(&uid(connection));
            return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
        }
    };
    let reference = ConnectionRef::of(connection);
    let lane = lane(connection, context);
    let hinted = resolve::host(&connection.spec).or_else(|| context.hosts.of(&uid(connection)));
    // Before anything is read, so that who must wait for a little costs nothing and holds no secrets meanwhile. Where the host wants
    // a pause, what can be told without it is told before.
    let visit = match hinted.map(|host| Visit::begin(context, connection, &uid(connection), host, lane)).transpose() {
        Ok(visit) => Ok(visit),
        // The values may have changed where a Secret has woken it, and somebody waits to hear of these.
        Err(Wait(wait, _)) if wait < LONG || (decide::is_settled(connection) && !context.agenda.is_woken(&reference)) => {
            return Ok(Step::Later(wait));
        }
        Err(wait) => Err(wait),
    };
    context.agenda.begun(&reference);
    let step = look(connection, requirements, lane, visit, context).await;
    // What it has read has come to nothing, and is news as before, whether its event has come or comes yet.
    if !matches!(step, Ok(Step::Found(_))) && (context.secrets.is_news(&reference, connection) || lane == Lane::Urgent) {
        context.agenda.wake(&reference);
    }
    step
}

/// A wait for which it is worth while to look at what needs no host.
const LONG: Duration = Duration::from_secs(5);
/// A wait for a turn behind others that is told in the status: one more write for each connection of a large fleet's first start.
const LONG_TURN: Duration = Duration::from_secs(300);

async fn look(
    connection: &UkgProConnection,
    requirements: Vec<Requirement>,
    lane: Lane,
    visit: Result<Option<Visit<'_>>, Wait>,
    context: &Context,
) -> Result<Step, Error> {
    let resolving = context.metrics.stage(Stage::Resolve);
    let referents = resolve::fetch(connection, context).await?;
    resolving.stop();
    let target = referents.and_then(|referents| {
        resolve::resolve(connection, requirements.clone(), referents, &context.policy, &context.transports)
    });
    let mut asked = None;
    let mut account = None;
    let mut own_trust = false;
    let live = match target {
        Err(unresolved) => Observation::Unresolved(unresolved),
        Ok(target) => {
            let resolved = target.resolved();
            own_trust = target.authority.is_some();
            // What was found and could not be written is not looked for again: that would be another login.
            if let Some(observed) = context.undelivered.take(connection, &resolved) {
                return Ok(Step::Found(Box::new(observed)));
            }
            if gate::is_promoted(connection, &resolved, &requirements) {
                let observation = Observation::Promoted(resolved, requirements);
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None).again_soon())));
            }
            let visit = match visit {
                Ok(Some(visit)) if visit.host == resolved.endpoint => Ok(visit),
                Ok(before) => {
                    drop(before);
                    Visit::begin(context, connection, &uid(connection), resolved.endpoint.clone(), lane)
                }
                Err(wait) => Err(wait),
            };
            let (found, of) = match visit {
                Err(wait) => (delayed(connection, &target, wait, context).await?, None),
                Ok(visit) => {
                    asked = Some(visit);
                    let (found, account) = measured(connection, &target, context).await?;
                    (found, Some(account))
                }
            };
            account = of;
            if let Observation::Held(resolved, Hold::Delayed(delay, until)) = found {
                let wait = Duration::try_from(until.duration_since(context.clock.now())).unwrap_or_default();
                let is_awaited = !decide::is_settled(connection) || !gate::is_about(connection, &resolved);
                // At a start with thousands of connections each has its turn; that is told only where it takes long.
                let worth_telling = if delay == Delay::Busy { LONG_TURN } else { LONG };
                if wait < worth_telling || !is_awaited {
                    return Ok(Step::Later(wait));
                }
                let observation = Observation::Held(resolved, Hold::Delayed(delay, until));
                return Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
            }
            found
        }
    };
    tell_host(connection, &live, account, own_trust, context).await;
    // A host that gives no answer now gives none to the candidate either.
    let Some(promoted) = connection.promoted() else {
        context.hosts.forget(&candidate_of(&uid(connection)));
        return Ok(Step::Found(Box::new(Observed::of(connection, live, None))));
    };
    let candidate = match live.is_unanswered() {
        Some(true) => Ok(Rehearsed::Later(None)),
        _ => rehearse(&promoted, requirements, lane, asked.as_ref(), context).await,
    };
    Ok(Step::Found(Box::new(match candidate {
        Ok(Rehearsed::Later(wait)) => Observed::of(connection, live, None).again_in(wait.unwrap_or_default()),
        Ok(Rehearsed::Found(candidate)) => {
            context.hosts.give_up(&candidate_of(&uid(connection)));
            Observed::of(connection, live, Some(candidate))
        }
        // The live observation may have cost a login; the candidate's turn comes again.
        Err(error) => {
            let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
            tracing::warn!(namespace, name, %error, "candidate not checked");
            Observed::of(connection, live, None).again_soon()
        }
    })))
}

/// What became of looking at the candidate.
enum Rehearsed {
    Found(Observation),
    /// Its host must be waited for, for so long where that is known.
    Later(Option<Duration>),
}

/// What would be found if the candidate were the live one.
async fn rehearse(
    promoted: &UkgProConnection,
    requirements: Vec<Requirement>,
    lane: Lane,
    asked: Option<&Visit<'_>>,
    context: &Context,
) -> Result<Rehearsed, Error> {
    let referents = resolve::fetch(promoted, context).await?;
    let target = referents
        .and_then(|referents| resolve::resolve(promoted, requirements, referents, &context.policy, &context.transports));
    let target = match target {
        Ok(target) => target,
        Err(unresolved) => return Ok(Rehearsed::Found(Observation::Unresolved(unresolved))),
    };
    let key = candidate_of(&uid(promoted));
    let host = target.resolved().endpoint;
    let _visit = match asked.is_some_and(|visit| visit.host == host) {
        true => None,
        false => match Visit::begin(context, promoted, &key, host, lane) {
            Ok(visit) => Some(visit),
            Err(Wait(wait, _)) => return Ok(Rehearsed::Later(Some(wait))),
        },
    };
    let (observation, account) = measured(promoted, &target, context).await?;
    if let Observation::Held(_, Hold::Delayed(_, until)) = &observation {
        return Ok(Rehearsed::Later(Duration::try_from(until.duration_since(context.clock.now())).ok()));
    }
    limit(promoted, &observation, account, context);
    Ok(Rehearsed::Found(observation))
}

/// The place of a connection's candidate among the connections of a host.
pub fn candidate_of(uid: &str) -> String {
    format!("{uid}/candidate")
}

/// Checks a target, and counts what was sent for it; gives the account too.
async fn measured(
    connection: &UkgProConnection,
    target: &Target,
    context: &Context,
) -> Result<(Observation, Account), ledger::store::Error> {
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
async fn delayed(
    connection: &UkgProConnection,
    target: &Target,
    Wait(wait, cause): Wait,
    context: &Context,
) -> Result<Observation, ledger::store::Error> {
    let delay = match cause {
        Cause::Limited => Delay::HostLimited,
        Cause::Busy => Delay::Busy,
    };
    held_back(connection, target, delay, wait, context).await
}

/// What needs no host comes before the delay: values that cannot be right, and values that would not be sent anyway.
async fn held_back(
    connection: &UkgProConnection,
    target: &Target,
    delay: Delay,
    wait: Duration,
    context: &Context,
) -> Result<Observation, ledger::store::Error> {
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
) -> Result<Observation, ledger::store::Error> {
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
fn is_token_in_doubt(connection: &UkgProConnection, probed: &[Probed]) -> bool {
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
fn login_failed(
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
enum Pass {
    Go(Basic, Option<Box<Intent>>),
    Held(Hold),
}

/// Another operator may write the ledger at the same time; after so many rounds something is wrong.
const INTENT_TRIES: usize = 3;

async fn pass(
    connection: &UkgProConnection,
    target: &Target,
    resolved: &Resolved,
    ledger: &Ledger,
    subject: Subject,
    clock: &Clock,
) -> Result<Pass, ledger::store::Error> {
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
    Err(ledger::store::Error::Contended)
}

/// Counts in a connection whose check was put off.
pub fn expect(connection: &UkgProConnection, context: &Context) {
    let told = connection.status.as_ref().and_then(|status| status.endpoint.clone());
    if let Some(host) = resolve::host(&connection.spec).or(told) {
        let (uid, namespace) = (uid(connection), connection.namespace().unwrap_or_default());
        let visitor = Visitor { uid: &uid, namespace: &namespace, interval: connection.spec.interval() };
        context.hosts.expect(visitor, &host);
    }
}

/// Somebody waits for a connection that is new, was changed or was asked for, and for one that is to recover; unless its host has an
/// outage, which the few others will show to be over.
fn lane(connection: &UkgProConnection, context: &Context) -> Lane {
    let outage = || context.hosts.of(&uid(connection)).is_some_and(|host| context.hosts.has_outage(&host));
    let woken = context.agenda.is_woken(&ConnectionRef::of(connection));
    if woken || !decide::is_settled(connection) || (decide::is_failing(connection) && !outage()) {
        Lane::Urgent
    } else {
        Lane::Routine
    }
}

/// How long to wait, and why.
struct Wait(Duration, Cause);

/// A check at a host, counted until it is dropped.
struct Visit<'a> {
    hosts: &'a Hosts,
    host: String,
    namespace: String,
    silent: bool,
}

impl<'a> Visit<'a> {
    fn begin(context: &'a Context, connection: &UkgProConnection, place: &str, host: String, lane: Lane) -> Result<Self, Wait> {
        let Context { hosts, clock, .. } = context;
        let namespace = connection.namespace().unwrap_or_default();
        let visitor = Visitor { uid: place, namespace: &namespace, interval: connection.spec.interval() };
        match hosts.admit(visitor, &host, lane, clock.uptime()) {
            Admission::Now { silent } => Ok(Self { hosts, host, namespace, silent }),
            Admission::After(wait, cause) => Err(Wait(wait, cause)),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.hosts.left(&self.namespace, &self.host, self.silent);
    }
}

/// Tells the other connections of a host what this one has met.
async fn tell_host(
    connection: &UkgProConnection,
    observation: &Observation,
    account: Option<Account>,
    own_trust: bool,
    context: &Context,
) {
    if let Some(account) = account {
        limit(connection, observation, account, context);
    }
    let uid = uid(connection);
    let before = context.hosts.of(&uid);
    // What one connection's own authorities make of a certificate is no trouble of the host, and a limit of requests is an account's.
    let own_trouble = (own_trust && observation.is_about_trust()) || observation.rate_limited().is_some();
    let failing = observation.is_unanswered().filter(|_| !own_trouble);
    let host = observation.resolved().map(|resolved| resolved.endpoint.clone());
    if let (Some(change), Some(host)) = (context.hosts.ended(&uid, failing, account), host.or(before)) {
        publish::signal(&host, change, context).await;
    }
}

/// Notes that a host limits the requests of an account.
fn limit(connection: &UkgProConnection, observation: &Observation, account: Account, context: &Context) {
    if let (Some(asked), Some(resolved)) = (observation.rate_limited(), observation.resolved()) {
        let namespace = connection.namespace().unwrap_or_default();
        let (host, name) = (&resolved.endpoint, connection.name_any());
        let asked_seconds = asked.map(|asked| asked.as_secs());
        tracing::info!(namespace, name, host, asked_seconds, "the host limits requests; this account's checks wait");
        context.hosts.limit(host, &namespace, account, asked, context.clock.uptime());
    }
}

fn namespace(connection: &UkgProConnection) -> String {
    connection.namespace().unwrap_or_default()
}

fn uid(connection: &UkgProConnection) -> String {
    connection.uid().unwrap_or_default()
}

/// What a Kubernetes client's error comes down to, without texts of the other side: they may quote what was sent.
pub fn kubernetes_failure(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::BuildRequest(_) => "no request to the API server could be made of these names".to_owned(),
        kube::Error::SerdeError(_) => "the API server's answer could not be decoded".to_owned(),
        kube::Error::Auth(_) => "the operator's own credentials for the API server could not be read".to_owned(),
        error => way_to_api_server(error).to_owned(),
    }
}

/// Why the API server was not reached, by the kinds of what an error stems from: how deep they lie is the client's business.
fn way_to_api_server(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(flaw)) = error.downcast_ref() {
            return match flaw {
                // One of the same name as another, as a rotated one mostly is, is found out by its signature.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "the API server's certificate is of no authority that the operator's kubeconfig or ServiceAccount names"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the API server's certificate has expired"
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the API server's certificate is not valid yet; compare the clocks"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "the API server's certificate is for another name than the one it is reached by"
                }
                _ => "the API server's certificate is not trusted",
            };
        }
        if error.is::<rustls::Error>() {
            return "the TLS handshake with the API server failed";
        }
        if error.is::<http::header::InvalidHeaderValue>() {
            return "the token for the API server is none: it has characters that no token has";
        }
        if error.is::<Late>() || error.is::<tokio::time::error::Elapsed>() {
            return "the API server did not answer in time";
        }
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => match (io.get_ref(), io.kind()) {
                // Its own source is what that one stems from, not that one.
                (Some(inner), _) => Some(inner),
                (None, ErrorKind::ConnectionRefused) => return "the API server refuses connections",
                (None, ErrorKind::TimedOut) => return "no connection to the API server is made in time",
                (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
                    return "the connection to the API server broke";
                }
                (None, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                    return "there is no way to the API server's network";
                }
                (None, _) => error.source(),
            },
            None => error.source(),
        };
    }
    "the API server could not be reached"
}

#[cfg(test)]
pub(crate) mod tests;
