//! The four verdicts, and what comes with them.

use serde_json::json;
use ukgpro_operator::api::PermissionState;
use ukgpro_operator::api::conditions::{find, is_true};

use crate::support::World;
use crate::support::simulator::all_permissions;

const GUIDE: [&str; 6] = [
    "EmployeePersonDetails",
    "EmployeeJobDetails",
    "EmployeeContacts",
    "EmployeeUserDefinedFields",
    "EmployeeCompensationDetails",
    "PtoPlanIntegration",
];

#[tokio::test]
async fn all_is_well_and_kubectl_shows_it() {
    let world = World::new("active").await;
    // At this level every library logs. World::finish checks that no credential is in the log.
    let _operator = world.operator_with(&["--log-level", "trace"], &[]);
    let all = all_permissions();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    world.apply(&world.connection(&all)).await.expect("accepted");
    let (ready, said) = world.kubectl(&["wait", "--for=condition=Ready", "ukg/acme", "--timeout=60s"]).await;
    assert!(ready, "{said}");

    let status = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    assert_eq!(status.state, "Active");
    assert_eq!(status.endpoint, Some(format!("https://service4.{}", world.domain())));
    assert_eq!(status.permissions.len(), all.len());
    assert!(status.permissions.iter().all(|permission| permission.state == PermissionState::Granted));
    assert!(find(&status.conditions, "Stalled").is_none() && find(&status.conditions, "Reconciling").is_none());

    let (_, table) = world.kubectl(&["get", "ukg"]).await;
    let header: Vec<_> = table.lines().next().expect("a header").split_whitespace().collect();
    assert_eq!(header, ["NAME", "STATE", "READY", "REASON", "HOST", "AGE", "MISSING"]);
    assert!(
        table.contains("Active")
            && table.contains("True")
            && table.contains("AllPermissionsGranted")
            && table.contains("https://service4.ultipro.localhost"),
        "{table}"
    );
    let (_, wide) = world.kubectl(&["get", "ukgpro", "-o", "wide"]).await;
    assert!(wide.contains("acme-ukg-pro") && wide.contains("10m"), "{wide}");
    assert_eq!(world.simulator.logins(&world.account).await, (1, 0));
    assert!(world.operator_log().contains("TRACE"));
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_password_is_unauthorized_and_costs_one_login() {
    let world = World::new("unauthorized").await;
    let mut right = world.account.clone();
    right.password = "something-else".to_owned();
    world.simulator.play(&right).await;
    let operator = world.operator();
    world.apply(&world.connection(&GUIDE)).await.expect("accepted");
    let status = world.wait_for_reason("CredentialsRejected").await.status.expect("a status");
    assert_eq!(status.state, "Unauthorized");
    assert!(is_true(&status.conditions, "Unauthorized") && is_true(&status.conditions, "Stalled"));
    let message = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(message.contains("Service Account Administration") && message.contains("acme-ukg-pro"), "{message}");

    // Each of these triggers a check, and none may spend a login, because the values are the same.
    world.edit_secret(json!({"metadata": {"labels": {"touched": "yes"}}})).await;
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    operator.kill();
    world.edit(json!({"spec": {"interval": "2h"}})).await;
    let read_before = world.secrets_read();
    let operator = world.operator();
    world.wait_until("the check after a restart", async || world.secrets_read() > read_before).await;
    // A stop waits for running checks, and so for a login they would make.
    assert!(operator.stop().success());
    assert_eq!(world.simulator.logins(&world.account).await, (1, 1));
    assert_eq!(world.events(1).await, ["CredentialsRejected"]);

    let _operator = world.operator();
    // The right values are tried at once.
    world.edit_secret(json!({"stringData": {"password": right.password}})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}

#[tokio::test]
async fn a_missing_permission_is_forbidden_by_its_name() {
    let world = World::new("forbidden").await;
    let mut account = world.account.clone();
    account.permissions.retain(|name| !matches!(name.as_str(), "EmployeeJob" | "EmployeeJobDetails" | "PtoPlanIntegration"));
    world.simulator.play(&account).await;
    let _operator = world.operator();
    world.apply(&world.connection(&GUIDE)).await.expect("accepted");
    let status = world.wait_for_reason("PermissionsMissing").await.status.expect("a status");
    assert_eq!(status.state, "Forbidden");
    assert!(is_true(&status.conditions, "Forbidden") && is_true(&status.conditions, "Stalled"));
    assert_eq!(status.missing.as_deref(), Some("EmployeeJobDetails, PtoPlanIntegration"));
    for permission in &status.permissions {
        let denied = matches!(permission.name.as_str(), "EmployeeJobDetails" | "PtoPlanIntegration");
        let state = if denied { PermissionState::Denied } else { PermissionState::Granted };
        assert_eq!(permission.state, state, "{}", permission.name);
    }
    let message = &find(&status.conditions, "Forbidden").expect("always there").message;
    assert!(message.contains("Employee Job Details, PTO Plan Integration"), "{message}");

    // Once ticked, the permission is seen at the next check. A change of the spec triggers one at once.
    world.simulator.play(&world.account).await;
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    let status = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    assert_eq!(status.missing, None);
    assert_eq!(world.events(2).await, ["PermissionsMissing", "AllPermissionsGranted"]);

    // Once the permission is removed again, an event names it.
    world.simulator.play(&account).await;
    world.edit(json!({"spec": {"interval": "2h"}})).await;
    world.wait_for_reason("PermissionsMissing").await;
    assert_eq!(world.events(3).await[2], "PermissionsMissing");
    let (_, events) = world.kubectl(&["events", "--for=ukg/acme", "-o", "jsonpath={.items[*].message}"]).await;
    assert!(events.contains("UKG Pro denies these permissions: Employee Job Details, PTO Plan Integration."), "{events}");
    world.finish().await;
}

#[tokio::test]
async fn no_usable_answer_is_unreachable_by_its_stage() {
    let world = World::new("unreachable").await;
    let _operator = world.operator();
    // Port 1 on loopback: nobody listens.
    let mut manifest = world.connection(&GUIDE);
    manifest["spec"]["domain"] = json!("ultipro.localhost:1");
    world.apply(&manifest).await.expect("accepted");
    let status = world.wait_for_reason("ConnectRefused").await.status.expect("a status");
    assert_eq!(status.state, "Unreachable");
    assert!(is_true(&status.conditions, "Unreachable") && is_true(&status.conditions, "Reconciling"));

    // The company's login page, where people look for the subdomain first.
    let mut manifest = world.connection(&GUIDE);
    manifest["spec"]["subdomain"] = json!("login");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("NotUkgPro").await;

    // The simulator's authority is not trusted without spec.caRef.
    let mut manifest = world.connection(&GUIDE);
    manifest["spec"].as_object_mut().expect("a map").remove("caRef");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("TlsUntrusted").await;

    for (index, (answer, reason)) in [
        (json!({"status": 503}), "ServerError"),
        (json!({"status": 405}), "ServerError"),
        (json!({"status": 429, "headers": {"retry-after": "7"}}), "RateLimited"),
        (json!({"status": 302, "headers": {"location": "https://service4.ultipro.localhost/"}}), "NotUkgPro"),
        (json!({"closeConnection": true}), "ConnectionLost"),
        (json!({"delaySeconds": 30}), "AnswerTimeout"),
    ]
    .into_iter()
    .enumerate()
    {
        world.simulator.faults(json!([{"operation": "LoginService/Authenticate", "answer": answer}])).await;
        let mut manifest = world.connection(&GUIDE);
        manifest["spec"]["timeout"] = json!("10s");
        // A requested check passes a hold. A login whose answer was lost is held.
        manifest["metadata"]["annotations"] = json!({"reconcile.fluxcd.io/requestedAt": index.to_string()});
        world.apply(&manifest).await.expect("accepted");
        world.wait_for_reason(reason).await;
    }
    assert_eq!(world.simulator.logins(&world.account).await.1, 0, "nothing of this is a refusal");
    world.finish().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_told_is_never_active() {
    let world = World::new("undetermined").await;
    let _operator = world.operator();
    let unclear = json!({"operationError": {"message": "Something else", "severity": "Error", "code": "1"}});
    world.simulator.faults(json!([{"operation": "EmployeeJob/FindJobs", "answer": unclear}])).await;
    world.apply(&world.connection(&GUIDE)).await.expect("accepted");
    let status = world.wait_for_reason("PermissionsUndetermined").await.status.expect("a status");
    assert_eq!(status.state, "Unknown");
    assert_eq!(find(&status.conditions, "Ready").expect("always there").status, "Unknown");

    // A refusal in unknown words gives no verdict either, and is not sent again.
    world.simulator.faults(json!([{"operation": "LoginService/Authenticate", "answer": {"loginFailed": "Nein."}}])).await;
    world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})).await;
    let status = world.wait_for_reason("LoginFailedUnexplained").await.status.expect("a status");
    assert_eq!(status.state, "Unknown");
    let before = world.simulator.requests().await;
    world.edit(json!({"spec": {"interval": "2h"}})).await;
    world.wait_for_reason("LoginFailedUnexplained").await;
    assert_eq!(world.simulator.requests().await, before);
    world.finish().await;
}
