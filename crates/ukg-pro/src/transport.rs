//! The HTTPS client: sends a request to a UKG Pro host, and reports at which stage it failed.
//!
//! HTTPS only. Redirects are never followed (they would carry credentials elsewhere), nothing is sent twice, answers are read up
//! to a bound, and every wait has a deadline. Each failure is classified where it happens, as one of a closed set. Errors of the
//! crates below contain hosts and texts of the other side, so they end here.
//!
//! The HTTP client is hyper-util's. The higher-level clients hide whether a connection existed when time ran out, keep their
//! proxy errors to themselves, and repeat requests that a server took back.

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

pub use bundle::{Bundle, BundleFlaw, BundleWarnings, authorities};
use connect::Connector;
pub use head::{OTHER, RedactedHeaders, known};
pub use proxy::{ProxyFlaw, ProxySettings, ProxyVariableError};
pub use tls::{CAUSES, HandshakeFlaw, TrustFlaw};
use tls::{ExplainingVerifier, NoCertificate};
pub use unanswered::{Unanswered, UnreadableReason};

/// The `User-Agent`, also towards a proxy.
const AGENT: &str = concat!("ukgpro-operator/", env!("CARGO_PKG_VERSION"));
/// How long an idle connection is kept. Each costs about 25 KiB; the calls of one check follow within seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Idle connections per host. The calls of one check are sequential, so one is enough.
const IDLE_PER_HOST: usize = 1;
/// Bytes of a body at most. A page of one, or an error, is a few KiB.
pub const BODY_MAX: usize = 128 << 10;
/// A larger answer holds one of [`LARGE_AT_ONCE`] slots until it has been interpreted, and is abandoned if none is free: a read
/// that matches nobody should never be this large.
pub const SMALL: usize = 16 << 10;
/// Large answers held at once, for all hosts.
pub const LARGE_AT_ONCE: usize = 8;
/// Status line and headers together; real ones have less than 2 KiB. HTTP/1.1 answers are read into a buffer of this size.
const HEAD_MAX: u32 = 32 << 10;
/// What an HTTP/2 host may send before it is read. Bounds the memory of a call, and holds any usual answer whole.
const WINDOW: u32 = 64 << 10;
/// A longer `Retry-After` is cut to this: no host may stop a connection's checks for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// A whole answer.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, in lower case; empty if absent.
    pub content_type: String,
    /// The bounded delay of `Retry-After`; `None` if it is absent or invalid.
    pub retry_after: Option<Duration>,
    /// What a capture keeps of the other headers.
    pub head: RedactedHeaders,
    /// Why the body was not read, if so.
    pub unread: Option<UnreadableReason>,
    /// The body: wiped on drop, since LoginService's holds a token.
    pub body: Zeroizing<Vec<u8>>,
    /// The slot of a large answer.
    pub(super) _place: Option<OwnedSemaphorePermit>,
}

impl Answer {
    /// Whether its media type is that of a web page.
    pub fn is_html(&self) -> bool {
        is_page(&self.content_type)
    }

    /// Returns an error if the body was not read, unless the status is a refusal by itself (401, 403).
    pub fn readable(&self) -> Result<(), Unanswered> {
        match self.unread {
            // This status is a refusal, whatever the body holds.
            Some(_) if matches!(self.status, 401 | 403) => Ok(()),
            Some(UnreadableReason::TooLarge) if !self.is_html() => Err(Unanswered::Unreadable(UnreadableReason::TooLarge)),
            Some(_) if self.is_html() => Err(Unanswered::from_status(self).unwrap_or(Unanswered::NotUkgPro)),
            Some(oddity) => Err(Unanswered::from_status(self).unwrap_or(Unanswered::Unreadable(oddity))),
            None => Ok(()),
        }
    }

    /// Returns an answer with no other headers.
    pub fn new(status: u16, content_type: &str, body: &[u8]) -> Self {
        Self {
            status,
            content_type: content_type.to_ascii_lowercase(),
            retry_after: None,
            head: RedactedHeaders::default(),
            unread: None,
            body: Zeroizing::new(body.to_vec()),
            _place: None,
        }
    }
}

/// Parses `Retry-After`: seconds, or a date, which is compared with the local clock. A past date means no delay.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let seconds = value.trim().parse().map(Duration::from_secs).ok();
    let asked = seconds.or_else(|| Some(Duration::try_from(http_date(value)?.duration_since(now)).unwrap_or_default()))?;
    Some(asked.min(RETRY_AFTER_MAX))
}

/// Parses an HTTP date (RFC 9110, 5.6.7, the form that is not obsolete).
pub fn http_date(value: &str) -> Option<Timestamp> {
    let value = value.trim();
    value.ends_with(" GMT").then(|| jiff::fmt::rfc2822::parse(value).ok().map(|date| date.timestamp()))?
}

fn is_page(content_type: &str) -> bool {
    content_type.starts_with("text/html") || content_type.starts_with("application/xhtml")
}

/// Which certificates are trusted, which addresses are allowed, and which proxy is used.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Authorities beside the platform's; see [`authorities`].
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Whether loopback, link-local and private addresses are allowed. A proxy may have any address.
    pub allow_private_addresses: bool,
    /// The proxy, if any.
    pub proxy: ProxySettings,
}

/// Why no HTTPS client could be made.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// Neither the platform nor the caller provides an authority, so no host could be trusted.
    #[error("the platform has no CA certificates")]
    NoRoots,
    /// An extra authority cannot be used.
    #[error("a certificate cannot be used as an authority")]
    Authority(#[source] rustls::Error),
    /// The TLS library has no usable protocol version.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}

/// An HTTPS client. It has a connection pool, so make few.
#[derive(Debug, Clone)]
pub struct Transport {
    client: Client<Connector, Full<Bytes>>,
    shared: Arc<SharedParts>,
}

/// What clients with different authorities share.
#[derive(Debug)]
struct SharedParts {
    platform: RootCertStore,
    resolver: PolicyResolver,
    proxy: ProxySettings,
    large_answer_slots: LargeAnswerSlots,
}

/// The slots for large answers.
#[derive(Debug, Clone)]
struct LargeAnswerSlots(Arc<Semaphore>);

impl Default for LargeAnswerSlots {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(LARGE_AT_ONCE)))
    }
}

impl Transport {
    /// Makes a client with this trust. Reads the platform's certificates.
    pub fn new(trust: Trust) -> Result<Self, TransportError> {
        let mut platform = RootCertStore::empty();
        // Unreadable files count as absent: only whether there is any root matters.
        platform.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let resolver = PolicyResolver { allow_private: trust.allow_private_addresses };
        Self::on(
            Arc::new(SharedParts { platform, resolver, proxy: trust.proxy, large_answer_slots: LargeAnswerSlots::default() }),
            trust.extra_roots,
        )
    }

    /// Makes a client with the same proxy and address policy that also trusts these authorities. It has its own pool: a
    /// connection made under one trust must not serve another.
    pub fn trusting(&self, extra_roots: Vec<CertificateDer<'static>>) -> Result<Self, TransportError> {
        Self::on(self.shared.clone(), extra_roots)
    }

    fn on(shared: Arc<SharedParts>, extra_roots: Vec<CertificateDer<'static>>) -> Result<Self, TransportError> {
        let mut roots = shared.platform.clone();
        for root in extra_roots {
            roots.add(root).map_err(TransportError::Authority)?;
        }
        if roots.is_empty() {
            return Err(TransportError::NoRoots);
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
        // There are roots, and no revocation lists that could be invalid.
        let verifier = verifier.map_err(|_| TransportError::NoRoots)?;
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let tls = tls.map_err(TransportError::Tls)?;
        // A custom verifier is dangerous if it trusts more. This one only rewords refusals.
        let tls = tls.dangerous().with_custom_certificate_verifier(Arc::new(ExplainingVerifier(verifier)));
        let tls = tls.with_client_cert_resolver(Arc::new(NoCertificate));
        let client = Client::builder(TokioExecutor::new())
            // hyper-util would repeat a request that a reused connection returned unsent. It must not: a library must not judge
            // what a login costs, and the next check is soon.
            .retry_canceled_requests(false)
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_HOST)
            .http1_max_buf_size(HEAD_MAX as usize)
            .http2_max_header_list_size(HEAD_MAX)
            .http2_initial_stream_window_size(WINDOW)
            .http2_initial_connection_window_size(WINDOW)
            .build(Connector::new(shared.resolver, shared.proxy.clone(), tls));
        Ok(Self { client, shared })
    }

    /// Starts a `POST`.
    pub(super) fn post(&self, url: String) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    /// Starts a `GET`.
    pub(super) fn get(&self, url: String) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    fn request(&self, method: Method, url: String) -> RequestBuilder {
        let request = Request::builder().method(method).uri(url).header(USER_AGENT, AGENT);
        RequestBuilder {
            client: self.client.clone(),
            large_answer_slots: self.shared.large_answer_slots.clone(),
            request,
            body: Bytes::new(),
        }
    }
}

/// A request to be sent.
pub(super) struct RequestBuilder {
    client: Client<Connector, Full<Bytes>>,
    large_answer_slots: LargeAnswerSlots,
    request: http::request::Builder,
    body: Bytes,
}

impl RequestBuilder {
    /// Adds a header.
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

    /// Adds basic authentication.
    pub(super) fn basic_auth(mut self, username: &str, password: &str) -> Self {
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let value = Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(pair.as_bytes())));
        self.request = self.request.header(AUTHORIZATION, value.as_str());
        if let Some(value) = self.request.headers_mut().and_then(|headers| headers.get_mut(AUTHORIZATION)) {
            // Keeps it out of HTTP/2's header table.
            value.set_sensitive(true);
        }
        self
    }

    /// Sets the body, which is wiped once it is sent.
    pub(super) fn body(mut self, body: Zeroizing<String>) -> Self {
        self.body = Bytes::from_owner(body);
        self
    }
}

/// Sends a request once and reads the whole answer, both before the deadline.
pub(super) async fn send(request: RequestBuilder, deadline: Instant) -> Result<Answer, Unanswered> {
    let RequestBuilder { client, large_answer_slots, request, body } = request;
    // An invalid URL or header belongs to no host.
    let mut request = request.body(Full::new(body)).map_err(|_| Unanswered::HostNotFound)?;
    request.headers_mut().entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    let connection = capture_connection(&mut request);
    let answer = tokio::time::timeout_at(deadline, exchange(client.request(request), large_answer_slots.0)).await;
    match answer {
        Ok(result) => result,
        // Looks at this request's state, not the connector's: it may use a connection that another request made.
        Err(_) if connection.connection_metadata().is_some() => Err(Unanswered::AnswerTimeout),
        Err(_) => Err(Unanswered::ConnectTimeout),
    }
}

type Sending = hyper_util::client::legacy::ResponseFuture;

async fn exchange(sending: Sending, large: Arc<Semaphore>) -> Result<Answer, Unanswered> {
    let response = sending.await.map_err(|error| stage(&error))?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    // No compression was offered, so a host that sends an encoded body does not speak HTTP as UKG Pro does.
    let is_encoded = text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity"));
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let retry_after = text(RETRY_AFTER).and_then(|value| retry_after(value, Timestamp::now()));
    let status = response.status().as_u16();
    let head = RedactedHeaders::of(response.version(), response.headers());
    let unread = |oddity| Answer { retry_after, head, unread: Some(oddity), ..Answer::new(status, &content_type, &[]) };
    if is_encoded {
        return Ok(unread(UnreadableReason::Compressed));
    }
    let mut incoming = response.into_body();
    let mut body = Zeroizing::new(Vec::new());
    let mut place = None;
    while let Some(frame) = incoming.frame().await {
        // Trailers are not data.
        let Ok(data) = frame.map_err(|error| stage_of_exchange(&error))?.into_data() else { continue };
        if body.len() + data.len() > BODY_MAX {
            return Ok(unread(UnreadableReason::TooLarge));
        }
        if body.len() + data.len() > SMALL && place.is_none() {
            // Does not wait: unread data of the waiting answers would keep an HTTP/2 connection's window closed for those that
            // have a slot.
            match large.clone().try_acquire_owned() {
                Ok(free) => place = Some(free),
                Err(_) if matches!(status, 401 | 403) => return Ok(unread(UnreadableReason::TooLarge)),
                Err(_) => return Err(Unanswered::ServerError),
            }
        }
        body.extend_from_slice(&data);
    }
    Ok(Answer { status, content_type, retry_after, head, unread: None, body, _place: place })
}

/// Returns the stage at which a request failed: as the connector reports it, or from the exchange.
fn stage(error: &hyper_util::client::legacy::Error) -> Unanswered {
    let cause = std::error::Error::source(error);
    if let Some(unanswered) = cause.and_then(|cause| cause.downcast_ref::<Unanswered>()) {
        return *unanswered;
    }
    cause.and_then(|cause| cause.downcast_ref::<hyper::Error>()).map_or(Unanswered::ConnectionLost, stage_of_exchange)
}

/// Classifies a failed exchange: an answer that is not HTTP, or none.
fn stage_of_exchange(error: &hyper::Error) -> Unanswered {
    // A host that demands a client certificate may say so late. It has not read the request.
    if std::iter::successors(std::error::Error::source(error), |error| error.source()).any(tls::wants_a_certificate) {
        return Unanswered::TlsFailed(HandshakeFlaw::ClientCertificate);
    }
    if error.is_parse() { Unanswered::Unreadable(UnreadableReason::NotHttp) } else { Unanswered::ConnectionLost }
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
