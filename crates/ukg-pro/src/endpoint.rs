//! The web-service host of a connection, and what is wrong with how it is written.
//!
//! Pure. UKG adds data centres, so there is no list of subdomains: any single DNS label is valid except the few that certainly
//! have only login pages. Which *domains* are allowed is the operator's policy, checked elsewhere.

use std::fmt;

use url::{Host, Url};

mod allowed;
mod forms;
mod pasted;

pub use allowed::AllowedDomain;
pub use forms::{SubdomainForm, may_come_from_a_secret};
use pasted::HostInput;
pub use pasted::Suggestion;

/// The default port.
const HTTPS: u16 = 443;

/// The maximum lengths of a DNS label and of a whole name (RFC 1035).
const LABEL_MAX: usize = 63;
const HOST_MAX: usize = 253;

/// A web-service host: `https://{subdomain}.{domain}`, optionally with a port after the domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    domain: String,
    port: Option<u16>,
}

/// One of the two parts of a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Such as `service4`.
    Subdomain,
    /// Such as `ultipro.com`.
    Domain,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Subdomain => "subdomain",
            Part::Domain => "domain",
        })
    }
}

/// What is wrong with a part. The value is not stored: it may come from a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// It is empty.
    Empty,
    /// It has blanks, line ends or other characters that no host name has.
    Characters,
    /// It is a URL: it contains `://`.
    Scheme,
    /// It has a path, query or fragment.
    Path,
    /// It is a whole host name: the subdomain contains a dot, or the domain begins with the subdomain.
    WholeHost,
    /// The domain is a single label.
    SingleLabel,
    /// It has capital letters.
    Capitals,
    /// A label is empty, too long, or begins or ends with a hyphen.
    Label,
    /// What follows the colon is not a port from 1 to 65535.
    Port,
    /// The host is known to have login pages and no web services.
    LoginSite,
    /// It comes from a Secret and has no known form of a web-service subdomain.
    UnknownForm,
}

impl Flaw {
    /// Returns what is wrong, and what to write instead.
    pub fn advice(self, part: Part) -> (&'static str, &'static str) {
        let subdomain = "write only the part between https:// and the first dot of the web-service URL, such as service4";
        let domain = "write only the part after the first dot of the host name, such as ultipro.com";
        let only = match part {
            Part::Subdomain => subdomain,
            Part::Domain => domain,
        };
        match (self, part) {
            (Flaw::Empty, _) => ("is empty", only),
            (Flaw::Characters, _) => (
                "contains a space, a newline or another character that no host name has",
                "write lower-case letters, digits and hyphens only",
            ),
            (Flaw::Scheme, _) => ("contains a URL", only),
            (Flaw::Path, _) => ("contains a path", only),
            (Flaw::WholeHost, Part::Subdomain) => (
                "contains a dot",
                "write only the part before the first dot here, such as service4, and the rest in domain, such as ultipro.com",
            ),
            (Flaw::WholeHost, Part::Domain) => ("contains the subdomain too", only),
            (Flaw::SingleLabel, _) => ("has no dot", "write the whole domain, such as ultipro.com"),
            (Flaw::Capitals, _) => ("contains capital letters", "write it in lower case"),
            (Flaw::Label, _) => (
                "is not a host name",
                "write a name and not an address: each part between dots has 1 to 63 letters, digits and hyphens, and neither \
                 begins nor ends with a hyphen",
            ),
            (Flaw::Port, _) => {
                ("has a colon without a port from 1 to 65535 after it", "leave the port out: UKG Pro answers on port 443")
            }
            (Flaw::UnknownForm, _) => (
                "is not in a form that the operator accepts from a Secret (everybody who may read the connection sees the subdomain)",
                "write it in spec.subdomain, without spaces, capital letters and dots; from a Secret, the operator accepts service or \
                 rental with digits (such as service4), servicet, and what --secret-subdomains adds",
            ),
            (Flaw::LoginSite, _) => ("belongs to a site where people log in, which has no web services", only),
        }
    }
}

/// A part and what is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndpointFlaw {
    /// Which part.
    pub part: Part,
    /// What is wrong.
    pub flaw: Flaw,
}

impl EndpointFlaw {
    /// Returns what is wrong and what to write instead: what was meant, if that is known and not secret.
    pub fn advice(&self, suggestion: Option<&Suggestion>) -> String {
        let (wrong, instead) = self.flaw.advice(self.part);
        match suggestion {
            None => format!("{wrong}; {instead}"),
            Some(suggestion) => format!("{wrong}; {suggestion}"),
        }
    }
}

impl Endpoint {
    /// Makes a host from its parts. Reports the first flaw, of the subdomain before the domain.
    pub fn from_parts(subdomain: &str, domain: &str) -> Result<Self, EndpointFlaw> {
        let of = |part| move |flaw| EndpointFlaw { part, flaw };
        for (part, text) in [(Part::Subdomain, subdomain), (Part::Domain, domain)] {
            // Checked before the form. Otherwise a pasted URL would be corrected, step by step, to a host that cannot work.
            if pasted::is_login_site(&HostInput::of(text).host) {
                return Err(of(part)(Flaw::LoginSite));
            }
        }
        check_common(subdomain).map_err(of(Part::Subdomain))?;
        if subdomain.contains('.') {
            return Err(of(Part::Subdomain)(Flaw::WholeHost));
        }
        check_name(subdomain).map_err(of(Part::Subdomain))?;

        check_common(domain).map_err(of(Part::Domain))?;
        let (name, port) = match domain.split_once(':') {
            None => (domain, None),
            Some((name, port)) => (name, Some(parse_port(port).ok_or(of(Part::Domain)(Flaw::Port))?)),
        };
        check_name(name).map_err(of(Part::Domain))?;
        if !name.contains('.') {
            return Err(of(Part::Domain)(Flaw::SingleLabel));
        }
        if pasted::is_whole_host(name, subdomain) {
            return Err(of(Part::Domain)(Flaw::WholeHost));
        }
        // One host has one name. Otherwise its state (a refused login, a rate limit) would be kept twice.
        let port = port.filter(|port| *port != HTTPS);
        let endpoint = Self { host: format!("{subdomain}.{name}"), domain: name.to_owned(), port };
        // The client may read a name differently: numeric parts as an address, parts that begin with xn-- as Unicode.
        let client = Url::parse(&endpoint.to_string());
        let same = client.is_ok_and(|url| url.host() == Some(Host::Domain(endpoint.host.as_str())));
        if !same || endpoint.host.len() > HOST_MAX {
            return Err(of(Part::Domain)(Flaw::Label));
        }
        Ok(endpoint)
    }

    /// Returns the host's name, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the domain, without a port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// Returns the port.
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(HTTPS)
    }

    /// Whether the subdomain is none of those known for UKG Pro's web services. This is a hint for when the host does not work,
    /// never a reason not to try it, since UKG adds hosts.
    pub fn has_unknown_subdomain(&self) -> bool {
        !pasted::may_have_web_services(&self.host)
    }

    /// Returns the URL of a path on this host. The path begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("{self}{path}")
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            None => write!(f, "https://{}", self.host),
            Some(port) => write!(f, "https://{}:{port}", self.host),
        }
    }
}

fn check_common(part: &str) -> Result<(), Flaw> {
    if part.is_empty() {
        return Err(Flaw::Empty);
    }
    if part.contains("://") {
        return Err(Flaw::Scheme);
    }
    if part.contains(['/', '?', '#']) {
        return Err(Flaw::Path);
    }
    if !part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':')) {
        return Err(Flaw::Characters);
    }
    if part.chars().any(|c| c.is_ascii_uppercase()) {
        return Err(Flaw::Capitals);
    }
    Ok(())
}

fn check_name(name: &str) -> Result<(), Flaw> {
    if name.contains(':') {
        return Err(Flaw::Characters);
    }
    let label = |l: &str| !l.is_empty() && l.len() <= LABEL_MAX && !l.starts_with('-') && !l.ends_with('-');
    if name.split('.').all(label) { Ok(()) } else { Err(Flaw::Label) }
}

fn parse_port(text: &str) -> Option<u16> {
    // u16's own parser accepts a leading '+' or '0'.
    if !text.chars().all(|c| c.is_ascii_digit()) || text.starts_with('0') {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_is_put_together_from_its_parts() {
        for (subdomain, domain, url) in [
            ("service4", "ultipro.com", "https://service4.ultipro.com/services/LoginService"),
            ("service3", "ultipro.ca", "https://service3.ultipro.ca/services/LoginService"),
            ("service4", "ultipro.localhost:8443", "https://service4.ultipro.localhost:8443/services/LoginService"),
            ("service4", "ultipro.com:443", "https://service4.ultipro.com/services/LoginService"),
        ] {
            let endpoint = Endpoint::from_parts(subdomain, domain).expect("a good host");
            assert_eq!(endpoint.url("/services/LoginService"), url);
            assert_eq!(endpoint.host(), url.split(['/', ':']).nth(3).expect("a host"));
            assert_eq!(endpoint.host(), format!("{subdomain}.{}", endpoint.domain()));
        }
    }

    #[test]
    fn a_name_may_be_as_long_as_dns_allows() {
        let domain = |length: usize| {
            let labels = format!("{}.", "a".repeat(59)).repeat(4);
            format!("{labels}{}", "b".repeat(length - "service4.".len() - labels.len()))
        };
        assert_eq!(Endpoint::from_parts("service4", &domain(253)).expect("a name").host().len(), 253);
        let flaw = EndpointFlaw { part: Part::Domain, flaw: Flaw::Label };
        assert_eq!(Endpoint::from_parts("service4", &domain(254)), Err(flaw));
    }

    #[test]
    fn advice_says_what_is_wrong_and_what_to_write() {
        let flaw = EndpointFlaw { part: Part::Domain, flaw: Flaw::SingleLabel };
        assert_eq!(flaw.advice(None), "has no dot; write the whole domain, such as ultipro.com");
        let suggestion = Suggestion { subdomain: None, domain: Some("ultipro.com".to_owned()) };
        assert_eq!(flaw.advice(Some(&suggestion)), format!("has no dot; {suggestion}"));
        assert_eq!([Part::Subdomain, Part::Domain].map(|part| part.to_string()), ["subdomain", "domain"]);
    }

    #[test]
    fn each_way_of_writing_a_host_wrongly_is_told_apart() {
        use Flaw::*;
        use Part::*;
        for (subdomain, domain, part, flaw) in [
            ("", "ultipro.com", Subdomain, Empty),
            ("service4", "", Domain, Empty),
            ("https://service4.ultipro.com", "ultipro.com", Subdomain, Scheme),
            ("service4", "https://service4.ultipro.com/", Domain, Scheme),
            ("service4/services", "ultipro.com", Subdomain, Path),
            ("service4", "ultipro.com/services", Domain, Path),
            ("service4.ultipro.com", "ultipro.com", Subdomain, WholeHost),
            ("service4.", "ultipro.com", Subdomain, WholeHost),
            ("Service4", "ultipro.com", Subdomain, Capitals),
            ("service4", "UltiPro.com", Domain, Capitals),
            ("service4\n", "ultipro.com", Subdomain, Characters),
            ("service4", " ultipro.com", Domain, Characters),
            ("service4:443", "ultipro.com", Subdomain, Characters),
            ("sérvice4", "ultipro.com", Subdomain, Characters),
            ("service4", "ultipro", Domain, SingleLabel),
            ("service4", "ultipro..com", Domain, Label),
            ("service4", ".ultipro.com", Domain, Label),
            ("-service4", "ultipro.com", Subdomain, Label),
            ("127", "0.0.1", Domain, Label),
            ("service4", "ultipro.300", Domain, Label),
            ("xn--a", "ultipro.com", Domain, Label),
            ("service4", "ultipro.com:", Domain, Port),
            ("service4", "ultipro.com:0", Domain, Port),
            ("service4", "ultipro.com:99999", Domain, Port),
            ("service4", "ultipro.com:0443", Domain, Port),
            ("service4", "ultipro.com:+443", Domain, Characters),
            ("service4", "ultipro.com:1:2", Domain, Port),
            ("service4@evil", "ultipro.com", Subdomain, Characters),
            ("service4", "service4.ultipro.com", Domain, WholeHost),
            ("acme", "acme.ultipro.com", Domain, WholeHost),
            ("acme", "servicet.ultipro.com:8443", Domain, WholeHost),
            ("connect", "ultipro.com", Subdomain, LoginSite),
            ("https://Connect.UltiPro.com/", "ultipro.com", Subdomain, LoginSite),
            ("service4", "connect.ultipro.com", Domain, LoginSite),
            ("acme", "ultiproworkplace.com", Domain, LoginSite),
            ("https://acme.ultiproworkplace.com/u/", "ultipro.com", Subdomain, LoginSite),
            ("acme", "rec.pro.ukg.net", Domain, LoginSite),
            ("service4", "acme.rec.pro.ukg.net:443", Domain, LoginSite),
        ] {
            let found = Endpoint::from_parts(subdomain, domain).expect_err(subdomain);
            assert_eq!(found, EndpointFlaw { part, flaw }, "{subdomain:?} {domain:?}");
        }
        let long = "a".repeat(64);
        assert_eq!(Endpoint::from_parts(&long, "ultipro.com").expect_err("too long").flaw, Label);
        let deep = vec!["a".repeat(60); 5].join(".");
        assert_eq!(Endpoint::from_parts("service4", &deep).expect_err("too long").flaw, Label);
    }

    #[test]
    fn no_host_is_refused_for_being_unknown() {
        for (subdomain, domain, looks) in [
            ("service4", "ultipro.com", false),
            ("servicet", "ultipro.com", false),
            ("service101", "ukgpro.com", false),
            ("service-eu", "ultipro.com", false),
            ("rental3", "ultipro.ca", false),
            ("nw1x", "ultipro.com", true),
            ("acme", "ultipro.com", true),
            ("connected", "ultipro.com", true),
            ("myservice", "ultipro.com", true),
            ("eu", "notultiproworkplace.com", true),
            ("ukg", "connect.example.com", true),
            ("ukg", "service.example.com", true),
            ("ukg", "service4.test", true),
        ] {
            let endpoint = Endpoint::from_parts(subdomain, domain).expect(subdomain);
            assert_eq!(endpoint.has_unknown_subdomain(), looks, "{subdomain}.{domain}");
        }
    }

    /// Parts as people write them, and any text.
    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            ".*",
            "[a-z0-9-]{1,70}",
            "(https?://)?([A-Za-z0-9-]{1,12}[.]){1,4}[A-Za-z]{2,5}(:[0-9]{0,6})?(/[a-z/?#.]{0,9})?",
            "(HTTPS://|http://|//)?[Ss]ervice[0-9t][.]?(ultipro[.]com|UltiPro[.]ca)?(:443|:8443)?/?",
            "(connect|acme)[.](ultipro[.]com|ultiproworkplace[.]com|rec[.]pro[.]ukg[.]net)",
        ]
    }

    proptest! {
        #[test]
        fn what_is_accepted_is_the_host_that_a_client_will_speak_to(subdomain in part(), domain in part()) {
            if let Ok(endpoint) = Endpoint::from_parts(&subdomain, &domain) {
                let host = endpoint.host();
                prop_assert_eq!(host, [subdomain.as_str(), endpoint.domain()].join("."));
                prop_assert!(host.len() <= 253 && host.split('.').count() >= 3);
                for label in host.split('.') {
                    prop_assert!((1..=63).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-'));
                    prop_assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
                }
                let url = Url::parse(&endpoint.url("/services/LoginService")).expect("a URL");
                prop_assert_eq!((url.scheme(), url.host_str(), url.path()), ("https", Some(host), "/services/LoginService"));
                prop_assert!(url.username().is_empty() && url.password().is_none());
            }
        }

        #[test]
        fn a_suggestion_is_accepted_when_followed(subdomain in part(), domain in part()) {
            if let Some(suggestion) = Suggestion::of(Some(&subdomain), Some(&domain)) {
                let followed = (suggestion.subdomain.as_ref().unwrap_or(&subdomain), suggestion.domain.as_ref().unwrap_or(&domain));
                prop_assert!(Endpoint::from_parts(followed.0, followed.1).is_ok(), "{suggestion}");
                prop_assert_ne!(followed, (&subdomain, &domain));
            }
        }

        #[test]
        fn a_secret_part_is_neither_needed_nor_told(subdomain in part(), domain in part()) {
            for (given, suggestion) in [
                (&subdomain, Suggestion::of(Some(&subdomain), None)),
                (&domain, Suggestion::of(None, Some(&domain))),
            ] {
                let told = suggestion.iter().flat_map(|suggestion| [&suggestion.subdomain, &suggestion.domain]).flatten();
                for text in told {
                    let name = text.split(':').next().unwrap_or_default();
                    prop_assert!(given.to_ascii_lowercase().contains(name), "{text}");
                }
            }
            prop_assert_eq!(Suggestion::of(None, None), None);
        }

        #[test]
        fn a_flaw_quotes_nothing(subdomain in "[A-Z0-9]{6,9}[./:?# ][A-Z0-9]{6,9}", domain in part()) {
            let flaw = Endpoint::from_parts(&subdomain, &domain).expect_err("capitals");
            let text = flaw.advice(None);
            let windows = (0..=subdomain.len() - 4).map(|at| &subdomain[at..at + 4]);
            prop_assert!(windows.into_iter().all(|window| !text.contains(window)), "{text}");
        }
    }
}
