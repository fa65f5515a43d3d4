//! Operators that restart, come in twos, and have only the rights they need.

use serde_json::json;
use ukgpro_operator::api::UkgProConnection;

use crate::support::World;
use crate::support::world::CONNECTION;

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

    let operator = world.operator();
    world
        .wait_for_counters("the check after a restart", |counters| {
            logins(counters) == 2 && counters["requests"]["GET /personnel/v1/pto-plans"] == 2
        })
        .await;
    // Stopping waits for running checks, and so for anything they would write.
    assert!(operator.stop().success());
    let after = world.connections().get(CONNECTION).await.expect("there");
    assert_eq!(version(&after), before, "the status moved though nothing had changed");

    // What changed while no operator ran is seen by the next.
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    let _operator = world.operator();
    world.wait_for_reason("CredentialsRejected").await;
    world.finish().await;
}

#[tokio::test]
async fn two_operators_do_not_fight_over_a_status() {
    let world = World::new("two").await;
    let first = world.operator();
    let second = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_counters("both checks", |counters| logins(counters) == 2).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    assert!(first.stop().success() && second.stop().success());
    let settled = world.connections().get(CONNECTION).await.expect("there");
    let managers: Vec<_> = settled.metadata.managed_fields.iter().flatten().filter(|f| f.subresource.is_some()).collect();
    assert_eq!(managers.len(), 1, "{managers:?}");
    assert_eq!(managers[0].manager.as_deref(), Some("ukgpro-operator"));
    assert_eq!(managers[0].operation.as_deref(), Some("Apply"));

    // One more look by each writes nothing: neither undoes the other.
    let (first, second) = (world.operator(), world.operator());
    world.wait_for_counters("both looks", |counters| logins(counters) == 4).await;
    assert!(first.stop().success() && second.stop().success());
    let after = world.connections().get(CONNECTION).await.expect("there");
    assert_eq!(version(&after), version(&settled));
    world.finish().await;
}

#[tokio::test]
async fn an_annotation_of_others_in_the_status_wakes_nobody() {
    let world = World::new("others").await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.edit(json!({"metadata": {"labels": {"team": "hr"}}})).await;
    // A check that the label had caused would have begun before this one, and be counted by its end.
    world.edit(json!({"spec": {"permissions": [{"name": "EmployeeJobDetails"}]}})).await;
    world.wait_for("the new permission", |status| status.permissions.iter().any(|p| p.name == "EmployeeJobDetails")).await;
    assert!(operator.stop().success());
    assert_eq!(logins(&world.simulator.counters().await), 2);
    world.finish().await;
}
