//! Tests of the check as a whole: the real [`check`](super::check), gate, ledger and decide, between a [tenant](upstream) that
//! can fail in every way and a [world](world) whose processes are killed and replaced. They use no Kubernetes, no network, and a
//! simulated time.
//!
//! | file | what it tests |
//! |---|---|
//! | [`sequences`] | random events in random order |
//! | [`kills`] | a kill of the process at each await of a check |
//! | [`days`] | whole days with the waits that `decide` returns |
//!
//! The invariants are in [`cost`], for logins, and in [`promises`], for statuses.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

mod cost;
mod days;
mod kills;
mod promises;
mod sequences;
mod upstream;
mod world;

/// Returns the output of a future; `None` if it is dropped after so many polls.
pub(crate) async fn after_polls<F: Future>(future: F, polls: Option<usize>) -> Option<F::Output> {
    let Some(mut left) = polls else { return Some(future.await) };
    let mut future = pin!(future);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Runs a test in simulated time, which passes only while nothing else can run.
fn in_paused_time<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(story)
}
