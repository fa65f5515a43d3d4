use super::*;
use crate::transport::TrustFlaw;
use LoginFailure as F;

const SOAP: &str = "application/soap+xml; charset=utf-8";

fn response(fields: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><r:TokenResponse xmlns:r="http://www.ultipro.com/contracts" xmlns:l="http://www.ultipro.com/services/loginservice">{fields}</r:TokenResponse></s:Body></s:Envelope>"#
    )
}

fn fault(subcode: &str, reason: &str) -> String {
    format!(
        r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>a:{subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text>{reason}</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"#
    )
}

fn failed(message: &str) -> String {
    response(&format!("<l:Status>Failed</l:Status><l:StatusMessage>{message}</l:StatusMessage>"))
}

fn read(status: u16, content_type: &str, body: &str) -> Result<String, LoginFailure> {
    read_answer(&Answer::new(status, content_type, body.as_bytes()), &Words::built_in()).map(|session| match session {
        Session::Token(token) => token.expose().to_owned(),
        Session::Basic => panic!("LoginService gives a token"),
    })
}

#[test]
fn a_rest_answer_tells_whether_the_login_was_taken() {
    for (status, content_type, expected) in [
        (200, "application/json", Ok(())),
        (403, "application/problem+json", Ok(())),
        (401, "", Err(F::Refused(Refusal::Credentials))),
        (200, "text/html", Err(F::Unanswered(Unanswered::NotUkgPro))),
        (403, "text/html", Err(F::Undetermined(UndeterminedReason::Failed))),
        (400, "text/html", Err(F::Undetermined(UndeterminedReason::Other))),
        (500, "text/html", Err(F::Unanswered(Unanswered::ServerError))),
        (404, "", Err(F::Undetermined(UndeterminedReason::Other))),
        (302, "", Err(F::Unanswered(Unanswered::NotUkgPro))),
        (500, "", Err(F::Unanswered(Unanswered::ServerError))),
        (429, "", Err(F::Unanswered(Unanswered::RateLimited { retry_after: None }))),
    ] {
        let read = read_basic(&Answer::new(status, content_type, b"{}"), &Words::built_in()).map(|_| ());
        assert_eq!(read, expected, "{status} {content_type}");
    }
}

#[test]
fn a_token_is_found_whatever_the_order_and_the_namespace_of_the_family() {
    for body in [
        response("<l:Status>Ok</l:Status><l:Token>T-1</l:Token>"),
        response("<l:Token>T-1</l:Token><l:StatusMessage/><l:Status>Ok</l:Status>"),
        response("<r:Status>Ok</r:Status><r:Token> T-1 </r:Token>"),
        response("<r:Status>OK</r:Status><r:Token>T-1</r:Token>"),
    ] {
        assert_eq!(read(200, SOAP, &body), Ok("T-1".to_owned()));
    }
}

#[test]
fn each_failure_is_told_apart_or_said_to_be_unclear() {
    let refused = |refusal| F::Refused(refusal);
    let unclear = |unclear| F::Undetermined(unclear);
    let trouble = F::Unanswered(Unanswered::ServerError);
    let receiver = |subcode: &str, reason: &str| fault(subcode, reason).replace("s:Sender", "s:Receiver");
    let odd = |oddity| F::Unanswered(Unanswered::Unreadable(oddity));
    let html = "<html><body>Sign in</body></html>";
    let cases: &[(&str, u16, &str, String, F)] = &[
        ("user side", 200, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
        ("user side, other case", 200, SOAP, failed("USER AUTHENTICATION FAILED."), refused(Refusal::Credentials)),
        (
            "customer side",
            200,
            SOAP,
            failed("There was a problem with the authentication process"),
            refused(Refusal::CustomerApiKey),
        ),
        ("user key named", 200, SOAP, failed("Invalid User API Key"), refused(Refusal::UserApiKey)),
        ("their trouble", 200, SOAP, failed("An error has occured. Please try again."), F::Unanswered(Unanswered::ServerError)),
        ("unknown words", 200, SOAP, failed("Nein."), unclear(UndeterminedReason::Failed)),
        ("no words", 200, SOAP, response("<l:Status>Failed</l:Status>"), unclear(UndeterminedReason::Failed)),
        ("empty token", 200, SOAP, response("<l:Status>Ok</l:Status><l:Token/>"), unclear(UndeterminedReason::NoToken)),
        ("nothing in it", 200, SOAP, response(""), unclear(UndeterminedReason::Other)),
        ("unknown status", 200, SOAP, response("<l:Status>Maybe</l:Status>"), unclear(UndeterminedReason::Other)),
        (
            "someone else's token",
            200,
            SOAP,
            response("").replace("http://www.ultipro.com/", "urn:x/"),
            unclear(UndeterminedReason::Other),
        ),
        ("401 empty", 401, "", String::new(), refused(Refusal::Credentials)),
        ("401 with HTML", 401, "text/html", html.to_owned(), refused(Refusal::Credentials)),
        ("403", 403, "", String::new(), refused(Refusal::Credentials)),
        ("403 with a page", 403, "text/html", html.to_owned(), unclear(UndeterminedReason::Failed)),
        ("security fault", 500, SOAP, fault("FailedAuthentication", "x"), refused(Refusal::Credentials)),
        ("security fault as 200", 200, SOAP, fault("InvalidSecurity", "x"), refused(Refusal::Credentials)),
        ("denied in words", 400, SOAP, fault("Other", "Access is denied."), refused(Refusal::Credentials)),
        ("fault names the user key", 500, SOAP, fault("Other", "UserAccessKey is invalid"), refused(Refusal::UserApiKey)),
        ("other fault", 500, SOAP, fault("Other", "The message was not understood"), unclear(UndeterminedReason::Fault)),
        ("a fault of the receiver", 500, SOAP, receiver("Other", "The server was unable to process"), trouble),
        ("a fault of WCF's", 500, SOAP, receiver("InternalServiceFault", "x"), trouble),
        (
            "the same, bare",
            500,
            SOAP,
            receiver("InternalServiceFault", "x").replace("s:Receiver", "InternalServiceFault"),
            trouble,
        ),
        ("a refusal by the receiver", 500, SOAP, receiver("x", "Unauthorized"), refused(Refusal::Credentials)),
        ("thrown by the service", 500, SOAP, receiver("x", "User authentication failed"), refused(Refusal::Credentials)),
        ("the words in a fault", 500, SOAP, fault("x", "User authentication failed"), refused(Refusal::Credentials)),
        (
            "the key in a fault",
            400,
            SOAP,
            fault("x", "There was a problem with the authentication process"),
            refused(Refusal::CustomerApiKey),
        ),
        ("a database's words", 500, SOAP, receiver("x", "Timeout while reading table UserAccessKeys"), trouble),
        ("another's", 500, SOAP, receiver("x", "ORA-01031: insufficient privileges"), trouble),
        ("a third's", 500, SOAP, receiver("x", "EXECUTE permission was denied"), trouble),
        (
            "form",
            500,
            SOAP,
            fault("DeserializationFailed", "error reading the header ClientAccessKey"),
            unclear(UndeterminedReason::Form),
        ),
        ("a security error", 500, SOAP, fault("SecurityError", "x"), refused(Refusal::Credentials)),
        ("locked", 200, SOAP, failed("The account is locked."), refused(Refusal::Account(AccountState::Locked))),
        (
            "expired",
            500,
            SOAP,
            fault("x", "Your password has expired"),
            refused(Refusal::Account(AccountState::PasswordExpired)),
        ),
        ("a locked table", 200, SOAP, failed("database table is locked"), unclear(UndeterminedReason::Failed)),
        ("an exception", 200, SOAP, failed("AuthException - exception 17"), unclear(UndeterminedReason::Failed)),
        ("401 with a session", 401, SOAP, response("<l:Status>Maybe</l:Status>"), refused(Refusal::Credentials)),
        ("status in capitals", 200, SOAP, response("<l:Status>FAILED</l:Status>"), unclear(UndeterminedReason::Failed)),
        (
            "two states",
            200,
            SOAP,
            response("<l:Status>Ok</l:Status><l:Status>Failed</l:Status><l:Token>T</l:Token>"),
            unclear(UndeterminedReason::Other),
        ),
        (
            "a session and a fault",
            200,
            SOAP,
            response("<l:Status>Ok</l:Status><l:Token>T</l:Token>").replace("</s:Body>", "<s:Fault/></s:Body>"),
            unclear(UndeterminedReason::Other),
        ),
        ("500 without a fault", 500, "text/html", html.to_owned(), F::Unanswered(Unanswered::ServerError)),
        ("503 with a fault", 503, SOAP, fault("x", "y"), F::Unanswered(Unanswered::Unavailable { retry_after: None })),
        ("502", 502, "", String::new(), F::Unanswered(Unanswered::Unavailable { retry_after: None })),
        ("refused with 500", 500, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
        ("refused with 404", 404, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
        ("refused with 503", 503, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
        (
            "a session with 206",
            206,
            SOAP,
            response("<l:Status>Ok</l:Status><l:Token>T</l:Token>"),
            unclear(UndeterminedReason::Other),
        ),
        (
            "a session with 500",
            500,
            SOAP,
            response("<l:Status>Ok</l:Status><l:Token>T</l:Token>"),
            unclear(UndeterminedReason::Other),
        ),
        ("405", 405, "", String::new(), F::Unanswered(Unanswered::ServerError)),
        ("429", 429, "", String::new(), F::Unanswered(Unanswered::RateLimited { retry_after: None })),
        ("redirect", 302, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
        ("HTML", 200, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
        ("JSON", 200, "application/json", "{}".to_owned(), odd(UnreadableReason::NotSoap)),
        ("nothing", 200, SOAP, String::new(), odd(UnreadableReason::Empty)),
        (
            "MTOM",
            200,
            "multipart/related; type=\"application/xop+xml\"",
            "--b\r\n\r\n<s/>".to_owned(),
            odd(UnreadableReason::Multipart),
        ),
        (
            "a document type",
            200,
            SOAP,
            format!("<!DOCTYPE x []>{}", failed("User authentication failed")),
            odd(UnreadableReason::DocumentType),
        ),
        ("truncated", 200, SOAP, failed("User authentication failed")[..200].to_owned(), odd(UnreadableReason::Malformed)),
        ("404 with a page", 404, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
        ("404", 404, "", String::new(), odd(UnreadableReason::NotFound)),
        ("415 without a body", 415, "", String::new(), unclear(UndeterminedReason::Form)),
    ];
    for (what, status, content_type, body, expected) in cases {
        assert_eq!(read(*status, content_type, body).expect_err(what), *expected, "{what}");
    }
}

#[test]
fn what_may_be_a_refusal_is_never_sent_again_by_itself() {
    for refusal in [Refusal::Credentials, Refusal::CustomerApiKey, Refusal::UserApiKey] {
        assert!(F::Refused(refusal).forbids_automatic_retry());
    }
    assert!(F::Undetermined(UndeterminedReason::Failed).forbids_automatic_retry());
    assert!(!F::Undetermined(UndeterminedReason::Fault).forbids_automatic_retry());
    assert!(!F::Unanswered(Unanswered::ServerError).forbids_automatic_retry());
}

#[test]
fn an_encoding_that_is_not_utf_8_is_said() {
    let utf_16: Vec<u8> = failed("User authentication failed").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let answer = Answer::new(200, "application/soap+xml; charset=utf-16", &utf_16);
    // Its zero bytes are valid UTF-8, but not XML.
    assert_eq!(
        read_answer(&answer, &Words::built_in()).err(),
        Some(F::Unanswered(Unanswered::Unreadable(UnreadableReason::Encoding)))
    );
    let latin = failed("M\u{fc}ller").replace('\u{fc}', "?").into_bytes();
    let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == b'?' { 0xfc } else { byte }).collect();
    let answer = Answer::new(200, "text/xml; charset=iso-8859-1", &latin);
    assert_eq!(
        read_answer(&answer, &Words::built_in()).err(),
        Some(F::Unanswered(Unanswered::Unreadable(UnreadableReason::Encoding)))
    );
}

#[test]
fn every_answer_is_a_success_a_refusal_not_judged_or_an_attempt() {
    let unclear = |failure: F| failure.is_unclear();
    for failure in [UndeterminedReason::NoToken, UndeterminedReason::Fault, UndeterminedReason::Form, UndeterminedReason::Other]
    {
        assert!(unclear(F::Undetermined(failure)));
    }
    assert!(
        unclear(F::Unanswered(Unanswered::ServerError))
            && unclear(F::Unanswered(Unanswered::Unreadable(UnreadableReason::Empty)))
    );
    for unanswered in [
        Unanswered::HostNotFound,
        Unanswered::ConnectRefused,
        Unanswered::ConnectTimeout,
        Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing),
        Unanswered::Unavailable { retry_after: None },
        Unanswered::NotUkgPro,
        Unanswered::RateLimited { retry_after: None },
    ] {
        assert!(!unclear(F::Unanswered(unanswered)), "{unanswered:?} costs nothing");
    }
    assert!(
        !unclear(F::Undetermined(UndeterminedReason::Failed)) && !unclear(F::Refused(Refusal::Credentials)),
        "they cost more"
    );
}
