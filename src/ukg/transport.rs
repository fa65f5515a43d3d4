//! How bytes get to a UKG Pro host and back, and at which stage they did not.
//!
//! HTTPS only, redirects never followed (they would carry credentials elsewhere), nothing is ever sent twice by itself, answers
//! are read up to a bound, and every wait has a deadline. Errors of the HTTP client carry URLs and texts of the other side, so
//! they end here, as one of a closed set.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::ukg::capture::Head;
use crate::ukg::dns::{NameError, PolicyResolver};

/// DNS, TCP, proxy and TLS together. Below the shortest `spec.timeout` (10 s), so that the stage that is slow is told apart.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);
/// An idle TLS connection costs about 25 KiB; the calls of one check follow each other within seconds.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// A page of one, or an error, is a few KiB.
pub const BODY_MAX: usize = 1 << 20;
/// A `Retry-After` beyond this is taken as this: no host may silence a connection for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// An answer, whole.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`, in lower case; empty if absent.
    pub content_type: String,
    /// `Retry-After` in seconds, bounded; `None` if absent or a date.
    pub retry_after: Option<Duration>,
    /// What a capture keeps of the other headers.
    pub head: Head,
    /// The body: wiped on drop, since LoginService's holds a token.
    pub body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// Whether it says it is a page for people.
    pub fn is_html(&self) -> bool {
        self.content_type.starts_with("text/html") || self.content_type.starts_with("application/xhtml")
    }

    /// An answer with no headers but this.
    pub fn new(status: u16, content_type: &str, body: &[u8]) -> Self {
        Self {
            status,
            content_type: content_type.to_ascii_lowercase(),
            retry_after: None,
            head: Head::default(),
            body: Zeroizing::new(body.to_vec()),
        }
    }
}

/// The stage at which no usable answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unanswered {
    /// DNS has no such host, or did not answer.
    #[error("the host name does not resolve")]
    HostNotFound,
    /// DNS led to an address the operator may not speak to.
    #[error("the host's address is not allowed")]
    AddressNotAllowed,
    /// No connection in time.
    #[error("no connection was made in time")]
    ConnectTimeout,
    /// The connection was refused, or there is no route.
    #[error("the connection was refused")]
    ConnectRefused,
    /// The proxy made no tunnel.
    #[error("the proxy made no connection")]
    ProxyFailed,
    /// The certificate is not trusted: unknown authority, expired, or for another name.
    #[error("the host's certificate is not trusted")]
    TlsUntrusted,
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed")]
    TlsFailed,
    /// Connected, but no whole answer in time.
    #[error("no answer came in time")]
    AnswerTimeout,
    /// The connection broke before the whole answer.
    #[error("the connection broke off")]
    ConnectionLost,
    /// An answer that no UKG Pro web service gives: a web page, a redirect, not XML, or beyond all bounds.
    #[error("the answer is not one of a UKG Pro web service")]
    NotUkgPro,
    /// 429.
    #[error("the host limits requests")]
    RateLimited {
        /// How long to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// 5xx, 405 and 408: trouble on their side.
    #[error("the host has trouble of its own")]
    ServerError,
}

impl Unanswered {
    /// What a status alone says about there being no usable answer.
    pub fn from_status(answer: &Answer) -> Option<Self> {
        match answer.status {
            300..=399 => Some(Self::NotUkgPro),
            429 => Some(Self::RateLimited { retry_after: answer.retry_after }),
            // UKG Pro answers 405 now and then to a request that is right.
            405 | 408 | 500..=599 => Some(Self::ServerError),
            _ => None,
        }
    }
}

/// How a host's certificate is judged, and which addresses may be spoken to.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// Authorities beside the platform's.
    pub extra_roots: Vec<reqwest::Certificate>,
    /// Whether loopback, link-local and private addresses may be spoken to.
    pub allow_private_addresses: bool,
}

/// Why no HTTP client could be made: the platform's roots cannot be read, or an authority is unusable.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client could be made")]
pub struct TransportError(#[source] reqwest::Error);

/// An HTTPS client.
#[derive(Debug, Clone)]
pub struct Transport(reqwest::Client);

impl Transport {
    /// A client for hosts that this trust accepts. It pools connections, so make few.
    pub fn new(trust: Trust) -> Result<Self, TransportError> {
        reqwest::Client::builder()
            .https_only(true)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .dns_resolver(PolicyResolver { allow_private: trust.allow_private_addresses })
            .tls_certs_merge(trust.extra_roots)
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(1)
            .user_agent(concat!("ukgpro-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(TransportError)
    }

    /// A `POST` to be sent.
    pub(super) fn post(&self, url: String) -> reqwest::RequestBuilder {
        self.0.post(url)
    }

    /// A `GET` to be sent.
    pub(super) fn get(&self, url: String) -> reqwest::RequestBuilder {
        self.0.get(url)
    }
}

/// Sends a request once and reads the whole answer, both before the deadline.
pub(super) async fn send(request: reqwest::RequestBuilder, deadline: Instant) -> Result<Answer, Unanswered> {
    tokio::time::timeout_at(deadline, exchange(request)).await.unwrap_or(Err(Unanswered::AnswerTimeout))
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, Unanswered> {
    let mut response = request.send().await.map_err(|error| stage(&error))?;
    let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    // No compression was offered, so an encoded body is a host that does not speak HTTP as UKG Pro does.
    if text(CONTENT_ENCODING).is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(Unanswered::NotUkgPro);
    }
    let content_type = text(CONTENT_TYPE).unwrap_or_default().to_ascii_lowercase();
    let retry_after =
        text(RETRY_AFTER).and_then(|v| v.trim().parse().ok()).map(|s| Duration::from_secs(s).min(RETRY_AFTER_MAX));
    let status = response.status().as_u16();
    let head = Head::of(response.version(), response.headers());
    let mut body = Zeroizing::new(Vec::new());
    while let Some(chunk) = response.chunk().await.map_err(|error| stage(&error))? {
        if body.len() + chunk.len() > BODY_MAX {
            return Err(Unanswered::NotUkgPro);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, content_type, retry_after, head, body })
}

/// The stage at which the HTTP client failed, from the types in its chain of causes.
fn stage(error: &reqwest::Error) -> Unanswered {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(current) = cause {
        if let Some(found) = stage_of(current, error.is_connect()) {
            return found;
        }
        cause = current.source();
    }
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => Unanswered::ConnectTimeout,
        (true, false) => Unanswered::AnswerTimeout,
        (false, true) => Unanswered::ConnectRefused,
        (false, false) => Unanswered::ConnectionLost,
    }
}

fn stage_of(cause: &(dyn Error + 'static), connecting: bool) -> Option<Unanswered> {
    if let Some(name) = cause.downcast_ref::<NameError>() {
        return Some(match name {
            NameError::NotFound => Unanswered::HostNotFound,
            NameError::NotAllowed => Unanswered::AddressNotAllowed,
        });
    }
    if let Some(tls) = cause.downcast_ref::<rustls::Error>() {
        return Some(match tls {
            rustls::Error::InvalidCertificate(_) => Unanswered::TlsUntrusted,
            _ => Unanswered::TlsFailed,
        });
    }
    let io = cause.downcast_ref::<io::Error>()?;
    // An io::Error's own `source` skips the error it wraps.
    if let Some(found) = io.get_ref().and_then(|inner| stage_of(inner, connecting)) {
        return Some(found);
    }
    match io.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Some(Unanswered::ConnectRefused)
        }
        io::ErrorKind::TimedOut if connecting => Some(Unanswered::ConnectTimeout),
        // TCP was up, so what broke while connecting is the handshake.
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionAborted if connecting => {
            Some(Unanswered::TlsFailed)
        }
        _ => None,
    }
}
