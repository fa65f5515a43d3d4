//! What wakes a check: changes of connections and of the Secrets they use.
//!
//! A small adapter between kube's `watcher` and `reflector` and its `applier`, in place of its ready-made `Controller`, for four
//! reasons: an object is handed on only once the store holds it (also after a relist); each watch backs off by itself; a change
//! of status alone, which is the operator's own write, wakes nothing; and a Secret's event reaches its connections through an
//! index, if it is news.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::Event;
use kube::{Resource, ResourceExt};
use tokio::sync::Notify;

use crate::api::{CaKind, Reason, UkgProConnection};
use crate::conditions::{self, CANDIDATE_READY};
use crate::controller::decide::{is_settled, standing_reason};

mod joined;

pub use joined::Joined;

/// A reference to a connection.
pub type ConnectionRef = ObjectRef<UkgProConnection>;
/// Namespace and name.
type Key = (String, String);

/// `kubectl apply` keeps the whole object, a Secret's data included, in this annotation.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Drops what no step reads from an object before it is kept.
pub fn strip<K: Resource>(object: &mut K) {
    let metadata = object.meta_mut();
    metadata.managed_fields = None;
    if let Some(annotations) = &mut metadata.annotations {
        annotations.remove(LAST_APPLIED);
    }
}

/// What makes a connection new: another object, another spec, another request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Edition {
    uid: Option<String>,
    generation: Option<i64>,
    requested_at: Option<String>,
}

impl Edition {
    fn of(connection: &UkgProConnection) -> Self {
        Self {
            uid: connection.metadata.uid.clone(),
            generation: connection.metadata.generation,
            requested_at: connection.requested_at().map(str::to_owned),
        }
    }
}

/// What an event of connections comes to.
#[derive(Default)]
pub struct News {
    /// To check.
    pub changed: Vec<ConnectionRef>,
    /// Not there any more, or not under this uid.
    pub gone: Vec<(ConnectionRef, Option<String>)>,
}

/// Turns events of connections into those that are new. Pure.
#[derive(Default)]
pub struct Arrivals {
    editions: HashMap<ConnectionRef, Edition>,
    listing: Option<HashMap<ConnectionRef, Edition>>,
}

impl Arrivals {
    /// The connections to check after this event, which the store has applied, and those to forget.
    pub fn after(&mut self, event: &Event<UkgProConnection>) -> News {
        let mut news = News::default();
        match event {
            Event::Init => self.listing = Some(HashMap::new()),
            Event::InitApply(object) => {
                self.listing.get_or_insert_default().insert(ObjectRef::from_obj(object), Edition::of(object));
            }
            // Only now does the store hold what was listed.
            Event::InitDone => {
                let listed = self.listing.take().unwrap_or_default();
                let before = std::mem::replace(&mut self.editions, listed);
                let changed = self.editions.iter().filter(|(key, edition)| before.get(key) != Some(edition));
                news.changed = changed.map(|(key, _)| key.clone()).collect();
                let uid_now = |key| self.editions.get(key).map(|edition| &edition.uid);
                let gone = before.iter().filter(|(key, edition)| uid_now(key) != Some(&edition.uid));
                news.gone = gone.map(|(key, edition)| (key.clone(), edition.uid.clone())).collect();
            }
            Event::Apply(object) => {
                let (key, edition) = (ObjectRef::from_obj(object), Edition::of(object));
                let before = self.editions.insert(key.clone(), edition.clone());
                if before.as_ref() != Some(&edition) {
                    news.changed.push(key.clone());
                }
                news.gone.extend(before.filter(|before| before.uid != edition.uid).map(|before| (key, before.uid)));
            }
            Event::Delete(object) => {
                let key = ObjectRef::from_obj(object);
                let uid = self.editions.remove(&key).map_or_else(|| object.uid(), |edition| edition.uid);
                news.gone.push((key, uid));
            }
        }
        news
    }
}

/// Which connections use which Secret, and which version of it each has read last.
///
/// **Bound.** As many entries as connections refer to Secrets; Secrets nobody refers to are not kept.
#[derive(Default)]
pub struct SecretIndex(Mutex<Index>);

#[derive(Default)]
struct Index {
    by_secret: HashMap<Key, HashMap<ConnectionRef, LastRead>>,
    by_connection: HashMap<ConnectionRef, Vec<Key>>,
    /// The version of each Secret in use that was seen last, `None` for one that is not there.
    versions: HashMap<Key, Option<String>>,
    /// Of a list under way, by its namespace: the Secrets in use at its beginning that it has not shown yet.
    unlisted: HashMap<Option<String>, HashSet<Key>>,
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
    Version(String),
}

impl LastRead {
    fn is(&self, version: Option<&str>) -> bool {
        match (self, version) {
            (LastRead::Never, _) => false,
            (LastRead::Unsaid, _) => true,
            (LastRead::Absent, None) => true,
            (LastRead::Version(read), Some(version)) => read == version,
            _ => false,
        }
    }
}

impl SecretIndex {
    /// Keeps the index in step with the connections.
    pub fn follow(&self, event: &Event<UkgProConnection>, store: &Store<UkgProConnection>) {
        let mut index = self.index();
        match event {
            Event::Apply(object) => index.enter(object),
            Event::Delete(object) => index.leave(&ObjectRef::from_obj(object)),
            Event::InitDone => {
                let present = store.state();
                let keys: HashSet<_> = present.iter().map(|object| ObjectRef::from_obj(object.as_ref())).collect();
                let gone: Vec<_> = index.by_connection.keys().filter(|key| !keys.contains(key)).cloned().collect();
                gone.iter().for_each(|key| index.leave(key));
                present.iter().for_each(|object| index.enter(object));
            }
            Event::Init | Event::InitApply(_) => {}
        }
    }

    /// The connections whose Secrets are not, by what was seen of them last, what their status is about: what a new leader has to look at.
    /// What another operator has read counts as read.
    pub fn news(&self, connections: &[Arc<UkgProConnection>]) -> Vec<ConnectionRef> {
        let mut index = self.index();
        let mut news = Vec::new();
        for connection in connections {
            let namespace = connection.namespace().unwrap_or_default();
            let reference = ObjectRef::from_obj(connection.as_ref());
            for (name, read) in secrets_of(connection) {
                let key = (namespace.clone(), name.to_owned());
                let changed = index.versions.get(&key).is_some_and(|version| !read.is(version.as_deref()));
                if let Some(last) = index.by_secret.get_mut(&key).and_then(|users| users.get_mut(&reference)) {
                    *last = read;
                }
                if changed && news.last() != Some(&reference) {
                    news.push(reference.clone());
                }
            }
        }
        news
    }

    /// Notes the version that a check of this connection has read; `None` if there is no such Secret.
    pub fn read(&self, connection: &UkgProConnection, name: &str, version: Option<&str>) {
        let key = (connection.namespace().unwrap_or_default(), name.to_owned());
        let mut index = self.index();
        let users = index.by_secret.get_mut(&key);
        if let Some(last) = users.and_then(|users| users.get_mut(&ObjectRef::from_obj(connection))) {
            *last = version.map_or(LastRead::Absent, |version| LastRead::Version(version.to_owned()));
        }
    }

    /// The connections to check after this event of a Secret: those that have not read what it tells of. `scope` is the namespace that is
    /// watched, if it is one.
    pub fn after(&self, scope: Option<&str>, event: &Event<PartialObjectMeta<Secret>>) -> Vec<ConnectionRef> {
        let mut index = self.index();
        let watched = scope.map(str::to_owned);
        match event {
            Event::Init => {
                let in_scope = |key: &&Key| scope.is_none_or(|scope| key.0 == scope);
                let unlisted = index.by_secret.keys().filter(in_scope).cloned().collect();
                index.unlisted.insert(watched, unlisted);
            }
            Event::InitApply(secret) => {
                let key = key_of(secret);
                if let Some(unlisted) = index.unlisted.get_mut(&watched) {
                    unlisted.remove(&key);
                }
                return index.users_unless_read(&key, secret.metadata.resource_version.as_deref());
            }
            Event::InitDone => {
                let absent = index.unlisted.remove(&watched).unwrap_or_default();
                return absent.iter().flat_map(|key| index.users_unless_read(key, None)).collect();
            }
            Event::Apply(secret) => {
                return index.users_unless_read(&key_of(secret), secret.metadata.resource_version.as_deref());
            }
            Event::Delete(secret) => return index.users_unless_read(&key_of(secret), None),
        }
        Vec::new()
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // A panic inside leaves at worst a stale entry, which the next event of the connection mends.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn enter(&mut self, connection: &UkgProConnection) {
        let namespace = connection.namespace().unwrap_or_default();
        let names = secrets_of(connection);
        let keys: Vec<Key> = names.iter().map(|(name, _)| (namespace.clone(), (*name).to_owned())).collect();
        let connection = ObjectRef::from_obj(connection);
        if self.by_connection.get(&connection) == Some(&keys) {
            return;
        }
        self.leave(&connection);
        for (key, (_, read)) in keys.iter().zip(names) {
            self.by_secret.entry(key.clone()).or_default().entry(connection.clone()).or_insert(read);
        }
        self.by_connection.insert(connection, keys);
    }

    fn leave(&mut self, connection: &ConnectionRef) {
        for key in self.by_connection.remove(connection).unwrap_or_default() {
            if let Some(users) = self.by_secret.get_mut(&key) {
                users.remove(connection);
                if users.is_empty() {
                    self.by_secret.remove(&key);
                    self.versions.remove(&key);
                }
            }
        }
    }

    fn users_unless_read(&mut self, key: &Key, version: Option<&str>) -> Vec<ConnectionRef> {
        if self.by_secret.contains_key(key) {
            self.versions.insert(key.clone(), version.map(str::to_owned));
        }
        let users = self.by_secret.get_mut(key).into_iter().flatten();
        let news = users.filter_map(|(connection, read)| {
            let is_news = !read.is(version);
            if *read == LastRead::Unsaid {
                *read = version.map_or(LastRead::Absent, |version| LastRead::Version(version.to_owned()));
            }
            is_news.then(|| connection.clone())
        });
        news.collect()
    }
}

/// The Secrets a connection refers to, and what its status says that it has read, so that a restart brings no news of those that have
/// not changed.
fn secrets_of(connection: &UkgProConnection) -> Vec<(&str, LastRead)> {
    let spec = &connection.spec;
    let status = connection.status.as_ref().filter(|_| is_settled(connection));
    let read = |version: Option<&String>| match (version, status) {
        (Some(version), Some(_)) => LastRead::Version(version.clone()),
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
            Some(Some(candidate)) => LastRead::Version(candidate.secret_resource_version.clone()),
        };
        secrets.push((&candidate.name, read));
    }
    if let Some(ca) = spec.ca_ref.as_ref().filter(|ca| ca.kind == CaKind::Secret) {
        secrets.push((&ca.name, if status.is_some() { LastRead::Unsaid } else { LastRead::Never }));
    }
    secrets
}

fn key_of(secret: &PartialObjectMeta<Secret>) -> Key {
    (secret.namespace().unwrap_or_default(), secret.name_any())
}

/// How long a write may take to come back by the watch before the next check goes on without it.
const ECHO_DEADLINE: Duration = Duration::from_secs(5);

/// How far the watch has come, so that a check can wait for its own write to come back: one that decided on an older status
/// would move times and post events twice.
pub struct Seen {
    store: Store<UkgProConnection>,
    moved: Notify,
    stopped: AtomicBool,
}

impl Seen {
    /// Looks at this store.
    pub fn new(store: Store<UkgProConnection>) -> Self {
        Self { store, moved: Notify::new(), stopped: AtomicBool::new(false) }
    }

    /// The object as the store holds it now.
    pub fn latest(&self, connection: &UkgProConnection) -> Option<Arc<UkgProConnection>> {
        self.store.get(&ObjectRef::from_obj(connection))
    }

    /// Tells those who wait that the store has changed.
    pub fn moved(&self) {
        self.moved.notify_waiters();
    }

    /// The watch has ended: nothing is worth waiting for any more.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::SeqCst);
        self.moved();
    }

    /// Waits until the store holds another version of this object than this one, or none; gives up after some seconds.
    pub async fn passes(&self, connection: &UkgProConnection) {
        let version = connection.metadata.resource_version.as_deref().and_then(|version| version.parse::<u64>().ok());
        if let Some(next) = version.and_then(|version| version.checked_add(1)) {
            self.reaches(connection, &next.to_string()).await;
        }
    }

    /// Waits until the store holds this version of the object, a later one, or none; gives up after some seconds.
    pub async fn reaches(&self, connection: &UkgProConnection, version: &str) {
        let key = ObjectRef::from_obj(connection);
        let wait = async {
            loop {
                let moved = self.moved.notified();
                tokio::pin!(moved);
                // Listening before looking, so that no change falls between.
                moved.as_mut().enable();
                match self.store.get(&key) {
                    _ if self.stopped.load(Ordering::SeqCst) => return,
                    Some(object) if !is_at(object.metadata.resource_version.as_deref().unwrap_or_default(), version) => {}
                    _ => return,
                }
                moved.await;
            }
        };
        let _ = tokio::time::timeout(ECHO_DEADLINE, wait).await;
    }
}

/// Whether a version is this one or a later one. Kubernetes' versions of one kind are whole numbers that grow.
fn is_at(version: &str, wanted: &str) -> bool {
    match (version.parse::<u64>(), wanted.parse::<u64>()) {
        (Ok(version), Ok(wanted)) => version >= wanted,
        _ => version == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::decide::tests::connection;

    fn named(name: &str, generation: i64) -> UkgProConnection {
        let mut connection = connection();
        connection.metadata.name = Some(name.to_owned());
        connection.metadata.generation = Some(generation);
        connection
    }

    fn names(mut found: Vec<ConnectionRef>) -> Vec<String> {
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn listed_connections_are_handed_on_when_the_list_is_whole() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.after(&Event::Init).changed.is_empty());
        assert!(arrivals.after(&Event::InitApply(named("a", 1))).changed.is_empty());
        assert!(arrivals.after(&Event::InitApply(named("b", 1))).changed.is_empty());
        assert_eq!(names(arrivals.after(&Event::InitDone).changed), ["a", "b"]);
    }

    #[test]
    fn a_relist_hands_on_only_what_changed_meanwhile() {
        let mut arrivals = Arrivals::default();
        for event in [Event::Init, Event::InitApply(named("a", 1)), Event::InitApply(named("b", 1)), Event::InitDone] {
            arrivals.after(&event);
        }
        for event in
            [Event::Init, Event::InitApply(named("a", 1)), Event::InitApply(named("b", 2)), Event::InitApply(named("c", 1))]
        {
            assert!(arrivals.after(&event).changed.is_empty());
        }
        assert_eq!(names(arrivals.after(&Event::InitDone).changed), ["b", "c"]);
    }

    #[test]
    fn a_status_wakes_nothing_and_a_spec_does() {
        let mut arrivals = Arrivals::default();
        assert_eq!(names(arrivals.after(&Event::Apply(named("a", 1))).changed), ["a"]);
        assert!(arrivals.after(&Event::Apply(named("a", 1))).changed.is_empty());
        assert_eq!(names(arrivals.after(&Event::Apply(named("a", 2))).changed), ["a"]);
        arrivals.after(&Event::Delete(named("a", 2)));
        assert_eq!(names(arrivals.after(&Event::Apply(named("a", 2))).changed), ["a"], "re-created");
    }

    #[test]
    fn another_object_of_the_same_name_and_a_request_are_news() {
        let mut arrivals = Arrivals::default();
        arrivals.after(&Event::Apply(named("a", 1)));
        let mut other = named("a", 1);
        other.metadata.uid = Some("another".to_owned());
        // It was deleted and made again while the watch was broken.
        for event in [Event::Init, Event::InitApply(other.clone())] {
            assert!(arrivals.after(&event).changed.is_empty());
        }
        assert_eq!(names(arrivals.after(&Event::InitDone).changed), ["a"]);
        let requested = std::collections::BTreeMap::from([(crate::api::REQUESTED_AT.to_owned(), "now".to_owned())]);
        other.metadata.annotations = Some(requested);
        assert_eq!(names(arrivals.after(&Event::Apply(other.clone())).changed), ["a"]);
        assert!(arrivals.after(&Event::Apply(other)).changed.is_empty());
    }

    fn secret(name: &str, version: &str) -> PartialObjectMeta<Secret> {
        let mut secret = PartialObjectMeta::<Secret>::default();
        secret.metadata.namespace = Some("hr".to_owned());
        secret.metadata.name = Some(name.to_owned());
        secret.metadata.resource_version = Some(version.to_owned());
        secret
    }

    fn index() -> SecretIndex {
        let index = SecretIndex::default();
        let store = kube::runtime::reflector::store::<UkgProConnection>().0;
        for name in ["a", "b"] {
            index.follow(&Event::Apply(named(name, 1)), &store);
        }
        index
    }

    #[test]
    fn a_secret_wakes_the_connections_that_have_not_read_it() {
        let index = index();
        assert!(index.after(None, &Event::Apply(secret("other", "1"))).is_empty());
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["a", "b"]);
        // One was faster than the watch; that is no news for it, and still is for the other.
        index.read(&named("a", 1), "acme-ukg-pro", Some("2"));
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "2")))), ["b"]);
        index.read(&named("b", 1), "acme-ukg-pro", Some("2"));
        assert!(index.after(None, &Event::Apply(secret("acme-ukg-pro", "2"))).is_empty());
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "3")))), ["a", "b"]);
        assert_eq!(names(index.after(None, &Event::Delete(secret("acme-ukg-pro", "3")))), ["a", "b"]);
        index.read(&named("a", 1), "acme-ukg-pro", None);
        assert_eq!(names(index.after(None, &Event::Delete(secret("acme-ukg-pro", "3")))), ["b"]);
    }

    #[test]
    fn what_a_relist_does_not_show_any_more_is_to_be_forgotten() {
        let with_uid = |name: &str, uid: &str| {
            let mut connection = named(name, 1);
            connection.metadata.uid = Some(uid.to_owned());
            connection
        };
        let gone = |news: News| {
            let mut gone: Vec<_> =
                news.gone.into_iter().map(|(key, uid)| format!("{} {}", key.name, uid.expect("one"))).collect();
            gone.sort();
            gone
        };
        let mut arrivals = Arrivals::default();
        for event in [Event::Init, Event::InitApply(with_uid("a", "1")), Event::InitApply(with_uid("b", "2")), Event::InitDone]
        {
            assert!(arrivals.after(&event).gone.is_empty());
        }
        arrivals.after(&Event::Init);
        arrivals.after(&Event::InitApply(with_uid("b", "3")));
        assert_eq!(gone(arrivals.after(&Event::InitDone)), ["a 1", "b 2"], "deleted, and made again");
        assert_eq!(gone(arrivals.after(&Event::Apply(with_uid("b", "4")))), ["b 3"]);
        assert_eq!(gone(arrivals.after(&Event::Delete(with_uid("b", "4")))), ["b 4"]);
    }

    #[test]
    fn after_a_restart_only_what_has_changed_is_news() {
        let store = kube::runtime::reflector::store::<UkgProConnection>().0;
        let mut settled = crate::controller::decide::tests::connection_with(Some(Reason::AllPermissionsGranted));
        settled.metadata.name = Some("a".to_owned());
        let mut unsettled = settled.clone();
        unsettled.metadata.name = Some("b".to_owned());
        unsettled.metadata.generation = Some(2);
        let index = SecretIndex::default();
        index.follow(&Event::Apply(settled), &store);
        index.follow(&Event::Apply(unsettled), &store);
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "7")))), ["b"], "as its status says");
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "8")))), ["a", "b"]);
    }

    #[test]
    fn a_new_leader_looks_at_what_no_other_has_read() {
        let store = kube::runtime::reflector::store::<UkgProConnection>().0;
        let settled = crate::controller::decide::tests::connection_with(Some(Reason::AllPermissionsGranted));
        for (seen, expected) in [(None, vec![]), (Some("7"), vec![]), (Some("8"), vec!["acme"])] {
            let index = SecretIndex::default();
            // It was made while this process stood by, so it has read nothing of it.
            index.follow(&Event::Apply(UkgProConnection { status: None, ..settled.clone() }), &store);
            if let Some(version) = seen {
                index.after(None, &Event::Apply(secret("acme-ukg-pro", version)));
            }
            assert_eq!(names(index.news(&[Arc::new(settled.clone())])), expected, "{seen:?}");
            assert!(
                index.after(None, &Event::Apply(secret("acme-ukg-pro", "7"))).is_empty(),
                "{seen:?}: as the other has read"
            );
        }
        let index = SecretIndex::default();
        index.follow(&Event::Apply(settled.clone()), &store);
        index.after(None, &Event::Delete(secret("acme-ukg-pro", "7")));
        assert_eq!(names(index.news(&[Arc::new(settled)])), ["acme"], "it is gone");
    }

    #[test]
    fn a_relist_of_secrets_finds_what_was_changed_or_deleted_meanwhile() {
        for (listed, read, woken) in [
            (Some("2"), Some("2"), vec!["b"]),
            (Some("3"), Some("2"), vec!["a", "b"]),
            (None, Some("2"), vec!["a", "b"]),
            (None, None, vec!["b"]),
            (Some("3"), None, vec!["a", "b"]),
        ] {
            let index = index();
            index.read(&named("a", 1), "acme-ukg-pro", read);
            let mut found = index.after(None, &Event::Init);
            if let Some(version) = listed {
                found.extend(index.after(None, &Event::InitApply(secret("acme-ukg-pro", version))));
            }
            found.extend(index.after(None, &Event::InitDone));
            assert_eq!(names(found), woken, "listed {listed:?}, read {read:?}");
        }
    }

    #[test]
    fn a_connection_that_comes_while_secrets_are_listed_is_not_woken_twice() {
        let index = SecretIndex::default();
        let store = kube::runtime::reflector::store::<UkgProConnection>().0;
        assert!(index.after(None, &Event::Init).is_empty());
        assert!(index.after(None, &Event::InitApply(secret("acme-ukg-pro", "1"))).is_empty());
        index.follow(&Event::Apply(named("a", 1)), &store);
        assert!(index.after(None, &Event::InitDone).is_empty(), "its Secret was listed before it was known to be in use");
    }

    #[test]
    fn the_index_forgets_what_nobody_uses() {
        let index = index();
        let store = kube::runtime::reflector::store::<UkgProConnection>().0;
        let mut moved = named("a", 2);
        moved.spec.secret_ref.name = "new".to_owned();
        index.follow(&Event::Apply(moved), &store);
        assert_eq!(names(index.after(None, &Event::Apply(secret("acme-ukg-pro", "1")))), ["b"]);
        assert_eq!(names(index.after(None, &Event::Apply(secret("new", "1")))), ["a"]);
        index.follow(&Event::Delete(named("a", 2)), &store);
        index.follow(&Event::Delete(named("b", 1)), &store);
        assert!(index.index().by_secret.is_empty() && index.index().by_connection.is_empty());
        index.follow(&Event::Apply(named("a", 1)), &store);
        index.follow(&Event::InitDone, &store);
        assert!(index.index().by_secret.is_empty(), "a relist without it");
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(is_at("10", "9") && is_at("9", "9") && !is_at("9", "10"));
        assert!(is_at("x", "x") && !is_at("x", "y"));
    }
}
