//! Records what UKG Pro really answered, without identifying anyone, to settle facts that no public recording shows.
//!
//! Off unless the client has a [`Recorder`]. Pure, apart from the recorder's list.
//!
//! **Invariant.** Redacted by construction. Nothing that a server sent is copied: an [`Exchange`] contains words of the built-in
//! [`vocabulary`], names of known things, small numbers and placeholders. All are compiled in; the server's bytes only select
//! among them. So a credential, a token or personal data cannot pass even if a server echoes it, unless it is an ordinary word of
//! the vocabulary. The only other text is the operation, from the catalogue.
//!
//! **Bound.** [`EXCHANGES_MAX`] exchanges, each with a bounded number of elements, texts and words.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::soap::read::{self, ReadError};
use crate::transport::{Answer, RedactedHeaders, Unanswered, known};
use crate::words::Words;

pub mod structure;
pub mod vocabulary;

use structure::{Node, Shape};
use vocabulary::Said;

/// Exchanges kept. A check makes at most 128 reads, each at most twice, and a login.
pub const EXCHANGES_MAX: usize = 300;
/// The step of durations. A finer one says nothing about a server, but something about a network.
const STEP: Duration = Duration::from_millis(10);

/// What is captured of one request and its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// `LoginService/Authenticate`, `EmployeePerson/FindPeople`, `GET /personnel/v1/pto-plans`.
    pub operation: String,
    /// How long it took, rounded up.
    pub milliseconds: u64,
    /// The operator's interpretation: a rule of docs/answers.md.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub taken_as: String,
    /// The lists of `words.yaml` of which the answer contains a word or code.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub speaks_of: Vec<&'static str>,
    /// The stage that failed, if no whole answer came.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "fixed_text")]
    pub unanswered: Option<Unanswered>,
    /// The answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Redacted>,
}

/// A redacted answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Redacted {
    /// HTTP status.
    pub status: u16,
    /// The media type and charset of `Content-Type`, if known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub content_type: Vec<&'static str>,
    /// The other headers.
    pub head: RedactedHeaders,
    /// The body.
    pub body: Body,
}

/// The kind of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// A SOAP envelope.
    Soap,
    /// Well-formed XML, but no envelope.
    Xml,
    /// A web page.
    Html,
    /// JSON.
    Json,
    /// Plain text.
    Text,
    /// Empty or blank.
    Empty,
    /// It begins as XML, but cannot be parsed.
    Unreadable,
    /// Not UTF-8.
    Binary,
}

/// A redacted body.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body {
    /// Its kind.
    pub kind: Kind,
    /// Its size, within a factor of four.
    pub size: &'static str,
    /// Why it cannot be parsed.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "fixed_text")]
    pub error: Option<ReadError>,
    /// The words of plain text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub says: Option<Said>,
    /// Its elements, or its JSON values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub structure: Vec<Node>,
    /// Whether something was left out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// Serializes an error, which has one fixed text.
fn fixed_text<E: std::error::Error, S: Serializer>(error: &Option<E>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&error.as_ref().map(ToString::to_string).unwrap_or_default())
}

/// Redacts an answer.
pub fn redact(operation: &str, answer: &Answer) -> Exchange {
    let redacted = Redacted {
        status: answer.status,
        content_type: content_type(&answer.content_type),
        head: answer.head,
        body: body(operation, answer),
    };
    let unanswered = answer.unread.map(Unanswered::Unreadable);
    Exchange { unanswered, answer: Some(redacted), ..Exchange::of(operation) }
}

/// Returns an exchange without an answer.
pub fn unanswered(operation: &str, unanswered: Unanswered) -> Exchange {
    Exchange { unanswered: Some(unanswered), ..Exchange::of(operation) }
}

impl Exchange {
    fn of(operation: &str) -> Self {
        let operation = operation.to_owned();
        Self { operation, milliseconds: 0, taken_as: String::new(), speaks_of: Vec::new(), unanswered: None, answer: None }
    }
}

/// Elements whose text or code decides how an answer is interpreted.
const TELLING: [&str; 5] = ["StatusMessage", "Message", "Code", "Text", "faultstring"];

/// Returns the lists of words of which one occurs where it counts in an answer.
pub fn speaks_of(answer: &Answer, words: &Words) -> Vec<&'static str> {
    fn gather<'a>(element: &'a read::Element, texts: &mut Vec<&'a str>) {
        // Records are about people, whatever their fields are called.
        if element.name == structure::RECORDS {
            return;
        }
        if TELLING.contains(&element.name.as_str()) {
            texts.push(&element.text);
        }
        element.children.iter().for_each(|child| gather(child, texts));
    }
    let mut texts = Vec::new();
    let document = read::document(&answer.body);
    match &document {
        Ok(root) => gather(root, &mut texts),
        Err(_) if (200..300).contains(&answer.status) => {}
        Err(_) => texts.extend(std::str::from_utf8(&answer.body)),
    }
    words.matching_lists(&texts)
}

fn body(operation: &str, answer: &Answer) -> Body {
    let bytes = answer.body.as_slice();
    let plain = |kind| Body { kind, size: size(bytes.len()), error: None, says: None, structure: Vec::new(), cut: false };
    let of_shape = |kind, shape: Shape| Body { structure: shape.nodes, cut: shape.cut, ..plain(kind) };
    let Ok(text) = std::str::from_utf8(bytes) else { return plain(Kind::Binary) };
    let text = text.trim_start_matches('\u{feff}').trim();
    // Texts of a success are data. Texts of a failure are the purpose of a capture.
    let failed = !(200..300).contains(&answer.status);
    if text.is_empty() {
        return plain(Kind::Empty);
    }
    let document = read::document(bytes);
    match document {
        Ok(root) if read::is_envelope(&root) => of_shape(Kind::Soap, structure::of_xml(&root, operation)),
        _ if answer.is_html() || begins_as_html(text) => plain(Kind::Html),
        Ok(root) => of_shape(Kind::Xml, structure::of_xml(&root, operation)),
        Err(error) if text.starts_with('<') => Body { error: Some(error), ..plain(Kind::Unreadable) },
        Err(_) => match structure::of_json(text.as_bytes(), failed) {
            Some(shape) => of_shape(Kind::Json, shape),
            None => Body { says: failed.then(|| Said::of(text)), ..plain(Kind::Text) },
        },
    }
}

fn begins_as_html(text: &str) -> bool {
    let begins = |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    begins("<!doctype html") || begins("<html")
}

/// Rounds a size up, since the exact size of a known answer reveals the length of its content.
fn size(bytes: usize) -> &'static str {
    match bytes {
        0 => "0",
        1..=1024 => "up to 1 KiB",
        1025..=4096 => "up to 4 KiB",
        4097..=16384 => "up to 16 KiB",
        16385..=65536 => "up to 64 KiB",
        65537..=262_144 => "up to 256 KiB",
        _ => "more than 256 KiB",
    }
}

const MEDIA_TYPES: [&str; 11] = [
    "application/json",
    "application/octet-stream",
    "application/problem+json",
    "application/problem+xml",
    "application/soap+xml",
    "application/xhtml+xml",
    "application/xml",
    "multipart/related",
    "text/html",
    "text/plain",
    "text/xml",
];
const CHARSETS: [&str; 5] = ["utf-8", "utf-16", "iso-8859-1", "us-ascii", "windows-1252"];

fn content_type(value: &str) -> Vec<&'static str> {
    let mut parts = value.split(';');
    let media_type = parts.next().filter(|media_type| !media_type.trim().is_empty()).map(|m| known(&MEDIA_TYPES, m));
    let charset = parts.find_map(|part| part.trim().strip_prefix("charset=")).map(|c| known(&CHARSETS, c.trim_matches('"')));
    media_type.into_iter().chain(charset).collect()
}

/// A bounded collection of exchanges.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Capture>);

/// The collected exchanges.
#[derive(Debug, Default, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capture {
    /// The exchanges, in the order in which they ended.
    pub exchanges: Vec<Exchange>,
    /// How many more were dropped.
    #[serde(skip_serializing_if = "is_zero")]
    pub dropped: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl Recorder {
    /// Adds an exchange with its duration.
    pub fn record(&self, exchange: Exchange, took: Duration) {
        let step = STEP.as_millis();
        let milliseconds = u64::try_from(took.as_millis().div_ceil(step) * step).unwrap_or(u64::MAX);
        // Each change is one push or one addition, so a poisoned lock holds valid data.
        let mut capture = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if capture.exchanges.len() < EXCHANGES_MAX {
            capture.exchanges.push(Exchange { milliseconds, ..exchange });
        } else {
            capture.dropped += 1;
        }
    }

    /// Returns what has been recorded so far.
    pub fn capture(&self) -> Capture {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests;
