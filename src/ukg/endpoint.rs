//! Which web-service host is meant, and what is wrong with how it was written.
//!
//! Pure. UKG adds data centres, so no list of subdomains is kept: any single DNS label passes. Which *domains* may be spoken to
//! is the operator's policy and is judged elsewhere.

use std::fmt;

/// A DNS label's and a whole name's longest form (RFC 1035).
const LABEL_MAX: usize = 63;
const HOST_MAX: usize = 253;

/// A web-service host: `https://{subdomain}.{domain}`, where a port may follow the domain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    host: String,
    domain: String,
    port: Option<u16>,
}

/// One of the two parts a host is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `service4`
    Subdomain,
    /// `ultipro.com`
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

/// What is wrong with a part, named by kind. The value is not held: it may come from a Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing is there.
    Empty,
    /// Blanks, line ends or other characters no host name has.
    Characters,
    /// `https://` is in front.
    Scheme,
    /// A path, query or fragment follows.
    Path,
    /// The subdomain holds a dot: a whole host name was pasted.
    WholeHost,
    /// The domain is a single label.
    SingleLabel,
    /// Capital letters.
    Capitals,
    /// A label is empty, too long, or begins or ends with a hyphen.
    Label,
    /// What follows the colon is not a port from 1 to 65535.
    Port,
}

impl Flaw {
    /// What to write instead.
    pub fn advice(self, part: Part) -> &'static str {
        match (self, part) {
            (Flaw::Empty, Part::Subdomain) => {
                "is empty; write the part of the web-service URL between https:// and the first dot, such as service4"
            }
            (Flaw::Empty, Part::Domain) => "is empty; write the part after the first dot, such as ultipro.com",
            (Flaw::Characters, _) => {
                "holds a blank, a line end or another character that no host name has; write lower-case letters, digits and hyphens only"
            }
            (Flaw::Scheme, Part::Subdomain) => {
                "holds a URL; write only what stands between https:// and the first dot, such as service4"
            }
            (Flaw::Scheme, Part::Domain) => "holds a URL; write only the domain, such as ultipro.com",
            (Flaw::Path, Part::Subdomain) => "holds a path; write only what stands before the first dot, such as service4",
            (Flaw::Path, Part::Domain) => "holds a path; write only the domain, such as ultipro.com",
            (Flaw::WholeHost, _) => {
                "holds a dot; write only the part before the first dot here (service4) and the rest in domain (ultipro.com)"
            }
            (Flaw::SingleLabel, _) => "has no dot; write the whole domain, such as ultipro.com",
            (Flaw::Capitals, _) => "holds capital letters; write it in lower case",
            (Flaw::Label, _) => {
                "is not a host name: each part between dots has 1 to 63 letters, digits and hyphens and neither begins nor ends with a hyphen"
            }
            (Flaw::Port, _) => "has a colon that no port from 1 to 65535 follows; leave it out, UKG Pro answers on 443",
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

impl Endpoint {
    /// Puts a host together; the first flaw found is told, of the subdomain before the domain.
    pub fn from_parts(subdomain: &str, domain: &str) -> Result<Self, EndpointFlaw> {
        let of = |part| move |flaw| EndpointFlaw { part, flaw };
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
        let host = format!("{subdomain}.{name}");
        if host.len() > HOST_MAX {
            return Err(of(Part::Domain)(Flaw::Label));
        }
        Ok(Self { host, domain: name.to_owned(), port })
    }

    /// The host's name, without a port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The domain, without a port.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The URL of a path on this host; the path begins with a slash.
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
    // u16's own parser takes a leading '+'.
    if !text.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_put_together_from_its_parts() {
        for (subdomain, domain, url) in [
            ("service4", "ultipro.com", "https://service4.ultipro.com/services/LoginService"),
            ("service3", "ultipro.ca", "https://service3.ultipro.ca/services/LoginService"),
            ("service4", "ultipro.localhost:8443", "https://service4.ultipro.localhost:8443/services/LoginService"),
        ] {
            let endpoint = Endpoint::from_parts(subdomain, domain).expect("a good host");
            assert_eq!(endpoint.url("/services/LoginService"), url);
            assert!(!endpoint.host().contains(':') && !endpoint.domain().contains(':'));
        }
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
            ("service4", "ultipro.com:", Domain, Port),
            ("service4", "ultipro.com:0", Domain, Port),
            ("service4", "ultipro.com:99999", Domain, Port),
            ("service4", "ultipro.com:1:2", Domain, Port),
            ("service4@evil", "ultipro.com", Subdomain, Characters),
        ] {
            let found = Endpoint::from_parts(subdomain, domain).expect_err(subdomain);
            assert_eq!(found, EndpointFlaw { part, flaw }, "{subdomain:?} {domain:?}");
            assert!(!flaw.advice(part).is_empty());
        }
        let long = "a".repeat(64);
        assert_eq!(Endpoint::from_parts(&long, "ultipro.com").expect_err("too long").flaw, Label);
        let deep = vec!["a".repeat(60); 5].join(".");
        assert_eq!(Endpoint::from_parts("service4", &deep).expect_err("too long").flaw, Label);
    }
}
