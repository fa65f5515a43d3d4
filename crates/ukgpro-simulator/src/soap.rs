//! SOAP 1.2 as a WCF endpoint speaks it: the rules for an envelope, and the writers of answers and faults.
//!
//! Pure. A [`Refusal`] carries the reply and a note for the `strictness` counter. Both name elements and namespaces, never the
//! value of a header.

use axum::http::{Method, StatusCode, header};

use crate::call::{HttpRequest, HttpResponse};
use crate::catalogue::{ADDRESSING, SOAP11, SOAP12};
use crate::message::Message;
use crate::xml::{self, Element, boolean, escape};

const CONTENT_TYPE: &str = "application/soap+xml; charset=utf-8";
const FAULT_ACTION: &str = "http://www.w3.org/2005/08/addressing/soap/fault";
/// Namespace in WCF of the subcodes `InvalidSecurity` and `FailedAuthentication`.
const SECURITY: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd";
/// Namespace of WCF's own subcodes, such as `DeserializationFailed`.
const DISPATCHER: &str = "http://schemas.microsoft.com/net/2005/12/windowscommunicationfoundation/dispatcher";
/// The codes of SOAP 1.2. Any other code is WCF's own, and is sent without one of these around it.
const CODES: [&str; 5] = ["DataEncodingUnknown", "MustUnderstand", "Receiver", "Sender", "VersionMismatch"];
/// A content type is truncated to this in a reason phrase. A longer message ID is not repeated in an answer.
const LONGEST_ECHO: usize = 200;
/// WS-Addressing headers that an endpoint understands besides `Action`.
const UNDERSTOOD_ADDRESSING: [&str; 6] = ["To", "From", "ReplyTo", "FaultTo", "MessageID", "RelatesTo"];

/// A well-formed request.
#[derive(Debug)]
pub(crate) struct Envelope {
    /// Header blocks, except those of WS-Addressing.
    pub(crate) headers: Vec<Element>,
    /// The one element in the body.
    pub(crate) body: Element,
    /// Deviations that this endpoint tolerates and another might not.
    pub(crate) notes: Vec<String>,
}

/// A request that the endpoint rejects.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The reply to the client.
    pub(crate) reply: Box<HttpResponse>,
    /// The note for the counter, if the client broke the protocol.
    pub(crate) note: String,
}

/// A SOAP fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// HTTP status.
    pub(crate) status: StatusCode,
    /// Code, in the envelope's namespace if SOAP defines it.
    pub(crate) code: String,
    /// Subcode.
    pub(crate) subcode: Option<String>,
    /// Reason.
    pub(crate) reason: String,
}

impl Fault {
    /// Creates a fault of this code and subcode with HTTP 500, as WCF sends it.
    pub(crate) fn new(code: &str, subcode: Option<&str>, reason: impl Into<String>) -> Self {
        Self {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: code.to_owned(),
            subcode: subcode.map(str::to_owned),
            reason: reason.into(),
        }
    }

    /// Creates the fault for a message that cannot be deserialized.
    pub(crate) fn deserialization(reason: impl Into<String>) -> Self {
        Self::new("Sender", Some("DeserializationFailed"), reason)
    }

    /// Converts the fault to a reply.
    pub(crate) fn reply(&self) -> HttpResponse {
        let subcode = self.subcode.as_deref().map_or_else(String::new, |subcode| {
            let namespace = match subcode {
                "InvalidSecurity" | "FailedAuthentication" => SECURITY,
                "ActionNotSupported" => ADDRESSING,
                _ => DISPATCHER,
            };
            format!(r#"<s:Subcode><s:Value xmlns:a="{namespace}">a:{}</s:Value></s:Subcode>"#, escape(subcode))
        });
        let code = escape(&self.code);
        let code = if CODES.contains(&self.code.as_str()) {
            format!("<s:Value>s:{code}</s:Value>")
        } else {
            format!(r#"<s:Value xmlns:a="{DISPATCHER}">a:{code}</s:Value>"#)
        };
        let body = format!(
            r#"<s:Fault><s:Code>{code}{subcode}</s:Code><s:Reason><s:Text xml:lang="en-US">{}</s:Text></s:Reason></s:Fault>"#,
            escape(&self.reason)
        );
        reply(self.status, FAULT_ACTION, &body)
    }
}

/// Creates an answer with this body.
pub(crate) fn reply(status: StatusCode, action: &str, body: &str) -> HttpResponse {
    let message = Message { action: action.to_owned(), body: body.to_owned(), relates_to: None, byte_order_mark: false };
    HttpResponse::message(status, CONTENT_TYPE, message)
}

impl Refusal {
    /// Creates a refusal of a protocol violation, answered with this reply.
    pub(crate) fn new(reply: HttpResponse, note: impl Into<String>) -> Self {
        Self { reply: Box::new(reply), note: note.into() }
    }
}

/// Creates a refusal of a protocol violation, answered with a fault.
pub(crate) fn refuse(fault: &Fault) -> Refusal {
    Refusal::new(fault.reply(), fault.reason.as_str())
}

fn refuse_http(status: StatusCode, note: impl Into<String>) -> Refusal {
    let note = note.into();
    Refusal::new(HttpResponse::text(status, note.as_str()), note)
}

/// A header block an endpoint understands: namespace and local name.
pub(crate) type Understood<'a> = (&'a str, &'a str);

/// Reads a request to an endpoint that has one action. The checks run in a WCF endpoint's order.
pub(crate) fn read(call: &HttpRequest, action: &str, understood: &[Understood<'_>]) -> Result<Envelope, Refusal> {
    if call.method != Method::POST {
        let note = format!("{} where only POST is allowed", call.method);
        let reply = HttpResponse::text(StatusCode::METHOD_NOT_ALLOWED, note.as_str());
        return Err(Refusal::new(reply.with(header::ALLOW, "POST"), note));
    }
    let content_action = check_content_type(call)?;
    let root = xml::read(&call.body).map_err(|error| refuse_http(StatusCode::BAD_REQUEST, error.to_string()))?;
    let (headers, body) = split(root)?;

    let actions: Vec<&Element> = headers.iter().filter(|block| block.is(ADDRESSING, "Action")).collect();
    let sent = match actions.as_slice() {
        [] => {
            return Err(action_not_supported(format!("there is no Action header in the namespace {ADDRESSING}")));
        }
        [one] => one.text.trim(),
        _ => {
            return Err(refuse(&Fault::deserialization("there is more than one Action header")));
        }
    };
    let mut notes = Vec::new();
    match content_action {
        None if sent != action => return Err(action_not_supported(format!("the Action header is not {action}"))),
        Some(wins) if wins != action => {
            return Err(action_not_supported(format!("the action of the content type is not {action}")));
        }
        // Mono's dispatcher uses the content type. Microsoft's refuses the mismatch.
        Some(_) if sent != action => notes.push("the Action header is not the action of the content type".to_owned()),
        _ => {}
    }

    for block in &headers {
        let known = block.is(ADDRESSING, "Action")
            || (block.namespace == ADDRESSING && UNDERSTOOD_ADDRESSING.contains(&block.name.as_str()))
            || understood.iter().any(|(namespace, name)| block.is(namespace, name));
        if must_be_understood(block)? && !known {
            let reason = format!("the header {} in the namespace `{}` is not understood", block.name, block.namespace);
            return Err(refuse(&Fault::new("MustUnderstand", None, reason)));
        }
    }
    for (index, block) in headers.iter().enumerate() {
        let known = understood.iter().any(|(namespace, name)| block.is(namespace, name));
        if known && headers[..index].iter().any(|before| before.is(&block.namespace, &block.name)) {
            notes.push(format!("the header {} is there more than once: the last counts", block.name));
        }
    }
    let headers = headers.into_iter().filter(|block| block.namespace != ADDRESSING).collect();
    Ok(Envelope { headers, body, notes })
}

/// Checks the content type and returns its parameter `action`.
fn check_content_type(call: &HttpRequest) -> Result<Option<&str>, Refusal> {
    let refuse = |note: &str| refuse_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, note);
    if call.header("content-encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return Err(refuse("the body is compressed"));
    }
    let sent = call.header("content-type").unwrap_or_default();
    let mut parts = sent.split(';').map(str::trim);
    if !parts.next().unwrap_or_default().eq_ignore_ascii_case("application/soap+xml") {
        let Refusal { reply, note } = refuse("the content type is not application/soap+xml");
        let sent: String = sent.chars().take(LONGEST_ECHO).collect();
        let reason =
            format!("Cannot process the message because the content type '{sent}' was not the expected type '{CONTENT_TYPE}'.");
        return Err(Refusal::new(reply.because(reason), note));
    }
    let mut action = None;
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        let value = value.trim_matches('"');
        if name.eq_ignore_ascii_case("charset") && !value.eq_ignore_ascii_case("utf-8") {
            return Err(refuse("the content type's charset is not utf-8"));
        }
        if name.eq_ignore_ascii_case("action") {
            action = Some(value);
        }
    }
    Ok(action)
}

/// Splits an envelope into its header blocks and the one element of its body.
fn split(root: Element) -> Result<(Vec<Element>, Element), Refusal> {
    let bad = |note: String| refuse_http(StatusCode::BAD_REQUEST, note);
    if root.name != "Envelope" {
        return Err(bad(format!("the root element is {} and not Envelope", root.name)));
    }
    if root.namespace == SOAP11 {
        return Err(refuse(&Fault::new("VersionMismatch", None, "the envelope is SOAP 1.1 and not SOAP 1.2")));
    }
    if root.namespace != SOAP12 {
        return Err(bad(format!("the envelope's namespace is not {SOAP12}")));
    }
    if !root.text.trim().is_empty() {
        return Err(bad("there is text in the envelope".to_owned()));
    }
    let mut parts = root.children.into_iter();
    let mut next = parts.next();
    let headers = match next {
        Some(header) if header.is(SOAP12, "Header") => {
            next = parts.next();
            header.children
        }
        _ => Vec::new(),
    };
    let Some(body) = next.filter(|body| body.is(SOAP12, "Body")) else {
        return Err(bad("the envelope is not a Header followed by a Body of the same namespace".to_owned()));
    };
    if parts.next().is_some() {
        return Err(bad("there is an element after the Body".to_owned()));
    }
    if let Some(block) = headers.iter().find(|block| block.namespace.is_empty()) {
        return Err(bad(format!("the header {} has no namespace", block.name)));
    }
    if !body.text.trim().is_empty() {
        return Err(bad("there is text in the Body".to_owned()));
    }
    let mut children = body.children.into_iter();
    match (children.next(), children.next()) {
        (Some(only), None) => Ok((headers, only)),
        _ => Err(refuse(&Fault::deserialization("the Body does not hold exactly one element"))),
    }
}

fn action_not_supported(why: String) -> Refusal {
    let fault = Fault::new(
        "Sender",
        Some("ActionNotSupported"),
        format!(
            "The message cannot be processed at the receiver, due to a ContractFilter mismatch at the EndpointDispatcher: {why}."
        ),
    );
    Refusal::new(fault.reply(), why)
}

fn must_be_understood(block: &Element) -> Result<bool, Refusal> {
    block.attribute(SOAP12, "mustUnderstand").map_or(Some(false), boolean).ok_or_else(|| {
        let note = format!("mustUnderstand of the header {} is neither true nor false", block.name);
        refuse_http(StatusCode::BAD_REQUEST, note)
    })
}

/// Returns the message ID of a call, if it has one that an answer can repeat.
pub(crate) fn message_id(call: &HttpRequest) -> Option<String> {
    // This reads the body a second time, so it first checks for an ID, which few clients send.
    memchr::memmem::find(&call.body, b"MessageID")?;
    let root = xml::read(&call.body).ok()?;
    let header = root.children.into_iter().find(|part| part.name == "Header")?;
    let id = header.child(ADDRESSING, "MessageID")?.text.trim();
    (!id.is_empty() && id.len() <= LONGEST_ECHO).then(|| id.to_owned())
}

/// Returns the text of a required header block that holds only text. Of several blocks, the last counts.
pub(crate) fn header_text<'a>(headers: &'a [Element], namespace: &str, name: &str) -> Result<&'a str, Refusal> {
    let why = match headers.iter().rfind(|block| block.is(namespace, name)) {
        Some(block) if block.children.is_empty() => return Ok(&block.text),
        Some(_) => format!("the header {name} holds an element"),
        None => match headers.iter().find(|block| block.name == name) {
            Some(other) => format!("the header {name} is in the namespace `{}` and not in {namespace}", other.namespace),
            None => format!("the header {name} in the namespace {namespace} is missing"),
        },
    };
    Err(refuse(&Fault::deserialization(why)))
}

#[cfg(test)]
mod tests;
