//! Kills of the process at each await of a check, one after the other, until the check ends by itself; then a new process runs
//! for some days.

use std::time::Duration;

use super::in_paused_time;
use super::upstream::Interface;
use super::world::{Ended, Kind, World};
use crate::api::verdict::verdict_reason;
use crate::api::{Reason, Verdict};
use crate::login_guard::{Login, Rest};

/// The result of one kill.
struct Outcome {
    /// Whether a password was refused in the killed check, and the refusal was not recorded.
    forgotten: bool,
    /// Whether the check was killed before it ended.
    killed: bool,
    world: World,
}

impl Outcome {
    fn states(&self) -> Vec<&str> {
        self.world.fixtures.iter().map(|fixture| fixture.status().state.as_str()).collect()
    }
}

/// Builds the world before the check that is killed.
type Before = fn() -> std::pin::Pin<Box<dyn Future<Output = World>>>;

/// Kills a check of all connections at each await. The next process checks at once, an hour later and for days after. Returns the
/// result of each kill. `soon` is called after the first checks of the new process.
fn kill_everywhere(before: Before, soon: fn(&World)) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    loop {
        let polls = outcomes.len();
        let outcome = in_paused_time(async {
            let mut world = before().await;
            let all: Vec<_> = (0..world.fixtures.len()).collect();
            let refusals = world.costs.refusals;
            let ended = world.check(&all, Some(polls)).await;
            let killed = ended.iter().all(|(_, ended)| matches!(ended, Ended::Killed));
            let stored = world.stored(world.fixtures[0].values()).await;
            let written = stored.is_some_and(|entry| {
                matches!(entry.login, Some(Login::Refused(_) | Login::BegunAgain(_))) || entry.rest == Some(Rest::Refused)
            });
            let forgotten = world.costs.refusals > refusals && !written;
            world.restart().await;
            for (round, hours) in [0, 1, 24, 24, 24].into_iter().enumerate() {
                world.pass(Duration::from_secs(hours * 3600 + 1)).await;
                for fixture in &all {
                    world.check_and_publish(*fixture).await.expect("the ledger can be written");
                }
                if round == 0 {
                    soon(&world);
                }
            }
            Outcome { forgotten, killed, world }
        });
        let killed = outcome.killed;
        outcomes.push(outcome);
        if !killed {
            return outcomes;
        }
        assert!(outcomes.len() < 200, "a check that does not end");
    }
}

/// Returns how often UKG Pro refused a password, for each kill.
fn refusals(outcomes: &[Outcome]) -> Vec<u32> {
    outcomes.iter().map(|outcome| outcome.world.costs.refusals).collect()
}

/// One login, and one more a day later if the process was killed between UKG Pro's answer and the write.
fn a_refusal_costs_one_login_and_one_more_where_it_was_forgotten(outcomes: &[Outcome]) {
    let expected: Vec<_> = outcomes.iter().map(|outcome| 1 + u32::from(outcome.forgotten)).collect();
    assert_eq!(refusals(outcomes), expected);
    // Otherwise some await was not reached.
    assert!(outcomes.iter().any(|outcome| outcome.forgotten), "no kill fell between the answer and the write");
    assert!(outcomes.iter().filter(|outcome| outcome.killed && !outcome.forgotten).count() > 2, "none fell elsewhere");
}

#[test]
fn a_wrong_password_is_sent_once_wherever_the_process_ends() {
    let stories: [Before; 5] = [
        || Box::pin(async { World::with(&[Kind::Login], 1) }),
        || Box::pin(async { World::with(&[Kind::Soap], 1) }),
        || Box::pin(async { World::with(&[Kind::Both], 1) }),
        || Box::pin(async { World::with(&[Kind::Rest], 1) }),
        || Box::pin(async { World::with(&[Kind::Soap, Kind::Both, Kind::Soap, Kind::Login], 1) }),
    ];
    for before in stories {
        let outcomes = kill_everywhere(before, |_| {});
        a_refusal_costs_one_login_and_one_more_where_it_was_forgotten(&outcomes);
        for outcome in &outcomes {
            assert!(outcome.states().iter().all(|state| *state == Verdict::Unauthorized.as_str()), "{:?}", outcome.states());
        }
    }
}

#[test]
fn a_login_that_rest_refuses_is_shown_to_it_once_wherever_the_process_ends() {
    let outcomes = kill_everywhere(
        || {
            Box::pin(async {
                let world = World::with(&[Kind::Both, Kind::Both], 0);
                world.upstream.state().refuses_rest = true;
                world
            })
        },
        |_| {},
    );
    a_refusal_costs_one_login_and_one_more_where_it_was_forgotten(&outcomes);
    for outcome in &outcomes {
        assert_eq!(outcome.states(), ["Forbidden", "Forbidden"]);
    }
}

/// The limit that the docs of the ledger describe.
#[test]
fn what_worked_in_the_process_and_is_refused_costs_one_more_where_that_was_forgotten() {
    let outcomes = kill_everywhere(
        || {
            Box::pin(async {
                let mut world = World::with(&[Kind::Both], 0);
                world.check_and_publish(0).await;
                world.pass(Duration::from_secs(660)).await;
                world.upstream.state().password = 1;
                world
            })
        },
        |_| {},
    );
    a_refusal_costs_one_login_and_one_more_where_it_was_forgotten(&outcomes);
}

#[test]
fn a_request_is_granted_at_most_once_wherever_the_process_ends() {
    let outcomes = kill_everywhere(
        || {
            Box::pin(async {
                let mut world = World::with(&[Kind::Soap, Kind::Both], 1);
                world.check_and_publish(0).await;
                world.check_and_publish(1).await;
                // A copy that has no result yet.
                world.add(Kind::Soap, 1);
                world.pass(Duration::from_secs(660)).await;
                world.request(0, "now");
                world
            })
        },
        |_| {},
    );
    for outcome in &outcomes {
        let sent = outcome.world.costs.refusals;
        // A stored intent may not have been sent.
        assert!(sent == 2 || (sent == 1 && outcome.killed), "{sent} logins");
        assert!(outcome.states().iter().all(|state| *state == Verdict::Unauthorized.as_str()), "{:?}", outcome.states());
    }
    assert!(refusals(&outcomes).iter().filter(|sent| **sent == 2).count() > 2);
}

#[test]
fn a_right_password_is_found_to_work_within_a_day_wherever_the_process_ends() {
    let stories: [Before; 4] = [
        || Box::pin(async { World::with(&[Kind::Soap], 0) }),
        || Box::pin(async { World::with(&[Kind::Both], 0) }),
        || Box::pin(async { World::with(&[Kind::Rest], 0) }),
        || Box::pin(async { World::with(&[Kind::Soap, Kind::Both, Kind::Rest, Kind::Login], 0) }),
    ];
    for before in stories {
        let outcomes = kill_everywhere(before, |world| {
            for fixture in &world.fixtures {
                let reason = verdict_reason(fixture.status());
                let works = reason.and_then(Reason::verdict) == Some(Verdict::Active);
                let expected = works || reason == Some(Reason::LoginUncertain);
                assert!(expected, "{reason:?}");
            }
        });
        for outcome in &outcomes {
            assert!(outcome.states().iter().all(|state| *state == Verdict::Active.as_str()), "{:?}", outcome.states());
            assert_eq!(outcome.world.costs.refusals, 0);
        }
        assert!(outcomes.len() > 4, "some await was not reached");
    }
}

/// An Active verdict is evidence: one kill does not make it doubtful.
#[test]
fn an_active_connection_stays_active_wherever_the_process_ends_once() {
    let outcomes = kill_everywhere(
        || {
            Box::pin(async {
                let mut world = World::with(&[Kind::Soap, Kind::Both, Kind::Rest], 0);
                for fixture in 0..3 {
                    world.check_and_publish(fixture).await;
                }
                world.pass(Duration::from_secs(660)).await;
                // The next process knows only what the status says.
                world.restart().await;
                world
            })
        },
        |world| {
            for fixture in &world.fixtures {
                assert_eq!(
                    fixture.status().state,
                    Verdict::Active.as_str(),
                    "{:?}: {:?}",
                    fixture.kind,
                    verdict_reason(fixture.status())
                );
            }
            assert!(world.is_seen_to_work((world.fixtures[0].values(), Interface::LoginService)));
        },
    );
    assert!(outcomes.len() > 8, "some await was not reached");
}

#[test]
fn one_wrong_password_with_and_without_a_user_api_key_costs_one_login() {
    let mut cost = Vec::new();
    for at_once in [false, true] {
        for refuses_rest in [false, true] {
            for kinds in [[Kind::Soap, Kind::Rest], [Kind::Rest, Kind::Soap], [Kind::Both, Kind::Rest]] {
                let refusals = in_paused_time(async {
                    let mut world = World::with(&kinds, u8::from(!refuses_rest));
                    world.upstream.state().refuses_rest = refuses_rest;
                    if at_once {
                        for found in world.check(&[0, 1], None).await {
                            world.publish(found);
                        }
                    } else {
                        world.check_and_publish(0).await;
                        world.check_and_publish(1).await;
                    }
                    world.costs.refusals
                });
                if refusals > 1 {
                    cost.push(format!("{kinds:?}, at once: {at_once}, REST takes no login: {refuses_rest}: {refusals}"));
                }
            }
        }
    }
    assert!(cost.is_empty(), "{cost:#?}");
}
