//! Whole days of checks, with the waits that `decide` returns.

use std::time::Duration;

use tokio::time::Instant;

use super::in_paused_time;
use super::upstream::{Fault, Faults};
use super::world::{Kind, World, catalogue};
use crate::api::verdict::verdict_reason;
use crate::api::{ApiChoice, Reason, RequiredPermission, Verdict};
use crate::controller::decide::first_due;

const HOUR: Duration = Duration::from_secs(3600);

/// When each connection is checked next.
struct Schedule(Vec<Instant>);

impl Schedule {
    /// Creates the schedule of a process that starts.
    fn of(world: &World) -> Self {
        let wait = |connection| first_due(connection, world.clock.now()).unwrap_or_default();
        Self(world.fixtures.iter().map(|fixture| Instant::now() + wait(&fixture.connection)).collect())
    }

    /// Makes each check when it is due, until this much time has passed, and calls `seen` after each.
    async fn run(&mut self, world: &mut World, time: Duration, mut seen: impl FnMut(&World, usize)) {
        let end = Instant::now() + time;
        loop {
            let (fixture, due) = self.0.iter().copied().enumerate().min_by_key(|(_, due)| *due).expect("some");
            tokio::time::sleep_until(due.min(end)).await;
            if due > end {
                return;
            }
            let decision = world.check_and_publish(fixture).await.expect("the ledger can be written");
            self.0[fixture] = Instant::now() + decision.requeue;
            seen(world, fixture);
        }
    }
}

#[test]
fn ten_copies_of_a_wrong_password_cost_one_login_in_a_day() {
    in_paused_time(async {
        let mut world = World::with(&[Kind::Soap, Kind::Both].repeat(5), 1);
        let mut checks = 0;
        Schedule::of(&world).run(&mut world, 24 * HOUR, |_, _| checks += 1).await;
        assert_eq!((world.costs.refusals, world.costs.taken), (1, 0));
        assert!(checks > 10 * 24, "{checks} checks");
        let told = |reason| world.fixtures.iter().filter(|fixture| verdict_reason(fixture.status()) == Some(reason)).count();
        assert_eq!((told(Reason::CredentialsRejected), told(Reason::LoginHeld)), (1, 9));
    });
}

#[test]
fn nor_do_twenty_restarts_and_five_fail_overs_cost_another() {
    for invalidate in [true, false] {
        in_paused_time(async {
            let mut world = World::with(&[Kind::Soap, Kind::Both].repeat(5), 1);
            for replaced in 0..25 {
                Schedule::of(&world).run(&mut world, HOUR, |_, _| {}).await;
                match replaced % 5 {
                    4 => world.fail_over(invalidate).await,
                    _ => world.restart().await,
                }
                // One Secret is written again unchanged, and one connection is deleted and created again.
                let fixture = replaced % world.fixtures.len();
                world.edit(fixture, 1);
                world.recreate((fixture + 1) % world.fixtures.len());
            }
            Schedule::of(&world).run(&mut world, 24 * HOUR, |_, _| {}).await;
            assert_eq!((world.costs.refusals, world.costs.taken), (1, 0));
        });
    }
}

/// What happens each hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hourly {
    Nothing,
    Restart,
    FailOver,
    LedgerIsLost,
}

#[test]
fn answers_that_are_neither_yes_nor_no_cost_four_logins_in_a_day_and_24_of_what_has_worked() {
    for fault in [Fault::ServerError, Fault::Unclear] {
        for hourly in [Hourly::Nothing, Hourly::Restart, Hourly::FailOver, Hourly::LedgerIsLost] {
            for worked in [false, true] {
                in_paused_time(async {
                    // Without the ledger each connection knows only of its own logins.
                    let count = if hourly == Hourly::LedgerIsLost { 1 } else { 2 };
                    let mut world = World::with(&[Kind::Soap, Kind::Both][..count], u8::from(!worked));
                    for fixture in &mut world.fixtures {
                        fixture.connection.spec.interval = "1m".to_owned();
                    }
                    for fixture in (0..count).filter(|_| worked) {
                        world.check_and_publish(fixture).await;
                    }
                    world.upstream.state().faults = Some(Faults { fault, every: 1, first: 0 });
                    for _ in 0..24 {
                        Schedule::of(&world).run(&mut world, HOUR - Duration::from_secs(15), |_, _| {}).await;
                        match hourly {
                            Hourly::Nothing => world.pass(Duration::from_secs(15)).await,
                            Hourly::Restart => world.restart().await,
                            Hourly::FailOver => world.fail_over(true).await,
                            Hourly::LedgerIsLost => {
                                world.store.clear();
                                world.restart().await;
                            }
                        }
                    }
                    let (sent, most) = (world.costs.unclear_logins, if worked { 24 } else { 4 });
                    assert!((most / 2..=most).contains(&sent), "{sent} for {fault:?}, worked {worked}, each hour {hourly:?}");
                    let reasons: Vec<_> = world.fixtures.iter().map(|fixture| verdict_reason(fixture.status())).collect();
                    let is_reported = |reason: &Option<Reason>| match (worked, fault) {
                        (true, Fault::ServerError) => matches!(reason, Some(Reason::ServerError | Reason::LoginPaused)),
                        (true, _) => matches!(reason, Some(Reason::LoginUndetermined | Reason::LoginPaused)),
                        (false, _) => *reason == Some(Reason::LoginPaused),
                    };
                    assert!(reasons.iter().all(is_reported), "{reasons:?}, worked {worked}, {fault:?}, each hour {hourly:?}");
                    // The end of the trouble is noticed.
                    world.upstream.state().faults = None;
                    Schedule::of(&world).run(&mut world, 25 * HOUR, |_, _| {}).await;
                    let expected = if worked { Verdict::Active } else { Verdict::Unauthorized };
                    assert!(world.fixtures.iter().all(|fixture| fixture.status().state == expected.as_str()));
                    assert!(world.costs.refusals <= 1);
                });
            }
        }
    }
}

/// Returns this number of rows by SOAP and by REST.
fn rows(soap: usize, rest: usize) -> Vec<RequiredPermission> {
    let by_soap = catalogue().rows().filter(|row| row.soap.is_some()).take(soap).map(|row| (row, ApiChoice::Soap));
    let by_rest = catalogue().rows().filter(|row| row.rest.is_some() && row.soap.is_none());
    let by_rest = by_rest.take(rest).map(|row| (row, ApiChoice::Rest));
    let rows: Vec<_> = by_soap.chain(by_rest).map(|(row, api)| RequiredPermission { name: row.name.clone(), api }).collect();
    assert_eq!(rows.len(), soap + rest);
    rows
}

/// Returns a world with one connection that requires these rows, was found Active, and is checked every hour.
async fn active(soap: usize, rest: usize) -> World {
    let mut world = World::with(&[if soap == 0 && rest > 0 { Kind::Rest } else { Kind::Both }], 0);
    let spec = &mut world.fixtures[0].connection.spec;
    (spec.permissions, spec.interval) = (rows(soap, rest), "1h".to_owned());
    world.check_and_publish(0).await;
    assert_eq!(world.fixtures[0].status().state, Verdict::Active.as_str());
    world
}

#[test]
fn a_host_that_loses_each_second_answer_never_makes_an_active_connection_anything_else() {
    let by_soap = (0..=14).map(|soap| (soap, 0));
    let by_rest = (1..=5).map(|rest| (0, rest));
    let by_both = (1..=9).map(|soap| (soap, 1 + soap % 5));
    for (soap, rest) in by_soap.chain(by_rest).chain(by_both) {
        for (fault, first, restart) in [
            (Fault::Lost, 0, false),
            (Fault::Lost, 1, false),
            (Fault::Lost, 0, true),
            (Fault::Lost, 1, true),
            (Fault::DeadlineExceeded, 0, true),
        ] {
            in_paused_time(async {
                let mut world = active(soap, rest).await;
                if restart {
                    world.restart().await;
                }
                world.upstream.state().faults = Some(Faults { fault, every: 2, first });
                Schedule::of(&world)
                    .run(&mut world, 24 * HOUR, |world, fixture| {
                        let status = world.fixtures[fixture].status();
                        let what = format!("{soap} by SOAP, {rest} by REST, {fault:?} from {first}, restart {restart}");
                        assert_eq!(status.state, Verdict::Active.as_str(), "{what}: {:?}", verdict_reason(status));
                    })
                    .await;
            });
        }
    }
}

#[test]
fn a_dead_host_is_unreachable_after_as_many_checks_as_the_threshold_says_and_soon() {
    for fault in [Fault::NotSent, Fault::Lost, Fault::DeadlineExceeded, Fault::Unavailable] {
        for threshold in [1, 3, 10] {
            in_paused_time(async {
                let mut world = active(3, 2).await;
                world.fixtures[0].connection.spec.failure_threshold = threshold;
                world.upstream.state().faults = Some(Faults { fault, every: 1, first: 0 });
                let died = Instant::now();
                let mut seen = Vec::new();
                Schedule::of(&world)
                    .run(&mut world, 4 * HOUR, |world, fixture| {
                        seen.push((world.fixtures[fixture].status().state.clone(), died.elapsed()));
                    })
                    .await;
                let last = seen.iter().position(|(state, _)| state == "Unreachable").expect("dead");
                assert!(seen[last..].iter().all(|(state, _)| state == "Unreachable"));
                assert_eq!(last + 1, usize::try_from(threshold).expect("small"), "{fault:?}");
                // 15 s, doubling, up to ten minutes, plus a tenth; and as long as each check may take.
                let waits: u64 = (0..threshold - 1).map(|n| (15 << n).min(600)).sum();
                let longest = (waits * 11).div_ceil(10) + u64::try_from(threshold).expect("small") * 30;
                let took = (seen[last].1 - seen[0].1).as_secs();
                assert!(took <= longest, "{fault:?}: {took} s of at most {longest} s");
                // The failure is noticed at the next check, and hours later the host is still checked every ten minutes.
                assert!(seen[0].1 <= HOUR * 11 / 10 + Duration::from_secs(30));
                let (next_to_last, last) = (seen[seen.len() - 2].1, seen[seen.len() - 1].1);
                assert!(last - next_to_last <= Duration::from_secs(660 + 30), "{fault:?}");
            });
        }
    }
}
