//! Redacts the headers of an answer to words of closed lists, so that nothing a server sent is kept. Pure.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, LOCATION, RETRY_AFTER, SERVER, WWW_AUTHENTICATE};
use serde::Serialize;

use super::http_date;

/// The placeholder for a value that is in no list.
pub const OTHER: &str = "<other>";

const ENCODINGS: [&str; 7] = ["br", "compress", "deflate", "gzip", "identity", "x-gzip", "zstd"];
const SERVERS: [&str; 14] = [
    "AkamaiGHost",
    "Apache",
    "BigIP",
    "CloudFront",
    "Google Frontend",
    "Kestrel",
    "Microsoft-Azure-Application-Gateway",
    "Microsoft-HTTPAPI",
    "Microsoft-IIS",
    "awselb",
    "cloudflare",
    "envoy",
    "istio-envoy",
    "nginx",
];
const SCHEMES: [&str; 6] = ["Basic", "Bearer", "Digest", "NTLM", "Negotiate", "OAuth"];
const WAITS: [(u64, &str); 11] = [
    (0, "0 s"),
    (1, "up to 1 s"),
    (2, "up to 2 s"),
    (5, "up to 5 s"),
    (10, "up to 10 s"),
    (30, "up to 30 s"),
    (60, "up to 1 m"),
    (120, "up to 2 m"),
    (300, "up to 5 m"),
    (900, "up to 15 m"),
    (3600, "up to 1 h"),
];

/// What is kept of an answer's headers. Every value is compiled in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RedactedHeaders {
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    www_authenticate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<&'static str>,
}

impl RedactedHeaders {
    /// Returns what is kept of these headers.
    pub fn of(version: http::Version, headers: &HeaderMap) -> Self {
        // A value that is not ASCII text still counts as one.
        let of = |name, read: fn(&str) -> &'static str| headers.get(name).map(|value| value.to_str().map_or(OTHER, read));
        let version = match version {
            http::Version::HTTP_10 => Some("HTTP/1.0"),
            http::Version::HTTP_11 => Some("HTTP/1.1"),
            http::Version::HTTP_2 => Some("HTTP/2"),
            _ => None,
        };
        Self {
            version,
            retry_after: of(RETRY_AFTER, wait),
            content_encoding: of(CONTENT_ENCODING, |value| known(&ENCODINGS, value)),
            server: of(SERVER, |value| known(&SERVERS, value.split(['/', '(']).next().unwrap_or_default())),
            www_authenticate: of(WWW_AUTHENTICATE, |value| known(&SCHEMES, value.split([' ', ',']).next().unwrap_or_default())),
            location: of(LOCATION, |value| match value.split_once(':') {
                Some((scheme, _)) => known(&["http", "https"], scheme),
                None => "a path",
            }),
        }
    }
}

fn wait(value: &str) -> &'static str {
    match value.trim().parse::<u64>() {
        Ok(seconds) => WAITS.iter().find(|(limit, _)| seconds <= *limit).map_or("more than 1 h", |(_, said)| said),
        // The only other form.
        Err(_) if http_date(value).is_some() => "a date",
        Err(_) => OTHER,
    }
}

/// Returns the entry of the list that equals the value, or else the placeholder.
pub fn known(list: &[&'static str], value: &str) -> &'static str {
    list.iter().find(|known| known.eq_ignore_ascii_case(value.trim())).unwrap_or(&OTHER)
}
