//! The measured behaviour of WCF's serializer and dispatcher, one test for each row of the table in docs/simulator.md.

use reqwest::Response;
use serde_json::json;

use crate::harness::{Answer, Simulator, client, right_login};
use crate::{CONFIG, HOST, NONE};

const PAGE: &str = include_str!("../../../../docs/simulator.md");
const NIL: &str = r#"xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil"#;
const SIZE: &str = "<b:PageSize>2</b:PageSize>";
const NUMBER: &str = "<b:PageNumber>2</b:PageNumber>";
const FILTER: &str = "<b:EmployeeNumber>= (000007)</b:EmployeeNumber>";

/// Returns the first employee number that a query finds, how many it finds, and the number of notes.
async fn people(simulator: &Simulator, query: &str) -> (String, usize, usize) {
    let token = simulator.token().await;
    simulator.delete("/counters").await;
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, query).await;
    assert_eq!(answer.element("Success"), "true", "{query}: {}", answer.text);
    let counters = simulator.admin("/counters").await;
    let notes = counters["strictness"].as_array().unwrap().len();
    (answer.element("EmployeeNumber"), answer.text.matches("<b:EmployeePerson>").count(), notes)
}

async fn typed(simulator: &Simulator, content_type: &str, body: &str) -> Response {
    let url = simulator.url(HOST, "/services/LoginService");
    simulator.client.post(url).header("content-type", content_type).body(body.to_owned()).send().await.unwrap()
}

#[test]
fn the_page_has_a_row_for_each_of_these_tests() {
    let names = include_str!("wcf.rs").split("\nasync fn ").skip(1).filter_map(|rest| rest.split_once('('));
    let helpers = ["people", "typed"];
    for (name, _) in names.filter(|(name, _)| !helpers.contains(name)) {
        assert!(PAGE.contains(&format!("`{name}`")), "{name}");
    }
}

#[tokio::test]
async fn members_are_read_in_one_pass_forward() {
    let simulator = Simulator::start();
    let one = |text: &str| text.to_owned();
    assert_eq!(people(&simulator, &format!("{FILTER}{NUMBER}{SIZE}")).await, (String::new(), 0, 0), "page 2 of one person");
    assert_eq!(people(&simulator, &format!("{FILTER}{SIZE}")).await, (one("000007"), 1, 0));
    // A member that would be correct later is lost too.
    assert_eq!(people(&simulator, &format!("{SIZE}{NUMBER}{FILTER}")).await, (one("000001"), 2, 2));
    assert_eq!(people(&simulator, &format!("{NUMBER}{FILTER}{SIZE}")).await, (one("000003"), 2, 1));
}

#[tokio::test]
async fn of_a_member_twice_the_first_counts() {
    let simulator = Simulator::start();
    let other = FILTER.replace('7', "8");
    assert_eq!(people(&simulator, &format!("{FILTER}{other}")).await, ("000007".to_owned(), 1, 1));
}

#[tokio::test]
async fn of_a_header_twice_the_last_counts() {
    let simulator = Simulator::start();
    let second = r#"<h:UserName xmlns:h="http://www.ultipro.com/services/loginservice">nobody</h:UserName></s:Header>"#;
    let answer = simulator.login(&right_login().replace("</s:Header>", second)).await;
    assert_eq!(answer.element("StatusMessage"), "User authentication failed");
    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["logins"]["nobody"]["refused"], 1);
    let note = "LoginService/Authenticate: the header UserName is there more than once: the last counts";
    assert_eq!(counters["strictness"], json!([note]));
}

#[tokio::test]
async fn another_case_or_namespace_or_name_is_lost() {
    let simulator = Simulator::start();
    let lost = [
        FILTER.replace("EmployeeNumber", "employeeNumber"),
        FILTER.replace("<b:EmployeeNumber", r#"<b:EmployeeNumber xmlns:b="urn:x""#),
        FILTER.replace("EmployeeNumber", "EmployeeId"),
    ];
    for query in lost {
        assert_eq!(people(&simulator, &format!("{query}{SIZE}")).await, ("000001".to_owned(), 2, 1), "{query}");
    }
}

#[tokio::test]
async fn a_boolean_is_true_false_1_or_0_with_blanks_around() {
    let simulator = Simulator::start();
    for (word, found) in [("true", "000001"), (" 1 ", "000001"), ("false", "000007"), ("0", "000007")] {
        let query = FILTER.replace("<b:EmployeeNumber", &format!(r#"<b:EmployeeNumber {NIL}="{word}""#));
        assert_eq!(people(&simulator, &query).await.0, found, "{word:?}");
        let login = right_login().replace(r#"mustUnderstand="1""#, &format!(r#"mustUnderstand="{word}""#));
        assert_eq!(simulator.login(&login).await.element("Status"), "Ok", "{word:?}");
    }
    let token = simulator.token().await;
    let query = FILTER.replace("<b:EmployeeNumber", &format!(r#"<b:EmployeeNumber {NIL}="True""#));
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, &query).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.contains(":DeserializationFailed<"), "{}", answer.text);
    let login = right_login().replace(r#"mustUnderstand="1""#, r#"mustUnderstand="True""#);
    assert_eq!(simulator.login(&login).await.status, 400, "no header can be read");
}

#[tokio::test]
async fn null_is_nil_and_an_empty_text_is_an_empty_element() {
    let simulator = Simulator::start();
    let accepted = simulator.login(&right_login()).await;
    assert!(accepted.text.contains(r#"<StatusMessage i:nil="true" "#), "{}", accepted.text);
    let token = accepted.element("Token");
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    for null in ["LogEntryId", "PropertyName", "RequestNumber"] {
        assert!(answer.text.contains(&format!(r#"<b:{null} i:nil="true"/>"#)), "{null}: {}", answer.text);
    }
    let error = json!({"operationError": {"message": "m"}});
    simulator.fault("EmployeePerson/FindPeople", error).await;
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    for text in ["<b:Code></b:Code>", r#"<b:PagingInfo i:nil="true"/>"#] {
        assert!(answer.text.contains(text), "{text}: {}", answer.text);
    }
}

#[tokio::test]
async fn the_action_of_the_content_type_wins() {
    const AUTHENTICATE: &str = "http://www.ultipro.com/services/loginservice/ILoginService/Authenticate";
    let simulator = Simulator::start();
    let right = format!("application/soap+xml; charset=utf-8; action=\"{AUTHENTICATE}\"");
    let other = right_login().replace(AUTHENTICATE, "urn:other");
    assert_eq!(Answer::of(typed(&simulator, &right, &right_login()).await).await.element("Status"), "Ok");
    assert_eq!(simulator.admin("/counters").await["strictness"], json!([]));
    assert_eq!(Answer::of(typed(&simulator, &right, &other).await).await.element("Status"), "Ok");
    let note = "LoginService/Authenticate: the Action header is not the action of the content type";
    assert_eq!(simulator.admin("/counters").await["strictness"], json!([note]), "Microsoft's own dispatcher refuses this");
    let answer = Answer::of(typed(&simulator, &right.replace("Authenticate", "Other"), &right_login()).await).await;
    assert_eq!(answer.status, 500);
    assert!(answer.text.contains("s:Sender") && answer.text.contains("a:ActionNotSupported"), "{}", answer.text);
}

#[tokio::test]
async fn a_charset_may_be_absent_and_another_media_type_is_explained() {
    let simulator = Simulator::start();
    assert_eq!(Answer::of(typed(&simulator, "application/soap+xml", &right_login()).await).await.element("Status"), "Ok");
    // HTTP/2 has no reason phrase.
    let old = client(&simulator.ca, simulator.https, |builder| builder.http1_only());
    let url = simulator.url(HOST, "/services/LoginService");
    let response = old.post(url).header("content-type", "text/xml; charset=utf-8").body(right_login()).send().await.unwrap();
    assert_eq!(response.status(), 415);
    let phrase = response.extensions().get::<hyper::ext::ReasonPhrase>().expect("a phrase of its own").as_bytes();
    let want = "Cannot process the message because the content type 'text/xml; charset=utf-8' was not the expected type 'application/soap+xml; charset=utf-8'.";
    assert_eq!(String::from_utf8_lossy(phrase), want);
}

#[tokio::test]
async fn addressing_is_taken_and_the_answer_relates_to_the_message() {
    let simulator = Simulator::start();
    let addressed = right_login()
        .replace(r#" s:mustUnderstand="1""#, "")
        .replace("</a:Action>", "</a:Action><a:MessageID>urn:uuid:1</a:MessageID><a:To>https://x/services/LoginService</a:To><a:ReplyTo s:mustUnderstand=\"1\"><a:Address>http://www.w3.org/2005/08/addressing/anonymous</a:Address></a:ReplyTo>");
    let answer = simulator.login(&addressed).await;
    assert_eq!((answer.element("Status"), answer.element("RelatesTo")), ("Ok".to_owned(), "urn:uuid:1".to_owned()));
    let fault = simulator.login(&addressed.replace("TokenRequest", "Other")).await;
    assert_eq!((fault.status, fault.element("RelatesTo")), (500, "urn:uuid:1".to_owned()));
    assert!(!simulator.login(&right_login()).await.text.contains("RelatesTo"), "there was no ID");
}

#[tokio::test]
async fn what_is_thrown_is_an_internal_fault_bare_or_of_the_receiver() {
    let simulator = Simulator::start();
    let token = simulator.token().await;
    for (shape, code) in [
        ("faultPermissionText", "<s:Value>s:Receiver</s:Value>"),
        ("faultPermissionTextBare", ":InternalServiceFault</s:Value></s:Code>"),
    ] {
        assert_eq!(simulator.put("/config", format!("{CONFIG}deniedAs: {shape}\n")).await.0, 204);
        let answer = simulator.find("EmployeeJob", "FindJobs", &token, NONE).await;
        assert_eq!(answer.status, 500);
        assert!(answer.text.contains(code) && answer.text.contains(":InternalServiceFault<"), "{shape}: {}", answer.text);
    }
    simulator.fault("*", json!({"soapFault": {"code": "InternalServiceFault", "reason": "x"}})).await;
    let answer = simulator.login(&right_login()).await;
    assert!(answer.text.contains(":InternalServiceFault</s:Value></s:Code>"), "{}", answer.text);
}

#[tokio::test]
async fn an_answer_can_begin_with_a_byte_order_mark() {
    let simulator = Simulator::start_with(&format!("{CONFIG}byteOrderMark: true\n"), None);
    for body in [right_login(), right_login().replace("TokenRequest", "Other")] {
        let response = simulator.post("/services/LoginService", &body).send().await.unwrap();
        assert!(response.bytes().await.unwrap().starts_with(b"\xEF\xBB\xBF<s:Envelope "));
    }
    assert_eq!(simulator.put("/config", CONFIG).await.0, 204);
    let response = simulator.post("/services/LoginService", &right_login()).send().await.unwrap();
    assert!(response.bytes().await.unwrap().starts_with(b"<s:Envelope "));
}

#[tokio::test]
async fn conditions_have_all_operators() {
    let simulator = Simulator::start();
    let cases = [
        ("EmployeeNumber", "&lt;&gt; (000001)", 24),
        ("EmployeeNumber", "&gt; (20)", 5),
        ("EmployeeNumber", "&gt;= (20)", 6),
        ("EmployeeNumber", "&lt; (20)", 19),
        ("EmployeeNumber", "&lt;= (20)", 20),
        ("EmployeeNumber", "000003...000005", 3),
        ("OriginalHire", "1/1/2003...12/31/2004", 4),
    ];
    for (member, condition, found) in cases {
        let query = format!("<b:{member}>{condition}</b:{member}>");
        assert_eq!(people(&simulator, &query).await.1, found, "{condition}");
    }
}
