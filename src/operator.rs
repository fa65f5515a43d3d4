//! Runs the tasks of an operator: the watches, the work queue, the workers and leadership.

use std::future::Future;
use std::sync::Arc;

use futures::pin_mut;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;
use ukg_pro::transport::Transport;

use crate::cluster::leader_election::Leadership;
use crate::cluster::watch::Connections;
use crate::cluster::watch::history::ResourceVersionTracker;
use crate::controller::Context;
use crate::controller::publish::{ReportedUnfilteredReads, UnwrittenObservations};
use crate::controller::resolve::Transports;
use crate::login_guard::Ledger;
use crate::login_guard::storage::SecretStore;
use crate::schedule::hosts::Hosts;
use crate::schedule::overdue::Overdue;
use crate::schedule::wakeups::Wakeups;
use crate::schedule::work_queue::Queue;
use crate::telemetry::health::Readiness;
use crate::telemetry::metrics::{Metrics, Sources};
use crate::telemetry::watchdog::Watchdog;

mod overdue;
mod settings;
mod watches;
mod workers;

use overdue::report_overdue;
pub use settings::{OperatorError, SecretWatch, Settings, WATCH_LABEL};
pub use watches::PAGE;
use watches::{RelistSignal, connections, follow_history, secrets};
use workers::{CheckState, LeadershipState, work};

/// An operator that is ready to run.
pub struct Operator {
    context: Arc<Context>,
    scope: Scope,
    concurrency: usize,
    watchdog: Arc<Watchdog>,
}

/// The objects that the operator manages.
struct Scope {
    namespaces: Vec<String>,
    selector: Option<String>,
    controller_class: Option<String>,
    secret_watch: SecretWatch,
}

impl Operator {
    /// Creates an operator without starting it.
    pub fn new(kubernetes: kube::Client, settings: Settings, watchdog: Arc<Watchdog>) -> Result<Self, OperatorError> {
        let connections = Arc::<Connections>::default();
        let trust = settings.policy.trust(settings.proxy);
        let ledger = SecretStore::new(kubernetes.clone(), &settings.system_namespace, &settings.ledger_secret);
        let ledger = Arc::new(Ledger::new(Box::new(ledger), settings.limits)?);
        let hosts = Arc::new(Hosts::new(settings.host_limits));
        let overdue = Arc::<Overdue>::default();
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
                let (overdue, clock) = (overdue.clone(), settings.clock.clone());
                move || overdue.count(clock.uptime())
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
            wakeups: Wakeups::default(),
            overdue,
            clock: settings.clock,
            metrics: Arc::new(Metrics::new(sources)),
            system_namespace: settings.system_namespace,
            unwritten: UnwrittenObservations::default(),
            unfiltered: ReportedUnfilteredReads::default(),
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

    /// Returns the metrics.
    pub fn metrics(&self) -> Arc<Metrics> {
        self.context.metrics.clone()
    }

    /// Runs until `shutdown` resolves, then lets running checks finish. Acts only while it leads, or always if there is no
    /// election.
    pub async fn run(
        self,
        leadership: Option<Leadership>,
        readiness: Readiness,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), OperatorError> {
        let Self { context, scope, concurrency, watchdog } = self;
        let checks = Arc::new(CheckState::new(match &leadership {
            Some(_) => LeadershipState::None,
            None => LeadershipState::Always,
        }));
        let queue = Arc::new(Queue::new(concurrency, watchdog));
        let (listed, until_listed) = watch::channel(false);
        let (send_relist, relist) = watch::channel(0);
        let history = ResourceVersionTracker::default();
        // Ready means: the connections are listed and the ledger is read.
        let flushing = AbortOnDropHandle::new(tokio::spawn({
            let (context, mut listed, works) = (context.clone(), until_listed.clone(), readiness.clone());
            async move {
                context.ledger.open_with_retry().await;
                if listed.wait_for(|listed| *listed).await.is_ok() {
                    works.set();
                }
                context.ledger.flush_loop().await
            }
        }));
        // A standby keeps its watches and ledger current. When it becomes the leader, it looks at all connections again.
        let (elected, elections) = mpsc::channel(1);
        let leading =
            AbortOnDropHandle::new(tokio::spawn(follow_leadership(leadership, elected, checks.clone(), context.clone())));
        let mut workers = JoinSet::new();
        for _ in 0..concurrency {
            workers.spawn(work(queue.clone(), context.clone(), checks.clone()));
        }
        {
            let relist_signal = RelistSignal { history: &history, relist: &relist };
            let connections = connections(&scope, &context, &checks, &queue, listed, &readiness, relist_signal);
            let secrets = secrets(&scope, &context, &until_listed, &queue, relist_signal);
            let history = follow_history(&scope, &context, &checks, &history, &send_relist);
            let elections = requeue_on_election(elections, &context, &queue);
            let stale = report_overdue(&context, &checks, &readiness);
            let endless = async { futures::join!(connections, secrets, elections, queue.run(), stale, history) };
            pin_mut!(endless, shutdown);
            tokio::select! {
                _ = endless => {}
                () = shutdown => {}
            }
        }
        // Queued checks do not begin, and no check waits for a watch that has ended.
        queue.close();
        context.connections.stop();
        while workers.join_next().await.is_some() {}
        drop((flushing, leading));
        Ok(context.ledger.commit().await?)
    }
}

/// Follows who leads.
async fn follow_leadership(
    leadership: Option<Leadership>,
    elected: mpsc::Sender<()>,
    checks: Arc<CheckState>,
    context: Arc<Context>,
) {
    let Some(leadership) = leadership else {
        context.metrics.leads(true);
        // There is no election, but the channel must not close.
        return std::future::pending().await;
    };
    loop {
        let term = tokio::select! {
            term = leadership.acquired() => term,
            () = leadership.watch_takeover_delay(|delay| context.metrics.set_lease_wait(delay)) => return,
        };
        context.metrics.set_lease_wait(None);
        // State from an earlier term, or read before this one, may be outdated.
        context.ledger.invalidate();
        context.unwritten.forget_all();
        context.overdue.forget_all();
        context.hosts.forget_results();
        checks.set_leadership(LeadershipState::Term(term.clone()));
        context.metrics.leads(true);
        if elected.send(()).await.is_err() {
            return;
        }
        term.lost().await;
        checks.set_leadership(LeadershipState::None);
        context.metrics.leads(false);
    }
}

/// Queues all connections at each election. A connection whose Secret has changed since its status was written goes first.
async fn requeue_on_election(mut elections: mpsc::Receiver<()>, context: &Context, queue: &Queue) {
    while elections.recv().await.is_some() {
        context.wakeups.forget_all();
        for (key, kept) in context.connections.all() {
            if context.secrets.is_news(&key, &kept.connection(&key)) {
                context.wakeups.wake(&key);
            }
            queue.wake(&key);
        }
    }
}
