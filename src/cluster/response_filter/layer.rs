//! The filter as a layer of the Kubernetes client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response};
use hyper::body::{Body, Bytes, Frame};
use tower_layer::Layer;
use tower_service::Service;
use zeroize::Zeroizing;

use crate::cluster::response_filter::Sieve;
use crate::cluster::response_filter::keep::Keep;

/// An answer of which only some is kept.
pub struct Sifted<B> {
    pub(super) body: B,
    /// `None` where all is.
    pub(super) sieve: Option<Sieve>,
}

impl<B> Sifted<B> {
    /// Of this answer, what is to be kept.
    pub fn new(body: B, keep: Keep) -> Self {
        Self { body, sieve: Some(Sieve::new(keep)) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Sifted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)).transpose()? else {
                return Poll::Ready(None);
            };
            let Some(sieve) = &mut this.sieve else { return Poll::Ready(Some(Ok(frame))) };
            match frame.into_data() {
                Ok(data) => match sieve.sift(&data) {
                    kept if kept.is_empty() => {}
                    kept => {
                        return Poll::Ready(Some(Ok(Frame::data(match sieve.keep {
                            Keep::Objects => Bytes::from(kept),
                            // It may hold a credential.
                            Keep::Values(_) => Bytes::from_owner(Zeroizing::new(kept)),
                        }))));
                    }
                },
                Err(other) => return Poll::Ready(Some(Ok(other))),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

/// The layer, for [`kube::client::ClientBuilder::with_layer`]: connections, in whichever answer, and lists of Secrets without what
/// nobody reads. Of a watch's bookmarks the annotation that ends an initial list goes too, so a watch that streams its first list
/// (`sendInitialEvents`) would never know of its end; ours list by pages.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sift;

/// A client whose answers are sifted.
#[derive(Debug, Clone)]
pub struct Sifting<S>(S);

impl<S> Layer<S> for Sift {
    type Service = Sifting<S>;

    fn layer(&self, inner: S) -> Sifting<S> {
        Sifting(inner)
    }
}

/// Whether what answers this request may be sifted. A Secret that is made is answered with what it has become, and all of that counts.
pub(super) fn is_sifted(method: &Method, path: &str) -> bool {
    (method == Method::GET && path.ends_with("/secrets")) || path.split('/').any(|part| part == "ukgproconnections")
}

impl<S, A, B> Service<Request<A>> for Sifting<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<Sifted<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_sifted = is_sifted(request.method(), request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let sieve = (is_sifted && answer.status().is_success()).then(|| Sieve::new(Keep::Objects));
            Ok(answer.map(|body| Sifted { body, sieve }))
        })
    }
}
