//! The connections as they are known, and what an event of a watch makes new. Events of several watches, one a namespace, come to one.
//!
//! **Contract.** A connection is handed on as changed only when the store holds it, after a relist too, and none before the first list of
//! every watch is whole: the pace of hosts is that of all connections. A change of status alone, which is the operator's own write,
//! is no news. What the operator has written is known at once ([`Connections::wrote`]), and an older event that the watch brings
//! afterwards changes nothing: a check that decided on an older status would move times and post events twice.
//!
//! **Bound.** One entry a connection; while a list is under way, a reference besides.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use kube::core::ObjectMeta;
use kube::runtime::watcher::Event;
use tokio::sync::Notify;

use super::listed::{Kept, Listed};
use super::{ConnectionRef, SecretIndex};
use crate::api::UkgProConnection;

/// How long to wait for the watch to show another's write.
const ECHO_DEADLINE: Duration = Duration::from_secs(5);

/// The connections.
#[derive(Default)]
pub struct Connections {
    all: RwLock<HashMap<ConnectionRef, Arc<Kept>>>,
    moved: Notify,
    stopped: AtomicBool,
}

impl Connections {
    /// One, as it is now.
    pub fn get(&self, connection: &ConnectionRef) -> Option<Arc<Kept>> {
        self.read().get(connection).cloned()
    }

    /// All, as they are now.
    pub fn all(&self) -> Vec<(ConnectionRef, Arc<Kept>)> {
        self.read().iter().map(|(key, kept)| (key.clone(), kept.clone())).collect()
    }

    /// Takes in what the API server has answered to a write: it is the newest there is, unless the watch was faster.
    pub fn wrote(&self, written: &UkgProConnection) {
        let kept = Kept::of(written);
        let mut all = self.write();
        // What is not there was deleted meanwhile.
        if let Some(known) = all.get_mut(&ConnectionRef::of(written))
            && known.edition.uid == kept.edition.uid
            && !is_at(&known.version, &kept.version)
        {
            *known = Arc::new(kept);
        }
    }

    /// Waits until another version of this object is known than this one, or none; gives up after some seconds.
    pub async fn passes(&self, connection: &UkgProConnection) {
        let key = ConnectionRef::of(connection);
        let version = connection.metadata.resource_version.as_deref().unwrap_or_default();
        let wait = async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                // Listening before looking, so that no change falls between.
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

    /// The watch has ended: nothing is worth waiting for any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.moved.notify_waiters();
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<ConnectionRef, Arc<Kept>>> {
        // One insertion or removal at a time, so a poisoned lock holds good data.
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<ConnectionRef, Arc<Kept>>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Connections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connections").field("known", &self.read().len()).finish_non_exhaustive()
    }
}

impl Kept {
    /// Whether an object that a watch shows is this one in a version that is known already. What is `listed` counts even if it is older.
    fn is_no_older_than(&self, shown: &ObjectMeta, listed: bool) -> bool {
        let version = shown.resource_version.as_deref().unwrap_or_default();
        Some(self.edition.uid.as_ref()) == shown.uid.as_deref()
            && (self.version.as_ref() == version || (!listed && is_at(&self.version, version)))
    }
}

/// Whether a version is this one or a later one. Kubernetes' versions of one kind are whole numbers that grow.
fn is_at(version: &str, wanted: &str) -> bool {
    match (version.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(version), Ok(wanted)) => version >= wanted,
        _ => version == wanted,
    }
}

/// What an event comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct News {
    /// To check.
    pub changed: Vec<ConnectionRef>,
    /// Not there any more, or not under this uid.
    pub gone: Vec<(ConnectionRef, Box<str>)>,
    /// That could not be read.
    pub unreadable: Option<ConnectionRef>,
}

/// Applies the events of watches to the connections.
pub struct Lists {
    connections: Arc<Connections>,
    secrets: Arc<SecretIndex>,
    /// Of which class they are; those of another are left to another operator.
    class: Option<String>,
    scopes: Vec<Scope>,
    /// What was found before the first lists were whole.
    withheld: Vec<ConnectionRef>,
}

/// One watch.
struct Scope {
    /// `None` for all namespaces.
    namespace: Option<String>,
    /// What the list under way has shown so far.
    listing: Option<HashSet<ConnectionRef>>,
    /// Whether its first list is whole, or is not waited for.
    whole: bool,
    /// Whether it has ever been listed to the end.
    listed: bool,
}

impl Lists {
    /// Watches of these namespaces, told apart by their position; one of the whole cluster if there are none.
    pub fn new(connections: Arc<Connections>, secrets: Arc<SecretIndex>, namespaces: &[String], class: Option<String>) -> Self {
        let scope = |namespace| Scope { namespace, listing: None, whole: false, listed: false };
        let scopes = match namespaces {
            [] => vec![scope(None)],
            some => some.iter().cloned().map(Some).map(scope).collect(),
        };
        Self { connections, secrets, class, scopes, withheld: Vec::new() }
    }

    /// Whether the first list of every watch is whole.
    pub fn are_whole(&self) -> bool {
        self.scopes.iter().all(|scope| scope.whole)
    }

    /// Whether there is something to look after: no list is waited for, and not all of them are refused.
    pub fn are_of_use(&self) -> bool {
        self.are_whole() && self.scopes.iter().any(|scope| scope.listed)
    }

    /// The namespaces that have never been listed.
    pub fn unlisted(&self) -> Vec<String> {
        self.scopes.iter().filter(|scope| !scope.listed).filter_map(|scope| scope.namespace.clone()).collect()
    }

    /// Applies an event of this watch.
    pub fn after(&mut self, scope: usize, event: Event<Listed>) -> News {
        let mut news = News::default();
        match event {
            Event::Init => self.scopes[scope].listing = Some(HashSet::new()),
            Event::InitApply(object) => {
                if let Some(key) = self.take_in(object, true, &mut news) {
                    self.scopes[scope].listing.get_or_insert_default().insert(key);
                }
                self.withheld.append(&mut news.changed);
            }
            Event::InitDone => {
                let listed = self.scopes[scope].listing.take().unwrap_or_default();
                let namespace = self.scopes[scope].namespace.clone();
                let is_in_scope =
                    |key: &ConnectionRef| namespace.as_deref().is_none_or(|namespace| key.namespace() == namespace);
                let known = self.connections.read();
                let absent: Vec<_> = known.keys().filter(|key| is_in_scope(key) && !listed.contains(*key)).cloned().collect();
                drop(known);
                absent.iter().for_each(|key| self.remove(key, &mut news));
                self.scopes[scope].whole = true;
                self.scopes[scope].listed = true;
                self.hand_on(&mut news);
            }
            Event::Apply(object) => {
                self.take_in(object, false, &mut news);
                if !self.are_whole() {
                    self.withheld.append(&mut news.changed);
                }
            }
            Event::Delete(object) => {
                let metadata = kube::Resource::meta(&object);
                self.remove(&ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref()), &mut news);
            }
        }
        self.connections.moved.notify_waiters();
        news
    }

    /// The first list of a namespace cannot be had: it holds up the others no more. What comes of it later is told then.
    pub fn without(&mut self, scope: usize) -> News {
        let mut news = News::default();
        self.scopes[scope].whole = true;
        self.hand_on(&mut news);
        news
    }

    fn hand_on(&mut self, news: &mut News) {
        if self.are_whole() {
            let all = std::mem::take(&mut self.withheld);
            news.changed.extend(all.into_iter().filter(|key| self.connections.get(key).is_some()));
        }
    }

    /// Enters an object; gives its name if it is known now. What is listed counts even if it is older, as after a backup was restored.
    fn take_in(&self, object: Listed, listed: bool, news: &mut News) -> Option<ConnectionRef> {
        let metadata = kube::Resource::meta(&object);
        let key = ConnectionRef::new(metadata.namespace.as_deref(), metadata.name.as_deref());
        // Before it is read: after each write the watch shows what is known from its answer.
        if let Some((known, before)) = self.connections.read().get_key_value(&key)
            && before.is_no_older_than(metadata, listed)
        {
            return Some(known.clone());
        }
        let connection = match object.read() {
            Ok(connection) => connection,
            Err(key) => {
                self.remove(&key, news);
                news.unreadable = Some(key);
                return None;
            }
        };
        if connection.spec.controller_class != self.class {
            self.remove(&key, news);
            return None;
        }
        let mut all = self.connections.write();
        // One allocation serves all who refer to it.
        let (key, before) = match all.get_key_value(&key) {
            Some((known, before)) => (known.clone(), Some(before.clone())),
            None => (key, None),
        };
        // Again, since its write may have been answered meanwhile.
        if before.as_ref().is_some_and(|before| before.is_no_older_than(&connection.metadata, listed)) {
            return Some(key);
        }
        let kept = Kept::of(&connection);
        let is_new = before.as_ref().is_none_or(|before| before.edition != kept.edition);
        let other = before.filter(|before| before.edition.uid != kept.edition.uid);
        all.insert(key.clone(), Arc::new(kept));
        drop(all);
        self.secrets.enter(&key, &connection);
        news.gone.extend(other.map(|other| (key.clone(), other.edition.uid.clone())));
        if is_new {
            news.changed.push(key.clone());
        }
        Some(key)
    }

    fn remove(&self, key: &ConnectionRef, news: &mut News) {
        self.secrets.leave(key);
        if let Some(before) = self.connections.write().remove(key) {
            news.gone.push((key.clone(), before.edition.uid.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
