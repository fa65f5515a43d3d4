//! The proxy settings, from the environment.
//!
//! They are read once at start-up from the variables that other programs use, and passed on as a value: nothing here reads the
//! environment later. A user and password in the URL become a header marked as sensitive. The URL itself is not kept, so no error
//! and no log can contain them.

use std::ffi::OsString;
use std::fmt;
use std::sync::Arc;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use url::Url;

/// In order of precedence: the first that is set and not empty counts. Every URL of UKG Pro is https, so `HTTP_PROXY` is ignored.
const PROXY_VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
/// Likewise.
const NO_PROXY_VARIABLES: [&str; 2] = ["NO_PROXY", "no_proxy"];

/// Which hosts are reached through a proxy, and which proxy.
#[derive(Clone, Default)]
pub struct ProxySettings(Option<Arc<Matcher>>);

/// What is wrong with a proxy's URL. The URL is not stored: it may contain a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyFlaw {
    /// Not text.
    #[error("is not UTF-8 text")]
    NotText,
    /// Not a URL, or one without a host.
    #[error(
        "is not the URL of a proxy; write http://host:port or http://user:password@host:port, with special characters of user and \
         password percent-encoded"
    )]
    NotUrl,
    /// An unsupported scheme, such as SOCKS.
    #[error("names a kind of proxy that is not supported; the URL must begin with http:// or https://")]
    Scheme,
    /// Something follows the port: usually a password with a slash, question mark or hash that is not percent-encoded.
    #[error("has more text after host and port; percent-encode / (%2F), ? (%3F) and # (%23) in user and password")]
    Trailing,
}

/// An environment variable and what is wrong with its value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("environment variable {variable} {flaw}")]
pub struct ProxyVariableError {
    variable: &'static str,
    flaw: ProxyFlaw,
}

impl ProxySettings {
    /// Reads `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`.
    pub fn from_env() -> Result<Self, ProxyVariableError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    /// The same, with the environment as a parameter.
    pub fn from_variables(read: impl Fn(&str) -> Option<OsString>) -> Result<Self, ProxyVariableError> {
        let first = |names: &[&'static str]| {
            let found = names.iter().find_map(|name| Some((*name, read(name).filter(|value| !value.is_empty())?)));
            found.map_or(Ok(None), |(variable, value)| match value.into_string() {
                Ok(value) => Ok(Some((variable, value))),
                Err(_) => Err(ProxyVariableError { variable, flaw: ProxyFlaw::NotText }),
            })
        };
        let Some((variable, url)) = first(&PROXY_VARIABLES)? else {
            return Ok(Self::default());
        };
        let no_proxy = first(&NO_PROXY_VARIABLES)?.map(|(_, value)| value).unwrap_or_default();
        Self::new(&url, &no_proxy).map_err(|flaw| ProxyVariableError { variable, flaw })
    }

    /// Proxies all hosts but those of `no_proxy`: a comma-separated list of domains (with their subdomains), addresses, networks,
    /// or `*`.
    pub fn new(url: &str, no_proxy: &str) -> Result<Self, ProxyFlaw> {
        let url = url.trim();
        let with_scheme = if url.contains("://") { url.to_owned() } else { format!("http://{url}") };
        let url = Url::parse(&with_scheme).map_err(|_| ProxyFlaw::NotUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(ProxyFlaw::Scheme);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(ProxyFlaw::Trailing);
        }
        let matcher = |no_proxy: &str| Matcher::builder().https(url.as_str()).no(no_proxy).build();
        // The matcher treats an invalid URL as no proxy.
        if matcher("").intercept(&Uri::from_static("https://service4.ultipro.com")).is_none() {
            return Err(ProxyFlaw::NotUrl);
        }
        Ok(Self(Some(Arc::new(matcher(no_proxy)))))
    }

    /// Returns the proxy for an https URL.
    pub(super) fn of(&self, target: &Uri) -> Option<Intercept> {
        self.0.as_ref()?.intercept(target)
    }
}

/// Scheme, host and port only.
impl fmt::Display for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Only the exception "*" covers a host in .invalid (RFC 6761), so this returns the proxy itself.
        match self.of(&Uri::from_static("https://any.invalid")) {
            Some(proxy) => write!(f, "{}", proxy.uri()),
            None => f.write_str("none"),
        }
    }
}

impl fmt::Debug for ProxySettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxySettings({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(settings: &ProxySettings, target: &'static str) -> Option<String> {
        settings.of(&Uri::from_static(target)).map(|proxy| proxy.uri().to_string())
    }

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let read = |set: &'static [(&str, &str)]| {
            let settings = ProxySettings::from_variables(|name| {
                set.iter().find(|(variable, _)| *variable == name).map(|(_, value)| OsString::from(value))
            });
            of(&settings.expect("readable"), "https://service4.ultipro.com")
        };
        assert_eq!(read(&[]), None);
        assert_eq!(read(&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:1")]).as_deref(), Some("http://a:1/"));
        assert_eq!(read(&[("https_proxy", "http://b:1"), ("ALL_PROXY", "http://c:1")]).as_deref(), Some("http://b:1/"));
        assert_eq!(read(&[("HTTPS_PROXY", ""), ("ALL_PROXY", "http://c:1")]).as_deref(), Some("http://c:1/"));
        assert_eq!(read(&[("all_proxy", "d:3128")]).as_deref(), Some("http://d:3128/"), "http is meant if no scheme is there");
        assert_eq!(read(&[("HTTP_PROXY", "http://e:1")]), None, "it is for http URLs");
        assert_eq!(read(&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", "ultipro.com")]), None);
        assert_eq!(read(&[("HTTPS_PROXY", "http://a:1"), ("NO_PROXY", ""), ("no_proxy", "*")]), None);
    }

    #[test]
    fn no_proxy_names_domains_with_all_below_them_and_networks() {
        let settings = ProxySettings::new("http://proxy:3128", " .cluster.local, ultipro.com,10.0.0.0/8").expect("a proxy");
        for direct in ["https://ultipro.com", "https://service4.UltiPro.com", "https://a.svc.cluster.local", "https://10.1.2.3"]
        {
            assert_eq!(of(&settings, direct), None, "{direct}");
        }
        for proxied in ["https://service3.ultipro.ca", "https://notultipro.com", "https://11.1.2.3"] {
            assert!(of(&settings, proxied).is_some(), "{proxied}");
        }
    }

    #[test]
    fn user_and_password_are_decoded_and_never_shown() {
        let settings = ProxySettings::new("http://us%40er:p%2Fa%3Ass@proxy.corp:3128", "").expect("a proxy");
        let proxy = settings.of(&Uri::from_static("https://service4.ultipro.com")).expect("proxied");
        let header = proxy.basic_auth().expect("with a user");
        assert_eq!(header, "Basic dXNAZXI6cC9hOnNz", "us@er:p/a:ss");
        assert!(header.is_sensitive());
        let shown = format!("{settings} {settings:?} {:?} {proxy:?}", settings.0);
        for secret in ["us@er", "us%40er", "p/a", "p%2Fa", "dXNAZX"] {
            assert!(!shown.contains(secret), "{shown}");
        }
        assert_eq!(settings.to_string(), "http://proxy.corp:3128/");
        assert_eq!(ProxySettings::default().to_string(), "none");
    }

    #[test]
    fn a_value_that_names_no_proxy_is_refused_by_the_variables_name_alone() {
        use std::os::unix::ffi::OsStringExt;
        for (value, flaw) in [
            ("http://", ProxyFlaw::NotUrl),
            ("http://user:canary@", ProxyFlaw::NotUrl),
            ("http://user:canary/x@proxy:3128", ProxyFlaw::NotUrl),
            ("http://proxy:canary", ProxyFlaw::NotUrl),
            ("http://user:12/canary@proxy:3128", ProxyFlaw::Trailing),
            ("http://user:12#canary@proxy:3128", ProxyFlaw::Trailing),
            ("http://user:12?canary@proxy:3128", ProxyFlaw::Trailing),
            ("socks5://user:canary@proxy:1080", ProxyFlaw::Scheme),
            ("ftp://canary", ProxyFlaw::Scheme),
        ] {
            let found = ProxySettings::from_variables(|name| (name == "https_proxy").then(|| value.into())).expect_err(value);
            assert_eq!(found, ProxyVariableError { variable: "https_proxy", flaw }, "{value}");
            let shown = format!("{found} {found:?}");
            assert!(shown.contains("environment variable https_proxy ") && !shown.contains("canary"), "{shown}");
        }
        let bytes = |name: &str| (name == "ALL_PROXY").then(|| OsString::from_vec(vec![0xff]));
        let found = ProxySettings::from_variables(bytes).expect_err("no text");
        assert_eq!(found, ProxyVariableError { variable: "ALL_PROXY", flaw: ProxyFlaw::NotText });
    }
}
