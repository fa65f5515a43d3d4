//! Which connections use which Secret. A lookup finds the connections to which a Secret's event is news.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use super::{ConnectionRef, NamespacedName};
use crate::api::conditions::{self, CANDIDATE_READY};
use crate::api::verdict::{is_settled, verdict_reason};
use crate::api::{CaKind, Reason, UkgProConnection};

/// Which connections use which Secret, and which version of it each has read last.
///
/// **Bound.** One entry per reference from a connection to a Secret; Secrets without references are not kept.
#[derive(Default)]
pub struct SecretIndex(Mutex<Index>);

#[derive(Default)]
struct Index {
    by_secret: HashMap<NamespacedName, InUse>,
    by_connection: HashMap<ConnectionRef, Vec<NamespacedName>>,
    /// For each list that is under way, by namespace: the Secrets in use at its start that it has not shown yet.
    unlisted: HashMap<Option<String>, HashSet<NamespacedName>>,
}

/// A Secret that connections refer to.
#[derive(Default)]
struct InUse {
    /// What was last seen of it; `None` before anything was seen.
    version: Option<Seen>,
    /// Nearly always one.
    users: Vec<(ConnectionRef, LastRead)>,
}

/// What was seen of a Secret.
enum Seen {
    Absent,
    Version(Box<str>),
}

/// The result of a connection's last read of a Secret.
#[derive(Debug, Default, PartialEq, Eq)]
enum LastRead {
    /// The connection has not read it yet.
    #[default]
    Never,
    /// The connection has a verdict, but its status does not name the version: what is listed first is no news.
    Unknown,
    /// The Secret did not exist.
    Absent,
    /// This version.
    Version(Box<str>),
}

impl LastRead {
    fn of(version: Option<&str>) -> Self {
        version.map_or(LastRead::Absent, |version| LastRead::Version(version.into()))
    }

    fn is(&self, version: Option<&str>) -> bool {
        match (self, version) {
            (LastRead::Never, _) => false,
            (LastRead::Unknown, _) => true,
            (LastRead::Absent, None) => true,
            (LastRead::Version(read), Some(version)) => read.as_ref() == version,
            _ => false,
        }
    }
}

impl Seen {
    fn version(&self) -> Option<&str> {
        match self {
            Seen::Absent => None,
            Seen::Version(version) => Some(version),
        }
    }
}

impl SecretIndex {
    /// Enters or updates a connection.
    pub fn enter(&self, key: &ConnectionRef, connection: &UkgProConnection) {
        self.index().enter(key, connection);
    }

    /// Forgets a connection.
    pub fn leave(&self, key: &ConnectionRef) {
        self.index().leave(key);
    }

    /// Returns true if the last version seen of one of this connection's Secrets is not the one in its status, so that a new leader
    /// must check it. Notes the version in the status as read, because another operator has read it.
    pub fn is_news(&self, key: &ConnectionRef, connection: &UkgProConnection) -> bool {
        let mut index = self.index();
        let mut news = false;
        for (name, read) in secrets_of(connection) {
            let Some(secret) = index.by_secret.get_mut(&NamespacedName::new(Some(key.namespace()), Some(name))) else {
                continue;
            };
            news |= secret.version.as_ref().is_some_and(|seen| !read.is(seen.version()));
            secret.note(key, read);
        }
        news
    }

    /// Whether the live Secret or the certificate authorities have changed since a check read them.
    pub fn is_outdated(&self, connection: &UkgProConnection) -> bool {
        let key = ConnectionRef::of(connection);
        let live = connection.spec.secret_ref.name.as_str();
        let index = self.index();
        std::iter::once(live).chain(authority_of(connection)).any(|name| {
            let secret = index.by_secret.get(&NamespacedName::new(Some(key.namespace()), Some(name)));
            let Some(InUse { version: Some(seen), users }) = secret else { return false };
            let read = users.iter().find(|(user, _)| *user == key).map(|(_, read)| read);
            read.is_some_and(|read| *read != LastRead::Never && !read.is(seen.version()))
        })
    }

    /// Notes the version that a check of this connection has read; `None` if the Secret does not exist.
    pub fn read(&self, connection: &UkgProConnection, name: &str, version: Option<&str>) {
        let key = ConnectionRef::of(connection);
        let mut index = self.index();
        if let Some(secret) = index.by_secret.get_mut(&NamespacedName::new(Some(key.namespace()), Some(name))) {
            secret.note(&key, LastRead::of(version));
        }
    }

    /// Whether the last check of this connection has read the last seen version of each of its Secrets.
    pub fn is_read(&self, key: &ConnectionRef) -> bool {
        let index = self.index();
        let secrets = index.by_connection.get(key).into_iter().flatten().filter_map(|secret| index.by_secret.get(secret));
        secrets.into_iter().all(|InUse { version, users }| {
            let read = users.iter().find(|(user, _)| user == key);
            version.as_ref().is_none_or(|seen| read.is_some_and(|(_, read)| read.is(seen.version())))
        })
    }

    /// Returns the connections to check after this event of a Secret: those that have not read that version. `scope` is the watched
    /// namespace, if the watch is limited to one.
    pub fn after(&self, scope: Option<&str>, event: &Event<PartialObjectMeta<Secret>>) -> Vec<ConnectionRef> {
        let mut index = self.index();
        let watched = scope.map(str::to_owned);
        let version_of = |secret: &PartialObjectMeta<Secret>| secret.metadata.resource_version.clone().unwrap_or_default();
        match event {
            Event::Init => {
                let in_scope = |key: &&NamespacedName| scope.is_none_or(|scope| key.namespace() == scope);
                let unlisted = index.by_secret.keys().filter(in_scope).cloned().collect();
                index.unlisted.insert(watched, unlisted);
                Vec::new()
            }
            Event::InitApply(secret) => {
                let key = key_of(secret);
                if let Some(unlisted) = index.unlisted.get_mut(&watched) {
                    unlisted.remove(&key);
                }
                index.users_unless_read(&key, Some(&version_of(secret)))
            }
            Event::InitDone => {
                let absent = index.unlisted.remove(&watched).unwrap_or_default();
                absent.iter().flat_map(|key| index.users_unless_read(key, None)).collect()
            }
            Event::Apply(secret) => index.users_unless_read(&key_of(secret), Some(&version_of(secret))),
            Event::Delete(secret) => index.users_unless_read(&key_of(secret), None),
        }
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // After a panic there is at worst a stale entry, which the next event of the connection corrects.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn enter(&mut self, key: &ConnectionRef, connection: &UkgProConnection) {
        let known = self.by_connection.get(key);
        if known.is_some_and(|known| known.iter().map(NamespacedName::name).eq(names_of(connection))) {
            return;
        }
        self.leave(key);
        let secrets = secrets_of(connection).into_iter().map(|(name, read)| {
            let secret = NamespacedName::new(Some(key.namespace()), Some(name));
            // All references share one allocation.
            let secret = self.by_secret.get_key_value(&secret).map_or(secret, |(known, _)| known.clone());
            let users = &mut self.by_secret.entry(secret.clone()).or_default().users;
            if !users.iter().any(|(user, _)| user == key) {
                users.reserve_exact(1);
                users.push((key.clone(), read));
            }
            secret
        });
        let secrets = secrets.collect();
        self.by_connection.insert(key.clone(), secrets);
    }

    fn leave(&mut self, key: &ConnectionRef) {
        for secret in self.by_connection.remove(key).unwrap_or_default() {
            if let Some(in_use) = self.by_secret.get_mut(&secret) {
                in_use.users.retain(|(user, _)| user != key);
                if in_use.users.is_empty() {
                    self.by_secret.remove(&secret);
                }
            }
        }
    }

    fn users_unless_read(&mut self, key: &NamespacedName, version: Option<&str>) -> Vec<ConnectionRef> {
        let Some(secret) = self.by_secret.get_mut(key) else { return Vec::new() };
        secret.version = Some(version.map_or(Seen::Absent, |version| Seen::Version(version.into())));
        let news = secret.users.iter_mut().filter_map(|(connection, read)| {
            let is_news = !read.is(version);
            if *read == LastRead::Unknown {
                *read = LastRead::of(version);
            }
            is_news.then(|| connection.clone())
        });
        news.collect()
    }
}

impl InUse {
    fn note(&mut self, key: &ConnectionRef, read: LastRead) {
        if let Some((_, last)) = self.users.iter_mut().find(|(user, _)| user == key) {
            *last = read;
        }
    }
}

/// Returns the names of the Secrets that a connection refers to.
fn names_of(connection: &UkgProConnection) -> impl Iterator<Item = &str> {
    let spec = &connection.spec;
    let candidate = spec.candidate_secret_ref.as_ref().map(|candidate| candidate.name.as_str());
    std::iter::once(spec.secret_ref.name.as_str()).chain(candidate).chain(authority_of(connection))
}

/// Returns the Secret with the connection's certificate authorities, if they are in a Secret.
fn authority_of(connection: &UkgProConnection) -> Option<&str> {
    connection.spec.ca_ref.as_ref().filter(|ca| ca.kind == CaKind::Secret).map(|ca| ca.name.as_str())
}

/// Returns the Secrets that a connection refers to, and what its status says was read of them. So after a restart, only
/// Secrets that have changed are news.
fn secrets_of(connection: &UkgProConnection) -> Vec<(&str, LastRead)> {
    let spec = &connection.spec;
    let status = connection.status.as_ref().filter(|_| is_settled(connection));
    let read = |version: Option<&String>| match (version, status) {
        (Some(version), Some(_)) => LastRead::of(Some(version)),
        (None, Some(status)) if verdict_reason(status) == Some(Reason::SecretNotFound) => LastRead::Absent,
        _ => LastRead::Never,
    };
    let live = read(status.and_then(|status| status.secret_resource_version.as_ref()));
    let mut secrets = vec![(spec.secret_ref.name.as_str(), live)];
    if let Some(candidate) = &spec.candidate_secret_ref {
        let says = |reason: &Reason| {
            let condition = status.and_then(|status| conditions::find(&status.conditions, CANDIDATE_READY));
            condition.is_some_and(|condition| condition.reason == reason.as_str())
        };
        let told = status.filter(|status| conditions::find(&status.conditions, CANDIDATE_READY).is_some());
        let read = match told.map(|status| &status.candidate) {
            None => LastRead::Never,
            Some(None) if says(&Reason::SecretNotFound) => LastRead::Absent,
            Some(None) => LastRead::Unknown,
            Some(Some(candidate)) => LastRead::of(Some(&candidate.secret_resource_version)),
        };
        secrets.push((&candidate.name, read));
    }
    if let Some(authority) = authority_of(connection) {
        secrets.push((authority, if status.is_some() { LastRead::Unknown } else { LastRead::Never }));
    }
    secrets
}

fn key_of(secret: &PartialObjectMeta<Secret>) -> NamespacedName {
    NamespacedName::new(secret.metadata.namespace.as_deref(), secret.metadata.name.as_deref())
}

#[cfg(test)]
mod tests;
