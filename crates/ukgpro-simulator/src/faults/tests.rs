//! Tests of lists of faults, and of the plans they make.

use super::*;
use crate::call::tests::text;

const LOGIN: &str = "LoginService/Authenticate";
const FIND: &str = "EmployeePerson/FindPeople";

fn faults(json: &str) -> Result<Faults, String> {
    let faults: Vec<Fault> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Faults::new(faults).map_err(|error| error.to_string())
}

#[test]
fn the_first_that_fits_is_taken_until_it_is_used_up() {
    let mut faults = faults(
        r#"[{"operation":"LoginService/Authenticate","times":1,"answer":{"status":503}},
            {"host":"B.example","operation":"*","answer":{"status":429}}]"#,
    )
    .expect("right");
    let mut status = |host: &str, operation: &str| {
        faults.take(host, operation).and_then(|plan| plan.reply).map(|reply| reply.status.as_u16())
    };
    assert_eq!(status("a.example", FIND), None);
    assert_eq!(status("b.example", FIND), Some(429));
    assert_eq!(status("b.example", LOGIN), Some(503));
    assert_eq!(status("b.example", LOGIN), Some(429), "the first is used up");
    assert_eq!(status("a.example", LOGIN), None);
    assert_eq!(faults.list()[0].times, Some(0));
}

#[test]
fn each_answer_is_what_it_says() {
    let cases = [
        (r#"{"status":503,"headers":{"retry-after":"7"},"body":"busy"}"#, LOGIN, Some(503), "busy"),
        (r#"{"loginFailed":"An error has occured."}"#, LOGIN, Some(200), "An error has occured."),
        (
            r#"{"soapFault":{"status":400,"code":"Sender","subcode":"FailedAuthentication","reason":"Access is denied."}}"#,
            LOGIN,
            Some(400),
            "a:FailedAuthentication",
        ),
        (r#"{"soapFault":{"reason":"x"}}"#, LOGIN, Some(500), "<s:Value>s:Receiver</s:Value>"),
        (r#"{"operationError":{"message":"m1","severity":"Warning","code":"c1"}}"#, FIND, Some(200), "<b:Severity>Warning<"),
        (r#"{"closeConnection":true}"#, LOGIN, Some(200), "<s:Bo"),
        (r#"{"delaySeconds":2.5}"#, LOGIN, None, ""),
    ];
    for (answer, operation, status, says) in cases {
        let mut faults = faults(&format!(r#"[{{"operation":"{operation}","answer":{answer}}}]"#)).expect(answer);
        let plan = faults.take("h", operation).expect(answer);
        assert_eq!(plan.reply.as_ref().map(|reply| reply.status.as_u16()), status, "{answer}");
        assert!(plan.reply.as_ref().map(text).unwrap_or_default().contains(says), "{answer}");
        assert_eq!(plan.delay.is_some(), answer.contains("delay"), "{answer}");
        assert_eq!(plan.refuses_login, answer.contains("loginFailed"), "{answer}");
    }
}

#[test]
fn headers_and_repeats_are_kept() {
    let mut faults = faults(r#"[{"operation":"*","answer":{"status":429,"headers":{"Retry-After":"7"},"body":"ab","repeatBody":3,"delaySeconds":1}}]"#).expect("right");
    let plan = faults.take("h", LOGIN).expect("it fits all");
    let reply = plan.reply.expect("a status");
    assert_eq!(reply.headers["retry-after"], "7");
    assert!(matches!(reply.body, Payload::Repeated(_, 3)));
    assert_eq!(plan.delay, Some(Duration::from_secs(1)));
}

#[test]
fn a_wrong_list_is_refused_with_the_field_and_what_to_write() {
    let cases = [
        (r#"[{"operation":"LoginService","answer":{"status":503}}]"#, "faults[0].operation: write *"),
        (r#"[{"operation":"*","answer":{}}]"#, "faults[0].answer: write one of"),
        (r#"[{"operation":"*","answer":{"status":503,"loginFailed":"x"}}]"#, "faults[0].answer: write one of"),
        (r#"[{"operation":"*","answer":{"status":99}}]"#, "write a status from 200"),
        (r#"[{"operation":"*","answer":{"delaySeconds":-1}}]"#, "answer.delaySeconds: write a number"),
        (r#"[{"operation":"*","answer":{"delaySeconds":1,"body":"x"}}]"#, "write a status too"),
        (r#"[{"operation":"*","answer":{"status":200,"headers":{"a b":"c"}}}]"#, "`a b` is no HTTP header"),
        (
            r#"[{"operation":"LoginService/Authenticate","answer":{"operationError":{"message":"m"}}}]"#,
            "operationError is for a SOAP data service",
        ),
        (r#"[{"operation":"*","answer":{"sleep":1}}]"#, "unknown field `sleep`"),
        (r#"[{"answer":{"status":503}}]"#, "missing field `operation`"),
    ];
    for (json, says) in cases {
        let error = faults(json).expect_err(json);
        assert!(error.contains(says), "{json}: {error}");
    }
}
