//! How bytes get to a UKG Pro host and back, and at which stage they did not.
//!
//! HTTPS only, redirects never followed (they would carry credentials elsewhere), nothing is ever sent twice, answers are read up
//! to a bound, and every wait has a deadline. What went wrong is found where it went wrong, as one of a closed set; errors of the
//! crates below carry hosts and texts of the other side, so they end here.
//!
//! The HTTP client is hyper-util's rather than one of the comfortable ones above it: those hide whether a connection was there
//! when time ran out, keep their proxy errors to themselves, and repeat requests that a server took back.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use jiff::Timestamp;
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::dns::PolicyResolver;

mod bundle;
mod connect;
mod head;
mod proxy;
mod tls;
mod unanswered;

pub use bundle::{Blemish, Bundle, BundleFlaw, authorities};
use connect::Connector;
pub use head::{Head, OTHER, known};
pub use proxy::{ProxyFlaw, ProxySettings, ProxyVariableError};
use tls::Explaining;
pub use tls::{CAUSES, HandshakeFlaw, TrustFlaw};
pub use unanswered::{Oddity, Unanswered};

/// Who asks; a proxy is told as well.
const AGENT: &str = concat!("ukgpro-operator/", env!("CARGO_PKG_VERSION"));
/// An idle TLS connection costs about 25 KiB; the calls of one check follow each other within seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// The calls of one check follow each other, so one connection of those just used is enough.
const IDLE_PER_HOST: usize = 1;
/// A page of one, or an error, is a few KiB.
pub const BODY_MAX: usize = 128 << 10;
/// An answer that is larger than this takes one of [`LARGE_AT_ONCE`] places until it has been read, and is given up where there is none:
/// of a read that matches nobody, none should be.
pub const SMALL: usize = 16 << 10;
/// Large answers at once, of all hosts.
pub const LARGE_AT_ONCE: usize = 8;
/// Of status line and headers together; real ones have less than 2 KiB. HTTP/1.1 answers are read into a buffer of this size.
const HEAD_MAX: u32 = 32 << 10;
/// What an HTTP/2 host may send ahead of our reading: bounds memory per call, and holds any usual answer whole.
const WINDOW: u32 = 64 << 10;
/// A `Retry-After` beyond this is taken as this: no host may silence a connection for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// An answer, whole.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, in lower case; empty if absent.
    pub content_type: String,
    /// What `Retry-After` asks for, bounded; `None` if it is absent or cannot be read.
    pub retry_after: Option<Duration>,
    /// What a capture keeps of the other headers.
    pub head: Head,
    /// Why there is no body, where it was not read.
    pub unread: Option<Oddity>,
    /// The body: wiped on drop, since LoginService's holds a token.
    pub body: Zeroizing<Vec<u8>>,
    /// A large one's place, until it has been read.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// Whether it says it is a page for people.
    pub fn is_html(&self) -> bool {
        is_page(&self.content_type)
    }

    /// Whether what was read of it is enough: what a status says by itself it says of an answer that was not read, too.
    pub fn readable(&self) -> Result<(), Unanswered> {
        match self.unread {
            // Whatever else it holds, this status is a refusal.
            Some(_) if matches!(self.status, 401 | 403) => Ok(()),
            Some(Oddity::TooLarge) if !self.is_html() => Err(Unanswered::Unreadable(Oddity::TooLarge)),
            Some(_) if self.is_html() => Err(Unanswered::from_status(self).unwrap_or(Unanswered::NotUkgPro)),
            Some(oddity) => Err(Unanswered::from_status(self).unwrap_or(Unanswered::Unreadable(oddity))),
            None => Ok(()),
        }
    }

    /// An answer with no headers but this.
    pub fn new(status: u16, content_type: &str, body: &[u8]) -> Self {
        Self {
            status,
            content_type: content_type.to_ascii_lowercase(),
            retry_after: None,
            head: Head::default(),
            unread: None,
            body: Zeroizing::new(body.to_vec()),
            _place: None,
        }
    }
}

/// What `Retry-After` asks for: seconds, or a date, which is measured by the clock of this machine. A date that has passed asks for nothing.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let seconds = value.trim().parse().map(Duration::from_secs).ok();
    let asked = seconds.or_else(|| Some(Duration::try_from(http_date(value)?.duration_since(now)).unwrap_or_default()))?;
    Some(asked.min(RETRY_AFTER_MAX))
}

/// A date as HTTP writes it (RFC 9110, 5.6.7, the form that is not obsolete).
pub fn http_date(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    value.ends_with(" GMT").then(|| jiff::fmt::rfc2822::parse(value).ok().map(|date| date.timestamp()))?
}

fn is_page(content_type: &str) -> bool {
    content_type.starts_with("text/html") || content_type.starts_with("application/xhtml")
}

/// How a host's certificate is judged, which addresses may be spoken to, and by which way.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Authorities beside the platform's; see [`authorities`].
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Whether loopback, link-local and private addresses may be spoken to. A proxy may have any address.
    pub allow_private_addresses: bool,
    /// The proxy, if any.
    pub proxy: ProxySettings,
}

/// Why there is no HTTPS client.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Neither the platform nor the caller names an authority, so that no host could be trusted.
    #[error("the platform has no CA certificates")]
    NoRoots,
    /// An extra authority cannot be used.
    #[error("a certificate cannot be used as an authority")]
    Authority(#[source] rustls::Error),
    /// The TLS library has no usable protocol version.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// An HTTPS client. It pools connections, so make few.
#[derive(Debug, Clone)]
pub struct Transport {
    client: Client<Connector, Full<Bytes>>,
    ground: Arc<Ground>,
}

/// What clients for different authorities have in common.
#[derive(Debug)]
struct Ground {
    platform: RootCertStore,
    resolver: PolicyResolver,
    proxy: ProxySettings,
    room: Room,
}

/// What is held of all large answers together.
#[derive(Debug, Clone)]
struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

impl Transport {
    /// A client for hosts that this trust accepts. Reads the platform's certificates.
    pub fn new(trust: Trust) -> Result<Self, TransportError> {
        let mut platform = RootCertStore::empty();
        // Files that cannot be read count as absent: what matters is whether any root is there.
        platform.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let resolver = PolicyResolver { allow_private: trust.allow_private_addresses };
        Self::on(Arc::new(Ground { platform, resolver, proxy: trust.proxy, room: Room::default() }), trust.extra_roots)
    }

    /// A client with the same proxy and address policy that trusts these authorities beside the platform's, with a pool of its
    /// own: a connection made under one trust must not serve another.
    pub fn trusting(&self, extra_roots: Vec<CertificateDer<'static>>) -> Result<Self, TransportError> {
        Self::on(self.ground.clone(), extra_roots)
    }

    fn on(ground: Arc<Ground>, extra_roots: Vec<CertificateDer<'static>>) -> Result<Self, TransportError> {
        let mut roots = ground.platform.clone();
        for root in extra_roots {
            roots.add(root).map_err(TransportError::Authority)?;
        }
        if roots.is_empty() {
            return Err(TransportError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        // There are roots, and no revocation lists that could be unreadable.
        let verifier = verifier.map_err(|_| TransportError::NoRoots)?;
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(TransportError::Tls)?;
        // A verifier of one's own is dangerous where it trusts; this one only words refusals.
        let tls = tls.dangerous().with_custom_certificate_verifier(Arc::new(Explaining(verifier))).with_no_client_auth();
        let client = Client::builder(TokioExecutor::new())
            // hyper-util would repeat a request that a reused connection gave back unsent. It must not: what a login costs is not
            // for a library to judge, and the next check is soon.
            .retry_canceled_requests(false)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(HEAD_MAX as usize)
            .http2_max_header_list_size(HEAD_MAX)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .build(Connector::new(ground.resolver, ground.proxy.clone(), tls));
        Ok(Self { client, ground })
    }

    /// A `POST` to be sent.
    pub(super) fn post(&self, url: String) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// A `GET` to be sent.
    pub(super) fn get(&self, url: String) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    fn request(&self, method: Method, url: String) -> RequestBuilder {
        let request = Request::builder().method(method).uri(url).header(USER_AGENT, AGENT);
        RequestBuilder { client: self.client.clone(), room: self.ground.room.clone(), request, body: Bytes::new() }
    }
}

/// A request to be sent.
pub(super) struct RequestBuilder {
    client: Client<Connector, Full<Bytes>>,
    room: Room,
    request: http::request::Builder,
    body: Bytes,
}

impl RequestBuilder {
    /// With this header.
    pub(super) fn header<N, V>(mut self, name: N, value: V) -> Self
    where
        HeaderName: TryFrom<N>,
        <HeaderName as TryFrom<N>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.request = self.request.header(name, value);
        self
    }

    /// As this user.
    pub(super) fn basic_auth(mut self, username: &str, password: &str) -> Self {
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        self.request = self.request.header(AUTHORIZATION, value.as_str());
        if let Some(value) = self.request.headers_mut().and_then(|headers| headers.get_mut(AUTHORIZATION)) {
            // Kept out of HTTP/2's table of headers.
            value.set_sensitive(true);
        }
        self
    }

    /// With this body, wiped once it is sent.
    pub(super) fn body(mut self, body: Zeroizing<String>) -> Self {
        self.body = Bytes::from_owner(body);
        self
    }
}

/// Sends a request once and reads the whole answer, both before the deadline.
pub(super) async fn send(request: RequestBuilder, deadline: Instant) -> Result<Answer, Unanswered> {
    let RequestBuilder { client, room, request, body } = request;
    // A URL or header that cannot be written was never one of a host.
    let mut request = request.body(Full::new(body)).map_err(|_| Unanswered::HostNotFound)?;
    request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    let connection = capture_connection(&mut request);
    let answer = tokio::time::timeout_at(deadline, exchange(client.request(request), room.0)).await;
    match answer {
        Ok(result) => result,
        // Not the connector's state but this request's own: it may have been given a connection that another one made.
        Err(_) if connection.connection_metadata().is_some() => Err(Unanswered::AnswerTimeout),
        Err(_) => Err(Unanswered::ConnectTimeout),
    }
}

type Sending = hyper_util::client::legacy::ResponseFuture;

async fn exchange(sending: Sending, large: Arc<Semaphore>) -> Result<Answer, Unanswered> {
    let response = sending.await.map_err(|error| stage(&error))?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    // No compression was offered, so an encoded body is a host that does not speak HTTP as UKG Pro does.
    let is_encoded = text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let retry_after = text(RETRY_AFTER).and_then(|value| retry_after(value, Timestamp::now()));
    let status = response.status().as_u16();
    let head = Head::of(response.version(), response.headers());
    let unread = |oddity| Answer { retry_after, head, unread: Some(oddity), ..Answer::new(status, &content_type, &[]) };
    if is_encoded {
        return Ok(unread(Oddity::Compressed));
    }
    let mut incoming = response.into_body();
    let mut body = Zeroizing::new(Vec::new());
    let mut place = None;
    while let Some(frame) = incoming.frame().await {
        // Trailers are no data.
        let Ok(data) = frame.map_err(|error| stage_of_exchange(&error))?.into_data() else { continue };
        if body.len() + data.len() > BODY_MAX {
            return Ok(unread(Oddity::TooLarge));
        }
        if body.len() + data.len() > SMALL && place.is_none() {
            // Not waited for: what has come of the others on an HTTP/2 connection would keep its window shut for those that have a place.
            match large.clone().try_acquire_owned() {
                Ok(free) => place = Some(free),
                Err(_) if matches!(status, 401 | 403) => return Ok(unread(Oddity::TooLarge)),
                Err(_) => return Err(Unanswered::ServerError),
            }
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, content_type, retry_after, head, unread: None, body, _place: place })
}

/// The stage at which a request failed: the connector's own word, or what became of the exchange.
fn stage(error: &hyper_util::client::legacy::Error) -> Unanswered {
    let cause = std::error::Error::source(error);
    if let Some(unanswered) = cause.and_then(|cause| cause.downcast_ref::<Unanswered>()) {
        return *unanswered;
    }
    cause.and_then(|cause| cause.downcast_ref::<hyper::Error>()).map_or(Unanswered::ConnectionLost, stage_of_exchange)
}

/// What became of the exchange on a connection: an answer that is not HTTP, or none.
fn stage_of_exchange(error: &hyper::Error) -> Unanswered {
    // With TLS 1.3 the host wants its client's certificate after the client has done with the handshake; the request goes unread.
    if std::iter::successors(std::error::Error::source(error), |error| error.source()).any(tls::wants_a_certificate) {
        return Unanswered::TlsFailed(HandshakeFlaw::ClientCertificate);
    }
    if error.is_parse() { Unanswered::Unreadable(Oddity::NotHttp) } else { Unanswered::ConnectionLost }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        let now = "2026-11-27T12:00:00Z".parse().expect("a time");
        for (value, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("0", Some(0)),
            ("Fri, 27 Nov 2026 12:01:30 GMT", Some(90)),
            ("Fri, 27 Nov 2026 11:00:00 GMT", Some(0)),
            ("Sat, 28 Nov 2026 12:00:00 GMT", Some(3600)),
            ("999999", Some(3600)),
            ("-1", None),
            ("soon GMT", None),
            ("Fri, 27 Nov 2026 12:01:30 +0200", None),
            ("", None),
        ] {
            assert_eq!(retry_after(value, now).map(|wait| wait.as_secs()), expected, "{value}");
        }
    }
}
