//! Where the ledger is kept: Secrets of the operator's own namespace, a part of it each. Reads and writes Kubernetes.
//!
//! Part 0 is the Secret that always was the ledger; it holds the HMAC key and says how many parts there are. The others have its name and
//! their number, as `ukgpro-operator-ledger-1`, and come into being when the ledger grows.
//!
//! **Contract.** A write goes onto the version that was read, or not at all, so two operators cannot both begin a login on the
//! strength of the same page. What others have written on such a Secret (labels, annotations, owners) stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use zeroize::Zeroizing;

use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};

/// The key under which the HMAC key stands.
const KEY: &str = "key";
/// The key under which the entries stand, a line each.
const ENTRIES: &str = "entries";
/// No API server takes less than this, so that a write of so many bytes of entries is refused for another reason than its size.
const SMALL: usize = 4 << 10;
/// The key under which the number of parts stands.
const PARTS: &str = "parts";
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
    /// The entries of the part.
    pub entries: String,
    /// Of part 0: how many parts there are; 0 where nothing says so, as an operator leaves it that knows of none.
    pub parts: u8,
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
    /// It is too large.
    TooLarge,
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
    /// It cannot be changed by anybody.
    #[error(
        "Secret {0}, of the login ledger, is immutable: delete it, and it is written anew; logins it tells of are tried once more where no \
         status tells of them"
    )]
    Immutable(String),
    /// Others write it all the time.
    #[error("writing the login ledger: it changes faster than it can be written")]
    Contended,
    /// No random numbers for the key.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random,
}

/// Where a ledger is kept.
pub trait Store: Send + Sync {
    /// What is stored of a part; `None` if nothing is.
    fn read(&self, part: u8) -> BoxFuture<'_, Result<Option<Stored>, Error>>;
    /// Stores this of a part onto the version it names.
    fn write(&self, part: u8, stored: Stored) -> BoxFuture<'_, Result<Written, Error>>;
}

/// Secrets.
pub struct SecretStore {
    api: Api<Secret>,
    namespace: String,
    name: String,
    /// What others have written on each, and whether it can be changed.
    found: Mutex<BTreeMap<u8, Found>>,
}

/// What is kept of a Secret besides what is in it.
#[derive(Default, Clone)]
struct Found {
    metadata: ObjectMeta,
    /// It cannot be changed.
    type_: Option<String>,
    immutable: bool,
}

impl SecretStore {
    /// The Secret of this name, and those that continue it.
    pub fn new(kubernetes: kube::Client, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced(kubernetes, namespace);
        Self { api, namespace: namespace.to_owned(), name: name.to_owned(), found: Mutex::default() }
    }

    /// The Secret of a part.
    fn name(&self, part: u8) -> String {
        match part {
            0 => self.name.clone(),
            part => format!("{}-{part}", self.name),
        }
    }

    /// Namespace and name, for people.
    fn place(&self, part: u8) -> String {
        format!("{}/{}", self.namespace, self.name(part))
    }

    fn note(&self, part: u8, secret: &Secret) {
        let ObjectMeta { labels, annotations, owner_references, finalizers, .. } = secret.metadata.clone();
        let metadata = ObjectMeta { labels, annotations, owner_references, finalizers, ..ObjectMeta::default() };
        let found = Found { metadata, type_: secret.type_.clone(), immutable: secret.immutable == Some(true) };
        self.found().insert(part, found);
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<u8, Found>> {
        // One insertion at a time, so a poisoned lock holds good data.
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn get(&self, part: u8) -> Result<Option<Stored>, Error> {
        let found = within_deadline(self.api.get_opt(&self.name(part)))
            .await?
            .map_err(|error| Error::Read { source: error, name: self.place(part) })?;
        Ok(found.map(|secret| {
            self.note(part, &secret);
            let mut data = secret.data.unwrap_or_default();
            let mut take = |key| data.remove(key).map(|ByteString(bytes)| bytes).unwrap_or_default();
            // A line with what is no text cannot be read; the others can.
            let entries = String::from_utf8_lossy(&take(ENTRIES)).into_owned();
            let parts = String::from_utf8(take(PARTS)).ok().and_then(|parts| parts.parse().ok()).unwrap_or(0);
            Stored { key: Zeroizing::new(take(KEY)), entries, parts, version: secret.metadata.resource_version }
        }))
    }

    async fn put(&self, part: u8, Stored { key, entries, parts, version }: Stored) -> Result<Written, Error> {
        let size = entries.len();
        let Found { mut metadata, type_, immutable } = match version {
            Some(_) => self.found().get(&part).cloned().unwrap_or_default(),
            None => Found::default(),
        };
        if immutable {
            // It may have been deleted and made again since.
            return match self.get(part).await? {
                Some(stored) if stored.version == version => Err(Error::Immutable(self.place(part))),
                _ => Ok(Written::Conflict),
            };
        }
        let mut data = BTreeMap::from([(ENTRIES.to_owned(), ByteString(entries.into_bytes()))]);
        if part == 0 {
            data.insert(KEY.to_owned(), ByteString(key.to_vec()));
            data.insert(PARTS.to_owned(), ByteString(parts.to_string().into_bytes()));
        }
        metadata.annotations.get_or_insert_default().insert(DESCRIPTION.0.to_owned(), DESCRIPTION.1.to_owned());
        let secret = Secret {
            metadata: ObjectMeta { name: Some(self.name(part)), resource_version: version.clone(), ..metadata },
            data: Some(data),
            type_,
            ..Secret::default()
        };
        let params = PostParams::default();
        let written = match version {
            Some(_) => within_deadline(self.api.replace(&self.name(part), &params, &secret)).await?,
            None => within_deadline(self.api.create(&params, &secret)).await?,
        };
        match written {
            Ok(written) => {
                self.note(part, &written);
                Ok(Written::Done(written.metadata.resource_version))
            }
            // Written, made or deleted by another meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Written::Conflict),
            // Immutable since it was read, it would be answered so too.
            Err(kube::Error::Api(status)) if matches!(status.code, 413 | 422) => match self.get(part).await? {
                Some(_) if self.found().get(&part).is_some_and(|found| found.immutable) => {
                    Err(Error::Immutable(self.place(part)))
                }
                _ if size > SMALL => Ok(Written::TooLarge),
                // What is small is refused for something else, such as an admission policy.
                _ => Err(Error::Write { source: kube::Error::Api(status), name: self.place(part) }),
            },
            Err(error) => Err(Error::Write { source: error, name: self.place(part) }),
        }
    }
}

impl Store for SecretStore {
    fn read(&self, part: u8) -> BoxFuture<'_, Result<Option<Stored>, Error>> {
        Box::pin(self.get(part))
    }

    fn write(&self, part: u8, stored: Stored) -> BoxFuture<'_, Result<Written, Error>> {
        Box::pin(self.put(part, stored))
    }
}

async fn within_deadline<T>(request: impl Future<Output = T>) -> Result<T, Error> {
    tokio::time::timeout(KUBERNETES_DEADLINE, request).await.map_err(|_| Error::Deadline)
}
