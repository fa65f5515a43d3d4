//! Whether the operator still moves: its runtime, its watches, its queue. What `/livez` says.
//!
//! **Contract.** Stuck means that a new process would help, and nothing else does: an API server that is away, a host that is slow
//! and a queue that is long are not stuck. [`verdict`] is pure; time is a parameter, counted from when the watchdog was made.
//!
//! | part | moves when | stuck after |
//! |---|---|---|
//! | main runtime | [`Watchdog::heartbeat`] runs on it | [`Bounds::runtime`] |
//! | a watch | it asks the API server something, or hears of it | [`Bounds::watch`] |
//! | a running check | it ends | [`Bounds::check`] |
//! | the queue, while checks wait | any check begins or ends | [`Bounds::check`] |
//!
//! What is heard of a watch comes from [`watch_traffic`], below kube's `watcher`: that one keeps bookmarks, the end of a watch and its
//! beginning anew to itself, so a consumer of a healthy watch over a quiet cluster hears nothing for as long as it is quiet.
//!
//! How long a check waits for its place says nothing, since thousands of slow ones are ahead of it in an outage: that one of them
//! ends within its bound does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub mod watch_traffic;

/// What is watched in Kubernetes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Watched {
    /// The connections.
    Connections,
    /// The Secrets' metadata.
    Secrets,
}

impl Watched {
    /// All of them.
    pub const ALL: [Watched; 2] = [Watched::Connections, Watched::Secrets];

    /// As in metrics and on `/livez`.
    pub fn as_str(self) -> &'static str {
        match self {
            Watched::Connections => "connections",
            Watched::Secrets => "secrets",
        }
    }
}

/// How often the main runtime shows that it runs: one wake-up in so long is nothing, and six are missed before it counts.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long each part may stand still.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The main runtime.
    pub runtime: Duration,
    /// A watch.
    pub watch: Duration,
    /// A check, and with it the queue.
    pub check: Duration,
    /// Of a watch, for how long nothing need be heard; beyond it the operator is not ready.
    pub silence: Duration,
}

impl Default for Bounds {
    /// - A main runtime that is only short of CPU still gets to a task within 30 s.
    /// - A watch is silent for 95 s at most before it is begun anew, and its requests end within 65 s ([`deadlines`](crate::cluster::deadlines)); after a failure
    ///   it pauses for a minute at most. They do not add up: each ends in a new request. Ten minutes is far above the longest of them.
    /// - A check takes `spec.timeout` (5 m at most) once, and again where a lent session was of no use; the same for a candidate; four
    ///   reads of Kubernetes before and at most six writes after, of 15 s each; and its turns behind others with the same values.
    ///   An hour is above what some such turns take.
    /// - Of a watch that is well something is heard within 95 s and the time that its successor takes to be answered. Three minutes is
    ///   twice that, and with it one or two failures.
    fn default() -> Self {
        Self {
            runtime: Duration::from_secs(30),
            watch: Duration::from_mins(10),
            check: Duration::from_mins(60),
            silence: Duration::from_mins(3),
        }
    }
}

/// How long each part has stood still; `None` where there is nothing that should move.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ages {
    /// The main runtime, since its last heartbeat.
    pub runtime: Option<Duration>,
    /// The watches, in the order of [`Watched::ALL`], since each asked or heard something.
    pub watches: [Option<Duration>; Watched::ALL.len()],
    /// The check that has been running longest, since it began.
    pub check: Option<Duration>,
    /// The queue, while checks wait, since one began or ended.
    pub queue: Option<Duration>,
}

/// What does not move any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The main runtime.
    #[error("the main runtime has not run for {} s", .0.as_secs())]
    Runtime(Duration),
    /// A watch.
    #[error("the watch of {} has neither asked nor heard anything for {} s", .0.as_str(), .1.as_secs())]
    Watch(Watched, Duration),
    /// A check.
    #[error("a check has been running for {} s", .0.as_secs())]
    Check(Duration),
    /// The queue.
    #[error("checks wait, and none has begun or ended for {} s", .0.as_secs())]
    Queue(Duration),
}

/// A watch that hears nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("nothing has been heard of the watch of {}{} for {} s; the log says why", .watched.as_str(), in_namespace(.namespace.as_deref()), .silence.as_secs())]
pub struct Deaf {
    watched: Watched,
    namespace: Option<Box<str>>,
    silence: Duration,
}

fn in_namespace(namespace: Option<&str>) -> String {
    namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
}

/// What is stuck, if anything is; the cause before what follows from it.
pub fn verdict(ages: &Ages, bounds: &Bounds) -> Result<(), Stuck> {
    let beyond = |age: Option<Duration>, bound: Duration| age.filter(|age| *age > bound);
    if let Some(age) = beyond(ages.runtime, bounds.runtime) {
        return Err(Stuck::Runtime(age));
    }
    for (watched, age) in Watched::ALL.into_iter().zip(ages.watches) {
        if let Some(age) = beyond(age, bounds.watch) {
            return Err(Stuck::Watch(watched, age));
        }
    }
    if let Some(age) = beyond(ages.check, bounds.check) {
        return Err(Stuck::Check(age));
    }
    match beyond(ages.queue, bounds.check) {
        Some(age) => Err(Stuck::Queue(age)),
        None => Ok(()),
    }
}

/// Keeps when each part last moved. Every lock in it is held for some instructions and never across a wait.
pub struct Watchdog {
    bounds: Bounds,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    runtime: Moment,
    /// **Bound.** One a kind and namespace that is watched.
    watches: Mutex<Watches>,
    queue: Mutex<Queue>,
}

/// What is watched, and in which namespace; in all where it is `None`.
type Place = (Watched, Option<Box<str>>);
type Watches = BTreeMap<Place, Arc<Watch>>;

/// A watch of one kind, of all namespaces or of one.
#[derive(Debug, Default)]
pub struct Watch {
    /// When something was heard; before that, when it was first asked for.
    heard: Moment,
    /// When something was asked or heard.
    moved: Moment,
}

/// **Bound.** As many entries as there are [`Check`]s.
#[derive(Default)]
struct Queue {
    next: u64,
    waiting: BTreeSet<Entry>,
    running: BTreeSet<Entry>,
    /// When a check last began or ended.
    moved: Duration,
}

/// Since when, and a number to tell entries apart.
type Entry = (Duration, u64);

impl Watchdog {
    /// Nothing is judged before it moves for the first time.
    pub fn new(bounds: Bounds) -> Self {
        let began = Instant::now();
        Self::with_clock(bounds, move || began.elapsed())
    }

    /// One that takes the time since it was made from `clock`.
    pub fn with_clock(bounds: Bounds, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let clock = Box::new(clock);
        Self { bounds, clock, runtime: Moment::default(), watches: Mutex::default(), queue: Mutex::default() }
    }

    /// Shows that the runtime it is spawned on runs. Never ends.
    pub async fn heartbeat(self: Arc<Self>) {
        loop {
            self.runtime.set(self.now());
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    /// The watch of this kind, of all namespaces or of one; made known if it is not.
    pub fn watch(&self, watched: Watched, namespace: Option<&str>) -> Arc<Watch> {
        self.watches().entry((watched, namespace.map(Into::into))).or_default().clone()
    }

    /// A watch asks the API server for a list, or for what changes.
    pub fn asked(&self, watch: &Watch) {
        let now = self.now();
        watch.moved.set(now);
        watch.heard.set_first(now);
    }

    /// A watch heard of the API server: an answer, an event, a bookmark.
    pub fn beat(&self, watch: &Watch) {
        let now = self.now();
        watch.moved.set(now);
        watch.heard.set(now);
    }

    /// How long nothing has been heard of each watch that has begun, by kind and namespace.
    pub fn silences(&self, now: Duration) -> Vec<(Watched, Option<Box<str>>, Duration)> {
        let watches = self.watches();
        let of =
            |((watched, namespace), watch): (&Place, &Arc<Watch>)| Some((*watched, namespace.clone(), watch.heard.age(now)?));
        watches.iter().filter_map(of).collect()
    }

    /// The watch of which nothing has been heard for longest, if that is too long for verdicts to be kept up. A new process would mostly
    /// fare no better, so it is not stuck.
    pub fn deaf(&self) -> Option<Deaf> {
        let silences = self.silences(self.now()).into_iter();
        let longest = silences.max_by_key(|(_, _, silence)| *silence)?;
        Some(longest).filter(|(_, _, silence)| *silence > self.bounds.silence).map(|(watched, namespace, silence)| Deaf {
            watched,
            namespace,
            silence,
        })
    }

    /// A check that waits for its place.
    pub fn queued(self: &Arc<Self>) -> Check {
        let now = self.now();
        let mut queue = self.queue();
        let entry = (now, queue.next);
        queue.next += 1;
        queue.waiting.insert(entry);
        Check { watchdog: self.clone(), entry }
    }

    /// How many checks wait, and how many run.
    pub fn depth(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.waiting.len(), queue.running.len())
    }

    /// How long the check has waited that has waited longest.
    pub fn longest_wait(&self, now: Duration) -> Option<Duration> {
        self.queue().waiting.first().map(|(since, _)| now.saturating_sub(*since))
    }

    /// How long each part has stood still.
    pub fn ages(&self, now: Duration) -> Ages {
        let queue = self.queue();
        let age = |entries: &BTreeSet<Entry>| entries.first().map(|(since, _)| now.saturating_sub(*since));
        Ages {
            runtime: self.runtime.age(now),
            watches: Watched::ALL.map(|watched| {
                let watches = self.watches();
                let of_it = watches.iter().filter(|((of, _), _)| *of == watched);
                of_it.filter_map(|(_, watch)| watch.moved.age(now)).max()
            }),
            check: age(&queue.running),
            // A check that has just come to an idle queue is not held up by how long that was idle.
            queue: age(&queue.waiting).map(|wait| wait.min(now.saturating_sub(queue.moved))),
        }
    }

    /// What is stuck now.
    pub fn check(&self) -> Result<(), Stuck> {
        verdict(&self.ages(self.now()), &self.bounds)
    }

    /// The time since it was made.
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        // Only inserted into, so a poisoned lock holds good data.
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves both sets in step, so a poisoned lock holds good data.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog").field("bounds", &self.bounds).field("ages", &self.ages(self.now())).finish()
    }
}

/// A check, from when it is queued until it is dropped. It waits until [`Check::runs`] is called.
///
/// What waits for a time that has not come yet is not queued.
#[derive(Debug)]
pub struct Check {
    watchdog: Arc<Watchdog>,
    entry: Entry,
}

impl Check {
    /// It has got its place, or its turn, and is to end within [`Bounds::check`]; gives how long it has waited.
    pub fn runs(&mut self) -> Duration {
        let since = self.entry.0;
        let now = self.watchdog.now();
        let mut queue = self.watchdog.queue();
        queue.remove(self.entry, now);
        self.entry.0 = now;
        queue.running.insert(self.entry);
        queue.moved = now;
        now.saturating_sub(since)
    }

    /// It waits again, for another check that runs.
    pub fn waits(&mut self) {
        let now = self.watchdog.now();
        let mut queue = self.watchdog.queue();
        queue.remove(self.entry, now);
        self.entry.0 = now;
        queue.waiting.insert(self.entry);
    }
}

impl Drop for Check {
    fn drop(&mut self) {
        let now = self.watchdog.now();
        self.watchdog.queue().remove(self.entry, now);
    }
}

impl Queue {
    fn remove(&mut self, entry: Entry, now: Duration) {
        if self.running.remove(&entry) {
            self.moved = now;
        } else {
            self.waiting.remove(&entry);
        }
    }
}

/// When something last happened: the time plus one nanosecond, or zero for never.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn set(&self, now: Duration) {
        self.0.store(Self::mark(now), Ordering::Relaxed);
    }

    fn set_first(&self, now: Duration) {
        // One that is set already is what is wanted.
        let _ = self.0.compare_exchange(0, Self::mark(now), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn age(&self, now: Duration) -> Option<Duration> {
        let since = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        // What happened after `now` was read is new.
        Some(now.saturating_sub(Duration::from_nanos(since)))
    }

    /// Nanoseconds of a process' life fit for 584 years.
    fn mark(now: Duration) -> u64 {
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
