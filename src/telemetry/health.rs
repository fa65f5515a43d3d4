//! Serves `/livez` and `/readyz` for the kubelet, and `/metrics` for Prometheus.
//!
//! Alive: nothing that the [`Watchdog`] observes is stuck. Ready: the operator keeps verdicts up to date, or could as a standby.
//! That means: the first list of connections of each watched namespace and the login ledger have been read, the ledger can be
//! written, at most half of the namespaces have mostly overdue connections, and each watch heard from the API server in the last
//! minutes. While the API server is unreachable, no operator becomes ready, and none is restarted.
//!
//! **Contract.** The endpoints run on their own thread with their own runtime. So a busy main runtime does not look dead, and a
//! main runtime that has stopped is detected. A probe of the kubelet waits only for locks that are held for a few instructions.
//! Scrapes are encoded on another thread.
//!
//! **Bounds.** Those of `server`, for each address; one scrape is encoded at a time. No path is served on both addresses: health is
//! for the kubelet, while metrics may be exposed more widely.

use std::io;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::telemetry::metrics::{self, Metrics};
use crate::telemetry::watchdog::Watchdog;

mod server;

use server::{Answer, Limits, answer};

/// Whether the operator is ready. Its tasks set it; the endpoint asks.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<watch::Sender<ReadinessState>>);

/// **Bound.** The namespaces that `--namespace` names.
#[derive(Debug, Default)]
struct ReadinessState {
    /// Whether the operator can work with what could be listed.
    works: bool,
    /// The namespaces whose connections have never been listed.
    unlisted: Vec<String>,
    /// The number of namespaces where most connections are overdue, and of all namespaces.
    overdue: (usize, usize),
    /// How long the login ledger could not be written, if that is long.
    unwritten: Option<Duration>,
}

impl Readiness {
    /// Notes that connections were listed and the login ledger was read: the operator can work, and stand for election.
    pub fn set(&self) {
        self.0.send_modify(|state| state.works = true);
    }

    /// Sets the watched namespaces whose connections were never listed. The operator works in the others all the same.
    pub fn set_unlisted(&self, namespaces: Vec<String>) {
        self.0.send_modify(|state| state.unlisted = namespaces);
    }

    /// Sets the number of namespaces where most connections could not be checked for several intervals, and of all namespaces.
    pub fn overdue(&self, overdue: (usize, usize)) {
        self.0.send_modify(|state| state.overdue = overdue);
    }

    /// Sets how long the login ledger could not be written. Until it can, no login is sent with values that are not known to work.
    pub fn ledger_unwritten(&self, unwritten: Option<Duration>) {
        self.0.send_modify(|state| state.unwritten = unwritten);
    }

    /// Waits until the operator can work.
    pub async fn reached(&self) {
        // `self` holds the sender, so the channel is open.
        let _ = self.0.subscribe().wait_for(|state| state.works).await;
    }

    /// Returns why the operator is not ready.
    fn not_ready_reason(&self) -> Option<String> {
        let state = self.0.borrow();
        let (overdue, all) = state.overdue;
        if let (true, Some(unwritten)) = (state.works, state.unwritten) {
            return Some(format!("the login ledger could not be written for {} s; the log says why", unwritten.as_secs()));
        }
        match (&state.unlisted[..], state.works) {
            // Fewer may be one team's or one host's trouble; most are the operator's own, such as a ledger that cannot be written.
            ([], true) => (overdue * 2 > all).then(|| {
                format!(
                    "in {overdue} of {all} namespaces most connections could not be checked for several intervals; the log says why"
                )
            }),
            ([first, rest @ ..], true) => Some(format!(
                "the connections of namespace {first} cannot be listed{}; give the operator the right to list and watch \
                 ukgproconnections there, or remove the namespace from --namespace",
                if rest.is_empty() { String::new() } else { format!(", nor those of {} more", rest.len()) }
            )),
            (_, false) => Some("the connections or the login ledger have not been read yet; the log says why".to_owned()),
        }
    }
}

/// The addresses, and what they serve.
#[derive(Debug)]
pub struct Endpoints {
    /// The address of `/livez` and `/readyz`.
    pub health: TcpListener,
    /// The state behind `/readyz`.
    pub readiness: Readiness,
    /// The state behind `/livez`.
    pub watchdog: Arc<Watchdog>,
    /// The address of `/metrics`, and the metrics.
    pub metrics: Option<(TcpListener, Arc<Metrics>)>,
}

/// For the kubelet, which sends two probes at a time, and for people.
const HEALTH_LIMITS: Limits = Limits { connections: 32, deadline: Duration::from_secs(10) };
/// For a pair of Prometheus servers and for people. Each response may hold megabytes of text. The deadline is the one of a
/// Prometheus scrape.
const METRICS_LIMITS: Limits = Limits { connections: 8, deadline: Duration::from_secs(10) };

/// A running server. Dropping it stops the server.
#[derive(Debug)]
pub struct Server {
    stop: DropGuard,
    thread: JoinHandle<()>,
}

impl Server {
    /// Closes the addresses, gives responses under way one second at most, and returns when the server has ended.
    pub fn stop(self) {
        drop(self.stop);
        // A thread that panicked has ended as well, and its panic was reported.
        let _ = self.thread.join();
    }
}

/// Starts the server. Returns when its thread has started.
pub fn start(endpoints: Endpoints) -> io::Result<Server> {
    start_within(endpoints, HEALTH_LIMITS, METRICS_LIMITS)
}

fn start_within(endpoints: Endpoints, health_limits: Limits, metrics_limits: Limits) -> io::Result<Server> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let (report, started) = mpsc::channel();
    let serve = move || {
        // The runtime lives and ends on this thread. The caller waits for the report.
        let (runtime, health, metrics) = match prepare(endpoints) {
            Ok(prepared) => prepared,
            Err(error) => return report.send(Err(error)).unwrap_or_default(),
        };
        report.send(Ok(())).unwrap_or_default();
        runtime.block_on(async {
            let metrics = async {
                if let Some(metrics) = metrics {
                    metrics.serve(metrics_limits, stop.clone()).await;
                }
            };
            futures::join!(health.serve(health_limits, stop.clone()), metrics)
        });
        // Does not wait for a scrape that hangs in a lock.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("health".to_owned()).spawn(serve)?;
    // Without a report, the thread has panicked.
    started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(Server { stop: guard, thread })
}

fn prepare(endpoints: Endpoints) -> io::Result<(Runtime, Health, Option<MetricsEndpoint>)> {
    let Endpoints { health, readiness, watchdog, metrics } = endpoints;
    // The one blocking thread encodes scrapes.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let metrics_endpoint =
        |(listener, metrics)| io::Result::Ok(MetricsEndpoint { listener: listen(&runtime, listener)?, metrics });
    let metrics = metrics.map(metrics_endpoint).transpose()?;
    let health = Health { listener: listen(&runtime, health)?, readiness, watchdog };
    Ok((runtime, health, metrics))
}

fn listen(runtime: &Runtime, listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    let _entered = runtime.enter();
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

/// The kubelet's address.
struct Health {
    listener: tokio::net::TcpListener,
    readiness: Readiness,
    watchdog: Arc<Watchdog>,
}

impl Health {
    async fn serve(self, limits: Limits, stop: CancellationToken) {
        let Self { listener, readiness, watchdog } = self;
        let reported = Arc::new(AtomicBool::new(false));
        let answer = move |path: &str, _: &HeaderMap| {
            std::future::ready(match path {
                "/livez" => livez(&watchdog, &reported),
                "/readyz" => readyz(&readiness, &watchdog),
                _ => not_found(),
            })
        };
        server::serve(listener, limits, stop, answer).await;
    }
}

/// Serves `/metrics`.
struct MetricsEndpoint {
    listener: tokio::net::TcpListener,
    metrics: Arc<Metrics>,
}

impl MetricsEndpoint {
    async fn serve(self, limits: Limits, stop: CancellationToken) {
        let Self { listener, metrics } = self;
        let one = Arc::new(Semaphore::new(1));
        let answer = move |path: &str, headers: &HeaderMap| {
            let accept = headers.get(header::ACCEPT).map(|accept| accept.to_str().unwrap_or_default());
            let open_metrics = metrics::text_format::prefers_open_metrics(accept);
            let scrape = (path == "/metrics").then(|| scrape(metrics.clone(), one.clone(), open_metrics));
            async move {
                match scrape {
                    Some(scrape) => scrape.await,
                    None => not_found(),
                }
            }
        };
        server::serve(listener, limits, stop, answer).await;
    }
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Answers `/livez`. The kubelet shows the response to nobody, so each change is also logged once.
fn livez(watchdog: &Watchdog, reported: &AtomicBool) -> Answer {
    match watchdog.check() {
        Ok(()) => {
            if reported.swap(false, Ordering::Relaxed) {
                tracing::info!("alive again");
            }
            answer(StatusCode::OK, TEXT, "ok\n")
        }
        Err(stuck) => {
            if !reported.swap(true, Ordering::Relaxed) {
                tracing::error!(%stuck, "not alive");
            }
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{stuck}\n"))
        }
    }
}

/// Answers `/readyz`.
fn readyz(readiness: &Readiness, watchdog: &Watchdog) -> Answer {
    let reason = readiness.not_ready_reason().or_else(|| watchdog.silent_watch().map(|silent| silent.to_string()));
    match reason {
        None => answer(StatusCode::OK, TEXT, "ok\n"),
        Some(reason) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{reason}\n")),
    }
}

async fn scrape(metrics: Arc<Metrics>, one: Arc<Semaphore>, open_metrics: bool) -> Answer {
    let Ok(turn) = one.acquire_owned().await else { return answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n") };
    // The permit moves to the thread, so a client that hangs up early lets no second scrape begin.
    let encode = move || {
        let _turn = turn;
        match open_metrics {
            true => (metrics::CONTENT_TYPE, metrics.encode()),
            false => (metrics::text_format::CONTENT_TYPE, metrics::text_format::of(&metrics.encode())),
        }
    };
    match tokio::task::spawn_blocking(encode).await {
        Ok((media_type, text)) => {
            let mut found = answer(StatusCode::OK, media_type, text);
            found.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
            found.headers_mut().insert(header::VARY, header::HeaderValue::from_static("accept"));
            found
        }
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the scrape panicked\n"),
    }
}

fn not_found() -> Answer {
    answer(StatusCode::NOT_FOUND, TEXT, "not found\n")
}

#[cfg(test)]
mod tests;
