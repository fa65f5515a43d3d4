//! Cold starts of this build and of an earlier one, alternating: only figures of the same run show what a change costs.

use std::time::Duration;

use kube::api::{DeleteParams, ListParams};
use tokio::time::{Instant, sleep, timeout};

use crate::fleet::{DEADLINE, Fleet};
use crate::phases::trusted;
use crate::process::Process;
use crate::support::World;

/// Time after which the API server is done with the last creations or deletions.
const SETTLED: Duration = Duration::from_secs(2);

/// Cost of one cold start.
#[derive(Clone, Copy)]
struct Start {
    cpu: f64,
    seconds: f64,
    peak: f64,
}

/// Runs and prints `pairs` cold starts of each build with this many connections. The first pair is not counted.
pub async fn beside(before: &str, pairs: usize, connections: usize) {
    let world = World::spread("before", 1).await;
    crate::fleet::play(&world, connections).await;
    let trusted = trusted(&world);
    let mut starts: [Vec<Start>; 2] = Default::default();
    for pair in 0..=pairs {
        for (of, program) in starts.iter_mut().zip([&[before][..], &[]]) {
            let start = cold(&world, program, &trusted, connections).await;
            if pair > 0 {
                of.push(start);
            }
        }
    }
    println!(
        "\n{connections} connections, {pairs} cold starts in turns       before       this   ratio  (medians; all of them below)"
    );
    let line = |name: &str, value: fn(&Start) -> f64| {
        let [before, this] = starts.each_ref().map(|starts| {
            let mut all: Vec<_> = starts.iter().map(value).collect();
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2], all)
        });
        println!("{name:<50} {:>9.2} {:>10.2} {:>7.3}", before.0, this.0, this.0 / before.0);
        println!("  before {:.2?}\n  this   {:.2?}", before.1, this.1);
    };
    line("CPU, s", |start| start.cpu);
    line("time to all verdicts, s", |start| start.seconds);
    line("resident memory at peak, MiB", |start| start.peak);
    world.finish_without_operator().await;
}

async fn cold(world: &World, program: &[&str], trusted: &str, connections: usize) -> Start {
    let fleet = Fleet::create(world, &world.namespace, connections, "10m").await;
    let active = fleet.watched().await;
    sleep(SETTLED).await;
    let begun = Instant::now();
    let host_limits =
        ["--host-rate", "10000", "--host-concurrency", "1024", "--logins-per-day", "1000000", "--kube-api-qps", "10000"];
    let flags = [&["--namespace", &world.namespace, "--concurrency", "64"], &host_limits[..]].concat();
    let operator = world.start_operator(program, &flags, &[("UKGPRO_LOG_LEVEL", "info"), ("SSL_CERT_FILE", trusted)]);
    let process = Process(operator.id());
    let ended = timeout(DEADLINE, active).await.expect("in time").expect("all verdicts");
    let start = Start { cpu: process.cpu(), seconds: (ended - begun).as_secs_f64(), peak: process.peak() };
    assert!(operator.stop().success());
    fleet.delete().await;
    // What the ledger knows of the values would save the next start a login.
    for secret in world.secrets().list(&ListParams::default()).await.expect("Secrets") {
        let name = secret.metadata.name.expect("a name");
        if name.contains("-ledger") {
            world.secrets().delete(&name, &DeleteParams::default()).await.expect("deleted");
        }
    }
    start
}
