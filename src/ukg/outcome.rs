//! What an answer to a probe means: granted, denied, cannot tell, or no usable answer. Pure.
//!
//! How UKG Pro shows a missing permission is recorded nowhere, so a denial needs a sign of one (a status, a security fault, or
//! permission words) and a grant needs a success. All else is "cannot tell".

use crate::ukg::login::strange;
use crate::ukg::soap::read::{self, Element};
use crate::ukg::transport::{Answer, Unanswered};

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The read worked.
    Granted,
    /// The read was refused for want of the permission.
    Denied,
    /// REST refused the very login that LoginService took. A denial, and a reason to send no further REST read.
    LoginRefused,
    /// An answer came that shows neither.
    Undetermined,
    /// Nothing was sent: an earlier read with these values was never seen to end, and may have been refused.
    Held,
    /// No usable answer came.
    Error(Unanswered),
}

/// Whether a text, in lower case, speaks of a missing right.
pub fn speaks_of_permission(lower_case: &str) -> bool {
    const WORDS: [&str; 8] = [
        "access denied",
        "access is denied",
        "not authorized",
        "not authorised",
        "unauthorized",
        "unauthorised",
        "permission",
        "privilege",
    ];
    WORDS.iter().any(|word| lower_case.contains(word))
}

/// Reads the answer of a SOAP data service. Where the request's form is disputed, a fault may be about the form.
pub fn read_soap(answer: &Answer, disputed: bool) -> Outcome {
    if matches!(answer.status, 401 | 403) {
        return Outcome::Denied;
    }
    let envelope = read::envelope(&answer.body);
    if let Some(fault) = envelope.as_ref().ok().and_then(read::fault) {
        let denied = speaks_of_permission(&fault.reason.to_ascii_lowercase()) || (!disputed && fault.is_security());
        return match Unanswered::from_status(answer) {
            _ if denied => Outcome::Denied,
            Some(unanswered) if answer.status != 500 => Outcome::Error(unanswered),
            _ => Outcome::Undetermined,
        };
    }
    match (answer.status, envelope) {
        (200..=299, Ok(envelope)) => read_result(&envelope),
        (200..=299, Err(error)) => Outcome::Error(strange(answer, error)),
        _ => Unanswered::from_status(answer).map_or(Outcome::Undetermined, Outcome::Error),
    }
}

fn read_result(envelope: &Element) -> Outcome {
    let result = read::body(envelope).and_then(|body| body.find("OperationResult")).filter(|result| result.is_ukg());
    let Some(result) = result else {
        return Outcome::Undetermined;
    };
    let flag = |name| result.child_text(name).map(str::to_ascii_lowercase);
    let success = flag("Success");
    let errors = flag("HasErrors");
    if success.as_deref() == Some("true") && errors.as_deref() != Some("true") {
        return Outcome::Granted;
    }
    let denied = result.child("Messages").is_some_and(|messages| {
        let mut texts = messages.children.iter().filter_map(|message| message.child_text("Message"));
        texts.any(|text| speaks_of_permission(&text.to_ascii_lowercase()))
    });
    let failed = success.as_deref() == Some("false") || errors.as_deref() == Some("true");
    if failed && denied { Outcome::Denied } else { Outcome::Undetermined }
}

/// Reads the answer of a REST resource, after a login that worked.
pub fn read_rest(answer: &Answer) -> Outcome {
    match answer.status {
        200..=299 if answer.is_html() => Outcome::Error(Unanswered::NotUkgPro),
        200 => match serde_json::from_slice::<serde::de::IgnoredAny>(&answer.body) {
            Ok(_) => Outcome::Granted,
            Err(_) => Outcome::Undetermined,
        },
        401 => Outcome::LoginRefused,
        403 => Outcome::Denied,
        // 404 can mean "no rows", or that the resource is not there: not a denial, and no proof of a grant.
        _ => Unanswered::from_status(answer).map_or(Outcome::Undetermined, Outcome::Error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ukg::transport::Oddity;
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
            ("security fault", 500, fault("FailedAuthentication", "x"), Denied),
            ("security fault as 400", 400, fault("InvalidSecurity", "x"), Denied),
            ("fault in permission words", 500, fault("Other", "Not authorized to use this service"), Denied),
            ("another fault", 500, fault("DeserializationFailed", "bad form"), Undetermined),
            ("fault behind 503", 503, fault("x", "y"), Error(Unanswered::Unavailable { retry_after: None })),
            ("401", 401, String::new(), Denied),
            ("403", 403, String::new(), Denied),
            ("404", 404, String::new(), Undetermined),
            ("405", 405, String::new(), Error(Unanswered::ServerError)),
            ("429", 429, String::new(), Error(Unanswered::RateLimited { retry_after: None })),
            ("500 without a fault", 500, "oops".to_owned(), Error(Unanswered::ServerError)),
            ("redirect", 302, String::new(), Error(Unanswered::NotUkgPro)),
            ("not XML", 200, "<html><br></html>".to_owned(), Error(Unanswered::Unreadable(Oddity::Malformed))),
        ];
        for (what, status, body, expected) in cases {
            assert_eq!(read_soap(&Answer::new(*status, SOAP, body.as_bytes()), false), *expected, "{what}");
        }
    }

    #[test]
    fn a_fault_to_a_disputed_request_is_a_denial_only_in_permission_words() {
        let read = |body: String| read_soap(&Answer::new(500, SOAP, body.as_bytes()), true);
        assert_eq!(read(fault("FailedAuthentication", "x")), Undetermined);
        assert_eq!(read(fault("FailedAuthentication", "Access is denied.")), Denied);
    }

    #[test]
    fn a_rest_answer_gives_one_of_four_outcomes() {
        let json = "application/json";
        let problem = "application/problem+json";
        for (what, status, content_type, body, expected) in [
            ("rows", 200, json, "[{}]", Granted),
            ("no rows", 200, json, "[]", Granted),
            ("not JSON", 200, json, "oops", Undetermined),
            ("empty", 200, json, "", Undetermined),
            ("HTML", 200, "text/html; charset=utf-8", "<html>", Error(Unanswered::NotUkgPro)),
            ("401", 401, problem, "{}", LoginRefused),
            ("403", 403, "", "", Denied),
            ("404", 404, problem, "{}", Undetermined),
            ("400", 400, problem, "{}", Undetermined),
            ("405", 405, "", "", Error(Unanswered::ServerError)),
            ("429", 429, "", "", Error(Unanswered::RateLimited { retry_after: None })),
            ("500", 500, problem, "{}", Error(Unanswered::ServerError)),
            ("301", 301, "", "", Error(Unanswered::NotUkgPro)),
        ] {
            assert_eq!(read_rest(&Answer::new(status, content_type, body.as_bytes())), expected, "{what}");
        }
    }

    proptest::proptest! {
        /// Whatever comes, a grant needs a success, and HTML is none.
        #[test]
        fn no_arbitrary_answer_is_a_grant(
            status in 100..600_u16,
            content_type in proptest::sample::select(vec!["application/json", "application/problem+json", "text/html", ""]),
            body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            let answer = Answer::new(status, content_type, &body);
            let granted = read_rest(&answer) == Granted;
            let json = serde_json::from_slice::<serde_json::Value>(&body).is_ok();
            proptest::prop_assert_eq!(granted, status == 200 && content_type != "text/html" && json);
            proptest::prop_assert!(read_soap(&answer, false) != Granted && read_soap(&answer, true) != Granted);
        }
    }
}
