//! Cold starts of this build and of an earlier one, alternating: only figures of the same run show what a change costs.
//!
//! Each build starts with the CRD that it prints. So what a change of the CRD saves the API server is measured too.

use std::process::Command;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams};
use tokio::time::{Instant, sleep, timeout};

use crate::audit::Audit;
use crate::fleet::{DEADLINE, Fleet};
use crate::phases::trusted;
use crate::process::Process;
use crate::settings::Settings;
use crate::support::World;
use crate::support::control_plane::install_crd_of;
use crate::support::operator::operator;
use crate::support::wire::Wire;

/// Time after which the API server is done with the last creations or deletions.
const SETTLED: Duration = Duration::from_secs(2);
/// Time after the last verdict at which the resident memory is read. What an allocator returns, it has returned by then.
const RESTED: Duration = Duration::from_secs(20);

/// The figures of one cold start, in the order of [`NAMES`].
type Start = [f64; NAMES.len()];

const NAMES: [&str; 7] = [
    "operator: CPU, s",
    "time to all verdicts, s",
    "operator: resident memory at peak, MiB",
    "operator: resident memory 20 s later, MiB",
    "API server: CPU, s",
    "etcd: CPU, s",
    "API requests a connection, without the ledger's",
];

/// Figures of the first start of each build, which goes through a relay and is not timed.
struct Relayed {
    connections: usize,
    bytes: f64,
    object: usize,
}

/// Runs and prints `pairs` cold starts of each build with this many connections, after one of each through a relay.
pub async fn beside(before: &str, settings: &Settings, connections: usize) {
    let world = World::spread("before", 1).await;
    crate::fleet::play(&world, connections).await;
    let trusted = trusted(&world);
    let wire = [Wire::to(&world.control_plane.config().await).await, Wire::to(&world.control_plane.config().await).await];
    let programs = [before.to_owned(), operator()];
    let mut starts: [Vec<Start>; 2] = Default::default();
    let mut relayed = Vec::new();
    for pair in 0..=settings.pairs {
        for at in 0..2 {
            let by = (pair == 0).then_some(&wire[at]);
            let (start, object) = cold(&world, &programs[at], by, &trusted, connections).await;
            match by {
                Some(wire) => {
                    let bytes = wire.received() as f64 / connections as f64;
                    relayed.push(Relayed { connections: wire.most_open(), bytes, object });
                }
                None => starts[at].push(start),
            }
        }
    }
    println!(
        "\n{connections} connections, {} cold starts in turns       before       this   ratio  (medians; all of them below)",
        settings.pairs
    );
    let line = |name: &str, before: f64, this: f64| println!("{name:<50} {before:>9.2} {this:>10.2} {:>7.3}", this / before);
    for (at, name) in NAMES.iter().enumerate() {
        let [before, this] = starts.each_ref().map(|starts| {
            let mut all: Vec<_> = starts.iter().map(|start| start[at]).collect();
            all.sort_by(f64::total_cmp);
            (all[all.len() / 2], all)
        });
        line(name, before.0, this.0);
        println!("  before {:.2?}\n  this   {:.2?}", before.1, this.1);
    }
    let [before, this] = relayed.as_slice() else { unreachable!("two builds") };
    line("most connections to the API server at once", before.connections as f64, this.connections as f64);
    line("bytes from the API server a connection", before.bytes, this.bytes);
    line("bytes of a stored connection, as JSON", before.object as f64, this.object as f64);
    install_crd(&world, &operator()).await;
    world.finish_without_operator().await;
}

/// Installs the CRD that this build prints.
async fn install_crd(world: &World, program: &str) {
    let printed = Command::new(program).arg("crd").output().expect("the build runs");
    assert!(printed.status.success());
    let crd: CustomResourceDefinition =
        serde_saphyr::from_str(&String::from_utf8(printed.stdout).expect("text")).expect("a CRD");
    install_crd_of(world.admin.clone(), &crd).await;
}

/// Starts a build among connections without a status. Returns its figures, and the size of an object.
async fn cold(world: &World, program: &str, by: Option<&Wire>, trusted: &str, connections: usize) -> (Start, usize) {
    install_crd(world, program).await;
    let fleet = Fleet::create(world, &world.namespace, connections, "10m").await;
    let active = fleet.watched().await;
    sleep(SETTLED).await;
    let log = world.control_plane.audit_log.clone().expect("a control plane of the bench's own");
    let user = format!("system:serviceaccount:{}:ukgpro-operator", world.namespace);
    let mut audit = Audit::new(log, user);
    let of = |name: &str| Process(world.control_plane.pids[name]);
    let others = || [of("kube-apiserver").cpu(), of("etcd").cpu()];
    let others_before = others();
    let begun = Instant::now();
    let host_limits =
        ["--host-rate", "10000", "--host-concurrency", "1024", "--logins-per-day", "1000000", "--kube-api-qps", "10000"];
    let flags = [&["--namespace", &world.namespace, "--concurrency", "64"], &host_limits[..]].concat();
    let variables = [("UKGPRO_LOG_LEVEL", "info"), ("SSL_CERT_FILE", trusted)];
    let kubeconfig = by.map_or_else(|| world.kubeconfig.clone(), |wire| wire.kubeconfig(&world.kubeconfig));
    let operator = world.start_operator_as(&kubeconfig, &[program], &flags, &variables);
    let process = Process(operator.id());
    let ended = timeout(DEADLINE, active).await.expect("in time").expect("all verdicts");
    let (cpu, peak, others_after) = (process.cpu(), process.peak(), others());
    sleep(RESTED).await;
    let requests = audit.since(&world.namespace).of_connections() as f64;
    let figures = [
        cpu,
        (ended - begun).as_secs_f64(),
        peak,
        process.resident(),
        others_after[0] - others_before[0],
        others_after[1] - others_before[1],
        requests / connections as f64,
    ];
    let object = serde_json::to_vec(&world.stored("c0").await).expect("JSON").len();
    assert!(operator.stop().success());
    fleet.delete().await;
    // What the ledger knows of the values would save the next start a login.
    for secret in world.secrets().list(&ListParams::default()).await.expect("Secrets") {
        let name = secret.metadata.name.expect("a name");
        if name.contains("-ledger") {
            world.secrets().delete(&name, &DeleteParams::default()).await.expect("deleted");
        }
    }
    (figures, object)
}
