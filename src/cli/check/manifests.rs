//! Reads manifests and finds the one connection to check, with what it refers to. Pure, except for [`Source::read`].
//!
//! Objects are treated as the API server treats them: `stringData` overrides `data`, a value that is not text must be quoted. A
//! namespace that is not given matches any.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read as _;
use std::path::Path;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use zeroize::Zeroizing;

use super::admission;
use super::once::CheckInput;
use crate::api::{CaKind, CaReference, UkgProConnection, messages};
use crate::controller::resolve::{CaFlaw, Found, ReferencedObjects, VALUE_MAX};

mod parse;

use parse::{Contents, Head, Item, List, decoded, plain, read, wrong};

/// The maximum file size. A Secret has at most 1 MiB; this is ample for several, in base64.
const FILE_MAX: usize = 4 << 20;

/// A file of manifests.
pub struct Source {
    name: String,
    text: Zeroizing<Vec<u8>>,
}

/// A position in the files, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    file: String,
    document: usize,
    line: usize,
    /// The item, if the document is a List.
    item: Option<usize>,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, document {} (line {})", self.file, self.document, self.line)?;
        match self.item {
            Some(item) => write!(f, ", item {item}"),
            None => Ok(()),
        }
    }
}

/// Why the files do not say which connection to check and how.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadInput {
    /// The file cannot be read.
    #[error("{0}: {1}")]
    Unreadable(String, String),
    /// The file is too large.
    #[error("{0}: the file is larger than {max} MiB", max = FILE_MAX >> 20)]
    TooLarge(String),
    /// Kubernetes would not accept a document.
    #[error("{0}: {1}")]
    Document(Location, String),
    /// There is no connection, or none of the requested name.
    #[error("the files contain no UkgProConnection{}{}", if .0.is_some() { " named " } else { "" }, .0.as_deref().unwrap_or_default())]
    NoConnection(Option<String>),
    /// There are several connections.
    #[error("the files contain more than one UkgProConnection; choose one with --name: {}", .0.join(", "))]
    ManyConnections(Vec<String>),
    /// The connection refers to a missing object.
    #[error("the files contain no {kind} {name}, and {field} of the connection refers to it")]
    Missing {
        /// Its kind.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The field that refers to it.
        field: &'static str,
    },
    /// Two objects of one kind and name.
    #[error("the files contain {0} {1} more than once")]
    Duplicate(&'static str, String),
}

impl Source {
    /// Reads a file, or standard input for `-`.
    pub fn read(path: &Path) -> Result<Self, BadInput> {
        let stdin = path == Path::new("-");
        let name = if stdin { "standard input".to_owned() } else { path.display().to_string() };
        let unreadable = |error: std::io::Error| BadInput::Unreadable(name.clone(), messages::file(&error));
        // Allocates everything at once, so that the buffer does not move and leave copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(FILE_MAX + 1));
        let limit = FILE_MAX as u64 + 1;
        if stdin {
            std::io::stdin().lock().take(limit).read_to_end(&mut text).map_err(unreadable)?;
        } else {
            std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut text)).map_err(unreadable)?;
        }
        if text.len() > FILE_MAX { Err(BadInput::TooLarge(name)) } else { Ok(Self { name, text }) }
    }

    /// Creates a source from a text.
    pub fn new(name: &str, text: &str) -> Self {
        Self { name: name.to_owned(), text: Zeroizing::new(text.as_bytes().to_vec()) }
    }

    /// Returns the documents, each with its location. A line `---`, alone or followed by a blank, separates documents.
    fn documents(&self) -> Result<Vec<(Location, &str)>, BadInput> {
        let location = |document, line| Location { file: self.name.clone(), document, line, item: None };
        let text = std::str::from_utf8(&self.text)
            .map_err(|_| BadInput::Document(location(1, 1), "the file is not text (UTF-8)".to_owned()))?;
        let text = text.trim_start_matches('\u{feff}');
        let mut documents = Vec::new();
        let (mut begin, mut first_line, mut at) = (0, 1, 0);
        let mut add = |text: &'_ str, range: std::ops::Range<usize>, line| {
            let blank = text[range.clone()].lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#'));
            if !blank {
                documents.push((line, range));
            }
        };
        for (number, line) in text.split_inclusive('\n').enumerate() {
            let divides = line.strip_prefix("---").is_some_and(|rest| rest.trim().is_empty() || rest.starts_with([' ', '\t']));
            if divides {
                add(text, begin..at, first_line);
                // Text on the separator line, such as a comment, belongs to the document it begins.
                (begin, first_line) = (at + 3, number + 1);
            }
            at += line.len();
        }
        add(text, begin..at, first_line);
        Ok(documents.into_iter().enumerate().map(|(n, (line, range))| (location(n + 1, line), &text[range])).collect())
    }
}

type Values = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// An object that a check may need.
struct Object<T> {
    name: String,
    namespace: Option<String>,
    content: T,
}

/// All objects in the files that a check may need.
#[derive(Default)]
struct Objects {
    connections: Vec<Object<UkgProConnection>>,
    secrets: Vec<Object<Values>>,
    config_maps: Vec<Object<Values>>,
    notes: Vec<String>,
}

/// Finds the connection to check, by name if there are several, and what it refers to.
pub fn collect(sources: &[Source], name: Option<&str>) -> Result<CheckInput, BadInput> {
    let mut objects = Objects::default();
    for source in sources {
        for (location, text) in source.documents()? {
            objects.add(location, text)?;
        }
    }
    let Objects { connections, secrets, config_maps, notes } = objects;
    let mut chosen: Vec<_> = connections.into_iter().filter(|c| name.is_none_or(|name| c.name == name)).collect();
    let Object { namespace, content: connection, .. } = match chosen.len() {
        0 => return Err(BadInput::NoConnection(name.map(str::to_owned))),
        1 => chosen.remove(0),
        _ => return Err(BadInput::ManyConnections(chosen.into_iter().map(|object| object.name).collect())),
    };
    let namespace = namespace.as_deref();
    let bundle = match &connection.spec.ca_ref {
        None => None,
        Some(ca) => Some(bundle(ca, namespace, &secrets, &config_maps)?),
    };
    let wanted = connection.spec.secret_ref.name.clone();
    let position = only(&secrets, "Secret", &wanted, namespace, "spec.secretRef")?;
    let Object { content, .. } = secrets.into_iter().nth(position).unwrap_or_default();
    // The values are moved, not copied. `resolve` moves them on.
    let data = content.into_iter().map(|(key, mut value)| (key, ByteString(std::mem::take(&mut *value)))).collect();
    let metadata = ObjectMeta { name: Some(wanted), namespace: namespace.map(str::to_owned), ..ObjectMeta::default() };
    let secret = Some(Found::of(Secret { metadata, data: Some(data), ..Secret::default() }, VALUE_MAX));
    Ok(CheckInput { connection, references: ReferencedObjects { secret, bundle }, notes })
}

impl<T: Default> Default for Object<T> {
    fn default() -> Self {
        Self { name: String::new(), namespace: None, content: T::default() }
    }
}

fn bundle(
    ca: &CaReference,
    namespace: Option<&str>,
    secrets: &[Object<Values>],
    config_maps: &[Object<Values>],
) -> Result<Result<Zeroizing<Vec<u8>>, CaFlaw>, BadInput> {
    let objects = match ca.kind {
        CaKind::ConfigMap => config_maps,
        CaKind::Secret => secrets,
    };
    let position = only(objects, ca.kind.as_str(), &ca.name, namespace, "spec.caRef")?;
    Ok(objects[position].content.get(&ca.key).cloned().ok_or(CaFlaw::KeyMissing))
}

/// Returns the position of the only object of this name. A missing namespace on either side matches any.
fn only<T>(
    objects: &[Object<T>],
    kind: &'static str,
    name: &str,
    namespace: Option<&str>,
    field: &'static str,
) -> Result<usize, BadInput> {
    let fits = |object: &Object<T>| match (object.namespace.as_deref(), namespace) {
        (Some(one), Some(other)) => one == other,
        _ => true,
    };
    let mut found = objects.iter().enumerate().filter(|(_, object)| object.name == name && fits(object)).map(|(n, _)| n);
    match (found.next(), found.next()) {
        (Some(position), None) => Ok(position),
        (None, _) => Err(BadInput::Missing { kind, name: name.to_owned(), field }),
        (Some(_), Some(_)) => Err(BadInput::Duplicate(kind, name.to_owned())),
    }
}

impl Objects {
    fn add(&mut self, location: Location, text: &str) -> Result<(), BadInput> {
        let head: Head = read(&location, text, "it is not a manifest with apiVersion and kind")?;
        let Head { api_version, kind, metadata } = head;
        match (api_version.as_str(), kind.as_str()) {
            ("ukgpro.dev/v1alpha1", "UkgProConnection") => {
                let (name, namespace) = metadata.checked(&location)?;
                let content = connection(&location, text)?;
                self.connections.push(Object { name, namespace, content });
            }
            (_, "UkgProConnection") => return Err(wrong(&location, "apiVersion must be ukgpro.dev/v1alpha1")),
            ("v1", "Secret") => {
                let (name, namespace) = metadata.checked(&location)?;
                let what = "it is not a Secret that Kubernetes accepts; a value that is not text must be quoted";
                let Contents { data, string_data, .. } = read(&location, text, what)?;
                let mut content = decoded(&location, data.unwrap_or_default())?;
                content.extend(plain(string_data.unwrap_or_default()));
                self.secrets.push(Object { name, namespace, content });
            }
            ("v1", "ConfigMap") => {
                let (name, namespace) = metadata.checked(&location)?;
                let what = "it is not a ConfigMap that Kubernetes accepts; a value that is not text must be quoted";
                let Contents { data, binary_data, .. } = read(&location, text, what)?;
                let mut content = decoded(&location, binary_data.unwrap_or_default())?;
                content.extend(plain(data.unwrap_or_default()));
                self.config_maps.push(Object { name, namespace, content });
            }
            // kubectl prints `List`; the API answers with `SecretList` and the like.
            (_, list) if list.ends_with("List") => {
                let List { items } = read(&location, text, "it is not a List of manifests that each have apiVersion and kind")?;
                for (number, item) in items.into_iter().enumerate() {
                    self.add_item(Location { item: Some(number + 1), ..location.clone() }, item)?;
                }
            }
            _ => self.notes.push(format!("{location}: ignored, because it is not a UkgProConnection, Secret or ConfigMap")),
        }
        Ok(())
    }
}

impl Objects {
    /// Adds an item of a List.
    fn add_item(&mut self, location: Location, item: Item) -> Result<(), BadInput> {
        let Item { api_version, kind, metadata, spec, data, string_data, binary_data } = item;
        match (api_version.as_str(), kind.as_str()) {
            ("ukgpro.dev/v1alpha1", "UkgProConnection") => {
                let (name, namespace) = metadata.checked(&location)?;
                let value = serde_json::json!({
                    "apiVersion": api_version, "kind": kind, "spec": spec,
                    "metadata": {"name": name, "namespace": namespace},
                });
                let content = admitted(&location, value)?;
                self.connections.push(Object { name, namespace, content });
            }
            (_, "UkgProConnection") => return Err(wrong(&location, "apiVersion must be ukgpro.dev/v1alpha1")),
            ("v1", "Secret") => {
                let (name, namespace) = metadata.checked(&location)?;
                let what = "it is not a Secret that Kubernetes accepts; a value that is not text must be quoted";
                let mut content = decoded(&location, data.or(&location, what)?)?;
                content.extend(plain(string_data.or(&location, what)?));
                self.secrets.push(Object { name, namespace, content });
            }
            ("v1", "ConfigMap") => {
                let (name, namespace) = metadata.checked(&location)?;
                let what = "it is not a ConfigMap that Kubernetes accepts; a value that is not text must be quoted";
                let mut content = decoded(&location, binary_data.or(&location, what)?)?;
                content.extend(plain(data.or(&location, what)?));
                self.config_maps.push(Object { name, namespace, content });
            }
            _ => self.notes.push(format!("{location}: ignored, because it is not a UkgProConnection, Secret or ConfigMap")),
        }
        Ok(())
    }
}

/// Returns a connection as the API server would store it: validated, with defaults, and without the status.
fn connection(location: &Location, text: &str) -> Result<UkgProConnection, BadInput> {
    let mut value: serde_json::Value = read(location, text, "it is not YAML")?;
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    admitted(location, value)
}

fn admitted(location: &Location, value: serde_json::Value) -> Result<UkgProConnection, BadInput> {
    let flaws = admission::flaws(&value);
    if !flaws.is_empty() {
        return Err(wrong(location, &flaws.join("; ")));
    }
    serde_json::from_value(value).map_err(|_| wrong(location, "it is not a UkgProConnection"))
}

#[cfg(test)]
mod tests;
