//! The gauges of the watches, queue, ledger and hosts, read at each scrape.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::GaugeFn;
use crate::telemetry::watchdog::Watchdog;

/// Collects the gauges from the watchdog and the other sources.
pub(super) struct GaugeCollector {
    pub(super) watchdog: Arc<Watchdog>,
    pub(super) ledger_entries: GaugeFn,
    pub(super) ledger_failing_seconds: GaugeFn,
    pub(super) connections_overdue: GaugeFn,
    pub(super) accounts_limited: GaugeFn,
    pub(super) hosts_paused: GaugeFn,
    pub(super) hosts_in_outage: GaugeFn,
}

impl Collector for GaugeCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let now = self.watchdog.now();
        let (waiting, running) = self.watchdog.depth();
        gauge(&mut encoder, "queue_depth", "Checks that wait in the queue.", &waiting)?;
        gauge(&mut encoder, "checks_running", "Checks that are running.", &running)?;
        let longest = self.watchdog.longest_wait(now).unwrap_or_default().as_secs_f64();
        let help = "Longest time that a check in the queue has waited.";
        seconds(&mut encoder, "queue_longest_wait", help, &longest)?;
        gauge(&mut encoder, "ledger_entries", "Entries of the login ledger.", &(self.ledger_entries)())?;
        let help = "How long writes of the login ledger have failed; 0 if they succeed.";
        seconds(&mut encoder, "ledger_write_failing", help, &((self.ledger_failing_seconds)() as f64))?;
        let help = "Connections that could not be checked for several intervals.";
        gauge(&mut encoder, "connections_overdue", help, &(self.connections_overdue)())?;
        let help = "Accounts whose requests their host limits (429, or 403 with Retry-After); their checks wait.";
        gauge(&mut encoder, "accounts_limited", help, &(self.accounts_limited)())?;
        let help = "Hosts that limit requests of accounts of several namespaces; all their checks wait.";
        gauge(&mut encoder, "hosts_paused", help, &(self.hosts_paused)())?;
        gauge(&mut encoder, "hosts_in_outage", "Hosts that are known to be down.", &(self.hosts_in_outage)())?;

        let help = "Time since the API server last sent an answer, an event or a bookmark, by watch and namespace.";
        let unit = Unit::Seconds;
        let mut family = encoder.encode_descriptor("watch_age", help, Some(&unit), MetricType::Gauge)?;
        for (watched, namespace, age) in self.watchdog.silences(now) {
            let (age, watched) = (age.as_secs_f64(), ("watch", watched.as_str()));
            match &namespace {
                None => family.encode_family(&[watched])?.encode_gauge(&age)?,
                // A namespace from --namespace.
                Some(namespace) => family.encode_family(&[watched, ("namespace", namespace)])?.encode_gauge(&age)?,
            }
        }
        Ok(())
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: &impl EncodeGaugeValue) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(value)
}

fn seconds(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: &f64) -> fmt::Result {
    let unit = Unit::Seconds;
    encoder.encode_descriptor(name, help, Some(&unit), MetricType::Gauge)?.encode_gauge(value)
}

impl fmt::Debug for GaugeCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GaugeCollector").finish_non_exhaustive()
    }
}
