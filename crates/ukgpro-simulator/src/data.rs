//! The SOAP data services: a token in the headers, a query in the body, `OperationResult` and `Results` in the answer.
//!
//! A member of the query that is out of alphabetical order or in a wrong namespace is dropped silently, as a WCF data contract
//! does: its filter is lost and persons are returned. The drop is noted for the tests.

use axum::http::StatusCode;

use crate::call::{HttpRequest, HttpResponse};
use crate::catalogue::{self, CLIENT_ACCESS_KEY, CONTRACTS, LOGIN, QUERY_MEMBERS, SoapService, TOKEN};
use crate::config::DeniedAs;
use crate::filter::{self, Filter};
use crate::people::Person;
use crate::records;
use crate::soap::{self, Envelope, Fault, Refusal};
use crate::xml::{Element, INSTANCE, boolean, escape};

/// Persons on a page if the query does not say.
const DEFAULT_PAGE_SIZE: usize = 100;

/// A request as it came over the wire.
pub(crate) struct Read {
    /// The token from a login.
    pub(crate) token: String,
    /// The customer API key.
    pub(crate) customer_api_key: String,
    /// The query.
    pub(crate) query: Query,
    /// Deviations that the endpoint tolerates.
    pub(crate) notes: Vec<String>,
}

/// A query, without the members that were dropped.
#[derive(Debug, Default)]
pub(crate) struct Query {
    filters: Vec<Filter>,
    page_number: usize,
    page_size: usize,
    /// Members dropped, with the reason for each.
    pub(crate) dropped: Vec<String>,
    /// A member whose condition cannot be read.
    pub(crate) unreadable: Option<&'static str>,
}

/// Reads a request strictly, except for what a data contract drops silently.
pub(crate) fn read(call: &HttpRequest, service: &SoapService) -> Result<Read, Refusal> {
    let understood = [(TOKEN, "UltiProToken"), (CLIENT_ACCESS_KEY, "ClientAccessKey")];
    let envelope = soap::read(call, &service.action(), &understood)?;
    if let Some(block) = envelope.headers.iter().find(|block| block.namespace == LOGIN) {
        let why = format!(
            "the login header {} is sent to a data service: it takes UltiProToken of {TOKEN} and ClientAccessKey of {CLIENT_ACCESS_KEY}",
            block.name
        );
        return Err(soap::refuse(&Fault::deserialization(why)));
    }
    let token = soap::header_text(&envelope.headers, TOKEN, "UltiProToken")?.trim().to_owned();
    let customer_api_key = soap::header_text(&envelope.headers, CLIENT_ACCESS_KEY, "ClientAccessKey")?.to_owned();
    Ok(Read { token, customer_api_key, query: read_query(&envelope, service)?, notes: envelope.notes })
}

fn read_query(envelope: &Envelope, service: &SoapService) -> Result<Query, Refusal> {
    let namespace = service.namespace();
    let body = &envelope.body;
    if !body.is(&namespace, service.operation) {
        let why = format!("the Body holds {} of `{}` and not {} of {namespace}", body.name, body.namespace, service.operation);
        return Err(soap::refuse(&Fault::deserialization(why)));
    }
    let mut query = Query { page_number: 1, page_size: DEFAULT_PAGE_SIZE, ..Query::default() };
    for child in &body.children {
        if !child.is(&namespace, "query") {
            query.dropped.push(format!(
                "body child {} of `{}` was dropped: it is not query of {namespace}",
                child.name, child.namespace
            ));
        }
    }
    let Some(element) = body.child(&namespace, "query") else {
        if body.children.is_empty() {
            query.dropped.push("there is no query".to_owned());
        }
        return Ok(query);
    };
    if is_null(element)? {
        query.dropped.push("the query is null".to_owned());
        return Ok(query);
    }
    // A single forward pass: the reader never goes back to a member it has passed.
    let mut last: Option<&'static str> = None;
    for child in &element.children {
        let Some(member) = QUERY_MEMBERS.into_iter().find(|member| *member == child.name) else {
            query.dropped.push(format!("query child {} was dropped: the contract has no such member", child.name));
            continue;
        };
        if child.namespace != CONTRACTS {
            let why = format!("query child {member} of `{}` was dropped: the namespace is not {CONTRACTS}", child.namespace);
            query.dropped.push(why);
            continue;
        }
        if let Some(before) = last.filter(|before| *before >= member) {
            let why = format!("query child {member} after {before} was dropped: members come once and in alphabetical order");
            query.dropped.push(why);
            continue;
        }
        last = Some(member);
        if !is_null(child)? {
            take_member(&mut query, member, child)?;
        }
    }
    Ok(query)
}

/// Whether an element is marked as null, regardless of its content.
fn is_null(element: &Element) -> Result<bool, Refusal> {
    element.attribute(INSTANCE, "nil").map_or(Some(false), boolean).ok_or_else(|| {
        let why = format!("nil of {} is no boolean: it is true, false, 1 or 0", element.name);
        soap::refuse(&Fault::deserialization(why))
    })
}

fn take_member(query: &mut Query, member: &'static str, child: &Element) -> Result<(), Refusal> {
    let text = child.text.trim();
    if text.is_empty() {
        return Ok(());
    }
    if !matches!(member, "PageNumber" | "PageSize") {
        match Filter::parse(member, text) {
            Some(filter) => query.filters.push(filter),
            None => query.unreadable = Some(member),
        }
        return Ok(());
    }
    let number: usize = match text.parse() {
        Ok(number) if number > 0 => number,
        _ => {
            return Err(soap::refuse(&Fault::deserialization(format!("query child {member} is no number from 1 up"))));
        }
    };
    match member {
        "PageNumber" => query.page_number = number,
        _ => query.page_size = number,
    }
    Ok(())
}

/// Returns the persons on the requested page, and the number of persons on all pages.
pub(crate) fn select(query: &Query, people: usize) -> (Vec<Person>, usize) {
    let matching: Vec<Person> =
        (0..people).map(Person::at).filter(|person| query.filters.iter().all(|filter| filter.matches(person))).collect();
    let total = matching.len();
    let skipped = query.page_size.saturating_mul(query.page_number - 1);
    (matching.into_iter().skip(skipped).take(query.page_size).collect(), total)
}

/// Creates the answer with these persons.
pub(crate) fn found(service: &SoapService, query: &Query, people: &[Person], total: usize) -> HttpResponse {
    let records: String = people.iter().map(|person| records::record(service, person)).collect();
    let paging = format!(
        "<b:PagingInfo><b:CurrentPage>{}</b:CurrentPage><b:PageSize>{}</b:PageSize><b:PageTotal>{}</b:PageTotal><b:TotalItems>{total}</b:TotalItems></b:PagingInfo>",
        query.page_number,
        query.page_size,
        total.div_ceil(query.page_size)
    );
    result(service, true, "OK", "Information", "OK", &paging, &records)
}

/// Creates an answer with an error in its `OperationResult` and no results.
pub(crate) fn operation_error(service: &SoapService, code: &str, severity: &str, message: &str) -> HttpResponse {
    result(service, false, code, severity, message, r#"<b:PagingInfo i:nil="true"/>"#, "")
}

fn result(
    service: &SoapService,
    good: bool,
    code: &str,
    severity: &str,
    message: &str,
    paging: &str,
    records: &str,
) -> HttpResponse {
    let operation = service.operation;
    let body = format!(
        r#"<{operation}Response xmlns="{}"><{operation}Result xmlns:b="{CONTRACTS}" xmlns:i="{INSTANCE}"><b:OperationResult><b:HasErrors>{}</b:HasErrors><b:HasWarnings>false</b:HasWarnings><b:Messages><b:OperationMessage><b:Code>{}</b:Code><b:LogEntryId i:nil="true"/><b:Message>{}</b:Message><b:PropertyName i:nil="true"/><b:Severity>{}</b:Severity></b:OperationMessage></b:Messages>{paging}<b:RequestNumber i:nil="true"/><b:Success>{good}</b:Success></b:OperationResult><b:Results>{records}</b:Results></{operation}Result></{operation}Response>"#,
        service.namespace(),
        !good,
        escape(code),
        escape(message),
        escape(severity),
    );
    soap::reply(StatusCode::OK, &format!("{}Response", service.action()), &body)
}

/// Creates the answer to a token that is unknown, expired or another tenant's.
pub(crate) fn token_refused() -> HttpResponse {
    let reason = "An error occurred when verifying security for the message.";
    Fault::new("Sender", Some("InvalidSecurity"), reason).reply()
}

/// Creates the answer to a missing permission, in this shape. Nobody has recorded the real one.
pub(crate) fn denied(service: &SoapService, shape: DeniedAs) -> HttpResponse {
    let message = format!("The account does not have permission to view {}.", catalogue::soap_title(service.name));
    match shape {
        DeniedAs::OperationError => operation_error(service, "NotAuthorized", "Error", &message),
        DeniedAs::Http403 => HttpResponse::empty(StatusCode::FORBIDDEN),
        DeniedAs::Http401 => HttpResponse::empty(StatusCode::UNAUTHORIZED),
        DeniedAs::FaultAccessDenied => Fault::new("Sender", Some("FailedAuthentication"), "Access is denied.").reply(),
        DeniedAs::FaultPermissionTextBare => Fault::new("InternalServiceFault", None, message).reply(),
        DeniedAs::FaultPermissionText => Fault::new("Receiver", Some("InternalServiceFault"), message).reply(),
    }
}

/// Creates the answer to a condition that cannot be read.
pub(crate) fn unreadable(service: &SoapService, member: &str) -> HttpResponse {
    let message = format!("The condition of {member} cannot be read: write {}.", filter::FORMS);
    operation_error(service, "InvalidQuery", "Error", &message)
}

#[cfg(test)]
mod tests;
