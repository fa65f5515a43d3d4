//! A strict XML reader with namespaces that builds a small tree, and the escaping for writers.
//!
//! **Limit**: refuses what SOAP forbids (document type, processing instructions, entities beyond XML's five) and bounds the depth
//! and the number of elements. Pure.

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

/// Namespace of the attribute `nil`.
pub(crate) const INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";
/// A correct envelope is six levels deep.
const DEEPEST: usize = 32;
/// A correct envelope has about fifteen elements.
const MOST_ELEMENTS: usize = 2_000;

/// An element.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Element {
    /// Namespace, empty for none.
    pub(crate) namespace: String,
    /// Local name.
    pub(crate) name: String,
    /// Attributes except namespace declarations: namespace, local name, value.
    pub(crate) attributes: Vec<(String, String, String)>,
    /// Child elements.
    pub(crate) children: Vec<Element>,
    /// All text directly inside the element.
    pub(crate) text: String,
}

impl Element {
    /// Whether the element has this name in this namespace.
    pub(crate) fn is(&self, namespace: &str, name: &str) -> bool {
        self.namespace == namespace && self.name == name
    }

    /// Returns the value of an attribute.
    pub(crate) fn attribute(&self, namespace: &str, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(ns, local, _)| ns == namespace && local == name).map(|(_, _, value)| value.as_str())
    }

    /// Returns the first child of this name in this namespace.
    pub(crate) fn child(&self, namespace: &str, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.is(namespace, name))
    }

    /// Whether the element holds no element and only white space.
    pub(crate) fn is_empty(&self) -> bool {
        self.children.is_empty() && self.text.trim().is_empty()
    }
}

/// What is wrong with a document. The text quotes nothing of the document.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(String);

fn malformed(what: impl Into<String>) -> Malformed {
    Malformed(what.into())
}

/// Reads a document and returns its root element.
pub(crate) fn read(document: &[u8]) -> Result<Element, Malformed> {
    let document = document.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(document);
    let text = std::str::from_utf8(document).map_err(|_| malformed("the body is not UTF-8"))?;
    let mut reader = NsReader::from_str(text);
    reader.config_mut().check_comments = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let event = reader.read_event().map_err(|_| malformed("the body is not well-formed XML"))?;
        match event {
            Event::Start(start) => {
                elements += 1;
                let element = element(&reader, &start, elements, open.len(), root.is_some())?;
                open.push(element);
            }
            Event::Empty(start) => {
                elements += 1;
                let element = element(&reader, &start, elements, open.len(), root.is_some())?;
                close(element, &mut open, &mut root);
            }
            Event::End(_) => {
                let element = open.pop().ok_or_else(|| malformed("an end tag closes nothing"))?;
                close(element, &mut open, &mut root);
            }
            Event::Text(text) => add_text(&text.xml10_content(), &mut open)?,
            Event::CData(text) if !open.is_empty() => add_text(&text.xml10_content(), &mut open)?,
            Event::CData(_) => return Err(malformed("there is text outside the root element")),
            Event::GeneralRef(reference) => {
                let character = match reference.resolve_char_ref() {
                    Ok(Some(character)) => character,
                    Ok(None) => entity(&reference.xml10_content())?,
                    Err(_) => return Err(malformed("a character reference is no character")),
                };
                if open.is_empty() {
                    return Err(malformed("there is text outside the root element"));
                }
                add_text(character.encode_utf8(&mut [0; 4]), &mut open)?;
            }
            Event::Comment(_) => {}
            Event::Decl(declaration) => {
                if elements > 0 || !text.starts_with("<?xml") {
                    return Err(malformed("the XML declaration is not at the beginning"));
                }
                if let Some(encoding) = declaration.encoding()
                    && !encoding.is_ok_and(|name| name.eq_ignore_ascii_case("utf-8"))
                {
                    return Err(malformed("the XML declaration names an encoding other than utf-8"));
                }
            }
            Event::PI(_) => return Err(malformed("SOAP forbids processing instructions")),
            Event::DocType(_) => return Err(malformed("SOAP forbids a document type declaration")),
            Event::Eof => break,
        }
    }
    if let Some(element) = open.last() {
        return Err(malformed(format!("the element {} is not closed", element.name)));
    }
    root.ok_or_else(|| malformed("the body holds no XML element"))
}

fn element(
    reader: &NsReader<&[u8]>,
    start: &BytesStart<'_>,
    elements: usize,
    depth: usize,
    after_root: bool,
) -> Result<Element, Malformed> {
    if elements > MOST_ELEMENTS || depth >= DEEPEST {
        return Err(malformed("there are too many elements, or they are too deep"));
    }
    if depth == 0 && after_root {
        return Err(malformed("there is a second root element"));
    }
    let (namespace, name) = reader.resolver().resolve_element(start.name());
    let mut element = Element { namespace: resolved(&namespace)?, name: name.into_inner().to_owned(), ..Element::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| malformed("an attribute is not well-formed, or is there twice"))?;
        if attribute.key.as_namespace_binding().is_some() {
            continue;
        }
        let (namespace, name) = reader.resolver().resolve_attribute(attribute.key);
        let value =
            attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| malformed("an attribute has an unknown entity"))?;
        element.attributes.push((resolved(&namespace)?, name.into_inner().to_owned(), value.into_owned()));
    }
    Ok(element)
}

fn resolved(namespace: &ResolveResult<'_>) -> Result<String, Malformed> {
    match namespace {
        ResolveResult::Bound(namespace) => Ok(namespace.0.to_owned()),
        ResolveResult::Unbound => Ok(String::new()),
        ResolveResult::Unknown(_) => Err(malformed("a namespace prefix is not declared")),
    }
}

fn close(element: Element, open: &mut [Element], root: &mut Option<Element>) {
    match open.last_mut() {
        Some(parent) => parent.children.push(element),
        None => *root = Some(element),
    }
}

fn add_text(text: &str, open: &mut [Element]) -> Result<(), Malformed> {
    match open.last_mut() {
        Some(parent) => parent.text.push_str(text),
        None if text.trim().is_empty() => {}
        None => return Err(malformed("there is text outside the root element")),
    }
    Ok(())
}

fn entity(name: &str) -> Result<char, Malformed> {
    match name {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed("there is an entity other than XML's five")),
    }
}

/// Parses an `xs:boolean` as .NET does: `true`, `1`, `false` or `0`, with white space around it. `True` is not one.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.trim_matches([' ', '\t', '\r', '\n']) {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// Escapes text for element content and attribute values.
pub(crate) fn escape(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_do_not_matter_and_text_is_whole() {
        let one = read(b"<a:x xmlns:a='urn:1'><a:y k='v'>p&lt;&#38;<![CDATA[<q>]]></a:y></a:x>").expect("well-formed");
        let two =
            read(b"<?xml version='1.0' encoding='UTF-8'?><x xmlns='urn:1'><!-- c --><y k='v'>p&lt;&amp;&lt;q></y>\n</x>\n");
        let two = two.expect("well-formed");
        assert_eq!(one.children, two.children);
        assert_eq!(one.child("urn:1", "y").map(|y| y.text.as_str()), Some("p<&<q>"));
        assert_eq!(one.children[0].attribute("", "k"), Some("v"));
        assert!(one.is("urn:1", "x") && !one.is("", "x"));
    }

    #[test]
    fn what_soap_forbids_or_xml_does_not_know_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(33), "</a>".repeat(33));
        let wide = format!("<a>{}</a>", "<b/>".repeat(2_000));
        let cases: [(&[u8], &str); 19] = [
            (b"", "no XML element"),
            (b"hello", "outside the root"),
            (b"<a>", "a is not closed"),
            (b"<a></b>", "not well-formed"),
            (b"</a>", "not well-formed"),
            (b"<a/><b/>", "second root"),
            (b"<a/>tail", "outside the root"),
            (b"<a/>&#65;", "outside the root"),
            (b"<a>&nbsp;</a>", "XML's five"),
            (b"<a>&#0;</a>", "no character"),
            (b"<a>fish & chips</a>", "not well-formed"),
            (b"<a b='&x;'/>", "unknown entity"),
            (b"<a b='1' b='2'/>", "there twice"),
            (b"<p:a/>", "prefix is not declared"),
            (b"<!DOCTYPE a><a/>", "document type"),
            (b"<a><?php ?></a>", "processing instructions"),
            (b"<?xml version='1.0' encoding='utf-16'?><a/>", "encoding other than"),
            (deep.as_bytes(), "too deep"),
            (wide.as_bytes(), "too many elements"),
        ];
        for (document, says) in cases {
            let shown = String::from_utf8_lossy(&document[..document.len().min(60)]).into_owned();
            let error = read(document).expect_err(&shown).to_string();
            assert!(error.contains(says), "{shown}: {error}");
        }
        assert!(read(b"<a>\xff</a>").is_err(), "not UTF-8");
    }

    #[test]
    fn a_boolean_is_one_of_four_words_with_blanks_around() {
        let cases = [("true", Some(true)), (" 1\n", Some(true)), ("false", Some(false)), ("\t0 ", Some(false))];
        for (text, want) in cases.into_iter().chain(["True", "FALSE", "yes", "2", "01", "", "\u{a0}1"].map(|text| (text, None)))
        {
            assert_eq!(boolean(text), want, "{text:?}");
        }
    }

    #[test]
    fn escaped_text_reads_back() {
        let text = "p<a>&s's\"";
        let document = format!("<a>{}</a>", escape(text));
        assert_eq!(read(document.as_bytes()).expect("well-formed").text, text);
    }
}
