//! Takes a slot at a host for a check, and passes rate limits and outages on to `schedule::hosts`.

use std::time::Duration;

use kube::ResourceExt;

use super::decide::Observation;
use crate::api::{UkgProConnection, verdict};
use crate::cluster::watch::ConnectionRef;
use crate::controller::context::Context;
use crate::controller::{publish, resolve, uid};
use crate::login_guard::Account;
use crate::schedule::hosts::{Admission, CheckRequest, Hosts, Priority, WaitReason};

/// Registers a connection whose check was postponed, so that the host's rate limit counts it.
pub fn register_with_host(connection: &UkgProConnection, context: &Context) {
    let told = connection.status.as_ref().and_then(|status| status.endpoint.clone());
    if let Some(host) = resolve::host(&connection.spec).or(told) {
        let (uid, namespace) = (uid(connection), connection.namespace().unwrap_or_default());
        let request = CheckRequest { uid: &uid, namespace: &namespace, interval: connection.spec.interval() };
        context.hosts.register(request, &host);
    }
}

/// Returns `Urgent` if a user waits for the result: the connection is new, changed, requested or failing. During an outage of its
/// host a failing connection is routine: the few other checks show when the outage is over.
pub(super) fn priority(connection: &UkgProConnection, context: &Context) -> Priority {
    let outage = || context.hosts.of(&uid(connection)).is_some_and(|host| context.hosts.has_outage(&host));
    let woken = context.wakeups.is_woken(&ConnectionRef::of(connection));
    if woken || !verdict::is_settled(connection) || (verdict::is_failing(connection) && !outage()) {
        Priority::Urgent
    } else {
        Priority::Routine
    }
}

/// How long to wait, and why.
pub(super) struct Wait(pub(super) Duration, pub(super) WaitReason);

/// A running check's slot at a host, released on drop.
pub(super) struct HostSlot<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) host: String,
    pub(super) namespace: String,
    pub(super) silent: bool,
}

impl<'a> HostSlot<'a> {
    pub(super) fn begin(
        context: &'a Context,
        connection: &UkgProConnection,
        slot_uid: &str,
        host: String,
        priority: Priority,
    ) -> Result<Self, Wait> {
        let Context { hosts, clock, .. } = context;
        let namespace = connection.namespace().unwrap_or_default();
        let request = CheckRequest { uid: slot_uid, namespace: &namespace, interval: connection.spec.interval() };
        match hosts.admit(request, &host, priority, clock.uptime()) {
            Admission::Now { silent } => Ok(Self { hosts, host, namespace, silent }),
            Admission::After(wait, reason) => Err(Wait(wait, reason)),
        }
    }
}

impl Drop for HostSlot<'_> {
    fn drop(&mut self) {
        self.hosts.release(&self.namespace, &self.host, self.silent);
    }
}

/// Reports the result of a check to the host, and signals an outage or a recovery.
pub(super) async fn report_to_host(
    connection: &UkgProConnection,
    observation: &Observation,
    account: Option<Account>,
    own_trust: bool,
    context: &Context,
) {
    if let Some(account) = account {
        limit(connection, observation, account, context);
    }
    let uid = uid(connection);
    let before = context.hosts.of(&uid);
    // A TLS failure under the connection's own CA bundle is no fault of the host, and a rate limit concerns the account.
    let own_trouble = (own_trust && observation.is_about_trust()) || observation.rate_limited().is_some();
    let failing = observation.is_unanswered().filter(|_| !own_trouble);
    let host = observation.resolved().map(|resolved| resolved.endpoint.clone());
    if let (Some(change), Some(host)) = (context.hosts.record_result(&uid, failing, account), host.or(before)) {
        publish::report_host_change(&host, change, context).await;
    }
}

/// Records that a host rate limits an account, if the observation shows it.
pub(super) fn limit(connection: &UkgProConnection, observation: &Observation, account: Account, context: &Context) {
    if let (Some(asked), Some(resolved)) = (observation.rate_limited(), observation.resolved()) {
        let namespace = connection.namespace().unwrap_or_default();
        let (host, name) = (&resolved.endpoint, connection.name_any());
        let asked_seconds = asked.map(|asked| asked.as_secs());
        tracing::info!(namespace, name, host, asked_seconds, "the host limits requests; this account's checks wait");
        context.hosts.limit(host, &namespace, account, asked, context.clock.uptime());
    }
}
