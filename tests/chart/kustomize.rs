//! `config/` is what the chart renders, sorted into files: one source of both. `WRITE_MANIFESTS=1` writes it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::helm::{objects, output, template};
use crate::support::control_plane::ControlPlane;

const NAMESPACE: &str = "ukgpro-system";

/// What is in `config/` that stands on its own: its name, and the values it comes from.
const OVERLAYS: [(&str, &[&str]); 4] = [
    ("default", &[]),
    ("overlays/namespaced", &["--set=watchNamespaces={ukgpro-system}"]),
    ("overlays/secrets-none", &["--set=secrets.watch=none"]),
    ("overlays/single", &["--set=replicas=1"]),
];

/// Each template's text, without what is Helm's own. Texts keep the reasons that stand beside the rights.
fn by_template(values: &[&str]) -> BTreeMap<String, String> {
    let rendered = template(&[&["--set=tests.enabled=false"], values].concat());
    let mut files = BTreeMap::<String, String>::new();
    for document in rendered.split("---\n").filter(|document| !document.trim().is_empty()) {
        let (source, text) = document.split_once('\n').expect("a source and a text");
        let source = source.rsplit('/').next().expect("a name").to_owned();
        let lines = text.lines().filter(|line| {
            let line = line.trim_start();
            !["helm.sh/", "app.kubernetes.io/managed-by:"].iter().any(|helms| line.starts_with(helms))
        });
        let text: String = lines.map(|line| format!("{}\n", line.trim_end())).collect();
        let text = text.replace("  annotations:\n  labels:", "  labels:");
        let file = files.entry(source).or_default();
        if !file.is_empty() {
            file.push_str("---\n");
        }
        file.push_str(text.trim_start_matches('\n'));
    }
    files
}

fn kustomization(resources: &[&str]) -> String {
    let resources: String = resources.iter().map(|resource| format!("  - {resource}\n")).collect();
    format!(
        "# Generated from the chart by `make manifests`.\napiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{resources}"
    )
}

/// All of `config/`, by its path.
fn config() -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let rights = ["serviceaccount.yaml", "rbac.yaml", "aggregated-roles.yaml"];
    for (name, values) in OVERLAYS {
        let mut rendered = by_template(values);
        let crd = rendered.remove("customresourcedefinition.yaml").expect("a CRD");
        let up = if name == "default" { ".." } else { "../.." };
        if name == "default" {
            files.insert("crd/ukgproconnections.ukgpro.dev.yaml".to_owned(), crd);
            files.insert("crd/kustomization.yaml".to_owned(), kustomization(&["ukgproconnections.ukgpro.dev.yaml"]));
            let namespace = format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    pod-security.kubernetes.io/enforce: restricted\n"
            );
            files.insert("namespace/namespace.yaml".to_owned(), namespace);
            files.insert("namespace/kustomization.yaml".to_owned(), kustomization(&["namespace.yaml"]));
            let (rbac, manager): (BTreeMap<_, _>, BTreeMap<_, _>) =
                rendered.into_iter().partition(|(file, _)| rights.contains(&file.as_str()));
            for (part, contents) in [("rbac", rbac), ("manager", manager)] {
                let resources: Vec<_> = contents.keys().map(String::as_str).collect();
                files.insert(format!("{part}/kustomization.yaml"), kustomization(&resources));
                files.extend(contents.into_iter().map(|(file, text)| (format!("{part}/{file}"), text)));
            }
            files.insert(
                "default/kustomization.yaml".to_owned(),
                kustomization(&["../crd", "../namespace", "../rbac", "../manager"]),
            );
            continue;
        }
        let (crd, namespace) = (format!("{up}/crd"), format!("{up}/namespace"));
        let resources: Vec<_> = [crd.as_str(), &namespace].into_iter().chain(rendered.keys().map(String::as_str)).collect();
        files.insert(format!("{name}/kustomization.yaml"), kustomization(&resources));
        files.extend(rendered.into_iter().map(|(file, text)| (format!("{name}/{file}"), text)));
    }
    files
}

fn committed(directory: &Path, below: &Path, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(directory).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            committed(&path, below, files);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            let name = path.strip_prefix(below).expect("below").to_str().expect("text").to_owned();
            files.insert(name, std::fs::read_to_string(&path).expect("text"));
        }
    }
}

#[test]
fn config_is_what_the_chart_renders() {
    let directory = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/config"));
    let wanted = config();
    if std::env::var_os("WRITE_MANIFESTS").is_some() {
        for (name, text) in &wanted {
            let path = directory.join(name);
            std::fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            std::fs::write(path, text).expect("written");
        }
    }
    let mut found = BTreeMap::new();
    committed(directory, directory, &mut found);
    let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&wanted), "run `make manifests`, and remove what is too much");
    for (name, text) in wanted {
        assert!(found[&name] == text, "config/{name} has drifted from the chart; run `make manifests` and commit the result");
    }
}

#[test]
fn kustomize_gives_the_very_objects_of_the_chart() {
    for (name, values) in OVERLAYS {
        let (done, built) = output(
            ControlPlane::shared().command().args(["kustomize", &format!("{}/config/{name}", env!("CARGO_MANIFEST_DIR"))]),
        );
        assert!(done, "{name}: {built}");
        let sorted = |manifests: &str| {
            let mut objects = objects(manifests);
            objects.retain(|object| object["kind"] != "Namespace");
            for object in &mut objects {
                let metadata = object["metadata"].as_object_mut().expect("metadata");
                let labels = metadata["labels"].as_object_mut().expect("labels");
                labels.retain(|label, _| !label.starts_with("helm.sh/") && label != "app.kubernetes.io/managed-by");
                if let Some(annotations) = metadata.get_mut("annotations").and_then(|annotations| annotations.as_object_mut()) {
                    annotations.remove("helm.sh/resource-policy");
                    if annotations.is_empty() {
                        metadata.remove("annotations");
                    }
                }
            }
            objects.sort_by_key(|object| format!("{} {}", object["kind"], object["metadata"]["name"]));
            objects
        };
        let rendered = template(&[&["--set=tests.enabled=false"], values].concat());
        assert_eq!(sorted(&built), sorted(&rendered), "{name}");
    }
}
