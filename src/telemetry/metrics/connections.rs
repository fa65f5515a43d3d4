//! The series of each connection, from the watch's store.
//!
//! `ukgpro_connection_state` is 1 for the state a connection is in. Of the five states only `Active` is there as 0 as well. All five
//! as 0 and 1, as kube-state-metrics has phases, would be 50,000 series for 10,000 connections, where most are Active for ever and
//! this is one each; only the one that is so would make `avg_over_time(…{state="Active"}[30d])`, how long a connection worked of a
//! month, 1 whatever happened, since the average goes over the times at which a series was there. `== 1` selects the state a
//! connection is in either way.
//!
//! `ukgpro_connection_reason` is 1 for the reason of its condition Ready, by itself: in one metric with the state, each change of
//! reason would break the series that alerts and averages go over.
//!
//! `namespace` is the connection's. A scrape that sets a label of that name itself, as Prometheus' operator does, needs
//! `honorLabels: true`.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::api::{Reason, Verdict};
use crate::cluster::watch::{self, ConnectionRef};

/// What stands where there is no verdict, and for a text of a status that is not of the vocabulary.
const UNKNOWN: &str = "Unknown";

/// Reads the store.
pub(super) struct Connections(pub(super) Arc<watch::Connections>);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // One look at the store, so that both metrics speak of the same connections.
        let all = self.0.all();
        let help = "1 for the state a connection is in; Active is 0 where it is in another.";
        let mut family = encoder.encode_descriptor("connection_state", help, None, MetricType::Gauge)?;
        for (connection, kept) in &all {
            let state = kept.state.map_or(UNKNOWN, Verdict::as_str);
            let active = Verdict::Active.as_str();
            encode(&mut family, connection, ("state", active), (state == active).into())?;
            if state != active {
                encode(&mut family, connection, ("state", state), 1)?;
            }
        }
        let help = "1 for the reason a connection is in its state.";
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
