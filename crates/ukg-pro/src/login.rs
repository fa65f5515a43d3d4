//! Interprets an answer of LoginService. Pure.
//!
//! A wrong user name, password or user API key and a locked or inactive account look alike on the wire, and here unless the text
//! names the key or state. UKG Pro's texts are only probable. So a refusal in unknown words is neither a known refusal nor
//! trouble on their side: it gives no verdict, but still prevents a second login.

use crate::fault::About;
use crate::outcome::is_rest_denial;
use crate::sensitive::Sensitive;
use crate::soap::read::{self, Element, Fault};
use crate::transport::{Answer, Oddity, Unanswered};
use crate::unreadable::unreadable;
use crate::words::{AccountState, Text, Words};

/// A successful login.
pub enum Session {
    /// LoginService accepted it and returned the `UltiProToken` of the data services. Its lifetime is unknown, so it serves one
    /// check and is dropped.
    Token(Sensitive),
    /// A REST resource accepted the basic authentication. Used without a user API key for LoginService.
    Basic,
}

/// Why a login gave no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LoginFailure {
    /// UKG Pro refused the credentials.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The answer shows neither a refusal nor a success.
    #[error("it cannot be told: {0}")]
    Undetermined(Unclear),
    /// No usable answer came.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
}

/// The part of the credentials that was refused, as far as UKG Pro says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// User name, password, user API key or the account's state. UKG Pro does not say which.
    #[error("user name, password, User API key or account")]
    Credentials,
    /// The customer API key, or the right key at the wrong data centre.
    #[error("Customer API key or data centre")]
    CustomerApiKey,
    /// The user API key. The answer names it.
    #[error("User API key")]
    UserApiKey,
    /// The account's state. The answer names it.
    #[error(transparent)]
    Account(AccountState),
}

/// What is unclear about an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// `Failed` in unknown words, or a 403 as a web page: most likely a refusal.
    #[error("most likely refused")]
    Failed,
    /// `Ok` without a token.
    #[error("it says Ok and has no token")]
    NoToken,
    /// A fault that names no refusal.
    #[error("a SOAP fault that speaks of no refusal")]
    Fault,
    /// The form of the request is refused, which implies that no credentials were checked.
    #[error(
        "the form of the request is refused, so this is not LoginService as it is known, or a proxy has changed the request"
    )]
    Form,
    /// Another status or another message.
    #[error("it is none of the answers that are known")]
    Other,
}

impl LoginFailure {
    /// Whether an answer came that may or may not be a refusal. It counts as an attempt.
    pub fn is_unclear(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Undetermined(Unclear::Failed) => false,
            Self::Undetermined(Unclear::NoToken | Unclear::Fault | Unclear::Form | Unclear::Other) => true,
            Self::Unanswered(unanswered) => match unanswered {
                Unanswered::ServerError | Unanswered::Unreadable(_) => true,
                // Not sent.
                Unanswered::HostNotFound
                | Unanswered::AddressNotAllowed
                | Unanswered::ConnectTimeout
                | Unanswered::ConnectRefused
                | Unanswered::ProxyFailed
                | Unanswered::TlsUntrusted(_)
                | Unanswered::TlsFailed(_) => false,
                // Answered by something in front of LoginService.
                Unanswered::RateLimited { .. } | Unanswered::Unavailable { .. } | Unanswered::NotUkgPro => false,
                // No answer came. The login ledger knows what may have become of the request.
                Unanswered::AnswerTimeout | Unanswered::ConnectionLost => false,
            },
        }
    }

    /// Whether the same values must not be sent again automatically.
    pub fn forbids_automatic_retry(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Undetermined(Unclear::Failed))
    }
}

/// Interprets the answer to `Authenticate`.
pub fn read_answer(answer: &Answer, words: &Words) -> Result<Session, LoginFailure> {
    let envelope = read::envelope(&answer.body);
    if answer.status == 401 {
        // A 401 is always a refusal. The body may name what was refused.
        let fault = envelope.as_ref().ok().and_then(read::fault).map(|fault| fault.reason);
        let message = envelope.as_ref().ok().and_then(token_response).and_then(|response| response.child_text("StatusMessage"));
        let said = fault.as_deref().or(message).and_then(|text| refusal(&Text::of(text), words));
        return Err(LoginFailure::Refused(said.unwrap_or(Refusal::Credentials)));
    }
    if envelope.as_ref().is_ok_and(read::is_ambiguous) {
        return Err(LoginFailure::Undetermined(Unclear::Other));
    }
    // Neither the status nor the envelope alone decides: a `TokenResponse` is read whatever the status.
    if let Some(response) = envelope.as_ref().ok().and_then(token_response) {
        return match (answer.status, read_response(response, words)) {
            (200, read) => read,
            (300..=399, Ok(_)) => Err(Unanswered::NotUkgPro.into()),
            // A session with an error status is a contradiction.
            (_, Ok(_)) => Err(LoginFailure::Undetermined(Unclear::Other)),
            (_, Err(failure)) => Err(failure),
        };
    }
    match answer.status {
        // Perhaps a page of a firewall or a gateway: no verdict, but no second attempt either.
        403 if answer.is_html() && answer.retry_after.is_none() => Err(LoginFailure::Undetermined(Unclear::Failed)),
        403 => {
            let said = envelope.ok().as_ref().and_then(read::fault).and_then(|fault| refusal(&Text::of(&fault.reason), words));
            match (said, answer.retry_after) {
                // The quota of a gateway.
                (None, Some(_)) => Err(Unanswered::RateLimited { retry_after: answer.retry_after }.into()),
                (said, _) => Err(LoginFailure::Refused(said.unwrap_or(Refusal::Credentials))),
            }
        }
        200..=299 => {
            match envelope {
                Ok(envelope) => Err(read::fault(&envelope)
                    .map_or(LoginFailure::Undetermined(Unclear::Other), |fault| read_fault(&fault, words))),
                Err(error) => Err(unreadable(answer, error).into()),
            }
        }
        status => {
            if let Some(unanswered) = Unanswered::from_status(answer) {
                // A fault says more than its status, which is 500 for all faults of WCF.
                return match envelope.ok().as_ref().and_then(read::fault) {
                    Some(fault) if status == 500 => Err(read_fault(&fault, words)),
                    _ => Err(unanswered.into()),
                };
            }
            match envelope {
                Ok(envelope) => {
                    Err(read::fault(&envelope).map_or(LoginFailure::Undetermined(Unclear::Other), |f| read_fault(&f, words)))
                }
                // Every UKG Pro web-service host has LoginService, whatever else it refuses.
                Err(_) if answer.is_html() => Err(Unanswered::NotUkgPro.into()),
                Err(_) if matches!(status, 404 | 410) => Err(Unanswered::Unreadable(Oddity::NotFound).into()),
                // The host refuses the media type: it wants SOAP 1.1 or MTOM.
                Err(_) if status == 415 => Err(LoginFailure::Undetermined(Unclear::Form)),
                Err(_) => Err(LoginFailure::Undetermined(Unclear::Other)),
            }
        }
    }
}

/// Interprets the answer of a REST resource, for the login alone.
pub fn read_basic(answer: &Answer, words: &Words) -> Result<Session, LoginFailure> {
    match answer.status {
        401 => Err(LoginFailure::Refused(Refusal::Credentials)),
        200..=299 | 404 if answer.is_html() => Err(Unanswered::NotUkgPro.into()),
        200..=299 => Ok(Session::Basic),
        // Perhaps a page of a firewall or a gateway.
        403 if answer.is_html() => Err(LoginFailure::Undetermined(Unclear::Failed)),
        403 if answer.retry_after.is_some() => Err(Unanswered::RateLimited { retry_after: answer.retry_after }.into()),
        // It is about a permission, so the login was accepted.
        403 if is_rest_denial(answer, words) => Ok(Session::Basic),
        _ => Err(Unanswered::from_status(answer).map_or(LoginFailure::Undetermined(Unclear::Other), LoginFailure::Unanswered)),
    }
}

/// Returns the `TokenResponse` of an envelope, if it holds one.
fn token_response(envelope: &Element) -> Option<&Element> {
    read::body(envelope).filter(|e| e.name == "TokenResponse" && e.is_ukg())
}

fn read_response(response: &Element, words: &Words) -> Result<Session, LoginFailure> {
    if response.children.iter().filter(|child| child.name == "Status").count() > 1 {
        return Err(LoginFailure::Undetermined(Unclear::Other));
    }
    match response.child_text("Status").map(str::to_ascii_lowercase).as_deref() {
        Some("ok") => match response.child_text("Token") {
            Some(token) => Ok(Session::Token(Sensitive::new(token.to_owned()))),
            None => Err(LoginFailure::Undetermined(Unclear::NoToken)),
        },
        Some("failed") => Err(read_message(response.child_text("StatusMessage").unwrap_or_default(), words)),
        _ => Err(LoginFailure::Undetermined(Unclear::Other)),
    }
}

fn read_message(message: &str, words: &Words) -> LoginFailure {
    let text = Text::of(message);
    match refusal(&text, words) {
        Some(refusal) => LoginFailure::Refused(refusal),
        None if words.says_general_error(&text) => LoginFailure::Unanswered(Unanswered::ServerError),
        None => LoginFailure::Undetermined(Unclear::Failed),
    }
}

fn read_fault(fault: &Fault, words: &Words) -> LoginFailure {
    let text = Text::of(&fault.reason);
    let said = || refusal(&text, words).map(LoginFailure::Refused);
    match fault.about() {
        About::Form => LoginFailure::Undetermined(Unclear::Form),
        About::Identity => said().unwrap_or(LoginFailure::Refused(Refusal::Credentials)),
        About::Receiver if words.says_trouble(&text) => Unanswered::ServerError.into(),
        About::Receiver => said().unwrap_or(Unanswered::ServerError.into()),
        About::Sender => said().unwrap_or(LoginFailure::Undetermined(Unclear::Fault)),
    }
}

/// Returns what a text says was refused.
fn refusal(text: &Text, words: &Words) -> Option<Refusal> {
    if let Some(state) = words.account_state(text) {
        Some(Refusal::Account(state))
    } else if words.names_user_key(text) {
        Some(Refusal::UserApiKey)
    } else if words.names_customer_key(text) {
        Some(Refusal::CustomerApiKey)
    } else {
        (words.says_login_refused(text) || words.says_denied(text)).then_some(Refusal::Credentials)
    }
}

#[cfg(test)]
mod tests {
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
            (403, "text/html", Err(F::Undetermined(Unclear::Failed))),
            (400, "text/html", Err(F::Undetermined(Unclear::Other))),
            (500, "text/html", Err(F::Unanswered(Unanswered::ServerError))),
            (404, "", Err(F::Undetermined(Unclear::Other))),
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
            (
                "their trouble",
                200,
                SOAP,
                failed("An error has occured. Please try again."),
                F::Unanswered(Unanswered::ServerError),
            ),
            ("unknown words", 200, SOAP, failed("Nein."), unclear(Unclear::Failed)),
            ("no words", 200, SOAP, response("<l:Status>Failed</l:Status>"), unclear(Unclear::Failed)),
            ("empty token", 200, SOAP, response("<l:Status>Ok</l:Status><l:Token/>"), unclear(Unclear::NoToken)),
            ("nothing in it", 200, SOAP, response(""), unclear(Unclear::Other)),
            ("unknown status", 200, SOAP, response("<l:Status>Maybe</l:Status>"), unclear(Unclear::Other)),
            (
                "someone else's token",
                200,
                SOAP,
                response("").replace("http://www.ultipro.com/", "urn:x/"),
                unclear(Unclear::Other),
            ),
            ("401 empty", 401, "", String::new(), refused(Refusal::Credentials)),
            ("401 with HTML", 401, "text/html", html.to_owned(), refused(Refusal::Credentials)),
            ("403", 403, "", String::new(), refused(Refusal::Credentials)),
            ("403 with a page", 403, "text/html", html.to_owned(), unclear(Unclear::Failed)),
            ("security fault", 500, SOAP, fault("FailedAuthentication", "x"), refused(Refusal::Credentials)),
            ("security fault as 200", 200, SOAP, fault("InvalidSecurity", "x"), refused(Refusal::Credentials)),
            ("denied in words", 400, SOAP, fault("Other", "Access is denied."), refused(Refusal::Credentials)),
            ("fault names the user key", 500, SOAP, fault("Other", "UserAccessKey is invalid"), refused(Refusal::UserApiKey)),
            ("other fault", 500, SOAP, fault("Other", "The message was not understood"), unclear(Unclear::Fault)),
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
                unclear(Unclear::Form),
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
            ("a locked table", 200, SOAP, failed("database table is locked"), unclear(Unclear::Failed)),
            ("an exception", 200, SOAP, failed("AuthException - exception 17"), unclear(Unclear::Failed)),
            ("401 with a session", 401, SOAP, response("<l:Status>Maybe</l:Status>"), refused(Refusal::Credentials)),
            ("status in capitals", 200, SOAP, response("<l:Status>FAILED</l:Status>"), unclear(Unclear::Failed)),
            (
                "two states",
                200,
                SOAP,
                response("<l:Status>Ok</l:Status><l:Status>Failed</l:Status><l:Token>T</l:Token>"),
                unclear(Unclear::Other),
            ),
            (
                "a session and a fault",
                200,
                SOAP,
                response("<l:Status>Ok</l:Status><l:Token>T</l:Token>").replace("</s:Body>", "<s:Fault/></s:Body>"),
                unclear(Unclear::Other),
            ),
            ("500 without a fault", 500, "text/html", html.to_owned(), F::Unanswered(Unanswered::ServerError)),
            ("503 with a fault", 503, SOAP, fault("x", "y"), F::Unanswered(Unanswered::Unavailable { retry_after: None })),
            ("502", 502, "", String::new(), F::Unanswered(Unanswered::Unavailable { retry_after: None })),
            ("refused with 500", 500, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
            ("refused with 404", 404, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
            ("refused with 503", 503, SOAP, failed("User authentication failed"), refused(Refusal::Credentials)),
            ("a session with 206", 206, SOAP, response("<l:Status>Ok</l:Status><l:Token>T</l:Token>"), unclear(Unclear::Other)),
            ("a session with 500", 500, SOAP, response("<l:Status>Ok</l:Status><l:Token>T</l:Token>"), unclear(Unclear::Other)),
            ("405", 405, "", String::new(), F::Unanswered(Unanswered::ServerError)),
            ("429", 429, "", String::new(), F::Unanswered(Unanswered::RateLimited { retry_after: None })),
            ("redirect", 302, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
            ("HTML", 200, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
            ("JSON", 200, "application/json", "{}".to_owned(), odd(Oddity::NotSoap)),
            ("nothing", 200, SOAP, String::new(), odd(Oddity::Empty)),
            (
                "MTOM",
                200,
                "multipart/related; type=\"application/xop+xml\"",
                "--b\r\n\r\n<s/>".to_owned(),
                odd(Oddity::Multipart),
            ),
            (
                "a document type",
                200,
                SOAP,
                format!("<!DOCTYPE x []>{}", failed("User authentication failed")),
                odd(Oddity::DocumentType),
            ),
            ("truncated", 200, SOAP, failed("User authentication failed")[..200].to_owned(), odd(Oddity::Malformed)),
            ("404 with a page", 404, "text/html", html.to_owned(), F::Unanswered(Unanswered::NotUkgPro)),
            ("404", 404, "", String::new(), odd(Oddity::NotFound)),
            ("415 without a body", 415, "", String::new(), unclear(Unclear::Form)),
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
        assert!(F::Undetermined(Unclear::Failed).forbids_automatic_retry());
        assert!(!F::Undetermined(Unclear::Fault).forbids_automatic_retry());
        assert!(!F::Unanswered(Unanswered::ServerError).forbids_automatic_retry());
    }

    #[test]
    fn an_encoding_that_is_not_utf_8_is_said() {
        let utf_16: Vec<u8> = failed("User authentication failed").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let answer = Answer::new(200, "application/soap+xml; charset=utf-16", &utf_16);
        // Its zero bytes are valid UTF-8, but not XML.
        assert_eq!(
            read_answer(&answer, &Words::built_in()).err(),
            Some(F::Unanswered(Unanswered::Unreadable(Oddity::Encoding)))
        );
        let latin = failed("M\u{fc}ller").replace('\u{fc}', "?").into_bytes();
        let latin: Vec<u8> = latin.into_iter().map(|byte| if byte == b'?' { 0xfc } else { byte }).collect();
        let answer = Answer::new(200, "text/xml; charset=iso-8859-1", &latin);
        assert_eq!(
            read_answer(&answer, &Words::built_in()).err(),
            Some(F::Unanswered(Unanswered::Unreadable(Oddity::Encoding)))
        );
    }

    #[test]
    fn every_answer_is_a_success_a_refusal_not_judged_or_an_attempt() {
        let unclear = |failure: F| failure.is_unclear();
        for failure in [Unclear::NoToken, Unclear::Fault, Unclear::Form, Unclear::Other] {
            assert!(unclear(F::Undetermined(failure)));
        }
        assert!(
            unclear(F::Unanswered(Unanswered::ServerError)) && unclear(F::Unanswered(Unanswered::Unreadable(Oddity::Empty)))
        );
        for unanswered in [
            Unanswered::HostNotFound,
            Unanswered::ConnectRefused,
            Unanswered::ConnectTimeout,
            Unanswered::TlsUntrusted(TrustFlaw::Alone),
            Unanswered::Unavailable { retry_after: None },
            Unanswered::NotUkgPro,
            Unanswered::RateLimited { retry_after: None },
        ] {
            assert!(!unclear(F::Unanswered(unanswered)), "{unanswered:?} costs nothing");
        }
        assert!(!unclear(F::Undetermined(Unclear::Failed)) && !unclear(F::Refused(Refusal::Credentials)), "they cost more");
    }
}
