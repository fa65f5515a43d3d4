//! Values of Secrets that a list has brought, each for the checks that it woke.
//!
//! At a first start, one page of a list brings the values of hundreds of connections for the cost of one request
//! ([`first_checks`](crate::operator)). They are here from then until the checks have taken them.
//!
//! **Contract.** Values are handed out only within [`FRESH`] of their read, and only in the version that the watch of Secrets shows.
//! So a check never sends a password that has been replaced since the list. Otherwise, the check reads the Secret itself.
//!
//! **Bound.** One page, for [`FRESH`].

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::read::Found;
use crate::cluster::watch::NamespacedName;

/// How long values wait for their checks.
pub(super) const FRESH: Duration = Duration::from_secs(10);

/// The values of one page.
#[derive(Default)]
pub struct PrefetchedSecrets {
    all: Mutex<HashMap<NamespacedName, Prefetched>>,
    taken: Notify,
}

struct Prefetched {
    found: Found,
    /// The number of checks that may still take the values.
    users: usize,
    read: Instant,
}

impl PrefetchedSecrets {
    /// Keeps what a list has brought of a Secret, for this number of checks.
    pub fn put(&self, secret: NamespacedName, found: Found, users: usize) {
        let mut all = self.all();
        // Not every check takes its values: it may have to wait for its host first.
        all.retain(|_, kept| kept.read.elapsed() < FRESH);
        if users > 0 {
            all.insert(secret, Prefetched { found, users, read: Instant::now() });
        }
    }

    /// Hands out the values of these keys. `seen` is the version that the watch of Secrets has shown last.
    pub fn take(&self, secret: &NamespacedName, wanted: &[(&str, usize)], seen: Option<&str>) -> Option<Found> {
        let mut all = self.all();
        let kept = all.get_mut(secret)?;
        let is_valid = kept.read.elapsed() < FRESH && seen.is_some() && kept.found.version.as_deref() == seen;
        kept.users -= 1;
        let mut found = match kept.users {
            0 => all.remove(secret)?.found,
            _ => kept.found.clone(),
        };
        drop(all);
        self.taken.notify_waiters();
        found.values.retain(|key, _| wanted.iter().any(|(name, _)| name == key));
        is_valid.then_some(found)
    }

    /// Waits until checks have taken all but `most` Secrets. Returns false if that takes too long.
    pub async fn wait_until_taken(&self, most: usize) -> bool {
        let wait = async {
            loop {
                let taken = self.taken.notified();
                tokio::pin!(taken);
                // Registers before it looks, so that nothing is missed.
                taken.as_mut().enable();
                if self.all().len() <= most {
                    return;
                }
                taken.await;
            }
        };
        tokio::time::timeout(FRESH, wait).await.is_ok()
    }

    /// Wipes everything.
    pub fn clear(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<NamespacedName, Prefetched>> {
        // Each change is one insertion or removal, so a poisoned mutex holds valid data.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zeroize::Zeroizing;

    use super::*;

    fn secret() -> NamespacedName {
        NamespacedName::new(Some("hr"), Some("acme"))
    }

    fn found(version: &str) -> Found {
        let value = |text: &str| Some(Zeroizing::new(text.as_bytes().to_vec()));
        let values = BTreeMap::from([("password".to_owned(), value("Right-1!")), ("other".to_owned(), value("x"))]);
        Found { version: Some(version.to_owned()), values }
    }

    const WANTED: [(&str, usize); 1] = [("password", 64)];

    #[tokio::test(start_paused = true)]
    async fn each_check_that_a_page_woke_takes_the_wanted_values_once() {
        let prefetched = PrefetchedSecrets::default();
        prefetched.put(secret(), found("7"), 2);
        for _ in 0..2 {
            let taken = prefetched.take(&secret(), &WANTED, Some("7")).expect("there");
            assert_eq!(taken.values.keys().collect::<Vec<_>>(), ["password"]);
        }
        assert!(prefetched.take(&secret(), &WANTED, Some("7")).is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn values_that_may_have_been_replaced_are_not_handed_out() {
        let prefetched = PrefetchedSecrets::default();
        for seen in [Some("8"), None] {
            prefetched.put(secret(), found("7"), 1);
            assert!(prefetched.take(&secret(), &WANTED, seen).is_none(), "{seen:?}");
        }
        prefetched.put(secret(), found("7"), 1);
        tokio::time::advance(FRESH).await;
        assert!(prefetched.take(&secret(), &WANTED, Some("7")).is_none());
        assert!(prefetched.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_learns_when_checks_have_taken_the_values_or_do_not() {
        let prefetched = PrefetchedSecrets::default();
        prefetched.put(secret(), found("7"), 1);
        assert!(prefetched.wait_until_taken(1).await);
        assert!(!prefetched.wait_until_taken(0).await);
        let (taken, _) = tokio::join!(prefetched.wait_until_taken(0), async { prefetched.take(&secret(), &WANTED, Some("7")) });
        assert!(taken);
        prefetched.put(secret(), found("7"), 1);
        prefetched.clear();
        assert!(prefetched.wait_until_taken(0).await);
    }
}
