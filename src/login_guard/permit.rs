//! The permit to log in with some credentials, which is obtained once and ended once.
//!
//! **Invariant.** Each method that ends a login consumes the permit, so a login cannot be ended twice. If a permit is dropped
//! before that, as when the process stops, its intent stays stored and counts as an attempt.

use std::sync::Arc;

use jiff::Timestamp;
use ukg_pro::login::{LoginFailure, Session};

use super::fingerprint::CredentialIds;
use super::single_flight::{CaDigest, LoginLock, Sharing};
use super::{Intent, Ledger, LoginResult, RestResult, StatusRecord};

/// A permit to log in. While it is held, no other check logs in with the same values. If the values are not known to work, an
/// intent is stored.
#[must_use = "a login that was sent has an end to record"]
pub struct LoginPermit<'a> {
    ledger: &'a Ledger,
    ids: CredentialIds,
    recorded: StatusRecord,
    lock: LoginLock,
    sharing: Sharing,
    intent: Option<Intent>,
}

impl<'a> LoginPermit<'a> {
    /// Creates a permit. The gate must be open, and the intent stored if one is needed.
    pub fn new(
        ledger: &'a Ledger,
        ids: CredentialIds,
        recorded: StatusRecord,
        lock: LoginLock,
        sharing: Sharing,
        intent: Option<Intent>,
    ) -> Self {
        Self { ledger, ids, recorded, lock, sharing, intent }
    }

    /// Returns another's recent session with the same values; then no login is needed.
    pub fn shared_session(&self) -> Option<Arc<Session>> {
        self.lock.shared(self.sharing.ca_digest)
    }

    /// Shares this login's session with checks that follow soon.
    pub fn share(&mut self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        self.lock.succeeded(&session, self.sharing);
        session
    }

    /// Records that the login failed, and reports it to the waiting checks.
    pub async fn failed(mut self, failure: LoginFailure, now: Timestamp) {
        self.lock.failed(failure, self.sharing.ca_digest);
        self.ledger.end(self.ids, self.intent, LoginResult::LoginFailed(failure), self.recorded, now).await;
    }

    /// Records that the login worked, and the result of basic authentication if it was tried. Returns the lock, which is still
    /// held.
    pub async fn succeeded(self, rest: Option<RestResult>, now: Timestamp) -> LoginLock {
        self.ledger.end(self.ids, self.intent, LoginResult::LoggedIn { rest }, self.recorded, now).await;
        self.lock
    }
}

impl Ledger {
    /// Records that a login that was taken for a success is refused after all.
    pub async fn login_failed_later(
        &self,
        ids: CredentialIds,
        failure: LoginFailure,
        recorded: StatusRecord,
        ca_digest: CaDigest,
        now: Timestamp,
    ) {
        self.end(ids, None, LoginResult::LoginFailed(failure), recorded, now).await;
        self.login_lock(ids).await.failed(failure, ca_digest);
    }
}
