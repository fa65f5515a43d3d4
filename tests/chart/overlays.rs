//! `examples/kustomize` with the real Kustomize: what a patch merges, and which names it finds. `WRITE_MANIFESTS=1` writes its schema anew.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::helm::{objects, output};
use crate::support::World;
use crate::support::control_plane::ControlPlane;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/kustomize");
/// What a schema says to Kustomize, besides where its lists are.
const OF_MERGES: [&str; 3] = ["x-kubernetes-group-version-kind", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"];

fn build(directory: &Path) -> Vec<Value> {
    let path = directory.to_str().expect("text");
    let (done, built) = output(ControlPlane::shared().command().args(["kustomize", path]));
    assert!(done, "{path}: {built}");
    objects(&built)
}

/// Of a schema what Kustomize goes by; `None` where there is nothing of the kind in it.
fn pruned(schema: &Value, useful: &BTreeSet<String>) -> Option<Value> {
    let mut kept = Map::new();
    for key in OF_MERGES {
        kept.extend(schema.get(key).map(|value| (key.to_owned(), value.clone())));
    }
    if let Some(name) = schema["$ref"].as_str().filter(|name| useful.contains(*name)) {
        kept.insert("$ref".to_owned(), json!(name));
    }
    for key in ["items", "additionalProperties"] {
        let found = schema.get(key).filter(|value| value.is_object()).and_then(|value| pruned(value, useful));
        kept.extend(found.map(|value| (key.to_owned(), value)));
    }
    let fields: Map<_, _> = schema["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, field)| Some((name.clone(), pruned(field, useful)?)))
        .collect();
    if !fields.is_empty() {
        kept.insert("properties".to_owned(), fields.into());
    }
    if kept.is_empty() {
        return None;
    }
    kept.extend(schema.get("type").map(|value| ("type".to_owned(), value.clone())));
    Some(kept.into())
}

/// Lists that are maps or sets to the API server are merged by Kustomize too, once they are marked in its own way.
fn marked(schema: &mut Value) {
    let keys = schema["x-kubernetes-list-map-keys"].as_array().cloned().unwrap_or_default();
    if let [key] = keys.as_slice() {
        schema["x-kubernetes-patch-merge-key"] = key.clone();
    }
    if keys.len() == 1 || schema["x-kubernetes-list-type"] == "set" {
        schema["x-kubernetes-patch-strategy"] = json!("merge");
    }
    match schema {
        Value::Object(fields) => fields.values_mut().filter(|value| value.is_object()).for_each(marked),
        _ => unreachable!("a schema is an object"),
    }
}

/// The schema of Kubernetes' own kinds, as this API server has it, and of connections, as the CRD has it.
fn schema(world: &World) -> Value {
    let (done, text) = output(world.control_plane.command().args(["get", "--raw", "/openapi/v2"]));
    assert!(done, "{text}");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let all = all["definitions"].as_object().expect("definitions");
    let own = || all.iter().filter(|(name, _)| name.starts_with("io.k8s."));
    // Those that lead to a list that is merged, by however many steps.
    let mut useful = BTreeSet::new();
    loop {
        let more = own().filter(|(_, schema)| pruned(schema, &useful).is_some());
        let more: BTreeSet<_> = more.map(|(name, _)| format!("#/definitions/{name}")).collect();
        if more.len() == useful.len() {
            break;
        }
        useful = more;
    }
    let mut definitions: Map<_, _> =
        own().filter_map(|(name, schema)| Some((name.clone(), pruned(schema, &useful)?))).collect();
    let crd = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/crds/ukgproconnections.ukgpro.dev.yaml"));
    let crd = objects(&crd.expect("text")).remove(0);
    let mut of_crd = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone();
    marked(&mut of_crd);
    of_crd["x-kubernetes-group-version-kind"] =
        json!([{"group": "ukgpro.dev", "kind": "UkgProConnection", "version": "v1alpha1"}]);
    of_crd["properties"]["metadata"] = json!({"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"});
    of_crd["properties"].as_object_mut().expect("fields").remove("status");
    let of_crd = pruned(&of_crd, &useful).expect("lists that are merged");
    definitions.insert("dev.ukgpro.v1alpha1.UkgProConnection".to_owned(), of_crd);
    json!({"definitions": definitions})
}

#[tokio::test]
async fn the_example_has_the_schema_of_this_crd_and_of_this_kubernetes() {
    let world = World::new("overlay-schema").await;
    let wanted = schema(&world).to_string() + "\n";
    let path = format!("{EXAMPLE}/staging/openapi.json");
    if std::env::var_os("WRITE_MANIFESTS").is_some() {
        std::fs::write(&path, &wanted).expect("written");
    }
    // Another control plane than the project's own may have other kinds.
    if world.control_plane.audit_log.is_some() {
        let found = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(found == wanted, "examples/kustomize/staging/openapi.json has drifted; run `make manifests`");
    }
    world.finish_without_operator().await;
}

#[test]
fn an_overlay_adds_rows_and_its_names_reach_the_references() {
    let built = build(&Path::new(EXAMPLE).join("staging"));
    let of = |kind: &str| built.iter().find(|object| object["kind"] == kind).expect(kind);
    let (secret, connection) = (of("Secret"), of("UkgProConnection"));
    let rows: BTreeSet<_> =
        connection["spec"]["permissions"].as_array().expect("rows").iter().map(|row| row["name"].as_str()).collect();
    assert_eq!(rows, [Some("EmployeePayStatement"), Some("PayrollIntegration")].into());
    assert_eq!(connection["spec"]["subdomain"], "servicet");
    let name = secret["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("staging-acme-ukg-pro-"), "{name}");
    assert_eq!(connection["spec"]["secretRef"]["name"], name);
}

/// Kustomize drops its own schema for one that is given: then containers of a patch would replace those of the base.
#[test]
fn what_kubernetes_merges_by_itself_is_merged_as_without_the_schema() {
    let directory = tempfile::tempdir().expect("a directory");
    let write = |name: &str, value: &Value| std::fs::write(directory.path().join(name), value.to_string()).expect("written");
    let container = |name: &str, more: Value| {
        let mut container = json!({"name": name, "env": [{"name": "A", "value": "1"}], "ports": [{"containerPort": 80}],
            "volumeMounts": [{"mountPath": "/a", "name": "v"}]});
        container.as_object_mut().expect("a map").extend(more.as_object().expect("a map").clone());
        container
    };
    let workload = |kind: &str, spec: Value| {
        let template = json!({"spec": spec});
        let spec = match kind {
            "CronJob" => json!({"jobTemplate": {"spec": {"template": template}}}),
            _ => json!({"template": template}),
        };
        let version = if kind.ends_with("Job") { "batch/v1" } else { "apps/v1" };
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x", "finalizers": ["a/b"]}, "spec": spec})
    };
    let kinds = ["Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob"];
    let mut resources = Vec::new();
    let mut patches = Vec::new();
    for kind in kinds {
        let spec = json!({"containers": [container("a", json!({})), container("b", json!({}))], "volumes": [{"name": "v", "emptyDir": {}}],
            "tolerations": [{"key": "k"}], "imagePullSecrets": [{"name": "s"}]});
        write(&format!("{kind}.yaml"), &workload(kind, spec));
        resources.push(format!("{kind}.yaml"));
        let patch = json!({"containers": [{"name": "b", "image": "z", "env": [{"name": "B", "value": "2"}], "ports": [{"containerPort": 81}]}],
            "volumes": [{"name": "w", "configMap": {"name": "c"}}], "imagePullSecrets": [{"name": "t"}]});
        patches.push(json!({"patch": workload(kind, patch).to_string()}));
    }
    for (kind, list, one, other) in [
        ("Service", "ports", json!({"port": 80}), json!({"port": 81})),
        ("ServiceAccount", "secrets", json!({"name": "a"}), json!({"name": "b"})),
    ] {
        let object = |item: &Value| {
            let mut object = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "x"}});
            match kind {
                "Service" => object["spec"][list] = json!([item]),
                _ => object[list] = json!([item]),
            }
            object
        };
        write(&format!("{kind}.yaml"), &object(&one));
        resources.push(format!("{kind}.yaml"));
        patches.push(json!({"patch": object(&other).to_string()}));
    }
    let mut kustomization = json!({"resources": resources, "patches": patches});
    write("kustomization.yaml", &kustomization);
    let without = build(directory.path());
    std::fs::copy(format!("{EXAMPLE}/staging/openapi.json"), directory.path().join("openapi.json")).expect("copied");
    kustomization["openapi"] = json!({"path": "openapi.json"});
    write("kustomization.yaml", &kustomization);
    let with = build(directory.path());
    for (without, with) in without.iter().zip(&with) {
        assert_eq!(without, with);
    }
    let text = without.iter().map(Value::to_string).collect::<String>();
    assert_eq!(text.matches(r#""name":"a""#).count(), kinds.len() + 1, "both containers are there");
    // The schema is read: an empty one would lose them.
    write("openapi.json", &json!({"definitions": {}}));
    assert_ne!(build(directory.path()), with);
}
