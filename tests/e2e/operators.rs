//! Operators that restart, run as a pair, or have only the rights they need.

use kube::api::DeleteParams;
use serde_json::json;
use ukgpro_operator::api::{PermissionState, UkgProConnection, UkgProConnectionStatus};

use crate::support::World;
use crate::support::world::{CONNECTION, SECRET};

fn version(connection: &UkgProConnection) -> Option<String> {
    connection.metadata.resource_version.clone()
}

fn logins(counters: &serde_json::Value) -> u64 {
    counters["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_restart_loses_no_verdict_and_writes_nothing() {
    let world = World::new("restart").await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails", "PtoPlanIntegration"])).await.expect("accepted");
    let before = version(&world.wait_for_reason("AllPermissionsGranted").await);
    assert!(operator.stop().success(), "a stop is no failure");

    // A check caused by the restart would start before this connection's, and be counted once both have ended.
    let operator = world.operator();
    let mut other = world.connection(&["EmployeeJobDetails"]);
    other["metadata"]["name"] = json!("other");
    world.apply(&other).await.expect("accepted");
    world.wait_for_reason_of("other", "AllPermissionsGranted").await;
    // A stop waits for running checks, and so for anything they would write.
    assert!(operator.stop().success());
    let counters = world.simulator.counters().await;
    assert_eq!((logins(&counters), &counters["requests"]["EmployeePerson/FindPeople"]), (2, &json!(1)), "a restart is no rush");
    let after = world.connections().get(CONNECTION).await.expect("there");
    assert_eq!(version(&after), before, "the status moved though nothing had changed");

    // The next operator sees what changed while none ran.
    world.connections().delete("other", &DeleteParams::default()).await.expect("deleted");
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    let _operator = world.operator();
    world.wait_for_reason("CredentialsRejected").await;
    world.finish().await;
}

#[tokio::test]
async fn of_two_operators_one_acts_and_the_other_takes_over_what_it_left() {
    let world = World::new("two").await;
    let candidate = || world.operator_with(&[], &[("UKGPRO_LEADER_ELECTION", "true")]);
    let first = candidate();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    let second = candidate();
    // A change that the leader has handled is not handled again by the standby.
    world.edit_secret(json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    let version_now = world.secrets().get(SECRET).await.expect("there").metadata.resource_version;
    let dealt_with = |status: &UkgProConnectionStatus| status.secret_resource_version == version_now;
    let settled = world.wait_for("the label", dealt_with).await;
    let counters = world.simulator.counters().await;
    assert_eq!(logins(&counters), 1, "one acts, and the session was still lent");
    assert!(first.stop().success());
    // Two, or three: the first list of Secrets may have caused another check.
    let before = world.simulator.counters().await["requests"]["EmployeePerson/FindPeople"].clone();

    let mut other = world.connection(&["EmployeeJobDetails"]);
    other["metadata"]["name"] = json!("other");
    world.apply(&other).await.expect("accepted");
    world.wait_for_reason_of("other", "AllPermissionsGranted").await;
    let after = world.connections().get(CONNECTION).await.expect("there");
    assert_eq!(version(&after), version(&settled), "nothing was undone");
    let counters = world.simulator.counters().await;
    assert_eq!(counters["requests"]["EmployeePerson/FindPeople"], before, "a take-over is no rush");
    let managers: Vec<_> = after.metadata.managed_fields.iter().flatten().filter(|f| f.subresource.is_some()).collect();
    assert_eq!(managers.len(), 1, "{managers:?}");
    assert_eq!(managers[0].manager.as_deref(), Some("ukgpro-operator"));
    assert_eq!(managers[0].operation.as_deref(), Some("Apply"));
    assert!(second.stop().success());
    world.finish().await;
}

#[tokio::test]
async fn a_label_wakes_nobody() {
    let world = World::new("label").await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    // A check with another cause starts before that of a connection created later, and is counted once both have ended.
    let another = async |name: &str| {
        let mut another = world.connection(&["EmployeePersonDetails"]);
        another["metadata"]["name"] = json!(name);
        world.apply(&another).await.expect("accepted");
        world.wait_for_reason_of(name, "AllPermissionsGranted").await;
        world.simulator.counters().await["requests"]["EmployeePerson/FindPeople"].as_u64().expect("a count")
    };
    // The first list of Secrets may have caused another check of it.
    let before = another("another").await;
    world.edit(json!({"metadata": {"labels": {"team": "hr"}}})).await;
    let after = another("one-more").await;
    assert!(operator.stop().success());
    assert_eq!(after, before + 1);
    world.finish().await;
}

#[tokio::test]
async fn an_operator_says_that_it_lives_and_when_it_is_ready() {
    let world = World::new("health").await;
    // Without the right to list connections, it is live and not ready.
    let rules = world.set_rules(Some(Vec::new())).await;
    let operator = world.operator();
    let address = || {
        let log = world.operator_log();
        let started = log.lines().find(|line| line.contains("\"started\""))?.to_owned();
        serde_json::from_str::<serde_json::Value>(&started).ok()?["health"].as_str().map(str::to_owned)
    };
    world.wait_until("the start", async || address().is_some()).await;
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let url = format!("http://{}", address().expect("an address"));
    let status = async |path: &str| http.get(format!("{url}{path}")).send().await.map(|answer| answer.status().as_u16()).ok();
    world.wait_until("a refused list", async || world.operator_log().contains("watch interrupted")).await;
    assert_eq!((status("/livez").await, status("/readyz").await), (Some(200), Some(503)));
    world.set_rules(rules).await;
    world.wait_until("readiness", async || status("/readyz").await == Some(200)).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
}

#[tokio::test]
async fn namespaces_that_may_not_be_listed_keep_from_being_ready_and_not_from_serving_the_others() {
    let world = World::new("partly").await;
    let refused: Vec<_> = (0..60).map(|n| format!("not-granted-{n}")).collect();
    let operator = world.operator_with(&["--namespace", &refused.join(",")], &[]);
    world.put_secret(&world.account).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    let log = world.operator_log();
    let started = log.lines().find(|line| line.contains("\"started\"")).expect("it has started");
    let started: serde_json::Value = serde_json::from_str(started).expect("JSON");
    let (health, metrics) = (started["health"].as_str().expect("an address"), started["metrics"].as_str().expect("an address"));
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let get = async |url: String| {
        let answer = http.get(url).send().await.expect("answered");
        (answer.status().as_u16(), answer.text().await.expect("text"))
    };
    let (status, body) = get(format!("http://{health}/readyz")).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.starts_with("the connections of namespace not-granted-0 cannot be listed, nor those of 59 more;"), "{body}");
    let (_, metrics) = get(format!("http://{metrics}/metrics")).await;
    assert!(metrics.contains("ukgpro_watch_age_seconds{watch=\"connections\",namespace=\"not-granted-7\"}"), "{metrics}");
    // The log names each with the API server's answer. The backoff decides how often.
    for namespace in &refused {
        let told = log.lines().filter(|line| line.contains(&format!("\"{namespace}\"")) && line.contains("403 Forbidden"));
        assert!((1..=4).contains(&told.count()), "{namespace}: {log}");
    }
    assert!(operator.stop().success());
    world.finish_without_operator().await;
}

#[tokio::test]
async fn copies_of_one_wrong_secret_cost_one_login_together() {
    let world = World::new("copies").await;
    let [username, _, customer_api_key, user_api_key] = world.account.secrets().map(str::to_owned);
    let wrong =
        json!({"username": username, "password": "wrong", "customerApiKey": customer_api_key, "userApiKey": user_api_key});
    world.put_secret_data(wrong).await;
    let names: Vec<_> = (0..10).map(|index| format!("copy{index}")).collect();
    for name in &names {
        let mut copy = world.connection(&["EmployeePersonDetails"]);
        copy["metadata"]["name"] = json!(name);
        world.apply(&copy).await.expect("accepted");
    }
    let operator = world.operator();
    for name in &names {
        let refused = |status: &UkgProConnectionStatus| status.state == "Unauthorized";
        world.wait_for_of(name, "a refusal", refused).await;
    }
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    // Each of them sees the right values at once.
    world.edit_secret(json!({"stringData": {"password": world.account.password}})).await;
    for name in &names {
        world.wait_for_reason_of(name, "AllPermissionsGranted").await;
    }
    assert!(operator.stop().success());
    assert_eq!(world.simulator.logins(&world.account).await, (2, 1), "and one login serves them all");
    world.finish().await;
}

#[tokio::test]
async fn a_verdict_does_not_land_on_an_object_made_again() {
    let world = World::new("again").await;
    let _operator = world.operator();
    let slow = json!([{"operation": "LoginService/Authenticate", "answer": {"delaySeconds": 2}}]);
    world.simulator.faults(slow).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_counters("the login", |counters| logins(counters) == 1).await;
    world.connections().delete(CONNECTION, &DeleteParams::default()).await.expect("deleted");
    let mut other = world.connection(&["EmployeePersonDetails"]);
    other["spec"]["domain"] = json!("ultipro.localhost:1");
    world.apply(&other).await.expect("accepted");
    // The first one's check runs to its end, and its result is discarded.
    let probed = |counters: &serde_json::Value| counters["requests"]["EmployeePerson/FindPeople"] == 1;
    world.wait_for_counters("the end of the first's check", probed).await;
    let status = world.wait_for_reason("ConnectRefused").await.status.expect("a status");
    assert!(status.permissions.iter().all(|permission| permission.state == PermissionState::Unknown));
    assert_eq!(world.events(1).await, ["ConnectRefused"]);
    assert_eq!(world.statuses_written(), 1, "the verdict of the first was written onto the second");
    world.finish().await;
}

#[tokio::test]
async fn a_verdict_that_cannot_be_written_costs_no_further_login() {
    let world = World::new("unwritten").await;
    let rules = world.set_rules(None).await;
    let no_patch = rules.iter().flatten().filter(|rule| !rule.verbs.contains(&"patch".to_owned())).cloned().collect();
    world.set_rules(Some(no_patch)).await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let tries = || world.operator_log().matches("check not finished").count();
    world.wait_until("three tries to write", async || tries() >= 3).await;
    world.set_rules(rules).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    assert_eq!(logins(&world.simulator.counters().await), 1);
    // The API server refused requests here, as intended.
    world.finish_without_operator().await;
}

#[tokio::test]
async fn a_person_may_ask_for_exactly_one_more_try() {
    let world = World::new("request").await;
    let mut locked = world.account.clone();
    locked.status = "Locked";
    world.simulator.play(&locked).await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("CredentialsRejected").await;
    let ask = async |value: &str| {
        world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": value}}})).await;
        let answered = |status: &UkgProConnectionStatus| status.last_handled_reconcile_at.as_deref() == Some(value);
        world.wait_for("the receipt", answered).await
    };
    ask("1").await;
    assert_eq!(world.simulator.logins(&world.account).await, (2, 2), "one more, and no more");
    world.edit_secret(json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    assert_eq!(world.simulator.logins(&world.account).await, (2, 2));
    // Unlocked in UKG Pro, with the same values.
    world.simulator.play(&world.account).await;
    assert_eq!(ask("2").await.status.expect("a status").state, "Active");
    world.finish().await;
}
