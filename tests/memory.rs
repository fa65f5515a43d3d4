//! What the largest answer that is accepted costs in memory, and all that is held together.

use ukg_pro::soap::read::{DEPTH_MAX, ELEMENTS_MAX, NAMESPACE_MAX, ReadError, envelope};
use ukg_pro::transport::{BODY_MAX, LARGE_AT_ONCE, SMALL};
use ukgpro_operator::controller::probe::{READS_PER_CHECK, SHARED_READS_MAX};
use ukgpro_operator::controller::resolve::{BUNDLE_MAX, TRANSPORTS_KEPT, VALUE_MAX};
use ukgpro_operator::operator::PAGE;

/// Beside the body itself: two thousand elements, each with a place of its own, and texts that grow piece by piece.
const MEMORY_MAX: u64 = 8 * BODY_MAX as u64;

fn in_envelope(content: &str) -> String {
    format!("<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Body>{content}</s:Body></s:Envelope>")
}

#[test]
fn reading_the_largest_answer_takes_at_most_eight_times_its_size() {
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

/// Each part is bounded; their product must be too, or one tenant's large objects end the process for all.
#[test]
fn all_that_is_held_at_once_fits_into_the_charts_limit() {
    const KIB: usize = 1 << 10;
    const MIB: usize = 1 << 20;
    // As the chart has them.
    let values =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/charts/ukgpro-operator/values.yaml")).expect("there");
    let values: serde_json::Value = serde_saphyr::from_str(&values).expect("YAML");
    let limit = values["resources"]["limits"]["memory"].as_str().and_then(|limit| limit.strip_suffix("Mi")).expect("in Mi");
    let limit = limit.parse::<usize>().expect("a number") * MIB;
    let checks = usize::try_from(values["operator"]["concurrency"].as_u64().expect("a number")).expect("small");

    // Idle, of which most are pages of the program (docs/benchmarks.md), and ten thousand connections as they are kept.
    let idle = 16 * MIB;
    let kept = 10_000 * 2_500;
    // A value and a bundle each as JSON, as base64 and plain, for a moment.
    let secrets = checks * 6 * VALUE_MAX * 3;
    let bundles = checks * BUNDLE_MAX * 3;
    // A client for each bundle, of those kept and of those in use: the authorities, which are smaller than their PEM, and the platform's.
    let clients = TRANSPORTS_KEPT.max(checks) * (BUNDLE_MAX * 3 / 4 + 100 * KIB);
    // A connection with TLS and its buffers, and an answer that needs no place of its own; by SOAP and by REST side by side.
    let exchanges = (SHARED_READS_MAX + checks * 2 * READS_PER_CHECK) * (60 * KIB + SMALL);
    let large = LARGE_AT_ONCE * (BODY_MAX + usize::try_from(MEMORY_MAX).expect("small"));
    // A connection as it comes over the wire, without what is left out while it is read: 8 KB with every row of the catalogue. As bytes,
    // as text and decoded, for a moment.
    let page = usize::try_from(PAGE).expect("small") * 3 * 16 * KIB;
    let whole = idle + kept + secrets + bundles + clients + exchanges + large + page;
    assert!(whole < limit, "{} MiB of {} MiB", whole / MIB, limit / MIB);
}
