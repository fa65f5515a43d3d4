//! Limits how often the same values are sent again after an answer that is neither a session nor a refusal. Pure: time is a
//! parameter.
//!
//! The meaning of such an answer is unknown: it may be trouble at the host, or it may be how a tenant, a proxy or a later release
//! refuses a login or reports a locked account. So the rule relies on what is known to be safe. If the request was not sent, or if
//! a 429, a 502, 503 or 504, a web page or a redirect came instead of LoginService's answer, nothing was judged, and the login is
//! retried as for any host. Every other answer that is neither a session nor a refusal counts as an attempt.
//!
//! **Bound.** With values that never worked, there are at most [`NEVER_WORKED_MAX`] logins in a day. `NEVER_WORKED` is the wait
//! after each. Three growing gaps outlast a restart, an hour's deployment and an evening's maintenance, and four logins are below
//! any threshold at which accounts are commonly locked (5 and more). After them, there is one login a day.
//!
//! With values that have worked, there are at most [`WORKED_MAX`] logins in a day until one works again. Each gap is twice the
//! last, from `WORKED_FIRST` to `WORKED_LONGEST`, so that the end of short trouble is noticed within minutes. That makes 20
//! logins; the other four are for processes that end before they can record one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{LoginAttempts, UkgProConnectionStatus};

/// The maximum number of logins in a day with values that never worked.
pub const NEVER_WORKED_MAX: u16 = 4;
/// The wait after each of these logins: 15 min, 1 h, 4 h, and then a day.
const NEVER_WORKED: [SignedDuration; NEVER_WORKED_MAX as usize] = [
    SignedDuration::from_mins(15),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(4),
    SignedDuration::from_hours(24),
];
/// The maximum number of logins in a day with values that have worked.
pub const WORKED_MAX: u16 = 24;
/// The wait after the first of those logins.
const WORKED_FIRST: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait: ten logins in some two hours, and then one every two hours, are 20 in a day.
const WORKED_LONGEST: SignedDuration = SignedDuration::from_hours(2);
/// The number of attempts in a row that the ledger does not store for values that have worked: trouble of a minute is not worth a
/// write.
pub const UNWRITTEN_MAX: u16 = 3;

/// Logins in a row whose answer was neither a session nor a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempts {
    /// The time of the last one, to the second.
    pub at: Timestamp,
    /// The number of logins.
    pub times: u16,
}

impl Attempts {
    /// Returns when the next login may be sent.
    pub fn until(self, worked: bool) -> Timestamp {
        let gap = match worked {
            true => {
                let doubled = WORKED_FIRST.saturating_mul(1 << self.times.saturating_sub(1).min(12));
                doubled.min(WORKED_LONGEST)
            }
            false => NEVER_WORKED[usize::from(self.times.clamp(1, NEVER_WORKED_MAX) - 1)],
        };
        self.at.saturating_add(gap).unwrap_or(Timestamp::MAX)
    }

    /// Returns how long it is until the next login may be sent.
    pub fn wait(self, worked: bool, now: Timestamp) -> Duration {
        Duration::try_from(self.until(worked).duration_since(now)).unwrap_or_default()
    }

    /// Returns true if no more logins are sent within the day.
    pub fn is_spent(self, worked: bool) -> bool {
        !worked && self.times >= NEVER_WORKED_MAX
    }

    /// Adds one login to those before.
    pub fn after(before: Option<Self>, at: Timestamp) -> Self {
        let times = before.map_or(0, |before| before.times);
        Self { at, times: times.saturating_add(1) }
    }
}

impl From<Attempts> for LoginAttempts {
    fn from(tried: Attempts) -> Self {
        Self { count: tried.times.into(), last_time: Time(tried.at) }
    }
}

impl LoginAttempts {
    fn tried(&self) -> Option<Attempts> {
        u16::try_from(self.count).ok().filter(|times| *times > 0).map(|times| Attempts { times, at: self.last_time.0 })
    }
}

impl UkgProConnectionStatus {
    /// Returns the logins in a row whose answer was neither a session nor a refusal.
    pub fn tried(&self) -> Option<Attempts> {
        self.login_attempts.as_ref().and_then(LoginAttempts::tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns when logins are sent, in seconds from the first, if every answer is neither a session nor a refusal.
    fn sent(worked: bool, days: i64) -> Vec<i64> {
        let mut now = Timestamp::from_second(1_800_000_000).expect("in range");
        let (begun, mut tried, mut sent) = (now, None, Vec::new());
        while now.duration_since(begun) < SignedDuration::from_hours(24 * days) {
            sent.push(now.duration_since(begun).as_secs());
            let next = Attempts::after(tried, now);
            (now, tried) = (next.until(worked), Some(next));
        }
        sent
    }

    #[test]
    fn in_any_day_values_that_never_worked_are_sent_four_times_and_others_24() {
        for (worked, max) in [(false, NEVER_WORKED_MAX), (true, WORKED_MAX - 4)] {
            let sent = sent(worked, 5);
            let in_day_from = |from: i64| sent.iter().filter(|at| (from..from + 86_400).contains(*at)).count();
            let most = sent.iter().map(|at| in_day_from(*at)).max();
            assert_eq!(most, Some(usize::from(max)), "{sent:?}");
            let gaps: Vec<_> = sent.windows(2).map(|pair| pair[1] - pair[0]).collect();
            assert!(gaps.is_sorted(), "{gaps:?}");
        }
        assert_eq!(sent(false, 3), [0, 900, 4_500, 18_900, 105_300, 191_700]);
        assert!(sent(true, 1).iter().filter(|at| **at < 600).count() >= 6, "trouble of minutes is seen to pass within minutes");
    }
}
