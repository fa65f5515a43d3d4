//! Writes SOAP requests: the login, and the read-only query of a data service.

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};
use zeroize::Zeroizing;

use super::{ADDRESSING, CONTRACTS, ENVELOPE, SERVICES};
use crate::credentials::Credentials;
use crate::sensitive::Sensitive;

const TOKEN: &str = "http://www.ultimatesoftware.com/foundation/authentication/ultiprotoken";
const CLIENT_ACCESS_KEY: &str = "http://www.ultimatesoftware.com/foundation/authentication/clientaccesskey";

/// A filter that matches no employee, so no personal data is sent: it requires a number that nobody has.
const NOBODY: &str = "= (__none__)";

/// Initial buffer size: fits any message with credentials of ordinary length, so the buffer does not move and leave copies
/// behind.
const ROOM: usize = 4096;

/// Returns a service's namespace, with its name in lower case.
pub fn namespace(service: &str) -> String {
    format!("{SERVICES}{}", service.to_ascii_lowercase())
}

/// Returns the `Action` of a service's operation.
pub fn action(service: &str, operation: &str) -> String {
    format!("{}/I{service}/{operation}", namespace(service))
}

/// The unique ID of a message in WS-Addressing. UKG Pro accepts requests with and without one. A server that is strict about
/// WS-Addressing (Apache CXF 4.2) refuses requests without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageId(String);

impl MessageId {
    /// Returns a new ID. Without a system random number generator it is all zeros, which a server that compares IDs may refuse.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self::of(bytes)
    }

    /// Returns a version 4 UUID (RFC 9562) with these bits.
    fn of(bytes: [u8; 16]) -> Self {
        let bits = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
        let digits = format!("{bits:032x}");
        let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
        Self(format!("urn:uuid:{}", parts.join("-")))
    }
}

/// Writes the login request of LoginService.
pub fn authenticate(credentials: &Credentials, user_api_key: &Sensitive, id: &MessageId) -> Zeroizing<String> {
    let ns = namespace("LoginService");
    let header = |message: &mut Message, name: &str, value: &Sensitive| {
        message.leaf(&format!("h:{name}"), &[("xmlns:h", &ns)], value.expose());
    };
    let mut message = Message::begin(&action("LoginService", "Authenticate"), id);
    header(&mut message, "ClientAccessKey", &credentials.customer_api_key);
    header(&mut message, "Password", &credentials.password);
    header(&mut message, "UserAccessKey", user_api_key);
    header(&mut message, "UserName", &credentials.username);
    message.body();
    message.leaf("TokenRequest", &[("xmlns", CONTRACTS)], "");
    message.end()
}

/// Writes a query of a data service that matches nobody.
pub fn find_nobody(
    service: &str,
    operation: &str,
    token: &Sensitive,
    customer_api_key: &Sensitive,
    id: &MessageId,
) -> Zeroizing<String> {
    let mut message = Message::begin(&action(service, operation), id);
    message.leaf("UltiProToken", &[("xmlns", TOKEN)], token.expose());
    message.leaf("ClientAccessKey", &[("xmlns", CLIENT_ACCESS_KEY)], customer_api_key.expose());
    message.body();
    message.open(operation, &[("xmlns", &namespace(service))]);
    message.open("query", &[("xmlns:b", CONTRACTS)]);
    // In alphabetical order: WCF's DataContractSerializer silently drops elements that are out of order, the filter included.
    message.leaf("b:EmployeeNumber", &[], NOBODY);
    message.leaf("b:PageNumber", &[], "1");
    message.leaf("b:PageSize", &[], "1");
    message.close("query");
    message.close(operation);
    message.end()
}

struct Message(Writer<Vec<u8>>);

/// Why writing cannot fail: the target is a vector.
const IN_MEMORY: &str = "writing to a vector does not fail";

impl Message {
    /// Omits `To`: behind a proxy that ends TLS, a strict WCF filter would compare it with an address of another scheme.
    fn begin(action: &str, id: &MessageId) -> Self {
        let mut message = Self(Writer::new(Vec::with_capacity(ROOM)));
        message.open("s:Envelope", &[("xmlns:s", ENVELOPE), ("xmlns:a", ADDRESSING)]);
        message.open("s:Header", &[]);
        message.leaf("a:Action", &[("s:mustUnderstand", "1")], action);
        message.leaf("a:MessageID", &[], &id.0);
        message
    }

    fn body(&mut self) {
        self.close("s:Header");
        self.open("s:Body", &[]);
    }

    fn end(mut self) -> Zeroizing<String> {
        self.close("s:Body");
        self.close("s:Envelope");
        Zeroizing::new(String::from_utf8(self.0.into_inner()).expect("quick-xml writes what it was given, and that was UTF-8"))
    }

    fn open(&mut self, name: &str, attributes: &[(&str, &str)]) {
        let start = BytesStart::new(name).with_attributes(attributes.iter().copied());
        self.0.write_event(Event::Start(start)).expect(IN_MEMORY);
    }

    fn leaf(&mut self, name: &str, attributes: &[(&str, &str)], text: &str) {
        self.open(name, attributes);
        let mut escaped = Zeroizing::new(quick_xml::escape::escape(text).into_owned());
        if escaped.contains('\r') {
            // XML readers turn a bare carriage return into a line feed, which would change a password.
            escaped = Zeroizing::new(escaped.replace('\r', "&#13;"));
        }
        self.0.write_event(Event::Text(BytesText::from_escaped(escaped.as_str()))).expect(IN_MEMORY);
        self.close(name);
    }

    fn close(&mut self, name: &str) {
        self.0.write_event(Event::End(BytesEnd::new(name))).expect(IN_MEMORY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soap::read;

    fn credentials(password: &str) -> Credentials {
        Credentials {
            username: Sensitive::new("svc-acme".to_owned()),
            password: Sensitive::new(password.to_owned()),
            customer_api_key: Sensitive::new("ACME1".to_owned()),
            user_api_key: None,
        }
    }

    fn login(password: &str) -> Zeroizing<String> {
        authenticate(&credentials(password), &Sensitive::new("UKEY00000001".to_owned()), &MessageId::random())
    }

    #[test]
    fn every_credential_is_escaped_and_read_back_to_the_letter() {
        for password in ["plain", "a&b<c>d\"e'f]]>", "&amp;", "tab\tand\r\nlines", " blanks ", "ümläut €", ""] {
            let message = login(password);
            let envelope = read::envelope(message.as_bytes()).expect("well-formed");
            assert_eq!(envelope.find("Password").map(|e| e.text.as_str()), Some(password));
            assert_eq!(envelope.find("UserName").map(|e| e.text.as_str()), Some("svc-acme"));
        }
    }

    #[test]
    fn the_login_carries_the_names_and_namespaces_of_the_service() {
        let message = login("x");
        let envelope = read::envelope(message.as_bytes()).expect("well-formed");
        let action = envelope.find("Action").expect("an Action");
        assert_eq!(
            (action.namespace.as_str(), action.text.as_str()),
            (ADDRESSING, "http://www.ultipro.com/services/loginservice/ILoginService/Authenticate")
        );
        for name in ["ClientAccessKey", "Password", "UserAccessKey", "UserName"] {
            assert_eq!(envelope.find(name).expect(name).namespace, "http://www.ultipro.com/services/loginservice");
        }
        assert_eq!(envelope.find("TokenRequest").expect("a body").namespace, CONTRACTS);
    }

    #[test]
    fn each_message_has_a_name_of_its_own() {
        assert_eq!(MessageId::of([0xff; 16]).0, "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(MessageId::of([0; 16]).0, "urn:uuid:00000000-0000-4000-8000-000000000000");
        let [one, other] = [login("x"), login("x")].map(|message| {
            let envelope = read::envelope(message.as_bytes()).expect("well-formed");
            let id = envelope.find("MessageID").expect("there");
            assert_eq!(id.namespace, ADDRESSING);
            id.text.to_string()
        });
        assert_ne!(one, other);
        // A strict filter would refuse an address that a proxy has changed.
        assert!(!login("x").contains("a:To"));
    }

    #[test]
    fn a_query_filters_on_nobody_with_its_children_in_alphabetical_order() {
        let token = Sensitive::new("3f2a".to_owned());
        let key = Sensitive::new("ACME1".to_owned());
        let message = find_nobody("EmployeePerson", "FindPeople", &token, &key, &MessageId::random());
        let envelope = read::envelope(message.as_bytes()).expect("well-formed");
        let query = envelope.find("query").expect("a query");
        let names: Vec<_> = query.children.iter().map(|c| c.name.as_str()).collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        assert_eq!(names, sorted);
        assert_eq!(query.find("EmployeeNumber").expect("a filter").text.as_str(), "= (__none__)");
        assert!(query.children.iter().all(|c| c.namespace == CONTRACTS));
        assert_eq!(
            envelope.find("FindPeople").expect("an operation").namespace,
            "http://www.ultipro.com/services/employeeperson"
        );
        assert_eq!(envelope.find("UltiProToken").expect("a token").namespace, TOKEN);
        assert_eq!(envelope.find("ClientAccessKey").expect("a key").namespace, CLIENT_ACCESS_KEY);
    }
}
