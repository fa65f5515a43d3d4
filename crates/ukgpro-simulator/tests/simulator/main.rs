//! Tests of the `ukgpro-simulator` program over HTTPS and its control API.
//!
//! Requests are written by hand here, so that the tests trust neither the simulator's reader nor the operator's writer.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod control;
mod harness;
mod wcf;

use harness::{Answer, Simulator, find, login, right_login};
use serde_json::json;

const HOST: &str = "service4.ultipro.localhost";
const OTHER_HOST: &str = "service2.ultipro.localhost";
const SITE: &str = "acme.ultipro.localhost";
const NONE: &str = "<b:EmployeeNumber>= (__none__)</b:EmployeeNumber><b:PageNumber>1</b:PageNumber><b:PageSize>1</b:PageSize>";

const CONFIG: &str = r#"
tenants:
  - name: acme
    hosts: [service4.ultipro.localhost]
    customerApiKey: ACME1
    people: 25
    accounts:
      - username: svc-acme
        password: "p<a>&s's"
        userApiKey: UKEY00ACME01
        permissions: [EmployeePersonDetails, "rest:EmployeeCompensationDetails", PtoPlanIntegration]
      - username: svc-off
        password: off
        userApiKey: UKEY00ACME02
        status: Inactive
  - name: globex
    hosts: [service4.ultipro.localhost, service2.ultipro.localhost]
    customerApiKey: GLOB1
    people: 3
    accounts:
      - username: svc-globex
        password: globe
        userApiKey: UKEY00GLOB01
        permissions: [EmployeeJobDetails]
loginSites: [acme.ultipro.localhost]
"#;

#[tokio::test]
async fn a_right_login_gets_a_guid_and_a_new_one_each_time() {
    let simulator = Simulator::start();
    let answer = simulator.login(&right_login()).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/soap+xml; charset=utf-8"));
    assert_eq!((answer.element("Status").as_str(), answer.element("StatusMessage").as_str()), ("Ok", ""));
    let token = answer.element("Token");
    let lengths: Vec<usize> = token.split('-').map(str::len).collect();
    assert_eq!(lengths, [8, 4, 4, 4, 12], "{token}");
    assert_ne!(simulator.token().await, token);
    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["logins"], json!({"svc-acme": {"attempts": 2, "accepted": 2, "refused": 0, "rest": 0}}));
    assert_eq!(counters["requests"], json!({"LoginService/Authenticate": 2}));
    assert_eq!(counters["strictness"], json!([]));
}

#[tokio::test]
async fn each_wrong_login_fails_with_the_message_that_is_known_of_it() {
    const ACCOUNT: &str = "User authentication failed";
    const KEY: &str = "There was a problem with the authentication process";
    let simulator = Simulator::start();
    let cases = [
        (login("ACME1", "wrong", "UKEY00ACME01", "svc-acme"), ACCOUNT),
        (login("ACME1", "p<a>&s's", "ACME1", "svc-acme"), ACCOUNT),
        (login("ACME1", "p<a>&s's", "UKEY00ACME01", "SVC-ACME"), ACCOUNT),
        (login("ACME1", "", "UKEY00ACME01", "svc-acme"), ACCOUNT),
        (login("ACME1", "off", "UKEY00ACME02", "svc-off"), ACCOUNT),
        (login("NOPE1", "p<a>&s's", "UKEY00ACME01", "svc-acme"), KEY),
        (login("GLOB1", "p<a>&s's", "UKEY00ACME01", "svc-acme"), ACCOUNT),
    ];
    for (body, message) in cases {
        let answer = simulator.login(&body).await;
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!(answer.element("Status"), "Failed", "{body}");
        assert_eq!(answer.element("StatusMessage"), message, "{body}");
        assert_eq!(answer.element("Token"), "", "{body}");
    }
    let elsewhere = simulator.client.post(simulator.url(OTHER_HOST, "/services/LoginService"));
    let elsewhere = elsewhere.header("content-type", "application/soap+xml").body(right_login()).send().await.unwrap();
    assert_eq!(Answer::of(elsewhere).await.element("StatusMessage"), KEY, "the right key at the wrong data centre");
    let logins = &simulator.admin("/counters").await["logins"];
    assert_eq!(logins["svc-acme"], json!({"attempts": 6, "accepted": 0, "refused": 6, "rest": 0}));
    assert_eq!(logins["SVC-ACME"]["refused"], 1);
}

#[tokio::test]
async fn an_account_locks_and_a_new_configuration_unlocks_it() {
    let config = format!("{CONFIG}lockAfterRefusals: 2\n");
    let simulator = Simulator::start_with(&config, None);
    let status = async || simulator.admin("/config").await["tenants"][0]["accounts"][0]["status"].clone();
    simulator.login(&login("ACME1", "wrong", "UKEY00ACME01", "svc-acme")).await;
    assert_eq!(status().await, "Active");
    assert_eq!(simulator.rest("/personnel/v1/pto-plans", "wrong", "ACME1").await.status, 401, "REST counts as well");
    assert_eq!(status().await, "Locked");
    assert_eq!(simulator.login(&right_login()).await.element("StatusMessage"), "User authentication failed");
    assert_eq!(simulator.put("/config", &config).await.0, 204);
    assert_eq!(simulator.login(&right_login()).await.element("Status"), "Ok");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_refused_and_noted() {
    let simulator = Simulator::start();
    let right = right_login();
    let envelope = [
        (
            "SOAP 1.1",
            right.replace("http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"),
            500,
            "VersionMismatch",
        ),
        ("no action", right.replace("ILoginService/Authenticate", ""), 500, "ActionNotSupported"),
        (
            "header not understood",
            right.replace("<a:Action", "<x:S xmlns:x='urn:x' s:mustUnderstand='1'/><a:Action"),
            500,
            "MustUnderstand",
        ),
        ("header missing", right.replace("UserAccessKey", "Other"), 500, "DeserializationFailed"),
        ("not escaped", right.replace("p&lt;a>&amp;s", "p<a>&s"), 400, "not well-formed"),
        ("body", right.replace("TokenRequest", "Login"), 500, "Login of"),
    ];
    for (case, body, status, says) in &envelope {
        let answer = simulator.login(body).await;
        assert_eq!(answer.status, *status, "{case}: {}", answer.text);
        assert!(answer.text.contains(says), "{case}: {}", answer.text);
    }
    let url = simulator.url(HOST, "/services/LoginService");
    let wrong_type = simulator.client.post(&url).header("content-type", "text/xml").body(right).send().await.unwrap();
    assert_eq!(wrong_type.status(), 415);
    assert_eq!(simulator.client.put(&url).send().await.unwrap().status(), 405);
    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["strictness"].as_array().unwrap().len(), 8, "{counters}");
    assert_eq!(counters["logins"]["svc-acme"]["accepted"], 0);
    assert_eq!(counters["requests"]["LoginService/Authenticate"], 7);
    for credential in ["p<a>", "UKEY00", "ACME1"] {
        assert!(!counters.to_string().contains(credential));
    }
}

#[tokio::test]
async fn a_granted_probe_reads_nobody() {
    let simulator = Simulator::start();
    let token = simulator.token().await;
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    assert_eq!(answer.status, 200);
    assert_eq!((answer.element("HasErrors").as_str(), answer.element("Success").as_str()), ("false", "true"));
    assert_eq!(answer.element("Code"), "OK");
    assert_eq!(answer.element("EmployeeNumber"), "");
    let counters = simulator.admin("/counters").await;
    assert_eq!((&counters["personRecords"], &counters["strictness"]), (&json!(0), &json!([])));
    assert_eq!(counters["requests"]["EmployeePerson/FindPeople"], 1);
}

#[tokio::test]
async fn a_query_out_of_order_loses_its_filter_and_people_are_counted() {
    let simulator = Simulator::start();
    let token = simulator.token().await;
    let query = "<b:PageSize>7</b:PageSize><b:EmployeeNumber>= (__none__)</b:EmployeeNumber>";
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, query).await;
    assert_eq!(answer.element("EmployeeNumber"), "000001");
    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["personRecords"], 7);
    let note = counters["strictness"][0].as_str().unwrap();
    assert!(note.starts_with("EmployeePerson/FindPeople: query child EmployeeNumber after PageSize was dropped"), "{note}");
    simulator.find("EmployeePerson", "FindPeople", &token, "").await;
    assert_eq!(simulator.admin("/counters").await["personRecords"], 7 + 25);
}

#[tokio::test]
async fn a_missing_permission_shows_in_each_of_the_shapes() {
    let cases = [
        ("operationError", 200, "does not have permission"),
        ("http403", 403, ""),
        ("http401", 401, ""),
        ("faultAccessDenied", 500, "Access is denied."),
        ("faultPermissionText", 500, "does not have permission"),
    ];
    let simulator = Simulator::start();
    let token = simulator.token().await;
    for (shape, status, says) in cases {
        assert_eq!(simulator.put("/config", format!("{CONFIG}deniedAs: {shape}\n")).await.0, 204);
        let answer = simulator.find("EmployeeJob", "FindJobs", &token, NONE).await;
        assert_eq!(answer.status, status, "{shape}");
        assert!(answer.text.contains(says), "{shape}: {}", answer.text);
        assert_eq!(answer.text.contains("FailedAuthentication"), shape == "faultAccessDenied");
        assert_eq!(answer.text.contains(":HasErrors>true<"), shape == "operationError");
        // Granted for REST only.
        let answer = simulator.find("EmployeeCompensation", "FindCompensations", &token, NONE).await;
        assert_eq!(answer.status, status, "{shape}");
    }
    assert_eq!(simulator.admin("/counters").await["strictness"], json!([]), "a denied client did nothing wrong");
}

#[tokio::test]
async fn a_token_is_good_for_its_tenant_its_lifetime_and_while_the_account_exists() {
    let refused = |answer: &Answer| answer.status == 500 && answer.text.contains(":InvalidSecurity<");
    let simulator = Simulator::start();
    let token = simulator.token().await;
    let answer = simulator.find("EmployeePerson", "FindPeople", "no-token", NONE).await;
    assert!(refused(&answer), "{answer:?}");
    let body = find("EmployeePerson", "FindPeople", &token, "GLOB1", NONE);
    let answer = Answer::of(simulator.post("/services/EmployeePerson", &body).send().await.unwrap()).await;
    assert!(refused(&answer), "another tenant's key: {answer:?}");
    let body = right_login().replace("loginservice/ILoginService/Authenticate", "employeeperson/IEmployeePerson/FindPeople");
    let answer = Answer::of(simulator.post("/services/EmployeePerson", &body).send().await.unwrap()).await;
    assert!(answer.text.contains("is sent to a data service"), "{answer:?}");

    assert_eq!(simulator.put("/config", CONFIG).await.0, 204);
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    assert_eq!(answer.status, 200, "the account is still there");
    assert_eq!(simulator.put("/config", CONFIG.replace("svc-acme", "svc-new")).await.0, 204);
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    assert!(refused(&answer), "the account is gone: {answer:?}");
}

#[tokio::test]
async fn rest_reads_check_password_key_and_permission() {
    const PASSWORD: &str = "p<a>&s's";
    let simulator = Simulator::start();
    let cases = [
        ("/personnel/v1/pto-plans?page=1&per_page=1", PASSWORD, "ACME1", 200),
        ("/personnel/v1/person-details?page=1&per_Page=2", PASSWORD, "ACME1", 200),
        ("/personnel/v1/person-details?page=1000000&per_Page=1", PASSWORD, "ACME1", 200),
        ("/personnel/v1/compensation-details?page=1000000&per_Page=1", PASSWORD, "ACME1", 200),
        ("/personnel/v1/employee-job-history-details?page=1&per_Page=1", PASSWORD, "ACME1", 403),
        ("/configuration/v1/company-details?page=1&per_Page=1", PASSWORD, "ACME1", 403),
        ("/personnel/v1/pto-plans?page=1&per_page=1", "wrong", "ACME1", 401),
        ("/personnel/v1/pto-plans?page=1&per_page=1", PASSWORD, "NOPE1", 401),
        ("/personnel/v1/nothing", PASSWORD, "ACME1", 404),
        ("/services/Nothing", PASSWORD, "ACME1", 404),
        ("/personnel/v1/pto-plans?page=0", PASSWORD, "ACME1", 400),
    ];
    for (path, password, key, status) in cases {
        let answer = simulator.rest(path, password, key).await;
        assert_eq!(answer.status, status, "{path} {key}: {}", answer.text);
        let problem = matches!(status, 400 | 401 | 403);
        assert_eq!(answer.content_type == "application/problem+json", problem, "{path}: {}", answer.content_type);
        if status == 200 {
            let rows = answer.json().as_array().unwrap().len();
            let want = if path.contains("1000000") {
                0
            } else if path.contains("=2") {
                2
            } else {
                1
            };
            assert_eq!(rows, want, "{path}");
        }
    }
    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["personRecords"], 3);
    assert_eq!(counters["requests"]["GET /personnel/v1/pto-plans"], 4);
    assert_eq!(counters["logins"]["svc-acme"], json!({"attempts": 11, "accepted": 7, "refused": 2, "rest": 11}));
    assert_eq!(counters["strictness"].as_array().unwrap().len(), 1, "{counters}");
    let nobody = simulator.client.get(simulator.url(HOST, "/personnel/v1/pto-plans")).send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert!(nobody.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic"));
}

#[tokio::test]
async fn the_read_with_a_daily_quota_is_noted_whoever_calls_it() {
    let simulator = Simulator::start();
    simulator.rest("/personnel/v1/employee-changes", "p<a>&s's", "ACME1").await;
    let note = simulator.admin("/counters").await["strictness"][0].clone();
    assert!(note.as_str().unwrap().contains("eight times a day"), "{note}");
}

#[tokio::test]
async fn past_the_end_can_be_not_found() {
    let simulator = Simulator::start_with(&format!("{CONFIG}restPastEnd: notFound\n"), None);
    let answer = simulator.rest("/personnel/v1/person-details?page=1000000&per_Page=1", "p<a>&s's", "ACME1").await;
    assert_eq!((answer.status, answer.text.as_str()), (404, ""));
    let answer = simulator.rest("/personnel/v1/person-details?page=25&per_Page=1", "p<a>&s's", "ACME1").await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_description_needs_no_credentials() {
    let simulator = Simulator::start();
    for service in ["LoginService", "EmployeePerson", "EmployeeSsoUser"] {
        let get = async |query: &str| {
            let url = simulator.url(HOST, &format!("/services/{service}{query}"));
            let answer = Answer::of(simulator.client.get(url).send().await.unwrap()).await;
            assert_eq!((answer.status, answer.content_type.as_str()), (200, "text/xml; charset=utf-8"), "{query}");
            answer.text
        };
        let described = get("?wsdl").await;
        assert!(described.contains(&format!("<wsdl:binding name=\"WSHttpBinding_I{service}\"")), "{described}");
        let address = format!("<soap12:address location=\"{}\"/>", simulator.url(HOST, &format!("/services/{service}")));
        assert!(described.contains(&address), "{described}");
        assert_eq!(get("").await, described, "clients ask the bare path too");
        assert!(get("?wsdl=wsdl0").await.contains(&format!("<wsdl:portType name=\"I{service}\">")));
        let single = get("?singleWsdl").await;
        for part in ["<wsdl:portType", "<wsdl:binding", "<xs:schema", &address] {
            assert!(single.contains(part), "{part}");
        }
        assert!(get("?xsd=xsd0").await.contains("<xs:schema elementFormDefault=\"qualified\""));
        let beyond = simulator.client.get(simulator.url(HOST, &format!("/services/{service}?xsd=xsd9")));
        assert_eq!(beyond.send().await.unwrap().status(), 404);
    }
    let counters = simulator.admin("/counters").await;
    assert_eq!((&counters["logins"], &counters["strictness"]), (&json!({}), &json!([])));
}

#[tokio::test]
async fn paths_are_taken_in_any_case_and_with_slashes_to_spare() {
    let simulator = Simulator::start();
    for path in ["/services/loginservice", "/SERVICES//LOGINSERVICE", "//Services/LoginService"] {
        let answer = Answer::of(simulator.post(path, &right_login()).send().await.unwrap()).await;
        assert_eq!(answer.element("Status"), "Ok", "{path}");
    }
    let body = find("EmployeePerson", "FindPeople", &simulator.token().await, "ACME1", NONE);
    let answer = Answer::of(simulator.post("/services//employeeperson", &body).send().await.unwrap()).await;
    assert_eq!(answer.element("Success"), "true");
    assert_eq!(simulator.rest("/Personnel//V1/pto-plans", "p<a>&s's", "ACME1").await.status, 200);
    let requests = &simulator.admin("/counters").await["requests"];
    let want = json!({"LoginService/Authenticate": 4, "EmployeePerson/FindPeople": 1, "GET /personnel/v1/pto-plans": 1});
    assert_eq!(requests, &want, "each has one name whatever the path");
}

#[tokio::test]
async fn a_host_of_no_tenant_is_a_login_site() {
    let simulator = Simulator::start();
    for host in [SITE, "localhost"] {
        let request = simulator.client.post(simulator.url(host, "/services/LoginService"));
        let request = request.header("content-type", "application/soap+xml").body(right_login());
        let answer = Answer::of(request.send().await.unwrap()).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (200, "text/html; charset=utf-8"), "{host}");
        assert!(answer.text.starts_with("<!DOCTYPE html>"), "{host}");
    }
    assert_eq!(simulator.admin("/counters").await["logins"], json!({}), "a login site is not UKG Pro");
}
