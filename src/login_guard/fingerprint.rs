//! Credentials, accounts and requests as keyed fingerprints.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ukg_pro::credentials::Credentials;
use ukg_pro::endpoint::Endpoint;
use ukg_pro::sensitive::Sensitive;
use zeroize::Zeroizing;

use super::entries::{Account, Fingerprint, Keyless, Owner, Request};
use super::storage::Error;
use crate::login_guard::Ledger;

/// The HMAC key has the length of its digest.
pub(super) const KEY_LENGTH: usize = 32;

/// Credentials as the ledger knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Everything a login depends on.
    pub fingerprint: Fingerprint,
    /// The account.
    pub account: Account,
    /// What the same would be without a User API key.
    pub(super) keyless: Fingerprint,
    pub(super) without_key: Keyless,
    /// Whose connection it is.
    pub(super) owner: Owner,
}

/// The HMAC key, to use and to store.
pub(super) type Key = (hmac::Key, Zeroizing<Vec<u8>>);

pub(super) fn new_key() -> Result<Key, Error> {
    let mut bytes = Zeroizing::new(vec![0; KEY_LENGTH]);
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(key_of(bytes))
}

pub(super) fn key_of(bytes: Zeroizing<Vec<u8>>) -> Key {
    (hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes)
}

/// The first bytes of a keyed digest.
pub(super) fn digest<const N: usize>(key: &hmac::Key, what: &str, parts: &[&str]) -> [u8; N] {
    let mut context = hmac::Context::with_key(key);
    for part in std::iter::once(&what).chain(parts) {
        // Length first, so that no two lists of values run together into one.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; N];
    bytes.copy_from_slice(&context.sign().as_ref()[..N]);
    bytes
}

impl Ledger {
    /// What these credentials, of a connection of this namespace, are in the ledger.
    pub async fn subject(&self, namespace: &str, endpoint: &Endpoint, credentials: &Credentials) -> Result<Subject, Error> {
        let key = self.key().await?;
        self.catch_up().await?;
        let Credentials { username, password, customer_api_key, user_api_key } = credentials;
        let host = endpoint.to_string();
        let (username, customer) = (username.expose(), customer_api_key.expose());
        let user_api_key = user_api_key.as_ref().map_or("", Sensitive::expose);
        let of =
            |user_api_key| Fingerprint(digest(key, "login", &[&host, username, password.expose(), customer, user_api_key]));
        Ok(Subject {
            fingerprint: of(user_api_key),
            account: Account(digest(key, "account", &[&host, username, customer])),
            keyless: of(""),
            without_key: Keyless(digest(key, "password", &[&host, username, password.expose(), customer])),
            owner: Owner(digest(key, "namespace", &[namespace])),
        })
    }

    /// What a person's request for one more try is in the ledger.
    pub async fn request(&self, uid: &str, value: &str) -> Result<Request, Error> {
        let key = self.key().await?;
        let (connection, says): ([u8; 4], [u8; 4]) = (digest(key, "connection", &[uid]), digest(key, "request", &[uid, value]));
        let mut request = [0; 8];
        request[..4].copy_from_slice(&connection);
        request[4..].copy_from_slice(&says);
        Ok(Request(request))
    }
}
