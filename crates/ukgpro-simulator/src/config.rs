//! The tenants file: its fields, its checks and its error texts.
//!
//! Reads and checks text. It touches no file, clock or state. Error texts name the field and what to write, and never quote a
//! credential.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalogue::Grant;

/// The text shown in place of a credential.
const REDACTED: &str = "[redacted]";
/// Records are generated on demand, but a whole answer is built in memory.
const MOST_PEOPLE: usize = 100_000;

/// A credential. It can be compared and is never shown.
#[derive(Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

impl Secret {
    /// Returns the text, to compare with what came over the wire.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(REDACTED)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(REDACTED)
    }
}

/// The whole file.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Config {
    /// The customers whose tenants are simulated.
    #[serde(default)]
    pub(crate) tenants: Vec<Tenant>,
    /// More host names for the certificate. They answer like a login site: with an HTML page.
    #[serde(default)]
    pub(crate) login_sites: Vec<String>,
    /// Consecutive refused logins after which an account locks. Absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lock_after_refusals: Option<u32>,
    /// Lifetime of a token in seconds.
    #[serde(default = "hour")]
    pub(crate) token_lifetime: u64,
    /// What a SOAP data service answers when the permission is missing.
    #[serde(default)]
    pub(crate) denied_as: DeniedAs,
    /// What a REST read answers for a page past the last row.
    #[serde(default)]
    pub(crate) rest_past_end: RestPastEnd,
    /// Whether a data service's WSDL declares the headers UltiProToken and ClientAccessKey, which are required either way.
    #[serde(default = "yes")]
    pub(crate) token_headers_in_wsdl: bool,
    /// Whether an answer begins with a byte-order mark.
    #[serde(default)]
    pub(crate) byte_order_mark: bool,
}

fn yes() -> bool {
    true
}

fn hour() -> u64 {
    3600
}

/// One customer's tenant.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Tenant {
    /// Name in logs and errors, for people only.
    #[serde(default)]
    pub(crate) name: String,
    /// Host names that serve the tenant.
    #[serde(default)]
    pub(crate) hosts: Vec<String>,
    /// The customer API key.
    #[serde(default)]
    pub(crate) customer_api_key: Secret,
    /// Service accounts.
    #[serde(default)]
    pub(crate) accounts: Vec<Account>,
    /// Number of persons.
    #[serde(default = "twenty_five")]
    pub(crate) people: usize,
}

fn twenty_five() -> usize {
    25
}

/// A service account.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Account {
    /// User name, case-sensitive.
    #[serde(default)]
    pub(crate) username: String,
    /// The password.
    #[serde(default)]
    pub(crate) password: Secret,
    /// The user API key, which SOAP needs and REST does not.
    #[serde(default)]
    pub(crate) user_api_key: Secret,
    /// Status. Only an Active account can log in.
    #[serde(default)]
    pub(crate) status: Status,
    /// Rows of Service Account Administration that have View ticked.
    #[serde(default)]
    pub(crate) permissions: Vec<String>,
}

/// State of a service account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum Status {
    /// Can log in.
    #[default]
    Active,
    /// Switched off by an administrator.
    Inactive,
    /// Too many refused logins.
    Locked,
}

/// How a SOAP data service says that a permission is missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum DeniedAs {
    /// HTTP 200 with `HasErrors` and a message about the permission.
    #[default]
    OperationError,
    /// HTTP 403, empty.
    Http403,
    /// HTTP 401, empty.
    Http401,
    /// A fault with the subcode FailedAuthentication and the reason `Access is denied.`
    FaultAccessDenied,
    /// A fault with the code Receiver that names the permission only in its reason.
    FaultPermissionText,
    /// The same, with WCF's own code InternalServiceFault in place of SOAP's.
    FaultPermissionTextBare,
}

/// What a REST read answers for a page past the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum RestPastEnd {
    /// HTTP 200 with `[]`.
    #[default]
    EmptyList,
    /// HTTP 404 with an empty body.
    NotFound,
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    /// The text is not YAML, or a field is unknown or of the wrong type.
    #[error("the configuration cannot be read: {0}")]
    Syntax(String),
    /// The value of a field cannot be used.
    #[error("{field}: {what}")]
    Field {
        /// Path of the field, as in `tenants[0].hosts`.
        field: String,
        /// What is wrong and what to write.
        what: String,
    },
}

fn wrong(field: impl Into<String>, what: impl Into<String>) -> ConfigError {
    ConfigError::Field { field: field.into(), what: what.into() }
}

impl Config {
    /// Reads YAML (or JSON, which is YAML) and checks every field.
    pub(crate) fn parse(text: &str) -> Result<Self, ConfigError> {
        // An error with a snippet would quote the neighbouring lines, including passwords.
        let options = serde_saphyr::options! { with_snippet: false };
        let config: Self =
            serde_saphyr::from_str_with_options(text, options).map_err(|error| ConfigError::Syntax(error.to_string()))?;
        config.check()?;
        Ok(config)
    }

    /// Returns all host names for the certificate.
    pub(crate) fn certificate_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.tenants.iter().flat_map(|tenant| tenant.hosts.clone()).collect();
        names.extend(self.login_sites.iter().cloned());
        names.extend(["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()]);
        names.sort();
        names.dedup();
        names
    }

    fn check(&self) -> Result<(), ConfigError> {
        if self.tenants.is_empty() {
            return Err(wrong("tenants", "write at least one tenant"));
        }
        if self.token_lifetime == 0 {
            return Err(wrong("tokenLifetime", "write a number of seconds from 1 up"));
        }
        if self.lock_after_refusals == Some(0) {
            return Err(wrong("lockAfterRefusals", "write a number from 1 up, or leave it out for accounts never to lock"));
        }
        let mut names = HashSet::new();
        let mut keys = HashMap::new();
        for (index, tenant) in self.tenants.iter().enumerate() {
            let at = format!("tenants[{index}]");
            tenant.check(&at)?;
            if !names.insert(tenant.name.as_str()) {
                return Err(wrong(format!("{at}.name"), format!("`{}` is taken: give each tenant its own name", tenant.name)));
            }
            for host in &tenant.hosts {
                if let Some(other) = keys.insert((host.as_str(), tenant.customer_api_key.expose()), tenant.name.as_str()) {
                    let what = format!("tenant `{other}` has the same key at {host}: give each tenant of a host its own key");
                    return Err(wrong(format!("{at}.customerApiKey"), what));
                }
            }
        }
        for (index, site) in self.login_sites.iter().enumerate() {
            let at = format!("loginSites[{index}]");
            check_host(&at, site)?;
            if self.tenants.iter().any(|tenant| tenant.hosts.contains(site)) {
                return Err(wrong(at, format!("`{site}` is a tenant's host: name a host in one of the two lists only")));
            }
        }
        Ok(())
    }
}

impl Tenant {
    fn check(&self, at: &str) -> Result<(), ConfigError> {
        if self.name.is_empty() {
            return Err(wrong(format!("{at}.name"), "write a name, such as acme"));
        }
        if self.hosts.is_empty() {
            return Err(wrong(format!("{at}.hosts"), "write at least one host name, such as service4.ultipro.localhost"));
        }
        for (index, host) in self.hosts.iter().enumerate() {
            check_host(&format!("{at}.hosts[{index}]"), host)?;
        }
        check_secret(&format!("{at}.customerApiKey"), &self.customer_api_key)?;
        if self.people > MOST_PEOPLE {
            return Err(wrong(format!("{at}.people"), format!("write a number up to {MOST_PEOPLE}")));
        }
        let mut usernames = HashSet::new();
        for (index, account) in self.accounts.iter().enumerate() {
            let at = format!("{at}.accounts[{index}]");
            if account.username.is_empty() {
                return Err(wrong(format!("{at}.username"), "write the service account's user name"));
            }
            if !usernames.insert(account.username.as_str()) {
                let what = format!("`{}` is taken: user names differ within a tenant", account.username);
                return Err(wrong(format!("{at}.username"), what));
            }
            check_secret(&format!("{at}.password"), &account.password)?;
            check_secret(&format!("{at}.userApiKey"), &account.user_api_key)?;
            for (index, permission) in account.permissions.iter().enumerate() {
                Grant::parse(permission).map_err(|what| wrong(format!("{at}.permissions[{index}]"), what))?;
            }
        }
        Ok(())
    }
}

fn check_secret(at: &str, secret: &Secret) -> Result<(), ConfigError> {
    match secret.expose() {
        "" => Err(wrong(at, "write a value")),
        REDACTED => Err(wrong(at, "write the value itself: GET /config does not give credentials out")),
        _ => Ok(()),
    }
}

fn check_host(at: &str, host: &str) -> Result<(), ConfigError> {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if host.len() <= 253 && host.split('.').all(label) {
        return Ok(());
    }
    Err(wrong(
        at,
        format!(
            "`{host}` is no host name: write it in lower case without scheme, port or path, such as service4.ultipro.localhost"
        ),
    ))
}

#[cfg(test)]
pub(crate) mod tests;
