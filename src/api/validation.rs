//! The CEL rules for `spec.domain` and `spec.subdomain`. Their messages contain the value to paste.
//!
//! With these rules the API server does what [`ukg_pro::endpoint`] does in the reconciler, as far as CEL allows, so that a mistake
//! fails at `kubectl apply`. Each field has one rule, so that one mistake does not give several messages.
//!
//! **Invariants.** Whatever passes [`ukg_pro::endpoint::Endpoint::from_parts`] passes here. A message quotes only letters, digits,
//! hyphens, dots and a port: the API server drops a message with a line break. Every text is bounded by the field's `maxLength`,
//! which keeps the cost that the API server estimates far below its limit.

use kube::core::{Message, Rule};

/// A DNS label in lower case.
const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const PORT: &str = "(:[1-9][0-9]{0,4})?";
const SCHEME: &str = "([a-z]+://)?";
/// The part of a URL after the host.
const PATH: &str = "([/?#].*)?";
/// Hosts of login pages; see `LOGIN_DOMAINS` and `CONNECT_DOMAINS` of [`ukg_pro::endpoint`].
const LOGIN: &str =
    "(([a-z0-9-]+[.])*(ultiproworkplace[.]com|rec[.]pro[.]ukg[.]net)|connect([.](ultipro[.]com|ultipro[.]ca|ukgpro[.]com))?)";
/// A subdomain that only web services have.
const NUMBERED: &str = "(servicet|(service|rental)[0-9]+)";
/// Finds the host and port in a text that contains a host of two labels or more. `https` does not match, because no dot follows
/// it.
const HOST: &str = "self.lowerAscii().find('[a-z0-9-]+([.][a-z0-9-]+)+(:[0-9]+)?')";

/// Returns the rule for `spec.subdomain`.
pub fn subdomain() -> Rule {
    // Any host that begins like this, because the rest would be refused.
    let is_login = matches(&format!("^{SCHEME}({LOGIN}|connect[.][a-z0-9.-]*)(:[0-9]+)?{PATH}$"));
    let is_whole_host = matches(&format!("^{SCHEME}{LABEL}([.]{LABEL}){{2,}}{PORT}{PATH}$"));
    let is_label = matches(&format!("^{SCHEME}{LABEL}{PATH}$"));
    let only = "write only the part between https:// and the first dot of the web-service URL, such as service4";
    Rule::new(format!("self.matches('^{LABEL}$') && self != 'connect'")).message(Message::Expression(format!(
        "self == '' ? 'subdomain is empty; {only}' : \
         {is_login} ? 'subdomain belongs to a site where people log in, which has no web services; {only}' : \
         {is_whole_host} && !{is_nested} ? 'subdomain contains a URL or a whole host name; ' + {pair} : \
         {is_label} ? 'subdomain contains capital letters, a URL or a path; write subdomain ' \
         + self.lowerAscii().find('^{SCHEME}[a-z0-9-]+').find('[a-z0-9-]+$') : \
         self.contains('/') ? 'subdomain contains a URL or a path; {only}' : \
         self.contains('.') ? 'subdomain contains a dot; write only the part before the first dot here, such as service4, and the rest \
         in domain, such as ultipro.com' : \
         'subdomain is not a host name; write only letters, digits and hyphens, such as service4'",
        is_nested = is_nested(),
        pair = pair(),
    )))
}

/// Returns the rule for `spec.domain`.
pub fn domain() -> Rule {
    let name = format!("{LABEL}([.]{LABEL})+{PORT}");
    let is_login = matches(&format!("^{SCHEME}{LOGIN}(:[0-9]+)?{PATH}$"));
    let is_whole_host = matches(&format!("^({SCHEME}{NUMBERED}|[a-z]+://{LABEL})([.]{LABEL}){{2,}}{PORT}{PATH}$"));
    let is_connect = matches(&format!("^{SCHEME}connect[.]"));
    let is_numbered = matches(&format!("^{SCHEME}{NUMBERED}[.]"));
    let is_name = matches(&format!("^{SCHEME}{name}{PATH}$"));
    let only = "write only the part after the first dot of the host name, such as ultipro.com";
    Rule::new(format!(
        "self.matches('^{name}$') && !self.matches('^{LOGIN}(:[0-9]+)?$') && !self.matches('^{NUMBERED}[.].+[.]')"
    ))
    .message(Message::Expression(format!(
        "self == '' ? 'domain is empty; {only}' : \
         {is_login} ? 'domain belongs to a site where people log in, which has no web services; {only}' : \
         {is_whole_host} && !{is_connect} && !{is_nested} ? 'domain contains a URL or a whole host name; ' + {pair} : \
         {is_name} && !{is_numbered} ? 'domain contains capital letters, a URL or a path; write domain ' + {HOST} : \
         self.contains('/') ? 'domain contains a URL or a path; {only}' : \
         'domain is not a domain name; write it without spaces, such as ultipro.com'",
        is_nested = is_nested(),
        pair = pair(),
    )))
}

fn matches(regex: &str) -> String {
    format!("self.lowerAscii().matches('{regex}')")
}

/// Returns an expression for whether the suggested domain would be refused too.
fn is_nested() -> String {
    matches(&format!("[.]({NUMBERED}|connect)[.]"))
}

/// Returns an expression for `write subdomain service4 and domain ultipro.com`, for a text with a host of three labels or more.
fn pair() -> String {
    format!("'write subdomain ' + {HOST}.find('^[a-z0-9-]+') + ' and domain ' + {HOST}.find('[.].*').substring(1)")
}
