//! The series of each connection, from the cache of the watches.
//!
//! `ukgpro_connection_state` is 1 for the current state of a connection. Of the five states, only `Active` also has a series at 0.
//! - All five as 0 and 1, like the phases of kube-state-metrics, would be 50,000 series for 10,000 connections. Most connections
//!   are always Active, and need one series here.
//! - With the current state alone, `avg_over_time(…{state="Active"}[30d])`, the share of a month in which a connection worked,
//!   would always be 1, because the average covers only the times when a series exists.
//!
//! Either way, `== 1` selects the current state.
//!
//! `ukgpro_connection_reason` is 1 for the reason of the condition Ready. It is a metric of its own, because as a label of the
//! state, each change of reason would break the series that alerts and averages use.
//!
//! `namespace` is the connection's. A scrape that itself sets a label of that name, as the Prometheus operator does, needs
//! `honorLabels: true`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::api::{Reason, Verdict};
use crate::cluster::watch::{self, ConnectionRef};

/// The label value without a verdict, and for a status text that is not a known state or reason.
const UNKNOWN: &str = "Unknown";

/// Collects the series from the cache.
pub(super) struct Connections(pub(super) Arc<watch::Connections>);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // One read of the cache, so that both metrics show the same connections.
        let all = self.0.all();
        let help = "1 for the current state of a connection; 0 for Active while the connection is in another state.";
        let mut family = encoder.encode_descriptor("connection_state", help, None, MetricType::Gauge)?;
        for (connection, kept) in &all {
            let state = kept.state.map_or(UNKNOWN, Verdict::as_str);
            let active = Verdict::Active.as_str();
            encode(&mut family, connection, ("state", active), (state == active).into())?;
            if state != active {
                encode(&mut family, connection, ("state", state), 1)?;
            }
        }
        let help = "1 for the current reason of a connection.";
        let mut family = encoder.encode_descriptor("connection_reason", help, None, MetricType::Gauge)?;
        for (connection, kept) in &all {
            encode(&mut family, connection, ("reason", kept.reason.map_or(UNKNOWN, Reason::as_str)), 1)?;
        }
        Ok(())
    }
}

fn encode(family: &mut MetricEncoder<'_>, connection: &ConnectionRef, label: (&str, &str), value: u32) -> fmt::Result {
    let labels = [("namespace", connection.namespace()), ("name", connection.name()), label];
    family.encode_family(&labels)?.encode_gauge(&value)
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
