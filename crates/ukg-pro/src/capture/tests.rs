use http::header::{HeaderName, HeaderValue};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::vocabulary::{Name, Said, is_known};
use super::*;

const SOAP: &str = "application/soap+xml; charset=utf-8";
const LOGIN: &str = "LoginService/Authenticate";

fn body_of(operation: &str, status: u16, content_type: &str, body: &str) -> Value {
    let exchange = redact(operation, &Answer::new(status, content_type, body.as_bytes()));
    serde_json::to_value(exchange).expect("JSON")["answer"]["body"].clone()
}

fn envelope(body: &str) -> String {
    format!(r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{body}</s:Body></s:Envelope>"#)
}

/// Returns all texts of the elements or values of this name, anywhere.
fn says(structure: &Value, name: &str) -> Vec<String> {
    let mut found = Vec::new();
    for node in structure.as_array().into_iter().flatten() {
        if node["name"] == name {
            found.extend(node["says"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned));
        }
        found.extend(says(&node["holds"], name));
    }
    found
}

#[test]
fn the_lists_an_answer_speaks_of_are_told_and_nothing_of_a_record() {
    let of = |status: u16, body: &str| speaks_of(&Answer::new(status, SOAP, body.as_bytes()), &Words::built_in());
    let failed = "<TokenResponse><StatusMessage>The account is locked.</StatusMessage></TokenResponse>";
    assert_eq!(of(200, &envelope(failed)), ["elsewhere", "locked"]);
    let denied = "<OperationMessage><Message>You do not have permission</Message></OperationMessage>";
    assert_eq!(of(200, &envelope(denied)), ["rights", "negations", "elsewhere"]);
    // This account is an employee's.
    let records = "<Results><Person><Code>Suspended</Code><Text>The account is locked.</Text></Person></Results>";
    assert!(of(200, &envelope(records)).is_empty());
    assert_eq!(of(403, "Access is denied."), ["denied", "negations"]);
    assert!(of(200, "Access is denied.").is_empty());
}

#[test]
fn a_login_answer_is_told_in_known_words_only() {
    let body = envelope(
        r#"<TokenResponse xmlns="http://www.ultipro.com/contracts" xmlns:l="http://www.ultipro.com/services/loginservice"><l:Status>Failed</l:Status><l:StatusMessage>User svc-acme: authentication failed (Jane Q Doe, jane@acme.test).</l:StatusMessage><l:Token>0b7f8a52-9c3e-4d31-8b71-2f6f6a3c1d00</l:Token></TokenResponse>"#,
    );
    let exchange = redact(LOGIN, &Answer::new(200, SOAP, body.as_bytes()));
    let expected = "\
operation: LoginService/Authenticate
milliseconds: 0
answer:
  status: 200
  contentType:
  - application/soap+xml
  - utf-8
  head: {}
  body:
    kind: soap
    size: up to 1 KiB
    structure:
    - name: soap12:Envelope
      holds:
      - name: soap12:Body
        holds:
        - name: contracts:TokenResponse
          holds:
          - name: service:Status
            says:
            - Failed
          - name: service:StatusMessage
            says:
            - User <word> authentication failed <word> <email>
          - name: service:Token
            says:
            - <guid>
";
    assert_eq!(serde_saphyr::to_string(&exchange).expect("YAML"), expected);
}

#[test]
fn texts_keep_known_words_and_the_kinds_of_the_others() {
    for (text, said) in [
        ("User authentication failed", "User authentication failed"),
        ("USER AUTHENTICATION FAILED.", "USER AUTHENTICATION FAILED"),
        ("There was a problem with the authentication process", "There was a problem with the authentication process"),
        ("An error has occured. Please try again.", "An error has occured Please try again"),
        ("Invalid User API Key", "Invalid User API Key"),
        ("the header UserAccessKey is invalid", "the header UserAccessKey is invalid"),
        ("Access is denied for svc-acme", "Access is denied for <word>"),
        ("denied: p4ssword, Pa$$word and passWORDx", "denied <word> and <word>"),
        ("denied: access-zq", "denied <word>"),
        // Names of service accounts.
        ("IntegrationUser or service.account or api_user is locked", "<word> or <word> or <word> is locked"),
        ("due to a ContractFilter mismatch", "due to a ContractFilter mismatch"),
        ("user=svc", "<word>"),
        ("Pässwort denied", "<word> denied"),
        ("call 555-1234 or 12345", "call <number> or <number>"),
        ("error 403 at 2026-01-01", "error 403 at <number>"),
        ("see https://acme.test/x", "see <url>"),
        ("tOKEN", "<word>"),
        ("   ", ""),
    ] {
        assert_eq!(Said::of(text).to_string(), said, "{text}");
    }
    let long = "denied zq1 ".repeat(200);
    let said = Said::of(&long).to_string();
    assert!(said.ends_with("<more>") && said.len() < 1000, "{said}");
}

#[test]
fn a_name_is_kept_whole_or_not_at_all() {
    for (text, name) in [
        ("TokenResponse", "TokenResponse"),
        ("FindPeopleResult", "FindPeopleResult"),
        ("UserAPIKey", "UserAPIKey"),
        ("user_api_key", "user_api_key"),
        ("content-type", "content-type"),
        ("error.code", "error.code"),
        ("TokenZq1", "<name>"),
        ("JaneDoe", "<name>"),
        ("user_zq", "<name>"),
        ("Employee12345", "<name>"),
        ("uSeR", "<name>"),
        ("", "<name>"),
        ("Ünit", "<name>"),
    ] {
        assert_eq!(Name::of(text).to_string(), name, "{text}");
    }
}

#[test]
fn the_vocabulary_has_no_first_names() {
    for name in
        ["john", "jane", "mary", "grant", "mark", "bill", "rose", "smith", "doe", "art", "faith", "april", "june", "max"]
    {
        assert!(!is_known(name), "{name}");
    }
}

#[test]
fn a_body_is_told_by_what_it_is_and_not_by_what_it_is_called() {
    let xhtml = "<html xmlns=\"http://www.w3.org/1999/xhtml\"><body>Sign in</body></html>";
    for (what, status, content_type, body, kind, error) in [
        ("an envelope", 200, SOAP, envelope("<a/>"), "soap", None),
        ("an envelope under another name", 200, "text/html", envelope("<a/>"), "soap", None),
        ("a page", 200, "text/html", "<html><p>Sign in<br></html>".to_owned(), "html", None),
        ("a page under another name", 200, SOAP, "<!DOCTYPE html><html><p></html>".to_owned(), "html", None),
        ("XHTML", 200, "text/html", xhtml.to_owned(), "html", None),
        ("XML", 500, "text/xml", "<error><message>denied</message></error>".to_owned(), "xml", None),
        ("JSON", 403, "application/problem+json", "{}".to_owned(), "json", None),
        ("text", 503, "text/plain", "Service Unavailable".to_owned(), "text", None),
        ("nothing", 401, "", String::new(), "empty", None),
        ("blanks", 401, "", " \n".to_owned(), "empty", None),
        ("a torn envelope", 200, SOAP, envelope("")[..60].to_owned(), "unreadable", Some("the answer is not well-formed XML")),
        (
            "a document type",
            200,
            SOAP,
            "<!DOCTYPE x []><x/>".to_owned(),
            "unreadable",
            Some("the answer declares a document type or uses an undeclared entity"),
        ),
    ] {
        let found = body_of(LOGIN, status, content_type, &body);
        assert_eq!((found["kind"].as_str(), found["error"].as_str()), (Some(kind), error), "{what}");
    }
    let binary = redact(LOGIN, &Answer::new(200, SOAP, &[0xff, 0xfe]));
    assert_eq!(binary.answer.expect("an answer").body.kind, Kind::Binary);
    let said = &body_of(LOGIN, 503, "text/plain", "Service Unavailable zq1")["says"];
    assert_eq!(said, "Service Unavailable <word>");
    assert_eq!(body_of(LOGIN, 200, "text/plain", "Service Unavailable")["says"], Value::Null);
}

#[test]
fn faults_and_operation_messages_are_kept() {
    let fault = envelope(
        r#"<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>zq:FailedAuthentication</s:Value></s:Subcode></s:Code><s:Reason><s:Text>Access is denied.</s:Text></s:Reason></s:Fault>"#,
    );
    let structure = &body_of(LOGIN, 500, SOAP, &fault)["structure"];
    assert_eq!(says(structure, "soap12:Value"), ["Sender", "FailedAuthentication"]);
    assert_eq!(says(structure, "soap12:Text"), ["Access is denied"]);

    let message = |code: &str, text: &str| {
        format!(
            "<b:OperationMessage><b:Code>{code}</b:Code><b:LogEntryId>zq-1</b:LogEntryId><b:Message>{text}</b:Message></b:OperationMessage>"
        )
    };
    let result = envelope(&format!(
        r#"<FindPeopleResponse xmlns="http://www.ultipro.com/services/employeeperson"><FindPeopleResult xmlns:b="http://www.ultipro.com/contracts"><b:OperationResult><b:HasErrors>true</b:HasErrors><b:Messages>{}{}</b:Messages></b:OperationResult></FindPeopleResult></FindPeopleResponse>"#,
        message("PERMISSION_DENIED", "You do not have permission"),
        message("zq7", "svc-acme"),
    ));
    let structure = &body_of("EmployeePerson/FindPeople", 200, SOAP, &result)["structure"];
    assert_eq!(says(structure, "contracts:HasErrors"), ["true"]);
    assert_eq!(says(structure, "contracts:Code"), ["PERMISSION_DENIED", "<word>"]);
    assert_eq!(says(structure, "contracts:Message"), ["You do not have permission", "<word>"]);
    assert_eq!(says(structure, "contracts:LogEntryId"), ["<text>"]);
    let messages = &structure[0]["holds"][0]["holds"][0]["holds"][0]["holds"][0]["holds"][1];
    assert_eq!((&messages["name"], &messages["holds"][0]["times"]), (&json!("contracts:Messages"), &json!(2)));
}

#[test]
fn of_records_only_names_and_counts_are_kept() {
    let record = "<b:Person><b:Status>Active</b:Status><b:Message>denied</b:Message><b:Kx7>1</b:Kx7></b:Person>";
    let body = envelope(&format!(
        r#"<r xmlns:b="http://www.ultipro.com/contracts"><b:Results>{record}{record}</b:Results><b:Success>true</b:Success></r>"#
    ));
    let structure = &body_of("EmployeePerson/FindPeople", 200, SOAP, &body)["structure"];
    let results = &structure[0]["holds"][0]["holds"][0]["holds"][0];
    let expected = json!({"name": "contracts:Results", "holds": [{"name": "contracts:Person", "times": 2, "holds": [
        {"name": "contracts:Status", "times": 2}, {"name": "contracts:Message", "times": 2}, {"name": "contracts:<name>", "times": 2}]}]});
    assert_eq!(*results, expected);
    assert_eq!(says(structure, "contracts:Success"), ["true"]);

    let rows = r#"[{"title": "Manager access", "status": 401, "zq": null}, {"title": "denied", "zq": 7}]"#;
    let structure = body_of("GET /x", 200, "application/json", rows)["structure"].clone();
    let expected = json!([{"type": "array", "holds": [{"type": "object", "times": 2, "holds": [
        {"name": "title", "type": "string", "times": 2}, {"name": "status", "type": "number"},
        {"name": "<name>", "type": "null"}, {"name": "<name>", "type": "number"}]}]}]);
    assert_eq!(structure, expected);
}

#[test]
fn a_problem_in_json_is_told_in_known_words() {
    let problem = json!({"title": "Forbidden", "status": 403, "detail": "svc-acme has no permission", "code": 40301, "ok": false,
        "errors": {"jane.doe": ["access denied"]}, "employee": "denied"});
    let structure = &body_of("GET /x", 403, "application/problem+json", &problem.to_string())["structure"];
    for (name, said) in [
        ("title", vec!["Forbidden"]),
        ("status", vec!["403"]),
        ("detail", vec!["<word> has no permission"]),
        ("code", vec!["<number>"]),
        ("employee", vec![]),
    ] {
        assert_eq!(says(structure, name), said, "{name}");
    }
    let errors = structure[0]["holds"].as_array().expect("a list").iter().find(|node| node["name"] == "errors");
    let expected = json!([{"name": "<name>", "type": "array", "holds": [{"type": "string", "says": ["access denied"]}]}]);
    assert_eq!(errors.expect("errors")["holds"], expected);
    let text = &body_of("GET /x", 403, "", "\"Access denied\"")["structure"];
    assert_eq!(*text, json!([{"type": "string", "says": ["Access denied"]}]));
}

#[test]
fn namespaces_are_told_where_they_are_known() {
    for (namespace, said) in [
        ("http://www.ultipro.com/services/employeeperson", "service:Text"),
        ("http://www.ultipro.com/services/zq", "other-service:Text"),
        ("http://www.ultipro.com/zq", "other-ultipro:Text"),
        ("http://www.ultipro.com/contracts", "contracts:Text"),
        ("urn:zq", "<namespace>:Text"),
        ("", "Text"),
    ] {
        let body = envelope(&format!("<Text xmlns=\"{namespace}\"/>"));
        let structure = &body_of("EmployeePerson/FindPeople", 200, SOAP, &body)["structure"];
        assert_eq!(structure[0]["holds"][0]["holds"][0]["name"], said, "{namespace}");
    }
}

fn head(headers: &[(&str, &[u8])]) -> RedactedHeaders {
    let name = |name: &str| HeaderName::try_from(name).expect("a name");
    let headers = headers.iter().map(|(n, value)| (name(n), HeaderValue::from_bytes(value).expect("a value"))).collect();
    RedactedHeaders::of(http::Version::HTTP_11, &headers)
}

#[test]
fn of_headers_only_known_values_are_kept() {
    for (name, value, field, said) in [
        ("retry-after", "7", "retryAfter", "up to 10 s"),
        ("retry-after", "999999", "retryAfter", "more than 1 h"),
        ("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT", "retryAfter", "a date"),
        ("retry-after", "zq1", "retryAfter", "<other>"),
        ("server", "Microsoft-IIS/10.0", "server", "Microsoft-IIS"),
        ("server", "zq1", "server", "<other>"),
        ("www-authenticate", "Basic realm=\"zq1\"", "wwwAuthenticate", "Basic"),
        ("www-authenticate", "zq1", "wwwAuthenticate", "<other>"),
        ("location", "https://zq1/", "location", "https"),
        ("location", "zq1:x", "location", "<other>"),
        ("location", "/zq1", "location", "a path"),
    ] {
        let head = serde_json::to_value(head(&[(name, value.as_bytes())])).expect("JSON");
        assert_eq!(head, json!({"version": "HTTP/1.1", field: said}), "{name}: {value}");
    }
    for (value, said) in [
        ("text/html; charset=\"UTF-8\"", vec!["text/html", "utf-8"]),
        ("application/zq", vec!["<other>"]),
        ("text/xml; charset=zq", vec!["text/xml", "<other>"]),
        ("", vec![]),
    ] {
        assert_eq!(content_type(&value.to_ascii_lowercase()), said, "{value}");
    }
}

#[test]
fn what_has_no_answer_is_told_by_its_stage() {
    let recorder = Recorder::default();
    recorder.record(unanswered(LOGIN, Unanswered::ConnectTimeout), Duration::from_millis(1234));
    let expected = json!({"exchanges": [
        {"operation": LOGIN, "milliseconds": 1240, "unanswered": "the connection timed out"}]});
    assert_eq!(serde_json::to_value(recorder.capture()).expect("JSON"), expected);
}

#[test]
fn a_recorder_is_bounded_and_says_what_it_dropped() {
    let recorder = Recorder::default();
    for _ in 0..EXCHANGES_MAX + 3 {
        recorder.record(unanswered(LOGIN, Unanswered::ConnectTimeout), Duration::ZERO);
    }
    let capture = recorder.capture();
    assert_eq!((capture.exchanges.len(), capture.dropped), (EXCHANGES_MAX, 3));
}

/// More than any exchange takes, whatever the server sends.
const OUTPUT_MAX: usize = 96 << 10;

fn rendered(exchange: &Exchange) -> String {
    let yaml = serde_saphyr::to_string(exchange).expect("YAML");
    let json = serde_json::to_string(exchange).expect("JSON");
    assert!(yaml.len() < OUTPUT_MAX && json.len() < OUTPUT_MAX, "{} and {}", yaml.len(), json.len());
    yaml + &json
}

#[test]
fn the_largest_answers_make_bounded_captures_that_say_so() {
    let known = ["User", "Token", "Access", "Employee", "Person", "Request", "Service", "Account", "Status", "Result"];
    // Names of three known words each, so that all are kept and all differ.
    let names: Vec<_> = known.iter().flat_map(|a| known.iter().map(move |b| format!("{a}{b}"))).collect();
    let names: Vec<_> = names.iter().flat_map(|ab| known.iter().map(move |c| format!("{ab}{c}"))).collect();
    let text = |n: usize| format!("{} access denied {}", names[n], "permission ".repeat(n % 60));
    let flat: String = names.iter().map(|name| format!("<{name}/>")).collect();
    let telling: String = (0..900).map(|n| format!("<Message>{}</Message>", text(n))).collect();
    let deep = format!("{}{}", "<Text>".repeat(60), "</Text>".repeat(60));
    let object: serde_json::Map<_, _> = names.iter().enumerate().map(|(n, name)| (name.clone(), json!(text(n)))).collect();
    let errors: serde_json::Map<_, _> =
        names.iter().map(|name| (name.clone(), json!({"message": text(7), "code": 500}))).collect();
    for (what, body) in [
        ("many elements", envelope(&flat)),
        ("many texts", envelope(&telling)),
        ("depth", envelope(&deep)),
        ("many keys", Value::from(object).to_string()),
        ("many errors", json!({"errors": errors}).to_string()),
        ("depth of JSON", format!("{}{}", "[".repeat(100), "]".repeat(100))),
    ] {
        let exchange = redact("GET /x", &Answer::new(500, "", body.as_bytes()));
        rendered(&exchange);
        assert!(exchange.answer.expect("an answer").body.cut, "{what}");
    }
    let many = format!("[{}]", vec!["1"; 500_000].join(","));
    let exchange = redact("GET /x", &Answer::new(200, "", many.as_bytes()));
    let body = exchange.answer.expect("an answer").body;
    assert_eq!((body.structure[0].holds[0].times, body.cut), (500_000, false));
}

/// A placeholder in a template for what must not leak.
const HOLE: &str = "HOLE";

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => Just(HOLE.to_owned()),
        3 => prop::sample::select(vec!["access denied", "user", "Failed", "failed for", ":", "1234567", "<&\"'>", "é", "\n"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["x", "-", "@", "://", "=", "."]).prop_map(|around| format!("{around}{HOLE}{around}")),
        1 => "[ -~]{0,12}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..5).prop_map(|pieces| pieces.join(" "))
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "Status",
        "StatusMessage",
        "Message",
        "Code",
        "Value",
        "Text",
        "Token",
        "title",
        "detail",
        "errors",
        "message",
        "code",
        "Results",
        "Fault",
        "Body",
        "FindPeopleResult",
        "HOLE",
        "StatusHOLE",
        "Message_HOLE",
    ])
    .prop_map(str::to_owned)
}

fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

fn xml() -> impl Strategy<Value = String> {
    let leaf = (name(), text(), text()).prop_map(|(name, value, text)| {
        format!("<{name} xmlns=\"urn:{}\" a=\"{}\">{}<!-- HOLE --></{name}>", escaped(&value), escaped(&value), escaped(&text))
    });
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        (name(), prop::collection::vec(inner, 0..4), text()).prop_map(|(name, inner, text)| {
            format!("<{name} HOLE=\"HOLE\"><![CDATA[HOLE]]>{}{}</{name}>", escaped(&text), inner.concat())
        })
    });
    prop_oneof![tree.clone().prop_map(|tree| envelope(&tree)), tree]
}

fn json_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![text().prop_map(Value::from), any::<i32>().prop_map(Value::from), Just(Value::Null)];
    let tree = leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(prop_oneof![name(), text()], inner, 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect())),
        ]
    });
    tree.prop_map(|value| value.to_string())
}

fn template() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => xml(),
        4 => json_value(),
        1 => text().prop_map(|text| format!("<html><title>{text}</title><p class=HOLE>{text}<br></html>")),
        1 => text(),
        1 => (xml(), any::<prop::sample::Index>()).prop_map(|(xml, at)| {
            let end = (0..=at.index(xml.len())).rev().find(|end| xml.is_char_boundary(*end)).unwrap_or(0);
            xml[..end].to_owned()
        }),
    ]
}

/// Two values of one kind, neither of which is a word.
fn canaries() -> impl Strategy<Value = (String, String)> {
    prop_oneof![
        ("zq[a-z]{8}", "zq[a-z]{8}"),
        ("Zq[a-z]{4}[0-9]{4}", "Zq[a-z]{4}[0-9]{4}"),
        ("ZQ[A-Z]{8}", "ZQ[A-Z]{8}"),
        ("zq[a-z]{4}-[a-z]{5}", "zq[a-z]{4}-[a-z]{5}"),
        ("zq[a-z]{4}_Access[a-z]{5}", "zq[a-z]{4}_Access[a-z]{5}"),
    ]
}

fn exchange(status: u16, content_type: &str, body: &str, canary: &str) -> Exchange {
    let filled = |template: &str| template.replace(HOLE, canary);
    let header = filled("Basic HOLE").into_bytes();
    let head = head(&[("server", &header), ("www-authenticate", &header), ("location", &header), ("retry-after", &header)]);
    redact(LOGIN, &Answer { head, ..Answer::new(status, &filled(content_type), filled(body).as_bytes()) })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_of_what_a_server_sends_gets_out(
        status in prop::sample::select(vec![200u16, 302, 401, 403, 404, 500]),
        content_type in prop::sample::select(vec![SOAP, "text/html", "application/json; charset=HOLE", "HOLE/HOLE", ""]),
        body in template(),
        (canary, other) in canaries(),
    ) {
        let one = exchange(status, content_type, &body, &canary);
        let said = rendered(&one).to_ascii_lowercase();
        prop_assert!(!said.contains(&canary.to_ascii_lowercase()), "{canary} is in {said}");
        // Stronger: the value makes no difference at all.
        prop_assert_eq!(one, exchange(status, content_type, &body, &other));
    }

    #[test]
    fn no_bytes_make_it_panic(status in 100u16..=999, content_type in "[ -~]{0,20}", body in prop::collection::vec(any::<u8>(), 0..300)) {
        rendered(&redact("GET /x", &Answer::new(status, &content_type, &body)));
    }

    #[test]
    fn numbers_with_a_meaning_for_someone_do_not_get_out(number in 1_000u64..u64::MAX, around in text()) {
        let body = json!({"code": number, "message": format!("{around} {number}"), "id": number}).to_string();
        let said = serde_json::to_string(&redact("GET /x", &Answer::new(500, "", body.as_bytes()))).expect("JSON");
        prop_assert!(!said.contains(&number.to_string()), "{said}");
    }
}
