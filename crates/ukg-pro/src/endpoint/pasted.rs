//! Guesses what a wrongly written host was meant to be, so that a message can suggest a value to paste. Pure.
//!
//! **Invariant.** A [`Suggestion`], when followed, makes an [`Endpoint`]. It quotes its source, so it is made only from values of
//! a spec, never from a Secret, where any key may contain a password.

use std::fmt;

use super::Endpoint;

/// Domains with only login pages and recruiting sites.
const LOGIN_DOMAINS: [&str; 2] = ["ultiproworkplace.com", "rec.pro.ukg.net"];
/// Domains where `connect` is the employees' login page. Elsewhere it may be any host.
const CONNECT_DOMAINS: [&str; 3] = ["ultipro.com", "ultipro.ca", "ukgpro.com"];

/// The parts to write, if they differ from what was written or come from the other part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// Such as `service4`.
    pub subdomain: Option<String>,
    /// Such as `ultipro.com`.
    pub domain: Option<String>,
}

impl Suggestion {
    /// Guesses what was meant by two parts that make no host. A secret part is passed as `None`.
    pub fn of(subdomain: Option<&str>, domain: Option<&str>) -> Option<Self> {
        // A secret part is assumed to be right; these are.
        let (given_subdomain, given_domain) = (subdomain.unwrap_or("service4"), domain.unwrap_or("ultipro.com"));
        let (first, second) = (HostInput::of(given_subdomain), HostInput::of(given_domain));
        if is_login_site(&first.host) || is_login_site(&second.host) {
            return None;
        }
        let whole = |host_input: &HostInput| {
            let (label, rest) = host_input.host.split_once('.')?;
            Some((label.to_owned(), host_input.with_port(rest)))
        };
        let from_domain = second.url || is_whole_host(&second.host, &first.host);
        let wholes = [whole(&first), whole(&second).filter(|_| from_domain)];
        for (label, rest) in wholes.into_iter().flatten() {
            if Endpoint::from_parts(&label, &rest).is_ok() {
                return Some(Self { subdomain: Some(label), domain: Some(rest) });
            }
        }
        // A port after the subdomain alone has no valid place, and without it the host would be another.
        if first.port.is_some() {
            return None;
        }
        let label = first.host.split('.').next().unwrap_or_default();
        let rest = second.with_port(&second.host);
        Endpoint::from_parts(label, &rest).ok()?;
        let (subdomain, domain) = (label != given_subdomain, rest != given_domain);
        (subdomain || domain).then(|| Self { subdomain: subdomain.then(|| label.to_owned()), domain: domain.then_some(rest) })
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.subdomain, &self.domain) {
            (Some(subdomain), Some(domain)) => write!(f, "write subdomain {subdomain} and domain {domain}"),
            (Some(subdomain), None) => write!(f, "write subdomain {subdomain}"),
            (None, Some(domain)) => write!(f, "write domain {domain}"),
            (None, None) => Ok(()),
        }
    }
}

/// What a text contains of a host.
pub(super) struct HostInput {
    /// In lower case; empty if there is none.
    pub(super) host: String,
    /// `None` for the default, 443.
    port: Option<String>,
    /// Whether it began with a scheme.
    url: bool,
}

impl HostInput {
    pub(super) fn of(text: &str) -> Self {
        let text = text.trim().trim_matches(['"', '\'']);
        let (url, rest) = text.split_once("://").map_or((false, text), |(_, rest)| (true, rest));
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // Never repeats a user name and password before an @.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        let port = (!matches!(port, "" | "443")).then(|| port.to_owned());
        Self { host: host.trim_end_matches('.').to_ascii_lowercase(), port, url }
    }

    fn with_port(&self, domain: &str) -> String {
        self.port.as_ref().map_or_else(|| domain.to_owned(), |port| format!("{domain}:{port}"))
    }
}

/// Whether a host, or a part of one, certainly has login pages and no web services.
pub(super) fn is_login_site(host: &str) -> bool {
    let connect = host
        .strip_prefix("connect")
        .is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(|domain| CONNECT_DOMAINS.contains(&domain)));
    let within = |domain: &str| host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    connect || LOGIN_DOMAINS.iter().any(|domain| within(domain))
}

/// Whether a domain begins with a subdomain: the given one, or one that only web services have.
pub(super) fn is_whole_host(domain: &str, subdomain: &str) -> bool {
    let numbered = |label: &str| {
        let number = label.strip_prefix("service").or_else(|| label.strip_prefix("rental"));
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    domain
        .split_once('.')
        .is_some_and(|(label, rest)| rest.contains('.') && (label == subdomain || label == "servicet" || numbered(label)))
}

/// Whether a host's name looks like those of known web services.
pub(super) fn may_have_web_services(host: &str) -> bool {
    host.starts_with("service") || host.starts_with("rental")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_to_paste_is_found_in_what_was_pasted() {
        for (subdomain, domain, suggestion) in [
            (
                "https://Service4.UltiPro.com/services/BIDataService",
                "ultipro.com",
                "write subdomain service4 and domain ultipro.com",
            ),
            ("http://Servicet.ultipro.com/services", "x", "write subdomain servicet and domain ultipro.com"),
            ("service3.ultipro.ca", "ultipro.com", "write subdomain service3 and domain ultipro.ca"),
            ("service4.ultipro.localhost:8443", "x", "write subdomain service4 and domain ultipro.localhost:8443"),
            ("https://service4.ultipro.com:443/", "x", "write subdomain service4 and domain ultipro.com"),
            ("https://me:secret@service4.ultipro.com/", "x", "write subdomain service4 and domain ultipro.com"),
            ("Service4", "ultipro.com", "write subdomain service4"),
            ("Service4", "UltiPro.com", "write subdomain service4 and domain ultipro.com"),
            ("service4", "UltiPro.com", "write domain ultipro.com"),
            ("service4/services", "ultipro.com", "write subdomain service4"),
            ("https://service4", "ultipro.com", "write subdomain service4"),
            (" service4\n", "ultipro.com", "write subdomain service4"),
            ("\"service4\"", "ultipro.com", "write subdomain service4"),
            ("service4.", "ultipro.com", "write subdomain service4"),
            ("service4.ultipro", "ultipro.com", "write subdomain service4"),
            ("service4:443", "ultipro.com", "write subdomain service4"),
            ("service4", "https://ultipro.com/", "write domain ultipro.com"),
            ("service4", "https://service4.ultipro.com/services", "write subdomain service4 and domain ultipro.com"),
            ("service4", "service4.ultipro.com", "write subdomain service4 and domain ultipro.com"),
            ("acme", "acme.ultipro.com", "write subdomain acme and domain ultipro.com"),
            ("service4", "eu.example.com/x", "write domain eu.example.com"),
            ("service4", "ultipro.com:443/", "write domain ultipro.com"),
            ("", "https://service4.ultipro.com", "write subdomain service4 and domain ultipro.com"),
        ] {
            let found = Suggestion::of(Some(subdomain), Some(domain)).map(|s| s.to_string());
            assert_eq!(found.as_deref(), Some(suggestion), "{subdomain:?} {domain:?}");
        }
    }

    #[test]
    fn nothing_is_suggested_where_it_cannot_be_told_what_was_meant() {
        for (subdomain, domain) in [
            ("", "ultipro.com"),
            ("service4", ""),
            ("service4", "ultipro"),
            ("service 4", "ultipro.com"),
            ("service4:8443", "ultipro.com"),
            ("-service4", "ultipro.com"),
            ("https://", "ultipro.com"),
            ("https://connect.ultipro.com/", "ultipro.com"),
            ("https://acme.ultiproworkplace.com/", "ultipro.com"),
            ("service4", "ultipro.com:0"),
        ] {
            assert_eq!(Suggestion::of(Some(subdomain), Some(domain)), None, "{subdomain:?} {domain:?}");
        }
    }
}
