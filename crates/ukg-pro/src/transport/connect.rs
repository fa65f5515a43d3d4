//! Makes one connection: name, address, TCP, tunnel, TLS. Each stage has its own outcome.
//!
//! The error type stays the same all the way up, so no stage is guessed from a text or from an error's place in a chain.
//!
//! **Invariants.** No address of a connection's host is dialled unless the policy allows it, literals included: every address
//! comes from [`PolicyResolver`]. `localhost` names are left to the allowed domains. The proxy is the administrator's choice and
//! exempt. It resolves the names of the hosts behind it itself, so with a proxy the policy covers only hosts written as
//! addresses; the proxy's own rules cover the rest. TLS with a verified certificate is used whatever the URL's scheme.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use http::header::USER_AGENT;
use http::uri::Scheme;
use http::{HeaderMap, HeaderValue, Uri};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Intercept;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::tls::{handshake, handshake_failure, refusal};
use super::{AGENT, ProxySettings, Unanswered};
use crate::dns::{NameError, PolicyResolver};

/// The time for DNS, TCP, proxy and TLS together. Below the shortest `spec.timeout` (10 s), so that the slow stage is known
/// before a login's deadline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// How long an address may delay the next, so that a broken IPv6 route costs no more than this (RFC 8305 says 250 ms).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses tried for a name. Eight can be tried well within the deadline.
const ADDRESSES_MAX: usize = 8;

/// A connection to the first hop: the host itself, or a proxy (possibly over TLS).
type Hop = MaybeHttpsStream<TokioIo<TcpStream>>;
/// A TLS connection to the host.
pub(super) type Stream = MaybeHttpsStream<Hop>;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Connector {
    resolver: PolicyResolver,
    proxy: ProxySettings,
    tls: TlsConnector,
    /// Without ALPN: `CONNECT` is written as HTTP/1.1.
    tls_to_proxy: TlsConnector,
}

impl Connector {
    /// Makes a connector. `tls` offers no ALPN protocols yet.
    pub(super) fn new(resolver: PolicyResolver, proxy: ProxySettings, tls: ClientConfig) -> Self {
        let tls_to_proxy = TlsConnector::from(Arc::new(tls.clone()));
        let mut tls = tls;
        tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self { resolver, proxy, tls: TlsConnector::from(Arc::new(tls)), tls_to_proxy }
    }

    async fn connect(self, target: Uri) -> Result<Stream, Unanswered> {
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let host = target.host().ok_or(Unanswered::HostNotFound)?;
        self.resolver.check_literal(host)?;
        let name = server_name(host).ok_or(Unanswered::HostNotFound)?;
        let hop = match self.proxy.of(&target) {
            None => timeout_at(deadline, self.dial(host, target.port_u16().unwrap_or(443)))
                .await
                .unwrap_or(Err(Unanswered::ConnectTimeout))?,
            Some(proxy) => {
                let tunnel = timeout_at(deadline, self.tunnel(&proxy, &target));
                tunnel.await.ok().flatten().ok_or(Unanswered::ProxyFailed)?
            }
        };
        // Mostly a firewall swallows the handshake, and the remedy is the same as for no connection.
        let ended = timeout_at(deadline, handshake(&self.tls, name, TokioIo::new(hop))).await;
        let (mut stream, may_refuse) =
            ended.map_err(|_| Unanswered::ConnectTimeout)?.map_err(|error| handshake_failure(&error))?;
        // After the deadline of the handshake, which has succeeded.
        if may_refuse {
            refusal(&mut stream).await.map_err(|error| handshake_failure(&error))?;
        }
        Ok(MaybeHttpsStream::Https(TokioIo::new(stream)))
    }

    async fn dial(&self, host: &str, port: u16) -> Result<Hop, Unanswered> {
        let addresses = self.resolver.addresses(host, port).await?;
        match dial(addresses).await {
            Ok(tcp) => Ok(MaybeHttpsStream::Http(TokioIo::new(tcp))),
            // The system's own timeout, if it is shorter than ours.
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Unanswered::ConnectTimeout),
            Err(_) => Err(Unanswered::ConnectRefused),
        }
    }

    /// Opens a tunnel to the target. Every failure up to its end is the proxy's.
    async fn tunnel(&self, proxy: &Intercept, target: &Uri) -> Option<Hop> {
        let host = proxy.uri().host()?;
        let by_tls = proxy.uri().scheme() == Some(&Scheme::HTTPS);
        let port = proxy.uri().port_u16().unwrap_or(if by_tls { 443 } else { 80 });
        let addresses = PolicyResolver { allow_private: true }.addresses_with_search_domains(host, port).await.ok()?;
        let tcp = TokioIo::new(dial(addresses).await.ok()?);
        let hop = if by_tls {
            let stream = self.tls_to_proxy.connect(server_name(host)?, TokioIo::new(tcp)).await.ok()?;
            MaybeHttpsStream::Https(TokioIo::new(stream))
        } else {
            MaybeHttpsStream::Http(tcp)
        };
        let headers = HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(AGENT))]);
        let mut tunnel = Tunnel::new(proxy.uri().clone(), Ready(Some(hop))).with_headers(headers);
        if let Some(authorization) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(authorization.clone());
        }
        tunnel.call(target.clone()).await.ok()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Unanswered;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Unanswered>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unanswered>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        Box::pin(self.clone().connect(target))
    }
}

/// An open connection, in the form that [`Tunnel`] takes.
struct Ready(Option<Hop>);

impl Service<Uri> for Ready {
    type Response = Hop;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<Hop>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or_else(|| io::ErrorKind::NotConnected.into()))
    }
}

impl From<NameError> for Unanswered {
    fn from(error: NameError) -> Self {
        match error {
            NameError::NotFound => Self::HostNotFound,
            NameError::NotAllowed => Self::AddressNotAllowed,
        }
    }
}

/// Returns the name that a certificate must be for. In a URL an IPv6 address is in brackets.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(bare.to_owned()).ok()
}

/// Alternates the address families, each in the system resolver's order (RFC 8305, 4), so that many dead addresses of one family
/// do not hide the other.
fn interleaved(addresses: Vec<SocketAddr>) -> impl ExactSizeIterator<Item = SocketAddr> {
    let first_is_v6 = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(first.len() + other.len());
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    while first.len() + other.len() > 0 {
        turns.extend(first.next());
        turns.extend(other.next());
    }
    turns.into_iter().take(ADDRESSES_MAX)
}

/// Connects to the first address that accepts. Each has a head start over the next.
async fn dial(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = interleaved(addresses);
    let mut attempts = FuturesUnordered::new();
    let mut failure = io::ErrorKind::AddrNotAvailable.into();
    loop {
        attempts.extend(waiting.next().map(TcpStream::connect));
        let next = if waiting.len() == 0 { Ok(attempts.next().await) } else { timeout(ATTEMPT_DELAY, attempts.next()).await };
        match next {
            Ok(Some(Ok(stream))) => {
                // A request is written in two parts. The second must not wait until the first is acknowledged.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Ok(Some(Err(error))) => failure = error,
            Ok(None) => return Err(failure),
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_dead_addresses_of_one_family_hide_none_of_the_other() {
        let v6 = |n: u16| SocketAddr::from(([0x2001, 0, 0, 0, 0, 0, 0, n], 443));
        let v4 = |n: u8| SocketAddr::from(([8, 8, 8, n], 443));
        let found: Vec<_> = interleaved((1..=8).map(v6).chain([v4(1)]).collect()).collect();
        assert_eq!(found[..3], [v6(1), v4(1), v6(2)]);
        assert_eq!(found.len(), ADDRESSES_MAX);
        assert_eq!(interleaved(vec![v4(1), v4(2), v6(1)]).collect::<Vec<_>>(), [v4(1), v6(1), v4(2)]);
        assert_eq!(interleaved(Vec::new()).len(), 0);
    }
}
