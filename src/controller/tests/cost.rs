//! What logins cost: each time a password is shown that UKG Pro has refused, something must have paid for it.
//!
//! The rules are those of the docs of [`gate`](crate::controller::gate) and [`ledger`](crate::login_guard), told by what UKG Pro and the
//! processes have seen, and not by what the ledger says.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::upstream::{Interface, Presented, Values};
use super::world::{Place, Process};
use crate::login_guard::attempts::{NEVER_WORKED_MAX, UNWRITTEN_MAX, WORKED_MAX};
use crate::login_guard::{Entry, Limits, Login, Rest};

/// Values at an interface.
pub(super) type What = (Values, Interface);

/// A refusal, and what may come after it.
#[derive(Debug, Default)]
struct Refused {
    /// Tries that are paid for by one whose end the operator could not see.
    paid: u32,
    /// The process was killed before it wrote the refusal down, or could not: the next may not know of it.
    unwritten: bool,
}

/// A login that was judged, whose end the operator does not know, and which it wrote down beforehand.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    at: Timestamp,
    /// How many there were without a day between them.
    times: u32,
    /// It worked, or had worked before, and the process was killed: the check may have ended and written before what is known then.
    may_be_struck_out: bool,
}

/// A password that was shown by a check that has not ended.
#[derive(Debug)]
struct Pending {
    presented: Presented,
    works: bool,
    vouched: bool,
}

/// Logins whose answers were no success and no refusal.
#[derive(Debug, Default)]
struct Unclear {
    logins: Vec<Timestamp>,
    /// How often a process ended that may not have written down the last of them.
    forgotten: usize,
}

#[derive(Debug, Default)]
pub(super) struct Costs {
    refused: BTreeMap<What, Refused>,
    unknown: BTreeMap<What, Unknown>,
    pending: Vec<Pending>,
    /// Refusals of what the process knew to work when the check began.
    surprised: Vec<(u32, What)>,
    /// What the checks that go on have seen to be taken.
    seen: Vec<(u32, What)>,
    /// What the operator was told last, as far as it can know.
    told: BTreeMap<What, bool>,
    /// The same before the last checks, which may have ended in any order.
    told_before: BTreeMap<What, bool>,
    /// When values were refused that were not known to work and not asked for.
    first_refusals: Vec<Timestamp>,
    /// What was ever refused: only a person or other values can release it.
    ever_refused: BTreeSet<Values>,
    /// Logins of a day whose answers were no success and no refusal, by their values: not asked for, and without one that worked since.
    unclear: BTreeMap<Values, Unclear>,
    /// How many such logins there were, in all.
    pub(super) unclear_logins: u32,
    /// How often UKG Pro has refused a password, in all.
    pub(super) refusals: u32,
    /// How often it has taken one.
    pub(super) taken: u32,
}

/// What a day is to a ledger that keeps whole seconds.
const A_DAY: SignedDuration = SignedDuration::from_secs(24 * 3600 - 1);

impl Costs {
    /// A password was shown, by a check of this connection in this process, which knew when it began that these work.
    pub(super) fn presented(&mut self, presented: &Presented, place: &mut Place, process: &Process, knew: &[What]) {
        let what = (presented.values, presented.to);
        let asked_for = place.connection.open_request().is_some() && !place.granted.contains(&what);
        let works = process.has_seen_work(what.0, what.1);
        let vouched = place.told.vouches(place, presented.to);
        if !(asked_for || works || self.seen.contains(&(presented.check, what))) {
            self.an_end_that_is_not_known_is_waited_for(presented, vouched);
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
                // A process that has seen it work, and was not the one to be refused, learns of it by a login of its own. Logins
                // by LoginService go one after the other, REST reads of connections that are checked at once do not, nor do those of
                // one check once one of them was taken.
                let check = (presented.check, what);
                let by_rest = presented.to == Interface::Rest;
                let knew = knew.contains(&what) || self.seen.iter().any(|(_, seen)| *seen == what);
                let surprise = (works || (by_rest && knew)) && !self.surprised.contains(&check);
                let surprise = surprise || (by_rest && self.seen.contains(&check));
                self.surprised.push(check);
                if !(asked_for || surprise || knew || vouched) {
                    self.an_account_sees_so_many_refusals_a_day(presented.at);
                }
                self.a_refused_password_costs_one_login(presented, asked_for || surprise);
                // A try of what is known to work that has no known end leaves the request as it was.
                let is_granted = asked_for && (presented.answered || !(works || vouched));
                place.granted.extend(is_granted.then_some(what));
            }
            None => {
                if presented.is_login && presented.is_unclear {
                    self.unclear_logins += 1;
                    if !asked_for {
                        self.an_unclear_answer_is_an_attempt(presented, works || vouched);
                    }
                }
                return;
            }
        }
        if presented.is_login && presented.answered {
            self.unclear.remove(&presented.values);
        }
        self.pending.push(Pending { presented: *presented, works, vouched });
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

    fn an_end_that_is_not_known_is_waited_for(&self, presented: &Presented, vouched: bool) {
        let Some(unknown) = self.unknown.get(&(presented.values, presented.to)) else { return };
        // What a killed process left of values that work: once more.
        let once_more = vouched && unknown.times < 2;
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
            // An intent stands before each.
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

    /// The wall clock was set: what was later happened now, as far as a day is concerned that begins anew with each try.
    pub(super) fn clock_is_set(&mut self, now: Timestamp) {
        let times = self.unknown.values_mut().map(|unknown| &mut unknown.at);
        let times = times.chain(self.unclear.values_mut().flat_map(|unclear| &mut unclear.logins));
        times.chain(&mut self.first_refusals).for_each(|at| *at = now.min(*at));
    }

    /// Checks have ended, by themselves or with their process; whether the ledger's Secret could not be written meanwhile.
    pub(super) fn ended(&mut self, process: &Process, is_killed: bool, unwritten: bool) {
        self.surprised.clear();
        self.seen.clear();
        self.told_before = self.told.clone();
        for Pending { presented, works, vouched } in std::mem::take(&mut self.pending) {
            let what = (presented.values, presented.to);
            let is_known = presented.answered && !is_killed;
            // A killed process may have written it down.
            // One that is behind does not know that there is something to strike out.
            let is_written = is_known && !unwritten && !process.is_behind;
            if presented.answered && (is_written || presented.is_refused()) {
                self.told.insert(what, !presented.is_refused());
            }
            if is_known {
                self.unknown.remove(&what);
            } else if !works && (is_killed || !vouched) {
                let before = self.unknown.get(&what).filter(|before| presented.at < before.at + A_DAY);
                let times = before.map_or(1, |before| before.times + 1);
                let may_be_struck_out = is_killed && (vouched || (presented.answered && !presented.is_refused()));
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

    /// A process has ended that may not have written down the last of what it knew.
    pub(super) fn is_forgotten(&mut self) {
        self.unclear.values_mut().for_each(|unclear| unclear.forgotten += 1);
    }

    /// The values of which the ledger's Secret may say something else than the process knew.
    pub(super) fn unwritten(&self) -> BTreeSet<Values> {
        let refused = self.refused.iter().filter(|(_, refused)| refused.unwritten).map(|((values, _), _)| *values);
        refused
            .chain(self.unknown.iter().filter(|(_, unknown)| unknown.may_be_struck_out).map(|((values, _), _)| *values))
            .collect()
    }

    /// Another process has taken over, which knows of these values what the ledger's Secret says.
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

    /// Whether the last that the operator was told of these values is a refusal.
    pub(super) fn is_told_refused(&self, values: Values) -> bool {
        let to = if values.user_api_key { Interface::LoginService } else { Interface::Rest };
        [&self.told, &self.told_before].iter().any(|told| told.get(&(values, to)) == Some(&false))
    }
}
