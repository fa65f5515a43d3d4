//! `ukgpro-operator run`: the operator's flags, and how its parts are assembled.

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
use crate::cluster::client::{ApiServerClient, Role};
use crate::cluster::deadlines::Deadlines;
use crate::cluster::leader_election::{self, Candidate, Timing};
use crate::cluster::response_filter::FilterResponses;
use crate::login_guard::Limits;
use crate::operator::{Operator, OperatorError, SecretWatch, Settings};
use crate::schedule::clock::Clock;
use crate::schedule::hosts::HostLimits;
use crate::telemetry::health::{self, Endpoints, Readiness};
use crate::telemetry::logs::{self, LogFormat};
use crate::telemetry::watchdog::watch_traffic::WatchTraffic;
use crate::telemetry::watchdog::{Bounds, Watchdog};

/// The command's flags.
#[derive(Args)]
pub struct RunArgs {
    /// Watch only these namespaces, separated by commas; all if not set
    #[arg(long, env = "UKGPRO_NAMESPACE", value_delimiter = ',', value_parser = object_name)]
    namespace: Vec<String>,

    /// Manage only connections with these labels, such as shard=a; all if not set
    #[arg(long, env = "UKGPRO_SELECTOR")]
    selector: Option<String>,

    /// Manage only connections with this spec.controllerClass; if not set, those without one
    #[arg(long, env = "UKGPRO_CONTROLLER_CLASS", value_parser = class)]
    controller_class: Option<String>,

    /// How changes of Secrets are noticed
    #[arg(long, env = "UKGPRO_WATCH_SECRETS", value_enum, default_value = "all")]
    watch_secrets: SecretWatch,

    /// The operator's own namespace; by default, that of its ServiceAccount or of the kubeconfig's context
    #[arg(long, env = "UKGPRO_SYSTEM_NAMESPACE", value_parser = object_name)]
    system_namespace: Option<String>,

    /// The Secret in the operator's own namespace that stores which logins were refused
    #[arg(long, env = "UKGPRO_LEDGER_SECRET", default_value = "ukgpro-operator-ledger", value_parser = object_name)]
    ledger_secret: String,

    /// Act only while holding a Lease in the operator's own namespace, so that of several replicas only one acts
    #[arg(long, env = "UKGPRO_LEADER_ELECTION", default_value_t = true, action = clap::ArgAction::Set)]
    leader_election: bool,

    /// Name of the Lease; operators with different connections need different Leases and ledgers
    #[arg(long, env = "UKGPRO_LEASE_NAME", default_value = "ukgpro-operator", value_parser = object_name)]
    lease_name: String,

    #[command(flatten)]
    policy: PolicyArgs,

    #[command(flatten)]
    guard: GuardArgs,

    /// How often status.lastCheckedTime is updated while nothing else changes, such as 1h; off means never
    #[arg(long, env = "UKGPRO_HEARTBEAT", default_value = "1h", value_parser = heartbeat)]
    heartbeat: Heartbeat,

    /// Maximum number of concurrent checks
    #[arg(long, env = "UKGPRO_CONCURRENCY", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=1024))]
    concurrency: u16,

    /// Maximum average number of requests per second to the API server; a verdict takes two requests
    #[arg(long, env = "UKGPRO_KUBE_API_QPS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kube_api_qps: u32,

    /// Maximum number of requests in a burst after a pause
    #[arg(long, env = "UKGPRO_KUBE_API_BURST", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    kube_api_burst: u32,

    /// Number of threads for the checks; by default, one per processor, at most four
    #[arg(long, env = "UKGPRO_WORKER_THREADS", value_parser = clap::value_parser!(u16).range(1..=64))]
    worker_threads: Option<u16>,

    /// Address to serve /metrics on
    #[arg(long, env = "UKGPRO_METRICS_ADDRESS", default_value = "0.0.0.0:8080")]
    metrics_address: SocketAddr,

    /// Address to serve /livez and /readyz on
    #[arg(long, env = "UKGPRO_HEALTH_ADDRESS", default_value = "0.0.0.0:8081")]
    health_address: SocketAddr,

    /// Format of log lines
    #[arg(long, env = "UKGPRO_LOG_FORMAT", value_enum, default_value = "text")]
    log_format: LogFormat,

    /// What to log: error, warn, info, debug, or a filter such as info,ukgpro_operator=debug
    #[arg(long, env = "UKGPRO_LOG_LEVEL", default_value = "info")]
    log_level: String,
}

/// Limits that protect accounts and hosts.
#[derive(Args)]
pub struct GuardArgs {
    /// Maximum number of logins of an account per day, including REST reads
    #[arg(long, env = "UKGPRO_LOGINS_PER_DAY", default_value_t = Limits::default().logins_per_day, value_parser = clap::value_parser!(u32).range(1..))]
    logins_per_day: u32,

    /// Number of refused logins of an account within a day after which the operator tries new values on request only; after twice
    /// as many, it tries none
    #[arg(long, env = "UKGPRO_REFUSED_LOGINS_PER_DAY", default_value_t = Limits::default().refused_per_day, value_parser = clap::value_parser!(u32).range(1..))]
    refused_logins_per_day: u32,

    /// Maximum number of checks per second of one host
    #[arg(long, env = "UKGPRO_HOST_RATE", default_value_t = HostLimits::default().rate, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    host_rate: u32,

    /// Maximum number of concurrent checks of one host
    #[arg(long, env = "UKGPRO_HOST_CONCURRENCY", default_value_t = HostLimits::default().concurrency, value_parser = clap::value_parser!(u32).range(1..=1024))]
    host_concurrency: u32,
}

/// The heartbeat; `None` means never.
#[derive(Debug, Clone, Copy)]
struct Heartbeat(Option<Duration>);

fn heartbeat(text: &str) -> Result<Heartbeat, String> {
    match (text, api::duration(text)) {
        ("off", _) => Ok(Heartbeat(None)),
        (_, Some(time)) if time >= Duration::from_secs(60) => Ok(Heartbeat(Some(time))),
        _ => Err("write the word off, or a time of at least 1m, such as 1h".to_owned()),
    }
}

/// How long running checks may continue at shutdown. A check may take up to 5 m, but a pod has less time. With the release of the
/// Lease and the last answers, this stays below the 30 s that Kubernetes gives.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);
/// How long to wait for tasks that cannot be cancelled.
const RUNTIME_SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);
/// The default maximum of threads. A node may have a hundred processors. Each thread has a stack and an allocator arena, and ten
/// thousand connections are little work for one thread.
const THREADS_MAX: usize = 4;
/// The maximum number of concurrent DNS lookups.
const LOOKUPS_MAX: usize = 64;

/// Runs the command.
pub fn run(args: RunArgs) -> Result<(), String> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = args.worker_threads.map_or(processors.min(THREADS_MAX), usize::from);
    let runtime = Builder::new_multi_thread().worker_threads(threads).enable_all().max_blocking_threads(LOOKUPS_MAX).build();
    let runtime = runtime.map_err(|error| format!("the threads cannot be started: {}", error.kind()))?;
    let result = runtime.block_on(operate(args));
    // A running DNS lookup cannot be cancelled.
    runtime.shutdown_timeout(RUNTIME_SHUTDOWN_TIMEOUT);
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
    let client = ClientBuilder::new(ApiServerClient::new(config, Role::Controller).map_err(|_| NO_CLIENT)?, own_namespace);
    // Allows one burst per window, so the average is the QPS. The leader election has its own client and does not wait behind this
    // limit.
    let window = Duration::from_secs(1) * args.kube_api_burst / args.kube_api_qps;
    let rate = RateLimitLayer::new(args.kube_api_burst.into(), window);
    let client = client.with_layer(&Deadlines::default()).with_layer(&WatchTraffic::new(watchdog.clone())).with_layer(&rate);
    // The outermost layer, so that `WatchTraffic` also sees answers of which this filter keeps nothing.
    let client = client.with_layer(&FilterResponses).build();
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
        host_limits: HostLimits { rate: args.guard.host_rate, concurrency: args.guard.host_concurrency },
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
    let server = server.map_err(|error| format!("the health server cannot start: {}", error.kind()))?;
    let heartbeat = tokio::spawn(watchdog.heartbeat());
    let candidate = match args.leader_election {
        true => Some(Candidate::new(for_election, lease).map_err(|error| error.to_string())?),
        false => None,
    };
    let result = run_until_stopped(operator, candidate, readiness).await;
    heartbeat.abort();
    server.stop();
    tracing::info!("stopped");
    result
}

fn listen(flag: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let listener = TcpListener::bind(address).map_err(|error| format!("{flag} {address}: cannot listen: {}", error.kind()))?;
    let address = listener.local_addr().map_err(|error| error.kind().to_string())?;
    Ok((listener, address))
}

/// Runs the operator and its leader election until a signal arrives. It becomes a candidate only when it is ready, so that an
/// operator that cannot work does not block others. It releases the Lease after its last check has ended.
async fn run_until_stopped(operator: Operator, candidate: Option<Candidate>, readiness: Readiness) -> Result<(), String> {
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
        // Whatever is still running is dropped here.
    };
    // Only now may another operator lead.
    drained.cancel();
    if !election.is_finished() {
        let _ = election.await;
    }
    result
}

async fn drain(
    running: impl Future<Output = Result<(), OperatorError>>,
    stop: &CancellationToken,
    signals: &mut Signals,
) -> Result<(), String> {
    tracing::info!("stopping; waiting for running checks");
    stop.cancel();
    tokio::select! {
        result = running => return result.map_err(|error| error.to_string()),
        () = tokio::time::sleep(SHUTDOWN_DEADLINE) => {}
        () = signals.next() => {}
    }
    tracing::warn!("running checks were cut short; their logins that are not known to work are held as uncertain");
    Ok(())
}

/// The stop signals: SIGTERM from Kubernetes, SIGINT from a terminal.
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

/// Returns the pod's name, as Kubernetes sets it, or a default: events require one.
fn instance() -> String {
    let pod = std::env::var("HOSTNAME").ok().map(|name| name.to_ascii_lowercase()).filter(|name| api::is_object_name(name));
    pod.unwrap_or_else(|| "ukgpro-operator".to_owned())
}
