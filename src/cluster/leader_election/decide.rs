//! decide: what was heard of the Lease, and when → the next step. Touches nothing, and reads no clock.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use tokio::time::Instant;

use super::lease::{Lease, Record};
use super::timing::Timing;

/// Of another's Lease no more is waited for than ten of one's own. A leader of another version may have other times, but not by an order of
/// magnitude, and without a bound one record of 2,147,483,647 s keeps all from leading for 68 years.
const FOREIGN_LEASES: u32 = 10;

/// What stays as it is during an election.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Of this process and no other. A Lease with this holder was written by it.
    pub(super) identity: String,
    /// For how long others leave this process's Lease alone.
    lease: Duration,
    /// How long a leader leads after the renewal that it sent last.
    renew: Duration,
    /// From one write to the next.
    retry: Duration,
    /// From one look of a standby to the next.
    poll: Duration,
    /// How long one request may take.
    pub(super) request: Duration,
}

impl Rules {
    /// `chance` is any number, drawn once.
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

    /// For how long a record is left alone after it was seen to change. What it says itself is anybody's text who may write the Lease.
    pub(super) fn leave_alone(&self, record: &Record) -> Duration {
        record.lasts.unwrap_or(self.lease).min(self.lease * FOREIGN_LEASES)
    }

    /// How long the holder of a Lease that was deleted may lead on, as if it had renewed it in the last moment. By the times of this
    /// program, which gives up before they are over; what the record said has gone with it.
    fn patience(&self) -> Duration {
        self.lease
    }
}

/// One moment by two clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    /// By the clock that decides, which nobody can set.
    pub(super) local: Instant,
    /// By the one that people read, which may jump; written and never compared with another's.
    pub(super) wall: Timestamp,
}

/// What came of a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    /// Nothing: time has passed.
    Nothing,
    /// This is the Lease.
    Found(Lease),
    /// There is no Lease.
    Absent,
    /// It could not be read.
    Unread(String),
    /// A write that was sent at this instant was carried out, and this is the Lease.
    Written { lease: Lease, sent: Instant },
    /// A write was refused: the Lease has changed, or is there already.
    Refused,
    /// Whether a write was carried out is not known.
    Unanswered(String),
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Nothing, until this instant.
    Rest(Instant),
    /// Read the Lease.
    Read,
    /// Write it, onto the version of this metadata; make it where there is none.
    Write { onto: Option<Box<ObjectMeta>>, record: Record },
}

/// What is known of the Lease.
#[derive(Debug, Clone, PartialEq)]
enum Sight {
    /// Nothing yet.
    Unseen,
    /// There was none at the first look, nor since.
    NeverMade,
    /// It has been deleted; this was its last record.
    Gone(Record),
    /// It has been at this version since, as far as was seen from here.
    There { since: Instant, lease: Lease },
}

/// A candidate's state.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    sight: Sight,
    /// Until when this process leads.
    until: Option<Instant>,
    /// Whether a write is under way, or was and may have been carried out: what is known may not be so any more.
    unsure: bool,
    /// No look before this.
    look: Instant,
    /// No write before this.
    write: Instant,
    /// No take-over before this, whatever the Lease says: one was deleted, and its holder may not know yet.
    quiet: Instant,
}

impl State {
    /// A candidate that has just started.
    pub(super) fn new(now: Instant) -> Self {
        Self { sight: Sight::Unseen, until: None, unsure: false, look: now, write: now, quiet: now }
    }

    /// Until when this process leads, if it does.
    pub(super) fn leads_until(&self) -> Option<Instant> {
        self.until
    }

    /// Whether the Lease may have this process as its holder.
    pub(super) fn may_hold(&self, rules: &Rules) -> bool {
        self.unsure || matches!(&self.sight, Sight::There { lease, .. } if lease.record.holder == rules.identity)
    }

    /// The next step of a candidate that wants to lead.
    pub(super) fn next(&mut self, rules: &Rules, heard: Heard, now: Now) -> Step {
        self.learn(rules, heard, now.local);
        let step = self.step(rules, now);
        match step {
            Step::Rest(_) => {}
            Step::Read => self.look = now.local + rules.poll,
            Step::Write { .. } => {
                self.write = now.local + rules.retry;
                self.unsure = true;
            }
        }
        step
    }

    /// The next step of one whose work has ended, towards a Lease that it does not hold; `None` when it has come to an end.
    pub(super) fn leave(&mut self, rules: &Rules, heard: Heard, now: Now) -> Option<Step> {
        // There is no time to try again; the Lease expires by itself.
        let failed = matches!(heard, Heard::Unread(_) | Heard::Unanswered(_));
        self.learn(rules, heard, now.local);
        self.until = None;
        match &self.sight {
            _ if failed => None,
            _ if self.unsure => Some(Step::Read),
            Sight::There { lease, .. } if lease.record.holder == rules.identity => {
                let onto = Some(lease.metadata.clone());
                self.unsure = true;
                Some(Step::Write { onto, record: self.release(now.wall) })
            }
            _ => None,
        }
    }

    fn learn(&mut self, rules: &Rules, heard: Heard, now: Instant) {
        match heard {
            Heard::Nothing | Heard::Unread(_) => {}
            Heard::Found(lease) => {
                self.unsure = false;
                if lease.record.holder != rules.identity {
                    self.until = None;
                }
                self.see(rules, lease, now);
            }
            Heard::Absent => {
                self.unsure = false;
                self.miss(rules, now);
            }
            Heard::Written { lease, sent } => {
                self.unsure = false;
                self.until = (lease.record.holder == rules.identity).then(|| sent + rules.renew);
                self.see(rules, lease, now);
            }
            Heard::Refused | Heard::Unanswered(_) => self.look = now,
        }
        self.until = self.until.filter(|until| now < *until);
    }

    fn see(&mut self, rules: &Rules, lease: Lease, now: Instant) {
        let mut since = now;
        if let Sight::There { since: before, lease: known } = &self.sight {
            // By its version, not by its record: clocks may give two renewals one time, and no two versions are the same.
            if known.metadata.resource_version == lease.metadata.resource_version {
                since = *before;
            }
            if known.metadata.uid != lease.metadata.uid {
                self.quiet = now + rules.patience();
            }
        }
        self.sight = Sight::There { since, lease };
    }

    fn miss(&mut self, rules: &Rules, now: Instant) {
        self.sight = match std::mem::replace(&mut self.sight, Sight::Unseen) {
            Sight::Unseen | Sight::NeverMade => Sight::NeverMade,
            Sight::There { lease, .. } => {
                self.quiet = now + rules.patience();
                // A leader makes it again at once.
                self.write = now;
                Sight::Gone(lease.record)
            }
            gone @ Sight::Gone(_) => gone,
        };
    }

    fn step(&self, rules: &Rules, now: Now) -> Step {
        let Now { local, wall } = now;
        let look = if local >= self.look { Step::Read } else { Step::Rest(self.look) };
        if self.unsure || self.sight == Sight::Unseen {
            return sooner(look, self.until);
        }
        let write = self.open(rules);
        match self.until {
            _ if local >= write => Step::Write { onto: self.version(), record: self.claim(rules, wall) },
            Some(until) => Step::Rest(write.min(until)),
            None => sooner(look, Some(write)),
        }
    }

    /// From when on this process may write itself into the Lease.
    fn open(&self, rules: &Rules) -> Instant {
        if self.until.is_some() {
            return self.write;
        }
        let open = match &self.sight {
            Sight::There { since, lease: Lease { record, .. } }
                if !record.holder.is_empty() && record.holder != rules.identity =>
            {
                *since + rules.leave_alone(record)
            }
            _ => self.write,
        };
        open.max(self.write).max(self.quiet)
    }

    fn version(&self) -> Option<Box<ObjectMeta>> {
        match &self.sight {
            Sight::There { lease, .. } => Some(lease.metadata.clone()),
            _ => None,
        }
    }

    fn record(&self) -> Option<&Record> {
        match &self.sight {
            Sight::Unseen | Sight::NeverMade => None,
            Sight::Gone(record) => Some(record),
            Sight::There { lease, .. } => Some(&lease.record),
        }
    }

    /// A record with this process as the holder.
    fn claim(&self, rules: &Rules, wall: Timestamp) -> Record {
        let before = self.record();
        let renewed = Some(self.stamp(wall));
        let record =
            Record { holder: rules.identity.clone(), lasts: Some(rules.lease), acquired: renewed, renewed, transitions: 0 };
        match before {
            None => record,
            Some(before) if before.holder == rules.identity => {
                Record { acquired: before.acquired, transitions: before.transitions, ..record }
            }
            Some(before) => Record { transitions: before.transitions.saturating_add(1), ..record },
        }
    }

    /// A record without a holder. Others take it at once, and older ones of them when the second is over.
    fn release(&self, wall: Timestamp) -> Record {
        let renewed = Some(self.stamp(wall));
        let transitions = self.record().map_or(0, |record| record.transitions);
        Record { holder: String::new(), lasts: Some(Duration::from_secs(1)), acquired: renewed, renewed, transitions }
    }

    /// The time to write, as exact as a Lease has it. Never the one that is there: a PUT of what is there already makes no new
    /// version, and a renewal that nobody sees is none.
    fn stamp(&self, wall: Timestamp) -> Timestamp {
        let exact = Timestamp::from_microsecond(wall.as_microsecond()).unwrap_or(wall);
        if self.record().and_then(|record| record.renewed) == Some(exact) {
            return exact.checked_add(SignedDuration::from_micros(1)).unwrap_or(Timestamp::UNIX_EPOCH);
        }
        exact
    }
}

/// This step, with a rest no longer than to this instant.
fn sooner(step: Step, instant: Option<Instant>) -> Step {
    match (step, instant) {
        (Step::Rest(until), Some(instant)) => Step::Rest(until.min(instant)),
        (step, _) => step,
    }
}

#[cfg(test)]
mod tests;
