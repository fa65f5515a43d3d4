//! `ukgpro-operator run`: the flags of the operator, and how its parts are put together.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kube::client::ClientBuilder;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::limit::RateLimitLayer;
use ukg_pro::transport::ProxySettings;

use super::flags::{PolicyArgs, class, object_name};
use super::{NO_CLIENT, kubernetes};
use crate::api;
use crate::cluster::client::Access;
use crate::cluster::deadlines::Deadlines;
use crate::cluster::leader_election::{self, Candidate, Timing};
use crate::cluster::response_filter::Sift;
use crate::login_guard::Limits;
use crate::operator::{Operator, SecretWatch, Settings, StartError};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::Pace;
use crate::telemetry::health::{self, Endpoints, Readiness};
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::watchdog::watch_traffic::Listen;
use crate::telemetry::watchdog::{Bounds, Watchdog};

/// The command's flags.
#[derive(Args)]
pub struct RunArgs {
    /// Watch these namespaces only, with commas between; all without it
    #[arg(long, env = "UKGPRO_NAMESPACE", value_delimiter = ',', value_parser = object_name)]
    namespace: Vec<String>,

    /// Look after connections with these labels only, such as shard=a; all without it
    #[arg(long, env = "UKGPRO_SELECTOR")]
    selector: Option<String>,

    /// Look after connections with this spec.controllerClass only; without it, after those that have none
    #[arg(long, env = "UKGPRO_CONTROLLER_CLASS", value_parser = class)]
    controller_class: Option<String>,

    /// How a changed Secret is noticed
    #[arg(long, env = "UKGPRO_WATCH_SECRETS", value_enum, default_value = "all")]
    watch_secrets: SecretWatch,

    /// The operator's own namespace; without it, that of its ServiceAccount or of the kubeconfig's context
    #[arg(long, env = "UKGPRO_SYSTEM_NAMESPACE", value_parser = object_name)]
    system_namespace: Option<String>,

    /// The Secret, in the operator's own namespace, that remembers which logins were refused
    #[arg(long, env = "UKGPRO_LEDGER_SECRET", default_value = "ukgpro-operator-ledger", value_parser = object_name)]
    ledger_secret: String,

    /// Act only while holding a Lease in the operator's own namespace, so that several may run and one acts
    #[arg(long, env = "UKGPRO_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,

    /// The Lease; operators with different connections need different ones, and ledgers of their own
    #[arg(long, env = "UKGPRO_LEASE_NAME", default_value = "ukgpro-operator", value_parser = object_name)]
    lease_name: String,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    guard: GuardArgs,

    /// How often status.lastCheckedTime moves while nothing else does, such as 1h; off is never
    #[arg(long, env = "UKGPRO_HEARTBEAT", default_value = "1h", value_parser = heartbeat)]
    heartbeat: Heartbeat,

    /// How many checks may run at once
    #[arg(long, env = "UKGPRO_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// How many requests a second the API server may see, on average; two are one verdict
    #[arg(long, env = "UKGPRO_KUBE_API_QPS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kube_api_qps: u32,

    /// How many of them at once, when there was a pause before
    #[arg(long, env = "UKGPRO_KUBE_API_BURST", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kube_api_burst: u32,

    /// How many threads the checks are spread over; without it, one for each processor there is, four at the most
    #[arg(long, env = "UKGPRO_WORKER_THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    worker_threads: Option<u16>,

    /// Where to serve /metrics
    #[arg(long, env = "UKGPRO_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,

    /// Where to serve /livez and /readyz
    #[arg(long, env = "UKGPRO_HEALTH_ADDRESS", default_value = "0.0.0.0:8081")]
    health_address: SocketAddr,

    /// The form of log lines
    #[arg(long, env = "UKGPRO_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug, or a filter such as info,ukgpro_operator=debug
    #[arg(long, env = "UKGPRO_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// What keeps accounts and hosts from harm.
#[derive(Args)]
pub struct GuardArgs {
    /// How many logins an account may see in a day, REST reads among them
    #[arg(long, env = "UKGPRO_LOGINS_PER_DAY", default_value_t = Limits::default().logins_per_day, value_parser = clap::value_parser!(u32).range(1..))]
    logins_per_day: u32,

    /// After how many refused logins of an account within a day new values are tried on request only, and after twice as many not at
    /// all
    #[arg(long, env = "UKGPRO_REFUSED_LOGINS_PER_DAY", default_value_t = Limits::default().refused_per_day, value_parser = clap::value_parser!(u32).range(1..))]
    refused_logins_per_day: u32,

    /// How many checks a second one host may see
    #[arg(long, env = "UKGPRO_HOST_RATE", default_value_t = Pace::default().rate, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    host_rate: u32,

    /// How many checks at once one host may see
    #[arg(long, env = "UKGPRO_HOST_CONCURRENCY", default_value_t = Pace::default().concurrency, value_parser = clap::value_parser!(u32).range(1..=1024))]
    host_concurrency: u32,
}

/// `None` is never.
#[derive(Debug, Clone, Copy)]
struct Heartbeat(Option<Duration>);

fn heartbeat(text: &str) -> Result<Heartbeat, String> {
    match (text, api::duration(text)) {
        ("off", _) => Ok(Heartbeat(None)),
        (_, Some(time)) if time >= Duration::from_secs(60) => Ok(Heartbeat(Some(time))),
        _ => Err("write off, or a time of at least 1m such as 1h".to_owned()),
    }
}

/// A check ends within its timeout (5 m at most); a pod is given less than that to stop. With the release of the Lease and the last
/// answers it is below the 30 s that Kubernetes gives.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);
/// For what cannot be ended.
const LINGER: Duration = Duration::from_secs(1);
/// A node may have a hundred processors. Each thread has a stack and an arena of the allocator, and ten thousand connections are little
/// work for one.
const THREADS_MAX: usize = 4;
/// Look-ups of names at once.
const LOOKUPS_MAX: usize = 64;

/// Runs the command.
pub fn run(args: RunArgs) -> Result<(), String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.worker_threads.map_or(processors.min(THREADS_MAX), usize::from);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().max_blocking_threads(LOOKUPS_MAX).build();
    let runtime = runtime.map_err(|error| format!("no threads can be had: {}", error.kind()))?;
    let result = runtime.block_on(operate(args));
    // A look-up of a name that is under way cannot be cut short.
    runtime.shutdown_timeout(LINGER);
    result
}

async fn operate(args: RunArgs) -> Result<(), String> {
    let catalogue = args.policy.catalogue()?;
    logs::start(args.log_format, &args.log_level).map_err(|error| error.to_string())?;
    let proxy = ProxySettings::from_env().map_err(|error| error.to_string())?;
    let config = kubernetes().await?;
    let watchdog = Arc::new(Watchdog::new(Bounds::default()));
    let for_election = config.clone();
    let own_namespace = config.default_namespace.clone();
    let client = ClientBuilder::new(Access::new(config, true, "controller").map_err(|_| NO_CLIENT)?, own_namespace);
    // In each time in which that many may come, so many; the leader election has a client of its own, which does not wait behind.
    let window = Duration::from_secs(1) * args.kube_api_burst / args.kube_api_qps;
    let rate = RateLimitLayer::new(args.kube_api_burst.into(), window);
    let client = client.with_layer(&Deadlines::default()).with_layer(&Listen::new(watchdog.clone())).with_layer(&rate);
    // Outside of what listens: an answer of which nothing is kept has come all the same.
    let client = client.with_layer(&Sift).build();
    let (health, health_address) = listen("--health-address", args.health_address)?;
    let (metrics, metrics_address) = listen("--metrics-address", args.metrics_address)?;
    let version = env!("CARGO_PKG_VERSION");
    tracing::info!(version, health = %health_address, metrics = %metrics_address, %proxy, "started");

    let system_namespace = args.system_namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let lease = leader_election::Settings {
        namespace: system_namespace.clone(),
        name: args.lease_name,
        instance: instance(),
        timing: Timing::default(),
    };
    let settings = Settings {
        namespaces: args.namespace,
        selector: args.selector,
        controller_class: args.controller_class,
        secret_watch: args.watch_secrets,
        system_namespace,
        ledger_secret: args.ledger_secret,
        limits: Limits { logins_per_day: args.guard.logins_per_day, refused_per_day: args.guard.refused_logins_per_day },
        pace: Pace { rate: args.guard.host_rate, concurrency: args.guard.host_concurrency },
        clock: Clock::system(),
        policy: args.policy.policy(catalogue.words(), args.heartbeat.0),
        catalogue,
        proxy,
        concurrency: args.concurrency.into(),
        instance: instance(),
    };
    let operator = Operator::new(client, settings, watchdog.clone()).map_err(|error| error.to_string())?;
    let readiness = Readiness::default();
    let metrics = Some((metrics, operator.metrics()));
    let server = health::start(Endpoints { health, readiness: readiness.clone(), watchdog: watchdog.clone(), metrics });
    let server = server.map_err(|error| format!("the health server cannot run: {}", error.kind()))?;
    let heartbeat = tokio::spawn(watchdog.heartbeat());
    let candidate = match args.leader_election {
        true => Some(Candidate::new(for_election, lease).map_err(|error| error.to_string())?),
        false => None,
    };
    let result = stand(operator, candidate, readiness).await;
    heartbeat.abort();
    server.stop();
    tracing::info!("stopped");
    result
}

fn listen(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener =
        TcpListener::bind(address).map_err(|error| format!("{flag} {address} cannot be listened on: {}", error.kind()))?;
    let address = listener.local_addr().map_err(|error| error.kind().to_string())?;
    Ok((listener, address))
}

/// Runs the operator until a signal comes, and its election beside it: it stands when it is ready, so that one which cannot work does
/// not keep others from it, and lets go when its last check has ended.
async fn stand(operator: Operator, candidate: Option<Candidate>, readiness: Readiness) -> Result<(), String> {
    let mut signals = Signals::new()?;
    let (stop, drained) = (CancellationToken::new(), CancellationToken::new());
    let leadership = candidate.as_ref().map(Candidate::leadership);
    let elects = candidate.is_some();
    let mut election = tokio::spawn({
        let (readiness, drained) = (readiness.clone(), drained.clone());
        async move {
            let Some(candidate) = candidate else { return };
            tokio::select! {
                () = readiness.reached() => candidate.run(drained.cancelled_owned()).await,
                () = drained.cancelled() => {}
            }
        }
    });
    let result = {
        let running = operator.run(leadership, readiness, stop.clone().cancelled_owned());
        tokio::pin!(running);
        tokio::select! {
            result = &mut running => result.map_err(|error| error.to_string()),
            _ = &mut election, if elects => Err("the leader election ended, which is a defect".to_owned()),
            () = signals.next() => drain(running, &stop, &mut signals).await,
        }
        // What is still running of it is dropped here.
    };
    // Only now may another lead.
    drained.cancel();
    if !election.is_finished() {
        let _ = election.await;
    }
    result
}

async fn drain(
    running: impl Future<Output = Result<(), StartError>>,
    stop: &CancellationToken,
    signals: &mut Signals,
) -> Result<(), String> {
    tracing::info!("stopping; running checks may end");
    stop.cancel();
    tokio::select! {
        result = running => return result.map_err(|error| error.to_string()),
        () = tokio::time::sleep(SHUTDOWN_DEADLINE) => {}
        () = signals.next() => {}
    }
    tracing::warn!("checks were cut short; logins of theirs that are not known to work are held as uncertain");
    Ok(())
}

/// The signals to stop: of Kubernetes, and of a terminal.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let of = |kind| signal(kind).map_err(|error| error.kind().to_string());
        Ok(Self { terminate: of(SignalKind::terminate())?, interrupt: of(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The pod's name, as Kubernetes sets it; events want something there.
fn instance() -> String {
    let pod = std::env::var("HOSTNAME").ok().map(|name| name.to_ascii_lowercase()).filter(|name| api::is_object_name(name));
    pod.unwrap_or_else(|| "ukgpro-operator".to_owned())
}
