//! Tests of the documents of a description, assembled as a client does.

use std::collections::HashSet;

use super::*;
use crate::call::tests::{soap_call, text};
use crate::catalogue::{CONTRACTS, LOGIN, SOAP_SERVICES};
use crate::xml::{self, Element};

const SCHEMA: &str = "http://www.w3.org/2001/XMLSchema";
const WSDL: &str = "http://schemas.xmlsoap.org/wsdl/";

fn get(path: &str, query: &str) -> HttpRequest {
    let query = (!query.is_empty()).then(|| query.to_owned());
    HttpRequest { method: Method::GET, query, ..soap_call(path, "") }
}

fn document(service: &str, query: &str) -> (u16, String) {
    let call = get(&format!("/services/{service}"), query);
    let asked = asked_for(&call).expect("a GET");
    let reply = match crate::catalogue::soap_service(service) {
        Some(service) => data(&call, service, true, asked),
        None => login(&call, asked),
    };
    (reply.status.as_u16(), text(&reply))
}

fn root(service: &str, query: &str) -> Element {
    let (status, document) = document(service, query);
    assert_eq!(status, 200, "{service}?{query}");
    xml::read(document.as_bytes()).unwrap_or_else(|error| panic!("{service}?{query}: {error}"))
}

fn descendants<'a>(element: &'a Element, found: &mut Vec<&'a Element>) {
    found.push(element);
    element.children.iter().for_each(|child| descendants(child, found));
}

fn all(element: &Element) -> Vec<&Element> {
    let mut found = Vec::new();
    descendants(element, &mut found);
    found
}

fn services() -> Vec<&'static str> {
    SOAP_SERVICES.iter().map(|service| service.name).chain(["LoginService"]).collect()
}

#[test]
fn a_part_is_asked_for_by_the_query_whatever_its_case() {
    let cases = [
        ("", Document::Service, "GET /services/LoginService"),
        ("wsdl", Document::Service, "GET /services/LoginService?wsdl"),
        ("WSDL", Document::Service, "GET /services/LoginService?wsdl"),
        ("wsdl=wsdl0", Document::Contract, "GET /services/LoginService?wsdl=wsdl0"),
        ("wsdl=wsdl1", Document::Unknown, "GET /services/LoginService?unknown"),
        ("singleWsdl", Document::Single, "GET /services/LoginService?singleWsdl"),
        ("xsd=xsd12", Document::Schema(12), "GET /services/LoginService?xsd=xsd12"),
        ("xsd=xsd+1", Document::Unknown, "GET /services/LoginService?unknown"),
        ("xsd=xsd01", Document::Unknown, "GET /services/LoginService?unknown"),
        ("xsd=99999999999999999999999", Document::Unknown, "GET /services/LoginService?unknown"),
        ("xsd", Document::Unknown, "GET /services/LoginService?unknown"),
        ("page=1", Document::Service, "GET /services/LoginService?wsdl"),
    ];
    for (query, want, name) in cases {
        let call = get("/services/LoginService", query);
        assert_eq!(asked_for(&call), Some(want), "{query}");
        assert_eq!(operation(&call, want), name, "{query}");
    }
    assert_eq!(asked_for(&soap_call("/services/LoginService", "")), None, "a POST is a call");
    assert_eq!(document("LoginService", "xsd=xsd99").0, 404);
}

#[test]
fn every_import_is_found_and_declares_the_namespace_that_it_has() {
    for service in services() {
        let mut open = vec![("wsdl".to_owned(), "http://tempuri.org/".to_owned())];
        let mut seen = HashSet::new();
        while let Some((query, namespace)) = open.pop() {
            if !seen.insert(query.clone()) {
                continue;
            }
            let root = root(service, &query);
            assert_eq!(root.attribute("", "targetNamespace"), Some(namespace.as_str()), "{service}?{query}");
            for element in all(&root).into_iter().filter(|element| element.name == "import") {
                let at = element.attribute("", "location").or(element.attribute("", "schemaLocation")).expect("a place");
                let query = at.strip_prefix(&format!("https://service4.ultipro.localhost:8443/services/{service}?"));
                let namespace = element.attribute("", "namespace").expect("a namespace");
                open.push((query.expect(at).to_owned(), namespace.to_owned()));
            }
        }
        assert!(seen.len() >= 5, "{service}: {seen:?}");
    }
}

#[test]
fn every_name_that_is_used_is_declared_once() {
    for service in services() {
        let single = root(service, "singleWsdl");
        let (_, source) = document(service, "singleWsdl");
        let everything = all(&single);
        for kind in ["element", "complexType", "simpleType"] {
            for schema in everything.iter().filter(|element| element.is(SCHEMA, "schema")) {
                let names: Vec<_> = schema.children.iter().filter(|child| child.name == kind).collect();
                let names: Vec<_> = names.iter().filter_map(|child| child.attribute("", "name")).collect();
                assert_eq!(names.len(), names.iter().collect::<HashSet<_>>().len(), "{service}: {names:?}");
            }
        }
        let declared: HashSet<&str> = everything.iter().filter_map(|element| element.attribute("", "name")).collect();
        for attribute in ["type", "base", "element", "ref", "message"] {
            for element in &everything {
                let used = element.attribute("", attribute).and_then(|name| name.split_once(':'));
                let used = used.filter(|(prefix, _)| *prefix != "xs").map(|(_, name)| name);
                assert!(used.is_none_or(|used| declared.contains(used)), "{service}: {attribute} {used:?}");
            }
        }
        assert!(!source.contains("schemaLocation"), "{service}: it is all in one document");
    }
}

#[test]
fn no_prefix_is_declared_twice_in_a_document() {
    for service in services() {
        for query in ["wsdl", "wsdl=wsdl0", "xsd=xsd0", "xsd=xsd2"] {
            let (_, document) = document(service, query);
            let prefixes: Vec<_> = document.split("xmlns:").skip(1).filter_map(|rest| rest.split_once('=')).collect();
            let distinct: HashSet<_> = prefixes.iter().map(|(prefix, _)| prefix).collect();
            assert_eq!(prefixes.len(), distinct.len(), "{service}?{query}");
            assert!(!document.contains(r#"="q:"#) && !document.contains("xmlns:q="), "{service}?{query}");
        }
    }
}

#[test]
fn the_address_has_the_host_and_port_of_the_client() {
    let mut call = get("/services/LoginService", "wsdl");
    for (authority, location) in [
        ("service4.ultipro.localhost:8443", "https://service4.ultipro.localhost:8443/services/LoginService"),
        ("service4.ultipro.localhost", "https://service4.ultipro.localhost/services/LoginService"),
        ("[::1]:9", "https://[::1]:9/services/LoginService"),
    ] {
        call.authority = authority.to_owned();
        let document = text(&login(&call, Document::Service));
        let root = xml::read(document.as_bytes()).expect("well-formed");
        let address = all(&root).into_iter().find(|element| element.name == "address").expect("an address");
        assert_eq!(address.attribute("", "location"), Some(location));
    }
}

#[test]
fn the_login_has_its_four_headers_and_an_action() {
    let contract = root("LoginService", "wsdl=wsdl0");
    let everything = all(&contract);
    let message = |name| {
        let found =
            everything.iter().find(|element| element.is(WSDL, "message") && element.attribute("", "name") == Some(name));
        let parts = found.expect(name).children.iter();
        parts.filter_map(|part| part.attribute("", "name")).collect::<Vec<_>>()
    };
    assert_eq!(message("TokenRequest"), ["parameters"]);
    assert_eq!(message("TokenRequest_Headers"), ["ClientAccessKey", "Password", "UserAccessKey", "UserName"]);
    let input = everything.iter().find(|element| element.is(WSDL, "input")).expect("an input");
    let action = input.attribute("http://www.w3.org/2006/05/addressing/wsdl", "Action");
    assert_eq!(action, Some("http://www.ultipro.com/services/loginservice/ILoginService/Authenticate"));
    let headers: Vec<_> = ["xsd0", "xsd1"].map(|number| root("LoginService", &format!("xsd={number}"))).into();
    assert_eq!(headers[0].attribute("", "targetNamespace"), Some(CONTRACTS));
    assert_eq!(headers[1].attribute("", "targetNamespace"), Some(LOGIN));
}

#[test]
fn a_data_service_can_keep_its_token_headers_to_itself() {
    let call = get("/services/EmployeePerson", "singleWsdl");
    let person = crate::catalogue::soap_service("EmployeePerson").expect("it is in the table");
    for (declared, count) in [(true, 2), (false, 0)] {
        let document = text(&data(&call, person, declared, Document::Single));
        assert_eq!(document.matches("<soap12:header ").count(), count);
        assert_eq!(document.contains(crate::catalogue::TOKEN), declared);
        assert!(document.contains(r#"<wsdl:binding name="WSHttpBinding_IEmployeePerson" type="tns:IEmployeePerson">"#));
    }
}
