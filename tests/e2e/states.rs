//! Connections as the API server stores them, one for each state. They test kstatus, Argo CD and other readers of a status.
//!
//! They are committed under `tests/states/`. A run compares them, and `UPDATE_STATES=1` rewrites them.

use std::path::PathBuf;

use kube::api::DynamicObject;
use serde_json::{Value, json};
use ukgpro_operator::api::Reason;

use crate::support::World;

/// Replaces every timestamp.
const MOMENT: &str = "2026-01-01T00:00:00Z";

/// Compares a connection with the committed one of this name, ignoring what differs between runs.
pub fn compare(name: &str, stored: &DynamicObject) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/states/{name}.yaml"));
    let mut found = serde_json::to_value(stored).expect("JSON");
    let metadata = &mut found["metadata"];
    *metadata = json!({
        "name": metadata["name"], "namespace": "hr-integrations", "generation": metadata["generation"],
        "uid": "00000000-0000-0000-0000-000000000000", "resourceVersion": "1", "creationTimestamp": MOMENT,
        "annotations": metadata["annotations"],
    });
    normalise(&mut found);
    let found = serde_saphyr::to_string(&found).expect("YAML");
    if std::env::var_os("UPDATE_STATES").is_some() {
        std::fs::write(&path, found).expect("written");
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == found,
        "tests/states/{name}.yaml has drifted from what the API server stores; if that is meant, run this with UPDATE_STATES=1 and \
         commit the result\n--- committed\n{committed}\n--- found\n{found}"
    );
}

fn normalise(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            for (key, value) in map {
                match key.as_str() {
                    "secretResourceVersion" => *value = json!("1"),
                    // It depends on the domain, and so on the port.
                    "checkedSpec" => *value = json!("0000000000000000"),
                    _ => normalise(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(normalise),
        Value::String(text) => *text = text.split(' ').map(normalised).collect::<Vec<_>>().join(" "),
        _ => {}
    }
}

/// Replaces a timestamp or a port in a word.
fn normalised(word: &str) -> String {
    let bare = word.trim_end_matches(['.', ',', ';']);
    match (bare.parse::<jiff::Timestamp>(), word.split_once("localhost:")) {
        // The timestamp of the default status, the Unix epoch, is the same in every run.
        (Ok(moment), _) if moment != jiff::Timestamp::UNIX_EPOCH => word.replacen(bare, MOMENT, 1),
        (_, Some((before, after))) => {
            format!("{before}localhost{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
        }
        _ => word.to_owned(),
    }
}

/// A connection that is suspended, or edited while no operator runs. kstatus must not take the old verdict as one on the edit.
#[tokio::test]
async fn what_is_suspended_or_edited_is_stored_with_its_last_verdict() {
    let world = World::new("states").await;
    let operator = world.operator();
    let rejected = "rejected";
    world
        .put_secret_named(rejected, json!({"username": "a", "password": "b", "customerApiKey": "CNOTIT", "userApiKey": "d"}))
        .await;
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    world.apply(&manifest).await.expect("accepted");
    manifest["metadata"]["name"] = json!(rejected);
    manifest["spec"]["secretRef"]["name"] = json!(rejected);
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason(Reason::AllPermissionsGranted.as_str()).await;
    world.wait_for_reason_of(rejected, Reason::CustomerApiKeyRejected.as_str()).await;

    for (name, state) in [("acme", "ActiveThenSuspended"), (rejected, "UnauthorizedThenSuspended")] {
        world.edit_named(name, json!({"spec": {"suspend": true}})).await;
        compare(state, &world.wait_for_stored(name, Reason::Suspended.as_str(), 2).await);
        world.edit_named(name, json!({"spec": {"suspend": false}})).await;
    }
    world.wait_for_reason(Reason::AllPermissionsGranted.as_str()).await;
    world.wait_for_reason_of(rejected, Reason::CustomerApiKeyRejected.as_str()).await;

    // The candidate does not touch the verdict.
    world.edit_named("acme", json!({"spec": {"candidateSecretRef": {"name": rejected}}})).await;
    world.wait_for("a candidate", |status| status.conditions.iter().any(|condition| condition.type_ == "CandidateReady")).await;
    compare("ActiveWithRefusedCandidate", &world.wait_for_stored("acme", Reason::AllPermissionsGranted.as_str(), 4).await);
    world.edit_named("acme", json!({"spec": {"candidateSecretRef": null}})).await;
    world.wait_for("no candidate", |status| status.candidate.is_none()).await;

    assert!(operator.stop().success());
    for (name, state) in [("acme", "ActiveThenEdited"), (rejected, "UnauthorizedThenEdited")] {
        let edit = json!({"spec": {"permissions": [{"name": "EmployeePersonDetails"}, {"name": "PtoPlanIntegration"}]}});
        world.edit_named(name, edit).await;
        compare(state, &world.stored(name).await);
    }
    world.finish().await;
}
