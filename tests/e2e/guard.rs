//! One wrong password costs one login, whatever happens to the operator, the connection and the Secret.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use serde_json::json;
use ukgpro_operator::api::{UkgProConnection, UkgProConnectionStatus};

use crate::states::compare;
use crate::support::world::{CONNECTION, SECRET};
use crate::support::{World, odd};

const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";

/// Changes the password in UKG Pro only, so that the Secret's is wrong.
async fn rotate(world: &World) {
    let mut right = world.account.clone();
    right.password = "rotated".to_owned();
    world.simulator.play(&right).await;
}

/// Makes an edit that triggers a check and changes nothing that a verdict depends on, and waits until the check has ended.
async fn look_again(world: &World, n: usize) {
    world.edit(json!({"spec": {"interval": format!("{}m", 20 + n)}})).await;
    world.wait_for("a look", |_| true).await;
}

#[tokio::test]
async fn an_answer_that_may_be_a_refusal_costs_four_logins_in_a_day_whatever_its_form() {
    let world = World::new("odd").await;
    // 24 hours take 86 s.
    let operator = world.operator_on_fast_clock(1000).await;
    let names = odd::connect(&world, &[]).await;
    let sent = async || world.simulator.counters().await["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0);
    for name in &names {
        let status = world.wait_for_reason_of(name, "LoginPaused").await.status.expect("a status");
        let attempts = status.login_attempts.expect("told");
        assert_eq!((status.state.as_str(), attempts.count), ("Unknown", 4), "{name}");
        let next = status.next_check_time.expect("told").0;
        assert_eq!(next.duration_since(attempts.last_time.0).as_hours(), 24, "{name}");
    }
    assert_eq!(sent().await, 4 * names.len() as u64);
    let mut stored = world.stored("loginpaused").await;
    stored.data["spec"]["subdomain"] = json!("service4");
    compare("LoginPaused", &stored);
    // Neither a restart nor a lost ledger causes another login. Other values are tried at once, and a person's request passes.
    operator.stop().await;
    let secrets = Api::<Secret>::namespaced(world.admin.clone(), &world.namespace);
    for part in secrets.list(&ListParams::default()).await.expect("Secrets") {
        let name = part.metadata.name.expect("a name");
        if name.starts_with("ukgpro-operator-ledger") {
            secrets.delete(&name, &DeleteParams::default()).await.expect("deleted");
        }
    }
    let _operator = world.operator();
    for name in &names {
        let labelled = json!({"spec": {"interval": "2m"}});
        let connections = world.connections();
        connections.patch(name, &PatchParams::default(), &Patch::Merge(&labelled)).await.expect("edited");
    }
    for name in &names {
        world
            .wait_until("a look", async || {
                let found = world.connections().get(name).await.expect("there");
                found.status.expect("a status").observed_generation == found.metadata.generation
            })
            .await;
    }
    assert_eq!(sent().await, 4 * names.len() as u64);
    let asked = json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}});
    world.connections().patch("receiver", &PatchParams::default(), &Patch::Merge(&asked)).await.expect("asked");
    world.wait_until("one more", async || sent().await == 4 * names.len() as u64 + 1).await;
    world.assert_nothing_got_out(&[&world.account]).await;
    world.finish_without_operator().await;
}

fn is_refused(status: &UkgProConnectionStatus) -> bool {
    status.state == "Unauthorized"
}

#[tokio::test]
async fn restarts_and_deletions_cost_no_login() {
    let world = World::new("guard").await;
    rotate(&world).await;
    let mut operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for("a refusal", is_refused).await;
    for n in 0..20 {
        match n % 2 {
            0 => operator.kill(),
            _ => assert!(operator.stop().success()),
        }
        if n % 5 == 0 {
            world.connections().delete(CONNECTION, &DeleteParams::default()).await.expect("deleted");
            world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
        }
        world.edit_secret(json!({"metadata": {"labels": {"touched": n.to_string()}}})).await;
        operator = world.operator();
        look_again(&world, n).await;
        world.wait_for("a refusal", is_refused).await;
    }
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    // The right values are tried at once, and the wrong ones are not forgotten.
    world.edit_secret(json!({"stringData": {"password": "rotated"}})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    world.edit_secret(json!({"stringData": {"password": world.account.password}})).await;
    world.wait_for("a refusal", is_refused).await;
    assert_eq!(world.simulator.logins(&world.account).await, (2, 1));
    world.finish().await;
}

#[tokio::test]
async fn changes_of_leader_cost_no_login() {
    let world = World::new("leaders").await;
    rotate(&world).await;
    let candidate = || world.operator_with(&[], &[("UKGPRO_LEADER_ELECTION", "true")]);
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let mut leader = candidate();
    world.wait_for("a refusal", is_refused).await;
    for n in 0..5 {
        let standby = candidate();
        // The last leader is killed, so its Lease must expire.
        match n {
            4 => leader.kill(),
            _ => assert!(leader.stop().success()),
        }
        leader = standby;
        look_again(&world, n).await;
        world.wait_for("a refusal", is_refused).await;
    }
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    assert!(leader.stop().success());
    world.finish().await;
}

#[tokio::test]
async fn an_operator_that_is_killed_while_it_logs_in_has_tried_once() {
    let world = World::new("killed").await;
    rotate(&world).await;
    let slow = json!([{"operation": "LoginService/Authenticate", "answer": {"delaySeconds": 3}}]);
    world.simulator.faults(slow).await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_counters("the login", |counters| counters["requests"]["LoginService/Authenticate"] == 1).await;
    operator.kill();
    world.simulator.faults(json!([])).await;

    let operator = world.operator();
    let status = world.wait_for_reason("LoginUncertain").await.status.expect("a status");
    assert_eq!((status.state.as_str(), status.next_check_time.is_some()), ("Unknown", true));
    look_again(&world, 1).await;
    operator.kill();
    let _operator = world.operator();
    look_again(&world, 2).await;
    world.wait_for_reason("LoginUncertain").await;
    assert_eq!(world.simulator.logins(&world.account).await.0, 1);
    // A person's request passes. A refusal that was seen is a refusal.
    world.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    assert_eq!(world.simulator.logins(&world.account).await.0, 2);
    world.finish().await;
}

#[tokio::test]
async fn a_request_is_one_try_though_the_operator_is_killed_before_its_receipt() {
    let world = World::new("receipt").await;
    rotate(&world).await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("CredentialsRejected").await;
    // No receipt can be written.
    let rules = world.set_rules(None).await;
    let no_patch = rules.iter().flatten().filter(|rule| !rule.verbs.contains(&"patch".to_owned())).cloned().collect();
    world.set_rules(Some(no_patch)).await;
    world.edit(json!({"metadata": {"annotations": {REQUESTED_AT: "now"}}})).await;
    world.wait_for_counters("the try", |counters| counters["requests"]["LoginService/Authenticate"] == 2).await;
    world.wait_until("a receipt that fails", async || world.operator_log().contains("check not finished")).await;
    operator.kill();
    world.set_rules(rules).await;
    let _operator = world.operator();
    let answered = |status: &UkgProConnectionStatus| status.last_handled_reconcile_at.as_deref() == Some("now");
    world.wait_for("the receipt", answered).await;
    assert_eq!(world.simulator.logins(&world.account).await, (2, 2));
    // The API server refused requests here, as intended.
    world.finish_without_operator().await;
}

#[tokio::test]
async fn copies_in_several_namespaces_cost_one_login_together() {
    let world = World::spread("namespaces", 2).await;
    rotate(&world).await;
    let secret = world.secrets().get(SECRET).await.expect("a Secret").data;
    let mut copies = Vec::new();
    for n in 0..10 {
        let namespace = std::iter::once(&world.namespace).chain(&world.elsewhere).nth(n % 3).expect("three");
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        let name = format!("copy{n}");
        manifest["metadata"] = json!({"name": name, "namespace": namespace, "labels": {"world": world.namespace}});
        copies.push((namespace.clone(), name, manifest));
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": secret});
        let params = PatchParams::apply("tests").force();
        let api = Api::<k8s_openapi::api::core::v1::Secret>::namespaced(world.admin.clone(), namespace);
        api.patch(SECRET, &params, &Patch::Apply(&secret)).await.expect("the Secret is applied");
    }
    let selector = format!("world={}", world.namespace);
    let operator = world.operator_with(&["--selector", &selector], &[]);
    let all_refused = async || {
        for (namespace, name, _) in &copies {
            let api = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
            let status = api.get(name).await.expect("there").status;
            if !status.as_ref().is_some_and(is_refused) {
                return false;
            }
        }
        true
    };
    let apply = async || {
        for (namespace, name, manifest) in &copies {
            let api = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
            api.patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(manifest)).await.expect("applied");
        }
    };
    apply().await;
    world.wait_until("all are told", &all_refused).await;
    // Recreated, and with another operator, they learn of the refusal only from the ledger.
    operator.kill();
    for (namespace, name, _) in &copies {
        let api = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        api.delete(name, &DeleteParams::default()).await.expect("deleted");
    }
    apply().await;
    let _operator = world.operator_with(&["--selector", &selector], &[]);
    world.wait_until("all are told", &all_refused).await;
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    // No operator handles a connection without the label.
    let unlabelled = world.apply(&world.connection(&[])).await.expect("accepted");
    assert_eq!(unlabelled.status.expect("a default").observed_generation, None);
    world.finish().await;
}

/// A day, simulated in half a minute: the operator's own code against the real API server and the simulator.
#[tokio::test]
async fn a_wrong_password_costs_one_login_in_a_day() {
    let world = World::new("day").await;
    rotate(&world).await;
    let mut manifest = world.connection(&["EmployeePersonDetails", "PtoPlanIntegration"]);
    manifest["spec"]["interval"] = json!("10m");
    world.apply(&manifest).await.expect("accepted");
    let operator = world.operator_on_fast_clock(5000).await;
    let refused = world.wait_for("a refusal", is_refused).await;
    let day = Duration::from_secs(86_400);
    world.wait_until("a day has passed", async || operator.clock.uptime() > day).await;
    // Each check reads the Secret, which proves that the clock really drove the operator.
    assert!(world.secrets_read() > 50, "{} looks", world.secrets_read());
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    let after = world.connections().get(CONNECTION).await.expect("there");
    assert_eq!(after.metadata.resource_version, refused.metadata.resource_version, "nothing moved");
    operator.stop().await;
    world.finish().await;
}

/// Two real minutes, at the shortest interval allowed.
#[tokio::test]
async fn a_wrong_password_costs_one_login_in_minutes_of_real_time() {
    let world = World::new("minutes").await;
    rotate(&world).await;
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["interval"] = json!("1m");
    let _operator = world.operator();
    world.apply(&manifest).await.expect("accepted");
    world.wait_for("a refusal", is_refused).await;
    let first = world.secrets_read();
    world.wait_longer("two looks more", async || world.secrets_read() >= first + 2).await;
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    assert_eq!(world.statuses_written(), 1);
    world.finish().await;
}

#[tokio::test]
async fn new_wrong_values_are_tried_so_often_a_day_and_then_on_request() {
    let world = World::new("often").await;
    rotate(&world).await;
    let _operator = world.operator_with(&["--refused-logins-per-day", "2"], &[]);
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for("a refusal", is_refused).await;
    world.edit_secret(json!({"stringData": {"password": "wrong-2"}})).await;
    world.wait_for_counters("another", |counters| counters["requests"]["LoginService/Authenticate"] == 2).await;
    world.edit_secret(json!({"stringData": {"password": "wrong-3"}})).await;
    world.wait_for_reason("LoginLimitReached").await;
    let ask = async |value: &str| {
        world.edit(json!({"metadata": {"annotations": {REQUESTED_AT: value}}})).await;
        let answered = |status: &UkgProConnectionStatus| status.last_handled_reconcile_at.as_deref() == Some(value);
        world.wait_for("the receipt", answered).await.status.expect("a status")
    };
    for value in ["1", "2"] {
        assert_eq!(ask(value).await.state, "Unauthorized");
    }
    // A tool that keeps requesting is stopped too.
    assert_eq!(ask("3").await.state, "Unknown");
    assert_eq!(world.simulator.logins(&world.account).await, (4, 4));
    world.finish().await;
}

const LEDGER: &str = "ukgpro-operator-ledger";

/// Creates a ledger as earlier refusals leave it: this many lines, then `more`, and this metadata.
async fn put_ledger(world: &World, lines: usize, more: &[u8], metadata: serde_json::Value) {
    let now = jiff::Timestamp::now().as_second();
    let mut entries = b"v1\n".to_vec();
    for n in 0..lines {
        // Fingerprints spread over all parts, each 16 bytes in base64 without padding.
        let fingerprint = STANDARD.encode([&[n as u8][..], &[7; 7], &(n as u64).to_be_bytes()].concat());
        let fingerprint = fingerprint.trim_end_matches('=').replace('+', "-").replace('/', "_");
        entries.extend(format!("{fingerprint} BwcHBwcHBwc credentials - 1 {now} {now} - AQEBAQ\n").bytes());
    }
    entries.extend(more);
    let mut secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": LEDGER},
        "data": {"key": STANDARD.encode([9; 32]), "entries": STANDARD.encode(entries)}});
    for (field, value) in metadata.as_object().expect("a map") {
        secret["metadata"][field] = value.clone();
    }
    let params = PatchParams::apply("tests").force();
    world.secrets().patch(LEDGER, &params, &Patch::Apply(&secret)).await.expect("applied");
}

#[tokio::test]
async fn a_ledger_that_grows_is_kept_in_more_secrets_and_what_others_wrote_on_it_stays() {
    let world = World::new("grows").await;
    rotate(&world).await;
    // More than one Secret should hold, and a line that is not text.
    put_ledger(&world, 400, b"\xff\xfe not text\n", json!({"labels": {"team": "platform"}})).await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for("a refusal", is_refused).await;
    let secrets = async || {
        let all = world.secrets().list(&kube::api::ListParams::default()).await.expect("a list").items;
        all.into_iter()
            .filter(|secret| secret.metadata.name.as_deref().is_some_and(|name| name.starts_with(LEDGER)))
            .collect::<Vec<_>>()
    };
    let found = secrets().await;
    assert!(found.len() >= 4, "{} Secrets", found.len());
    let mut lines = std::collections::BTreeSet::new();
    for secret in &found {
        let entries = &secret.data.as_ref().expect("data")["entries"].0;
        assert!(entries.len() <= 11_000, "{}", entries.len());
        lines
            .extend(String::from_utf8_lossy(entries).lines().map(|line| line.split(' ').next().unwrap_or_default().to_owned()));
    }
    // The header, the 400 lines and the new one.
    assert_eq!(lines.len(), 402);
    let first = world.secrets().get(LEDGER).await.expect("there");
    assert_eq!(first.metadata.labels.expect("labels")["team"], "platform");
    assert!(world.operator_log().contains("lines of the login ledger cannot be read"), "{}", world.operator_log());
    // It is known after a restart, in whichever Secret it is kept.
    operator.kill();
    let _operator = world.operator();
    look_again(&world, 1).await;
    world.wait_for("a refusal", is_refused).await;
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    world.finish().await;
}

#[tokio::test]
async fn a_ledger_that_nobody_may_change_is_told_of_and_no_login_is_sent() {
    let world = World::new("immutable").await;
    put_ledger(&world, 1, b"", json!({})).await;
    world.edit_secret_named(LEDGER, json!({"immutable": true})).await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_until("the log", async || world.operator_log().contains("is immutable: delete it")).await;
    assert_eq!(world.simulator.logins(&world.account).await, (0, 0));
    world.secrets().delete(LEDGER, &DeleteParams::default()).await.expect("deleted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}
