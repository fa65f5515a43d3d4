//! publish: a decision → status, event, log line. Writes Kubernetes.
//!
//! **Contract.** Nothing is written when nothing has changed. A status is written onto the version of the connection that it was
//! decided on, or not at all. It is applied server-side under one field manager, so two operators that see the same write the same
//! and neither undoes what others own.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::core::Request;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::IgnoredAny;
use ukg_pro::catalogue::{self, Requirement};

use super::Context;
use super::decide::{Decision, Note, Observation, Observed};
use super::resolve::Resolved;
use crate::api::{FIELD_MANAGER, HostChange, UkgProConnection, UkgProConnectionStatus, messages};
use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};
use crate::cluster::watch::listed::Listed;

/// Who reports, in events; a qualified name, as the events API wants it.
const REPORTING_CONTROLLER: &str = "ukgpro.dev/ukgpro-operator";

/// What became of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It stands, or stood already.
    Done,
    /// The connection has gone.
    Gone,
    /// The connection is not the one that was decided on any more; nothing was written.
    Outdated,
}

/// Kubernetes could not be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Applying the status.
    #[error("applying the status: {}", kubernetes_failure(.0))]
    Status(#[source] kube::Error),
    /// No answer in time.
    #[error("the API server did not answer within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
    /// Others write the connection all the time.
    #[error("applying the status: the connection changes faster than it can be written")]
    Contended,
}

/// Observations that cost a login and could not be written, each until its connection is checked again.
///
/// **Bound.** One a connection; forgotten when it is deleted.
#[derive(Default)]
pub struct Undelivered(Mutex<HashMap<String, Kept>>);

/// An observation, with the request and the spec it is of.
struct Kept {
    request: Option<String>,
    checked: String,
    observed: Observed,
}

impl Undelivered {
    /// Keeps an observation that cost a login.
    pub fn keep(&self, connection: &UkgProConnection, observed: Observed) {
        if let (Some(uid), true) = (connection.uid(), observed.cost_a_login()) {
            let request = connection.requested_at().map(str::to_owned);
            self.all().insert(uid, Kept { request, checked: checked(connection), observed });
        }
    }

    /// What was found of this very spec, request, host and Secret, if that could not be written.
    pub fn take(&self, connection: &UkgProConnection, resolved: &Resolved) -> Option<Observed> {
        let Kept { request, checked, observed } = self.all().remove(&connection.uid()?)?;
        let same = request.as_deref() == connection.requested_at()
            && checked == self::checked(connection)
            && observed.resolved().is_some_and(|before| before.is_of(resolved));
        same.then_some(observed)
    }

    /// Forgets a connection that is not there any more.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Forgets everything: another operator has acted meanwhile, and knows better.
    pub fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an observation is about: the live spec and the one with the candidate.
fn checked(connection: &UkgProConnection) -> String {
    let promoted = connection.spec.promoted().map(|spec| spec.checked());
    format!("{} {}", connection.spec.checked(), promoted.unwrap_or_default())
}

/// Publishes a decision.
pub async fn publish(connection: &UkgProConnection, decision: &Decision, context: &Context) -> Result<Published, Error> {
    if connection.status.as_ref() == Some(&decision.status) {
        return Ok(Published::Done);
    }
    let published = apply(connection, decision, context).await?;
    if published == Published::Done {
        for note in &decision.events {
            let name = connection.name_any();
            let namespace = connection.namespace().unwrap_or_default();
            let of = if note.of_candidate { "candidate" } else { "connection" };
            tracing::info!(
                namespace,
                name,
                of,
                state = decision.status.state,
                reason = note.reason.as_str(),
                "verdict changed"
            );
            let regarding = ObjectReference {
                // Not the field path or resource version: an event is about the object, whatever version.
                resource_version: None,
                ..connection.object_ref(&())
            };
            let Note { warning, reason, message, .. } = note;
            post(regarding, *warning, reason.as_str(), message, context).await;
        }
    }
    Ok(published)
}

/// Tells whoever runs the operator how a host fares: once when most of its connections fail, once when they do not any more.
pub async fn signal(host: &str, change: HostChange, context: &Context) {
    let (warning, reason) = match change {
        HostChange::Outage { failing, known } => {
            tracing::warn!(host, failing, known, "most connections of a host get no usable answer; it is asked less often");
            (true, "HostOutage")
        }
        HostChange::Recovery => {
            tracing::info!(host, "a host answers again");
            (false, "HostRecovered")
        }
    };
    post(itself(context), warning, reason, &messages::host(host, change), context).await;
}

/// Tells whoever runs the operator of reads that were answered with people though they match nobody: once for each read and host.
pub async fn warn_of_unfiltered(observation: &Observation, context: &Context) {
    for (requirement, host) in observation.unfiltered() {
        if context.unfiltered.is_news(requirement, host) {
            let row = &requirement.row.name;
            tracing::warn!(row, host, "a read that matches nobody was answered with people; nothing of it was kept");
            post(itself(context), true, "ProbeUnfiltered", &messages::unfiltered(requirement, host), context).await;
        }
    }
}

/// Reads whose answers showed people and that were told of, by host: of another's, other people are concerned.
///
/// **Bound.** 256; what comes then is counted in the metric and told no more.
#[derive(Debug, Default)]
pub struct Unfiltered(Mutex<HashSet<(String, catalogue::Api, String)>>);

const UNFILTERED_MAX: usize = 256;

impl Unfiltered {
    fn is_news(&self, requirement: &Requirement, host: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < UNFILTERED_MAX && told.insert((requirement.row.name.clone(), requirement.api, host.to_owned()))
    }
}

/// The operator's Pod: what is about no connection is about that.
fn itself(context: &Context) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(context.instance.clone()),
        namespace: Some(context.system_namespace.clone()),
        ..ObjectReference::default()
    }
}

/// What is applied: nothing of a connection but its status.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Applied<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Onto<'a>,
    status: &'a UkgProConnectionStatus,
}

/// The object and version to apply it to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Onto<'a> {
    name: &'a str,
    resource_version: Option<&'a str>,
}

async fn apply(connection: &UkgProConnection, decision: &Decision, context: &Context) -> Result<Published, Error> {
    let name = connection.name_any();
    // Only onto the version that was decided on. Without it a verdict lands on whatever has the name by now, an object that was
    // deleted and made again among them: for the status of a custom resource the API server does not compare the uid.
    let body = Applied {
        api_version: &UkgProConnection::api_version(&()),
        kind: &UkgProConnection::kind(&()),
        metadata: Onto { name: &name, resource_version: connection.metadata.resource_version.as_deref() },
        status: &decision.status,
    };
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let path = UkgProConnection::url_path(&(), connection.namespace().as_deref());
    let request = Request::new(path).patch_subresource("status", &name, &params, &Patch::Apply(&body));
    let request = of_metadata(request.map_err(|error| Error::Status(kube::Error::BuildRequest(error)))?);
    let request = context.kubernetes.request::<Listed>(request);
    let written = match tokio::time::timeout(KUBERNETES_DEADLINE, request).await.map_err(|_| Error::Deadline)? {
        Ok(written) => written,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Published::Gone),
        Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(Published::Outdated),
        Err(error) => return Err(Error::Status(error)),
    };
    // The next check must decide on what was just written.
    context.connections.wrote(&written.with(connection.spec.clone(), decision.status.clone()));
    Ok(Published::Done)
}

/// A write whose answer is the object's metadata alone. What was written is known here, so the whole object would be made, sent and
/// read for nothing. An API server that does not know the form answers with the object.
fn of_metadata<B>(mut request: http::Request<B>) -> http::Request<B> {
    const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(METADATA));
    request
}

/// Posts an event. The verdict is in the status, so an event that cannot be posted is logged and let go.
async fn post(regarding: ObjectReference, warning: bool, reason: &str, message: &str, context: &Context) {
    let namespace = regarding.namespace.clone().unwrap_or_default();
    let name = regarding.name.clone().unwrap_or_default();
    let now = jiff::Timestamp::now();
    let event = Event {
        metadata: ObjectMeta {
            name: Some(event_name(&name, now)),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        action: Some("Check".to_owned()),
        event_time: Some(MicroTime(now)),
        note: Some(messages::note(message)),
        reason: Some(reason.to_owned()),
        regarding: Some(regarding),
        reporting_controller: Some(REPORTING_CONTROLLER.to_owned()),
        reporting_instance: Some(context.instance.clone()),
        type_: Some(if warning { "Warning" } else { "Normal" }.to_owned()),
        ..Event::default()
    };
    let failure = match tokio::time::timeout(KUBERNETES_DEADLINE, create(&namespace, &event, context)).await {
        Ok(Ok(())) => return,
        // It goes, and the object with it; of a large one this would be a warning for each.
        Ok(Err(error)) if is_terminating(&error) => return,
        Ok(Err(error)) => kubernetes_failure(&error),
        Err(_) => "the API server did not answer in time".to_owned(),
    };
    tracing::warn!(namespace, name, failure, "event not posted");
}

async fn create(namespace: &str, event: &Event, context: &Context) -> Result<(), kube::Error> {
    let event = serde_json::to_vec(event).map_err(kube::Error::SerdeError)?;
    let request = Request::new(Event::url_path(&(), Some(namespace))).create(&PostParams::default(), event);
    let request = of_metadata(request.map_err(kube::Error::BuildRequest)?);
    context.kubernetes.request::<IgnoredAny>(request).await.map(drop)
}

/// Whether a namespace takes nothing new since it is being deleted.
fn is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// An event's name as client-go makes it: the object's, and the moment. A name may have 253 characters.
fn event_name(object: &str, now: jiff::Timestamp) -> String {
    let object: String = object.chars().take(230).collect();
    format!("{}.{:x}", object.trim_end_matches(['.', '-']), now.as_nanosecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_an_object_with_the_longest_name_has_a_name_too() {
        let now = jiff::Timestamp::from_second(1_800_000_000).expect("in range");
        assert_eq!(event_name("acme", now), "acme.18fae27693b40000");
        assert!(event_name(&"a".repeat(253), now).len() <= 253);
        assert!(!event_name(&format!("{}-b", "a".repeat(229)), now).contains("-."));
    }
}
