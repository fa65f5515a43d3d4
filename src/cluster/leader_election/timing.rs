//! The durations of a leader election.

use std::time::Duration;

/// The longest time between two reads of a standby, before jitter, so that it takes over in less than two seconds after a clean
/// stop.
const POLL_MAX: Duration = Duration::from_secs(1);
/// Each retry is a request to the API server.
const RETRY_MIN: Duration = Duration::from_millis(100);
/// Longer than anybody would wait for a standby; as whole seconds it fits into a Lease.
const LEASE_MAX: Duration = Duration::from_secs(60 * 60);
/// A renewal, a read of its outcome and a second renewal fit into the renew deadline, with one share to spare.
const REQUESTS_PER_RENEW: u32 = 4;

/// The durations of an election, checked to fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

/// Durations that do not fit together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TimingError {
    /// There could be two leaders.
    #[error(
        "a leader gives up after the renew deadline ({renew:?}) and others take over after the lease ({lease:?}): write a renew \
         deadline that is shorter than the lease, such as 10s with a lease of 15s"
    )]
    Renew {
        /// The lease as given.
        lease: Duration,
        /// The renew deadline as given.
        renew: Duration,
    },
    /// A leader would step down before its first renewal.
    #[error(
        "a leader renews after each retry ({retry:?}) and gives up after the renew deadline ({renew:?}): write a retry that is \
         shorter than the renew deadline, such as 2s with a renew deadline of 10s"
    )]
    Retry {
        /// The renew deadline as given.
        renew: Duration,
        /// The retry as given.
        retry: Duration,
    },
    /// There would be too many requests.
    #[error("each retry ({0:?}) is a request to the API server: write one of at least 100ms, such as 2s")]
    Busy(Duration),
    /// Nobody would take over from a dead leader for too long.
    #[error("nobody takes over from a leader that died before the lease ({0:?}) is over: write one of at most 1h, such as 15s")]
    Long(Duration),
}

impl Default for Timing {
    /// client-go's: 15 s, 10 s and 2 s.
    fn default() -> Self {
        Self { lease: Duration::from_secs(15), renew: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

impl Timing {
    /// Checks and returns the durations: how long others leave a silent leader's Lease alone, after how long a leader that cannot
    /// renew steps down, and how often it tries.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, TimingError> {
        if renew >= lease {
            return Err(TimingError::Renew { lease, renew });
        }
        if retry >= renew {
            return Err(TimingError::Retry { renew, retry });
        }
        if retry < RETRY_MIN {
            return Err(TimingError::Busy(retry));
        }
        if lease > LEASE_MAX {
            return Err(TimingError::Long(lease));
        }
        Ok(Self { lease, renew, retry })
    }

    /// How long others leave a silent leader's Lease alone. In whole seconds, as in a Lease; rounded up, because longer is safer.
    pub(super) fn lease(&self) -> Duration {
        Duration::from_secs(self.lease.as_secs() + u64::from(self.lease.subsec_nanos() > 0))
    }

    /// How long after its last renewal a leader steps down.
    pub(super) fn renew(&self) -> Duration {
        self.renew
    }

    /// The time between two renewals.
    pub(super) fn retry(&self) -> Duration {
        self.retry
    }

    /// How long one request may take.
    pub(super) fn request(&self) -> Duration {
        self.renew / REQUESTS_PER_RENEW
    }

    /// The time between two reads of a standby. `chance`, drawn once, adds a jitter of a fifth, so that standbys that start
    /// together drift apart.
    pub(super) fn poll(&self, chance: u8) -> Duration {
        let poll = (self.retry / 2).min(POLL_MAX);
        poll * 4 / 5 + poll * 2 / 5 * u32::from(chance) / u32::from(u8::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing(lease: u64, renew: u64, retry: u64) -> Result<Timing, TimingError> {
        Timing::new(Duration::from_millis(lease), Duration::from_millis(renew), Duration::from_millis(retry))
    }

    #[test]
    fn times_that_do_not_fit_together_are_refused_with_what_to_write() {
        for (times, advice) in [
            ((10_000, 10_000, 2_000), "write a renew deadline that is shorter than the lease"),
            ((10_000, 11_000, 2_000), "write a renew deadline that is shorter than the lease"),
            ((15_000, 10_000, 10_000), "write a retry that is shorter than the renew deadline"),
            ((15_000, 10_000, 99), "write one of at least 100ms"),
            ((15_000, 10_000, 0), "write one of at least 100ms"),
            ((3_600_001, 10_000, 2_000), "write one of at most 1h"),
        ] {
            let (lease, renew, retry) = times;
            let error = timing(lease, renew, retry).expect_err("refused").to_string();
            assert!(error.contains(advice), "{times:?}: {error}");
        }
        assert_eq!(timing(15_000, 10_000, 2_000), Ok(Timing::default()));
    }

    #[test]
    fn a_lost_renewal_can_be_looked_for_and_made_again_before_the_deadline() {
        let timing = Timing::default();
        assert!(timing.retry() + timing.request() * 3 <= timing.renew());
    }

    #[test]
    fn a_standby_asks_about_once_a_second_and_never_less_often() {
        let timing = Timing::default();
        assert_eq!(timing.poll(0), Duration::from_millis(800));
        assert_eq!(timing.poll(u8::MAX), Duration::from_millis(1200));
        let slow = Timing::new(Duration::from_secs(60), Duration::from_secs(40), Duration::from_secs(10)).expect("fits");
        assert_eq!(slow.poll(u8::MAX), Duration::from_millis(1200));
    }

    #[test]
    fn a_lease_is_written_in_whole_seconds_and_never_shorter_than_meant() {
        for (milliseconds, seconds) in [(15_000, 15), (15_001, 16), (1_500, 2)] {
            assert_eq!(timing(milliseconds, 1_000, 200).expect("fits").lease(), Duration::from_secs(seconds));
        }
    }
}
