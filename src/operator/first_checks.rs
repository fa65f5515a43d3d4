//! First checks of many connections: reads their Secrets by page, not one by one.
//!
//! When the operator starts among connections without a verdict, each check would read its Secret with a request of its own, and
//! the API server is what limits a start. A page of a list brings hundreds of Secrets for one request. The connections of a page
//! are woken together with it, and take their values at once ([`PrefetchedSecrets`]).
//!
//! **Contract.** A connection that is held back here is woken with its page, or when its namespace has been listed, whatever
//! happens. It is not held back from a change of its own. Only a leader lists. A namespace is listed only as long as that pays:
//! see [`pays`].
//!
//! **Bound.** One reference for each connection that is held back, and the values of one page.
//!
//! [`PrefetchedSecrets`]: crate::controller::resolve::PrefetchedSecrets

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::api::ListParams;
use tokio::sync::{Notify, watch};

use crate::api::SecretKeys;
use crate::cluster::failure::kubernetes_failure;
use crate::cluster::watch::{ConnectionRef, NamespacedName};
use crate::controller::resolve::{self, VALUE_MAX};
use crate::controller::{Context, decide};
use crate::operator::settings::{SecretWatch, WATCH_LABEL};
use crate::operator::workers::{CheckState, LeadershipState};
use crate::schedule::work_queue::Queue;

/// The number of connections from which the Secrets of a namespace are listed. Fewer are read one by one.
const LISTED_FROM: usize = 20;
/// The number of Secrets in a page.
const PAGE: u32 = 200;
/// The next page is read when so many values are left, so that the workers always have some.
const LEFT: usize = 64;
/// A page pays if one of so many Secrets in it is used. A read of a single Secret costs the API server as much as some tens in a
/// list.
const USED_ONE_OF: usize = 8;
/// The number of different keys that are read of a namespace's Secrets. Connections with other keys read their Secrets themselves.
const KEYS_MAX: usize = 32;
/// Secrets that are not for credentials, and may be large. If a connection names one of them, it reads it itself.
const TYPES: &str = "type!=helm.sh/release.v1,type!=kubernetes.io/service-account-token,type!=kubernetes.io/dockerconfigjson";
/// How long to wait for the watch of Secrets. Without it, the values of a list are not used.
const WATCH_DEADLINE: Duration = Duration::from_secs(10);

/// Connections that are held back until their Secrets are listed.
#[derive(Default)]
pub(super) struct FirstChecks {
    held_back: Mutex<HashMap<ConnectionRef, Box<str>>>,
    added: Notify,
}

impl FirstChecks {
    /// Wakes these connections: those without a verdict with a page of Secrets, if that pays, and the others at once.
    pub(super) fn wake_all(&self, connections: Vec<ConnectionRef>, context: &Context, checks: &CheckState, queue: &Queue) {
        let may_list = !matches!(checks.leadership(), LeadershipState::None) && connections.len() >= LISTED_FROM;
        let now = context.clock.now();
        let mut held_back = self.held_back();
        for connection in connections {
            let secret = may_list.then(|| context.connections.get(&connection)).flatten().and_then(|cached| {
                let object = cached.connection(&connection);
                let is_due = decide::first_due(&object, now).is_none() && !object.spec.suspend;
                is_due.then(|| object.spec.secret_ref.name.into())
            });
            match secret {
                Some(secret) => drop(held_back.insert(connection, secret)),
                None => queue.wake(&connection),
            }
        }
        if !held_back.is_empty() {
            self.added.notify_one();
        }
    }

    /// Whether a connection will be woken with a page.
    pub(super) fn holds(&self, connection: &ConnectionRef) -> bool {
        self.held_back().contains_key(connection)
    }

    /// Releases a connection that something else wakes, or that no longer exists.
    pub(super) fn release(&self, connection: &ConnectionRef) {
        self.held_back().remove(connection);
    }

    /// Lists Secrets and wakes the connections that use them. Never ends.
    pub(super) async fn run(
        &self,
        secret_watch: SecretWatch,
        context: &Context,
        checks: &CheckState,
        queue: &Queue,
        mut watched: watch::Receiver<bool>,
    ) {
        loop {
            self.added.notified().await;
            let is_watched = tokio::time::timeout(WATCH_DEADLINE, watched.wait_for(|watched| *watched)).await;
            let is_watched = is_watched.is_ok_and(|watched| watched.is_ok());
            if secret_watch != SecretWatch::None && is_watched {
                self.list(secret_watch, context, checks, queue).await;
            }
            for connection in std::mem::take(&mut *self.held_back()).into_keys() {
                queue.wake(&connection);
            }
            context.prefetched.wait_until_taken(0).await;
            context.prefetched.clear();
        }
    }

    /// Lists the namespaces in turns, so that a large one does not delay the others.
    async fn list(&self, secret_watch: SecretWatch, context: &Context, checks: &CheckState, queue: &Queue) {
        let mut namespaces = self.plan(context, queue);
        while let Some(mut namespace) = namespaces.pop_front() {
            // Values that nobody takes wait for a host, and must not wait here.
            let is_taken = context.prefetched.wait_until_taken(LEFT).await;
            if !is_taken || matches!(checks.leadership(), LeadershipState::None) {
                return;
            }
            let goes_on = namespace.read_page(self, secret_watch, context, queue).await;
            if goes_on {
                namespaces.push_back(namespace);
            } else {
                self.wake_where(|connection, _| connection.namespace() == namespace.name, queue);
            }
        }
    }

    /// Returns the namespaces to list. Wakes the connections of the others.
    fn plan(&self, context: &Context, queue: &Queue) -> VecDeque<Namespace> {
        let mut namespaces: HashMap<String, Namespace> = HashMap::new();
        for (connection, secret) in &*self.held_back() {
            let Some(cached) = context.connections.get(connection) else { continue };
            let keys = cached.connection(connection).spec.secret_ref.keys;
            let name = connection.namespace().to_owned();
            let namespace = namespaces.entry(name.clone()).or_insert_with(|| Namespace { name, ..Namespace::default() });
            if namespace.reads(keys) {
                namespace.users.entry(secret.clone()).or_default().push(connection.clone());
            }
        }
        namespaces.retain(|_, namespace| namespace.users.len() >= LISTED_FROM);
        let is_listed = |connection: &ConnectionRef, secret: &str| {
            let users = namespaces.get(connection.namespace()).and_then(|namespace| namespace.users.get(secret));
            users.is_some_and(|users| users.contains(connection))
        };
        self.wake_where(|connection, secret| !is_listed(connection, secret), queue);
        namespaces.into_values().collect()
    }

    fn wake_where(&self, is: impl Fn(&ConnectionRef, &str) -> bool, queue: &Queue) {
        self.held_back().retain(|connection, secret| {
            let wakes = is(connection, secret);
            if wakes {
                queue.wake(connection);
            }
            !wakes
        });
    }

    fn held_back(&self) -> MutexGuard<'_, HashMap<ConnectionRef, Box<str>>> {
        // Each change is one insertion or removal, so a poisoned mutex holds valid data.
        self.held_back.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A namespace whose Secrets are listed.
#[derive(Default)]
struct Namespace {
    name: String,
    /// The connections that were held back, by Secret.
    users: HashMap<Box<str>, Vec<ConnectionRef>>,
    keys: BTreeSet<String>,
    next: Option<String>,
}

impl Namespace {
    /// Adds a connection's keys to those that are read. Returns false if these would be too many.
    fn reads(&mut self, keys: SecretKeys) -> bool {
        let SecretKeys { username, password, customer_api_key, user_api_key, domain, subdomain } = keys;
        let more: Vec<_> = [username, password, customer_api_key, user_api_key, domain, subdomain]
            .into_iter()
            .filter(|key| !self.keys.contains(key))
            .collect();
        let fits = self.keys.len() + more.len() <= KEYS_MAX;
        if fits {
            self.keys.extend(more);
        }
        fits
    }

    /// Reads the next page and wakes the connections that use its Secrets. Returns true if another page pays.
    async fn read_page(
        &mut self,
        held_back: &FirstChecks,
        secret_watch: SecretWatch,
        context: &Context,
        queue: &Queue,
    ) -> bool {
        let mut list = ListParams::default().limit(PAGE).fields(TYPES);
        if secret_watch == SecretWatch::Labelled {
            list = list.labels(WATCH_LABEL);
        }
        list.continue_token = self.next.take();
        let wanted: Vec<_> = self.keys.iter().map(|key| (key.as_str(), VALUE_MAX)).collect();
        let page = match resolve::page(context, &self.name, &list, &wanted).await {
            Ok(page) => page,
            Err(error) => {
                let (namespace, failure) = (&self.name, kubernetes_failure(&error));
                tracing::info!(namespace, failure, "Secrets cannot be listed with their values; reading them one by one");
                return false;
            }
        };
        let (shown, mut used) = (page.secrets.len(), 0);
        for (name, found) in page.secrets {
            let users = self.users.remove(name.as_str()).unwrap_or_default();
            let users: Vec<_> = users.into_iter().filter(|user| held_back.holds(user)).collect();
            used += usize::from(!users.is_empty());
            context.prefetched.put(NamespacedName::new(Some(&self.name), Some(&name)), found, users.len());
            for user in &users {
                held_back.release(user);
                queue.wake(user);
            }
        }
        self.next = page.next;
        self.next.is_some() && pays(used, shown, self.users.len())
    }
}

/// Whether to read another page, after one of `shown` Secrets of which `used` are used, with so many Secrets `left` to find.
fn pays(used: usize, shown: usize, left: usize) -> bool {
    left >= LISTED_FROM && used * USED_ONE_OF >= shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_goes_on_while_it_brings_what_is_used() {
        let cases = [
            ((250, 250, 1_000), true),
            ((32, 250, 1_000), true),
            // Most Secrets of the namespace are of others.
            ((31, 250, 1_000), false),
            ((0, 250, 1_000), false),
            // A handful is read sooner one by one.
            ((250, 250, 19), false),
            ((250, 250, 20), true),
            // A page may be empty, where the types that are left out are.
            ((0, 0, 100), true),
        ];
        for ((used, shown, left), expected) in cases {
            assert_eq!(pays(used, shown, left), expected, "{used} of {shown}, {left} left");
        }
    }
}
