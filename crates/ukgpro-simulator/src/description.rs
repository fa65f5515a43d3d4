//! The descriptions of the services: the WSDL documents and XML schemas of a WCF host, served without credentials.
//!
//! A WCF host splits a description: `?wsdl` has the binding and the address, `?wsdl=wsdl0` has the contract, and `?xsd=xsd0` and
//! so on have one schema for each namespace. `?singleWsdl` has all of them in one document. Everything is generated from the
//! [`catalogue`](crate::catalogue), so that descriptions match the services. Pure.

mod contract;
mod schema;
mod wsdl;

use axum::http::{Method, StatusCode};

use crate::call::{HttpRequest, HttpResponse};
use crate::description::contract::Contract;
use crate::xml::escape;

const CONTENT_TYPE: &str = "text/xml; charset=utf-8";
const DECLARATION: &str = r#"<?xml version="1.0" encoding="utf-8"?>"#;

/// A document of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Document {
    /// Binding, policy and address.
    Service,
    /// Messages and port type.
    Contract,
    /// All documents in one.
    Single,
    /// One schema, counted from 0.
    Schema(usize),
    /// A number that no document has.
    Unknown,
}

impl Document {
    /// Returns the query that requests the document.
    fn query(self) -> String {
        match self {
            Self::Service => "wsdl".to_owned(),
            Self::Contract => "wsdl=wsdl0".to_owned(),
            Self::Single => "singleWsdl".to_owned(),
            Self::Schema(number) => format!("xsd=xsd{number}"),
            Self::Unknown => String::new(),
        }
    }
}

/// Returns the document that a call requests. UKG Pro serves one for the bare path too, where published clients request it.
pub(crate) fn asked_for(call: &HttpRequest) -> Option<Document> {
    if call.method != Method::GET {
        return None;
    }
    let query = call.query.as_deref().unwrap_or_default().to_ascii_lowercase();
    Some(match query.split_once('=').unwrap_or((&query, "")) {
        ("wsdl", "") => Document::Service,
        ("wsdl", "wsdl0") => Document::Contract,
        ("wsdl", _) => Document::Unknown,
        ("singlewsdl", _) => Document::Single,
        ("xsd", number) => number
            .strip_prefix("xsd")
            .and_then(|number| number.parse().ok())
            // `xsd+1` and `xsd01` name no document.
            .filter(|parsed: &usize| number[3..] == parsed.to_string())
            .map_or(Document::Unknown, Document::Schema),
        _ => Document::Service,
    })
}

/// Returns the operation's name, for counters and faults, of a call for a description. The path is one of the catalogue.
pub(crate) fn operation(call: &HttpRequest, document: Document) -> String {
    match document {
        Document::Service if call.query.as_deref().unwrap_or_default().is_empty() => format!("GET {}", call.path),
        Document::Unknown => format!("GET {}?unknown", call.path),
        document => format!("GET {}?{}", call.path, document.query()),
    }
}

/// Returns the description of LoginService.
pub(crate) fn login(call: &HttpRequest, document: Document) -> HttpResponse {
    reply(call, &Contract::login(), document)
}

/// Returns the description of a data service. It declares the two token headers if `headers`.
pub(crate) fn data(
    call: &HttpRequest,
    service: &crate::catalogue::SoapService,
    headers: bool,
    document: Document,
) -> HttpResponse {
    reply(call, &Contract::data(service, headers), document)
}

fn reply(call: &HttpRequest, contract: &Contract, document: Document) -> HttpResponse {
    // The authority is the client's own name for this host, so a forwarded port stays the one that the client used.
    let address = format!("https://{}/services/{}", escape(&call.authority), contract.name);
    let text = match document {
        Document::Service => wsdl::service(contract, &address),
        Document::Contract => wsdl::contract(contract, &address),
        Document::Single => wsdl::single(contract, &address),
        Document::Schema(number) => match contract.schemas.get(number) {
            Some(schema) => schema.document(&|namespace| location(contract, &address, namespace)),
            None => return HttpResponse::empty(StatusCode::NOT_FOUND),
        },
        Document::Unknown => return HttpResponse::empty(StatusCode::NOT_FOUND),
    };
    HttpResponse::new(StatusCode::OK, CONTENT_TYPE, format!("{DECLARATION}{}", numbered(&text)))
}

/// Numbers the prefixes `q`. One element uses each prefix and then declares it. WCF uses no prefix twice in a document, so a
/// client may take a prefix as valid for the whole document.
fn numbered(document: &str) -> String {
    let mut numbered = String::with_capacity(document.len() + document.len() / 16);
    let mut elements = document.split(r#"="q:"#);
    numbered.extend(elements.next());
    for (index, element) in elements.enumerate() {
        let number = index + 1;
        numbered += &format!(r#"="q{number}:"#);
        numbered += &element.replacen("xmlns:q=", &format!("xmlns:q{number}="), 1);
    }
    numbered
}

/// Returns the URL of the schema of a namespace.
fn location(contract: &Contract, address: &str, namespace: &str) -> Option<String> {
    let number = contract.schemas.iter().position(|schema| schema.namespace == namespace)?;
    Some(format!("{address}?{}", Document::Schema(number).query()))
}

#[cfg(test)]
mod tests;
