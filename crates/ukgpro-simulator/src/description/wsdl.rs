//! WSDL 1.1 as WCF writes it: SOAP 1.2, transport security, and the actions of WS-Addressing.

use crate::catalogue::ADDRESSING;
use crate::description::contract::{Contract, Message};
use crate::description::{Document, location};

/// Default namespace of a service and its bindings.
const TEMPURI: &str = "http://tempuri.org/";
const TRANSPORT: &str = "http://schemas.xmlsoap.org/soap/http";
const SECURITY_POLICY: &str = "http://schemas.xmlsoap.org/ws/2005/07/securitypolicy";

/// Writes the document with the binding and the address. It imports the contract.
pub(crate) fn service(contract: &Contract, address: &str) -> String {
    let import = format!(
        r#"<wsdl:import namespace="{}" location="{address}?{}"/><wsdl:types/>"#,
        contract.namespace,
        Document::Contract.query()
    );
    let (policy, rest) = binding_and_service(contract, address, "i0");
    definitions(Some(contract.name), TEMPURI, Some(&contract.namespace), &format!("{policy}{import}{rest}"))
}

/// Writes the document with the messages and the port type. It imports the schemas.
pub(crate) fn contract(contract: &Contract, address: &str) -> String {
    let imports: String = contract
        .schemas
        .iter()
        .filter_map(|schema| {
            let at = location(contract, address, &schema.namespace)?;
            Some(format!(r#"<xsd:import schemaLocation="{at}" namespace="{}"/>"#, schema.namespace))
        })
        .collect();
    let types = format!(
        r#"<wsdl:types><xsd:schema targetNamespace="{}/Imports">{imports}</xsd:schema></wsdl:types>"#,
        contract.namespace
    );
    definitions(None, &contract.namespace, None, &format!("{types}{}", messages_and_port_type(contract)))
}

/// Writes everything into one document, and so into one namespace.
pub(crate) fn single(contract: &Contract, address: &str) -> String {
    let schemas: String = contract.schemas.iter().map(|schema| schema.document(&|_| None)).collect();
    let types = format!("<wsdl:types>{schemas}</wsdl:types>");
    let (policy, rest) = binding_and_service(contract, address, "tns");
    let body = format!("{policy}{types}{}{rest}", messages_and_port_type(contract));
    definitions(Some(contract.name), TEMPURI, None, &body)
}

fn definitions(name: Option<&str>, namespace: &str, imported: Option<&str>, body: &str) -> String {
    let name = name.map_or_else(String::new, |name| format!(r#" name="{name}""#));
    let imported = imported.map_or_else(String::new, |imported| format!(r#" xmlns:i0="{imported}""#));
    format!(
        concat!(
            r#"<wsdl:definitions{} targetNamespace="{}" xmlns:wsdl="http://schemas.xmlsoap.org/wsdl/""#,
            r#" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:soap12="http://schemas.xmlsoap.org/wsdl/soap12/""#,
            r#" xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy""#,
            r#" xmlns:wsu="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd""#,
            r#" xmlns:wsa10="{}" xmlns:wsaw="http://www.w3.org/2006/05/addressing/wsdl""#,
            r#" xmlns:tns="{}"{}>{}</wsdl:definitions>"#
        ),
        name, namespace, ADDRESSING, namespace, imported, body
    )
}

fn messages_and_port_type(contract: &Contract) -> String {
    let Contract { name, operation, action, input, output, .. } = contract;
    format!(
        r#"{}{}<wsdl:portType name="I{name}"><wsdl:operation name="{operation}"><wsdl:input wsaw:Action="{action}"{} message="tns:{}"/><wsdl:output wsaw:Action="{action}Response"{} message="tns:{}"/></wsdl:operation></wsdl:portType>"#,
        message(input),
        message(output),
        named(input),
        input.name,
        named(output),
        output.name,
    )
}

fn named(message: &Message) -> String {
    if message.named { format!(r#" name="{}""#, message.name) } else { String::new() }
}

fn message(message: &Message) -> String {
    let (namespace, element) = &message.body;
    let body = format!(
        r#"<wsdl:message name="{}"><wsdl:part name="parameters" element="q:{element}" xmlns:q="{namespace}"/></wsdl:message>"#,
        message.name
    );
    if message.headers.is_empty() {
        return body;
    }
    let headers: String = message
        .headers
        .iter()
        .map(|(namespace, name)| format!(r#"<wsdl:part name="{name}" element="q:{name}" xmlns:q="{namespace}"/>"#))
        .collect();
    format!(r#"{body}<wsdl:message name="{}_Headers">{headers}</wsdl:message>"#, message.name)
}

/// Returns the policy, and the binding with the service. WCF writes the policy first, and the imports between the two.
fn binding_and_service(contract: &Contract, address: &str, prefix: &str) -> (String, String) {
    let Contract { name, operation, action, input, output, .. } = contract;
    let binding = format!("WSHttpBinding_I{name}");
    let headers: String = input
        .headers
        .iter()
        .map(|(_, part)| format!(r#"<soap12:header message="{prefix}:{}_Headers" part="{part}" use="literal"/>"#, input.name))
        .collect();
    let policy = format!(
        concat!(
            r#"<wsp:Policy wsu:Id="{}_policy"><wsp:ExactlyOne><wsp:All><sp:TransportBinding xmlns:sp="{}"><wsp:Policy>"#,
            r#"<sp:TransportToken><wsp:Policy><sp:HttpsToken RequireClientCertificate="false"/></wsp:Policy></sp:TransportToken>"#,
            r#"<sp:AlgorithmSuite><wsp:Policy><sp:Basic256/></wsp:Policy></sp:AlgorithmSuite>"#,
            r#"<sp:Layout><wsp:Policy><sp:Strict/></wsp:Policy></sp:Layout>"#,
            r#"</wsp:Policy></sp:TransportBinding><wsaw:UsingAddressing/></wsp:All></wsp:ExactlyOne></wsp:Policy>"#
        ),
        binding, SECURITY_POLICY
    );
    let rest = format!(
        concat!(
            r##"<wsdl:binding name="{b}" type="{p}:I{n}"><wsp:PolicyReference URI="#{b}_policy"/>"##,
            r#"<soap12:binding transport="{t}"/><wsdl:operation name="{o}"><soap12:operation soapAction="{a}" style="document"/>"#,
            r#"<wsdl:input{i}>{h}<soap12:body use="literal"/></wsdl:input><wsdl:output{r}><soap12:body use="literal"/></wsdl:output>"#,
            r#"</wsdl:operation></wsdl:binding><wsdl:service name="{n}"><wsdl:port name="{b}" binding="tns:{b}">"#,
            r#"<soap12:address location="{at}"/><wsa10:EndpointReference><wsa10:Address>{at}</wsa10:Address></wsa10:EndpointReference>"#,
            r#"</wsdl:port></wsdl:service>"#
        ),
        b = binding,
        p = prefix,
        n = name,
        t = TRANSPORT,
        o = operation,
        a = action,
        h = headers,
        i = named(input),
        r = named(output),
        at = address,
    );
    (policy, rest)
}
