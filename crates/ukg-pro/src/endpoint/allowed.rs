//! The domains, and their ports, that connections may use. Pure.
//!
//! The port is part of the permission. Whoever may choose any port of an allowed domain learns from the verdicts which ports are
//! open, filtered or closed, and can delay checks at each port as at a separate host.

use std::fmt;
use std::str::FromStr;

use super::{Endpoint, HTTPS, Part, check_common, check_name, parse_port};

/// A domain that connections may use, such as `ultipro.com`, `ultipro.com:8443` or `ultipro.com:*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDomain {
    name: String,
    port: Port,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Port {
    Only(u16),
    Any,
}

impl AllowedDomain {
    /// Whether this host is allowed.
    pub fn permits(&self, endpoint: &Endpoint) -> bool {
        let port = match self.port {
            Port::Only(port) => port == endpoint.port(),
            Port::Any => true,
        };
        port && self.name == endpoint.domain()
    }
}

impl AllowedDomain {
    /// Whether a text is this domain, with an allowed port if it has one.
    pub fn is_written_as(&self, text: &str) -> bool {
        let (name, port) = text.split_once(':').map_or((text, Some(HTTPS)), |(name, port)| (name, parse_port(port)));
        let is_allowed = |port| self.port == Port::Any || self.port == Port::Only(port);
        name == self.name && port.is_some_and(is_allowed)
    }
}

impl FromStr for AllowedDomain {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, port) = match text.split_once(':') {
            None => (text, Port::Only(HTTPS)),
            Some((name, "*")) => (name, Port::Any),
            Some((name, port)) => {
                let port = parse_port(port);
                (name, Port::Only(port.ok_or("write a port from 1 to 65535 after the colon, or * for every port")?))
            }
        };
        let flaw = check_common(name).and_then(|()| check_name(name)).err();
        match flaw {
            Some(flaw) => {
                let (wrong, instead) = flaw.advice(Part::Domain);
                Err(format!("the domain {wrong}; {instead}"))
            }
            None if !name.contains('.') => Err("write the whole domain, such as ultipro.com".to_owned()),
            None => Ok(Self { name: name.to_owned(), port }),
        }
    }
}

impl fmt::Display for AllowedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Port::Only(HTTPS) => f.write_str(&self.name),
            Port::Only(port) => write!(f, "{}:{port}", self.name),
            Port::Any => write!(f, "{}:*", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ports_that_are_named_are_allowed_and_443_where_none_is() {
        for (allowed, subdomain, domain, permits) in [
            ("ultipro.com", "service4", "ultipro.com", true),
            ("ultipro.com", "service4", "ultipro.com:443", true),
            ("ultipro.com", "service4", "ultipro.com:22", false),
            ("ultipro.com", "service4", "notultipro.com", false),
            ("ultipro.com", "service4", "ultipro.com.example", false),
            ("ultipro.com:8443", "service4", "ultipro.com:8443", true),
            ("ultipro.com:8443", "service4", "ultipro.com", false),
            ("ultipro.com:443", "service4", "ultipro.com", true),
            ("ultipro.com:*", "service4", "ultipro.com:1", true),
            ("ultipro.com:*", "service4", "ultipro.com", true),
        ] {
            let allowed: AllowedDomain = allowed.parse().expect("a domain");
            let endpoint = Endpoint::from_parts(subdomain, domain).expect("a host");
            assert_eq!(allowed.permits(&endpoint), permits, "{allowed} {endpoint}");
            assert_eq!(allowed.is_written_as(domain), permits, "{allowed} {domain}");
        }
    }

    #[test]
    fn what_is_no_domain_is_answered_with_what_to_write() {
        for (text, says) in [
            ("https://ultipro.com", "port from 1 to 65535"),
            ("ultipro.com/x", "path"),
            ("com", "whole domain"),
            ("", "empty"),
            ("ultipro.com:", "port"),
            ("ultipro.com:0", "port"),
            ("ultipro.com:65536", "port"),
            ("ultipro.com:*:1", "port"),
            ("UltiPro.com", "lower case"),
            ("*.ultipro.com", "lower-case letters"),
        ] {
            let error = text.parse::<AllowedDomain>().expect_err(text);
            assert!(error.contains(says), "{text}: {error}");
        }
        for text in ["ultipro.com", "ultipro.com:8443", "ultipro.com:*"] {
            assert_eq!(text.parse::<AllowedDomain>().expect("a domain").to_string(), text);
        }
        assert_eq!("ultipro.com:443".parse::<AllowedDomain>().expect("a domain").to_string(), "ultipro.com");
    }
}
