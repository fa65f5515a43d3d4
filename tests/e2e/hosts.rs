//! Hosts that flap, hosts that are down, and hosts that fail for every connection.

use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::json;
use ukgpro_operator::api::UkgProConnection;
use ukgpro_operator::api::conditions::find;

use crate::states::compare;
use crate::support::World;
use crate::support::world::{CONNECTION, SECRET};

/// Returns every state the connection is seen in until the condition holds.
async fn states_until(world: &World, done: impl Fn() -> bool) -> Vec<(String, String)> {
    let config = watcher::Config::default().fields(&format!("metadata.name={CONNECTION}"));
    let mut changes = Box::pin(watcher(world.connections(), config).default_backoff().applied_objects());
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let mut seen: Vec<(String, String)> = Vec::new();
    while !done() {
        tokio::select! {
            Some(Ok(connection)) = changes.next() => {
                let status = connection.status.expect("a status");
                let reason = find(&status.conditions, "Ready").expect("always there").reason.clone();
                let state = (status.state, reason);
                if seen.last() != Some(&state) {
                    seen.push(state);
                }
            }
            _ = ticks.tick() => {}
        }
    }
    seen
}

#[tokio::test]
async fn a_host_that_loses_each_second_answer_never_moves_an_active_connection() {
    let world = World::new("flapping").await;
    let mut manifest = world.connection(&["EmployeePersonDetails", "EmployeeJobDetails", "EmployeeContacts"]);
    manifest["spec"]["interval"] = json!("10m");
    let operator = world.operator_on_fast_clock(1500).await;
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    let lost = json!([{"operation": "*", "every": 2, "answer": {"closeConnection": true}}]);
    world.simulator.faults(lost).await;
    let until = operator.clock.uptime() + Duration::from_secs(6 * 3600);
    let seen = states_until(&world, || operator.clock.uptime() > until).await;
    assert!(seen.iter().all(|(state, _)| state == "Active"), "{seen:?}");
    let counters = world.simulator.counters().await;
    assert!(world.simulator.logins(&world.account).await.0 > 15, "it was asked again and again: {counters} {seen:?}");
    assert_eq!(world.events(0).await, Vec::<String>::new(), "and nobody was alarmed");
    operator.stop().await;
    world.finish().await;
}

#[tokio::test]
async fn a_dead_host_is_unreachable_within_the_time_that_is_documented_and_active_again_after() {
    let world = World::new("dead").await;
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["interval"] = json!("10m");
    let operator = world.operator_on_fast_clock(100).await;
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.simulator.faults(json!([{"operation": "*", "answer": {"status": 503}}])).await;
    let died = operator.clock.uptime();
    let status = world.wait_for_reason("ServerError").await.status.expect("a status");
    assert_eq!(status.state, "Unreachable");
    // The interval, then 15 s and 30 s, each with up to 10% jitter, plus a busy machine's delay, which this clock multiplies by
    // 100.
    let took = operator.clock.uptime() - died;
    assert!(took < Duration::from_secs_f64(645.0 * 1.1 + 300.0), "{took:?}");
    world.simulator.faults(json!([])).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    assert_eq!(world.events(2).await, ["ServerError", "AllPermissionsGranted"]);
    operator.stop().await;
    world.finish().await;
}

#[tokio::test]
async fn a_host_that_limits_requests_is_left_alone_by_all_its_connections() {
    let world = World::new("limited").await;
    let operator = world.operator_on_fast_clock(20).await;
    let limited = json!([{"operation": "*", "times": 1, "answer": {"status": 429, "headers": {"retry-after": "60"}}}]);
    world.simulator.faults(limited).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("RateLimited").await;
    let told = operator.clock.uptime();
    let mut other = world.connection(&["EmployeePersonDetails"]);
    other["metadata"]["name"] = json!("other");
    world.apply(&other).await.expect("accepted");
    world.wait_for_reason_of("other", "AllPermissionsGranted").await;
    // Less than 60 s, because the time between the answer and its verdict is not included.
    let waited = operator.clock.uptime() - told;
    assert!(waited > Duration::from_secs(50), "{waited:?}");
    operator.stop().await;
    world.finish().await;
}

/// Applies a connection like the world's, with another name and Secret.
async fn apply_beside(world: &World, name: &str, secret: &str) {
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["metadata"]["name"] = json!(name);
    manifest["spec"]["secretRef"]["name"] = json!(secret);
    world.apply(&manifest).await.expect("accepted");
}

fn asked(value: &str) -> serde_json::Value {
    json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": value}}})
}

#[tokio::test]
async fn a_limit_is_one_accounts_and_who_waits_is_told_for_what_and_until_when() {
    let world = World::new("delayed").await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    let an_hour = json!([{"operation": "*", "times": 1, "answer": {"status": 429, "headers": {"retry-after": "3600"}}}]);
    world.simulator.faults(an_hour).await;
    world.edit(asked("first")).await;
    world.wait_for_reason("Degraded").await;
    let attempts = world.simulator.logins(&world.account).await;

    // Another account does not wait for it.
    let data = json!({"username": "another", "password": "p4ss!word", "customerApiKey": world.account.customer_api_key,
        "userApiKey": "N0T1TE1THER1"});
    world.put_secret_named("another", data).await;
    apply_beside(&world, "another", "another").await;
    world.wait_for_reason_of("another", "CredentialsRejected").await;

    // A new connection of the account reports the delay. Every reader of statuses sees the committed one.
    apply_beside(&world, "checkdelayed", crate::support::world::SECRET).await;
    let told = world.wait_for_reason_of("checkdelayed", "CheckDelayed").await.status.expect("a status");
    assert_eq!((told.state.as_str(), told.next_check_time.is_some()), ("Unknown", true));
    let ready = &find(&told.conditions, "Ready").expect("always there").message;
    assert!(ready.contains("limits the requests of this account"), "{ready}");
    let mut stored = world.stored("checkdelayed").await;
    stored.data["spec"]["secretRef"]["name"] = json!("checkdelayed");
    compare("CheckDelayed", &stored);

    // A requested check waits visibly, the verdict of these same values stays, and the receipt comes with the check.
    world.edit(asked("second")).await;
    let waits = world
        .wait_for("the delay", |status| find(&status.conditions, "Reconciling").is_some_and(|c| c.reason == "CheckDelayed"));
    let status = waits.await.status.expect("a status");
    assert_eq!((status.state.as_str(), status.last_handled_reconcile_at.as_deref()), ("Active", Some("first")));

    // Other values, which are wrong: the success of the old ones says nothing about them.
    world.edit_secret(json!({"stringData": {"password": "not-the-password"}})).await;
    let status = world.wait_for_reason("CheckDelayed").await.status.expect("a status");
    assert_eq!(status.state, "Unknown");
    assert_eq!(world.simulator.logins(&world.account).await, attempts, "and nothing was sent meanwhile");
    world.finish().await;
}

#[tokio::test]
async fn ready_is_taken_back_where_a_connection_cannot_be_checked_for_several_intervals() {
    let world = World::new("overdue").await;
    let operator = world.operator_on_fast_clock(100).await;
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["metadata"]["name"] = json!("checkoverdue");
    manifest["spec"]["interval"] = json!("1m");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason_of("checkoverdue", "AllPermissionsGranted").await;
    let an_hour = json!([{"operation": "*", "times": 1, "answer": {"status": 429, "headers": {"retry-after": "3600"}}}]);
    world.simulator.faults(an_hour).await;
    let status = world.wait_for_reason_of("checkoverdue", "CheckOverdue").await.status.expect("a status");
    assert_eq!(status.state, "Unknown");
    let mut stored = world.stored("checkoverdue").await;
    stored.data["spec"]["secretRef"]["name"] = json!("checkoverdue");
    compare("CheckOverdue", &stored);
    // Once the host may get requests again, the check runs and succeeds.
    world.wait_for_reason_of("checkoverdue", "AllPermissionsGranted").await;
    operator.stop().await;
    world.finish().await;
}

#[tokio::test]
async fn a_host_that_fails_for_everybody_is_one_signal_to_whoever_runs_the_operator() {
    let world = World::spread("outage", 2).await;
    let [paused, misspelt] = [&world.elsewhere[0], &world.elsewhere[1]];
    let _operator = world.operator_with(&["--namespace", &format!("{},{paused},{misspelt}", world.namespace)], &[]);
    // These have worked and are no longer checked, so they are no evidence.
    let secret = world.secrets().get(SECRET).await.expect("a Secret").data;
    for (namespace, change, reason) in [
        (paused, json!({"suspend": true}), "Suspended"),
        (misspelt, json!({"permissions": [{"name": "NoSuchRow"}]}), "PermissionUnknown"),
    ] {
        let secrets = Api::<Secret>::namespaced(world.admin.clone(), namespace);
        let copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": secret});
        secrets.patch(SECRET, &PatchParams::apply("tests").force(), &Patch::Apply(&copy)).await.expect("applied");
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["namespace"] = json!(namespace);
        let params = PatchParams::apply("tests").force();
        connections.patch(CONNECTION, &params, &Patch::Apply(&manifest)).await.expect("applied");
        let has = async |reason: &str| {
            let status = connections.get(CONNECTION).await.expect("there").status.unwrap_or_default();
            status.conditions.iter().any(|condition| condition.type_ == "Ready" && condition.reason == reason)
        };
        world.wait_until("it to work", async || has("AllPermissionsGranted").await).await;
        let change = json!({"spec": change});
        connections.patch(CONNECTION, &PatchParams::default(), &Patch::Merge(&change)).await.expect("edited");
        world.wait_until(reason, async || has(reason).await).await;
    }
    world.simulator.faults(json!([{"operation": "*", "answer": {"status": 503}}])).await;
    let names: Vec<_> = (0..6).map(|n| format!("c{n}")).collect();
    for name in &names {
        // An account each: many connections of one account count as one.
        world.apply(&world.connection_of_a_stranger(name).await).await.expect("accepted");
    }
    for name in &names {
        world.wait_for_reason_of(name, "ServerError").await;
    }
    let signals = async || {
        let events = Api::<Event>::namespaced(world.admin.clone(), &world.namespace);
        let events = events.list(&ListParams::default()).await.expect("events").items;
        let of_host =
            events.into_iter().filter(|event| event.regarding.as_ref().is_some_and(|r| r.kind.as_deref() == Some("Pod")));
        of_host.map(|event| (event.reason.unwrap_or_default(), event.note.unwrap_or_default())).collect::<Vec<_>>()
    };
    world.wait_until("the signal", async || !signals().await.is_empty()).await;
    let told = signals().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "HostOutage");
    assert!(told[0].1.contains("connections to https://service4.ultipro.localhost"), "{told:?}");
    world.simulator.faults(json!([])).await;
    for name in &names {
        let asked = json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}});
        world.edit_named(name, asked).await;
        // The host answers again, and any answer counts.
        world.wait_for_reason_of(name, "CustomerApiKeyRejected").await;
    }
    world.wait_until("the all-clear", async || signals().await.iter().any(|(reason, _)| reason == "HostRecovered")).await;
    world.finish().await;
}
