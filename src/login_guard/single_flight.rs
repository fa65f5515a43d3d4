//! Single flight of logins: of the checks with the same values, one logs in, and the others reuse its result.
//!
//! **Contract.** A refusal applies to all waiting checks. A session, or any other failure, is shared only with connections that
//! trust the same authorities: with other authorities, the same host may be a different server.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use ukg_pro::login::{LoginFailure, Session};

/// A digest of the certificate authorities that a connection trusts besides the platform's; `None` if there are none.
pub type CaDigest = Option<[u8; 32]>;

/// Which connections may reuse a session, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Sharing {
    /// Connections that trust these authorities.
    pub ca_digest: CaDigest,
    /// How long they may reuse it, which is [`SHARED_FOR`](super::SHARED_FOR).
    pub time: Duration,
}

/// The lock on logins with some values, held until it is dropped.
pub struct LoginLock {
    /// When the lock was requested.
    pub(super) asked: Instant,
    pub(super) last: OwnedMutexGuard<LastLogin>,
    /// The lock on the same password without a User API key, if these values have one: it is one password, and it is sent in one
    /// login at a time.
    pub(super) _without_user_api_key: Option<OwnedMutexGuard<LastLogin>>,
}

/// The mutex of all logins with some values.
pub(super) type LoginMutex = tokio::sync::Mutex<LastLogin>;

/// The result of the last login with some values.
#[derive(Default)]
pub(super) struct LastLogin {
    failed: Option<(Instant, LoginFailure)>,
    session: Weak<Session>,
    ca_digest: CaDigest,
}

impl LoginLock {
    /// Returns the failure of another's login that ended while this lock was awaited: this login would fail the same way.
    pub fn failed_meanwhile(&self, ca_digest: CaDigest) -> Option<LoginFailure> {
        let (_, failure) = self.last.failed.filter(|(ended, _)| *ended >= self.asked)?;
        (failure.forbids_automatic_retry() || self.last.ca_digest == ca_digest).then_some(failure)
    }

    /// Returns another's recent session.
    pub fn shared(&self, ca_digest: CaDigest) -> Option<Arc<Session>> {
        self.last.session.upgrade().filter(|_| self.last.ca_digest == ca_digest)
    }

    /// Reports to the waiting checks how this login failed.
    pub fn failed(&mut self, failure: LoginFailure, ca_digest: CaDigest) {
        *self.last = LastLogin { failed: Some((Instant::now(), failure)), session: Weak::new(), ca_digest };
    }

    /// Shares this session.
    pub fn succeeded(&mut self, session: &Arc<Session>, Sharing { ca_digest, time }: Sharing) {
        *self.last = LastLogin { failed: None, session: Arc::downgrade(session), ca_digest };
        // Keeps the mutex as well: without users it would be dropped, and with it the reference to the shared session.
        let lent = (session.clone(), OwnedMutexGuard::mutex(&self.last).clone());
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(lent);
        });
    }
}
