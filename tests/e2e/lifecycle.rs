//! The lifecycle of a connection: changed, suspended, deleted.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{DeleteParams, ObjectMeta};
use kube::runtime::wait::{await_condition, conditions::is_deleted};
use serde_json::json;
use ukgpro_operator::api::conditions::find;

use crate::support::World;
use crate::support::world::CONNECTION;

#[tokio::test]
async fn a_changed_spec_is_acted_on_at_once() {
    let world = World::new("spec").await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.apply(&world.connection(&["EmployeePersonDetails", "EmployeeShoeSize"])).await.expect("accepted");
    let status = world.wait_for_reason("PermissionUnknown").await.status.expect("a status");
    let message = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(message.contains("EmployeeShoeSize"), "{message}");
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["caRef"] = json!({"name": "not-there"});
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("CaNotFound").await;
    // It may be created late, and no watch reports a ConfigMap.
    let authorities = BTreeMap::from([("ca.crt".to_owned(), world.simulator.ca.clone())]);
    world
        .create(&ConfigMap {
            metadata: ObjectMeta { name: Some("not-there".to_owned()), ..ObjectMeta::default() },
            data: Some(authorities),
            ..ConfigMap::default()
        })
        .await;
    let told = world.wait_for_reason("AllPermissionsGranted").await;
    assert_eq!(told.metadata.generation, told.status.expect("a status").observed_generation);
    // Also from a Secret.
    world.put_secret_named("not-there", json!({"bundle.pem": world.simulator.ca})).await;
    manifest["spec"]["caRef"] = json!({"kind": "Secret", "name": "not-there", "key": "bundle.pem"});
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.put_secret_named("not-there", json!({"bundle.pem": "no certificate"})).await;
    world.wait_for_reason("CaInvalid").await;
    world.apply(&world.connection(&["EmployeeJobDetails"])).await.expect("accepted");
    let status = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    assert_eq!(status.permissions.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["EmployeeJobDetails"]);
    world.finish().await;
}

#[tokio::test]
async fn while_suspended_nothing_is_sent_and_the_verdict_stays() {
    let world = World::new("suspend").await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.edit(json!({"spec": {"suspend": true}})).await;
    let suspended = world.wait_for_reason("Suspended").await;
    assert_eq!(suspended.status.as_ref().expect("a status").state, "Active");

    let before = world.simulator.requests().await;
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    world.wait_for_reason("Suspended").await;
    assert_eq!(world.simulator.requests().await, before);

    world.edit(json!({"spec": {"suspend": false}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    world.finish().await;
}

#[tokio::test]
async fn a_deleted_connection_is_gone_at_once() {
    let world = World::new("delete").await;
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let connection = world.wait_for_reason("AllPermissionsGranted").await;
    assert_eq!(connection.metadata.finalizers, None);
    // Even without an operator, because there is no finalizer.
    world.wait_for_tidy_ledger().await;
    operator.kill();
    world.connections().delete(CONNECTION, &DeleteParams::default()).await.expect("deleted");
    let uid = connection.metadata.uid.expect("a uid");
    let gone = await_condition(world.connections(), CONNECTION, is_deleted(&uid));
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("at once").expect("a watch");

    // One that is deleted and recreated during a check is a new connection.
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.connections().delete(CONNECTION, &DeleteParams::default()).await.expect("deleted");
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}

#[tokio::test]
async fn profiles_and_an_administrators_own_permissions_are_expanded() {
    let world = World::new("profiles").await;
    let mut config = tempfile::NamedTempFile::new().expect("a file");
    let rows = "permissions: [{name: TimeOffRequests, title: Time Off Requests, enables: requests for time off, \
                rest: {path: /personnel/v1/pto-plans, people: true, pageSize: per_page}}]\n\
                profiles: [{name: Ours, description: what we need, permissions: [{name: TimeOffRequests}, {name: EmployeeContacts}]}]\n";
    config.write_all(rows.as_bytes()).expect("written");
    let _operator = world.operator_with(&["--config", config.path().to_str().expect("a path")], &[]);
    let mut manifest = world.connection(&[]);
    manifest["spec"]["profiles"] = json!(["EmployeeData", "Ours"]);
    world.apply(&manifest).await.expect("accepted");
    let status = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    let found: Vec<_> = status.permissions.iter().map(|permission| permission.title.as_str()).collect();
    let employee_data =
        ["Employee Person Details", "Employee Job Details", "Employee Contacts", "Employee User Defined Fields"];
    assert_eq!(found, [employee_data.as_slice(), &["Time Off Requests"]].concat());

    manifest["spec"]["profiles"] = json!(["EmployeeDatas"]);
    world.apply(&manifest).await.expect("accepted");
    let status = world.wait_for_reason("PermissionUnknown").await.status.expect("a status");
    let message = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(message.contains("there is no profile EmployeeDatas (nearest: EmployeeData"), "{message}");
    world.finish().await;
}
