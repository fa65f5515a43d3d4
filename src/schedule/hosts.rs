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
pub struct Caller<'a> {
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
    /// The check may begin now; [`Hosts::left`] must follow.
    Now {
        /// Whether the check has a slot in the pool for hosts that do not answer.
        silent: bool,
    },
    /// The caller may come back after this time.
    After(Duration, Cause),
}

/// Why a check may not begin yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
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
    by_connection: HashMap<String, Place>,
    /// Running checks at hosts that do not answer, by namespace and in total.
    silent: HashMap<Arc<str>, usize>,
    silent_count: usize,
}

/// The state of a connection.
struct Place {
    host: String,
    namespace: Arc<str>,
    interval: Duration,
    /// The slot that is reserved for it and not used yet, in the host's own time.
    slot: Option<(Priority, Duration)>,
    /// The result of its last check, and the account of that check.
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
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
        lock(&self.all).by_connection.get(uid).map(|place| place.host.clone())
    }

    /// Registers a connection that will be checked, so that the routine rate is that of all connections from the beginning.
    pub fn register(&self, caller: Caller<'_>, host: &str) {
        lock(&self.all).enter(caller, host);
    }

    /// Decides whether this connection may be checked now.
    pub fn admit(&self, caller: Caller<'_>, host: &str, priority: Priority, now: Duration) -> Admission {
        let mut all = lock(&self.all);
        all.enter(caller, host);
        all.by_host.retain(|_, host| host.connections > 0 || host.running > 0 || host.is_limited(now));
        let All { by_host, by_connection, silent, silent_count } = &mut *all;
        let (Some(host), Some(place)) = (by_host.get_mut(host), by_connection.get_mut(caller.uid)) else {
            return Admission::Now { silent: false };
        };
        let namespace = place.namespace.clone();
        let spacing = host.spacing(priority, self.host_limits);
        let held = place.slot.take();
        if let Some((of, _)) = held {
            host.line(of).leave(&namespace);
        }
        // From here on, times are in the host's own time, which stops while the host is paused, so that slots keep their order.
        let pause = host.paused_until.saturating_sub(now);
        let now = host.time(now);
        let held = held.filter(|(of, at)| *of == priority && *at + SLOT_KEPT > now).map(|(_, at)| at);
        let line = host.line(priority);
        let slot = match held {
            // Another check has taken this slot, so this one comes after it.
            Some(at) if at <= now && line.free_at > now => {
                let free_at = line.free_at;
                host.again(&namespace, free_at, spacing)
            }
            Some(at) => at,
            None => line.slot(&namespace, spacing, now),
        };
        let wait = if slot > now || !pause.is_zero() {
            Some((slot, if pause.is_zero() { Cause::Busy } else { Cause::Limited }))
        } else {
            let free = (self.host_limits.concurrency.max(1) as usize).saturating_sub(host.running);
            let running = host.shares.get(&namespace).map_or(0, |share| share.running);
            let is_silent = host.voice == Reachability::Silent || host.outage;
            if !fair_share(running, free) {
                Some((host.again(&namespace, now + FULL_RETRY, spacing), Cause::Busy))
            } else if is_silent
                && !fair_share(silent.get(&namespace).copied().unwrap_or(0), SILENT_MAX.saturating_sub(*silent_count))
            {
                Some((host.again(&namespace, now + SILENT_RETRY, spacing), Cause::Busy))
            } else {
                if is_silent {
                    *silent.entry(namespace.clone()).or_default() += 1;
                    *silent_count += 1;
                }
                host.running += 1;
                host.shares.entry(namespace.clone()).or_default().running += 1;
                // Counts from the slot and not from now. Otherwise the lateness of timers would add up.
                let line = host.line(priority);
                line.free_at = line.free_at.max(slot) + spacing;
                return Admission::Now { silent: is_silent };
            }
        };
        let (slot, cause) = wait.unwrap_or((now, Cause::Busy));
        host.line(priority).enter(&namespace);
        place.slot = Some((priority, slot));
        Admission::After(slot.saturating_sub(now) + pause, cause)
    }

    /// Records that an admitted check has ended.
    pub fn left(&self, namespace: &str, host: &str, was_silent: bool) {
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
    pub fn ended(&self, uid: &str, failing: Option<bool>, account: Option<Account>) -> Option<HostChange> {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let place = by_connection.get_mut(uid)?;
        let host = by_host.get_mut(&place.host)?;
        let end = failing.map(|failing| End { failing, account });
        host.tell(&place.namespace, std::mem::replace(&mut place.end, end), end);
        host.voice = match (host.voice, failing) {
            (_, Some(false)) => Reachability::Heard,
            (Reachability::Unknown, Some(true)) => Reachability::Silent,
            (voice, _) => voice,
        };
        host.change()
    }

    /// Removes the result of a connection that is no longer checked. This reports no change: an outage that depended on the
    /// connection ends silently, and one that the connection hid begins with the next check of another.
    pub fn withdraw(&self, uid: &str) {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let Some(place) = by_connection.get_mut(uid) else { return };
        let Some(host) = by_host.get_mut(&place.host) else { return };
        host.tell(&place.namespace, place.end.take(), None);
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
    pub fn forget_ends(&self) {
        let mut all = lock(&self.all);
        all.by_connection.values_mut().for_each(|place| place.end = None);
        for host in all.by_host.values_mut() {
            (host.failing, host.known, host.outage, host.failing_unnamed) = (0, 0, false, 0);
            host.failing_accounts.clear();
            host.shares.values_mut().for_each(|share| (share.known, share.failing, share.fails) = (0, 0, false));
        }
    }

    /// Releases the slot of a connection that does not need its host for now.
    pub fn give_up(&self, uid: &str) {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let Some(place) = by_connection.get_mut(uid) else { return };
        if let (Some((priority, _)), Some(host)) = (place.slot.take(), by_host.get_mut(&place.host)) {
            host.line(priority).leave(&place.namespace);
        }
    }

    /// Forgets a connection.
    pub fn forget(&self, uid: &str) {
        lock(&self.all).leave(uid);
    }
}

impl All {
    fn enter(&mut self, Caller { uid, namespace, interval }: Caller<'_>, host: &str) {
        if let Some(place) = self.by_connection.get_mut(uid).filter(|place| place.host == host) {
            if let Some(host) = self.by_host.get_mut(host) {
                host.demand += demand(interval) - demand(place.interval);
            }
            place.interval = interval;
            return;
        }
        self.leave(uid);
        let entry = self.by_host.entry(host.to_owned()).or_default();
        entry.connections += 1;
        entry.demand += demand(interval);
        // One copy of a namespace's name for all its connections of a host.
        let namespace = entry.shares.get_key_value(namespace).map_or_else(|| namespace.into(), |(known, _)| known.clone());
        entry.shares.entry(namespace.clone()).or_default().connections += 1;
        let place = Place { host: host.to_owned(), namespace, interval, slot: None, end: None };
        self.by_connection.insert(uid.to_owned(), place);
    }

    fn leave(&mut self, uid: &str) {
        let Some(place) = self.by_connection.remove(uid) else { return };
        let Some(host) = self.by_host.get_mut(&place.host) else { return };
        host.tell(&place.namespace, place.end, None);
        if let Some((priority, _)) = place.slot {
            host.line(priority).leave(&place.namespace);
        }
        host.connections -= 1;
        host.demand = (host.demand - demand(place.interval)).max(0.0);
        if let Some(share) = host.shares.get_mut(&place.namespace) {
            share.connections -= 1;
        }
        host.tidy(&place.namespace);
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
