//! Turns: of those with the same values one logs in, and the others learn from it.
//!
//! **Contract.** A refusal is one for all who waited. Trouble on the way and sessions are only for those who trust the same
//! authorities: with others, the same host may be another.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use ukg_pro::login::{LoginFailure, Session};

/// A digest of the authorities that a connection trusts besides the platform's; `None` without such.
pub type Authority = Option<[u8; 32]>;

/// To whom a session is lent.
#[derive(Debug, Clone, Copy)]
pub struct Lend {
    /// Those who trust these.
    pub authority: Authority,
    /// And come within this time, which is [`SHARED_FOR`](super::SHARED_FOR).
    pub time: Duration,
}

/// Has the turn to log in with some values, until it is dropped.
pub struct Turn {
    /// When it was asked for.
    pub(super) asked: Instant,
    pub(super) last: OwnedMutexGuard<Last>,
    /// The turn of the same password without a User API key, where these values have one: it is one password, and one is sent at a time.
    pub(super) _keyless: Option<OwnedMutexGuard<Last>>,
}

/// Those who want to log in with some values, one after another.
pub(super) type Line = tokio::sync::Mutex<Last>;

/// What became of the last login with some values.
#[derive(Default)]
pub(super) struct Last {
    failed: Option<(Instant, LoginFailure)>,
    session: Weak<Session>,
    authority: Authority,
}

impl Turn {
    /// The failure of another's login that ended while this turn was waited for: it would fail the same way.
    pub fn failed_meanwhile(&self, authority: Authority) -> Option<LoginFailure> {
        let (_, failure) = self.last.failed.filter(|(ended, _)| *ended >= self.asked)?;
        (failure.spends_the_credentials() || self.last.authority == authority).then_some(failure)
    }

    /// Another's session that is not old.
    pub fn shared(&self, authority: Authority) -> Option<Arc<Session>> {
        self.last.session.upgrade().filter(|_| self.last.authority == authority)
    }

    /// Tells those who wait how this login failed.
    pub fn failed(&mut self, failure: LoginFailure, authority: Authority) {
        *self.last = Last { failed: Some((Instant::now(), failure)), session: Weak::new(), authority };
    }

    /// Lends this session.
    pub fn succeeded(&mut self, session: &Arc<Session>, Lend { authority, time }: Lend) {
        *self.last = Last { failed: None, session: Arc::downgrade(session), authority };
        // The line too: without anybody in it, it would be dropped, and with it who is lending.
        let lent = (session.clone(), OwnedMutexGuard::mutex(&self.last).clone());
        tokio::spawn(async move {
            tokio::time::sleep(time).await;
            drop(lent);
        });
    }
}
