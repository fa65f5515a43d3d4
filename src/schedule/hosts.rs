//! What the connections of one host have in common: how many checks it sees at once and a second, a pause it asked for, and an
//! outage of its own. Pure: time is a parameter, as the uptime of [`crate::schedule::clock::Clock`], which is never stepped.
//!
//! **Contract.** Checks of a host are never closer together than their lane's spacing. There are two lanes: what somebody waits for
//! (a new connection, a changed Secret, a request) goes at the pace that is configured; the routine goes one and a half times as
//! fast as the intervals of the host's connections demand together, so that no second sees much more than the mean.
//! Nobody waits in memory: a check that is early is told for when its slot is, and comes again.
//!
//! **Fair shares.** Within a lane namespaces take turns: who comes first of its namespace goes before all that others have waiting but
//! their first. Of the checks at once, one namespace has at most three times as many as are free. Hosts that were tried and have never
//! answered, and those with an outage, share a pool of their own (`SILENT_MAX`), since each of their checks lasts until its timeout.
//!
//! **Pauses.** A host that limits requests limits an account first; the whole host is paused only when accounts of several namespaces
//! meet the limit. An outage is counted by namespaces, each by most of its connections: what one user writes is no outage of others.
//!
//! **Bound.** A few hundred bytes per connection; hosts without connections are forgotten.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::api::HostChange;
use crate::login_guard::Account;
use crate::schedule::work_queue::fair_share;

mod host;

use host::{FULL_RETRY, HOST_PAUSE_MAX, Host, LIMITED_MAX, SLOT_KEPT, Voice};

/// How fast a host may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Checks a second.
    pub rate: u32,
    /// Checks at once.
    pub concurrency: u32,
}

impl Default for Pace {
    /// A thousand new connections of one host have their verdicts within 20 s, which for the host is what one integration's sync does.
    fn default() -> Self {
        Self { rate: 50, concurrency: 16 }
    }
}

/// Why a check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Somebody waits for it.
    Urgent,
    /// Its time has come.
    Routine,
}

/// Who wants to ask a host.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The connection, or its candidate.
    pub uid: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// How often it comes.
    pub interval: Duration,
}

/// Whether a check may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Now; [`Hosts::left`] must follow.
    Now {
        /// Whether it has a place among those at hosts that do not answer.
        silent: bool,
    },
    /// After this time.
    After(Duration, Cause),
}

/// Why a check does not begin yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The host limits requests.
    Limited,
    /// Other checks of the host come first.
    Busy,
}

/// What a host may ask for; longer would hide for hours that it is well again.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);

/// Where a host limits requests and does not say for how long. The limit is known to be over about one minute.
pub const PAUSE_UNSAID: Duration = Duration::from_secs(60);

/// Checks at once at hosts that were tried and have never answered, or have an outage: a quarter of the default of all.
const SILENT_MAX: usize = 16;

/// After a full pool of those, one asks again; each lasts up to its timeout, 30 s by default.
const SILENT_RETRY: Duration = Duration::from_secs(5);

/// The hosts.
pub struct Hosts {
    pace: Pace,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    by_host: HashMap<String, Host>,
    by_connection: HashMap<String, Place>,
    /// Checks that run at hosts that do not answer, by namespace and in all.
    silent: HashMap<Arc<str>, usize>,
    silent_count: usize,
}

/// A connection.
struct Place {
    host: String,
    namespace: Arc<str>,
    interval: Duration,
    /// The slot it was given and has not come for, in the host's own time.
    slot: Option<(Lane, Duration)>,
    /// How its last check ended, and with which account.
    end: Option<End>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct End {
    failing: bool,
    account: Option<Account>,
}

impl Hosts {
    /// No hosts yet.
    pub fn new(pace: Pace) -> Self {
        Self { pace, all: Mutex::default() }
    }

    /// The host of a connection, if it has been here.
    pub fn of(&self, uid: &str) -> Option<String> {
        lock(&self.all).by_connection.get(uid).map(|place| place.host.clone())
    }

    /// Counts in a connection that will be checked, so that the pace is that of all from the beginning.
    pub fn expect(&self, visitor: Visitor<'_>, host: &str) {
        lock(&self.all).enter(visitor, host);
    }

    /// Whether this connection may be checked now.
    pub fn admit(&self, visitor: Visitor<'_>, host: &str, lane: Lane, now: Duration) -> Admission {
        let mut all = lock(&self.all);
        all.enter(visitor, host);
        all.by_host.retain(|_, host| host.connections > 0 || host.running > 0 || host.is_limited(now));
        let All { by_host, by_connection, silent, silent_count } = &mut *all;
        let (Some(host), Some(place)) = (by_host.get_mut(host), by_connection.get_mut(visitor.uid)) else {
            return Admission::Now { silent: false };
        };
        let namespace = place.namespace.clone();
        let spacing = host.spacing(lane, self.pace);
        let held = place.slot.take();
        if let Some((of, _)) = held {
            host.line(of).leave(&namespace);
        }
        // All that follows is in the host's own time, which stands still while it is paused: so turns stay as they are.
        let pause = host.paused_until.saturating_sub(now);
        let now = host.time(now);
        let held = held.filter(|(of, at)| *of == lane && *at + SLOT_KEPT > now).map(|(_, at)| at);
        let line = host.line(lane);
        let slot = match held {
            // Another came first: behind that.
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
            let free = (self.pace.concurrency.max(1) as usize).saturating_sub(host.running);
            let running = host.shares.get(&namespace).map_or(0, |share| share.running);
            let is_silent = host.voice == Voice::Silent || host.outage;
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
                // From its slot on, or what timers are late by would add up.
                let line = host.line(lane);
                line.free_at = line.free_at.max(slot) + spacing;
                return Admission::Now { silent: is_silent };
            }
        };
        let (slot, cause) = wait.unwrap_or((now, Cause::Busy));
        host.line(lane).enter(&namespace);
        place.slot = Some((lane, slot));
        Admission::After(slot.saturating_sub(now) + pause, cause)
    }

    /// A check that was admitted has ended.
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

    /// The host limits the requests of an account.
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

    /// How many accounts are limited by their hosts, and how many hosts are paused.
    pub fn limits(&self, now: Duration) -> (usize, usize) {
        let all = lock(&self.all);
        let accounts = all.by_host.values().flat_map(|host| host.limited.values()).filter(|(_, until)| *until > now);
        (accounts.count(), all.by_host.values().filter(|host| host.paused_until > now).count())
    }

    /// How long the host still limits the requests of an account, if it does.
    pub fn limited(&self, host: &str, account: Account, now: Duration) -> Option<Duration> {
        let all = lock(&self.all);
        let (_, until) = all.by_host.get(host)?.limited.get(&account)?;
        until.checked_sub(now).filter(|wait| !wait.is_zero())
    }

    /// Notes how a check ended, `None` where the host was not asked; gives what that says of the host as a whole, where it is news.
    pub fn ended(&self, uid: &str, failing: Option<bool>, account: Option<Account>) -> Option<HostChange> {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let place = by_connection.get_mut(uid)?;
        let host = by_host.get_mut(&place.host)?;
        let end = failing.map(|failing| End { failing, account });
        host.tell(&place.namespace, std::mem::replace(&mut place.end, end), end);
        host.voice = match (host.voice, failing) {
            (_, Some(false)) => Voice::Heard,
            (Voice::Unknown, Some(true)) => Voice::Silent,
            (voice, _) => voice,
        };
        host.change()
    }

    /// A connection is not checked any more, and witnesses nothing of its host. Its going is no news: an outage that stood by it ends
    /// without a word, and one that it hid begins with the next check of another.
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

    /// Whether most connections of a host fail.
    pub fn has_outage(&self, host: &str) -> bool {
        lock(&self.all).by_host.get(host).is_some_and(|host| host.outage)
    }

    /// How many hosts have an outage.
    pub fn outages(&self) -> usize {
        lock(&self.all).by_host.values().filter(|host| host.outage && host.connections > 0).count()
    }

    /// Forgets how checks ended: another operator has made others since.
    pub fn forget_ends(&self) {
        let mut all = lock(&self.all);
        all.by_connection.values_mut().for_each(|place| place.end = None);
        for host in all.by_host.values_mut() {
            (host.failing, host.known, host.outage, host.failing_unnamed) = (0, 0, false, 0);
            host.failing_accounts.clear();
            host.shares.values_mut().for_each(|share| (share.known, share.failing, share.fails) = (0, 0, false));
        }
    }

    /// A connection does not come for its slot: it needs its host no more, for now.
    pub fn give_up(&self, uid: &str) {
        let mut all = lock(&self.all);
        let All { by_host, by_connection, .. } = &mut *all;
        let Some(place) = by_connection.get_mut(uid) else { return };
        if let (Some((lane, _)), Some(host)) = (place.slot.take(), by_host.get_mut(&place.host)) {
            host.line(lane).leave(&place.namespace);
        }
    }

    /// Forgets a connection.
    pub fn forget(&self, uid: &str) {
        lock(&self.all).leave(uid);
    }
}

impl All {
    fn enter(&mut self, Visitor { uid, namespace, interval }: Visitor<'_>, host: &str) {
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
        if let Some((lane, _)) = place.slot {
            host.line(lane).leave(&place.namespace);
        }
        host.connections -= 1;
        host.demand = (host.demand - demand(place.interval)).max(0.0);
        if let Some(share) = host.shares.get_mut(&place.namespace) {
            share.connections -= 1;
        }
        host.tidy(&place.namespace);
        // Those that made an outage may have gone with it.
        host.change();
        // What is running will come to an end without it, and a pause holds for who comes next; then it is forgotten.
    }
}

fn demand(interval: Duration) -> f64 {
    1.0 / interval.as_secs_f64().max(1.0)
}

/// Every change above leaves the collections in step, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
