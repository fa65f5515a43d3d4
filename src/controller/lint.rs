//! The lint step: finds values in the Secret that cannot log in, and values that may explain a refused login. Pure.
//!
//! Each refused login brings the account closer to being locked, so values that cannot be right (fatal) are not sent. Suspicious
//! values are sent, and are reported if the login is refused: only UKG Pro decides what a value may be, and its shape proves
//! nothing.
//!
//! | | user name | password | API keys |
//! |---|---|---|---|
//! | empty; newline at the end; surrounding spaces; byte-order mark; invisible or control characters | fatal | fatal | fatal |
//! | letters beyond ASCII | suspicious where REST is used | likewise | fatal in the Customer API key: no header can carry it |
//! | a colon | fatal where REST is used: basic authentication ends there | | |
//! | the whole value is a placeholder | fatal | fatal | fatal |
//! | base64 of a text that ends with a newline, as `echo … \| base64` makes | fatal | fatal | fatal |
//! | in quotes, or with typographic quotes | suspicious: may be chosen | suspicious: may be generated | fatal |
//! | the whole value is another word in `<…>` | suspicious | suspicious: may be generated | fatal |
//! | a placeholder inside the value | suspicious | suspicious | suspicious |
//! | base64 of another text | suspicious | suspicious | suspicious |
//! | the same value as an API key | fatal | fatal | fatal |
//! | in the shape of the other API key | | | suspicious |
//! | an e-mail address | suspicious | | |
//!
//! **Invariant.** A finding holds a key of the Secret and a kind of flaw, never a value, its length or a part of it. Values are
//! never changed.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ukg_pro::credentials::Credentials;
use zeroize::Zeroizing;

use crate::api::{Reason, SecretKeys};

/// The findings about a Secret.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Lint {
    /// Values that cannot be right; empty if a login may be sent.
    pub fatal: Vec<Finding>,
    /// Values that may be right, but look wrong.
    pub suspicious: Vec<Finding>,
}

/// A flaw in the value of a key.
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
    /// It is empty.
    Empty,
    /// It ends in a line feed or carriage return.
    LineEnd,
    /// It begins or ends with whitespace.
    SurroundingBlanks,
    /// It begins with a byte-order mark, which some editors write.
    ByteOrderMark,
    /// It holds a no-break space, a zero-width or another invisible character, as found in web pages and word processors.
    Invisible,
    /// It holds a control character, which no message can carry.
    Control,
    /// A Customer API key that no HTTP header can carry; REST sends it in one.
    NotAscii,
    /// A user name with a colon, where REST is used: basic authentication ends the user name there (RFC 7617).
    Colon,
    /// Letters beyond ASCII in the user name or password, where REST is used: the encoding in which UKG Pro reads them is not
    /// known.
    BeyondAscii,
    /// It is enclosed in quotes, as in a shell or a YAML file.
    Quoted,
    /// It holds typographic quotes, as word processors write.
    TypographicQuotes,
    /// It is a placeholder that was not replaced.
    Placeholder,
    /// It is enclosed in angle brackets. A generated value may have them too.
    AngleBrackets,
    /// It holds something that looks like a placeholder.
    PlaceholderInside,
    /// It is base64 of a text that ends with a newline.
    Base64LineEnd,
    /// It may be base64 of the value.
    Base64,
    /// The two API keys are the same value.
    SameAs(String),
    /// An API key that has the same value as the user name or the password.
    SameAsLogin(String),
    /// The two API keys look swapped.
    SwappedWith(String),
    /// A Customer API key that looks like a User API key.
    LooksLikeUserApiKey,
    /// A User API key that looks like a Customer API key.
    LooksLikeCustomerApiKey,
    /// A user name that looks like an e-mail address, which people log in with, not service accounts.
    EmailAddress,
}

/// What a value is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Username,
    Password,
    CustomerApiKey,
    UserApiKey,
}

impl Role {
    fn is_api_key(self) -> bool {
        matches!(self, Self::CustomerApiKey | Self::UserApiKey)
    }
}

struct Value<'a> {
    role: Role,
    key: &'a str,
    text: &'a str,
}

impl Value<'_> {
    fn has(&self, flaw: ValueFlaw) -> Finding {
        Finding { key: self.key.to_owned(), flaw }
    }
}

/// Checks each value by itself, then compares those that may be right.
pub fn lint(credentials: &Credentials, keys: &SecretKeys, by_rest: bool) -> Lint {
    let Credentials { username, password, customer_api_key, user_api_key } = credentials;
    let values = [
        (Role::Username, &keys.username, Some(username)),
        (Role::Password, &keys.password, Some(password)),
        (Role::CustomerApiKey, &keys.customer_api_key, Some(customer_api_key)),
        (Role::UserApiKey, &keys.user_api_key, user_api_key.as_ref()),
    ];
    let values: Vec<_> = values
        .into_iter()
        .filter_map(|(role, key, value)| value.map(|value| Value { role, key, text: value.expose() }))
        .collect();
    let mut lint = lint_values(&values);
    if by_rest {
        lint_basic_auth(&values, &mut lint);
    }
    lint
}

/// Finds what basic authentication cannot carry, or what may not be decoded as it was sent.
fn lint_basic_auth(values: &[Value<'_>], lint: &mut Lint) {
    for value in values.iter().filter(|value| matches!(value.role, Role::Username | Role::Password)) {
        if value.role == Role::Username && value.text.contains(':') {
            lint.fatal.push(value.has(ValueFlaw::Colon));
        }
        if !value.text.is_ascii() && !lint.fatal.iter().any(|found| found.key == value.key) {
            lint.suspicious.push(value.has(ValueFlaw::BeyondAscii));
        }
    }
}

fn lint_values(values: &[Value<'_>]) -> Lint {
    let mut lint = Lint::default();
    let mut whole = Vec::new();
    for value in values {
        let (fatal, suspicious): (Vec<_>, Vec<_>) =
            flaws(value.role, value.text).into_iter().partition(|flaw| rules_out_a_login(value.role, flaw));
        if fatal.is_empty() {
            whole.push(value);
        }
        lint.fatal.extend(fatal.into_iter().map(|flaw| value.has(flaw)));
        lint.suspicious.extend(suspicious.into_iter().map(|flaw| value.has(flaw)));
    }
    let same: Vec<_> = whole.iter().enumerate().filter_map(|(at, value)| same(&whole[..at], value)).collect();
    // If two values are the same, their shapes do not show which one is right.
    if same.is_empty() {
        lint.suspicious.extend(shapes(&whole));
    }
    lint.fatal.extend(same);
    lint
}

fn rules_out_a_login(role: Role, flaw: &ValueFlaw) -> bool {
    match flaw {
        ValueFlaw::Empty
        | ValueFlaw::LineEnd
        | ValueFlaw::SurroundingBlanks
        | ValueFlaw::ByteOrderMark
        | ValueFlaw::Invisible
        | ValueFlaw::Control
        | ValueFlaw::NotAscii
        | ValueFlaw::Colon
        | ValueFlaw::Placeholder
        | ValueFlaw::Base64LineEnd
        | ValueFlaw::SameAs(_)
        | ValueFlaw::SameAsLogin(_) => true,
        // Generated passwords hold special characters and user names are chosen, but API keys are letters and digits.
        ValueFlaw::Quoted | ValueFlaw::TypographicQuotes | ValueFlaw::AngleBrackets => role.is_api_key(),
        ValueFlaw::PlaceholderInside
        | ValueFlaw::BeyondAscii
        | ValueFlaw::Base64
        | ValueFlaw::SwappedWith(_)
        | ValueFlaw::LooksLikeUserApiKey
        | ValueFlaw::LooksLikeCustomerApiKey
        | ValueFlaw::EmailAddress => false,
    }
}

/// Finds an API key that is also the value of an earlier key.
fn same(earlier: &[&Value<'_>], value: &Value<'_>) -> Option<Finding> {
    let other = earlier.iter().find(|other| other.text == value.text).filter(|_| value.role.is_api_key())?;
    let key = other.key.to_owned();
    Some(value.has(if other.role.is_api_key() { ValueFlaw::SameAs(key) } else { ValueFlaw::SameAsLogin(key) }))
}

/// Finds the flaws of one value: first those around it, then those of the rest.
fn flaws(role: Role, text: &str) -> Vec<ValueFlaw> {
    if text.is_empty() {
        return vec![ValueFlaw::Empty];
    }
    let mut flaws = Vec::new();
    let mut cut = |left: &str, rest: &str, flaw| {
        if left != rest {
            flaws.push(flaw);
        }
    };
    let unmarked = text.strip_prefix('\u{feff}').unwrap_or(text);
    cut(text, unmarked, ValueFlaw::ByteOrderMark);
    let line = unmarked.trim_end_matches(['\n', '\r']);
    cut(unmarked, line, ValueFlaw::LineEnd);
    let core = line.trim_matches(|c: char| c.is_whitespace() && !is_invisible(c));
    cut(line, core, ValueFlaw::SurroundingBlanks);

    if core.chars().any(is_invisible) {
        flaws.push(ValueFlaw::Invisible);
    }
    if core.chars().any(is_control) {
        flaws.push(ValueFlaw::Control);
    }
    if role == Role::CustomerApiKey && flaws.is_empty() && !core.is_ascii() && !core.contains(is_typographic_quote) {
        flaws.push(ValueFlaw::NotAscii);
    }
    if core.len() > 1 && ['"', '\'', '`'].iter().any(|quote| core.starts_with(*quote) && core.ends_with(*quote)) {
        flaws.push(ValueFlaw::Quoted);
    }
    if core.contains(is_typographic_quote) {
        flaws.push(ValueFlaw::TypographicQuotes);
    }
    flaws.extend(placeholder(core));
    flaws.extend(base64_of_text(role, core));
    if role == Role::Username && is_email_address(core) {
        flaws.push(ValueFlaw::EmailAddress);
    }
    flaws
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{2007}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202f}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Includes the two noncharacters, which XML cannot hold either.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}')
}

fn is_typographic_quote(c: char) -> bool {
    matches!(c, '\u{2018}'..='\u{201f}' | '\u{2039}' | '\u{203a}' | '\u{ab}' | '\u{bb}')
}

/// Recognizes what templates and examples hold in place of a value.
fn placeholder(text: &str) -> Option<ValueFlaw> {
    /// Written by people as reminders, and by templates that found no value; compared without `-`, `_` and blanks.
    const WORDS: [&str; 13] = [
        "replaceme",
        "changeme",
        "changeit",
        "fixme",
        "todo",
        "tbd",
        "placeholder",
        "redacted",
        "null",
        "nil",
        "none",
        "undefined",
        "novalue",
    ];
    /// Words that placeholders in angle brackets contain.
    const FIELDS: [&str; 14] = [
        "pass", "user", "key", "secret", "token", "value", "your", "name", "account", "replace", "change", "insert", "here",
        "nil",
    ];
    const MASKS: [char; 9] = ['x', 'X', '*', '.', '-', '_', '?', '\u{2022}', '\u{25cf}'];

    // Allocated once: a string that grows leaves copies behind.
    let mut plain = Zeroizing::new(String::with_capacity(text.len()));
    plain.extend(text.chars().filter(|c| !matches!(c, '-' | '_' | ' ')).map(|c| c.to_ascii_lowercase()));
    let masked = text.chars().count() >= 3
        && text.chars().next().is_some_and(|first| MASKS.contains(&first) && text.chars().all(|c| c == first));
    if WORDS.contains(&plain.as_str()) || masked {
        return Some(ValueFlaw::Placeholder);
    }
    if let Some(inner) = text.strip_prefix('<').and_then(|text| text.strip_suffix('>'))
        && !inner.is_empty()
        && inner.chars().all(|c| c.is_ascii_alphabetic() || matches!(c, ' ' | '_' | '-'))
    {
        let inner = Zeroizing::new(inner.to_ascii_lowercase());
        let field = FIELDS.iter().any(|field| inner.contains(field));
        return Some(if field { ValueFlaw::Placeholder } else { ValueFlaw::AngleBrackets });
    }
    for (open, close) in [("${", "}"), ("$(", ")"), ("{{", "}}"), ("ENC[", "]")] {
        let Some((before, rest)) = text.split_once(open) else { continue };
        let Some((inner, after)) = rest.split_once(close) else { continue };
        // A generated password may contain these brackets, but hardly a name or an expression between them.
        let expression = match open {
            "${" | "$(" => inner.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_'),
            "{{" => inner.contains(|c: char| c.is_ascii_alphabetic()),
            _ => true,
        };
        if expression {
            let whole = before.is_empty() && after.is_empty();
            return Some(if whole { ValueFlaw::Placeholder } else { ValueFlaw::PlaceholderInside });
        }
    }
    ["replaceme", "changeme"].iter().any(|word| plain.contains(word)).then_some(ValueFlaw::PlaceholderInside)
}

/// Returns a flaw if a value decodes as base64 to something that may be the value.
///
/// Eight or twelve letters and digits may be base64 by accident, so a value must show more: padding, a newline inside, or a
/// length at which accidental base64 does not decode to twelve typeable bytes. What an API key decodes to must look like an API
/// key.
fn base64_of_text(role: Role, text: &str) -> Option<ValueFlaw> {
    /// Base64 of five bytes, the usual length of a Customer API key.
    const MIN: usize = 8;
    /// Base64 of twelve bytes, the usual length of a User API key.
    const UNPADDED_MIN: usize = 16;

    if text.len() < MIN || looks_like_api_key(role, text) {
        return None;
    }
    let mut buffer = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
    let length = STANDARD.decode_slice(text, &mut buffer).ok()?;
    let inner = buffer.get(..length)?;
    let line = inner.trim_ascii_end();
    let expected = |b: &u8| match role {
        Role::CustomerApiKey | Role::UserApiKey => b.is_ascii_alphanumeric() || *b == b'-',
        Role::Username | Role::Password => b.is_ascii_graphic() || *b == b' ',
    };
    if line.is_empty() || !line.iter().all(expected) {
        None
    } else if inner.ends_with(b"\n") {
        Some(ValueFlaw::Base64LineEnd)
    } else {
        (text.ends_with('=') || text.len() >= UNPADDED_MIN).then_some(ValueFlaw::Base64)
    }
}

/// The usual lengths of API keys; only probable, so never a proof.
const CUSTOMER_API_KEY_LENGTH: usize = 5;
const USER_API_KEY_LENGTH: usize = 12;

fn is_alphanumeric(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Whether an API key has a usual shape. Such a value is not taken for anything else.
fn looks_like_api_key(role: Role, text: &str) -> bool {
    role.is_api_key() && [CUSTOMER_API_KEY_LENGTH, USER_API_KEY_LENGTH].iter().any(|length| is_alphanumeric(text, *length))
}

/// Finds API keys in the usual shape of the other one.
fn shapes(values: &[&Value<'_>]) -> Vec<Finding> {
    let find = |role, length| values.iter().find(|value| value.role == role && is_alphanumeric(value.text, length));
    let customer = find(Role::CustomerApiKey, USER_API_KEY_LENGTH);
    let user = find(Role::UserApiKey, CUSTOMER_API_KEY_LENGTH);
    match (customer, user) {
        (Some(customer), Some(user)) => vec![user.has(ValueFlaw::SwappedWith(customer.key.to_owned()))],
        (Some(customer), None) => vec![customer.has(ValueFlaw::LooksLikeUserApiKey)],
        (None, Some(user)) => vec![user.has(ValueFlaw::LooksLikeCustomerApiKey)],
        (None, None) => Vec::new(),
    }
}

fn is_email_address(text: &str) -> bool {
    text.split_once('@').is_some_and(|(person, domain)| {
        let inner = domain.trim_matches('.');
        !person.is_empty() && inner == domain && domain.contains('.') && !domain.contains(['@', ' '])
    })
}

/// Returns the reason for findings that rule out a login.
pub fn reason(fatal: &[Finding]) -> Reason {
    let keys = |finding: &Finding| matches!(finding.flaw, ValueFlaw::SameAs(_));
    if !fatal.is_empty() && fatal.iter().all(keys) { Reason::ApiKeysSwapped } else { Reason::SecretValueMalformed }
}

/// Returns findings as text, by key and kind.
pub fn text(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, flaw } = self;
        let what = match flaw {
            ValueFlaw::SameAs(other) | ValueFlaw::SameAsLogin(other) => {
                return write!(f, "{key} has the same value as {other}");
            }
            ValueFlaw::SwappedWith(other) => return write!(f, "{key} and {other} look swapped"),
            ValueFlaw::Empty => "is empty",
            ValueFlaw::LineEnd => "ends with a newline",
            ValueFlaw::SurroundingBlanks => "begins or ends with whitespace",
            ValueFlaw::ByteOrderMark => "begins with a byte-order mark",
            ValueFlaw::Invisible => "contains a no-break space, a zero-width or another invisible character",
            ValueFlaw::Control => "contains a newline or another control character",
            ValueFlaw::NotAscii => "contains a non-ASCII character, which no HTTP header can carry",
            ValueFlaw::Colon => {
                "contains a colon, which ends the user name in basic authentication: permissions that are tested by REST need a user \
                 name without one"
            }
            ValueFlaw::BeyondAscii => {
                "contains a non-ASCII character, which REST may read in another encoding than it was sent in (UTF-8)"
            }
            ValueFlaw::Quoted => "is enclosed in quotes",
            ValueFlaw::TypographicQuotes => "contains typographic quotes",
            ValueFlaw::Placeholder => "is a placeholder that was not replaced",
            ValueFlaw::AngleBrackets => "is enclosed in angle brackets like a placeholder",
            ValueFlaw::PlaceholderInside => "contains what looks like a placeholder that was not replaced",
            ValueFlaw::Base64LineEnd => {
                "is base64 of a text that ends with a newline (encode a Secret's data once, and its stringData not at all)"
            }
            ValueFlaw::Base64 => "may be base64 of the value (encode a Secret's data once, and its stringData not at all)",
            ValueFlaw::LooksLikeUserApiKey => "looks like a User API key",
            ValueFlaw::LooksLikeCustomerApiKey => "looks like a Customer API key",
            ValueFlaw::EmailAddress => "looks like an e-mail address, which is a person's login and not a service account's",
        };
        write!(f, "{key} {what}")
    }
}

#[cfg(test)]
mod tests;
