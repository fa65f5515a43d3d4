//! Whether this process leads. The election sets it; work that depends on it asks.
//!
//! **Invariant.** The answer turns false by the clock when the last renewed term ends. No task has to run for that.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The number of terms so far, and the end of the last one.
#[derive(Debug, Clone, Copy, Default)]
struct TermState {
    /// The number of the last term, from 1.
    term: u64,
    /// When the term ends unless it is renewed; `None` if it was given up.
    until: Option<Instant>,
}

impl TermState {
    /// Returns the end of the current term if this process leads now.
    fn leads_until(&self) -> Option<Instant> {
        self.until.filter(|until| Instant::now() < *until)
    }
}

/// The election's side, which sets the state that everyone sees. Dropping it ends the term.
#[derive(Debug, Default)]
pub(super) struct TermSender(watch::Sender<TermState>, watch::Sender<Option<Duration>>);

impl TermSender {
    /// Returns a handle for those who ask.
    pub(super) fn leadership(&self) -> Leadership {
        Leadership(self.0.subscribe(), self.1.subscribe())
    }

    /// Sets how long another's Lease is left alone after a change; `None` if nobody or this process holds it.
    pub(super) fn set_takeover_delay(&self, delay: Option<Duration>) {
        self.1.send_if_modified(|told| std::mem::replace(told, delay) != delay);
    }

    /// Extends the term until this instant or begins one; `None` ends it. Returns true if a term has begun.
    pub(super) fn hold(&self, until: Option<Instant>) -> bool {
        let mut begun = false;
        self.0.send_modify(|state| {
            // Under the same lock as the readers: once one of them can have seen the term lapse, it has ended for all.
            begun = until.is_some() && state.leads_until().is_none();
            state.term += u64::from(begun);
            state.until = until;
        });
        begun
    }
}

impl Drop for TermSender {
    fn drop(&mut self) {
        self.hold(None);
    }
}

/// A handle that shows whether this process leads.
#[derive(Debug, Clone)]
pub struct Leadership(watch::Receiver<TermState>, watch::Receiver<Option<Duration>>);

impl Leadership {
    /// Passes on how long another's Lease is left alone after a change, now and each time it changes. Never ends.
    pub async fn watch_takeover_delay(&self, tell: impl Fn(Option<Duration>)) {
        let mut delay = self.1.clone();
        loop {
            tell(*delay.borrow_and_update());
            if delay.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Whether this process leads now.
    pub fn is_leading(&self) -> bool {
        self.0.borrow().leads_until().is_some()
    }

    /// Waits until this process leads. Do work under the returned term, not under this handle: between two calls on the handle, one
    /// term may have ended and another begun.
    ///
    /// Never resolves once the election has ended.
    pub async fn acquired(&self) -> Term {
        let mut state = self.0.clone();
        loop {
            let now = *state.borrow_and_update();
            if now.leads_until().is_some() {
                return Term { number: now.term, state };
            }
            if state.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// One uninterrupted period of leadership.
#[derive(Debug, Clone)]
pub struct Term {
    number: u64,
    state: watch::Receiver<TermState>,
}

impl Term {
    /// Whether this term still lasts. Once it has ended, it never resumes.
    pub fn is_leading(&self) -> bool {
        let state = self.state.borrow();
        state.term == self.number && state.leads_until().is_some()
    }

    /// Waits until this term has ended: it was given up, or not renewed in time.
    pub async fn lost(&self) {
        let mut state = self.state.clone();
        loop {
            let now = *state.borrow_and_update();
            let Some(until) = now.leads_until().filter(|_| now.term == self.number) else { return };
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                // An election ends its term before it is dropped, so the next round sees that.
                _ = state.changed() => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(seconds: u64) -> Option<Instant> {
        Some(Instant::now() + Duration::from_secs(seconds))
    }

    async fn pass(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_ends_by_the_clock_though_nobody_says_so() {
        let sender = TermSender::default();
        let leadership = sender.leadership();
        assert!(!leadership.is_leading());
        sender.hold(after(10));
        let term = leadership.acquired().await;
        pass(9).await;
        assert!(leadership.is_leading() && term.is_leading());
        pass(1).await;
        assert!(!leadership.is_leading() && !term.is_leading());
        term.lost().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_prolongs_the_term_and_a_step_down_ends_it() {
        let sender = TermSender::default();
        let leadership = sender.leadership();
        sender.hold(after(10));
        let term = leadership.acquired().await;
        let lost = tokio::spawn({
            let term = term.clone();
            async move { term.lost().await }
        });
        pass(9).await;
        sender.hold(after(10));
        pass(9).await;
        assert!(term.is_leading() && !lost.is_finished());
        sender.hold(None);
        assert!(!term.is_leading() && !leadership.is_leading());
        lost.await.expect("it ends");
    }

    #[tokio::test(start_paused = true)]
    async fn a_term_that_lapsed_does_not_come_back_with_the_next() {
        let sender = TermSender::default();
        let leadership = sender.leadership();
        sender.hold(after(1));
        let first = leadership.acquired().await;
        pass(1).await;
        // Nobody asked in between.
        sender.hold(after(10));
        assert!(leadership.is_leading() && !first.is_leading());
        first.lost().await;
        let second = leadership.acquired().await;
        assert!(second.is_leading());
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_that_goes_takes_its_term_with_it() {
        let sender = TermSender::default();
        let leadership = sender.leadership();
        sender.hold(after(10));
        let term = leadership.acquired().await;
        drop(sender);
        assert!(!term.is_leading() && !leadership.is_leading());
        term.lost().await;
        assert!(tokio::time::timeout(Duration::from_secs(60), leadership.acquired()).await.is_err());
    }
}
