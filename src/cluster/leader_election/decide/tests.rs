//! Tables of moments, outcomes and the steps that follow.

use super::*;

/// Milliseconds since the start, the outcome of the last step, and the next step.
type Row = (u64, LeaseEvent, &'static str);

/// A candidate "a" with client-go's durations, which reads every 800 ms.
#[derive(Clone)]
struct Play {
    rules: Rules,
    state: State,
    start: Instant,
    wall: Timestamp,
}

impl Play {
    fn new() -> Self {
        let start = Instant::now();
        let rules = Rules::new("a".to_owned(), Timing::default(), 0);
        Self { rules, state: State::new(start), start, wall: wall(0) }
    }

    fn now(&self, at: u64) -> Now {
        Now { local: self.start + Duration::from_millis(at), wall: self.wall }
    }

    fn hear(&mut self, at: u64, event: LeaseEvent) -> Step {
        let event = match event {
            // Sent a moment before its response.
            LeaseEvent::Written { lease, .. } => {
                LeaseEvent::Written { lease, sent: self.now(at).local - Duration::from_millis(5) }
            }
            event => event,
        };
        self.state.next(&self.rules, event, self.now(at))
    }

    fn leads_until(&self) -> Option<u64> {
        self.state.leads_until().map(|until| self.since_start(until))
    }

    fn since_start(&self, instant: Instant) -> u64 {
        u64::try_from((instant - self.start).as_millis()).expect("short")
    }

    fn said(&self, step: &Step) -> String {
        match step {
            Step::Sleep(until) => format!("sleep until {}", self.since_start(*until)),
            Step::Read => "read".to_owned(),
            Step::Write { onto: None, record } => format!("make {}", said(record)),
            Step::Write { onto: Some(metadata), record } => {
                format!("write {} onto {}", said(record), metadata.resource_version.as_deref().expect("a version"))
            }
        }
    }

    fn plays(&mut self, rows: impl IntoIterator<Item = Row>) {
        for (at, event, expected) in rows {
            let text = format!("{event:?}");
            let step = self.hear(at, event);
            assert_eq!(self.said(&step), expected, "at {at}: {text}");
        }
    }
}

/// Holder and transitions.
fn said(record: &Record) -> String {
    format!("{:?} {}", record.holder, record.transitions)
}

fn wall(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).expect("in range")
}

fn lease(version: u64, holder: &str, transitions: i32) -> Lease {
    Lease {
        metadata: Box::new(ObjectMeta { resource_version: Some(version.to_string()), ..ObjectMeta::default() }),
        record: Record {
            holder: holder.to_owned(),
            duration: Some(Duration::from_secs(15)),
            acquired: Some(wall(-60)),
            renewed: Some(wall(-1)),
            transitions,
        },
    }
}

fn found(version: u64, holder: &str, transitions: i32) -> LeaseEvent {
    LeaseEvent::Found(lease(version, holder, transitions))
}

fn written(version: u64, holder: &str, transitions: i32) -> LeaseEvent {
    LeaseEvent::Written { lease: lease(version, holder, transitions), sent: Instant::now() }
}

fn unread() -> LeaseEvent {
    LeaseEvent::Unread("no".to_owned())
}

fn unanswered() -> LeaseEvent {
    LeaseEvent::Unanswered("no".to_owned())
}

/// A candidate "a" that leads by version 1 since 5 ms.
fn led() -> Play {
    let mut play = Play::new();
    play.plays([
        (0, LeaseEvent::Nothing, "read"),
        (5, LeaseEvent::Absent, "make \"a\" 0"),
        (10, written(1, "a", 0), "sleep until 2005"),
    ]);
    assert_eq!(play.leads_until(), Some(10_005));
    play
}

#[test]
fn the_first_makes_the_lease_and_renews_it_from_then_on() {
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (2010, written(2, "a", 0), "sleep until 4005"),
        (4005, LeaseEvent::Nothing, "write \"a\" 0 onto 2"),
    ]);
    assert_eq!(play.leads_until(), Some(12_005), "counted from before the renewal was sent");
}

#[test]
fn a_standby_takes_over_when_it_has_seen_no_change_for_as_long_as_the_lease_says() {
    let mut play = Play::new();
    play.plays([
        (0, LeaseEvent::Nothing, "read"),
        (5, found(1, "b", 3), "sleep until 800"),
        (800, LeaseEvent::Nothing, "read"),
        (810, found(2, "b", 3), "sleep until 1600"),
        (15_700, LeaseEvent::Nothing, "read"),
        (15_705, found(2, "b", 3), "sleep until 15810"),
        (15_809, LeaseEvent::Nothing, "sleep until 15810"),
        (15_810, LeaseEvent::Nothing, "write \"a\" 4 onto 2"),
    ]);
    assert_eq!(play.leads_until(), None, "not before it is written");
    play.plays([(15_815, written(3, "a", 4), "sleep until 17810")]);
    assert_eq!(play.leads_until(), Some(25_810));
}

#[test]
fn what_others_clocks_say_decides_nothing() {
    for renewed in [None, Some(wall(-3600)), Some(wall(3600))] {
        let mut theirs = lease(1, "b", 0);
        theirs.record.renewed = renewed;
        let mut play = Play::new();
        play.plays([(0, LeaseEvent::Nothing, "read"), (0, LeaseEvent::Found(theirs), "sleep until 800")]);
        for second in [-3600, 0, 3600] {
            play.wall = wall(second);
            play.plays([(799, LeaseEvent::Nothing, "sleep until 800")]);
        }
        play.plays([(15_000, LeaseEvent::Nothing, "write \"a\" 1 onto 1")]);
    }
}

#[test]
fn another_holders_own_times_count_and_ones_own_where_it_has_none() {
    for (duration, from) in [(Some(60), 60_000), (Some(3), 3_000), (None, 15_000), (Some(2_147_483_647), 150_000)] {
        let mut theirs = lease(1, "b", 0);
        theirs.record.duration = duration.map(Duration::from_secs);
        let mut play = Play::new();
        play.plays([(0, LeaseEvent::Nothing, "read"), (0, LeaseEvent::Found(theirs), "sleep until 800")]);
        play.plays([(from - 1, LeaseEvent::Nothing, "read"), (from, unread(), "write \"a\" 1 onto 1")]);
    }
}

#[test]
fn a_released_lease_is_taken_at_once() {
    let mut play = Play::new();
    play.plays([
        (0, LeaseEvent::Nothing, "read"),
        (5, found(1, "b", 3), "sleep until 800"),
        (800, LeaseEvent::Nothing, "read"),
        (805, found(2, "", 3), "write \"a\" 4 onto 2"),
    ]);
}

#[test]
fn a_leader_that_cannot_renew_gives_up_by_the_deadline() {
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (4505, unanswered(), "read"),
        (7005, unread(), "read"),
        (7010, unread(), "sleep until 7805"),
        (7805, LeaseEvent::Nothing, "read"),
        (7805, unread(), "sleep until 8605"),
        (9800, LeaseEvent::Nothing, "read"),
        (9801, unread(), "sleep until 10005"),
    ]);
    assert_eq!(play.leads_until(), Some(10_005));
    play.plays([(10_005, LeaseEvent::Nothing, "sleep until 10600")]);
    assert_eq!(play.leads_until(), None);
}

#[test]
fn an_answer_that_comes_after_the_deadline_makes_no_leader() {
    let mut play = led();
    play.plays([(2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1")]);
    let sent = play.now(2005).local;
    let late = LeaseEvent::Written { lease: lease(2, "a", 0), sent };
    // This process was suspended for a minute, and others may have taken over since.
    let now = play.now(62_005);
    let step = play.state.next(&play.rules, late, now);
    assert_eq!((play.said(&step).as_str(), play.leads_until()), ("write \"a\" 0 onto 2", None));
    play.plays([(62_010, LeaseEvent::Refused, "read"), (62_015, found(9, "b", 1), "sleep until 62810")]);
    assert_eq!(play.leads_until(), None);
}

#[test]
fn a_write_without_an_answer_is_looked_for_before_anything_is_assumed() {
    // The write was carried out.
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (4505, unanswered(), "read"),
        (4510, found(2, "a", 0), "write \"a\" 0 onto 2"),
    ]);
    assert_eq!(play.leads_until(), Some(10_005), "a look prolongs nothing");
    // The write was not carried out.
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (4505, unanswered(), "read"),
        (4510, found(1, "a", 0), "write \"a\" 0 onto 1"),
    ]);
    // A takeover was carried out.
    let mut play = Play::new();
    play.plays([
        (0, LeaseEvent::Nothing, "read"),
        (5, found(1, "", 3), "write \"a\" 4 onto 1"),
        (2505, unanswered(), "read"),
        (2510, found(2, "a", 4), "write \"a\" 4 onto 2"),
    ]);
}

#[test]
fn a_leader_that_sees_another_holder_or_none_steps_down_at_once() {
    for holder in ["b", ""] {
        let mut play = led();
        play.plays([(2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"), (2010, LeaseEvent::Refused, "read")]);
        assert!(play.leads_until().is_some());
        play.plays([(2015, found(3, holder, 1), "sleep until 2810")]);
        assert_eq!(play.leads_until(), None, "holder {holder:?}");
    }
}

#[test]
fn a_leader_whose_lease_others_have_only_touched_goes_on() {
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (2010, LeaseEvent::Refused, "read"),
        // Not at once: otherwise a client that changes it all the time would cause writes all the time.
        (2015, found(3, "a", 0), "sleep until 4005"),
        (4005, LeaseEvent::Nothing, "write \"a\" 0 onto 3"),
    ]);
    assert_eq!(play.leads_until(), Some(10_005));
}

#[test]
fn a_leader_makes_a_deleted_lease_again() {
    let mut play = led();
    play.plays([
        (2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"),
        (2010, LeaseEvent::Refused, "read"),
        (2015, LeaseEvent::Absent, "make \"a\" 0"),
        (2020, written(7, "a", 0), "sleep until 4015"),
    ]);
    assert_eq!(play.leads_until(), Some(12_015));
}

#[test]
fn a_standby_leaves_a_deleted_lease_to_its_leader_for_as_long_as_if_it_was_just_renewed() {
    for holder in ["b", ""] {
        let mut play = Play::new();
        play.plays([
            (0, LeaseEvent::Nothing, "read"),
            (5, found(1, "b", 3), "sleep until 800"),
            (800, LeaseEvent::Nothing, "read"),
            (805, found(2, holder, 3), if holder.is_empty() { "write \"a\" 4 onto 2" } else { "sleep until 1600" }),
            (1605, if holder.is_empty() { LeaseEvent::Refused } else { LeaseEvent::Nothing }, "read"),
            (1610, LeaseEvent::Absent, "sleep until 2405"),
            (2410, LeaseEvent::Nothing, "read"),
            (2415, LeaseEvent::Absent, "sleep until 3210"),
            (16_609, LeaseEvent::Nothing, "read"),
            (16_610, LeaseEvent::Absent, "make \"a\" 4"),
        ]);
    }
}

/// A Lease with another uid, created after the first was deleted.
fn remade(version: u64, holder: &str) -> LeaseEvent {
    let mut remade = lease(version, holder, 0);
    remade.metadata.uid = Some("another".to_owned());
    LeaseEvent::Found(remade)
}

#[test]
fn a_lease_made_again_says_nothing_of_who_led_by_the_one_before() {
    // "b" may still lead without knowing that its Lease was deleted. The Lease of "a" stems from an earlier request that came late.
    for holder in ["a", ""] {
        let mut play = Play::new();
        play.plays([
            (0, LeaseEvent::Nothing, "read"),
            (5, found(1, "b", 3), "sleep until 800"),
            (800, LeaseEvent::Nothing, "read"),
            (805, remade(2, holder), "sleep until 1600"),
            (15_804, LeaseEvent::Nothing, "read"),
        ]);
        let step = play.hear(15_805, remade(2, holder));
        assert!(matches!(step, Step::Write { .. }), "{step:?}");
        // The same if the Lease was missing for a while.
        let mut play = Play::new();
        play.plays([
            (0, LeaseEvent::Nothing, "read"),
            (5, found(1, "b", 3), "sleep until 800"),
            (800, LeaseEvent::Nothing, "read"),
            (805, LeaseEvent::Absent, "sleep until 1600"),
            (1600, LeaseEvent::Nothing, "read"),
            (1605, remade(2, holder), "sleep until 2400"),
            (15_804, LeaseEvent::Nothing, "read"),
        ]);
        let step = play.hear(15_805, remade(2, holder));
        assert!(matches!(step, Step::Write { .. }), "{step:?}");
    }
}

#[test]
fn no_write_follows_another_without_a_retry_between_them() {
    let mut play = Play::new();
    play.plays([
        (0, LeaseEvent::Nothing, "read"),
        (5, LeaseEvent::Absent, "make \"a\" 0"),
        (10, unanswered(), "read"),
        (15, LeaseEvent::Absent, "sleep until 810"),
        (2004, LeaseEvent::Nothing, "read"),
        (2005, LeaseEvent::Absent, "make \"a\" 0"),
    ]);
}

#[test]
fn a_holder_keeps_when_it_began_and_a_new_one_does_not() {
    for (holder, began) in [("a", wall(-60)), ("b", wall(0)), ("", wall(0))] {
        let mut play = Play::new();
        play.plays([(0, LeaseEvent::Nothing, "read")]);
        let Some(Step::Write { record, .. }) = [(0, found(1, holder, 0)), (15_000, unread())]
            .into_iter()
            .map(|(at, event)| play.hear(at, event))
            .find(|step| matches!(step, Step::Write { .. }))
        else {
            panic!("a write")
        };
        assert_eq!((record.acquired, record.renewed), (Some(began), Some(wall(0))), "after {holder:?}");
        assert_eq!(record.duration, Some(Duration::from_secs(15)));
    }
}

#[test]
fn a_renewal_is_never_what_is_there_already() {
    let mut play = led();
    // The clock shows the time that was written last, within the precision of a Lease.
    play.wall = wall(-1) + SignedDuration::from_nanos(999);
    let Step::Write { record, .. } = play.hear(2005, LeaseEvent::Nothing) else { panic!("a write") };
    assert_eq!(record.renewed, Some(wall(-1) + SignedDuration::from_micros(1)));
}

#[test]
fn a_candidate_leaves_nothing_behind_that_it_may_hold() {
    let leaving = |play: &mut Play, rows: &[(LeaseEvent, Option<&str>)]| {
        for (event, expected) in rows {
            let now = play.now(3000);
            let step = play.state.leave(&play.rules, event.clone(), now);
            assert_eq!(step.map(|step| play.said(&step)).as_deref(), *expected, "{event:?}");
        }
        assert_eq!(play.leads_until(), None);
    };
    // A leader.
    let release = Some("write \"\" 0 onto 1");
    leaving(&mut led(), &[(LeaseEvent::Nothing, release), (written(2, "", 0), None)]);
    // A leader with a renewal under way, which was carried out.
    let mut play = led();
    play.plays([(2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1")]);
    leaving(&mut play, &[(LeaseEvent::Nothing, Some("read")), (found(2, "a", 0), Some("write \"\" 0 onto 2"))]);
    // A leader with a renewal that was carried out between the read and the release.
    leaving(&mut play, &[(LeaseEvent::Refused, Some("read")), (found(3, "a", 0), Some("write \"\" 0 onto 3"))]);
    leaving(&mut play, &[(written(4, "", 0), None)]);
    // A leader that another has already replaced, or whose Lease is missing.
    let mut play = led();
    play.plays([(2005, LeaseEvent::Nothing, "write \"a\" 0 onto 1"), (2010, LeaseEvent::Refused, "read")]);
    leaving(&mut play.clone(), &[(found(3, "b", 1), None)]);
    leaving(&mut play, &[(LeaseEvent::Absent, None)]);
    // A leader that reaches nothing.
    leaving(&mut led(), &[(LeaseEvent::Nothing, release), (unanswered(), None)]);
    // A former leader that nobody has replaced.
    let mut play = led();
    play.plays([
        (10_005, unread(), "write \"a\" 0 onto 1"),
        (10_006, unanswered(), "read"),
        (10_007, unread(), "sleep until 10806"),
    ]);
    leaving(&mut play, &[(LeaseEvent::Nothing, Some("read")), (found(1, "a", 0), release)]);
    // A standby, and a candidate that has only just started.
    let mut play = Play::new();
    leaving(&mut play.clone(), &[(LeaseEvent::Nothing, None)]);
    play.plays([(0, LeaseEvent::Nothing, "read"), (5, found(1, "b", 0), "sleep until 800")]);
    leaving(&mut play, &[(LeaseEvent::Nothing, None)]);
}

#[test]
fn a_released_record_is_what_other_implementations_expect() {
    let mut play = led();
    let now = play.now(3000);
    let Some(Step::Write { record, .. }) = play.state.leave(&play.rules, LeaseEvent::Nothing, now) else { panic!("a write") };
    let duration = Some(Duration::from_secs(1));
    let (acquired, renewed) = (Some(wall(0)), Some(wall(0)));
    assert_eq!(record, Record { holder: String::new(), duration, acquired, renewed, transitions: 0 });
}
