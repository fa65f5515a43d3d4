//! What Prometheus scrapes, in the OpenMetrics text format.
//!
//! **Contract.** Every label has a closed set of values, but for the namespaces and names of connections: no message, no host, no
//! user name, nothing a server or a Secret says. Every series of a closed set is there from the start, at 0, so that the first
//! event is seen by `rate()`.
//!
//! What can be read when it is asked for is read then (`connections`, `levels`): it has no copy that could drift, and the series
//! of a connection that was deleted go with it. What happens is counted by the one who does it, through [`Metrics`].
//!
//! **Cost.** Two series for a connection that is Active and three for one that is not; the rest is some hundred and thirty. A scrape
//! of 10,000 connections is 2 MB of text, in one piece of memory, and 5 ms.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use ukg_pro::login::LoginFailure;
use ukg_pro::transport::{self, Unanswered};

use crate::api::Reason;
use crate::telemetry::watchdog::Watchdog;

mod connections;
mod gauges;
pub mod text_format;
mod vocabulary;

use vocabulary::Closed;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What every name begins with.
const PREFIX: &str = "ukgpro";

/// Bounds of durations of checks, in seconds. Reads of Kubernetes take milliseconds and logins tenths of a second; the later
/// bounds are the timeouts a connection can have: the least, the default, one between, and the longest. What ran into one stands
/// just above it.
const CHECK_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];

/// Bounds of waits for a place, in seconds: unnoticed, noticed, and then against the intervals: beyond the least and the default
/// one the queue does not keep up.
const WAIT_BUCKETS: [f64; 8] = [0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 600.0, 3600.0];

/// A part of a check that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading what the connection refers to.
    Resolve,
    /// The login, without the wait for its turn.
    Login,
    /// One probe.
    Probe,
    /// Writing the verdict.
    Publish,
    /// All of it, from the place in the queue to the verdict.
    Whole,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 5] = [Stage::Resolve, Stage::Login, Stage::Probe, Stage::Publish, Stage::Whole];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Resolve => "resolve",
            Stage::Login => "login",
            Stage::Probe => "probe",
            Stage::Publish => "publish",
            Stage::Whole => "whole",
        }
    }
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginOutcome {
    /// With a session.
    Succeeded,
    /// The credentials were refused.
    Refused,
    /// The answer is neither.
    Undetermined,
    /// No usable answer came.
    Unanswered,
    /// It was not sent, since the same values were refused before.
    Held,
}

impl LoginOutcome {
    /// All of them.
    pub const ALL: [LoginOutcome; 5] = [
        LoginOutcome::Succeeded,
        LoginOutcome::Refused,
        LoginOutcome::Undetermined,
        LoginOutcome::Unanswered,
        LoginOutcome::Held,
    ];

    /// As in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            LoginOutcome::Succeeded => "succeeded",
            LoginOutcome::Refused => "refused",
            LoginOutcome::Undetermined => "undetermined",
            LoginOutcome::Unanswered => "unanswered",
            LoginOutcome::Held => "held",
        }
    }

    /// Of a login that was sent.
    pub fn of<S>(login: &Result<S, LoginFailure>) -> Self {
        match login {
            Ok(_) => LoginOutcome::Succeeded,
            Err(LoginFailure::Refused(_)) => LoginOutcome::Refused,
            Err(LoginFailure::Undetermined(_)) => LoginOutcome::Undetermined,
            Err(LoginFailure::Unanswered(_)) => LoginOutcome::Unanswered,
        }
    }
}

/// A number that is read at each scrape. It must not wait.
pub type Reading = Box<dyn Fn() -> usize + Send + Sync>;

/// What is read at each scrape.
pub struct Sources {
    /// The connections.
    pub connections: Arc<crate::cluster::watch::Connections>,
    /// How the watches and the queue fare.
    pub watchdog: Arc<Watchdog>,
    /// How many entries the login ledger has.
    pub ledger_entries: Reading,
    /// For how many seconds the login ledger could not be written; 0 where it can.
    pub ledger_failing_seconds: Reading,
    /// How many connections were not checked in time.
    pub connections_overdue: Reading,
    /// How many accounts are limited by their hosts (429).
    pub accounts_limited: Reading,
    /// How many hosts limit requests of several, and are paused for all.
    pub hosts_paused: Reading,
    /// How many hosts are known to be down.
    pub hosts_in_outage: Reading,
}

/// The metrics of one operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: Closed<Counter>,
    logins: Closed<Counter>,
    rest_reads: Counter,
    unfiltered_reads: Counter,
    tls_failures: Closed<Counter>,
    stages: Closed<Histogram>,
    waits: Histogram,
    leader: Gauge,
    lease_wait: Gauge,
    /// How long the last text was, to make room for the next at once.
    length: AtomicUsize,
}

impl Metrics {
    /// All metrics, at nothing.
    pub fn new(sources: Sources) -> Self {
        let Sources {
            connections,
            watchdog,
            ledger_entries,
            ledger_failing_seconds,
            connections_overdue,
            accounts_limited,
            hosts_paused,
            hosts_in_outage,
        } = sources;
        let checks = Closed::new("reason", Reason::ALL.iter().map(|reason| reason.as_str()), Counter::default);
        let logins = Closed::new("outcome", LoginOutcome::ALL.map(LoginOutcome::as_str), Counter::default);
        let tls_failures = Closed::new("cause", transport::CAUSES, Counter::default);
        let stages = Closed::new("stage", Stage::ALL.map(Stage::as_str), || Histogram::new(CHECK_BUCKETS));
        let (rest_reads, unfiltered_reads) = (Counter::default(), Counter::default());
        let (waits, leader, lease_wait) = (Histogram::new(WAIT_BUCKETS), Gauge::default(), Gauge::default());

        // The registry ends each help text with a full stop, and adds units and `_total` to names.
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("build", "The operator that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("leader", "1 where this replica checks connections, 0 where it stands by", leader.clone());
        let help = "For how long the Lease of another is left alone after its last change; 0 where there is none";
        registry.register_with_unit("lease_wait", help, Unit::Seconds, lease_wait.clone());
        registry.register("checks", "Checks that ended with a verdict, by its reason", checks.clone());
        let help = "How long checks and their stages took, by stage";
        registry.register_with_unit("check_duration", help, Unit::Seconds, stages.clone());
        let help = "Logins to LoginService by how they ended; those held were not sent";
        registry.register("logins", help, logins.clone());
        let help = "REST reads sent; UKG Pro counts each as a login";
        registry.register("rest_reads", help, rest_reads.clone());
        let help = "Reads that match nobody and were answered with people: UKG Pro does not honour their filter";
        registry.register("unfiltered_reads", help, unfiltered_reads.clone());
        let help = "Requests to UKG Pro that ended in the TLS handshake, by its cause";
        registry.register("tls_failures", help, tls_failures.clone());
        registry.register_with_unit("queue_wait", "How long checks waited for their place", Unit::Seconds, waits.clone());
        registry.register_collector(Box::new(gauges::Levels {
            watchdog,
            ledger_entries,
            ledger_failing_seconds,
            connections_overdue,
            accounts_limited,
            hosts_paused,
            hosts_in_outage,
        }));
        // Last, since there are most of it.
        registry.register_collector(Box::new(connections::Connections(connections)));
        let length = AtomicUsize::default();
        Self { registry, checks, logins, rest_reads, unfiltered_reads, tls_failures, stages, waits, leader, lease_wait, length }
    }

    /// This replica waits for another, for so long after that one has renewed its Lease.
    pub fn stands_by(&self, patience: Option<Duration>) {
        self.lease_wait.set(patience.map_or(0, |patience| i64::try_from(patience.as_secs()).unwrap_or(i64::MAX)));
    }

    /// A check has ended with a verdict; how long it took, from its place in the queue on.
    pub fn checked(&self, reason: Reason, took: Duration) {
        self.checks.of(reason.as_str(), Counter::inc);
        self.took(Stage::Whole, took);
    }

    /// A login has ended, or was held.
    pub fn login(&self, outcome: LoginOutcome) {
        self.logins.of(outcome.as_str(), Counter::inc);
    }

    /// A REST read is sent.
    pub fn rest_read(&self) {
        self.rest_reads.inc();
    }

    /// A request was not answered.
    pub fn unanswered(&self, unanswered: Unanswered) {
        match unanswered {
            Unanswered::TlsUntrusted(flaw) => self.tls_failures.of(flaw.as_str(), Counter::inc),
            Unanswered::TlsFailed(flaw) => self.tls_failures.of(flaw.as_str(), Counter::inc),
            _ => {}
        }
    }

    /// A read that matches nobody was answered with people.
    pub fn unfiltered_read(&self) {
        self.unfiltered_reads.inc();
    }

    /// A check has got its place after so long.
    pub fn waited(&self, wait: Duration) {
        self.waits.observe(wait.as_secs_f64());
    }

    /// Begins to time a stage.
    pub fn stage(&self, stage: Stage) -> Timer<'_> {
        Timer { metrics: self, stage, began: Instant::now() }
    }

    /// A stage has ended.
    pub fn took(&self, stage: Stage, took: Duration) {
        self.stages.of(stage.as_str(), |histogram| histogram.observe(took.as_secs_f64()));
    }

    /// Whether this replica is the one that checks.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// The text of one scrape, of the media type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let room = self.length.load(Ordering::Relaxed);
        let mut text = String::with_capacity(room + room / 16);
        // A String takes what is written to it. Were it otherwise, the mark of the end would be missing and the scrape be refused.
        let _ = text::encode(&mut text, &self.registry);
        self.length.store(text.len(), Ordering::Relaxed);
        text
    }
}

/// Times a stage. One that is dropped, as in a check that is cancelled, has measured nothing.
#[must_use = "a timer that is not stopped measures nothing"]
#[derive(Debug)]
pub struct Timer<'a> {
    metrics: &'a Metrics,
    stage: Stage,
    began: Instant,
}

impl Timer<'_> {
    /// The stage has ended.
    pub fn stop(self) {
        self.metrics.took(self.stage, self.began.elapsed());
    }
}

#[cfg(test)]
pub(crate) mod tests;
