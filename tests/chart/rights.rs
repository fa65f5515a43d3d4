//! The operator under exactly the rights, arguments and variables that the chart gives it, in each mode: the API server refuses it
//! nothing, and it has no right that it does not use.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use ukgpro_operator::api::UkgProConnection;

use crate::helm::{CHART, Helm, objects};
use crate::pods;
use crate::support::World;
use crate::support::operator::Operator;
use crate::support::world::{CONNECTION, SECRET};

const CA_SECRET: &str = "simulator-ca";
/// Enough connections of one host for its failure to be one.
const FLEET: usize = 6;

/// A right on one thing, by one rule.
#[derive(Debug)]
struct Grant {
    /// Where; everywhere without it.
    namespace: Option<String>,
    group: String,
    resource: String,
    name: Option<String>,
    verb: String,
}

impl Grant {
    fn of(role: &Value) -> Vec<Self> {
        let namespace =
            (role["kind"] == "Role").then(|| role["metadata"]["namespace"].as_str().expect("a namespace").to_owned());
        let rules: Vec<PolicyRule> = serde_json::from_value(role["rules"].clone()).expect("rules");
        let mut grants = Vec::new();
        for rule in rules {
            let names: Vec<_> = match rule.resource_names {
                Some(names) => names.into_iter().map(Some).collect(),
                None => vec![None],
            };
            for group in rule.api_groups.iter().flatten() {
                for resource in rule.resources.iter().flatten() {
                    for verb in &rule.verbs {
                        grants.extend(names.iter().map(|name| Self {
                            namespace: namespace.clone(),
                            group: group.clone(),
                            resource: resource.clone(),
                            name: name.clone(),
                            verb: verb.clone(),
                        }));
                    }
                }
            }
        }
        grants
    }

    fn is_used_by(&self, request: &Value) -> bool {
        let object = &request["objectRef"];
        let text = |field: &str| object[field].as_str().unwrap_or_default();
        let resource = match object["subresource"].as_str() {
            Some(subresource) => format!("{}/{subresource}", text("resource")),
            None => text("resource").to_owned(),
        };
        request["verb"] == *self.verb
            && text("apiGroup") == self.group
            && resource == self.resource
            && self.namespace.as_ref().is_none_or(|namespace| text("namespace") == namespace)
            && self.name.as_ref().is_none_or(|name| text("name") == name)
    }
}

/// The operator's arguments and variables as its Deployment has them.
async fn container(world: &World, namespace: &str, release: &str) -> (Vec<String>, Vec<(String, String)>) {
    let deployments = Api::<Deployment>::namespaced(world.admin.clone(), namespace);
    let deployment = deployments.get(release).await.expect("a Deployment").spec.expect("a spec");
    let container = deployment.template.spec.expect("a Pod").containers.remove(0);
    let mounts = world.directory.path().join("mounts");
    std::fs::create_dir_all(&mounts).expect("made");
    let catalogue = Api::<ConfigMap>::namespaced(world.admin.clone(), namespace).get_opt(&format!("{release}-catalogue")).await;
    if let Some(catalogue) = catalogue.expect("an answer") {
        std::fs::write(mounts.join("catalogue.yaml"), &catalogue.data.expect("data")["catalogue.yaml"]).expect("written");
    }
    let mounted = |text: &str| {
        let mounts = mounts.to_str().expect("a path");
        text.replace("/etc/ukgpro-operator/catalogue", mounts).replace("/etc/ukgpro-operator/ca", mounts)
    };
    pods::process(container, namespace, mounted)
}

/// Installs a release in a namespace of its own, has its operator do all that it does for connections in the others, and compares what
/// it asked for with what it may.
async fn exercise(mode: &str, watched: usize, values: &[&str]) {
    let world = World::spread(mode, 2).await;
    let helm = Helm::new(&world);
    let (system, elsewhere) = (world.elsewhere[1].as_str(), world.elsewhere[0].as_str());
    let namespaces = [world.namespace.as_str(), elsewhere];
    let scope = format!("watchNamespaces={{{}}}", namespaces[..watched].join(","));
    let base =
        ["install", "shard", CHART, "--namespace", system, "--set", "crds.install=false", "--set", "rbac.aggregate=false"];
    let class = format!("controllerClass={mode}");
    let own = ["--set", &class, "--set", "operator.allowedDomains={ultipro.localhost:*}", "--set", &scope];
    let own = if watched == 0 { &own[..4] } else { &own[..] };
    let values: Vec<_> = values.iter().flat_map(|value| ["--set", value]).collect();
    helm.done(&[&base[..], own, &values].concat());
    let release = "shard-ukgpro-operator";
    let grants: Vec<_> = objects(&helm.done(&["get", "manifest", "shard", "--namespace", system]))
        .iter()
        .filter(|object| object["kind"] == "Role" || object["kind"] == "ClusterRole")
        .flat_map(Grant::of)
        .collect();
    assert!(!grants.is_empty());

    // A connection in each watched namespace, with its authority in a ConfigMap; and a host's worth of them, one with it in a Secret.
    let secret = world.secrets().get(SECRET).await.expect("a Secret").data;
    let params = PatchParams::apply("tests").force();
    let put = async |namespace: &str, name: &str, ca: Option<&str>| {
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["name"] = json!(name);
        manifest["metadata"]["namespace"] = json!(namespace);
        manifest["spec"]["controllerClass"] = json!(mode);
        if let Some(kind) = ca {
            manifest["spec"]["caRef"]["kind"] = json!(kind);
            // An account each, in one Secret: an outage is one of several accounts.
            manifest["spec"]["secretRef"]["keys"] = json!({"username": format!("username-{name}")});
        }
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        connections.patch(name, &params, &Patch::Apply(&manifest)).await.expect("applied");
    };
    let state = async |namespace: &str, name: &str| {
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        connections.get(name).await.expect("there").status.map(|status| status.state)
    };
    world.put_secret_named(CA_SECRET, json!({"ca.crt": world.simulator.ca})).await;
    let copy = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "data": secret});
    let secrets = Api::<Secret>::namespaced(world.admin.clone(), elsewhere);
    secrets.patch(SECRET, &params, &Patch::Apply(&copy)).await.expect("applied");
    for name in [SECRET, CA_SECRET] {
        // Watched where only those with the label are.
        world.edit_secret_named(name, json!({"metadata": {"labels": {"ukgpro.dev/watch": "true"}}})).await;
    }

    let kubeconfig = world.directory.path().join("release.kubeconfig");
    world.write_kubeconfig(system, release, &kubeconfig).await;
    let (arguments, variables) = container(&world, system, release).await;
    let log = world.directory.path().join("operator.log");
    let start = || Operator::start_as(&kubeconfig, &log, &arguments, &variables);
    let operator = start();
    let everywhere = if watched == 1 { &namespaces[..1] } else { &namespaces[..] };
    for namespace in everywhere {
        put(namespace, CONNECTION, None).await;
    }
    for namespace in everywhere {
        world.wait_until("a verdict", async || state(namespace, CONNECTION).await.as_deref() == Some("Active")).await;
    }
    // Of another class, and so another's.
    assert!(operator.stop().success());

    // Another takes over the ledger and the Lease, and sees the password changed and changed back.
    let operator = start();
    let ask =
        async |when: &str| world.edit(json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": when}}})).await;
    world.edit_secret(json!({"stringData": {"password": "wrong"}})).await;
    ask("first").await;
    world.wait_for_reason("CredentialsRejected").await;
    world.edit_secret(json!({"stringData": {"password": world.account.password}})).await;
    ask("second").await;
    world.wait_for_reason("AllPermissionsGranted").await;

    // Elsewhere too a verdict changes, which is told by an event.
    for namespace in &everywhere[1..] {
        let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        let patch = json!({"spec": {"permissions": [{"name": "NoSuchRow"}]}});
        connections.patch(CONNECTION, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("edited");
        world.wait_until("a verdict", async || state(namespace, CONNECTION).await.as_deref() == Some("Unknown")).await;
    }

    // Its host fails for everybody.
    let usernames: Value = (0..FLEET).map(|number| (format!("username-c{number}"), json!(format!("svc-{number}")))).collect();
    world.edit_secret(json!({"stringData": usernames})).await;
    world.simulator.faults(json!([{"operation": "*", "answer": {"status": 503}}])).await;
    for number in 0..FLEET {
        put(&world.namespace, &format!("c{number}"), Some(if number == 0 { "Secret" } else { "ConfigMap" })).await;
    }
    let events = Api::<Event>::namespaced(world.admin.clone(), system);
    let told = async |reason: &str| {
        let events = events.list(&ListParams::default()).await.expect("events").items;
        events.iter().any(|event| event.reason.as_deref() == Some(reason))
    };
    world.wait_until("the signal", async || told("HostOutage").await).await;
    world.simulator.faults(json!([])).await;
    assert!(operator.stop().success());

    let requests = world.audited_of(system, release);
    let log = world.operator_log();
    for request in &requests {
        assert_ne!(request["responseStatus"]["code"], 403, "{} {}\n{log}", request["verb"], request["requestURI"]);
    }
    if world.control_plane.audit_log.is_some() {
        // Those that continue the ledger are used when it grows (`tests/e2e/guard.rs`).
        let continues = |grant: &&Grant| grant.name.as_ref().is_some_and(|name| name.contains("-ledger-"));
        let unused = grants.iter().filter(|grant| !requests.iter().any(|request| grant.is_used_by(request)));
        let unused: Vec<_> = unused.filter(|grant| !continues(grant)).collect();
        assert!(unused.is_empty(), "rights that nothing used: {unused:#?}\n{log}");
    }
    helm.done(&["uninstall", "shard", "--namespace", system]);
    world.assert_nothing_got_out(&[&world.account]).await;
    world.finish_without_operator().await;
}

#[tokio::test]
async fn the_whole_cluster_and_all_secrets() {
    exercise("rights-all", 0, &["secrets.watch=all"]).await;
}

#[tokio::test]
async fn the_whole_cluster_and_labelled_secrets() {
    exercise("rights-labelled", 0, &["secrets.watch=labelled", "operator.kubeApiQps=100", "operator.workerThreads=2"]).await;
}

#[tokio::test]
async fn some_namespaces_and_all_secrets() {
    exercise(
        "rights-some",
        2,
        &[
            "secrets.watch=all",
            "operator.catalogue.profiles[0].name=Ours",
            "operator.catalogue.profiles[0].description=ours",
            "operator.catalogue.profiles[0].permissions[0].name=EmployeePersonDetails",
        ],
    )
    .await;
}

#[tokio::test]
async fn one_namespace_and_no_watch_of_secrets() {
    exercise("rights-none", 1, &["secrets.watch=none"]).await;
}

#[tokio::test]
async fn one_namespace_and_secrets_by_name() {
    let names = format!("secrets.names={{{SECRET},{CA_SECRET}}}");
    exercise("rights-names", 1, &["secrets.watch=none", &names]).await;
}

#[tokio::test]
async fn one_operator_without_leader_election() {
    exercise("rights-single", 1, &["replicas=1", "leaderElection.enabled=false"]).await;
}
