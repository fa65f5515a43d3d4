//! Turns credentials, accounts and requests into keyed fingerprints.

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use ukg_pro::credentials::Credentials;
use ukg_pro::endpoint::Endpoint;
use ukg_pro::sensitive::Sensitive;
use zeroize::Zeroizing;

use super::entries::{Account, Fingerprint, NamespaceId, PasswordId, Request};
use super::storage::Error;
use crate::login_guard::Ledger;

/// The length of the HMAC key in bytes, which is that of the digest.
pub(super) const KEY_LENGTH: usize = 32;

/// The fingerprints by which the ledger knows some credentials.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CredentialIds {
    /// The fingerprint of everything that a login depends on.
    pub fingerprint: Fingerprint,
    /// The fingerprint of the account.
    pub account: Account,
    /// The fingerprint of the same values without a User API key.
    pub(super) fingerprint_without_user_api_key: Fingerprint,
    pub(super) password_id: PasswordId,
    /// The fingerprint of the connection's namespace.
    pub(super) namespace_id: NamespaceId,
}

/// The HMAC key, and its bytes to store.
pub(super) type Key = (hmac::Key, Zeroizing<Vec<u8>>);

pub(super) fn new_key() -> Result<Key, Error> {
    let mut bytes = Zeroizing::new(vec![0; KEY_LENGTH]);
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(key_of(bytes))
}

pub(super) fn key_of(bytes: Zeroizing<Vec<u8>>) -> Key {
    (hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes)
}

/// Returns the first bytes of a keyed digest.
pub(super) fn digest<const N: usize>(key: &hmac::Key, what: &str, parts: &[&str]) -> [u8; N] {
    let mut context = hmac::Context::with_key(key);
    for part in std::iter::once(&what).chain(parts) {
        // Length first, so that two different lists of values never give the same bytes.
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut bytes = [0; N];
    bytes.copy_from_slice(&context.sign().as_ref()[..N]);
    bytes
}

impl Ledger {
    /// Returns the fingerprints of these credentials, which a connection of this namespace uses.
    pub async fn credential_ids(
        &self,
        namespace: &str,
        endpoint: &Endpoint,
        credentials: &Credentials,
    ) -> Result<CredentialIds, Error> {
        let key = self.key().await?;
        self.catch_up().await?;
        let Credentials { username, password, customer_api_key, user_api_key } = credentials;
        let host = endpoint.to_string();
        let (username, customer) = (username.expose(), customer_api_key.expose());
        let user_api_key = user_api_key.as_ref().map_or("", Sensitive::expose);
        let of =
            |user_api_key| Fingerprint(digest(key, "login", &[&host, username, password.expose(), customer, user_api_key]));
        Ok(CredentialIds {
            fingerprint: of(user_api_key),
            account: Account(digest(key, "account", &[&host, username, customer])),
            fingerprint_without_user_api_key: of(""),
            password_id: PasswordId(digest(key, "password", &[&host, username, password.expose(), customer])),
            namespace_id: NamespaceId(digest(key, "namespace", &[namespace])),
        })
    }

    /// Returns the fingerprint of a person's request for one more try.
    pub async fn request(&self, uid: &str, value: &str) -> Result<Request, Error> {
        let key = self.key().await?;
        let (connection, says): ([u8; 4], [u8; 4]) = (digest(key, "connection", &[uid]), digest(key, "request", &[uid, value]));
        let mut request = [0; 8];
        request[..4].copy_from_slice(&connection);
        request[4..].copy_from_slice(&says);
        Ok(Request(request))
    }
}
