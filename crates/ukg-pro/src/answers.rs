//! Tests the interpretation of every known or conceivable kind of answer. `docs/answers.md` is this table; `WRITE_ANSWERS=1`
//! regenerates it.

use std::fmt::Write as _;
use std::time::Duration;

use super::login;
use super::outcome::{self, Outcome};
use super::transport::Answer;
use super::words::Words;

const SOAP: &str = "application/soap+xml; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";

/// Seen by users of UKG Pro, in its guides, or what HTTP means by it.
const CERTAIN: &str = "certain";
const PROBABLE: &str = "probable";
const GUESSED: &str = "guessed";
/// Measured on the software that UKG Pro's services are most likely built with, or on similar software.
const MEASURED: &str = "measured elsewhere";

const GUIDES: &str = "UKG's guides";
const WCF: &str = "WCF (Mono 6.8)";
const CXF: &str = "Apache CXF 4.2";
const HTTP: &str = "RFC 9110";
const THOUGHT: &str = "none; assumed";

struct Row {
    what: &'static str,
    answer: Answer,
    sure: &'static str,
    source: &'static str,
}

fn row(what: &'static str, status: u16, content_type: &str, body: &str, sure: &'static str, source: &'static str) -> Row {
    Row { what, answer: Answer::new(status, content_type, body.as_bytes()), sure, source }
}

fn asks_to_wait(mut row: Row) -> Row {
    row.answer.retry_after = Some(Duration::from_secs(30));
    row
}

fn envelope(body: &str) -> String {
    format!(r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{body}</s:Body></s:Envelope>"#)
}

fn token(fields: &str) -> String {
    envelope(&format!(r#"<TokenResponse xmlns="http://www.ultipro.com/contracts">{fields}</TokenResponse>"#))
}

fn failed(message: &str) -> String {
    token(&format!("<Status>Failed</Status><StatusMessage>{message}</StatusMessage>"))
}

fn fault(code: &str, subcode: &str, reason: &str) -> String {
    envelope(&format!(
        "<s:Fault><s:Code><s:Value>s:{code}</s:Value><s:Subcode><s:Value>a:{subcode}</s:Value></s:Subcode></s:Code>\
         <s:Reason><s:Text>{reason}</s:Text></s:Reason></s:Fault>"
    ))
}

fn result(fields: &str) -> String {
    envelope(&format!(
        r#"<FindPeopleResponse xmlns="http://www.ultipro.com/services/employeeperson"><OperationResult xmlns="http://www.ultipro.com/contracts">{fields}</OperationResult></FindPeopleResponse>"#
    ))
}

fn errors(message: &str) -> String {
    result(&format!(
        "<HasErrors>true</HasErrors><Messages><OperationMessage><Message>{message}</Message></OperationMessage></Messages>\
         <Success>false</Success>"
    ))
}

fn logins() -> Vec<Row> {
    vec![
        row("`Status` Ok with a `Token`", 200, SOAP, &token("<Status>Ok</Status><Token>T</Token>"), CERTAIN, GUIDES),
        row("`Failed`: User authentication failed", 200, SOAP, &failed("User authentication failed"), PROBABLE, GUIDES),
        row(
            "the same with HTTP status 500, 404 or another",
            500,
            SOAP,
            &failed("User authentication failed"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "`Failed`: There was a problem with the authentication process",
            200,
            SOAP,
            &failed("There was a problem with the authentication process"),
            PROBABLE,
            GUIDES,
        ),
        row("`Failed`: Invalid User API Key", 200, SOAP, &failed("Invalid User API Key"), PROBABLE, GUIDES),
        row(
            "`Failed`: the account is locked, disabled, suspended, inactive, or its password has expired",
            200,
            SOAP,
            &failed("The account is locked"),
            GUESSED,
            THOUGHT,
        ),
        row("`Failed`: An error has occured", 200, SOAP, &failed("An error has occured. Please try again."), PROBABLE, GUIDES),
        row("`Failed` in other words, or without words", 200, SOAP, &failed("Nein."), GUESSED, THOUGHT),
        row("another `Status`", 200, SOAP, &token("<Status>Maybe</Status>"), GUESSED, THOUGHT),
        row("`Ok` without a `Token`", 200, SOAP, &token("<Status>Ok</Status>"), GUESSED, THOUGHT),
        row(
            "two `Status` elements, or a fault in addition to the answer",
            200,
            SOAP,
            &token("<Status>Ok</Status><Status>Failed</Status><Token>T</Token>"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "`Ok` with a `Token` and HTTP status 206 or 500",
            206,
            SOAP,
            &token("<Status>Ok</Status><Token>T</Token>"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "a fault FailedAuthentication, InvalidSecurity or SecurityError",
            500,
            SOAP,
            &fault("Sender", "FailedAuthentication", "x"),
            PROBABLE,
            WCF,
        ),
        row(
            "a Sender fault whose text says that the login is refused",
            500,
            SOAP,
            &fault("Sender", "x", "User authentication failed"),
            MEASURED,
            WCF,
        ),
        row(
            "a Receiver fault whose text says that the login is refused",
            500,
            SOAP,
            &fault("Receiver", "x", "Unauthorized"),
            MEASURED,
            CXF,
        ),
        row(
            "a fault InternalServiceFault or EndpointUnavailable, or another Receiver fault",
            500,
            SOAP,
            &fault("Receiver", "InternalServiceFault", "The server was unable"),
            MEASURED,
            WCF,
        ),
        row(
            "a Receiver fault about a database",
            500,
            SOAP,
            &fault("Receiver", "x", "EXECUTE permission was denied"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "a fault about the form of the message, such as DeserializationFailed",
            500,
            SOAP,
            &fault("Sender", "DeserializationFailed", "header ClientAccessKey"),
            MEASURED,
            WCF,
        ),
        row("another Sender fault", 500, SOAP, &fault("Sender", "x", "y"), GUESSED, THOUGHT),
        row("401", 401, "", "", PROBABLE, HTTP),
        row("403 without a web page", 403, "", "", PROBABLE, HTTP),
        row("403 with a web page", 403, HTML, "<html>", GUESSED, THOUGHT),
        asks_to_wait(row("403 with `Retry-After`, unless its text refuses the login", 403, "", "", GUESSED, THOUGHT)),
        row("429", 429, "", "", CERTAIN, GUIDES),
        row("502, 503, 504", 503, "", "", CERTAIN, HTTP),
        row("500, 405 or 408 without a SOAP envelope", 500, HTML, "<html>", PROBABLE, GUIDES),
        row("a web page with any status below 500", 200, HTML, "<html>", CERTAIN, HTTP),
        row("a redirect", 302, "", "", CERTAIN, HTTP),
        row("404 or 410 without a web page", 404, "", "", GUESSED, THOUGHT),
        row("a multipart message (MTOM)", 200, "multipart/related; type=\"application/xop+xml\"", "--b", MEASURED, CXF),
        row("an encoding other than UTF-8", 200, "text/xml; charset=utf-16", "<\0", MEASURED, WCF),
        row("a document type declaration", 200, SOAP, "<!DOCTYPE x><x/>", GUESSED, THOUGHT),
        row("truncated XML", 200, SOAP, "<s:Envelope", GUESSED, THOUGHT),
        row("an empty answer", 200, SOAP, "", GUESSED, THOUGHT),
        row("JSON", 200, JSON, "{}", GUESSED, THOUGHT),
        row("415", 415, "", "", MEASURED, WCF),
        row("another status", 400, "", "", GUESSED, THOUGHT),
    ]
}

fn soap_reads() -> Vec<Row> {
    vec![
        row(
            "`Success` true (or 1), and `HasErrors` not true",
            200,
            SOAP,
            &result("<HasErrors>0</HasErrors><Success>1</Success>"),
            CERTAIN,
            GUIDES,
        ),
        row(
            "the same, with `Results` or a `TotalItems` above 0, although the filter matches nobody",
            200,
            SOAP,
            &result("<HasErrors>false</HasErrors><Success>true</Success><PagingInfo><TotalItems>1</TotalItems></PagingInfo>"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "`Success` and `HasErrors` both true, a value that is no boolean, or one of them twice",
            200,
            SOAP,
            &result("<HasErrors>1</HasErrors><Success>true</Success>"),
            GUESSED,
            THOUGHT,
        ),
        row("neither `Success` nor `HasErrors`", 200, SOAP, &result(""), GUESSED, THOUGHT),
        row(
            "errors whose text says that a permission is missing",
            200,
            SOAP,
            &errors("User does not have access to this service"),
            PROBABLE,
            THOUGHT,
        ),
        row("errors whose text says that nobody was found", 200, SOAP, &errors("No employees were found"), GUESSED, THOUGHT),
        row("errors about something else that was not found", 200, SOAP, &errors("Service not found"), GUESSED, THOUGHT),
        row("errors with another text", 200, SOAP, &errors("Invalid page number"), GUESSED, THOUGHT),
        row(
            "a fault whose text says that a permission is missing",
            500,
            SOAP,
            &fault("Sender", "x", "Access is denied."),
            PROBABLE,
            WCF,
        ),
        row(
            "a fault FailedAuthentication, InvalidSecurity or SecurityError; 401",
            500,
            SOAP,
            &fault("Sender", "InvalidSecurity", "x"),
            PROBABLE,
            WCF,
        ),
        row(
            "a fault or error that says that the token has expired or is invalid",
            500,
            SOAP,
            &fault("Sender", "x", "The token has expired"),
            GUESSED,
            THOUGHT,
        ),
        row(
            "a fault InternalServiceFault or EndpointUnavailable, or another Receiver fault",
            500,
            SOAP,
            &fault("Receiver", "InternalServiceFault", "x"),
            MEASURED,
            WCF,
        ),
        row(
            "a fault about the form of the message",
            500,
            SOAP,
            &fault("Sender", "ActionNotSupported", "not allowed"),
            MEASURED,
            WCF,
        ),
        row("another fault", 500, SOAP, &fault("Sender", "x", "y"), GUESSED, THOUGHT),
        row("403 without a web page", 403, "", "", PROBABLE, HTTP),
        row("403 with a web page", 403, HTML, "<html>Your address is not allowed", GUESSED, THOUGHT),
        asks_to_wait(row("403 with `Retry-After`; 429", 403, "", "", GUESSED, THOUGHT)),
        row("502, 503, 504", 503, "", "", CERTAIN, HTTP),
        row("500, 405 or 408 without a SOAP envelope", 405, "", "", PROBABLE, GUIDES),
        row("a web page or a redirect", 302, "", "", CERTAIN, HTTP),
        row("an answer that cannot be read", 200, SOAP, "<s:Envelope", GUESSED, THOUGHT),
        row("another status", 404, "", "", GUESSED, THOUGHT),
    ]
}

fn rest_reads() -> Vec<Row> {
    vec![
        row("200 with JSON, which may be an empty list", 200, JSON, "[]", CERTAIN, GUIDES),
        row("200 with rows, for a page of people past the end", 200, JSON, "[{}]", GUESSED, THOUGHT),
        row("200 with something else", 200, JSON, "oops", GUESSED, THOUGHT),
        row("401", 401, JSON, "{}", PROBABLE, HTTP),
        row("403 with an empty body, or with JSON without text", 403, JSON, "{}", PROBABLE, HTTP),
        row("403 whose text says that a permission is missing", 403, JSON, "{\"title\": \"Forbidden\"}", PROBABLE, THOUGHT),
        row("403 with a web page or with another text", 403, HTML, "<html>Your address is not allowed", GUESSED, THOUGHT),
        asks_to_wait(row("403 with `Retry-After`; 429", 403, "", "", GUESSED, THOUGHT)),
        row("404", 404, JSON, "{}", GUESSED, THOUGHT),
        row("502, 503, 504", 503, "", "", CERTAIN, HTTP),
        row("500, 405 or 408", 500, JSON, "{}", PROBABLE, GUIDES),
        row("a web page with a success status, or a redirect", 200, HTML, "<html>", CERTAIN, HTTP),
        row("another status", 400, JSON, "{}", GUESSED, THOUGHT),
    ]
}

fn of_login(answer: &Answer, words: &Words) -> (String, &'static str) {
    let failure = match login::read_answer(answer, words) {
        Ok(_) => return ("a session".to_owned(), "the permissions are read"),
        Err(failure) => failure,
    };
    let taken = failure.to_string();
    let then = match failure {
        failure if failure.forbids_automatic_retry() => "held until the values change or a user requests a check",
        failure if failure.is_unclear() => "counts as an attempt: LoginPaused",
        _ => "the login was not judged: tried again",
    };
    (taken, then)
}

fn of_read(outcome: Outcome) -> (String, &'static str) {
    let then = match outcome {
        Outcome::Granted => "",
        Outcome::GrantedUnfiltered => "reported to whoever runs the operator: ProbeUnfiltered",
        Outcome::Denied => "Forbidden",
        Outcome::TokenRefused { denies: true } => "one more login if another service accepted it; otherwise denied",
        Outcome::TokenRefused { denies: false } => "one more login; otherwise undetermined",
        Outcome::LoginRefused => "no REST read until the values change or a user requests a check",
        Outcome::Undetermined => "PermissionsUndetermined; read again at the interval",
        Outcome::Held => panic!("it is no answer"),
        Outcome::Error(_) => "read again soon; an Active connection stays Active for a while",
    };
    (outcome.to_string(), then)
}

fn table(text: &mut String, title: &str, rows: &[Row], of: impl Fn(&Answer) -> (String, &'static str)) {
    // Writing to a String does not fail.
    let _ = write!(text, "\n## {title}\n\n| answer | taken as | then | how sure | source |\n|---|---|---|---|---|\n");
    for Row { what, answer, sure, source } in rows {
        let (taken, then) = of(answer);
        let _ = writeln!(text, "| {what} | {taken} | {then} | {sure} | {source} |");
    }
}

#[test]
fn the_docs_say_what_is_made_of_each_answer() {
    let words = Words::built_in();
    let mut text = String::from(include_str!("answers_head.md"));
    table(&mut text, "A login, by LoginService", &logins(), |answer| of_login(answer, &words));
    table(&mut text, "A read, by SOAP", &soap_reads(), |answer| of_read(outcome::read_soap(answer, false, &words)));
    table(&mut text, "A read, by REST", &rest_reads(), |answer| of_read(outcome::read_rest(answer, true, &words)));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/answers.md");
    if std::env::var_os("WRITE_ANSWERS").is_some() {
        std::fs::write(path, &text).expect("written");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == text, "docs/answers.md has drifted; WRITE_ANSWERS=1 cargo test --lib answers writes it");
}
