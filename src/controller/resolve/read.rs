//! Reads single values of a Secret or a ConfigMap. Reads Kubernetes.
//!
//! **Bound.** Only the wanted values of an object of up to 1 MiB are held, and only if they are not too long: the rest is dropped
//! while the answer is read ([`crate::cluster::response_filter`]). What is held is wiped.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Limited};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::{ByteString, NamespaceResourceScope};
use kube::api::GetParams;
use kube::client::Body;
use kube::core::{Request, Status};
use kube::{Client, Resource};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::api;
use crate::cluster::response_filter::{FilteredBody, Projection, reserve_wiping};

/// The size limit of an error answer, and of what surrounds the values.
const FRAME_MAX: usize = 16 << 10;

/// The values read from an object.
#[derive(Default)]
pub struct Found {
    /// Its `resourceVersion`.
    pub version: Option<String>,
    /// The wanted values that exist; `None` for one that is too long.
    pub values: BTreeMap<String, Option<Zeroizing<Vec<u8>>>>,
}

impl Found {
    /// Returns what would be read from a Secret, with values of at most `most` bytes.
    pub fn of(secret: Secret, most: usize) -> Self {
        let bounded = |(key, ByteString(bytes)): (String, ByteString)| {
            let bytes = Zeroizing::new(bytes);
            (key, Some(bytes).filter(|bytes| bytes.len() <= most))
        };
        let values = secret.data.unwrap_or_default().into_iter().map(bounded).collect();
        Self { version: secret.metadata.resource_version, values }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    metadata: WireMetadata,
    #[serde(default)]
    data: Option<BTreeMap<String, Option<Zeroizing<String>>>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, Option<Zeroizing<String>>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireMetadata {
    #[serde(default)]
    resource_version: Option<String>,
}

/// Reads the values of these keys, each up to a number of bytes; `None` if the object does not exist.
pub(super) async fn values<K>(
    client: &Client,
    namespace: &str,
    name: &str,
    wanted: &[(&str, usize)],
) -> Result<Option<Found>, kube::Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    if !api::is_object_name(name) {
        // No object can have such a name, and it would change the path of the request.
        return Ok(None);
    }
    let request = Request::new(K::url_path(&(), Some(namespace))).get(name, &GetParams::default());
    let answer = client.send(request.map_err(kube::Error::BuildRequest)?.map(Body::from)).await?;
    let code = answer.status().as_u16();
    if code == 404 {
        return Ok(None);
    }
    if !answer.status().is_success() {
        let text = Limited::new(answer.into_body(), FRAME_MAX).collect().await.map(|text| text.to_bytes()).unwrap_or_default();
        let status = serde_json::from_slice(&text).unwrap_or_else(|_| Status::failure("", "").with_code(code));
        return Err(kube::Error::Api(status.boxed()));
    }
    let keep = wanted.iter().map(|(key, max)| ((*key).to_owned(), as_json(*max))).collect();
    let mut answer = FilteredBody::new(answer.into_body(), Projection::Values(keep));
    let most = FRAME_MAX + wanted.iter().map(|(key, max)| key.len() + as_json(*max)).sum::<usize>();
    let mut text = Zeroizing::new(Vec::new());
    while let Some(frame) = answer.frame().await {
        let Ok(data) = frame.map_err(|error| kube::Error::Service(error.into()))?.into_data() else { continue };
        if text.len() + data.len() > most {
            return Err(kube::Error::SerdeError(serde::de::Error::custom("the answer is larger than its values can be")));
        }
        reserve_wiping(&mut text, data.len(), most);
        text.extend_from_slice(&data);
    }
    let wire: Wire = serde_json::from_slice(&text).map_err(kube::Error::SerdeError)?;
    drop(text);
    let in_base64 = K::kind(&()) == "Secret";
    let mut found = Found { version: wire.metadata.resource_version, values: BTreeMap::new() };
    let texts = wire.data.into_iter().flatten().map(|(key, value)| (key, value, in_base64));
    let binaries = wire.binary_data.into_iter().flatten().map(|(key, value)| (key, value, true));
    for (key, value, in_base64) in texts.chain(binaries) {
        let most = wanted.iter().find(|(name, _)| *name == key).map_or(0, |(_, max)| *max);
        let value = value.map(|text| plain(text, in_base64)).transpose()?.filter(|bytes| bytes.len() <= most);
        found.values.insert(key, value);
    }
    Ok(Some(found))
}

/// Returns how much JSON a value of up to `max` bytes may take: base64, or text with an escape for every third character. The
/// value is measured afterwards.
fn as_json(max: usize) -> usize {
    (max + 1).div_ceil(3) * 4
}

fn plain(text: Zeroizing<String>, in_base64: bool) -> Result<Zeroizing<Vec<u8>>, kube::Error> {
    if !in_base64 {
        return Ok(Zeroizing::new(text.as_bytes().to_vec()));
    }
    let decoded = STANDARD.decode(text.as_bytes()).map(Zeroizing::new);
    decoded.map_err(|_| kube::Error::SerdeError(serde::de::Error::custom("a value is not base64")))
}
