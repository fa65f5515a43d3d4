//! What the largest answer that is accepted costs in memory.

use ukgpro_operator::ukg::soap::read::{DEPTH_MAX, ELEMENTS_MAX, NAMESPACE_MAX, ReadError, envelope};
use ukgpro_operator::ukg::transport::BODY_MAX;

/// Beside the body itself. A text that grows piece by piece is for a moment there twice, and half empty.
const MEMORY_MAX: u64 = 4 * BODY_MAX as u64;

fn in_envelope(content: &str) -> String {
    format!("<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{content}</s:Body></s:Envelope>")
}

#[test]
fn reading_the_largest_answer_takes_at_most_four_times_its_size() {
    let room = BODY_MAX - in_envelope("").len();
    let name = "n".repeat(room / 2 / (ELEMENTS_MAX - 2) - 3);
    let long_name = "n".repeat(room / 2 / (DEPTH_MAX - 2) - 3);
    let namespace = "u".repeat(NAMESPACE_MAX);
    let most = "<b/>".repeat(ELEMENTS_MAX - 4) + &" ".repeat(room / 2);
    let too_long = "u".repeat(room / 4);
    for (what, content) in [
        ("one text", format!("<a>{}</a>", "x".repeat(room - 7))),
        ("many references", format!("<a>{}</a>", "&amp;".repeat((room - 7) / 5))),
        ("many elements", format!("<{name}></{name}>").repeat(ELEMENTS_MAX - 2)),
        ("deep elements", format!("<{long_name}>").repeat(DEPTH_MAX - 2) + &format!("</{long_name}>").repeat(DEPTH_MAX - 2)),
        ("a long namespace on many elements", format!("<a xmlns=\"{namespace}\">{most}</a>")),
        ("too long a namespace on many elements", format!("<a xmlns=\"{too_long}\">{most}</a>")),
    ] {
        let text = in_envelope(&content);
        assert!(text.len() <= BODY_MAX && text.len() > BODY_MAX / 2, "{what}: {} bytes", text.len());
        let mut read = None;
        let used = allocation_counter::measure(|| read = Some(envelope(text.as_bytes()).map(drop)));
        assert!(used.bytes_max <= MEMORY_MAX, "{what}: {} bytes at once", used.bytes_max);
        let expected = if what.starts_with("too") { Err(ReadError::TooLarge) } else { Ok(()) };
        assert_eq!(read, Some(expected), "{what}");
    }
}
