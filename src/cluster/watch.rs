//! The watches of connections and of the Secrets they use. Their changes wake checks.
//!
//! kube's `watcher` lists and watches. This module handles its events in place of kube's `reflector` and `Controller`, for five
//! reasons:
//! - An object is passed on only once the cache holds it, also after a relist.
//! - The cached form takes a tenth of the memory of the object.
//! - A change of status alone is the operator's own write: it wakes nothing, and is known before the watch shows it.
//! - A Secret's event reaches its connections through an index, if it is news.
//! - One object that cannot be read does not stop the others.
//!
//! | file | what is in it |
//! |---|---|
//! | [`listed`] | a connection as it is read, and as it is cached |
//! | [`retry`] | backoff after a watch fails |
//! | [`connections`] | the cache of connections, and what an event changes |
//! | [`history`] | whether the cluster's versions have run backwards |
//! | [`secret_index`] | which connections use which Secret |

use std::sync::Arc;

use crate::api::UkgProConnection;

mod compressed;
pub mod connections;
pub mod history;
pub mod listed;
pub mod retry;
pub mod secret_index;

pub use connections::Connections;
pub use secret_index::SecretIndex;

/// A reference to a connection.
pub type ConnectionRef = NamespacedName;

/// The namespace and name of an object, in one allocation that all references share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName(Arc<str>);

impl NamespacedName {
    /// Makes the reference to an object.
    pub fn new(namespace: Option<&str>, name: Option<&str>) -> Self {
        Self(format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()).into())
    }

    /// Returns the reference to this connection.
    pub fn of(connection: &UkgProConnection) -> Self {
        Self::new(connection.metadata.namespace.as_deref(), connection.metadata.name.as_deref())
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        self.split().0
    }

    /// The name.
    pub fn name(&self) -> &str {
        self.split().1
    }

    /// Neither part can contain a slash.
    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

impl std::fmt::Debug for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
