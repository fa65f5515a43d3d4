//! The login ledger: which credentials were refused, so that the same ones are not sent again.
//!
//! Credentials are known by a keyed fingerprint (HMAC-SHA-256 under a random key of this process) over everything a login depends
//! on, so what is kept can neither be read nor compared with anything elsewhere. It is shared by all connections: copies of one
//! account cost one refused login together, for they take turns, and who waited while another failed takes over that failure.
//!
//! **Bound.** [`ENTRIES_MAX`] refusals, the oldest dropped first. **Limit.** It lives in this process; across a restart, a status
//! that says Unauthorized holds its own connection (see [`crate::controller::gate`]).

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use aws_lc_rs::hmac;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::Endpoint;
use crate::ukg::login::LoginFailure;
use crate::ukg::sensitive::Sensitive;

/// About 5 MiB at the most, for ten times the accounts one operator is meant for.
pub const ENTRIES_MAX: usize = 100_000;
/// Lines in which nobody waits any more are dropped when there are so many.
const LINES_KEPT: usize = 1024;

/// What a login depends on, unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// What was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The login itself.
    Login(LoginFailure),
    /// The login of the REST resources alone.
    Rest,
}

/// The ledger.
pub struct Ledger {
    key: hmac::Key,
    refusals: Mutex<Refusals>,
    lines: Mutex<HashMap<Fingerprint, Weak<Line>>>,
}

#[derive(Default)]
struct Refusals {
    by_fingerprint: HashMap<Fingerprint, Refused>,
    oldest_first: VecDeque<Fingerprint>,
}

/// Has the turn to log in with some values, until it is dropped.
pub struct Turn {
    /// When it was asked for.
    asked: Instant,
    /// How the last login of others failed, and when.
    last: OwnedMutexGuard<Option<(Instant, LoginFailure)>>,
}

type Line = tokio::sync::Mutex<Option<(Instant, LoginFailure)>>;

impl Turn {
    /// The failure of another's login that ended while this turn was waited for: it would fail the same way.
    pub fn failed_meanwhile(&self) -> Option<LoginFailure> {
        self.last.filter(|(ended, _)| *ended >= self.asked).map(|(_, failure)| failure)
    }

    /// Tells those who wait how this login failed.
    pub fn failed(&mut self, failure: LoginFailure) {
        *self.last = Some((Instant::now(), failure));
    }
}

impl Ledger {
    /// An empty ledger under a key of its own.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new())?;
        Ok(Self { key, refusals: Mutex::default(), lines: Mutex::default() })
    }

    /// The fingerprint of everything a login depends on.
    pub fn fingerprint(&self, endpoint: &Endpoint, credentials: &Credentials) -> Fingerprint {
        let Credentials { username, password, customer_api_key, user_api_key } = credentials;
        let mut context = hmac::Context::with_key(&self.key);
        let host = endpoint.to_string();
        let user_api_key = user_api_key.as_ref().map_or("", Sensitive::expose);
        for part in [&host, username.expose(), password.expose(), customer_api_key.expose(), user_api_key] {
            // Length first, so that no two lists of values run together into one.
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut bytes = [0; 32];
        bytes.copy_from_slice(context.sign().as_ref());
        Fingerprint(bytes)
    }

    /// The refusal these credentials met, if any.
    pub fn refusal(&self, fingerprint: Fingerprint) -> Option<Refused> {
        lock(&self.refusals).by_fingerprint.get(&fingerprint).copied()
    }

    /// Enters a failed login, if it is one after which the same values must not be sent again.
    pub fn record(&self, fingerprint: Fingerprint, failure: LoginFailure) {
        if failure.spends_the_credentials() {
            self.enter(fingerprint, Refused::Login(failure));
        }
    }

    /// Enters that the REST resources refused a login that LoginService took.
    pub fn record_rest(&self, fingerprint: Fingerprint) {
        self.enter(fingerprint, Refused::Rest);
    }

    /// Forgets a refusal, for a try that a person asked for.
    pub fn release(&self, fingerprint: Fingerprint) {
        let mut refusals = lock(&self.refusals);
        if refusals.by_fingerprint.remove(&fingerprint).is_some() {
            refusals.oldest_first.retain(|entered| *entered != fingerprint);
        }
    }

    /// Waits for the turn to log in with these values.
    pub async fn turn(&self, fingerprint: Fingerprint) -> Turn {
        let asked = Instant::now();
        Turn { asked, last: self.line(fingerprint).lock_owned().await }
    }

    fn line(&self, fingerprint: Fingerprint) -> Arc<Line> {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.get(&fingerprint).and_then(Weak::upgrade) {
            return line;
        }
        if lines.len() >= LINES_KEPT {
            lines.retain(|_, line| line.strong_count() > 0);
        }
        let line = Arc::default();
        lines.insert(fingerprint, Arc::downgrade(&line));
        line
    }

    fn enter(&self, fingerprint: Fingerprint, refused: Refused) {
        let mut refusals = lock(&self.refusals);
        if refusals.by_fingerprint.insert(fingerprint, refused).is_none() {
            refusals.oldest_first.push_back(fingerprint);
        }
        while refusals.oldest_first.len() > ENTRIES_MAX {
            if let Some(oldest) = refusals.oldest_first.pop_front() {
                refusals.by_fingerprint.remove(&oldest);
            }
        }
    }
}

/// Every change above leaves the collections in step, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ukg::login::{Refusal, Unclear};
    use crate::ukg::transport::Unanswered;

    fn credentials(values: [&str; 4]) -> Credentials {
        let [username, password, customer_api_key, user_api_key] = values.map(|v| Sensitive::new(v.to_owned()));
        Credentials { username, password, customer_api_key, user_api_key: Some(user_api_key) }
    }

    #[test]
    fn a_fingerprint_changes_with_each_value_and_with_the_key() {
        let ledger = Ledger::new().expect("random");
        let endpoint = Endpoint::from_parts("service4", "ultipro.com").expect("good");
        let base = ledger.fingerprint(&endpoint, &credentials(["u", "p", "c", "k"]));
        assert_eq!(base, ledger.fingerprint(&endpoint, &credentials(["u", "p", "c", "k"])));
        for other in
            [["U", "p", "c", "k"], ["u", "P", "c", "k"], ["u", "p", "C", "k"], ["u", "p", "c", "K"], ["up", "", "c", "k"]]
        {
            assert_ne!(base, ledger.fingerprint(&endpoint, &credentials(other)));
        }
        let elsewhere = Endpoint::from_parts("service5", "ultipro.com").expect("good");
        assert_ne!(base, ledger.fingerprint(&elsewhere, &credentials(["u", "p", "c", "k"])));
        assert_ne!(base, Ledger::new().expect("random").fingerprint(&endpoint, &credentials(["u", "p", "c", "k"])));
    }

    #[test]
    fn refusals_are_kept_and_other_failures_are_not() {
        let ledger = Ledger::new().expect("random");
        let endpoint = Endpoint::from_parts("service4", "ultipro.com").expect("good");
        for (name, failure, kept) in [
            ("refused", LoginFailure::Refused(Refusal::Credentials), true),
            ("unexplained", LoginFailure::Undetermined(Unclear::Failed), true),
            ("fault", LoginFailure::Undetermined(Unclear::Fault), false),
            ("trouble", LoginFailure::Unanswered(Unanswered::ServerError), false),
        ] {
            let fingerprint = ledger.fingerprint(&endpoint, &credentials([name, "p", "c", "k"]));
            ledger.record(fingerprint, failure);
            assert_eq!(ledger.refusal(fingerprint), kept.then_some(Refused::Login(failure)), "{name}");
            ledger.release(fingerprint);
            assert_eq!(ledger.refusal(fingerprint), None);
        }
    }

    #[test]
    fn the_ledger_is_bounded() {
        let ledger = Ledger::new().expect("random");
        let refused = LoginFailure::Refused(Refusal::Credentials);
        for n in 0..=ENTRIES_MAX {
            ledger.record(nth(n), refused);
        }
        assert_eq!(ledger.refusal(nth(0)), None);
        assert_eq!(ledger.refusal(nth(ENTRIES_MAX)), Some(Refused::Login(refused)));
        assert_eq!(lock(&ledger.refusals).by_fingerprint.len(), ENTRIES_MAX);
    }

    fn nth(n: usize) -> Fingerprint {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_be_bytes());
        Fingerprint(bytes)
    }

    #[test]
    fn lines_in_which_nobody_waits_are_dropped() {
        let ledger = Ledger::new().expect("random");
        let held = ledger.line(nth(0));
        for n in 1..3 * LINES_KEPT {
            ledger.line(nth(n));
        }
        assert!(lock(&ledger.lines).len() <= LINES_KEPT + 1);
        assert!(Arc::ptr_eq(&held, &ledger.line(nth(0))), "one that is in use stays");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_while_another_failed_fails_the_same_way() {
        let ledger = Arc::new(Ledger::new().expect("random"));
        let failure = LoginFailure::Refused(Refusal::Credentials);
        let mut first = ledger.turn(nth(1)).await;
        let waiting = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.turn(nth(1)).await.failed_meanwhile() }
        });
        let stranger = ledger.turn(nth(2)).await;
        assert_eq!(stranger.failed_meanwhile(), None, "other values are another line");
        tokio::task::yield_now().await;
        first.failed(failure);
        drop(first);
        assert_eq!(waiting.await.expect("no panic"), Some(failure));
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(ledger.turn(nth(1)).await.failed_meanwhile(), None, "who comes later tries by itself");
    }
}
