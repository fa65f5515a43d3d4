//! How often values are sent again that UKG Pro answers neither with a session nor with a refusal. Pure: time is a parameter.
//!
//! What such an answer is cannot be told: it may be trouble of the host, and it may be how a tenant, a proxy or a later release refuses a
//! login or tells of a locked account. So the rule is about what is known to be safe. Before a request was sent, and where a 429, a 502,
//! 503 or 504, a web page or a redirect came instead of LoginService's answer, nothing was judged, and it is tried again as any host is.
//! Every other answer that is no success is one of these.
//!
//! **Bound.** Of values that were never seen to work, [`NEVER_WORKED_MAX`] logins in a day: the first, and after each as long as
//! `NEVER_WORKED` says. Three gaps that grow outlast a restart, an hour's deployment and an evening's maintenance, and four logins are
//! below any threshold at which accounts are commonly locked (5 and more). After them it is one a day. Of values that have worked, at most
//! [`WORKED_MAX`] in a day until one works again: each gap is twice the last, from `WORKED_FIRST` to `WORKED_LONGEST`, so that what passes
//! within minutes is seen to within minutes. That makes 20; the others are for a process that ends before it could write one down.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{LoginAttempts, UkgProConnectionStatus};

/// Logins in a day with values that were never seen to work.
pub const NEVER_WORKED_MAX: u16 = 4;
/// After each of these logins the wait for the next, in hours and minutes: 15 min, 1 h, 4 h, and then a day.
const NEVER_WORKED: [SignedDuration; NEVER_WORKED_MAX as usize] = [
    SignedDuration::from_mins(15),
    SignedDuration::from_hours(1),
    SignedDuration::from_hours(4),
    SignedDuration::from_hours(24),
];
/// Logins in a day with values that have worked.
pub const WORKED_MAX: u16 = 24;
/// After the first of those logins the wait for the next.
const WORKED_FIRST: SignedDuration = SignedDuration::from_secs(15);
/// The longest wait: ten within two hours, and then one in two hours, are 20 in a day.
const WORKED_LONGEST: SignedDuration = SignedDuration::from_hours(2);
/// So many in a row, of values that have worked, are not written down by the ledger: trouble of a minute is not worth it.
pub const UNWRITTEN_MAX: u16 = 3;

/// Logins in a row that were answered so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tried {
    /// When the last was, to the second.
    pub at: Timestamp,
    /// How many.
    pub times: u16,
}

impl Tried {
    /// When the next may be sent.
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

    /// How long that is from now.
    pub fn wait(self, worked: bool, now: Timestamp) -> Duration {
        Duration::try_from(self.until(worked).duration_since(now)).unwrap_or_default()
    }

    /// Whether no more are sent within the day.
    pub fn is_spent(self, worked: bool) -> bool {
        !worked && self.times >= NEVER_WORKED_MAX
    }

    /// One more.
    pub fn after(before: Option<Self>, at: Timestamp) -> Self {
        let times = before.map_or(0, |before| before.times);
        Self { at, times: times.saturating_add(1) }
    }
}

impl From<Tried> for LoginAttempts {
    fn from(tried: Tried) -> Self {
        Self { count: tried.times.into(), last_time: Time(tried.at) }
    }
}

impl LoginAttempts {
    fn tried(&self) -> Option<Tried> {
        u16::try_from(self.count).ok().filter(|times| *times > 0).map(|times| Tried { times, at: self.last_time.0 })
    }
}

impl UkgProConnectionStatus {
    /// The logins in a row that were answered neither with a session nor with a refusal.
    pub fn tried(&self) -> Option<Tried> {
        self.login_attempts.as_ref().and_then(LoginAttempts::tried)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When logins are sent that are all answered so.
    fn sent(worked: bool, days: i64) -> Vec<i64> {
        let mut now = Timestamp::from_second(1_800_000_000).expect("in range");
        let (begun, mut tried, mut sent) = (now, None, Vec::new());
        while now.duration_since(begun) < SignedDuration::from_hours(24 * days) {
            sent.push(now.duration_since(begun).as_secs());
            let next = Tried::after(tried, now);
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
