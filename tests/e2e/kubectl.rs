//! What users of kubectl see: tables, selections, explanations.

use serde_json::json;
use ukgpro_operator::api::conditions::find;

use crate::support::World;

/// Returns a table's columns and its one row.
async fn table(world: &World, flags: &[&str]) -> (Vec<String>, String) {
    let (listed, said) = world.kubectl(&[&["get", "ukg"], flags].concat()).await;
    assert!(listed, "{said}");
    let (head, rows) = said.split_once('\n').expect("a head");
    (head.split_whitespace().map(str::to_owned).collect(), rows.to_owned())
}

#[tokio::test]
async fn a_table_tells_the_reason_and_keeps_what_is_long_for_its_end() {
    let world = World::new("table").await;
    let _operator = world.operator();
    world.apply(&world.connection(&["EmployeeShoeSize"])).await.expect("accepted");
    world.wait_for_reason("PermissionUnknown").await;
    let (columns, row) = table(&world, &[]).await;
    assert_eq!(columns, ["NAME", "STATE", "READY", "REASON", "HOST", "AGE", "MISSING"]);
    assert!(row.contains("PermissionUnknown"), "{row}");
    // A message has hundreds of characters.
    let (columns, row) = table(&world, &["-o", "wide"]).await;
    assert_eq!(columns, ["NAME", "STATE", "READY", "REASON", "HOST", "SECRET", "INTERVAL", "SUSPENDED", "AGE", "MISSING"]);
    assert!(row.lines().all(|line| line.len() < 200), "{row}");

    world.simulator.faults(json!([{"operation": "EmployeePerson/FindPeople", "answer": {"status": 403}}])).await;
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let status = world.wait_for_reason("PermissionsMissing").await.status.expect("a status");
    let (_, row) = table(&world, &[]).await;
    assert!(row.trim_end().ends_with("EmployeePersonDetails"), "{row}");
    // Select by host, for example to find the connections of one data centre.
    let host = status.endpoint.expect("a host");
    for (selected, found) in [(host.as_str(), true), ("https://service5.ultipro.com", false)] {
        let selector = format!("status.endpoint={selected}");
        let (listed, said) = world.kubectl(&["get", "ukg", "--field-selector", &selector, "-o", "name"]).await;
        assert!(listed && said.contains("/acme") == found, "{selector}: {said}");
    }
    world.finish().await;
}

/// A client that does not validate fields, as many do not, drops `permission` silently.
#[tokio::test]
async fn a_misspelt_permissions_is_seen_in_the_table() {
    let world = World::new("misspelt").await;
    let _operator = world.operator();
    let mut manifest = world.connection(&[]);
    manifest["spec"]["permission"] = json!([{"name": "EmployeePersonDetails"}]);
    let file = world.directory.path().join("misspelt.json");
    std::fs::write(&file, manifest.to_string()).expect("written");
    let file = file.to_str().expect("a path");
    let (made, said) = world.kubectl(&["apply", "-f", file]).await;
    assert!(!made && said.contains("unknown field \"spec.permission\""), "{said}");
    let (made, said) = world.kubectl(&["apply", "--validate=false", "-f", file]).await;
    assert!(made, "{said}");
    let status = world.wait_for_reason("OnlyLoginTested").await.status.expect("a status");
    let message = &find(&status.conditions, "Ready").expect("always there").message;
    assert!(message.contains("none was tested") && message.contains("spec.permissions"), "{message}");
    let (_, row) = table(&world, &[]).await;
    assert!(row.contains("OnlyLoginTested"), "{row}");
    world.finish().await;
}

/// `kubectl explain` shows no defaults by itself.
#[tokio::test]
async fn every_field_is_explained_with_its_default_and_every_column_has_a_description() {
    let world = World::new("explain").await;
    // The API server publishes the explanations a moment after the CRD is installed.
    world.wait_until("the explanations", async || world.kubectl(&["explain", "ukg.spec"]).await.0).await;
    for (field, words) in [
        ("spec.interval", "Default: 10m"),
        ("spec.timeout", "Default: 30s"),
        ("spec.failureThreshold", "Default: 3"),
        ("spec.suspend", "Default: false"),
        ("spec.secretRef.trim", "Default: None"),
        ("spec.secretRef.keys.customerApiKey", "Default: customerApiKey"),
        ("spec.caRef.kind", "Default: ConfigMap"),
        ("spec.caRef.key", "Default: ca.crt"),
        ("spec.permissions.api", "Default: Auto"),
        ("spec.profiles", "`EmployeeData`, `Compensation`"),
    ] {
        let (explained, said) = world.kubectl(&["explain", &format!("ukg.{field}")]).await;
        assert!(explained && said.split_whitespace().collect::<Vec<_>>().join(" ").contains(words), "{field}: {said}");
    }
    let crd = serde_json::to_value(ukgpro_operator::api::crd()).expect("JSON");
    let columns = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().expect("columns");
    assert!(columns.iter().all(|column| column["description"].as_str().is_some_and(|text| !text.is_empty())), "{columns:?}");
    world.finish_without_operator().await;
}
