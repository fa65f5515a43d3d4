use http::Method;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::REQUESTED_AT;
use crate::cluster::response_filter::layer::is_filtered;
use crate::cluster::response_filter::projection::ANNOTATION_MAX;

fn filtered(projection: &Projection, text: &str, piece: usize) -> String {
    let mut filter = JsonFilter::new(projection.clone());
    let kept = text.as_bytes().chunks(piece).flat_map(|piece| filter.filter(piece)).collect();
    String::from_utf8(kept).expect("text")
}

/// Filters in one piece and byte by byte, which must give the same.
fn as_json(projection: &Projection, text: &str) -> Value {
    let [whole, by_bytes] = [text.len().max(1), 1].map(|piece| filtered(projection, text, piece));
    assert_eq!(whole, by_bytes);
    serde_json::from_str(&whole).unwrap_or_else(|error| panic!("{error}: {whole}"))
}

fn object(metadata: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "K", "metadata": metadata, "spec": {"metadata": {"labels": {"a": [1, {}, []]}}, "b": null},
        "status": {"conditions": [{"type": "Ready", "message": "says \"so\" \\ {[\u{2028}"}]}})
}

#[test]
fn of_an_object_everything_is_kept_but_what_metadata_holds_for_others() {
    let kept = json!({"name": "n", "namespace": "ns", "uid": "u", "resourceVersion": "1", "generation": 3,
        "annotations": {REQUESTED_AT: "now"}});
    let mut whole = kept.clone();
    whole["labels"] = json!({"a": "b"});
    whole["managedFields"] = json!([{"fieldsV1": {"f:metadata": {"f:\"}]": {}}}}]);
    whole["finalizers"] = json!(["x".repeat(1000)]);
    whole["annotations"]["junk\"}"] = json!("y}\"\\".repeat(1000));
    whole["annotations"]["z".repeat(KEY_MAX + 1)] = json!("");
    for wrap in [
        (|object| object) as fn(Value) -> Value,
        |object| json!({"type": "ADDED", "object": object}),
        |object| json!({"kind": "List", "metadata": {"continue": "c", "resourceVersion": "7"}, "items": [object.clone(), object]}),
        |_| json!({"kind": "List", "metadata": {}, "items": []}),
    ] {
        let found = as_json(&Projection::Objects, &wrap(object(whole.clone())).to_string());
        assert_eq!(found, wrap(object(kept.clone())));
        let pretty = serde_json::to_string_pretty(&wrap(object(whole.clone()))).expect("JSON");
        assert_eq!(as_json(&Projection::Objects, &pretty), wrap(object(kept.clone())));
    }
}

#[test]
fn the_events_of_a_watch_stay_lines() {
    let event = |version: &str| json!({"type": "ADDED", "object": {"metadata": {"resourceVersion": version}}}).to_string();
    let text = format!("{}\n{}\n", event("1"), event("2"));
    assert_eq!(filtered(&Projection::Objects, &text, 5), text);
}

#[test]
fn a_request_is_kept_as_far_as_it_counts() {
    for (value, least) in [("é".repeat(5000), 500), ("x\\\"\u{2028}".repeat(5000), 100), ("short".to_owned(), 5)] {
        let found = as_json(&Projection::Objects, &object(json!({"annotations": {REQUESTED_AT: value}})).to_string());
        let kept = found["metadata"]["annotations"][REQUESTED_AT].as_str().expect("a text");
        assert!(value.starts_with(kept) && kept.chars().count() >= least, "{} characters", kept.chars().count());
        assert!(kept.len() <= ANNOTATION_MAX);
    }
}

#[test]
fn an_annotation_is_never_cut_amid_an_escape() {
    // `<` as Go's encoder writes it, a quotation mark, and a character that needs two escapes; at every offset.
    for (unit, character) in
        [("\\u003c", "<"), ("\\\"", "\""), ("\\u2028", "\u{2028}"), ("\\ud83d\\ude00", "\u{1f600}"), ("\\\\", "\\")]
    {
        for offset in 0..12 {
            let value = format!("{}{}", "x".repeat(offset), unit.repeat(600));
            let text = format!(r#"{{"metadata":{{"annotations":{{"{REQUESTED_AT}":"{value}"}},"name":"n"}}}}"#);
            let found = as_json(&Projection::Objects, &text);
            let kept = found["metadata"]["annotations"][REQUESTED_AT].as_str().expect("a text");
            let whole = format!("{}{}", "x".repeat(offset), character.repeat(600));
            assert!(whole.starts_with(kept) && kept.chars().count() >= 64, "{unit} at {offset}: {kept}");
            assert_eq!(found["metadata"]["name"], "n");
        }
    }
}

#[test]
fn of_a_secret_the_wanted_values_are_kept_and_null_stands_for_a_long_one() {
    let projection = Projection::Values(vec![("password".to_owned(), 8), ("username".to_owned(), 8), ("odd".to_owned(), 8)]);
    let secret = json!({"kind": "Secret", "immutable": true, "metadata": {"resourceVersion": "7", "annotations": {"a": "b"}},
        "data": {"username": "12345678", "password": "123456789\\\"", "keystore": "x".repeat(1 << 20), "odd": {"a": "}"}}});
    let expected =
        json!({"metadata": {"resourceVersion": "7"}, "data": {"username": "12345678", "password": null, "odd": null}});
    assert_eq!(as_json(&projection, &secret.to_string()), expected);
    assert_eq!(as_json(&projection, r#"{"data":null,"metadata":{}}"#), json!({"data": null, "metadata": {}}));
}

#[test]
fn nothing_is_held_of_what_is_left_out() {
    let mut filter = JsonFilter::new(Projection::Values(vec![("password".to_owned(), 4096)]));
    let mut most = 0;
    let text = format!(r#"{{"data":{{"password":"{0}","other":"{0}"}}}}"#, "A".repeat(1 << 20));
    let kept: usize = text
        .as_bytes()
        .chunks(1 << 14)
        .map(|piece| {
            let kept = filter.filter(piece);
            most = most.max(filter.text.capacity() + kept.capacity());
            kept.len()
        })
        .sum();
    assert!(most <= 2 * 4096 && kept < 100, "{most} bytes held, {kept} kept");
}

#[test]
fn what_is_deep_is_left_out() {
    let deep = format!(r#"{{"spec":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let mut filter = JsonFilter::new(Projection::Objects);
    let kept = filter.filter(deep.as_bytes());
    assert!(kept.len() < 200 && filter.containers.capacity() <= 2 * DEPTH_MAX, "{}", String::from_utf8_lossy(&kept));
    serde_json::from_slice::<Value>(&kept).expect("JSON");
}

#[test]
fn what_is_no_json_stays_none() {
    for text in ["<html></html>", "{]", "{\"a\" 1}", "[1}", "{\"a\":1", "]", "{\"a\":\"b\" \"c\"}"] {
        let kept = filtered(&Projection::Objects, text, 3);
        assert!(serde_json::from_str::<Value>(&kept).is_err(), "{text} became {kept}");
    }
}

#[test]
fn only_connections_and_lists_of_secrets_are_sifted() {
    let connections = "/apis/ukgpro.dev/v1alpha1/ukgproconnections";
    let in_namespace = "/apis/ukgpro.dev/v1alpha1/namespaces/a/ukgproconnections/acme/status";
    for path in [connections, in_namespace, "/api/v1/secrets", "/api/v1/namespaces/a/secrets"] {
        assert!(is_filtered(&Method::GET, path), "{path}");
    }
    for path in ["/api/v1/namespaces/a/secrets/ledger", "/apis/coordination.k8s.io/v1/namespaces/a/leases/ukgpro-operator"] {
        assert!(!is_filtered(&Method::GET, path), "{path}");
    }
    // The next write of a part of the ledger sends back what was kept of it when it was created, including labels of others.
    assert!(!is_filtered(&Method::POST, "/api/v1/namespaces/a/secrets"));
    assert!(is_filtered(&Method::PATCH, in_namespace));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((".{0,6}", inner), 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_spec_holds_comes_through_as_it_was(spec in any_json(), piece in 1_usize..20) {
        let text = json!({"metadata": {"name": "n"}, "spec": spec}).to_string();
        let kept = filtered(&Projection::Objects, &text, piece);
        prop_assert_eq!(serde_json::from_str::<Value>(&kept).expect("JSON"), serde_json::from_str::<Value>(&text).expect("JSON"));
    }

    #[test]
    fn no_bytes_make_it_panic_or_grow(bytes in prop::collection::vec(any::<u8>(), 0..200), piece in 1_usize..20) {
        let mut filter = JsonFilter::new(Projection::Objects);
        let kept: usize = bytes.chunks(piece).map(|piece| filter.filter(piece).len()).sum();
        // At most, `null` replaces a value, and a comma comes between two.
        prop_assert!(kept <= 5 * bytes.len());
    }
}
