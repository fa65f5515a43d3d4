use std::sync::atomic::AtomicU64;

use super::*;

/// Returns a watchdog, and a function that advances its time by seconds.
pub(crate) fn by_hand() -> (Arc<Watchdog>, impl Fn(u64) + Clone) {
    let seconds = Arc::new(AtomicU64::new(0));
    let read = seconds.clone();
    let clock = move || Duration::from_secs(read.load(Ordering::SeqCst));
    let pass = move |passed| {
        seconds.fetch_add(passed, Ordering::SeqCst);
    };
    (Arc::new(Watchdog::with_clock(Bounds { check: Duration::from_mins(10), ..Bounds::default() }, clock)), pass)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[test]
fn what_is_beyond_its_bound_is_stuck_and_the_cause_is_named_first() {
    let bounds = Bounds { runtime: seconds(30), watch: seconds(600), check: seconds(500), ..Bounds::default() };
    let none = Ages::default();
    for (what, ages, expected) in [
        ("nothing has begun", none.clone(), Ok(())),
        ("a runtime at its bound", Ages { runtime: Some(seconds(30)), ..none.clone() }, Ok(())),
        (
            "a runtime beyond its bound",
            Ages { runtime: Some(seconds(31)), ..none.clone() },
            Err("the main runtime has not run for 31 s"),
        ),
        ("a watch at its bound", Ages { watches: [Some(seconds(600)); 2], ..none.clone() }, Ok(())),
        (
            "the second watch",
            Ages { watches: [Some(seconds(1)), Some(seconds(601))], ..none.clone() },
            Err("the watch of secrets has neither sent nor received anything for 601 s"),
        ),
        (
            "the first watch",
            Ages { watches: [Some(seconds(700)), None], ..none.clone() },
            Err("the watch of connections has neither sent nor received anything for 700 s"),
        ),
        ("a check", Ages { check: Some(seconds(501)), ..none.clone() }, Err("a check has been running for 501 s")),
        (
            "a queue",
            Ages { check: Some(seconds(3)), queue: Some(seconds(501)), ..none.clone() },
            Err("checks wait, and none has begun or ended for 501 s"),
        ),
        ("a busy queue", Ages { check: Some(seconds(500)), queue: Some(seconds(500)), ..none }, Ok(())),
        (
            "all of them",
            Ages {
                runtime: Some(seconds(900)),
                watches: [Some(seconds(900)); 2],
                check: Some(seconds(900)),
                queue: Some(seconds(900)),
            },
            Err("the main runtime has not run for 900 s"),
        ),
    ] {
        let found = verdict(&ages, &bounds).map_err(|stuck| stuck.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{what}");
    }
}

#[test]
fn nothing_is_judged_before_it_begins() {
    let (watchdog, pass) = by_hand();
    pass(1_000_000);
    assert_eq!(watchdog.ages(watchdog.now()), Ages::default());
    assert_eq!(watchdog.check(), Ok(()));
}

#[test]
fn a_watch_that_asks_moves_and_only_one_that_is_answered_is_fresh() {
    let (watchdog, pass) = by_hand();
    let secrets = watchdog.watch(Watched::Secrets, None);
    let silence = || watchdog.silences(watchdog.now()).first().map(|(_, _, silence)| *silence);
    assert_eq!(silence(), None, "it has not begun");
    watchdog.asked(&secrets);
    pass(400);
    assert_eq!(silence(), Some(seconds(400)), "since it was first asked for");
    // An unreachable API server is asked again and again: a new process could do no better.
    watchdog.asked(&secrets);
    pass(400);
    assert_eq!(silence(), Some(seconds(800)));
    assert_eq!(watchdog.check(), Ok(()));
    pass(201);
    assert_eq!(watchdog.check(), Err(Stuck::Watch(Watched::Secrets, seconds(601))), "a request without end");
    watchdog.received(&secrets);
    assert_eq!((silence(), watchdog.check()), (Some(seconds(0)), Ok(())));
}

#[test]
fn a_watch_that_fails_for_minutes_is_told_by_its_namespace_however_well_the_others_are() {
    let (watchdog, pass) = by_hand();
    let [good, bad] = ["good", "bad"].map(|namespace| watchdog.watch(Watched::Connections, Some(namespace)));
    for _ in 0..3 {
        watchdog.asked(&bad);
        watchdog.received(&good);
        pass(60);
    }
    assert_eq!(watchdog.silent_watch(), None);
    watchdog.asked(&bad);
    watchdog.received(&good);
    pass(1);
    let silent_watch = watchdog.silent_watch().expect("one is").to_string();
    assert_eq!(silent_watch, "the watch of connections in namespace bad has received nothing for 181 s; the log says why");
    assert_eq!(watchdog.check(), Ok(()), "a new process would fare no better");
    watchdog.received(&bad);
    assert_eq!(watchdog.silent_watch(), None);
}

#[test]
fn a_check_that_runs_too_long_is_stuck_and_one_that_waits_for_others_is_not() {
    let (watchdog, pass) = by_hand();
    let mut slow = watchdog.queued();
    let mut behind = watchdog.queued();
    assert_eq!(slow.runs(), seconds(0));
    // One slow check after another, each within the bound: the last in the queue waits for an hour.
    for _ in 0..6 {
        pass(600);
        assert_eq!(watchdog.check(), Ok(()));
        let mut next = watchdog.queued();
        drop(slow);
        next.runs();
        slow = next;
    }
    assert_eq!(watchdog.longest_wait(watchdog.now()), Some(seconds(3600)));
    assert_eq!(watchdog.depth(), (1, 1));
    drop(slow);
    assert_eq!(behind.runs(), seconds(3600));
    pass(601);
    assert_eq!(watchdog.check(), Err(Stuck::Check(seconds(601))));
    drop(behind);
    assert_eq!((watchdog.check(), watchdog.depth()), (Ok(()), (0, 0)));
}

#[test]
fn a_queue_in_which_none_begins_is_stuck() {
    let (watchdog, pass) = by_hand();
    pass(10_000);
    let waiting = watchdog.queued();
    assert_eq!(watchdog.check(), Ok(()), "it was idle before");
    pass(599);
    drop(watchdog.queued());
    pass(2);
    assert_eq!(watchdog.check(), Err(Stuck::Queue(seconds(601))), "one that gives up waiting is no progress");
    drop(waiting);
    assert_eq!(watchdog.check(), Ok(()));
}

#[test]
fn a_queue_moves_when_a_check_begins_and_when_one_ends() {
    let (watchdog, pass) = by_hand();
    let _waiting = watchdog.queued();
    let mut check = watchdog.queued();
    pass(400);
    check.runs();
    pass(400);
    assert_eq!(watchdog.check(), Ok(()));
    drop(check);
    pass(400);
    assert_eq!(watchdog.check(), Ok(()));
    pass(201);
    assert_eq!(watchdog.check(), Err(Stuck::Queue(seconds(601))));
}

#[test]
fn a_check_that_waits_for_the_turn_of_another_is_not_taken_for_a_slow_one() {
    let (watchdog, pass) = by_hand();
    let mut check = watchdog.queued();
    check.runs();
    pass(500);
    check.waits();
    pass(500);
    assert_eq!((watchdog.check(), watchdog.depth()), (Ok(()), (1, 0)));
    assert_eq!(check.runs(), seconds(500));
    pass(500);
    assert_eq!(watchdog.check(), Ok(()), "its time begins with its turn");
    pass(101);
    assert_eq!(watchdog.check(), Err(Stuck::Check(seconds(601))));
}

#[tokio::test(start_paused = true)]
async fn a_runtime_that_runs_beats() {
    let began = tokio::time::Instant::now();
    let watchdog =
        Arc::new(Watchdog::with_clock(Bounds { check: Duration::from_mins(10), ..Bounds::default() }, move || began.elapsed()));
    let heartbeat = tokio::spawn(watchdog.clone().heartbeat());
    tokio::time::sleep(seconds(3600)).await;
    assert!(watchdog.ages(watchdog.now()).runtime.is_some_and(|age| age <= HEARTBEAT), "{watchdog:?}");
    heartbeat.abort();
    tokio::time::sleep(seconds(3600)).await;
    assert!(matches!(watchdog.check(), Err(Stuck::Runtime(_))));
}
