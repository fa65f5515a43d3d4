//! What a SOAP fault is about: its codes first, then its words. Pure.
//!
//! WCF, which UKG Pro's services are built with, gives codes to what goes wrong before an operation begins; what an operation throws is
//! `InternalServiceFault`, whatever it was (measured on Mono 6.8). CXF 4.2 sends its own access denial as `Receiver` with the word
//! *Unauthorized*. So no code is a refusal by itself but those of WS-Security, and words count only where the codes leave room for them.

use crate::soap::read::Fault;

/// What the codes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The message's form: nobody's login or right was looked at.
    Form,
    /// Who sends it, by WS-Security.
    Identity,
    /// The receiver has trouble, or calls it so.
    Receiver,
    /// Something about what was sent.
    Sender,
}

/// The form of a message, or its way: WCF's and WS-Addressing's codes.
const FORM: [&str; 12] = [
    "DeserializationFailed",
    "ActionNotSupported",
    "ActionMismatch",
    "MustUnderstand",
    "VersionMismatch",
    "DataEncodingUnknown",
    "DestinationUnreachable",
    "InvalidAddressingHeader",
    "InvalidMessageInformationHeader",
    "MessageAddressingHeaderRequired",
    "MessageInformationHeaderRequired",
    "DuplicateMessageID",
];
/// WS-Security's codes, and WCF's.
const IDENTITY: [&str; 6] = [
    "FailedAuthentication",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "SecurityError",
    "SecurityTokenUnavailable",
    "FailedCheck",
];
/// SOAP 1.2's and 1.1's, as the outermost.
const RECEIVER: [&str; 2] = ["Receiver", "Server"];
/// WCF's, which stand below the outermost or by themselves.
const TROUBLE: [&str; 2] = ["InternalServiceFault", "EndpointUnavailable"];

impl Fault {
    /// What its codes say it is about.
    pub fn about(&self) -> About {
        let has = |known: &[&str]| self.codes.iter().any(|code| known.contains(&code.as_str()));
        if has(&FORM) {
            About::Form
        } else if has(&IDENTITY) {
            About::Identity
        } else if has(&TROUBLE) || self.codes.first().is_some_and(|code| RECEIVER.contains(&code.as_str())) {
            About::Receiver
        } else {
            About::Sender
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_looked_at_from_the_most_telling_one() {
        for (codes, about) in [
            (&["Sender", "DeserializationFailed"][..], About::Form),
            (&["Receiver", "FailedAuthentication"], About::Identity),
            (&["InternalServiceFault"], About::Receiver),
            (&["Sender", "InternalServiceFault"], About::Receiver),
            (&["Sender", "Receiver"], About::Sender),
            (&["Receiver"], About::Receiver),
            (&["Server"], About::Receiver),
            (&["Sender"], About::Sender),
            (&["Client"], About::Sender),
            (&[], About::Sender),
        ] {
            let fault = Fault { codes: codes.iter().map(ToString::to_string).collect(), reason: String::new() };
            assert_eq!(fault.about(), about, "{codes:?}");
        }
    }
}
