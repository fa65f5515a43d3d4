//! The phases of the measurement for one number of connections, in order.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};
use ukgpro_operator::api;

use crate::audit::{Audit, Purpose};
use crate::edits;
use crate::fleet::{self, DEADLINE, Fleet};
use crate::floor::{Floor, Plan};
use crate::process::{Others, Process};
use crate::settings::Settings;
use crate::support::World;
use crate::support::control_plane::ControlPlane;
use crate::support::operator::Operator;
use crate::table::{Goal, Table};

/// Time after the last verdict, or the start of a standby, by which all must be at rest.
const SETTLED: Duration = Duration::from_secs(3);
/// Interval between reads of the Lease. Each costs the API server a read.
const LOOK: Duration = Duration::from_millis(10);
/// Goal for the operator's memory at 10,000 connections, in MiB.
const MEMORY: f64 = 48.0;

/// The fewest connections that show whether checks are spread evenly.
const EVEN: usize = 1_000;

/// The environment for one number of connections.
pub struct Round<'a> {
    pub world: &'a World,
    pub settings: &'a Settings,
    pub size: usize,
    pub table: Table,
    audit: Audit,
    others: Others,
    /// File of the authorities that the operator trusts.
    trusted: String,
}

/// Measures all figures for this number of connections.
pub async fn all(control_plane: &ControlPlane, settings: &Settings, size: usize) -> Table {
    let interval = settings.interval(size);
    let title = format!("{size} connections, {} hosts, interval {interval}", fleet::HOSTS.len());
    println!("{title} ...");
    let world = World::spread("scale", 1).await;
    // Accounts for the edits follow those of the connections.
    fleet::play(&world, size + settings.edits + 1).await;
    let user = format!("system:serviceaccount:{}:ukgpro-operator", world.namespace);
    let log = control_plane.audit_log.clone().expect("a control plane of the bench's own");
    let named = control_plane.pids.iter().map(|(name, pid)| (name.clone(), *pid));
    let named = named.filter(|(name, _)| name != "kube-controller-manager");
    let others = Others::new(named.chain([("simulator".to_owned(), world.simulator.id())]));
    let trusted = trusted(&world);
    let (audit, table) = (Audit::new(log, user), Table::new(title));
    let mut round = Round { world: &world, settings, size, table, audit, others, trusted };

    let status = round.one_status().await;
    let floor = Fleet::create(&world, &world.elsewhere[0], size, interval).await;
    let fleet = Fleet::create(&world, &world.namespace, size, interval).await;
    sleep(SETTLED).await;
    let cold = round.floor(&floor, status).await;
    let operator = round.operator(&fleet, &cold).await;
    round.rest(&operator).await;
    edits::edits(&mut round, &fleet).await;
    let operator = round.restart(operator).await;
    round.take_over(operator).await;
    let table = round.table;
    println!("\n{table}");
    floor.delete().await;
    fleet.delete().await;
    world.finish_without_operator().await;
    table
}

/// Cost from a start to all verdicts.
struct Cold {
    seconds: f64,
    cpu: f64,
    peak: f64,
    requests: usize,
    handshakes: u64,
    others: String,
}

/// Writes this machine's authorities, as a cluster's nodes have them, and the simulator's to a file.
pub fn trusted(world: &World) -> String {
    use base64::prelude::{BASE64_STANDARD, Engine as _};
    let platform = rustls_native_certs::load_native_certs().certs;
    let pem = |der: &[u8]| {
        let text = BASE64_STANDARD.encode(der);
        let lines: Vec<_> = text.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    let mut all: String = platform.iter().map(|certificate| pem(certificate)).collect();
    all += &world.simulator.ca;
    let path = world.directory.path().join("trusted.pem");
    std::fs::write(&path, all).expect("written");
    path.to_str().expect("a path").to_owned()
}

impl Round<'_> {
    /// Starts an operator with leader election, and with rate limits too high to matter.
    fn start(&self) -> Operator {
        let concurrency = self.settings.concurrency.to_string();
        let flags = ["--namespace", &self.world.namespace, "--concurrency", &concurrency];
        let host_limits =
            ["--host-rate", "10000", "--host-concurrency", "1024", "--logins-per-day", "1000000", "--kube-api-qps", "10000"];
        let variables = [("UKGPRO_LOG_LEVEL", "info"), ("UKGPRO_LEADER_ELECTION", "true"), ("SSL_CERT_FILE", &self.trusted)];
        self.world.operator_with(&[flags.as_slice(), &host_limits].concat(), &variables)
    }

    /// Returns the status that an operator writes for an Active connection, for the floor to write the same.
    async fn one_status(&mut self) -> Value {
        let fleet = Fleet::create(self.world, &self.world.namespace, 1, "1h").await;
        let active = fleet.watched().await;
        let operator = self.start();
        timeout(DEADLINE, active).await.expect("in time").expect("a verdict");
        assert!(operator.stop().success());
        let connection = fleet.connections.get("c0").await.expect("it is there");
        fleet.delete().await;
        serde_json::to_value(connection.status).expect("JSON")
    }

    async fn handshakes(&self) -> u64 {
        self.world.simulator.counters().await["connections"].as_u64().expect("a count")
    }

    async fn floor(&mut self, fleet: &Fleet, status: Value) -> Cold {
        let Self { world, settings, .. } = self;
        let (namespace, authority) = (world.elsewhere[0].clone(), world.simulator.ca.clone());
        let plan = Plan { namespace, concurrency: settings.concurrency, port: world.simulator.port, authority, status };
        let active = fleet.watched().await;
        world.simulator.reset().await;
        self.others.since();
        let begun = Instant::now();
        let mut floor = Floor::start(&plan, &world.directory.path().join("plan.json"), &world.kubeconfig);
        let ended = timeout(DEADLINE, active).await.expect("in time").expect("all written");
        floor.done();
        let process = Process(floor.id());
        let (seconds, cpu, peak) = ((ended - begun).as_secs_f64(), process.cpu(), process.peak());
        floor.end();
        let requests = self.audit.since(&plan.namespace);
        for refused in &requests.refused {
            self.table.defect(format!("refused to the floor: {refused}"));
        }
        let (handshakes, others) = (self.handshakes().await, self.others.since());
        Cold { seconds, cpu, peak, requests: requests.of_connections(), handshakes, others }
    }

    /// Measures a first start, compared with the floor's.
    async fn operator(&mut self, fleet: &Fleet, floor: &Cold) -> Operator {
        let active = fleet.watched().await;
        self.world.simulator.reset().await;
        self.others.since();
        self.audit.since(&self.world.namespace);
        let begun = Instant::now();
        let operator = self.start();
        let process = Process(operator.id());
        let ended = timeout(DEADLINE, active).await.expect("in time").expect("all verdicts");
        let (cpu, others) = (process.cpu(), self.others.since());
        let seconds = (ended - begun).as_secs_f64();
        sleep(SETTLED).await;
        let (handshakes, requests) = (self.handshakes().await, self.audit.since(&self.world.namespace));

        let size = self.size as f64;
        let table = &mut self.table;
        table.both("cold: time to all verdicts, s", floor.seconds, seconds, Some(Goal::TimesFloor(1.3)));
        table.both("cold: CPU, s", floor.cpu, cpu, Some(Goal::TimesFloor(1.3)));
        table.both("cold: CPU a connection, ms", 1e3 * floor.cpu / size, 1e3 * cpu / size, None);
        table.both("cold: resident memory at peak, MiB", floor.peak, process.peak(), None);
        table.both("cold: TLS handshakes with UKG Pro", floor.handshakes as f64, handshakes as f64, None);
        let per_connection = |count: usize| count as f64 / size;
        let of_floor = per_connection(floor.requests);
        let of_operator = per_connection(requests.of_connections());
        table.both("cold: API requests a connection", of_floor, of_operator, Some(Goal::AtMost(2.0)));
        table.operator("  get its Secret", per_connection(requests.reads(Purpose::Secret)), None);
        table.operator("  patch its status", per_connection(requests.writes(Purpose::Status)), None);
        table.operator("  post an event", per_connection(requests.writes(Purpose::Event)), None);
        table.operator("cold: group commits of the login ledger, in all", requests.writes(Purpose::Ledger) as f64, None);
        table.operator("cold: lists and watches, in all", requests.reads(Purpose::Watch) as f64, None);
        table.note(format!("CPU of the others during the floor: {}; during the operator: {others}", floor.others));
        table.note(format!("the others at rest: {}", self.others.resident()));
        for refused in requests.refused {
            table.defect(format!("refused: {refused}"));
        }
        operator
    }

    async fn logins(&self) -> (f64, f64, f64) {
        let counters = self.world.simulator.counters().await;
        let times = &counters["loginTimes"];
        let logins = counters["requests"]["LoginService/Authenticate"].as_f64().unwrap_or_default();
        (logins, times["span"].as_f64().expect("a span"), times["busiestSecond"].as_f64().expect("a count"))
    }

    async fn rest(&mut self, operator: &Operator) {
        let process = Process(operator.id());
        // The first check after the cold start falls due within an interval. Two whole intervals contain each check twice.
        let interval = api::duration(self.settings.interval(self.size)).expect("an interval");
        sleep(interval).await;
        self.world.simulator.reset().await;
        self.audit.since(&self.world.namespace);
        let before = process.cpu();
        sleep(2 * interval).await;
        let (cpu, requests) = (process.cpu() - before, self.audit.since(&self.world.namespace));
        let (checks, ..) = self.logins().await;
        let (seconds, writes) = ((2 * interval).as_secs_f64(), requests.writes_but_the_lease());
        let table = &mut self.table;
        table.operator("at rest: resident memory, MiB", process.resident(), Some(Goal::AtMost(MEMORY)));
        table.operator("at rest: seconds looked on", seconds, None);
        table.operator("at rest: writes but the Lease", writes as f64, Some(Goal::AtMost(0.0)));
        table.operator("at rest: renewals of the Lease", requests.writes(Purpose::Lease) as f64, None);
        table.operator("at rest: checks", checks, None);
        table.operator("at rest: API reads a check", requests.of_connections() as f64 / checks.max(1.0), None);
        table.operator("at rest: CPU a second, ms", 1e3 * cpu / seconds, None);
        table.operator("at rest: CPU a check, ms", 1e3 * cpu / checks.max(1.0), None);
        if writes > 0 {
            table.defect(format!("{writes} writes at rest: {requests:?}"));
        }
    }

    /// Measures a restart: the verdicts stay, and checks continue on schedule.
    async fn restart(&mut self, operator: Operator) -> Operator {
        assert!(operator.stop().success());
        self.world.simulator.reset().await;
        self.audit.since(&self.world.namespace);
        let operator = self.start();
        sleep(self.settings.rest).await;
        let ((checks, span, busiest), requests) = (self.logins().await, self.audit.since(&self.world.namespace));
        let process = Process(operator.id());
        let mean = checks / span.max(1.0);
        let table = &mut self.table;
        table.operator("restart: checks a second, mean", mean, None);
        table.operator("restart: checks in the busiest second", busiest, None);
        // With few connections, a difference of one matters too much.
        let goal = (self.size >= EVEN).then_some(Goal::AtMost(2.0));
        table.operator("restart: busiest second against the mean", busiest / mean.max(f64::EPSILON), goal);
        table.operator("restart: resident memory, MiB", process.resident(), Some(Goal::AtMost(MEMORY)));
        table.operator("restart: resident memory at peak, MiB", process.peak(), None);
        let writes = requests.writes(Purpose::Status);
        if writes > 0 {
            table.defect(format!("{writes} statuses written after a restart"));
        }
        operator
    }

    async fn take_over(&mut self, leader: Operator) {
        let standby = self.start();
        sleep(SETTLED).await;
        let memory = Process(standby.id()).resident();
        self.table.operator("standby: resident memory, MiB", memory, None);
        let before = self.holder().await;
        let begun = Instant::now();
        let stopping = tokio::task::spawn_blocking(|| assert!(leader.stop().success()));
        let clean = self.taken_over(&before, begun).await;
        stopping.await.expect("it stops");

        let leader = standby;
        let standby = self.start();
        sleep(SETTLED).await;
        let before = self.holder().await;
        let begun = Instant::now();
        leader.kill();
        let killed = self.taken_over(&before, begun).await;
        self.table.operator("take-over after a clean stop, s", clean, Some(Goal::AtMost(2.0)));
        self.table.operator("take-over after kill -9, s", killed, Some(Goal::AtMost(20.0)));
        assert!(standby.stop().success());
    }

    async fn holder(&self) -> String {
        let lease = Api::<Lease>::namespaced(self.world.admin.clone(), &self.world.namespace);
        let lease = lease.get("ukgpro-operator").await.expect("a Lease");
        lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default()
    }

    async fn taken_over(&self, before: &str, begun: Instant) -> f64 {
        let other = async {
            loop {
                let holder = self.holder().await;
                if !holder.is_empty() && holder != before {
                    return begun.elapsed().as_secs_f64();
                }
                sleep(LOOK).await;
            }
        };
        timeout(DEADLINE, other).await.expect("another leads")
    }
}
