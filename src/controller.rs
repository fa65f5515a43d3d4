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

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use tokio::time::Instant;

use crate::agenda::Agenda;
use crate::api::UkgProConnection;
use crate::clock::Clock;
use crate::hosts::{Admission, Hosts, Lane};
use crate::ledger::{self, End, Intent, Ledger, SHARED_FOR, Subject};
use crate::metrics::{LoginOutcome, Metrics, Stage};
use crate::ukg::catalogue::{Api, Catalogue, Requirement};
use crate::ukg::login::Session;
use crate::ukg::outcome::Outcome;
use crate::ukg::transport::Transport;
use crate::watch::{SecretIndex, Seen};

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
use probe::Basic;
use publish::{Published, Undelivered};
use resolve::{Resolved, Target, Unresolved};

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
    /// The HTTPS client of all connections without a CA of their own.
    pub transport: Transport,
    /// Which credentials must not be sent.
    pub ledger: Arc<Ledger>,
    /// What the connections of one host have in common.
    pub hosts: Arc<Hosts>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Which connections were looked at.
    pub agenda: Agenda,
    /// The time.
    pub clock: Clock,
    /// What was found and could not be written.
    pub undelivered: Undelivered,
    /// Which connections use which Secret.
    pub secrets: Arc<SecretIndex>,
    /// How far the watch has come, to wait for one's own writes.
    pub seen: Arc<Seen>,
    /// The name this process reports events under.
    pub instance: String,
    /// The operator's own namespace.
    pub system_namespace: String,
}

/// What whoever runs the operator allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The domains connections may name.
    pub allowed_domains: Vec<String>,
    /// Whether a host may resolve to a loopback, link-local or private address.
    pub allow_private_addresses: bool,
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

/// A status is decided anew on another's write so often; each round waits for the watch to show that write.
const PUBLISH_TRIES: usize = 5;

/// Checks a connection and writes down what was found; gives when to look again, or `None` where a change will tell.
pub async fn reconcile(connection: Arc<UkgProConnection>, context: &Context) -> Result<Option<Duration>, Error> {
    let requirements = resolve::requirements(&connection.spec, &context.catalogue);
    let begun = Instant::now();
    let observed = match observe(&connection, requirements.clone(), context).await? {
        Step::Later(wait) => return Ok(Some(wait)),
        Step::Found(observed) => *observed,
    };
    let requirements = requirements.unwrap_or_default();
    let mut current = connection;
    for _ in 0..PUBLISH_TRIES {
        let decision = decide::decide(&current, &requirements, &observed, context.clock.now());
        let published = Instant::now();
        match publish::publish(&current, &decision, context).await {
            Ok(Published::Done) => {
                context.metrics.took(Stage::Publish, published.elapsed());
                context.metrics.checked(observed.reason(), begun.elapsed());
                return Ok(Some(decision.requeue));
            }
            Ok(Published::Gone) => return Ok(None),
            Ok(Published::Outdated) => {
                context.seen.passes(&current).await;
                match context.seen.latest(&current) {
                    Some(latest) if is_same(&latest, &current) => current = latest,
                    // What changed is about to be checked itself.
                    _ => return Ok(None),
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
    let found = |observation| Ok(Step::Found(Box::new(Observed::of(connection, observation, None))));
    if connection.spec.suspend {
        return found(Observation::Suspended);
    }
    let requirements = match requirements {
        Ok(requirements) => requirements,
        Err(unresolved) => return found(Observation::Unresolved(unresolved)),
    };
    let reference = ObjectRef::from_obj(connection);
    let lane = lane(connection, context);
    let hinted = resolve::host(&connection.spec).or_else(|| context.hosts.of(&uid(connection)));
    // Before anything is read, so that who must wait costs nothing and holds no secrets meanwhile.
    let mut visit = match hinted.map(|host| Visit::begin(context, connection, host, lane)).transpose() {
        Ok(visit) => visit,
        Err(Wait(wait)) => return Ok(Step::Later(wait)),
    };
    context.agenda.begun(&reference);
    let again = |error| {
        if lane == Lane::Urgent {
            context.agenda.wake(&reference);
        }
        error
    };
    let resolving = context.metrics.stage(Stage::Resolve);
    let referents = resolve::fetch(connection, context).await.map_err(again)?;
    resolving.stop();
    let target = resolve::resolve(connection, requirements.clone(), referents, &context.policy, &context.transport);
    let target = match target {
        Ok(target) => target,
        Err(unresolved) => return found(Observation::Unresolved(unresolved)),
    };
    let resolved = target.resolved();
    // What was found and could not be written is not looked for again: that would be another login.
    if let Some(observed) = context.undelivered.take(connection, &resolved) {
        return Ok(Step::Found(Box::new(observed)));
    }
    if gate::is_promoted(connection, &resolved) {
        return found(Observation::Promoted(resolved, requirements));
    }
    if visit.as_ref().is_none_or(|visit| visit.host != resolved.endpoint) {
        drop(visit.take());
        match Visit::begin(context, connection, resolved.endpoint.clone(), lane) {
            Ok(begun) => visit = Some(begun),
            Err(Wait(wait)) => {
                context.agenda.wake(&reference);
                return Ok(Step::Later(wait));
            }
        }
    }
    let observation = measured(connection, &target, context).await?;
    let candidate = match connection.spec.promoted() {
        Some(spec) => Some(rehearse(UkgProConnection { spec, ..connection.clone() }, requirements, context).await?),
        None => None,
    };
    drop(visit);
    tell_host(connection, &observation, context).await;
    Ok(Step::Found(Box::new(Observed::of(connection, observation, candidate))))
}

/// What would be found if the candidate were the live one.
async fn rehearse(
    connection: UkgProConnection,
    requirements: Vec<Requirement>,
    context: &Context,
) -> Result<Observation, Error> {
    let referents = resolve::fetch(&connection, context).await?;
    match resolve::resolve(&connection, requirements, referents, &context.policy, &context.transport) {
        Ok(target) => Ok(measured(&connection, &target, context).await?),
        Err(unresolved) => Ok(Observation::Unresolved(unresolved)),
    }
}

/// Checks a target, and counts what was sent for it.
async fn measured(
    connection: &UkgProConnection,
    target: &Target,
    context: &Context,
) -> Result<Observation, ledger::store::Error> {
    let services = Measured { services: target, metrics: &context.metrics };
    let observation = check(connection, target, &services, &context.ledger, &context.clock).await?;
    if matches!(observation, Observation::Held(..)) {
        context.metrics.login(LoginOutcome::Held);
    }
    Ok(observation)
}

/// Checks a target, from lint to the probes.
pub async fn check(
    connection: &UkgProConnection,
    target: &Target,
    services: &impl WebServices,
    ledger: &Ledger,
    clock: &Clock,
) -> Result<Observation, ledger::store::Error> {
    let Lint { fatal, suspicious } = lint::lint(&target.credentials, &target.keys);
    let resolved = Resolved { suspicious, ..target.resolved() };
    if !fatal.is_empty() {
        return Ok(Observation::Malformed(resolved, fatal));
    }
    let subject = ledger.subject(&target.endpoint, &target.credentials).await?;
    let vouched = gate::vouched(connection, &resolved);
    // Held until the login has ended, so that the next with the same values knows how.
    let mut turn = ledger.turn(subject.fingerprint).await;
    if let Some(failure) = turn.failed_meanwhile() {
        return Ok(Observation::LoginFailed(resolved, failure));
    }
    let (basic, mut intent) = match pass(connection, target, &resolved, ledger, subject, clock).await? {
        Pass::Go(basic, intent) => (basic, intent),
        Pass::Held(hold) => return Ok(Observation::Held(resolved, hold)),
    };
    let deadline = Instant::now() + connection.spec.timeout();
    let requirements = &target.requirements;
    // Who asks wants to know of a login made now.
    let lent = turn.shared().filter(|_| connection.open_request().is_none());
    let is_lent = lent.is_some();
    let session = match lent {
        Some(session) => session,
        None => {
            ledger.count(subject.account, 1, clock.now());
            match authenticate::authenticate(services, &mut turn, deadline, clock.real(SHARED_FOR)).await {
                Ok(session) => session,
                Err(failure) => {
                    ledger.end(subject, intent, End::LoginFailed(failure), vouched, clock.now()).await;
                    return Ok(Observation::LoginFailed(resolved, failure));
                }
            }
        }
    };
    let by_rest = requirements.iter().filter(|requirement| requirement.api == Api::Rest).count();
    let mut turn = Some(turn);
    if by_rest == 0 || basic != Basic::Untried {
        let rest = matches!(*session, Session::Basic).then_some(ledger::RestEnd::Works);
        ledger.end(subject, intent.take(), End::LoggedIn { rest }, vouched, clock.now()).await;
        turn = None;
    }
    let mut probed = probe::probe(services, requirements, &session, basic, deadline).await;
    // A token may end before its time, so a denial by one that is not fresh shows nothing.
    if is_lent && probed.iter().any(|found| !matches!(found.outcome, Outcome::Granted | Outcome::Error(_) | Outcome::Held)) {
        let mut turn = match turn.take() {
            Some(turn) => turn,
            None => ledger.turn(subject.fingerprint).await,
        };
        ledger.count(subject.account, 1, clock.now());
        match authenticate::authenticate(services, &mut turn, deadline, clock.real(SHARED_FOR)).await {
            Ok(session) => probed = probe::probe(services, requirements, &session, basic, deadline).await,
            Err(failure) => {
                ledger.end(subject, intent, End::LoginFailed(failure), vouched, clock.now()).await;
                return Ok(Observation::LoginFailed(resolved, failure));
            }
        }
    }
    if by_rest > 0 {
        if !matches!(basic, Basic::Held(_)) {
            ledger.count(subject.account, u32::try_from(by_rest).unwrap_or(u32::MAX), clock.now());
        }
        let rest = probe::rest_end(&probed).filter(|_| !matches!(basic, Basic::Held(_)));
        ledger.end(subject, intent, End::LoggedIn { rest }, vouched, clock.now()).await;
    }
    drop(turn);
    Ok(Observation::Probed(resolved, probed))
}

/// What the gate comes to, when the ledger has it in writing.
enum Pass {
    Go(Basic, Option<Intent>),
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
    let by_rest = target.requirements.iter().any(|requirement| requirement.api == Api::Rest);
    for _ in 0..INTENT_TRIES {
        let known = ledger.known(subject, clock.now());
        let basic = match gate::gate(connection, resolved, &known, request, clock.now()) {
            Gate::Held(hold) => return Ok(Pass::Held(hold)),
            Gate::WithoutRest(hold) => Basic::Held(hold),
            Gate::Open if known.rest_works => Basic::Works,
            Gate::Open => Basic::Untried,
        };
        if known.login_works && (!by_rest || basic != Basic::Untried) {
            return Ok(Pass::Go(basic, None));
        }
        if let Some(intent) = ledger.begin(subject, request, clock.now()).await? {
            return Ok(Pass::Go(basic, Some(intent)));
        }
    }
    Err(ledger::store::Error::Contended)
}

/// Counts in a connection whose check was put off.
pub fn expect(connection: &UkgProConnection, context: &Context) {
    let told = connection.status.as_ref().and_then(|status| status.endpoint.clone());
    if let Some(host) = resolve::host(&connection.spec).or(told) {
        context.hosts.expect(&uid(connection), &host, connection.spec.interval());
    }
}

/// Somebody waits for a connection that is new, was changed or was asked for, and for one that is to recover; unless its host has an
/// outage, which the few others will show to be over.
fn lane(connection: &UkgProConnection, context: &Context) -> Lane {
    let outage = || context.hosts.of(&uid(connection)).is_some_and(|host| context.hosts.has_outage(&host));
    let woken = context.agenda.is_woken(&ObjectRef::from_obj(connection));
    if woken || !decide::is_settled(connection) || (decide::is_failing(connection) && !outage()) {
        Lane::Urgent
    } else {
        Lane::Routine
    }
}

/// How long to wait.
struct Wait(Duration);

/// A check at a host, counted until it is dropped.
struct Visit<'a> {
    hosts: &'a Hosts,
    host: String,
}

impl<'a> Visit<'a> {
    fn begin(context: &'a Context, connection: &UkgProConnection, host: String, lane: Lane) -> Result<Self, Wait> {
        let Context { hosts, clock, .. } = context;
        match hosts.admit(&uid(connection), &host, connection.spec.interval(), lane, clock.uptime()) {
            Admission::Now => Ok(Self { hosts, host }),
            Admission::After(wait) => Err(Wait(wait)),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.hosts.left(&self.host);
    }
}

/// Tells the other connections of a host what this one has met.
async fn tell_host(connection: &UkgProConnection, observation: &Observation, context: &Context) {
    let Some(host) = observation.resolved().map(|resolved| &resolved.endpoint) else { return };
    if let Some(asked) = observation.rate_limited() {
        context.hosts.pause(host, asked, context.clock.uptime());
    }
    if let Some(change) = observation.is_unanswered().and_then(|failing| context.hosts.ended(&uid(connection), failing)) {
        publish::signal(host, change, context).await;
    }
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
        _ => "the API server could not be reached".to_owned(),
    }
}
