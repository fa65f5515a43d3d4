//! Whatever networks, clocks, schedulers and people do, no two candidates lead at once; after the disturbance, one leads.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// How long the disturbance lasts.
const TROUBLE: Duration = Duration::from_secs(120);

/// The disturbances of one candidate. All times are in milliseconds.
#[derive(Debug, Clone)]
struct Part {
    /// How long until it starts, how long it runs, and whether it is then killed rather than stopped.
    lives: Vec<(u64, u64, bool)>,
    /// What happens to its requests, repeated.
    fates: Vec<(u64, u64, End)>,
    /// Pairs of how long it runs and how long it is then suspended.
    naps: Vec<(u64, u64)>,
    /// How long until its clock changes, and the new offset.
    clocks: Vec<(u64, Option<i64>)>,
    chance: u8,
}

#[derive(Debug, Clone)]
struct Play {
    /// Lease, renew deadline, retry.
    timing: (u64, u64, u64),
    parts: Vec<Part>,
    /// When the Lease is deleted.
    deletion: Option<u64>,
    /// When somebody who is not a candidate writes themselves into the Lease, for 68 years.
    theft: Option<u64>,
}

fn part(restarts: bool) -> impl Strategy<Value = Part> {
    let lives = vec((0..20_000_u64, 500..40_000_u64, any::<bool>()), if restarts { 0..4 } else { 0..1 });
    let end = prop_oneof![
        6 => Just(End::Answered), 1 => Just(End::Unheard), 1 => Just(End::Failed), 1 => Just(End::Refused), 1 => Just(End::Lost)
    ];
    let delay = || prop_oneof![6 => 0..50_u64, 2 => 0..3_000_u64, 1 => 0..20_000_u64];
    let fates = vec((delay(), delay(), end), 1..40);
    let naps = vec((0..30_000_u64, 0..20_000_u64), 0..6);
    let clock = select(vec![Some(-3600), Some(3600), Some(-1), Some(0), None]);
    let clocks = vec((0..20_000_u64, clock), 0..6);
    (lives, fates, naps, clocks, any::<u8>()).prop_map(|(lives, fates, naps, clocks, chance)| Part {
        lives,
        fates,
        naps,
        clocks,
        chance,
    })
}

fn play(restarts: bool) -> impl Strategy<Value = Play> {
    // In the last two, the renew deadline is as close to the lease duration as the rules allow.
    let timing = select(vec![(15_000, 10_000, 2_000), (4_000, 3_000, 500), (4_000, 3_999, 500), (15_000, 14_999, 2_000)]);
    let deletion = if restarts { Just(None).boxed() } else { (0..100_000_u64).prop_map(Some).boxed() };
    let theft = proptest::option::of(0..100_000_u64);
    (timing, vec(part(restarts), 2..4), deletion, theft).prop_map(|(timing, parts, deletion, theft)| Play {
        timing,
        parts,
        deletion,
        theft,
    })
}

/// All candidates so far, and how many led at once.
#[derive(Clone, Default)]
struct Stage {
    server: Server,
    rivals: Arc<Mutex<Vec<(Leadership, Link)>>>,
    at_once: Arc<Mutex<Vec<usize>>>,
}

impl Stage {
    fn rivals(&self) -> Vec<(Leadership, Link)> {
        self.rivals.lock().expect("rivals").clone()
    }

    /// Counts the leaders whenever one begins to lead, because only then can there be two.
    async fn watch(self, leadership: Leadership) {
        loop {
            let term = leadership.acquired().await;
            let leading = self.rivals().iter().filter(|(other, _)| other.is_leading()).count();
            self.at_once.lock().expect("counts").push(leading);
            term.lost().await;
        }
    }

    /// Runs the candidate again and again, and at the end for good.
    async fn perform(self, number: usize, part: Part, timing: Timing) {
        let end = Instant::now() + TROUBLE;
        let lives = part.lives.iter().map(|life| Some(*life)).chain([None]);
        for (life, times) in lives.enumerate() {
            if let Some((before, ..)) = times {
                pass(milliseconds(before)).await;
            }
            let rival = Rival::timed(&self.server, &format!("{number}_{life}"), timing, part.chance);
            self.rivals.lock().expect("rivals").push((rival.leadership.clone(), rival.link.clone()));
            tokio::spawn(self.clone().watch(rival.leadership.clone()));
            tokio::spawn(play_clocks(rival.wall.clone(), part.clocks.clone()));
            part.play_naps(&rival, end);
            if Instant::now() < end {
                rival.link.expect(part.fates.iter().map(Fate::from).cycle().take(REQUESTS_MAX));
            }
            match times {
                Some((_, length, killed)) => {
                    pass(milliseconds(length)).await;
                    if killed { rival.kill().await } else { rival.stop().await }
                }
                None => {
                    tokio::time::sleep_until(end).await;
                    rival.link.become_of_all(Fate::GOOD);
                    std::future::pending::<()>().await;
                }
            }
        }
    }
}

/// More requests than anyone makes during the disturbance.
const REQUESTS_MAX: usize = 10_000;

fn milliseconds(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

impl From<&(u64, u64, End)> for Fate {
    fn from((there, back, end): &(u64, u64, End)) -> Self {
        Self { there: milliseconds(*there), back: milliseconds(*back), end: *end }
    }
}

impl Part {
    fn play_naps(&self, rival: &Rival, end: Instant) {
        let mut from = Instant::now();
        for (awake, asleep) in &self.naps {
            from += milliseconds(*awake);
            let until = from + milliseconds(*asleep);
            if until < end {
                rival.naps.lock().expect("naps").push_back((from, milliseconds(*asleep)));
            }
            from = until;
        }
    }
}

async fn play_clocks(wall: Arc<Mutex<Option<SignedDuration>>>, clocks: Vec<(u64, Option<i64>)>) {
    for (after, shown) in clocks {
        pass(milliseconds(after)).await;
        *wall.lock().expect("a clock") = shown.map(SignedDuration::from_secs);
    }
}

/// Runs the play, and returns how often two candidates led at once.
async fn run(play: Play) -> usize {
    let [lease, renew, retry] = <[u64; 3]>::from(play.timing).map(milliseconds);
    let timing = Timing::new(lease, renew, retry).expect("fits");
    let stage = Stage::default();
    let parts = play.parts.len();
    let performance = play.parts.into_iter().enumerate().map(|(number, part)| stage.clone().perform(number, part, timing));
    let theft = async {
        if let Some(theft) = play.theft {
            pass(milliseconds(theft)).await;
            if stage.server.lease().is_some() {
                stage.server.edit(forever);
            }
        }
    };
    let troubled = async {
        if let Some(deletion) = play.deletion {
            pass(milliseconds(deletion)).await;
            // A candidate that has not seen the Lease cannot know that there was one.
            if stage.rivals().iter().filter(|(_, link)| link.has_seen_a_lease()).count() == parts {
                stage.server.delete();
            }
        }
        // By then all candidates run for good.
        pass(TROUBLE * 3).await;
        let rivals = stage.rivals();
        let leading = futures::future::select_all(rivals.iter().map(|(leadership, _)| Box::pin(leadership.acquired())));
        tokio::time::timeout(2 * lease + 20 * SECOND, leading).await.expect("one leads when all is well again");
    };
    tokio::select! {
        _ = futures::future::join_all(performance) => unreachable!("they stand for good"),
        ((), ()) = futures::future::join(troubled, theft) => {}
    }
    let at_once = stage.at_once.lock().expect("counts");
    assert!(!at_once.is_empty(), "somebody led");
    at_once.iter().filter(|leading| **leading > 1).count()
}

fn played(play: Play) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(run(play))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_two_lead_at_once(play in play(true)) {
        prop_assert_eq!(played(play), 0);
    }

    #[test]
    fn no_two_lead_at_once_though_the_lease_is_deleted_under_them(play in play(false)) {
        prop_assert_eq!(played(play), 0);
    }
}
