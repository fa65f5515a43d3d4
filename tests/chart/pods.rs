//! Containers of the release's Pods as processes, since there are no nodes here.

use std::collections::HashSet;
use std::path::Path;
use std::pin::pin;
use std::process::{Command, Stdio};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Container, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, ResourceExt};
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use crate::support::World;
use crate::support::operator::{OPERATOR, Operator};

/// A container's arguments and variables; only what a container has and a process here has not is different: addresses, mounted files,
/// and what it is told of its Pod.
pub fn process(
    container: Container,
    namespace: &str,
    mounted: impl Fn(&str) -> String,
) -> (Vec<String>, Vec<(String, String)>) {
    let arguments = container.args.expect("arguments").into_iter().map(|argument| match argument.split_once('=') {
        Some((flag @ ("--metrics-address" | "--health-address"), _)) => format!("{flag}=127.0.0.1:0"),
        _ => mounted(&argument),
    });
    let variables = container.env.unwrap_or_default().into_iter().map(|variable| {
        let field = variable.value_from.and_then(|from| from.field_ref).map(|field| field.field_path);
        let value = match field.as_deref() {
            Some("metadata.namespace") => namespace.to_owned(),
            Some(other) => panic!("{other}"),
            None => mounted(&variable.value.expect("a value")),
        };
        (variable.name, value)
    });
    (arguments.collect(), variables.chain([("HOSTNAME".to_owned(), "a-pod".to_owned())]).collect())
}

/// Stands in for a node until it is dropped: runs what the Pods of this release's chart run, each under its ServiceAccount, and says in
/// their status how it fares. The simulator is the one host that may be spoken to.
pub fn node(world: &World) -> AbortOnDropHandle<()> {
    let (admin, directory) = (world.admin.clone(), world.directory.path().to_owned());
    let kubeconfig = world.control_plane.kubeconfig.clone();
    AbortOnDropHandle::new(tokio::spawn(async move {
        let pods = Api::<Pod>::all(admin.clone());
        let (mut seen, mut running) = (HashSet::new(), Vec::new());
        let labelled = watcher::Config::default().labels("app.kubernetes.io/name=ukgpro-operator");
        let mut applied = pin!(watcher(pods, labelled).default_backoff().applied_objects());
        while let Some(pod) = applied.next().await {
            let pod = pod.expect("a watch");
            if !seen.insert(pod.uid().expect("an identity")) {
                continue;
            }
            let (name, namespace) = (pod.name_any(), pod.namespace().expect("a namespace"));
            let mut spec = pod.spec.expect("a spec");
            let account = spec.service_account_name.take().expect("a ServiceAccount");
            let own = directory.join(format!("{name}.kubeconfig"));
            World::write_kubeconfig_of(&admin, &kubeconfig, &namespace, &account, &own).await;
            let (arguments, variables) = process(spec.containers.remove(0), &namespace, |text| match text {
                _ if text.starts_with("--allowed-domains=") => "--allowed-domains=ultipro.localhost:*".to_owned(),
                _ => text.to_owned(),
            });
            let status = if arguments[0] == "wait" {
                run(&own, &arguments).await
            } else {
                running.push(Operator::start_as(&own, &directory.join(format!("{name}.log")), &arguments, &variables));
                json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
            };
            let status = Patch::Merge(json!({ "status": status }));
            let pods = Api::<Pod>::namespaced(admin.clone(), &namespace);
            pods.patch_status(&name, &PatchParams::default(), &status).await.expect("told");
        }
    }))
}

/// What runs to its end, and what a Pod's status says then.
async fn run(kubeconfig: &Path, arguments: &[String]) -> serde_json::Value {
    let mut command = Command::new(OPERATOR);
    command.args(arguments).env("KUBECONFIG", kubeconfig).stdin(Stdio::null());
    let ended = tokio::task::spawn_blocking(move || command.status()).await.expect("it ends").expect("it runs");
    json!({"phase": if ended.success() { "Succeeded" } else { "Failed" }})
}
