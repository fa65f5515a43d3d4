//! What the connections of one host share: its rate limit, concurrency, pauses after a 429, and outages.
//!
//! Pure: time is a parameter, as the uptime of [`crate::schedule::clock::Clock`], which is never stepped.
//!
//! **Contract.** Checks of a host are never closer together than the spacing of their priority. There are two priorities. Urgent
//! checks, which somebody waits for (a new connection, a changed Secret, a request), begin at the configured rate. Routine checks
//! begin one and a half times as fast as the intervals of the host's connections demand together, so that no second has many more
//! checks than the mean. No check waits in memory: a check that is early gets the time of its slot, and its caller comes back
//! then.
//!
//! **Fair shares.** Within a priority, namespaces alternate: the first waiting check of a namespace goes before all waiting checks
//! of the others except the first of each. A namespace has at most three times as many concurrent checks as are still free.
//! Hosts that were tried and have never answered, and hosts with an outage, share a separate pool (`SILENT_MAX`), because each of
//! their checks lasts until its timeout.
//!
//! **Pauses.** A host that limits requests limits an account first. The whole host is paused only if accounts of several
//! namespaces meet the limit, or several accounts of the only namespace. For an outage, failing namespaces are counted, and a
//! namespace fails if most of its connections fail. So one user's mistakes are no outage for others.
//!
//! **Bound.** A few hundred bytes for each connection. Hosts without connections are forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::HostChange;
use crate::login_guard::Account;
use crate::schedule::work_queue::fair_share;

mod host;

use host::{FULL_RETRY, HOST_PAUSE_MAX, Host, LIMITED_MAX, Reachability, SLOT_KEPT};

/// The limits of the checks of one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Checks per second.
    pub rate: u32,
    /// Concurrent checks.
    pub concurrency: u32,
}

impl Default for HostLimits {
    /// With these limits, a thousand new connections of one host have their verdicts within 20 s. For the host, that is the load
    /// of one integration's sync.
    fn default() -> Self {
        Self { rate: 50, concurrency: 16 }
    }
}

/// The priority of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    /// Somebody waits for the check.
    Urgent,
    /// The check is due as scheduled.
    Routine,
}

/// The connection that is to be checked at a host.
#[derive(Debug, Clone, Copy)]
pub struct CheckRequest<'a> {
    /// The identifier of the connection, or of its candidate.
    pub uid: &'a str,
    /// The namespace of the connection.
    pub namespace: &'a str,
    /// The interval of the connection's checks.
    pub interval: Duration,
}

/// Whether a check may begin, or when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// The check may begin now; [`Hosts::release`] must follow.
    Now {
        /// Whether the check has a slot in the pool for hosts that do not answer.
        silent: bool,
    },
    /// The caller may come back after this time.
    After(Duration, WaitReason),
}

/// Why a check may not begin yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitReason {
    /// The host limits requests, and is paused.
    Limited,
    /// Other checks of the host come first.
    Busy,
}

/// The longest pause that a host may ask for. A longer one would hide for hours that the host has recovered.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// The pause if a host limits requests and does not say for how long. The limit is known to cover about one minute.
pub const PAUSE_UNSAID: Duration = Duration::from_secs(60);

/// The maximum number of concurrent checks at hosts that were tried and have never answered, or have an outage: a quarter of the
/// default of all.
const SILENT_MAX: usize = 16;

/// How long a check waits if the pool for hosts that do not answer is full. Each check in it lasts up to its timeout, 30 s by
/// default.
const SILENT_RETRY: Duration = Duration::from_secs(5);

/// The state of all hosts.
pub struct Hosts {
    host_limits: HostLimits,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    by_host: HashMap<String, Host>,
    by_connection: HashMap<String, ConnectionEntry>,
    /// Running checks at hosts that do not answer, by namespace and in total.
    silent: HashMap<Arc<str>, usize>,
    silent_count: usize,
}

/// The state of a connection.
struct ConnectionEntry {
    host: String,
    namespace: Arc<str>,
    interval: Duration,
    /// The slot that is reserved for it and not used yet, in the host's own time.
    slot: Option<(Priority, Duration)>,
    /// The result of its last check, and the account of that check.
    last_result: Option<LastResult>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct LastResult {
    failing: bool,
    account: Option<Account>,
}

impl Hosts {
    /// Creates the state, without hosts.
    pub fn new(host_limits: HostLimits) -> Self {
        Self { host_limits, all: Mutex::default() }
    }

    /// Returns the host of a connection, if the connection is registered.
    pub fn of(&self, uid: &str) -> Option<String> {
        lock(&self.all).by_connection.get(uid).map(|entry| entry.host.clone())
    }

    /// Registers a connection that will be checked, so that the routine rate is that of all connections from the beginning.
    pub fn register(&self, request: CheckRequest<'_>, host: &str) {
        lock(&self.all).enter(request, host);
    }

    /// Decides whether this connection may be checked now.
    pub fn admit(&self, request: CheckRequest<'_>, host: &str, priority: Priority, now: Duration) -> Admission {
        let mut all = lock(&self.all);
        all.enter(request, host);
        all.by_host.retain(|_, host| host.connections > 0 || host.running > 0 || host.is_limited(now));
        let All { by_host, by_connection, silent, silent_count } = &mut *all;
        let (Some(host), Some(entry)) = (by_host.get_mut(host), by_connection.get_mut(request.uid)) else {
            return Admission::Now { silent: false };
        };
        let namespace = entry.namespace.clone();
        let spacing = host.spacing(priority, self.host_limits);
        let held = entry.slot.take();
        if let Some((of, _)) = held {
            host.slot_queue(of).leave(&namespace);
        }
        // From here on, times are in the host's own time, which stops while the host is paused, so that slots keep their order.
        let pause = host.paused_until.saturating_sub(now);
        let now = host.time(now);
        let held = held.filter(|(of, at)| *of == priority && *at + SLOT_KEPT > now).map(|(_, at)| at);
        let queue = host.slot_queue(priority);
        let slot = match held {
            // Another check has taken this slot, so this one comes after it.
            Some(at) if at <= now && queue.free_at > now => {
                let free_at = queue.free_at;
                host.retry_slot(&namespace, free_at, spacing)
            }
            Some(at) => at,
            None => queue.slot(&namespace, spacing, now),
        };
        let wait = if slot > now || !pause.is_zero() {
            Some((slot, if pause.is_zero() { WaitReason::Busy } else { WaitReason::Limited }))
        } else {
            let free = (self.host_limits.concurrency.max(1) as usize).saturating_sub(host.running);
            let running = host.shares.get(&namespace).map_or(0, |share| share.running);
            let is_silent = host.reachability == Reachability::Silent || host.outage;
            if !fair_share(running, free) {
                Some((host.retry_slot(&namespace, now + FULL_RETRY, spacing), WaitReason::Busy))
            } else if is_silent
                && !fair_share(silent.get(&namespace).copied().unwrap_or(0), SILENT_MAX.saturating_sub(*silent_count))
            {
                Some((host.retry_slot(&namespace, now + SILENT_RETRY, spacing), WaitReason::Busy))
            } else {
                if is_silent {
                    *silent.entry(namespace.clone()).or_default() += 1;
                    *silent_count += 1;
                }
                host.running += 1;
                host.shares.entry(namespace.clone()).or_default().running += 1;
                // Counts from the slot and not from now. Otherwise the lateness of timers would add up.
                let queue = host.slot_queue(priority);
                queue.free_at = queue.free_at.max(slot) + spacing;
                return Admission::Now { silent: is_silent };
            }
        };
        let (slot, reason) = wait.unwrap_or((now, WaitReason::Busy));
        host.slot_queue(priority).enter(&namespace);
        entry.slot = Some((priority, slot));
        Admission::After(slot.saturating_sub(now) + pause, reason)
    }

    /// Records that an admitted check has ended.
    pub fn release(&self, namespace: &str, host: &str, was_silent: bool) {
        let mut all = lock(&self.all);
        if was_silent {
            all.silent_count = all.silent_count.saturating_sub(1);
            let count = all.silent.get_mut(namespace).map(|count| {
                *count -= 1;
                *count
            });
            if count == Some(0) {
                all.silent.remove(namespace);
            }
        }
        let Some(host) = all.by_host.get_mut(host) else { return };
        host.running = host.running.saturating_sub(1);
        if let Some(share) = host.shares.get_mut(namespace) {
            share.running = share.running.saturating_sub(1);
        }
        host.tidy(namespace);
    }

    /// Records that the host limits the requests of an account.
    pub fn limit(&self, host: &str, namespace: &str, account: Account, asked: Option<Duration>, now: Duration) {
        let mut all = lock(&self.all);
        let Some(host) = all.by_host.get_mut(host) else { return };
        host.limited.retain(|_, (_, until)| *until > now);
        if host.limited.len() >= LIMITED_MAX && !host.limited.contains_key(&account) {
            host.forget_a_limit();
        }
        let until = now + asked.unwrap_or(PAUSE_UNSAID).min(PAUSE_MAX);
        let limit = host.limited.entry(account).or_insert_with(|| (namespace.into(), until));
        limit.1 = limit.1.max(until);
        let namespaces: std::collections::HashSet<_> = host.limited.values().map(|(namespace, _)| namespace).collect();
        let is_everybodys = namespaces.len() > 1 || host.shares.len() < 2;
        if host.limited.len() > 1 && is_everybodys {
            let first = host.limited.values().map(|(_, until)| *until).min().unwrap_or(now);
            host.pause(first.min(now + HOST_PAUSE_MAX), now);
        }
    }

    /// Returns how many accounts are limited by their hosts, and how many hosts are paused.
    pub fn limits(&self, now: Duration) -> (usize, usize) {
        let all = lock(&self.all);
        let accounts = all.by_host.values().flat_map(|host| host.limited.values()).filter(|(_, until)| *until > now);
        (accounts.count(), all.by_host.values().filter(|host| host.paused_until > now).count())
    }

    /// Returns how long the host still limits the requests of an account, if it does.
    pub fn limited(&self, host: &str, account: Account, now: Duration) -> Option<Duration> {
        let all = lock(&self.all);
        let (_, until) = all.by_host.get(host)?.limited.get(&account)?;
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// Records the result of a check; `failing` is `None` if the host was not asked. Returns the change of the host as a whole, if
    /// there is one.
    pub fn record_result(&self, uid: &str, failing: Option<bool>, account: Option<Account>) -> Option<HostChange> {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let entry = by_connection.get_mut(uid)?;
        let host = by_host.get_mut(&entry.host)?;
        let result = failing.map(|failing| LastResult { failing, account });
        host.record_result(&entry.namespace, std::mem::replace(&mut entry.last_result, result), result);
        host.reachability = match (host.reachability, failing) {
            (_, Some(false)) => Reachability::Heard,
            (Reachability::Unknown, Some(true)) => Reachability::Silent,
            (reachability, _) => reachability,
        };
        host.change()
    }

    /// Removes the result of a connection that is no longer checked. This reports no change: an outage that depended on the
    /// connection ends silently, and one that the connection hid begins with the next check of another.
    pub fn withdraw(&self, uid: &str) {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let Some(entry) = by_connection.get_mut(uid) else { return };
        let Some(host) = by_host.get_mut(&entry.host) else { return };
        host.record_result(&entry.namespace, entry.last_result.take(), None);
        if host.outage {
            host.change();
        }
    }

    /// Returns true if the host has an outage.
    pub fn has_outage(&self, host: &str) -> bool {
        lock(&self.all).by_host.get(host).is_some_and(|host| host.outage)
    }

    /// Returns how many hosts have an outage.
    pub fn outages(&self) -> usize {
        lock(&self.all).by_host.values().filter(|host| host.outage && host.connections > 0).count()
    }

    /// Forgets the results of checks, because another operator has made other checks since.
    pub fn forget_results(&self) {
        let mut all = lock(&self.all);
        all.by_connection.values_mut().for_each(|entry| entry.last_result = None);
        for host in all.by_host.values_mut() {
            (host.failing, host.known, host.outage, host.failing_unnamed) = (0, 0, false, 0);
            host.failing_accounts.clear();
            host.shares.values_mut().for_each(|share| (share.known, share.failing, share.fails) = (0, 0, false));
        }
    }

    /// Releases the slot of a connection that does not need its host for now.
    pub fn release_slot(&self, uid: &str) {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let Some(entry) = by_connection.get_mut(uid) else { return };
        if let (Some((priority, _)), Some(host)) = (entry.slot.take(), by_host.get_mut(&entry.host)) {
            host.slot_queue(priority).leave(&entry.namespace);
        }
    }

    /// Forgets a connection.
    pub fn forget(&self, uid: &str) {
        lock(&self.all).leave(uid);
    }
}

impl All {
    fn enter(&mut self, CheckRequest { uid, namespace, interval }: CheckRequest<'_>, host: &str) {
        if let Some(entry) = self.by_connection.get_mut(uid).filter(|entry| entry.host == host) {
            if let Some(host) = self.by_host.get_mut(host) {
                host.demand += demand(interval) - demand(entry.interval);
            }
            entry.interval = interval;
            return;
        }
        self.leave(uid);
        let host_state = self.by_host.entry(host.to_owned()).or_default();
        host_state.connections += 1;
        host_state.demand += demand(interval);
        // One copy of a namespace's name for all its connections of a host.
        let namespace = host_state.shares.get_key_value(namespace).map_or_else(|| namespace.into(), |(known, _)| known.clone());
        host_state.shares.entry(namespace.clone()).or_default().connections += 1;
        let entry = ConnectionEntry { host: host.to_owned(), namespace, interval, slot: None, last_result: None };
        self.by_connection.insert(uid.to_owned(), entry);
    }

    fn leave(&mut self, uid: &str) {
        let Some(entry) = self.by_connection.remove(uid) else { return };
        let Some(host) = self.by_host.get_mut(&entry.host) else { return };
        host.record_result(&entry.namespace, entry.last_result, None);
        if let Some((priority, _)) = entry.slot {
            host.slot_queue(priority).leave(&entry.namespace);
        }
        host.connections -= 1;
        host.demand = (host.demand - demand(entry.interval)).max(0.0);
        if let Some(share) = host.shares.get_mut(&entry.namespace) {
            share.connections -= 1;
        }
        host.tidy(&entry.namespace);
        // An outage may end because the connection is gone.
        host.change();
        // The host is kept while checks run, and while a pause applies to the next connection. `admit` forgets it later.
    }
}

fn demand(interval: Duration) -> f64 {
    1.0 / interval.as_secs_f64().max(1.0)
}

/// Locks a mutex. Every change above leaves the collections consistent, so a poisoned mutex holds valid data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
