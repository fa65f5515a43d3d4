//! The work queue of connections to check, with the rules of client-go's work queue.
//!
//! **Contract.** A connection is in the queue once. One worker at a time checks it. If it is woken during the check, it is checked
//! again afterwards. A burst of events (a Secret and its connection applied together) causes one check.
//!
//! Namespaces share the workers: namespaces with due checks are served round-robin, and within a namespace, the check that is due
//! first is served first. A namespace holds at most three times as many workers as are free ([`fair_share`]), so that however many
//! checks of one namespace hang, the next check of another finds a worker.
//!
//! The queue replaces kube's `applier`, which polls every queued or running check whenever any of them makes progress. With ten
//! thousand connections, that took six times the CPU of all the rest, and each waiting check held as much memory as a running one.
//!
//! **Bound.** One place for each connection, which is forgotten when the connection is deleted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::cluster::watch::ConnectionRef;
use crate::telemetry::watchdog::{Check, Watchdog};

/// The debounce time: events of a burst come within this time of the first. The operator sees a Secret's rotation that much later.
const BURST: Duration = Duration::from_millis(25);

/// How many times as much as is free a namespace may hold. A namespace that is alone gets three quarters of all; the more
/// namespaces compete, the smaller the share of each.
const SHARE_OF_FREE: usize = 3;

/// Returns true if a namespace that holds `held` units of a shared resource, of which `free` are left, may hold one more: it may
/// have up to `SHARE_OF_FREE` times the free ones. Switches share a buffer by this rule of dynamic thresholds: no share is
/// configured, one namespace alone can use most, and some is left for the next.
pub fn fair_share(held: usize, free: usize) -> bool {
    free > 0 && (held == 0 || held < free.saturating_mul(SHARE_OF_FREE))
}

/// The work queue.
pub struct Queue {
    line: Mutex<QueueState>,
    /// One permit for each place that is ready, or was ready when it was forgotten, except those that wait for the share of their
    /// namespace.
    ready: Semaphore,
    /// Signals that the first due place has changed.
    sooner: Notify,
    watchdog: Arc<Watchdog>,
}

impl Queue {
    /// Creates an empty queue for this number of workers. The watchdog sees how long checks wait.
    pub fn new(workers: usize, watchdog: Arc<Watchdog>) -> Self {
        let line = QueueState { workers: workers.max(1), ..QueueState::default() };
        Self { line: Mutex::new(line), ready: Semaphore::new(0), sooner: Notify::new(), watchdog }
    }

    /// Schedules a check of a connection soon.
    pub fn wake(&self, connection: &ConnectionRef) {
        if self.line().add(connection, Instant::now() + BURST) {
            self.sooner.notify_one();
        }
    }

    /// Waits for the next connection to check. Returns it with its entry in the watchdog's queue, or `None` when the queue is
    /// closed. [`Self::done`] must follow.
    pub async fn next(&self) -> Option<(ConnectionRef, Check)> {
        loop {
            self.ready.acquire().await.ok()?.forget();
            let (next, released) = {
                let mut line = self.line();
                // If one check may begin, another may too. A worker that finds nothing does not look again until a check has
                // ended.
                line.begin().map_or((None, 0), |next| (Some(next), line.release()))
            };
            self.permit(released);
            if next.is_some() {
                return next;
            }
        }
    }

    /// Records that a check has ended. The next one begins after the time `next`, or on a change.
    pub fn done(&self, connection: &ConnectionRef, next: Option<Duration>) {
        let now = Instant::now();
        // The limit is far beyond any interval, and keeps the clock from overflowing.
        let next = next.map(|wait| now + wait.min(Duration::from_secs(7 * 86_400)));
        let (is_first, released) = {
            let mut line = self.line();
            (line.done(connection, next), line.release())
        };
        if is_first {
            self.sooner.notify_one();
        }
        self.permit(released);
    }

    fn permit(&self, ready: usize) {
        if ready > 0 && !self.ready.is_closed() {
            self.ready.add_permits(ready);
        }
    }

    /// Forgets a connection that no longer exists.
    pub fn forget(&self, connection: &ConnectionRef) {
        self.line().forget(connection);
    }

    /// Closes the queue: no further check begins.
    pub fn close(&self) {
        self.ready.close();
    }

    /// Hands due connections to the workers. Never returns.
    pub async fn run(&self) {
        loop {
            let sooner = self.sooner.notified();
            let (moved, next) = {
                let mut line = self.line();
                let moved = line.promote_due(Instant::now(), || self.watchdog.queued());
                (moved, line.first_due())
            };
            self.permit(moved);
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = sooner => {}
                },
                None => sooner.await,
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, QueueState> {
        // A panic can at most leave a place in one collection and not in the other. Such a place is skipped.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When a place is due, and a sequence number that orders places with the same time.
type Due = (Instant, u64);

/// The state of the queue. Pure: time is a parameter.
#[derive(Default)]
struct QueueState {
    places: HashMap<ConnectionRef, Place>,
    later: BTreeMap<Due, ConnectionRef>,
    /// The due connections, by namespace.
    ready: HashMap<Arc<str>, VecDeque<(ConnectionRef, u64, Check)>>,
    /// The namespaces in `ready`, the next to be served first.
    rotation: VecDeque<Arc<str>>,
    /// The number of running checks by namespace, their total, and their maximum.
    running: HashMap<Arc<str>, usize>,
    busy: usize,
    workers: usize,
    /// Workers that found nothing to begin, because each namespace with due checks has its share.
    idle_workers: usize,
    count: u64,
}

enum Place {
    /// It is not due yet.
    Later(Due),
    /// It waits for a worker. An entry in `ready` with another number belongs to a connection that was deleted.
    Ready(u64),
    /// It is being checked.
    Running {
        /// When it is due again, if it was woken meanwhile.
        again: Option<Instant>,
        /// Whether it was deleted meanwhile.
        gone: bool,
    },
}

impl QueueState {
    /// Adds a connection, or moves it to an earlier time. Returns true if it is now the first due.
    fn add(&mut self, key: &ConnectionRef, at: Instant) -> bool {
        match self.places.get_mut(key) {
            Some(Place::Ready(_)) => return false,
            Some(Place::Running { again, .. }) => {
                *again = Some(again.map_or(at, |before| before.min(at)));
                return false;
            }
            Some(Place::Later(due)) if due.0 <= at => return false,
            Some(Place::Later(due)) => drop(self.later.remove(due)),
            None => {}
        }
        self.count += 1;
        let due = (at, self.count);
        self.later.insert(due, key.clone());
        self.places.insert(key.clone(), Place::Later(due));
        self.later.first_key_value().is_some_and(|(first, _)| *first == due)
    }

    /// Makes the due connections ready for a worker. Returns how many.
    fn promote_due(&mut self, now: Instant, queued: impl Fn() -> Check) -> usize {
        let mut moved = 0;
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, number), key) = first.remove_entry();
            self.places.insert(key.clone(), Place::Ready(number));
            let entry = (key, number, queued());
            match self.ready.get_mut(entry.0.namespace()) {
                Some(ready) => ready.push_back(entry),
                None => {
                    let namespace: Arc<str> = entry.0.namespace().into();
                    self.rotation.push_back(namespace.clone());
                    self.ready.insert(namespace, VecDeque::from([entry]));
                }
            }
            moved += 1;
        }
        moved
    }

    /// Takes the first ready connection of the next namespace in the rotation, and marks it as running.
    fn begin(&mut self) -> Option<(ConnectionRef, Check)> {
        // Looks at each namespace at most once. A namespace that has its share stays in the rotation.
        for _ in 0..self.rotation.len() {
            let namespace = self.rotation.pop_front()?;
            let held = self.running.get(&namespace).copied().unwrap_or(0);
            let found = fair_share(held, self.workers.saturating_sub(self.busy)).then(|| self.first_of(&namespace)).flatten();
            if self.ready.get(&namespace).is_some_and(|ready| !ready.is_empty()) {
                self.rotation.push_back(namespace.clone());
            } else {
                self.ready.remove(&namespace);
            }
            if found.is_some() {
                *self.running.entry(namespace).or_default() += 1;
                self.busy += 1;
                return found;
            }
        }
        if !self.ready.is_empty() {
            self.idle_workers += 1;
        }
        None
    }

    fn first_of(&mut self, namespace: &str) -> Option<(ConnectionRef, Check)> {
        let ready = self.ready.get_mut(namespace)?;
        while let Some((key, number, check)) = ready.pop_front() {
            if let Some(place @ Place::Ready(_)) = self.places.get_mut(&key)
                && matches!(place, Place::Ready(of) if *of == number)
            {
                *place = Place::Running { again: None, gone: false };
                return Some((key, check));
            }
        }
        None
    }

    /// Returns how many workers may look again after one has become free: one, which lets the next look if it finds a check.
    /// Otherwise, with thousands of waiting checks, each end of a check would make all workers look in vain for each of them.
    fn release(&mut self) -> usize {
        let one = self.idle_workers.min(1);
        self.idle_workers -= one;
        one
    }

    /// Ends a check, and schedules the next one. Returns true if that is now the first due.
    fn done(&mut self, key: &ConnectionRef, next: Option<Instant>) -> bool {
        let Some(Place::Running { again, gone }) = self.places.remove(key) else { return false };
        self.busy = self.busy.saturating_sub(1);
        if let Some(running) = self.running.get_mut(key.namespace()) {
            *running -= 1;
            if *running == 0 {
                self.running.remove(key.namespace());
            }
        }
        let next = next.filter(|_| !gone);
        match again.into_iter().chain(next).min() {
            Some(at) => self.add(key, at),
            None => false,
        }
    }

    fn forget(&mut self, key: &ConnectionRef) {
        match self.places.get_mut(key) {
            // The place stays until the check has ended, so that two checks of one name never run at once.
            Some(Place::Running { again, gone }) => (*again, *gone) = (None, true),
            Some(Place::Later(due)) => {
                self.later.remove(due);
                self.places.remove(key);
            }
            Some(Place::Ready(_)) => drop(self.places.remove(key)),
            None => {}
        }
    }

    fn first_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::watchdog::Bounds;

    fn key(name: &str) -> ConnectionRef {
        ConnectionRef::new(Some("hr"), Some(name))
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The state of a queue, and the names of the checks that begin, in order.
    struct Bench {
        line: QueueState,
        began: Instant,
        watchdog: Arc<Watchdog>,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                line: QueueState { workers: 64, ..QueueState::default() },
                began: Instant::now(),
                watchdog: Arc::new(Watchdog::new(Bounds::default())),
            }
        }

        fn at(&self, time: u64) -> Instant {
            self.began + seconds(time)
        }

        fn add(&mut self, name: &str, at: u64) -> bool {
            let at = self.at(at);
            self.line.add(&key(name), at)
        }

        fn begin(&mut self, now: u64) -> Vec<String> {
            let (watchdog, now) = (self.watchdog.clone(), self.at(now));
            self.line.promote_due(now, || watchdog.queued());
            std::iter::from_fn(|| self.line.begin()).map(|(key, _)| key.name().to_owned()).collect()
        }

        fn done(&mut self, name: &str, next: Option<u64>) {
            let next = next.map(|next| self.at(next));
            self.line.done(&key(name), next);
        }
    }

    #[test]
    fn who_is_due_first_is_served_first_and_nobody_before_that() {
        let mut bench = Bench::new();
        assert!(bench.add("c", 3));
        assert!(!bench.add("d", 3), "after c, that came first");
        assert!(bench.add("a", 1));
        assert!(!bench.add("b", 2));
        assert_eq!(bench.begin(0), Vec::<String>::new());
        assert_eq!(bench.begin(2), ["a", "b"]);
        assert_eq!(bench.begin(9), ["c", "d"]);
    }

    #[test]
    fn namespaces_are_served_in_turn() {
        let mut bench = Bench::new();
        for name in ["a/1", "a/2", "a/3", "b/1", "c/1", "c/2"] {
            let (namespace, of) = name.split_once('/').expect("two parts");
            let at = bench.at(0);
            bench.line.add(&ConnectionRef::new(Some(namespace), Some(of)), at);
        }
        let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
        bench.line.promote_due(now, || watchdog.queued());
        let order = std::iter::from_fn(|| bench.line.begin()).map(|(key, _)| format!("{}/{}", key.namespace(), key.name()));
        assert_eq!(order.collect::<Vec<_>>(), ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]);
    }

    #[test]
    fn checks_of_one_namespace_that_hang_leave_workers_for_every_other() {
        let mut bench = Bench::new();
        let key = |namespace: &str, name: u32| ConnectionRef::new(Some(namespace), Some(&name.to_string()));
        let ready = |bench: &mut Bench, namespace: &str, count: u32| {
            let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
            for name in 0..count {
                bench.line.add(&key(namespace, name), now);
            }
            bench.line.promote_due(now, || watchdog.queued());
            std::iter::from_fn(|| bench.line.begin()).count()
        };
        assert_eq!(ready(&mut bench, "alone", 600), 48, "three quarters of 64");
        assert_eq!(bench.line.release(), 1, "the worker that found nothing to begin looks again when one has ended");
        let shares: Vec<_> = (0..8).map(|n| ready(&mut bench, &format!("other-{n}"), 600)).collect();
        assert_eq!(shares, [12, 3, 1, 0, 0, 0, 0, 0], "all of 64 are given, the last to the fourth that comes");

        // A worker that one namespace releases goes to the others.
        for name in 0..4 {
            bench.line.done(&key("alone", name), None);
            let (next, _) = bench.line.begin().expect("a worker is free");
            assert_ne!(next.namespace(), "alone");
            assert!(bench.line.begin().is_none(), "all of 64 are given again");
        }
    }

    #[test]
    fn the_end_of_a_check_has_one_worker_look_again_however_many_wait() {
        let mut bench = Bench::new();
        let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
        for name in 0..1_000 {
            bench.line.add(&key(&name.to_string()), now);
        }
        assert_eq!(bench.line.promote_due(now, || watchdog.queued()), 1_000, "a permit each");
        let begun: Vec<_> = std::iter::from_fn(|| bench.line.begin()).collect();
        assert_eq!(begun.len(), 48);
        // The other workers have looked in vain.
        while bench.line.idle_workers < 952 {
            assert!(bench.line.begin().is_none());
        }
        for (ended, _) in &begun {
            bench.line.done(ended, None);
            let (mut permits, mut looks, mut next) = (bench.line.release(), 0, 0);
            while permits > 0 {
                (permits, looks) = (permits - 1, looks + 1);
                if bench.line.begin().is_some() {
                    (next, permits) = (next + 1, permits + bench.line.release());
                }
            }
            assert_eq!((next, looks), (1, 2), "one begins, and the one after it finds nothing");
        }
    }

    #[test]
    fn a_single_worker_serves_everybody() {
        let mut bench = Bench::new();
        bench.line.workers = 1;
        bench.add("a", 0);
        bench.add("b", 0);
        assert_eq!(bench.begin(0), ["a"]);
        bench.done("a", None);
        assert_eq!(bench.begin(0), ["b"]);
    }

    #[test]
    fn one_that_is_woken_comes_earlier_and_never_later() {
        let mut bench = Bench::new();
        bench.add("a", 600);
        assert!(bench.add("a", 1));
        assert!(!bench.add("a", 7));
        assert_eq!(bench.begin(1), ["a"]);
        bench.done("a", None);
        assert_eq!(bench.begin(1000), Vec::<String>::new(), "it was in it once");
    }

    #[test]
    fn what_happens_while_it_is_checked_has_it_checked_again_and_not_at_once() {
        let mut bench = Bench::new();
        bench.add("a", 0);
        assert_eq!(bench.begin(0), ["a"]);
        assert!(!bench.add("a", 2));
        bench.add("a", 1);
        assert_eq!(bench.begin(5), Vec::<String>::new(), "one at a time");
        bench.done("a", Some(600));
        assert_eq!(bench.begin(5), ["a"]);
        bench.done("a", Some(600));
        assert_eq!(bench.begin(599), Vec::<String>::new());
        assert_eq!(bench.begin(600), ["a"]);
    }

    #[test]
    fn one_that_was_deleted_is_not_checked_and_one_made_again_is_when_the_other_has_ended() {
        let mut bench = Bench::new();
        bench.add("later", 5);
        bench.add("running", 0);
        assert_eq!(bench.begin(0), ["running"]);
        bench.add("ready", 0);
        let (watchdog, now) = (bench.watchdog.clone(), bench.at(0));
        assert_eq!(bench.line.promote_due(now, || watchdog.queued()), 1);
        for name in ["later", "running", "ready"] {
            bench.line.forget(&key(name));
        }
        assert_eq!(bench.begin(9), Vec::<String>::new());
        bench.done("running", Some(10));
        assert_eq!(bench.begin(99), Vec::<String>::new());
        assert!(bench.line.places.is_empty() && bench.line.later.is_empty() && bench.line.ready.is_empty());

        bench.add("again", 100);
        assert_eq!(bench.begin(100), ["again"]);
        bench.line.forget(&key("again"));
        bench.add("again", 101);
        assert_eq!(bench.begin(102), Vec::<String>::new(), "the other's check runs");
        bench.done("again", Some(700));
        assert_eq!(bench.begin(102), ["again"]);

        // If a connection waits, is deleted and is created again, only the second one waits.
        bench.add("twice", 200);
        let now = bench.at(200);
        bench.line.promote_due(now, || watchdog.queued());
        bench.line.forget(&key("twice"));
        bench.add("twice", 201);
        assert_eq!(bench.begin(201), ["twice"]);
    }

    #[tokio::test(start_paused = true)]
    async fn workers_get_a_burst_as_one_and_nothing_after_the_end() {
        let queue = Arc::new(Queue::new(4, Arc::new(Watchdog::new(Bounds::default()))));
        let running = tokio::spawn({
            let queue = queue.clone();
            async move { queue.run().await }
        });
        let began = Instant::now();
        queue.wake(&key("a"));
        queue.wake(&key("a"));
        let (first, check) = queue.next().await.expect("open");
        assert_eq!((first.name(), began.elapsed() >= BURST), ("a", true));
        drop(check);
        queue.done(&first, Some(seconds(600)));
        let (second, _check) = queue.next().await.expect("open");
        assert_eq!((second.name(), began.elapsed() >= seconds(600)), ("a", true));
        queue.done(&second, Some(Duration::MAX));
        queue.close();
        queue.wake(&key("b"));
        assert!(queue.next().await.is_none());
        running.abort();
    }
}
