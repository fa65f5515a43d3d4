//! resolve: a connection → what to speak to and as whom. Reads Kubernetes, and only the connection's own namespace.
//!
//! Secret values are read fresh for each check, never cached, and moved into the one type that holds them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, ResourceExt};
use serde::de::DeserializeOwned;
use zeroize::{Zeroize, Zeroizing};

use super::{Context, KUBERNETES_DEADLINE, kubernetes_failure};
use crate::api::{CaKind, CaReference, UkgProConnection};
use crate::ukg::catalogue::{self, Row};
use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::{Endpoint, EndpointFlaw, Part};
use crate::ukg::sensitive::Sensitive;
use crate::ukg::transport::{self, Transport};

/// Everything a check needs.
pub struct Target {
    /// Where.
    pub endpoint: Endpoint,
    /// As whom.
    pub credentials: Credentials,
    /// How to get there.
    pub transport: Transport,
    /// What must be granted.
    pub rows: Vec<&'static Row>,
    /// The Secret's `resourceVersion`.
    pub secret_version: String,
    /// The names the Secret's keys have, for telling which one to correct.
    pub keys: crate::api::SecretKeys,
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
    /// Names in `spec.permissions` that the catalogue lacks.
    PermissionsUnknown(Vec<String>),
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

/// Resolves a connection.
pub async fn resolve(connection: &UkgProConnection, context: &Context) -> Result<Result<Target, Unresolved>, Error> {
    let spec = &connection.spec;
    let rows = match rows(connection) {
        Ok(rows) => rows,
        Err(unknown) => return Ok(Err(Unresolved::PermissionsUnknown(unknown))),
    };
    let namespace = connection.namespace().unwrap_or_default();
    let secret = get::<Secret>(context, &namespace, &spec.secret_ref.name).await?.map_err(Error::Secret)?;
    context.secrets.read(
        &namespace,
        &spec.secret_ref.name,
        secret.as_ref().and_then(|s| s.metadata.resource_version.as_deref()),
    );
    let Some(secret) = secret else {
        return Ok(Err(Unresolved::SecretNotFound));
    };
    let secret_version = secret.metadata.resource_version.clone().unwrap_or_default();
    let mut values = match Values::of(secret) {
        Ok(values) => values,
        Err(key) => return Ok(Err(Unresolved::SecretValueNotText(key))),
    };
    let endpoint = match endpoint(connection, &mut values, &context.policy.allowed_domains) {
        Ok(endpoint) => endpoint,
        Err(unresolved) => return Ok(Err(unresolved)),
    };
    let credentials = match values.credentials(&spec.secret_ref.keys) {
        Ok(credentials) => credentials,
        Err(unresolved) => return Ok(Err(unresolved)),
    };
    let transport = match &spec.ca_ref {
        None => context.transport.clone(),
        Some(ca) => match bundle(context, &namespace, ca).await?.and_then(|pem| trust(&pem, context)) {
            Ok(transport) => transport,
            Err(flaw) => return Ok(Err(Unresolved::CaInvalid(flaw))),
        },
    };
    let keys = spec.secret_ref.keys.clone();
    Ok(Ok(Target { endpoint, credentials, transport, rows, secret_version, keys }))
}

/// The catalogue's rows for what a connection requires, or the names it lacks.
pub fn rows(connection: &UkgProConnection) -> Result<Vec<&'static Row>, Vec<String>> {
    let mut rows = Vec::new();
    let mut unknown = Vec::new();
    for required in &connection.spec.permissions {
        match catalogue::row(&required.name) {
            Some(row) => rows.push(row),
            None => unknown.push(required.name.clone()),
        }
    }
    if unknown.is_empty() { Ok(rows) } else { Err(unknown) }
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

    fn credentials(mut self, keys: &crate::api::SecretKeys) -> Result<Credentials, Unresolved> {
        let names = [&keys.username, &keys.password, &keys.customer_api_key, &keys.user_api_key];
        let missing: Vec<_> = names.iter().filter(|name| !self.0.contains_key(**name)).map(|name| (*name).clone()).collect();
        match names.map(|name| self.0.remove(name)) {
            [Some(username), Some(password), Some(customer_api_key), Some(user_api_key)] => {
                Ok(Credentials { username, password, customer_api_key, user_api_key })
            }
            _ => Err(Unresolved::SecretKeysMissing(missing)),
        }
    }
}

/// The host from spec, or else from the Secret, if the operator may speak to it.
fn endpoint(connection: &UkgProConnection, values: &mut Values, allowed: &[String]) -> Result<Endpoint, Unresolved> {
    let spec = &connection.spec;
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
fn trust(pem: &[u8], context: &Context) -> Result<Transport, CaFlaw> {
    let authorities = transport::authorities(pem).map_err(|_| CaFlaw::NotPem)?;
    if authorities.is_empty() {
        return Err(CaFlaw::NotPem);
    }
    context.transport.trusting(authorities).map_err(|_| CaFlaw::NotPem)
}

async fn get<K>(context: &Context, namespace: &str, name: &str) -> Result<Result<Option<K>, kube::Error>, Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    let api = Api::<K>::namespaced(context.kubernetes.clone(), namespace);
    tokio::time::timeout(KUBERNETES_DEADLINE, api.get_opt(name)).await.map_err(|_| Error::Deadline)
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let of =
            |connection: &UkgProConnection, pairs| endpoint(connection, &mut values(pairs), &allowed).map(|e| e.to_string());

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
        let keys = crate::api::SecretKeys { password: "pw".to_owned(), ..Default::default() };
        let found = values(&[("username", "u"), ("password", "p")]).credentials(&keys).err();
        let names = ["pw", "customerApiKey", "userApiKey"].map(str::to_owned).to_vec();
        assert_eq!(found, Some(Unresolved::SecretKeysMissing(names)));
    }
}
