//! The publish step: writes a decision as status (server-side apply), events and log lines.
//!
//! **Contract.** Nothing is written if nothing has changed. A status is written to the version of the connection that it was
//! decided on, or not at all. It is applied server-side with one field manager, so that two operators with the same result write
//! the same, and neither undoes what others own.

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
use super::decide::{Decision, EventToPost, Observation, Observed};
use super::resolve::Resolved;
use crate::api::{FIELD_MANAGER, HostChange, UkgProConnection, UkgProConnectionStatus, messages};
use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};
use crate::cluster::watch::listed::RawConnection;

/// The reporting controller of events; the events API requires a qualified name.
const REPORTING_CONTROLLER: &str = "ukgpro.dev/ukgpro-operator";

/// The result of publishing a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// The status is written, or was already.
    Done,
    /// The connection no longer exists.
    Gone,
    /// The connection has changed since the decision; nothing was written.
    Outdated,
}

/// Why a decision could not be written to Kubernetes.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Applying the status failed.
    #[error("applying the status: {}", kubernetes_failure(.0))]
    Status(#[source] kube::Error),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
    /// Others change the connection faster than it can be written.
    #[error("applying the status: the connection changes faster than it can be written")]
    Contended,
}

/// Observations that cost a login and could not be written; each is kept until its connection is checked again.
///
/// **Bound.** One per connection; dropped when the connection is deleted.
#[derive(Default)]
pub struct UnwrittenObservations(Mutex<HashMap<String, UnwrittenObservation>>);

/// An observation, with the request and the spec that it is about.
struct UnwrittenObservation {
    request: Option<String>,
    checked: String,
    observed: Observed,
}

impl UnwrittenObservations {
    /// Keeps an observation if it cost a login.
    pub fn keep(&self, connection: &UkgProConnection, observed: Observed) {
        if let (Some(uid), true) = (connection.uid(), observed.cost_a_login()) {
            let request = connection.requested_at().map(str::to_owned);
            self.all().insert(uid, UnwrittenObservation { request, checked: checked(connection), observed });
        }
    }

    /// Removes and returns the unwritten observation of this spec, request, host and Secret, if there is one.
    pub fn take(&self, connection: &UkgProConnection, resolved: &Resolved) -> Option<Observed> {
        let UnwrittenObservation { request, checked, observed } = self.all().remove(&connection.uid()?)?;
        let same = request.as_deref() == connection.requested_at()
            && checked == self::checked(connection)
            && observed.resolved().is_some_and(|before| before.is_about_values(resolved));
        same.then_some(observed)
    }

    /// Forgets a connection that no longer exists.
    pub fn forget(&self, uid: &str) {
        self.all().remove(uid);
    }

    /// Forgets everything: another operator has acted meanwhile, and its results are newer.
    pub fn forget_all(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, UnwrittenObservation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns what an observation is about: the live spec and the one with the candidate.
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
                // Without field path and resource version: an event is about the object in any version.
                resource_version: None,
                ..connection.object_ref(&())
            };
            let EventToPost { warning, reason, message, .. } = note;
            post(regarding, *warning, reason.as_str(), message, context).await;
        }
    }
    Ok(published)
}

/// Reports the state of a host to the operator's administrator: once when most of its connections fail, and once when that is
/// over.
pub async fn report_host_change(host: &str, change: HostChange, context: &Context) {
    let (warning, reason) = match change {
        HostChange::Outage { failing, known } => {
            tracing::warn!(host, failing, known, "most connections of a host get no usable answer; checking them less often");
            (true, "HostOutage")
        }
        HostChange::Recovery => {
            tracing::info!(host, "the host answers again");
            (false, "HostRecovered")
        }
    };
    post(operator_pod(context), warning, reason, &messages::host(host, change), context).await;
}

/// Warns the operator's administrator of reads that returned people although they match nobody, once per read and host.
pub async fn warn_of_unfiltered(observation: &Observation, context: &Context) {
    for (requirement, host) in observation.unfiltered() {
        if context.unfiltered.is_news(requirement, host) {
            let row = &requirement.row.name;
            tracing::warn!(row, host, "a read that matches nobody was answered with people; nothing of the answer was kept");
            post(operator_pod(context), true, "ProbeUnfiltered", &messages::unfiltered(requirement, host), context).await;
        }
    }
}

/// Reads that returned people and were reported, per host: another host holds data of other people.
///
/// **Bound.** 256; later reads are only counted in the metric.
#[derive(Debug, Default)]
pub struct ReportedUnfilteredReads(Mutex<HashSet<(String, catalogue::Api, String)>>);

const UNFILTERED_MAX: usize = 256;

impl ReportedUnfilteredReads {
    fn is_news(&self, requirement: &Requirement, host: &str) -> bool {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.len() < UNFILTERED_MAX && told.insert((requirement.row.name.clone(), requirement.api, host.to_owned()))
    }
}

/// Returns a reference to the operator's Pod, for events that concern no single connection.
fn operator_pod(context: &Context) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(context.instance.clone()),
        namespace: Some(context.system_namespace.clone()),
        ..ObjectReference::default()
    }
}

/// The body of the apply request: only the status of a connection.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplyBody<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: ApplyMetadata<'a>,
    status: &'a UkgProConnectionStatus,
}

/// The object and the version that the status is applied to.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ApplyMetadata<'a> {
    name: &'a str,
    resource_version: Option<&'a str>,
}

async fn apply(connection: &UkgProConnection, decision: &Decision, context: &Context) -> Result<Published, Error> {
    let name = connection.name_any();
    // Without the version, a verdict could be written to another object that has the name by now, even one that was deleted and
    // created again: for the status of a custom resource the API server does not compare the uid.
    let body = ApplyBody {
        api_version: &UkgProConnection::api_version(&()),
        kind: &UkgProConnection::kind(&()),
        metadata: ApplyMetadata { name: &name, resource_version: connection.metadata.resource_version.as_deref() },
        status: &decision.status,
    };
    // Without validation of field names: the API server would parse the body a second time, only to warn of fields that its CRD
    // does not have.
    let params = PatchParams::apply(FIELD_MANAGER).force().validation_ignore();
    let path = UkgProConnection::url_path(&(), connection.namespace().as_deref());
    let request = Request::new(path).patch_subresource("status", &name, &params, &Patch::Apply(&body));
    let request = of_metadata(request.map_err(|error| Error::Status(kube::Error::BuildRequest(error)))?);
    let request = context.kubernetes.request::<RawConnection>(request);
    let written = match tokio::time::timeout(KUBERNETES_DEADLINE, request).await.map_err(|_| Error::Deadline)? {
        Ok(written) => written,
        Err(kube::Error::Api(status)) if status.is_not_found() => return Ok(Published::Gone),
        Err(kube::Error::Api(status)) if status.is_conflict() => return Ok(Published::Outdated),
        Err(error) => return Err(Error::Status(error)),
    };
    // The next check must decide on what was just written.
    context.connections.record_write(&written.with(connection.spec.clone(), decision.status.clone()));
    Ok(Published::Done)
}

/// Requests only the object's metadata as the answer. The operator knows what it wrote, so the whole object would be built, sent
/// and parsed for nothing. An API server that does not know this form answers with the object.
fn of_metadata<B>(mut request: http::Request<B>) -> http::Request<B> {
    const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json";
    request.headers_mut().insert(http::header::ACCEPT, http::HeaderValue::from_static(METADATA));
    request
}

/// Posts an event. The verdict is in the status, so a failure is only logged.
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
        // The namespace is being deleted with the object. A large namespace would cause one warning per object.
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

/// Returns true if the namespace is being deleted and so accepts nothing new.
fn is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else { return false };
    let causes = status.details.iter().flat_map(|details| &details.causes);
    causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
}

/// Returns an event's name as client-go builds it, from the object's name and the time. A name may have 253 characters.
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
