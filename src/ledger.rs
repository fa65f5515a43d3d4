//! The login ledger: which credentials must not be sent again, so that a refused password costs one login.
//!
//! Credentials are known by a keyed fingerprint over everything a login depends on (HMAC-SHA-256 under a random key of this
//! installation), so what is kept can neither be read nor compared with anything elsewhere. It is shared by all connections of
//! all namespaces: copies of one account cost one refused login together, and one learns of another no more than that values it
//! has itself were refused.
//!
//! **Where.** Secrets of the operator's own namespace ([`store`]), which outlive restarts, changes of leader and connections: one at first,
//! and as many as are needed for none to be large, since each refusal writes one of them whole.
//! **What.** Only logins that do not work or may not ([`book`]); working ones are known in memory alone, and nothing is written
//! for them at rest.
//!
//! **Contract.** Before credentials are sent that are not known to work, an intent is stored. Only an end that was seen replaces it;
//! what remains of a process that was killed in between counts as an attempt. All the intents of a moment are one write. What is answered
//! neither with a session nor with a refusal may be one, and is sent again only as often as [`tried`] says, whatever the answer was.
//!
//! **Backups.** A ledger that is restored from a backup is older than what was refused since. The process that runs knows that, and stores
//! it again; if it was restarted meanwhile as well, each password that was refused since the backup costs one more login, unless its
//! connection's status tells of it.
//!
//! **Bound.** [`book::PARTS_MAX`] Secrets of [`PART_BYTES_MAX`], pruned after [`book::UNUSED_DAYS`] without use; what is too much goes from
//! the namespace that has most. **Limit.** Credentials that have worked in
//! this process are sent without an intent: where UKG Pro has come to refuse them and the process is killed between the answer
//! and the write, the next sends them once more; and where the answers are lost as well, they are sent as often as a host is retried
//! that does not answer. Logins in all are counted by each process for itself.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;
use tokio::sync::{Notify, OnceCell};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::api::Worked;
use crate::conditions::whole_seconds;
use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::Endpoint;
use crate::ukg::login::LoginFailure;
use crate::ukg::sensitive::Sensitive;
use crate::ukg::transport::Unanswered;

pub mod book;
pub mod store;
pub mod tried;
pub mod turn;

pub use book::{Account, Entry, Fingerprint, Login, Request, Rest};
use book::{Book, Keyless, Life, Owner, PARTS_MAX, a_day_after};
use store::{Error, Store, Stored, Written};
pub use tried::Tried;
use tried::{NEVER_WORKED_MAX, UNWRITTEN_MAX};
use turn::Line;
pub use turn::{Lend, Turn};

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
/// The HMAC key has the length of its digest.
const KEY_LENGTH: usize = 32;
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

/// Credentials as the ledger knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Everything a login depends on.
    pub fingerprint: Fingerprint,
    /// The account.
    pub account: Account,
    /// What the same would be without a User API key.
    keyless: Fingerprint,
    without_key: Keyless,
    /// Whose connection it is.
    owner: Owner,
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

#[derive(Default)]
struct Writing {
    /// The version of each Secret to write onto.
    onto: HashMap<u8, String>,
    /// The version of the book that is stored.
    stored: u64,
    /// When the next write may begin.
    next: Option<Instant>,
}

impl Writing {
    /// Waits until the next write may begin.
    async fn wait(&self) {
        if let Some(next) = self.next {
            tokio::time::sleep_until(next).await;
        }
    }
}

/// When what is written of a part counts.
enum Counts<'a> {
    AtOnce,
    /// When part 0 says that it is there; kept here until then.
    Later(&'a mut Vec<(u8, String)>),
}

/// What became of writing a part.
#[derive(PartialEq)]
enum Progress {
    Done,
    /// What is stored, or how it is divided, is otherwise than it was taken to be.
    Again,
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

    /// Stores that a login is about to be sent, and REST reads after it if `rest`; `None` if another operator came first, and what is
    /// known must be asked anew.
    pub async fn begin(
        &self,
        subject: Subject,
        rest: bool,
        granted: Option<Request>,
        vouched: Vouched,
        now: Timestamp,
    ) -> Result<Option<Intent>, Error> {
        let (before, intended) = {
            let mut state = lock(&self.state);
            let before = state.book.get(subject.fingerprint).cloned();
            let mut intended = Entry {
                login: Some(match before.as_ref().and_then(|entry| entry.login) {
                    Some(Login::Refused(failure) | Login::BegunAgain(failure)) => Login::BegunAgain(failure),
                    Some(Login::Begun | Login::Unclear { .. }) | None => Login::Begun,
                }),
                rest: before.as_ref().and_then(|entry| entry.rest).or(rest.then_some(Rest::Begun)),
                ..self.failed(subject, before.as_ref(), vouched, now)
            };
            granted.into_iter().for_each(|request| intended.grant(request));
            state.book.set(subject.fingerprint, Some(intended.clone()));
            state.book.prune(now);
            (before, intended)
        };
        if let Err(error) = self.commit().await {
            // Nothing was sent. If it was stored all the same, the next write strikes it out; what was entered since stays.
            let mut state = lock(&self.state);
            if state.book.get(subject.fingerprint) == Some(&intended) {
                state.book.set(subject.fingerprint, before);
            }
            drop(state);
            self.changed.notify_one();
            return Err(error);
        }
        let stands = lock(&self.state).book.get(subject.fingerprint) == Some(&intended);
        Ok(stands.then_some(Intent { before, intended }))
    }

    /// An entry for one more login that failed, or may have.
    fn failed(&self, subject: Subject, before: Option<&Entry>, vouched: Vouched, now: Timestamp) -> Entry {
        // Of values that have worked they are counted by themselves.
        let has_worked = vouched.worked.login || before.is_some_and(Entry::has_worked);
        let tried = before.and_then(Entry::tried).max(vouched.tried).filter(|_| !has_worked);
        let times = match tried {
            // One a day is as before; more are a person's, whose requests have an end too.
            Some(tried) if a_day_after(tried.at) <= now => NEVER_WORKED_MAX.min(tried.times.saturating_add(1)),
            Some(_) => Tried::after(tried, now).times,
            None if has_worked => 1,
            None => before.map_or(0, |entry| entry.times_within_a_day(now)).saturating_add(1),
        };
        Entry {
            account: subject.account,
            login: None,
            rest: None,
            at: whole_seconds(now).0,
            times,
            granted: before.map(|entry| entry.granted.clone()).unwrap_or_default(),
            life: self.life,
            used: whole_seconds(now).0,
            owner: before.map_or(subject.owner, |entry| entry.owner),
            without_key: subject.without_key,
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

    /// Enters how a check ended. A refusal, or the end of one, is stored before this returns, or else as soon as it can be.
    pub async fn end(&self, subject: Subject, intent: Option<Intent>, end: End, vouched: Vouched, now: Timestamp) {
        let urgent = self.enter(subject, intent, end, vouched, now);
        if urgent && let Err(error) = self.commit().await {
            tracing::warn!(%error, "a refusal is not stored yet; it is tried again");
        }
        if lock(&self.state).book.has_unsaved() {
            self.changed.notify_one();
        }
    }

    /// Whether it was a refusal that was not known, or there is one no more.
    fn enter(&self, subject: Subject, intent: Option<Intent>, end: End, vouched: Vouched, now: Timestamp) -> bool {
        let mut state = lock(&self.state);
        let tried = state.tried_with(subject.fingerprint).max(vouched.tried);
        let State { book, proven, passwords, tried: attempts, .. } = &mut *state;
        let key = subject.fingerprint;
        let vouches = vouched.worked;
        let present = book.get(key).cloned();
        // An intent counts its login already.
        let failed = match (&intent, &present) {
            (Some(_), Some(intended)) => Entry { at: whole_seconds(now).0, ..intended.clone() },
            _ => self.failed(subject, present.as_ref(), vouched, now),
        };
        let granted = present.as_ref().map(|entry| entry.granted.clone()).unwrap_or_default();
        let was_refused = matches!(present, Some(Entry { login: Some(Login::BegunAgain(_)), .. }));
        // What a REST read that goes its own way has entered since the intent is known too.
        let known = match &intent {
            Some(Intent { before, intended }) if present.as_ref() == Some(intended) => before.clone(),
            _ => present.clone(),
        };
        let known_rest = known.as_ref().and_then(|entry| entry.rest);
        let was = proven.get(&key).copied().unwrap_or_default();
        match end {
            End::LoginFailed(failure) if failure.spends_the_credentials() => {
                proven.remove(&key);
                passwords.remove(&subject.without_key);
                attempts.remove(&key);
                book.set(key, Some(Entry { login: Some(Login::Refused(failure)), rest: known_rest, ..failed }));
                true
            }
            // It may have been a refusal.
            End::LoginFailed(failure) if failure.is_unclear() => {
                // A person's request shows no more of a refusal, nor of a login whose end is waited for.
                let stands = known.as_ref().is_some_and(|known| match known.login {
                    Some(Login::Refused(_) | Login::BegunAgain(_)) => true,
                    Some(Login::Begun) => known.times_within_a_day(now) > 0,
                    Some(Login::Unclear { .. }) | None => false,
                });
                let worked = vouches.login || was.login || known.as_ref().is_some_and(Entry::has_worked);
                let tried = Tried::after(tried, whole_seconds(now).0);
                if worked || stands {
                    if attempts.len() >= PROVEN_MAX {
                        attempts.clear();
                    }
                    attempts.insert(key, tried);
                }
                if let Some(known) = known.clone().filter(|_| stands) {
                    // That there was one more, and who asked for it, is known from now on.
                    let granted = present.as_ref().map_or(known.granted.clone(), |present| present.granted.clone());
                    book.set(key, Some(Entry { times: failed.times, at: failed.at, granted, ..known }));
                } else if worked && tried.times <= UNWRITTEN_MAX {
                    // What was known before is known still.
                    if intent.is_some() {
                        book.set(key, known);
                    }
                } else {
                    let times = if worked { tried.times } else { failed.times };
                    book.set(key, Some(Entry { login: Some(Login::Unclear { worked }), rest: known_rest, times, ..failed }));
                }
                false
            }
            // How it ended is not known, and for all that is known it never worked: the intent stands. REST was not tried.
            End::LoginFailed(LoginFailure::Unanswered(unanswered))
                if may_have_been_judged(unanswered)
                    && !(vouches.login || was.login || known.as_ref().is_some_and(Entry::has_worked)) =>
            {
                book.set(key, present.map(|intended| Entry { rest: known_rest, ..intended }));
                false
            }
            // Nothing was judged, so what was known before is known still.
            End::LoginFailed(_) => {
                if intent.is_some() {
                    book.set(key, known);
                }
                false
            }
            End::LoggedIn { rest } | End::Read { rest } => {
                let logged_in = matches!(end, End::LoggedIn { .. });
                let news = match rest {
                    Some(RestEnd::Works) => Some(None),
                    Some(RestEnd::Refused) => Some(Some(Rest::Refused)),
                    Some(RestEnd::Unanswered) if !(vouches.rest || was.rest) => Some(Some(Rest::Begun)),
                    Some(RestEnd::Unanswered) | None => None,
                };
                let now_rest = news.unwrap_or(known_rest);
                let works = Proven { login: true, rest: now_rest.is_none() && (was.rest || news == Some(None)) };
                if logged_in || was.login {
                    if proven.len() >= PROVEN_MAX {
                        proven.clear();
                    }
                    if passwords.len() >= PROVEN_MAX {
                        passwords.clear();
                    }
                    passwords.insert(subject.without_key);
                    attempts.remove(&key);
                    proven.insert(key, works);
                }
                let login = known.as_ref().and_then(|entry| entry.login).filter(|_| !logged_in);
                // What was known of basic authentication, and since when, stays as it was.
                let before = match news.flatten() {
                    Some(_) => Some(failed),
                    None => known,
                };
                let now = before.map(|before| Entry { login, rest: now_rest, granted, ..before });
                book.set(key, now.filter(|entry| entry.login.is_some() || entry.rest.is_some()));
                was_refused || (now_rest == Some(Rest::Refused) && known_rest != now_rest)
            }
        }
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

    /// Reads the ledger, or begins it, however long that takes.
    pub async fn open_in_time(&self) {
        while let Err(error) = self.opened().await {
            tracing::warn!(%error, "without the login ledger no login is sent");
            tokio::time::sleep(WRITE_RETRY).await;
        }
    }

    /// Stores what need not be stored at once, until it is dropped.
    pub async fn tidy(&self) {
        loop {
            self.changed.notified().await;
            tokio::time::sleep(TIDY_DELAY).await;
            while let Err(error) = self.commit().await {
                tracing::warn!(%error, "the login ledger is not stored yet");
                tokio::time::sleep(WRITE_RETRY).await;
            }
        }
    }

    /// Another may have worked meanwhile: what is known of this process alone is forgotten, and the rest is read anew before it is used.
    pub fn distrust(&self) {
        let mut state = lock(&self.state);
        state.proven.clear();
        state.passwords.clear();
        state.tried.clear();
        state.most = None;
        state.outdated = true;
    }

    /// What is stored may be older than it was, as after a backup was restored: what this process knows is stored again.
    pub fn reassert(&self) {
        let mut state = lock(&self.state);
        state.book.reassert();
        // Read before it is used, and so merged.
        state.outdated = true;
        drop(state);
        self.changed.notify_one();
    }

    async fn catch_up(&self) -> Result<(), Error> {
        let Some(store) = self.store.as_ref().filter(|_| lock(&self.state).outdated) else { return Ok(()) };
        let mut writing = self.writing.lock().await;
        if std::mem::take(&mut lock(&self.state).outdated) {
            let read = self.reread(store.as_ref(), &mut writing).await;
            return read.inspect_err(|_| lock(&self.state).outdated = true);
        }
        Ok(())
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        lock(&self.state).book.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        lock(&self.state).book.is_empty()
    }

    /// Since when nothing could be stored that was to be; `None` where the last write came about.
    pub fn failing_for(&self) -> Option<Duration> {
        lock(&self.state).failing_since.map(|since| since.elapsed())
    }

    /// Stores everything that was entered before the call.
    pub async fn commit(&self) -> Result<(), Error> {
        let stored = self.store_all().await;
        let mut state = lock(&self.state);
        state.failing_since = match &stored {
            Ok(()) => None,
            Err(_) => state.failing_since.or(Some(Instant::now())),
        };
        drop(state);
        stored
    }

    async fn store_all(&self) -> Result<(), Error> {
        let Some(store) = self.store.as_ref().filter(|_| lock(&self.state).book.has_unsaved()) else { return Ok(()) };
        let key = self.opened().await?.1.clone();
        let wanted = lock(&self.state).book.version();
        let mut writing = self.writing.lock().await;
        for _ in 0..WRITE_TRIES {
            // Another's write may have had it in.
            if writing.stored >= wanted || !lock(&self.state).book.has_unsaved() {
                return Ok(());
            }
            if self.write_once(store.as_ref(), &key, &mut writing).await? == Progress::Done {
                return Ok(());
            }
        }
        Err(Error::Contended)
    }

    /// Writes each part that has changed, onto what it is taken to be.
    async fn write_once(&self, store: &dyn Store, key: &Zeroizing<Vec<u8>>, writing: &mut Writing) -> Result<Progress, Error> {
        let (version, parts, most) = {
            let state = lock(&self.state);
            (state.book.version(), state.parts(), state.most())
        };
        let changed: Vec<_> = (0..parts).filter(|part| lock(&self.state).book.has_unsaved_of(*part, parts)).collect();
        for part in changed {
            // First the wait, then the look at how much it is: more may be entered meanwhile.
            writing.wait().await;
            if parts < PARTS_MAX && lock(&self.state).book.bytes_of(part, parts) > most {
                return self.divide(store, key, most, writing).await;
            }
            if self.write_part(store, key, part, parts, Counts::AtOnce, writing).await? == Progress::Again {
                return Ok(Progress::Again);
            }
        }
        writing.stored = version;
        Ok(Progress::Done)
    }

    /// Divides the parts so often that each is small. The new ones are written first and count when part 0 says so: whoever reads in
    /// between finds all where it was, and until then nothing of them is taken to be stored. What was moved is left out of the others then.
    async fn divide(
        &self,
        store: &dyn Store,
        key: &Zeroizing<Vec<u8>>,
        most: usize,
        writing: &mut Writing,
    ) -> Result<Progress, Error> {
        let before = lock(&self.state).parts();
        let is_small = |parts: u8| {
            let state = lock(&self.state);
            (0..parts).all(|part| state.book.bytes_of(part, parts) <= most)
        };
        let mut parts = 2 * before;
        while parts < PARTS_MAX && !is_small(parts) {
            parts *= 2;
        }
        let mut new = Vec::new();
        for part in (before..parts).chain(0..before) {
            // Who was killed while dividing may have left some.
            if !writing.onto.contains_key(&part)
                && let Some(version) = store.read(part).await?.and_then(|stored| stored.version)
            {
                writing.onto.insert(part, version);
            }
            // It is done once, and others wait for it: with the least time between two writes.
            writing.next = writing.next.map(|next| next.min(Instant::now() + WRITE_SPACING));
            writing.wait().await;
            let counts = if part < before { Counts::AtOnce } else { Counts::Later(&mut new) };
            if self.write_part(store, key, part, parts, counts, writing).await? == Progress::Again {
                return Ok(Progress::Again);
            }
            if part == 0 {
                let mut state = lock(&self.state);
                state.parts = parts;
                new.iter().for_each(|(part, snapshot)| state.book.saved(*part, parts, snapshot));
            }
        }
        tracing::info!(secrets = parts, "the login ledger has grown and is kept in more Secrets");
        Ok(Progress::Again)
    }

    /// Writes a part, whose time must have come.
    async fn write_part(
        &self,
        store: &dyn Store,
        key: &Zeroizing<Vec<u8>>,
        part: u8,
        parts: u8,
        counts: Counts<'_>,
        writing: &mut Writing,
    ) -> Result<Progress, Error> {
        let snapshot = {
            let mut state = lock(&self.state);
            let most = state.most();
            if parts == PARTS_MAX {
                state.book.shrink(part, parts, most);
            }
            state.book.snapshot(part, parts).1
        };
        let stored = Stored { key: key.clone(), entries: snapshot.clone(), parts, version: writing.onto.get(&part).cloned() };
        let kib = u32::try_from(snapshot.len() / 1024).unwrap_or(u32::MAX);
        writing.next =
            Some(Instant::now() + WRITE_SPACING + WRITE_SPACING_KIB.saturating_mul(kib.saturating_sub(WRITE_FREE_KIB)));
        let written = store.write(part, stored).await;
        match written.inspect_err(|_| lock(&self.state).book.maybe_saved(part, parts, &snapshot))? {
            Written::Done(onto) => {
                match onto {
                    Some(onto) => writing.onto.insert(part, onto),
                    None => writing.onto.remove(&part),
                };
                let mut state = lock(&self.state);
                match counts {
                    Counts::AtOnce => state.book.saved(part, parts, &snapshot),
                    Counts::Later(new) => {
                        state.book.maybe_saved(part, parts, &snapshot);
                        new.push((part, snapshot));
                    }
                }
                Ok(Progress::Done)
            }
            Written::Conflict => {
                // What it was written onto is not there. A part that does not count yet is not among those that are read.
                writing.onto.remove(&part);
                self.reread(store, writing).await?;
                Ok(Progress::Again)
            }
            Written::TooLarge => {
                let mut state = lock(&self.state);
                let most = state.found_too_large(snapshot.len());
                tracing::error!(
                    bytes = snapshot.len(),
                    now_at_most = most,
                    "the login ledger is full: its Secret is not taken at this size"
                );
                Ok(Progress::Again)
            }
        }
    }

    async fn reread(&self, store: &dyn Store, writing: &mut Writing) -> Result<(), Error> {
        let first = store.read(0).await?;
        self.take_over(store, first, writing).await
    }

    /// Takes over what is stored, given part 0.
    async fn take_over(&self, store: &dyn Store, first: Option<Stored>, writing: &mut Writing) -> Result<(), Error> {
        // An operator that does not know of parts says nothing of them; they are there all the same.
        let is_told = first.as_ref().is_none_or(|stored| stored.parts > 0);
        let told = first.as_ref().map_or(1, |stored| stored.parts.clamp(1, PARTS_MAX).next_power_of_two());
        let known = lock(&self.state).parts().max(told);
        let wanted = if is_told { known } else { PARTS_MAX };
        let others = stream::iter(1..wanted).map(|part| async move { Ok::<_, Error>((part, store.read(part).await?)) });
        let others: Vec<_> = others.buffer_unordered(READS_AT_ONCE).try_collect().await?;
        let there = others.iter().filter(|(_, stored)| stored.is_some()).map(|(part, _)| part + 1).max();
        let parts = known.max(there.unwrap_or(1).next_power_of_two());
        lock(&self.state).parts = parts;
        let mut unreadable = 0;
        let all: Vec<_> = std::iter::once((0, first)).chain(others).filter(|(part, _)| *part < parts).collect();
        for (part, stored) in &all {
            match stored {
                Some(stored) => {
                    unreadable += lock(&self.state).book.rebase(*part, parts, &stored.entries);
                    match stored.version.clone() {
                        Some(version) => writing.onto.insert(*part, version),
                        None => writing.onto.remove(part),
                    };
                }
                // Nothing was there yet, or somebody has deleted it: it is written anew.
                None => drop(writing.onto.remove(part)),
            }
        }
        if !is_told {
            // How it was divided is not known, so each line counts wherever it stands.
            let mut state = lock(&self.state);
            all.iter().filter_map(|(_, stored)| stored.as_ref()).for_each(|stored| state.book.adopt(&stored.entries));
        }
        if unreadable > 0 {
            tracing::error!(unreadable, "lines of the login ledger cannot be read and are left out; the others count");
        }
        Ok(())
    }

    async fn key(&self) -> Result<&hmac::Key, Error> {
        Ok(&self.opened().await?.0)
    }

    /// The key, from the store or, the first time, for it.
    async fn opened(&self) -> Result<&Key, Error> {
        self.key.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<Key, Error> {
        let Some(store) = &self.store else { return new_key() };
        let mut writing = self.writing.lock().await;
        for _ in 0..WRITE_TRIES {
            let found = store.read(0).await?;
            let onto = found.as_ref().and_then(|stored| stored.version.clone());
            if let Some(stored) = found.filter(|stored| stored.key.len() == KEY_LENGTH) {
                let key = key_of(stored.key.clone());
                self.take_over(store.as_ref(), Some(stored), &mut writing).await?;
                return Ok(key);
            }
            if onto.is_some() {
                tracing::error!("the login ledger's Secret holds no key of the operator's; it is begun anew");
            }
            let key = new_key()?;
            let entries = lock(&self.state).book.snapshot(0, 1).1;
            let stored = Stored { key: key.1.clone(), entries, parts: 1, version: onto };
            if let Written::Done(Some(version)) = store.write(0, stored).await? {
                writing.onto.insert(0, version);
                return Ok(key);
            }
        }
        Err(Error::Contended)
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

/// The HMAC key, to use and to store.
type Key = (hmac::Key, Zeroizing<Vec<u8>>);

fn new_key() -> Result<Key, Error> {
    let mut bytes = Zeroizing::new(vec![0; KEY_LENGTH]);
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(key_of(bytes))
}

fn key_of(bytes: Zeroizing<Vec<u8>>) -> Key {
    (hmac::Key::new(hmac::HMAC_SHA256, &bytes), bytes)
}

/// The first bytes of a keyed digest.
fn digest<const N: usize>(key: &hmac::Key, what: &str, parts: &[&str]) -> [u8; N] {
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

/// Whether UKG Pro may have judged a login whose answer was not seen.
fn may_have_been_judged(unanswered: Unanswered) -> bool {
    matches!(unanswered, Unanswered::AnswerTimeout | Unanswered::ConnectionLost)
}

/// Every change above leaves the collections in step, so a poisoned lock holds good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod tests;
