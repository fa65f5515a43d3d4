//! Real servers on loopback: an authority with its certificates, hosts that answer as they are told, and a proxy.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A login that worked, as LoginService answers.
pub const LOGIN_OK: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><TokenResponse xmlns="http://www.ultipro.com/contracts"><Status xmlns="http://www.ultipro.com/services/loginservice">Ok</Status><Token xmlns="http://www.ultipro.com/services/loginservice">6f1b2a3c-0000-4000-8000-000000000001</Token></TokenResponse></s:Body></s:Envelope>"#;

/// What servers name as the protocols they speak.
pub const H1: &[&[u8]] = &[b"http/1.1"];
pub const H2: &[&[u8]] = &[b"h2"];

pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub certificate: CertificateDer<'static>,
    pub pem: String,
}

impl Authority {
    pub fn new() -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        // Each has a name of its own, as authorities have.
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Self::named(&format!("Authority {number} of these tests"))
    }

    pub fn named(name: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(parameters, key), certificate: der, pem }
    }

    /// A server's configuration with a certificate for this name.
    pub fn config(&self, name: &str, protocols: &[&[u8]]) -> Arc<ServerConfig> {
        self.config_with(name, protocols, |_| {})
    }

    pub fn config_with(
        &self,
        name: &str,
        protocols: &[&[u8]],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let mut parameters = CertificateParams::new([name.to_owned()]).unwrap();
        change(&mut parameters);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key, protocols, rustls::ALL_VERSIONS)
    }

    /// One that may vouch for names of this domain only.
    pub fn constrained(domain: &str) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "An authority of few names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let permitted_subtrees = vec![rcgen::GeneralSubtree::DnsName(domain.to_owned())];
        parameters.name_constraints = Some(rcgen::NameConstraints { permitted_subtrees, excluded_subtrees: Vec::new() });
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(parameters, key), certificate: der, pem }
    }

    /// An authority below this one.
    pub fn intermediate(&self) -> Self {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, "An authority below");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let (der, pem) = (certificate.der().clone(), certificate.pem());
        Self { issuer: Issuer::new(parameters, key), certificate: der, pem }
    }

    /// The same with this authority's own certificate sent along.
    pub fn config_with_chain(&self, name: &str) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        config_of_chain(vec![certificate.der().clone(), self.certificate.clone()], &key, H1, rustls::ALL_VERSIONS)
    }

    /// A server that asks its clients for a certificate, which they must have or only may.
    pub fn config_for_known_clients(
        &self,
        name: &str,
        is_must: bool,
        protocols: &[&[u8]],
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ServerConfig> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let clients = if is_must { clients } else { clients.allow_unauthenticated() };
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    pub fn config_of_version(&self, name: &str, version: &'static rustls::SupportedProtocolVersion) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &self.issuer).unwrap();
        config(certificate.der().clone(), &key, H1, &[version])
    }
}

/// A server's configuration with a certificate that vouches for itself.
pub fn self_signed(name: &str) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([name.to_owned()]).unwrap().self_signed(&key).unwrap();
    config(certificate.der().clone(), &key, H1, rustls::ALL_VERSIONS)
}

fn config(
    certificate: CertificateDer<'static>,
    key: &KeyPair,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    config_of_chain(vec![certificate], key, protocols, versions)
}

fn config_of_chain(
    chain: Vec<CertificateDer<'static>>,
    key: &KeyPair,
    protocols: &[&[u8]],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// What a server saw.
#[derive(Clone, Default)]
pub struct Seen {
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<String>>>,
    news: Arc<Notify>,
}

impl Seen {
    /// TCP connections, whatever became of them.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Whole requests: head and body.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    pub fn count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }

    /// Waits for the next connection or request that no one has waited for yet.
    pub async fn news(&self) {
        self.news.notified().await;
    }

    fn connection(&self) {
        self.connections.fetch_add(1, Ordering::SeqCst);
        self.news.notify_one();
    }

    pub fn request(&self, request: String) -> usize {
        let mut requests = self.requests.lock().unwrap();
        requests.push(request);
        self.news.notify_one();
        requests.len()
    }
}

/// A listening server; gone, with its connections' listener, when dropped.
pub struct Server {
    pub port: u16,
    pub seen: Seen,
    _task: AbortOnDropHandle<()>,
}

/// A server of bare TCP.
pub async fn tcp<F, Fut>(handler: F) -> Server
where
    F: Fn(TcpStream, Seen) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let for_task = seen.clone();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            for_task.connection();
            tokio::spawn(handler(stream, for_task.clone()));
        }
    });
    Server { port, seen, _task: AbortOnDropHandle::new(task) }
}

/// A port that refuses, and is no one else's as long as this is held: bound, but not listened on.
pub fn refusing() -> (u16, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

/// What is sent instead of, or as, an answer.
#[derive(Clone)]
pub enum Reply {
    /// These bytes, and the next request.
    Keep(Vec<u8>),
    /// These bytes, and the end of the connection.
    Close(Vec<u8>),
    /// These bytes, and then nothing.
    Hang(Vec<u8>),
    /// These bytes, and then one more each second, for ever.
    Dribble(Vec<u8>),
}

/// An answer of HTTP/1.1.
pub fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: application/soap+xml\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

pub fn ok() -> Vec<u8> {
    answer("200 OK", "", LOGIN_OK)
}

/// A host of HTTP/1.1 over TLS; the reply may depend on how many requests there were, from 1.
pub async fn http1(tls: Arc<ServerConfig>, reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    let reply = Arc::new(reply);
    tcp(move |stream, seen| {
        let (tls, reply) = (TlsAcceptor::from(tls.clone()), reply.clone());
        async move {
            let Ok(mut stream) = tls.accept(stream).await else { return };
            while let Some(request) = read_request(&mut stream).await {
                let reply = reply(seen.request(request));
                let (Reply::Keep(bytes) | Reply::Close(bytes) | Reply::Hang(bytes) | Reply::Dribble(bytes)) = &reply;
                let _ = stream.write_all(bytes).await;
                let _ = stream.flush().await;
                match reply {
                    Reply::Keep(_) => {}
                    Reply::Close(_) => {
                        let _ = stream.shutdown().await;
                        return;
                    }
                    Reply::Hang(_) => std::future::pending().await,
                    Reply::Dribble(_) => loop {
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                        if stream.write_all(b" ").await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                    },
                }
            }
        }
    })
    .await
}

/// Head and, by its length, body; `None` at the end of the connection.
pub async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok().filter(|read| *read > 0)?;
        text.extend_from_slice(&chunk[..read]);
        let whole = String::from_utf8_lossy(&text);
        if let Some((head, body)) = whole.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap_or("0");
            if body.len() >= length.parse().unwrap() {
                return Some(whole.into_owned());
            }
        }
    }
}

/// What an HTTP/2 host does with a request it has read whole.
#[derive(Clone, Copy)]
pub enum Reply2 {
    Answer,
    /// The head and half a body, and then this reason.
    Half(h2::Reason),
    /// No answer but this reason.
    Reset(h2::Reason),
    /// Says that it goes, with no error and no request taken, and goes.
    GoAway,
    /// The connection breaks.
    Break,
    Hang,
}

/// A host of HTTP/2 over TLS.
pub async fn http2(tls: Arc<ServerConfig>, reply: impl Fn(usize) -> Reply2 + Send + Sync + 'static) -> Server {
    let reply = Arc::new(reply);
    tcp(move |stream, seen| {
        let (tls, reply) = (TlsAcceptor::from(tls.clone()), reply.clone());
        async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let Ok(mut connection) = h2::server::handshake(stream).await else { return };
            let broken = Arc::new(Notify::new());
            loop {
                let accepted = tokio::select! {
                    accepted = connection.accept() => accepted,
                    () = broken.notified() => return,
                };
                let Some(Ok((request, mut respond))) = accepted else { return };
                let (seen, broken, reply) = (seen.clone(), broken.clone(), reply.clone());
                if matches!(reply(seen.count() + 1), Reply2::GoAway) {
                    seen.request(request.uri().to_string());
                    connection.abrupt_shutdown(h2::Reason::NO_ERROR);
                    continue;
                }
                // The connection has to be driven while a request's body is read.
                tokio::spawn(async move {
                    let (head, mut body) = request.into_parts();
                    let mut text = format!("{:?} {}\n", head.version, head.uri);
                    while let Some(Ok(data)) = body.data().await {
                        let _ = body.flow_control().release_capacity(data.len());
                        text.push_str(&String::from_utf8_lossy(&data));
                    }
                    let response = http::Response::builder().header("content-type", "application/soap+xml").body(()).unwrap();
                    let (first, second) = LOGIN_OK.split_at(LOGIN_OK.len() / 2);
                    match reply(seen.request(text)) {
                        Reply2::Answer => {
                            let mut send = respond.send_response(response, false).unwrap();
                            send.send_data(Bytes::from_static(first.as_bytes()), false).unwrap();
                            send.send_data(Bytes::from_static(second.as_bytes()), true).unwrap();
                        }
                        Reply2::Half(reason) => {
                            let mut send = respond.send_response(response, false).unwrap();
                            send.send_data(Bytes::from_static(first.as_bytes()), false).unwrap();
                            send.send_reset(reason);
                        }
                        Reply2::Reset(reason) => respond.send_reset(reason),
                        Reply2::Break => broken.notify_one(),
                        Reply2::Hang => {
                            let _respond = respond;
                            std::future::pending::<()>().await;
                        }
                        Reply2::GoAway => unreachable!("done above"),
                    }
                });
            }
        }
    })
    .await
}

/// What a proxy does with a client.
#[derive(Clone)]
pub enum Way {
    /// A tunnel to this port of loopback, whatever host was asked for: a proxy resolves names by its own lights. `Some`: only
    /// with this `Proxy-Authorization`.
    Tunnel(u16, Option<&'static str>),
    /// These bytes, and the end.
    Say(&'static str),
    /// Nothing at all.
    Silence,
}

/// A proxy; by TLS with a configuration.
pub async fn proxy(tls: Option<Arc<ServerConfig>>, way: Way) -> Server {
    tcp(move |stream, seen| {
        let (tls, way) = (tls.clone().map(TlsAcceptor::from), way.clone());
        async move {
            match tls {
                None => serve_proxy(stream, way, &seen).await,
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        assert!(stream.get_ref().1.alpn_protocol().is_none(), "CONNECT is written as HTTP/1.1");
                        serve_proxy(stream, way, &seen).await;
                    }
                }
            }
        }
    })
    .await
}

async fn serve_proxy(mut client: impl AsyncRead + AsyncWrite + Unpin, way: Way, seen: &Seen) {
    let Some(request) = read_request(&mut client).await else { return };
    let authorization = request.lines().find_map(|line| line.strip_prefix("proxy-authorization: ")).map(str::to_owned);
    let is_connect = request.starts_with("CONNECT ");
    seen.request(request);
    match way {
        Way::Silence => std::future::pending().await,
        Way::Say(bytes) => {
            let _ = client.write_all(bytes.as_bytes()).await;
            let _ = client.shutdown().await;
        }
        Way::Tunnel(_, Some(wanted)) if authorization.as_deref() != Some(wanted) => {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n";
            let _ = client.write_all(refusal.as_bytes()).await;
            let _ = client.shutdown().await;
        }
        Way::Tunnel(port, _) => {
            assert!(is_connect, "an https URL goes through a tunnel");
            let mut host = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
            let _ = client.flush().await;
            let _ = tokio::io::copy_bidirectional(&mut client, &mut host).await;
        }
    }
}
