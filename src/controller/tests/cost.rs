//! The rules for the number of logins: a password that UKG Pro has refused is sent again only for a reason that allows it.
//!
//! The rules are those of the docs of [`gate`](crate::controller::gate) and [`ledger`](crate::login_guard). They are checked
//! against what UKG Pro and the processes have seen, not against what the ledger says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::upstream::{Interface, Presented, Values};
use super::world::{ConnectionFixture, Process};
use crate::login_guard::attempts::{NEVER_WORKED_MAX, UNWRITTEN_MAX, WORKED_MAX};
use crate::login_guard::{Entry, Limits, Login, Rest};

/// Values, and the interface they are sent to.
pub(super) type What = (Values, Interface);

/// A refusal, and what may follow it.
#[derive(Debug, Default)]
struct Refused {
    /// Further tries that are allowed, because the operator could not see how an earlier one ended.
    paid: u32,
    /// The process was killed before it recorded the refusal, or could not record it; the next process may not know of it.
    unwritten: bool,
}

/// A login that was judged, whose result the operator does not know, and whose intent it stored before.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    at: Timestamp,
    /// How many there were with less than a day from one to the next.
    times: u32,
    /// It worked, or had worked before, and the process was killed: the check may have removed the intent before that.
    may_be_struck_out: bool,
}

/// A password that was sent by a check that has not ended.
#[derive(Debug)]
struct Pending {
    presented: Presented,
    works: bool,
    recorded: bool,
}

/// Logins that were answered neither with a success nor with a refusal.
#[derive(Debug, Default)]
struct Unclear {
    logins: Vec<Timestamp>,
    /// How many processes have ended that may not have recorded the last of them.
    forgotten: usize,
}

#[derive(Debug, Default)]
pub(super) struct Costs {
    refused: BTreeMap<What, Refused>,
    unknown: BTreeMap<What, Unknown>,
    pending: Vec<Pending>,
    /// Refusals of values that the process knew to work when the check began.
    surprised: Vec<(u32, What)>,
    /// What the running checks have seen accepted.
    seen: Vec<(u32, What)>,
    /// The last result that the operator received, as far as it can know.
    told: BTreeMap<What, bool>,
    /// The same before the last checks, which may have ended in any order.
    told_before: BTreeMap<What, bool>,
    /// When values were refused that were neither known to work nor requested.
    first_refusals: Vec<Timestamp>,
    /// Values that were ever refused: only a user or other values can release them.
    ever_refused: BTreeSet<Values>,
    /// A day's logins that were answered neither with a success nor with a refusal, by their values: not requested, and since the
    /// last that worked.
    unclear: BTreeMap<Values, Unclear>,
    /// The number of such logins in all.
    pub(super) unclear_logins: u32,
    /// The number of refusals in all.
    pub(super) refusals: u32,
    /// The number of logins and reads that were accepted.
    pub(super) taken: u32,
}

/// A day, as a ledger that stores whole seconds counts it.
const A_DAY: SignedDuration = SignedDuration::from_secs(24 * 3600 - 1);

impl Costs {
    /// A check of this connection in this process has sent a password. `knew` is what the process knew to work when the check
    /// began.
    pub(super) fn presented(
        &mut self,
        presented: &Presented,
        fixture: &mut ConnectionFixture,
        process: &Process,
        knew: &[What],
    ) {
        let what = (presented.values, presented.to);
        let asked_for = fixture.connection.open_request().is_some() && !fixture.granted.contains(&what);
        let works = process.has_seen_work(what.0, what.1);
        let recorded = fixture.reported.is_recorded(fixture, presented.to);
        if !(asked_for || works || self.seen.contains(&(presented.check, what))) {
            self.an_end_that_is_not_known_is_waited_for(presented, recorded);
        }
        match presented.taken {
            Some(true) => {
                self.taken += 1;
                self.refused.remove(&what);
                self.seen.extend(presented.answered.then_some((presented.check, what)));
            }
            Some(false) => {
                self.refusals += 1;
                self.ever_refused.insert(presented.values);
                // A process that has seen the values work and was not the one to be refused learns of the refusal by a login of
                // its own. Logins by LoginService are serialized. REST reads of concurrent checks are not, nor are those of one
                // check once one of them was accepted.
                let check = (presented.check, what);
                let by_rest = presented.to == Interface::Rest;
                let knew = knew.contains(&what) || self.seen.iter().any(|(_, seen)| *seen == what);
                let surprise = (works || (by_rest && knew)) && !self.surprised.contains(&check);
                let surprise = surprise || (by_rest && self.seen.contains(&check));
                self.surprised.push(check);
                if !(asked_for || surprise || knew || recorded) {
                    self.an_account_sees_so_many_refusals_a_day(presented.at);
                }
                self.a_refused_password_costs_one_login(presented, asked_for || surprise);
                // A try of values that are known to work leaves the request open if its result is not known.
                let is_granted = asked_for && (presented.answered || !(works || recorded));
                fixture.granted.extend(is_granted.then_some(what));
            }
            None => {
                if presented.is_login && presented.is_unclear {
                    self.unclear_logins += 1;
                    if !asked_for {
                        self.an_unclear_answer_is_an_attempt(presented, works || recorded);
                    }
                }
                return;
            }
        }
        if presented.is_login && presented.answered {
            self.unclear.remove(&presented.values);
        }
        self.pending.push(Pending { presented: *presented, works, recorded });
    }

    fn a_refused_password_costs_one_login(&mut self, presented: &Presented, is_paid: bool) {
        let what = (presented.values, presented.to);
        match self.refused.get_mut(&what) {
            None => {
                self.refused.insert(what, Refused::default());
            }
            Some(_) if is_paid => {}
            Some(refused) => {
                assert!(refused.paid > 0, "a password that was refused was sent again: {presented:?}");
                refused.paid -= 1;
            }
        }
        if let Some(refused) = self.refused.get_mut(&what).filter(|_| !presented.answered) {
            refused.paid += 1;
        }
    }

    fn an_end_that_is_not_known_is_waited_for(&self, presented: &Presented, recorded: bool) {
        let Some(unknown) = self.unknown.get(&(presented.values, presented.to)) else { return };
        // A killed process left this intent of values that have worked: they are sent once more.
        let once_more = recorded && unknown.times < 2;
        let waited = presented.at >= unknown.at + A_DAY;
        assert!(
            waited || once_more,
            "sent again within a day though nobody knows how it ended: {presented:?} after {unknown:?}"
        );
    }

    fn an_unclear_answer_is_an_attempt(&mut self, presented: &Presented, worked: bool) {
        let unclear = self.unclear.entry(presented.values).or_default();
        unclear.logins.retain(|before| *before + A_DAY > presented.at);
        unclear.logins.push(presented.at);
        let (most, forgotten): (usize, usize) = match worked {
            true => (WORKED_MAX.into(), unclear.forgotten * usize::from(UNWRITTEN_MAX + 1)),
            // An intent is stored before each.
            false => (NEVER_WORKED_MAX.into(), 0),
        };
        let sent = unclear.logins.len();
        assert!(
            sent <= most + forgotten,
            "{sent} logins in a day that were answered with no success: {presented:?}, worked: {worked}"
        );
    }

    fn an_account_sees_so_many_refusals_a_day(&mut self, at: Timestamp) {
        self.first_refusals.push(at);
        let of_the_day = self.first_refusals.iter().filter(|before| **before + A_DAY > at).count();
        assert!(of_the_day <= Limits::default().refused_per_day as usize, "{of_the_day} refusals in a day");
    }

    /// The wall clock was set. Later times become the present, since a day starts anew with each try.
    pub(super) fn clock_is_set(&mut self, now: Timestamp) {
        let times = self.unknown.values_mut().map(|unknown| &mut unknown.at);
        let times = times.chain(self.unclear.values_mut().flat_map(|unclear| &mut unclear.logins));
        times.chain(&mut self.first_refusals).for_each(|at| *at = now.min(*at));
    }

    /// Checks have ended, by themselves or with their process. `unwritten` says that the ledger's Secret could not be written
    /// meanwhile.
    pub(super) fn ended(&mut self, process: &Process, is_killed: bool, unwritten: bool) {
        self.surprised.clear();
        self.seen.clear();
        self.told_before = self.told.clone();
        for Pending { presented, works, recorded } in std::mem::take(&mut self.pending) {
            let what = (presented.values, presented.to);
            let is_known = presented.answered && !is_killed;
            // A killed process may have recorded it. A process that is behind does not know that there is an intent to remove.
            let is_written = is_known && !unwritten && !process.is_behind;
            if presented.answered && (is_written || presented.is_refused()) {
                self.told.insert(what, !presented.is_refused());
            }
            if is_known {
                self.unknown.remove(&what);
            } else if !works && (is_killed || !recorded) {
                let before = self.unknown.get(&what).filter(|before| presented.at < before.at + A_DAY);
                let times = before.map_or(1, |before| before.times + 1);
                let may_be_struck_out = is_killed && (recorded || (presented.answered && !presented.is_refused()));
                self.unknown.insert(what, Unknown { at: presented.at, times, may_be_struck_out });
            }
            if let Some(refused) = self.refused.get_mut(&what) {
                refused.unwritten |= is_killed || unwritten;
                if is_known && !unwritten && presented.is_refused() {
                    refused.paid = 0;
                }
            }
        }
    }

    /// A process has ended that may not have recorded the last of what it knew.
    pub(super) fn is_forgotten(&mut self) {
        self.unclear.values_mut().for_each(|unclear| unclear.forgotten += 1);
    }

    /// Returns the values about which the ledger's Secret may differ from what the process knew.
    pub(super) fn unwritten(&self) -> BTreeSet<Values> {
        let refused = self.refused.iter().filter(|(_, refused)| refused.unwritten).map(|((values, _), _)| *values);
        refused
            .chain(self.unknown.iter().filter(|(_, unknown)| unknown.may_be_struck_out).map(|((values, _), _)| *values))
            .collect()
    }

    /// Another process has taken over, which knows about these values what the ledger's Secret says.
    pub(super) fn is_replaced(&mut self, values: Values, stored: Option<&Entry>) {
        for ((_, to), refused) in self.refused.iter_mut().filter(|((of, _), refused)| *of == values && refused.unwritten) {
            let is_stored = match to {
                Interface::Rest if values.user_api_key => stored.is_some_and(|entry| entry.rest == Some(Rest::Refused)),
                _ => stored.is_some_and(|entry| matches!(entry.login, Some(Login::Refused(_) | Login::BegunAgain(_)))),
            };
            refused.paid += u32::from(!is_stored);
            refused.unwritten = false;
        }
        let is_struck_out = |to: Interface| match to {
            Interface::Rest if values.user_api_key => stored.is_none_or(|entry| entry.rest.is_none()),
            _ => stored.is_none_or(|entry| entry.login.is_none()),
        };
        self.unknown.retain(|(of, to), unknown| !(*of == values && unknown.may_be_struck_out && is_struck_out(*to)));
        for (_, unknown) in self.unknown.iter_mut().filter(|((of, _), unknown)| *of == values && unknown.may_be_struck_out) {
            unknown.times = stored.map_or(unknown.times, |entry| unknown.times.min(u32::from(entry.times)));
            unknown.may_be_struck_out = false;
        }
    }

    pub(super) fn is_ever_refused(&self, values: Values) -> bool {
        self.ever_refused.contains(&values)
    }

    /// Whether the last result that the operator received for these values is a refusal.
    pub(super) fn is_told_refused(&self, values: Values) -> bool {
        let to = if values.user_api_key { Interface::LoginService } else { Interface::Rest };
        [&self.told, &self.told_before].iter().any(|told| told.get(&(values, to)) == Some(&false))
    }
}
