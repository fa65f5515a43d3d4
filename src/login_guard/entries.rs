//! The entries of the ledger: what is known about credentials, and how that is stored. Pure: time is a parameter.
//!
//! **Contract.** A change is unsaved until a snapshot that contains it is stored. If another process has stored something else
//! meanwhile, [`EntryTable::rebase`] lets what was *observed* win: a refusal wins over anything, and what the other process wrote
//! wins over an intent that was made without knowing of it. Where a refusal wins, the requests that either process granted stay
//! granted.
//!
//! **Parts.** The entries are divided into parts by the low bits of the first byte of their fingerprints, so that one write covers
//! one part. A fingerprint is keyed: nobody can choose its part.
//!
//! **Bound.** A part has a maximum size in bytes. If it is exceeded, entries of the namespace that takes up most of the part are
//! dropped, the longest unused first, so that one namespace's refusals never push out another's. Entries that nothing has asked
//! for in [`UNUSED_DAYS`] are pruned.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use ukg_pro::login::{LoginFailure, Refusal};
use ukg_pro::words::AccountState;

use super::CredentialIds;
use super::attempts::Attempts;

mod lines;
mod stored;

/// The maximum number of parts, each a Secret: together some 3,600 entries of 90 to 100 bytes.
pub const PARTS_MAX: u8 = 32;

/// How many days an entry is kept after its last use: by then, its values are in no Secret any more.
pub const UNUSED_DAYS: i64 = 90;

/// The maximum number of connections whose requests an entry remembers. To have more requests under way at once, with none of them
/// answered in a status, the operator would have to be killed as many times.
const GRANTED_MAX: usize = 8;

/// The minimum number of days between two writes of an entry's last use, so that nothing is written at rest.
const USE_NOTED_DAYS: i64 = 30;

/// The maximum number of remembered states that an unsaved entry may have in the store. Beyond it, the earliest is forgotten. If
/// that is the state in the store, the entry stays as stored.
const STORED_STATES_MAX: usize = 8;

/// By how much the clocks of two machines may differ if one operator takes over from the other.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_secs(60);

/// The first line of a stored part.
const HEADER: &str = "v1";

/// The prefix of the namespace and the fingerprint without a User API key in the list of requests. No request contains a full
/// stop.
const ORIGIN: &str = "o.";

/// The words for refusals that report the account's state.
const ACCOUNT: [(AccountState, &str); 6] = [
    (AccountState::Locked, "account-locked"),
    (AccountState::Disabled, "account-disabled"),
    (AccountState::Suspended, "account-suspended"),
    (AccountState::Inactive, "account-inactive"),
    (AccountState::PasswordExpired, "password-expired"),
    (AccountState::PasswordChange, "password-change"),
];

/// The prefix of the word for a refusal, if the login was begun again.
const BEGUN_AGAIN: &str = "begun-after-";

/// The keyed fingerprint of everything that a login depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fingerprint(pub(super) [u8; 16]);

/// The keyed fingerprint of an account at a host: UKG Pro counts failed logins by account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Account(pub(super) [u8; 8]);

/// The keyed fingerprint of the namespace whose connection supplied some credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NamespaceId(pub(super) [u8; 4]);

/// The keyed fingerprint of user name, password and Customer API key at a host: what REST logs in with, and LoginService together
/// with a User API key. It is long enough to tell the passwords of one account apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct PasswordId(pub(super) [u8; 4]);

/// The keyed fingerprint of a person's request for one more try: four bytes for its connection, four for its value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Request(pub(super) [u8; 8]);

/// A random tag of a process, which tells its own intents from those that another process left behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessTag(pub(super) [u8; 4]);

/// What is known about some credentials.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entry {
    /// The account.
    pub account: Account,
    /// The result of the login; `None` if it works.
    pub login: Option<Login>,
    /// The result of basic authentication; `None` if it works or was never tried.
    pub rest: Option<Rest>,
    /// The time of that result, to the second.
    pub at: Timestamp,
    /// The requests that were granted a try, the last one of each connection. They grant no further try.
    pub granted: Vec<Request>,
    /// The number of logins with these values that failed, or may have failed, until a day has passed since the last one.
    pub times: u16,
    /// The process that wrote the entry.
    pub process_tag: ProcessTag,
    /// When something last asked for the entry, to within some weeks.
    pub used: Timestamp,
    /// The namespace whose connection supplied the credentials.
    pub namespace_id: NamespaceId,
    /// The fingerprint of the same values without a User API key.
    pub password_id: PasswordId,
}

#[cfg(test)]
impl Account {
    /// Returns a different account for each number.
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
    /// It was begun, and its result is unknown.
    Begun,
    /// Its answer was neither a session nor a refusal, as often in a row as the entry counts.
    Unclear {
        /// Whether the values had worked before.
        worked: bool,
    },
    /// It was refused.
    Refused(LoginFailure),
    /// It was refused, and begun once more because a person asked. The result of that is unknown, so the refusal that was observed
    /// stands.
    BegunAgain(LoginFailure),
}

/// Basic authentication that is not known to work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// It was sent, and no answer arrived.
    Begun,
    /// It was refused, although LoginService accepts the login.
    Refused,
}

impl Entry {
    /// Returns until when a login with an unknown result is held.
    pub fn uncertain_until(&self) -> Timestamp {
        a_day_after(self.at)
    }

    /// Returns the logins in a row whose answer was neither a session nor a refusal.
    pub fn tried(&self) -> Option<Attempts> {
        matches!(self.login, Some(Login::Unclear { .. })).then_some(Attempts { at: self.at, times: self.times })
    }

    /// Returns true if the values had worked before such an answer.
    pub fn has_worked(&self) -> bool {
        self.login == Some(Login::Unclear { worked: true })
    }

    /// Returns the number of logins that failed, or may have failed, within a day.
    pub fn times_within_a_day(&self, now: Timestamp) -> u16 {
        // A clock that is set back makes a hold longer, never shorter.
        if self.uncertain_until() > now { self.times } else { 0 }
    }

    /// Records that a request is granted a try, in place of an earlier request of the same connection.
    pub fn grant(&mut self, request: Request) {
        self.granted.retain(|granted| granted.connection() != request.connection());
        self.granted.push(request);
        let too_many = self.granted.len().saturating_sub(GRANTED_MAX);
        self.granted.drain(..too_many);
    }
}

/// The states that an unsaved entry may have in the store. There are several if a write got no answer, because it may have taken
/// effect or not.
#[derive(Debug, Clone, PartialEq)]
struct StoredStates(Vec<Option<Entry>>);

impl StoredStates {
    fn is(&self, entry: Option<&Entry>) -> bool {
        matches!(self.0.as_slice(), [stored] if stored.as_ref() == entry)
    }

    fn holds(&self, stored: Option<&Entry>) -> bool {
        self.0.iter().any(|entry| entry.as_ref() == stored)
    }

    fn or(&mut self, entry: Option<&Entry>) {
        if !self.holds(entry) {
            self.0.push(entry.cloned());
            let too_many = self.0.len().saturating_sub(STORED_STATES_MAX);
            self.0.drain(..too_many);
        }
    }

    /// Merges what another process has stored meanwhile with what this process has observed since.
    fn merged(&self, mine: &Entry, theirs: Option<&Entry>) -> Option<Entry> {
        let mut before = self.0.iter().flatten();
        let login_refused = matches!(mine.login, Some(Login::Refused(_))) && before.all(|entry| entry.login != mine.login);
        let mut before = self.0.iter().flatten();
        let rest_refused = mine.rest == Some(Rest::Refused) && before.all(|entry| entry.rest != mine.rest);
        if !(login_refused || rest_refused) {
            // The later count of attempts is right, for example if the other one comes from a backup.
            let tried = theirs.and_then(Entry::tried);
            let is_later = tried.is_some() && mine.tried() > tried;
            return if is_later { Some(mine.clone()) } else { theirs.cloned() };
        }
        let mut merged = Entry { login: None, rest: None, granted: Vec::new(), ..mine.clone() };
        if let Some(theirs) = theirs {
            let (at, times, process_tag) = (mine.at.max(theirs.at), mine.times.max(theirs.times), mine.process_tag);
            merged = Entry { at, times, process_tag, ..theirs.clone() };
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

/// The entries of the ledger, and which of them are not saved.
#[derive(Debug, Default)]
pub struct EntryTable {
    entries: HashMap<Fingerprint, Entry>,
    /// The entries that differ from the stored ones, or may differ, with what is stored.
    unsaved: HashMap<Fingerprint, StoredStates>,
    /// When something in this process last asked for an entry; the stored time is weeks behind.
    asked: HashMap<Fingerprint, Timestamp>,
    /// Grows with each change.
    version: u64,
}

impl Fingerprint {
    /// Returns the part that the fingerprint belongs to, out of `parts`.
    pub fn part(self, parts: u8) -> u8 {
        self.0[0] & (parts.max(1) - 1)
    }
}

impl EntryTable {
    #[cfg(test)]
    pub(super) fn asked_len(&self) -> usize {
        self.asked.len()
    }

    /// Returns the entry for these credentials.
    pub fn get(&self, fingerprint: Fingerprint) -> Option<&Entry> {
        self.entries.get(&fingerprint)
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the version of the table, which tells whether a change has been stored since.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Returns true if a change is not stored yet.
    pub fn has_unsaved(&self) -> bool {
        !self.unsaved.is_empty()
    }

    /// Returns true if a change in this part is not stored yet.
    pub fn has_unsaved_of(&self, part: u8, parts: u8) -> bool {
        self.unsaved.keys().any(|fingerprint| fingerprint.part(parts) == part)
    }

    /// Sets an entry, or removes it.
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
        let stored_states = self.unsaved.entry(fingerprint).or_insert_with(|| StoredStates(vec![before]));
        if stored_states.is(self.entries.get(&fingerprint)) {
            self.unsaved.remove(&fingerprint);
        }
    }

    /// Records that something asked for these credentials. Returns true if that must be stored.
    pub fn note_use(&mut self, fingerprint: Fingerprint, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get(&fingerprint) else { return false };
        self.asked.insert(fingerprint, now);
        let noted = now.duration_since(entry.used) > days(USE_NOTED_DAYS);
        if noted {
            self.set(fingerprint, Some(Entry { used: now, ..entry.clone() }));
        }
        noted
    }

    /// Returns until when the account has at least `limit` logins within a day that failed, or may have failed; `None` if it has
    /// fewer. If a person `asked` for a login, those of values that have worked count too.
    pub fn failed_often_until(&self, account: Account, limit: u32, asked: bool, now: Timestamp) -> Option<Timestamp> {
        // Values that worked before and are in trouble now do not keep other values from being tried, unless a person asks again
        // and again.
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

    /// Returns true if the same user name and password were refused with a User API key and these values have none, or the other
    /// way round: then another login would most likely be refused too. A login with a different User API key than the refused one
    /// is a different login.
    pub fn is_refused_where_one_has_no_key(&self, ids: CredentialIds) -> bool {
        // UKG Pro reports a refused Customer API key, or User API key, as such.
        let is_refused = |entry: &Entry| entry.login == Some(Login::Refused(LoginFailure::Refused(Refusal::Credentials)));
        if ids.fingerprint != ids.fingerprint_without_user_api_key {
            return self.get(ids.fingerprint_without_user_api_key).is_some_and(is_refused);
        }
        self.related(ids).any(is_refused)
    }

    /// Returns true if these values have no User API key, and REST has refused the same user name, password and Customer API key.
    pub fn is_refused_by_rest_without_key(&self, ids: CredentialIds) -> bool {
        ids.fingerprint == ids.fingerprint_without_user_api_key
            && self.related(ids).any(|entry| entry.rest == Some(Rest::Refused))
    }

    /// Returns the other entries with the same user name, password and Customer API key.
    fn related(&self, ids: CredentialIds) -> impl Iterator<Item = &Entry> {
        let is_related = move |(other, entry): &(&Fingerprint, &Entry)| {
            **other != ids.fingerprint && entry.account == ids.account && entry.password_id == ids.password_id
        };
        self.entries.iter().filter(is_related).map(|(_, entry)| entry)
    }

    /// Drops entries that nothing has asked for in `UNUSED_DAYS`.
    pub fn prune(&mut self, now: Timestamp) {
        let unused = |entry: &Entry| now.duration_since(entry.used) > days(UNUSED_DAYS);
        let dropped: Vec<_> = self.entries.iter().filter(|(_, entry)| unused(entry)).map(|(key, _)| *key).collect();
        for fingerprint in dropped {
            self.set(fingerprint, None);
        }
    }

    /// Returns true if an entry has a time in the future, by more than the clocks of two machines may differ.
    pub fn is_ahead(&self, now: Timestamp) -> bool {
        self.entries.values().any(|entry| entry.at.max(entry.used).duration_since(now) > CLOCKS_DIFFER)
    }

    /// Sets times in the future to now: a clock that was ahead when they were stored must not hold logins for years.
    pub fn count_from(&mut self, now: Timestamp) {
        let is_ahead = |entry: &Entry| entry.at.max(entry.used) > now;
        let ahead: Vec<_> =
            self.entries.iter().filter(|(_, entry)| is_ahead(entry)).map(|(key, entry)| (*key, entry.clone())).collect();
        for (fingerprint, entry) in ahead {
            self.set(fingerprint, Some(Entry { at: entry.at.min(now), used: entry.used.min(now), ..entry }));
        }
    }
}

/// Returns the time one day later. A login with an unknown result is not repeated automatically for a day, and limits are per day.
pub fn a_day_after(time: Timestamp) -> Timestamp {
    time.saturating_add(days(1)).unwrap_or(Timestamp::MAX)
}

fn days(days: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * days)
}

#[cfg(test)]
pub(crate) mod tests;
