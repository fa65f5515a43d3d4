use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use futures::channel::mpsc;
use http_body_util::StreamBody;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::client::Body as KubeBody;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use super::*;

/// A server that never answers, or begins a response and never ends it.
#[derive(Clone)]
enum Server {
    /// Answers nothing.
    Silent,
    /// Sends a head, then what the channel of the latest watch brings. Lists are complete and have no Secrets.
    Begins(Arc<AtomicUsize>, std::sync::mpsc::Sender<mpsc::UnboundedSender<String>>),
    /// Sends a head and half a list.
    Torn,
}

type Stream = futures::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

impl Service<Request<KubeBody>> for Server {
    type Response = Response<StreamBody<Stream>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<KubeBody>) -> Self::Future {
        let frame = |text: String| Ok(Frame::data(Bytes::from(text)));
        let list = r#"{"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": []}"#;
        let stream = match self {
            Server::Silent => return Box::pin(std::future::pending()),
            Server::Begins(watches, senders) if is_watch(&request) => {
                watches.fetch_add(1, Ordering::SeqCst);
                let (sender, frames) = mpsc::unbounded();
                senders.send(sender).expect("the test goes on");
                frames.map(frame).boxed()
            }
            Server::Begins(..) => futures::stream::iter([frame(list.to_owned())]).boxed(),
            Server::Torn => futures::stream::iter([frame(list[..20].to_owned())]).chain(futures::stream::pending()).boxed(),
        };
        Box::pin(std::future::ready(Ok(Response::new(StreamBody::new(stream)))))
    }
}

fn client(server: Server) -> Client {
    Client::new(Deadlines::default().layer(server), "default")
}

#[test]
fn a_watch_is_told_from_a_list_by_its_query() {
    for (uri, expected) in [
        ("/api/v1/secrets", false),
        ("/api/v1/secrets?limit=500", false),
        ("/api/v1/secrets?&watch=true&timeoutSeconds=290", true),
        ("/api/v1/secrets?timeoutSeconds=290&watch=1", true),
        ("/api/v1/secrets?labelSelector=watch%3Dtrue", false),
        ("/api/v1/namespaces/hr/secrets/watch", false),
    ] {
        assert_eq!(is_watch(&Request::builder().uri(uri).body(()).expect("good")), expected, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_never_answered_or_never_ends_is_an_error_in_time() {
    for server in [Server::Silent, Server::Torn] {
        let begun = Instant::now();
        let listed = Api::<Secret>::all(client(server)).list(&ListParams::default()).await;
        assert!(listed.is_err());
        assert_eq!(begun.elapsed().as_secs(), Deadlines::default().answer.as_secs());
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_never_answered_is_an_error_in_time() {
    let begun = Instant::now();
    let watched = Api::<Secret>::all(client(Server::Silent)).watch(&kube::api::WatchParams::default(), "0").await;
    assert!(watched.is_err());
    assert_eq!(begun.elapsed().as_secs(), Deadlines::default().watch.as_secs());
}

const BOOKMARK: &str = r#"{"type":"BOOKMARK","object":{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"8"}}}"#;
const ADDED: &str =
    r#"{"type":"ADDED","object":{"kind":"Secret","apiVersion":"v1","metadata":{"name":"x","resourceVersion":"9"}}}"#;

#[tokio::test(start_paused = true)]
async fn a_silent_watch_is_begun_anew_and_one_with_bookmarks_is_not() {
    let (watches, (senders, begun)) = (Arc::new(AtomicUsize::new(0)), std::sync::mpsc::channel());
    let server = Server::Begins(watches.clone(), senders);
    let mut events = std::pin::pin!(watcher::watcher(Api::<Secret>::all(client(server)), watcher::Config::default()));
    assert!(matches!(events.next().await, Some(Ok(Event::Init))));
    assert!(matches!(events.next().await, Some(Ok(Event::InitDone))));
    let mut first = None;
    // Four minutes with bookmarks are not silence.
    for _ in 0..4 {
        assert!(tokio::time::timeout(Duration::from_secs(61), events.next()).await.is_err(), "nothing is yielded");
        let sender = first.get_or_insert_with(|| begun.try_recv().expect("a watch"));
        sender.unbounded_send(format!("{BOOKMARK}\n")).expect("open");
    }
    assert_eq!(watches.load(Ordering::SeqCst), 1);
    // Then the connection is cut, without an end or an error. The consumer only sees what the next watch brings.
    let silent = Deadlines::default().silence + Duration::from_secs(1);
    assert!(tokio::time::timeout(silent, events.next()).await.is_err());
    assert_eq!(watches.load(Ordering::SeqCst), 2);
    let second = begun.try_recv().expect("another watch");
    second.unbounded_send(format!("{ADDED}\n")).expect("open");
    assert!(matches!(events.next().await, Some(Ok(Event::Apply(_)))));
}
