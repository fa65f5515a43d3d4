//! Observes the traffic of Kubernetes watches for the [`Watchdog`]. A layer of the Kubernetes client.
//!
//! **Contract.** It changes no request and no response, and observes only requests that list or watch what is [`Watched`]. Bytes
//! count when the watch takes them, so a watch that is no longer polled falls silent too.
//!
//! kube's `watcher` does not show enough: it yields object events and failures, but no bookmarks (about one a minute from an API
//! server), no end of a watch after its own 290 s or 95 s of silence, and no response to the next one.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response};
use http_body_util::BodyExt;
use http_body_util::combinators::MapFrame;
use hyper::body::{Body, Bytes, Frame};
use k8s_openapi::api::core::v1::Secret;
use kube::Resource;
use tower_layer::Layer;
use tower_service::Service;

use super::{Watchdog, Watched};
use crate::api::UkgProConnection;

/// The layer, for [`kube::client::ClientBuilder::with_layer`].
#[derive(Debug, Clone)]
pub struct WatchTraffic {
    watchdog: Arc<Watchdog>,
    collections: Arc<[(Watched, String)]>,
}

/// A client whose watch traffic is observed.
#[derive(Debug, Clone)]
pub struct ObservedClient<S> {
    inner: S,
    listen: WatchTraffic,
}

impl WatchTraffic {
    /// Makes a layer that reports to this watchdog.
    pub fn new(watchdog: Arc<Watchdog>) -> Self {
        let collections = Watched::ALL.map(|watched| (watched, watched.collection()));
        Self { watchdog, collections: Arc::new(collections) }
    }

    /// Returns what a request lists or watches, and in which namespace.
    fn watched<'r, B>(&self, request: &'r Request<B>) -> Option<(Watched, Option<&'r str>)> {
        if request.method() != Method::GET {
            return None;
        }
        let path = request.uri().path();
        let (namespace, of_all) =
            of_all_namespaces(path).map_or((None, path.to_owned()), |(name, of_all)| (Some(name), of_all));
        let found = self.collections.iter().find(|(_, collection)| *collection == of_all);
        found.map(|(watched, _)| (*watched, namespace))
    }
}

impl Watched {
    /// Returns the path of all objects of its kind.
    fn collection(self) -> String {
        match self {
            Watched::Connections => UkgProConnection::url_path(&(), None),
            Watched::Secrets => Secret::url_path(&(), None),
        }
    }
}

/// Returns the namespace in a path, and the path without it.
fn of_all_namespaces(path: &str) -> Option<(&str, String)> {
    let (version, rest) = path.split_once("/namespaces/")?;
    let (namespace, rest) = rest.split_once('/')?;
    Some((namespace, format!("{version}/{rest}")))
}

impl<S> Layer<S> for WatchTraffic {
    type Service = ObservedClient<S>;

    fn layer(&self, inner: S) -> ObservedClient<S> {
        ObservedClient { inner, listen: self.clone() }
    }
}

/// Notes a frame of a response body.
type Note = Box<dyn FnMut(Frame<Bytes>) -> Frame<Bytes> + Send>;

impl<S, A, B> Service<Request<A>> for ObservedClient<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes>,
{
    type Response = Response<MapFrame<B, Note>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let watchdog = self.listen.watchdog.clone();
        let watch = self.listen.watched(&request).map(|(watched, namespace)| watchdog.watch(watched, namespace));
        if let Some(watch) = &watch {
            watchdog.asked(watch);
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            let note: Note = match watch.filter(|_| answer.status().is_success()) {
                Some(watch) => {
                    watchdog.received(&watch);
                    Box::new(move |frame| {
                        watchdog.received(&watch);
                        frame
                    })
                }
                None => Box::new(|frame| frame),
            };
            Ok(answer.map(|body| body.map_frame(note)))
        })
    }
}

#[cfg(test)]
mod tests;
