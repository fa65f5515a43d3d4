//! The rehearsal of a rotation: future values are checked alongside the live ones.

use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnectionStatus;
use ukgpro_operator::api::conditions::find;

use crate::support::World;
use crate::support::world::SECRET;

fn ready(status: &UkgProConnectionStatus) -> Option<(String, String)> {
    find(&status.conditions, "CandidateReady").map(|condition| (condition.status.clone(), condition.reason.clone()))
}

fn is(status: &'static str, reason: &'static str) -> impl Fn(&UkgProConnectionStatus) -> bool {
    move |found| ready(found) == Some((status.to_owned(), reason.to_owned()))
}

/// Returns the Secret's values, with this password.
fn values(world: &World, password: &str) -> Value {
    let [username, _, customer_api_key, user_api_key] = world.account.secrets();
    json!({"username": username, "password": password, "customerApiKey": customer_api_key, "userApiKey": user_api_key})
}

#[tokio::test]
async fn a_candidate_is_checked_beside_the_live_one_and_promoted_without_another_login() {
    let world = World::new("candidate").await;
    let operator = world.operator();
    let mut manifest = world.connection(&["EmployeePersonDetails", "PtoPlanIntegration"]);
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;

    // The candidate has its own condition, and the verdict stays.
    manifest["spec"]["candidateSecretRef"] = json!({"name": "next"});
    world.apply(&manifest).await.expect("accepted");
    world.wait_for("no Secret", is("False", "SecretNotFound")).await;
    world.put_secret_named("next", values(&world, "not-yet")).await;
    let refused = world.wait_for("a refusal", is("False", "CredentialsRejected")).await.status.expect("a status");
    assert_eq!(refused.state, "Active");
    let (_, attempts_refused) = world.simulator.logins(&world.account).await;
    assert_eq!(attempts_refused, 1);
    assert!(find(&refused.conditions, "CandidateReady").expect("there").message.starts_with("Candidate: "));
    // The login guard covers the candidate too: at the next check it is not sent again.
    world.edit(json!({"spec": {"interval": "1h"}})).await;
    world.wait_for("a look", is("False", "CredentialsRejected")).await;
    assert_eq!(world.simulator.logins(&world.account).await.1, 1);

    // Rotated in UKG Pro: the live values are refused, the candidate works.
    let mut rotated = world.account.clone();
    rotated.password = "rotated".to_owned();
    world.simulator.play(&rotated).await;
    world.put_secret_named("next", values(&world, "rotated")).await;
    let status = world.wait_for("the candidate", is("True", "AllPermissionsGranted")).await.status.expect("a status");
    let message = &find(&status.conditions, "CandidateReady").expect("there").message;
    assert!(message.contains("Secret next in spec.secretRef"), "{message}");
    world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}})).await;
    world.wait_for("the refusal of the live values", |status| status.state == "Unauthorized").await;

    // Even with another operator.
    world.wait_for_tidy_ledger().await;
    assert!(operator.stop().success());
    let before = world.simulator.requests().await;
    let _operator = world.operator();
    let bound = |status: &UkgProConnectionStatus| status.binding.as_ref().map(|binding| binding.name.clone());
    assert_eq!(bound(&refused).as_deref(), Some(SECRET), "a candidate binds nobody");
    manifest["spec"].as_object_mut().expect("a map").remove("candidateSecretRef");
    manifest["spec"]["secretRef"] = json!({"name": "next"});
    manifest["spec"]["interval"] = json!("1h");
    world.apply(&manifest).await.expect("accepted");
    let promoted = world.wait_for_reason("AllPermissionsGranted").await.status.expect("a status");
    assert_eq!((promoted.state.as_str(), ready(&promoted)), ("Active", None));
    assert_eq!(bound(&promoted).as_deref(), Some("next"));
    assert_eq!(world.simulator.requests().await, before, "nothing was sent for it");
    world.finish().await;
}
