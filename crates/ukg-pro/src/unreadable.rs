//! Determines why an answer is not a SOAP envelope. Pure.

use crate::soap::read::ReadError;
use crate::transport::{Answer, Unanswered, UnreadableReason};

/// Returns why an answer that is not an envelope cannot be read.
pub(crate) fn unreadable(answer: &Answer, error: ReadError) -> Unanswered {
    if answer.is_html() {
        return Unanswered::NotUkgPro;
    }
    let of_type = |part: &str| answer.content_type.contains(part);
    Unanswered::Unreadable(match error {
        _ if answer.body.trim_ascii().is_empty() => UnreadableReason::Empty,
        _ if of_type("multipart/") => UnreadableReason::Multipart,
        _ if of_type("charset=") && !of_type("utf-8") && !of_type("ascii") => UnreadableReason::Encoding,
        ReadError::NotUtf8 => UnreadableReason::Encoding,
        ReadError::Entities => UnreadableReason::DocumentType,
        ReadError::TooLarge => UnreadableReason::TooLarge,
        ReadError::NotXml if answer.body.trim_ascii_start().starts_with(b"<") => UnreadableReason::Malformed,
        ReadError::NotXml | ReadError::NotSoap => UnreadableReason::NotSoap,
    })
}
