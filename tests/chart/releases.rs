//! Install, upgrade, `helm test` and uninstall with the real Helm, on a real API server.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;
use ukgpro_operator::api::UkgProConnection;

use crate::helm::{CHART, Helm, template};
use crate::support::World;
use crate::support::control_plane::ControlPlane;
use crate::support::world::{CONNECTION, SECRET};

/// A release in a life of its own, on a control plane of its own, as the CRD is everybody's.
#[tokio::test]
async fn a_release_is_installed_upgraded_and_uninstalled_and_connections_outlast_it() {
    let Some(control_plane) = ControlPlane::breakable() else { return };
    let world = World::on(control_plane, "release").await;
    let helm = Helm::new(&world);
    let crds = Api::<CustomResourceDefinition>::all(world.admin.clone());
    let (deleted, said) = world.kubectl(&["delete", "crd", "ukgproconnections.ukgpro.dev", "--wait"]).await;
    assert!(deleted, "{said}");

    let previous = helm.packed("0.0.9");
    let previous = previous.to_str().expect("a path");
    let release = ["ukgpro", "--namespace", "ukgpro-system"];
    let installed = helm.done(&[&["install"], &release[..1], &[previous], &release[1..], &["--create-namespace"]].concat());
    assert!(
        installed.contains("kubectl rollout status deployment/ukgpro-ukgpro-operator --namespace ukgpro-system"),
        "{installed}"
    );
    assert!(installed.contains("helm test ukgpro --namespace ukgpro-system"), "{installed}");
    let (established, said) =
        world.kubectl(&["wait", "--for=condition=Established", "crd/ukgproconnections.ukgpro.dev", "--timeout=30s"]).await;
    assert!(established, "{said}");

    // A verdict, by an operator that stands in for the Pods.
    let operator = world.operator();
    world.apply(&world.connection(&["EmployeePersonDetails"])).await.expect("accepted");
    let judged = world.wait_for_reason("AllPermissionsGranted").await;
    assert!(operator.stop().success());
    let before = world.stored(CONNECTION).await;

    let version =
        |deployment: &Deployment| deployment.metadata.labels.as_ref().expect("labels")["app.kubernetes.io/version"].clone();
    let deployments = Api::<Deployment>::namespaced(world.admin.clone(), "ukgpro-system");
    let old = deployments.get("ukgpro-ukgpro-operator").await.expect("there");
    assert_eq!(version(&old), "0.0.9");
    helm.done(&[&["upgrade"], &release[..1], &[CHART], &release[1..], &["--set", "operator.concurrency=32"]].concat());
    let new = deployments.get("ukgpro-ukgpro-operator").await.expect("there");
    assert_eq!(version(&new), env!("CARGO_PKG_VERSION"));
    assert_eq!(new.metadata.uid, old.metadata.uid, "it is the same Deployment");
    let after = world.stored(CONNECTION).await;
    assert_eq!(after, before, "an upgrade touches no connection and no verdict");

    let hooks = helm.done(&["get", "hooks", "ukgpro", "--namespace", "ukgpro-system"]);
    assert!(hooks.contains("name: ukgpro-ukgpro-operator-test-release"), "{hooks}");

    helm.done(&["uninstall", "ukgpro", "--namespace", "ukgpro-system"]);
    world
        .wait_until("the end of the Deployment", async || {
            deployments.get_opt("ukgpro-ukgpro-operator").await.expect("an answer").is_none()
        })
        .await;
    crds.get("ukgproconnections.ukgpro.dev").await.expect("the CRD is kept");
    let kept = Api::<UkgProConnection>::namespaced(world.admin.clone(), &world.namespace).get(CONNECTION).await.expect("kept");
    assert_eq!((kept.metadata.uid, kept.status), (judged.metadata.uid, judged.status));

    // A release of another name does not take it by itself.
    let other = ["install", "other", CHART, "--namespace", "ukgpro-system"];
    let (taken, said) = helm.run(&other);
    assert!(!taken && said.contains("invalid ownership metadata"), "{said}");
    helm.done(&[&other[..], &["--take-ownership"]].concat());
    helm.done(&["uninstall", "other", "--namespace", "ukgpro-system"]);
    helm.done(&["install", "ukgpro", CHART, "--namespace", "ukgpro-system", "--take-ownership"]);
    helm.done(&["uninstall", "ukgpro", "--namespace", "ukgpro-system"]);

    // What is kept is taken up again by a release of the same name.
    helm.done(&[&["install"], &release[..1], &[CHART], &release[1..]].concat());
    assert_eq!(world.stored(CONNECTION).await.metadata.uid, before.metadata.uid);
    world.finish_without_operator().await;
    control_plane.end();
}

#[tokio::test]
async fn wrong_values_are_refused_with_what_to_write() {
    let world = World::new("refused").await;
    let helm = Helm::new(&world);
    for (values, words) in [
        (["--set", "replica=3"], "additional properties 'replica' not allowed"),
        (["--set", "secrets.watch=some"], "'all', 'labelled', 'none'"),
        (["--set", "replicas=two"], "want integer"),
        (["--set", "image.digest=sha256:123"], "/image/digest"),
        (["--set", "operator.allowedDomains={https://ultipro.com}"], "/operator/allowedDomains/0"),
        (["--set", "log.format=yaml"], "'text', 'json'"),
        (["--set", "tests.timeout=forever"], "/tests/timeout"),
        (["--set", "leaderElection.enabled=false"], "write leaderElection.enabled: true, or replicas: 1"),
        (["--set", "secrets.names={acme}"], "secrets.names goes with secrets.watch: none"),
        (["--set", "admissionPolicies.hosts.enabled=true"], "write hosts, such as service4.ultipro.com"),
    ] {
        let base = ["install", "wrong", CHART, "--namespace", &world.namespace, "--set", "crds.install=false"];
        let (installed, said) = helm.run(&[&base[..], &values].concat());
        assert!(!installed && said.contains(words), "{values:?}: {said}");
    }
    world.finish_without_operator().await;
}

#[test]
fn names_of_the_cluster_do_not_collide_between_namespaces() {
    let names = |namespace: &str| {
        let objects = crate::helm::objects(&template(&["--namespace", namespace]));
        let cluster = objects.into_iter().filter(|object| object["metadata"]["namespace"].is_null());
        let named = cluster.filter(|object| object["kind"] != "CustomResourceDefinition");
        named.map(|object| (object["metadata"]["name"].clone().to_string(), json!(object["kind"]))).collect::<BTreeMap<_, _>>()
    };
    let (one, other) = (names("one"), names("other"));
    assert!(!one.is_empty() && one.keys().all(|name| !other.contains_key(name)), "{one:?} {other:?}");
}

/// By its name Helm tells how a hook ended, so one that shares it with a Pod would have told of that Pod before it ran.
#[tokio::test(flavor = "multi_thread")]
async fn helm_test_tells_how_each_pod_has_ended() {
    let world = World::new("hooks").await;
    let helm = Helm::new(&world);
    let flags = ["--namespace", &world.namespace, "--set", "crds.install=false", "--set", "tests.simulator.repository=a/b"];
    helm.done(&[&["install", "hooks", CHART], &flags[..]].concat());
    // What a node would tell of a Pod.
    let ends = |name: &'static str, phase: &'static str| {
        let pods = world.api::<Pod>();
        async move {
            await_condition(pods.clone(), name, |pod: Option<&Pod>| pod.is_some()).await.expect("a Pod");
            let status = Patch::Merge(json!({"status": {"phase": phase}}));
            pods.patch_status(name, &PatchParams::default(), &status).await.expect("told");
        }
    };
    let (release, simulator) = ("hooks-ukgpro-operator-test-release", "hooks-ukgpro-operator-test-simulator");
    for (of_simulator, tested) in [("Succeeded", true), ("Failed", false)] {
        let _told =
            [ends(release, "Succeeded"), ends(simulator, of_simulator)].map(|end| AbortOnDropHandle::new(tokio::spawn(end)));
        let test = || helm.run(&["test", "hooks", "--namespace", &world.namespace, "--timeout", "60s"]);
        let said = tokio::task::block_in_place(test);
        assert_eq!(said.0, tested, "{}", said.1);
        for (pod, phase) in [(release, "Succeeded"), (simulator, of_simulator)] {
            let suites: Vec<_> =
                said.1.split("TEST SUITE:").filter(|suite| suite.trim_start().starts_with(&format!("{pod}\n"))).collect();
            assert!(suites.len() == 1 && suites[0].contains(&format!("Phase:          {phase}")), "{pod}: {}", said.1);
        }
    }
    helm.done(&["uninstall", "hooks", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}

/// As it stands, into a shell, beside the files that the notes ask for.
#[tokio::test]
async fn what_the_notes_print_can_be_pasted() {
    let world = World::new("notes").await;
    // It is made by what is pasted.
    world.secrets().delete(SECRET, &DeleteParams::default()).await.expect("deleted");
    let helm = Helm::new(&world);
    let scope = format!("watchNamespaces={{{}}}", world.namespace);
    let flags =
        ["--namespace", &world.namespace, "--set", "crds.install=false", "--set", &scope, "--set", "controllerClass=notes"];
    helm.done(&[&["install", "notes", CHART], &flags[..]].concat());
    let notes = helm.done(&["get", "notes", "notes", "--namespace", &world.namespace]);
    let begins = notes.find("kubectl create secret").expect("a Secret");
    // Nobody looks after it here, and the values are none.
    let ends = notes.find("kubectl wait").expect("a wait");
    let kubectl = world.control_plane.command().get_program().to_owned();
    let directory = std::path::Path::new(&kubectl).parent().expect("a directory").display().to_string();
    let path = format!("{directory}:{}", std::env::var("PATH").expect("a path"));
    let files = tempfile::tempdir().expect("a directory");
    for name in ["username", "password", "customerApiKey", "userApiKey"] {
        std::fs::write(files.path().join(name), "x").expect("written");
    }
    let mut shell = std::process::Command::new("sh");
    shell
        .current_dir(&files)
        .args(["-eu", "-c", &notes[begins..ends]])
        .env("PATH", path)
        .env("KUBECONFIG", &world.control_plane.kubeconfig);
    let (done, said) = crate::helm::output(&mut shell);
    assert!(done, "{said}\n{notes}");
    let made = world.connections().get("acme").await.expect("it is made");
    assert_eq!((made.spec.subdomain.as_deref(), made.spec.controller_class.as_deref()), (Some("service4"), Some("notes")));
    helm.done(&["uninstall", "notes", "--namespace", &world.namespace]);
    world.finish_without_operator().await;
}
