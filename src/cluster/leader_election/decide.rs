//! Decides the next step of an election from what was read of the Lease, and when. Pure: it touches nothing and reads no clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::lease::{Lease, Record};
use super::timing::Timing;

/// The longest wait for another's Lease, as a multiple of this process's lease duration. A leader of another version may have other
/// durations, but not by an order of magnitude. Without a bound, one record of 2,147,483,647 s would keep everyone from leading for
/// 68 years.
const FOREIGN_LEASES: u32 = 10;

/// The settings that stay the same during an election.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// The name of this process and no other. A Lease with this holder was written by it.
    pub(super) identity: String,
    /// How long others leave this process's Lease alone.
    lease: Duration,
    /// How long a leader leads after it sent its last renewal.
    renew: Duration,
    /// The time between two writes.
    retry: Duration,
    /// The time between two reads of a standby.
    poll: Duration,
    /// How long one request may take.
    pub(super) request: Duration,
}

impl Rules {
    /// `chance` is any number, drawn once; it sets the jitter of `poll`.
    pub(super) fn new(identity: String, timing: Timing, chance: u8) -> Self {
        Self {
            identity,
            lease: timing.lease(),
            renew: timing.renew(),
            retry: timing.retry(),
            poll: timing.poll(chance),
            request: timing.request(),
        }
    }

    /// How long a record is left alone after its last seen change. Its own duration is untrusted: it comes from anyone who may
    /// write the Lease.
    pub(super) fn takeover_delay(&self, record: &Record) -> Duration {
        record.duration.unwrap_or(self.lease).min(self.lease * FOREIGN_LEASES)
    }

    /// How long the holder of a deleted Lease may still lead, if it renewed at the last moment. This uses this program's own
    /// durations, within which a leader steps down; the record is gone.
    fn takeover_delay_after_deletion(&self) -> Duration {
        self.lease
    }
}

/// One moment by two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// By the clock that decides, which nobody can set.
    pub(super) local: Instant,
    /// By the clock that people read, which may jump. It is written but never compared with another's.
    pub(super) wall: Timestamp,
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum LeaseEvent {
    /// Nothing but time has passed.
    Nothing,
    /// This is the Lease.
    Found(Lease),
    /// There is no Lease.
    Absent,
    /// The Lease could not be read.
    Unread(String),
    /// A write that was sent at this instant was carried out; this is the Lease now.
    Written { lease: Lease, sent: Instant },
    /// A write was refused: the Lease has changed or already exists.
    Refused,
    /// It is unknown whether a write was carried out.
    Unanswered(String),
}

/// The next step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Sleep until this instant.
    Sleep(Instant),
    /// Read the Lease.
    Read,
    /// Write the Lease onto the version in this metadata; create it if there is none.
    Write { onto: Option<Box<ObjectMeta>>, record: Record },
}

/// What is known of the Lease.
#[derive(Debug, Clone, PartialEq)]
enum LeaseView {
    /// Nothing yet.
    Unseen,
    /// There was no Lease at the first read, nor since.
    NeverMade,
    /// The Lease was deleted; this was its last record.
    Gone(Record),
    /// The Lease is at this version, which this process first saw at this instant.
    There { since: Instant, lease: Lease },
}

/// A candidate's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    view: LeaseView,
    /// When this process stops leading.
    until: Option<Instant>,
    /// Whether a write is under way or may have been carried out. Then what is known may be outdated.
    unsure: bool,
    /// No read before this.
    next_read: Instant,
    /// No write before this.
    next_write: Instant,
    /// No takeover before this, whatever the Lease says: a Lease was deleted, and its holder may not know yet.
    no_takeover_before: Instant,
}

impl State {
    /// Returns the state of a candidate that has just started.
    pub(super) fn new(now: Instant) -> Self {
        Self { view: LeaseView::Unseen, until: None, unsure: false, next_read: now, next_write: now, no_takeover_before: now }
    }

    /// Returns the instant until which this process leads, if it does.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether this process may be the holder of the Lease.
    pub(super) fn may_hold(&self, rules: &Rules) -> bool {
        self.unsure || matches!(&self.view, LeaseView::There { lease, .. } if lease.record.holder == rules.identity)
    }

    /// Returns the next step of a candidate that wants to lead.
    pub(super) fn next(&mut self, rules: &Rules, event: LeaseEvent, now: Now) -> Step {
        self.learn(rules, event, now.local);
        let step = self.step(rules, now);
        match step {
            Step::Sleep(_) => {}
            Step::Read => self.next_read = now.local + rules.poll,
            Step::Write { .. } => {
                self.next_write = now.local + rules.retry;
                self.unsure = true;
            }
        }
        step
    }

    /// Returns the next step of a candidate whose work has ended and that must not stay the holder; `None` when it is done.
    pub(super) fn leave(&mut self, rules: &Rules, event: LeaseEvent, now: Now) -> Option<Step> {
        // There is no time to try again; the Lease expires by itself.
        let failed = matches!(event, LeaseEvent::Unread(_) | LeaseEvent::Unanswered(_));
        self.learn(rules, event, now.local);
        self.until = None;
        match &self.view {
            _ if failed => None,
            _ if self.unsure => Some(Step::Read),
            LeaseView::There { lease, .. } if lease.record.holder == rules.identity => {
                let onto = Some(lease.metadata.clone());
                self.unsure = true;
                Some(Step::Write { onto, record: self.release(now.wall) })
            }
            _ => None,
        }
    }

    fn learn(&mut self, rules: &Rules, event: LeaseEvent, now: Instant) {
        match event {
            LeaseEvent::Nothing | LeaseEvent::Unread(_) => {}
            LeaseEvent::Found(lease) => {
                self.unsure = false;
                if lease.record.holder != rules.identity {
                    self.until = None;
                }
                self.see(rules, lease, now);
            }
            LeaseEvent::Absent => {
                self.unsure = false;
                self.miss(rules, now);
            }
            LeaseEvent::Written { lease, sent } => {
                self.unsure = false;
                self.until = (lease.record.holder == rules.identity).then(|| sent + rules.renew);
                self.see(rules, lease, now);
            }
            LeaseEvent::Refused | LeaseEvent::Unanswered(_) => self.next_read = now,
        }
        self.until = self.until.filter(|until| now < *until);
    }

    fn see(&mut self, rules: &Rules, lease: Lease, now: Instant) {
        let mut since = now;
        if let LeaseView::There { since: before, lease: known } = &self.view {
            // Compares versions, not records: a clock may give two renewals the same time, but no two versions are the same.
            if known.metadata.resource_version == lease.metadata.resource_version {
                since = *before;
            }
            if known.metadata.uid != lease.metadata.uid {
                self.no_takeover_before = now + rules.takeover_delay_after_deletion();
            }
        }
        self.view = LeaseView::There { since, lease };
    }

    fn miss(&mut self, rules: &Rules, now: Instant) {
        self.view = match std::mem::replace(&mut self.view, LeaseView::Unseen) {
            LeaseView::Unseen | LeaseView::NeverMade => LeaseView::NeverMade,
            LeaseView::There { lease, .. } => {
                self.no_takeover_before = now + rules.takeover_delay_after_deletion();
                // A leader creates it again at once.
                self.next_write = now;
                LeaseView::Gone(lease.record)
            }
            gone @ LeaseView::Gone(_) => gone,
        };
    }

    fn step(&self, rules: &Rules, now: Now) -> Step {
        let Now { local, wall } = now;
        let read = if local >= self.next_read { Step::Read } else { Step::Sleep(self.next_read) };
        if self.unsure || self.view == LeaseView::Unseen {
            return sooner(read, self.until);
        }
        let write = self.open(rules);
        match self.until {
            _ if local >= write => Step::Write { onto: self.version(), record: self.claim(rules, wall) },
            Some(until) => Step::Sleep(write.min(until)),
            None => sooner(read, Some(write)),
        }
    }

    /// Returns the instant from which this process may write itself into the Lease.
    fn open(&self, rules: &Rules) -> Instant {
        if self.until.is_some() {
            return self.next_write;
        }
        let open = match &self.view {
            LeaseView::There { since, lease: Lease { record, .. } }
                if !record.holder.is_empty() && record.holder != rules.identity =>
            {
                *since + rules.takeover_delay(record)
            }
            _ => self.next_write,
        };
        open.max(self.next_write).max(self.no_takeover_before)
    }

    fn version(&self) -> Option<Box<ObjectMeta>> {
        match &self.view {
            LeaseView::There { lease, .. } => Some(lease.metadata.clone()),
            _ => None,
        }
    }

    fn record(&self) -> Option<&Record> {
        match &self.view {
            LeaseView::Unseen | LeaseView::NeverMade => None,
            LeaseView::Gone(record) => Some(record),
            LeaseView::There { lease, .. } => Some(&lease.record),
        }
    }

    /// Returns a record with this process as the holder.
    fn claim(&self, rules: &Rules, wall: Timestamp) -> Record {
        let before = self.record();
        let renewed = Some(self.stamp(wall));
        let record =
            Record { holder: rules.identity.clone(), duration: Some(rules.lease), acquired: renewed, renewed, transitions: 0 };
        match before {
            None => record,
            Some(before) if before.holder == rules.identity => {
                Record { acquired: before.acquired, transitions: before.transitions, ..record }
            }
            Some(before) => Record { transitions: before.transitions.saturating_add(1), ..record },
        }
    }

    /// Returns a record without a holder, with a duration of one second. Other candidates take over at once; older versions of them
    /// wait for that duration.
    fn release(&self, wall: Timestamp) -> Record {
        let renewed = Some(self.stamp(wall));
        let transitions = self.record().map_or(0, |record| record.transitions);
        Record { holder: String::new(), duration: Some(Duration::from_secs(1)), acquired: renewed, renewed, transitions }
    }

    /// Returns the time to write, in the precision of a Lease. It always differs from the time in the Lease: a PUT without a change
    /// makes no new version, so nobody would see the renewal.
    fn stamp(&self, wall: Timestamp) -> Timestamp {
        let exact = Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall);
        if self.record().and_then(|record| record.renewed) == Some(exact) {
            return exact.checked_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::UNIX_EPOCH);
        }
        exact
    }
}

/// Returns this step; a sleep ends at this instant at the latest.
fn sooner(step: Step, instant: Option<Instant>) -> Step {
    match (step, instant) {
        (Step::Sleep(until), Some(instant)) => Step::Sleep(until.min(instant)),
        (step, _) => step,
    }
}

#[cfg(test)]
mod tests;
