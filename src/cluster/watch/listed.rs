//! A connection as it is read from the API server, and as it is cached.
//!
//! **Bound.** All of ten thousand connections are cached, so the cached form is small. What is needed often (version, verdict,
//! request) stays as it is; the rest is compressed text, which a check reads again. Managed fields, labels and all annotations but
//! the request are dropped while reading: the managed fields alone are as large as all the rest.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::ObjectMeta;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::ConnectionRef;
use super::compressed::CompressedState;
use crate::api::conditions::{self, READY};
use crate::api::{REQUESTED_AT, Reason, UkgProConnection, UkgProConnectionSpec, UkgProConnectionStatus, Verdict};

/// A connection as the API server sends it. Spec and status stay text until they are needed, because half of what a watch shows is
/// the operator's own writes, and one object that cannot be read must not stop the others. A watch event must have its type before
/// its object, as API servers write it; otherwise the text is not available.
#[derive(Clone)]
pub struct RawConnection {
    /// Only the fields that are needed.
    metadata: ObjectMeta,
    spec: Option<Box<RawValue>>,
    status: Option<Box<RawValue>>,
}

impl RawConnection {
    /// Parses the connection. If spec or status cannot be read, returns its namespace and name. The CRD refuses such objects, but
    /// they may have been stored under an earlier CRD.
    pub fn read(self) -> Result<UkgProConnection, ConnectionRef> {
        let Self { metadata, spec, status } = self;
        match (serde_json::from_str(text(spec.as_deref())), serde_json::from_str(text(status.as_deref()))) {
            (Ok(spec), Ok(status)) => Ok(UkgProConnection { metadata, spec, status }),
            _ => Err(ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref())),
        }
    }

    /// Combines this metadata with a spec and a status.
    pub fn with(self, spec: UkgProConnectionSpec, status: UkgProConnectionStatus) -> UkgProConnection {
        UkgProConnection { metadata: self.metadata, spec, status: Some(status) }
    }
}

/// Returns a part of an object as it was sent; `null` if it was not sent.
fn text(part: Option<&RawValue>) -> &str {
    part.map_or("null", RawValue::get)
}

#[cfg(test)]
impl From<UkgProConnection> for RawConnection {
    fn from(UkgProConnection { metadata, spec, status }: UkgProConnection) -> Self {
        Self {
            metadata,
            spec: serde_json::value::to_raw_value(&spec).ok(),
            status: serde_json::value::to_raw_value(&status).ok(),
        }
    }
}

/// The fields of an object that are read.
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

impl<'de> Deserialize<'de> for RawConnection {
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

/// The same as the full kind, for the API's paths and for watches.
impl Resource for RawConnection {
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

/// Omits the spec, which a log does not need.
impl fmt::Debug for RawConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawConnection").field("name", &self.metadata.name).finish_non_exhaustive()
    }
}

/// What makes a connection new: another object, spec or request, or the start of its deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Identifies the object among those with this name.
    pub uid: Box<str>,
    generation: Option<i64>,
    requested_at: Option<Box<str>>,
    /// Whether it is marked for deletion, and only a finalizer keeps it.
    pub is_deleted: bool,
}

/// A connection in the cache, in small form.
#[derive(Debug)]
pub struct CachedConnection {
    /// What makes the connection new.
    pub revision: Revision,
    /// Its `resourceVersion`.
    pub version: Box<str>,
    /// The verdict, if it is a known one.
    pub state: Option<Verdict>,
    /// The reason of its condition Ready, if it is a known one.
    pub reason: Option<Reason>,
    compressed: CompressedState,
}

impl CachedConnection {
    /// Makes the cached form of a connection.
    pub fn of(connection: &UkgProConnection) -> Self {
        let metadata = &connection.metadata;
        let status = connection.status.as_ref();
        let ready = status.and_then(|status| conditions::find(&status.conditions, READY));
        Self {
            revision: Revision {
                uid: metadata.uid.as_deref().unwrap_or_default().into(),
                generation: metadata.generation,
                requested_at: connection.requested_at().map(Into::into),
                is_deleted: metadata.deletion_timestamp.is_some(),
            },
            version: metadata.resource_version.as_deref().unwrap_or_default().into(),
            state: status.and_then(|status| Verdict::ALL.into_iter().find(|known| known.as_str() == status.state)),
            reason: ready.and_then(|ready| Reason::ALL.iter().copied().find(|known| known.as_str() == ready.reason)),
            compressed: CompressedState::of(&connection.spec, status),
        }
    }

    /// Returns the connection with this name, in the form that a check needs.
    pub fn connection(&self, reference: &ConnectionRef) -> UkgProConnection {
        let (spec, status) = self.compressed.read();
        let Revision { uid, generation, requested_at, .. } = &self.revision;
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
