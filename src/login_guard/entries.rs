//! What the ledger knows, and how it is written down. Pure: time is a parameter.
//!
//! **Contract.** A change is unsaved until a snapshot with it was stored. Where another process has stored
//! something else meanwhile, [`Book::rebase`] lets what was *seen* win: a refusal over anything, and what the other wrote over an
//! intent that was made without knowing of it. Requests that either has granted are granted.
//!
//! **Parts.** The entries are divided over so many parts by the first bits of their fingerprints, so that one write is of one part. A
//! fingerprint is keyed: nobody chooses its part.
//!
//! **Bound.** A part has so many bytes. What is too much goes from the namespace that has most of the part, the longest unused first, so
//! that nobody's refusals push out another's. What nothing has asked for in [`UNUSED_DAYS`] is pruned.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use ukg_pro::login::{LoginFailure, Refusal};
use ukg_pro::words::AccountState;

use super::Subject;
use super::attempts::Tried;

mod lines;
mod stored;

/// Into how many parts the entries may be divided, each a Secret: some 3,600 entries of 90 to 100 bytes.
pub const PARTS_MAX: u8 = 32;

/// A refusal is kept for as long as something asks for it, and so long after: the values are in no Secret any more.
pub const UNUSED_DAYS: i64 = 90;

/// Requests of so many connections are remembered of the same credentials: that more are under way at once, and none of them is
/// answered in its status, takes as many deaths of the operator.
const GRANTED_MAX: usize = 8;

/// That something still asks for an entry is written down this often at the most, for nothing moves at rest.
const USE_NOTED_DAYS: i64 = 30;

/// After so many writes of one entry without an answer the earliest is not thought of any more; if it is that which came about, the
/// entry stays as that says.
const PREMISES_MAX: usize = 8;

/// By so much the clocks of machines may differ whose operators take turns.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

/// The first line of what is stored.
const HEADER: &str = "v1";

/// Before who brought an entry, and its values without a User API key. A full stop is in no request.
const ORIGIN: &str = "o.";

/// The word for a refusal that tells of the account's state.
const ACCOUNT: [(AccountState, &str); 6] = [
    (AccountState::Locked, "account-locked"),
    (AccountState::Disabled, "account-disabled"),
    (AccountState::Suspended, "account-suspended"),
    (AccountState::Inactive, "account-inactive"),
    (AccountState::PasswordExpired, "password-expired"),
    (AccountState::PasswordChange, "password-change"),
];

/// Before the word for a refusal, where the login was begun again.
const BEGUN_AGAIN: &str = "begun-after-";

/// What a login depends on, unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) [u8; 16]);

/// An account at a host, unreadable: what UKG Pro counts failed logins by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Account(pub(super) [u8; 8]);

/// The namespace whose connection brought some credentials, unreadable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(pub(super) [u8; 4]);

/// User name, password and Customer API key at a host, unreadable: what REST logs in with, and LoginService besides a User API key. Of
/// some account it tells enough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Keyless(pub(super) [u8; 4]);

/// A person's request for one more try, unreadable: four bytes for the connection it was made on, four for what it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Request(pub(super) [u8; 8]);

/// A process, to tell its own intents from those that another left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life(pub(super) [u8; 4]);

/// What is known of some credentials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// Whose.
    pub account: Account,
    /// What came of the login; `None` where it works.
    pub login: Option<Login>,
    /// What came of basic authentication; `None` where it works or was never tried.
    pub rest: Option<Rest>,
    /// When that was, to the second.
    pub at: Timestamp,
    /// The requests that were granted a try, the last of each connection. They grant no other.
    pub granted: Vec<Request>,
    /// How many logins with these values failed, or may have, until a day has passed since the last.
    pub times: u16,
    /// Who wrote it.
    pub life: Life,
    /// When something last asked for it, to some weeks.
    pub used: Timestamp,
    /// Who brought it.
    pub owner: Owner,
    /// The same without a User API key.
    pub without_key: Keyless,
}

#[cfg(test)]
impl Account {
    /// One of some that are told apart by a number.
    pub(crate) fn of_test(number: usize) -> Self {
        Self((number as u64).to_be_bytes())
    }
}

impl Request {
    fn connection(&self) -> &[u8] {
        &self.0[..4]
    }
}

/// A login that is not known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// It was begun, and how it ended is not known.
    Begun,
    /// It was answered neither with a session nor with a refusal, as often in a row as the entry counts.
    Unclear {
        /// Whether the values had worked before.
        worked: bool,
    },
    /// It was refused.
    Refused(LoginFailure),
    /// It was refused, then begun once more because a person asked, and how that ended is not known. What was seen stands.
    BegunAgain(LoginFailure),
}

/// Basic authentication that is not known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It was sent, and no answer was seen.
    Begun,
    /// It was refused, though LoginService takes the login.
    Refused,
}

impl Entry {
    /// Until when a login whose end is not known is held.
    pub fn uncertain_until(&self) -> Timestamp {
        a_day_after(self.at)
    }

    /// The logins in a row that were answered neither with a session nor with a refusal.
    pub fn tried(&self) -> Option<Tried> {
        matches!(self.login, Some(Login::Unclear { .. })).then_some(Tried { at: self.at, times: self.times })
    }

    /// Whether the values had worked before that.
    pub fn has_worked(&self) -> bool {
        self.login == Some(Login::Unclear { worked: true })
    }

    /// The logins that failed within a day, or may have.
    pub fn times_within_a_day(&self, now: Timestamp) -> u16 {
        // A clock that is set back holds longer, not less long.
        if self.uncertain_until() > now { self.times } else { 0 }
    }

    /// Notes that a request is granted a try, in place of an earlier one of the same connection.
    pub fn grant(&mut self, request: Request) {
        self.granted.retain(|granted| granted.connection() != request.connection());
        self.granted.push(request);
        let too_many = self.granted.len().saturating_sub(GRANTED_MAX);
        self.granted.drain(..too_many);
    }
}

/// What is stored where something else is to be: one of these, for it is not known whether a write without an answer came about.
#[derive(Debug, Clone, PartialEq)]
struct Premise(Vec<Option<Entry>>);

impl Premise {
    fn is(&self, entry: Option<&Entry>) -> bool {
        matches!(self.0.as_slice(), [stored] if stored.as_ref() == entry)
    }

    fn holds(&self, stored: Option<&Entry>) -> bool {
        self.0.iter().any(|entry| entry.as_ref() == stored)
    }

    fn or(&mut self, entry: Option<&Entry>) {
        if !self.holds(entry) {
            self.0.push(entry.cloned());
            let too_many = self.0.len().saturating_sub(PREMISES_MAX);
            self.0.drain(..too_many);
        }
    }

    /// What another has stored meanwhile, with what was seen here since.
    fn merged(&self, mine: &Entry, theirs: Option<&Entry>) -> Option<Entry> {
        let mut before = self.0.iter().flatten();
        let login_refused = matches!(mine.login, Some(Login::Refused(_))) && before.all(|entry| entry.login != mine.login);
        let mut before = self.0.iter().flatten();
        let rest_refused = mine.rest == Some(Rest::Refused) && before.all(|entry| entry.rest != mine.rest);
        if !(login_refused || rest_refused) {
            // Of attempts the later count is right, as where the other is of a backup.
            let tried = theirs.and_then(Entry::tried);
            let is_later = tried.is_some() && mine.tried() > tried;
            return if is_later { Some(mine.clone()) } else { theirs.cloned() };
        }
        let mut merged = Entry { login: None, rest: None, granted: Vec::new(), ..mine.clone() };
        if let Some(theirs) = theirs {
            let (at, times, life) = (mine.at.max(theirs.at), mine.times.max(theirs.times), mine.life);
            merged = Entry { at, times, life, ..theirs.clone() };
        }
        if login_refused {
            merged.login = mine.login;
        }
        if rest_refused {
            merged.rest = mine.rest;
        }
        mine.granted.iter().for_each(|request| merged.grant(*request));
        Some(merged)
    }
}

/// The entries.
#[derive(Debug, Default)]
pub struct Book {
    entries: HashMap<Fingerprint, Entry>,
    /// Those that differ from what is stored, or may, with what is.
    unsaved: HashMap<Fingerprint, Premise>,
    /// When something last asked for an entry, in this process: what is stored is weeks behind.
    asked: HashMap<Fingerprint, Timestamp>,
    /// Grows with each change.
    version: u64,
}

impl Fingerprint {
    /// Its part, of so many.
    pub fn part(self, parts: u8) -> u8 {
        self.0[0] & (parts.max(1) - 1)
    }
}

impl Book {
    #[cfg(test)]
    pub(super) fn asked_len(&self) -> usize {
        self.asked.len()
    }

    /// What is known of these credentials.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<&Entry> {
        self.entries.get(&fingerprint)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The state of the book, to tell whether it has been stored since.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether something is not stored yet.
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Whether something of a part is not stored yet.
    pub fn has_unsaved_of(&self, part: u8, parts: u8) -> bool {
        self.unsaved.keys().any(|fingerprint| fingerprint.part(parts) == part)
    }

    /// Writes an entry, or strikes it out.
    pub fn set(&mut self, fingerprint: Fingerprint, entry: Option<Entry>) {
        let before = match entry {
            Some(entry) => self.entries.insert(fingerprint, entry),
            None => {
                self.asked.remove(&fingerprint);
                self.entries.remove(&fingerprint)
            }
        };
        if before.as_ref() == self.entries.get(&fingerprint) {
            return;
        }
        self.version += 1;
        let premise = self.unsaved.entry(fingerprint).or_insert_with(|| Premise(vec![before]));
        if premise.is(self.entries.get(&fingerprint)) {
            self.unsaved.remove(&fingerprint);
        }
    }

    /// Notes that something asked for these credentials; gives whether that is to be stored.
    pub fn note_use(&mut self, fingerprint: Fingerprint, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get(&fingerprint) else { return false };
        self.asked.insert(fingerprint, now);
        let noted = now.duration_since(entry.used) > days(USE_NOTED_DAYS);
        if noted {
            self.set(fingerprint, Some(Entry { used: now, ..entry.clone() }));
        }
        noted
    }

    /// Until when logins with this account have failed, or may have, this often within a day; `None` if they have not. Where one is `asked`
    /// for, those of values that have worked count too.
    pub fn failed_often_until(&self, account: Account, limit: u32, asked: bool, now: Timestamp) -> Option<Timestamp> {
        // What has worked before and is in trouble now does not keep other values from being tried, unless somebody asks again and again.
        let of =
            |entry: &&Entry| entry.account == account && entry.times_within_a_day(now) > 0 && (asked || !entry.has_worked());
        let mut failures: Vec<_> = self.entries.values().filter(of).map(|entry| (entry.at, u32::from(entry.times))).collect();
        failures.sort_unstable();
        let mut failed: u32 = failures.iter().map(|(_, times)| times).sum();
        let mut until = None;
        for (at, times) in failures {
            if failed < limit.max(1) {
                break;
            }
            failed -= times;
            until = Some(a_day_after(at));
        }
        until
    }

    /// Whether the same user name and password were refused with a User API key, where these values have none, or without one where they have:
    /// then another login would most likely be one more refusal. Another key than the one that was refused is another login.
    pub fn is_refused_beside(&self, subject: Subject) -> bool {
        // Of a Customer API key it is said by itself, and of a User API key too.
        let is_refused = |entry: &Entry| entry.login == Some(Login::Refused(LoginFailure::Refused(Refusal::Credentials)));
        if subject.fingerprint != subject.keyless {
            return self.get(subject.keyless).is_some_and(is_refused);
        }
        self.kin(subject).any(is_refused)
    }

    /// Whether REST has refused what these values without a User API key would log in to it with.
    pub fn is_refused_by_rest_beside(&self, subject: Subject) -> bool {
        subject.fingerprint == subject.keyless && self.kin(subject).any(|entry| entry.rest == Some(Rest::Refused))
    }

    /// The entries of the same password with a User API key.
    fn kin(&self, subject: Subject) -> impl Iterator<Item = &Entry> {
        let is_kin = move |(other, entry): &(&Fingerprint, &Entry)| {
            **other != subject.fingerprint && entry.account == subject.account && entry.without_key == subject.without_key
        };
        self.entries.iter().filter(is_kin).map(|(_, entry)| entry)
    }

    /// Drops what nothing has asked for in a long time.
    pub fn prune(&mut self, now: Timestamp) {
        let unused = |entry: &Entry| now.duration_since(entry.used) > days(UNUSED_DAYS);
        let dropped: Vec<_> = self.entries.iter().filter(|(_, entry)| unused(entry)).map(|(key, _)| *key).collect();
        for fingerprint in dropped {
            self.set(fingerprint, None);
        }
    }

    /// Whether there are times that have not come yet, by more than clocks of two machines differ.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.entries.values().any(|entry| entry.at.max(entry.used).duration_since(now) > CLOCKS_DIFFER)
    }

    /// Has times that have not come yet count from now: a clock that was ahead when they were stored must not hold anybody for years.
    pub fn count_from(&mut self, now: Timestamp) {
        let is_ahead = |entry: &Entry| entry.at.max(entry.used) > now;
        let ahead: Vec<_> =
            self.entries.iter().filter(|(_, entry)| is_ahead(entry)).map(|(key, entry)| (*key, entry.clone())).collect();
        for (fingerprint, entry) in ahead {
            self.set(fingerprint, Some(Entry { at: entry.at.min(now), used: entry.used.min(now), ..entry }));
        }
    }
}

/// A login whose end is not known is not repeated by itself for a day, and limits are per day.
pub fn a_day_after(time: Timestamp) -> Timestamp {
    time.saturating_add(days(1)).unwrap_or(Timestamp::MAX)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[cfg(test)]
pub(crate) mod tests;
