//! The tasks of a running operator: the watches, the queue, and the reconciles they lead to.

use std::future::Future;
use std::sync::Arc;

use futures::pin_mut;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use ukg_pro::transport::Transport;

use crate::cluster::leader_election::Leadership;
use crate::cluster::watch::Connections;
use crate::cluster::watch::history::History;
use crate::controller::Context;
use crate::controller::publish::{Undelivered, Unfiltered};
use crate::controller::resolve::Transports;
use crate::login_guard::Ledger;
use crate::login_guard::storage::SecretStore;
use crate::schedule::hosts::Hosts;
use crate::schedule::overdue::Staleness;
use crate::schedule::wakeups::Agenda;
use crate::schedule::work_queue::Queue;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::{Metrics, Sources};
use crate::telemetry::watchdog::Watchdog;

mod overdue;
mod settings;
mod watches;
mod workers;

use overdue::tell_of_stale;
pub use settings::{SecretWatch, Settings, StartError, WATCH_LABEL};
pub use watches::PAGE;
use watches::{Told, connections, follow_history, secrets};
use workers::{Checks, Mandate, work};

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
