//! `ukgpro-operator wait`: waits until a connection works, for programs that must not start earlier.
//!
//! **Touches** the API server: it lists and watches one connection by name, and gets the metadata of its Secret if permitted.
//!
//! **Contract.** Only a status of the current spec and of the current Secret counts: a password that was just corrected has no
//! verdict yet. Without the right to get the Secret, the version in the status is trusted. If only a person can help
//! ([`STALLED`]), waiting for the connection to work ends at once, as in tools that wait by kstatus: Kubernetes restarts an init
//! container with growing pauses, and a pipeline gets its answer. Waiting continues if a Secret does not exist yet or a host does
//! not answer.

use std::time::Duration;

use clap::Args;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client};

use super::flags::{object_name, time};
use super::{NO_CLIENT, kubernetes};
use crate::api::UkgProConnection;
use crate::api::conditions::{self, READY, STALLED};
use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};

/// The command's flags.
#[derive(Args)]
pub struct WaitArgs {
    /// Name of the connection
    #[arg(value_parser = object_name)]
    name: String,

    /// Namespace of the connection; by default, that of the ServiceAccount or of the kubeconfig's context
    #[arg(short, long, value_parser = object_name)]
    namespace: Option<String>,

    /// The condition to wait for
    #[arg(long = "for", value_enum, default_value = "Ready", ignore_case = true)]
    awaited: WaitCondition,

    /// How long to wait, such as 30s or 5m
    #[arg(long, default_value = "5m", value_parser = time)]
    timeout: Duration,
}

/// Runs the command.
#[tokio::main(flavor = "current_thread")]
pub async fn run(args: WaitArgs) -> Result<(), String> {
    let client = kube::Client::try_from(kubernetes().await?).map_err(|_| NO_CLIENT)?;
    let namespace = args.namespace.unwrap_or_else(|| client.default_namespace().to_owned());
    let waited = wait(client, &namespace, &args.name, args.awaited, args.timeout).await;
    waited.map_err(|error| error.to_string())
}

/// The condition to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "PascalCase")]
pub enum WaitCondition {
    /// The connection works
    Ready,
    /// The connection works: the verdict's own condition
    Active,
    /// The candidate can be promoted
    CandidateReady,
    /// Only a person can help
    Stalled,
}

impl WaitCondition {
    /// The condition's type.
    pub fn as_str(self) -> &'static str {
        match self {
            WaitCondition::Ready => READY,
            WaitCondition::Active => "Active",
            WaitCondition::CandidateReady => conditions::CANDIDATE_READY,
            WaitCondition::Stalled => STALLED,
        }
    }
}

/// Whether the awaited condition is met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WaitState {
    /// The condition is True.
    Met,
    /// It is not True and will not become True by itself: reason and message.
    Failed(String),
    /// It is not True yet: why.
    Pending(String),
}

/// Why waiting ended without success.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The time is over.
    #[error("{name} is not {awaited} after {seconds} s: {why}")]
    TimedOut {
        /// The connection.
        name: String,
        /// The condition.
        awaited: &'static str,
        /// The timeout.
        seconds: u64,
        /// The last known state.
        why: String,
    },
    /// Only a person can help.
    #[error("{name} is not {awaited}, and only a person can help: {why}")]
    Failed {
        /// The connection.
        name: String,
        /// The condition.
        awaited: &'static str,
        /// The connection's own message.
        why: String,
    },
}

/// Evaluates a connection's status. Pure.
pub fn evaluate(connection: &UkgProConnection, awaited: WaitCondition) -> WaitState {
    let status = connection.status.as_ref();
    let Some(status) = status.filter(|status| status.observed_generation == connection.metadata.generation) else {
        return WaitState::Pending("no operator has checked it yet".to_owned());
    };
    let conditions = &status.conditions;
    if conditions::is_true(conditions, awaited.as_str()) {
        return WaitState::Met;
    }
    let told = match awaited {
        WaitCondition::CandidateReady => awaited.as_str(),
        _ => READY,
    };
    let why = match conditions::find(conditions, told) {
        Some(condition) => format!("{}: {}", condition.reason, condition.message),
        None => "it has no such condition".to_owned(),
    };
    match awaited {
        WaitCondition::Ready | WaitCondition::Active if conditions::is_true(conditions, STALLED) => WaitState::Failed(why),
        _ => WaitState::Pending(why),
    }
}

/// Returns the Secret that a condition is about, and its version when it was checked.
fn checked_secret(connection: &UkgProConnection, awaited: WaitCondition) -> Option<(&str, &str)> {
    let status = connection.status.as_ref()?;
    match awaited {
        WaitCondition::CandidateReady => {
            let name = &connection.spec.candidate_secret_ref.as_ref()?.name;
            Some((name, &status.candidate.as_ref()?.secret_resource_version))
        }
        WaitCondition::Ready | WaitCondition::Active | WaitCondition::Stalled => {
            Some((&connection.spec.secret_ref.name, status.secret_resource_version.as_deref()?))
        }
    }
}

/// Evaluates a status. Returns `Pending` if the Secret has changed since it was checked.
async fn evaluate_with_secret(
    client: &Client,
    namespace: &str,
    connection: &UkgProConnection,
    awaited: WaitCondition,
) -> WaitState {
    let state = evaluate(connection, awaited);
    let (false, Some((name, version))) = (matches!(state, WaitState::Pending(_)), checked_secret(connection, awaited)) else {
        return state;
    };
    let secrets = Api::<Secret>::namespaced(client.clone(), namespace);
    match tokio::time::timeout(KUBERNETES_DEADLINE, secrets.get_metadata(name)).await {
        Ok(Ok(secret)) if secret.metadata.resource_version.as_deref() != Some(version) => {
            WaitState::Pending(format!("Secret {name} has changed since it was checked"))
        }
        // The Secret is not readable or does not exist; the status already reports what matters.
        _ => state,
    }
}

/// Waits until the condition of the connection is True, at most for `timeout`.
pub async fn wait(client: Client, namespace: &str, name: &str, awaited: WaitCondition, timeout: Duration) -> Result<(), Error> {
    let api = Api::<UkgProConnection>::namespaced(client.clone(), namespace);
    let select = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(watcher(api, select).default_backoff());
    let mut state = WaitState::Pending("the API server has not answered".to_owned());
    let met = async {
        let mut listed = false;
        while let Some(event) = events.next().await {
            state = match event {
                Ok(Event::Init) => {
                    listed = false;
                    continue;
                }
                Ok(Event::InitApply(connection)) => {
                    listed = true;
                    evaluate_with_secret(&client, namespace, &connection, awaited).await
                }
                Ok(Event::InitDone) if listed => continue,
                Ok(Event::InitDone | Event::Delete(_)) => {
                    WaitState::Pending(format!("it does not exist in namespace {namespace}"))
                }
                Ok(Event::Apply(connection)) => evaluate_with_secret(&client, namespace, &connection, awaited).await,
                Err(error) => WaitState::Pending(failure(&error)),
            };
            if !matches!(state, WaitState::Pending(_)) {
                return;
            }
        }
    };
    let over = tokio::time::timeout(timeout, met).await.is_err();
    let (name, awaited) = (name.to_owned(), awaited.as_str());
    match state {
        WaitState::Met => Ok(()),
        WaitState::Failed(why) => Err(Error::Failed { name, awaited, why }),
        WaitState::Pending(why) => {
            debug_assert!(over, "a watch does not end");
            Err(Error::TimedOut { name, awaited, seconds: timeout.as_secs(), why })
        }
    }
}

fn failure(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => kubernetes_failure(error),
        _ => "the watch was interrupted".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns a connection of generation 2 with these conditions (type, status), observed at the given generation.
    fn connection(observed: i64, conditions: &[(&str, &str)]) -> UkgProConnection {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(type_, status)| {
                json!({"type": type_, "status": status, "reason": "Why", "message": format!("{type_}, that is why."),
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection",
            "metadata": {"name": "acme", "generation": 2}, "spec": {"secretRef": {"name": "x"}},
            "status": {"observedGeneration": observed, "state": "Unknown", "conditions": conditions},
        }))
        .expect("a connection")
    }

    #[test]
    fn what_a_status_comes_to() {
        let pending = |why: &str| WaitState::Pending(why.to_owned());
        let unseen = "no operator has checked it yet";
        for (observed, conditions, awaited, expected) in [
            (2, [("Ready", "True"), ("Active", "True")].as_slice(), WaitCondition::Ready, WaitState::Met),
            (2, &[("Ready", "True"), ("Active", "True")], WaitCondition::Active, WaitState::Met),
            // The status is about the previous spec.
            (1, &[("Ready", "True")], WaitCondition::Ready, pending(unseen)),
            (1, &[("Ready", "False"), ("Stalled", "True")], WaitCondition::Ready, pending(unseen)),
            (-1, &[("Ready", "Unknown")], WaitCondition::Ready, pending(unseen)),
            // A condition that is retried is waited for.
            (2, &[("Ready", "False"), ("Reconciling", "True")], WaitCondition::Ready, pending("Why: Ready, that is why.")),
            (
                2,
                &[("Ready", "False"), ("Stalled", "True")],
                WaitCondition::Ready,
                WaitState::Failed("Why: Ready, that is why.".to_owned()),
            ),
            (2, &[("Ready", "False"), ("Stalled", "True")], WaitCondition::Stalled, WaitState::Met),
            (2, &[("Ready", "True")], WaitCondition::Stalled, pending("Why: Ready, that is why.")),
            // A candidate can fix a stalled connection.
            (
                2,
                &[("Ready", "False"), ("Stalled", "True"), ("CandidateReady", "True")],
                WaitCondition::CandidateReady,
                WaitState::Met,
            ),
            (
                2,
                &[("Ready", "False"), ("Stalled", "True"), ("CandidateReady", "False")],
                WaitCondition::CandidateReady,
                pending("Why: CandidateReady, that is why."),
            ),
            (2, &[("Ready", "True")], WaitCondition::CandidateReady, pending("it has no such condition")),
        ] {
            assert_eq!(
                evaluate(&connection(observed, conditions), awaited),
                expected,
                "{conditions:?} of {observed}, for {awaited:?}"
            );
        }
    }
}
