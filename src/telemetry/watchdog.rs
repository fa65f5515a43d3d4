//! Whether the operator still makes progress: its runtime, watches and queue. This decides `/livez`.
//!
//! **Contract.** Stuck means that a new process would help, and nothing else would. An unreachable API server, a slow host and a
//! long queue are not stuck. [`verdict`] is pure; time is a parameter, counted from when the watchdog was made.
//!
//! | part | makes progress when | stuck after |
//! |---|---|---|
//! | main runtime | [`Watchdog::heartbeat`] runs on it | [`Bounds::runtime`] |
//! | a watch | it asks the API server, or hears from it | [`Bounds::watch`] |
//! | a running check | it ends | [`Bounds::check`] |
//! | the queue, while checks wait | any check begins or ends | [`Bounds::check`] |
//!
//! Watch traffic is observed by [`watch_traffic`], below kube's `watcher`. The `watcher` does not pass on bookmarks, the end of a
//! watch or its restart, so the consumer of a healthy watch hears nothing while the cluster is quiet.
//!
//! How long a check waits in the queue shows nothing: in an outage, thousands of slow checks are ahead of it. What counts is that
//! one of them ends within its bound.

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

    /// Returns the name in metrics and on `/livez`.
    pub fn as_str(self) -> &'static str {
        match self {
            Watched::Connections => "connections",
            Watched::Secrets => "secrets",
        }
    }
}

/// The interval of the main runtime's heartbeat. One wake-up in that time costs nothing, and six are missed before it counts.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// How long each part may go without progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// The main runtime.
    pub runtime: Duration,
    /// A watch.
    pub watch: Duration,
    /// A check, and with it the queue.
    pub check: Duration,
    /// The longest silence of a watch; beyond it the operator is not ready.
    pub silence: Duration,
}

impl Default for Bounds {
    /// - A main runtime that only lacks CPU still runs a task within 30 s.
    /// - A watch is silent for at most 95 s before it restarts, and its requests end within 65 s
    ///   ([`deadlines`](crate::cluster::deadlines)). After a failure, it pauses for at most a minute. These times do not add up,
    ///   because each ends in a new request. Ten minutes is far above the longest of them.
    /// - A check takes `spec.timeout` (5 m at most) once, and again if a shared session did not work; the same for a candidate;
    ///   four Kubernetes reads before and at most six writes after, of 15 s each; and its waits for others with the same values. An
    ///   hour is more than several such waits take.
    /// - A healthy watch hears something within 95 s and the time until its successor is answered. Three minutes is twice that, and
    ///   allows for one or two failures.
    fn default() -> Self {
        Self {
            runtime: Duration::from_secs(30),
            watch: Duration::from_mins(10),
            check: Duration::from_mins(60),
            silence: Duration::from_mins(3),
        }
    }
}

/// How long each part has made no progress; `None` if there is nothing to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ages {
    /// The main runtime, since its last heartbeat.
    pub runtime: Option<Duration>,
    /// The watches, in the order of [`Watched::ALL`], since each last asked or heard something.
    pub watches: [Option<Duration>; Watched::ALL.len()],
    /// The check that has been running longest, since it began.
    pub check: Option<Duration>,
    /// The queue, while checks wait, since one began or ended.
    pub queue: Option<Duration>,
}

/// The part that makes no progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stuck {
    /// The main runtime.
    #[error("the main runtime has not run for {} s", .0.as_secs())]
    Runtime(Duration),
    /// A watch.
    #[error("the watch of {} has neither sent nor received anything for {} s", .0.as_str(), .1.as_secs())]
    Watch(Watched, Duration),
    /// A check.
    #[error("a check has been running for {} s", .0.as_secs())]
    Check(Duration),
    /// The queue.
    #[error("checks wait, and none has begun or ended for {} s", .0.as_secs())]
    Queue(Duration),
}

/// A watch that has heard nothing for too long.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the watch of {}{} has received nothing for {} s; the log says why", .watched.as_str(), in_namespace(.namespace.as_deref()), .silence.as_secs())]
pub struct SilentWatch {
    watched: Watched,
    namespace: Option<Box<str>>,
    silence: Duration,
}

fn in_namespace(namespace: Option<&str>) -> String {
    namespace.map(|namespace| format!(" in namespace {namespace}")).unwrap_or_default()
}

/// Returns the part that is stuck, if any; a cause comes before its effects.
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

/// Records when each part last made progress. Each lock in it is held for a few instructions, and never across a wait.
pub struct Watchdog {
    bounds: Bounds,
    clock: Box<dyn Fn() -> Duration + Send + Sync>,
    runtime: AtomicInstant,
    /// **Bound.** One per kind and watched namespace.
    watches: Mutex<Watches>,
    queue: Mutex<Queue>,
}

/// The kind and the namespace that are watched; `None` for all namespaces.
type WatchKey = (Watched, Option<Box<str>>);
type Watches = BTreeMap<WatchKey, Arc<Watch>>;

/// A watch of one kind, of all namespaces or of one.
#[derive(Debug, Default)]
pub struct Watch {
    /// When something was last heard; before that, the first request.
    last_received: AtomicInstant,
    /// When something was last asked or heard.
    moved: AtomicInstant,
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

/// The start time, and a number that tells entries apart.
type Entry = (Duration, u64);

impl Watchdog {
    /// Makes a watchdog. A part is judged only after its first progress.
    pub fn new(bounds: Bounds) -> Self {
        let began = Instant::now();
        Self::with_clock(bounds, move || began.elapsed())
    }

    /// Makes a watchdog whose `clock` returns the time since it was made.
    pub fn with_clock(bounds: Bounds, clock: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let clock = Box::new(clock);
        Self { bounds, clock, runtime: AtomicInstant::default(), watches: Mutex::default(), queue: Mutex::default() }
    }

    /// Shows that the runtime on which it is spawned runs. Never ends.
    pub async fn heartbeat(self: Arc<Self>) {
        loop {
            self.runtime.set(self.now());
            tokio::time::sleep(HEARTBEAT).await;
        }
    }

    /// Returns the watch of this kind, of all namespaces or of one; adds it if it is new.
    pub fn watch(&self, watched: Watched, namespace: Option<&str>) -> Arc<Watch> {
        self.watches().entry((watched, namespace.map(Into::into))).or_default().clone()
    }

    /// Notes that a watch asks the API server for a list or for changes.
    pub fn asked(&self, watch: &Watch) {
        let now = self.now();
        watch.moved.set(now);
        watch.last_received.set_first(now);
    }

    /// Notes that a watch heard from the API server: a response, an event or a bookmark.
    pub fn received(&self, watch: &Watch) {
        let now = self.now();
        watch.moved.set(now);
        watch.last_received.set(now);
    }

    /// Returns how long each started watch has heard nothing, by kind and namespace.
    pub fn silences(&self, now: Duration) -> Vec<(Watched, Option<Box<str>>, Duration)> {
        let watches = self.watches();
        let of = |((watched, namespace), watch): (&WatchKey, &Arc<Watch>)| {
            Some((*watched, namespace.clone(), watch.last_received.age(now)?))
        };
        watches.iter().filter_map(of).collect()
    }

    /// Returns the watch that has been silent longest, if that is too long to keep verdicts up to date. It does not count as stuck,
    /// because a new process would mostly do no better.
    pub fn silent_watch(&self) -> Option<SilentWatch> {
        let silences = self.silences(self.now()).into_iter();
        let longest = silences.max_by_key(|(_, _, silence)| *silence)?;
        Some(longest)
            .filter(|(_, _, silence)| *silence > self.bounds.silence)
            .map(|(watched, namespace, silence)| SilentWatch { watched, namespace, silence })
    }

    /// Adds a check that waits in the queue.
    pub fn queued(self: &Arc<Self>) -> Check {
        let now = self.now();
        let mut queue = self.queue();
        let entry = (now, queue.next);
        queue.next += 1;
        queue.waiting.insert(entry);
        Check { watchdog: self.clone(), entry }
    }

    /// Returns how many checks wait, and how many run.
    pub fn depth(&self) -> (usize, usize) {
        let queue = self.queue();
        (queue.waiting.len(), queue.running.len())
    }

    /// Returns the longest time that a check in the queue has waited.
    pub fn longest_wait(&self, now: Duration) -> Option<Duration> {
        self.queue().waiting.first().map(|(since, _)| now.saturating_sub(*since))
    }

    /// Returns how long each part has made no progress.
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
            // A check that has just entered an idle queue is not charged with the idle time.
            queue: age(&queue.waiting).map(|wait| wait.min(now.saturating_sub(queue.moved))),
        }
    }

    /// Returns the part that is stuck now.
    pub fn check(&self) -> Result<(), Stuck> {
        verdict(&self.ages(self.now()), &self.bounds)
    }

    /// Returns the time since the watchdog was made.
    pub fn now(&self) -> Duration {
        (self.clock)()
    }

    fn watches(&self) -> MutexGuard<'_, Watches> {
        // The map only grows, so a poisoned lock holds valid data.
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves both sets consistent, so a poisoned lock holds valid data.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Watchdog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watchdog").field("bounds", &self.bounds).field("ages", &self.ages(self.now())).finish()
    }
}

/// A check, from when it enters the queue until it is dropped. It waits until [`Check::runs`] is called.
///
/// A check that is not due yet is not in the queue.
#[derive(Debug)]
pub struct Check {
    watchdog: Arc<Watchdog>,
    entry: Entry,
}

impl Check {
    /// Notes that the check runs and must end within [`Bounds::check`]; returns how long it has waited.
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

    /// Notes that the check waits again, for another check that runs.
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
struct AtomicInstant(AtomicU64);

impl AtomicInstant {
    fn set(&self, now: Duration) {
        self.0.store(Self::mark(now), Ordering::Relaxed);
    }

    fn set_first(&self, now: Duration) {
        // If it is already set, it stays.
        let _ = self.0.compare_exchange(0, Self::mark(now), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn age(&self, now: Duration) -> Option<Duration> {
        let since = self.0.load(Ordering::Relaxed).checked_sub(1)?;
        // `now` may have been read before the event; then the age is zero.
        Some(now.saturating_sub(Duration::from_nanos(since)))
    }

    /// Nanoseconds in 64 bits last for 584 years.
    fn mark(now: Duration) -> u64 {
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX - 1).saturating_add(1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
