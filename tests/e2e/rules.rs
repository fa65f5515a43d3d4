//! What the CRD's own rules make the API server refuse, and the messages.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::support::World;
use crate::support::control_plane::ControlPlane;

#[tokio::test]
async fn bad_objects_are_refused_with_what_to_write_instead() {
    let world = World::new("rules").await;
    let cases: &[(&str, Value, &str)] = &[
        (
            "/spec/subdomain",
            json!("https://Service4.UltiPro.com/services/BIDataService"),
            "write subdomain service4 and domain ultipro.com",
        ),
        (
            "/spec/subdomain",
            json!("service4.ultipro.localhost:8443"),
            "write subdomain service4 and domain ultipro.localhost:8443",
        ),
        ("/spec/subdomain", json!("service4/services"), "write subdomain service4"),
        ("/spec/subdomain", json!("Service4"), "write subdomain service4"),
        ("/spec/subdomain", json!("https://connect.ultipro.com/"), "to a site where people log in"),
        ("/spec/subdomain", json!("connect"), "to a site where people log in"),
        ("/spec/subdomain", json!("acme.ultiproworkplace.com"), "to a site where people log in"),
        ("/spec/subdomain", json!("service4."), "write only the part before the first dot here"),
        ("/spec/subdomain", json!("service 4"), "write only letters, digits and hyphens"),
        ("/spec/subdomain", json!("service4\n"), "write only letters, digits and hyphens"),
        ("/spec/subdomain", json!(""), "subdomain is empty; write only the part between https:// and the first dot"),
        ("/spec/subdomain", json!("x".repeat(254)), "Too long"),
        ("/spec/domain", json!("https://service4.ultipro.com/"), "write subdomain service4 and domain ultipro.com"),
        ("/spec/domain", json!("Servicet.ultipro.com"), "write subdomain servicet and domain ultipro.com"),
        ("/spec/domain", json!("https://ultipro.com"), "write domain ultipro.com"),
        ("/spec/domain", json!("UltiPro.com"), "write domain ultipro.com"),
        ("/spec/domain", json!("rec.pro.ukg.net"), "to a site where people log in"),
        ("/spec/domain", json!("connect.ultipro.com"), "to a site where people log in"),
        ("/spec/domain", json!("ultipro"), "write it without spaces, such as ultipro.com"),
        ("/spec/domain", json!("ultipro.com:0"), "write it without spaces, such as ultipro.com"),
        ("/spec/domain", json!(""), "domain is empty; write only the part after the first dot"),
        ("/spec/interval", json!("10min"), "write hours, minutes and seconds, such as 10m"),
        ("/spec/timeout", json!("half a minute"), "write minutes and seconds, such as 30s"),
        ("/spec/interval", json!("10"), "write hours, minutes and seconds, such as 10m"),
        ("/spec/interval", json!("5s"), "not a duration from 1m to 24h"),
        ("/spec/interval", json!("48h"), "not a duration from 1m to 24h"),
        ("/spec/interval", json!("9999999999999h"), "write hours, minutes and seconds, such as 10m"),
        ("/spec/timeout", json!("1s"), "not a duration from 10s to 5m"),
        ("/spec/timeout", json!("2m"), "write a timeout of at most the interval"),
        ("/spec/secretRef/name", json!("Not_A_Name"), "write lower-case letters, digits, hyphens and dots"),
        ("/spec/secretRef/trim", json!("Blanks"), "supported values: \"Newline\", \"None\""),
        ("/spec/secretRef/keys", json!({"password": "pass word"}), "spec.secretRef.keys.password"),
        (
            "/spec/secretRef/keys",
            json!({"subdomain": "password"}),
            "must not use a credential's key; write them in spec.domain",
        ),
        ("/spec/secretRef/keys", json!({"domain": "customerApiKey"}), "must not use a credential's key"),
        ("/spec/secretRef/keys", json!({"password": "pw", "subdomain": "pw"}), "must not use a credential's key"),
        ("/spec/secretRef/keys", json!({"password": "pw", "subdomain": "password"}), "must not use a credential's key"),
        (
            "/spec/secretRef/keys",
            json!({"password": "userApiKey"}),
            "two values have the same key; give each value its own key",
        ),
        ("/spec/secretRef/keys", json!({"domain": "subdomain"}), "two values have the same key"),
        (
            "/spec/candidateSecretRef",
            json!({"name": "next", "keys": {"domain": "userApiKey"}}),
            "spec.candidateSecretRef.keys: Invalid value",
        ),
        ("/spec/candidateSecretRef", json!({"name": "next", "keys": {"username": "password"}}), "two values have the same key"),
        ("/spec/permissions", json!([{"name": "Employee Person Details"}]), "write the row's title without spaces"),
        ("/spec/permissions", json!([{"name": "A"}, {"name": "A"}]), "Duplicate value"),
        ("/spec/caRef", json!({"kind": "Pod", "name": "x"}), "supported values: \"Secret\", \"ConfigMap\""),
    ];
    for (path, value, expected) in cases {
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["spec"]["interval"] = json!("1m");
        let (parent, field) = path.rsplit_once('/').expect("a path");
        manifest.pointer_mut(parent).expect("there")[field] = value.clone();
        // Duplicates in a list-map cannot be applied server-side. A create with them is refused by the same schema.
        let refused = match world.apply(&manifest).await {
            Err(message) => message,
            Ok(_) => panic!("{path} {value} was accepted"),
        };
        let refused_as_said = refused.contains(expected) || (*expected == "Duplicate value" && refused.contains("duplicate"));
        assert!(refused_as_said, "{path} {value}: {refused}");
        // A rule that cannot be evaluated gives no useful message, so when one rule reports, the others must not fail to
        // evaluate.
        assert!(!refused.contains("error: "), "{path} {value}: {refused}");
    }
    world.finish_without_operator().await;
}

#[tokio::test]
async fn a_new_object_is_not_taken_for_a_finished_one() {
    let world = World::new("fresh").await;
    let connection = world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let status = connection.status.expect("a status from the first moment");
    assert_eq!((status.observed_generation, status.state.as_str()), (None, "Unknown"));
    assert_eq!(status.conditions.len(), 5);
    assert!(status.conditions.iter().all(|c| c.status == "Unknown" && c.reason == "Probing"));
    let (ready, _) = world.kubectl(&["wait", "--for=condition=Ready", "ukg/acme", "--timeout=0s"]).await;
    assert!(!ready);
    let (_, spec) =
        world.kubectl(&["get", "ukg", "acme", "-o", "jsonpath={.spec.interval} {.spec.timeout} {.spec.suspend}"]).await;
    assert_eq!(spec, "10m 30s false");
    world.finish_without_operator().await;
}

/// Templates write unset fields as null.
#[tokio::test]
async fn what_is_null_is_what_is_not_set() {
    let world = World::new("null").await;
    let mut manifest = world.connection(&[]);
    for field in ["permissions", "profiles", "caRef", "candidateSecretRef", "controllerClass", "suspend", "interval", "timeout"]
    {
        manifest["spec"][field] = Value::Null;
    }
    for field in ["keys", "trim"] {
        manifest["spec"]["secretRef"][field] = Value::Null;
    }
    let spec = world.apply(&manifest).await.expect("accepted").spec;
    assert_eq!((spec.interval.as_str(), spec.timeout.as_str(), spec.suspend), ("10m", "30s", false));
    assert!(spec.permissions.is_empty() && spec.profiles.is_empty() && spec.ca_ref.is_none());
    world.finish_without_operator().await;
}

/// Later versions add rules, so objects that a rule refuses may already be stored. Suspending one must not require repairing it.
#[tokio::test]
async fn what_was_stored_before_its_rule_can_be_suspended_and_is_still_refused_anew() {
    let Some(control_plane) = ControlPlane::breakable() else { return };
    let world = World::on(control_plane, "older").await;
    let definitions = Api::<CustomResourceDefinition>::all(world.admin.clone());
    let with_rules = ukgpro_operator::api::crd();
    let mut without = serde_json::to_value(&with_rules).expect("JSON");
    drop_rules(&mut without);
    // The CRD takes effect a moment after it is stored.
    let install = async |crd: &Value, manifest: &Value, takes: bool| {
        let params = PatchParams::apply("ukgpro-operator").force();
        definitions.patch("ukgproconnections.ukgpro.dev", &params, &Patch::Apply(crd)).await.expect("installed");
        let dry = PatchParams { dry_run: true, ..PatchParams::apply("tests").force() };
        let judged = async || world.connections().patch("probe", &dry, &Patch::Apply(manifest)).await.is_ok() == takes;
        world.wait_until("the definition", judged).await;
    };
    let mut old = world.connection(&["employee shoe size"]);
    let spec = json!({"interval": "1m", "timeout": "2m", "domain": "https://ultipro.com/", "controllerClass": "A B",
        "secretRef": {"name": "Acme", "keys": {"password": "username"}}, "caRef": {"name": "My CA"}});
    for (field, value) in spec.as_object().expect("a map") {
        old["spec"][field] = value.clone();
    }
    let mut probe = old.clone();
    probe["metadata"]["name"] = json!("probe");
    install(&without, &probe, true).await;
    world.apply(&old).await.expect("there are no rules");
    install(&serde_json::to_value(&with_rules).expect("JSON"), &probe, false).await;

    for edit in ["{\"spec\":{\"suspend\":true}}", "{\"spec\":{\"failureThreshold\":5}}", "{\"spec\":{\"suspend\":false}}"] {
        let (edited, said) = world.kubectl(&["patch", "ukg", "acme", "--type=merge", "--patch", edit]).await;
        assert!(edited, "{edit}: {said}");
    }
    for (edit, told) in [
        ("{\"spec\":{\"timeout\":\"3m\"}}", "write a timeout of at most the interval"),
        ("{\"spec\":{\"interval\":\"90s\"}}", "write a timeout of at most the interval"),
        ("{\"spec\":{\"domain\":\"http://ultipro.com/\"}}", "write domain ultipro.com"),
    ] {
        let (edited, said) = world.kubectl(&["patch", "ukg", "acme", "--type=merge", "--patch", edit]).await;
        assert!(!edited && said.contains(told), "{edit}: {said}");
    }
    world.finish_without_operator().await;
    control_plane.end();
}

/// `status.permissions` was a map once. What was stored then is replaced as a whole, and nothing of the old owners stays.
#[tokio::test]
async fn permissions_that_were_stored_as_a_map_are_written_as_a_list() {
    let Some(control_plane) = ControlPlane::breakable() else { return };
    let world = World::on(control_plane, "lists").await;
    let definitions = Api::<CustomResourceDefinition>::all(world.admin.clone());
    let now = serde_json::to_value(ukgpro_operator::api::crd()).expect("JSON");
    let mut before = now.clone();
    let list =
        before.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/status/properties/permissions").expect("a list");
    list["x-kubernetes-list-type"] = json!("map");
    list["x-kubernetes-list-map-keys"] = json!(["name"]);
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let write = async |manager: &str, dry_run: bool, names: &[&str]| {
        let of = |name: &&str| json!({"name": name, "title": name, "access": "View", "api": "SOAP", "state": "Granted", "since": "2026-01-01T00:00:00Z"});
        let status = json!({"state": "Active", "permissions": names.iter().map(of).collect::<Vec<_>>()});
        let manifest = json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection", "status": status});
        let params = PatchParams { dry_run, ..PatchParams::apply(manager).force() };
        let written = world.connections().patch_status("acme", &params, &Patch::Apply(&manifest)).await.expect("written");
        written.status.expect("a status").permissions.into_iter().map(|permission| permission.name).collect::<Vec<_>>()
    };
    // Until the CRD takes effect, a moment after it is stored.
    let install = async |crd: &Value, merged: &[&str]| {
        let params = PatchParams::apply("tests").force();
        definitions.patch("ukgproconnections.ukgpro.dev", &params, &Patch::Apply(crd)).await.expect("installed");
        world.wait_until("the definition", async || write("probe", true, &["C"]).await == merged).await;
    };
    write("ukgpro-operator", false, &["A", "B"]).await;
    install(&before, &["A", "B", "C"]).await;
    write("ukgpro-operator", false, &["A", "B"]).await;
    let owners = async || serde_json::to_string(&world.stored("acme").await.metadata.managed_fields).expect("JSON");
    assert!(owners().await.contains("k:{\\\"name\\\":\\\"B\\\"}"), "{}", owners().await);

    install(&now, &["C"]).await;
    assert_eq!(write("ukgpro-operator", false, &["A"]).await, ["A"]);
    let now = owners().await;
    for item in ["A", "B"] {
        assert!(!now.contains(&format!("k:{{\\\"name\\\":\\\"{item}\\\"}}")), "{now}");
    }
    world.finish_without_operator().await;
    control_plane.end();
}

fn drop_rules(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            members.remove("x-kubernetes-validations");
            members.values_mut().for_each(drop_rules);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_rules),
        _ => {}
    }
}
