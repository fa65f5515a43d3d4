//! Prometheus' own text format (0.0.4), for clients that do not ask for OpenMetrics: `promtool check metrics` and older scrapers.
//! Pure.
//!
//! It is converted from the OpenMetrics text, the only one that the library writes. Here, a counter's family is named like its
//! samples, type `info` becomes a gauge and an unknown type `untyped`, and there are no units and no end mark.

use std::fmt::Write as _;

/// The media type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Converts OpenMetrics text to that format.
pub fn of(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len() + open_metrics.len() / 64);
    // Writing to a String cannot fail.
    let mut family = None;
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some("#"), Some(kind @ ("HELP" | "TYPE" | "UNIT" | "EOF"))) = (words.next(), words.next()) else {
            let _ = writeln!(text, "{line}");
            continue;
        };
        let (name, rest) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match kind {
            // Kept until the type follows, because the name depends on it.
            "HELP" => family = Some((name, rest)),
            "TYPE" => {
                let (suffix, of_type) = match rest {
                    "counter" => ("_total", "counter"),
                    "info" => ("_info", "gauge"),
                    "unknown" | "stateset" | "gaugehistogram" => ("", "untyped"),
                    other => ("", other),
                };
                if let Some((_, help)) = family.take().filter(|(of, _)| *of == name) {
                    let _ = writeln!(text, "# HELP {name}{suffix} {help}");
                }
                let _ = writeln!(text, "# TYPE {name}{suffix} {of_type}");
            }
            _ => {}
        }
    }
    text
}

/// Whether a client with this `Accept` header prefers OpenMetrics to text (RFC 9110, 12.5.1).
pub fn prefers_open_metrics(accept: Option<&str>) -> bool {
    let mut open_metrics: f32 = 0.0;
    // By how specific the range is: `text/plain`, `text/*`, `*/*`.
    let mut text = [None::<f32>; 3];
    for range in accept.unwrap_or("*/*").split(',') {
        let mut parts = range.split(';').map(str::trim);
        let media = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")?.parse::<f32>().ok()).unwrap_or(1.0).clamp(0.0, 1.0);
        match media.as_str() {
            "application/openmetrics-text" => open_metrics = open_metrics.max(quality),
            "text/plain" => text[0] = Some(text[0].unwrap_or(0.0_f32).max(quality)),
            "text/*" => text[1] = Some(quality),
            "*/*" => text[2] = Some(quality),
            _ => {}
        }
    }
    open_metrics > 0.0 && open_metrics >= text.into_iter().flatten().next().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_name_and_word_in_the_older_format() {
        let open_metrics = "# HELP a_checks Checks.\n# TYPE a_checks counter\na_checks_total{r=\"x # y\"} 3\n\
            # HELP a_build About it.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
            # HELP a_s Time.\n# TYPE a_s histogram\n# UNIT a_s seconds\na_s_bucket{le=\"+Inf\"} 1\na_s_sum 1\na_s_count 1\n\
            # TYPE a_odd unknown\na_odd 1\n# EOF\n";
        let classic = "# HELP a_checks_total Checks.\n# TYPE a_checks_total counter\na_checks_total{r=\"x # y\"} 3\n\
            # HELP a_build_info About it.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n\
            # HELP a_s Time.\n# TYPE a_s histogram\na_s_bucket{le=\"+Inf\"} 1\na_s_sum 1\na_s_count 1\n\
            # TYPE a_odd untyped\na_odd 1\n";
        assert_eq!(of(open_metrics), classic);
    }

    #[test]
    fn open_metrics_is_for_who_asks_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;q=0.3,*/*;q=0.1";
        for (accept, expected) in [
            (None, false),
            (Some("*/*"), false),
            (Some("text/plain"), false),
            (Some(prometheus), true),
            (Some("application/openmetrics-text"), true),
            (Some("application/openmetrics-text; version=1.0.0; q=0"), false),
            (Some("text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.5"), false),
            (Some("application/openmetrics-text,*/*;q=0.8"), true),
            (Some(""), false),
        ] {
            assert_eq!(prefers_open_metrics(accept), expected, "{accept:?}");
        }
    }
}
