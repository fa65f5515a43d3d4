//! Around a login: the intent that is stored before it, and what its end makes known.

use jiff::Timestamp;
use ukg_pro::login::LoginFailure;
use ukg_pro::transport::Unanswered;

use super::attempts::{NEVER_WORKED_MAX, UNWRITTEN_MAX};
use super::entries::a_day_after;
use super::storage::Error;
use crate::api::conditions::whole_seconds;
use crate::login_guard::attempts::Tried;
use crate::login_guard::entries::{Entry, Login, Request, Rest};
use crate::login_guard::fingerprint::Subject;
use crate::login_guard::{End, Intent, Ledger, PROVEN_MAX, Proven, RestEnd, State, Vouched, lock};

impl Ledger {
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
    pub(super) fn failed(&self, subject: Subject, before: Option<&Entry>, vouched: Vouched, now: Timestamp) -> Entry {
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
    pub(super) fn enter(&self, subject: Subject, intent: Option<Intent>, end: End, vouched: Vouched, now: Timestamp) -> bool {
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
}

/// Whether UKG Pro may have judged a login whose answer was not seen.
fn may_have_been_judged(unanswered: Unanswered) -> bool {
    matches!(unanswered, Unanswered::AnswerTimeout | Unanswered::ConnectionLost)
}
