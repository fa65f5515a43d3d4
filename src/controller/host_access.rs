//! A place at a host for one check, and what the host is said to have answered.

use std::time::Duration;

use kube::ResourceExt;

use super::decide::Observation;
use crate::api::{UkgProConnection, verdict};
use crate::cluster::watch::ConnectionRef;
use crate::controller::context::Context;
use crate::controller::{publish, resolve, uid};
use crate::login_guard::Account;
use crate::schedule::hosts::{Admission, Cause, Hosts, Lane, Visitor};

/// Counts in a connection whose check was put off.
pub fn expect(connection: &UkgProConnection, context: &Context) {
    let told = connection.status.as_ref().and_then(|status| status.endpoint.clone());
    if let Some(host) = resolve::host(&connection.spec).or(told) {
        let (uid, namespace) = (uid(connection), connection.namespace().unwrap_or_default());
        let visitor = Visitor { uid: &uid, namespace: &namespace, interval: connection.spec.interval() };
        context.hosts.expect(visitor, &host);
    }
}

/// Somebody waits for a connection that is new, was changed or was asked for, and for one that is to recover; unless its host has an
/// outage, which the few others will show to be over.
pub(super) fn lane(connection: &UkgProConnection, context: &Context) -> Lane {
    let outage = || context.hosts.of(&uid(connection)).is_some_and(|host| context.hosts.has_outage(&host));
    let woken = context.agenda.is_woken(&ConnectionRef::of(connection));
    if woken || !verdict::is_settled(connection) || (verdict::is_failing(connection) && !outage()) {
        Lane::Urgent
    } else {
        Lane::Routine
    }
}

/// How long to wait, and why.
pub(super) struct Wait(pub(super) Duration, pub(super) Cause);

/// A check at a host, counted until it is dropped.
pub(super) struct Visit<'a> {
    pub(super) hosts: &'a Hosts,
    pub(super) host: String,
    pub(super) namespace: String,
    pub(super) silent: bool,
}

impl<'a> Visit<'a> {
    pub(super) fn begin(
        context: &'a Context,
        connection: &UkgProConnection,
        place: &str,
        host: String,
        lane: Lane,
    ) -> Result<Self, Wait> {
        let Context { hosts, clock, .. } = context;
        let namespace = connection.namespace().unwrap_or_default();
        let visitor = Visitor { uid: place, namespace: &namespace, interval: connection.spec.interval() };
        match hosts.admit(visitor, &host, lane, clock.uptime()) {
            Admission::Now { silent } => Ok(Self { hosts, host, namespace, silent }),
            Admission::After(wait, cause) => Err(Wait(wait, cause)),
        }
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.hosts.left(&self.namespace, &self.host, self.silent);
    }
}

/// Tells the other connections of a host what this one has met.
pub(super) async fn tell_host(
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
    // What one connection's own authorities make of a certificate is no trouble of the host, and a limit of requests is an account's.
    let own_trouble = (own_trust && observation.is_about_trust()) || observation.rate_limited().is_some();
    let failing = observation.is_unanswered().filter(|_| !own_trouble);
    let host = observation.resolved().map(|resolved| resolved.endpoint.clone());
    if let (Some(change), Some(host)) = (context.hosts.ended(&uid, failing, account), host.or(before)) {
        publish::signal(&host, change, context).await;
    }
}

/// Notes that a host limits the requests of an account.
pub(super) fn limit(connection: &UkgProConnection, observation: &Observation, account: Account, context: &Context) {
    if let (Some(asked), Some(resolved)) = (observation.rate_limited(), observation.resolved()) {
        let namespace = connection.namespace().unwrap_or_default();
        let (host, name) = (&resolved.endpoint, connection.name_any());
        let asked_seconds = asked.map(|asked| asked.as_secs());
        tracing::info!(namespace, name, host, asked_seconds, "the host limits requests; this account's checks wait");
        context.hosts.limit(host, &namespace, account, asked, context.clock.uptime());
    }
}
