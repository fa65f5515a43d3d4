//! What the connections of one host have in common: how many checks it sees at once and a second, a pause it asked for, and an
//! outage of its own. Pure: time is a parameter, as the uptime of [`crate::clock::Clock`], which is never stepped.
//!
//! **Contract.** Checks of a host are never closer together than their lane's spacing. There are two lanes: what somebody waits for
//! (a new connection, a changed Secret, a request) goes at the pace that is configured; the routine goes one and a half times as
//! fast as the intervals of the host's connections demand together, so that no second sees much more than the mean.
//! Nobody waits in memory: a check that is early is told for when its slot is, and keeps it.
//!
//! **Bound.** A few hundred bytes per connection; hosts without connections are forgotten.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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

/// Whether a check may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Now; [`Hosts::left`] must follow.
    Now,
    /// After this time.
    After(Duration),
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
/// After a full house, one asks again.
const FULL_RETRY: Duration = Duration::from_secs(1);
/// Fewer connections than these do not make an outage of the host.
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
}

/// A connection.
struct Place {
    host: String,
    interval: Duration,
    /// The slot it was given and has not come for.
    slot: Option<(Lane, Duration)>,
    /// How its last check ended.
    failing: Option<bool>,
}

#[derive(Default)]
struct Host {
    connections: usize,
    failing: usize,
    known: usize,
    /// Checks a second that the intervals demand.
    demand: f64,
    running: u32,
    next_urgent: Duration,
    next_routine: Duration,
    paused_until: Duration,
    outage: bool,
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
    pub fn expect(&self, uid: &str, host: &str, interval: Duration) {
        lock(&self.all).enter(uid, host, interval);
    }

    /// Whether this connection may be checked now.
    pub fn admit(&self, uid: &str, host: &str, interval: Duration, lane: Lane, now: Duration) -> Admission {
        let mut all = lock(&self.all);
        all.enter(uid, host, interval);
        all.by_host.retain(|_, host| host.connections > 0 || host.running > 0 || host.paused_until > now);
        let All { by_host, by_connection } = &mut *all;
        let (Some(host), Some(place)) = (by_host.get_mut(host), by_connection.get_mut(uid)) else { return Admission::Now };
        let spacing = match lane {
            Lane::Urgent => Duration::from_secs(1) / self.pace.rate.max(1),
            Lane::Routine => {
                // The end of an outage is to be seen soon, however long the intervals.
                let retries = if host.outage { host.connections as f64 / OUTAGE_ROUND.as_secs_f64() } else { 0.0 };
                let rate = (host.demand.max(retries) * HEADROOM).clamp(ROUTINE_MIN, f64::from(self.pace.rate.max(1)));
                Duration::from_secs_f64(1.0 / rate)
            }
        };
        let given = place.slot.take().filter(|(for_lane, at)| *for_lane == lane && *at + SLOT_KEPT > now);
        let next = match lane {
            Lane::Urgent => &mut host.next_urgent,
            Lane::Routine => &mut host.next_routine,
        };
        let slot = given.map_or_else(
            || {
                let slot = (*next).max(now);
                *next = slot + spacing;
                slot
            },
            |(_, slot)| slot,
        );
        if slot < host.paused_until {
            // In line again behind the pause, in the order they come.
            let slot = (*next).max(host.paused_until);
            *next = slot + spacing;
            place.slot = Some((lane, slot));
            return Admission::After(slot.saturating_sub(now));
        }
        if slot > now {
            place.slot = Some((lane, slot));
            return Admission::After(slot - now);
        }
        if host.running >= self.pace.concurrency.max(1) {
            let slot = (*next).max(now + FULL_RETRY);
            *next = slot + spacing;
            place.slot = Some((lane, slot));
            return Admission::After(slot - now);
        }
        host.running += 1;
        Admission::Now
    }

    /// A check that was admitted has ended.
    pub fn left(&self, host: &str) {
        if let Some(host) = lock(&self.all).by_host.get_mut(host) {
            host.running = host.running.saturating_sub(1);
        }
    }

    /// The host has asked for a pause.
    pub fn pause(&self, host: &str, asked: Option<Duration>, now: Duration) {
        if let Some(host) = lock(&self.all).by_host.get_mut(host) {
            host.paused_until = host.paused_until.max(now + asked.unwrap_or(PAUSE_UNSAID).min(PAUSE_MAX));
        }
    }

    /// Notes how a check ended, `None` where the host was not asked; gives what that says of the host as a whole, where it is news.
    pub fn ended(&self, uid: &str, failing: Option<bool>) -> Option<Change> {
        let mut all = lock(&self.all);
        let All { by_host, by_connection } = &mut *all;
        let place = by_connection.get_mut(uid)?;
        let host = by_host.get_mut(&place.host)?;
        host.tell(std::mem::replace(&mut place.failing, failing), failing);
        host.change()
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
        all.by_connection.values_mut().for_each(|place| place.failing = None);
        for host in all.by_host.values_mut() {
            (host.failing, host.known, host.outage) = (0, 0, false);
        }
    }

    /// Forgets a connection.
    pub fn forget(&self, uid: &str) {
        lock(&self.all).leave(uid);
    }
}

impl All {
    fn enter(&mut self, uid: &str, host: &str, interval: Duration) {
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
        let place = Place { host: host.to_owned(), interval, slot: None, failing: None };
        self.by_connection.insert(uid.to_owned(), place);
    }

    fn leave(&mut self, uid: &str) {
        let Some(place) = self.by_connection.remove(uid) else { return };
        let Some(host) = self.by_host.get_mut(&place.host) else { return };
        host.tell(place.failing, None);
        host.connections -= 1;
        host.demand = (host.demand - demand(place.interval)).max(0.0);
        // What is running will come to an end without it, and a pause holds for who comes next; then it is forgotten.
    }
}

impl Host {
    fn tell(&mut self, before: Option<bool>, after: Option<bool>) {
        let count = |state: Option<bool>| (usize::from(state.is_some()), usize::from(state == Some(true)));
        let ((known, failing), (known_now, failing_now)) = (count(before), count(after));
        self.known = self.known + known_now - known;
        self.failing = self.failing + failing_now - failing;
    }

    /// Begins when more than half fail and ends when less than a quarter do, so that it does not flicker in between.
    fn change(&mut self) -> Option<Change> {
        if !self.outage && self.known >= OUTAGE_OF && self.failing * 2 > self.known {
            self.outage = true;
            return Some(Change::Outage { failing: self.failing, known: self.known });
        }
        if self.outage && self.failing * 4 < self.known.max(1) {
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
mod tests {
    use std::hash::Hasher as _;

    use super::*;

    const HOST: &str = "https://service4.ultipro.com";
    const TEN_MINUTES: Duration = Duration::from_secs(600);

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    /// When each of these connections is let in, coming at its time and whenever it is told to; each check takes no time.
    fn run(hosts: &Hosts, lane: Lane, coming: impl Iterator<Item = (String, Duration)>) -> Vec<Duration> {
        let mut queue: Vec<_> = coming.map(|(uid, at)| (at, uid)).collect();
        let mut begun = Vec::new();
        while !queue.is_empty() {
            queue.sort();
            let (now, uid) = queue.remove(0);
            match hosts.admit(&uid, HOST, TEN_MINUTES, lane, now) {
                Admission::Now => {
                    begun.push(now);
                    hosts.left(HOST);
                }
                Admission::After(wait) => queue.push((now + wait, uid)),
            }
        }
        begun
    }

    fn most_in_a_second(begun: &[Duration]) -> usize {
        begun
            .iter()
            .map(|at| begun.iter().filter(|other| (*at..*at + seconds(1.0)).contains(*other)).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn a_thousand_that_come_at_once_go_one_after_the_other() {
        let hosts = Hosts::new(Pace::default());
        let begun = run(&hosts, Lane::Urgent, (0..1000).map(|n| (n.to_string(), Duration::ZERO)));
        let whole = begun.last().expect("some").as_secs_f64();
        assert!((19.0..21.0).contains(&whole), "{whole}");
        let mean = 1000.0 / whole;
        assert!(most_in_a_second(&begun) as f64 <= 2.0 * mean, "{} of {mean}", most_in_a_second(&begun));
    }

    #[test]
    fn the_routine_of_a_thousand_never_has_twice_the_mean_in_a_second() {
        let hosts = Hosts::new(Pace::default());
        // All are known before, as after the listing at a start.
        (0..1000).for_each(|n| hosts.expect(&n.to_string(), HOST, TEN_MINUTES));
        let mean = 1000.0 / 600.0;
        // By chance alone some second would see seven or more.
        let chance = |n: u64| {
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write_u64(n);
            seconds((hasher.finish() >> 11) as f64 / (1u64 << 53) as f64 * 600.0)
        };
        let coming: Vec<_> = (0..1000).map(|n| (n.to_string(), chance(n))).collect();
        let by_chance: Vec<_> = coming.iter().map(|(_, at)| *at).collect();
        assert!(most_in_a_second(&by_chance) as f64 > 2.0 * mean, "the test would show nothing");
        let begun = run(&hosts, Lane::Routine, coming.into_iter());
        assert!(most_in_a_second(&begun) as f64 <= 2.0 * mean, "{}", most_in_a_second(&begun));
        assert!(*begun.last().expect("some") < seconds(620.0), "nobody waits long");
    }

    #[test]
    fn a_pause_holds_the_whole_host_and_only_that() {
        let hosts = Hosts::new(Pace::default());
        assert_eq!(hosts.admit("a", HOST, TEN_MINUTES, Lane::Routine, seconds(1.0)), Admission::Now);
        hosts.pause(HOST, Some(seconds(30.0)), seconds(1.0));
        for (uid, lane) in [("b", Lane::Routine), ("c", Lane::Urgent)] {
            let Admission::After(wait) = hosts.admit(uid, HOST, TEN_MINUTES, lane, seconds(2.0)) else { panic!("paused") };
            assert!(wait >= seconds(29.0), "{wait:?}");
            assert_eq!(hosts.admit(uid, HOST, TEN_MINUTES, lane, seconds(2.0) + wait), Admission::Now);
        }
        assert_eq!(hosts.admit("d", "https://service5.ultipro.com", TEN_MINUTES, Lane::Urgent, seconds(2.0)), Admission::Now);
        hosts.pause(HOST, Some(seconds(1e9)), seconds(40.0));
        hosts.pause(HOST, None, seconds(40.0));
        let Admission::After(wait) = hosts.admit("a", HOST, TEN_MINUTES, Lane::Urgent, seconds(40.0)) else { panic!("paused") };
        assert!(wait <= PAUSE_MAX + seconds(1.0), "{wait:?}");
    }

    #[test]
    fn a_host_sees_so_many_at_once_and_each_gets_its_turn() {
        let hosts = Hosts::new(Pace { rate: 1000, concurrency: 2 });
        let admit = |uid, at| hosts.admit(uid, HOST, TEN_MINUTES, Lane::Urgent, seconds(at));
        assert_eq!(admit("a", 1.0), Admission::Now);
        assert_eq!(admit("b", 1.1), Admission::Now);
        let Admission::After(wait) = admit("c", 1.2) else { panic!("full") };
        hosts.left(HOST);
        assert_eq!(admit("c", 1.2 + wait.as_secs_f64()), Admission::Now);
        assert!(matches!(admit("d", 3.0), Admission::After(_)));
        hosts.forget("a");
        assert!(matches!(admit("d", 3.1), Admission::After(_)), "a deleted connection's check is still under way");
    }

    #[test]
    fn who_becomes_urgent_does_not_wait_for_the_routine() {
        let hosts = Hosts::new(Pace::default());
        let admit = |uid: &str, lane, at| hosts.admit(uid, HOST, TEN_MINUTES, lane, seconds(at));
        assert_eq!(admit("a", Lane::Routine, 1.0), Admission::Now);
        assert!(matches!(admit("b", Lane::Routine, 1.1), Admission::After(_)), "in line");
        assert_eq!(admit("b", Lane::Urgent, 1.2), Admission::Now);
    }

    #[test]
    fn a_pause_outlasts_the_connection_that_met_it() {
        let hosts = Hosts::new(Pace::default());
        let admit = |uid: &str, at| hosts.admit(uid, HOST, TEN_MINUTES, Lane::Urgent, seconds(at));
        assert_eq!(admit("a", 1.0), Admission::Now);
        hosts.pause(HOST, Some(seconds(30.0)), seconds(1.0));
        hosts.left(HOST);
        hosts.forget("a");
        assert!(matches!(admit("again", 2.0), Admission::After(_)));
        hosts.forget("again");
        assert_eq!(hosts.admit("b", "https://service5.ultipro.com", TEN_MINUTES, Lane::Urgent, seconds(40.0)), Admission::Now);
        assert_eq!(lock(&hosts.all).by_host.len(), 1, "and is forgotten with the pause");
    }

    #[test]
    fn an_outage_is_told_once_and_ends_once() {
        let hosts = Hosts::new(Pace::default());
        let names = ["a", "b", "c", "d"];
        names.iter().for_each(|uid| hosts.expect(uid, HOST, TEN_MINUTES));
        assert_eq!(hosts.ended("a", Some(true)), None, "one is not the host");
        assert_eq!(hosts.ended("b", Some(true)), None);
        assert_eq!(hosts.ended("c", Some(true)), Some(Change::Outage { failing: 3, known: 3 }));
        assert_eq!(hosts.ended("d", Some(true)), None);
        assert!(hosts.has_outage(HOST) && hosts.outages() == 1);
        assert_eq!(hosts.ended("a", Some(false)), None);
        assert_eq!(hosts.ended("b", Some(false)), None, "half is not well yet");
        assert_eq!(hosts.ended("c", Some(false)), None);
        assert_eq!(hosts.ended("d", Some(false)), Some(Change::Recovery));
        hosts.ended("a", Some(true));
        names.iter().for_each(|uid| hosts.forget(uid));
        assert!(lock(&hosts.all).by_host.values().all(|host| host.connections == 0 && host.known == 0 && host.failing == 0));
        assert!(lock(&hosts.all).by_connection.is_empty());

        // Who is not asked any more is not counted as failing for ever.
        let hosts = Hosts::new(Pace::default());
        names.iter().for_each(|uid| hosts.expect(uid, HOST, TEN_MINUTES));
        for uid in names {
            hosts.ended(uid, Some(true));
        }
        assert!(hosts.has_outage(HOST));
        let told: Vec<_> = names.iter().map(|uid| hosts.ended(uid, None)).collect();
        assert_eq!((told, hosts.has_outage(HOST)), (vec![None; 4], false), "and nobody claims that it is well");
    }
}
