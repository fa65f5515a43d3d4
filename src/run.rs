//! The tasks of a running operator: the watches, the queue, and the reconciles they lead to.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Secret;
use kube::core::PartialObjectMeta;
use kube::runtime::controller::{Action, Config, Error as ApplierError};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, applier, watcher as watch};
use kube::{Api, Resource, ResourceExt};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use crate::api::UkgProConnection;
use crate::controller::{self, Context, Error, Policy};
use crate::health::Readiness;
use crate::ledger::Ledger;
use crate::ukg::transport::{ProxySettings, Transport, Trust};
use crate::watch::{Arrivals, ConnectionRef, SecretIndex, Seen, strip};

/// What a running operator is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The one namespace to watch; all where `None`.
    pub namespace: Option<String>,
    /// What connections may do.
    pub policy: Policy,
    /// How UKG Pro is reached.
    pub proxy: ProxySettings,
    /// How many checks may run at once.
    pub concurrency: usize,
    /// The name this process reports events under.
    pub instance: String,
}

/// Why an operator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No HTTPS client.
    #[error("no HTTPS client could be made; see that the CA certificates of the platform are there (SSL_CERT_FILE)")]
    Transport(#[from] crate::ukg::transport::TransportError),
    /// No random numbers.
    #[error("the platform gave no random numbers for the login ledger's key")]
    Random(#[from] aws_lc_rs::error::Unspecified),
}

/// After failures to read or write Kubernetes: the first wait, and the longest.
const ERROR_RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));
/// Events of one object that come in a burst (a Secret and its connection applied together) are one check.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// Runs until `shutdown` resolves, then lets running checks end.
pub async fn run(
    kubernetes: kube::Client,
    settings: Settings,
    readiness: Readiness,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), StartError> {
    let (store, writer) = reflector::store();
    let allow_private_addresses = settings.policy.allow_private_addresses;
    let trust = Trust { extra_roots: Vec::new(), allow_private_addresses, proxy: settings.proxy };
    let context = Arc::new(Context {
        transport: Transport::new(trust)?,
        ledger: Ledger::new()?,
        secrets: Arc::default(),
        seen: Arc::new(Seen::new(store.clone())),
        policy: settings.policy,
        instance: settings.instance,
        kubernetes,
    });
    let namespace = settings.namespace.as_deref();
    let connections = connections(scoped(&context.kubernetes, namespace), writer, &store, &context, readiness);
    let secrets = secrets(scoped(&context.kubernetes, namespace), context.secrets.clone());
    let queue = stream::select(connections, secrets).map(Ok::<_, std::convert::Infallible>).take_until(shutdown);

    let checks = Arc::new(Checks { running: Semaphore::new(settings.concurrency), failures: Mutex::default() });
    let for_policy = checks.clone();
    applier(
        move |connection: Arc<UkgProConnection>, context| {
            let check = tokio::spawn(check(connection, context, checks.clone()));
            Box::pin(async move { AbortOnDropHandle::new(check).await.unwrap_or(Err(Error::Panicked)) })
        },
        move |connection, error, _| for_policy.failed(&connection, error),
        context,
        store,
        queue,
        Config::default().debounce(DEBOUNCE),
    )
    .for_each(|result| async move {
        match result {
            // Deleted since it was queued: there is nothing to check. Failures were logged by the error policy.
            Ok(_) | Err(ApplierError::ObjectNotFound(_) | ApplierError::ReconcilerFailed(..)) => {}
            Err(error) => tracing::error!(kind = %queue_failure(&error), "the queue failed"),
        }
    })
    .await;
    Ok(())
}

fn queue_failure<R: std::error::Error + 'static, Q: std::error::Error + 'static>(error: &ApplierError<R, Q>) -> &'static str {
    match error {
        ApplierError::RunnerError(_) => "the store ended",
        _ => "unexpected",
    }
}

async fn check(connection: Arc<UkgProConnection>, context: Arc<Context>, checks: Arc<Checks>) -> Result<Action, Error> {
    // First come, first served: the applier's own bound lets the same objects win again and again under load.
    let Ok(_permit) = checks.running.acquire().await else {
        return Ok(Action::await_change());
    };
    // What was current when it was queued may not be any more.
    let connection = context.seen.latest(&connection).unwrap_or(connection);
    let requeue = controller::reconcile(&connection, &context).await?;
    checks.succeeded(&connection);
    Ok(Action::requeue(requeue))
}

/// How checks fare, besides their verdicts.
struct Checks {
    running: Semaphore,
    /// How often in a row Kubernetes failed a connection's check; those that succeed are not in it.
    failures: Mutex<HashMap<ConnectionRef, u32>>,
}

impl Checks {
    fn succeeded(&self, connection: &UkgProConnection) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&ObjectRef::from_obj(connection));
    }

    fn failed(&self, connection: &UkgProConnection, error: &Error) -> Action {
        let count = {
            let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
            let count = failures.entry(ObjectRef::from_obj(connection)).or_default();
            *count = count.saturating_add(1);
            *count
        };
        let wait = error_wait(count);
        let (namespace, name) = (connection.namespace().unwrap_or_default(), connection.name_any());
        tracing::warn!(namespace, name, %error, retry_seconds = wait.as_secs(), "check not finished");
        Action::requeue(wait)
    }
}

/// Doubles from the first wait to the longest.
fn error_wait(count: u32) -> Duration {
    let (first, longest) = ERROR_RETRY;
    first.saturating_mul(1 << count.saturating_sub(1).min(16)).min(longest)
}

fn scoped<K>(client: &kube::Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The connections whose spec is new, each after the store holds it.
fn connections(
    api: Api<UkgProConnection>,
    writer: reflector::store::Writer<UkgProConnection>,
    store: &reflector::Store<UkgProConnection>,
    context: &Context,
    readiness: Readiness,
) -> impl Stream<Item = ConnectionRef> + Send + 'static {
    let (secrets, seen, store) = (context.secrets.clone(), context.seen.clone(), store.clone());
    let mut arrivals = Arrivals::default();
    watch(api, watcher::Config::default())
        .default_backoff()
        .modify(strip)
        .reflect(writer)
        .filter_map(|event| std::future::ready(kept(event, "connections")))
        .flat_map(move |event| {
            secrets.follow(&event, &store);
            seen.moved();
            if matches!(event, Event::InitDone) {
                readiness.set();
            }
            stream::iter(arrivals.after(&event))
        })
}

/// The connections whose Secret is news to them. Only metadata is watched: values are read when they are needed.
fn secrets(api: Api<PartialObjectMeta<Secret>>, index: Arc<SecretIndex>) -> impl Stream<Item = ConnectionRef> + Send + 'static {
    watch(api, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| std::future::ready(kept(event, "Secrets")))
        .flat_map(move |event| stream::iter(index.after(&event)))
}

/// An event, or a line in the log; each watch starts again by itself, with a back-off of its own.
fn kept<K>(event: Result<Event<K>, watcher::Error>, what: &str) -> Option<Event<K>> {
    match event {
        Ok(event) => Some(event),
        Err(error) => {
            let failure = match &error {
                watcher::Error::InitialListFailed(error)
                | watcher::Error::WatchStartFailed(error)
                | watcher::Error::WatchFailed(error) => controller::kubernetes_failure(error),
                watcher::Error::WatchError(status) => format!("the API server answered {} {}", status.code, status.reason),
                watcher::Error::NoResourceVersion => "the API server's list has no version".to_owned(),
            };
            tracing::warn!(what, failure, "watch interrupted");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_errors_double_up_to_a_bound() {
        let waits: Vec<_> = [1, 2, 3, 8, 100, u32::MAX].map(|count| error_wait(count).as_secs()).to_vec();
        assert_eq!(waits, [1, 2, 4, 120, 120, 120]);
    }
}
