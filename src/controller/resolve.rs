//! resolve: a connection → what to speak to and as whom. [`fetch`] reads Kubernetes, and only the connection's own namespace;
//! [`resolve`] and [`requirements`] make sense of it.
//!
//! Secret values are read fresh for each check, never cached, and moved into the one type that holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use super::{Context, KUBERNETES_DEADLINE, Policy, kubernetes_failure};
use crate::api::{ApiChoice, CaKind, CaReference, SecretKeys, UkgProConnection, UkgProConnectionSpec};
use crate::ukg::capture::Recorder;
use crate::ukg::catalogue::{Api, Catalogue, Requirement, Unknown};
use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::{Endpoint, EndpointFlaw, Part};
use crate::ukg::sensitive::Sensitive;
use crate::ukg::transport::{Transport, Trust};

/// Twice what a spec may name one by one; each is a request of a check.
const REQUIREMENTS_MAX: usize = 128;

/// Everything a check needs.
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// As whom.
    pub credentials: Credentials,
    /// How to get there.
    pub transport: Transport,
    /// What must be granted.
    pub requirements: Vec<Requirement>,
    /// The Secret's `resourceVersion`.
    pub secret_version: String,
    /// The names the Secret's keys have, for telling which one to correct.
    pub keys: SecretKeys,
    /// Who writes down, redacted, what UKG Pro answers; nobody, unless a person asked for it.
    pub recorder: Option<Arc<Recorder>>,
}

/// What is known of a [`Target`] that may be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The host, as a URL.
    pub endpoint: String,
    /// The Secret's `resourceVersion`.
    pub secret_version: String,
}

/// Why a connection refers to nothing that can be checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unresolved {
    /// Permissions and profiles that the catalogue lacks.
    PermissionsUnknown(Vec<Unknown>),
    /// More permissions than are probed.
    TooManyPermissions,
    /// No such Secret.
    SecretNotFound,
    /// Keys that the Secret lacks.
    SecretKeysMissing(Vec<String>),
    /// A key whose value is no text.
    SecretValueNotText(String),
    /// A part of the host that is written wrongly, and where: `spec.domain`, or a key of the Secret.
    EndpointInvalid(EndpointFlaw, String),
    /// The domain is not among these.
    DomainNotAllowed(Vec<String>),
    /// The CA bundle, and what is wrong with it.
    CaInvalid(CaFlaw),
}

/// What is wrong with a CA bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CaFlaw {
    /// No such object.
    ObjectNotFound,
    /// The object lacks the key.
    KeyMissing,
    /// No certificate in PEM is in it, or one that cannot be read.
    NotPem,
}

/// Kubernetes could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading the Secret.
    #[error("getting the Secret: {}", kubernetes_failure(.0))]
    Secret(#[source] kube::Error),
    /// Reading the CA bundle.
    #[error("getting the CA bundle: {}", kubernetes_failure(.0))]
    Ca(#[source] kube::Error),
    /// No answer in time.
    #[error("the API server did not answer within {} s", KUBERNETES_DEADLINE.as_secs())]
    Deadline,
}

impl Target {
    /// The part that may be written down.
    pub fn resolved(&self) -> Resolved {
        Resolved { endpoint: self.endpoint.to_string(), secret_version: self.secret_version.clone() }
    }
}

/// The rows a connection requires, those it names first, then those of its profiles. Pure.
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
pub struct Referents {
    /// The Secret, if it is there.
    pub secret: Option<Secret>,
    /// The CA bundle in PEM, if the connection names one.
    pub bundle: Option<Result<Zeroizing<Vec<u8>>, CaFlaw>>,
}

/// Reads what a connection refers to.
pub async fn fetch(connection: &UkgProConnection, context: &Context) -> Result<Referents, Error> {
    let namespace = connection.namespace().unwrap_or_default();
    let secret_ref = &connection.spec.secret_ref;
    let secret = get::<Secret>(context, &namespace, &secret_ref.name).await?.map_err(Error::Secret)?;
    let version = secret.as_ref().and_then(|secret| secret.metadata.resource_version.as_deref());
    context.secrets.read(&namespace, &secret_ref.name, version);
    let bundle = match &connection.spec.ca_ref {
        None => None,
        Some(ca) => Some(bundle(context, &namespace, ca).await?),
    };
    Ok(Referents { secret, bundle })
}

/// Makes of a connection and what it refers to what a check needs. Does no I/O but to read the platform's certificates.
pub fn resolve(
    connection: &UkgProConnection,
    requirements: Vec<Requirement>,
    referents: Referents,
    policy: &Policy,
    shared: &Transport,
) -> Result<Target, Unresolved> {
    let spec = &connection.spec;
    let secret = referents.secret.ok_or(Unresolved::SecretNotFound)?;
    let secret_version = secret.metadata.resource_version.clone().unwrap_or_default();
    let mut values = Values::of(secret).map_err(Unresolved::SecretValueNotText)?;
    let endpoint = endpoint(spec, &mut values, &policy.allowed_domains)?;
    let keys = spec.secret_ref.keys.clone();
    // LoginService wants the user API key; only what is tested by REST alone does without.
    let by_rest_alone = !requirements.is_empty() && requirements.iter().all(|requirement| requirement.api == Api::Rest);
    let credentials = values.credentials(&keys, by_rest_alone)?;
    let transport = match referents.bundle {
        None => shared.clone(),
        Some(pem) => pem.and_then(|pem| trust(&pem, policy)).map_err(Unresolved::CaInvalid)?,
    };
    Ok(Target { endpoint, credentials, transport, requirements, secret_version, keys, recorder: None })
}

/// A Secret's values, each wiped when dropped.
struct Values(BTreeMap<String, Sensitive>);

impl Values {
    /// Takes a Secret's values over; a key whose value is not UTF-8 is named.
    fn of(secret: Secret) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (key, ByteString(bytes)) in secret.data.unwrap_or_default() {
            match String::from_utf8(bytes) {
                Ok(text) => values.insert(key, Sensitive::new(text)),
                Err(error) => {
                    error.into_bytes().zeroize();
                    return Err(key);
                }
            };
        }
        Ok(Self(values))
    }

    fn credentials(mut self, keys: &SecretKeys, without_user_api_key: bool) -> Result<Credentials, Unresolved> {
        let names = [&keys.username, &keys.password, &keys.customer_api_key, &keys.user_api_key];
        let required = &names[..if without_user_api_key { 3 } else { 4 }];
        let missing: Vec<_> = required.iter().filter(|name| !self.0.contains_key(**name)).map(|name| (*name).clone()).collect();
        match names.map(|name| self.0.remove(name)) {
            [Some(username), Some(password), Some(customer_api_key), user_api_key] if missing.is_empty() => {
                Ok(Credentials { username, password, customer_api_key, user_api_key })
            }
            _ => Err(Unresolved::SecretKeysMissing(missing)),
        }
    }
}

/// The host from spec, or else from the Secret, if the operator may speak to it.
fn endpoint(spec: &UkgProConnectionSpec, values: &mut Values, allowed: &[String]) -> Result<Endpoint, Unresolved> {
    let keys = &spec.secret_ref.keys;
    let mut part = |field: &Option<String>, key: &String| match field {
        Some(value) => Some((Sensitive::new(value.clone()), None)),
        None => values.0.remove(key).map(|value| (value, Some(key.clone()))),
    };
    let domain = part(&spec.domain, &keys.domain);
    let subdomain = part(&spec.subdomain, &keys.subdomain);
    let (Some((domain, domain_key)), Some((subdomain, subdomain_key))) = (&domain, &subdomain) else {
        let missing = [(domain.is_none(), &keys.domain), (subdomain.is_none(), &keys.subdomain)];
        return Err(Unresolved::SecretKeysMissing(
            missing.into_iter().filter(|(is, _)| *is).map(|(_, key)| key.clone()).collect(),
        ));
    };
    let endpoint = Endpoint::from_parts(subdomain.expose(), domain.expose()).map_err(|flaw| {
        let key = match flaw.part {
            Part::Subdomain => subdomain_key,
            Part::Domain => domain_key,
        };
        let place = key.as_ref().map_or_else(|| format!("spec.{}", flaw.part), |key| format!("key {key} of the Secret"));
        Unresolved::EndpointInvalid(flaw, place)
    })?;
    if allowed.iter().any(|domain| domain == endpoint.domain()) {
        Ok(endpoint)
    } else {
        Err(Unresolved::DomainNotAllowed(allowed.to_vec()))
    }
}

async fn bundle(context: &Context, namespace: &str, ca: &CaReference) -> Result<Result<Zeroizing<Vec<u8>>, CaFlaw>, Error> {
    let found = match ca.kind {
        CaKind::ConfigMap => get::<ConfigMap>(context, namespace, &ca.name).await?.map_err(Error::Ca)?.map(|map| {
            let text = map.data.and_then(|mut data| data.remove(&ca.key)).map(String::into_bytes);
            text.or_else(|| map.binary_data.and_then(|mut data| data.remove(&ca.key)).map(|ByteString(bytes)| bytes))
        }),
        CaKind::Secret => {
            let secret = get::<Secret>(context, namespace, &ca.name).await?.map_err(Error::Ca)?;
            context.secrets.read(namespace, &ca.name, secret.as_ref().and_then(|s| s.metadata.resource_version.as_deref()));
            secret.map(|secret| secret.data.and_then(|mut data| data.remove(&ca.key)).map(|ByteString(bytes)| bytes))
        }
    };
    Ok(match found {
        None => Err(CaFlaw::ObjectNotFound),
        Some(None) => Err(CaFlaw::KeyMissing),
        Some(Some(pem)) => Ok(Zeroizing::new(pem)),
    })
}

/// A client of its own for a connection with authorities of its own: its pool must not serve others.
fn trust(pem: &[u8], policy: &Policy) -> Result<Transport, CaFlaw> {
    let extra_roots = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| CaFlaw::NotPem)?;
    if extra_roots.is_empty() {
        return Err(CaFlaw::NotPem);
    }
    let allow_private_addresses = policy.allow_private_addresses;
    Transport::new(Trust { extra_roots, allow_private_addresses }).map_err(|_| CaFlaw::NotPem)
}

async fn get<K>(context: &Context, namespace: &str, name: &str) -> Result<Result<Option<K>, kube::Error>, Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = kube::Api::<K>::namespaced(context.kubernetes.clone(), namespace);
    tokio::time::timeout(KUBERNETES_DEADLINE, api.get_opt(name)).await.map_err(|_| Error::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::RequiredPermission;
    use crate::controller::decide::tests::connection;
    use crate::ukg::endpoint::Flaw;

    fn values(pairs: &[(&str, &str)]) -> Values {
        Values(pairs.iter().map(|(k, v)| ((*k).to_owned(), Sensitive::new((*v).to_owned()))).collect())
    }

    #[test]
    fn the_host_comes_from_spec_first_and_from_the_secret_else() {
        let allowed = ["ultipro.com".to_owned(), "ultipro.ca".to_owned()];
        let mut connection = connection();
        connection.spec.domain = Some("ultipro.com".to_owned());
        connection.spec.subdomain = None;
        let of = |connection: &UkgProConnection, pairs| {
            endpoint(&connection.spec, &mut values(pairs), &allowed).map(|e| e.to_string())
        };

        let both = [("domain", "ultipro.ca"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.com".to_owned()));
        assert_eq!(of(&connection, &[]), Err(Unresolved::SecretKeysMissing(vec!["subdomain".to_owned()])));

        connection.spec.domain = None;
        assert_eq!(of(&connection, &both), Ok("https://service3.ultipro.ca".to_owned()));
        let flaw = EndpointFlaw { part: Part::Subdomain, flaw: Flaw::Characters };
        let place = "key subdomain of the Secret".to_owned();
        let newline = [("domain", "ultipro.ca"), ("subdomain", "service3\n")];
        assert_eq!(of(&connection, &newline), Err(Unresolved::EndpointInvalid(flaw, place)));
        let evil = [("domain", "evil.example"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &evil), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
        let suffix = [("domain", "notultipro.com"), ("subdomain", "service3")];
        assert_eq!(of(&connection, &suffix), Err(Unresolved::DomainNotAllowed(allowed.to_vec())));
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
        // Named, so by SOAP, though the first profile has it by REST.
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
