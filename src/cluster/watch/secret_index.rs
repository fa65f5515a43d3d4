//! Which connections use which Secret, so that a Secret's event reaches its connections by a look-up, if it is news to them.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Event;

use super::{ConnectionRef, NamespacedName};
use crate::api::conditions::{self, CANDIDATE_READY};
use crate::api::verdict::{is_settled, standing_reason};
use crate::api::{CaKind, Reason, UkgProConnection};

/// Which connections use which Secret, and which version of it each has read last.
///
/// **Bound.** As many entries as connections refer to Secrets; Secrets nobody refers to are not kept.
#[derive(Default)]
pub struct SecretIndex(Mutex<Index>);

#[derive(Default)]
struct Index {
    by_secret: HashMap<NamespacedName, InUse>,
    by_connection: HashMap<ConnectionRef, Vec<NamespacedName>>,
    /// Of a list under way, by its namespace: the Secrets in use at its beginning that it has not shown yet.
    unlisted: HashMap<Option<String>, HashSet<NamespacedName>>,
}

/// A Secret that connections refer to.
#[derive(Default)]
struct InUse {
    /// What was seen of it last; `None` before anything was.
    version: Option<Seen>,
    /// Nearly always one.
    users: Vec<(ConnectionRef, LastRead)>,
}

/// What was seen of a Secret.
enum Seen {
    Absent,
    Version(Box<str>),
}

/// What a connection's last read of a Secret found.
#[derive(Debug, Default, PartialEq, Eq)]
enum LastRead {
    /// It has not read it yet.
    #[default]
    Never,
    /// The connection has a verdict, and which version that is about is not written down: whatever is listed first is no news.
    Unsaid,
    /// There was none.
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
            (LastRead::Unsaid, _) => true,
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
    /// Enters a connection, or what has changed of it.
    pub fn enter(&self, key: &ConnectionRef, connection: &UkgProConnection) {
        self.index().enter(key, connection);
    }

    /// Forgets a connection.
    pub fn leave(&self, key: &ConnectionRef) {
        self.index().leave(key);
    }

    /// Whether a Secret of this connection is not, by what was seen of it last, what its status is about: then a new leader has to look at
    /// it. What another operator has read counts as read.
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

    /// Whether the values that the verdict is about, or the authorities, were seen to have changed since a check has read them.
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

    /// Notes the version that a check of this connection has read; `None` if there is no such Secret.
    pub fn read(&self, connection: &UkgProConnection, name: &str, version: Option<&str>) {
        let key = ConnectionRef::of(connection);
        let mut index = self.index();
        if let Some(secret) = index.by_secret.get_mut(&NamespacedName::new(Some(key.namespace()), Some(name))) {
            secret.note(&key, LastRead::of(version));
        }
    }

    /// Whether the last check of this connection has read each of its Secrets as it was seen last.
    pub fn is_read(&self, key: &ConnectionRef) -> bool {
        let index = self.index();
        let secrets = index.by_connection.get(key).into_iter().flatten().filter_map(|secret| index.by_secret.get(secret));
        secrets.into_iter().all(|InUse { version, users }| {
            let read = users.iter().find(|(user, _)| user == key);
            version.as_ref().is_none_or(|seen| read.is_some_and(|(_, read)| read.is(seen.version())))
        })
    }

    /// The connections to check after this event of a Secret: those that have not read what it tells of. `scope` is the namespace that is
    /// watched, if it is one.
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
        // A panic inside leaves at worst a stale entry, which the next event of the connection mends.
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
            // One allocation serves all who refer to it.
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
            if *read == LastRead::Unsaid {
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

/// The names of the Secrets a connection refers to.
fn names_of(connection: &UkgProConnection) -> impl Iterator<Item = &str> {
    let spec = &connection.spec;
    let candidate = spec.candidate_secret_ref.as_ref().map(|candidate| candidate.name.as_str());
    std::iter::once(spec.secret_ref.name.as_str()).chain(candidate).chain(authority_of(connection))
}

/// The Secret with its certificate authorities, where that is one.
fn authority_of(connection: &UkgProConnection) -> Option<&str> {
    connection.spec.ca_ref.as_ref().filter(|ca| ca.kind == CaKind::Secret).map(|ca| ca.name.as_str())
}

/// The Secrets a connection refers to, and what its status says that it has read, so that a restart brings no news of those that have
/// not changed.
fn secrets_of(connection: &UkgProConnection) -> Vec<(&str, LastRead)> {
    let spec = &connection.spec;
    let status = connection.status.as_ref().filter(|_| is_settled(connection));
    let read = |version: Option<&String>| match (version, status) {
        (Some(version), Some(_)) => LastRead::of(Some(version)),
        (None, Some(status)) if standing_reason(status) == Some(Reason::SecretNotFound) => LastRead::Absent,
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
            Some(None) => LastRead::Unsaid,
            Some(Some(candidate)) => LastRead::of(Some(&candidate.secret_resource_version)),
        };
        secrets.push((&candidate.name, read));
    }
    if let Some(authority) = authority_of(connection) {
        secrets.push((authority, if status.is_some() { LastRead::Unsaid } else { LastRead::Never }));
    }
    secrets
}

fn key_of(secret: &PartialObjectMeta<Secret>) -> NamespacedName {
    NamespacedName::new(secret.metadata.namespace.as_deref(), secret.metadata.name.as_deref())
}

#[cfg(test)]
mod tests;
