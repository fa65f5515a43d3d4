//! Retries of a watch that fails: a growing backoff, and few log lines.
//!
//! kube's own backoff is reset by each event, and its `watcher` yields [`Event::Init`] before each list, even one that fails. So
//! each of many namespaces would retry a refused first list every second, forever.

use std::collections::HashMap;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use tokio::sync::watch;
use tokio::time::Instant;

/// After this time, the same failure is news again, whether or not the watch brought anything in between.
const FAILURE_TTL: Duration = Duration::from_mins(10);

/// Adds a backoff after each failure to the events of a watch: from one second to one minute. It is reset only when the API server
/// has sent an object or a complete list.
pub fn with_backoff<K: 'static>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send {
    let begin = (events.boxed(), DefaultBackoff::default(), None::<Duration>);
    stream::unfold(begin, |(mut events, mut backoff, pause)| async move {
        if let Some(pause) = pause {
            tokio::time::sleep(pause).await;
        }
        let event = events.next().await?;
        let pause = match &event {
            Ok(Event::Init) => None,
            Ok(_) => {
                backoff.reset();
                None
            }
            // The backoff never ends.
            Err(_) => backoff.next(),
        };
        Some((event, (events, backoff, pause)))
    })
}

/// The same for a watch that restarts, with a list, on each change of `relist`.
pub fn restartable<K, S>(
    make: impl Fn() -> S + Send + 'static,
    relist: watch::Receiver<u64>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    stream::unfold((None, make, relist), |(events, make, mut relist)| async move {
        let mut events = events.unwrap_or_else(|| with_backoff(make()).boxed());
        loop {
            tokio::select! {
                biased;
                Ok(()) = relist.changed() => events = with_backoff(make()).boxed(),
                event = events.next() => return Some((event?, (Some(events), make, relist))),
            }
        }
    })
}

/// The failures of watches that were logged. **Bound.** One entry per watch.
#[derive(Default)]
pub struct FailureLog(HashMap<usize, LoggedFailure>);

struct LoggedFailure {
    failure: String,
    times: u64,
    last: Instant,
}

impl FailureLog {
    /// Notes a failure of this watch. Returns its count in a row if it is to be logged: the first time, when it differs from the
    /// one before, and at the second, fourth, eighth time and so on.
    pub fn failed(&mut self, index: usize, failure: &str, now: Instant) -> Option<u64> {
        let known = self.0.get(&index).filter(|known| known.failure == failure && now.duration_since(known.last) < FAILURE_TTL);
        let times = known.map_or(0, |known| known.times) + 1;
        self.0.insert(index, LoggedFailure { failure: failure.to_owned(), times, last: now });
        times.is_power_of_two().then_some(times)
    }

    /// Notes that the watch works. Returns true if it had failed.
    pub fn works(&mut self, index: usize) -> bool {
        self.0.remove(&index).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn refused() -> watcher::Error {
        watcher::Error::NoResourceVersion
    }

    /// Counts the lists that are requested in half an hour if each fails.
    #[tokio::test(start_paused = true)]
    async fn a_first_list_that_fails_is_asked_for_less_and_less_often() {
        // As kube's watcher does: it yields the start of the list, and then the failure.
        let lists = stream::iter(0..).flat_map(|_| stream::iter([Ok(Event::<()>::Init), Err(refused())]));
        let mut lists = pin!(with_backoff(lists));
        let begun = Instant::now();
        let mut asked = 0;
        while begun.elapsed() < Duration::from_mins(30) {
            asked += u32::from(lists.next().await.expect("without end").is_err());
        }
        assert!((25..100).contains(&asked), "{asked}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_that_says_nothing_begins_anew_when_it_is_told_to() {
        let (tell, told) = watch::channel(0);
        let silent = || stream::iter([Ok(Event::<()>::Init), Ok(Event::InitDone)]).chain(stream::pending());
        let mut events = pin!(restartable(silent, told));
        for round in 0..3 {
            assert!(matches!(events.next().await, Some(Ok(Event::Init))), "{round}");
            assert!(matches!(events.next().await, Some(Ok(Event::InitDone))), "{round}");
            assert!(tokio::time::timeout(Duration::from_secs(3600), events.next()).await.is_err(), "nothing comes");
            tell.send_modify(|rounds| *rounds += 1);
        }
        drop(tell);
        assert!(matches!(events.next().await, Some(Ok(Event::Init))), "who tells may go");
    }

    #[tokio::test(start_paused = true)]
    async fn what_works_again_begins_with_short_pauses_again() {
        let failures = || stream::iter((0..20).map(|_| Err(refused())));
        let works = stream::iter([Ok(Event::Init), Ok(Event::Apply(())), Err(refused()), Ok(Event::Init)]);
        let mut events = pin!(with_backoff(failures().chain(works)));
        while !matches!(events.next().await, Some(Ok(Event::Apply(())))) {}
        assert!(events.next().await.expect("a failure").is_err());
        let begun = Instant::now();
        assert!(events.next().await.expect("an event").is_ok());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_failure_is_told_when_it_is_new_and_then_at_growing_distance() {
        let mut failure_log = FailureLog::default();
        let now = Instant::now();
        let told: Vec<_> = (0..3000).filter_map(|_| failure_log.failed(0, "403", now)).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]);
        assert_eq!(failure_log.failed(1, "403", now), Some(1), "of another watch");
        assert_eq!(failure_log.failed(0, "500", now), Some(1), "another failure");
        assert!(failure_log.works(0) && !failure_log.works(0));
        assert_eq!(failure_log.failed(0, "500", now), Some(1), "it had worked");
        assert_eq!(failure_log.failed(1, "403", now + FAILURE_TTL), Some(1), "long after");
    }
}
