//! The resolve step: reads what a connection refers to, and derives the host, the credentials and the permissions to check.
//! [`fetch()`] reads Kubernetes, and only the connection's own namespace; [`resolve`] and [`requirements`] evaluate the result.
//!
//! Secret values are read anew for each check, never cached, and moved into the one type that holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use ukg_pro::capture::Recorder;
use ukg_pro::catalogue::{Api, Catalogue, Requirement, Unknown};
use ukg_pro::credentials::Credentials;
use ukg_pro::endpoint::{AllowedDomain, Endpoint, EndpointFlaw, Flaw, Part, Suggestion, may_come_from_a_secret};
use ukg_pro::sensitive::Sensitive;
use ukg_pro::transport::{BundleFlaw, BundleWarnings, Transport};
use ukg_pro::words::Words;
use zeroize::Zeroizing;

use super::Policy;
use super::lint::Finding;
use crate::api::{ApiChoice, CaReference, SecretKeys, Trim, UkgProConnection, UkgProConnectionSpec};
use crate::cluster::failure::{KUBERNETES_DEADLINE, kubernetes_failure};
use crate::login_guard::single_flight::CaDigest;

mod fetch;
mod read;
mod transports;

pub use self::fetch::fetch;
pub use read::Found;
pub use transports::{TRANSPORTS_KEPT, Transports};

/// The size limit of a credential in bytes. Generated passwords have some tens; this is what a header could carry, and sixty-four
/// concurrent checks can hold it.
pub const VALUE_MAX: usize = 4 << 10;

/// The size limit of a CA bundle in bytes: some sixty certificates. A platform's whole bundle has twice that, and is trusted
/// already.
pub const BUNDLE_MAX: usize = 128 << 10;

/// The limit of permissions per connection: twice what a spec may name one by one. Each permission is one request in every check.
const REQUIREMENTS_MAX: usize = 128;

/// Everything a check needs.
pub struct Target {
    /// The host.
    pub endpoint: Endpoint,
    /// The credentials.
    pub credentials: Credentials,
    /// The HTTPS client.
    pub transport: Transport,
    /// The authorities it trusts besides the platform's.
    pub ca_digest: CaDigest,
    /// What should be corrected in the CA bundle.
    pub bundle_warnings: BundleWarnings,
    /// The permissions that must be granted.
    pub requirements: Vec<Requirement>,
    /// The Secret's `resourceVersion`.
    pub secret_version: String,
    /// The names of the Secret's keys, for messages about which one to correct.
    pub keys: SecretKeys,
    /// The words by which the texts of UKG Pro's answers are classified.
    pub words: Arc<Words>,
    /// Records UKG Pro's answers, redacted; `None` unless a user asked for it.
    pub recorder: Option<Arc<Recorder>>,
}

/// The part of a [`Target`] that may be written to a status or log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The host, as a URL.
    pub endpoint: String,
    /// The Secret's `resourceVersion`.
    pub secret_version: String,
    /// Whether the host looks like one that serves login pages.
    pub has_unknown_subdomain: bool,
    /// The Secret's values that lint found suspicious.
    pub suspicious: Vec<Finding>,
    /// What should be corrected in the CA bundle.
    pub bundle_warnings: BundleWarnings,
}

impl Resolved {
    /// Whether both have the same host and the same version of the Secret.
    pub fn is_about_values(&self, other: &Self) -> bool {
        self.endpoint == other.endpoint && self.secret_version == other.secret_version
    }
}

/// Why a connection refers to nothing that can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// The catalogue lacks these permissions and profiles.
    PermissionsUnknown(Vec<Unknown>),
    /// There are more permissions than may be probed.
    TooManyPermissions,
    /// The Secret does not exist.
    SecretNotFound,
    /// The Secret lacks these keys.
    SecretKeysMissing(Vec<String>),
    /// The value of this key is not text.
    SecretValueNotText(String),
    /// The value of this key has more than [`VALUE_MAX`] bytes.
    SecretValueTooLong(String),
    /// Two values use this key, or a part of the host's name uses a credential's key.
    KeyShared(String),
    /// An invalid part of the host, its place (`spec.domain`, or a key of the Secret), and a suggestion, as far as the spec shows
    /// what was meant.
    EndpointInvalid(EndpointFlaw, String, Option<Suggestion>),
    /// The domain or the port is not one of these.
    DomainNotAllowed(Vec<AllowedDomain>),
    /// What `spec.caRef` names, and what is wrong with it.
    Ca(CaReference, CaFlaw),
    /// The operator has no right to read this, for example `Secret acme`.
    Forbidden(String),
}

/// What is wrong with a CA bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaFlaw {
    /// The object does not exist.
    ObjectNotFound,
    /// The object lacks the key.
    KeyMissing,
    /// It holds no certificate in PEM, or one that cannot be read.
    Bundle(BundleFlaw),
    /// It has more than [`BUNDLE_MAX`] bytes.
    TooLarge,
}

/// Why Kubernetes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the Secret failed.
    #[error("getting the Secret: {}", kubernetes_failure(.0))]
    Secret(#[source] kube::Error),
    /// Reading the CA bundle failed.
    #[error("getting the CA bundle: {}", kubernetes_failure(.0))]
    Ca(#[source] kube::Error),
    /// The right to read is missing, but was there a moment ago.
    #[error("not allowed to get {0}")]
    Forbidden(String),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
}

impl Target {
    /// Returns the part that may be written to a status or log.
    pub fn resolved(&self) -> Resolved {
        Resolved {
            endpoint: self.endpoint.to_string(),
            secret_version: self.secret_version.clone(),
            has_unknown_subdomain: self.endpoint.has_unknown_subdomain(),
            suspicious: Vec::new(),
            bundle_warnings: self.bundle_warnings,
        }
    }
}

/// Returns the host, if the spec alone specifies it. Pure.
pub fn host(spec: &UkgProConnectionSpec) -> Option<String> {
    let endpoint = Endpoint::from_parts(spec.subdomain.as_deref()?, spec.domain.as_deref()?);
    endpoint.ok().map(|endpoint| endpoint.to_string())
}

/// Returns the catalogue rows that a connection requires: those it names first, then those of its profiles. Pure.
pub fn requirements(spec: &UkgProConnectionSpec, catalogue: &Catalogue) -> Result<Vec<Requirement>, Unresolved> {
    let named = spec.permissions.iter().map(|required| {
        let api = match required.api {
            ApiChoice::Auto => None,
            ApiChoice::Soap => Some(Api::Soap),
            ApiChoice::Rest => Some(Api::Rest),
        };
        catalogue.require(&required.name, api)
    });
    let members = spec.profiles.iter().flat_map(|name| match catalogue.profile(name) {
        Ok(profile) => profile.permissions.iter().map(|member| catalogue.require(&member.name, member.api)).collect(),
        Err(unknown) => vec![Err(unknown)],
    });
    let mut requirements: Vec<Requirement> = Vec::new();
    let mut unknown = Vec::new();
    for found in named.chain(members) {
        match found {
            Ok(found) if requirements.iter().all(|before| before.row.name != found.row.name) => requirements.push(found),
            Ok(_) => {}
            Err(error) => unknown.push(error),
        }
    }
    if !unknown.is_empty() {
        Err(Unresolved::PermissionsUnknown(unknown))
    } else if requirements.len() > REQUIREMENTS_MAX {
        Err(Unresolved::TooManyPermissions)
    } else {
        Ok(requirements)
    }
}

/// What a connection refers to.
pub struct ReferencedObjects {
    /// The wanted values of the Secret, if it exists.
    pub secret: Option<Found>,
    /// The CA bundle in PEM, if the connection names one.
    pub bundle: Option<Result<Zeroizing<Vec<u8>>, CaFlaw>>,
}

/// Builds what a check needs from a connection and what it refers to. Does no I/O except reading the platform's certificates.
pub fn resolve(
    connection: &UkgProConnection,
    requirements: Vec<Requirement>,
    references: ReferencedObjects,
    policy: &Policy,
    transports: &Transports,
) -> Result<Target, Unresolved> {
    let spec = &connection.spec;
    let secret = references.secret.ok_or(Unresolved::SecretNotFound)?;
    let secret_version = secret.version.clone().unwrap_or_default();
    let values = Values::of(secret, spec.secret_ref.trim);
    check_keys(&spec.secret_ref.keys)?;
    let endpoint = endpoint(spec, &values, policy)?;
    let keys = spec.secret_ref.keys.clone();
    // LoginService requires the User API key; it is optional only if all permissions are tested by REST.
    let by_rest_alone = !requirements.is_empty() && requirements.iter().all(|requirement| requirement.api == Api::Rest);
    let credentials = values.credentials(&keys, by_rest_alone)?;
    let (transport, bundle_warnings, ca_digest) = match spec.ca_ref.as_ref().zip(references.bundle) {
        None => (transports.shared.clone(), BundleWarnings::default(), None),
        Some((ca, pem)) => {
            let flawed = |flaw| Unresolved::Ca(ca.clone(), flaw);
            let pem = pem.map_err(flawed)?;
            if pem.len() > BUNDLE_MAX {
                return Err(flawed(CaFlaw::TooLarge));
            }
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pem);
            let digest: [u8; 32] = digest.as_ref().try_into().map_err(|_| flawed(CaFlaw::Bundle(BundleFlaw::NoCertificate)))?;
            let (transport, bundle_warnings) = transports.trusting(digest, &pem).map_err(flawed)?;
            (transport, bundle_warnings, Some(digest))
        }
    };
    let words = policy.words.clone();
    Ok(Target {
        endpoint,
        credentials,
        transport,
        ca_digest,
        bundle_warnings,
        requirements,
        secret_version,
        keys,
        words,
        recorder: None,
    })
}

/// A Secret's values, each wiped when dropped.
struct Values {
    by_key: BTreeMap<String, Option<Zeroizing<Vec<u8>>>>,
    trim: Trim,
}

impl Values {
    fn of(secret: Found, trim: Trim) -> Self {
        Self { by_key: secret.values, trim }
    }

    /// Returns the value of this key, if there is one.
    fn get(&self, key: &str) -> Result<Option<Sensitive>, Unresolved> {
        let Some(value) = self.by_key.get(key) else { return Ok(None) };
        let bytes = value.as_ref().ok_or_else(|| Unresolved::SecretValueTooLong(key.to_owned()))?;
        let mut text = std::str::from_utf8(bytes).map_err(|_| Unresolved::SecretValueNotText(key.to_owned()))?;
        if self.trim == Trim::Newline
            && let Some(line) = text.strip_suffix('\n')
        {
            text = line.strip_suffix('\r').unwrap_or(line);
        }
        Ok(Some(Sensitive::new(text.to_owned())))
    }

    fn credentials(&self, keys: &SecretKeys, without_user_api_key: bool) -> Result<Credentials, Unresolved> {
        let names = [&keys.username, &keys.password, &keys.customer_api_key, &keys.user_api_key];
        let required = &names[..if without_user_api_key { 3 } else { 4 }];
        let missing = required.iter().filter(|name| !self.by_key.contains_key(**name)).map(|name| (*name).clone()).collect();
        match (self.get(names[0])?, self.get(names[1])?, self.get(names[2])?, self.get(names[3])?) {
            (Some(username), Some(password), Some(customer_api_key), user_api_key)
                if user_api_key.is_some() || without_user_api_key =>
            {
                Ok(Credentials { username, password, customer_api_key, user_api_key })
            }
            _ => Err(Unresolved::SecretKeysMissing(missing)),
        }
    }
}

/// Checks that no key serves two values, and that the host's name, which is shown, does not come from a credential's key. The CRD
/// requires this too, but the connection may have been stored under another CRD.
fn check_keys(keys: &SecretKeys) -> Result<(), Unresolved> {
    let SecretKeys { username, password, customer_api_key, user_api_key, domain, subdomain } = keys;
    let credentials = [username, password, customer_api_key, user_api_key];
    let standard = SecretKeys::default();
    let standard = [&standard.username, &standard.password, &standard.customer_api_key, &standard.user_api_key];
    let twice = credentials.iter().enumerate().find(|(at, key)| credentials[..*at].contains(key)).map(|(_, key)| *key);
    let shown = [domain, subdomain].into_iter().find(|key| credentials.contains(key) || standard.contains(key));
    match twice.or(shown).or(Some(domain).filter(|domain| *domain == subdomain)) {
        Some(key) => Err(Unresolved::KeyShared(key.clone())),
        None => Ok(()),
    }
}

/// Returns the host from the spec, or else from the Secret, if the operator may connect to it.
fn endpoint(spec: &UkgProConnectionSpec, values: &Values, policy: &Policy) -> Result<Endpoint, Unresolved> {
    let keys = &spec.secret_ref.keys;
    let allowed = &policy.allowed_domains;
    let part = |field: &Option<String>, key: &String| match field {
        Some(value) => Ok(Some((Sensitive::new(value.clone()), None))),
        None => Ok(values.get(key)?.map(|value| (value, Some(key.clone())))),
    };
    let domain = part(&spec.domain, &keys.domain)?;
    let subdomain = part(&spec.subdomain, &keys.subdomain)?;
    let (Some((domain, domain_key)), Some((subdomain, subdomain_key))) = (&domain, &subdomain) else {
        let missing = [(domain.is_none(), &keys.domain), (subdomain.is_none(), &keys.subdomain)];
        return Err(Unresolved::SecretKeysMissing(
            missing.into_iter().filter(|(is, _)| *is).map(|(_, key)| key.clone()).collect(),
        ));
    };
    // First of all: nothing about a Secret's value that is rejected here is reported, not even what is wrong with it.
    if domain_key.is_some() && !allowed.iter().any(|allowed| allowed.is_written_as(domain.expose())) {
        return Err(Unresolved::DomainNotAllowed(allowed.clone()));
    }
    if let Some(key) = subdomain_key
        && !may_come_from_a_secret(subdomain.expose(), &policy.secret_subdomains)
    {
        let flaw = EndpointFlaw { part: Part::Subdomain, flaw: Flaw::UnknownForm };
        return Err(Unresolved::EndpointInvalid(flaw, format!("key {key} of the Secret"), None));
    }
    let endpoint = Endpoint::from_parts(subdomain.expose(), domain.expose()).map_err(|flaw| {
        let key = match flaw.part {
            Part::Subdomain => subdomain_key,
            Part::Domain => domain_key,
        };
        let place = key.as_ref().map_or_else(|| format!("spec.{}", flaw.part), |key| format!("key {key} of the Secret"));
        let suggestion = Suggestion::of(spec.subdomain.as_deref(), spec.domain.as_deref());
        Unresolved::EndpointInvalid(flaw, place, suggestion)
    })?;
    if allowed.iter().any(|domain| domain.permits(&endpoint)) {
        Ok(endpoint)
    } else {
        Err(Unresolved::DomainNotAllowed(allowed.to_vec()))
    }
}

#[cfg(test)]
mod tests;
