//! A small HTTP/1 server whose resources cannot be exhausted.
//!
//! **Bounds.** One request per connection, so none is ever idle. A maximum of connections; one more closes the oldest. So a client
//! that holds connections open loses them to new requests; with a queue, it would win. A deadline for each connection, from its
//! first byte to its last, read or written. 8 KiB for a request's head; bodies are not read. GET and HEAD only.
//!
//! axum's `serve` has no deadline, no maximum of connections, and accepts HTTP/2 wherever the feature is on.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// A complete response.
pub(super) type Answer = Response<Full<Bytes>>;

/// The limits of one address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most connections at once.
    pub(super) connections: usize,
    /// The longest life of a connection.
    pub(super) deadline: Duration,
}

/// The least that hyper accepts; heads from Prometheus and the kubelet have a few hundred bytes.
const HEAD_MAX: usize = 8 * 1024;
/// The pause after a failed accept. The likely cause is a lack of file descriptors, which others must release first.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How long responses under way may take after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// Answers requests by their path until `stop`.
pub(super) async fn serve<A, F>(listener: TcpListener, limits: Limits, stop: CancellationToken, answer: A)
where
    A: Fn(&str, &HeaderMap) -> F + Clone + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let mut running = JoinSet::new();
    let mut oldest_first = VecDeque::<AbortHandle>::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = running.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(ACCEPT_RETRY).await;
            continue;
        };
        oldest_first.retain(|connection| !connection.is_finished());
        if oldest_first.len() >= limits.connections
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        oldest_first.push_back(running.spawn(connection(stream, limits.deadline, answer.clone())));
    }
    drop(listener);
    // Dropping the set cuts off the connections that take longer.
    let _ = timeout(GRACE, async { while running.join_next().await.is_some() {} }).await;
}

pub(super) async fn connection<A, F>(stream: TcpStream, deadline: Duration, answer: A)
where
    A: Fn(&str, &HeaderMap) -> F + Send + 'static,
    F: Future<Output = Answer> + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let answer =
            matches!(*request.method(), Method::GET | Method::HEAD).then(|| answer(request.uri().path(), request.headers()));
        async move {
            Ok::<_, Infallible>(match answer {
                Some(answer) => answer.await,
                None => not_allowed(),
            })
        }
    });
    let connection =
        http1::Builder::new().keep_alive(false).max_buf_size(HEAD_MAX).serve_connection(TokioIo::new(stream), service);
    // An error here only says how the other side ended the connection.
    let _ = timeout(deadline, connection).await;
}

/// Makes a response of this media type.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    answer
}

fn not_allowed() -> Answer {
    let mut answer = answer(StatusCode::METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", "GET and HEAD only\n");
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    answer
}
