//! How long Kubernetes may take to answer, and how long a watch may be silent. A layer of the Kubernetes client.
//!
//! **Contract.** No request waits for ever, whatever becomes of the connection it went by: nothing but a deadline of one's own notices
//! a connection that is cut without a word, or a server that has stopped behind a load balancer that has not.
//!
//! | request | bound | what comes then |
//! |---|---|---|
//! | any but a watch, from its first try to the last byte of its answer | [`Deadlines::answer`] | an error |
//! | a watch, until its answer begins | [`Deadlines::watch`] | an error |
//! | a watch, from one frame of its answer to the next | [`Deadlines::silence`] | the end of the answer |
//!
//! A watch that is silent is ended as the API server would end it, and kube's `watcher` goes on from the last version it has seen: with a
//! server that sends no bookmarks that costs a request now and then, and nothing is lost or logged. kube by itself waits 295 s for that,
//! and for a list without end.
//!
//! Requests of checks have shorter deadlines of their own ([`KUBERNETES_DEADLINE`](crate::cluster::failure::KUBERNETES_DEADLINE)), and so has
//! the [election](crate::cluster::leader_election).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower_layer::Layer;
use tower_service::Service;

/// What a client of kube takes for an error.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The deadlines, and the layer that keeps them, for [`kube::client::ClientBuilder::with_layer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// Of a request that is no watch: until its answer is whole, with what the client retries by itself.
    pub answer: Duration,
    /// Of a watch: until its answer begins.
    pub watch: Duration,
    /// Of a watch: the longest silence.
    pub silence: Duration,
}

impl Default for Deadlines {
    /// - An API server gives up a request after 60 s by itself (`--request-timeout`), and says so.
    /// - The head of a watch's answer is sent at once, or when the server's cache has come as far as the version asked for, for which it
    ///   waits some seconds.
    /// - A bookmark comes each 60 to 62 s where nothing changes: one and a half of that. And more than the 90 s for which the client keeps
    ///   a connection that is idle: where all were cut at once, the watch is begun anew by a new one.
    fn default() -> Self {
        Self { answer: Duration::from_secs(65), watch: Duration::from_secs(15), silence: Duration::from_secs(95) }
    }
}

/// No answer in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API server did not answer within {} s", .0.as_secs())]
pub struct Late(Duration);

/// A client that keeps the deadlines.
#[derive(Debug, Clone)]
pub struct Punctual<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<S> Layer<S> for Deadlines {
    type Service = Punctual<S>;

    fn layer(&self, inner: S) -> Punctual<S> {
        Punctual { inner, deadlines: *self }
    }
}

/// Whether a request opens a watch.
fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

impl<S, A, B> Service<Request<A>> for Punctual<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<Answer<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let Deadlines { answer, watch, silence } = self.deadlines;
        let is_watch = is_watch(&request);
        let head = if is_watch { watch } else { answer };
        let until = Instant::now() + head;
        let request = self.inner.call(request);
        Box::pin(async move {
            let answer = tokio::time::timeout_at(until, request).await.map_err(|_| Late(head))?.map_err(Into::into)?;
            let (bound, until) =
                if is_watch { (Bound::Silence(silence), Instant::now() + silence) } else { (Bound::Whole(head), until) };
            Ok(answer.map(|body| Answer { body: Some(body), bound, timer: Box::pin(tokio::time::sleep_until(until)) }))
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Of the whole answer.
    Whole(Duration),
    /// From one frame to the next.
    Silence(Duration),
}

/// An answer whose time is bounded.
#[derive(Debug)]
pub struct Answer<B> {
    /// `None` when it is over.
    body: Option<B>,
    bound: Bound,
    timer: Pin<Box<Sleep>>,
}

impl<B> Body for Answer<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        // What has come is taken even where it is taken late.
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            if let Bound::Silence(silence) = this.bound {
                this.timer.as_mut().reset(Instant::now() + silence);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.timer.as_mut().poll(context));
        // With the body the connection goes, which is of no more use.
        this.body = None;
        Poll::Ready(match this.bound {
            Bound::Whole(bound) => Some(Err(Late(bound).into())),
            Bound::Silence(bound) => {
                tracing::debug!(seconds = bound.as_secs(), "a watch is silent and begins anew");
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests;
