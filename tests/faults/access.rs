//! Faults of the operator's connections to the API server, and of its rights there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::api::flowcontrol::v1::{FlowSchema, PriorityLevelConfiguration};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::client::ConfigExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use ukgpro_operator::cluster::deadlines::Deadlines;

use crate::crowd::Crowd;
use crate::fleet::{DEADLINE, Fleet, GOOD, LACKING, WRONG};
use crate::support::World;
use crate::support::wire::Wire;
use crate::support::witness::Witness;
use crate::{Given, Recovery};

const LEDGER: &str = "ukgpro-operator-ledger";
const LEASE: &str = "ukgpro-operator";

/// Every open connection of the operator goes dead silently, while new connections get through.
///
/// This is the longest that an edit can go unseen, because nothing fails until the watch has been silent for too long.
pub async fn connections_lost_without_a_reset(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "lost").await;
    let wire = Wire::to(&given.control_plane.config().await).await;
    let operator = world.operator_by(&wire);
    let fleet = Fleet::settled(&world).await;
    wire.cut();
    fleet.touch().await;
    wire.mend();
    let recovered = fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting(format!("a watch may be silent for {} s", Deadlines::default().silence.as_secs()))
}

/// The same for longer than a watch may be silent, so that the operator notices and its retries fail.
pub async fn connection_cut_without_a_reset(given: Given) -> Recovery {
    if given.brief {
        return connection_cut_for_an_operator_in_a_hurry(given).await;
    }
    let world = World::on(given.control_plane, "cut").await;
    let wire = Wire::to(&given.control_plane.config().await).await;
    let operator = world.operator_by(&wire);
    let fleet = Fleet::settled(&world).await;
    wire.cut();
    fleet.touch().await;
    let noticed = || world.operator_log().contains("watch interrupted");
    assert!(!noticed());
    world.wait_longer("the operator to notice", async || noticed()).await;
    wire.mend();
    let recovered = fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("after the operator had noticed")
}

/// The operator's own code, with deadlines of seconds.
async fn connection_cut_for_an_operator_in_a_hurry(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "cut").await;
    let wire = Wire::to(&given.control_plane.config().await).await;
    let second = Duration::from_secs(1);
    let deadlines = Deadlines { answer: 3 * second, watch: 3 * second, silence: 5 * second };
    let operator = world.operator_in_process(&wire, deadlines).await;
    let fleet = Fleet::settled(&world).await;
    wire.cut();
    fleet.touch().await;
    // Both watches were silent too long, and the successor of each got no answer, so there is another.
    world.wait_until("the watches to be made again", async || wire.opened_in_vain() >= 4).await;
    wire.mend();
    let recovered = fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    operator.stop().await;
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("with deadlines of 3 and 5 s")
}

/// No Secret of the namespace can be read, including the ledger, until the rights are restored.
pub async fn rights_on_secrets_taken_away(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "rights").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let rules = world.set_rules(None).await;
    let about_secrets = |resources: &Option<Vec<String>>| resources.iter().flatten().any(|resource| resource == "secrets");
    let fewer = rules.iter().flatten().filter(|rule| !about_secrets(&rule.resources)).cloned().collect();
    world.set_rules(Some(fewer)).await;
    let may_read = async || {
        let mut config = given.control_plane.config().await;
        config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:ukgpro-operator", world.namespace));
        let secrets = Api::<Secret>::namespaced(config.try_into().expect("a client"), &world.namespace);
        secrets.get(GOOD).await.is_ok()
    };
    world.wait_until("the rights to be gone", async || !may_read().await).await;
    fleet.touch().await;
    // Each connection reports why there is no answer.
    for name in [GOOD, WRONG, LACKING] {
        world.wait_for_reason_of(name, "ReferenceForbidden").await;
    }
    world.set_rules(rules).await;
    world.wait_until("the rights to be back", may_read).await;
    // No watch reports a restored right, so the operator retries every minute.
    let recovered = fleet.caught_up(&world).await;
    fleet.verify_refused(&world).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("tried again every minute; told on each connection meanwhile")
}

/// A namespace is deleted while its connections are being checked. Those of another namespace are unaffected.
pub async fn namespace_deleted_with_its_connections(given: Given) -> Recovery {
    let world = World::spread_on(given.control_plane, "namespace", 1).await;
    let size = if given.brief { 100 } else { 500 };
    let selector = format!("world={}", world.namespace);
    let operator = world.operator_with(&["--selector", &selector], &[]);
    let fleet = Fleet::created_with(&world, &[("world", &world.namespace)]).await;
    fleet.settle(&world).await;
    let doomed = &world.elsewhere[0].clone();
    let crowd = Crowd::new(size);
    fleet.play_beside(&world, &crowd.accounts).await;
    let witness = Witness::of(Api::namespaced(world.admin.clone(), doomed));
    crowd.create(&world, doomed, &[("world", &world.namespace)]).await;
    let active = || witness.states().values().filter(|states| states.contains("Active/AllPermissionsGranted")).count();
    world.wait_until("the first verdicts", async || active() > size / 5).await;
    let namespaces = Api::<Namespace>::all(world.admin.clone());
    namespaces.delete(doomed, &DeleteParams::default()).await.expect("deleted");
    let deleted = Instant::now();
    fleet.touch().await;
    let beside = fleet.caught_up(&world).await;
    // The operator has no finalizer, so this is as quick as for any namespace with as many objects.
    world.wait_longer("the end of the namespace", async || matches!(namespaces.get_opt(doomed).await, Ok(None))).await;
    let gone = deleted.elapsed();
    let forgotten = format!("namespace=\"{doomed}\"");
    world.wait_until("the end of its series", async || !world.metrics().await.contains(&forgotten)).await;
    fleet.verify(&world, 0).await;
    for (name, states) in witness.states() {
        // Its Secret or its authorities may be deleted a moment before the connection.
        let right = |state: &String| {
            matches!(state.as_str(), "Unknown/Probing" | "Active/AllPermissionsGranted")
                || state.ends_with("/SecretNotFound")
                || state.ends_with("/CaNotFound")
        };
        assert!(states.iter().all(right), "{name}: {states:?}");
    }
    crowd.verify(&world, 1).await;
    assert!(!world.operator_log().contains("event not posted"), "a namespace that goes is no failure");
    assert!(operator.stop().success());
    world.finish_but_for(std::slice::from_ref(doomed)).await;
    Recovery::within(gone).noting(format!("{size} connections; those beside were seen to in {:.1} s", beside.as_secs_f64()))
}

/// The API server's priority and fairness leaves the operator no seat.
pub async fn api_server_answers_429(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "limited").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let name = &world.namespace;
    let level = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration",
        "metadata": {"name": name}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "lendablePercent": 0,
            "borrowingLimitPercent": 0, "limitResponse": {"type": "Reject"}}}});
    let schema = json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
    "spec": {"matchingPrecedence": 2, "priorityLevelConfiguration": {"name": name}, "rules": [{
        "subjects": [{"kind": "ServiceAccount", "serviceAccount": {"name": "ukgpro-operator", "namespace": world.namespace}}],
        "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": true}],
    }]}});
    let (levels, schemas) =
        (Api::<PriorityLevelConfiguration>::all(world.admin.clone()), Api::<FlowSchema>::all(world.admin.clone()));
    let params = PatchParams::apply("tests").force();
    levels.patch(name, &params, &Patch::Apply(&level)).await.expect("accepted");
    schemas.patch(name, &params, &Patch::Apply(&schema)).await.expect("accepted");
    let occupied = tokio::spawn(occupy(world.kubeconfig.clone(), world.namespace.clone()));
    let refused = || world.audited().iter().filter(|entry| entry["responseStatus"]["code"] == 429).count();
    let begun = Instant::now();
    // Checks pass until the API server has picked up the new level. More edits would themselves be a load.
    let mut pace = tokio::time::interval(Duration::from_secs(1));
    while refused() < 40 {
        assert!(begun.elapsed() < DEADLINE, "the API server refuses nothing; the operator said\n{}", world.operator_log());
        pace.tick().await;
        fleet.touch().await;
    }
    schemas.delete(name, &DeleteParams::default()).await.expect("deleted");
    levels.delete(name, &DeleteParams::default()).await.expect("deleted");
    let lifted = Instant::now();
    occupied.abort();
    fleet.caught_up(&world).await;
    let recovered = lifted.elapsed();
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    let (refused, held_up) = (refused(), world.operator_log().matches("check not finished").count());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting(format!("{refused} requests refused by priority and fairness, {held_up} checks held up"))
}

/// Takes the one seat that a priority level without seats still has, with a request whose body never comes.
async fn occupy(kubeconfig: PathBuf, namespace: String) {
    let text = std::fs::read_to_string(kubeconfig).expect("a kubeconfig");
    let token = serde_json::from_str::<Value>(&text).expect("JSON")["users"][0]["user"]["token"].clone();
    let token = token.as_str().expect("a token");
    let kubeconfig = Kubeconfig::from_yaml(&text).expect("a kubeconfig");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a configuration");
    let (host, port) = (config.cluster_url.host().expect("a host"), config.cluster_url.port_u16().unwrap_or(443));
    let tls = TlsConnector::from(Arc::new(config.rustls_client_config().expect("a configuration of TLS")));
    let head = format!(
        "POST /apis/events.k8s.io/v1/namespaces/{namespace}/events HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\nconnection: close\r\n\r\n"
    );
    loop {
        let stream = TcpStream::connect((host, port)).await.expect("the API server");
        let mut stream = tls.connect(host.to_owned().try_into().expect("a name"), stream).await.expect("TLS");
        stream.write_all(head.as_bytes()).await.expect("sent");
        // The request is refused if another has the seat. The API server ends it after a minute.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// Another client continually writes the connections and the ledger.
pub async fn another_writer_causes_conflicts(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "conflicts").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let goes_on = Arc::new(AtomicBool::new(true));
    let writing = tokio::spawn({
        let (goes_on, connections, secrets) = (goes_on.clone(), world.connections(), world.secrets());
        async move {
            let mut n = 0_u64;
            while goes_on.load(Ordering::SeqCst) {
                n += 1;
                let label = json!({"metadata": {"labels": {"n": n.to_string()}}});
                let params = PatchParams::default();
                for name in [GOOD, WRONG, LACKING] {
                    connections.patch(name, &params, &Patch::Merge(&label)).await.expect("written");
                }
                secrets.patch(LEDGER, &params, &Patch::Merge(&label)).await.expect("written");
            }
            n
        }
    });
    let conflicts = || world.audited().iter().filter(|entry| entry["responseStatus"]["code"] == 409).count();
    let mut longest = Duration::ZERO;
    let begun = Instant::now();
    while conflicts() < 10 {
        assert!(begun.elapsed() < DEADLINE, "{} conflicts", conflicts());
        fleet.touch().await;
        longest = longest.max(fleet.caught_up(&world).await);
    }
    goes_on.store(false, Ordering::SeqCst);
    let writes = 4 * writing.await.expect("no panic");
    fleet.caught_up(&world).await;
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    let conflicts = conflicts();
    world.finish_without_operator().await;
    Recovery::within(longest).noting(format!("longest while it lasted; {conflicts} conflicts with {writes} writes of another"))
}

/// Another client takes the Lease and does nothing with it.
pub async fn lease_stolen(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "thief").await;
    let operator = world.operator_with(&[], &[("UKGPRO_LEADER_ELECTION", "true")]);
    let fleet = Fleet::settled(&world).await;
    let leases = world.api::<Lease>();
    let thief = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 10}});
    leases.patch(LEASE, &PatchParams::default(), &Patch::Merge(&thief)).await.expect("stolen");
    let stolen = Instant::now();
    world.wait_until("the leader to notice", async || world.operator_log().contains("leadership lost")).await;
    let logins = async || world.simulator.counters().await["requests"]["LoginService/Authenticate"].clone();
    let before = logins().await;
    fleet.touch().await;
    let led = || world.operator_log().matches("leadership acquired").count();
    // An edit while nobody leads waits for the next leader.
    let is_led_again = async || {
        let now = logins().await;
        assert!(now == before || led() == 2, "an operator that does not lead has logged in");
        led() == 2
    };
    world.wait_longer("another leader", is_led_again).await;
    fleet.caught_up(&world).await;
    let recovered = stolen.elapsed();
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("since the theft, of a Lease of 10 s")
}
