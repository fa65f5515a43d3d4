//! Flux for real: source-controller and kustomize-controller apply connections from an OCI registry, and say of them what
//! `examples/gitops/flux` promises.

#![allow(unreachable_pub)]

mod controllers;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "some of it is for other tests")]
mod support;

use kube::ResourceExt;
use kube::api::{DeleteParams, DynamicObject};
use serde_json::{Value, json};
use ukgpro_operator::api::conditions::find;

use controllers::Flux;
use support::World;
use support::world::{CONNECTION, SECRET};

const CONNECTIONS: &str = "ukgpro-connections";
const WORKLOADS: &str = "hr-integrations";

const ENCRYPTED: &str = "ukgpro-connections/acme-ukg-pro.enc.yaml";

/// A connection in a repository, and a workload's place in it.
async fn publish(flux: &Flux, world: &World) {
    let workload = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "workload", "namespace": world.namespace},
    });
    // JSON is YAML.
    flux.write("ukgpro-connections/acme.yaml", &world.connection(&["EmployeePersonDetails"]).to_string());
    flux.write("hr-integrations/workload.yaml", &workload.to_string());
    flux.publish().await;
}

/// A Kustomization of the example, in this world and in a hurry.
fn kustomization(world: &World, file: &str, name: &str) -> Value {
    let mut found = controllers::example(file, "Kustomization", name);
    found["metadata"]["namespace"] = json!(world.namespace);
    let spec = found["spec"].as_object_mut().expect("a spec");
    spec.insert("sourceRef".to_owned(), json!({"kind": "OCIRepository", "name": "platform"}));
    // The least that kustomize-controller takes.
    spec.insert("timeout".to_owned(), json!("30s"));
    spec.insert("retryInterval".to_owned(), json!("2s"));
    if name == CONNECTIONS {
        // The operator of a test is there from the start.
        spec.remove("dependsOn");
    }
    found
}

fn condition<'a>(object: &'a DynamicObject, type_: &str) -> Option<[&'a str; 3]> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let found = conditions.iter().find(|condition| condition["type"] == type_)?;
    Some(["status", "reason", "message"].map(|field| found[field].as_str().unwrap_or_default()))
}

/// Whether what was tried last ended so.
fn ended(object: &DynamicObject, status: &str, reason: &str) -> bool {
    condition(object, "Ready").is_some_and(|[found, why, _]| found == status && why == reason)
}

#[tokio::test]
async fn a_kustomization_is_ready_only_when_the_connection_is_active() {
    let world = World::new("flux-waits").await;
    let flux = Flux::start(&world).await;
    let _operator = world.operator();
    let fault = json!([{"operation": "LoginService/Authenticate", "answer": {"status": 503}}]);
    world.simulator.faults(fault).await;
    publish(&flux, &world).await;
    flux.apply(&kustomization(&world, "flux/connections.yaml", CONNECTIONS)).await;
    flux.apply(&kustomization(&world, "flux/connections.yaml", WORKLOADS)).await;

    // It is waited for until the timeout, and what depends on it is not applied.
    world.wait_for_reason("ServerError").await;
    let waited = flux.wait_for(CONNECTIONS, "the timeout", |found| ended(found, "False", "HealthCheckFailed")).await;
    let [_, _, message] = condition(&waited, "Ready").expect("there");
    let expected = format!("timeout waiting for: [UkgProConnection/{}/{CONNECTION} status: 'InProgress']", world.namespace);
    assert!(message.ends_with(&expected), "{message}");
    flux.wait_for(WORKLOADS, "its dependency", |found| ended(found, "False", "DependencyNotReady")).await;
    assert!(!flux.has_workload().await);

    world.simulator.faults(json!([])).await;
    world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    flux.wait_for(CONNECTIONS, "success", |found| ended(found, "True", "ReconciliationSucceeded")).await;
    flux.wait_for(WORKLOADS, "success", |found| ended(found, "True", "ReconciliationSucceeded")).await;
    assert!(flux.has_workload().await);
    // What a person asked for by an annotation is not undone from Git.
    let annotations = world.stored(CONNECTION).await.annotations().clone();
    assert!(annotations.contains_key("reconcile.fluxcd.io/requestedAt"), "{annotations:?}");
    drop(flux);
    world.finish().await;
}

#[tokio::test]
async fn a_kustomization_fails_at_once_by_the_name_of_a_connection_that_only_a_person_can_help() {
    let world = World::new("flux-fails").await;
    let flux = Flux::start(&world).await;
    let _operator = world.operator();
    let mut right = world.account.clone();
    right.password = "something-else".to_owned();
    world.simulator.play(&right).await;
    publish(&flux, &world).await;
    let mut kustomization = kustomization(&world, "flux/connections.yaml", CONNECTIONS);
    // So long that only what fails at once can fail within the test.
    kustomization["spec"]["timeout"] = json!("10m");
    flux.apply(&kustomization).await;
    let failed = flux.wait_for(CONNECTIONS, "failure", |found| ended(found, "False", "HealthCheckFailed")).await;
    let [_, _, message] = condition(&failed, "Ready").expect("there");
    let expected =
        format!("failed early due to stalled resources: [UkgProConnection/{}/{CONNECTION} status: 'Failed']", world.namespace);
    assert!(message.ends_with(&expected), "{message}");
    // The reason is one step away.
    let (_, events) = world.kubectl(&["events", &format!("--for=ukg/{CONNECTION}")]).await;
    assert!(events.contains("refused the login and does not say which value is wrong"), "{events}");
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1), "Flux, which looks again and again, costs no login");

    world.edit_secret(json!({"stringData": {"password": right.password}})).await;
    flux.wait_for(CONNECTIONS, "success", |found| ended(found, "True", "ReconciliationSucceeded")).await;
    drop(flux);
    world.finish().await;
}

#[tokio::test]
async fn with_an_expression_a_kustomization_fails_with_the_connections_message() {
    let world = World::new("flux-tells").await;
    let flux = Flux::start(&world).await;
    let _operator = world.operator();
    let mut right = world.account.clone();
    right.password = "something-else".to_owned();
    world.simulator.play(&right).await;
    publish(&flux, &world).await;
    flux.apply(&kustomization(&world, "flux/message.yaml", CONNECTIONS)).await;
    let failed = flux.wait_for(CONNECTIONS, "failure", |found| ended(found, "False", "HealthCheckFailed")).await;
    let [_, _, message] = condition(&failed, "Ready").expect("there");
    let connection = world.wait_for_reason("CredentialsRejected").await.status.expect("a status");
    let own = &find(&connection.conditions, "Ready").expect("always there").message;
    assert!(message.contains(&format!("UkgProConnection/{}/{CONNECTION}", world.namespace)), "{message}");
    assert!(message.contains(own.as_str()), "{message}");
    // The event, which is what an Alert sends on, has room for the beginning: what happened.
    let events = async || world.kubectl(&["events", &format!("--for=kustomization/{CONNECTIONS}")]).await.1;
    let what = "refused the login and does not say which value is wrong";
    let failure = |events: &str| events.lines().any(|line| line.contains("health check failed") && line.contains(what));
    world.wait_until("an event that says why", async || failure(&events().await)).await;

    world.edit_secret(json!({"stringData": {"password": right.password}})).await;
    flux.wait_for(CONNECTIONS, "success", |found| ended(found, "True", "ReconciliationSucceeded")).await;
    // Both events are what the example's Alert includes.
    world.wait_until("an event of the recovery", async || events().await.contains("Health check passed")).await;
    drop(flux);
    world.finish().await;
}

#[tokio::test]
async fn a_connection_that_comes_before_its_encrypted_secret_costs_nothing() {
    let world = World::new("flux-sops").await;
    world.secrets().delete(SECRET, &DeleteParams::default()).await.expect("deleted");
    let flux = Flux::start(&world).await;
    let _operator = world.operator();
    world.put_secret_named("sops-age", json!({"age.agekey": flux.choose_key()})).await;
    publish(&flux, &world).await;
    flux.apply(&kustomization(&world, "secrets/sops.yaml", CONNECTIONS)).await;
    let waits = |found: &DynamicObject| {
        condition(found, "Healthy").is_some_and(|[status, _, message]| status == "Unknown" && message.contains("health checks"))
    };
    flux.wait_for(CONNECTIONS, "a health check that goes on", waits).await;
    world.wait_for_reason("SecretNotFound").await;

    let [username, password, customer_api_key, user_api_key] = world.account.secrets();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": world.namespace},
        "stringData": {"username": username, "password": password,
            "customerApiKey": customer_api_key, "userApiKey": user_api_key},
    });
    flux.write(ENCRYPTED, &secret.to_string());
    let encrypted = flux.encrypt(ENCRYPTED);
    assert!(encrypted.contains("ENC[") && !encrypted.contains(username) && encrypted.contains(SECRET), "{encrypted}");
    flux.publish().await;
    flux.wait_for(CONNECTIONS, "success", |found| ended(found, "True", "ReconciliationSucceeded")).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    assert_eq!(world.simulator.logins(&world.account).await, (1, 0));
    drop(flux);
    world.finish().await;
}
