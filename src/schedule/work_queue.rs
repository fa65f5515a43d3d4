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
//! **Bound.** One item for each connection, which is forgotten when the connection is deleted.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use crate::cluster::watch::ConnectionRef;
use crate::telemetry::watchdog::{Check, Watchdog};

/// The debounce time: events of a burst come within this time of the first. The operator sees a Secret's rotation that much later.
const BURST: Duration = Duration::from_millis(25);

/// A namespace may hold this many times the free units. A namespace that is alone gets three quarters of all; the more namespaces
/// compete, the smaller the share of each.
const SHARE_OF_FREE: usize = 3;

/// Returns true if a namespace that holds `held` units of a shared resource, of which `free` are left, may hold one more: it may
/// have up to `SHARE_OF_FREE` times the free ones. Switches share a buffer by this rule of dynamic thresholds: no share is
/// configured, one namespace alone can use most, and some is left for the next.
pub fn fair_share(held: usize, free: usize) -> bool {
    free > 0 && (held == 0 || held < free.saturating_mul(SHARE_OF_FREE))
}

/// The work queue.
pub struct Queue {
    state: Mutex<QueueState>,
    /// One permit for each item that is ready, or was ready when it was forgotten, except those that wait for the share of
    /// their namespace.
    ready: Semaphore,
    /// Signals that the first due item has changed.
    earlier_due: Notify,
    watchdog: Arc<Watchdog>,
}

impl Queue {
    /// Creates an empty queue for this number of workers. The watchdog sees how long checks wait.
    pub fn new(workers: usize, watchdog: Arc<Watchdog>) -> Self {
        let state = QueueState { workers: workers.max(1), ..QueueState::default() };
        Self { state: Mutex::new(state), ready: Semaphore::new(0), earlier_due: Notify::new(), watchdog }
    }

    /// Schedules a check of a connection soon.
    pub fn wake(&self, connection: &ConnectionRef) {
        if self.state().add(connection, Instant::now() + BURST) {
            self.earlier_due.notify_one();
        }
    }

    /// Waits for the next connection to check. Returns it with its entry in the watchdog's queue, or `None` when the queue is
    /// closed. [`Self::done`] must follow.
    pub async fn next(&self) -> Option<(ConnectionRef, Check)> {
        loop {
            self.ready.acquire().await.ok()?.forget();
            let (next, released) = {
                let mut state = self.state();
                // If one check may begin, another may too. A worker that finds nothing does not look again until a check has
                // ended.
                state.begin().map_or((None, 0), |next| (Some(next), state.release()))
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
            let mut state = self.state();
            (state.done(connection, next), state.release())
        };
        if is_first {
            self.earlier_due.notify_one();
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
        self.state().forget(connection);
    }

    /// Closes the queue: no further check begins.
    pub fn close(&self) {
        self.ready.close();
    }

    /// Hands due connections to the workers. Never returns.
    pub async fn run(&self) {
        loop {
            let earlier_due = self.earlier_due.notified();
            let (moved, next) = {
                let mut state = self.state();
                let moved = state.promote_due(Instant::now(), || self.watchdog.queued());
                (moved, state.first_due())
            };
            self.permit(moved);
            match next {
                Some(at) => tokio::select! {
                    () = tokio::time::sleep_until(at) => {}
                    () = earlier_due => {}
                },
                None => earlier_due.await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        // A panic can at most leave an item in one collection and not in the other. Such an item is skipped.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When an item is due, and a sequence number that orders items with the same time.
type Due = (Instant, u64);

/// The state of the queue. Pure: time is a parameter.
#[derive(Default)]
struct QueueState {
    items: HashMap<ConnectionRef, ItemState>,
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

enum ItemState {
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
        match self.items.get_mut(key) {
            Some(ItemState::Ready(_)) => return false,
            Some(ItemState::Running { again, .. }) => {
                *again = Some(again.map_or(at, |before| before.min(at)));
                return false;
            }
            Some(ItemState::Later(due)) if due.0 <= at => return false,
            Some(ItemState::Later(due)) => drop(self.later.remove(due)),
            None => {}
        }
        self.count += 1;
        let due = (at, self.count);
        self.later.insert(due, key.clone());
        self.items.insert(key.clone(), ItemState::Later(due));
        self.later.first_key_value().is_some_and(|(first, _)| *first == due)
    }

    /// Makes the due connections ready for a worker. Returns how many.
    fn promote_due(&mut self, now: Instant, queued: impl Fn() -> Check) -> usize {
        let mut moved = 0;
        while let Some(first) = self.later.first_entry().filter(|first| first.key().0 <= now) {
            let ((_, number), key) = first.remove_entry();
            self.items.insert(key.clone(), ItemState::Ready(number));
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
            if let Some(item @ ItemState::Ready(_)) = self.items.get_mut(&key)
                && matches!(item, ItemState::Ready(of) if *of == number)
            {
                *item = ItemState::Running { again: None, gone: false };
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
        let Some(ItemState::Running { again, gone }) = self.items.remove(key) else { return false };
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
        match self.items.get_mut(key) {
            // The item stays until the check has ended, so that two checks of one name never run at once.
            Some(ItemState::Running { again, gone }) => (*again, *gone) = (None, true),
            Some(ItemState::Later(due)) => {
                self.later.remove(due);
                self.items.remove(key);
            }
            Some(ItemState::Ready(_)) => drop(self.items.remove(key)),
            None => {}
        }
    }

    fn first_due(&self) -> Option<Instant> {
        self.later.first_key_value().map(|((at, _), _)| *at)
    }
}

#[cfg(test)]
mod tests;
