//! Which subdomains may come from a Secret. Pure.
//!
//! A host name is visible in the status, in DNS and in the logs. Whoever may write a connection chooses the Secret's key, so
//! without a bound they could read any value that has the form of a DNS label. Only subdomains known for web services may come
//! from a Secret. Nothing is reported about any other value, not even its flaw; it must be in the spec.

use std::fmt;
use std::str::FromStr;

/// Digits at most: UKG's data centres have one, and one was seen with three.
const DIGITS_MAX: usize = 4;

/// A subdomain, such as `acme`, or a prefix that digits follow, such as `acme#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubdomainForm {
    name: String,
    digits: bool,
}

impl SubdomainForm {
    fn fits(&self, subdomain: &str) -> bool {
        let Some(rest) = subdomain.strip_prefix(&self.name) else { return false };
        match self.digits {
            true => is_number(rest),
            false => rest.is_empty(),
        }
    }
}

impl FromStr for SubdomainForm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, digits) = text.strip_suffix('#').map_or((text, false), |name| (name, true));
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if name.is_empty() || name.len() > super::LABEL_MAX || !name.chars().all(fits) || name.starts_with('-') {
            return Err("write a subdomain, such as acme, or a prefix and # if digits follow, such as acme#");
        }
        Ok(Self { name: name.to_owned(), digits })
    }
}

impl fmt::Display for SubdomainForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.name, if self.digits { "#" } else { "" })
    }
}

/// Whether a subdomain may come from a Secret: UKG's own `servicet`, or `service` or `rental` with digits; or one of these forms.
pub fn may_come_from_a_secret(subdomain: &str, more: &[SubdomainForm]) -> bool {
    let known = ["service", "rental"].iter().any(|name| subdomain.strip_prefix(name).is_some_and(is_number));
    known || subdomain == "servicet" || more.iter().any(|form| form.fits(subdomain))
}

fn is_number(text: &str) -> bool {
    (1..=DIGITS_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_forms_come_from_a_secret() {
        let more = ["acme", "sandbox-#"].map(|form| form.parse().expect("a form"));
        for subdomain in ["service2", "service101", "servicet", "rental5", "acme", "sandbox-12"] {
            assert!(may_come_from_a_secret(subdomain, &more), "{subdomain}");
        }
        for subdomain in [
            "hunter2",
            "service",
            "service2x",
            "service12345",
            "rental",
            "servicett",
            "service-2",
            "acme2",
            "sandbox-",
            "",
            "service٢",
        ] {
            assert!(!may_come_from_a_secret(subdomain, &more), "{subdomain}");
        }
        assert!(!may_come_from_a_secret("acme", &[]));
    }

    #[test]
    fn what_is_no_form_is_answered_with_what_to_write() {
        for text in ["", "#", "a.b", "a*", "A", "-a", "a##"] {
            assert!(text.parse::<SubdomainForm>().is_err_and(|error| error.contains("such as acme#")), "{text}");
        }
        for text in ["acme", "acme#"] {
            assert_eq!(text.parse::<SubdomainForm>().expect("a form").to_string(), text);
        }
    }
}
