//! `ukgpro-operator wait`, as an init container runs it: under a ServiceAccount that may list and watch connections.

use std::process::{Command, Output};

use serde_json::json;

use crate::support::World;
use crate::support::operator::OPERATOR;
use crate::support::world::CONNECTION;

/// Starts to wait for the connection.
fn waits(world: &World, flags: &[&str]) -> tokio::task::JoinHandle<Output> {
    let mut command = Command::new(OPERATOR);
    command.args(["wait", CONNECTION, "--namespace", &world.namespace]).args(flags).env("KUBECONFIG", &world.kubeconfig);
    tokio::task::spawn_blocking(move || command.output().expect("it runs"))
}

fn said(output: &Output) -> String {
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8(output.stderr.clone()).expect("text")
}

#[tokio::test]
async fn what_waits_goes_on_when_the_connection_works_though_it_was_not_there_at_first() {
    let world = World::new("wait").await;
    let waiting = waits(&world, &["--timeout", "1m"]);
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let output = waiting.await.expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!(said(&output), "");
    assert_eq!(world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status").state, "Active");
    world.finish().await;
}

#[tokio::test]
async fn what_waits_is_told_the_message_where_only_a_person_can_help() {
    let world = World::new("wait-stalled").await;
    let _operator = world.operator();
    world.put_secret_data(json!({"username": "someone"})).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let output = waits(&world, &["--timeout", "1m"]).await.expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = said(&output);
    assert!(said.starts_with("ukgpro-operator: acme is not Ready, and only a person can help: SecretKeyMissing: "), "{said}");
    // The condition to wait for may be Stalled.
    let output = waits(&world, &["--for", "Stalled", "--timeout", "1m"]).await.expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    world.finish().await;
}

/// The status is about the previous Secret, and no operator runs to say so. `wait` notices it by the Secret's version.
#[tokio::test]
async fn what_waits_takes_no_verdict_for_one_on_a_secret_that_has_changed_since() {
    let world = World::new("wait-mended").await;
    let mut operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    for (password, before, code) in
        [("wrong", "AllPermissionsGranted", 1), (world.account.password.as_str(), "CredentialsRejected", 0)]
    {
        world.wait_for_reason(before).await;
        assert!(operator.stop().success());
        world.edit_secret(json!({"stringData": {"password": password}})).await;
        let waiting = waits(&world, &["--timeout", "1m"]);
        // Long enough to have seen the status, which would have been its answer.
        let brief = waits(&world, &["--timeout", "1s"]).await.expect("it ends");
        assert!(said(&brief).contains("has changed since it was checked"), "{brief:?}");
        operator = world.operator();
        let output = waiting.await.expect("it ends");
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    world.finish().await;
}

#[tokio::test]
async fn what_waits_in_vain_is_told_why() {
    let world = World::new("wait-over").await;
    let output = waits(&world, &["--timeout", "1s"]).await.expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let words = format!("acme is not Ready after 1 s: it does not exist in namespace {}", world.namespace);
    assert!(said(&output).contains(&words), "{output:?}");
    world.apply(&world.connection(&[])).await.expect("accepted");
    let output = waits(&world, &["--timeout", "1s"]).await.expect("it ends");
    assert!(said(&output).contains("no operator has checked it yet"), "{output:?}");
    world.set_rules(None).await;
    let output = waits(&world, &["--timeout", "2s"]).await.expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    world.finish_without_operator().await;
}
