//! The login ledger: which credentials must not be sent again, so that a refused password costs one login.
//!
//! Credentials are known by a keyed fingerprint over everything a login depends on (HMAC-SHA-256 under a random key of this
//! installation), so what is kept can neither be read nor compared with anything elsewhere. It is shared by all connections of
//! all namespaces: copies of one account cost one refused login together, and one learns of another no more than that values it
//! has itself were refused.
//!
//! **Where.** Secrets of the operator's own namespace ([`storage`]), which outlive restarts, changes of leader and connections: one at first,
//! and as many as are needed for none to be large, since each refusal writes one of them whole.
//! **What.** Only logins that do not work or may not ([`entries`]); working ones are known in memory alone, and nothing is written
//! for them at rest.
//!
//! **Contract.** Before credentials are sent that are not known to work, an intent is stored. Only an end that was seen replaces it;
//! what remains of a process that was killed in between counts as an attempt. All the intents of a moment are one write. What is answered
//! neither with a session nor with a refusal may be one, and is sent again only as often as [`attempts`] says, whatever the answer was.
//!
//! **Backups.** A ledger that is restored from a backup is older than what was refused since. The process that runs knows that, and stores
//! it again; if it was restarted meanwhile as well, each password that was refused since the backup costs one more login, unless its
//! connection's status tells of it.
//!
//! **Bound.** [`entries::PARTS_MAX`] Secrets of [`PART_BYTES_MAX`], pruned after [`entries::UNUSED_DAYS`] without use; what is too much goes from
//! the namespace that has most. **Limit.** Credentials that have worked in
//! this process are sent without an intent: where UKG Pro has come to refuse them and the process is killed between the answer
//! and the write, the next sends them once more; and where the answers are lost as well, they are sent as often as a host is retried
//! that does not answer. Logins in all are counted by each process for itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use jiff::Timestamp;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use ukg_pro::login::LoginFailure;

use crate::api::Worked;
use crate::api::conditions::whole_seconds;

pub mod attempts;
pub mod entries;
mod fingerprint;
mod intent;
pub mod single_flight;
pub mod storage;
mod write;

pub use attempts::Tried;
pub use entries::{Account, Entry, Fingerprint, Login, Request, Rest};
use entries::{Book, Keyless, Life, PARTS_MAX, a_day_after};
use fingerprint::Key;
pub use fingerprint::Subject;
use single_flight::Line;
pub use single_flight::{Lend, Turn};
use storage::Store;
use write::Writing;

/// What is kept in memory of credentials that work: some 50 bytes each.
const PROVEN_MAX: usize = 100_000;

/// Accounts whose logins of the day are counted.
const ACCOUNTS_MAX: usize = 100_000;

/// Lines in which nobody waits any more are dropped when there are so many, or twice as many as were in use the last time.
const LINES_KEPT: usize = 1024;

/// A session serves the connections with the same values that come within this time.
pub const SHARED_FOR: Duration = Duration::from_secs(10);

/// The least time between two writes, so that a start with thousands of connections is some hundred writes.
const WRITE_SPACING: Duration = Duration::from_millis(50);

/// And so much more for each KiB of the last one beyond `WRITE_FREE_KIB`: a ledger at its bound is written at some 60 KiB a second.
const WRITE_SPACING_KIB: Duration = Duration::from_millis(50);

/// The intents of as many logins as are under way at once by default are that large, and no refusal should slow a start.
const WRITE_FREE_KIB: u32 = 7;

/// The entries of one Secret in bytes. In base64, with the rest of the object, a write is below 16 KB.
pub const PART_BYTES_MAX: usize = 11_000;

/// However small a Secret must be for the API server to take it, some entries must fit.
const PART_BYTES_MIN: usize = 1_024;

/// For so long a size that was not taken is not tried again: it may have been refused for what has an end, such as an admission policy.
const MOST_FOR: Duration = Duration::from_secs(3600);

/// Parts that are read at once.
const READS_AT_ONCE: usize = 8;

/// How long what need not be safe at once (an intent that is settled) may wait for a write that is.
const TIDY_DELAY: Duration = Duration::from_millis(250);

/// After a failed write of the background task.
const WRITE_RETRY: Duration = Duration::from_secs(5);

/// A write is made anew so often: on another's, in smaller Secrets where one is not taken at its size, and in more of them.
const WRITE_TRIES: usize = 12;

/// How many logins an account may see in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all, REST reads among them.
    pub logins_per_day: u32,
    /// Such as were refused, or whose end is not known.
    pub refused_per_day: u32,
}

impl Default for Limits {
    /// 5,000 logins are one connection with an interval of 1 m and two REST permissions; 5 refusals are below any threshold at which
    /// accounts are commonly locked, were they all in a row.
    fn default() -> Self {
        Self { logins_per_day: 5_000, refused_per_day: 5 }
    }
}

/// What the ledger knows of some credentials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Known {
    /// What does not work, or may not.
    pub entry: Option<Entry>,
    /// Whether the login has worked in this process.
    pub login_works: bool,
    /// Whether basic authentication has.
    pub rest_works: bool,
    /// Until when the account has seen enough logins, if it has.
    pub spent_until: Option<Timestamp>,
    /// Until when enough logins with the account have failed, if they have.
    pub failed_until: Option<Timestamp>,
    /// The same with what requests have been granted besides: they too have an end.
    pub requests_failed_until: Option<Timestamp>,
    /// How often in a row they were answered neither with a session nor with a refusal.
    pub tried: Option<Tried>,
    /// Whether the same user name and password were refused, with a User API key where these values have none, or without.
    pub refused_beside: bool,
}

/// An intent that is stored, with what was known before.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    before: Option<Entry>,
    intended: Entry,
}

/// What a connection's status says of its values, should all else be lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Vouched {
    /// What has worked.
    pub worked: Worked,
    /// How often in a row they were answered neither with a session nor with a refusal.
    pub tried: Option<Tried>,
}

/// How a check ended, as far as the ledger cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The login failed.
    LoginFailed(LoginFailure),
    /// The login worked.
    LoggedIn {
        /// What became of basic authentication; `None` where it was not tried.
        rest: Option<RestEnd>,
    },
    /// REST was read after a login that was entered before. Another may have ended since, and otherwise.
    Read {
        /// What became of basic authentication; `None` where it was not tried.
        rest: Option<RestEnd>,
    },
}

/// How basic authentication ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestEnd {
    /// It was taken.
    Works,
    /// It was refused.
    Refused,
    /// It was sent and no answer was seen.
    Unanswered,
}

/// The ledger.
pub struct Ledger {
    store: Option<Box<dyn Store>>,
    limits: Limits,
    life: Life,
    key: OnceCell<Key>,
    state: Mutex<State>,
    lines: Mutex<Lines>,
    /// One write at a time; who waits for it finds its own change written with the others'.
    writing: tokio::sync::Mutex<Writing>,
    changed: Notify,
}

#[derive(Default)]
struct Lines {
    all: HashMap<Fingerprint, Weak<Line>>,
    /// How many were in use when those that were not were dropped.
    in_use: usize,
}

#[derive(Default)]
struct State {
    book: Book,
    proven: HashMap<Fingerprint, Proven>,
    logins: HashMap<Account, Day>,
    /// User names and passwords that work, whatever they are sent with.
    passwords: HashSet<Keyless>,
    /// Of values that have worked: how often in a row they were answered neither with a session nor with a refusal.
    tried: HashMap<Fingerprint, Tried>,
    /// Whether another may have written since this was read.
    outdated: bool,
    /// Since when writes fail.
    failing_since: Option<Instant>,
    /// Into how many Secrets it is divided, as a power of two; 0 stands for 1.
    parts: u8,
    /// What the API server was found to take of one, where that is less than it should be, and when.
    most: Option<(usize, Instant)>,
}

impl State {
    fn parts(&self) -> u8 {
        self.parts.clamp(1, PARTS_MAX)
    }

    /// What is known of attempts with these values, which may have worked or not.
    fn tried_with(&self, fingerprint: Fingerprint) -> Option<Tried> {
        self.tried.get(&fingerprint).copied().max(self.book.get(fingerprint).and_then(Entry::tried))
    }

    fn most(&self) -> usize {
        self.most.filter(|(_, found)| found.elapsed() < MOST_FOR).map_or(PART_BYTES_MAX, |(most, _)| most)
    }

    /// The API server does not take a Secret of this size. Gives what it is hoped to take.
    fn found_too_large(&mut self, bytes: usize) -> usize {
        let most = (bytes.min(self.most()) / 2).max(PART_BYTES_MIN);
        self.most = Some((most, Instant::now()));
        most
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Proven {
    login: bool,
    rest: bool,
}

/// The logins of an account since the first of a day.
struct Day {
    began: Timestamp,
    logins: u32,
}

impl Ledger {
    /// A ledger that is kept in this store; it is read when it is first needed.
    pub fn new(store: Box<dyn Store>, limits: Limits) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Self::with(Some(store), limits)
    }

    /// A ledger that is forgotten with the process.
    pub fn in_memory() -> Result<Self, aws_lc_rs::error::Unspecified> {
        Self::with(None, Limits::default())
    }

    fn with(store: Option<Box<dyn Store>>, limits: Limits) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut life = [0; 4];
        SystemRandom::new().fill(&mut life)?;
        Ok(Self {
            store,
            limits,
            life: Life(life),
            key: OnceCell::new(),
            state: Mutex::default(),
            lines: Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// What is known of these credentials.
    pub fn known(&self, subject: Subject, now: Timestamp) -> Known {
        let mut state = lock(&self.state);
        if state.book.is_ahead(whole_seconds(now).0) {
            state.book.count_from(whole_seconds(now).0);
            self.changed.notify_one();
        }
        if state.book.note_use(subject.fingerprint, whole_seconds(now).0) {
            self.changed.notify_one();
        }
        if let Some(tried) = state.tried.get_mut(&subject.fingerprint) {
            tried.at = tried.at.min(whole_seconds(now).0);
        }
        let proven = state.proven.get(&subject.fingerprint).copied().unwrap_or_default();
        let day = state.logins.get(&subject.account).filter(|day| day.logins >= self.limits.logins_per_day);
        let failed_until = |limit, asked| state.book.failed_often_until(subject.account, limit, asked, now);
        let limit = self.limits.refused_per_day;
        Known {
            entry: state.book.get(subject.fingerprint).cloned(),
            login_works: proven.login,
            rest_works: proven.rest,
            spent_until: day.map(|day| a_day_after(day.began)).filter(|until| *until > now),
            failed_until: failed_until(limit, false),
            requests_failed_until: failed_until(limit.saturating_mul(2), true),
            tried: state.tried_with(subject.fingerprint),
            refused_beside: (!state.passwords.contains(&subject.without_key) && state.book.is_refused_beside(subject))
                || state.book.is_refused_by_rest_beside(subject),
        }
    }

    /// Counts what was sent with this account.
    pub fn count(&self, account: Account, logins: u32, now: Timestamp) {
        let mut state = lock(&self.state);
        if state.logins.len() >= ACCOUNTS_MAX && !state.logins.contains_key(&account) {
            state.logins.retain(|_, day| a_day_after(day.began) > now);
            if state.logins.len() >= ACCOUNTS_MAX {
                return;
            }
        }
        let day = state.logins.entry(account).or_insert(Day { began: now, logins: 0 });
        if a_day_after(day.began) <= now || day.began > a_day_after(now) {
            *day = Day { began: now, logins: 0 };
        }
        day.logins = day.logins.saturating_add(logins);
    }

    /// Waits for the turn to log in with these values, and with this password whatever it is sent with.
    pub async fn turn(&self, subject: Subject) -> Turn {
        let asked = Instant::now();
        // From now on, so that what another's login came to meanwhile is kept.
        let own = self.line(subject.fingerprint);
        // Everybody takes these in this order, so nobody waits in a circle.
        let keyless = match subject.fingerprint == subject.keyless {
            true => None,
            false => Some(self.line(subject.keyless).lock_owned().await),
        };
        Turn { asked, last: own.lock_owned().await, _keyless: keyless }
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        lock(&self.state).book.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).book.is_empty()
    }

    fn line(&self, fingerprint: Fingerprint) -> Arc<Line> {
        let mut lines = lock(&self.lines);
        if let Some(line) = lines.all.get(&fingerprint).and_then(Weak::upgrade) {
            return line;
        }
        if lines.all.len() >= LINES_KEPT.max(2 * lines.in_use) {
            lines.all.retain(|_, line| line.strong_count() > 0);
            lines.in_use = lines.all.len();
        }
        let line = Arc::default();
        lines.all.insert(fingerprint, Arc::downgrade(&line));
        line
    }
}

/// Every change above leaves the collections in step, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
