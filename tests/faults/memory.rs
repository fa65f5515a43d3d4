//! One tenant's large objects, and a broken host's large answers, under the memory limit of the chart: in a cgroup of its own, so
//! that excessive use kills the operator as it would kill a Pod. Another tenant's verdict must come meanwhile.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::{Api, Resource};
use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnection;
use ukgpro_operator::api::conditions::{READY, find};

use crate::fleet::data_of;
use crate::support::World;
use crate::support::operator::operator;
use crate::{Given, Recovery};

/// `resources.limits.memory` of the chart.
const LIMIT: u64 = 128 << 20;
/// Bound on memory besides the pages of the program, which are about 16 MiB in a release. Both together must stay within 64 MiB.
const HELD_MAX: u64 = 48 << 20;
const MIB: f64 = (1 << 20) as f64;

/// A cgroup with the limit. Dropping it removes it, after its processes have ended.
struct Group(PathBuf);

impl Group {
    /// Returns `None` if none can be made here: that takes root, and a delegated memory controller.
    fn new() -> Option<Self> {
        let name = format!("ukgpro-faults-{}", std::process::id());
        let (unified, first) = (Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/memory"));
        let (directory, limit) = match unified.join("cgroup.controllers").exists() {
            true => (unified.join(name), "memory.max"),
            false => (first.join(name), "memory.limit_in_bytes"),
        };
        fs::create_dir(&directory).ok()?;
        let group = Self(directory);
        fs::write(group.0.join(limit), LIMIT.to_string()).ok()?;
        Some(group)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Its processes have ended, but the kernel may take a moment to notice.
        for _ in 0..100 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::yield_now();
        }
    }
}

/// Samples the highest memory of a process, besides pages of files.
fn watch_memory(process: u32) -> (Arc<AtomicU64>, tokio::task::JoinHandle<()>) {
    let most = Arc::<AtomicU64>::default();
    let seen = most.clone();
    let watching = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        loop {
            ticks.tick().await;
            let Ok(status) = fs::read_to_string(format!("/proc/{process}/status")) else { return };
            let held =
                status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
            seen.fetch_max(held.unwrap_or(0) << 10, Ordering::Relaxed);
        }
    });
    (most, watching)
}

/// The rows that a connection of [`Input::Answers`] requires, and their reads.
const READS: [(&str, &str); 10] = [
    ("EmployeePerson", "FindPeople"),
    ("EmployeeJob", "FindJobs"),
    ("EmployeeContacts", "FindContacts"),
    ("EmployeeUserDefinedFields", "FindUserDefinedFields"),
    ("EmployeeCompensation", "FindCompensations"),
    ("EmployeeEmploymentInformation", "FindEmploymentInformations"),
    ("EmployeeAddress", "FindAddresses"),
    ("EmployeePhoneInformation", "FindPhoneInformations"),
    ("EmployeeTermination", "FindTerminations"),
    ("EmployeeSsoUser", "FindSsoUsers"),
];

/// The large objects that one tenant creates.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Input {
    Password,
    Bundle,
    Annotations,
    Answers,
}

impl Input {
    /// Returns the expected reasons of the tenant's own connections.
    fn expected(self) -> &'static [&'static str] {
        match self {
            Input::Password => &["SecretValueMalformed"],
            Input::Bundle => &["CaInvalid"],
            Input::Annotations => &["OnlyLoginTested"],
            // The answer is too large, or too many of them came at once.
            Input::Answers => &["AnswerUnreadable", "ServerError"],
        }
    }
}

/// Tests each input in turn. For each, an operator starts with all of its objects present.
pub async fn large_objects_under_the_charts_limit(given: Given) -> Recovery {
    let inputs: &[(Input, usize)] = match given.brief {
        true => &[(Input::Password, 64), (Input::Annotations, 60)],
        false => {
            &[(Input::Password, 64), (Input::Bundle, 64), (Input::Bundle, 200), (Input::Annotations, 220), (Input::Answers, 16)]
        }
    };
    let Some(group) = Group::new() else {
        // Without a cgroup, require an explicit opt-out, so that the test does not seem to pass where it did not run.
        assert!(
            std::env::var_os("WITHOUT_CGROUP").is_some(),
            "no cgroup can be made here: that takes root, or WITHOUT_CGROUP=1"
        );
        return Recovery::within(Duration::ZERO).noting("not run: WITHOUT_CGROUP");
    };
    let (mut longest, mut notes) = (Duration::ZERO, Vec::new());
    for (input, count) in inputs {
        let (waited, held) = under(given, &group, *input, *count).await;
        longest = longest.max(waited);
        notes.push(format!("{count} x {input:?}: {:.0} MiB", held as f64 / MIB));
    }
    Recovery::within(longest).noting(format!("held at most besides the program: {}", notes.join(", ")))
}

async fn under(given: Given, group: &Group, input: Input, count: usize) -> (Duration, u64) {
    let world = World::spread_on(given.control_plane, "memory", 2).await;
    let [greedy, other] = world.elsewhere.as_slice() else { panic!("two namespaces") };
    fill(&world, greedy, input, count).await;
    let procs = group.0.join("cgroup.procs");
    let (operator_path, script) = (operator(), format!("echo $$ > {} && exec \"$0\" \"$@\"", procs.display()));
    let program = ["sh", "-c", &script, &operator_path];
    let selector = format!("world={}", world.namespace);
    // A start with all objects present is the worst case.
    let log = world.directory.path().join("operator.log");
    let start = || {
        let flags = ["--selector", &selector];
        crate::support::operator::Operator::start(&program, &world.kubeconfig, &world.namespace, &log, &flags, &[])
    };
    let mut operator = start();
    let (most, watching) = watch_memory(operator.id());
    let begun = Instant::now();
    create(&world, other, "good", crate::support::world::SECRET, json!({})).await;
    await_verdict(&world, other, "good").await;
    let waited = begun.elapsed();
    // Until each of the others has been checked.
    let looked = async || {
        let all = Api::<UkgProConnection>::namespaced(world.admin.clone(), greedy).list(&ListParams::default()).await;
        all.expect("a list").items.iter().all(|connection| input.expected().contains(&reason(connection).as_str()))
    };
    world.wait_longer("a verdict on each", looked).await;
    assert!(operator.is_running(), "it was ended, most likely for want of memory: {}", tail(&world));
    assert!(operator.stop().success());
    watching.abort();
    let held = most.load(Ordering::Relaxed);
    let bound = if std::env::var_os("MEMORY_UNBOUNDED").is_some() { u64::MAX } else { HELD_MAX };
    assert!(held <= bound, "{input:?}: {:.1} MiB", held as f64 / MIB);
    assert!(waited < Duration::from_secs(30), "another tenant waited {waited:?}");
    world.finish_without_operator().await;
    (waited, held)
}

fn tail(world: &World) -> String {
    let log = world.operator_log();
    log.lines().rev().take(5).collect::<Vec<_>>().join("\n")
}

fn reason(connection: &UkgProConnection) -> String {
    let ready = connection.status.as_ref().and_then(|status| find(&status.conditions, READY));
    ready.map(|ready| ready.reason.clone()).unwrap_or_default()
}

async fn fill(world: &World, namespace: &str, input: Input, count: usize) {
    // Below the size limits of etcd and of an object. A Secret is a third larger in base64.
    let megabyte = "x".repeat(1_000_000);
    let annotation = "y".repeat(250_000);
    match input {
        Input::Password => {
            let mut data = data_of(world);
            data["password"] = json!(megabyte);
            put_secret(world, namespace, "large", data, None).await;
        }
        Input::Bundle => {
            let data = [("ca.crt".to_owned(), format!("{}\n{megabyte}", world.simulator.ca))].into();
            let metadata = ObjectMeta { name: Some("large".to_owned()), ..ObjectMeta::default() };
            put(world, namespace, &ConfigMap { metadata, data: Some(data), ..ConfigMap::default() }).await;
        }
        Input::Answers => {
            let body = format!("<a>{}</a>", "x".repeat(970_000));
            let large = json!({"status": 200, "headers": {"content-type": "application/soap+xml"}, "body": body});
            let faults: Vec<_> =
                READS.iter().map(|(row, read)| json!({"operation": format!("{row}/{read}"), "answer": large})).collect();
            world.simulator.faults(json!(faults)).await;
        }
        Input::Annotations => {}
    }
    put_secret(world, namespace, "small", data_of(world), None).await;
    let all = stream::iter(0..count).map(|n| {
        let annotation = &annotation;
        async move {
            let name = format!("greedy-{n}");
            let mut spec = json!({});
            if input == Input::Bundle {
                spec["caRef"] = json!({"name": "large"});
            }
            if input == Input::Answers {
                spec["permissions"] = READS.iter().map(|(row, _)| json!({"name": row})).collect();
            }
            if input == Input::Annotations {
                // A Secret that no connection refers to, like most Secrets of a cluster.
                put_secret(world, namespace, &format!("unrelated-{n}"), json!({"a": "b"}), Some(annotation)).await;
                spec["annotation"] = json!(annotation);
            }
            let secret = if input == Input::Password { "large" } else { "small" };
            create(world, namespace, &name, secret, spec).await;
        }
    });
    all.buffer_unordered(8).collect::<()>().await;
}

async fn put_secret(world: &World, namespace: &str, name: &str, data: Value, annotation: Option<&str>) {
    let annotations = annotation.map(|text| [("large".to_owned(), text.to_owned())].into());
    let metadata = ObjectMeta { name: Some(name.to_owned()), annotations, ..ObjectMeta::default() };
    let string_data = serde_json::from_value(data).expect("text");
    put(world, namespace, &Secret { metadata, string_data: Some(string_data), ..Secret::default() }).await;
}

async fn put<K>(world: &World, namespace: &str, object: &K)
where
    K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    // An existing object is already as it should be.
    match Api::<K>::namespaced(world.admin.clone(), namespace).create(&PostParams::default(), object).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        result => drop(result.expect("created")),
    }
}

async fn create(world: &World, namespace: &str, name: &str, secret: &str, spec: Value) {
    put_secret(world, namespace, secret, data_of(world), None).await;
    let mut manifest = world.connection(&[]);
    manifest["metadata"] = json!({"name": name, "labels": {"world": world.namespace}});
    manifest["spec"]["secretRef"]["name"] = json!(secret);
    for (field, value) in spec.as_object().into_iter().flatten() {
        match field.as_str() {
            "annotation" => manifest["metadata"]["annotations"] = json!({"large": value}),
            field => manifest["spec"][field] = value.clone(),
        }
    }
    let connection: UkgProConnection = serde_json::from_value(manifest).expect("a connection");
    put(world, namespace, &connection).await;
}

async fn await_verdict(world: &World, namespace: &str, name: &str) {
    let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
    let is_ready = |connection: Option<&UkgProConnection>| connection.is_some_and(|c| reason(c) == "OnlyLoginTested");
    let waiting = kube::runtime::wait::await_condition(connections, name, is_ready);
    let found = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(matches!(found, Ok(Ok(_))), "no verdict: {}", tail(world));
}
