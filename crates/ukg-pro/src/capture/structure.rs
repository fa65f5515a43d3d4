//! Redacts a body to its structure: names and counts, with texts only if they are about a request. Pure.
//!
//! Siblings of one name become one node with a count, so the size of an answer does not affect the size of its capture.
//! `Results`, and every success of REST, contain records of persons. Only names, JSON types and counts are kept of them.

use std::fmt;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};

use super::vocabulary::{Name, PIECES_MAX, Said};
use crate::soap::read::Element;
use crate::soap::{ADDRESSING, CONTRACTS, ENVELOPE, SERVICES, write};

/// Nodes kept. An error has about twenty, a success with one record about a hundred.
pub const NODES_MAX: usize = 256;
/// The depth kept. Answers are about ten deep.
const DEPTH_MAX: usize = 20;
/// Different texts kept for one node.
const TEXTS_MAX: usize = 4;
/// Words and marks in all texts of one body.
const WORDS_MAX: usize = 8 * PIECES_MAX;

/// How a text is redacted: as a text or as a code.
type Reading = fn(&str) -> Said;

/// Elements whose text is about the request, not about a person.
const TELLING_ELEMENTS: [(&str, Reading); 14] = [
    ("Code", Said::code),
    ("HasErrors", Said::code),
    ("HasWarnings", Said::code),
    ("Message", Said::of),
    ("PropertyName", Said::code),
    ("Severity", Said::code),
    ("Status", Said::code),
    ("StatusMessage", Said::of),
    ("Success", Said::code),
    ("Text", Said::of),
    ("Value", Said::code),
    ("faultcode", Said::code),
    ("faultstring", Said::of),
    ("message", Said::of),
];
/// The same in JSON.
const TELLING_KEYS: [(&str, Reading); 12] = [
    ("code", Said::code),
    ("detail", Said::of),
    ("error", Said::of),
    ("errorCode", Said::code),
    ("errorMessage", Said::of),
    ("errors", Said::of),
    ("message", Said::of),
    ("messages", Said::of),
    ("reason", Said::of),
    ("status", Said::code),
    ("title", Said::of),
    ("type", Said::code),
];
/// The element that contains the records of a SOAP answer.
pub(super) const RECORDS: &str = "Results";

const KNOWN_NAMESPACES: [(&str, &str); 11] = [
    (ENVELOPE, "soap12"),
    ("http://schemas.xmlsoap.org/soap/envelope/", "soap11"),
    (ADDRESSING, "addressing"),
    (CONTRACTS, "contracts"),
    ("http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken", "ultiprotoken"),
    ("http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey", "clientaccesskey"),
    ("http://schemas.microsoft.com/2003/10/Serialization/", "serialization"),
    ("http://schemas.microsoft.com/2003/10/Serialization/Arrays", "arrays"),
    ("http://schemas.microsoft.com/ws/2005/05/addressing/none", "addressing-none"),
    ("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd", "wsu"),
    ("http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd", "wsse"),
];
const NAMESPACE_FAMILIES: [(&str, &str); 5] = [
    (SERVICES, "other-service"),
    ("http://www.ultipro.com/", "other-ultipro"),
    ("http://www.ultimatesoftware.com/", "other-ultimatesoftware"),
    ("http://schemas.datacontract.org/", "other-datacontract"),
    ("http://schemas.microsoft.com/", "other-microsoft"),
];

/// A part of a structure, with a count.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Node {
    /// The name of an element or JSON key; `None` for JSON items and roots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Label>,
    /// The type of a JSON value.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// How often it occurs; omitted if once.
    #[serde(skip_serializing_if = "once")]
    pub times: usize,
    /// Its texts, each once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub says: Vec<Said>,
    /// Its children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Node>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn once(times: &usize) -> bool {
    *times == 1
}

/// A name with its known namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The project's word for the namespace; empty if there is none.
    space: &'static str,
    name: Name,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.space.is_empty() { "" } else { ":" };
        write!(f, "{}{colon}{}", self.space, self.name)
    }
}

impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A structure, and whether it is complete.
#[derive(Debug, Default, PartialEq)]
pub struct Shape {
    /// The root.
    pub nodes: Vec<Node>,
    /// Whether something was left out.
    pub cut: bool,
}

/// The remaining budget.
struct Budget {
    nodes: usize,
    words: usize,
    cut: bool,
}

impl Budget {
    fn new() -> Self {
        Self { nodes: NODES_MAX, words: WORDS_MAX, cut: false }
    }

    /// Finds the sibling of this name and type and counts it, or adds it. `None` if the budget is used up.
    fn node<'n>(
        &mut self,
        siblings: &'n mut Vec<Node>,
        name: Option<Label>,
        kind: Option<&'static str>,
    ) -> Option<&'n mut Node> {
        if let Some(position) = siblings.iter().position(|node| node.name == name && node.kind == kind) {
            let node = &mut siblings[position];
            node.times = node.times.saturating_add(1);
            return Some(node);
        }
        if self.nodes == 0 {
            self.cut = true;
            return None;
        }
        self.nodes -= 1;
        siblings.push(Node { name, kind, times: 1, says: Vec::new(), holds: Vec::new() });
        siblings.last_mut()
    }

    fn say(&mut self, node: &mut Node, said: Said) {
        if said.is_empty() || node.says.contains(&said) {
            return;
        }
        if node.says.len() == TEXTS_MAX || said.len() > self.words {
            self.cut = true;
            return;
        }
        self.words -= said.len();
        node.says.push(said);
    }
}

/// Returns the structure of an XML answer to this operation.
pub fn of_xml(root: &Element, operation: &str) -> Shape {
    let service = operation.split('/').next().map(write::namespace).unwrap_or_default();
    let mut shape = Shape::default();
    let mut budget = Budget::new();
    element(root, &mut shape.nodes, &service, DEPTH_MAX, false, &mut budget);
    shape.cut = budget.cut;
    shape
}

fn element(found: &Element, siblings: &mut Vec<Node>, service: &str, depth: usize, record: bool, budget: &mut Budget) {
    if depth == 0 {
        budget.cut = true;
        return;
    }
    let label = Label { space: space(&found.namespace, service), name: Name::of(&found.name) };
    let Some(node) = budget.node(siblings, Some(label), None) else { return };
    let text = found.text.trim();
    if !record && found.children.is_empty() && !text.is_empty() {
        let reading =
            TELLING_ELEMENTS.iter().find(|(name, _)| *name == found.name).map_or(Said::kind_of as Reading, |(_, r)| *r);
        let said = reading(unqualified(found, text));
        budget.say(node, said);
    }
    let record = record || found.name == RECORDS;
    for child in &found.children {
        element(child, &mut node.holds, service, depth - 1, record, budget);
    }
}

/// Strips the prefix of a fault's code, which is a qualified name.
fn unqualified<'a>(found: &Element, text: &'a str) -> &'a str {
    match found.name.as_str() {
        "Value" | "faultcode" => text.rsplit(':').next().unwrap_or(text),
        _ => text,
    }
}

fn space(namespace: &str, service: &str) -> &'static str {
    if namespace.is_empty() {
        return "";
    }
    if namespace == service {
        return "service";
    }
    let known = KNOWN_NAMESPACES.iter().find(|(known, _)| *known == namespace);
    let family = || NAMESPACE_FAMILIES.iter().find(|(family, _)| namespace.starts_with(family));
    known.or_else(family).map_or("<namespace>", |(_, word)| word)
}

/// Returns the structure of JSON, with texts if it reports a failure. `None` if it is not JSON.
pub fn of_json(bytes: &[u8], failed: bool) -> Option<Shape> {
    let mut shape = Shape::default();
    let mut budget = Budget::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    // A failure that is a single text is about the request.
    let telling = (bytes.first() == Some(&b'"')).then_some(Said::of as Reading);
    let root = Json { siblings: &mut shape.nodes, name: None, telling, failed, depth: DEPTH_MAX, budget: &mut budget };
    root.deserialize(&mut json).ok()?;
    json.end().ok()?;
    shape.cut = budget.cut;
    Some(shape)
}

/// A JSON value to redact in place, without a copy of it.
struct Json<'a> {
    siblings: &'a mut Vec<Node>,
    name: Option<Label>,
    /// How its text is redacted, if it is about the request.
    telling: Option<Reading>,
    failed: bool,
    depth: usize,
    budget: &'a mut Budget,
}

impl Json<'_> {
    fn leaf(self, kind: &'static str, said: impl FnOnce(Reading) -> Said) {
        let telling = self.telling.filter(|_| self.failed);
        if let (Some(node), Some(reading)) = (self.budget.node(self.siblings, self.name, Some(kind)), telling) {
            self.budget.say(node, said(reading));
        }
    }

    fn number(self, number: Option<u64>) {
        self.leaf("number", |_| Said::number(number));
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.depth == 0 {
            self.budget.cut = true;
            return deserializer.deserialize_ignored_any(IgnoredAny).map(|_| ());
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.leaf("null", |reading| reading(""));
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf("boolean", |reading| reading(if value { "true" } else { "false" }));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.number(Some(value));
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        self.number(None);
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        self.number(None);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.leaf("string", |reading| reading(text));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { siblings, name, telling, failed, depth, budget } = self;
        let mut dropped = Vec::new();
        let holds = match budget.node(siblings, name, Some("array")) {
            Some(node) => &mut node.holds,
            None => &mut dropped,
        };
        while items
            .next_element_seed(Json { siblings: holds, name: None, telling, failed, depth: depth - 1, budget })?
            .is_some()
        {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let Self { siblings, name, telling, failed, depth, budget } = self;
        let mut dropped = Vec::new();
        let holds = match budget.node(siblings, name, Some("object")) {
            Some(node) => &mut node.holds,
            None => &mut dropped,
        };
        while let Some(key) = entries.next_key_seed(Key)? {
            let telling = key.telling.or(telling);
            entries.next_value_seed(Json {
                siblings: holds,
                name: Some(key.label),
                telling,
                failed,
                depth: depth - 1,
                budget,
            })?;
        }
        Ok(())
    }
}

/// A JSON key, reduced to what may be kept.
struct Key;

struct KnownKey {
    label: Label,
    telling: Option<Reading>,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = KnownKey;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<KnownKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key {
    type Value = KnownKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<KnownKey, E> {
        let telling = TELLING_KEYS.iter().find(|(known, _)| known.eq_ignore_ascii_case(key)).map(|(_, reading)| *reading);
        Ok(KnownKey { label: Label { space: "", name: Name::of(key) }, telling })
    }
}
