//! Who of several operators acts: leader election by a Lease. Reads and writes that one object of Kubernetes.
//!
//! ```text
//! Candidate::run:   heard ─▶ decide ─▶ step ─▶ heard ─▶ …        Leadership, Term: may work go on?
//!                            pure      one request, or a rest
//! ```
//!
//! **Contract.** The rules are client-go's. Every write is a PUT onto the version that was read, so of two candidates one fails. A
//! Lease has expired when *this* process has seen no change of it for as long as it says, by this process's monotonic clock; nobody's
//! wall clock decides anything. A leader that has not renewed within the renew deadline gives up by itself, counted from before the
//! last renewal was sent, which is sooner than anyone else can find the Lease expired. A request without an answer may have been
//! carried out, so the Lease is read again before anything else is assumed.
//!
//! **Invariant.** No two candidates lead at the same instant. It does not depend on this module's task being run in time:
//! [`Term::is_leading`] turns false by the clock.
//!
//! **Limits.** A monotonic clock stands still while its machine is suspended, so a leader that wakes from that may be wrong until it
//! next renews. So may one whose Lease a person edits or deletes: a candidate that has seen the Lease before waits, for the time of one
//! Lease, for its leader to make it again, but one that has just started cannot know that there was one. What must not be done twice even then needs a
//! condition of its own, such as the resource version of what is written.
//!
//! **Rights.** On `leases` of `coordination.k8s.io`, in the Lease's namespace: `get`, `create`, `update`. Not `watch`: a standby asks
//! once a second instead. That notices a clean stop as soon as is needed, costs one read of one small object, and cannot fail
//! silently; a watch breaks unnoticed for minutes, so it would need the same question besides.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

mod decide;
mod lease;
mod standing;

#[cfg(test)]
mod tests;
mod timing;

use decide::{Heard, Now, Rules, State, Step};
use lease::{Cluster, NotWritten, Record, Store};
use standing::Office;
pub use standing::{Leadership, Term};
pub use timing::{Timing, TimingError};

/// Where and as whom a candidate stands.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Lease's namespace, which must be there.
    pub namespace: String,
    /// The Lease's name; candidates of one name are rivals.
    pub name: String,
    /// What people know this process by, such as its pod's name. The holder written into the Lease begins with it.
    pub instance: String,
    /// How long things take.
    pub timing: Timing,
}

/// Why a candidate cannot stand.
#[derive(Debug, thiserror::Error)]
pub enum StandError {
    /// No client.
    #[error("the kubeconfig makes no client for leader election; try it with kubectl")]
    Client(#[source] Box<kube::Error>),
    /// No random numbers.
    #[error("the platform gave no random numbers for the name this candidate stands under")]
    Random(#[from] aws_lc_rs::error::Unspecified),
}

/// A process that wants to lead.
pub struct Candidate {
    rules: Rules,
    lease: Cluster,
    office: Office,
}

impl Candidate {
    /// A candidate with a client of its own. Needs a runtime.
    pub fn new(config: kube::Config, settings: Settings) -> Result<Self, StandError> {
        let lease =
            Cluster::new(config, &settings.namespace, settings.name).map_err(|error| StandError::Client(Box::new(error)))?;
        let mut random = [0; 5];
        aws_lc_rs::rand::fill(&mut random)?;
        let [suffix @ .., jitter] = random;
        // A pod's name is no identity: a container that starts again has the old one's, and may find its Lease unexpired.
        let identity = format!("{}_{:08x}", settings.instance, u32::from_be_bytes(suffix));
        Ok(Self { rules: Rules::new(identity, settings.timing, jitter), lease, office: Office::default() })
    }

    /// Tells whether this candidate leads; for those whose work depends on it.
    pub fn leadership(&self) -> Leadership {
        self.office.leadership()
    }

    /// The holder that is written into the Lease: this process, and no other before or after it.
    pub fn identity(&self) -> &str {
        &self.rules.identity
    }

    /// Stands until `drained` resolves, which says that work under this leadership has ended; then hands over at once.
    ///
    /// To drop it instead leaves the Lease to expire.
    pub async fn run(self, drained: impl Future<Output = ()>) {
        stand(&self.rules, &self.lease, Timestamp::now, &self.office, drained).await;
    }
}

/// The election, whatever the Lease is kept in and whatever the wall clock shows.
async fn stand(
    rules: &Rules,
    store: &impl Store,
    wall: impl Fn() -> Timestamp,
    office: &Office,
    drained: impl Future<Output = ()>,
) {
    let now = || Now { local: Instant::now(), wall: wall() };
    let mut drained = pin!(drained);
    let mut state = State::new(now().local);
    let mut log = Log::default();
    let mut heard = Heard::Nothing;
    loop {
        log.heard(&heard, rules);
        office.waits(log.rival.as_ref().map(|record| rules.leave_alone(record)));
        let step = state.next(rules, heard, now());
        let until = state.leads_until();
        let begun = office.hold(until);
        log.standing(until.is_some(), begun);
        heard = tokio::select! {
            biased;
            () = &mut drained => break,
            heard = take(step, rules.request, store) => heard,
        };
    }
    office.hold(None);
    let mut released = false;
    let release = async {
        let mut heard = Heard::Nothing;
        while let Some(step) = state.leave(rules, heard, now()) {
            heard = take(step, rules.request, store).await;
            log.heard(&heard, rules);
            released |= matches!(heard, Heard::Written { .. });
        }
    };
    // One request's time for all of it: a pod is given little to stop, and without a release the Lease expires.
    let _ = tokio::time::timeout(rules.request, release).await;
    if released {
        tracing::info!("leadership released");
    } else if state.may_hold(rules) {
        tracing::warn!("the Lease was not released; others wait until it expires");
    }
}

/// Takes a step and gives what was heard by it.
async fn take(step: Step, deadline: Duration, store: &impl Store) -> Heard {
    let late = || "the API server did not answer in time".to_owned();
    match step {
        Step::Rest(until) => {
            tokio::time::sleep_until(until).await;
            Heard::Nothing
        }
        Step::Read => match tokio::time::timeout(deadline, store.read()).await {
            Ok(Ok(Some(lease))) => Heard::Found(lease),
            Ok(Ok(None)) => Heard::Absent,
            Ok(Err(failure)) => Heard::Unread(failure),
            Err(_) => Heard::Unread(late()),
        },
        Step::Write { onto, record } => {
            // Before the server can have it: what follows from a renewal begins no later than others can see it.
            let sent = Instant::now();
            match tokio::time::timeout(deadline, store.write(onto, record)).await {
                Ok(Ok(lease)) => Heard::Written { lease, sent },
                Ok(Err(NotWritten::Absent)) => Heard::Absent,
                Ok(Err(NotWritten::Refused)) => Heard::Refused,
                Ok(Err(NotWritten::Unanswered(failure))) => Heard::Unanswered(failure),
                Err(_) => Heard::Unanswered(late()),
            }
        }
    }
}

/// What is said of an election. Another holder is named where what the Lease has is the name of one: it is anybody's text who may write
/// the Lease.
#[derive(Default)]
struct Log {
    /// Whom this one waited for last; told once.
    rival: Option<Record>,
    leading: bool,
    /// Whether the Lease was seen last to have another holder, or none.
    deposed: bool,
    /// The last failure, told once however often it comes in a row.
    failure: Option<(&'static str, String)>,
}

/// A holder as it may be shown: a pod's name with what makes it one's own, as this program and client-go write it.
fn holder_name(holder: &str) -> &str {
    let is_name = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.' | b'_');
    if holder.len() <= HOLDER_MAX && holder.bytes().all(is_name) { holder } else { "(no name of an operator)" }
}

/// A pod's name has 63 bytes at most where it is a host's name too; client-go adds a UUID of 36.
const HOLDER_MAX: usize = 128;

const UNREAD: &str = "Lease not read";
const UNWRITTEN: &str = "Lease not written";

impl Log {
    fn heard(&mut self, heard: &Heard, rules: &Rules) {
        let failure = match heard {
            Heard::Nothing | Heard::Refused => return,
            Heard::Written { .. } => return self.failure = None,
            Heard::Found(_) | Heard::Absent => {
                self.deposed = matches!(heard, Heard::Found(lease) if lease.record.holder != rules.identity);
                self.rival(if let Heard::Found(lease) = heard { Some(&lease.record) } else { None }, rules);
                // To read it is no sign that it can be written.
                return self.failure = self.failure.take().filter(|(what, _)| *what == UNWRITTEN);
            }
            Heard::Unread(failure) => (UNREAD, failure.clone()),
            Heard::Unanswered(failure) => (UNWRITTEN, failure.clone()),
        };
        if self.failure.as_ref() != Some(&failure) {
            let (what, failure) = &failure;
            tracing::warn!(leading = self.leading, failure, "{what}");
        }
        self.failure = Some(failure);
    }

    fn rival(&mut self, record: Option<&Record>, rules: &Rules) {
        let rival = record.filter(|record| !record.holder.is_empty() && record.holder != rules.identity);
        let same = |before: &Record| rival.is_some_and(|now| now.holder == before.holder && now.lasts == before.lasts);
        if let Some(record) = rival.filter(|_| !self.rival.as_ref().is_some_and(same)) {
            let seconds = rules.leave_alone(record).as_secs();
            tracing::info!(
                holder = holder_name(&record.holder),
                seconds,
                "standing by; taking over when the Lease has not changed for that long"
            );
            if record.lasts.is_some_and(|lasts| lasts.as_secs() > seconds) {
                tracing::warn!(
                    seconds,
                    "the Lease says that it lasts longer than any operator's; it is left alone no longer than that"
                );
            }
        }
        if record.is_some() {
            self.rival = rival.cloned();
        }
    }

    fn standing(&mut self, leading: bool, begun: bool) {
        // One term may follow another without anything between them but a moment in which nobody led.
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
