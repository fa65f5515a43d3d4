//! The Secrets that hold the login ledger: the calls to Kubernetes that read and write them, one part in each.
//!
//! Part 0 is the Secret that every ledger has. It holds the HMAC key and the number of parts. The other Secrets have its name with
//! their number, as `ukgpro-operator-ledger-1`, and are created when the ledger grows.
//!
//! **Contract.** A write replaces the version that was read, or fails. So two operators cannot both begin a login based on the
//! same state. What others have written on such a Secret (labels, annotations, owners) stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures::future::BoxFuture;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use zeroize::Zeroizing;

use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};

/// The data key of the HMAC key.
const KEY: &str = "key";
/// The data key of the entries, one on each line.
const ENTRIES: &str = "entries";
/// Every API server accepts this many bytes of entries. If it refuses a write of at most this size, the cause is not the size.
const ALWAYS_ACCEPTED_BYTES: usize = 4 << 10;
/// The data key of the number of parts.
const PARTS: &str = "parts";
/// The annotation that explains the Secret to whoever finds it.
const DESCRIPTION: (&str, &str) = (
    "kubernetes.io/description",
    "Records which UKG Pro logins were refused, as keyed fingerprints. Without this Secret, the operator tries a refused login once \
     more, unless a connection's status records the refusal.",
);

/// The stored content of a part.
#[derive(Clone, Default)]
pub struct Stored {
    /// The HMAC key.
    pub key: Zeroizing<Vec<u8>>,
    /// The entries of the part.
    pub entries: String,
    /// In part 0, the number of parts; 0 if the Secret does not say, as after a write by an operator that does not know of parts.
    pub parts: u8,
    /// The version that was read, which a write replaces; `None` if there was no Secret.
    pub version: Option<String>,
}

/// The result of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// The part is stored, as this version.
    Done(Option<String>),
    /// Another process has written the part meanwhile.
    Conflict,
    /// The Secret is too large.
    TooLarge,
}

/// Why the ledger could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading failed.
    #[error("getting Secret {name}, the login ledger: {}", kubernetes_failure(source))]
    Read {
        #[allow(missing_docs)]
        source: kube::Error,
        #[allow(missing_docs)]
        name: String,
    },
    /// Writing failed.
    #[error("creating or updating Secret {name}, the login ledger: {}", kubernetes_failure(source))]
    Write {
        #[allow(missing_docs)]
        source: kube::Error,
        #[allow(missing_docs)]
        name: String,
    },
    /// The API server did not answer in time.
    #[error("the API server did not answer about the login ledger within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
    /// The Secret is immutable.
    #[error(
        "Secret {0} of the login ledger is immutable: delete it, and the operator creates it again; a refused login in it is then \
         tried once more, unless a connection's status records the refusal"
    )]
    Immutable(String),
    /// Other processes write it all the time.
    #[error("writing the login ledger: other processes change it faster than it can be written")]
    Contended,
    /// The platform returned no random numbers for the key.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random,
}

/// A store for the ledger.
pub trait Store: Send + Sync {
    /// Returns the stored content of a part; `None` if there is none.
    fn read(&self, part: u8) -> BoxFuture<'_, Result<Option<Stored>, Error>>;
    /// Writes a part over the version that `stored` names.
    fn write(&self, part: u8, stored: Stored) -> BoxFuture<'_, Result<Written, Error>>;
}

/// A store in Secrets.
pub struct SecretStore {
    api: Api<Secret>,
    namespace: String,
    name: String,
    /// What others have written on each Secret, and whether it is immutable.
    found: Mutex<BTreeMap<u8, Found>>,
}

/// What a write must keep of a Secret besides its data.
#[derive(Default, Clone)]
struct Found {
    metadata: ObjectMeta,
    /// The type, which cannot be changed.
    type_: Option<String>,
    immutable: bool,
}

impl SecretStore {
    /// Creates a store in the Secret of this name, and in those that continue it.
    pub fn new(kubernetes: kube::Client, namespace: &str, name: &str) -> Self {
        let api = Api::namespaced(kubernetes, namespace);
        Self { api, namespace: namespace.to_owned(), name: name.to_owned(), found: Mutex::default() }
    }

    /// Returns the name of a part's Secret.
    fn name(&self, part: u8) -> String {
        match part {
            0 => self.name.clone(),
            part => format!("{}-{part}", self.name),
        }
    }

    /// Returns namespace and name, for messages.
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
        // Each change is one insertion, so a poisoned mutex holds valid data.
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
            // A line that is not UTF-8 is unreadable; the others are not affected.
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
            // The Secret may have been deleted and created again since.
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
            // Another process has written, created or deleted it meanwhile.
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(Written::Conflict),
            // A Secret that became immutable after it was read gives the same answer.
            Err(kube::Error::Api(status)) if matches!(status.code, 413 | 422) => match self.get(part).await? {
                Some(_) if self.found().get(&part).is_some_and(|found| found.immutable) => {
                    Err(Error::Immutable(self.place(part)))
                }
                _ if size > ALWAYS_ACCEPTED_BYTES => Ok(Written::TooLarge),
                // A small Secret is refused for another reason, such as an admission policy.
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
