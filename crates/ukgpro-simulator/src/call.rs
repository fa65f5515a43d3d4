//! A request taken in whole, and a reply before it goes out: what the services are functions between.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use futures::stream;
use hyper::ext::ReasonPhrase;

use crate::message::Message;

/// Repeated bodies leave in pieces of about this size, so that a huge one is never in memory.
const PIECE: usize = 64 * 1024;

/// A request. Holds credentials, so it cannot be printed.
pub(crate) struct Call {
    /// Lower case, without port.
    pub(crate) host: String,
    /// Host and port as the client wrote them, the port only if it did.
    pub(crate) authority: String,
    /// HTTP method.
    pub(crate) method: Method,
    /// Path, without query.
    pub(crate) path: String,
    /// Query, without `?`.
    pub(crate) query: Option<String>,
    /// HTTP headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Bytes,
}

impl Call {
    /// A header's text, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A reply.
#[derive(Debug)]
pub(crate) struct Reply {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// HTTP headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Payload,
    /// The words after the status, if they are not those of the standard.
    pub(crate) reason: Option<String>,
}

/// The body of a reply.
#[derive(Debug)]
pub(crate) enum Payload {
    /// As it is.
    Whole(Bytes),
    /// So many times over.
    Repeated(Bytes, usize),
    /// These bytes, and then the connection is torn.
    Torn(Bytes),
    /// A SOAP message, which is written when it goes out.
    Message(Box<Message>),
}

impl Reply {
    /// A reply with nothing in it.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::of(status, Payload::Whole(Bytes::new()))
    }

    fn of(status: StatusCode, body: Payload) -> Self {
        Self { status, headers: HeaderMap::new(), body, reason: None }
    }

    /// A reply with a body of this type.
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of(status, Payload::Whole(body.into())).with(CONTENT_TYPE, content_type)
    }

    /// A SOAP message.
    pub(crate) fn message(status: StatusCode, content_type: &'static str, message: Message) -> Self {
        Self::of(status, Payload::Message(Box::new(message))).with(CONTENT_TYPE, content_type)
    }

    /// The answer to a message of this ID, if it had one, and with a byte-order mark before it.
    pub(crate) fn answering(mut self, message_id: Option<String>, byte_order_mark: bool) -> Self {
        if let Payload::Message(message) = &mut self.body {
            message.relates_to = message_id;
            message.byte_order_mark = byte_order_mark;
        }
        self
    }

    /// With these words after the status. HTTP/2 has none.
    pub(crate) fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// A plain text reply.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// With one more header.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// As what the HTTP server sends.
    pub(crate) fn into_response(self) -> Response<Body> {
        let body = match self.body {
            Payload::Whole(bytes) => Body::from(bytes),
            Payload::Repeated(bytes, times) => repeated(&bytes, times),
            Payload::Message(message) => Body::from(message.write()),
            Payload::Torn(bytes) => {
                let torn = std::io::Error::other("torn on purpose by a fault");
                Body::from_stream(stream::iter([Ok(bytes), Err(torn)]))
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if let Some(reason) = self.reason.and_then(|reason| ReasonPhrase::try_from(reason).ok()) {
            response.extensions_mut().insert(reason);
        }
        response
    }
}

fn repeated(bytes: &Bytes, times: usize) -> Body {
    if bytes.is_empty() || times == 0 {
        return Body::empty();
    }
    let in_a_piece = (PIECE / bytes.len()).clamp(1, times);
    let piece = Bytes::from(bytes.repeat(in_a_piece));
    let rest = piece.slice(..bytes.len() * (times % in_a_piece));
    let pieces = std::iter::repeat_n(piece, times / in_a_piece).chain([rest]);
    Body::from_stream(stream::iter(pieces.map(Ok::<_, std::io::Error>)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A POST of SOAP to a path, as a right client sends it.
    pub(crate) fn soap_call(path: &str, body: &str) -> Call {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/soap+xml; charset=utf-8"));
        Call {
            host: "service4.ultipro.localhost".to_owned(),
            authority: "service4.ultipro.localhost:8443".to_owned(),
            method: Method::POST,
            path: path.to_owned(),
            query: None,
            headers,
            body: Bytes::from(body.to_owned()),
        }
    }

    /// The body of a reply as text.
    pub(crate) fn text(reply: &Reply) -> String {
        match &reply.body {
            Payload::Whole(bytes) | Payload::Repeated(bytes, _) | Payload::Torn(bytes) => {
                String::from_utf8_lossy(bytes).into_owned()
            }
            Payload::Message(message) => message.write(),
        }
    }

    #[tokio::test]
    async fn a_repeated_body_is_exactly_so_many_times_as_long() {
        for (unit, times) in [("abc", 0), ("abc", 1), ("abc", 50_000), ("", 5), ("x", 65_537)] {
            let reply = Reply { body: Payload::Repeated(Bytes::from(unit), times), ..Reply::empty(StatusCode::OK) };
            let body = axum::body::to_bytes(reply.into_response().into_body(), usize::MAX).await;
            assert_eq!(body.expect("nothing tears it"), unit.repeat(times).as_bytes(), "{times} times {unit:?}");
        }
    }
}
