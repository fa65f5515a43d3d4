use std::convert::Infallible;
use std::time::Duration;

use futures::StreamExt;
use futures::channel::mpsc;
use http_body_util::StreamBody;
use kube::client::Body as KubeBody;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client};

use super::super::tests::by_hand;
use super::*;

#[test]
fn only_lists_and_watches_of_what_is_watched_are_listened_to() {
    let listen = WatchTraffic::new(by_hand().0);
    for (method, uri, expected) in [
        ("GET", "/apis/ukgpro.dev/v1alpha1/ukgproconnections?limit=500", Some(Watched::Connections)),
        ("GET", "/apis/ukgpro.dev/v1alpha1/ukgproconnections?watch=true&resourceVersion=7", Some(Watched::Connections)),
        ("GET", "/apis/ukgpro.dev/v1alpha1/namespaces/hr/ukgproconnections?watch=true", Some(Watched::Connections)),
        ("GET", "/api/v1/secrets", Some(Watched::Secrets)),
        ("GET", "/api/v1/namespaces/hr/secrets?watch=true", Some(Watched::Secrets)),
        ("GET", "/api/v1/namespaces/secrets/secrets", Some(Watched::Secrets)),
        ("GET", "/api/v1/namespaces/hr/secrets/acme", None),
        ("GET", "/api/v1/namespaces/hr/secrets/secrets", None),
        ("GET", "/api/v1/namespaces/secrets", None),
        ("GET", "/api/v1/namespaces/hr/configmaps/secrets", None),
        ("GET", "/apis/other.dev/v1/namespaces/hr/secrets", None),
        ("GET", "/other/api/v1/secrets", None),
        ("POST", "/api/v1/namespaces/hr/secrets", None),
        ("PATCH", "/apis/ukgpro.dev/v1alpha1/namespaces/hr/ukgproconnections/acme/status", None),
    ] {
        let request = Request::builder().method(method).uri(uri).body(()).expect("good");
        let namespace =
            uri.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/')).map(|(namespace, _)| namespace);
        assert_eq!(listen.watched(&request), expected.map(|watched| (watched, namespace)), "{method} {uri}");
    }
}

/// The response to a watch: the text from a channel, or a status.
type Watch = Result<mpsc::UnboundedReceiver<String>, u16>;

/// An API server without Secrets, and its responses to watches, the last first.
struct Server(Vec<Watch>);

type Frames = Result<Frame<Bytes>, Infallible>;

impl Service<Request<KubeBody>> for Server {
    type Response = Response<StreamBody<futures::stream::BoxStream<'static, Frames>>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<KubeBody>) -> Self::Future {
        let frame = |text: String| Ok(Frame::data(Bytes::from(text)));
        let list = r#"{"apiVersion": "v1", "kind": "SecretList", "metadata": {"resourceVersion": "7"}, "items": []}"#;
        let answer = if request.uri().query().is_some_and(|query| query.contains("watch=true")) {
            self.0.pop().expect("another watch")
        } else {
            let (answer, frames) = mpsc::unbounded();
            answer.unbounded_send(list.to_owned()).expect("open");
            Ok(frames)
        };
        let (status, body) = match answer {
            Ok(frames) => (200, frames.map(frame).boxed()),
            Err(status) => (status, futures::stream::empty().boxed()),
        };
        std::future::ready(Ok(Response::builder().status(status).body(StreamBody::new(body)).expect("good")))
    }
}

const BOOKMARK: &str = r#"{"type":"BOOKMARK","object":{"kind":"Secret","apiVersion":"v1","metadata":{"resourceVersion":"8"}}}"#;

#[tokio::test]
async fn a_bookmark_is_heard_that_the_watcher_keeps_to_itself() {
    let (watchdog, pass) = by_hand();
    let (first, frames) = mpsc::unbounded();
    let (second, more_frames) = mpsc::unbounded();
    let server = Server(vec![Ok(more_frames), Err(503), Ok(frames)]);
    let client = Client::new(WatchTraffic::new(watchdog.clone()).layer(server), "default");
    let mut events = std::pin::pin!(watcher::watcher(Api::<Secret>::all(client), watcher::Config::default()));
    let age = || watchdog.silences(watchdog.now()).first().map(|(_, _, age)| age.as_secs());
    assert!(matches!(events.next().await, Some(Ok(Event::Init))));
    assert_eq!(age(), None, "nothing was asked yet");
    assert!(matches!(events.next().await, Some(Ok(Event::InitDone))));
    assert_eq!(age(), Some(0));

    pass(60);
    assert!(futures::poll!(events.next()).is_pending());
    until(|| age() == Some(0), &mut events).await;
    pass(60);
    assert_eq!(age(), Some(60), "silence");
    first.unbounded_send(format!("{BOOKMARK}\n")).expect("open");
    until(|| age() == Some(0), &mut events).await;

    // The watch ends, as it does after 290 s, and the next one is refused: nothing is heard, but something was asked.
    pass(290);
    drop(first);
    assert!(matches!(events.next().await, Some(Err(watcher::Error::WatchStartFailed(_)))));
    assert_eq!(age(), Some(290));
    assert_eq!(watchdog.ages(watchdog.now()).watches[1], Some(Duration::ZERO));
    // The watch after that is answered.
    until(|| age() == Some(0), &mut events).await;
    drop(second);
}

/// Polls a watch that has nothing to yield until a condition holds.
async fn until<S: futures::Stream + Unpin>(mut is_so: impl FnMut() -> bool, events: &mut S)
where
    S::Item: std::fmt::Debug,
{
    let so = std::future::poll_fn(|context| {
        if let Poll::Ready(event) = events.poll_next_unpin(context) {
            panic!("the watcher yielded {event:?}");
        }
        context.waker().wake_by_ref();
        if is_so() { Poll::Ready(()) } else { Poll::Pending }
    });
    tokio::time::timeout(Duration::from_secs(10), so).await.expect("in time");
}
