//! The cache of connections, and what an event of a watch changes in it. Events of all watches, one per namespace, go into one
//! cache.
//!
//! **Contract.** A connection is passed on as changed only when the cache holds it, also after a relist. None is passed on before
//! the first list of every watch is complete, because the rate limit of a host depends on all its connections. A change of status
//! alone is the operator's own write, and is no change. What the operator wrote is known at once
//! ([`Connections::record_write`]), and an older event that the watch brings later changes nothing. A check that decided on an
//! older status would move times and post events twice.
//!
//! **Bound.** One entry per connection; during a list, also one reference each.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::Notify;

use super::listed::{CachedConnection, RawConnection};
use super::{ConnectionRef, SecretIndex};
use crate::api::UkgProConnection;

/// How long to wait for the watch to show another's write.
const ECHO_DEADLINE: Duration = Duration::from_secs(5);

/// The cache of connections.
#[derive(Default)]
pub struct Connections {
    all: RwLock<HashMap<ConnectionRef, Arc<CachedConnection>>>,
    moved: Notify,
    stopped: AtomicBool,
}

impl Connections {
    /// Returns a connection as it is now.
    pub fn get(&self, connection: &ConnectionRef) -> Option<Arc<CachedConnection>> {
        self.read().get(connection).cloned()
    }

    /// Returns all connections as they are now.
    pub fn all(&self) -> Vec<(ConnectionRef, Arc<CachedConnection>)> {
        self.read().iter().map(|(key, kept)| (key.clone(), kept.clone())).collect()
    }

    /// Takes in the API server's response to a write: it is the newest version, unless the watch was faster.
    pub fn record_write(&self, written: &UkgProConnection) {
        let kept = CachedConnection::of(written);
        let mut all = self.write();
        // A connection that is not in the cache was deleted meanwhile.
        if let Some(known) = all.get_mut(&ConnectionRef::of(written))
            && known.revision.uid == kept.revision.uid
            && !is_at(&known.version, &kept.version)
        {
            *known = Arc::new(kept);
        }
    }

    /// Waits until the cache has another version of this object, or none. Gives up after some seconds.
    pub async fn wait_for_newer(&self, connection: &UkgProConnection) {
        let key = ConnectionRef::of(connection);
        let version = connection.metadata.resource_version.as_deref().unwrap_or_default();
        let wait = async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                // Registers before it checks, so that no change is missed.
                moved.as_mut().enable();
                let is_same = self.get(&key).is_some_and(|known| known.version.as_ref() == version);
                if !is_same || self.stopped.load(Ordering::SeqCst) {
                    return;
                }
                moved.await;
            }
        };
        let _ = tokio::time::timeout(ECHO_DEADLINE, wait).await;
    }

    /// Says that the watch has ended, so nobody needs to wait for it any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ConnectionRef, Arc<CachedConnection>>> {
        // Each change is one insertion or removal, so a poisoned lock holds valid data.
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ConnectionRef, Arc<CachedConnection>>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("known", &self.read().len()).finish_non_exhaustive()
    }
}

impl CachedConnection {
    /// Whether this is the object that a watch shows, in that version or a later one. A `listed` object counts even if it is older.
    fn is_no_older_than(&self, shown: &ObjectMeta, listed: bool) -> bool {
        let version = shown.resource_version.as_deref().unwrap_or_default();
        Some(self.revision.uid.as_ref()) == shown.uid.as_deref()
            && (self.version.as_ref() == version || (!listed && is_at(&self.version, version)))
    }
}

/// Whether a version is `wanted` or later. Kubernetes' versions of one kind are whole numbers that grow.
fn is_at(version: &str, wanted: &str) -> bool {
    match (version.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(version), Ok(wanted)) => version >= wanted,
        _ => version == wanted,
    }
}

/// The result of an event.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CacheDelta {
    /// Connections to check.
    pub changed: Vec<ConnectionRef>,
    /// Connections that no longer exist, or not with this uid.
    pub gone: Vec<(ConnectionRef, Box<str>)>,
    /// A connection that could not be read.
    pub unreadable: Option<ConnectionRef>,
}

/// Applies the events of watches to the cache.
pub struct WatchEventHandler {
    connections: Arc<Connections>,
    secrets: Arc<SecretIndex>,
    /// The controller class of this operator. Connections of another class are left to another operator.
    class: Option<String>,
    scopes: Vec<Scope>,
    /// Changes found before the first lists were complete.
    pending: Vec<ConnectionRef>,
}

/// One watch.
struct Scope {
    /// `None` for all namespaces.
    namespace: Option<String>,
    /// What the current list has shown so far.
    listing: Option<HashSet<ConnectionRef>>,
    /// Whether its first list is complete, or is no longer waited for.
    synced: bool,
    /// Whether it has ever been listed completely.
    listed: bool,
}

impl WatchEventHandler {
    /// Makes one watch per namespace, identified by its position; or one of the whole cluster if there are none.
    pub fn new(connections: Arc<Connections>, secrets: Arc<SecretIndex>, namespaces: &[String], class: Option<String>) -> Self {
        let scope = |namespace| Scope { namespace, listing: None, synced: false, listed: false };
        let scopes = match namespaces {
            [] => vec![scope(None)],
            some => some.iter().cloned().map(Some).map(scope).collect(),
        };
        Self { connections, secrets, class, scopes, pending: Vec::new() }
    }

    /// Whether the first list of every watch is complete or no longer waited for.
    pub fn has_synced(&self) -> bool {
        self.scopes.iter().all(|scope| scope.synced)
    }

    /// Whether the operator can work: no list is waited for, and at least one was complete.
    pub fn is_usable(&self) -> bool {
        self.has_synced() && self.scopes.iter().any(|scope| scope.listed)
    }

    /// Returns the namespaces that have never been listed.
    pub fn unlisted(&self) -> Vec<String> {
        self.scopes.iter().filter(|scope| !scope.listed).filter_map(|scope| scope.namespace.clone()).collect()
    }

    /// Applies an event of this watch.
    pub fn after(&mut self, scope: usize, event: Event<RawConnection>) -> CacheDelta {
        let mut delta = CacheDelta::default();
        match event {
            Event::Init => self.scopes[scope].listing = Some(HashSet::new()),
            Event::InitApply(object) => {
                if let Some(key) = self.upsert(object, true, &mut delta) {
                    self.scopes[scope].listing.get_or_insert_default().insert(key);
                }
                self.pending.append(&mut delta.changed);
            }
            Event::InitDone => {
                let listed = self.scopes[scope].listing.take().unwrap_or_default();
                let namespace = self.scopes[scope].namespace.clone();
                let is_in_scope =
                    |key: &ConnectionRef| namespace.as_deref().is_none_or(|namespace| key.namespace() == namespace);
                let known = self.connections.read();
                let absent: Vec<_> = known.keys().filter(|key| is_in_scope(key) && !listed.contains(*key)).cloned().collect();
                drop(known);
                absent.iter().for_each(|key| self.remove(key, &mut delta));
                self.scopes[scope].synced = true;
                self.scopes[scope].listed = true;
                self.flush_pending(&mut delta);
            }
            Event::Apply(object) => {
                self.upsert(object, false, &mut delta);
                if !self.has_synced() {
                    self.pending.append(&mut delta.changed);
                }
            }
            Event::Delete(object) => {
                let metadata = kube::Resource::meta(&object);
                self.remove(&ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref()), &mut delta);
            }
        }
        self.connections.moved.notify_waiters();
        delta
    }

    /// Stops waiting for the first list of a namespace, so that it no longer delays the others. If it succeeds later, its
    /// connections are passed on then.
    pub fn without(&mut self, scope: usize) -> CacheDelta {
        let mut delta = CacheDelta::default();
        self.scopes[scope].synced = true;
        self.flush_pending(&mut delta);
        delta
    }

    fn flush_pending(&mut self, delta: &mut CacheDelta) {
        if self.has_synced() {
            let all = std::mem::take(&mut self.pending);
            delta.changed.extend(all.into_iter().filter(|key| self.connections.get(key).is_some()));
        }
    }

    /// Enters an object; returns its name if it is in the cache now. A `listed` object counts even if it is older, as after a
    /// restore.
    fn upsert(&self, object: RawConnection, listed: bool, delta: &mut CacheDelta) -> Option<ConnectionRef> {
        let metadata = kube::Resource::meta(&object);
        let key = ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref());
        // Before it is parsed: after each write, the watch shows what is already known from the response.
        if let Some((known, before)) = self.connections.read().get_key_value(&key)
            && before.is_no_older_than(metadata, listed)
        {
            return Some(known.clone());
        }
        let connection = match object.read() {
            Ok(connection) => connection,
            Err(key) => {
                self.remove(&key, delta);
                delta.unreadable = Some(key);
                return None;
            }
        };
        if connection.spec.controller_class != self.class {
            self.remove(&key, delta);
            return None;
        }
        let mut all = self.connections.write();
        // All references share one allocation.
        let (key, before) = match all.get_key_value(&key) {
            Some((known, before)) => (known.clone(), Some(before.clone())),
            None => (key, None),
        };
        // Checked again, because the response to a write may have come meanwhile.
        if before.as_ref().is_some_and(|before| before.is_no_older_than(&connection.metadata, listed)) {
            return Some(key);
        }
        let kept = CachedConnection::of(&connection);
        let is_new = before.as_ref().is_none_or(|before| before.revision != kept.revision);
        let other = before.filter(|before| before.revision.uid != kept.revision.uid);
        all.insert(key.clone(), Arc::new(kept));
        drop(all);
        self.secrets.enter(&key, &connection);
        delta.gone.extend(other.map(|other| (key.clone(), other.revision.uid.clone())));
        if is_new {
            delta.changed.push(key.clone());
        }
        Some(key)
    }

    fn remove(&self, key: &ConnectionRef, delta: &mut CacheDelta) {
        self.secrets.leave(key);
        if let Some(before) = self.connections.write().remove(key) {
            delta.gone.push((key.clone(), before.revision.uid.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
