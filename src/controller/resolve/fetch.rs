//! Reads the Secret and the CA bundle that a connection refers to. Reads Kubernetes.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use zeroize::Zeroizing;

use super::read::Found;
use crate::api::verdict::has_verdict;
use crate::api::{CaKind, CaReference, SecretKeys, UkgProConnection};
use crate::cluster::failure::KUBERNETES_DEADLINE;
use crate::cluster::watch::ConnectionRef;
use crate::controller::Context;
use crate::controller::resolve::{BUNDLE_MAX, CaFlaw, Error, ReferencedObjects, Unresolved, VALUE_MAX, read};

/// Refusals in a row that a verdict outlasts. With the pauses between them they take some 15 s, enough for a Role to be replaced
/// by another, or for an API server that has just started to load the Roles.
const REFUSALS_OUTLASTED: u32 = 5;

/// Reads what a connection refers to. A missing right is a finding about the connection, not an error of Kubernetes, unless the
/// connection has a verdict and the right may be missing only for a moment.
pub async fn fetch(connection: &UkgProConnection, context: &Context) -> Result<Result<ReferencedObjects, Unresolved>, Error> {
    let reference = ConnectionRef::of(connection);
    let of = |error: Error, kind: &str, name: &str| match &error {
        Error::Secret(kube::Error::Api(status)) | Error::Ca(kube::Error::Api(status)) if status.code == 403 => {
            let what = format!("{kind} {name}");
            match has_verdict(connection) && context.wakeups.refused(&reference) < REFUSALS_OUTLASTED {
                true => Err(Error::Forbidden(what)),
                false => Ok(Err(Unresolved::Forbidden(what))),
            }
        }
        _ => Err(error),
    };
    match read(connection, context).await {
        Ok(references) => {
            context.wakeups.admitted(&reference);
            Ok(Ok(references))
        }
        Err(error @ Error::Ca(_)) => {
            let ca = connection.spec.ca_ref.as_ref();
            of(error, ca.map_or("", |ca| ca.kind.as_str()), ca.map_or("", |ca| &ca.name))
        }
        Err(error) => of(error, "Secret", &connection.spec.secret_ref.name),
    }
}

pub(super) async fn read(connection: &UkgProConnection, context: &Context) -> Result<ReferencedObjects, Error> {
    let namespace = connection.namespace().unwrap_or_default();
    let secret_ref = &connection.spec.secret_ref;
    let SecretKeys { username, password, customer_api_key, user_api_key, domain, subdomain } = &secret_ref.keys;
    let keys = [username, password, customer_api_key, user_api_key, domain, subdomain];
    let wanted = keys.map(|key| (key.as_str(), VALUE_MAX));
    let secret = values::<Secret>(context, &namespace, &secret_ref.name, &wanted).await?.map_err(Error::Secret)?;
    let version = secret.as_ref().and_then(|secret| secret.version.as_deref());
    context.secrets.read(connection, &secret_ref.name, version);
    let bundle = match &connection.spec.ca_ref {
        None => None,
        Some(ca) => Some(bundle(connection, context, ca).await?),
    };
    Ok(ReferencedObjects { secret, bundle })
}

pub(super) async fn bundle(
    connection: &UkgProConnection,
    context: &Context,
    ca: &CaReference,
) -> Result<Result<Zeroizing<Vec<u8>>, CaFlaw>, Error> {
    let namespace = &connection.namespace().unwrap_or_default();
    let wanted = [(ca.key.as_str(), BUNDLE_MAX)];
    let found = match ca.kind {
        CaKind::ConfigMap => values::<ConfigMap>(context, namespace, &ca.name, &wanted).await?.map_err(Error::Ca)?,
        CaKind::Secret => {
            let secret = values::<Secret>(context, namespace, &ca.name, &wanted).await?.map_err(Error::Ca)?;
            context.secrets.read(connection, &ca.name, secret.as_ref().and_then(|found| found.version.as_deref()));
            secret
        }
    };
    Ok(match found.map(|mut found| found.values.remove(&ca.key)) {
        None => Err(CaFlaw::ObjectNotFound),
        Some(None) => Err(CaFlaw::KeyMissing),
        Some(Some(None)) => Err(CaFlaw::TooLarge),
        Some(Some(Some(pem))) => Ok(pem),
    })
}

pub(super) async fn values<K>(
    context: &Context,
    namespace: &str,
    name: &str,
    wanted: &[(&str, usize)],
) -> Result<Result<Option<Found>, kube::Error>, Error>
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
{
    let reading = read::values::<K>(&context.kubernetes, namespace, name, wanted);
    tokio::time::timeout(KUBERNETES_DEADLINE, reading).await.map_err(|_| Error::Deadline)
}
