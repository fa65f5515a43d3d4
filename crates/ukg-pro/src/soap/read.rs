//! Parses a SOAP answer, within bounds, into a small tree and finds faults in it.
//!
//! Elements are found by local name, so prefixes and order do not matter; only the envelope must be in a SOAP namespace. Only
//! XML's five entities are expanded, and a document type declaration is an error, so an answer cannot grow while it is parsed.

use quick_xml::events::Event;
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

use zeroize::Zeroizing;

use super::ENVELOPE;

/// The maximum depth. UKG Pro's answers are about ten deep.
pub const DEPTH_MAX: usize = 64;
/// Elements at most. A page of one, or an error list, has well under a hundred.
pub const ELEMENTS_MAX: usize = 2048;

/// Bytes of a namespace at most. Each element stores its own, so the cost is length times elements. UKG Pro's are under 80 bytes.
pub const NAMESPACE_MAX: usize = 256;

/// SOAP 1.1. A WCF endpoint may send a fault in it.
const ENVELOPE_1_1: &str = "http://schemas.xmlsoap.org/soap/envelope/";

/// An element with its content. Attributes are dropped: no decision needs one.
///
/// It has no `Debug` outside tests, and its text is wiped on drop: LoginService's answer holds a token.
#[derive(Default)]
#[cfg_attr(test, derive(Debug, PartialEq, Eq))]
pub struct Element {
    /// The namespace of its name. Empty if there is none.
    pub namespace: String,
    /// Its local name.
    pub name: String,
    /// Its own character data, without its children's.
    pub text: Zeroizing<String>,
    /// Its children, in document order.
    pub children: Vec<Element>,
}

/// Why bytes are not a SOAP answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not UTF-8.
    #[error("the answer is not UTF-8")]
    NotUtf8,
    /// Not well-formed, or truncated.
    #[error("the answer is not well-formed XML")]
    NotXml,
    /// Well-formed, but not an envelope; such HTML counts too.
    #[error("the answer is XML but no SOAP envelope")]
    NotSoap,
    /// A document type declaration or an entity beyond XML's five.
    #[error("the answer declares a document type or uses an undeclared entity")]
    Entities,
    /// Over [`DEPTH_MAX`], [`ELEMENTS_MAX`] or [`NAMESPACE_MAX`].
    #[error("the answer has too many or too deeply nested elements, or too long a namespace")]
    TooLarge,
}

/// The codes and reason of a fault. They are only interpreted, never passed on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Fault {
    /// The local names of all codes, outermost first: `Sender`, `FailedAuthentication`.
    pub codes: Vec<String>,
    /// The texts of the reason, in all languages.
    pub reason: String,
}

impl Element {
    /// Returns the first element with this local name, in document order. The search includes `self`.
    pub fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// Returns the first direct child with this local name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Returns the trimmed text of the first direct child with this local name. `None` if it is absent or blank.
    pub fn child_text(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.trim()).filter(|text| !text.is_empty())
    }

    /// Whether its namespace is one of UKG's.
    pub fn is_ukg(&self) -> bool {
        self.namespace.starts_with("http://www.ultipro.com/") || self.namespace.starts_with("http://www.ultimatesoftware.com/")
    }
}

/// Parses an envelope.
pub fn envelope(bytes: &[u8]) -> Result<Element, ReadError> {
    document(bytes).and_then(|root| if is_envelope(&root) { Ok(root) } else { Err(ReadError::NotSoap) })
}

/// Parses any XML document within the bounds.
pub fn document(bytes: &[u8]) -> Result<Element, ReadError> {
    let text = std::str::from_utf8(bytes).map_err(|_| ReadError::NotUtf8)?;
    tree(text.trim_start_matches('\u{feff}'))
}

/// Whether a document is a SOAP envelope.
pub fn is_envelope(root: &Element) -> bool {
    root.name == "Envelope" && (root.namespace == ENVELOPE || root.namespace == ENVELOPE_1_1)
}

/// Returns the first element of the body, which is the message.
pub fn body(envelope: &Element) -> Option<&Element> {
    envelope.children.iter().find(|e| e.name == "Body" && e.namespace == envelope.namespace)?.children.first()
}

/// Whether the body holds more than one message. They may contradict each other.
pub fn is_ambiguous(envelope: &Element) -> bool {
    let bodies = envelope.children.iter().filter(|e| e.name == "Body" && e.namespace == envelope.namespace);
    bodies.map(|body| body.children.len()).sum::<usize>() > 1
}

/// Returns the fault of an envelope, if its body is one.
pub fn fault(envelope: &Element) -> Option<Fault> {
    let fault = body(envelope).filter(|e| e.name == "Fault" && e.namespace == envelope.namespace)?;
    let mut found = Fault::default();
    // SOAP 1.2: Code/Value, Code/Subcode/Value, and so on inwards.
    let mut code = fault.child("Code");
    while let Some(element) = code {
        found.codes.extend(element.child_text("Value").map(local));
        code = element.child("Subcode");
    }
    // SOAP 1.1: faultcode. WCF puts the subcode itself there.
    found.codes.extend(fault.child_text("faultcode").map(local));
    // One text for each language.
    let texts =
        fault.child("Reason").into_iter().flat_map(|reason| reason.children.iter().filter(|child| child.name == "Text"));
    let texts = texts.chain(fault.child("faultstring")).map(|text| text.text.trim()).filter(|text| !text.is_empty());
    found.reason = texts.collect::<Vec<_>>().join(" ");
    Some(found)
}

/// Returns the local part of a qualified name.
fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_owned()
}

fn tree(text: &str) -> Result<Element, ReadError> {
    let mut reader = NsReader::from_str(text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut elements = 0;
    loop {
        let (namespace, event) = reader.read_resolved_event().map_err(|_| ReadError::NotXml)?;
        match event {
            Event::Start(start) => {
                elements += 1;
                if elements > ELEMENTS_MAX || open.len() >= DEPTH_MAX {
                    return Err(ReadError::TooLarge);
                }
                if root.is_some() {
                    return Err(ReadError::NotXml);
                }
                let namespace = match namespace {
                    ResolveResult::Bound(namespace) if namespace.0.len() > NAMESPACE_MAX => return Err(ReadError::TooLarge),
                    ResolveResult::Bound(namespace) => namespace.0.to_owned(),
                    ResolveResult::Unbound => String::new(),
                    ResolveResult::Unknown(_) => return Err(ReadError::NotXml),
                };
                open.push(Element { namespace, name: start.local_name().as_ref().to_owned(), ..Element::default() });
            }
            Event::End(_) => {
                let closed = open.pop().ok_or(ReadError::NotXml)?;
                match open.last_mut() {
                    Some(parent) => parent.children.push(closed),
                    None => root = Some(closed),
                }
            }
            Event::Text(piece) => append(&mut open, &piece.xml10_content())?,
            Event::CData(piece) => append(&mut open, &piece.xml10_content())?,
            Event::GeneralRef(reference) => {
                let expanded = quick_xml::escape::unescape(&format!("&{};", reference.xml10_content()))
                    .map_err(|_| ReadError::Entities)?
                    .into_owned();
                append(&mut open, &expanded)?;
            }
            Event::DocType(_) => return Err(ReadError::Entities),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Empty(_) => return Err(ReadError::NotXml),
            // quick-xml reports an unclosed element as a plain end.
            Event::Eof if !open.is_empty() => return Err(ReadError::NotXml),
            Event::Eof => return root.ok_or(ReadError::NotXml),
        }
    }
}

fn append(open: &mut [Element], piece: &str) -> Result<(), ReadError> {
    match open.last_mut() {
        Some(element) => element.text.push_str(piece),
        None if piece.trim().is_empty() => {}
        None => return Err(ReadError::NotXml),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"<?xml version="1.0"?>
<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>
  <TokenResponse xmlns="http://www.ultipro.com/contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">
    <Status xmlns="http://www.ultipro.com/services/loginservice">Ok</Status>
    <StatusMessage i:nil="true" xmlns="http://www.ultipro.com/services/loginservice"/>
    <Token xmlns="http://www.ultipro.com/services/loginservice">t &amp; &#65;<![CDATA[<b>]]></Token>
  </TokenResponse></s:Body></s:Envelope>"#;

    #[test]
    fn text_is_put_together_across_references_and_sections() {
        let envelope = envelope(ANSWER.as_bytes()).expect("readable");
        let response = body(&envelope).expect("a body");
        assert_eq!(response.name, "TokenResponse");
        assert!(response.is_ukg());
        assert_eq!(response.child_text("Status"), Some("Ok"));
        assert_eq!(response.child_text("StatusMessage"), None);
        assert_eq!(response.child_text("Token"), Some("t & A<b>"));
    }

    #[test]
    fn prefixes_and_a_byte_order_mark_make_no_difference() {
        let other = ANSWER.replace("<s:", "<SOAP-ENV:").replace("</s:", "</SOAP-ENV:").replace("xmlns:s=", "xmlns:SOAP-ENV=");
        assert_eq!(envelope(format!("\u{feff}{other}").as_bytes()), envelope(ANSWER.as_bytes()));
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        for end in 0..ANSWER.len() {
            assert!(envelope(&ANSWER.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }

    #[test]
    fn what_is_no_soap_answer_is_refused_by_kind() {
        let deep = format!("{}{}", "<a>".repeat(DEPTH_MAX + 1), "</a>".repeat(DEPTH_MAX + 1));
        let many = format!("<a>{}</a>", "<b/>".repeat(ELEMENTS_MAX));
        let long = format!("<a xmlns=\"{}\"/>", "u".repeat(NAMESPACE_MAX + 1));
        let bomb = format!("<!DOCTYPE x [<!ENTITY e \"boom\">]>{}", ANSWER.split_once("?>").expect("a declaration").1);
        let entity = ANSWER.replace("&amp;", "&e;");
        for (what, bytes, error) in [
            ("nothing", "", ReadError::NotXml),
            ("text", "Service Unavailable", ReadError::NotXml),
            ("JSON", r#"{"error":"x"}"#, ReadError::NotXml),
            ("XHTML", "<html xmlns=\"http://www.w3.org/1999/xhtml\"><body>Sign in</body></html>", ReadError::NotSoap),
            ("HTML", "<html><body><p>Sign in<br></body></html>", ReadError::NotXml),
            ("an HTML doctype", "<!DOCTYPE html><html></html>", ReadError::Entities),
            ("another envelope", "<Envelope xmlns=\"urn:x\"/>", ReadError::NotSoap),
            ("an unbound prefix", "<s:Envelope/>", ReadError::NotXml),
            ("two roots", "<a/><b/>", ReadError::NotXml),
            ("depth", &deep, ReadError::TooLarge),
            ("count", &many, ReadError::TooLarge),
            ("a long namespace", &long, ReadError::TooLarge),
            ("a document type", &bomb, ReadError::Entities),
            ("an unknown entity", &entity, ReadError::Entities),
        ] {
            assert_eq!(envelope(bytes.as_bytes()), Err(error), "{what}");
        }
        assert_eq!(envelope(&[0xff, 0xfe, b'<', 0]), Err(ReadError::NotUtf8));
    }

    #[test]
    fn a_fault_gives_its_codes_from_the_outside_in() {
        let text = r#"<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><e:Fault>
            <e:Reason><e:Text xml:lang="en">Access is denied.</e:Text></e:Reason>
            <e:Code><e:Value>e:Sender</e:Value><e:Subcode><e:Value xmlns:a="urn:a">a:FailedAuthentication</e:Value></e:Subcode></e:Code>
            </e:Fault></e:Body></e:Envelope>"#;
        let found = fault(&envelope(text.as_bytes()).expect("readable")).expect("a fault");
        assert_eq!(found.codes, ["Sender", "FailedAuthentication"]);
        assert_eq!(found.reason, "Access is denied.");

        let soap_1_1 = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><s:Fault>
            <faultcode>a:InvalidSecurity</faultcode><faultstring>no</faultstring></s:Fault></s:Body></s:Envelope>"#;
        let found = fault(&envelope(soap_1_1.as_bytes()).expect("readable")).expect("a fault");
        assert_eq!((found.codes, found.reason), (vec!["InvalidSecurity".to_owned()], "no".to_owned()));

        assert_eq!(fault(&envelope(ANSWER.as_bytes()).expect("readable")), None);
    }

    proptest::proptest! {
        /// Any bytes give an envelope or an error.
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..512)) {
            let _ = envelope(&bytes);
        }

        /// An answer with any part replaced by anything gives a result or an error, never a panic.
        #[test]
        fn a_broken_answer_is_read_or_refused(at in 0..ANSWER.len(), length in 0..40_usize, with in "[<>&;/a-z:!\\[\\]\"= \u{0}-\u{ff}]{0,20}") {
            let mut bytes = ANSWER.as_bytes().to_vec();
            bytes.splice(at..(at + length).min(ANSWER.len()), with.bytes());
            if let Ok(envelope) = envelope(&bytes) {
                proptest::prop_assert!(fault(&envelope).is_none());
            }
        }

        /// Any text that XML can hold is read back unchanged, however it is escaped.
        #[test]
        fn text_is_read_as_it_was_written(text in "[^\u{0}-\u{8}\u{b}\u{c}\u{e}-\u{1f}\u{7f}-\u{9f}\r\u{2028}\u{fffe}\u{ffff}]{0,60}") {
            let escaped = quick_xml::escape::escape(text.as_str());
            let references: String = text.chars().map(|c| format!("&#{};", u32::from(c))).collect();
            for written in [escaped.as_ref(), &references] {
                let answer = ANSWER.replace("t &amp; &#65;<![CDATA[<b>]]>", written);
                let envelope = envelope(answer.as_bytes()).expect("readable");
                proptest::prop_assert_eq!(envelope.find("Token").expect("there").text.as_str(), text.as_str());
            }
        }
    }
}
