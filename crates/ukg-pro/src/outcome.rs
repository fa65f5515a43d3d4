//! Interprets an answer to a probe: granted, denied, cannot tell, or no usable answer. Pure.
//!
//! How UKG Pro shows a missing permission is recorded nowhere. So a denial needs a sign of one (a status, a security fault, or
//! permission words), and a grant needs a success. Everything else is "cannot tell".

use std::collections::HashMap;
use std::fmt;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::fault::FaultCategory;
use crate::soap::read::{self, Element, Fault};
use crate::transport::{Answer, Unanswered};
use crate::unreadable::unreadable;
use crate::words::{Text, Words};

/// The result of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The read worked.
    Granted,
    /// It worked, and the answer contains people, whom the filter should have excluded.
    GrantedUnfiltered,
    /// The read was refused because the permission is missing.
    Denied,
    /// The token was refused or has ended. If another login gives the same, it is a denial, provided that `denies` is set.
    TokenRefused {
        /// Whether it came as a denial may come: a 401 or a WS-Security fault, not words about the token.
        denies: bool,
    },
    /// REST refused the login that LoginService accepted. It is a denial, and a reason to send no further REST read.
    LoginRefused,
    /// The answer shows neither a grant nor a denial.
    Undetermined,
    /// Nothing was sent: an earlier read with these values has no known end, and may have been refused.
    Held,
    /// No usable answer came.
    Error(Unanswered),
}

/// The interpretation, as in docs/answers.md.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Granted => "granted",
            Self::GrantedUnfiltered => "granted, but the filter is ignored",
            Self::Denied => "denied",
            Self::TokenRefused { denies: true } => "the token is refused",
            Self::TokenRefused { denies: false } => "the session has ended",
            Self::LoginRefused => "REST refuses the login",
            Self::Undetermined => "undetermined",
            Self::Held => "not sent",
            Self::Error(unanswered) => return unanswered.fmt(f),
        })
    }
}

impl Outcome {
    /// Whether the read worked.
    pub fn is_granted(self) -> bool {
        matches!(self, Self::Granted | Self::GrantedUnfiltered)
    }
}

/// Interprets the answer of a SOAP data service. If the request's form is disputed, a fault may be about the form.
pub fn read_soap(answer: &Answer, disputed: bool, words: &Words) -> Outcome {
    let envelope = read::envelope(&answer.body);
    let fault = envelope.as_ref().ok().and_then(read::fault);
    match (answer.status, fault) {
        (403, _) if answer.retry_after.is_some() => Outcome::Error(Unanswered::RateLimited { retry_after: answer.retry_after }),
        (401, _) => Outcome::TokenRefused { denies: true },
        // A firewall's page says nothing about a permission.
        (403, _) if answer.is_html() => Outcome::Undetermined,
        (403, _) => Outcome::Denied,
        (_, Some(fault)) => read_fault(answer, &fault, disputed, words),
        (200, None) => match envelope {
            Ok(envelope) if read::is_ambiguous(&envelope) => Outcome::Undetermined,
            Ok(envelope) => read_result(&envelope, words),
            Err(error) => Outcome::Error(unreadable(answer, error)),
        },
        (201..=299, None) => envelope.map_or_else(|error| Outcome::Error(unreadable(answer, error)), |_| Outcome::Undetermined),
        _ => Unanswered::from_status(answer).map_or(Outcome::Undetermined, Outcome::Error),
    }
}

fn read_fault(answer: &Answer, fault: &Fault, disputed: bool, words: &Words) -> Outcome {
    let text = Text::of(&fault.reason);
    let (category, is_rest_denial) = (fault.category(), words.says_denied(&text));
    if answer.status != 500
        && let Some(unanswered) = Unanswered::from_status(answer)
    {
        return Outcome::Error(unanswered);
    }
    match category {
        FaultCategory::Form => Outcome::Undetermined,
        _ if words.says_session_ended(&text) => Outcome::TokenRefused { denies: false },
        FaultCategory::Receiver if words.says_trouble(&text) || !is_rest_denial => Outcome::Error(Unanswered::ServerError),
        _ if is_rest_denial => Outcome::Denied,
        FaultCategory::Identity if !disputed => Outcome::TokenRefused { denies: true },
        FaultCategory::Identity | FaultCategory::Receiver | FaultCategory::Sender => Outcome::Undetermined,
    }
}

/// Parses `true`, `1`, `false` and `0`, with blanks around, as XML Schema and hand-written .NET write them.
fn boolean(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn read_result(envelope: &Element, words: &Words) -> Outcome {
    let result = read::body(envelope).and_then(|body| body.find("OperationResult")).filter(|result| result.is_ukg());
    let Some(result) = result else {
        return Outcome::Undetermined;
    };
    // A flag that is not a boolean, or occurs twice, decides nothing.
    let flag = |name: &str| {
        let mut all = result.children.iter().filter(|child| child.name == name);
        match (all.next().map(|flag| flag.text.as_str()), all.next()) {
            (None, _) => Ok(None),
            (Some(text), None) => boolean(text).map(Some).ok_or(()),
            (Some(_), Some(_)) => Err(()),
        }
    };
    let (Ok(success), Ok(errors)) = (flag("Success"), flag("HasErrors")) else { return Outcome::Undetermined };
    if success == Some(true) && errors != Some(true) {
        return if shows_somebody(envelope) { Outcome::GrantedUnfiltered } else { Outcome::Granted };
    }
    let messages: Vec<_> = result.child("Messages").into_iter().flat_map(|messages| &messages.children).collect();
    let said = |has: &dyn Fn(&Text) -> bool, is_code: &dyn Fn(&str) -> bool| {
        messages.iter().any(|message| {
            message.child_text("Message").is_some_and(|text| has(&Text::of(text)))
                || message.child_text("Code").is_some_and(is_code)
        })
    };
    let failed = success == Some(false) || errors == Some(true);
    if !failed {
        Outcome::Undetermined
    } else if said(&|text| words.says_denied(text), &|code| words.deny_by_code(code)) {
        Outcome::Denied
    } else if said(&|text| words.says_session_ended(text), &|_| false) {
        Outcome::TokenRefused { denies: false }
    } else if success != Some(true) && !messages.is_empty() && messages.iter().all(|message| finds_nobody(message, words)) {
        // The query ran, and the filter matches nobody.
        Outcome::Granted
    } else {
        Outcome::Undetermined
    }
}

/// Whether the answer to a query that should match nobody shows somebody: non-empty results, or a positive count.
fn shows_somebody(envelope: &Element) -> bool {
    fn says_something(element: &Element) -> bool {
        !element.text.trim().is_empty() || element.children.iter().any(says_something)
    }
    let total = envelope.find("TotalItems").and_then(|total| total.text.trim().parse::<u64>().ok());
    total.is_some_and(|total| total > 0) || envelope.find("Results").is_some_and(says_something)
}

/// Whether a message says only that the query ran and found nobody.
fn finds_nobody(message: &Element, words: &Words) -> bool {
    let code = message.child_text("Code").is_some_and(|code| words.find_nobody_by_code(code));
    code || message.child_text("Message").is_some_and(|text| words.says_nobody_found(&Text::of(text)))
}

/// Interprets the answer of a REST resource after a successful login. For `people`, the request was for a page past the end,
/// which must be empty.
pub fn read_rest(answer: &Answer, people: bool, words: &Words) -> Outcome {
    match answer.status {
        200..=299 if answer.is_html() => Outcome::Error(Unanswered::NotUkgPro),
        200 => match serde_json::from_slice::<IgnoredAny>(&answer.body) {
            Ok(_) if people && holds_rows(&answer.body) => Outcome::GrantedUnfiltered,
            Ok(_) => Outcome::Granted,
            Err(_) => Outcome::Undetermined,
        },
        // The quota of a gateway.
        403 if answer.retry_after.is_some() => Outcome::Error(Unanswered::RateLimited { retry_after: answer.retry_after }),
        401 => Outcome::LoginRefused,
        403 if is_rest_denial(answer, words) => Outcome::Denied,
        // 404 can mean "no rows" or "no such resource": neither a denial nor proof of a grant.
        _ => Unanswered::from_status(answer).map_or(Outcome::Undetermined, Outcome::Error),
    }
}

/// Whether JSON contains a row: a non-empty list, at the root or as a field of the root object. Only field names are copied.
fn holds_rows(json: &[u8]) -> bool {
    let is_list = |json: &[u8]| serde_json::from_slice::<Vec<IgnoredAny>>(json).is_ok_and(|rows| !rows.is_empty());
    let fields = || serde_json::from_slice::<HashMap<String, &RawValue>>(json).unwrap_or_default();
    is_list(json) || fields().values().any(|field| is_list(field.get().as_bytes()))
}

/// Whether a 403 of REST is about a permission: it says so, or says nothing. A page or another text is usually a firewall's.
pub(super) fn is_rest_denial(answer: &Answer, words: &Words) -> bool {
    if answer.is_html() {
        return false;
    }
    match std::str::from_utf8(&answer.body) {
        Ok(text) => !text.contains(char::is_alphabetic) || words.says_denied(&Text::of(text)),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::UnreadableReason;
    use Outcome::*;

    const SOAP: &str = "application/soap+xml; charset=utf-8";

    fn result(fields: &str) -> String {
        format!(
            r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><FindPeopleResponse xmlns="http://www.ultipro.com/services/employeeperson"><FindPeopleResult xmlns:b="http://www.ultipro.com/contracts"><b:OperationResult>{fields}</b:OperationResult></FindPeopleResult></FindPeopleResponse></s:Body></s:Envelope>"#
        )
    }

    fn messages(text: &str) -> String {
        format!("<b:Messages><b:OperationMessage><b:Message>{text}</b:Message></b:OperationMessage></b:Messages>")
    }

    fn fault(subcode: &str, reason: &str) -> String {
        format!(
            r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>a:{subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text>{reason}</s:Text></s:Reason></s:Fault></s:Body></s:Envelope>"#
        )
    }

    #[test]
    fn a_soap_answer_gives_one_of_four_outcomes() {
        let ok = "<b:HasErrors>false</b:HasErrors><b:Success>true</b:Success>";
        let receiver = |subcode: &str, reason: &str| fault(subcode, reason).replace("s:Sender", "s:Receiver");
        let errors = "<b:HasErrors>true</b:HasErrors><b:Success>false</b:Success>";
        let cases: &[(&str, u16, String, Outcome)] = &[
            ("success", 200, result(ok), Granted),
            ("success in other order", 200, result("<b:Success>True</b:Success><b:HasErrors>False</b:HasErrors>"), Granted),
            ("success without HasErrors", 200, result("<b:Success>true</b:Success>"), Granted),
            ("contradiction", 200, result("<b:Success>true</b:Success><b:HasErrors>true</b:HasErrors>"), Undetermined),
            ("nothing said", 200, result(""), Undetermined),
            ("denied in words", 200, result(&format!("{errors}{}", messages("You do not have permission"))), Denied),
            (
                "denied, HasErrors alone",
                200,
                result(&format!("<b:HasErrors>true</b:HasErrors>{}", messages("Access denied"))),
                Denied,
            ),
            ("another error", 200, result(&format!("{errors}{}", messages("Invalid page number"))), Undetermined),
            ("words in a success", 200, result(&format!("{ok}{}", messages("permission checked"))), Granted),
            ("an envelope without a result", 200, result(ok).replace("OperationResult", "Other"), Undetermined),
            ("security fault", 500, fault("FailedAuthentication", "x"), TokenRefused { denies: true }),
            ("security fault as 400", 400, fault("InvalidSecurity", "x"), TokenRefused { denies: true }),
            ("a security fault that says so", 500, fault("SecurityError", "Access is denied."), Denied),
            (
                "an ended session",
                500,
                fault("FailedAuthentication", "The token is invalid or has expired"),
                TokenRefused { denies: false },
            ),
            ("a fault of the receiver", 500, receiver("x", "oops"), Error(Unanswered::ServerError)),
            (
                "a fault of WCF's",
                500,
                receiver("InternalServiceFault", "The server was unable"),
                Error(Unanswered::ServerError),
            ),
            ("a denial by the receiver", 500, receiver("x", "Unauthorized"), Denied),
            (
                "a database's denial",
                500,
                receiver("x", "EXECUTE permission was denied on the object"),
                Error(Unanswered::ServerError),
            ),
            ("a fault of form in words of a denial", 500, fault("ActionNotSupported", "not allowed"), Undetermined),
            ("success as a number", 200, result("<b:HasErrors> 0 </b:HasErrors><b:Success>1</b:Success>"), Granted),
            ("errors as a number", 200, result("<b:HasErrors>1</b:HasErrors><b:Success>true</b:Success>"), Undetermined),
            ("no boolean", 200, result("<b:HasErrors>maybe</b:HasErrors><b:Success>true</b:Success>"), Undetermined),
            ("twice", 200, result("<b:Success>true</b:Success><b:Success>false</b:Success>"), Undetermined),
            ("206", 206, result(ok), Undetermined),
            ("two messages", 200, result(ok).replace("</s:Body>", "<x/></s:Body>"), Undetermined),
            ("nobody, as an error", 200, result(&format!("{errors}{}", messages("No employees were found"))), Granted),
            (
                "something else that is not found",
                200,
                result(&format!("{errors}{}", messages("Service not found"))),
                Undetermined,
            ),
            (
                "denied in other words",
                200,
                result(&format!("{errors}{}", messages("User does not have access to this service"))),
                Denied,
            ),
            ("not denied", 200, result(&format!("{errors}{}", messages("access granted, no page"))), Undetermined),
            ("fault in permission words", 500, fault("Other", "Not authorized to use this service"), Denied),
            ("another fault", 500, fault("DeserializationFailed", "bad form"), Undetermined),
            ("fault behind 503", 503, fault("x", "y"), Error(Unanswered::Unavailable { retry_after: None })),
            ("401", 401, String::new(), TokenRefused { denies: true }),
            ("403", 403, String::new(), Denied),
            ("404", 404, String::new(), Undetermined),
            ("405", 405, String::new(), Error(Unanswered::ServerError)),
            ("429", 429, String::new(), Error(Unanswered::RateLimited { retry_after: None })),
            ("500 without a fault", 500, "oops".to_owned(), Error(Unanswered::ServerError)),
            ("redirect", 302, String::new(), Error(Unanswered::NotUkgPro)),
            ("not XML", 200, "<html><br></html>".to_owned(), Error(Unanswered::Unreadable(UnreadableReason::Malformed))),
        ];
        for (what, status, body, expected) in cases {
            assert_eq!(read_soap(&Answer::new(*status, SOAP, body.as_bytes()), false, &Words::built_in()), *expected, "{what}");
        }
    }

    #[test]
    fn a_fault_to_a_disputed_request_is_a_denial_only_in_permission_words() {
        let read = |body: String| read_soap(&Answer::new(500, SOAP, body.as_bytes()), true, &Words::built_in());
        assert_eq!(read(fault("FailedAuthentication", "x")), Undetermined);
        assert_eq!(read(fault("FailedAuthentication", "Access is denied.")), Denied);
    }

    #[test]
    fn a_rest_answer_gives_one_of_four_outcomes() {
        let json = "application/json";
        let problem = "application/problem+json";
        for (what, status, content_type, body, expected) in [
            ("rows", 200, json, "[{}]", GrantedUnfiltered),
            ("rows in a field", 200, json, r#"{"total": 1, "content": [{"a": []}]}"#, GrantedUnfiltered),
            ("a number that no machine has", 200, json, r#"{"total": 1e999}"#, Granted),
            ("no rows in a field", 200, json, r#"{"total": 0, "page": {"rows": [1]}, "content": [], "next": null}"#, Granted),
            ("no rows", 200, json, "[]", Granted),
            ("not JSON", 200, json, "oops", Undetermined),
            ("empty", 200, json, "", Undetermined),
            ("HTML", 200, "text/html; charset=utf-8", "<html>", Error(Unanswered::NotUkgPro)),
            ("401", 401, problem, "{}", LoginRefused),
            ("403", 403, "", "", Denied),
            ("403 without a word", 403, problem, "{}", Denied),
            ("403 that says so", 403, problem, "{\"title\": \"Forbidden\"}", Denied),
            ("403 of a firewall", 403, "text/html", "<html>Your address is not allowed", Undetermined),
            ("403 about something else", 403, "text/plain", "Your address was logged", Undetermined),
            ("404", 404, problem, "{}", Undetermined),
            ("400", 400, problem, "{}", Undetermined),
            ("405", 405, "", "", Error(Unanswered::ServerError)),
            ("429", 429, "", "", Error(Unanswered::RateLimited { retry_after: None })),
            ("500", 500, problem, "{}", Error(Unanswered::ServerError)),
            ("301", 301, "", "", Error(Unanswered::NotUkgPro)),
        ] {
            assert_eq!(
                read_rest(&Answer::new(status, content_type, body.as_bytes()), true, &Words::built_in()),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn rows_of_what_is_about_nobody_are_as_expected() {
        assert_eq!(read_rest(&Answer::new(200, "application/json", b"[{}]"), false, &Words::built_in()), Granted);
    }

    #[test]
    fn people_in_the_answer_to_a_query_for_nobody_are_noticed() {
        let ok = "<b:HasErrors>false</b:HasErrors><b:Success>true</b:Success>";
        let body = |paging: &str, results: &str| {
            let result = result(&format!("{ok}<b:PagingInfo>{paging}</b:PagingInfo>"));
            result.replace("</FindPeopleResult>", &format!("<b:Results>{results}</b:Results></FindPeopleResult>"))
        };
        for (what, paging, results, expected) in [
            ("nobody", "<b:CurrentPage>1</b:CurrentPage><b:TotalItems>0</b:TotalItems>", "", Granted),
            ("an empty result", "", "<b:Person/>", Granted),
            ("a count that is none", "<b:TotalItems>-</b:TotalItems>", "", Granted),
            ("a count", "<b:TotalItems>2</b:TotalItems>", "", GrantedUnfiltered),
            ("a result", "<b:TotalItems>0</b:TotalItems>", "<b:Person><b:N>x</b:N></b:Person>", GrantedUnfiltered),
        ] {
            let answer = Answer::new(200, SOAP, body(paging, results).as_bytes());
            assert_eq!(read_soap(&answer, false, &Words::built_in()), expected, "{what}");
        }
    }

    proptest::proptest! {
        /// A grant always needs a success, and HTML never is one.
        #[test]
        fn no_arbitrary_answer_is_a_grant(
            status in 100..600_u16,
            content_type in proptest::sample::select(vec!["application/json", "application/problem+json", "text/html", ""]),
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let answer = Answer::new(status, content_type, &body);
            let words = Words::built_in();
            let granted = matches!(read_rest(&answer, true, &words), Granted | GrantedUnfiltered);
            let json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
            proptest::prop_assert_eq!(granted, status == 200 && content_type != "text/html" && json);
            proptest::prop_assert!(!read_soap(&answer, false, &words).is_granted() && !read_soap(&answer, true, &words).is_granted());
        }
    }
}
