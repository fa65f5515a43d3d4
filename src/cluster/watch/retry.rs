//! What comes after a watch that fails: a pause that grows, and few lines in the log.
//!
//! kube's own back-off begins anew at each event, and its `watcher` gives [`Event::Init`] before each list, whatever comes of it: a first
//! list that is refused was asked for again after a second for ever, by each of many namespaces.

use std::collections::HashMap;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use tokio::sync::watch;
use tokio::time::Instant;

/// A failure so long after the one before is news again, whether or not the watch had anything to say in between.
const FORGOTTEN: Duration = Duration::from_mins(10);

/// The events of a watch, with a pause after each failure: from a second to a minute, and from the beginning only when the API server has
/// told of an object or a whole list.
pub fn steady<K: 'static>(
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
            // It has no end.
            Err(_) => backoff.next(),
        };
        Some((event, (events, backoff, pause)))
    })
}

/// The same of a watch that begins anew, with a list, whenever it is told to.
pub fn renewable<K, S>(
    make: impl Fn() -> S + Send + 'static,
    anew: watch::Receiver<u64>,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send
where
    K: Send + 'static,
    S: Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
{
    stream::unfold((None, make, anew), |(events, make, mut anew)| async move {
        let mut events = events.unwrap_or_else(|| steady(make()).boxed());
        loop {
            tokio::select! {
                biased;
                Ok(()) = anew.changed() => events = steady(make()).boxed(),
                event = events.next() => return Some((event?, (Some(events), make, anew))),
            }
        }
    })
}

/// Which failures of watches were told. **Bound.** An entry a watch.
#[derive(Default)]
pub struct Complaints(HashMap<usize, Complaint>);

struct Complaint {
    failure: String,
    times: u64,
    last: Instant,
}

impl Complaints {
    /// Takes note of a failure of this watch. Gives how often it has come in a row where it is to be told: the first time, when it is
    /// another than before, and at the second, fourth, eighth and so on.
    pub fn failed(&mut self, place: usize, failure: &str, now: Instant) -> Option<u64> {
        let known = self.0.get(&place).filter(|known| known.failure == failure && now.duration_since(known.last) < FORGOTTEN);
        let times = known.map_or(0, |known| known.times) + 1;
        self.0.insert(place, Complaint { failure: failure.to_owned(), times, last: now });
        times.is_power_of_two().then_some(times)
    }

    /// The watch has something to say. Gives whether it had failed.
    pub fn works(&mut self, place: usize) -> bool {
        self.0.remove(&place).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    fn refused() -> watcher::Error {
        watcher::Error::NoResourceVersion
    }

    /// How many lists are asked for in half an hour, if each fails.
    #[tokio::test(start_paused = true)]
    async fn a_first_list_that_fails_is_asked_for_less_and_less_often() {
        // As kube's watcher does: it says that it begins, and then that it failed.
        let lists = stream::iter(0..).flat_map(|_| stream::iter([Ok(Event::<()>::Init), Err(refused())]));
        let mut lists = pin!(steady(lists));
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
        let mut events = pin!(renewable(silent, told));
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
        let mut events = pin!(steady(failures().chain(works)));
        while !matches!(events.next().await, Some(Ok(Event::Apply(())))) {}
        assert!(events.next().await.expect("a failure").is_err());
        let begun = Instant::now();
        assert!(events.next().await.expect("an event").is_ok());
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }

    #[test]
    fn a_failure_is_told_when_it_is_new_and_then_at_growing_distance() {
        let mut complaints = Complaints::default();
        let now = Instant::now();
        let told: Vec<_> = (0..3000).filter_map(|_| complaints.failed(0, "403", now)).collect();
        assert_eq!(told, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048]);
        assert_eq!(complaints.failed(1, "403", now), Some(1), "of another watch");
        assert_eq!(complaints.failed(0, "500", now), Some(1), "another failure");
        assert!(complaints.works(0) && !complaints.works(0));
        assert_eq!(complaints.failed(0, "500", now), Some(1), "it had worked");
        assert_eq!(complaints.failed(1, "403", now + FORGOTTEN), Some(1), "long after");
    }
}
