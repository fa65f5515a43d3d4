//! A scrape of 10,000 connections: time, size and allocations.
//!
//! Run by `make bench-code`. Times depend on this machine. Sizes and allocations are exact, and printed first.

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use kube::runtime::watcher::Event;
use serde_json::json;
use ukgpro_operator::cluster::watch::Connections;
use ukgpro_operator::cluster::watch::connections::WatchEventHandler;
use ukgpro_operator::cluster::watch::listed::RawConnection;
use ukgpro_operator::telemetry::metrics::{Metrics, Sources};
use ukgpro_operator::telemetry::watchdog::{Bounds, Watchdog};

const CONNECTIONS: usize = 10_000;

/// One in ten is not Active.
fn connection(n: usize) -> RawConnection {
    let (state, reason) =
        if n.is_multiple_of(10) { ("Forbidden", "PermissionsMissing") } else { ("Active", "AllPermissionsGranted") };
    let ready = json!({ "type": "Ready", "status": "True", "reason": reason, "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z" });
    let object = json!({
        "apiVersion": "ukgpro.dev/v1alpha1",
        "kind": "UkgProConnection",
        "metadata": { "namespace": format!("team-{:03}", n % 500), "name": format!("integration-{n:05}") },
        "spec": { "secretRef": { "name": "ukg-pro" } },
        "status": { "state": state, "conditions": [ready] },
    });
    serde_json::from_value(object).expect("a connection")
}

fn main() {
    let connections = Arc::<Connections>::default();
    let mut handler = WatchEventHandler::new(connections.clone(), Arc::default(), &[], None);
    (0..CONNECTIONS).for_each(|n| drop(handler.after(0, Event::Apply(connection(n)))));
    let metrics = Metrics::new(Sources {
        connections,
        watchdog: Arc::new(Watchdog::new(Bounds::default())),
        ledger_entries: Box::new(|| 0),
        ledger_failing_seconds: Box::new(|| 0),
        connections_overdue: Box::new(|| 0),
        accounts_limited: Box::new(|| 0),
        hosts_paused: Box::new(|| 0),
        hosts_in_outage: Box::new(|| 0),
    });
    let text = metrics.encode();
    let allocations = allocation_counter::measure(|| drop(black_box(metrics.encode())));
    println!(
        "{CONNECTIONS} connections: {} bytes in {} lines; {} allocations of {} bytes at most at once",
        text.len(),
        text.lines().count(),
        allocations.count_total,
        allocations.bytes_max
    );
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("metrics");
    group.throughput(Throughput::Elements(CONNECTIONS as u64));
    group.bench_function("scrape", |bencher| bencher.iter(|| metrics.encode()));
    group.finish();
    criterion.final_summary();
}
