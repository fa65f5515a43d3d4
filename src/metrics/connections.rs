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

use kube::runtime::reflector::Store;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use crate::api::{Reason, UkgProConnection, Verdict};
use crate::conditions::{self, READY};

/// What stands where there is no verdict, and for a text of a status that is not of the vocabulary.
const UNKNOWN: &str = "Unknown";

/// Reads the store.
pub(super) struct Connections(pub(super) Store<UkgProConnection>);

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        // One look at the store, so that both metrics speak of the same connections.
        let all = self.0.state();
        let help = "1 for the state a connection is in; Active is 0 where it is in another.";
        let mut family = encoder.encode_descriptor("connection_state", help, None, MetricType::Gauge)?;
        for connection in &all {
            let state = state(connection);
            let active = Verdict::Active.as_str();
            encode(&mut family, connection, ("state", active), (state == active).into())?;
            if state != active {
                encode(&mut family, connection, ("state", state), 1)?;
            }
        }
        let help = "1 for the reason a connection is in its state.";
        let mut family = encoder.encode_descriptor("connection_reason", help, None, MetricType::Gauge)?;
        for connection in &all {
            encode(&mut family, connection, ("reason", reason(connection)), 1)?;
        }
        Ok(())
    }
}

fn encode(family: &mut MetricEncoder<'_>, connection: &UkgProConnection, label: (&str, &str), value: u32) -> fmt::Result {
    let metadata = &connection.metadata;
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let name = metadata.name.as_deref().unwrap_or_default();
    family.encode_family(&[("namespace", namespace), ("name", name), label])?.encode_gauge(&value)
}

fn state(connection: &UkgProConnection) -> &'static str {
    let state = connection.status.as_ref().map_or(UNKNOWN, |status| &status.state);
    Verdict::ALL.into_iter().map(Verdict::as_str).find(|known| *known == state).unwrap_or(UNKNOWN)
}

fn reason(connection: &UkgProConnection) -> &'static str {
    let ready = connection.status.as_ref().and_then(|status| conditions::find(&status.conditions, READY));
    let reason = ready.map_or(UNKNOWN, |condition| &condition.reason);
    Reason::ALL.iter().map(|known| known.as_str()).find(|known| *known == reason).unwrap_or(UNKNOWN)
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
