//! What wakes a check: changes of connections and of the Secrets they use.
//!
//! kube's `watcher` lists and watches; what its events come to is decided here, in place of kube's `reflector` and `Controller`, for
//! five reasons: an object is handed on only once the store holds it (also after a relist); what is kept of one is a tenth of what it
//! is in memory; a change of status alone, which is the operator's own write, wakes nothing, and is known before the watch
//! shows it; a Secret's event reaches its connections through an index, if it is news; and one object that cannot be read does not
//! stop the others.
//!
//! | file | what is in it |
//! |---|---|
//! | [`listed`] | a connection as it is read, and as it is kept |
//! | [`retry`] | what comes after a watch that fails |
//! | [`connections`] | the connections, and what an event makes new |
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

/// The namespace and name of an object, in one piece of memory that is shared by all who refer to it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespacedName(Arc<str>);

impl NamespacedName {
    /// Of an object of this namespace and name.
    pub fn new(namespace: Option<&str>, name: Option<&str>) -> Self {
        Self(format!("{}/{}", namespace.unwrap_or_default(), name.unwrap_or_default()).into())
    }

    /// Of this connection.
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

    /// Neither has a slash.
    fn split(&self) -> (&str, &str) {
        self.0.split_once('/').unwrap_or_default()
    }
}

impl std::fmt::Debug for NamespacedName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}
