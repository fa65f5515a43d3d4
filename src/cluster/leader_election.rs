//! Leader election: decides by a Lease which of several replicas acts. Reads and writes only that Lease.
//!
//! ```text
//! Candidate::run:   event ─▶ decide ─▶ step ─▶ event ─▶ …        Leadership, Term: may work go on?
//!                            pure      one request, or a sleep
//! ```
//!
//! **Contract.** The rules are client-go's. Every write is a POST, or a PUT onto the version that was read, so of two candidates
//! one fails. A Lease has expired when *this* process has seen no change of it for the duration that it states (up to ten of this
//! process's own), by this process's monotonic clock; no wall clock decides anything. A leader that has not renewed within the
//! renew deadline steps down by itself. The deadline counts from before the last renewal was sent, so it ends before anyone else
//! can find the Lease expired. A request without a response may have been carried out, so the Lease is read again before anything
//! else is assumed.
//!
//! **Invariant.** No two candidates lead at the same time. This does not depend on this module's task running in time:
//! [`Term::is_leading`] turns false by the clock.
//!
//! **Limits.** A monotonic clock stands still while its machine is suspended, so a leader that wakes up may be wrong until its next
//! renewal. The same holds for a leader whose Lease a person edits or deletes. A candidate that has seen the Lease gives its leader
//! one lease duration to create it again, but a candidate that has just started cannot know that there was a Lease. What must not
//! happen twice even then needs its own condition, such as the resource version of what is written.
//!
//! **Rights.** `get`, `create` and `update` on `leases` of `coordination.k8s.io`, in the Lease's namespace. Not `watch`: a standby
//! reads the Lease about once a second instead. That notices a clean stop soon enough, costs one read of a small object, and cannot
//! fail silently. A watch can break unnoticed for minutes, so it would need the same reads besides.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

mod decide;
mod lease;
mod term;

#[cfg(test)]
mod tests;
mod timing;

use decide::{LeaseEvent, Now, Rules, State, Step};
use lease::{KubeLeaseStore, NotWritten, Record, Store};
use term::TermSender;
pub use term::{Leadership, Term};
pub use timing::{Timing, TimingError};

/// The Lease, name and timing of a candidate.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Lease's namespace, which must exist.
    pub namespace: String,
    /// The Lease's name. Candidates with the same Lease compete.
    pub name: String,
    /// The name by which people know this process, such as its pod's name. The holder in the Lease begins with it.
    pub instance: String,
    /// The durations of the election.
    pub timing: Timing,
}

/// Why a candidate could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ElectionError {
    /// No client could be made.
    #[error("no client for leader election can be made from the kubeconfig; try it with kubectl")]
    Client(#[source] Box<kube::Error>),
    /// The platform gave no random numbers.
    #[error("the platform gave no random numbers for the name of this candidate")]
    Random(#[from] aws_lc_rs::error::Unspecified),
}

/// A process that wants to lead.
pub struct Candidate {
    rules: Rules,
    lease: KubeLeaseStore,
    term: TermSender,
}

impl Candidate {
    /// Makes a candidate with its own client. Needs a runtime.
    pub fn new(config: kube::Config, settings: Settings) -> Result<Self, ElectionError> {
        let lease = KubeLeaseStore::new(config, &settings.namespace, settings.name)
            .map_err(|error| ElectionError::Client(Box::new(error)))?;
        let mut random = [0; 5];
        aws_lc_rs::rand::fill(&mut random)?;
        let [suffix @ .., jitter] = random;
        // A pod's name is not unique: a restarted container keeps it, and may find its old Lease unexpired.
        let identity = format!("{}_{:08x}", settings.instance, u32::from_be_bytes(suffix));
        Ok(Self { rules: Rules::new(identity, settings.timing, jitter), lease, term: TermSender::default() })
    }

    /// Returns a handle that shows whether this candidate leads, for work that depends on it.
    pub fn leadership(&self) -> Leadership {
        self.term.leadership()
    }

    /// The holder that is written into the Lease. It is unique to this process.
    pub fn identity(&self) -> &str {
        &self.rules.identity
    }

    /// Runs the election until `drained` resolves, which means that work under this leadership has ended. Then hands over at once.
    ///
    /// If this future is dropped instead, the Lease has to expire.
    pub async fn run(self, drained: impl Future<Output = ()>) {
        run_election(&self.rules, &self.lease, Timestamp::now, &self.term, drained).await;
    }
}

/// Runs the election with any store of the Lease and any wall clock.
async fn run_election(
    rules: &Rules,
    store: &impl Store,
    wall: impl Fn() -> Timestamp,
    term: &TermSender,
    drained: impl Future<Output = ()>,
) {
    let now = || Now { local: Instant::now(), wall: wall() };
    let mut drained = pin!(drained);
    let mut state = State::new(now().local);
    let mut log = Log::default();
    let mut event = LeaseEvent::Nothing;
    loop {
        log.record_event(&event, rules);
        term.set_takeover_delay(log.other_holder.as_ref().map(|record| rules.takeover_delay(record)));
        let step = state.next(rules, event, now());
        let until = state.leads_until();
        let begun = term.hold(until);
        log.leading_changed(until.is_some(), begun);
        event = tokio::select! {
            biased;
            () = &mut drained => break,
            event = take(step, rules.request, store) => event,
        };
    }
    term.hold(None);
    let mut released = false;
    let release = async {
        let mut event = LeaseEvent::Nothing;
        while let Some(step) = state.leave(rules, event, now()) {
            event = take(step, rules.request, store).await;
            log.record_event(&event, rules);
            released |= matches!(event, LeaseEvent::Written { .. });
        }
    };
    // The time of one request for all of it: a pod has little time to stop, and without a release the Lease expires.
    let _ = tokio::time::timeout(rules.request, release).await;
    if released {
        tracing::info!("leadership released");
    } else if state.may_hold(rules) {
        tracing::warn!("the Lease was not released; others wait until it expires");
    }
}

/// Carries out a step and returns its outcome.
async fn take(step: Step, deadline: Duration, store: &impl Store) -> LeaseEvent {
    let late = || "the API server did not answer in time".to_owned();
    match step {
        Step::Sleep(until) => {
            tokio::time::sleep_until(until).await;
            LeaseEvent::Nothing
        }
        Step::Read => match tokio::time::timeout(deadline, store.read()).await {
            Ok(Ok(Some(lease))) => LeaseEvent::Found(lease),
            Ok(Ok(None)) => LeaseEvent::Absent,
            Ok(Err(failure)) => LeaseEvent::Unread(failure),
            Err(_) => LeaseEvent::Unread(late()),
        },
        Step::Write { onto, record } => {
            // Taken before the server can have the write, so that the term counts from no later than others can see the renewal.
            let sent = Instant::now();
            match tokio::time::timeout(deadline, store.write(onto, record)).await {
                Ok(Ok(lease)) => LeaseEvent::Written { lease, sent },
                Ok(Err(NotWritten::Absent)) => LeaseEvent::Absent,
                Ok(Err(NotWritten::Refused)) => LeaseEvent::Refused,
                Ok(Err(NotWritten::Unanswered(failure))) => LeaseEvent::Unanswered(failure),
                Err(_) => LeaseEvent::Unanswered(late()),
            }
        }
    }
}

/// Logs the election. The holder in a Lease is untrusted text, so it is logged only if it has the form of a candidate's name.
#[derive(Default)]
struct Log {
    /// The holder that this candidate waits for; logged once.
    other_holder: Option<Record>,
    leading: bool,
    /// Whether the last read found a Lease that this process does not hold.
    deposed: bool,
    /// The last failure; logged once, however often it repeats.
    failure: Option<(&'static str, String)>,
}

/// Returns the holder as it may be logged: a pod's name with a unique suffix, as this program and client-go write it.
fn holder_name(holder: &str) -> &str {
    let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.' | b'_');
    if holder.len() <= HOLDER_MAX && holder.bytes().all(is_name) { holder } else { "(no name of an operator)" }
}

/// A pod's name has at most 63 bytes if it is also a host name; client-go adds a UUID of 36.
const HOLDER_MAX: usize = 128;

const UNREAD: &str = "Lease not read";
const UNWRITTEN: &str = "Lease not written";

impl Log {
    fn record_event(&mut self, event: &LeaseEvent, rules: &Rules) {
        let failure = match event {
            LeaseEvent::Nothing | LeaseEvent::Refused => return,
            LeaseEvent::Written { .. } => return self.failure = None,
            LeaseEvent::Found(_) | LeaseEvent::Absent => {
                self.deposed = matches!(event, LeaseEvent::Found(lease) if lease.record.holder != rules.identity);
                self.note_other_holder(if let LeaseEvent::Found(lease) = event { Some(&lease.record) } else { None }, rules);
                // A successful read does not show that writes work.
                return self.failure = self.failure.take().filter(|(what, _)| *what == UNWRITTEN);
            }
            LeaseEvent::Unread(failure) => (UNREAD, failure.clone()),
            LeaseEvent::Unanswered(failure) => (UNWRITTEN, failure.clone()),
        };
        if self.failure.as_ref() != Some(&failure) {
            let (what, failure) = &failure;
            tracing::warn!(leading = self.leading, failure, "{what}");
        }
        self.failure = Some(failure);
    }

    fn note_other_holder(&mut self, record: Option<&Record>, rules: &Rules) {
        let other_holder = record.filter(|record| !record.holder.is_empty() && record.holder != rules.identity);
        let same =
            |before: &Record| other_holder.is_some_and(|now| now.holder == before.holder && now.duration == before.duration);
        if let Some(record) = other_holder.filter(|_| !self.other_holder.as_ref().is_some_and(same)) {
            let seconds = rules.takeover_delay(record).as_secs();
            tracing::info!(
                holder = holder_name(&record.holder),
                seconds,
                "standing by; taking over when the Lease has not changed for that long"
            );
            if record.duration.is_some_and(|duration| duration.as_secs() > seconds) {
                tracing::warn!(seconds, "the Lease states a longer duration than any operator's; waiting no longer than this");
            }
        }
        if record.is_some() {
            self.other_holder = other_holder.cloned();
        }
    }

    fn leading_changed(&mut self, leading: bool, begun: bool) {
        // One term may directly follow another, with only an instant without a leader between them.
        if self.leading && (begun || !leading) {
            let why = if self.deposed { "the Lease has another holder" } else { "the Lease was not renewed in time" };
            tracing::info!(why, "leadership lost");
        }
        if begun {
            tracing::info!("leadership acquired");
        }
        self.leading = leading;
    }
}
