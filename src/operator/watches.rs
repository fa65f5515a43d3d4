//! The watches of connections and Secrets, and what their events wake.

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
use crate::cluster::watch::connections::{Lists, News};
use crate::cluster::watch::history::{self, History};
use crate::cluster::watch::listed::Listed;
use crate::cluster::watch::retry::{self, Complaints};
use crate::controller::Context;
use crate::operator::Scope;
use crate::operator::settings::{SecretWatch, WATCH_LABEL};
use crate::operator::workers::{Checks, Mandate};
use crate::schedule::work_queue::Queue;
use crate::telemetry::health::Readiness;

/// Objects of a page of a list: what is read at once is held at once, and one is some ten kB until it is kept.
pub const PAGE: u32 = 100;

/// What the watches share about the cluster's history.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) history: &'a History,
    /// When they are to begin anew.
    pub(super) anew: &'a watch::Receiver<u64>,
}

/// Has everything listed anew when the cluster's history has run backwards. Never ends.
pub(super) async fn follow_history(
    scope: &Scope,
    context: &Context,
    checks: &Checks,
    history: &History,
    anew: &watch::Sender<u64>,
) {
    let apis = scoped::<UkgProConnection>(&context.kubernetes, &scope.namespaces);
    let one = ListParams::default().limit(1);
    loop {
        // A clock that is fast, as in tests, has it looked at no more often than each second.
        tokio::time::sleep(context.clock.real(history::ROUND).max(Duration::from_secs(1))).await;
        let before = history.highest();
        let mut version = None;
        for (_, api) in &apis {
            // Why one cannot be listed its watch tells.
            if let Ok(Ok(list)) = tokio::time::timeout(KUBERNETES_DEADLINE, api.list_metadata(&one)).await {
                version = list.metadata.resource_version;
                break;
            }
        }
        if history.has_turned(before, version.as_deref()) {
            tracing::warn!(
                "versions of the API server have run backwards, as after a backup is restored; everything is listed anew"
            );
            match checks.mandate() {
                // What a standby knows of the ledger may be older than the backup.
                Mandate::None => context.ledger.distrust(),
                Mandate::Always | Mandate::Term(_) => context.ledger.reassert(),
            }
            context.undelivered.forget_all();
            anew.send_modify(|times| *times += 1);
        }
    }
}

/// What is watched: one collection, or that of each namespace.
pub(super) fn scoped<K>(client: &kube::Client, namespaces: &[String]) -> Vec<(Option<String>, Api<K>)>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if namespaces.is_empty() {
        return vec![(None, Api::all(client.clone()))];
    }
    let of = |namespace: &String| (Some(namespace.clone()), Api::namespaced(client.clone(), namespace));
    namespaces.iter().map(of).collect()
}

/// Follows the connections. Never ends.
pub(super) async fn connections(
    scope: &Scope,
    context: &Arc<Context>,
    checks: &Checks,
    queue: &Queue,
    listed: watch::Sender<bool>,
    readiness: &Readiness,
    told: Told<'_>,
) {
    let select = watcher::Config::default().page_size(PAGE);
    let select = match &scope.selector {
        Some(labels) => select.labels(labels),
        None => select,
    };
    let Scope { namespaces, controller_class, .. } = scope;
    let mut lists = Lists::new(context.connections.clone(), context.secrets.clone(), namespaces, controller_class.clone());
    let watches = scoped::<Listed>(&context.kubernetes, namespaces).into_iter().enumerate();
    let watches = watches.map(|(place, (_, api))| {
        let select = select.clone();
        let events = retry::renewable(move || watcher(api.clone(), select.clone()), told.anew.clone());
        events.map(move |event| (place, event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut complaints = Complaints::default();
    readiness.lacks(lists.unlisted());
    while let Some((place, event)) = events.next().await {
        tell(&mut complaints, place, &event, "connections", namespaces.get(place));
        if let Ok(Event::InitApply(object) | Event::Apply(object) | Event::Delete(object)) = &event {
            told.history.heard(object.meta().resource_version.as_deref());
        }
        let is_listed = matches!(event, Ok(Event::InitDone));
        let news = match event {
            Ok(event) => lists.after(place, event),
            Err(error) => {
                if !is_refused(&error) {
                    continue;
                }
                lists.without(place)
            }
        };
        if is_listed {
            readiness.lacks(lists.unlisted());
        }
        let News { changed, gone, unreadable } = news;
        if let Some(unreadable) = unreadable {
            let (namespace, name) = (unreadable.namespace(), unreadable.name());
            tracing::error!(namespace, name, "connection cannot be read; compare it with the CRD and apply it again");
        }
        for (connection, uid) in &gone {
            checks.forget(uid, context);
            checks.forget_name(connection, context);
            queue.forget(connection);
        }
        if lists.are_of_use() {
            listed.send_if_modified(|listed| !std::mem::replace(listed, true));
        }
        changed.iter().for_each(|connection| queue.wake(connection));
    }
}

/// Whether a namespace may not be listed, as one whose Role has gone.
pub(super) fn is_refused(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::InitialListFailed(kube::Error::Api(status)) if matches!(status.code, 403 | 404))
}

/// Follows the Secrets, for the connections to which they are news. Only metadata is watched: values are read when they are needed.
///
/// It begins when the connections have been listed: a Secret that is listed before it is known who uses it would be news to nobody.
pub(super) async fn secrets(scope: &Scope, context: &Context, listed: &watch::Receiver<bool>, queue: &Queue, told: Told<'_>) {
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
    let watches = watches.enumerate().map(|(place, (namespace, api))| {
        let config = config.clone();
        let events = retry::renewable(move || watcher(api.clone(), config.clone()), told.anew.clone());
        events.map(move |event| (place, namespace.clone(), event)).boxed()
    });
    let mut events = stream::select_all(watches);
    let mut complaints = Complaints::default();
    while let Some((place, namespace, event)) = events.next().await {
        tell(&mut complaints, place, &event, "Secrets", namespace.as_ref());
        let Ok(event) = event else { continue };
        // One that is not listed may be there without the label.
        if scope.secret_watch == SecretWatch::Labelled && matches!(event, Event::Init | Event::InitDone) {
            continue;
        }
        for connection in context.secrets.after(namespace.as_deref(), &event) {
            context.agenda.wake_by_secret(&connection);
            queue.wake(&connection);
        }
    }
}

/// A line in the log where a watch fails in a new way, or still does after twice as many failures, and where it works again. Each watch
/// starts again by itself, with a back-off of its own.
pub(super) fn tell<K>(
    complaints: &mut Complaints,
    place: usize,
    event: &watcher::Result<Event<K>>,
    what: &str,
    namespace: Option<&String>,
) {
    let namespace = namespace.map_or("(all)", String::as_str);
    let error = match event {
        // It says that it begins before it asks.
        Ok(Event::Init) => return,
        Ok(_) => {
            if complaints.works(place) {
                tracing::info!(what, namespace, "watch goes on");
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
    if let Some(times) = complaints.failed(place, &failure, Instant::now()) {
        tracing::warn!(what, namespace, failure, times, "watch interrupted");
    }
}
