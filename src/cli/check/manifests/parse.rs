//! Parses the parts of a manifest that are needed. Errors do not quote its content.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{self, DeserializeOwned, Visitor};
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use crate::api::SecretKeys;
use crate::cli::check::manifests::{BadInput, Location, Values};

/// The fields that every manifest has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: Metadata,
}

#[derive(Deserialize, Default)]
pub(super) struct Metadata {
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default)]
    pub(super) namespace: Option<String>,
}

/// The values of a Secret or ConfigMap.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Contents {
    #[serde(default)]
    pub(super) data: Option<BTreeMap<String, Text>>,
    #[serde(default)]
    pub(super) string_data: Option<BTreeMap<String, Text>>,
    #[serde(default)]
    pub(super) binary_data: Option<BTreeMap<String, Text>>,
}

/// A string that is wiped when dropped. Null is empty; other YAML types are errors.
#[derive(Default)]
pub(super) struct Text(Zeroizing<String>);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Written;

        impl Visitor<'_> for Written {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(Zeroizing::new(text.to_owned())))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Text, E> {
                Ok(Text(Zeroizing::new(text)))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(Written)
    }
}

/// The object that `kubectl get -o yaml` prints for several objects.
#[derive(Deserialize)]
pub(super) struct List {
    #[serde(default)]
    pub(super) items: Vec<Item>,
}

/// An object of a List, of any kind. Unknown fields are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Item {
    pub(super) api_version: String,
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: Metadata,
    #[serde(default)]
    pub(super) spec: serde_json::Value,
    #[serde(default)]
    pub(super) data: Lenient<BTreeMap<String, Text>>,
    #[serde(default)]
    pub(super) string_data: Lenient<BTreeMap<String, Text>>,
    #[serde(default)]
    pub(super) binary_data: Lenient<BTreeMap<String, Text>>,
}

/// A value that is parsed only if it has the expected form.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Lenient<T> {
    Valid(Option<T>),
    Invalid(de::IgnoredAny),
}

impl<T> Default for Lenient<T> {
    fn default() -> Self {
        Lenient::Valid(None)
    }
}

impl<T: Default> Lenient<T> {
    pub(super) fn or(self, location: &Location, what: &str) -> Result<T, BadInput> {
        match self {
            Lenient::Valid(content) => Ok(content.unwrap_or_default()),
            Lenient::Invalid(_) => Err(wrong(location, what)),
        }
    }
}

impl Metadata {
    /// Returns name and namespace. Messages may quote them only after they have been validated here.
    pub(super) fn checked(self, location: &Location) -> Result<(String, Option<String>), BadInput> {
        let Some(name) = self.name.filter(|name| crate::api::is_object_name(name)) else {
            return Err(wrong(location, "metadata.name is not a name that Kubernetes accepts"));
        };
        if self.namespace.as_deref().is_some_and(|namespace| !crate::api::is_object_name(namespace)) {
            return Err(wrong(location, "metadata.namespace is not a name that Kubernetes accepts"));
        }
        Ok((name, self.namespace))
    }
}

pub(super) fn wrong(location: &Location, what: &str) -> BadInput {
    BadInput::Document(location.clone(), what.to_owned())
}

/// Parses a document. The parser's own message may quote the document, so only the line of the error is used.
pub(super) fn read<T: DeserializeOwned>(location: &Location, text: &str, what: &str) -> Result<T, BadInput> {
    let options = serde_saphyr::options! { with_snippet: false };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let line = error.location().map_or(0, |location| usize::try_from(location.line()).unwrap_or(0).saturating_sub(1));
        BadInput::Document(Location { line: location.line + line, ..location.clone() }, what.to_owned())
    })
}

pub(super) fn plain(texts: BTreeMap<String, Text>) -> impl Iterator<Item = (String, Zeroizing<Vec<u8>>)> {
    texts.into_iter().map(|(key, Text(mut text))| (key, Zeroizing::new(std::mem::take(&mut *text).into_bytes())))
}

pub(super) fn decoded(location: &Location, texts: BTreeMap<String, Text>) -> Result<Values, BadInput> {
    let decode = |(key, Text(text)): (String, Text)| {
        let mut encoded = Zeroizing::new(String::with_capacity(text.len()));
        encoded.extend(text.chars().filter(|c| !matches!(c, '\r' | '\n')));
        match STANDARD.decode(encoded.as_bytes()) {
            Ok(bytes) => Ok((key, Zeroizing::new(bytes))),
            Err(_) => Err(wrong(location, &format!("{} is not base64; write plain text under stringData", of_key(&key)))),
        }
    };
    texts.into_iter().map(decode).collect()
}

/// Names a key if it is a default key. An unknown key could be a value in the wrong place.
fn of_key(key: &str) -> String {
    let SecretKeys { username, password, customer_api_key, user_api_key, domain, subdomain } = SecretKeys::default();
    let known = [username, password, customer_api_key, user_api_key, domain, subdomain];
    if known.iter().any(|known| known == key) { format!("data.{key}") } else { "a value under data".to_owned() }
}
