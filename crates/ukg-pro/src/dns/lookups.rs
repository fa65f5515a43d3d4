//! Single flight for DNS look-ups, so that a name with silent servers does not block the look-ups of other names.
//!
//! The system's resolver blocks a thread for as long as it likes. No deadline stops it, and the number of threads is limited.
//!
//! **Contract.** Callers that ask for a name under look-up wait for the same answer. If it takes longer than a caller would wait,
//! another look-up starts, in case the servers answer again, but never more than [`LOOKUPS_PER_NAME_MAX`] for one name.
//!
//! **Bound.** One entry for each thread that looks up a name.

use std::collections::HashMap;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::hosts_file;

/// Look-ups per name: a sixteenth of all threads.
const LOOKUPS_PER_NAME_MAX: usize = 4;

/// The addresses of a name; `None` if it does not resolve.
type Found = Option<Arc<[IpAddr]>>;
/// Calls the resolver, on a thread that may block.
type Resolver = dyn Fn(&str) -> Found + Send + Sync;

/// Shared by the whole process, like its resolver and threads.
pub(super) static SYSTEM: LazyLock<Lookups> = LazyLock::new(|| {
    Lookups::by(|name| {
        let aliases = name.strip_suffix('.').map(hosts_file::look_up).unwrap_or_default();
        if !aliases.is_empty() {
            return Some(aliases.into());
        }
        // Only the addresses matter, but a port is required.
        let found = (name, 0).to_socket_addrs().ok()?;
        Some(found.map(|address| address.ip()).collect())
    })
});

/// The running look-ups of one resolver.
pub(super) struct Lookups {
    resolver: Arc<Resolver>,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    by_name: HashMap<String, Vec<Lookup>>,
    begun: u64,
}

struct Lookup {
    number: u64,
    since: Instant,
    /// `None` until the look-up ends.
    end: watch::Receiver<Option<Found>>,
}

impl Lookups {
    fn by(resolver: impl Fn(&str) -> Found + Send + Sync + 'static) -> Self {
        Self { resolver: Arc::new(resolver), running: Arc::default() }
    }

    /// Returns the addresses of a name, within this time.
    pub(super) async fn addresses(&self, name: &str, deadline: Duration) -> Found {
        let mut end = self.join(name, deadline);
        let ended = tokio::time::timeout(deadline, end.wait_for(Option::is_some)).await;
        ended.ok()?.ok()?.clone().flatten()
    }

    /// Joins the latest look-up of this name if it is young enough or no other may start; otherwise starts one.
    fn join(&self, name: &str, patience: Duration) -> watch::Receiver<Option<Found>> {
        let mut running = lock(&self.running);
        let others = running.by_name.get_mut(name).map(|others| {
            // Drops those that never end, because they panicked or their runtime is gone.
            others.retain(|lookup| lookup.end.has_changed().is_ok());
            &others[..]
        });
        let others = others.unwrap_or_default();
        if let Some(last) = others.last().filter(|last| last.since.elapsed() < patience || others.len() >= LOOKUPS_PER_NAME_MAX)
        {
            return last.end.clone();
        }
        let (ends, end) = watch::channel(None);
        running.begun += 1;
        let number = running.begun;
        let lookup = Lookup { number, since: Instant::now(), end: end.clone() };
        running.by_name.entry(name.to_owned()).or_default().push(lookup);
        drop(running);
        let (resolver, running, name) = (self.resolver.clone(), self.running.clone(), name.to_owned());
        tokio::task::spawn_blocking(move || {
            let found = resolver(&name);
            lock(&running).end(&name, number);
            // Possibly no caller waits any more.
            let _ = ends.send(Some(found));
        });
        end
    }
}

impl Running {
    fn end(&mut self, name: &str, number: u64) {
        if let Some(lookups) = self.by_name.get_mut(name) {
            lookups.retain(|lookup| lookup.number != number);
            if lookups.is_empty() {
                self.by_name.remove(name);
            }
        }
    }
}

fn lock(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    // Each change is one insertion or removal, so a poisoned lock holds valid data.
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(6);
    const ADDRESS: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    /// Returns a resolver that hangs on `hangs` until released, and a count of its calls.
    fn resolver() -> (Lookups, mpsc::Sender<()>, Arc<AtomicUsize>) {
        let (go, gone) = mpsc::channel::<()>();
        let (gone, asked) = (Mutex::new(gone), Arc::new(AtomicUsize::new(0)));
        let counted = asked.clone();
        let lookups = Lookups::by(move |name| {
            counted.fetch_add(1, Ordering::SeqCst);
            if name == "hangs" {
                let _ = gone.lock().expect("no panic").recv();
            }
            (name != "nowhere").then(|| Arc::from([ADDRESS]))
        });
        (lookups, go, asked)
    }

    #[tokio::test]
    async fn who_asks_for_a_name_that_is_being_looked_up_waits_for_the_same_answer() {
        let (lookups, go, asked) = resolver();
        let all = futures::future::join_all((0..10).map(|_| lookups.addresses("hangs", DEADLINE)));
        tokio::pin!(all);
        assert!(futures::poll!(&mut all).is_pending());
        go.send(()).expect("it waits");
        assert!(all.await.iter().all(|found| found.as_deref() == Some(&[ADDRESS])));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert!(lock(&lookups.running).by_name.is_empty(), "what has ended is forgotten");
        assert_eq!(lookups.addresses("nowhere", DEADLINE).await, None);
        assert_eq!(asked.load(Ordering::SeqCst), 2, "and looked up anew");
    }

    #[tokio::test]
    async fn a_look_up_that_panics_finds_nothing_and_the_next_is_another() {
        let asked = AtomicUsize::new(0);
        let lookups = Lookups::by(move |_| {
            assert!(asked.fetch_add(1, Ordering::SeqCst) > 0, "the first fails, as it is meant to");
            Some(Arc::from([ADDRESS]))
        });
        assert_eq!(lookups.addresses("x", DEADLINE).await, None);
        assert!(lookups.addresses("x", DEADLINE).await.is_some());
    }

    #[tokio::test]
    async fn a_name_that_hangs_is_tried_again_but_takes_few_threads() {
        let (lookups, go, asked) = resolver();
        let patience = Duration::from_millis(1);
        for _ in 0..3 * LOOKUPS_PER_NAME_MAX {
            assert_eq!(lookups.addresses("hangs", patience).await, None);
        }
        assert_eq!(lock(&lookups.running).by_name["hangs"].len(), LOOKUPS_PER_NAME_MAX);
        assert!(lookups.addresses("other", DEADLINE).await.is_some());
        drop(go);
        assert!(lookups.addresses("hangs", DEADLINE).await.is_some(), "it answers again");
        assert!(asked.load(Ordering::SeqCst) <= LOOKUPS_PER_NAME_MAX + 2);
    }
}
