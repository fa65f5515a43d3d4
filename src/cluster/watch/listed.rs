//! A connection as it is read from the API server and as it is kept.
//!
//! **Bound.** Of ten thousand connections all are kept, so what is kept of one is small: what is asked often (its version, verdict,
//! request) as it is, the rest as compressed text that a check reads again. Managed fields, labels and annotations are left out while reading: the
//! managed fields alone are as large as all the rest.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ConnectionRef;
use super::compressed::Text;
use crate::api::conditions::{self, READY};
use crate::api::{REQUESTED_AT, Reason, UkgProConnection, UkgProConnectionSpec, UkgProConnectionStatus, Verdict};

/// A connection as the API server sends it. Spec and status stay text until someone asks for them: half of what a watch shows is the
/// operator's own writes come back, and one that cannot be read must not stop the others. An event of a watch must name its type before
/// its object, as API servers write it, or the text cannot be had.
#[derive(Clone)]
pub struct Listed {
    /// Without what no step reads.
    metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl Listed {
    /// The connection; its namespace and name where spec or status cannot be read: the CRD refuses such, but may have been another when
    /// they were stored.
    pub fn read(self) -> Result<UkgProConnection, ConnectionRef> {
        let Self { metadata, spec, status } = self;
        match (serde_json::from_str(text(spec.as_deref())), serde_json::from_str(text(status.as_deref()))) {
            (Ok(spec), Ok(status)) => Ok(UkgProConnection { metadata, spec, status }),
            _ => Err(ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref())),
        }
    }

    /// The connection that this is the metadata of.
    pub fn with(self, spec: UkgProConnectionSpec, status: UkgProConnectionStatus) -> UkgProConnection {
        UkgProConnection { metadata: self.metadata, spec, status: Some(status) }
    }
}

/// A part of an object as it was sent, or as if it had been sent empty.
fn text(part: Option<&RawValue>) -> &str {
    part.map_or("null", RawValue::get)
}

#[cfg(test)]
impl From<UkgProConnection> for Listed {
    fn from(UkgProConnection { metadata, spec, status }: UkgProConnection) -> Self {
        Self {
            metadata,
            spec: serde_json::value::to_raw_value(&spec).ok(),
            status: serde_json::value::to_raw_value(&status).ok(),
        }
    }
}

/// What is read of an object.
#[derive(Deserialize)]
struct Wire {
    metadata: WireMetadata,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    deletion_timestamp: Option<Time>,
    annotations: Option<WireAnnotations>,
}

#[derive(Deserialize)]
struct WireAnnotations {
    #[serde(rename = "reconcile.fluxcd.io/requestedAt")]
    requested_at: Option<String>,
}

impl<'de> Deserialize<'de> for Listed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Wire { metadata, spec, status } = Wire::deserialize(deserializer)?;
        if metadata.name.is_none() {
            return Err(D::Error::missing_field("metadata.name"));
        }
        let annotation = metadata.annotations.and_then(|annotations| annotations.requested_at);
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            generation: metadata.generation,
            deletion_timestamp: metadata.deletion_timestamp,
            annotations: annotation.map(|value| [(REQUESTED_AT.to_owned(), value)].into()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, spec, status })
    }
}

/// As any other kind, for the API's paths and for watches.
impl Resource for Listed {
    type DynamicType = ();
    type Scope = <UkgProConnection as Resource>::Scope;

    fn kind(of: &()) -> std::borrow::Cow<'_, str> {
        UkgProConnection::kind(of)
    }

    fn group(of: &()) -> std::borrow::Cow<'_, str> {
        UkgProConnection::group(of)
    }

    fn version(of: &()) -> std::borrow::Cow<'_, str> {
        UkgProConnection::version(of)
    }

    fn plural(of: &()) -> std::borrow::Cow<'_, str> {
        UkgProConnection::plural(of)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Without the spec, which a log has no use for.
impl fmt::Debug for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listed").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

/// What makes a connection new: another object, another spec, another request, or that it is being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edition {
    /// Which object of the name.
    pub uid: Box<str>,
    generation: Option<i64>,
    requested_at: Option<Box<str>>,
    /// Whether it is marked for deletion, and only a finalizer holds it.
    pub is_deleted: bool,
}

/// A connection, small.
#[derive(Debug)]
pub struct Kept {
    /// What makes it new.
    pub edition: Edition,
    /// Its `resourceVersion`.
    pub version: Box<str>,
    /// The verdict, if it is one of the vocabulary.
    pub state: Option<Verdict>,
    /// The reason of its condition Ready, if it is one of the vocabulary.
    pub reason: Option<Reason>,
    text: Text,
}

impl Kept {
    /// What is kept of a connection.
    pub fn of(connection: &UkgProConnection) -> Self {
        let metadata = &connection.metadata;
        let status = connection.status.as_ref();
        let ready = status.and_then(|status| conditions::find(&status.conditions, READY));
        Self {
            edition: Edition {
                uid: metadata.uid.as_deref().unwrap_or_default().into(),
                generation: metadata.generation,
                requested_at: connection.requested_at().map(Into::into),
                is_deleted: metadata.deletion_timestamp.is_some(),
            },
            version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            state: status.and_then(|status| Verdict::ALL.into_iter().find(|known| known.as_str() == status.state)),
            reason: ready.and_then(|ready| Reason::ALL.iter().copied().find(|known| known.as_str() == ready.reason)),
            text: Text::of(&connection.spec, status),
        }
    }

    /// The connection of this name, as a check wants it.
    pub fn connection(&self, reference: &ConnectionRef) -> UkgProConnection {
        let (spec, status) = self.text.read();
        let Edition { uid, generation, requested_at, .. } = &self.edition;
        let metadata = ObjectMeta {
            name: Some(reference.name().to_owned()),
            namespace: Some(reference.namespace().to_owned()),
            uid: Some(uid.as_ref().to_owned()),
            resource_version: Some(self.version.as_ref().to_owned()),
            generation: *generation,
            annotations: requested_at.as_deref().map(|value| [(REQUESTED_AT.to_owned(), value.to_owned())].into()),
            ..ObjectMeta::default()
        };
        UkgProConnection { metadata, spec, status }
    }
}
