//! The contract of a service as data: its one operation, its messages with their headers, and its schemas.

use crate::catalogue::{
    CLIENT_ACCESS_KEY, CONTRACTS, EMPLOYEE_MEMBERS, LOGIN, LOGIN_ACTION, LOGIN_HEADERS, PERSON_TEXTS, QUERY_MEMBERS,
    SoapService, TOKEN, WITH_PEOPLE,
};
use crate::description::schema::{Field, Schema};

/// Everything that a description contains.
pub(crate) struct Contract {
    /// Name of the service, and last part of its path.
    pub(crate) name: &'static str,
    /// Namespace of the port type.
    pub(crate) namespace: String,
    /// The operation.
    pub(crate) operation: &'static str,
    /// Its WS-Addressing action.
    pub(crate) action: String,
    /// The request.
    pub(crate) input: Message,
    /// The response.
    pub(crate) output: Message,
    /// One schema for each namespace.
    pub(crate) schemas: Vec<Schema>,
}

/// A message.
pub(crate) struct Message {
    /// Its name.
    pub(crate) name: String,
    /// Whether the operation names the message too, as WCF does for a message contract.
    pub(crate) named: bool,
    /// Namespace and name of the element in the Body.
    pub(crate) body: (String, String),
    /// Namespace and name of each header.
    pub(crate) headers: Vec<(&'static str, &'static str)>,
}

impl Contract {
    /// Returns the contract of LoginService: credentials in headers, and a wrapper whose children are in another namespace.
    pub(crate) fn login() -> Self {
        let message = |name: &str, headers| Message {
            name: name.to_owned(),
            named: true,
            body: (CONTRACTS.to_owned(), name.to_owned()),
            headers,
        };
        let mut contracts = Schema::new(CONTRACTS, &[LOGIN]);
        contracts.wrapper("TokenRequest", &[]);
        let child = |name| Field::reference(LOGIN, name);
        contracts.wrapper("TokenResponse", &[child("Status"), child("StatusMessage"), child("Token")]);
        contracts.enumeration("AuthenticationStatus", &["Ok", "Failed"]);
        let mut service = Schema::new(LOGIN, &[CONTRACTS]);
        for name in LOGIN_HEADERS {
            service.element(name, &Field::string(name));
        }
        service.element("Status", &Field::of_type("Status", CONTRACTS, "AuthenticationStatus").required());
        service.element("StatusMessage", &Field::string("StatusMessage"));
        service.element("Token", &Field::string("Token"));
        Self {
            name: "LoginService",
            namespace: LOGIN.to_owned(),
            operation: "Authenticate",
            action: LOGIN_ACTION.to_owned(),
            input: message("TokenRequest", LOGIN_HEADERS.map(|name| (LOGIN, name)).to_vec()),
            output: message("TokenResponse", Vec::new()),
            schemas: vec![contracts, service, Schema::serialization()],
        }
    }

    /// Returns the contract of a data service: a query, and a result that holds records.
    pub(crate) fn data(service: &SoapService, headers: bool) -> Self {
        let namespace = service.namespace();
        let (operation, response) = (service.operation, service.find_response());
        let (result, element) = (format!("{operation}Result"), format!("{operation}Response"));
        let message = |direction: &str, body: &str, headers| Message {
            name: format!("I{}_{operation}_{direction}Message", service.name),
            named: false,
            body: (namespace.clone(), body.to_owned()),
            headers,
        };
        let mut messages = Schema::new(&namespace, &[CONTRACTS]);
        messages.wrapper(operation, &[Field::of_type("query", CONTRACTS, "EmployeeQuery")]);
        messages.wrapper(&element, &[Field::of_type(&result, CONTRACTS, &response)]);
        let headers = if headers { vec![(CLIENT_ACCESS_KEY, "ClientAccessKey"), (TOKEN, "UltiProToken")] } else { Vec::new() };
        let mut schemas = vec![messages, Schema::serialization(), contracts(service, &response)];
        for (namespace, name) in &headers {
            let mut schema = Schema::new(namespace, &[]);
            schema.element(name, &Field::string(name));
            schemas.push(schema);
        }
        Self {
            name: service.name,
            action: service.action(),
            operation,
            input: message("Input", operation, headers),
            output: message("Output", &element, Vec::new()),
            schemas,
            namespace,
        }
    }
}

/// Returns the data contracts. A base type's members come before the members of the type itself.
fn contracts(service: &SoapService, response: &str) -> Schema {
    let own = |name, of| Field::of_type(name, CONTRACTS, of);
    let records = format!("ArrayOf{}", service.record);
    let mut schema = Schema::new(CONTRACTS, &[]);
    schema.data_contract("EmployeeQuery", None, &QUERY_MEMBERS.map(Field::string));
    schema.data_contract("ReadResponse", None, &[own("OperationResult", "Result")]);
    schema.data_contract("FindResponse", Some("ReadResponse"), &[]);
    schema.data_contract(response, Some("FindResponse"), &[own("Results", &records)]);
    let result = [
        Field::built_in("HasErrors", "boolean"),
        Field::built_in("HasWarnings", "boolean"),
        own("Messages", "ArrayOfOperationMessage"),
        own("PagingInfo", "PagingInfo"),
        Field::string("RequestNumber"),
        Field::built_in("Success", "boolean"),
    ];
    schema.data_contract("Result", None, &result);
    schema.data_contract("ArrayOfOperationMessage", None, &[own("OperationMessage", "OperationMessage").unbounded()]);
    let message = [
        Field::string("Code"),
        Field::string("LogEntryId"),
        Field::string("Message"),
        Field::string("PropertyName"),
        own("Severity", "Severity").required(),
    ];
    schema.data_contract("OperationMessage", None, &message);
    schema.enumeration("Severity", &["Information", "Error", "Warning"]);
    let paging = ["CurrentPage", "PageSize", "PageTotal", "TotalItems"];
    schema.data_contract("PagingInfo", None, &paging.map(|name| Field::built_in(name, "int")));
    schema.data_contract(&records, None, &[own(service.record, service.record).unbounded()]);
    schema.data_contract("Employee", None, &EMPLOYEE_MEMBERS.map(Field::string));
    if service.name == WITH_PEOPLE {
        schema.data_contract(service.record, Some("Employee"), &[own("People", "ArrayOfPerson")]);
        person(&mut schema);
    } else {
        schema.data_contract(service.record, Some("Employee"), &[]);
    }
    schema
}

/// Adds the types that only EmployeePerson has.
fn person(schema: &mut Schema) {
    let own = |name, of| Field::of_type(name, CONTRACTS, of);
    let mut members = PERSON_TEXTS.map(|name| (name, Field::string(name))).into_iter().collect::<Vec<_>>();
    members.push(("EmployeeIdentifier", own("EmployeeIdentifier", "EmployeeIdentifier")));
    members.push(("SuppressSSN", Field::built_in("SuppressSSN", "boolean")));
    members.sort_by_key(|(name, _)| *name);
    let members: Vec<Field> = members.into_iter().map(|(_, field)| field).collect();
    schema.data_contract("ArrayOfPerson", None, &[own("Person", "Person").unbounded()]);
    schema.data_contract("Person", None, &members);
    schema.data_contract("EntityIdentifier", None, &[]);
    schema.data_contract("EmployeeIdentifier", Some("EntityIdentifier"), &[Field::string("CompanyCode")]);
    schema.data_contract("EmployeeNumberIdentifier", Some("EmployeeIdentifier"), &[Field::string("EmployeeNumber")]);
}
