//! Tests of queries and their dropped members, refused requests, and the forms of a denial.

use super::*;
use crate::call::tests::{soap_call, text};

fn person() -> &'static SoapService {
    catalogue::soap_service("EmployeePerson").expect("it is in the table")
}

fn request(query: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">http://www.ultipro.com/services/employeeperson/IEmployeePerson/FindPeople</a:Action><UltiProToken xmlns="http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken">T</UltiProToken><ClientAccessKey xmlns="http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey">CK</ClientAccessKey></s:Header><s:Body><FindPeople xmlns="http://www.ultipro.com/services/employeeperson">{query}</FindPeople></s:Body></s:Envelope>"#
    )
}

fn read_one(body: &str) -> Result<Read, Refusal> {
    read(&soap_call("/services/EmployeePerson", body), person())
}

#[test]
fn what_a_query_returns_and_what_of_it_is_dropped() {
    const NONE: &str = "<b:EmployeeNumber>= (__none__)</b:EmployeeNumber>";
    const NUMBER: &str = "<b:PageNumber>1</b:PageNumber>";
    const SIZE: &str = "<b:PageSize>1</b:PageSize>";
    let query = |children: &str| format!(r#"<query xmlns:b="http://www.ultipro.com/contracts">{children}</query>"#);
    let cases = [
        ("a filter that matches nobody", query(&format!("{NONE}{NUMBER}{SIZE}")), 0, ""),
        ("a page size", query(SIZE), 1, ""),
        ("another page", query("<b:PageNumber>2</b:PageNumber><b:PageSize>20</b:PageSize>"), 5, ""),
        ("a page past the end", query("<b:PageNumber>9</b:PageNumber><b:PageSize>20</b:PageSize>"), 0, ""),
        ("nothing asked", query(""), 25, ""),
        ("an empty filter", query("<b:EmployeeNumber/>"), 25, ""),
        ("size before filter", query(&format!("{SIZE}{NONE}")), 1, "EmployeeNumber after PageSize was dropped"),
        ("number before filter", query(&format!("{NUMBER}{NONE}{SIZE}")), 1, "EmployeeNumber after PageNumber was dropped"),
        ("filter twice", query(&format!("<b:EmployeeNumber/>{NONE}")), 25, "EmployeeNumber after EmployeeNumber was dropped"),
        ("what comes right later", query(&format!("{SIZE}{NUMBER}{NONE}")), 1, "PageNumber after PageSize was dropped"),
        ("wrong case", query(&NONE.replace("EmployeeNumber", "employeeNumber")), 25, "no such member"),
        (
            "a null filter",
            query(&NONE.replace(
                "<b:EmployeeNumber>",
                "<b:EmployeeNumber xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil=' 1 '>",
            )),
            25,
            "",
        ),
        (
            "one that is not null",
            query(&NONE.replace(
                "<b:EmployeeNumber>",
                "<b:EmployeeNumber xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='0'>",
            )),
            0,
            "",
        ),
        (
            "a null query",
            query(NONE).replace("<query", "<query xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'"),
            25,
            "query is null",
        ),
        (
            "filter in another namespace",
            query(&format!("{}{SIZE}", NONE.replace("b:EmployeeNumber", "EmployeeNumber"))),
            1,
            "EmployeeNumber of `http://www.ultipro.com/services/employeeperson` was dropped",
        ),
        ("unknown member", query("<b:EmployeeNr>= (__none__)</b:EmployeeNr>"), 25, "no such member"),
        ("query in another namespace", query(NONE).replace("<query", "<query xmlns='urn:x'"), 25, "not query of"),
        ("no query", String::new(), 25, "there is no query"),
    ];
    for (case, body, people, dropped) in cases {
        let query = read_one(&request(&body)).unwrap_or_else(|refusal| panic!("{case}: {}", refusal.note)).query;
        assert_eq!(select(&query, 25).0.len(), people, "{case}");
        assert_eq!(query.dropped.is_empty(), dropped.is_empty(), "{case}: {:?}", query.dropped);
        assert!(query.dropped.concat().contains(dropped), "{case}: {:?}", query.dropped);
    }
}

#[test]
fn a_request_that_is_not_the_contract_is_a_fault() {
    let right = request("");
    let login = r#"<h:UserName xmlns:h="http://www.ultipro.com/services/loginservice">u</h:UserName>"#;
    let cases = [
        ("login headers", right.replace("</s:Header>", &format!("{login}</s:Header>")), "login header UserName"),
        ("no token", right.replace("UltiProToken", "Token"), "UltiProToken in the namespace"),
        ("token namespace", right.replace("/ultiprotoken\"", "/token\""), "and not in http://www.ultimatesoftware.com"),
        ("no key", right.replace("ClientAccessKey", "Key"), "ClientAccessKey in the namespace"),
        (
            "other operation",
            right.replace("<FindPeople", "<FindJobs").replace("</FindPeople", "</FindJobs"),
            "and not FindPeople",
        ),
        (
            "operation's namespace",
            right.replace(
                r#"<FindPeople xmlns="http://www.ultipro.com/services/employeeperson">"#,
                "<FindPeople xmlns='urn:x'>",
            ),
            "Body holds FindPeople of `urn:x`",
        ),
        ("other action", right.replace("/FindPeople</a", "/FindJobs</a"), "Action header is not"),
        (
            "page size",
            request(r#"<query xmlns:b="http://www.ultipro.com/contracts"><b:PageSize>0</b:PageSize></query>"#),
            "PageSize is no number",
        ),
        (
            "no boolean",
            request(r#"<query xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="True"/>"#),
            "nil of query is no boolean",
        ),
    ];
    for (case, body, says) in cases {
        let refusal = read_one(&body).err().expect(case);
        assert!(refusal.note.contains(says), "{case}: {}", refusal.note);
    }
}

#[test]
fn a_condition_of_another_form_is_said_to_be_unreadable() {
    let body = request(r#"<query xmlns:b="http://www.ultipro.com/contracts"><b:LastName>Smith</b:LastName></query>"#);
    assert_eq!(read_one(&body).unwrap_or_else(|refusal| panic!("{}", refusal.note)).query.unreadable, Some("LastName"));
}

#[test]
fn a_missing_permission_takes_each_of_its_shapes() {
    let cases = [
        (DeniedAs::OperationError, 200, "<b:HasErrors>true</b:HasErrors>"),
        (DeniedAs::OperationError, 200, "<b:Success>false</b:Success>"),
        (DeniedAs::OperationError, 200, "does not have permission to view Employee Person Details."),
        (DeniedAs::Http403, 403, ""),
        (DeniedAs::Http401, 401, ""),
        (DeniedAs::FaultAccessDenied, 500, "a:FailedAuthentication"),
        (DeniedAs::FaultAccessDenied, 500, "Access is denied."),
        (DeniedAs::FaultPermissionText, 500, "<s:Value>s:Receiver</s:Value>"),
        (DeniedAs::FaultPermissionText, 500, "does not have permission"),
        (DeniedAs::FaultPermissionTextBare, 500, "a:InternalServiceFault</s:Value></s:Code>"),
        (DeniedAs::FaultPermissionTextBare, 500, "does not have permission"),
    ];
    for (shape, status, says) in cases {
        let reply = denied(person(), shape);
        assert_eq!(reply.status.as_u16(), status, "{shape:?}");
        assert!(text(&reply).contains(says), "{shape:?}: {}", text(&reply));
    }
    assert!(!text(&denied(person(), DeniedAs::FaultPermissionText)).contains("FailedAuthentication"));
}

#[test]
fn a_good_answer_has_one_message_ok_and_the_records() {
    let query = Query { page_number: 1, page_size: 2, ..Query::default() };
    let (people, total) = select(&query, 3);
    let shown = text(&found(person(), &query, &people, total));
    for says in ["<b:HasErrors>false<", "<b:Success>true<", "<b:Code>OK<", "<b:TotalItems>3<", "<b:PageTotal>2<"] {
        assert!(shown.contains(says), "{says} in {shown}");
    }
    assert_eq!(shown.matches("<b:EmployeePerson>").count(), 2);
}
