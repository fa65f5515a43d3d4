//! `/livez` and `/readyz` for the kubelet, `/metrics` for Prometheus.
//!
//! Alive: nothing the [`Watchdog`] keeps is stuck. Ready: the first lists of connections, of each namespace that is named, and the login
//! ledger have been read, and each watch has heard of the API server within the last minutes, so that verdicts are kept up, or could be
//! by a standby. An API server that is away makes no operator ready, and restarts none.
//!
//! **Contract.** They are answered on a thread of its own with a runtime of its own: a main runtime with much to do is not taken for
//! a dead one, and one that does not run any more is found out, since it is not the one that is asked. What answers the kubelet
//! waits for nothing but a lock that is held for some instructions; a scrape is put together on another thread.
//!
//! **Bounds.** Those of `server`, on each address; one scrape is put together at a time. The paths of one address are not found
//! on the other: health is the kubelet's business, metrics may be exposed further.

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

/// Whether the operator is ready, told by the watch and asked by the endpoint.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<watch::Sender<Standing>>);

/// **Bound.** The namespaces that `--namespace` names.
#[derive(Debug, Default)]
struct Standing {
    /// It can do its work, as far as it can be listed.
    works: bool,
    /// The namespaces whose connections have never been listed.
    lacks: Vec<String>,
    /// In so many namespaces of so many, most connections are overdue.
    overdue: (usize, usize),
    /// How long the login ledger cannot be written, where that is long.
    unwritten: Option<Duration>,
}

impl Readiness {
    /// Connections have been listed, and the login ledger has been read: it can work, and stand for election.
    pub fn set(&self) {
        self.0.send_modify(|standing| standing.works = true);
    }

    /// The connections of these namespaces, which it is to look after, have never been listed. The others are looked after all the same.
    pub fn lacks(&self, namespaces: Vec<String>) {
        self.0.send_modify(|standing| standing.lacks = namespaces);
    }

    /// In so many namespaces, of so many, most connections could not be checked for several intervals.
    pub fn overdue(&self, overdue: (usize, usize)) {
        self.0.send_modify(|standing| standing.overdue = overdue);
    }

    /// The login ledger cannot be written for so long: no login is sent with values that are not known to work.
    pub fn ledger_unwritten(&self, unwritten: Option<Duration>) {
        self.0.send_modify(|standing| standing.unwritten = unwritten);
    }

    /// Waits until it can work.
    pub async fn reached(&self) {
        // The sender is here, so the channel is open.
        let _ = self.0.subscribe().wait_for(|standing| standing.works).await;
    }

    /// What it waits for.
    fn lacking(&self) -> Option<String> {
        let standing = self.0.borrow();
        let (overdue, all) = standing.overdue;
        if let (true, Some(unwritten)) = (standing.works, standing.unwritten) {
            return Some(format!("the login ledger could not be written for {} s; the log says why", unwritten.as_secs()));
        }
        match (&standing.lacks[..], standing.works) {
            // Fewer are one team's or one host's; most are the operator's own trouble, such as a ledger that cannot be written.
            ([], true) => (overdue * 2 > all).then(|| {
                format!(
                    "in {overdue} of {all} namespaces most connections could not be checked for several intervals; the log says why"
                )
            }),
            ([first, rest @ ..], true) => Some(format!(
                "the connections of namespace {first} cannot be listed{}; give the operator the right to list and watch \
                 ukgproconnections there, or take it out of --namespace",
                if rest.is_empty() { String::new() } else { format!(", nor those of {} more", rest.len()) }
            )),
            (_, false) => Some("the connections or the login ledger have not been read yet; the log says why".to_owned()),
        }
    }
}

/// What is served, and where.
#[derive(Debug)]
pub struct Endpoints {
    /// The address of `/livez` and `/readyz`.
    pub health: TcpListener,
    /// What `/readyz` says.
    pub readiness: Readiness,
    /// What `/livez` says.
    pub watchdog: Arc<Watchdog>,
    /// The address of `/metrics`, and what it says.
    pub metrics: Option<(TcpListener, Arc<Metrics>)>,
}

/// Of the kubelet: two probes at a time, and room for people.
const HEALTH_LIMITS: Limits = Limits { connections: 32, deadline: Duration::from_secs(10) };
/// A pair of Prometheus servers and room for people, since each may hold a text of megabytes. The deadline is how long
/// Prometheus waits for a scrape.
const METRICS_LIMITS: Limits = Limits { connections: 8, deadline: Duration::from_secs(10) };

/// A running server. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: DropGuard,
    thread: JoinHandle<()>,
}

impl Server {
    /// Closes the addresses, lets answers under way end for a second at most, and returns when all is done.
    pub fn stop(self) {
        drop(self.stop);
        // A thread that panicked has ended as well, and has said so.
        let _ = self.thread.join();
    }
}

/// Begins to serve. Returns when the thread has begun.
pub fn start(endpoints: Endpoints) -> io::Result<Server> {
    start_within(endpoints, HEALTH_LIMITS, METRICS_LIMITS)
}

fn start_within(endpoints: Endpoints, health_limits: Limits, metrics_limits: Limits) -> io::Result<Server> {
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let (report, started) = mpsc::channel();
    let serve = move || {
        // Everything of the runtime begins and ends on this thread. Who asked for it waits for the report.
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
        // Not waiting for a scrape that hangs in a lock.
        runtime.shutdown_background();
    };
    let thread = std::thread::Builder::new().name("health".to_owned()).spawn(serve)?;
    // Only a panic ends it without a word.
    started.recv().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))?;
    Ok(Server { stop: guard, thread })
}

fn prepare(endpoints: Endpoints) -> io::Result<(Runtime, Health, Option<Scraped>)> {
    let Endpoints { health, readiness, watchdog, metrics } = endpoints;
    // The one further thread puts scrapes together.
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let scraped = |(listener, metrics)| io::Result::Ok(Scraped { listener: listen(&runtime, listener)?, metrics });
    let metrics = metrics.map(scraped).transpose()?;
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
        let spoken = Arc::new(AtomicBool::new(false));
        let answer = move |path: &str, _: &HeaderMap| {
            std::future::ready(match path {
                "/livez" => livez(&watchdog, &spoken),
                "/readyz" => readyz(&readiness, &watchdog),
                _ => not_found(),
            })
        };
        server::serve(listener, limits, stop, answer).await;
    }
}

/// Prometheus' address.
struct Scraped {
    listener: tokio::net::TcpListener,
    metrics: Arc<Metrics>,
}

impl Scraped {
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

/// The kubelet tells nobody what it was told, so the log has it too, once.
fn livez(watchdog: &Watchdog, spoken: &AtomicBool) -> Answer {
    match watchdog.check() {
        Ok(()) => {
            if spoken.swap(false, Ordering::Relaxed) {
                tracing::info!("alive again");
            }
            answer(StatusCode::OK, TEXT, "ok\n")
        }
        Err(stuck) => {
            if !spoken.swap(true, Ordering::Relaxed) {
                tracing::error!(%stuck, "not alive");
            }
            answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{stuck}\n"))
        }
    }
}

/// Ready is whose verdicts are kept up: it has read all it looks after, and hears of what changes.
fn readyz(readiness: &Readiness, watchdog: &Watchdog) -> Answer {
    let lacking = readiness.lacking().or_else(|| watchdog.deaf().map(|deaf| deaf.to_string()));
    match lacking {
        None => answer(StatusCode::OK, TEXT, "ok\n"),
        Some(lacking) => answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("{lacking}\n")),
    }
}

async fn scrape(metrics: Arc<Metrics>, one: Arc<Semaphore>, open_metrics: bool) -> Answer {
    let Ok(turn) = one.acquire_owned().await else { return answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "stopping\n") };
    // The turn goes along, so that who hangs up before the end lets nobody else begin.
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
        Err(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, TEXT, "the scrape ended by a panic\n"),
    }
}

fn not_found() -> Answer {
    answer(StatusCode::NOT_FOUND, TEXT, "not found\n")
}

#[cfg(test)]
mod tests;
