//! Stores the intent before a login, and records the result after it.

use jiff::Timestamp;
use ukg_pro::login::LoginFailure;
use ukg_pro::transport::Unanswered;

use super::attempts::{NEVER_WORKED_MAX, UNWRITTEN_MAX};
use super::entries::a_day_after;
use super::storage::Error;
use crate::api::conditions::whole_seconds;
use crate::login_guard::attempts::Attempts;
use crate::login_guard::entries::{Entry, Login, Request, Rest};
use crate::login_guard::fingerprint::CredentialIds;
use crate::login_guard::{
    Intent, Ledger, LoginResult, RestResult, State, StatusRecord, WORKING_LOGINS_MAX, WorkingLogin, lock,
};

impl Ledger {
    /// Stores the intent to send a login, and REST reads after it if `rest`. Returns `None` if another operator came first; the
    /// caller must then look up again what is known.
    pub async fn begin(
        &self,
        ids: CredentialIds,
        rest: bool,
        granted: Option<Request>,
        recorded: StatusRecord,
        now: Timestamp,
    ) -> Result<Option<Intent>, Error> {
        let (before, intended) = {
            let mut state = lock(&self.state);
            let before = state.table.get(ids.fingerprint).cloned();
            let mut intended = Entry {
                login: Some(match before.as_ref().and_then(|entry| entry.login) {
                    Some(Login::Refused(failure) | Login::BegunAgain(failure)) => Login::BegunAgain(failure),
                    Some(Login::Begun | Login::Unclear { .. }) | None => Login::Begun,
                }),
                rest: before.as_ref().and_then(|entry| entry.rest).or(rest.then_some(Rest::Begun)),
                ..self.failed(ids, before.as_ref(), recorded, now)
            };
            granted.into_iter().for_each(|request| intended.grant(request));
            state.table.set(ids.fingerprint, Some(intended.clone()));
            state.table.prune(now);
            (before, intended)
        };
        if let Err(error) = self.commit().await {
            // Nothing was sent. If the intent was stored all the same, the next write removes it. Later changes stay.
            let mut state = lock(&self.state);
            if state.table.get(ids.fingerprint) == Some(&intended) {
                state.table.set(ids.fingerprint, before);
            }
            drop(state);
            self.changed.notify_one();
            return Err(error);
        }
        let stands = lock(&self.state).table.get(ids.fingerprint) == Some(&intended);
        Ok(stands.then_some(Intent { before, intended }))
    }

    /// Returns an entry for one more login that failed, or may have failed.
    pub(super) fn failed(&self, ids: CredentialIds, before: Option<&Entry>, recorded: StatusRecord, now: Timestamp) -> Entry {
        // Attempts with values that have worked are counted separately.
        let has_worked = recorded.worked.login || before.is_some_and(Entry::has_worked);
        let tried = before.and_then(Entry::tried).max(recorded.tried).filter(|_| !has_worked);
        let times = match tried {
            // One login a day keeps the count at its maximum. Any further logins come from a person, whose requests are limited
            // too.
            Some(tried) if a_day_after(tried.at) <= now => NEVER_WORKED_MAX.min(tried.times.saturating_add(1)),
            Some(_) => Attempts::after(tried, now).times,
            None if has_worked => 1,
            None => before.map_or(0, |entry| entry.times_within_a_day(now)).saturating_add(1),
        };
        Entry {
            account: ids.account,
            login: None,
            rest: None,
            at: whole_seconds(now).0,
            times,
            granted: before.map(|entry| entry.granted.clone()).unwrap_or_default(),
            process_tag: self.process_tag,
            used: whole_seconds(now).0,
            namespace_id: before.map_or(ids.namespace_id, |entry| entry.namespace_id),
            password_id: ids.password_id,
        }
    }

    /// Records the result of a check. A refusal, or the end of one, is stored before this returns, or as soon as possible if that
    /// fails.
    pub async fn end(
        &self,
        ids: CredentialIds,
        intent: Option<Intent>,
        result: LoginResult,
        recorded: StatusRecord,
        now: Timestamp,
    ) {
        let urgent = self.record(ids, intent, result, recorded, now);
        if urgent && let Err(error) = self.commit().await {
            tracing::warn!(%error, "a refusal could not be stored in the login ledger; trying again");
        }
        if lock(&self.state).table.has_unsaved() {
            self.changed.notify_one();
        }
    }

    /// Records the result in memory. Returns true if it must be stored at once: a refusal, or the end of one.
    pub(super) fn record(
        &self,
        ids: CredentialIds,
        intent: Option<Intent>,
        result: LoginResult,
        recorded: StatusRecord,
        now: Timestamp,
    ) -> bool {
        let mut state = lock(&self.state);
        let tried = state.tried_with(ids.fingerprint).max(recorded.tried);
        let State { table, working, passwords, tried: attempts, .. } = &mut *state;
        let key = ids.fingerprint;
        let recorded_worked = recorded.worked;
        let present = table.get(key).cloned();
        // The intent has already counted this login.
        let failed = match (&intent, &present) {
            (Some(_), Some(intended)) => Entry { at: whole_seconds(now).0, ..intended.clone() },
            _ => self.failed(ids, present.as_ref(), recorded, now),
        };
        let granted = present.as_ref().map(|entry| entry.granted.clone()).unwrap_or_default();
        let was_refused = matches!(present, Some(Entry { login: Some(Login::BegunAgain(_)), .. }));
        // If a concurrent REST read has changed the entry since the intent, its result counts too.
        let known = match &intent {
            Some(Intent { before, intended }) if present.as_ref() == Some(intended) => before.clone(),
            _ => present.clone(),
        };
        let known_rest = known.as_ref().and_then(|entry| entry.rest);
        let was = working.get(&key).copied().unwrap_or_default();
        match result {
            LoginResult::LoginFailed(failure) if failure.forbids_automatic_retry() => {
                working.remove(&key);
                passwords.remove(&ids.password_id);
                attempts.remove(&key);
                table.set(key, Some(Entry { login: Some(Login::Refused(failure)), rest: known_rest, ..failed }));
                true
            }
            // The answer may have been a refusal.
            LoginResult::LoginFailed(failure) if failure.is_unclear() => {
                // An unclear answer to a person's request does not change a known refusal, nor a login that is held because its
                // result is unknown.
                let stands = known.as_ref().is_some_and(|known| match known.login {
                    Some(Login::Refused(_) | Login::BegunAgain(_)) => true,
                    Some(Login::Begun) => known.times_within_a_day(now) > 0,
                    Some(Login::Unclear { .. }) | None => false,
                });
                let worked = recorded_worked.login || was.login || known.as_ref().is_some_and(Entry::has_worked);
                let tried = Attempts::after(tried, whole_seconds(now).0);
                if worked || stands {
                    if attempts.len() >= WORKING_LOGINS_MAX {
                        attempts.clear();
                    }
                    attempts.insert(key, tried);
                }
                if let Some(known) = known.clone().filter(|_| stands) {
                    // This login and the request that asked for it count from now on.
                    let granted = present.as_ref().map_or(known.granted.clone(), |present| present.granted.clone());
                    table.set(key, Some(Entry { times: failed.times, at: failed.at, granted, ..known }));
                } else if worked && tried.times <= UNWRITTEN_MAX {
                    // What was known before is still valid.
                    if intent.is_some() {
                        table.set(key, known);
                    }
                } else {
                    let times = if worked { tried.times } else { failed.times };
                    table.set(key, Some(Entry { login: Some(Login::Unclear { worked }), rest: known_rest, times, ..failed }));
                }
                false
            }
            // The result is unknown, and the values are not known to have worked: the intent stands. REST was not tried.
            LoginResult::LoginFailed(LoginFailure::Unanswered(unanswered))
                if may_have_been_judged(unanswered)
                    && !(recorded_worked.login || was.login || known.as_ref().is_some_and(Entry::has_worked)) =>
            {
                table.set(key, present.map(|intended| Entry { rest: known_rest, ..intended }));
                false
            }
            // Nothing was judged, so what was known before is still valid.
            LoginResult::LoginFailed(_) => {
                if intent.is_some() {
                    table.set(key, known);
                }
                false
            }
            LoginResult::LoggedIn { rest } | LoginResult::Read { rest } => {
                let logged_in = matches!(result, LoginResult::LoggedIn { .. });
                let news = match rest {
                    Some(RestResult::Works) => Some(None),
                    Some(RestResult::Refused) => Some(Some(Rest::Refused)),
                    Some(RestResult::Unanswered) if !(recorded_worked.rest || was.rest) => Some(Some(Rest::Begun)),
                    Some(RestResult::Unanswered) | None => None,
                };
                let now_rest = news.unwrap_or(known_rest);
                let works = WorkingLogin { login: true, rest: now_rest.is_none() && (was.rest || news == Some(None)) };
                if logged_in || was.login {
                    if working.len() >= WORKING_LOGINS_MAX {
                        working.clear();
                    }
                    if passwords.len() >= WORKING_LOGINS_MAX {
                        passwords.clear();
                    }
                    passwords.insert(ids.password_id);
                    attempts.remove(&key);
                    working.insert(key, works);
                }
                let login = known.as_ref().and_then(|entry| entry.login).filter(|_| !logged_in);
                // Without news, the previous result of basic authentication stays, with its time.
                let before = match news.flatten() {
                    Some(_) => Some(failed),
                    None => known,
                };
                let now = before.map(|before| Entry { login, rest: now_rest, granted, ..before });
                table.set(key, now.filter(|entry| entry.login.is_some() || entry.rest.is_some()));
                was_refused || (now_rest == Some(Rest::Refused) && known_rest != now_rest)
            }
        }
    }
}

/// Returns true if UKG Pro may have judged a login whose answer did not arrive.
fn may_have_been_judged(unanswered: Unanswered) -> bool {
    matches!(unanswered, Unanswered::AnswerTimeout | Unanswered::ConnectionLost)
}
