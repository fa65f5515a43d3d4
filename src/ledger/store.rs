//! Where the ledger is kept: one Secret of the operator's own namespace. Reads and writes Kubernetes.
//!
//! **Contract.** A write goes onto the version that was read, or not at all, so two operators cannot both begin a login on the
//! strength of the same page.

use std::collections::BTreeMap;

use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use zeroize::Zeroizing;

use crate::controller::{KUBERNETES_DEADLINE, kubernetes_failure};

/// The key under which the HMAC key stands.
const KEY: &str = "key";
/// The key under which the entries stand, a line each.
const ENTRIES: &str = "entries";
/// Says what the Secret is to whoever finds it.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Which UKG Pro logins were refused, as keyed fingerprints. Without it, each of them is tried once more.",
);

/// What is stored.
#[derive(Clone, Default)]
pub struct Stored {
    /// The HMAC key.
    pub key: Zeroizing<Vec<u8>>,
    /// The entries.
    pub entries: String,
    /// The version that was read, to write onto; `None` where there was nothing.
    pub version: Option<String>,
}

/// What became of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// It is stored, as this version.
    Done(Option<String>),
    /// Another has written meanwhile.
    Conflict,
}

/// The ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading.
    #[error("getting Secret {name}, the login ledger: {}", kubernetes_failure(source))]
    Read {
        #[allow(missing_docs)]
        source: kube::Error,
        #[allow(missing_docs)]
        name: String,
    },
    /// Writing.
    #[error("creating or updating Secret {name}, the login ledger: {}", kubernetes_failure(source))]
    Write {
        #[allow(missing_docs)]
        source: kube::Error,
        #[allow(missing_docs)]
        name: String,
    },
    /// No answer in time.
    #[error("the API server did not answer about the login ledger within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
    /// Others write it all the time.
    #[error("writing the login ledger: it changes faster than it can be written")]
    Contended,
    /// No random numbers for the key.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random,
}

/// Where a ledger is kept.
pub trait Store: Send + Sync {
    /// What is stored; `None` if nothing is.
    fn read(&self) -> BoxFuture<'_, Result<Option<Stored>, Error>>;
    /// Stores this onto the version it names.
    fn write(&self, stored: Stored) -> BoxFuture<'_, Result<Written, Error>>;
}

/// A Secret.
pub struct SecretStore {
    api: Api<Secret>,
    namespace: String,
    name: String,
}

impl SecretStore {
    /// The Secret of this name.
    pub fn new(kubernetes: kube::Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(kubernetes, namespace), namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// Namespace and name, for people.
    fn place(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    async fn get(&self) -> Result<Option<Stored>, Error> {
        let found = within_deadline(self.api.get_opt(&self.name))
            .await?
            .map_err(|error| Error::Read { source: error, name: self.place() })?;
        Ok(found.map(|secret| {
            let mut data = secret.data.unwrap_or_default();
            let mut take = |key| data.remove(key).map(|ByteString(bytes)| bytes).unwrap_or_default();
            // What is no text has no lines that can be read.
            let entries = String::from_utf8(take(ENTRIES)).unwrap_or_default();
            Stored { key: Zeroizing::new(take(KEY)), entries, version: secret.metadata.resource_version }
        }))
    }

    async fn put(&self, Stored { key, entries, version }: Stored) -> Result<Written, Error> {
        let data = [(KEY, key.to_vec()), (ENTRIES, entries.into_bytes())];
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                annotations: Some(BTreeMap::from([(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned())])),
                resource_version: version.clone(),
                ..ObjectMeta::default()
            },
            data: Some(data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value))).collect()),
            ..Secret::default()
        };
        let params = PostParams::default();
        let written = match version {
            Some(_) => within_deadline(self.api.replace(&self.name, &params, &secret)).await?,
            None => within_deadline(self.api.create(&params, &secret)).await?,
        };
        match written {
            Ok(written) => Ok(Written::Done(written.metadata.resource_version)),
            // Written, made or deleted by another meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Written::Conflict),
            Err(error) => Err(Error::Write { source: error, name: self.place() }),
        }
    }
}

impl Store for SecretStore {
    fn read(&self) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(self.get())
    }

    fn write(&self, stored: Stored) -> BoxFuture<'_, Result<Written, Error>> {
        Box::pin(self.put(stored))
    }
}

async fn within_deadline<T>(request: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(KUBERNETES_DEADLINE, request).await.map_err(|_| Error::Deadline)
}
