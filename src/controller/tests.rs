//! The check as a whole, tried to be broken: the real [`check`](super::check), gate, ledger and decide, between a
//! [tenant](upstream) that can fail in every way and a [world](world) whose processes are killed and replaced. No Kubernetes, no
//! network, and time that passes when a test says so.
//!
//! | file | tries |
//! |---|---|
//! | [`sequences`] | whatever can happen, in whatever order |
//! | [`kills`] | the end of the process at each await of a check |
//! | [`days`] | whole days at the pace that `decide` gives |
//!
//! What must hold is in [`cost`], of logins, and in [`promises`], of statuses.

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

/// What a future comes to; `None` if it is dropped before, after so many polls.
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

/// Runs a story in time that passes when nothing else can happen.
fn in_paused_time<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(story)
}
