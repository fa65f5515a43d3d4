//! One host: its rate, who has a place at it, its pauses and its outage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::api::HostChange;
use crate::login_guard::Account;
use crate::schedule::hosts::{End, Lane, Pace};

/// The routine goes so much faster than the intervals demand, or it would never catch up.
pub(super) const HEADROOM: f64 = 1.5;

/// Checks a second that are smoothed out no further: few connections are no load.
pub(super) const ROUTINE_MIN: f64 = 0.2;

/// The longest pause of a whole host: its accounts have limits of their own, and those who have met none must not wait for theirs.
pub(super) const HOST_PAUSE_MAX: Duration = Duration::from_secs(300);

/// Accounts whose limits are remembered of one host; beyond, those of the namespace that has most are forgotten.
pub(super) const LIMITED_MAX: usize = 1024;

/// After a full host, one asks again.
pub(super) const FULL_RETRY: Duration = Duration::from_secs(1);

/// Fewer accounts than these do not make an outage of the host, nor fewer connections where the account is not known.
pub(super) const OUTAGE_OF: usize = 3;

/// While a host has an outage, each of its connections is tried once in so long.
pub(super) const OUTAGE_ROUND: Duration = Duration::from_secs(600);

/// A reserved slot that nobody came for is given up after so long.
pub(super) const SLOT_KEPT: Duration = Duration::from_secs(600);

#[derive(Default)]
pub(super) struct Host {
    pub(super) connections: usize,
    /// Checks a second that the intervals demand.
    pub(super) demand: f64,
    pub(super) running: usize,
    pub(super) urgent: Line,
    pub(super) routine: Line,
    pub(super) shares: HashMap<Arc<str>, Share>,
    /// Namespaces whose connections' ends are known, and those of which most fail.
    pub(super) known: usize,
    pub(super) failing: usize,
    /// The accounts that fail, and how many connections of each.
    pub(super) failing_accounts: HashMap<Account, usize>,
    /// Connections that fail with an account that is not known.
    pub(super) failing_unnamed: usize,
    /// The accounts whose requests the host limits, each with the namespace that met it, and until when.
    pub(super) limited: HashMap<Account, (Arc<str>, Duration)>,
    /// The present pause, or the last.
    pub(super) paused_from: Duration,
    pub(super) paused_until: Duration,
    /// How long the pauses before it were.
    pub(super) paused_before: Duration,
    pub(super) voice: Voice,
    pub(super) outage: bool,
}

/// What was heard of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Voice {
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
pub(super) struct Line {
    /// When the next check may begin, in the host's own time.
    pub(super) free_at: Duration,
    /// How many have a slot, by namespace.
    pub(super) waiting: HashMap<Arc<str>, usize>,
}

impl Line {
    /// The slot of a further one of this namespace: behind those of its own, and as many of each other.
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

/// What a namespace has of a host.
#[derive(Default)]
pub(super) struct Share {
    pub(super) connections: usize,
    pub(super) running: usize,
    /// When the next of its own that has found its slot taken may come.
    pub(super) again_at: Duration,
    /// Its connections whose last end is known, and those that fail.
    pub(super) known: usize,
    pub(super) failing: usize,
    /// Whether most fail.
    pub(super) fails: bool,
}

impl Host {
    pub(super) fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Urgent => &mut self.urgent,
            Lane::Routine => &mut self.routine,
        }
    }

    pub(super) fn spacing(&self, lane: Lane, pace: Pace) -> Duration {
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

    pub(super) fn pause(&mut self, until: Duration, now: Duration) {
        if self.paused_until <= now {
            self.paused_before += self.paused_until - self.paused_from;
            (self.paused_from, self.paused_until) = (now, now);
        }
        self.paused_until = self.paused_until.max(until);
    }

    /// The time without pauses.
    pub(super) fn time(&self, now: Duration) -> Duration {
        let paused = self.paused_before + self.paused_until.min(now).saturating_sub(self.paused_from);
        now.saturating_sub(paused)
    }

    /// The slot of one of a namespace that has found its own taken: those of the namespace come one after another from this time on.
    pub(super) fn again(&mut self, namespace: &Arc<str>, from: Duration, spacing: Duration) -> Duration {
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

    /// Forgets a namespace that has nothing here any more.
    pub(super) fn tidy(&mut self, namespace: &str) {
        if self.shares.get(namespace).is_some_and(|share| share.connections == 0 && share.running == 0) {
            self.shares.remove(namespace);
        }
    }

    pub(super) fn tell(&mut self, namespace: &str, before: Option<End>, after: Option<End>) {
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
            // That nobody is known to fail is not that anybody is well.
            return (self.known > 0).then_some(HostChange::Recovery);
        }
        None
    }
}
