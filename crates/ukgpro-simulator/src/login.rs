//! LoginService: four credentials in headers, a token in the body of the answer.
//!
//! The outcome depends only on the tenants. No answer distinguishes a wrong password from a locked account.

use axum::http::StatusCode;

use crate::call::{HttpRequest, HttpResponse};
use crate::catalogue::{CONTRACTS, LOGIN, LOGIN_ACTION, LOGIN_HEADERS};
use crate::soap::{self, Fault, Refusal};
use crate::tenants::Presented;
use crate::xml::{self, Element, INSTANCE, escape};

/// The operation's name in counters and faults.
pub(crate) const OPERATION: &str = "LoginService/Authenticate";
/// Message for a wrong user name, password or user API key, or an inactive account.
pub(crate) const ACCOUNT_REFUSED: &str = "User authentication failed";
/// Message for a wrong customer API key.
pub(crate) const KEY_REFUSED: &str = "There was a problem with the authentication process";

/// A login as it came over the wire.
pub(crate) struct Login {
    headers: Vec<Element>,
    /// Deviations that the endpoint tolerates.
    pub(crate) notes: Vec<String>,
}

impl Login {
    /// Returns the credentials presented.
    pub(crate) fn presented(&self) -> Presented<'_> {
        let text =
            |name: &str| self.headers.iter().rfind(|block| block.is(LOGIN, name)).map_or("", |block| block.text.as_str());
        Presented {
            customer_api_key: text("ClientAccessKey"),
            username: text("UserName"),
            password: text("Password"),
            user_api_key: Some(text("UserAccessKey")),
        }
    }
}

/// Reads a login request strictly.
pub(crate) fn read(call: &HttpRequest) -> Result<Login, Refusal> {
    let understood = LOGIN_HEADERS.map(|name| (LOGIN, name));
    let envelope = soap::read(call, LOGIN_ACTION, &understood)?;
    for name in LOGIN_HEADERS {
        soap::header_text(&envelope.headers, LOGIN, name)?;
    }
    for block in &envelope.headers {
        if LOGIN_HEADERS.contains(&block.name.as_str()) && block.namespace != LOGIN {
            let why = format!("the header {} is there in the namespace `{}` as well", block.name, block.namespace);
            return Err(soap::refuse(&Fault::deserialization(why)));
        }
        if block.namespace == LOGIN && !LOGIN_HEADERS.contains(&block.name.as_str()) {
            let why = format!("the header {} is unknown: the four are {}", block.name, LOGIN_HEADERS.join(", "));
            return Err(soap::refuse(&Fault::deserialization(why)));
        }
    }
    if !envelope.body.is(CONTRACTS, "TokenRequest") {
        let body = &envelope.body;
        let why = format!("the Body holds {} of `{}` and not TokenRequest of {CONTRACTS}", body.name, body.namespace);
        return Err(soap::refuse(&Fault::deserialization(why)));
    }
    if !envelope.body.is_empty() {
        return Err(soap::refuse(&Fault::deserialization("TokenRequest is not empty")));
    }
    Ok(Login { headers: envelope.headers, notes: envelope.notes })
}

/// Returns the user name of any request, so that the attempt counts even if the answer is a fault.
pub(crate) fn username(call: &HttpRequest) -> Option<String> {
    let root = xml::read(&call.body).ok()?;
    let header = root.children.into_iter().find(|part| part.name == "Header")?;
    header.children.into_iter().rfind(|block| block.name == "UserName").map(|block| block.text)
}

/// Creates the answer to a correct login.
pub(crate) fn accepted(token: &str) -> HttpResponse {
    response("Ok", None, Some(token))
}

/// Creates the answer to a refused login.
pub(crate) fn refused(message: &str) -> HttpResponse {
    response("Failed", Some(message), None)
}

fn response(status: &str, message: Option<&str>, token: Option<&str>) -> HttpResponse {
    let child = |name: &str, value: Option<&str>| match value {
        Some(value) => format!(r#"<{name} xmlns="{LOGIN}">{}</{name}>"#, escape(value)),
        None => format!(r#"<{name} i:nil="true" xmlns="{LOGIN}" xmlns:i="{INSTANCE}"/>"#),
    };
    let body = format!(
        r#"<TokenResponse xmlns="{CONTRACTS}">{}{}{}</TokenResponse>"#,
        child("Status", Some(status)),
        child("StatusMessage", message),
        child("Token", token)
    );
    soap::reply(StatusCode::OK, &format!("{LOGIN_ACTION}Response"), &body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::tests::{soap_call, text};

    const RIGHT: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing">
  <s:Header>
    <a:Action s:mustUnderstand="1">http://www.ultipro.com/services/loginservice/ILoginService/Authenticate</a:Action>
    <h:ClientAccessKey xmlns:h="http://www.ultipro.com/services/loginservice">CK</h:ClientAccessKey>
    <h:Password xmlns:h="http://www.ultipro.com/services/loginservice">p&lt;a&gt;&amp;s</h:Password>
    <h:UserAccessKey xmlns:h="http://www.ultipro.com/services/loginservice">UK</h:UserAccessKey>
    <h:UserName xmlns:h="http://www.ultipro.com/services/loginservice"> svc </h:UserName>
  </s:Header>
  <s:Body><TokenRequest xmlns="http://www.ultipro.com/contracts"/></s:Body>
</s:Envelope>"#;

    #[test]
    fn a_right_request_gives_the_four_credentials_exactly_as_sent() {
        let login = read(&soap_call("/services/LoginService", RIGHT)).expect("it is right");
        let presented = login.presented();
        assert_eq!(presented.customer_api_key, "CK");
        assert_eq!(presented.password, "p<a>&s");
        assert_eq!(presented.user_api_key, Some("UK"));
        assert_eq!(presented.username, " svc ", "white space is part of a user name");
        assert_eq!(username(&soap_call("/services/LoginService", RIGHT)).as_deref(), Some(" svc "));
    }

    #[test]
    fn of_a_header_that_is_there_twice_the_last_counts_and_it_is_noted() {
        let second = "<h:UserName xmlns:h='http://www.ultipro.com/services/loginservice'>other</h:UserName></s:Header>";
        let call = soap_call("/services/LoginService", &RIGHT.replace("</s:Header>", second));
        let login = read(&call).unwrap_or_else(|refusal| panic!("{}", refusal.note));
        assert_eq!(login.presented().username, "other");
        assert_eq!(username(&call).as_deref(), Some("other"), "the attempt is that account's");
        assert_eq!(login.notes, ["the header UserName is there more than once: the last counts"]);
    }

    #[test]
    fn what_is_not_the_contract_is_a_fault_that_says_why_and_quotes_no_credential() {
        let cases = [
            (
                "header missing",
                RIGHT.replace("h:UserAccessKey", "h:Key"),
                "UserAccessKey in the namespace http://www.ultipro.com/services/loginservice is missing",
            ),
            (
                "namespace wrong",
                RIGHT.replace(
                    r#"<h:Password xmlns:h="http://www.ultipro.com/services/loginservice">"#,
                    r#"<h:Password xmlns:h="urn:x">"#,
                ),
                "Password is in the namespace `urn:x`",
            ),
            (
                "header unknown",
                RIGHT.replace(
                    "</s:Header>",
                    "<h:ApiKey xmlns:h='http://www.ultipro.com/services/loginservice'>x</h:ApiKey></s:Header>",
                ),
                "ApiKey is unknown",
            ),
            (
                "header in two namespaces",
                RIGHT.replace("</s:Header>", "<h:UserName xmlns:h='urn:x'>x</h:UserName></s:Header>"),
                "UserName is there in the namespace `urn:x` as well",
            ),
            ("body element", RIGHT.replace("TokenRequest", "Authenticate"), "Body holds Authenticate"),
            ("body namespace", RIGHT.replace(CONTRACTS, LOGIN), "and not TokenRequest of http://www.ultipro.com/contracts"),
            (
                "body not empty",
                RIGHT.replace(
                    "<TokenRequest xmlns=\"http://www.ultipro.com/contracts\"/>",
                    "<TokenRequest xmlns=\"http://www.ultipro.com/contracts\">x</TokenRequest>",
                ),
                "not empty",
            ),
        ];
        for (case, body, says) in cases {
            let refusal = read(&soap_call("/services/LoginService", &body)).err().expect(case);
            assert!(refusal.note.contains(says), "{case}: {}", refusal.note);
            assert!(text(&refusal.reply).contains("DeserializationFailed"), "{case}");
            assert!(!text(&refusal.reply).contains("p&lt;a"), "{case}");
            assert_eq!(refusal.reply.status, 500, "{case}");
        }
    }

    #[test]
    fn the_answer_has_status_message_and_token_in_the_login_services_namespace() {
        for (reply, status, message, token) in [(accepted("T1"), "Ok", "", "T1"), (refused("a & b"), "Failed", "a & b", "")] {
            assert_eq!(reply.status, 200);
            let root = xml::read(text(&reply).as_bytes()).expect("well-formed");
            let response = &root.children[1].children[0];
            assert!(response.is(CONTRACTS, "TokenResponse"));
            let got = |name: &str| response.child(LOGIN, name).map(|child| child.text.clone());
            assert_eq!(got("Status").as_deref(), Some(status));
            assert_eq!(got("StatusMessage").as_deref(), Some(message));
            assert_eq!(got("Token").as_deref(), Some(token));
        }
    }
}
