//! The login ledger records which credentials must not be sent again, so that a refused password costs one login.
//!
//! The ledger knows credentials only by a keyed fingerprint of everything that a login depends on (HMAC-SHA-256 under a random key
//! of this installation), so its content can be neither read nor compared with data elsewhere. All connections of all namespaces
//! share the ledger: connections that use copies of one account cost one refused login in total. All that a connection learns about
//! another is that values which both have were refused.
//!
//! **Where.** Secrets of the operator's own namespace ([`storage`]), which outlive restarts, changes of leader and connections.
//! There is one Secret at first. Each refusal writes one Secret whole, so a ledger that grows is divided over more Secrets, and
//! none becomes large.
//!
//! **What.** Only logins that do not work, or may not work ([`entries`]). Logins that work are known in memory only, and cause no
//! writes at rest.
//!
//! **Contract.** Before the operator sends credentials that are not known to work, it stores an intent. Only a result that was
//! observed replaces the intent. An intent that a killed process left behind counts as an attempt. Intents of the same moment
//! share one write. An answer that is neither a session nor a refusal may be a refusal; the same credentials are then sent again
//! only as often as [`attempts`] says, whatever the answer was.
//!
//! **Backups.** A ledger that was restored from a backup lacks the refusals since the backup. The running process still knows
//! them, and stores them again. If the process was restarted in the meantime as well, each password refused since the backup costs
//! one more login, unless the status of its connection records the refusal.
//!
//! **Bound.** [`entries::PARTS_MAX`] Secrets of [`PART_BYTES_MAX`]. Entries are pruned after [`entries::UNUSED_DAYS`] without use.
//! Entries beyond the bound are dropped from the namespace that has most.
//!
//! **Limit.** Credentials that have worked in this process are sent without an intent. If UKG Pro starts to refuse them and the
//! process is killed between the answer and the write, the next process sends them once more. If the answers are lost as well, the
//! credentials are sent as often as a host that does not answer is retried. The number of all logins is counted by each process
//! for itself.

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
mod permit;
pub mod single_flight;
pub mod storage;
mod write;

pub use attempts::Attempts;
pub use entries::{Account, Entry, Fingerprint, Login, Request, Rest};
use entries::{EntryTable, PARTS_MAX, PasswordId, ProcessTag, a_day_after};
pub use fingerprint::CredentialIds;
use fingerprint::Key;
pub use permit::LoginPermit;
use single_flight::LoginMutex;
pub use single_flight::{LoginLock, Sharing};
use storage::Store;
use write::WriteState;

/// The maximum number of working credentials kept in memory, at some 50 bytes each.
const WORKING_LOGINS_MAX: usize = 100_000;

/// The maximum number of accounts whose daily logins are counted.
const ACCOUNTS_MAX: usize = 100_000;

/// Unused login mutexes are dropped when there are this many mutexes, or twice as many as were in use after the last such cleanup.
const MUTEXES_KEPT: usize = 1024;

/// How long a login's session serves other connections with the same values.
pub const SHARED_FOR: Duration = Duration::from_secs(10);

/// The minimum time between two writes, so that a start with thousands of connections causes some hundred writes.
const WRITE_SPACING: Duration = Duration::from_millis(50);

/// The additional time for each KiB of the last write beyond `WRITE_FREE_KIB`: a ledger at its bound is written at some 60 KiB a
/// second.
const WRITE_SPACING_KIB: Duration = Duration::from_millis(50);

/// The size of the intents of as many logins as run at once by default. A write up to this size adds no time: no refusal should
/// slow a start.
const WRITE_FREE_KIB: u32 = 7;

/// The maximum size of the entries of one Secret, in bytes. In base64, with the rest of the object, a write is below 16 KB.
pub const PART_BYTES_MAX: usize = 11_000;

/// The smallest value to which the maximum size is reduced: some entries must fit, however small a Secret must be for the API
/// server to accept it.
const PART_BYTES_MIN: usize = 1_024;

/// How long a size that the API server refused is not tried again: the cause may be temporary, such as an admission policy.
const SIZE_LIMIT_TTL: Duration = Duration::from_secs(3600);

/// The number of parts that are read concurrently.
const READS_AT_ONCE: usize = 8;

/// How long a change that is not urgent, such as a settled intent, may wait for the write of an urgent one.
const FLUSH_DELAY: Duration = Duration::from_millis(250);

/// The wait after a background task failed to open or to write the ledger.
const WRITE_RETRY: Duration = Duration::from_secs(5);

/// The maximum number of tries of a write. A write is repeated if another process wrote first, in smaller Secrets if the API
/// server does not accept the size, and in more Secrets.
const WRITE_TRIES: usize = 12;

/// The maximum number of logins of an account in a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// All logins, REST reads included.
    pub logins_per_day: u32,
    /// Logins that were refused, or whose result is unknown.
    pub refused_per_day: u32,
}

impl Default for Limits {
    /// 5,000 logins suffice for one connection with an interval of 1 m and two REST permissions. 5 refusals, even in a row, do not
    /// exceed any threshold at which accounts are commonly locked.
    fn default() -> Self {
        Self { logins_per_day: 5_000, refused_per_day: 5 }
    }
}

/// What the ledger knows about some credentials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoginHistory {
    /// The entry, if the credentials do not work or may not work.
    pub entry: Option<Entry>,
    /// Whether the login has worked in this process.
    pub login_works: bool,
    /// Whether basic authentication has worked in this process.
    pub rest_works: bool,
    /// Until when the account is at its limit of logins; `None` if it is not.
    pub spent_until: Option<Timestamp>,
    /// Until when the account is at its limit of failed logins; `None` if it is not.
    pub failed_until: Option<Timestamp>,
    /// The same for the logins that a person requests, which have twice the limit.
    pub requests_failed_until: Option<Timestamp>,
    /// The logins in a row whose answer was neither a session nor a refusal.
    pub tried: Option<Attempts>,
    /// Whether the same user name and password were refused with a User API key and these values have none, or the other way
    /// round.
    pub refused_where_one_has_no_key: bool,
}

/// A stored intent, with what was known before it.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    before: Option<Entry>,
    intended: Entry,
}

/// What a connection's status records about its values, in case everything else is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StatusRecord {
    /// What has worked.
    pub worked: Worked,
    /// The logins in a row whose answer was neither a session nor a refusal.
    pub tried: Option<Attempts>,
}

/// The result of a check, as far as it concerns the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginResult {
    /// The login failed.
    LoginFailed(LoginFailure),
    /// The login worked.
    LoggedIn {
        /// The result of basic authentication; `None` if it was not tried.
        rest: Option<RestResult>,
    },
    /// REST was read after a login that was recorded before. Another login may have ended since then, with a different result.
    Read {
        /// The result of basic authentication; `None` if it was not tried.
        rest: Option<RestResult>,
    },
}

/// The result of basic authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestResult {
    /// UKG Pro accepted it.
    Works,
    /// UKG Pro refused it.
    Refused,
    /// It was sent, and no answer arrived.
    Unanswered,
}

/// The login ledger.
pub struct Ledger {
    store: Option<Box<dyn Store>>,
    limits: Limits,
    process_tag: ProcessTag,
    key: OnceCell<Key>,
    state: Mutex<State>,
    mutexes: Mutex<LoginMutexes>,
    /// Serializes writes. A task that waited for it finds its own change written with the others'.
    write_state: tokio::sync::Mutex<WriteState>,
    changed: Notify,
}

#[derive(Default)]
struct LoginMutexes {
    all: HashMap<Fingerprint, Weak<LoginMutex>>,
    /// How many mutexes were in use after the last cleanup.
    in_use: usize,
}

#[derive(Default)]
struct State {
    table: EntryTable,
    working: HashMap<Fingerprint, WorkingLogin>,
    logins: HashMap<Account, DailyCount>,
    /// User names and passwords that work, whichever User API key they are sent with.
    passwords: HashSet<PasswordId>,
    /// The logins in a row whose answer was neither a session nor a refusal, for values that have worked, or whose earlier refusal
    /// or unknown result stands.
    tried: HashMap<Fingerprint, Attempts>,
    /// Whether another process may have written the ledger since this process read it.
    outdated: bool,
    /// When writes began to fail; `None` if the last write succeeded.
    failing_since: Option<Instant>,
    /// The number of Secrets that the ledger is divided into, a power of two; 0 stands for 1.
    parts: u8,
    /// The reduced maximum size of a Secret, if the API server refused a larger one, and when it did.
    most: Option<(usize, Instant)>,
}

impl State {
    fn parts(&self) -> u8 {
        self.parts.clamp(1, PARTS_MAX)
    }

    /// Returns the attempts with these values, whether the values have worked or not.
    fn tried_with(&self, fingerprint: Fingerprint) -> Option<Attempts> {
        self.tried.get(&fingerprint).copied().max(self.table.get(fingerprint).and_then(Entry::tried))
    }

    fn most(&self) -> usize {
        self.most.filter(|(_, found)| found.elapsed() < SIZE_LIMIT_TTL).map_or(PART_BYTES_MAX, |(most, _)| most)
    }

    /// Records that the API server refuses a Secret of this size. Returns the size to try next.
    fn found_too_large(&mut self, bytes: usize) -> usize {
        let most = (bytes.min(self.most()) / 2).max(PART_BYTES_MIN);
        self.most = Some((most, Instant::now()));
        most
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct WorkingLogin {
    login: bool,
    rest: bool,
}

/// The logins of an account in the day that began with the first of them.
struct DailyCount {
    began: Timestamp,
    logins: u32,
}

impl Ledger {
    /// Creates a ledger that is kept in this store. It is read when it is first needed.
    pub fn new(store: Box<dyn Store>, limits: Limits) -> Result<Self, aws_lc_rs::error::Unspecified> {
        Self::with(Some(store), limits)
    }

    /// Creates a ledger that is lost when the process ends.
    pub fn in_memory() -> Result<Self, aws_lc_rs::error::Unspecified> {
        Self::with(None, Limits::default())
    }

    fn with(store: Option<Box<dyn Store>>, limits: Limits) -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut process_tag = [0; 4];
        SystemRandom::new().fill(&mut process_tag)?;
        Ok(Self {
            store,
            limits,
            process_tag: ProcessTag(process_tag),
            key: OnceCell::new(),
            state: Mutex::default(),
            mutexes: Mutex::default(),
            write_state: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Returns what is known about these credentials.
    pub fn known(&self, ids: CredentialIds, now: Timestamp) -> LoginHistory {
        let mut state = lock(&self.state);
        if state.table.is_ahead(whole_seconds(now).0) {
            state.table.count_from(whole_seconds(now).0);
            self.changed.notify_one();
        }
        if state.table.note_use(ids.fingerprint, whole_seconds(now).0) {
            self.changed.notify_one();
        }
        if let Some(tried) = state.tried.get_mut(&ids.fingerprint) {
            tried.at = tried.at.min(whole_seconds(now).0);
        }
        let working = state.working.get(&ids.fingerprint).copied().unwrap_or_default();
        let day = state.logins.get(&ids.account).filter(|day| day.logins >= self.limits.logins_per_day);
        let failed_until = |limit, asked| state.table.failed_often_until(ids.account, limit, asked, now);
        let limit = self.limits.refused_per_day;
        LoginHistory {
            entry: state.table.get(ids.fingerprint).cloned(),
            login_works: working.login,
            rest_works: working.rest,
            spent_until: day.map(|day| a_day_after(day.began)).filter(|until| *until > now),
            failed_until: failed_until(limit, false),
            requests_failed_until: failed_until(limit.saturating_mul(2), true),
            tried: state.tried_with(ids.fingerprint),
            refused_where_one_has_no_key: (!state.passwords.contains(&ids.password_id)
                && state.table.is_refused_where_one_has_no_key(ids))
                || state.table.is_refused_by_rest_without_key(ids),
        }
    }

    /// Counts logins that were sent with this account.
    pub fn count(&self, account: Account, logins: u32, now: Timestamp) {
        let mut state = lock(&self.state);
        if state.logins.len() >= ACCOUNTS_MAX && !state.logins.contains_key(&account) {
            state.logins.retain(|_, day| a_day_after(day.began) > now);
            if state.logins.len() >= ACCOUNTS_MAX {
                return;
            }
        }
        let day = state.logins.entry(account).or_insert(DailyCount { began: now, logins: 0 });
        if a_day_after(day.began) <= now || day.began > a_day_after(now) {
            *day = DailyCount { began: now, logins: 0 };
        }
        day.logins = day.logins.saturating_add(logins);
    }

    /// Waits for the lock on logins with these values, and with this password whichever User API key it is sent with.
    pub async fn login_lock(&self, ids: CredentialIds) -> LoginLock {
        let asked = Instant::now();
        // Holds the mutex from here on, so that the result of another's login during the wait is kept.
        let own = self.mutex_for(ids.fingerprint);
        // Every task takes the two locks in this order, so there is no deadlock.
        let password_id = match ids.fingerprint == ids.fingerprint_without_user_api_key {
            true => None,
            false => Some(self.mutex_for(ids.fingerprint_without_user_api_key).lock_owned().await),
        };
        LoginLock { asked, last: own.lock_owned().await, _without_user_api_key: password_id }
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        lock(&self.state).table.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).table.is_empty()
    }

    fn mutex_for(&self, fingerprint: Fingerprint) -> Arc<LoginMutex> {
        let mut mutexes = lock(&self.mutexes);
        if let Some(mutex) = mutexes.all.get(&fingerprint).and_then(Weak::upgrade) {
            return mutex;
        }
        if mutexes.all.len() >= MUTEXES_KEPT.max(2 * mutexes.in_use) {
            mutexes.all.retain(|_, mutex| mutex.strong_count() > 0);
            mutexes.in_use = mutexes.all.len();
        }
        let mutex = Arc::default();
        mutexes.all.insert(fingerprint, Arc::downgrade(&mutex));
        mutex
    }
}

/// Locks a mutex. Every change leaves the collections consistent, so a poisoned mutex holds valid data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
