//! The login ledger: which credentials were refused, so that the same ones are not sent again.
//!
//! Credentials are known by a keyed fingerprint (HMAC-SHA-256 under a random key of this process) over everything a login depends
//! on, so what is kept can neither be read nor compared with anything elsewhere. It is shared by all connections: copies of one
//! account cost one refused login together.
//!
//! **Bound.** [`ENTRIES_MAX`] refusals, the oldest dropped first. **Limit.** It lives in this process; across a restart, a status
//! that says Unauthorized holds its own connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::hmac;

use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::Endpoint;
use crate::ukg::login::LoginFailure;
use crate::ukg::sensitive::Sensitive;

/// About 5 MiB at the most, for ten times the accounts one operator is meant for.
pub const ENTRIES_MAX: usize = 100_000;

/// What a login depends on, unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

/// The ledger.
pub struct Ledger {
    key: hmac::Key,
    refusals: Mutex<Refusals>,
}

#[derive(Default)]
struct Refusals {
    by_fingerprint: HashMap<Fingerprint, LoginFailure>,
    oldest_first: VecDeque<Fingerprint>,
}

impl Ledger {
    /// An empty ledger under a key of its own.
    pub fn new() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &aws_lc_rs::rand::SystemRandom::new())?;
        Ok(Self { key, refusals: Mutex::default() })
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
    pub fn refusal(&self, fingerprint: Fingerprint) -> Option<LoginFailure> {
        self.refusals().by_fingerprint.get(&fingerprint).copied()
    }

    /// Enters a failure, if it is one after which the same values must not be sent again.
    pub fn record(&self, fingerprint: Fingerprint, failure: LoginFailure) {
        if !failure.spends_the_credentials() {
            return;
        }
        let mut refusals = self.refusals();
        if refusals.by_fingerprint.insert(fingerprint, failure).is_none() {
            refusals.oldest_first.push_back(fingerprint);
        }
        while refusals.oldest_first.len() > ENTRIES_MAX {
            if let Some(oldest) = refusals.oldest_first.pop_front() {
                refusals.by_fingerprint.remove(&oldest);
            }
        }
    }

    fn refusals(&self) -> std::sync::MutexGuard<'_, Refusals> {
        // Every change above leaves the two collections in step, so a poisoned lock holds good data.
        self.refusals.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            assert_eq!(ledger.refusal(fingerprint), kept.then_some(failure), "{name}");
        }
    }

    #[test]
    fn the_ledger_is_bounded() {
        let ledger = Ledger::new().expect("random");
        let refused = LoginFailure::Refused(Refusal::Credentials);
        let nth = |n: usize| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_be_bytes());
            Fingerprint(bytes)
        };
        for n in 0..=ENTRIES_MAX {
            ledger.record(nth(n), refused);
        }
        assert_eq!(ledger.refusal(nth(0)), None);
        assert_eq!(ledger.refusal(nth(ENTRIES_MAX)), Some(refused));
        assert_eq!(ledger.refusals().by_fingerprint.len(), ENTRIES_MAX);
    }
}
