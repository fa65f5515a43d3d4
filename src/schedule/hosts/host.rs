//! The state of one host: its rate, the slots at it, its pauses and its outage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::api::HostChange;
use crate::login_guard::Account;
use crate::schedule::hosts::{HostLimits, LastResult, Priority};

/// The factor by which routine checks are faster than the intervals demand. Without it, they would never catch up.
const HEADROOM: f64 = 1.5;

/// The minimum rate of routine checks, in checks per second. A few connections are no load, so they are not spread further.
const ROUTINE_MIN: f64 = 0.2;

/// The longest pause of a whole host. Its accounts have limits of their own, and connections that met no limit must not wait for
/// those.
pub(super) const HOST_PAUSE_MAX: Duration = Duration::from_secs(300);

/// The maximum number of accounts whose limits are remembered per host. Beyond it, limits of the namespace that has most are
/// forgotten.
pub(super) const LIMITED_MAX: usize = 1024;

/// How long a check waits if its host is full.
pub(super) const FULL_RETRY: Duration = Duration::from_secs(1);

/// The minimum number of failing accounts for an outage of the host. A failing connection whose account is unknown counts as one.
const OUTAGE_OF: usize = 3;

/// During an outage, each connection of the host is tried once in this time.
const OUTAGE_ROUND: Duration = Duration::from_secs(600);

/// How long a reserved slot is kept if its check does not come.
pub(super) const SLOT_KEPT: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct Host {
    pub(super) connections: usize,
    /// Checks per second that the intervals demand.
    pub(super) demand: f64,
    pub(super) running: usize,
    pub(super) urgent: SlotQueue,
    pub(super) routine: SlotQueue,
    pub(super) shares: HashMap<Arc<str>, Share>,
    /// The number of namespaces with a known result, and of failing namespaces.
    pub(super) known: usize,
    pub(super) failing: usize,
    /// The accounts that fail, and the number of failing connections of each.
    pub(super) failing_accounts: HashMap<Account, usize>,
    /// Failing connections whose account is unknown.
    pub(super) failing_unnamed: usize,
    /// The accounts whose requests the host limits, each with the namespace that met the limit, and the end of the limit.
    pub(super) limited: HashMap<Account, (Arc<str>, Duration)>,
    /// Start and end of the current pause, or of the last one.
    paused_from: Duration,
    pub(super) paused_until: Duration,
    /// The total length of the pauses before it.
    paused_before: Duration,
    pub(super) reachability: Reachability,
    pub(super) outage: bool,
}

/// Whether a host has answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Reachability {
    /// It has not been asked yet.
    #[default]
    Unknown,
    /// It was asked and has never answered.
    Silent,
    /// It has answered.
    Heard,
}

/// The slots of one priority at a host.
#[derive(Default)]
pub(super) struct SlotQueue {
    /// When the next check may begin, in the host's own time.
    pub(super) free_at: Duration,
    /// The number of checks with a reserved slot, by namespace.
    pub(super) waiting: HashMap<Arc<str>, usize>,
}

impl SlotQueue {
    /// Returns the slot of one more check of this namespace: after its own waiting checks, and after one more than that of each
    /// other namespace.
    pub(super) fn slot(&mut self, namespace: &Arc<str>, spacing: Duration, now: Duration) -> Duration {
        let own = self.waiting.get(namespace).copied().unwrap_or(0);
        let others = self.waiting.iter().filter(|(other, _)| *other != namespace);
        let before: usize = own + others.map(|(_, waiting)| (*waiting).min(own + 1)).sum::<usize>();
        self.free_at.max(now) + spacing * u32::try_from(before).unwrap_or(u32::MAX)
    }

    pub(super) fn enter(&mut self, namespace: &Arc<str>) {
        *self.waiting.entry(namespace.clone()).or_default() += 1;
    }

    pub(super) fn leave(&mut self, namespace: &Arc<str>) {
        if let Some(waiting) = self.waiting.get_mut(namespace) {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(namespace);
            }
        }
    }
}

/// The state of a namespace at a host.
#[derive(Default)]
pub(super) struct Share {
    pub(super) connections: usize,
    pub(super) running: usize,
    /// The earliest slot for the namespace's next check that finds its own slot taken.
    again_at: Duration,
    /// Its connections whose last result is known, and those of them that fail.
    pub(super) known: usize,
    pub(super) failing: usize,
    /// Whether the namespace fails: from when more than half of these connections fail until less than a quarter do.
    pub(super) fails: bool,
}

impl Host {
    pub(super) fn slot_queue(&mut self, priority: Priority) -> &mut SlotQueue {
        match priority {
            Priority::Urgent => &mut self.urgent,
            Priority::Routine => &mut self.routine,
        }
    }

    pub(super) fn spacing(&self, priority: Priority, host_limits: HostLimits) -> Duration {
        match priority {
            Priority::Urgent => Duration::from_secs(1) / host_limits.rate.max(1),
            Priority::Routine => {
                // The end of an outage must be noticed soon, however long the intervals are.
                let retries = if self.outage { self.connections as f64 / OUTAGE_ROUND.as_secs_f64() } else { 0.0 };
                let rate = (self.demand.max(retries) * HEADROOM).clamp(ROUTINE_MIN, f64::from(host_limits.rate.max(1)));
                Duration::from_secs_f64(1.0 / rate)
            }
        }
    }

    pub(super) fn pause(&mut self, until: Duration, now: Duration) {
        if self.paused_until <= now {
            self.paused_before += self.paused_until - self.paused_from;
            (self.paused_from, self.paused_until) = (now, now);
        }
        self.paused_until = self.paused_until.max(until);
    }

    /// Returns the host's own time, which is the time without pauses.
    pub(super) fn time(&self, now: Duration) -> Duration {
        let paused = self.paused_before + self.paused_until.min(now).saturating_sub(self.paused_from);
        now.saturating_sub(paused)
    }

    /// Returns a slot for a check of a namespace that found its slot taken. Such checks of a namespace follow one another from
    /// this time on.
    pub(super) fn retry_slot(&mut self, namespace: &Arc<str>, from: Duration, spacing: Duration) -> Duration {
        let share = self.shares.entry(namespace.clone()).or_default();
        let slot = share.again_at.max(from);
        share.again_at = slot + spacing;
        slot
    }

    /// Forgets the limit that ends first, of the namespace that has most of them.
    pub(super) fn forget_a_limit(&mut self) {
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

    pub(super) fn is_limited(&self, now: Duration) -> bool {
        self.paused_until > now || self.limited.values().any(|(_, until)| *until > now)
    }

    /// Forgets a namespace that has no connections and no running checks here.
    pub(super) fn tidy(&mut self, namespace: &str) {
        if self.shares.get(namespace).is_some_and(|share| share.connections == 0 && share.running == 0) {
            self.shares.remove(namespace);
        }
    }

    pub(super) fn record_result(&mut self, namespace: &str, before: Option<LastResult>, after: Option<LastResult>) {
        for (result, comes) in [(before, false), (after, true)] {
            let Some(LastResult { failing: true, account }) = result else { continue };
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
        let of = |result: Option<LastResult>| {
            (usize::from(result.is_some()), usize::from(result.is_some_and(|result| result.failing)))
        };
        let ((known, failing), (known_now, failing_now)) = (of(before), of(after));
        let was = (usize::from(share.known > 0), usize::from(share.fails));
        share.known = share.known + known_now - known;
        share.failing = share.failing + failing_now - failing;
        share.fails = if share.fails { share.failing * 4 >= share.known.max(1) } else { share.failing * 2 > share.known };
        self.known = self.known + usize::from(share.known > 0) - was.0;
        self.failing = self.failing + usize::from(share.fails) - was.1;
    }

    /// Begins or ends an outage, and returns that change. An outage begins when more than half of the namespaces are failing, and
    /// ends when less than a quarter are; this hysteresis keeps it from flapping. One failing namespace makes no outage while
    /// another is known to be well.
    pub(super) fn change(&mut self) -> Option<HostChange> {
        let several = self.failing_accounts.len() + self.failing_unnamed >= OUTAGE_OF;
        let is_everybodys = self.failing > 1 || self.known < 2;
        if !self.outage && several && is_everybodys && self.failing * 2 > self.known {
            self.outage = true;
            let count = |of: fn(&Share) -> usize| self.shares.values().map(of).sum();
            return Some(HostChange::Outage { failing: count(|share| share.failing), known: count(|share| share.known) });
        }
        if self.outage && (!is_everybodys || self.failing * 4 < self.known.max(1)) {
            self.outage = false;
            // If no result is known, the host is not known to have recovered.
            return (self.known > 0).then_some(HostChange::Recovery);
        }
        None
    }
}
