//! The API server accepts every example, down to each field, with the CRDs of the projects whose kinds they use.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use kube::Api;
use kube::api::{DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::discovery::{Scope, oneshot};
use serde_json::{Value, json};

use crate::support::World;
use crate::support::world::SECRET;

/// Kinds whose CRDs are not available as Go modules. For the first three, tests/gitops parses the types strictly.
const WITHOUT_A_CRD: [&str; 4] = ["HelmRelease", "Alert", "Provider", "ServiceBinding"];
/// Groups of other projects whose CRDs `tests/gitops/crds.sh` finds.
const OTHERS: [&str; 5] =
    ["source.toolkit.fluxcd.io", "kustomize.toolkit.fluxcd.io", "external-secrets.io", "bitnami.com", "argoproj.io"];

#[tokio::test]
async fn the_api_server_takes_every_example_to_the_last_field() {
    let world = World::new("examples").await;
    // An example has a Secret of this name.
    world.secrets().delete(SECRET, &DeleteParams::default()).await.expect("deleted");
    // A test installs no CRDs in an existing cluster.
    let others = world.control_plane.audit_log.is_some();
    if others {
        install_crds(&world).await;
    }
    let mut tried = Vec::new();
    // A chart is not a manifest; tests/chart installs it.
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let chart = directory.join("helm");
    for path in yaml_files(&directory).into_iter().filter(|path| !path.starts_with(&chart)) {
        let text = std::fs::read_to_string(&path).expect("a file");
        for document in text.split("\n---\n") {
            let manifest: Value =
                serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let (Some(version), Some(kind)) = (manifest["apiVersion"].as_str(), manifest["kind"].as_str()) else { continue };
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            // Kustomize's own files are not objects; tests/chart builds them.
            let is_built = group == "kustomize.config.k8s.io";
            if is_built || WITHOUT_A_CRD.contains(&kind) || (!others && OTHERS.contains(&group)) {
                continue;
            }
            if let Err(error) = try_out(&world, &GroupVersionKind::gvk(group, version, kind), manifest.clone()).await {
                panic!("{}: {kind} {}: {error}", path.display(), manifest["metadata"]["name"]);
            }
            tried.push(kind.to_owned());
        }
    }
    for kind in ["UkgProConnection", "Secret", "Deployment"] {
        assert!(tried.iter().any(|each| each == kind), "no example has a {kind}");
    }
    for kind in ["Kustomization", "Application", "ExternalSecret", "SealedSecret", "OCIRepository"] {
        assert!(!others || tried.iter().any(|each| each == kind), "no example has a {kind}");
    }
    // The API server would refuse an unknown field.
    let wrong = json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection", "metadata": {"name": "acme"},
        "spec": {"secretRef": {"name": "acme"}, "intervall": "10m"}});
    let refused = try_out(&world, &GroupVersionKind::gvk("ukgpro.dev", "v1alpha1", "UkgProConnection"), wrong).await;
    assert!(refused.is_err_and(|error| error.contains("intervall")));
    world.finish_without_operator().await;
}

/// Applies a manifest in this world's namespace, as a strict dry run that refuses unknown fields.
async fn try_out(world: &World, kind: &GroupVersionKind, mut manifest: Value) -> Result<(), String> {
    let (resource, capabilities) = oneshot::pinned_kind(&world.admin, kind).await.map_err(|error| error.to_string())?;
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(world.admin.clone(), &resource),
        Scope::Namespaced => {
            manifest["metadata"]["namespace"] = json!(world.namespace);
            Api::namespaced_with(world.admin.clone(), &world.namespace, &resource)
        }
    };
    let name = manifest["metadata"]["name"].as_str().expect("a name").to_owned();
    let params = PatchParams::apply("tests").force().dry_run().validation_strict();
    api.patch(&name, &params, &Patch::Apply(&manifest)).await.map(drop).map_err(|error| error.to_string())
}

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let files = files.into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let mut found: Vec<_> = files.chain(directories.iter().flat_map(|directory| yaml_files(directory))).collect();
    found.sort();
    found
}

async fn install_crds(world: &World) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gitops/crds.sh");
    let output = Command::new(script).stderr(Stdio::inherit()).output().expect("crds.sh runs");
    assert!(output.status.success(), "crds.sh failed");
    let files = String::from_utf8(output.stdout).expect("text");
    let files: Vec<_> = files.lines().flat_map(|file| ["--filename", file]).collect();
    for arguments in [
        [&["apply", "--server-side"], files.as_slice()].concat(),
        [&["wait", "--for=condition=Established", "--timeout=60s"], files.as_slice()].concat(),
    ] {
        let (succeeded, said) = world.kubectl(&arguments).await;
        assert!(succeeded, "{said}");
    }
}
