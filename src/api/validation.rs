//! The CEL rules for `spec.domain` and `spec.subdomain`: their messages hold the value to paste.
//!
//! What [`ukg_pro::endpoint`] does in the reconciler, the API server does here as far as its language goes, so that a mistake
//! ends at `kubectl apply`. One rule per field, or one mistake would give several messages.
//!
//! **Invariants.** What passes [`ukg_pro::endpoint::Endpoint::from_parts`] passes here. A message quotes letters, digits, hyphens,
//! dots and a port only: a line break in one would make the API server drop it. Every text is bounded by the field's `maxLength`,
//! which keeps the cost the API server estimates far below its limit.

use kube::core::{Message, Rule};

/// What stands between two dots, in lower case.
const LABEL: &str = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?";
const PORT: &str = "(:[1-9][0-9]{0,4})?";
const SCHEME: &str = "([a-z]+://)?";
/// What follows the host in a URL.
const PATH: &str = "([/?#].*)?";
/// See `LOGIN_DOMAINS` and `CONNECT_DOMAINS` of [`ukg_pro::endpoint`].
const LOGIN: &str =
    "(([a-z0-9-]+[.])*(ultiproworkplace[.]com|rec[.]pro[.]ukg[.]net)|connect([.](ultipro[.]com|ultipro[.]ca|ukgpro[.]com))?)";
/// A subdomain that only web services have.
const NUMBERED: &str = "(servicet|(service|rental)[0-9]+)";
/// Finds the host and port in a text that has one of two labels or more: `https` is followed by no dot.
const HOST: &str = "self.lowerAscii().find('[a-z0-9-]+([.][a-z0-9-]+)+(:[0-9]+)?')";

/// `spec.subdomain`
pub fn subdomain() -> Rule {
    // Any host that begins so, since what follows would be refused.
    let is_login = matches(&format!("^{SCHEME}({LOGIN}|connect[.][a-z0-9.-]*)(:[0-9]+)?{PATH}$"));
    let is_whole_host = matches(&format!("^{SCHEME}{LABEL}([.]{LABEL}){{2,}}{PORT}{PATH}$"));
    let is_label = matches(&format!("^{SCHEME}{LABEL}{PATH}$"));
    let only = "write only what stands between https:// and the first dot of the web-service URL, such as service4";
    Rule::new(format!("self.matches('^{LABEL}$') && self != 'connect'")).message(Message::Expression(format!(
        "self == '' ? 'subdomain is empty; {only}' : \
         {is_login} ? 'subdomain is of a site where people log in, which has no web services; {only}' : \
         {is_whole_host} && !{is_nested} ? 'subdomain holds a URL or a whole host name; ' + {pair} : \
         {is_label} ? 'subdomain holds capital letters, a URL or a path; write subdomain ' \
         + self.lowerAscii().find('^{SCHEME}[a-z0-9-]+').find('[a-z0-9-]+$') : \
         self.contains('/') ? 'subdomain holds a URL or a path; {only}' : \
         self.contains('.') ? 'subdomain holds a dot; write only the part before the first dot here, such as service4, and the rest \
         in domain, such as ultipro.com' : \
         'subdomain is not a host name; write only letters, digits and hyphens, such as service4'",
        is_nested = is_nested(),
        pair = pair(),
    )))
}

/// `spec.domain`
pub fn domain() -> Rule {
    let name = format!("{LABEL}([.]{LABEL})+{PORT}");
    let is_login = matches(&format!("^{SCHEME}{LOGIN}(:[0-9]+)?{PATH}$"));
    let is_whole_host = matches(&format!("^({SCHEME}{NUMBERED}|[a-z]+://{LABEL})([.]{LABEL}){{2,}}{PORT}{PATH}$"));
    let is_connect = matches(&format!("^{SCHEME}connect[.]"));
    let is_numbered = matches(&format!("^{SCHEME}{NUMBERED}[.]"));
    let is_name = matches(&format!("^{SCHEME}{name}{PATH}$"));
    let only = "write only what follows the first dot of the host name, such as ultipro.com";
    Rule::new(format!(
        "self.matches('^{name}$') && !self.matches('^{LOGIN}(:[0-9]+)?$') && !self.matches('^{NUMBERED}[.].+[.]')"
    ))
    .message(Message::Expression(format!(
        "self == '' ? 'domain is empty; {only}' : \
         {is_login} ? 'domain is of a site where people log in, which has no web services; {only}' : \
         {is_whole_host} && !{is_connect} && !{is_nested} ? 'domain holds a URL or a whole host name; ' + {pair} : \
         {is_name} && !{is_numbered} ? 'domain holds capital letters, a URL or a path; write domain ' + {HOST} : \
         self.contains('/') ? 'domain holds a URL or a path; {only}' : \
         'domain is not a domain name; write it without blanks, such as ultipro.com'",
        is_nested = is_nested(),
        pair = pair(),
    )))
}

fn matches(regex: &str) -> String {
    format!("self.lowerAscii().matches('{regex}')")
}

/// Whether what would be suggested as the domain would be refused in its turn.
fn is_nested() -> String {
    matches(&format!("[.]({NUMBERED}|connect)[.]"))
}

/// `write subdomain service4 and domain ultipro.com`, of a text that holds a host of three labels or more.
fn pair() -> String {
    format!("'write subdomain ' + {HOST}.find('^[a-z0-9-]+') + ' and domain ' + {HOST}.find('[.].*').substring(1)")
}
