//! The operator's flags and wiring.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kube::client::ClientBuilder;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tower::limit::RateLimitLayer;
use ukgpro_operator::access::Access;
use ukgpro_operator::api;
use ukgpro_operator::check::{self, Source};
use ukgpro_operator::clock::Clock;
use ukgpro_operator::controller::Policy;
use ukgpro_operator::health::{self, Endpoints, Readiness};
use ukgpro_operator::hosts::Pace;
use ukgpro_operator::leadership::{self, Candidate, Timing};
use ukgpro_operator::ledger::Limits;
use ukgpro_operator::run::{Operator, SecretWatch, Settings, StartError};
use ukgpro_operator::sieve::Sift;
use ukgpro_operator::telemetry::{self, LogFormat};
use ukgpro_operator::ukg::capture::Recorder;
use ukgpro_operator::ukg::catalogue::Catalogue;
use ukgpro_operator::ukg::endpoint::{AllowedDomain, SubdomainForm};
use ukgpro_operator::ukg::transport::ProxySettings;
use ukgpro_operator::ukg::words::Words;
use ukgpro_operator::wait::{self, Awaited};
use ukgpro_operator::watchdog::deadlines::Deadlines;
use ukgpro_operator::watchdog::listen::Listen;
use ukgpro_operator::watchdog::{Bounds, Watchdog};
use ukgpro_operator::wording;

/// Checks, and keeps checking, connections to UKG Pro.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator
    Run(Box<RunArgs>),
    /// Check one connection from manifests, without a cluster
    ///
    /// Exits with 0 if the connection is Active, 1 if it is not, 2 if it cannot be checked.
    Check(CheckArgs),
    /// Wait until a connection works, or until another of its conditions is True
    ///
    /// For init containers and pipelines. Exits with 0 if it is so, and with 1 and the connection's message if the time is over or only a
    /// person can help. Needs the right to list and watch connections.
    Wait(WaitArgs),
    /// Print the CustomResourceDefinition
    Crd,
    /// List the permissions and profiles that connections can ask for
    Catalogue {
        /// Configuration file of the operator, for the permissions it adds
        #[arg(long, env = "UKGPRO_CONFIG")]
        config: Option<PathBuf>,
    },
}

#[derive(Args)]
struct RunArgs {
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
struct GuardArgs {
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

/// What connections may do, and what they may ask for.
#[derive(Args)]
struct PolicyArgs {
    /// Domains that connections may speak to, on port 443; another port as in example.com:8443, every port as in example.com:*
    #[arg(long, env = "UKGPRO_ALLOWED_DOMAINS", value_delimiter = ',', default_value = "ultipro.com,ultipro.ca,ukgpro.com")]
    allowed_domains: Vec<AllowedDomain>,

    /// Subdomains that may come from a Secret, besides UKG's own (service or rental with digits, servicet): what does is shown in the
    /// connection's status. A name such as acme, or its beginning and # where digits follow, such as acme#
    #[arg(long, env = "UKGPRO_SECRET_SUBDOMAINS", value_delimiter = ',')]
    secret_subdomains: Vec<SubdomainForm>,

    /// File of permissions and profiles that are added to the built-in ones, or replace them by name
    #[arg(long, env = "UKGPRO_CONFIG")]
    config: Option<PathBuf>,

    /// Let a host resolve to a loopback, link-local or private address. A proxy (HTTPS_PROXY, NO_PROXY) may always have one, and
    /// resolves the hosts behind it by its own rules
    #[arg(long, env = "UKGPRO_ALLOW_PRIVATE_ADDRESSES")]
    allow_private_addresses: bool,
}

impl PolicyArgs {
    fn catalogue(&self) -> Result<Catalogue, String> {
        catalogue(self.config.as_deref())
    }

    fn policy(self, words: Arc<Words>, heartbeat: Option<Duration>) -> Policy {
        let Self { allowed_domains, secret_subdomains, allow_private_addresses, .. } = self;
        Policy { allowed_domains, secret_subdomains, allow_private_addresses, words, heartbeat }
    }
}

#[derive(Args)]
struct CheckArgs {
    /// Files with the manifests of a UkgProConnection, its Secret and what else it refers to; - is standard input
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,

    /// The connection to check, where the files have several
    #[arg(long)]
    name: Option<String>,

    /// Write what UKG Pro answered, redacted, to this file
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,

    /// The form of the verdict
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Args)]
struct WaitArgs {
    /// The connection
    #[arg(value_parser = object_name)]
    name: String,

    /// Its namespace; without it, that of the ServiceAccount or of the kubeconfig's context
    #[arg(short, long, value_parser = object_name)]
    namespace: Option<String>,

    /// The condition
    #[arg(long = "for", value_enum, default_value = "Ready", ignore_case = true)]
    awaited: Awaited,

    /// How long to wait, such as 30s or 5m
    #[arg(long, default_value = "5m", value_parser = time)]
    timeout: Duration,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// The connection's status, as the operator would write it
    Yaml,
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

fn time(text: &str) -> Result<Duration, String> {
    api::duration(text).ok_or_else(|| "write hours, minutes and seconds, such as 5m or 1h30m".to_owned())
}

/// The name of a Kubernetes object.
fn object_name(text: &str) -> Result<String, String> {
    if api::is_object_name(text) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits, hyphens and dots".to_owned())
    }
}

/// As the CRD has `spec.controllerClass`.
fn class(text: &str) -> Result<String, String> {
    if api::is_class(text) {
        Ok(text.to_owned())
    } else {
        Err("write lower-case letters, digits and hyphens, 63 at the most".to_owned())
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

/// The exit code of a check that was not made; clap's own for flags that cannot be read.
const CANNOT_CHECK: u8 = 2;

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => {
            return match check_once(args) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(message) => {
                    eprintln!("ukgpro-operator: {message}");
                    ExitCode::from(CANNOT_CHECK)
                }
            };
        }
        Command::Wait(args) => wait_for(args),
        Command::Crd => serde_saphyr::to_string(&api::crd()).map_err(|error| error.to_string()).and_then(|yaml| print(&yaml)),
        Command::Catalogue { config } => catalogue(config.as_deref()).and_then(|catalogue| print(&listing(&catalogue))),
        Command::Run(args) => start(*args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ukgpro-operator: {message}");
            ExitCode::FAILURE
        }
    }
}

/// To standard output, which may be closed before all is read.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.kind().to_string())
}

/// The built-in permissions with those of a file.
fn catalogue(config: Option<&Path>) -> Result<Catalogue, String> {
    let Some(path) = config else { return Ok(Catalogue::built_in()) };
    let at = |what: String| format!("--config {}: {what}", path.display());
    let yaml = std::fs::read_to_string(path).map_err(|error| at(wording::file(&error)))?;
    Catalogue::built_in().extended(&yaml).map_err(|error| at(error.to_string()))
}

/// Checks one connection and prints the verdict; gives whether it is Active.
#[tokio::main]
async fn check_once(args: CheckArgs) -> Result<bool, String> {
    let catalogue = args.policy.catalogue()?;
    let policy = args.policy.policy(catalogue.words(), None);
    let proxy = ProxySettings::from_env().map_err(|error| error.to_string())?;
    let sources: Vec<_> =
        args.files.iter().map(|path| Source::read(path)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let gathered = check::gather(&sources, args.name.as_deref()).map_err(|error| error.to_string())?;
    drop(sources);
    // Before the login, so that none is spent for a capture that cannot be kept.
    let file = args.capture.as_deref().map(|path| File::create(path).map_err(|error| at_capture(path, &error))).transpose()?;
    for note in &gathered.notes {
        eprintln!("ukgpro-operator: {note}");
    }
    if let Some(warning) = check::warning(&gathered.connection, &catalogue) {
        eprintln!("ukgpro-operator: {warning}");
    }
    let recorder = file.is_some().then(Arc::<Recorder>::default);
    let checked =
        check::check(gathered, &policy, proxy, &catalogue, recorder.clone()).await.map_err(|error| error.to_string())?;
    for warning in &checked.warnings {
        eprintln!("ukgpro-operator: {warning}");
    }
    print(&match args.output {
        Output::Text => checked.text(),
        Output::Yaml => checked.yaml().map_err(|error| error.to_string())?,
    })?;
    if let (Some(mut file), Some(recorder), Some(path)) = (file, recorder, args.capture) {
        let text = check::capture_file(&recorder.capture()).map_err(|error| error.to_string())?;
        file.write_all(text.as_bytes()).map_err(|error| at_capture(&path, &error))?;
    }
    Ok(checked.is_active())
}

const NO_CLIENT: &str = "the kubeconfig makes no client; try it with kubectl";

async fn kubernetes() -> Result<kube::Config, &'static str> {
    kube::Config::infer().await.map_err(|_| "no kubeconfig and no service account was found; set KUBECONFIG")
}

/// Waits for a connection.
#[tokio::main(flavor = "current_thread")]
async fn wait_for(args: WaitArgs) -> Result<(), String> {
    let client = kube::Client::try_from(kubernetes().await?).map_err(|_| NO_CLIENT)?;
    let namespace = args.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let waited = wait::wait(client, &namespace, &args.name, args.awaited, args.timeout).await;
    waited.map_err(|error| error.to_string())
}

fn at_capture(path: &Path, error: &std::io::Error) -> String {
    format!("--capture {}: {}", path.display(), wording::file(error))
}

fn listing(catalogue: &Catalogue) -> String {
    let mut text = String::from("PERMISSION                       API        TITLE, AND WHAT IT GIVES\n");
    for row in catalogue.rows() {
        let apis = match (&row.soap, &row.rest) {
            (Some(_), Some(_)) => "SOAP,REST",
            (Some(_), None) => "SOAP",
            _ => "REST",
        };
        text += &format!("{:<32} {apis:<10} {}: {}\n", row.name, row.title, row.enables);
    }
    text += "\nNOT TESTED                       SINCE\n";
    for row in catalogue.unprobed() {
        text += &format!("{:<32} {}\n", row.name, row.why);
    }
    text += "\nPROFILE                          PERMISSIONS\n";
    for profile in catalogue.profiles() {
        let members = profile.permissions.iter().map(|member| match member.api {
            Some(api) => format!("{} ({api})", member.name),
            None => member.name.clone(),
        });
        text += &format!("{:<32} {}\n", profile.name, members.collect::<Vec<_>>().join(", "));
    }
    text
}

fn start(args: RunArgs) -> Result<(), String> {
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
    telemetry::start(args.log_format, &args.log_level).map_err(|error| error.to_string())?;
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
    let lease = leadership::Settings {
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
