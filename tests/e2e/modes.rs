//! The modes of noticing a changed Secret, each with only the rights it needs.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use ukgpro_operator::api::UkgProConnection;

use crate::support::World;
use crate::support::world::{CONNECTION, SECRET};

/// Returns the rules without these verbs on Secrets.
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
async fn several_namespaces_are_watched_and_no_other() {
    let world = World::spread("several", 2).await;
    let [first, second, third] = [&world.namespace, &world.elsewhere[0], &world.elsewhere[1]];
    let _operator = world.operator_with(&["--namespace", &format!("{first},{second}")], &[]);
    let secret = world.secrets().get(SECRET).await.expect("a Secret").data;
    let params = PatchParams::apply("tests").force();
    for namespace in [third, second, first] {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": secret});
        let secrets = Api::<Secret>::namespaced(world.admin.clone(), namespace);
        secrets.patch(SECRET, &params, &Patch::Apply(&secret)).await.expect("the Secret is applied");
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["namespace"] = json!(namespace);
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        connections.patch(CONNECTION, &params, &Patch::Apply(&manifest)).await.expect("applied");
    }
    let state = async |namespace: &str| {
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        connections.get(CONNECTION).await.expect("there").status.expect("a status").state
    };
    for namespace in [first, second] {
        world.wait_until("a verdict", async || state(namespace).await == "Active").await;
    }
    assert_eq!(state(third).await, "Unknown");
    // A change of a Secret is seen in each.
    let secrets = Api::<Secret>::namespaced(world.admin.clone(), second);
    let wrong = json!({"stringData": {"password": "wrong"}});
    secrets.patch(SECRET, &PatchParams::default(), &Patch::Merge(&wrong)).await.expect("edited");
    world.wait_until("the refusal", async || state(second).await == "Unauthorized").await;
    assert_eq!(state(first).await, "Active");
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
    // A Secret without the label is still read, and the removal of the label is noticed too.
    world.edit_secret(json!({"stringData": {"password": world.account.password}, "metadata": {"labels": null}})).await;
    world.wait_for_reason("AllPermissionsGranted").await;
    world.finish().await;
}
