use std::sync::atomic::{AtomicUsize, Ordering};

use hyper_util::rt::TokioExecutor;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::*;

/// A certificate authority, and the TLS configuration of a server on 127.0.0.1 that it has signed.
fn authority() -> (Vec<u8>, Arc<ServerConfig>) {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let root = parameters.self_signed(&key).expect("signed").der().to_vec();
    let issuer = Issuer::new(parameters, key);
    let key = KeyPair::generate().expect("a key");
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name").signed_by(&key, &issuer).expect("signed");
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .expect("a certificate");
    (root, Arc::new(config))
}

/// An API server on loopback whose authority can be changed. It answers with the token that it received.
struct Server {
    url: String,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    _running: AbortOnDropHandle<()>,
}

impl Server {
    async fn start(config: Arc<ServerConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("bound"));
        let shown = Arc::new(Mutex::new(config));
        let configs = shown.clone();
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(configs.lock().expect("no panic").clone());
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]).to_ascii_lowercase();
                let token = request.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
                let status = if token == "bearer old" { "401 Unauthorized" } else { "200 OK" };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{token}", token.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        };
        Self { url, shown, _running: AbortOnDropHandle::new(tokio::spawn(serve)) }
    }

    fn config(&self, root: &[u8]) -> Config {
        let mut config = Config::new(self.url.parse().expect("a URL"));
        config.root_cert = Some(vec![root.to_vec()]);
        config
    }
}

/// Returns the status and body of a response.
async fn ask(access: &ApiServerClient) -> kube::Result<(u16, String)> {
    let client = Client::new(access.clone(), "default");
    let answer = client.send(Request::get("/version").body(Body::empty()).expect("good")).await?;
    let status = answer.status().as_u16();
    Ok((status, String::from_utf8(answer.into_body().collect_bytes().await?.to_vec()).expect("text")))
}

/// Makes the configuration due to be read again.
fn wait(access: &ApiServerClient) {
    let mut state = access.state();
    state.last_reload = state.last_reload.checked_sub(RELOAD_INTERVAL).expect("not so soon after the start");
}

#[tokio::test]
async fn after_a_rotation_of_the_api_servers_authority_the_one_that_is_named_now_is_trusted() {
    let (old, served) = authority();
    let (new, rotated) = authority();
    let server = Server::start(served).await;
    let later = server.config(&new);
    let access = ApiServerClient::by(server.config(&old), Role::Controller, move || {
        let later = later.clone();
        Box::pin(async move { Some(later) })
    });
    let access = access.expect("a client");
    assert_eq!(ask(&access).await.expect("trusted").0, 200);
    *server.shown.lock().expect("no panic") = rotated;
    let error = ask(&access).await.expect_err("not trusted yet");
    assert_eq!(
        kubernetes_failure(&error),
        "the API server's certificate is not from an authority that the operator's kubeconfig or ServiceAccount names"
    );
    ask(&access).await.expect_err("it was looked at a moment ago");
    wait(&access);
    ask(&access).await.expect_err("it is looked at for the next");
    assert_eq!(ask(&access).await.expect("trusted").0, 200);
}

#[tokio::test]
async fn an_api_server_that_is_away_has_the_configuration_looked_at_once_in_a_while() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    let config = Config::new(format!("http://{nobody}").parse().expect("a URL"));
    let looked = Arc::new(AtomicUsize::new(0));
    let (counted, later) = (looked.clone(), config.clone());
    let access = ApiServerClient::by(config, Role::Controller, move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let later = later.clone();
        Box::pin(async move { Some(later) })
    });
    let access = access.expect("a client");
    for round in 1..=3 {
        wait(&access);
        for _ in 0..20 {
            let error = ask(&access).await.expect_err("nobody is there");
            assert_eq!(kubernetes_failure(&error), "the API server refuses connections");
        }
        assert_eq!(looked.load(Ordering::SeqCst), round);
    }
}

#[tokio::test]
async fn a_token_in_a_file_may_end_in_a_line_and_a_refused_one_is_read_again() {
    let (root, served) = authority();
    let server = Server::start(served).await;
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("token");
    let mut config = server.config(&root);
    config.auth_info.token_file = Some(file.to_str().expect("text").to_owned());
    let later = config.clone();
    let make = move || {
        let later = later.clone();
        ApiServerClient::by(config.clone(), Role::Controller, move || {
            let later = later.clone();
            Box::pin(async move { Some(later) })
        })
    };
    for text in ["abc", "abc\n", "abc\r\n", " abc \n\n"] {
        std::fs::write(&file, text).expect("written");
        let access = make().expect("a client");
        assert_eq!(ask(&access).await.expect("answered"), (200, "bearer abc".to_owned()), "{text:?}");
    }
    std::fs::write(&file, "old\n").expect("written");
    let access = make().expect("a client");
    std::fs::write(&file, "new\n").expect("written");
    wait(&access);
    assert_eq!(ask(&access).await.expect("answered").0, 401);
    assert_eq!(ask(&access).await.expect("answered"), (200, "bearer new".to_owned()));
    // A token whose file is gone is used for as long as it is valid.
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(ask(&access).await.expect("answered").0, 200);
}

/// An API server that offers HTTP/2. It answers `/apis` when this many have asked, and nobody on its first connection if it hangs.
struct Http2Server {
    config: Config,
    opened: Arc<AtomicUsize>,
    /// Signals a request that gets no answer.
    unanswered: Arc<tokio::sync::Notify>,
    _running: AbortOnDropHandle<()>,
}

impl Http2Server {
    async fn start(together: usize, hangs: bool) -> Self {
        let (root, served) = authority();
        let mut served = Arc::unwrap_or_clone(served);
        served.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(served));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let mut config = Config::new(format!("https://{}", listener.local_addr().expect("bound")).parse().expect("a URL"));
        config.root_cert = Some(vec![root]);
        let opened = Arc::new(AtomicUsize::new(0));
        let all = Arc::new(tokio::sync::Barrier::new(together));
        let unanswered = Arc::new(tokio::sync::Notify::new());
        let (counted, hung) = (opened.clone(), unanswered.clone());
        let serve = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
                let stream = acceptor.accept(stream).await.expect("a handshake");
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let (all, hung) = (all.clone(), hung.clone());
                let answer = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
                    let (all, hung) = (all.clone(), hung.clone());
                    async move {
                        assert_eq!(is_http2, !is_watch(&request), "{}", request.uri());
                        if hangs && is_first {
                            hung.notify_one();
                            std::future::pending::<()>().await;
                        }
                        if request.uri().path() == "/apis" {
                            all.wait().await;
                        }
                        Ok::<_, std::convert::Infallible>(Response::new(http_body_util::Empty::<hyper::body::Bytes>::new()))
                    }
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                if is_http2 {
                    let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(server.serve_connection(stream, answer));
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, answer));
                }
            }
        };
        Self { config, opened, unanswered, _running: AbortOnDropHandle::new(tokio::spawn(serve)) }
    }

    fn access(&self) -> ApiServerClient {
        let later = self.config.clone();
        let source = move || -> BoxFuture<'static, Option<Config>> {
            let later = later.clone();
            Box::pin(async move { Some(later) })
        };
        ApiServerClient::by(self.config.clone(), Role::Controller, source).expect("a client")
    }
}

#[tokio::test]
async fn concurrent_requests_share_a_connection_and_a_watch_has_its_own() {
    const CONCURRENT: usize = 50;
    let server = Http2Server::start(CONCURRENT, false).await;
    let client = Client::new(server.access(), "default");
    let get = async |path: &str| client.send(Request::get(path).body(Body::empty()).expect("good")).await.expect("answered");
    get("/version").await;
    let requests = futures::future::join_all((0..CONCURRENT).map(|_| get("/apis")));
    tokio::time::timeout(Duration::from_secs(30), requests).await.expect("all at once");
    assert_eq!(server.opened.load(Ordering::SeqCst), 1);
    get("/api/v1/secrets?watch=true").await;
    assert_eq!(server.opened.load(Ordering::SeqCst), 2);
}

/// An API server may keep its connections and answer nothing. Another one behind the same address may be well.
#[tokio::test]
async fn a_connection_that_answers_nothing_is_replaced() {
    let server = Http2Server::start(1, true).await;
    let access = server.access();
    // One more than that: the configuration was read a moment ago.
    for _ in 0..=UNANSWERED_MAX {
        tokio::select! {
            answer = ask(&access) => panic!("{answer:?}"),
            () = server.unanswered.notified() => {}
        }
    }
    wait(&access);
    let answer = tokio::time::timeout(Duration::from_secs(30), ask(&access)).await.expect("an answer");
    assert_eq!(answer.expect("answered").0, 200);
    assert_eq!(server.opened.load(Ordering::SeqCst), 2);
}
