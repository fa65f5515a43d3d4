//! The operator's clock, which a test can make go faster, so that a day passes in seconds.
//!
//! **Contract.** There are two times. [`Clock::now`] is the wall clock, for times that are stored and outlive the process; it may
//! be stepped. [`Clock::uptime`] is monotonic, for waits. No duration is measured between the two.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A real or simulated clock.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// The factor by which it goes faster than real time, and the time at which it began.
    simulated: Option<(u32, Timestamp)>,
}

impl Clock {
    /// Returns the platform's clock.
    pub fn system() -> Self {
        Self { started: Instant::now(), simulated: None }
    }

    /// Returns a clock that begins now and goes `factor` times faster than real time, or than tokio's time if that is paused and
    /// advanced by hand.
    pub fn simulated(factor: u32) -> Self {
        Self { started: Instant::now(), simulated: Some((factor.max(1), Timestamp::now())) }
    }

    /// Returns a clock that shows this time now and goes on from there.
    #[cfg(test)]
    pub(crate) fn set_to(time: Timestamp) -> Self {
        Self { started: Instant::now(), simulated: Some((1, time)) }
    }

    /// Returns the wall clock time.
    pub fn now(&self) -> Timestamp {
        match self.simulated {
            None => Timestamp::now(),
            Some((_, began)) => began.saturating_add(self.uptime()).unwrap_or(began),
        }
    }

    /// Returns the time since the clock was created.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed() * self.factor()
    }

    /// Returns the real time to wait for a wait on this clock.
    pub fn real(&self, wait: Duration) -> Duration {
        wait / self.factor()
    }

    fn factor(&self) -> u32 {
        self.simulated.map_or(1, |(factor, _)| factor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_day_passes_in_seconds() {
        let clock = Clock::simulated(10_000);
        let began = clock.now();
        tokio::time::advance(clock.real(Duration::from_secs(86_400))).await;
        assert_eq!(clock.uptime(), Duration::from_secs(86_400));
        assert_eq!(clock.now().duration_since(began).as_secs(), 86_400);
        assert_eq!(Clock::system().real(Duration::from_secs(7)), Duration::from_secs(7));
    }
}
