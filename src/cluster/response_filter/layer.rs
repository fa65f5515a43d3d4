//! The filter as a layer of the Kubernetes client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, Request, Response};
use hyper::body::{Body, Bytes, Frame};
use tower_layer::Layer;
use tower_service::Service;
use zeroize::Zeroizing;

use crate::cluster::response_filter::JsonFilter;
use crate::cluster::response_filter::projection::Projection;

/// A response body of which only a part is kept.
pub struct FilteredBody<B> {
    pub(super) body: B,
    /// `None` if everything is kept.
    pub(super) filter: Option<JsonFilter>,
}

impl<B> FilteredBody<B> {
    /// Filters the body of one response.
    pub fn new(body: B, projection: Projection) -> Self {
        Self { body, filter: Some(JsonFilter::new(projection)) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for FilteredBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        loop {
            let Some(frame) = ready!(Pin::new(&mut this.body).poll_frame(context)).transpose()? else {
                return Poll::Ready(None);
            };
            let Some(filter) = &mut this.filter else { return Poll::Ready(Some(Ok(frame))) };
            match frame.into_data() {
                Ok(data) => match filter.filter(&data) {
                    kept if kept.is_empty() => {}
                    kept => {
                        return Poll::Ready(Some(Ok(Frame::data(match filter.projection {
                            Projection::Objects => Bytes::from(kept),
                            // The values may hold a credential.
                            Projection::Values(_) => Bytes::from_owner(Zeroizing::new(kept)),
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

/// The layer, for [`kube::client::ClientBuilder::with_layer`]. It filters all responses with connections, and lists of Secrets. It
/// also drops the bookmark annotation that ends an initial list. So a watch that streams its first list (`sendInitialEvents`) would
/// never see the end of it; the operator's watches list by pages.
#[derive(Debug, Clone, Copy, Default)]
pub struct FilterResponses;

/// A client whose responses are filtered.
#[derive(Debug, Clone)]
pub struct FilteredService<S>(S);

impl<S> Layer<S> for FilterResponses {
    type Service = FilteredService<S>;

    fn layer(&self, inner: S) -> FilteredService<S> {
        FilteredService(inner)
    }
}

/// Whether the response to this request may be filtered. The response to a created Secret is not, because all of it is needed.
pub(super) fn is_filtered(method: &Method, path: &str) -> bool {
    (method == Method::GET && path.ends_with("/secrets")) || path.split('/').any(|part| part == "ukgproconnections")
}

impl<S, A, B> Service<Request<A>> for FilteredService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Unpin,
{
    type Response = Response<FilteredBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let is_filtered = is_filtered(request.method(), request.uri().path());
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let filter = (is_filtered && answer.status().is_success()).then(|| JsonFilter::new(Projection::Objects));
            Ok(answer.map(|body| FilteredBody { body, filter }))
        })
    }
}
