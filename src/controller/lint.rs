//! lint: a target → what proves that a login with it cannot succeed. Pure.
//!
//! Values are named by Secret key and kind of flaw, never by content, and never changed.

use super::resolve::Target;
use crate::ukg::credentials::Credentials;

/// A value that cannot be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The Secret's key.
    pub key: String,
    /// What is wrong with its value.
    pub flaw: ValueFlaw,
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueFlaw {
    /// Nothing is in it.
    Empty,
    /// It ends in a line feed or carriage return.
    LineEnd,
    /// It begins or ends with a blank.
    SurroundingBlanks,
    /// It holds a control character, which no message can carry.
    Control,
    /// An API key that is the other key's value too.
    SameAs(String),
}

/// Whether any value rules out a login; `None` is the good answer.
pub fn lint(target: &Target) -> Option<Vec<Finding>> {
    let Credentials { username, password, customer_api_key, user_api_key } = &target.credentials;
    let keys = &target.keys;
    let values = [(&keys.username, username), (&keys.password, password), (&keys.customer_api_key, customer_api_key)];
    let user_api_key = user_api_key.as_ref().map(|value| (&keys.user_api_key, value));
    let mut findings: Vec<_> = values
        .into_iter()
        .chain(user_api_key)
        .filter_map(|(key, value)| flaw(value.expose()).map(|flaw| Finding { key: key.clone(), flaw }))
        .collect();
    if findings.is_empty() && user_api_key.is_some_and(|(_, value)| value.expose() == customer_api_key.expose()) {
        let flaw = ValueFlaw::SameAs(keys.customer_api_key.clone());
        findings.push(Finding { key: keys.user_api_key.clone(), flaw });
    }
    (!findings.is_empty()).then_some(findings)
}

fn flaw(value: &str) -> Option<ValueFlaw> {
    if value.is_empty() {
        Some(ValueFlaw::Empty)
    } else if value.ends_with(['\n', '\r']) {
        Some(ValueFlaw::LineEnd)
    } else if value.trim() != value {
        Some(ValueFlaw::SurroundingBlanks)
    } else if value.chars().any(char::is_control) {
        Some(ValueFlaw::Control)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_cannot_be_right_are_told_from_odd_ones() {
        for (value, expected) in [
            ("", Some(ValueFlaw::Empty)),
            ("secret\n", Some(ValueFlaw::LineEnd)),
            ("secret\r\n", Some(ValueFlaw::LineEnd)),
            ("\n", Some(ValueFlaw::LineEnd)),
            (" secret", Some(ValueFlaw::SurroundingBlanks)),
            ("secret\u{a0}", Some(ValueFlaw::SurroundingBlanks)),
            ("sec\u{0}ret", Some(ValueFlaw::Control)),
            ("sec\nret", Some(ValueFlaw::Control)),
            ("se cret", None),
            ("p&ss<w>ord\"'", None),
            ("pässwörd€", None),
        ] {
            assert_eq!(flaw(value), expected, "{value:?}");
        }
    }
}
