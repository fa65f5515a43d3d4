//! Deadlines for requests to the API server, and for the silence of a watch. A layer of the Kubernetes client.
//!
//! **Contract.** No request waits forever, whatever happens to its connection. Only a client-side deadline detects a connection
//! that is cut silently, or a server that has died behind a load balancer that has not.
//!
//! | request | deadline | result |
//! |---|---|---|
//! | not a watch: from its first attempt to the last byte of its response | [`Deadlines::answer`] | an error |
//! | a watch: until its response begins | [`Deadlines::watch`] | an error |
//! | a watch: from one frame of its response to the next | [`Deadlines::silence`] | the end of the response |
//!
//! A silent watch is ended as the API server would end it, and kube's `watcher` resumes from the last version it has seen. If a
//! server sends no bookmarks, this costs an occasional request; nothing is lost or logged. Without this layer, kube waits 295 s for
//! a silent watch, and forever for a list.
//!
//! Requests of checks have shorter deadlines of their own ([`KUBERNETES_DEADLINE`](crate::cluster::failure::KUBERNETES_DEADLINE)),
//! and so does [leader election](crate::cluster::leader_election).

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::{Body, Bytes, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tower_layer::Layer;
use tower_service::Service;

/// The error type of kube's client layers.
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The deadlines, and the layer that enforces them, for [`kube::client::ClientBuilder::with_layer`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a request that is not a watch: until its response is complete, including the client's own retries.
    pub answer: Duration,
    /// For a watch: until its response begins.
    pub watch: Duration,
    /// For a watch: the longest silence.
    pub silence: Duration,
}

impl Default for Deadlines {
    /// - An API server itself aborts a request after 60 s (`--request-timeout`) and reports that.
    /// - The head of a watch's response is sent at once, or when the server's cache has reached the requested version, which may
    ///   take some seconds.
    /// - Without changes, a bookmark comes every 60 to 62 s. The silence is one and a half times that. It is also more than the
    ///   90 s for which the client keeps an idle connection, so if all connections were cut at once, the new watch uses a new
    ///   connection.
    fn default() -> Self {
        Self { answer: Duration::from_secs(65), watch: Duration::from_secs(15), silence: Duration::from_secs(95) }
    }
}

/// A response that did not come in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API server did not answer within {} s", .0.as_secs())]
pub struct DeadlineExceeded(Duration);

/// A client that enforces the deadlines.
#[derive(Debug, Clone)]
pub struct DeadlineService<S> {
    inner: S,
    deadlines: Deadlines,
}

impl<S> Layer<S> for Deadlines {
    type Service = DeadlineService<S>;

    fn layer(&self, inner: S) -> DeadlineService<S> {
        DeadlineService { inner, deadlines: *self }
    }
}

/// Whether a request opens a watch.
pub(super) fn is_watch<B>(request: &Request<B>) -> bool {
    let query = request.uri().query().unwrap_or_default();
    query.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
}

impl<S, A, B> Service<Request<A>> for DeadlineService<S>
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
            let answer =
                tokio::time::timeout_at(until, request).await.map_err(|_| DeadlineExceeded(head))?.map_err(Into::into)?;
            let (bound, until) =
                if is_watch { (Bound::Silence(silence), Instant::now() + silence) } else { (Bound::Whole(head), until) };
            Ok(answer.map(|body| Answer { body: Some(body), bound, timer: Box::pin(tokio::time::sleep_until(until)) }))
        })
    }
}

#[derive(Debug, Clone, Copy)]
enum Bound {
    /// For the whole response.
    Whole(Duration),
    /// From one frame to the next.
    Silence(Duration),
}

/// A response body with a deadline.
#[derive(Debug)]
pub struct Answer<B> {
    /// `None` after the end.
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
        // A frame that has arrived counts, even if it is taken late.
        if let Poll::Ready(frame) = Pin::new(body).poll_frame(context) {
            if let Bound::Silence(silence) = this.bound {
                this.timer.as_mut().reset(Instant::now() + silence);
            }
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        ready!(this.timer.as_mut().poll(context));
        // Dropping the body of a watch also closes its connection, which is of no more use.
        this.body = None;
        Poll::Ready(match this.bound {
            Bound::Whole(bound) => Some(Err(DeadlineExceeded(bound).into())),
            Bound::Silence(bound) => {
                tracing::debug!(seconds = bound.as_secs(), "a watch is silent and restarts");
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
