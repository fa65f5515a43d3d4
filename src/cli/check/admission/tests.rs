use serde_json::json;

use super::*;

/// Collects all rules of the definition, each with its field.
fn rules(path: &str, schema: &JSONSchemaProps, found: &mut Vec<(String, String)>) {
    found.extend(schema.x_kubernetes_validations.iter().flatten().map(|rule| (path.to_owned(), rule.rule.clone())));
    for (name, property) in schema.properties.iter().flatten() {
        rules(&format!("{path}.{name}"), property, found);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        rules(&format!("{path}[]"), items, found);
    }
}

#[test]
fn every_rule_of_the_definition_is_known_but_those_on_the_host() {
    let crd = api::crd();
    let root = crd.spec.versions[0].schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref()).expect("a schema");
    let mut found = Vec::new();
    rules("", root, &mut found);
    for (path, rule) in found.iter().filter(|(path, _)| !path.ends_with("domain")) {
        assert!(RULES.iter().any(|(known, _)| known == rule), "{path}: {rule}");
    }
    for (known, _) in RULES {
        assert!(found.iter().any(|(_, rule)| rule == known), "no field has the rule {known}");
    }
}

#[test]
fn what_the_api_server_would_refuse_is_told_by_field() {
    let good = json!({"secretRef": {"name": "acme"}, "interval": "1h30m", "timeout": "30s", "permissions": [{"name": "X", "api": "REST"}],
        "profiles": ["A"], "suspend": false, "caRef": {"kind": "Secret", "name": "ca", "key": "ca.crt"}});
    assert_eq!(flaws(&json!({"spec": good})), [""; 0]);
    for (field, value, said) in [
        ("secretRef", json!({}), "spec.secretRef.name is missing"),
        ("profiles", json!([""]), "spec.profiles[0] is empty"),
        ("secretRef", json!({"name": "Acme"}), "spec.secretRef.name: this is not the name of a Secret"),
        ("secretRef", json!("acme"), "spec.secretRef must be an object"),
        (
            "secretRef",
            json!({"name": "a", "keys": {"passwort": "x"}}),
            "keys has an unknown field; the most similar field is password",
        ),
        ("permision", json!([]), "spec has an unknown field; the most similar field is permissions"),
        ("hunter2-zq", json!("x"), "spec has an unknown field"),
        ("controllerClass", json!("a.b"), "spec.controllerClass: controllerClass is not the name of a class"),
        ("interval", json!("30s"), "spec.interval: interval is not a duration from 1m to 24h"),
        ("interval", json!("ten"), "spec.interval: interval is not a duration"),
        ("interval", json!("5"), "spec.interval: interval is not a duration"),
        ("interval", json!(600), "spec.interval must be a string"),
        ("timeout", json!("6m"), "spec.timeout: timeout is not a duration from 10s to 5m"),
        ("timeout", json!(""), "spec.timeout: timeout is not a duration"),
        ("suspend", json!("yes"), "spec.suspend must be true or false"),
        ("permissions", json!([{"name": "employee contacts"}]), "spec.permissions[0].name: permissions[].name is not"),
        ("permissions", json!([{"name": "X", "api": "GraphQL"}]), "spec.permissions[0].api must be one of SOAP, REST, Auto"),
        (
            "permissions",
            json!([{"name": "X"}, {"name": "Y"}, {"name": "X", "api": "REST"}]),
            "spec.permissions[2] is a duplicate",
        ),
        ("permissions", json!([7]), "spec.permissions[0] must be an object"),
        ("profiles", json!(["A", "A"]), "spec.profiles[1] is a duplicate"),
        ("profiles", json!(vec!["A"; 17]), "spec.profiles must not have more than 16 entries"),
        ("subdomain", json!("x".repeat(254)), "spec.subdomain must not be longer than 253 characters"),
    ] {
        let mut spec = good.clone();
        spec[field] = value.clone();
        let flaws = flaws(&json!({"spec": spec}));
        assert!(flaws.len() == 1 && flaws[0].contains(said), "{field}: {value}: {flaws:?}");
        assert!(!flaws[0].contains("hunter2"), "{flaws:?}");
    }
    let mut spec = good;
    spec["interval"] = json!("1m");
    spec["timeout"] = json!("2m");
    assert_eq!(
        flaws(&json!({"spec": spec})),
        ["spec: timeout is longer than interval; write a timeout of at most the interval"]
    );
    assert_eq!(flaws(&json!({})), ["spec is missing"]);
}
