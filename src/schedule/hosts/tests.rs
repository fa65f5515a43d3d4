use std::hash::Hasher as _;

use super::*;

const HOST: &str = "https://service4.ultipro.com";
const TEN_MINUTES: Duration = Duration::from_secs(600);
const NOW: Admission = Admission::Now { silent: false };

/// Returns a request of namespace `hr`, or of another one as `namespace/name`.
fn request(uid: &str) -> CheckRequest<'_> {
    CheckRequest { uid, namespace: uid.split_once('/').map_or("hr", |(namespace, _)| namespace), interval: TEN_MINUTES }
}

/// Makes two accounts of the only namespace meet the host's limit.
fn limited_for_all(hosts: &Hosts, asked: Option<Duration>, now: Duration) {
    [1, 2].into_iter().for_each(|number| hosts.limit(HOST, "hr", account(number), asked, now));
}

fn account(number: usize) -> Account {
    Account::of_test(number)
}

fn seconds(seconds: f64) -> Duration {
    Duration::from_secs_f64(seconds)
}

/// Returns when each connection is admitted, if it comes at its time and again after each wait. A check takes no time.
fn run(hosts: &Hosts, priority: Priority, coming: impl Iterator<Item = (String, Duration)>) -> Vec<Duration> {
    let mut queue: Vec<_> = coming.map(|(uid, at)| (at, uid)).collect();
    let mut begun = Vec::new();
    while !queue.is_empty() {
        queue.sort();
        let (now, uid) = queue.remove(0);
        match hosts.admit(request(&uid), HOST, priority, now) {
            Admission::Now { silent } => {
                begun.push(now);
                hosts.release(request(&uid).namespace, HOST, silent);
            }
            Admission::After(wait, _) => queue.push((now + wait, uid)),
        }
    }
    begun
}

fn most_in_a_second(begun: &[Duration]) -> usize {
    begun.iter().map(|at| begun.iter().filter(|other| (*at..*at + seconds(1.0)).contains(*other)).count()).max().unwrap_or(0)
}

#[test]
fn a_thousand_that_come_at_once_go_one_after_the_other() {
    let hosts = Hosts::new(HostLimits::default());
    let begun = run(&hosts, Priority::Urgent, (0..1000).map(|n| (n.to_string(), Duration::ZERO)));
    let whole = begun.last().expect("some").as_secs_f64();
    assert!((19.0..21.0).contains(&whole), "{whole}");
    let mean = 1000.0 / whole;
    assert!(most_in_a_second(&begun) as f64 <= 2.0 * mean, "{} of {mean}", most_in_a_second(&begun));
}

#[test]
fn the_routine_of_a_thousand_never_has_twice_the_mean_in_a_second() {
    let hosts = Hosts::new(HostLimits::default());
    // All are registered before, as after the listing at a start.
    (0..1000).for_each(|n| hosts.register(request(&n.to_string()), HOST));
    let mean = 1000.0 / 600.0;
    // By chance alone, some second would see seven or more.
    let chance = |n: u64| {
        let mut hasher = std::hash::DefaultHasher::new();
        hasher.write_u64(n);
        seconds((hasher.finish() >> 11) as f64 / (1u64 << 53) as f64 * 600.0)
    };
    let coming: Vec<_> = (0..1000).map(|n| (n.to_string(), chance(n))).collect();
    let by_chance: Vec<_> = coming.iter().map(|(_, at)| *at).collect();
    assert!(most_in_a_second(&by_chance) as f64 > 2.0 * mean, "the test would show nothing");
    let begun = run(&hosts, Priority::Routine, coming.into_iter());
    assert!(most_in_a_second(&begun) as f64 <= 2.0 * mean, "{}", most_in_a_second(&begun));
    assert!(*begun.last().expect("some") < seconds(620.0), "nobody waits long");
}

#[test]
fn a_pause_holds_the_whole_host_and_only_that() {
    let hosts = Hosts::new(HostLimits::default());
    assert_eq!(hosts.admit(request("a"), HOST, Priority::Routine, seconds(1.0)), NOW);
    limited_for_all(&hosts, Some(seconds(30.0)), seconds(1.0));
    for (uid, priority) in [("b", Priority::Routine), ("c", Priority::Urgent)] {
        let Admission::After(wait, _) = hosts.admit(request(uid), HOST, priority, seconds(2.0)) else { panic!("paused") };
        assert!(wait >= seconds(29.0), "{wait:?}");
        assert_eq!(hosts.admit(request(uid), HOST, priority, seconds(2.0) + wait), NOW);
    }
    assert_eq!(hosts.admit(request("d"), "https://service5.ultipro.com", Priority::Urgent, seconds(2.0)), NOW);
    limited_for_all(&hosts, Some(seconds(1e9)), seconds(40.0));
    limited_for_all(&hosts, None, seconds(40.0));
    let Admission::After(wait, _) = hosts.admit(request("a"), HOST, Priority::Urgent, seconds(40.0)) else { panic!("paused") };
    assert!(wait <= HOST_PAUSE_MAX + seconds(1.0), "{wait:?}");
}

#[test]
fn a_host_sees_so_many_at_once_and_each_gets_its_turn() {
    let hosts = Hosts::new(HostLimits { rate: 1000, concurrency: 2 });
    let admit = |uid, at| hosts.admit(request(uid), HOST, Priority::Urgent, seconds(at));
    assert_eq!(admit("a", 1.0), NOW);
    assert_eq!(admit("b", 1.1), NOW);
    let Admission::After(wait, _) = admit("c", 1.2) else { panic!("full") };
    hosts.release("hr", HOST, false);
    assert_eq!(admit("c", 1.2 + wait.as_secs_f64()), NOW);
    assert!(matches!(admit("d", 3.0), Admission::After(..)));
    hosts.forget("a");
    assert!(matches!(admit("d", 3.1), Admission::After(..)), "a deleted connection's check is still under way");
}

#[test]
fn who_becomes_urgent_does_not_wait_for_the_routine() {
    let hosts = Hosts::new(HostLimits::default());
    let admit = |uid: &str, priority, at| hosts.admit(request(uid), HOST, priority, seconds(at));
    assert_eq!(admit("a", Priority::Routine, 1.0), NOW);
    assert!(matches!(admit("b", Priority::Routine, 1.1), Admission::After(..)), "in line");
    assert_eq!(admit("b", Priority::Urgent, 1.2), NOW);
}

#[test]
fn a_pause_outlasts_the_connection_that_met_it() {
    let hosts = Hosts::new(HostLimits::default());
    let admit = |uid: &str, at| hosts.admit(request(uid), HOST, Priority::Urgent, seconds(at));
    assert_eq!(admit("a", 1.0), NOW);
    limited_for_all(&hosts, Some(seconds(30.0)), seconds(1.0));
    hosts.release("hr", HOST, false);
    hosts.forget("a");
    assert!(matches!(admit("again", 2.0), Admission::After(..)));
    hosts.forget("again");
    assert_eq!(hosts.admit(request("b"), "https://service5.ultipro.com", Priority::Urgent, seconds(40.0)), NOW);
    assert_eq!(lock(&hosts.all).by_host.len(), 1, "and is forgotten with the pause");
}

#[test]
fn an_outage_is_told_once_and_ends_once() {
    let hosts = Hosts::new(HostLimits::default());
    let names = ["a", "b", "c", "d"];
    names.iter().for_each(|uid| hosts.register(request(uid), HOST));
    assert_eq!(hosts.record_result("a", Some(true), None), None, "one is not the host");
    assert_eq!(hosts.record_result("b", Some(true), None), None);
    assert_eq!(hosts.record_result("c", Some(true), None), Some(HostChange::Outage { failing: 3, known: 3 }));
    assert_eq!(hosts.record_result("d", Some(true), None), None);
    assert!(hosts.has_outage(HOST) && hosts.outages() == 1);
    assert_eq!(hosts.record_result("a", Some(false), None), None);
    assert_eq!(hosts.record_result("b", Some(false), None), None, "half is not well yet");
    assert_eq!(hosts.record_result("c", Some(false), None), None);
    assert_eq!(hosts.record_result("d", Some(false), None), Some(HostChange::Recovery));
    hosts.record_result("a", Some(true), None);
    names.iter().for_each(|uid| hosts.forget(uid));
    assert!(lock(&hosts.all).by_host.values().all(|host| host.connections == 0 && host.known == 0 && host.failing == 0));
    assert!(lock(&hosts.all).by_connection.is_empty());

    // A connection that is no longer checked does not count as failing for ever.
    let hosts = Hosts::new(HostLimits::default());
    names.iter().for_each(|uid| hosts.register(request(uid), HOST));
    for uid in names {
        hosts.record_result(uid, Some(true), None);
    }
    assert!(hosts.has_outage(HOST));
    let told: Vec<_> = names.iter().map(|uid| hosts.record_result(uid, None, None)).collect();
    assert_eq!((told, hosts.has_outage(HOST)), (vec![None; 4], false), "and nobody claims that it is well");
}

#[test]
fn one_accounts_limit_is_nobody_elses() {
    let hosts = Hosts::new(HostLimits::default());
    ["hr/a", "pay/b"].into_iter().for_each(|uid| hosts.register(request(uid), HOST));
    let hour = Some(seconds(3600.0));
    hosts.limit(HOST, "hr", account(1), hour, seconds(1.0));
    assert_eq!(hosts.limited(HOST, account(1), seconds(1.0)), hour);
    assert_eq!(hosts.limited(HOST, account(2), seconds(1.0)), None);
    assert_eq!(hosts.admit(request("pay/b"), HOST, Priority::Urgent, seconds(2.0)), NOW);
    // The number of accounts that one namespace makes up does not matter.
    (2..9).for_each(|number| hosts.limit(HOST, "hr", account(number), hour, seconds(2.0)));
    assert_eq!(hosts.admit(request("pay/c"), HOST, Priority::Urgent, seconds(3.0)), NOW);
    assert_eq!(hosts.limited(HOST, account(1), seconds(3601.0)), None, "it ends");
}

#[test]
fn a_limit_that_several_namespaces_meet_is_the_hosts_for_as_long_as_the_first_of_them() {
    let hosts = Hosts::new(HostLimits::default());
    ["hr/a", "pay/b", "it/c"].into_iter().for_each(|uid| hosts.register(request(uid), HOST));
    hosts.limit(HOST, "hr", account(1), Some(seconds(3600.0)), seconds(1.0));
    hosts.limit(HOST, "pay", account(2), Some(seconds(20.0)), seconds(1.0));
    let Admission::After(wait, reason) = hosts.admit(request("it/c"), HOST, Priority::Urgent, seconds(1.0)) else {
        panic!("paused")
    };
    assert_eq!((wait, reason), (seconds(20.0), WaitReason::Limited));
}

#[test]
fn another_namespaces_new_connection_comes_next_however_many_wait() {
    let hosts = Hosts::new(HostLimits::default());
    for n in 0..5_000 {
        hosts.admit(request(&format!("hr/{n}")), HOST, Priority::Urgent, Duration::ZERO);
    }
    let Admission::After(wait, reason) = hosts.admit(request("pay/a"), HOST, Priority::Urgent, Duration::ZERO) else {
        panic!("some wait")
    };
    assert!(wait <= seconds(0.1), "{wait:?}");
    assert_eq!(reason, WaitReason::Busy);
    assert_eq!(hosts.admit(request("pay/a"), HOST, Priority::Urgent, wait), NOW);
}

#[test]
fn however_namespaces_come_together_the_host_sees_no_more_than_its_rate() {
    let hosts = Hosts::new(HostLimits::default());
    let coming =
        |namespace: &'static str, count: u32, at: f64| (0..count).map(move |n| (format!("{namespace}/{n}"), seconds(at)));
    let all = coming("a", 300, 0.0).chain(coming("b", 100, 0.5)).chain(coming("c", 1, 1.0)).chain(coming("d", 50, 2.0));
    let begun = run(&hosts, Priority::Urgent, all);
    assert_eq!(begun.len(), 451);
    assert!(most_in_a_second(&begun) <= 51, "{}", most_in_a_second(&begun));
    let whole = begun.last().expect("some").as_secs_f64();
    assert!(whole < 451.0 / 50.0 * 1.1, "no slot is left empty while some wait: {whole}");
}

#[test]
fn one_namespaces_checks_leave_room_at_the_host() {
    let hosts = Hosts::new(HostLimits { rate: 10_000, concurrency: 16 });
    let admitted = |namespace: &str| {
        (0..40)
            .filter(|n| {
                let uid = format!("{namespace}/{n}");
                let admit = |at| hosts.admit(request(&uid), HOST, Priority::Urgent, at);
                let at = seconds(1.0 + f64::from(*n) * 0.001);
                match admit(at) {
                    Admission::After(wait, _) if wait < seconds(0.1) => admit(at + wait) == NOW,
                    admission => admission == NOW,
                }
            })
            .count()
    };
    assert_eq!([admitted("hr"), admitted("pay"), admitted("it")], [12, 3, 1]);
}

#[test]
fn hosts_that_never_answered_share_a_pool_and_leave_room_in_it() {
    let hosts = Hosts::new(HostLimits::default());
    let host = |n: u32| format!("https://service4.ultipro.com:{n}");
    let admit = |namespace: &str, n: u32, at: f64| {
        let uid = format!("{namespace}/{n}");
        hosts.admit(request(&uid), &host(n), Priority::Urgent, seconds(at))
    };
    for n in 0..100 {
        assert_eq!(admit("hr", n, 1.0), NOW, "what was never tried is tried");
        hosts.record_result(&format!("hr/{n}"), Some(true), None);
        hosts.release("hr", &host(n), false);
    }
    let silent = Admission::Now { silent: true };
    let again = (0..100).filter(|n| admit("hr", *n, 2.0) == silent).count();
    assert_eq!(again, 12, "three quarters of the pool");
    hosts.register(request("pay/0"), &host(0));
    assert_eq!(admit("pay", 0, 3.0), silent);
    hosts.release("pay", &host(0), true);
    (0..12).for_each(|n| hosts.release("hr", &host(n), true));
    assert_eq!(lock(&hosts.all).silent_count, 0);

    // Once the host has answered, it needs no slot in the pool.
    hosts.record_result("hr/0", Some(false), None);
    assert_eq!(admit("hr", 0, 60.0), NOW);
}

#[test]
fn what_one_namespace_writes_is_no_outage_of_the_others() {
    let hosts = Hosts::new(HostLimits::default());
    for uid in ["pay/a", "it/b"] {
        hosts.register(request(uid), HOST);
        assert_eq!(hosts.record_result(uid, Some(false), Some(account(1))), None);
    }
    let uids: Vec<_> = (0..100).map(|n| format!("hr/{n}")).collect();
    for (uid, number) in uids.iter().zip(2..) {
        hosts.register(request(uid), HOST);
        assert_eq!(hosts.record_result(uid, Some(true), Some(account(number))), None);
    }
    assert!(!hosts.has_outage(HOST));
    assert_eq!(
        hosts.record_result("pay/a", Some(true), Some(account(1))),
        Some(HostChange::Outage { failing: 101, known: 102 })
    );
    assert_eq!(hosts.outages(), 1);
    // The outage ends when the connections that caused it are gone.
    uids.iter().for_each(|uid| hosts.forget(uid));
    hosts.forget("pay/a");
    assert_eq!(hosts.outages(), 0);
}

#[test]
fn many_connections_of_one_account_are_one() {
    let hosts = Hosts::new(HostLimits::default());
    for uid in ["a", "b", "c", "d"] {
        hosts.register(request(uid), HOST);
        assert_eq!(hosts.record_result(uid, Some(true), Some(account(1))), None);
    }
    hosts.register(request("e"), HOST);
    hosts.record_result("e", Some(true), Some(account(2)));
    hosts.register(request("f"), HOST);
    assert!(hosts.record_result("f", Some(true), Some(account(3))).is_some());
}

#[test]
fn an_outage_of_one_namespace_ends_when_another_is_well() {
    let hosts = Hosts::new(HostLimits::default());
    hosts.register(request("pay/new"), HOST);
    for (uid, number) in [("hr/a", 1), ("hr/b", 2), ("hr/c", 3)] {
        hosts.register(request(uid), HOST);
        hosts.record_result(uid, Some(true), Some(account(number)));
    }
    assert!(hosts.has_outage(HOST), "it is all that is known");
    assert_eq!(hosts.record_result("pay/new", Some(false), Some(account(4))), Some(HostChange::Recovery));
    assert_eq!(hosts.record_result("hr/a", Some(true), Some(account(1))), None);
    assert!(!hosts.has_outage(HOST));
}

#[test]
fn who_is_not_checked_any_more_is_no_witness_and_no_news() {
    let failing = |hosts: &Hosts, uid: &str, number| {
        hosts.register(request(uid), HOST);
        hosts.record_result(uid, Some(true), Some(account(number)))
    };
    // The healthy connection hides an outage until it is suspended. The next failing check reports the outage.
    let hosts = Hosts::new(HostLimits::default());
    hosts.register(request("pay/well"), HOST);
    hosts.record_result("pay/well", Some(false), Some(account(9)));
    for (uid, number) in [("hr/a", 1), ("hr/b", 2), ("hr/c", 3)] {
        assert_eq!(failing(&hosts, uid, number), None);
    }
    hosts.withdraw("pay/well");
    assert!(!hosts.has_outage(HOST));
    assert_eq!(failing(&hosts, "hr/a", 1), Some(HostChange::Outage { failing: 3, known: 3 }));
    // A host has not recovered because the connections that met its outage are suspended.
    for uid in ["hr/a", "hr/b", "hr/c"] {
        hosts.withdraw(uid);
    }
    assert!(!hosts.has_outage(HOST));
    hosts.register(request("pay/well"), HOST);
    assert_eq!(hosts.record_result("pay/well", Some(false), Some(account(9))), None);
    hosts.withdraw("nobody");
}

#[test]
fn after_a_pause_namespaces_take_turns_and_nobody_comes_in_vain_again_and_again() {
    let hosts = Hosts::new(HostLimits::default());
    let uids: Vec<_> = (0..200).map(|n| format!("{n}/a")).collect();
    uids.iter().for_each(|uid| hosts.register(request(uid), HOST));
    let mut queue: Vec<_> = uids.iter().map(|uid| (Duration::ZERO, uid)).collect();
    let (mut begun, mut attempts) = (Vec::new(), 0);
    while !queue.is_empty() {
        queue.sort();
        let (now, uid) = queue.remove(0);
        attempts += 1;
        if begun.len() == 50 && attempts < 500 {
            // Their slots are reserved when the host asks for a pause.
            attempts = 500;
            hosts.limit(HOST, "0", account(1), Some(seconds(30.0)), now);
            hosts.limit(HOST, "1", account(2), Some(seconds(30.0)), now);
        }
        match hosts.admit(request(uid), HOST, Priority::Urgent, now) {
            Admission::Now { silent } => {
                begun.push(now);
                hosts.release(request(uid).namespace, HOST, silent);
            }
            Admission::After(wait, _) => queue.push((now + wait, uid)),
        }
    }
    assert_eq!(begun.len(), 200);
    let after = attempts - 500;
    assert!(after <= 3 * 150, "{after} attempts of 150");
    let last = begun.last().expect("some");
    assert!(*last < seconds(1.0 + 30.0 + 150.0 / 50.0 + 1.0), "{last:?}");
}

#[test]
fn a_slot_that_nobody_comes_for_any_more_keeps_no_others_waiting() {
    let hosts = Hosts::new(HostLimits::default());
    let uids: Vec<_> = (0..500).map(|n| format!("hr/{n}")).collect();
    let admit = |uid: &str, at| hosts.admit(request(uid), HOST, Priority::Urgent, seconds(at));
    for uid in &uids {
        admit(uid, 1.0);
    }
    // They are suspended.
    uids.iter().for_each(|uid| hosts.release_slot(uid));
    let Admission::After(wait, _) = admit("hr/new", 1.0) else { panic!("right after the first") };
    assert!(wait <= seconds(0.1), "{wait:?}");
}

#[test]
fn one_namespaces_limits_push_out_no_others() {
    let hosts = Hosts::new(HostLimits::default());
    hosts.register(request("pay/a"), HOST);
    hosts.register(request("hr/a"), HOST);
    hosts.limit(HOST, "pay", account(255), Some(seconds(60.0)), seconds(1.0));
    for number in 0..2 * LIMITED_MAX {
        hosts.limit(HOST, "hr", account(1000 + number), Some(seconds(600.0)), seconds(1.0));
    }
    hosts.limit(HOST, "it", account(254), Some(seconds(60.0)), seconds(1.0));
    for number in [254, 255] {
        assert!(hosts.limited(HOST, account(number), seconds(2.0)).is_some(), "{number}");
    }
    assert!(hosts.limits(seconds(2.0)).0 <= LIMITED_MAX);
}
