//! HTTP requests and replies as plain values: a service is a function from `HttpRequest` to `HttpResponse`.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use futures::stream;
use hyper::ext::ReasonPhrase;

use crate::message::Message;

/// Approximate size of the pieces in which a repeated body is sent, so that a huge body is never in memory.
const PIECE: usize = 64 * 1024;

/// A request. It holds credentials, so it cannot be printed.
pub(crate) struct HttpRequest {
    /// Host in lower case, without the port.
    pub(crate) host: String,
    /// Host and port as the client wrote them. The port is there only if the client wrote it.
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

impl HttpRequest {
    /// Returns the text of a header, if there is one and it is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A reply.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// HTTP headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Payload,
    /// The reason phrase, if it is not the standard one.
    pub(crate) reason: Option<String>,
}

/// The body of a reply.
#[derive(Debug)]
pub(crate) enum Payload {
    /// These bytes.
    Whole(Bytes),
    /// These bytes, repeated this many times.
    Repeated(Bytes, usize),
    /// These bytes, after which the connection is aborted.
    Torn(Bytes),
    /// A SOAP message, serialized when it is sent.
    Message(Box<Message>),
}

impl HttpResponse {
    /// Creates a reply without a body.
    pub(crate) fn empty(status: StatusCode) -> Self {
        Self::of(status, Payload::Whole(Bytes::new()))
    }

    fn of(status: StatusCode, body: Payload) -> Self {
        Self { status, headers: HeaderMap::new(), body, reason: None }
    }

    /// Creates a reply with a body of this content type.
    pub(crate) fn new(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self::of(status, Payload::Whole(body.into())).with(CONTENT_TYPE, content_type)
    }

    /// Creates a reply with a SOAP message.
    pub(crate) fn message(status: StatusCode, content_type: &'static str, message: Message) -> Self {
        Self::of(status, Payload::Message(Box::new(message))).with(CONTENT_TYPE, content_type)
    }

    /// Sets the message ID that a SOAP message answers, if any, and whether it begins with a byte-order mark.
    pub(crate) fn answering(mut self, message_id: Option<String>, byte_order_mark: bool) -> Self {
        if let Payload::Message(message) = &mut self.body {
            message.relates_to = message_id;
            message.byte_order_mark = byte_order_mark;
        }
        self
    }

    /// Sets the reason phrase, which HTTP/2 does not have.
    pub(crate) fn because(mut self, reason: String) -> Self {
        self.reason = Some(reason);
        self
    }

    /// Creates a reply of plain text.
    pub(crate) fn text(status: StatusCode, text: impl Into<String>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", text.into())
    }

    /// Adds a header.
    pub(crate) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Converts the reply to the HTTP server's type.
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

    /// Returns a correct SOAP POST to a path.
    pub(crate) fn soap_call(path: &str, body: &str) -> HttpRequest {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/soap+xml; charset=utf-8"));
        HttpRequest {
            host: "service4.ultipro.localhost".to_owned(),
            authority: "service4.ultipro.localhost:8443".to_owned(),
            method: Method::POST,
            path: path.to_owned(),
            query: None,
            headers,
            body: Bytes::from(body.to_owned()),
        }
    }

    /// Returns the body of a reply as text.
    pub(crate) fn text(reply: &HttpResponse) -> String {
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
            let reply =
                HttpResponse { body: Payload::Repeated(Bytes::from(unit), times), ..HttpResponse::empty(StatusCode::OK) };
            let body = axum::body::to_bytes(reply.into_response().into_body(), usize::MAX).await;
            assert_eq!(body.expect("nothing tears it"), unit.repeat(times).as_bytes(), "{times} times {unit:?}");
        }
    }
}
