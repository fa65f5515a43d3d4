//! What is heard of Kubernetes' watches, noted in the [`Watchdog`]. A layer of the Kubernetes client.
//!
//! **Contract.** It changes nothing of a request or an answer, and looks at requests only where they list or watch what is
//! [`Watched`]. Bytes are noted when the watch takes them, so a watch that is not driven any more falls silent as well.
//!
//! kube's `watcher` cannot be asked instead: it yields events of objects and failures, but no bookmark (about one a minute from an
//! API server), not the end of a watch after 290 s of its own or 295 s of silence, nor that the next one was answered.

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
pub struct Listen {
    watchdog: Arc<Watchdog>,
    collections: Arc<[(Watched, String)]>,
}

/// A client that is listened to.
#[derive(Debug, Clone)]
pub struct Listened<S> {
    inner: S,
    listen: Listen,
}

impl Listen {
    /// A layer that tells this watchdog.
    pub fn new(watchdog: Arc<Watchdog>) -> Self {
        let collections = Watched::ALL.map(|watched| (watched, watched.collection()));
        Self { watchdog, collections: Arc::new(collections) }
    }

    /// What a request lists or watches.
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
    /// The path of all objects of its kind.
    fn collection(self) -> String {
        match self {
            Watched::Connections => UkgProConnection::url_path(&(), None),
            Watched::Secrets => Secret::url_path(&(), None),
        }
    }
}

/// The namespace a path is about, and the path without it.
fn of_all_namespaces(path: &str) -> Option<(&str, String)> {
    let (version, rest) = path.split_once("/namespaces/")?;
    let (namespace, rest) = rest.split_once('/')?;
    Some((namespace, format!("{version}/{rest}")))
}

impl<S> Layer<S> for Listen {
    type Service = Listened<S>;

    fn layer(&self, inner: S) -> Listened<S> {
        Listened { inner, listen: self.clone() }
    }
}

/// Notes a frame of an answer's body.
type Note = Box<dyn FnMut(Frame<Bytes>) -> Frame<Bytes> + Send>;

impl<S, A, B> Service<Request<A>> for Listened<S>
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
                    watchdog.beat(&watch);
                    Box::new(move |frame| {
                        watchdog.beat(&watch);
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
