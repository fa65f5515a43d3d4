//! Elections with simulated servers, networks and time.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use jiff::SignedDuration;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Sleep;

use super::*;

mod properties;
mod server;

use server::{End, Fate, Link, Server};

const SECOND: Duration = Duration::from_secs(1);

/// A process that stands as a candidate.
struct Rival {
    leadership: Leadership,
    link: Link,
    /// The offset of its wall clock; `None` if the clock stands still.
    wall: Arc<Mutex<Option<SignedDuration>>>,
    naps: Naps,
    drained: Option<oneshot::Sender<()>>,
    election: JoinHandle<()>,
}

impl Rival {
    /// With client-go's durations.
    fn new(server: &Server, identity: &str) -> Self {
        Self::timed(server, identity, Timing::default(), 128)
    }

    fn timed(server: &Server, identity: &str, timing: Timing, chance: u8) -> Self {
        let (link, sender) = (Link::new(server), TermSender::default());
        let leadership = sender.leadership();
        let (drained, end) = oneshot::channel();
        let wall = Arc::new(Mutex::new(Some(SignedDuration::ZERO)));
        let naps = Naps::default();
        let rules = Rules::new(identity.to_owned(), timing, chance);
        let (start, shown) = (Instant::now(), wall.clone());
        let clock = move || {
            let offset = *shown.lock().expect("a clock");
            let elapsed = SignedDuration::try_from(start.elapsed()).expect("short");
            Timestamp::from_second(1_800_000_000).expect("in range")
                + offset.map_or(SignedDuration::ZERO, |offset| elapsed + offset)
        };
        let election = {
            let link = link.clone();
            async move {
                let drained = async { end.await.unwrap_or(()) };
                run_election(&rules, &link, clock, &sender, drained).await;
            }
        };
        let election = tokio::spawn(Napping { inner: Box::pin(election), naps: naps.clone(), asleep: None });
        Self { leadership, link, wall, naps, drained: Some(drained), election }
    }

    /// Says that its work has ended, and waits until the election has ended.
    async fn stop(mut self) {
        self.drained.take().expect("once").send(()).expect("it stands");
        self.election.await.expect("no panic");
    }

    /// kill -9.
    async fn kill(self) {
        self.election.abort();
        assert!(self.election.await.expect_err("killed").is_cancelled());
    }

    /// Suspends its task for this long, from now on.
    fn nap(&self, length: Duration) {
        self.naps.lock().expect("naps").push_back((Instant::now(), length));
    }
}

/// When, and for how long, a task is suspended.
type Naps = Arc<Mutex<VecDeque<(Instant, Duration)>>>;

/// A task that is suspended at times, whatever happens meanwhile.
struct Napping {
    inner: Pin<Box<dyn Future<Output = ()> + Send>>,
    naps: Naps,
    asleep: Option<Pin<Box<Sleep>>>,
}

impl Future for Napping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(asleep) = &mut self.asleep {
                ready!(asleep.as_mut().poll(context));
                self.asleep = None;
            }
            let due = self.naps.lock().expect("naps").pop_front_if(|(from, _)| *from <= Instant::now());
            match due {
                Some((_, length)) => self.asleep = Some(Box::pin(tokio::time::sleep(length))),
                None => return self.inner.as_mut().poll(context),
            }
        }
    }
}

/// A leader "a", its term, and a standby "b" that has seen its Lease.
async fn leader_and_standby(server: &Server) -> (Rival, Term, Rival) {
    let leader = Rival::new(server, "a");
    let term = leader.leadership.acquired().await;
    let standby = Rival::new(server, "b");
    while !standby.link.has_seen_a_lease() {
        pass(SECOND / 10).await;
    }
    (leader, term, standby)
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// Returns how long a future takes.
async fn time(of: impl Future) -> Duration {
    let start = Instant::now();
    of.await;
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn one_of_two_leads_and_goes_on_leading() {
    let server = Server::default();
    let (_leader, term, standby) = leader_and_standby(&server).await;
    for _ in 0..600 {
        pass(SECOND).await;
        assert!(term.is_leading() && !standby.leadership.is_leading());
    }
    assert_eq!((server.holder(), server.record().transitions), ("a".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_standby_takes_over_from_a_killed_leader_after_the_lease_and_within_twenty_seconds() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    leader.kill().await;
    assert!(!term.is_leading());
    let taken = time(standby.leadership.acquired()).await;
    assert!(13 * SECOND < taken && taken < 20 * SECOND, "{taken:?}");
    let record = server.record();
    assert_eq!((record.holder.as_str(), record.transitions), ("b", 1));
}

#[tokio::test(start_paused = true)]
async fn a_clean_stop_hands_over_in_less_than_two_seconds() {
    // At any moment between the leader's renewals and the standby's reads.
    for moment in 0..40 {
        let server = Server::default();
        let (leader, term, standby) = leader_and_standby(&server).await;
        pass(moment * SECOND / 10).await;
        let stopped = Instant::now();
        leader.stop().await;
        assert!(!term.is_leading() && server.holder().is_empty());
        standby.leadership.acquired().await;
        assert!(stopped.elapsed() < 3 * SECOND / 2, "{:?}", stopped.elapsed());
        assert_eq!(server.record().transitions, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_release_gets_through_though_a_renewal_is_under_way() {
    // The stop comes after a renewal was carried out but before its response, or before the renewal arrives.
    for (there, back) in [(10, 1000), (1000, 10)] {
        let server = Server::default();
        let (leader, _, standby) = leader_and_standby(&server).await;
        let [there, back] = [there, back].map(Duration::from_millis);
        leader.link.expect([Fate { there, back, end: End::Answered }]);
        let before = server.record().renewed;
        // Until a request is under way.
        while leader.link.expects_any() {
            pass(SECOND / 100).await;
        }
        pass(SECOND / 10).await;
        assert_eq!(server.record().renewed == before, there > back);
        leader.stop().await;
        standby.leadership.acquired().await;
        assert_eq!(server.record().transitions, 1);
        // A late request changes nothing.
        pass(5 * SECOND).await;
        assert_eq!(server.holder(), "b");
        assert!(standby.leadership.is_leading());
    }
}

#[tokio::test(start_paused = true)]
async fn who_stops_without_leading_leaves_the_lease_alone() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    standby.stop().await;
    assert_eq!(server.holder(), "a");
    assert!(term.is_leading());
    drop(leader);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_long_for_a_server_that_does_not_answer_or_is_slow() {
    let slow = Fate { there: SECOND, back: SECOND, end: End::Answered };
    for fate in [Fate::good_until(End::Lost), slow] {
        let server = Server::default();
        let (leader, _, _) = leader_and_standby(&server).await;
        leader.link.become_of_all(fate);
        // A renewal is under way.
        pass(2 * SECOND).await;
        let stopped = time(leader.stop()).await;
        assert!(stopped < 3 * SECOND, "{stopped:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_reaches_nothing_gives_up_before_anyone_takes_over() {
    for end in [End::Lost, End::Refused, End::Failed, End::Unheard] {
        let server = Server::default();
        let (leader, term, standby) = leader_and_standby(&server).await;
        leader.link.become_of_all(Fate::good_until(end));
        let given_up = time(term.lost()).await;
        assert!(given_up <= 10 * SECOND, "{end:?}: {given_up:?}");
        assert!(!leader.leadership.is_leading() && !standby.leadership.is_leading());
        if end == End::Lost {
            let idle = time(standby.leadership.acquired()).await;
            assert!(idle >= 4 * SECOND, "{idle:?}");
            // It is a standby again when it can reach the server.
            leader.link.become_of_all(Fate::GOOD);
            standby.stop().await;
            leader.leadership.acquired().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn renewals_whose_answers_are_lost_now_and_then_keep_the_term() {
    for end in [End::Unheard, End::Lost, End::Failed, End::Refused] {
        let server = Server::default();
        let (leader, term, standby) = leader_and_standby(&server).await;
        for _ in 0..20 {
            leader.link.expect([Fate::good_until(end), Fate::GOOD]);
            pass(7 * SECOND).await;
            assert!(term.is_leading() && !standby.leadership.is_leading(), "{end:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_take_over_whose_answer_is_lost_is_found() {
    let server = Server::default();
    let (leader, _, standby) = leader_and_standby(&server).await;
    leader.stop().await;
    standby.link.expect([Fate::GOOD, Fate::good_until(End::Unheard)]);
    standby.leadership.acquired().await;
    assert_eq!(server.record().transitions, 1, "it is one take-over");
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_was_stolen_steps_down_at_its_next_look() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    server.edit(|lease| lease.record.holder = "thief".to_owned());
    let noticed = time(term.lost()).await;
    assert!(noticed <= 2 * SECOND + SECOND / 10, "{noticed:?}");
    // The thief's Lease counts like any other.
    pass(12 * SECOND).await;
    assert!(!leader.leadership.is_leading() && !standby.leadership.is_leading() && server.holder() == "thief");
    tokio::select! {
        _ = leader.leadership.acquired() => assert!(!standby.leadership.is_leading()),
        _ = standby.leadership.acquired() => assert!(!leader.leadership.is_leading()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_conflict_with_who_only_labels_the_lease_costs_no_term() {
    let server = Server::default();
    let (_leader, term, _standby) = leader_and_standby(&server).await;
    for _ in 0..30 {
        server.edit(|lease| lease.metadata.labels = Some([("team".to_owned(), "hr".to_owned())].into()));
        pass(3 * SECOND).await;
    }
    assert!(term.is_leading());
    assert!(server.lease().expect("a Lease").metadata.labels.is_some(), "the label is kept");
}

#[tokio::test(start_paused = true)]
async fn a_deleted_lease_is_made_again_by_its_leader_and_not_by_a_standby() {
    let server = Server::default();
    let (_leader, term, standby) = leader_and_standby(&server).await;
    server.delete();
    // Longer than the time between two reads of the standby.
    pass(3 * SECOND).await;
    assert_eq!(server.holder(), "a");
    pass(60 * SECOND).await;
    assert!(term.is_leading() && !standby.leadership.is_leading());
}

#[tokio::test(start_paused = true)]
async fn a_standby_makes_a_deleted_lease_whose_leader_is_dead() {
    let server = Server::default();
    let (leader, _, standby) = leader_and_standby(&server).await;
    leader.kill().await;
    server.delete();
    let taken = time(standby.leadership.acquired()).await;
    assert!(15 * SECOND <= taken && taken < 20 * SECOND, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_made_late_is_no_leave_to_lead() {
    let server = Server::default();
    let late = Rival::new(&server, "late");
    // Sent when there was no Lease, and under way until another's Lease is deleted.
    late.link.expect([Fate::GOOD, Fate { there: 6 * SECOND, ..Fate::GOOD }]);
    pass(SECOND).await;
    let leader = Rival::new(&server, "a");
    let term = leader.leadership.acquired().await;
    while !late.link.has_seen_a_lease() {
        pass(SECOND / 10).await;
    }
    leader.nap(60 * SECOND);
    server.delete();
    tokio::select! {
        () = term.lost() => {}
        _ = late.leadership.acquired() => panic!("two lead"),
    }
    assert_eq!(server.holder(), "late");
    late.leadership.acquired().await;
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_election_is_not_run_stops_leading_all_the_same() {
    let server = Server::default();
    let (leader, first, standby) = leader_and_standby(&server).await;
    // Suspended after a renewal that was carried out and answered.
    leader.nap(40 * SECOND);
    let lost = time(first.lost()).await;
    assert!(lost <= 10 * SECOND, "{lost:?}");
    assert!(!leader.leadership.is_leading() && !standby.leadership.is_leading());
    let second = standby.leadership.acquired().await;
    // After it resumes, it does not trust its old state.
    for _ in 0..600 {
        pass(SECOND / 10).await;
        assert!(second.is_leading() && !leader.leadership.is_leading() && !first.is_leading());
    }
    assert_eq!(server.holder(), "b");
}

#[tokio::test(start_paused = true)]
async fn clocks_that_are_set_or_stand_still_change_nothing() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    let hour = SignedDuration::from_hours(1);
    for offset in [Some(hour), Some(-hour), None] {
        for rival in [&leader, &standby] {
            *rival.wall.lock().expect("a clock") = offset;
            pass(60 * SECOND).await;
            assert!(term.is_leading() && !standby.leadership.is_leading(), "{offset:?}");
        }
    }
    leader.kill().await;
    let taken = time(standby.leadership.acquired()).await;
    assert!(13 * SECOND < taken && taken < 20 * SECOND, "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_starts_again_waits_for_what_it_was_before() {
    let server = Server::default();
    let leader = Rival::new(&server, "pod_1");
    leader.leadership.acquired().await;
    leader.kill().await;
    // The same pod with another identity.
    let again = Rival::new(&server, "pod_2");
    let taken = time(again.leadership.acquired()).await;
    assert!(13 * SECOND < taken && taken < 20 * SECOND, "{taken:?}");
}

/// Writes a holder for 68 years, as anyone can who may write the Lease.
fn forever(lease: &mut lease::Lease) {
    lease.record.holder = "thief".to_owned();
    lease.record.duration = Some(Duration::from_secs(u64::from(i32::MAX.unsigned_abs())));
}

#[tokio::test(start_paused = true)]
async fn a_record_of_68_years_keeps_nobody_from_leading_for_longer_than_ten_leases() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    server.edit(forever);
    term.lost().await;
    let told = Mutex::new(Vec::new());
    let telling = standby.leadership.watch_takeover_delay(|delay| told.lock().expect("no panic").push(delay));
    assert!(tokio::time::timeout(3 * SECOND, telling).await.is_err(), "it goes on telling");
    assert_eq!(told.lock().expect("no panic").last(), Some(&Some(150 * SECOND)), "as in its metric");
    let idle = time(async {
        tokio::select! {
            _ = leader.leadership.acquired() => {}
            _ = standby.leadership.acquired() => {}
        }
    });
    let idle = idle.await;
    assert!(140 * SECOND < idle && idle < 160 * SECOND, "{idle:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_a_person_deletes_is_made_again_whatever_it_said() {
    let server = Server::default();
    let (leader, term, standby) = leader_and_standby(&server).await;
    leader.kill().await;
    drop(term);
    server.edit(forever);
    pass(3 * SECOND).await;
    server.delete();
    let taken = time(standby.leadership.acquired()).await;
    assert!(taken < 20 * SECOND, "{taken:?}");
}

#[test]
fn a_holder_is_named_where_it_is_a_name_and_nothing_else_is_shown() {
    for name in ["ukgpro-operator-7d9c5b6f4-x2x9z_0a1b2c3d", "host_6f1b2c3d-aaaa", "a"] {
        assert_eq!(holder_name(name), name);
    }
    for other in ["password: hunter2", "a\nb", "ä", "A", &"a".repeat(129)] {
        assert_eq!(holder_name(other), "(no name of an operator)", "{other}");
    }
}
