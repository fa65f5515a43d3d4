//! Time as the operator takes it, so that a day can pass in seconds where a test wants it.
//!
//! **Contract.** Two times: [`Clock::now`] is the wall clock, for what is written down and outlives the process; it may be stepped.
//! [`Clock::uptime`] only ever grows, for waits. Nothing is measured between the two.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// A clock.
#[derive(Debug, Clone)]
pub struct Clock {
    started: Instant,
    /// How much faster than real time it goes, and when it began.
    simulated: Option<(u32, Timestamp)>,
}

impl Clock {
    /// The platform's clock.
    pub fn system() -> Self {
        Self { started: Instant::now(), simulated: None }
    }

    /// A clock that begins now and goes so many times faster than real time; with tokio's paused time, as fast as that is moved.
    pub fn simulated(factor: u32) -> Self {
        Self { started: Instant::now(), simulated: Some((factor.max(1), Timestamp::now())) }
    }

    /// A clock that shows this time now and goes on from there.
    #[cfg(test)]
    pub(crate) fn set_to(time: Timestamp) -> Self {
        Self { started: Instant::now(), simulated: Some((1, time)) }
    }

    /// The wall clock.
    pub fn now(&self) -> Timestamp {
        match self.simulated {
            None => Timestamp::now(),
            Some((_, began)) => began.saturating_add(self.uptime()).unwrap_or(began),
        }
    }

    /// The time since the clock was made.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed() * self.factor()
    }

    /// How long to really wait for a wait on this clock.
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
