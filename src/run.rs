//! The tasks of a running operator: the watches, the queue, and the reconciles they lead to.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{StreamExt, pin_mut, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use kube::{Api, Resource};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::agenda::Agenda;
use crate::api::{Stall, UkgProConnection};
use crate::clock::Clock;
use crate::controller::publish::{Published, Undelivered, Unfiltered};
use crate::controller::resolve::Transports;
use crate::controller::{self, Context, Error, KUBERNETES_DEADLINE, Next, Policy, decide};
use crate::health::Readiness;
use crate::hosts::{Hosts, Pace};
use crate::leadership::{Leadership, Term};
use crate::ledger::store::SecretStore;
use crate::ledger::{self, Ledger, Limits};
use crate::metrics::{Metrics, Sources};
use crate::queue::Queue;
use crate::staleness::Staleness;
use crate::ukg::catalogue::Catalogue;
use crate::ukg::transport::{ProxySettings, Transport};
use crate::watch::history::{self, History};
use crate::watch::kept::Listed;
use crate::watch::retry::{self, Complaints};
use crate::watch::store::{Lists, News};
use crate::watch::{ConnectionRef, Connections};
use crate::watchdog::Watchdog;

/// What a running operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespaces to watch; all where there are none.
    pub namespaces: Vec<String>,
    /// Which connections to look after, by their labels; all where `None`.
    pub selector: Option<String>,
    /// Which connections to look after, by `spec.controllerClass`; those without one where `None`.
    pub controller_class: Option<String>,
    /// How a changed Secret is noticed.
    pub secret_watch: SecretWatch,
    /// The operator's own namespace, for the login ledger and for what is told of hosts.
    pub system_namespace: String,
    /// The Secret that holds the login ledger.
    pub ledger_secret: String,
    /// How many logins an account may see in a day.
    pub limits: Limits,
    /// How fast a host may be asked.
    pub pace: Pace,
    /// The time.
    pub clock: Clock,
    /// What connections may do.
    pub policy: Policy,
    /// The permissions that can be required.
    pub catalogue: Catalogue,
    /// How UKG Pro is reached.
    pub proxy: ProxySettings,
    /// How many checks may run at once.
    pub concurrency: usize,
    /// The name this process reports events under.
    pub instance: String,
}

/// How a changed Secret is noticed. Values are read when they are needed, whichever it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum SecretWatch {
    /// All of them are watched, their metadata only: at once
    #[default]
    All,
    /// Those with the label ukgpro.dev/watch=true are watched, their metadata only: at once for these, for others at the next check
    Labelled,
    /// None is watched: at the next check
    None,
}

/// The label of Secrets that [`SecretWatch::Labelled`] watches.
pub const WATCH_LABEL: &str = "ukgpro.dev/watch=true";

/// Why an operator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTPS client.
    #[error("no HTTPS client could be made; see that the CA certificates of the platform are there (SSL_CERT_FILE)")]
    Transport(#[from] crate::ukg::transport::TransportError),
    /// No random numbers.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random(#[from] aws_lc_rs::error::Unspecified),
    /// The login ledger.
    #[error(transparent)]
    Ledger(#[from] ledger::store::Error),
}

/// After failures to read or write Kubernetes: the first wait, and the longest.
const ERROR_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Objects of a page of a list: what is read at once is held at once, and one is some ten kB until it is kept.
pub const PAGE: u32 = 100;

/// An operator that can be run.
pub struct Operator {
    context: Arc<Context>,
    scope: Scope,
    concurrency: usize,
    watchdog: Arc<Watchdog>,
}

/// Which objects are looked after.
struct Scope {
    namespaces: Vec<String>,
    selector: Option<String>,
    controller_class: Option<String>,
    secret_watch: SecretWatch,
}

impl Operator {
    /// Makes one, which does nothing yet.
    pub fn new(kubernetes: kube::Client, settings: Settings, watchdog: Arc<Watchdog>) -> Result<Self, StartError> {
        let connections = Arc::<Connections>::default();
        let trust = settings.policy.trust(settings.proxy);
        let ledger = SecretStore::new(kubernetes.clone(), &settings.system_namespace, &settings.ledger_secret);
        let ledger = Arc::new(Ledger::new(Box::new(ledger), settings.limits)?);
        let hosts = Arc::new(Hosts::new(settings.pace));
        let staleness = Arc::<Staleness>::default();
        let sources = Sources {
            connections: connections.clone(),
            watchdog: watchdog.clone(),
            ledger_entries: Box::new({
                let ledger = ledger.clone();
                move || ledger.len()
            }),
            ledger_failing_seconds: Box::new({
                let ledger = ledger.clone();
                move || ledger.failing_for().map_or(0, |failing| usize::try_from(failing.as_secs()).unwrap_or(usize::MAX))
            }),
            connections_overdue: Box::new({
                let (staleness, clock) = (staleness.clone(), settings.clock.clone());
                move || staleness.count(clock.uptime())
            }),
            accounts_limited: Box::new({
                let (hosts, clock) = (hosts.clone(), settings.clock.clone());
                move || hosts.limits(clock.uptime()).0
            }),
            hosts_paused: Box::new({
                let (hosts, clock) = (hosts.clone(), settings.clock.clone());
                move || hosts.limits(clock.uptime()).1
            }),
            hosts_in_outage: Box::new({
                let hosts = hosts.clone();
                move || hosts.outages()
            }),
        };
        let context = Arc::new(Context {
            transports: Transports::new(Transport::new(trust)?),
            ledger,
            hosts,
            agenda: Agenda::default(),
            staleness,
            clock: settings.clock,
            metrics: Arc::new(Metrics::new(sources)),
            system_namespace: settings.system_namespace,
            undelivered: Undelivered::default(),
            unfiltered: Unfiltered::default(),
            secrets: Arc::default(),
            connections,
            policy: settings.policy,
            catalogue: settings.catalogue,
            instance: settings.instance,
            kubernetes,
        });
        let Settings { mut namespaces, selector, controller_class, secret_watch, .. } = settings;
        namespaces.sort();
        namespaces.dedup();
        let scope = Scope { namespaces, selector, controller_class, secret_watch };
        Ok(Self { context, scope, concurrency: settings.concurrency, watchdog })
    }

    /// What it counts.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.context.metrics.clone()
    }

    /// Runs until `shutdown` resolves, then lets running checks end. Acts while it leads; always where there is no election.
    pub async fn run(
        self,
        leadership: Option<Leadership>,
        readiness: Readiness,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StartError> {
        let Self { context, scope, concurrency, watchdog } = self;
        let checks = Arc::new(Checks::new(match &leadership {
            Some(_) => Mandate::None,
            None => Mandate::Always,
        }));
        let queue = Arc::new(Queue::new(concurrency, watchdog));
        let (listed, until_listed) = watch::channel(false);
        let (tell_anew, anew) = watch::channel(0);
        let history = History::default();
        // Ready is who knows what to check and what not to send.
        let tidying = AbortOnDropHandle::new(tokio::spawn({
            let (context, mut listed, works) = (context.clone(), until_listed.clone(), readiness.clone());
            async move {
                context.ledger.open_in_time().await;
                if listed.wait_for(|listed| *listed).await.is_ok() {
                    works.set();
                }
                context.ledger.tidy().await
            }
        }));
        // A standby has its watches and its ledger at hand; when it comes to lead, everything is looked at anew.
        let (elected, elections) = mpsc::channel(1);
        let leading = AbortOnDropHandle::new(tokio::spawn(lead(leadership, elected, checks.clone(), context.clone())));
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            workers.spawn(work(queue.clone(), context.clone(), checks.clone()));
        }
        {
            let told = Told { history: &history, anew: &anew };
            let connections = connections(&scope, &context, &checks, &queue, listed, &readiness, told);
            let secrets = secrets(&scope, &context, &until_listed, &queue, told);
            let history = follow_history(&scope, &context, &checks, &history, &tell_anew);
            let elections = take_over(elections, &context, &queue);
            let stale = tell_of_stale(&context, &checks, &readiness);
            let endless = async { futures::join!(connections, secrets, elections, queue.run(), stale, history) };
            pin_mut!(endless, shutdown);
            tokio::select! {
                _ = endless => {}
                () = shutdown => {}
            }
        }
        // What waits for its turn does not begin, and nobody waits for a watch that has ended.
        queue.close();
        context.connections.stop();
        while workers.join_next().await.is_some() {}
        drop((tidying, leading));
        Ok(context.ledger.commit().await?)
    }
}

/// Checks one connection after the other.
async fn work(queue: Arc<Queue>, context: Arc<Context>, checks: Arc<Checks>) {
    while let Some((connection, mut queued)) = queue.next().await {
        context.metrics.waited(queued.runs());
        // A task of its own, so that a panic is an error of this check.
        let check = tokio::spawn(check(connection.clone(), context.clone(), checks.clone()));
        let ended = AbortOnDropHandle::new(check).await.unwrap_or(Err(Error::Panicked));
        let next = match ended {
            Ok(Next::Later(wait)) => Some(context.clock.real(wait)),
            Ok(Next::Again(wait)) => {
                checks.succeeded(&connection);
                Some(context.clock.real(wait))
            }
            Ok(Next::Change) => None,
            Err(_) if context.connections.get(&connection).is_none() => None,
            Err(error) => Some(checks.failed(&connection, &error)),
        };
        queue.done(&connection, next);
    }
}

/// Follows who leads.
async fn lead(leadership: Option<Leadership>, elected: mpsc::Sender<()>, checks: Arc<Checks>, context: Arc<Context>) {
    let Some(leadership) = leadership else {
        context.metrics.leads(true);
        // Nobody else does; the channel must not close.
        return std::future::pending().await;
    };
    loop {
        let term = tokio::select! {
            term = leadership.acquired() => term,
            () = leadership.patience(|patience| context.metrics.stands_by(patience)) => return,
        };
        context.metrics.stands_by(None);
        // What is known of this process alone, or was read before, may be otherwise by now.
        context.ledger.distrust();
        context.undelivered.forget_all();
        context.staleness.forget_all();
        context.hosts.forget_ends();
        checks.change_mandate(Mandate::Term(term.clone()));
        context.metrics.leads(true);
        if elected.send(()).await.is_err() {
            return;
        }
        term.lost().await;
        checks.change_mandate(Mandate::None);
        context.metrics.leads(false);
    }
}

/// At each election has all connections looked at; those whose Secret no other has read first in line.
async fn take_over(mut elections: mpsc::Receiver<()>, context: &Context, queue: &Queue) {
    while elections.recv().await.is_some() {
        context.agenda.forget_all();
        for (key, kept) in context.connections.all() {
            if context.secrets.is_news(&key, &kept.connection(&key)) {
                context.agenda.wake(&key);
            }
            queue.wake(&key);
        }
    }
}

/// What the watches share about the cluster's history.
#[derive(Clone, Copy)]
struct Told<'a> {
    history: &'a History,
    /// When they are to begin anew.
    anew: &'a watch::Receiver<u64>,
}

/// Has everything listed anew when the cluster's history has run backwards. Never ends.
async fn follow_history(scope: &Scope, context: &Context, checks: &Checks, history: &History, anew: &watch::Sender<u64>) {
    let apis = scoped::<UkgProConnection>(&context.kubernetes, &scope.namespaces);
    let one = ListParams::default().limit(1);
    loop {
        // A clock that is fast, as in tests, has it looked at no more often than each second.
        tokio::time::sleep(context.clock.real(history::ROUND).max(Duration::from_secs(1))).await;
        let before = history.highest();
        let mut version = None;
        for (_, api) in &apis {
            // Why one cannot be listed its watch tells.
            if let Ok(Ok(list)) = tokio::time::timeout(KUBERNETES_DEADLINE, api.list_metadata(&one)).await {
                version = list.metadata.resource_version;
                break;
            }
        }
        if history.has_turned(before, version.as_deref()) {
            tracing::warn!(
                "versions of the API server have run backwards, as after a backup is restored; everything is listed anew"
            );
            match checks.mandate() {
                // What a standby knows of the ledger may be older than the backup.
                Mandate::None => context.ledger.distrust(),
                Mandate::Always | Mandate::Term(_) => context.ledger.reassert(),
            }
            context.undelivered.forget_all();
            anew.send_modify(|times| *times += 1);
        }
    }
}

/// How often it is looked for connections that are overdue: soon enough beside the least interval, and nothing beside a check.
const STALE_ROUND: Duration = Duration::from_secs(30);

/// After so many that could not be written the rest waits for the next round: each may last as long as a request may.
const STALE_FAILURES: usize = 3;

/// A ledger that could not be written for longer than a restart of the API server takes is told under `/readyz`.
const UNWRITTEN_MAX: Duration = Duration::from_secs(60);

/// Takes back that connections are Ready which could not be checked for several intervals. Never ends.
async fn tell_of_stale(context: &Context, checks: &Checks, readiness: &Readiness) {
    loop {
        tokio::time::sleep(context.clock.real(STALE_ROUND)).await;
        readiness.overdue(context.staleness.namespaces(context.clock.uptime()));
        readiness.ledger_unwritten(context.ledger.failing_for().filter(|failing| *failing > UNWRITTEN_MAX));
        let mut failures = 0;
        for (key, stall) in context.staleness.news(context.clock.uptime()) {
            // The ones before have taken their time.
            if !context.staleness.is_overdue(&key, context.clock.uptime()) {
                continue;
            }
            let Some(connection) = context.connections.get(&key).map(|kept| kept.connection(&key)) else { continue };
            let Some(decision) = decide::overdue(&connection, stall, context.clock.now()) else {
                context.staleness.told(&key, context.clock.uptime());
                continue;
            };
            // One that another has written meanwhile, or that cannot be written now, comes in the next round.
            match checks.mandated(controller::publish::publish(&connection, &decision, context)).await {
                None => break,
                Some(Ok(Published::Done)) => context.staleness.told(&key, context.clock.uptime()),
                Some(Ok(Published::Gone | Published::Outdated)) => {}
                Some(Err(error)) => {
                    let (namespace, name) = (key.namespace(), key.name());
                    tracing::warn!(namespace, name, %error, "a connection that is overdue is still shown with its old verdict");
                    failures += 1;
                    if failures == STALE_FAILURES {
                        break;
                    }
                }
            }
        }
    }
}

/// Whether this operator may act.
#[derive(Clone)]
enum Mandate {
    /// There is no election.
    Always,
    /// For as long as this lasts.
    Term(Term),
    /// Another may.
    None,
}

async fn check(connection: ConnectionRef, context: Arc<Context>, checks: Arc<Checks>) -> Result<Next, Error> {
    // Who takes over looks at all. What was sent is in the ledger as begun.
    checks.mandated(check_as_leader(connection, context, checks.clone())).await.unwrap_or(Ok(Next::Change))
}

async fn check_as_leader(connection: ConnectionRef, context: Arc<Context>, checks: Arc<Checks>) -> Result<Next, Error> {
    // It may have been deleted while it waited.
    let Some(kept) = context.connections.get(&connection) else { return Ok(Next::Change) };
    // A foreign finalizer may hold it for long; nobody wants to know any more.
    if kept.edition.is_deleted {
        checks.forget(&kept.edition.uid, &context);
        checks.forget_name(&connection, &context);
        return Ok(Next::Change);
    }
    let latest = Arc::new(kept.connection(&connection));
    let first = context.agenda.is_first_sight(&connection);
    // The event of a Secret may come while a check is about to read that very version; then there is nothing to look at again.
    let is_read = context.agenda.is_woken_by_secret(&connection)
        && !checks.has_failed(&connection)
        && context.secrets.is_read(&connection);
    let put_off = decide::first_due(&latest, context.clock.now()).filter(|_| first || is_read);
    let next = match put_off {
        Some(wait) => {
            context.staleness.expected(&connection, latest.spec.interval(), context.clock.uptime());
            if is_read {
                context.agenda.begun(&connection);
            }
            controller::expect(&latest, &context);
            Ok(Next::Again(wait))
        }
        None => {
            let (interval, staleness) = (latest.spec.interval(), &context.staleness);
            staleness.expected(&connection, interval, context.clock.uptime());
            let next = controller::reconcile(latest, &context).await;
            match &next {
                Ok(Next::Again(_)) => staleness.checked(&connection, interval, context.clock.uptime()),
                Ok(Next::Later(_)) => staleness.stalled(&connection, Stall::Host),
                Ok(Next::Change) => {}
                Err(error) => staleness.stalled(&connection, error.stall()),
            }
            next
        }
    };
    // Of one that went meanwhile, or was made again, the check has perhaps entered something anew.
    let now = context.connections.get(&connection);
    if now.as_ref().map(|now| &now.edition.uid) != Some(&kept.edition.uid) {
        checks.forget(&kept.edition.uid, &context);
        if now.is_none() {
            checks.forget_name(&connection, &context);
        }
    }
    next
}

/// How checks fare, besides their verdicts.
struct Checks {
    /// How often in a row Kubernetes failed a connection's check; those that succeed, and those that are deleted, are not in it.
    failures: Mutex<HashMap<ConnectionRef, u32>>,
    mandate: Mutex<Mandate>,
}

impl Checks {
    fn new(mandate: Mandate) -> Self {
        Self { failures: Mutex::default(), mandate: Mutex::new(mandate) }
    }

    fn mandate(&self) -> Mandate {
        self.mandate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What this comes to while this operator may act; `None` where it may not, or not any more.
    async fn mandated<T>(&self, act: impl Future<Output = T>) -> Option<T> {
        match self.mandate() {
            Mandate::None => None,
            Mandate::Always => Some(act.await),
            Mandate::Term(term) => tokio::select! {
                biased;
                () = term.lost() => None,
                done = act => Some(done),
            },
        }
    }

    fn change_mandate(&self, mandate: Mandate) {
        *self.mandate.lock().unwrap_or_else(PoisonError::into_inner) = mandate;
    }

    fn has_failed(&self, connection: &ConnectionRef) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(connection)
    }

    fn succeeded(&self, connection: &ConnectionRef) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(connection);
    }

    /// Forgets what is kept of a connection that is not there any more.
    fn forget_name(&self, connection: &ConnectionRef, context: &Context) {
        self.succeeded(connection);
        context.agenda.forget(connection);
        context.staleness.forget(connection);
    }

    /// The same by its uid, which another of the name has not.
    fn forget(&self, uid: &str, context: &Context) {
        context.undelivered.forget(uid);
        context.hosts.forget(uid);
        context.hosts.forget(&controller::candidate_of(uid));
    }

    /// When to try again.
    fn failed(&self, connection: &ConnectionRef, error: &Error) -> Duration {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(connection.clone()).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let wait = error_wait(count);
        let (namespace, name) = (connection.namespace(), connection.name());
        tracing::warn!(namespace, name, %error, retry_seconds = wait.as_secs(), "check not finished");
        wait
    }
}

/// Doubles from the first wait to the longest.
fn error_wait(count: u32) -> Duration {
    let (first, longest) = ERROR_RETRY;
    first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(longest)
}

/// What is watched: one collection, or that of each namespace.
fn scoped<K>(client: &kube::Client, namespaces: &[String]) -> Vec<(Option<String>, Api<K>)>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if namespaces.is_empty() {
        return vec![(None, Api::all(client.clone()))];
    }
    let of = |namespace: &String| (Some(namespace.clone()), Api::namespaced(client.clone(), namespace));
    namespaces.iter().map(of).collect()
}

/// Follows the connections. Never ends.
async fn connections(
    scope: &Scope,
    context: &Arc<Context>,
    checks: &Checks,
    queue: &Queue,
    listed: watch::Sender<bool>,
    readiness: &Readiness,
    told: Told<'_>,
) {
    let select = watcher::Config::default().page_size(PAGE);
    let select = match &scope.selector {
        Some(labels) => select.labels(labels),
        None => select,
    };
    let Scope { namespaces, controller_class, .. } = scope;
    let mut lists = Lists::new(context.connections.clone(), context.secrets.clone(), namespaces, controller_class.clone());
    let watches = scoped::<Listed>(&context.kubernetes, namespaces).into_iter().enumerate();
    let watches = watches.map(|(place, (_, api))| {
        let select = select.clone();
        let events = retry::renewable(move || watcher(api.clone(), select.clone()), told.anew.clone());
        events.map(move |event| (place, event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut complaints = Complaints::default();
    readiness.lacks(lists.unlisted());
    while let Some((place, event)) = events.next().await {
        tell(&mut complaints, place, &event, "connections", namespaces.get(place));
        if let Ok(Event::InitApply(object) | Event::Apply(object) | Event::Delete(object)) = &event {
            told.history.heard(object.meta().resource_version.as_deref());
        }
        let is_listed = matches!(event, Ok(Event::InitDone));
        let news = match event {
            Ok(event) => lists.after(place, event),
            Err(error) => {
                if !is_refused(&error) {
                    continue;
                }
                lists.without(place)
            }
        };
        if is_listed {
            readiness.lacks(lists.unlisted());
        }
        let News { changed, gone, unreadable } = news;
        if let Some(unreadable) = unreadable {
            let (namespace, name) = (unreadable.namespace(), unreadable.name());
            tracing::error!(namespace, name, "connection cannot be read; compare it with the CRD and apply it again");
        }
        for (connection, uid) in &gone {
            checks.forget(uid, context);
            checks.forget_name(connection, context);
            queue.forget(connection);
        }
        if lists.are_of_use() {
            listed.send_if_modified(|listed| !std::mem::replace(listed, true));
        }
        changed.iter().for_each(|connection| queue.wake(connection));
    }
}

/// Whether a namespace may not be listed, as one whose Role has gone.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
}

/// Follows the Secrets, for the connections to which they are news. Only metadata is watched: values are read when they are needed.
///
/// It begins when the connections have been listed: a Secret that is listed before it is known who uses it would be news to nobody.
async fn secrets(scope: &Scope, context: &Context, listed: &watch::Receiver<bool>, queue: &Queue, told: Told<'_>) {
    let config = watcher::Config::default().page_size(PAGE);
    let config = match scope.secret_watch {
        SecretWatch::All => config,
        SecretWatch::Labelled => config.labels(WATCH_LABEL),
        SecretWatch::None => return,
    };
    if listed.clone().wait_for(|listed| *listed).await.is_err() {
        return;
    }
    let watches = scoped::<PartialObjectMeta<Secret>>(&context.kubernetes, &scope.namespaces).into_iter();
    let watches = watches.enumerate().map(|(place, (namespace, api))| {
        let config = config.clone();
        let events = retry::renewable(move || watcher(api.clone(), config.clone()), told.anew.clone());
        events.map(move |event| (place, namespace.clone(), event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut complaints = Complaints::default();
    while let Some((place, namespace, event)) = events.next().await {
        tell(&mut complaints, place, &event, "Secrets", namespace.as_ref());
        let Ok(event) = event else { continue };
        // One that is not listed may be there without the label.
        if scope.secret_watch == SecretWatch::Labelled && matches!(event, Event::Init | Event::InitDone) {
            continue;
        }
        for connection in context.secrets.after(namespace.as_deref(), &event) {
            context.agenda.wake_by_secret(&connection);
            queue.wake(&connection);
        }
    }
}

/// A line in the log where a watch fails in a new way, or still does after twice as many failures, and where it works again. Each watch
/// starts again by itself, with a back-off of its own.
fn tell<K>(
    complaints: &mut Complaints,
    place: usize,
    event: &watcher::Result<Event<K>>,
    what: &str,
    namespace: Option<&String>,
) {
    let namespace = namespace.map_or("(all)", String::as_str);
    let error = match event {
        // It says that it begins before it asks.
        Ok(Event::Init) => return,
        Ok(_) => {
            if complaints.works(place) {
                tracing::info!(what, namespace, "watch goes on");
            }
            return;
        }
        Err(error) => error,
    };
    let failure = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => controller::kubernetes_failure(error),
        watcher::Error::WatchError(status) => format!("the API server answered {} {}", status.code, status.reason),
        watcher::Error::NoResourceVersion => "the API server's list has no version".to_owned(),
    };
    if let Some(times) = complaints.failed(place, &failure, Instant::now()) {
        tracing::warn!(what, namespace, failure, times, "watch interrupted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_errors_double_up_to_a_bound() {
        let waits: Vec<_> = [1, 2, 3, 8, 100, u32::MAX].map(|count| error_wait(count).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 120, 120, 120]);
    }
}
