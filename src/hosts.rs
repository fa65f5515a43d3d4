//! What the connections of one host have in common: how many checks it sees at once and a second, a pause it asked for, and an
//! outage of its own. Pure: time is a parameter, as the uptime of [`crate::clock::Clock`], which is never stepped.
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

use crate::ledger::Account;
use crate::queue::fair_share;

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

/// A change in how a host fares as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Most connections of the host fail.
    Outage {
        /// So many of them.
        failing: usize,
        /// Of so many whose last check is known.
        known: usize,
    },
    /// Most do not any more.
    Recovery,
}

/// The routine goes so much faster than the intervals demand, or it would never catch up.
const HEADROOM: f64 = 1.5;
/// Checks a second that are smoothed out no further: few connections are no load.
const ROUTINE_MIN: f64 = 0.2;
/// What a host may ask for; longer would hide for hours that it is well again.
pub const PAUSE_MAX: Duration = Duration::from_secs(3600);
/// Where a host limits requests and does not say for how long. The limit is known to be over about one minute.
pub const PAUSE_UNSAID: Duration = Duration::from_secs(60);
/// The longest pause of a whole host: its accounts have limits of their own, and those who have met none must not wait for theirs.
const HOST_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Accounts whose limits are remembered of one host; beyond, those of the namespace that has most are forgotten.
const LIMITED_MAX: usize = 1024;
/// After a full host, one asks again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// Checks at once at hosts that were tried and have never answered, or have an outage: a quarter of the default of all.
const SILENT_MAX: usize = 16;
/// After a full pool of those, one asks again; each lasts up to its timeout, 30 s by default.
const SILENT_RETRY: Duration = Duration::from_secs(5);
/// Fewer accounts than these do not make an outage of the host, nor fewer connections where the account is not known.
const OUTAGE_OF: usize = 3;
/// While a host has an outage, each of its connections is tried once in so long.
const OUTAGE_ROUND: Duration = Duration::from_secs(600);
/// A reserved slot that nobody came for is given up after so long.
const SLOT_KEPT: Duration = Duration::from_secs(600);

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

#[derive(Default)]
struct Host {
    connections: usize,
    /// Checks a second that the intervals demand.
    demand: f64,
    running: usize,
    urgent: Line,
    routine: Line,
    shares: HashMap<Arc<str>, Share>,
    /// Namespaces whose connections' ends are known, and those of which most fail.
    known: usize,
    failing: usize,
    /// The accounts that fail, and how many connections of each.
    failing_accounts: HashMap<Account, usize>,
    /// Connections that fail with an account that is not known.
    failing_unnamed: usize,
    /// The accounts whose requests the host limits, each with the namespace that met it, and until when.
    limited: HashMap<Account, (Arc<str>, Duration)>,
    /// The present pause, or the last.
    paused_from: Duration,
    paused_until: Duration,
    /// How long the pauses before it were.
    paused_before: Duration,
    voice: Voice,
    outage: bool,
}

/// What was heard of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Voice {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It was asked and has never answered.
    Silent,
    /// It has answered.
    Heard,
}

/// A lane of a host.
#[derive(Default)]
struct Line {
    /// When the next check may begin, in the host's own time.
    free_at: Duration,
    /// How many have a slot, by namespace.
    waiting: HashMap<Arc<str>, usize>,
}

impl Line {
    /// The slot of a further one of this namespace: behind those of its own, and as many of each other.
    fn slot(&mut self, namespace: &Arc<str>, spacing: Duration, now: Duration) -> Duration {
        let own = self.waiting.get(namespace).copied().unwrap_or(0);
        let others = self.waiting.iter().filter(|(other, _)| *other != namespace);
        let before: usize = own + others.map(|(_, waiting)| (*waiting).min(own + 1)).sum::<usize>();
        self.free_at.max(now) + spacing * u32::try_from(before).unwrap_or(u32::MAX)
    }

    fn enter(&mut self, namespace: &Arc<str>) {
        *self.waiting.entry(namespace.clone()).or_default() += 1;
    }

    fn leave(&mut self, namespace: &Arc<str>) {
        if let Some(waiting) = self.waiting.get_mut(namespace) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(namespace);
            }
        }
    }
}

/// What a namespace has of a host.
#[derive(Default)]
struct Share {
    connections: usize,
    running: usize,
    /// When the next of its own that has found its slot taken may come.
    again_at: Duration,
    /// Its connections whose last end is known, and those that fail.
    known: usize,
    failing: usize,
    /// Whether most fail.
    fails: bool,
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
    pub fn ended(&self, uid: &str, failing: Option<bool>, account: Option<Account>) -> Option<Change> {
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

impl Host {
    fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Routine => &mut self.routine,
        }
    }

    fn spacing(&self, lane: Lane, pace: Pace) -> Duration {
        match lane {
            Lane::Urgent => Duration::from_secs(1) / pace.rate.max(1),
            Lane::Routine => {
                // The end of an outage is to be seen soon, however long the intervals.
                let retries = if self.outage { self.connections as f64 / OUTAGE_ROUND.as_secs_f64() } else { 0.0 };
                let rate = (self.demand.max(retries) * HEADROOM).clamp(ROUTINE_MIN, f64::from(pace.rate.max(1)));
                Duration::from_secs_f64(1.0 / rate)
            }
        }
    }

    fn pause(&mut self, until: Duration, now: Duration) {
        if self.paused_until <= now {
            self.paused_before += self.paused_until - self.paused_from;
            (self.paused_from, self.paused_until) = (now, now);
        }
        self.paused_until = self.paused_until.max(until);
    }

    /// The time without pauses.
    fn time(&self, now: Duration) -> Duration {
        let paused = self.paused_before + self.paused_until.min(now).saturating_sub(self.paused_from);
        now.saturating_sub(paused)
    }

    /// The slot of one of a namespace that has found its own taken: those of the namespace come one after another from this time on.
    fn again(&mut self, namespace: &Arc<str>, from: Duration, spacing: Duration) -> Duration {
        let share = self.shares.entry(namespace.clone()).or_default();
        let slot = share.again_at.max(from);
        share.again_at = slot + spacing;
        slot
    }

    /// Forgets the limit that ends first, of the namespace that has most of them.
    fn forget_a_limit(&mut self) {
        let mut counts = HashMap::<Arc<str>, usize>::new();
        for (namespace, _) in self.limited.values() {
            *counts.entry(namespace.clone()).or_default() += 1;
        }
        let Some((most, _)) = counts.into_iter().max_by_key(|(_, count)| *count) else { return };
        let of_it = self.limited.iter().filter(|(_, (namespace, _))| *namespace == most);
        if let Some(first) = of_it.min_by_key(|(_, (_, until))| *until).map(|(account, _)| *account) {
            self.limited.remove(&first);
        }
    }

    fn is_limited(&self, now: Duration) -> bool {
        self.paused_until > now || self.limited.values().any(|(_, until)| *until > now)
    }

    /// Forgets a namespace that has nothing here any more.
    fn tidy(&mut self, namespace: &str) {
        if self.shares.get(namespace).is_some_and(|share| share.connections == 0 && share.running == 0) {
            self.shares.remove(namespace);
        }
    }

    fn tell(&mut self, namespace: &str, before: Option<End>, after: Option<End>) {
        for (end, comes) in [(before, false), (after, true)] {
            let Some(End { failing: true, account }) = end else { continue };
            match account {
                None if comes => self.failing_unnamed += 1,
                None => self.failing_unnamed -= 1,
                Some(account) if comes => *self.failing_accounts.entry(account).or_default() += 1,
                Some(account) => {
                    if let Some(count) = self.failing_accounts.get_mut(&account) {
                        *count -= 1;
                        if *count == 0 {
                            self.failing_accounts.remove(&account);
                        }
                    }
                }
            }
        }
        let Some(share) = self.shares.get_mut(namespace) else { return };
        let of = |end: Option<End>| (usize::from(end.is_some()), usize::from(end.is_some_and(|end| end.failing)));
        let ((known, failing), (known_now, failing_now)) = (of(before), of(after));
        let was = (usize::from(share.known > 0), usize::from(share.fails));
        share.known = share.known + known_now - known;
        share.failing = share.failing + failing_now - failing;
        share.fails = if share.fails { share.failing * 4 >= share.known.max(1) } else { share.failing * 2 > share.known };
        self.known = self.known + usize::from(share.known > 0) - was.0;
        self.failing = self.failing + usize::from(share.fails) - was.1;
    }

    /// Begins when of more than half of the namespaces most fail, and ends when it is less than a quarter, so that it does not flicker
    /// in between; one namespace alone makes none beside another that is known to be well.
    fn change(&mut self) -> Option<Change> {
        let several = self.failing_accounts.len() + self.failing_unnamed >= OUTAGE_OF;
        let is_everybodys = self.failing > 1 || self.known < 2;
        if !self.outage && several && is_everybodys && self.failing * 2 > self.known {
            self.outage = true;
            let count = |of: fn(&Share) -> usize| self.shares.values().map(of).sum();
            return Some(Change::Outage { failing: count(|share| share.failing), known: count(|share| share.known) });
        }
        if self.outage && (!is_everybodys || self.failing * 4 < self.known.max(1)) {
            self.outage = false;
            // That nobody is known to fail is not that anybody is well.
            return (self.known > 0).then_some(Change::Recovery);
        }
        None
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
