//! Why no usable answer came, by the stage at which it went wrong.

use std::time::Duration;

use super::Answer;
use super::tls::{HandshakeFlaw, TrustFlaw};

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
    TlsUntrusted(TrustFlaw),
    /// The TLS handshake failed otherwise.
    #[error("the TLS handshake failed")]
    TlsFailed(HandshakeFlaw),
    /// Connected, but no whole answer in time.
    #[error("no answer came in time")]
    AnswerTimeout,
    /// The connection broke before the whole answer.
    #[error("the connection broke off")]
    ConnectionLost,
    /// What no UKG Pro web service gives: a web page or a redirect. What stands before the service has answered, or another host.
    #[error("the answer is not one of a UKG Pro web service")]
    NotUkgPro,
    /// An answer that cannot be read; whether the service has judged the request cannot be told.
    #[error("the answer cannot be read: {0}")]
    Unreadable(Oddity),
    /// 429.
    #[error("the host limits requests")]
    RateLimited {
        /// How long to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// 502, 503 and 504: what stands before the service does not reach it, or it takes no requests.
    #[error("the host takes no requests at the moment")]
    Unavailable {
        /// How long to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// Another 5xx, 405 and 408: trouble on their side.
    #[error("the host has trouble of its own")]
    ServerError,
}

/// Why an answer cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Oddity {
    /// It is compressed, which was not offered.
    #[error("it is compressed, though no compression was offered")]
    Compressed,
    /// It is text in another encoding than UTF-8.
    #[error("its text is not in UTF-8")]
    Encoding,
    /// It is a multipart message, as MTOM's.
    #[error("it is a multipart message (MTOM), which the host itself may be set to")]
    Multipart,
    /// It declares a document type or an entity.
    #[error("it declares a document type, which SOAP forbids")]
    DocumentType,
    /// It begins as XML and is not well-formed, or is cut off.
    #[error("its XML is not well-formed or is cut off")]
    Malformed,
    /// It is longer than any answer to what was asked, or deeper.
    #[error("it is larger than any answer to what was asked")]
    TooLarge,
    /// It is not HTTP.
    #[error("it is not HTTP")]
    NotHttp,
    /// There is nothing in it.
    #[error("there is nothing in it")]
    Empty,
    /// There is no such service at this host (404, 410).
    #[error("it says that there is no LoginService at this address (404)")]
    NotFound,
    /// It is something else than SOAP.
    #[error("it is no SOAP message")]
    NotSoap,
}

impl Unanswered {
    /// What a status alone says about there being no usable answer.
    pub fn from_status(answer: &Answer) -> Option<Self> {
        match answer.status {
            300..=399 => Some(Self::NotUkgPro),
            429 => Some(Self::RateLimited { retry_after: answer.retry_after }),
            502..=504 => Some(Self::Unavailable { retry_after: answer.retry_after }),
            // UKG Pro answers 405 now and then to a request that is right.
            405 | 408 | 500..=599 => Some(Self::ServerError),
            _ => None,
        }
    }
}
