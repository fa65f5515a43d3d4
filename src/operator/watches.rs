//! Watches connections and Secrets, and queues the connections that an event affects.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api::UkgProConnection;
use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};
use crate::cluster::watch::connections::{CacheDelta, WatchEventHandler};
use crate::cluster::watch::history::{self, ResourceVersionTracker};
use crate::cluster::watch::listed::RawConnection;
use crate::cluster::watch::retry::{self, FailureLog};
use crate::controller::Context;
use crate::operator::Scope;
use crate::operator::settings::{SecretWatch, WATCH_LABEL};
use crate::operator::workers::{CheckState, LeadershipState};
use crate::schedule::work_queue::Queue;
use crate::telemetry::health::Readiness;

/// The page size of lists. A whole page is held in memory, and an object takes some 10 kB until it is reduced for the cache.
pub const PAGE: u32 = 100;

/// What the watches share about the cluster's history.
#[derive(Clone, Copy)]
pub(super) struct RelistSignal<'a> {
    pub(super) history: &'a ResourceVersionTracker,
    /// Changes when they have to list everything again.
    pub(super) relist: &'a watch::Receiver<u64>,
}

/// Lists everything again when the cluster's history has run backwards. Never ends.
pub(super) async fn follow_history(
    scope: &Scope,
    context: &Context,
    checks: &CheckState,
    history: &ResourceVersionTracker,
    relist: &watch::Sender<u64>,
) {
    let apis = scoped::<UkgProConnection>(&context.kubernetes, &scope.namespaces);
    let one = ListParams::default().limit(1);
    loop {
        // With a fast clock, as in tests, it still looks at most once a second.
        tokio::time::sleep(context.clock.real(history::ROUND).max(Duration::from_secs(1))).await;
        let before = history.highest();
        let mut version = None;
        for (_, api) in &apis {
            // The watch reports why a collection cannot be listed.
            if let Ok(Ok(list)) = tokio::time::timeout(KUBERNETES_DEADLINE, api.list_metadata(&one)).await {
                version = list.metadata.resource_version;
                break;
            }
        }
        if history.has_run_backwards(before, version.as_deref()) {
            tracing::warn!("resource versions have run backwards, as after a restore from a backup; listing everything again");
            match checks.leadership() {
                // A standby's copy of the ledger may be older than the backup.
                LeadershipState::None => context.ledger.invalidate(),
                LeadershipState::Always | LeadershipState::Term(_) => context.ledger.mark_all_dirty(),
            }
            context.unwritten.forget_all();
            relist.send_modify(|times| *times += 1);
        }
    }
}

/// Returns the collections to watch: one for the cluster, or one per namespace.
fn scoped<K>(client: &kube::Client, namespaces: &[String]) -> Vec<(Option<String>, Api<K>)>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if namespaces.is_empty() {
        return vec![(None, Api::all(client.clone()))];
    }
    let of = |namespace: &String| (Some(namespace.clone()), Api::namespaced(client.clone(), namespace));
    namespaces.iter().map(of).collect()
}

/// Follows the watches of connections. Never ends.
pub(super) async fn connections(
    scope: &Scope,
    context: &Arc<Context>,
    checks: &CheckState,
    queue: &Queue,
    listed: watch::Sender<bool>,
    readiness: &Readiness,
    relist_signal: RelistSignal<'_>,
) {
    let select = watcher::Config::default().page_size(PAGE);
    let select = match &scope.selector {
        Some(labels) => select.labels(labels),
        None => select,
    };
    let Scope { namespaces, controller_class, .. } = scope;
    let mut handler =
        WatchEventHandler::new(context.connections.clone(), context.secrets.clone(), namespaces, controller_class.clone());
    let watches = scoped::<RawConnection>(&context.kubernetes, namespaces).into_iter().enumerate();
    let watches = watches.map(|(index, (_, api))| {
        let select = select.clone();
        let events = retry::restartable(move || watcher(api.clone(), select.clone()), relist_signal.relist.clone());
        events.map(move |event| (index, event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut failure_log = FailureLog::default();
    readiness.set_unlisted(handler.unlisted());
    while let Some((index, event)) = events.next().await {
        log_watch_event(&mut failure_log, index, &event, "connections", namespaces.get(index));
        if let Ok(Event::InitApply(object) | Event::Apply(object) | Event::Delete(object)) = &event {
            relist_signal.history.observe(object.meta().resource_version.as_deref());
        }
        let is_listed = matches!(event, Ok(Event::InitDone));
        let delta = match event {
            Ok(event) => handler.after(index, event),
            Err(error) => {
                if !is_refused(&error) {
                    continue;
                }
                handler.without(index)
            }
        };
        if is_listed {
            readiness.set_unlisted(handler.unlisted());
        }
        let CacheDelta { changed, gone, unreadable } = delta;
        if let Some(unreadable) = unreadable {
            let (namespace, name) = (unreadable.namespace(), unreadable.name());
            tracing::error!(namespace, name, "connection cannot be read; compare it with the CRD and apply it again");
        }
        for (connection, uid) in &gone {
            checks.forget(uid, context);
            checks.forget_name(connection, context);
            queue.forget(connection);
        }
        if handler.is_usable() {
            listed.send_if_modified(|listed| !std::mem::replace(listed, true));
        }
        changed.iter().for_each(|connection| queue.wake(connection));
    }
}

/// Whether listing was refused, for example because the namespace's Role is gone.
pub(super) fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
}

/// Follows the Secrets and queues the connections that a change affects. Only metadata is watched; values are read when needed.
///
/// Starts after the connections have been listed. Until then it is not known which connections use a Secret.
pub(super) async fn secrets(
    scope: &Scope,
    context: &Context,
    listed: &watch::Receiver<bool>,
    queue: &Queue,
    relist_signal: RelistSignal<'_>,
) {
    let config = watcher::Config::default().page_size(PAGE);
    let config = match scope.secret_watch {
        SecretWatch::All => config,
        SecretWatch::Labelled => config.labels(WATCH_LABEL),
        SecretWatch::None => return,
    };
    if listed.clone().wait_for(|listed| *listed).await.is_err() {
        return;
    }
    let watches = scoped::<PartialObjectMeta<Secret>>(&context.kubernetes, &scope.namespaces).into_iter();
    let watches = watches.enumerate().map(|(index, (namespace, api))| {
        let config = config.clone();
        let events = retry::restartable(move || watcher(api.clone(), config.clone()), relist_signal.relist.clone());
        events.map(move |event| (index, namespace.clone(), event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut failure_log = FailureLog::default();
    while let Some((index, namespace, event)) = events.next().await {
        log_watch_event(&mut failure_log, index, &event, "Secrets", namespace.as_ref());
        let Ok(event) = event else { continue };
        // A Secret missing from the list may exist without the label.
        if scope.secret_watch == SecretWatch::Labelled && matches!(event, Event::Init | Event::InitDone) {
            continue;
        }
        for connection in context.secrets.after(namespace.as_deref(), &event) {
            context.wakeups.wake_by_secret(&connection);
            queue.wake(&connection);
        }
    }
}

/// Logs the failure of a watch when it is new and each time its count has doubled, and logs when the watch works again. Each watch
/// restarts by itself, with its own backoff.
fn log_watch_event<K>(
    failure_log: &mut FailureLog,
    index: usize,
    event: &watcher::Result<Event<K>>,
    what: &str,
    namespace: Option<&String>,
) {
    let namespace = namespace.map_or("(all)", String::as_str);
    let error = match event {
        // This event comes before the request is sent.
        Ok(Event::Init) => return,
        Ok(_) => {
            if failure_log.works(index) {
                tracing::info!(what, namespace, "watch resumed");
            }
            return;
        }
        Err(error) => error,
    };
    let failure = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => kubernetes_failure(error),
        watcher::Error::WatchError(status) => format!("the API server answered {} {}", status.code, status.reason),
        watcher::Error::NoResourceVersion => "the API server's list has no version".to_owned(),
    };
    if let Some(times) = failure_log.failed(index, &failure, Instant::now()) {
        tracing::warn!(what, namespace, failure, times, "watch interrupted");
    }
}
