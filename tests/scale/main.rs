//! A thousand connections of one host: no second sees more than twice the mean number of checks.
//!
//! It takes some minutes of real time and the machine for itself, so it is not among the tests of `make test`; `make test-scale` runs it.

#![allow(unreachable_pub, dead_code)]
#![allow(clippy::print_stdout, reason = "it measures")]

#[path = "../support/mod.rs"]
mod support;

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnection;

use support::World;

const CONNECTIONS: usize = 1000;
/// Requests of the test itself to the API server at once.
const AT_ONCE: usize = 32;

fn account(world: &World, n: usize) -> Value {
    json!({"username": format!("svc-{n}"), "password": format!("Right-{n}!pass"), "userApiKey": format!("UK{n:010}"),
        "status": "Active", "permissions": world.account.permissions})
}

async fn create(world: &World) {
    let accounts: Vec<_> = (0..CONNECTIONS).map(|n| account(world, n)).collect();
    let tenant = json!({"name": "acme", "hosts": [support::simulator::HOST], "customerApiKey": "CUST1", "accounts": accounts});
    world.simulator.play_tenants(&json!({"tenants": [tenant]})).await;
    let params = PostParams::default();
    let made = stream::iter(0..CONNECTIONS).map(|n| {
        let (params, account) = (&params, account(world, n));
        async move {
            let data = json!({"username": account["username"], "password": account["password"],
                "customerApiKey": "CUST1", "userApiKey": account["userApiKey"]});
            let secret = json!({"metadata": {"name": format!("s{n}")}, "stringData": data});
            let secret: Secret = serde_json::from_value(secret).expect("a Secret");
            world.secrets().create(params, &secret).await.expect("created");
            let mut manifest = world.connection(&["EmployeePersonDetails"]);
            manifest["metadata"]["name"] = json!(format!("c{n}"));
            manifest["spec"]["secretRef"]["name"] = json!(format!("s{n}"));
            manifest["spec"]["interval"] = json!("1m");
            let connection: UkgProConnection = serde_json::from_value(manifest).expect("a connection");
            world.connections().create(params, &connection).await.expect("created");
        }
    });
    made.buffer_unordered(AT_ONCE).collect::<Vec<()>>().await;
}

/// Checks so far, the mean of a second, and the busiest.
async fn seconds(world: &World) -> (u64, f64, f64) {
    let counters = world.simulator.counters().await;
    let checks = counters["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0);
    let times = &counters["loginTimes"];
    let span = times["span"].as_f64().expect("a span");
    (checks, checks as f64 / span, times["busiestSecond"].as_f64().expect("a count"))
}

#[tokio::test]
async fn no_second_sees_more_than_twice_the_mean() {
    let world = World::new("scale").await;
    create(&world).await;
    let expected = CONNECTIONS as u64;
    let operator = world.operator_with(&[], &[("UKGPRO_LOG_LEVEL", "info")]);
    world.wait_longer("all at the start", async || seconds(&world).await.0 >= expected).await;
    let (checks, mean, busiest) = seconds(&world).await;
    println!("start-up: {checks} checks, {mean:.1} a second, {busiest} in the busiest: {:.2} times the mean", busiest / mean);
    assert!(busiest <= 2.0 * mean);
    let all_active = async || {
        let listed = world.connections().list(&ListParams::default()).await.expect("a list");
        listed.iter().all(|connection| connection.status.as_ref().is_some_and(|status| status.state == "Active"))
    };
    world.wait_longer("all verdicts", all_active).await;
    assert!(operator.stop().success());

    world.simulator.reset().await;
    let _operator = world.operator_with(&[], &[("UKGPRO_LOG_LEVEL", "info")]);
    // The interval is a minute: two of them.
    world.wait_longer("two rounds after a restart", async || seconds(&world).await.0 >= 2 * expected).await;
    let (checks, mean, busiest) = seconds(&world).await;
    println!("restart: {checks} checks, {mean:.1} a second, {busiest} in the busiest: {:.2} times the mean", busiest / mean);
    assert!(busiest <= 2.0 * mean);
    let params = DeleteParams::default();
    world.connections().delete_collection(&params, &ListParams::default()).await.expect("deleted");
    world.finish_without_operator().await;
}
