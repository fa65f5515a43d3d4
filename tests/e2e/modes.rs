//! The ways of noticing a changed Secret, each with the rights it needs and no more.

use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::json;

use crate::support::World;

/// The rules, without these verbs on Secrets.
fn without(rules: Option<Vec<PolicyRule>>, verbs: &[&str]) -> Option<Vec<PolicyRule>> {
    let of_secrets = |rule: &PolicyRule| rule.resources.iter().flatten().any(|resource| resource == "secrets");
    let strip = |mut rule: PolicyRule| {
        if of_secrets(&rule) {
            rule.verbs.retain(|verb| !verbs.contains(&verb.as_str()));
        }
        rule
    };
    Some(rules.into_iter().flatten().map(strip).collect())
}

#[tokio::test]
async fn without_a_watch_a_secret_is_read_by_name_and_a_change_seen_at_the_next_check() {
    let world = World::new("get").await;
    let rules = world.set_rules(None).await;
    world.set_rules(without(rules, &["list", "watch"])).await;
    let _operator = world.operator_with(&["--watch-secrets", "none"], &[]);
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    world.finish().await;
}

#[tokio::test]
async fn of_labelled_secrets_a_change_is_seen_at_once() {
    let world = World::new("labelled").await;
    world.edit_secret(json!({"metadata": {"labels": {"ukgpro.dev/watch": "true"}}})).await;
    let _operator = world.operator_with(&["--watch-secrets", "labelled"], &[]);
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    world.wait_for_reason("CredentialsRejected").await;
    // Without the label it is still read, and that it went is news as well.
    world.edit_secret(json!({"stringData": {"password": world.account.password}, "metadata": {"labels": null}})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}
