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
use crate::login_guard::single_flight::Authority;

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
    pub authority: Authority,
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
    #[error("no right to get {0}")]
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
    let (transport, bundle_warnings, authority) = match spec.ca_ref.as_ref().zip(references.bundle) {
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
        authority,
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
mod tests {
    use super::*;
    use crate::api::RequiredPermission;
    use crate::controller::decide::tests::connection;
    use ukg_pro::endpoint::Flaw;
    use ukg_pro::transport;

    fn values(pairs: &[(&str, &str)]) -> Values {
        let by_key = pairs.iter().map(|(k, v)| ((*k).to_owned(), Some(Zeroizing::new(v.as_bytes().to_vec())))).collect();
        Values { by_key, trim: Trim::None }
    }

    #[test]
    fn the_host_comes_from_spec_first_and_from_the_secret_else() {
        let allowed = ["ultipro.com", "ultipro.ca"].map(|domain| domain.parse().expect("a domain"));
        let policy = Policy {
            allowed_domains: allowed.to_vec(),
            secret_subdomains: vec!["sandbox".parse().expect("a form")],
            allow_private_addresses: false,
            heartbeat: None,
            words: Arc::new(Words::built_in()),
        };
        let mut connection = connection();
        connection.spec.domain = Some("ultipro.com".to_owned());
        connection.spec.subdomain = None;
        let of = |connection: &UkgProConnection, pairs: &[(&str, &str)]| {
            endpoint(&connection.spec, &values(pairs), &policy).map(|e| e.to_string())
        };

        let both = [("domain", "ultipro.ca"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.com".to_owned()));
        assert_eq!(of(&connection, &[]), Err(Unresolved::SecretKeysMissing(vec!["subdomain".to_owned()])));

        connection.spec.subdomain = Some("https://Service4.UltiPro.com/services".to_owned());
        let Err(Unresolved::EndpointInvalid(_, place, suggestion)) = of(&connection, &[]) else { panic!("a URL") };
        assert_eq!(place, "spec.subdomain");
        let paste = "write subdomain service4 and domain ultipro.com";
        assert_eq!(suggestion.map(|suggestion| suggestion.to_string()).as_deref(), Some(paste));

        (connection.spec.domain, connection.spec.subdomain) = (None, None);
        assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.ca".to_owned()));
        // Nothing is reported about a value in no known form, not even what is wrong with it.
        let unknown = || {
            let flaw = EndpointFlaw { part: Part::Subdomain, flaw: Flaw::UnknownForm };
            Err(Unresolved::EndpointInvalid(flaw, "key subdomain of the Secret".to_owned(), None))
        };
        for subdomain in ["service3\n", "hunter2", "hunter2/", "https://service3.ultipro.ca", "Hunter2", "hunter.2", ""] {
            assert_eq!(of(&connection, &[("domain", "ultipro.ca"), ("subdomain", subdomain)]), unknown(), "{subdomain}");
        }
        let added = [("domain", "ultipro.ca"), ("subdomain", "sandbox")];
        assert_eq!(of(&connection, &added), Ok("https://sandbox.ultipro.ca".to_owned()));
        for domain in ["https://hunter2.example/", "hunter2", "ultipro.ca\n", "ultipro.ca:8443", "ULTIPRO.CA", ""] {
            let found = of(&connection, &[("domain", domain), ("subdomain", "service3")]);
            assert_eq!(found, Err(Unresolved::DomainNotAllowed(allowed.to_vec())), "{domain}");
        }
        // Everybody can read the spec already, so its values may be reported.
        connection.spec.subdomain = Some("acme".to_owned());
        assert_eq!(of(&connection, &[("domain", "ultipro.ca")]), Ok("https://acme.ultipro.ca".to_owned()));
        connection.spec.subdomain = None;
        let evil = [("domain", "evil.example"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &evil), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
        let suffix = [("domain", "notultipro.com"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &suffix), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
        (connection.spec.domain, connection.spec.subdomain) = (Some("ultipro.com:22".to_owned()), Some("service4".to_owned()));
        assert_eq!(of(&connection, &[]), Err(Unresolved::DomainNotAllowed(allowed.to_vec())), "no port but 443");
    }

    #[test]
    fn one_line_end_is_dropped_where_that_is_asked_for_and_nothing_else_ever() {
        for (value, none, newline) in [
            ("secret\n", "secret\n", "secret"),
            ("secret\r\n", "secret\r\n", "secret"),
            ("secret\n\n", "secret\n\n", "secret\n"),
            ("secret\r", "secret\r", "secret\r"),
            ("\r\nsecret ", "\r\nsecret ", "\r\nsecret "),
            ("\n", "\n", ""),
            ("", "", ""),
        ] {
            for (trim, expected) in [(Trim::None, none), (Trim::Newline, newline)] {
                let password = Some(Zeroizing::new(value.as_bytes().to_vec()));
                let values = Values::of(Found { version: None, values: [("password".to_owned(), password)].into() }, trim);
                let found = values.get("password").expect("text").expect("there");
                assert_eq!(found.expose(), expected, "{value:?} {trim:?}");
            }
        }
        assert_eq!(connection().spec.secret_ref.trim, Trim::None);
    }

    #[test]
    fn no_key_serves_two_values_and_none_of_a_credential_the_hosts_name() {
        let keys = |change: fn(&mut SecretKeys)| {
            let mut keys = SecretKeys::default();
            change(&mut keys);
            check_keys(&keys)
        };
        let shared = |key: &str| Err(Unresolved::KeyShared(key.to_owned()));
        assert_eq!(keys(|_| {}), Ok(()));
        assert_eq!(keys(|keys| keys.subdomain = "password".to_owned()), shared("password"));
        assert_eq!(keys(|keys| (keys.password, keys.domain) = ("pw".to_owned(), "pw".to_owned())), shared("pw"));
        // Nor a credential's default key, if that credential was given another key.
        assert_eq!(keys(|keys| (keys.password, keys.subdomain) = ("pw".to_owned(), "password".to_owned())), shared("password"));
        assert_eq!(keys(|keys| keys.user_api_key = "customerApiKey".to_owned()), shared("customerApiKey"));
        assert_eq!(keys(|keys| keys.domain = "subdomain".to_owned()), shared("subdomain"));
        assert_eq!(keys(|keys| keys.domain = "host-domain".to_owned()), Ok(()));
        assert_eq!(keys(|keys| (keys.username, keys.user_api_key) = ("user".to_owned(), "username".to_owned())), Ok(()));
    }

    /// The CRD rejects these keys, but may have been another when the connection was stored. The values have a form that would
    /// otherwise be accepted.
    #[test]
    fn nothing_is_used_of_a_connection_that_was_stored_with_a_key_for_two_values() {
        const CANARY: &str = "service777";
        let transports = Transports::new(Transport::new(transport::Trust::default()).expect("the platform trusts somebody"));
        let policy = Policy {
            allowed_domains: vec!["ultipro.com".parse().expect("a domain")],
            secret_subdomains: Vec::new(),
            allow_private_addresses: false,
            heartbeat: None,
            words: Arc::new(Words::built_in()),
        };
        let resolved = |keys: serde_json::Value| {
            let mut connection = connection();
            (connection.spec.domain, connection.spec.subdomain) = (None, None);
            connection.spec.secret_ref.keys = serde_json::from_value(keys).expect("keys");
            let names = ["username", "password", "customerApiKey", "userApiKey", "moved"].map(|name| (name, CANARY));
            let Values { by_key, .. } = values(&[&names[..], &[("domain", "ultipro.com"), ("subdomain", "service4")]].concat());
            let references = ReferencedObjects { secret: Some(Found { version: None, values: by_key }), bundle: None };
            resolve(&connection, Vec::new(), references, &policy, &transports).map(|target| target.endpoint.to_string())
        };
        assert_eq!(resolved(serde_json::json!({})).as_deref(), Ok("https://service4.ultipro.com"));

        let names = ["username", "password", "customerApiKey", "userApiKey", "domain", "subdomain"];
        for (field, key) in names.iter().flat_map(|field| names.map(|key| (*field, key))).filter(|(field, key)| field != key) {
            assert_eq!(resolved(serde_json::json!({field: key})), Err(Unresolved::KeyShared(key.to_owned())), "{field}: {key}");
        }
        // Nor a credential's default key, if that credential was given another key.
        for (field, key) in ["domain", "subdomain"].iter().flat_map(|field| names[..4].iter().map(move |key| (*field, *key))) {
            let keys = serde_json::json!({key: "moved", field: key});
            assert_eq!(resolved(keys), Err(Unresolved::KeyShared(key.to_owned())), "{field}: {key}");
        }
    }

    #[test]
    fn only_what_is_used_need_be_text() {
        let mut found = values(&[("username", "u"), ("password", "p"), ("customerApiKey", "c"), ("userApiKey", "k")]);
        found.by_key.insert("keystore.jks".to_owned(), Some(Zeroizing::new(vec![0xff])));
        assert!(found.credentials(&SecretKeys::default(), false).is_ok());
        found.by_key.insert("password".to_owned(), Some(Zeroizing::new(vec![0xff])));
        let not_text = found.credentials(&SecretKeys::default(), false).err();
        assert_eq!(not_text, Some(Unresolved::SecretValueNotText("password".to_owned())));
        found.by_key.insert("password".to_owned(), None);
        let too_long = found.credentials(&SecretKeys::default(), false).err();
        assert_eq!(too_long, Some(Unresolved::SecretValueTooLong("password".to_owned())));
    }

    #[test]
    fn missing_keys_are_named_all_at_once() {
        let keys = SecretKeys { password: "pw".to_owned(), ..Default::default() };
        let missing = |pairs, by_rest_alone| values(pairs).credentials(&keys, by_rest_alone).err();
        let names = |names: &[&str]| Some(Unresolved::SecretKeysMissing(names.iter().map(|n| (*n).to_owned()).collect()));
        let some = [("username", "u"), ("password", "p")];
        assert_eq!(missing(&some, false), names(&["pw", "customerApiKey", "userApiKey"]));
        assert_eq!(missing(&some, true), names(&["pw", "customerApiKey"]));
        let most = [("username", "u"), ("pw", "p"), ("customerApiKey", "c")];
        assert_eq!(missing(&most, false), names(&["userApiKey"]));
        assert_eq!(missing(&most, true), None);
    }

    #[test]
    fn what_is_named_wins_over_profiles_and_each_row_is_wanted_once() {
        let catalogue = Catalogue::built_in();
        let mut spec = connection().spec;
        spec.profiles = vec!["HrisIntegration".to_owned(), "EmployeeData".to_owned()];
        let found = requirements(&spec, &catalogue).expect("known");
        // A named permission is probed by SOAP, although the first profile has it by REST.
        assert_eq!((found[0].row.name.as_str(), found[0].api), ("EmployeePersonDetails", Api::Soap));
        let names: std::collections::BTreeSet<_> = found.iter().map(|found| &found.row.name).collect();
        assert_eq!(names.len(), found.len());
        assert_eq!(found.len(), 12);

        spec.permissions.clear();
        let found = requirements(&spec, &catalogue).expect("known");
        assert_eq!((found[0].row.name.as_str(), found[0].api), ("EmployeePersonDetails", Api::Rest));

        spec.profiles = vec!["Hris".to_owned()];
        spec.permissions = vec![RequiredPermission { name: "EmployeeContacts".to_owned(), api: ApiChoice::Rest }];
        let Err(Unresolved::PermissionsUnknown(unknown)) = requirements(&spec, &catalogue) else { panic!("all known") };
        let said: Vec<_> = unknown.iter().map(ToString::to_string).collect();
        let expected =
            ["permission EmployeeContacts cannot be tested by REST", "there is no profile Hris (nearest: HrisIntegration)"];
        assert_eq!(said, expected);
    }
}
