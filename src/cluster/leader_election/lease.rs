//! The Lease, as far as an election reads and writes it, and where it is stored.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease as Object, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::cluster::client::{ApiServerClient, Role};
use crate::cluster::failure::kubernetes_failure;

/// A Lease at one version.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lease {
    /// All of it, so that a write keeps the labels of others and carries the version and the uid.
    pub(super) metadata: Box<ObjectMeta>,
    /// The part that the election writes.
    pub(super) record: Record,
}

/// The fields that an election writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// Who leads; empty if nobody does.
    pub(super) holder: String,
    /// How long others leave it alone after a change; `None` if the Lease has no valid duration.
    pub(super) duration: Option<Duration>,
    /// When this holder began to lead, by its own clock; for people.
    pub(super) acquired: Option<Timestamp>,
    /// When it was renewed, by the holder's own clock; for people.
    pub(super) renewed: Option<Timestamp>,
    /// How often the holder has changed.
    pub(super) transitions: i32,
}

/// Why a write is not known to have been carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotWritten {
    /// The Lease no longer exists.
    Absent,
    /// The Lease is at another version, or already exists.
    Refused,
    /// It is unknown whether the write was carried out.
    Unanswered(String),
}

/// The store of a Lease. Failures are described in the operator's own words.
pub(super) trait Store {
    /// Reads the Lease; `None` if there is none.
    fn read(&self) -> impl Future<Output = Result<Option<Lease>, String>> + Send;

    /// Writes the record onto the version in this metadata, or creates the Lease.
    fn write(&self, onto: Option<Box<ObjectMeta>>, record: Record) -> impl Future<Output = Result<Lease, NotWritten>> + Send;
}

/// The Lease in a cluster.
pub(super) struct KubeLeaseStore {
    api: Api<Object>,
    name: String,
}

impl KubeLeaseStore {
    /// Uses its own client, because the shared one would retry each request for minutes. Needs a runtime.
    pub(super) fn new(config: kube::Config, namespace: &str, name: String) -> kube::Result<Self> {
        let client = kube::Client::new(ApiServerClient::new(config, Role::LeaderElection)?, namespace);
        Ok(Self { api: Api::namespaced(client, namespace), name })
    }
}

impl Store for KubeLeaseStore {
    async fn read(&self) -> Result<Option<Lease>, String> {
        match self.api.get_opt(&self.name).await {
            Ok(object) => Ok(object.map(Lease::from)),
            Err(error) => Err(kubernetes_failure(&error)),
        }
    }

    async fn write(&self, onto: Option<Box<ObjectMeta>>, record: Record) -> Result<Lease, NotWritten> {
        let params = PostParams::default();
        let spec = Some(record.into());
        let (written, making) = match onto {
            // The metadata includes the uid. A PUT onto a deleted Lease makes the API server create a new one, whatever version it
            // names; it refuses only a wrong uid.
            Some(metadata) => (self.api.replace(&self.name, &params, &Object { metadata: *metadata, spec }).await, false),
            None => {
                let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
                (self.api.create(&params, &Object { metadata, spec }).await, true)
            }
        };
        written.map(Lease::from).map_err(|error| match &error {
            kube::Error::Api(status) if status.code == 409 => NotWritten::Refused,
            // On creation, not found means that the namespace is missing, which only a person can fix.
            kube::Error::Api(status) if status.is_not_found() && !making => NotWritten::Absent,
            error => NotWritten::Unanswered(kubernetes_failure(error)),
        })
    }
}

impl From<Object> for Lease {
    fn from(Object { metadata, spec }: Object) -> Self {
        let spec = spec.unwrap_or_default();
        let seconds =
            spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
        Self {
            // Not needed here; the API server keeps managed fields that are not sent back.
            metadata: Box::new(ObjectMeta { managed_fields: None, ..metadata }),
            record: Record {
                holder: spec.holder_identity.unwrap_or_default(),
                duration: seconds.map(Duration::from_secs),
                acquired: spec.acquire_time.map(|time| time.0),
                renewed: spec.renew_time.map(|time| time.0),
                transitions: spec.lease_transitions.unwrap_or_default(),
            },
        }
    }
}

impl From<Record> for LeaseSpec {
    fn from(record: Record) -> Self {
        Self {
            holder_identity: Some(record.holder),
            lease_duration_seconds: record.duration.and_then(|duration| i32::try_from(duration.as_secs()).ok()),
            acquire_time: record.acquired.map(MicroTime),
            renew_time: record.renewed.map(MicroTime),
            lease_transitions: Some(record.transitions),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Json;
    use axum::http::StatusCode;
    use serde_json::json;

    use super::*;

    /// Returns the Lease of a cluster whose API server always gives this answer, and the number of requests to it.
    async fn saying(code: u16, reason: &'static str) -> (KubeLeaseStore, Arc<AtomicUsize>) {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = requests.clone();
        let answer = move || {
            counted.fetch_add(1, Ordering::SeqCst);
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason});
            let code = StatusCode::from_u16(code).expect("a code");
            std::future::ready((code, [("retry-after", "0")], Json(status)))
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async { axum::serve(listener, axum::Router::new().fallback(answer)).await });
        let config = kube::Config::new(url.parse().expect("a URL"));
        (KubeLeaseStore::new(config, "hr", "x".to_owned()).expect("a client"), requests)
    }

    #[tokio::test]
    async fn each_answer_is_taken_for_what_it_says_of_the_lease() {
        let unanswered = |answer: &str| NotWritten::Unanswered(format!("the API server answered {answer}"));
        for (code, reason, replaced, made) in [
            (404, "NotFound", NotWritten::Absent, unanswered("404 NotFound")),
            (409, "Conflict", NotWritten::Refused, NotWritten::Refused),
            (409, "AlreadyExists", NotWritten::Refused, NotWritten::Refused),
            (403, "Forbidden", unanswered("403 Forbidden"), unanswered("403 Forbidden")),
            (500, "InternalError", unanswered("500 InternalError"), unanswered("500 InternalError")),
        ] {
            let (store, _) = saying(code, reason).await;
            let there = Some(Box::new(ObjectMeta { name: Some("x".to_owned()), ..ObjectMeta::default() }));
            assert_eq!(store.write(there, Record::default()).await, Err(replaced), "PUT, {reason}");
            assert_eq!(store.write(None, Record::default()).await, Err(made), "POST, {reason}");
            assert_eq!(store.read().await.ok(), (code == 404).then_some(None), "GET, {reason}");
        }
    }

    #[tokio::test]
    async fn a_request_is_made_once_whatever_comes_of_it() {
        for (code, reason) in [(429, "TooManyRequests"), (503, "ServiceUnavailable"), (504, "Timeout")] {
            let (store, requests) = saying(code, reason).await;
            let answers = async { (store.read().await.is_err(), store.write(None, Record::default()).await.is_err()) };
            assert_eq!(tokio::time::timeout(Duration::from_secs(20), answers).await, Ok((true, true)));
            assert_eq!(requests.load(Ordering::SeqCst), 2);
        }
    }

    #[test]
    fn a_record_comes_back_as_it_was_written() {
        let moment = Timestamp::from_microsecond(1_800_000_000_123_456).expect("in range");
        let record = Record {
            holder: "a".to_owned(),
            duration: Some(Duration::from_secs(15)),
            acquired: Some(moment),
            renewed: Some(moment),
            transitions: 3,
        };
        let written = serde_json::to_string(&LeaseSpec::from(record.clone())).expect("JSON");
        let spec = serde_json::from_str(&written).expect("a spec");
        assert_eq!(Lease::from(Object { metadata: ObjectMeta::default(), spec: Some(spec) }).record, record);
    }

    #[test]
    fn a_lease_that_others_have_written_may_lack_anything() {
        for spec in [None, Some(LeaseSpec { lease_duration_seconds: Some(-1), ..LeaseSpec::default() })] {
            assert_eq!(Lease::from(Object { metadata: ObjectMeta::default(), spec }).record, Record::default());
        }
    }
}
