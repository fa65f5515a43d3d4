//! Random events in random order: every invariant holds after each step, and once the trouble ends, every status becomes stable
//! and true.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::in_paused_time;
use super::upstream::{Fault, Faults, Interface, Values};
use super::world::{Kind, REST, SOAP, World};

/// An event.
#[derive(Debug, Clone, Copy)]
enum Step {
    Check(usize),
    CheckAllAtOnce,
    /// The status could not be written.
    CheckInVain(usize),
    KillDuringCheck(usize, usize),
    KillDuringAll(usize),
    Restart,
    FailOver {
        invalidate: bool,
    },
    RotatePassword(u8),
    /// The password changes after so many requests.
    RotateMeanwhile(u64, u8),
    Lock(bool),
    RefuseRest(bool),
    SpeakInUnknownWords(bool),
    Tick(usize, bool),
    EditSecret(usize, u8),
    LabelSecret(usize),
    Recreate(usize),
    Copy(usize),
    Require(usize, Kind),
    Request(usize, u8),
    Suspend(usize, bool),
    Pass(u64),
    SetClock(i64),
    FailWrites(u32),
    LoseWrites(u32),
    Fail(Faults),
    Recover,
}

/// More would make a sequence slow without showing anything else.
const FIXTURES_MAX: usize = 6;

async fn take(world: &mut World, step: Step) {
    let count = world.fixtures.len();
    match step {
        Step::Check(fixture) => {
            world.check_and_publish(fixture % count).await;
        }
        Step::CheckAllAtOnce => {
            let all: Vec<_> = (0..count).collect();
            for found in world.check(&all, None).await {
                world.publish(found);
            }
        }
        Step::CheckInVain(fixture) => {
            world.check(&[fixture % count], None).await;
        }
        Step::KillDuringCheck(fixture, polls) => {
            world.check(&[fixture % count], Some(polls)).await;
            world.restart().await;
        }
        Step::KillDuringAll(polls) => {
            let all: Vec<_> = (0..count).collect();
            world.check(&all, Some(polls)).await;
            world.restart().await;
        }
        Step::Restart => world.restart().await,
        Step::FailOver { invalidate } => world.fail_over(invalidate).await,
        Step::RotatePassword(password) => world.upstream.state().password = password,
        Step::RotateMeanwhile(requests, password) => world.upstream.state().rotation = Some((requests, password)),
        Step::Lock(locked) => world.upstream.state().locked = locked,
        Step::RefuseRest(refuses) => world.upstream.state().refuses_rest = refuses,
        Step::SpeakInUnknownWords(unexplained) => world.upstream.state().unexplained = unexplained,
        Step::Tick(row, ticked) => {
            let rows: Vec<_> = SOAP.iter().chain(&REST).collect();
            let row = (*rows[row % rows.len()]).to_owned();
            let mut state = world.upstream.state();
            state.denied.remove(&row);
            state.denied.extend((!ticked).then_some(row));
        }
        Step::EditSecret(fixture, password) => world.edit(fixture % count, password),
        Step::LabelSecret(fixture) => world.edit(fixture % count, world.fixtures[fixture % count].password),
        Step::Recreate(fixture) => world.recreate(fixture % count),
        Step::Copy(fixture) if count < FIXTURES_MAX => {
            let fixture = &world.fixtures[fixture % count];
            world.add(fixture.kind, fixture.password);
        }
        Step::Copy(_) => {}
        Step::Require(fixture, kind) => world.require(fixture % count, kind),
        Step::Request(fixture, value) => world.request(fixture % count, &value.to_string()),
        Step::Suspend(fixture, suspend) => world.fixtures[fixture % count].connection.spec.suspend = suspend,
        Step::Pass(seconds) => world.pass(Duration::from_secs(seconds)).await,
        Step::SetClock(hours) => world.set_clock(SignedDuration::from_hours(hours)),
        Step::FailWrites(writes) => world.store.fail(writes),
        Step::LoseWrites(writes) => world.store.lose(writes),
        Step::Fail(faults) => world.upstream.state().faults = Some(faults),
        Step::Recover => world.upstream.state().faults = None,
    }
}

fn step() -> impl Strategy<Value = Step> {
    let fixture = || 0..FIXTURES_MAX;
    let password = || 0..5_u8;
    let fault = prop::sample::select(vec![
        Fault::NotSent,
        Fault::Lost,
        Fault::Lost,
        Fault::DeadlineExceeded,
        Fault::Unavailable,
        Fault::ServerError,
        Fault::ServerError,
        Fault::RateLimited,
        Fault::Unclear,
    ]);
    let faults = (fault, 1..4_u8, 0..3_u8).prop_map(|(fault, every, first)| Step::Fail(Faults { fault, every, first }));
    let kind = prop::sample::select(vec![Kind::Login, Kind::Soap, Kind::Both, Kind::Rest]);
    prop_oneof![
        12 => fixture().prop_map(Step::Check),
        3 => Just(Step::CheckAllAtOnce),
        2 => fixture().prop_map(Step::CheckInVain),
        4 => (fixture(), 0..40_usize).prop_map(|(fixture, polls)| Step::KillDuringCheck(fixture, polls)),
        1 => (0..60_usize).prop_map(Step::KillDuringAll),
        2 => Just(Step::Restart),
        2 => any::<bool>().prop_map(|invalidate| Step::FailOver { invalidate }),
        3 => password().prop_map(Step::RotatePassword),
        2 => (0..8_u64, password()).prop_map(|(requests, password)| Step::RotateMeanwhile(requests, password)),
        1 => any::<bool>().prop_map(Step::Lock),
        2 => any::<bool>().prop_map(Step::RefuseRest),
        1 => any::<bool>().prop_map(Step::SpeakInUnknownWords),
        1 => (0..6_usize, any::<bool>()).prop_map(|(row, ticked)| Step::Tick(row, ticked)),
        3 => (fixture(), password()).prop_map(|(fixture, password)| Step::EditSecret(fixture, password)),
        2 => fixture().prop_map(Step::LabelSecret),
        1 => fixture().prop_map(Step::Recreate),
        1 => fixture().prop_map(Step::Copy),
        1 => (fixture(), kind).prop_map(|(fixture, kind)| Step::Require(fixture, kind)),
        3 => (fixture(), 0..3_u8).prop_map(|(fixture, value)| Step::Request(fixture, value)),
        1 => (fixture(), any::<bool>()).prop_map(|(fixture, suspend)| Step::Suspend(fixture, suspend)),
        3 => prop::sample::select(vec![1, 10, 60, 660, 3_600, 40_000, 90_000]).prop_map(Step::Pass),
        1 => prop::sample::select(vec![-48, -25, -1, 1, 12, 25, 48]).prop_map(Step::SetClock),
        1 => (1..4_u32).prop_map(Step::FailWrites),
        1 => (1..3_u32).prop_map(Step::LoseWrites),
        3 => faults,
        3 => Just(Step::Recover),
    ]
}

fn story() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..40)
}

/// Ends all trouble and corrects the clock.
async fn leave_alone(world: &mut World, latest: Timestamp) {
    world.upstream.state().faults = None;
    world.upstream.state().rotation = None;
    world.store.fail(0);
    world.store.lose(0);
    world.fixtures.iter_mut().for_each(|fixture| fixture.connection.spec.suspend = false);
    let behind = latest.duration_since(world.clock.now());
    if behind.is_positive() {
        world.set_clock(behind);
    }
    if world.process().is_behind {
        world.restart().await;
    }
    for _ in 0..3 {
        // Every hold ends within a day, except those that only a user can release.
        world.pass(Duration::from_secs(90_000)).await;
        for fixture in 0..world.fixtures.len() {
            world.check_and_publish(fixture).await;
        }
    }
    world.pass(Duration::from_secs(60)).await;
}

fn the_truth_is_told(world: &World) {
    for fixture in &world.fixtures {
        let (values, status) = (fixture.values(), fixture.status());
        let (login_works, rest_works, denied) = {
            let state = world.upstream.state();
            let denied = fixture.requirements().iter().any(|required| state.denied.contains(&required.row.name));
            let by = if values.user_api_key { Interface::LoginService } else { Interface::Rest };
            (state.takes(values, by), state.takes(values, Interface::Rest), denied)
        };
        let expected: &[&str] = match fixture.kind {
            _ if !login_works => &["Unauthorized", "Unknown"],
            // The values may be held: their own refusal, or one of the same password with or without a User API key.
            _ if world.costs.is_ever_refused(values) => continue,
            _ if world.costs.is_ever_refused(Values { user_api_key: !values.user_api_key, ..values }) => continue,
            Kind::Both if denied || !rest_works => &["Forbidden"],
            _ if denied => &["Forbidden"],
            _ => &["Active"],
        };
        assert!(expected.contains(&status.state.as_str()), "{values:?}: {expected:?} would be the truth of {status:?}");
    }
}

async fn at_rest_nothing_moves(world: &mut World) {
    let writes = world.store.writes();
    for fixture in (0..world.fixtures.len()).cycle().take(2 * world.fixtures.len()) {
        world.pass(Duration::from_secs(660)).await;
        let before = world.fixtures[fixture].status().clone();
        let refusals = world.costs.refusals;
        let decision = world.check_and_publish(fixture).await.expect("the ledger can be written");
        assert_eq!(world.fixtures[fixture].status(), &before);
        assert_eq!(decision.events, []);
        assert_eq!(world.costs.refusals, refusals, "a refused password is not sent at rest");
    }
    world.pass(Duration::from_secs(60)).await;
    assert_eq!(world.store.writes(), writes, "the ledger is written at rest");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_every_promise_holds_and_things_come_to_rest(story in story()) {
        in_paused_time(async {
            let mut world = World::with(&[Kind::Soap, Kind::Both, Kind::Rest], 0);
            let mut latest = world.clock.now();
            for step in story {
                take(&mut world, step).await;
                latest = latest.max(world.clock.now());
            }
            leave_alone(&mut world, latest).await;
            the_truth_is_told(&world);
            at_rest_nothing_moves(&mut world).await;
        });
    }
}
