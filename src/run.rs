//! The tasks of a running operator: the watches, the queue, and the reconciles they lead to.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::controller::{Action, Config, Error as ApplierError};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, applier, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::agenda::Agenda;
use crate::api::UkgProConnection;
use crate::clock::Clock;
use crate::controller::publish::Undelivered;
use crate::controller::{self, Context, Error, Next, Policy, decide};
use crate::health::Readiness;
use crate::hosts::{Hosts, Pace};
use crate::leadership::{Leadership, Term};
use crate::ledger::store::SecretStore;
use crate::ledger::{self, Ledger, Limits};
use crate::metrics::{Metrics, Sources};
use crate::ukg::catalogue::Catalogue;
use crate::ukg::transport::{ProxySettings, Transport, Trust};
use crate::watch::{Arrivals, ConnectionRef, Joined, Seen, strip};
use crate::watchdog::Watchdog;

/// What a running operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The namespaces to watch; all where there are none.
    pub namespaces: Vec<String>,
    /// Which connections to look after, by their labels; all where `None`.
    pub selector: Option<String>,
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
/// Events of one object that come in a burst (a Secret and its connection applied together) are one check.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// An operator that can be run.
pub struct Operator {
    context: Arc<Context>,
    store: reflector::Store<UkgProConnection>,
    writer: reflector::store::Writer<UkgProConnection>,
    scope: Scope,
    concurrency: usize,
    watchdog: Arc<Watchdog>,
}

/// Which objects are looked after.
struct Scope {
    namespaces: Vec<String>,
    selector: Option<String>,
    secret_watch: SecretWatch,
}

impl Operator {
    /// Makes one, which does nothing yet.
    pub fn new(kubernetes: kube::Client, settings: Settings, watchdog: Arc<Watchdog>) -> Result<Self, StartError> {
        let (store, writer) = reflector::store();
        let allow_private_addresses = settings.policy.allow_private_addresses;
        let trust = Trust { extra_roots: Vec::new(), allow_private_addresses, proxy: settings.proxy };
        let ledger = SecretStore::new(kubernetes.clone(), &settings.system_namespace, &settings.ledger_secret);
        let ledger = Arc::new(Ledger::new(Box::new(ledger), settings.limits)?);
        let hosts = Arc::new(Hosts::new(settings.pace));
        let sources = Sources {
            connections: store.clone(),
            watchdog: watchdog.clone(),
            ledger_entries: Box::new({
                let ledger = ledger.clone();
                move || ledger.len()
            }),
            hosts_in_outage: Box::new({
                let hosts = hosts.clone();
                move || hosts.outages()
            }),
        };
        let context = Arc::new(Context {
            transport: Transport::new(trust)?,
            ledger,
            hosts,
            agenda: Agenda::default(),
            clock: settings.clock,
            metrics: Arc::new(Metrics::new(sources)),
            system_namespace: settings.system_namespace,
            undelivered: Undelivered::default(),
            secrets: Arc::default(),
            seen: Arc::new(Seen::new(store.clone())),
            policy: settings.policy,
            catalogue: settings.catalogue,
            instance: settings.instance,
            kubernetes,
        });
        let Settings { mut namespaces, selector, secret_watch, .. } = settings;
        namespaces.sort();
        namespaces.dedup();
        let scope = Scope { namespaces, selector, secret_watch };
        Ok(Self { context, store, writer, scope, concurrency: settings.concurrency, watchdog })
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
        let Self { context, store, writer, scope, concurrency, watchdog } = self;
        let mandate = match &leadership {
            Some(_) => Mandate::None,
            None => Mandate::Always,
        };
        let running = Semaphore::new(concurrency);
        let checks = Arc::new(Checks { running, failures: Mutex::default(), watchdog, mandate: Mutex::new(mandate) });
        let select = match &scope.selector {
            Some(labels) => watcher::Config::default().labels(labels),
            None => watcher::Config::default(),
        };
        let (listed, until_listed) = watch::channel(false);
        let connections = connections(&scope.namespaces, select, writer, &store, &context, &checks, listed);
        // Ready is who knows what to check and what not to send.
        let tidying = AbortOnDropHandle::new(tokio::spawn({
            let (context, mut listed) = (context.clone(), until_listed.clone());
            async move {
                context.ledger.open_in_time().await;
                if listed.wait_for(|listed| *listed).await.is_ok() {
                    readiness.set();
                }
                context.ledger.tidy().await
            }
        }));
        let secrets = match scope.secret_watch {
            SecretWatch::None => stream::empty().left_stream(),
            mode => secrets(&scope.namespaces, mode, &context, &until_listed).right_stream(),
        };
        // A standby has its watches and its ledger at hand; when it comes to lead, everything is looked at anew.
        let (elected, elections) = mpsc::channel(1);
        let leading = AbortOnDropHandle::new(tokio::spawn(lead(leadership, elected, checks.clone(), context.clone())));
        let all = {
            let (context, store) = (context.clone(), store.clone());
            stream::unfold(elections, async |mut elections| elections.recv().await.map(|()| ((), elections)))
                .flat_map(move |()| stream::iter(take_over(&context, &store)))
        };
        let stopping = CancellationToken::new();
        let unlisted = {
            let (stopping, listed) = (stopping.clone(), until_listed.clone());
            async move {
                stopping.cancelled().await;
                // The applier waits for the first list however long that takes; without one there is no check to let end.
                if *listed.borrow() {
                    std::future::pending().await
                }
            }
        };
        let stop = {
            let (checks, context) = (checks.clone(), context.clone());
            async move {
                shutdown.await;
                stopping.cancel();
                // What waits for its turn does not begin, and nobody waits for a watch that has ended.
                checks.running.close();
                context.seen.stop();
            }
        };
        let queue =
            stream::select(stream::select(connections, secrets), all).map(Ok::<_, std::convert::Infallible>).take_until(stop);

        let for_policy = checks.clone();
        let applied = applier(
            move |connection: Arc<UkgProConnection>, context| {
                let check = tokio::spawn(check(connection, context, checks.clone()));
                Box::pin(async move { AbortOnDropHandle::new(check).await.unwrap_or(Err(Error::Panicked)) })
            },
            move |connection, error, context: Arc<Context>| for_policy.failed(&connection, error, &context),
            context.clone(),
            store,
            queue,
            Config::default().debounce(DEBOUNCE),
        )
        .for_each(|result| async move {
            match result {
                // Deleted since it was queued: there is nothing to check. Failures were logged by the error policy.
                Ok(_) | Err(ApplierError::ObjectNotFound(_) | ApplierError::ReconcilerFailed(..)) => {}
                Err(error) => tracing::error!(kind = %queue_failure(&error), "the queue failed"),
            }
        });
        tokio::select! {
            () = applied => {}
            () = unlisted => {}
        }
        drop((tidying, leading));
        Ok(context.ledger.commit().await?)
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
        let term = leadership.acquired().await;
        // What is known of this process alone, or was read before, may be otherwise by now.
        context.ledger.distrust();
        context.undelivered.forget_all();
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

/// All connections, for a new leader; those whose Secret no other has read first in line.
fn take_over(context: &Context, store: &reflector::Store<UkgProConnection>) -> Vec<ConnectionRef> {
    let connections = store.state();
    context.agenda.forget_all();
    for connection in context.secrets.news(&connections) {
        context.agenda.wake(&connection);
    }
    connections.iter().map(|connection| ObjectRef::from_obj(connection.as_ref())).collect()
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

fn queue_failure<R: std::error::Error + 'static, Q: std::error::Error + 'static>(error: &ApplierError<R, Q>) -> &'static str {
    match error {
        ApplierError::RunnerError(_) => "the store ended",
        _ => "unexpected",
    }
}

async fn check(connection: Arc<UkgProConnection>, context: Arc<Context>, checks: Arc<Checks>) -> Result<Action, Error> {
    match checks.mandate() {
        // Who takes over later looks at all.
        Mandate::None => Ok(Action::await_change()),
        Mandate::Always => check_as_leader(connection, context, checks).await,
        Mandate::Term(term) => tokio::select! {
            biased;
            // Another may begin before long. What was sent is in the ledger as begun.
            () = term.lost() => Ok(Action::await_change()),
            done = check_as_leader(connection, context, checks) => done,
        },
    }
}

async fn check_as_leader(
    connection: Arc<UkgProConnection>,
    context: Arc<Context>,
    checks: Arc<Checks>,
) -> Result<Action, Error> {
    let mut queued = checks.watchdog.queued();
    // First come, first served: the applier's own bound lets the same objects win again and again under load.
    let Ok(_permit) = checks.running.acquire().await else {
        return Ok(Action::await_change());
    };
    context.metrics.waited(queued.runs());
    // It may have changed while it waited, or have been deleted.
    let Some(latest) = context.seen.latest(&connection) else {
        return Ok(Action::await_change());
    };
    let reference = ObjectRef::from_obj(connection.as_ref());
    let first = context.agenda.is_first_sight(&reference);
    let uid = latest.uid();
    let put_off = decide::first_due(&latest, context.clock.now()).filter(|_| first);
    let next = match put_off {
        Some(wait) => {
            controller::expect(&latest, &context);
            Ok(Next::Again(wait))
        }
        None => controller::reconcile(latest, &context).await,
    };
    // Of one that went meanwhile, or was made again, the check has perhaps entered something anew.
    let now = context.seen.latest(&connection);
    if now.as_ref().map(|now| now.uid()) != Some(uid.clone()) {
        checks.forget(uid.as_deref(), &context);
        if now.is_none() {
            checks.forget_name(&reference, &context);
        }
    }
    Ok(match next? {
        Next::Later(wait) => Action::requeue(context.clock.real(wait)),
        Next::Again(wait) => {
            checks.succeeded(&reference);
            Action::requeue(context.clock.real(wait))
        }
        Next::Change => Action::await_change(),
    })
}

/// How checks fare, besides their verdicts.
struct Checks {
    running: Semaphore,
    /// How often in a row Kubernetes failed a connection's check; those that succeed, and those that are deleted, are not in it.
    failures: Mutex<HashMap<ConnectionRef, u32>>,
    watchdog: Arc<Watchdog>,
    mandate: Mutex<Mandate>,
}

impl Checks {
    fn mandate(&self) -> Mandate {
        self.mandate.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change_mandate(&self, mandate: Mandate) {
        *self.mandate.lock().unwrap_or_else(PoisonError::into_inner) = mandate;
    }

    fn succeeded(&self, connection: &ConnectionRef) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(connection);
    }

    /// Forgets what is kept of a connection that is not there any more.
    fn forget_name(&self, connection: &ConnectionRef, context: &Context) {
        self.succeeded(connection);
        context.agenda.forget(connection);
    }

    /// The same by its uid, which another of the name has not.
    fn forget(&self, uid: Option<&str>, context: &Context) {
        let uid = uid.unwrap_or_default();
        context.undelivered.forget(uid);
        context.hosts.forget(uid);
        context.hosts.forget(&controller::candidate_of(uid));
    }

    fn failed(&self, connection: &UkgProConnection, error: &Error, context: &Context) -> Action {
        if context.seen.latest(connection).is_none() {
            return Action::await_change();
        }
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(ObjectRef::from_obj(connection)).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let wait = error_wait(count);
        let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
        tracing::warn!(namespace, name, %error, retry_seconds = wait.as_secs(), "check not finished");
        Action::requeue(wait)
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

/// The connections that are new, each after the store holds it.
fn connections(
    namespaces: &[String],
    select: watcher::Config,
    writer: reflector::store::Writer<UkgProConnection>,
    store: &reflector::Store<UkgProConnection>,
    context: &Arc<Context>,
    checks: &Arc<Checks>,
    listed: watch::Sender<bool>,
) -> impl Stream<Item = ConnectionRef> + Send + 'static {
    let (context, checks, store) = (context.clone(), checks.clone(), store.clone());
    let mut arrivals = Arrivals::default();
    let (mut joined, so_far) = (Joined::new(namespaces), store.clone());
    let watches = scoped(&context.kubernetes, namespaces).into_iter().enumerate().map(|(scope, (_, api))| {
        let events = watcher(api, select.clone()).default_backoff().modify(strip);
        events.filter_map(|event| std::future::ready(readable(event))).map(move |event| (scope, event)).boxed()
    });
    stream::select_all(watches)
        .flat_map(move |(scope, event)| {
            stream::iter(match event {
                Ok(event) => joined.after(scope, event, &so_far).into_iter().map(Ok).collect(),
                Err(error) if is_refused(&error) => {
                    std::iter::once(Err(error)).chain(joined.without(scope).into_iter().map(Ok)).collect()
                }
                Err(error) => vec![Err(error)],
            })
        })
        .reflect(writer)
        .filter_map(|event| std::future::ready(kept(event, "connections")))
        .flat_map(move |event| {
            context.secrets.follow(&event, &store);
            context.seen.moved();
            if let Event::InitDone = &event {
                listed.send_replace(true);
            }
            let news = arrivals.after(&event);
            for (connection, uid) in &news.gone {
                checks.forget_name(connection, &context);
                checks.forget(uid.as_deref(), &context);
            }
            stream::iter(news.changed)
        })
}

/// Whether a namespace may not be listed, as one whose Role has gone.
fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
}

/// Leaves out connections that cannot be read, so that one does not stop the others: the CRD refuses such, but may have been another
/// when they were stored.
fn readable(
    event: Result<Event<DeserializeGuard<UkgProConnection>>, watcher::Error>,
) -> Option<Result<Event<UkgProConnection>, watcher::Error>> {
    let read = |DeserializeGuard(read): DeserializeGuard<UkgProConnection>| match read {
        Ok(connection) => Some(connection),
        Err(invalid) => {
            // The error's text quotes the object; its name is enough to find it.
            let (namespace, name) = (invalid.metadata.namespace.unwrap_or_default(), invalid.metadata.name.unwrap_or_default());
            tracing::error!(namespace, name, "connection cannot be read; compare it with the CRD and apply it again");
            None
        }
    };
    Some(Ok(match event {
        Err(error) => return Some(Err(error)),
        Ok(Event::Apply(object)) => Event::Apply(read(object)?),
        Ok(Event::InitApply(object)) => Event::InitApply(read(object)?),
        Ok(Event::Delete(object)) => Event::Delete(read(object)?),
        Ok(Event::Init) => Event::Init,
        Ok(Event::InitDone) => Event::InitDone,
    }))
}

/// The connections whose Secret is news to them. Only metadata is watched: values are read when they are needed.
///
/// It begins when the connections have been listed: a Secret that is listed before it is known who uses it would be news to nobody.
fn secrets(
    namespaces: &[String],
    mode: SecretWatch,
    context: &Arc<Context>,
    listed: &watch::Receiver<bool>,
) -> impl Stream<Item = ConnectionRef> + Send + 'static {
    let watches = scoped(&context.kubernetes, namespaces).into_iter();
    let watches = watches.map(|(scope, api)| secrets_of(scope, api, mode, context.clone(), listed.clone()).boxed());
    stream::select_all(watches)
}

fn secrets_of(
    scope: Option<String>,
    api: Api<PartialObjectMeta<Secret>>,
    mode: SecretWatch,
    context: Arc<Context>,
    mut listed: watch::Receiver<bool>,
) -> impl Stream<Item = ConnectionRef> + Send + 'static {
    // An end of the sender is the end of the operator.
    let begin = async move { listed.wait_for(|listed| *listed).await.is_ok() };
    stream::once(begin)
        .filter(|begun| std::future::ready(*begun))
        .flat_map(move |_| {
            let config = watcher::Config::default();
            watcher(api.clone(), if mode == SecretWatch::Labelled { config.labels(WATCH_LABEL) } else { config })
        })
        .default_backoff()
        .filter_map(|event| std::future::ready(kept(event, "Secrets")))
        .flat_map(move |event| {
            // One that is not listed may be there without the label.
            let whole = mode == SecretWatch::All;
            let woken = if whole || !matches!(event, Event::Init | Event::InitDone) {
                context.secrets.after(scope.as_deref(), &event)
            } else {
                Vec::new()
            };
            woken.iter().for_each(|connection| context.agenda.wake(connection));
            stream::iter(woken)
        })
}

/// An event, or a line in the log; each watch starts again by itself, with a back-off of its own.
fn kept<K>(event: Result<Event<K>, watcher::Error>, what: &str) -> Option<Event<K>> {
    match event {
        Ok(event) => Some(event),
        Err(error) => {
            let failure = match &error {
                watcher::Error::InitialListFailed(error)
                | watcher::Error::WatchStartFailed(error)
                | watcher::Error::WatchFailed(error) => controller::kubernetes_failure(error),
                watcher::Error::WatchError(status) => format!("the API server answered {} {}", status.code, status.reason),
                watcher::Error::NoResourceVersion => "the API server's list has no version".to_owned(),
            };
            tracing::warn!(what, failure, "watch interrupted");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_cannot_be_read_is_left_out_and_the_others_are_not() {
        let object = |spec: serde_json::Value| {
            let object = serde_json::json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection",
                "metadata": {"name": "acme", "namespace": "hr"}, "spec": spec});
            serde_json::from_value::<DeserializeGuard<UkgProConnection>>(object).expect("guarded")
        };
        let good = || object(serde_json::json!({"secretRef": {"name": "x"}}));
        let bad = || object(serde_json::json!({"secretRef": 7}));
        assert!(matches!(readable(Ok(Event::InitApply(good()))), Some(Ok(Event::InitApply(_)))));
        for event in [Event::Apply(bad()), Event::InitApply(bad()), Event::Delete(bad())] {
            assert!(readable(Ok(event)).is_none());
        }
    }

    #[test]
    fn waits_after_errors_double_up_to_a_bound() {
        let waits: Vec<_> = [1, 2, 3, 8, 100, u32::MAX].map(|count| error_wait(count).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 120, 120, 120]);
    }
}
