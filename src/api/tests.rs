use std::time::Duration;

use super::spec::{INTERVAL, REQUEST_MAX, within};
use super::*;

#[test]
fn the_defaults_of_the_crd_are_the_defaults_of_the_types() {
    let crd = serde_json::to_value(crd()).expect("a CRD is JSON");
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    assert_eq!((&spec["interval"]["default"], &spec["timeout"]["default"]), (&json!("10m"), &json!("30s")));
    let status = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]["default"];
    let status: UkgProConnectionStatus = serde_json::from_value(status.clone()).expect("a status");
    // With a generation, kstatus would report a mismatch instead of the conditions' message.
    assert_eq!(status.observed_generation, None);
    assert_eq!(status.conditions.len(), crate::api::conditions::ALWAYS.len());
}

#[test]
fn durations_are_read_and_kept_within_bounds_whatever_was_stored() {
    for (text, expected) in [
        ("10m", Some(600)),
        ("1h30m", Some(5400)),
        ("90s", Some(90)),
        ("", None),
        ("10", None),
        ("m", None),
        ("-1m", None),
        ("1s-5s", None),
        ("soon", None),
        ("1.5h", None),
        ("99999999999999999999h", None),
        ("9999999999999999h", None),
        ("1ä", None),
    ] {
        assert_eq!(duration(text), expected.map(Duration::from_secs), "{text:?}");
    }
    for (text, expected) in [("0s", 60), ("48h", 86_400), ("soon", 600), ("5m", 300)] {
        assert_eq!(within(text, "10m", INTERVAL).as_secs(), expected, "{text:?}");
    }
}

#[test]
fn a_verdict_is_about_the_fields_it_depends_on() {
    let connection = crate::controller::decide::tests::connection();
    let base = connection.spec.checked();
    let mut same = connection.spec.clone();
    (same.suspend, same.interval, same.timeout) = (true, "1h".to_owned(), "1m".to_owned());
    assert_eq!(same.checked(), base);
    let mut other = connection.spec.clone();
    other.subdomain = Some("service5".to_owned());
    assert_ne!(other.checked(), base);
    other = connection.spec;
    other.permissions.pop();
    assert_ne!(other.checked(), base);
}

#[test]
fn a_request_is_open_until_it_is_answered() {
    let mut connection = crate::controller::decide::tests::connection();
    assert_eq!(connection.open_request(), None);
    let long = "ä".repeat(REQUEST_MAX + 1);
    connection.metadata.annotations = Some([(REQUESTED_AT.to_owned(), long)].into());
    let request = connection.open_request().expect("open").to_owned();
    assert_eq!(request.chars().count(), REQUEST_MAX);
    connection.status =
        Some(UkgProConnectionStatus { last_handled_reconcile_at: Some(request), ..UkgProConnectionStatus::default() });
    assert_eq!(connection.open_request(), None);
}

#[test]
fn what_a_newer_operator_may_have_written_is_still_readable() {
    let spec = json!({"secretRef": {"name": "x", "trim": "Blanks"}, "caRef": {"kind": "Bundle", "name": "x"},
        "permissions": [{"name": "X", "api": "GraphQL"}], "interval": "soon"});
    let spec: UkgProConnectionSpec = serde_json::from_value(spec).expect("readable");
    assert_eq!(spec.permissions[0].api, ApiChoice::Auto);
}

#[test]
fn a_status_of_a_newer_operator_is_still_readable() {
    let status = json!({"conditions": [], "permissions": [{
        "name": "X", "title": "X", "access": "Edit", "api": "GraphQL", "state": "Novel", "since": "2026-01-01T00:00:00Z"}]});
    let status: UkgProConnectionStatus = serde_json::from_value(status).expect("readable");
    assert_eq!(status.permissions[0].state, PermissionState::Unknown);
}

#[test]
fn a_name_that_would_change_a_path_is_the_name_of_nothing() {
    for name in ["", "my ca", "a/b", "../x", "A", "-a", "a-", "a?b", "ä", &"a".repeat(254)] {
        assert!(!is_object_name(name), "{name}");
    }
    assert!(is_object_name("simulator-ca") && is_object_name("a.b.c-1"));
}
