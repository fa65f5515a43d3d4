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
    state: QueueState,
    began: Instant,
    watchdog: Arc<Watchdog>,
}

impl Bench {
    fn new() -> Self {
        Self {
            state: QueueState { workers: 64, ..QueueState::default() },
            began: Instant::now(),
            watchdog: Arc::new(Watchdog::new(Bounds::default())),
        }
    }

    fn at(&self, time: u64) -> Instant {
        self.began + seconds(time)
    }

    fn add(&mut self, name: &str, at: u64) -> bool {
        let at = self.at(at);
        self.state.add(&key(name), at)
    }

    fn begin(&mut self, now: u64) -> Vec<String> {
        let (watchdog, now) = (self.watchdog.clone(), self.at(now));
        self.state.promote_due(now, || watchdog.queued());
        std::iter::from_fn(|| self.state.begin()).map(|(key, _)| key.name().to_owned()).collect()
    }

    fn done(&mut self, name: &str, next: Option<u64>) {
        let next = next.map(|next| self.at(next));
        self.state.done(&key(name), next);
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
        bench.state.add(&ConnectionRef::new(Some(namespace), Some(of)), at);
    }
    let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
    bench.state.promote_due(now, || watchdog.queued());
    let order = std::iter::from_fn(|| bench.state.begin()).map(|(key, _)| format!("{}/{}", key.namespace(), key.name()));
    assert_eq!(order.collect::<Vec<_>>(), ["a/1", "b/1", "c/1", "a/2", "c/2", "a/3"]);
}

#[test]
fn checks_of_one_namespace_that_hang_leave_workers_for_every_other() {
    let mut bench = Bench::new();
    let key = |namespace: &str, name: u32| ConnectionRef::new(Some(namespace), Some(&name.to_string()));
    let ready = |bench: &mut Bench, namespace: &str, count: u32| {
        let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
        for name in 0..count {
            bench.state.add(&key(namespace, name), now);
        }
        bench.state.promote_due(now, || watchdog.queued());
        std::iter::from_fn(|| bench.state.begin()).count()
    };
    assert_eq!(ready(&mut bench, "alone", 600), 48, "three quarters of 64");
    assert_eq!(bench.state.release(), 1, "the worker that found nothing to begin looks again when one has ended");
    let shares: Vec<_> = (0..8).map(|n| ready(&mut bench, &format!("other-{n}"), 600)).collect();
    assert_eq!(shares, [12, 3, 1, 0, 0, 0, 0, 0], "all of 64 are given, the last to the fourth that comes");

    // A worker that one namespace releases goes to the others.
    for name in 0..4 {
        bench.state.done(&key("alone", name), None);
        let (next, _) = bench.state.begin().expect("a worker is free");
        assert_ne!(next.namespace(), "alone");
        assert!(bench.state.begin().is_none(), "all of 64 are given again");
    }
}

#[test]
fn the_end_of_a_check_has_one_worker_look_again_however_many_wait() {
    let mut bench = Bench::new();
    let (watchdog, now) = (bench.watchdog.clone(), bench.at(1));
    for name in 0..1_000 {
        bench.state.add(&key(&name.to_string()), now);
    }
    assert_eq!(bench.state.promote_due(now, || watchdog.queued()), 1_000, "a permit each");
    let begun: Vec<_> = std::iter::from_fn(|| bench.state.begin()).collect();
    assert_eq!(begun.len(), 48);
    // The other workers have looked in vain.
    while bench.state.idle_workers < 952 {
        assert!(bench.state.begin().is_none());
    }
    for (ended, _) in &begun {
        bench.state.done(ended, None);
        let (mut permits, mut looks, mut next) = (bench.state.release(), 0, 0);
        while permits > 0 {
            (permits, looks) = (permits - 1, looks + 1);
            if bench.state.begin().is_some() {
                (next, permits) = (next + 1, permits + bench.state.release());
            }
        }
        assert_eq!((next, looks), (1, 2), "one begins, and the one after it finds nothing");
    }
}

#[test]
fn a_single_worker_serves_everybody() {
    let mut bench = Bench::new();
    bench.state.workers = 1;
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
    assert_eq!(bench.state.promote_due(now, || watchdog.queued()), 1);
    for name in ["later", "running", "ready"] {
        bench.state.forget(&key(name));
    }
    assert_eq!(bench.begin(9), Vec::<String>::new());
    bench.done("running", Some(10));
    assert_eq!(bench.begin(99), Vec::<String>::new());
    assert!(bench.state.items.is_empty() && bench.state.later.is_empty() && bench.state.ready.is_empty());

    bench.add("again", 100);
    assert_eq!(bench.begin(100), ["again"]);
    bench.state.forget(&key("again"));
    bench.add("again", 101);
    assert_eq!(bench.begin(102), Vec::<String>::new(), "the other's check runs");
    bench.done("again", Some(700));
    assert_eq!(bench.begin(102), ["again"]);

    // If a connection waits, is deleted and is created again, only the second one waits.
    bench.add("twice", 200);
    let now = bench.at(200);
    bench.state.promote_due(now, || watchdog.queued());
    bench.state.forget(&key("twice"));
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
