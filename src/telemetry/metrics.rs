//! The metrics that Prometheus scrapes, in the OpenMetrics text format.
//!
//! **Contract.** Every label has a closed set of values, except the namespaces and names of connections: no message, host or user
//! name, and no text from a server or a Secret. Every series of a closed set exists from the start, at 0, so that `rate()` sees the
//! first event.
//!
//! The values in `connections` and `gauges` are read at each scrape. So no copy can drift, and the series of a connection end with
//! it. Events are counted where they happen, through [`Metrics`].
//!
//! **Cost.** Two series for each Active connection, three for each other one, and about 130 more. A scrape of 10,000 connections is
//! 2 MB of text, in one allocation, and takes 5 ms.

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

use vocabulary::StaticFamily;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The prefix of every name.
const PREFIX: &str = "ukgpro";

/// Buckets for durations of checks, in seconds. Kubernetes reads take milliseconds, and logins tenths of a second. The last buckets
/// are values of `spec.timeout`: the least, the default, one between, and the longest. What hit a timeout is just above its bucket.
const CHECK_BUCKETS: [f64; 12] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0];

/// Buckets for waits in the queue, in seconds: unnoticed, noticed, and then intervals. Beyond the least and the default interval,
/// the queue does not keep up.
const WAIT_BUCKETS: [f64; 8] = [0.01, 0.1, 1.0, 10.0, 60.0, 300.0, 600.0, 3600.0];

/// A part of a check that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Reading what the connection refers to.
    Resolve,
    /// The login, without the wait for its slot.
    Login,
    /// One probe.
    Probe,
    /// Writing the verdict.
    Publish,
    /// The whole check, from when it leaves the queue to the verdict.
    Whole,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 5] = [Stage::Resolve, Stage::Login, Stage::Probe, Stage::Publish, Stage::Whole];

    /// Returns the label value.
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
    /// The response is neither.
    Undetermined,
    /// No usable response came.
    Unanswered,
    /// It was not sent, because the same values were refused before.
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

    /// Returns the label value.
    pub fn as_str(self) -> &'static str {
        match self {
            LoginOutcome::Succeeded => "succeeded",
            LoginOutcome::Refused => "refused",
            LoginOutcome::Undetermined => "undetermined",
            LoginOutcome::Unanswered => "unanswered",
            LoginOutcome::Held => "held",
        }
    }

    /// Returns the outcome of a login that was sent.
    pub fn of<S>(login: &Result<S, LoginFailure>) -> Self {
        match login {
            Ok(_) => LoginOutcome::Succeeded,
            Err(LoginFailure::Refused(_)) => LoginOutcome::Refused,
            Err(LoginFailure::Undetermined(_)) => LoginOutcome::Undetermined,
            Err(LoginFailure::Unanswered(_)) => LoginOutcome::Unanswered,
        }
    }
}

/// Reads a number at each scrape. It must not wait.
pub type GaugeFn = Box<dyn Fn() -> usize + Send + Sync>;

/// The sources that are read at each scrape.
pub struct Sources {
    /// The connections.
    pub connections: Arc<crate::cluster::watch::Connections>,
    /// The state of the watches and the queue.
    pub watchdog: Arc<Watchdog>,
    /// How many entries the login ledger has.
    pub ledger_entries: GaugeFn,
    /// How long the login ledger could not be written, in seconds; 0 if it can.
    pub ledger_failing_seconds: GaugeFn,
    /// How many connections were not checked in time.
    pub connections_overdue: GaugeFn,
    /// How many accounts are rate-limited by their hosts (429).
    pub accounts_limited: GaugeFn,
    /// How many hosts limit accounts of several namespaces, and are paused for all.
    pub hosts_paused: GaugeFn,
    /// How many hosts are known to be down.
    pub hosts_in_outage: GaugeFn,
}

/// The metrics of one operator.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    checks: StaticFamily<Counter>,
    logins: StaticFamily<Counter>,
    rest_reads: Counter,
    unfiltered_reads: Counter,
    tls_failures: StaticFamily<Counter>,
    stages: StaticFamily<Histogram>,
    waits: Histogram,
    leader: Gauge,
    lease_wait: Gauge,
    /// The length of the last text, used as the capacity for the next one.
    length: AtomicUsize,
}

impl Metrics {
    /// Registers all metrics, at zero.
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
        let checks = StaticFamily::new("reason", Reason::ALL.iter().map(|reason| reason.as_str()), Counter::default);
        let logins = StaticFamily::new("outcome", LoginOutcome::ALL.map(LoginOutcome::as_str), Counter::default);
        let tls_failures = StaticFamily::new("cause", transport::CAUSES, Counter::default);
        let stages = StaticFamily::new("stage", Stage::ALL.map(Stage::as_str), || Histogram::new(CHECK_BUCKETS));
        let (rest_reads, unfiltered_reads) = (Counter::default(), Counter::default());
        let (waits, leader, lease_wait) = (Histogram::new(WAIT_BUCKETS), Gauge::default(), Gauge::default());

        // The registry adds a full stop to each help text, and units and `_total` to names.
        let mut registry = Registry::with_prefix(PREFIX);
        registry.register("build", "Version of the operator", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        registry.register("leader", "1 if this replica checks connections, 0 if it stands by", leader.clone());
        let help = "How long this standby waits after the last change of the leader's Lease; 0 if it waits for no leader";
        registry.register_with_unit("lease_wait", help, Unit::Seconds, lease_wait.clone());
        registry.register("checks", "Checks that ended with a verdict, by its reason", checks.clone());
        let help = "Duration of checks and of their stages, by stage";
        registry.register_with_unit("check_duration", help, Unit::Seconds, stages.clone());
        let help = "Logins by outcome; held logins were not sent";
        registry.register("logins", help, logins.clone());
        let help = "REST reads sent; UKG Pro counts each as a login";
        registry.register("rest_reads", help, rest_reads.clone());
        let help = "Reads that match nobody but were answered with people, because UKG Pro ignored the filter";
        registry.register("unfiltered_reads", help, unfiltered_reads.clone());
        let help = "Requests to UKG Pro that failed in the TLS handshake, by cause";
        registry.register("tls_failures", help, tls_failures.clone());
        registry.register_with_unit("queue_wait", "How long checks waited in the queue", Unit::Seconds, waits.clone());
        registry.register_collector(Box::new(gauges::GaugeCollector {
            watchdog,
            ledger_entries,
            ledger_failing_seconds,
            connections_overdue,
            accounts_limited,
            hosts_paused,
            hosts_in_outage,
        }));
        // Last, because it has the most series.
        registry.register_collector(Box::new(connections::Connections(connections)));
        let length = AtomicUsize::default();
        Self { registry, checks, logins, rest_reads, unfiltered_reads, tls_failures, stages, waits, leader, lease_wait, length }
    }

    /// Sets how long this standby leaves another's Lease alone after a renewal; `None` if it does not wait for another.
    pub fn set_lease_wait(&self, delay: Option<Duration>) {
        self.lease_wait.set(delay.map_or(0, |delay| i64::try_from(delay.as_secs()).unwrap_or(i64::MAX)));
    }

    /// Counts a check that ended with a verdict, and its duration since it left the queue.
    pub fn checked(&self, reason: Reason, took: Duration) {
        self.checks.of(reason.as_str(), Counter::inc);
        self.took(Stage::Whole, took);
    }

    /// Counts a login that has ended or was held.
    pub fn login(&self, outcome: LoginOutcome) {
        self.logins.of(outcome.as_str(), Counter::inc);
    }

    /// Counts a REST read that is sent.
    pub fn rest_read(&self) {
        self.rest_reads.inc();
    }

    /// Counts a failed request if it failed in the TLS handshake.
    pub fn unanswered(&self, unanswered: Unanswered) {
        match unanswered {
            Unanswered::TlsUntrusted(flaw) => self.tls_failures.of(flaw.as_str(), Counter::inc),
            Unanswered::TlsFailed(flaw) => self.tls_failures.of(flaw.as_str(), Counter::inc),
            _ => {}
        }
    }

    /// Counts a read that should match nobody but was answered with people.
    pub fn unfiltered_read(&self) {
        self.unfiltered_reads.inc();
    }

    /// Records how long a check waited in the queue.
    pub fn waited(&self, wait: Duration) {
        self.waits.observe(wait.as_secs_f64());
    }

    /// Starts the timer of a stage.
    pub fn stage(&self, stage: Stage) -> Timer<'_> {
        Timer { metrics: self, stage, began: Instant::now() }
    }

    /// Records the duration of a stage.
    pub fn took(&self, stage: Stage, took: Duration) {
        self.stages.of(stage.as_str(), |histogram| histogram.observe(took.as_secs_f64()));
    }

    /// Sets whether this replica is the one that checks.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Returns the text of one scrape, of the media type [`CONTENT_TYPE`].
    pub fn encode(&self) -> String {
        let room = self.length.load(Ordering::Relaxed);
        let mut text = String::with_capacity(room + room / 16);
        // Writing to a String cannot fail. If it did, the end mark would be missing, and Prometheus would reject the scrape.
        let _ = text::encode(&mut text, &self.registry);
        self.length.store(text.len(), Ordering::Relaxed);
        text
    }
}

/// The timer of a stage. If it is dropped, as in a cancelled check, it records nothing.
#[must_use = "a timer that is not stopped measures nothing"]
#[derive(Debug)]
pub struct Timer<'a> {
    metrics: &'a Metrics,
    stage: Stage,
    began: Instant,
}

impl Timer<'_> {
    /// Records the duration of the stage.
    pub fn stop(self) {
        self.metrics.took(self.stage, self.began.elapsed());
    }
}

#[cfg(test)]
pub(crate) mod tests;
