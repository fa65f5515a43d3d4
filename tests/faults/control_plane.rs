//! Faults of the control plane.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, CustomResourceExt};
use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnection;

use crate::fleet::{Fleet, GOOD, LACKING, WRONG, connection};
use crate::support::World;
use crate::support::control_plane::{ControlPlane, install_crd};
use crate::{Given, Recovery};

/// Killed until the operator has noticed, then restarted. Edits made meanwhile are seen, although every watch has to start anew.
pub async fn api_server_killed_and_restarted(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "api-server").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let rounds = if given.brief { 1 } else { 3 };
    let mut longest = Duration::ZERO;
    for round in 1..=rounds {
        let noticed = || world.operator_log().matches("watch interrupted").count();
        let before = noticed();
        touch_and_begin(&world, &fleet).await;
        given.control_plane.order("kill kube-apiserver").await;
        world.wait_until("the operator to notice", async || noticed() >= before + 2 * round).await;
        given.control_plane.order("start kube-apiserver").await;
        world.simulator.faults(json!([])).await;
        let back = Instant::now();
        fleet.touch().await;
        fleet.caught_up(&world).await;
        longest = longest.max(back.elapsed());
    }
    fleet.verify(&world, 0).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(longest).noting(format!("longest of {rounds}, with checks under way at each kill"))
}

/// All connections are deleted with it. What is known of refused logins stays.
pub async fn crd_deleted_and_recreated(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "crd").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let crds = Api::<CustomResourceDefinition>::all(world.admin.clone());
    let name = UkgProConnection::crd_name();
    crds.delete(name, &DeleteParams::default()).await.expect("deleted");
    world.wait_until("the end of the CRD", async || matches!(crds.get_opt(name).await, Ok(None))).await;
    world.wait_until("the operator to notice", async || world.operator_log().contains("answered 404")).await;
    install_crd(given.control_plane).await;
    let back = Instant::now();
    for name in [GOOD, WRONG, LACKING] {
        world.apply(&connection(&world, name)).await.expect("accepted");
    }
    fleet.settle(&world).await;
    let recovered = back.elapsed();
    fleet.touch().await;
    fleet.caught_up(&world).await;
    // The working connections were created anew, so they logged in anew.
    fleet.verify(&world, 1).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("re-created connections have their verdicts; the refused one by the ledger")
}

/// The API server runs, and answers nothing that needs its store.
pub async fn etcd_stopped_for_a_minute(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "etcd").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    touch_and_begin(&world, &fleet).await;
    given.control_plane.order("stop etcd").await;
    // The minute is the fault.
    tokio::time::sleep(Duration::from_secs(60)).await;
    let failed = world.operator_log().matches("check not finished").count();
    given.control_plane.order("cont etcd").await;
    let back = Instant::now();
    world.simulator.faults(json!([])).await;
    fleet.caught_up(&world).await;
    let recovered = back.elapsed();
    fleet.touch().await;
    fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting(format!("{failed} checks had not been written meanwhile"))
}

/// The operator is suspended during many changes, etcd compacts them, and the restarted API server does not know them either. A
/// watch from the last version seen gets 410 Gone, and everything has to be listed again.
pub async fn versions_compacted_while_it_stood_still(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "compacted").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let gone = connection(&world, "gone");
    world.apply(&gone).await.expect("accepted");
    world.wait_for_reason_of("gone", "SecretNotFound").await;
    signal(operator.id(), "STOP");
    fleet.touch().await;
    world.connections().delete("gone", &DeleteParams::default()).await.expect("deleted");
    for n in 0..20 {
        let label = json!({"metadata": {"labels": {"n": n.to_string()}}});
        world.connections().patch(LACKING, &PatchParams::default(), &Patch::Merge(&label)).await.expect("edited");
    }
    let revision = compact(given.control_plane).await;
    given.control_plane.order("kill kube-apiserver").await;
    given.control_plane.order("start kube-apiserver").await;
    signal(operator.id(), "CONT");
    let back = Instant::now();
    fleet.caught_up(&world).await;
    let recovered = back.elapsed();
    world.wait_until("a watch that was answered by 410", async || world.operator_log().contains("answered 410")).await;
    // The operator has dropped the connection that was deleted meanwhile.
    fleet.touch().await;
    fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    let metrics = world.metrics().await;
    assert!(metrics.contains("name=\"good\"") && !metrics.contains("name=\"gone\""), "{metrics}");
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting(format!("compacted at revision {revision}; 410, and a relist"))
}

/// etcd is restored to its state of some hundred writes before, with the API server killed. Versions go back, and a watch that
/// continues from the last known one would get no event until they have caught up.
pub async fn etcd_restored_from_a_backup(given: Given) -> Recovery {
    const SEEN_WITHIN: Duration = Duration::from_secs(150);
    let world = World::on(given.control_plane, "restored").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let data = PathBuf::from(flag_of_etcd(given.control_plane, "--data-dir="));
    let backup = tempfile::tempdir().expect("a directory");
    let kept = backup.path().join("data");
    // Like a copy of a disk: the state that a crash would leave.
    given.control_plane.order("stop etcd").await;
    copy(&data, &kept);
    given.control_plane.order("cont etcd").await;

    // A refusal since the backup is neither in the restored ledger nor in any restored status.
    let [username, _, customer_api_key, user_api_key] = world.account.secrets().map(str::to_owned);
    let refused = json!({"username": username, "password": "refused-since", "customerApiKey": customer_api_key,
        "userApiKey": user_api_key});
    let since = async || {
        world.put_secret_named("since", refused.clone()).await;
        world.apply(&connection(&world, "since")).await.expect("accepted");
        world.wait_for_of("since", "a refusal", |status| status.state == "Unauthorized").await;
    };
    since().await;
    for n in 0..300 {
        let label = json!({"metadata": {"labels": {"n": n.to_string()}}});
        world.connections().patch(LACKING, &PatchParams::default(), &Patch::Merge(&label)).await.expect("edited");
    }
    given.control_plane.order("kill kube-apiserver").await;
    given.control_plane.order("kill etcd").await;
    std::fs::remove_dir_all(&data).expect("removed");
    copy(&kept, &data);
    given.control_plane.order("start etcd").await;
    given.control_plane.order("start kube-apiserver").await;

    let back = Instant::now();
    world.wait_until("the API server", async || world.connections().get(LACKING).await.is_ok()).await;
    fleet.touch().await;
    since().await;
    fleet.caught_up(&world).await;
    let recovered = back.elapsed();
    assert!(recovered < SEEN_WITHIN, "{recovered:?}");
    assert!(world.operator_log().contains("resource versions have run backwards"));
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1), "what was refused since the backup is known");
    fleet.touch().await;
    fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("300 writes back; a new connection, an edit and a changed Secret are seen")
}

fn copy(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp runs").success());
}

/// Returns the value of a flag of etcd.
fn flag_of_etcd(control_plane: &ControlPlane, flag: &str) -> String {
    let command = std::fs::read_to_string(format!("/proc/{}/cmdline", control_plane.pids["etcd"])).expect("etcd runs");
    command.split('\0').find_map(|argument| argument.strip_prefix(flag)).expect("it was started so").to_owned()
}

/// Starts checks that have logged in, or are about to, and have written nothing yet.
async fn touch_and_begin(world: &World, fleet: &Fleet) {
    let slow = json!([{"operation": "LoginService/Authenticate", "answer": {"delaySeconds": 1}}]);
    world.simulator.faults(slow).await;
    let logins = |counters: &Value| counters["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0);
    let before = logins(&world.simulator.counters().await);
    fleet.touch().await;
    world.wait_for_counters("a login", |counters| logins(counters) > before).await;
}

pub fn signal(pid: u32, signal: &str) {
    let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

/// Makes etcd compact all versions except the last, and returns its number.
async fn compact(control_plane: &ControlPlane) -> u64 {
    let url = flag_of_etcd(control_plane, "--listen-client-urls=");
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let post = async |path: &str, body: Value| -> Value {
        let answer = http.post(format!("{url}{path}")).body(body.to_string()).send().await.expect("etcd answers");
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        serde_json::from_str(&answer.text().await.expect("a text")).expect("JSON")
    };
    let found = post("/v3/kv/range", json!({"key": "Lw=="})).await;
    let revision = found["header"]["revision"].as_str().expect("a revision").to_owned();
    post("/v3/kv/compaction", json!({"revision": revision, "physical": true})).await;
    revision.parse().expect("a number")
}
