//! Invariants of every status, each in a function whose name states it. The evidence is what UKG Pro answered.

use std::collections::BTreeSet;

use ukg_pro::outcome::Outcome;

use super::upstream::Interface;
use super::world::{ConnectionFixture, World};
use crate::api::conditions::{self, READY};
use crate::api::verdict::verdict_reason;
use crate::api::{PermissionState, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::{Decision, Observation};
use crate::controller::gate::{self, Hold};
use crate::controller::probe::rest_result;
use crate::controller::resolve::Resolved;
use crate::login_guard::RestResult;

/// What was observed of a connection and reported in its status.
#[derive(Debug, Clone, Default)]
pub(super) struct Reported {
    /// The version of the Secret and the spec that this is about.
    of: Option<(u64, String)>,
    login_works: bool,
    rest_works: bool,
    granted: BTreeSet<String>,
    /// How many consecutive checks have not shown all permissions to be granted.
    failing: i32,
}

impl Reported {
    /// Whether this connection was seen to work with its present values and spec, and no refusal was reported since.
    pub(super) fn is_recorded(&self, fixture: &ConnectionFixture, by: Interface) -> bool {
        let login_by_rest = !fixture.values().user_api_key;
        let works = if by == Interface::Rest && !login_by_rest { self.rest_works } else { self.login_works };
        works && self.is_about_values(fixture)
    }

    fn is_about_values(&self, fixture: &ConnectionFixture) -> bool {
        self.of.as_ref() == Some(&of(fixture))
    }

    /// Returns what is reported after this observation.
    pub(super) fn after(
        &self,
        world: &World,
        fixture: usize,
        observation: &Observation,
        status: &UkgProConnectionStatus,
    ) -> Self {
        if *observation == Observation::Suspended || stands(&world.fixtures[fixture], observation) {
            return self.clone();
        }
        let fixture = &world.fixtures[fixture];
        let before = if self.is_about_values(fixture) { self.clone() } else { Self::default() };
        let failing = before.failing + 1;
        let (login_works, rest_works) = match observation {
            Observation::Probed(_, probed) => match rest_result(probed) {
                Some(RestResult::Works) => (true, true),
                Some(RestResult::Refused) => (true, false),
                Some(RestResult::Unanswered) | None => (true, before.rest_works),
            },
            Observation::LoginFailed(_, failure, _) if failure.forbids_automatic_retry() => (false, false),
            Observation::Held(_, hold) if hold.until().is_none() => (false, false),
            _ => (before.login_works, before.rest_works),
        };
        let now = Self { of: Some(of(fixture)), login_works, rest_works, granted: BTreeSet::new(), failing };
        let kept = Self { granted: before.granted, ..now.clone() };
        match observation {
            Observation::Probed(_, probed) => {
                let any = |wanted: fn(&Outcome) -> bool| probed.iter().any(|found| wanted(&found.outcome));
                let denied = any(|outcome| matches!(outcome, Outcome::Denied | Outcome::LoginRefused));
                let broken = any(|outcome| matches!(outcome, Outcome::Error(_) | Outcome::Held));
                let unclear = any(|outcome| *outcome == Outcome::Undetermined);
                if (broken || unclear) && !denied && is_active(status) {
                    return kept;
                }
                if broken && !denied {
                    return now;
                }
                let granted = probed.iter().filter(|found| found.outcome == Outcome::Granted);
                let granted: BTreeSet<_> = granted.map(|found| found.requirement.row.name.clone()).collect();
                Self { failing: if granted.len() == probed.len() { 0 } else { failing }, granted, ..now }
            }
            _ if is_active(status) => kept,
            _ => now,
        }
    }
}

fn of(fixture: &ConnectionFixture) -> (u64, String) {
    (fixture.version, fixture.connection.spec.checked())
}

fn is_active(status: &UkgProConnectionStatus) -> bool {
    conditions::is_true(&status.conditions, Verdict::Active.as_str())
}

/// Asserts all invariants after a check of this connection.
pub(super) fn hold(
    world: &World,
    fixture: usize,
    observation: &Observation,
    after: &UkgProConnection,
    decision: &Decision,
    again: &Decision,
) {
    let fixture = &world.fixtures[fixture];
    let (before, after) = (fixture.status(), after.status.as_ref().expect("just decided"));
    one_verdict_is_true_or_all_are_unknown(after);
    ready_is_true_exactly_when_active_is(after);
    a_time_moves_with_its_status_alone(before, after);
    deciding_again_changes_nothing(after, again);
    it_is_looked_at_again_within_a_day(decision);
    if stands(fixture, observation) {
        assert_eq!((verdict_reason(before), &before.permissions), (verdict_reason(after), &after.permissions));
    } else if *observation != Observation::Suspended {
        active_was_seen_with_these_very_values_and_this_spec(world, fixture, after);
        what_is_granted_was_granted_by_ukg_pro(world, fixture, after);
        unauthorized_was_said_by_ukg_pro(world, fixture, after);
    }
}

/// Whether the next login must wait, and nothing was sent with these values since the logins that the status records.
fn stands(fixture: &ConnectionFixture, observation: &Observation) -> bool {
    let before = fixture.status();
    let is_about_values = |resolved: &Resolved| gate::is_about_values(before, &fixture.connection, resolved);
    observation.resolved().is_some_and(is_about_values)
        && matches!(observation, Observation::Held(_, Hold::Paused(paused)) if before.tried() >= Some(paused.tried))
}

fn one_verdict_is_true_or_all_are_unknown(status: &UkgProConnectionStatus) {
    let of = |verdict: &Verdict| conditions::find(&status.conditions, verdict.as_str()).map(|c| c.status.as_str());
    let statuses: Vec<_> = Verdict::ALL.iter().map(of).collect();
    let count = |wanted| statuses.iter().filter(|status| **status == Some(wanted)).count();
    let counts = (count("True"), count("False"), count("Unknown"));
    assert!(matches!(counts, (1, 3, 0) | (0, 0, 4)), "{statuses:?}");
}

fn ready_is_true_exactly_when_active_is(status: &UkgProConnectionStatus) {
    assert_eq!(conditions::is_true(&status.conditions, READY), is_active(status), "{status:?}");
}

fn a_time_moves_with_its_status_alone(before: &UkgProConnectionStatus, after: &UkgProConnectionStatus) {
    for now in &after.conditions {
        let Some(then) = conditions::find(&before.conditions, &now.type_) else { continue };
        let (moved, changed) = (then.last_transition_time != now.last_transition_time, then.status != now.status);
        // Within a second, a status may change and change back.
        assert!(moved == changed || !moved, "{}: {then:?}, then {now:?}", now.type_);
    }
}

fn deciding_again_changes_nothing(status: &UkgProConnectionStatus, again: &Decision) {
    assert_eq!(&again.status, status, "an hour later");
    assert_eq!(again.events, [], "an hour later");
}

fn it_is_looked_at_again_within_a_day(decision: &Decision) {
    let seconds = decision.requeue.as_secs();
    assert!((1..=27 * 3600).contains(&seconds), "{seconds} s");
}

fn active_was_seen_with_these_very_values_and_this_spec(
    world: &World,
    fixture: &ConnectionFixture,
    status: &UkgProConnectionStatus,
) {
    if !is_active(status) {
        return;
    }
    if verdict_reason(status) == Some(Reason::Degraded) {
        active_is_kept_through_fewer_failures_than_the_threshold(fixture);
        return;
    }
    let values = fixture.values();
    let by = if values.user_api_key { Interface::LoginService } else { Interface::Rest };
    assert!(world.is_seen_to_work((values, by)), "Active, and no login with {values:?} was seen to work");
    let shown = world.shown(fixture);
    for required in fixture.requirements() {
        assert!(shown.contains(&required.row.name), "Active, and {} was not shown to be granted", required.row.name);
    }
}

fn active_is_kept_through_fewer_failures_than_the_threshold(fixture: &ConnectionFixture) {
    let Reported { failing, .. } = fixture.reported;
    assert!(
        fixture.reported.is_about_values(fixture) && fixture.reported.login_works,
        "Degraded without having been Active with these values"
    );
    assert!(failing + 1 < fixture.connection.spec.failure_threshold(), "Active after {failing} failures and this one");
}

fn what_is_granted_was_granted_by_ukg_pro(world: &World, fixture: &ConnectionFixture, status: &UkgProConnectionStatus) {
    let shown = world.shown(fixture);
    for permission in status.permissions.iter().filter(|permission| permission.state == PermissionState::Granted) {
        let kept = is_active(status)
            && fixture.reported.is_about_values(fixture)
            && fixture.reported.granted.contains(&permission.name);
        assert!(kept || shown.contains(&permission.name), "{} is told to be granted", permission.name);
    }
}

/// UKG Pro refused the values, or, if they worked for another connection since, refused this connection.
fn unauthorized_was_said_by_ukg_pro(world: &World, fixture: &ConnectionFixture, status: &UkgProConnectionStatus) {
    let is_unauthorized = |status: &UkgProConnectionStatus| status.state == Verdict::Unauthorized.as_str();
    if !is_unauthorized(status) {
        return;
    }
    let stands = is_unauthorized(fixture.status())
        && fixture.status().secret_resource_version == status.secret_resource_version
        && fixture.status().checked_spec == status.checked_spec;
    let stands = stands || world.process().is_behind;
    assert!(
        stands || world.costs.is_told_refused(fixture.values()),
        "Unauthorized, and {:?} were not refused",
        fixture.values()
    );
}
