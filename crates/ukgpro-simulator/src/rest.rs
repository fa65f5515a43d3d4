//! The REST reads: Basic authentication and the customer API key, rows as a JSON list.
//!
//! Pure: reads a call, writes replies. The tenants decide who may read what.

use axum::http::{Method, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::call::{HttpRequest, HttpResponse};
use crate::catalogue::{self, RestRead, Rows};
use crate::config::RestPastEnd;
use crate::people::Person;

/// Rows on a page if the query does not say.
const DEFAULT_PAGE_SIZE: usize = 100;

/// The credentials of a call.
pub(crate) struct Basic {
    /// User name.
    pub(crate) username: String,
    /// Password.
    pub(crate) password: String,
}

/// Reads Basic authentication, if it is there and valid.
pub(crate) fn basic(call: &HttpRequest) -> Option<Basic> {
    let (scheme, encoded) = call.header("authorization")?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (username, password) = decoded.split_once(':')?;
    Some(Basic { username: username.to_owned(), password: password.to_owned() })
}

/// The requested page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    number: usize,
    size: usize,
    /// Parameters that were ignored, with the reason for each.
    pub(crate) dropped: Vec<String>,
}

/// Reads the page from a query. The error names a parameter whose value is not an integer from 1.
pub(crate) fn page(call: &HttpRequest, read: &RestRead) -> Result<Page, &'static str> {
    let mut page = Page { number: 1, size: DEFAULT_PAGE_SIZE, dropped: Vec::new() };
    for (name, value) in call.query.as_deref().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('=')) {
        let number = || value.parse::<usize>().ok().filter(|number| *number > 0);
        if name == "page" {
            page.number = number().ok_or("page")?;
        } else if name == read.page_size {
            page.size = number().ok_or(read.page_size)?;
        } else if name.eq_ignore_ascii_case("per_page") || name.eq_ignore_ascii_case("page") {
            page.dropped.push(format!("parameter {name} was dropped: it is page and {} here", read.page_size));
        }
    }
    Ok(page)
}

/// Returns the answer with the rows of a page, and the number of persons' records in it.
pub(crate) fn rows(read: &RestRead, page: &Page, people: usize, past_end: RestPastEnd) -> (HttpResponse, usize) {
    let total = match read.rows {
        Rows::People => people,
        Rows::Company(rows) => rows,
    };
    let first = page.size.saturating_mul(page.number - 1).min(total);
    let indexes = first..first.saturating_add(page.size).min(total);
    if indexes.is_empty() && past_end == RestPastEnd::NotFound {
        return (HttpResponse::empty(StatusCode::NOT_FOUND), 0);
    }
    let persons = if read.rows == Rows::People { indexes.len() } else { 0 };
    let rows: Vec<Value> = indexes.map(|index| row(read, index)).collect();
    (HttpResponse::new(StatusCode::OK, "application/json; charset=utf-8", Value::from(rows).to_string()), persons)
}

fn row(read: &RestRead, index: usize) -> Value {
    if read.rows != Rows::People {
        return json!({ "companyCode": "SIM01", "code": format!("SIM{:03}", index + 1), "description": "Simulated" });
    }
    let person = Person::at(index);
    json!({
        "companyCode": "SIM01",
        "employeeId": format!("SIM{}", person.employee_number),
        "employeeNumber": person.employee_number,
        "firstName": person.first_name,
        "lastName": person.last_name,
    })
}

/// 401. It does not say which of user name, password and key is wrong.
pub(crate) fn unauthorized() -> HttpResponse {
    problem(StatusCode::UNAUTHORIZED, "Unauthorized", "The credentials or the customer API key are not valid.")
        .with(header::WWW_AUTHENTICATE, "Basic realm=\"UKG Pro\"")
}

/// 403: the row is not ticked.
pub(crate) fn forbidden(path: &str) -> HttpResponse {
    let detail = format!("The account does not have permission to view {}.", catalogue::rest_title(path));
    problem(StatusCode::FORBIDDEN, "Forbidden", &detail)
}

/// 400: a parameter or a body cannot be used.
pub(crate) fn bad_request(detail: &str) -> HttpResponse {
    problem(StatusCode::BAD_REQUEST, "Bad Request", detail)
}

/// 405: the path takes another method.
pub(crate) fn method_not_allowed(allowed: &Method) -> HttpResponse {
    let reply = problem(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed", "The path takes another method.");
    reply.with(header::ALLOW, if allowed == Method::POST { "POST" } else { "GET" })
}

fn problem(status: StatusCode, title: &str, detail: &str) -> HttpResponse {
    let body = json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
    HttpResponse::new(status, "application/problem+json", body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::{soap_call, text};

    fn get(query: &str) -> HttpRequest {
        HttpRequest { method: Method::GET, query: Some(query.to_owned()), ..soap_call("/x", "") }
    }

    #[test]
    fn basic_authentication_is_read_to_the_first_colon() {
        let cases = [
            ("Basic dTpwOnE=", Some(("u", "p:q"))),
            ("basic dTpw", Some(("u", "p"))),
            ("Basic dQ==", None),
            ("Basic !!", None),
            ("Bearer dTpw", None),
        ];
        for (value, want) in cases {
            let mut call = get("");
            call.headers.insert("authorization", value.parse().expect("a header value"));
            let got = basic(&call);
            let got = got.as_ref().map(|basic| (basic.username.as_str(), basic.password.as_str()));
            assert_eq!(got, want, "{value}");
        }
        assert!(basic(&get("")).is_none());
    }

    #[test]
    fn a_page_is_as_large_as_asked_and_counts_persons_only_where_rows_are_people() {
        let cases = [
            ("/personnel/v1/person-details", "", 25, 25),
            ("/personnel/v1/person-details", "page=1&per_Page=1", 1, 1),
            ("/personnel/v1/person-details", "page=3&per_Page=10", 5, 5),
            ("/personnel/v1/person-details", "page=1000000&per_Page=1", 0, 0),
            ("/personnel/v1/person-details", "page=18446744073709551615&per_Page=18446744073709551615", 0, 0),
            ("/personnel/v1/person-details", "per_page=1", 25, 25),
            ("/personnel/v1/employee-supervisor-details", "page=1&per_Page=1", 1, 1),
            ("/personnel/v1/pto-plans", "page=1&per_page=1", 1, 1),
            ("/personnel/v1/pto-plans", "page=1&per_Page=1", 25, 25),
            ("/configuration/v1/company-details", "page=1&per_Page=1", 1, 0),
            ("/payroll/v1/paygroup-payperiods", "page=2&per_Page=10", 2, 0),
        ];
        for (path, query, want_rows, want_persons) in cases {
            let read = catalogue::rest_read(path).expect(path);
            let page = page(&get(query), read).expect(query);
            let (reply, persons) = rows(read, &page, 25, RestPastEnd::EmptyList);
            let list: Vec<Value> = serde_json::from_str(&text(&reply)).expect("a list");
            assert_eq!((list.len(), persons), (want_rows, want_persons), "{path}?{query}");
            assert_eq!(reply.status, 200);
        }
    }

    #[test]
    fn the_page_size_in_another_spelling_is_noted() {
        for (path, query, noted) in [
            ("/personnel/v1/pto-plans", "page=1&per_page=1", false),
            ("/personnel/v1/pto-plans", "page=1&per_Page=1", true),
            ("/personnel/v1/person-details", "page=1&per_Page=1", false),
            ("/personnel/v1/person-details", "page=1&per_page=1", true),
            ("/personnel/v1/person-details", "Page=1", true),
            ("/personnel/v1/person-details", "employeeId=1", false),
        ] {
            let read = catalogue::rest_read(path).expect(path);
            assert_eq!(!page(&get(query), read).expect(query).dropped.is_empty(), noted, "{path}?{query}");
        }
    }

    #[test]
    fn a_page_that_is_no_number_is_an_error() {
        let read = catalogue::rest_read("/personnel/v1/person-details").expect("it is in the table");
        assert_eq!(page(&get("page=0"), read), Err("page"));
        assert_eq!(page(&get("per_Page=x"), read), Err("per_Page"));
    }

    #[test]
    fn past_the_end_can_be_not_found() {
        let read = catalogue::rest_read("/personnel/v1/person-details").expect("it is in the table");
        let page = page(&get("page=9&per_Page=100"), read).expect("numbers");
        let (reply, persons) = rows(read, &page, 25, RestPastEnd::NotFound);
        assert_eq!((reply.status.as_u16(), text(&reply).as_str(), persons), (404, "", 0));
    }
}
