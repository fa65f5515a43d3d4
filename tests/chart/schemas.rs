//! Validates what the chart renders with kubeconform and with a dry run on the API server.
//!
//! kubeconform takes the schemas of the server's own OpenAPI document, made strict. The schema of ServiceMonitor is that of Prometheus'
//! operator and is not available here, so this kind is left out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::ObjectMeta;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::helm::{MATRIX, output, template, tool};
use crate::support::World;
use crate::support::control_plane::ControlPlane;

/// The definitions that one needs, itself included.
fn reached(definitions: &Map<String, Value>, name: &str, all: &mut BTreeSet<String>) {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(members) => {
                let reference = members.get("$ref").and_then(Value::as_str);
                found.extend(reference.and_then(|reference| reference.strip_prefix("#/definitions/")));
                members.values().for_each(|member| references(member, found));
            }
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    if all.insert(name.to_owned()) {
        let mut found = Vec::new();
        references(&definitions[name], &mut found);
        found.into_iter().for_each(|name| reached(definitions, name, all));
    }
}

/// No field that is not named, and what OpenAPI's formats mean.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("format").is_some_and(|format| format == "int-or-string")
                || members.get("x-kubernetes-int-or-string").is_some_and(|is| is == true)
            {
                *members = Map::from_iter([("type".to_owned(), json!(["integer", "string"]))]);
                return;
            }
            let open =
                members.contains_key("additionalProperties") || members.contains_key("x-kubernetes-preserve-unknown-fields");
            if members.get("properties").is_some_and(Value::is_object) && !open {
                members.insert("additionalProperties".to_owned(), json!(false));
            }
            members.values_mut().for_each(strict);
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}

/// A schema of each kind the server has, in a file that kubeconform finds it by.
fn schemas(control_plane: &ControlPlane) -> TempDir {
    let (done, openapi) = output(control_plane.command().args(["get", "--raw", "/openapi/v2"]));
    assert!(done, "{openapi}");
    let mut openapi: Value = serde_json::from_str(&openapi).expect("JSON");
    let definitions = openapi["definitions"].as_object_mut().expect("definitions");
    definitions.values_mut().for_each(strict);
    // A number, such as `cpu: 1`, is one too.
    definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"] = json!(["string", "number"]);
    let directory = tempfile::tempdir().expect("a directory");
    let mut kinds = 0;
    for (name, definition) in definitions.iter() {
        let Some(kinds_of) = definition["x-kubernetes-group-version-kind"].as_array() else { continue };
        // Options and lists of options have all groups there are.
        if kinds_of.len() != 1 {
            continue;
        }
        let [group, version, kind] = ["group", "version", "kind"].map(|part| kinds_of[0][part].as_str().expect("text"));
        let mut needed = BTreeSet::new();
        reached(definitions, name, &mut needed);
        let needed: Map<_, _> = needed.into_iter().map(|name| (name.clone(), definitions[&name].clone())).collect();
        let schema = json!({"$ref": format!("#/definitions/{name}"), "definitions": needed});
        // kubeconform calls the core group by its version.
        let group = if group.is_empty() { version } else { group };
        let path = directory.path().join(format!("{group}-{version}-{}.json", kind.to_lowercase()));
        std::fs::write(path, schema.to_string()).expect("written");
        kinds += 1;
    }
    assert!(kinds > 50, "{kinds}");
    directory
}

fn conforms(schemas: &Path, files: &[PathBuf], flags: &[&str]) -> (bool, String) {
    let location = format!("{}/{{{{.Group}}}}-{{{{.ResourceAPIVersion}}}}-{{{{.ResourceKind}}}}.json", schemas.display());
    let mut kubeconform = tool("kubeconform");
    output(kubeconform.args(["-strict", "-summary", "-schema-location", &location]).args(flags).args(files))
}

#[tokio::test]
async fn all_that_is_rendered_and_all_examples_conform() {
    let world = World::new("conform").await;
    let schemas = schemas(world.control_plane);
    let directory = tempfile::tempdir().expect("a directory");
    let mut rendered: Vec<_> = MATRIX
        .iter()
        .enumerate()
        .map(|(number, values)| {
            let path = directory.path().join(format!("{number}.yaml"));
            std::fs::write(&path, template(values)).expect("written");
            path
        })
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let ours =
        ["config/crd", "config/namespace", "config/rbac", "config/manager", "config/overlays"].map(|path| root.join(path));
    rendered.extend(ours);
    rendered.extend(["examples/connection.yaml", "examples/demo/connections.yaml"].map(|path| root.join(path)));
    let (done, said) = conforms(schemas.path(), &rendered, &["-skip", "Kustomization"]);
    assert!(done, "{said}");
    // Those of Flux, Argo CD and others are judged by tests/gitops.
    let (done, said) = conforms(
        schemas.path(),
        &[root.join("examples/gitops")],
        &["-ignore-missing-schemas", "-skip", "Kustomization", "-ignore-filename-pattern", r"\.sops\.yaml$"],
    );
    assert!(done, "{said}");

    // And it can fail.
    let wrong = directory.path().join("wrong.yaml");
    let typo = std::fs::read_to_string(root.join("examples/connection.yaml")).expect("text").replace("interval:", "intervall:");
    std::fs::write(&wrong, typo).expect("written");
    let (done, said) = conforms(schemas.path(), &[wrong], &[]);
    assert!(!done && said.contains("intervall"), "{said}");
    world.finish_without_operator().await;
}

#[tokio::test]
async fn the_api_server_takes_every_object_with_strict_validation() {
    let world = World::spread("strict", 2).await;
    let [own, first, second] = [&world.namespace, &world.elsewhere[0], &world.elsewhere[1]];
    // A Pod is refused where its ServiceAccount is not there, and a dry run makes none.
    let named = |name: &str| ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    world.create(&ServiceAccount { metadata: named("shard-a"), ..ServiceAccount::default() }).await;
    for values in MATRIX {
        let rendered = template(values)
            .replace("namespace: ukgpro-system", &format!("namespace: {own}"))
            .replace("namespace: hr\n", &format!("namespace: {first}\n"))
            .replace("namespace: payroll\n", &format!("namespace: {second}\n"));
        let path = world.directory.path().join("rendered.yaml");
        std::fs::write(&path, rendered).expect("written");
        let path = path.to_str().expect("a path");
        let flags = ["apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", path];
        let (done, said) = output(world.control_plane.command().args(flags));
        assert!(done, "{values:?}: {said}");
        assert!(!said.contains("Warning"), "{values:?}: {said}");
    }
    world.finish_without_operator().await;
}
