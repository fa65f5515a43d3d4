//! Why no usable answer came: the network stage that failed, or an HTTP status such as 429 or 503.

use std::time::Duration;

use super::Answer;
use super::tls::{HandshakeFlaw, TrustFlaw};

/// The stage at which a request failed to give a usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unanswered {
    /// DNS has no such host, or did not answer.
    #[error("the host name does not resolve")]
    HostNotFound,
    /// The host has an address that the operator may not contact.
    #[error("the host's address is not allowed")]
    AddressNotAllowed,
    /// No connection in time.
    #[error("the connection timed out")]
    ConnectTimeout,
    /// The connection was refused, or there is no route.
    #[error("the connection was refused")]
    ConnectRefused,
    /// The proxy made no tunnel.
    #[error("no connection was made through the proxy")]
    ProxyFailed,
    /// The certificate is not trusted: unknown authority, expired, or for another name.
    #[error("the host's certificate is not trusted")]
    TlsUntrusted(TrustFlaw),
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed")]
    TlsFailed(HandshakeFlaw),
    /// Connected, but no whole answer in time.
    #[error("no answer came in time")]
    AnswerTimeout,
    /// The connection broke before the whole answer.
    #[error("the connection broke")]
    ConnectionLost,
    /// A web page or a redirect, which no UKG Pro web service sends. It comes from another host, or from something in front of
    /// the service.
    #[error("the answer does not come from a UKG Pro web service")]
    NotUkgPro,
    /// An unreadable answer. Whether the service processed the request is unknown.
    #[error("the answer cannot be read: {0}")]
    Unreadable(UnreadableReason),
    /// 429.
    #[error("the host limits requests")]
    RateLimited {
        /// The requested delay, if any.
        retry_after: Option<Duration>,
    },
    /// 502, 503 and 504: the service takes no requests, or cannot be reached by what is in front of it.
    #[error("the host accepts no requests at the moment")]
    Unavailable {
        /// The requested delay, if any.
        retry_after: Option<Duration>,
    },
    /// Another 5xx, 405 or 408, a fault of the receiver, or a large answer without a free slot.
    #[error("the host reports a server error")]
    ServerError,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum UnreadableReason {
    /// It is compressed, though no compression was offered.
    #[error("it is compressed, although no compression was offered")]
    Compressed,
    /// Its text is not UTF-8.
    #[error("its text is not UTF-8")]
    Encoding,
    /// It is a multipart message, such as MTOM's.
    #[error("it is a multipart message (MTOM), which may be a setting of the host")]
    Multipart,
    /// It declares a document type or an entity.
    #[error("it declares a document type, which SOAP forbids")]
    DocumentType,
    /// It begins as XML and is malformed or truncated.
    #[error("its XML is not well-formed or is cut off")]
    Malformed,
    /// It is longer, or nested deeper, than any answer to the request.
    #[error("it is larger than any expected answer")]
    TooLarge,
    /// It is not HTTP.
    #[error("it is not HTTP")]
    NotHttp,
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// There is no such service at this host (404, 410).
    #[error("it says that this host has no LoginService (404 or 410)")]
    NotFound,
    /// It is not SOAP.
    #[error("it is not a SOAP message")]
    NotSoap,
}

impl Unanswered {
    /// Returns why a status alone means that there is no usable answer, if it does.
    pub fn from_status(answer: &Answer) -> Option<Self> {
        match answer.status {
            300..=399 => Some(Self::NotUkgPro),
            429 => Some(Self::RateLimited { retry_after: answer.retry_after }),
            502..=504 => Some(Self::Unavailable { retry_after: answer.retry_after }),
            // UKG Pro sometimes answers a correct request with 405.
            405 | 408 | 500..=599 => Some(Self::ServerError),
            _ => None,
        }
    }
}
