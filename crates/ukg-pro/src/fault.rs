//! Finds what a SOAP fault is about: codes first, then words. Pure.
//!
//! WCF, on which UKG Pro's services are built, has codes for what fails before an operation begins. Whatever an operation throws
//! becomes `InternalServiceFault` (measured on Mono 6.8). CXF 4.2 sends its own access denial as `Receiver` with the word
//! *Unauthorized*. So only the codes of WS-Security are a refusal by themselves, and words count only if the codes leave room for
//! them.

use crate::soap::read::Fault;

/// The subject of a fault, by its codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultCategory {
    /// The form of the message. No login or permission was checked.
    Form,
    /// The identity of the sender, by WS-Security.
    Identity,
    /// A problem of the receiver, or one that it reports as its own.
    Receiver,
    /// Something else in the request.
    Sender,
}

/// Codes of WCF and WS-Addressing for the form or the routing of a message.
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
/// Codes of WS-Security and WCF about the sender.
const IDENTITY: [&str; 6] = [
    "FailedAuthentication",
    "InvalidSecurity",
    "InvalidSecurityToken",
    "SecurityError",
    "SecurityTokenUnavailable",
    "FailedCheck",
];
/// Outermost codes of SOAP 1.2 and 1.1.
const RECEIVER: [&str; 2] = ["Receiver", "Server"];
/// Codes of WCF, below the outermost or alone.
const TROUBLE: [&str; 2] = ["InternalServiceFault", "EndpointUnavailable"];

impl Fault {
    /// Returns what the fault is about, by its codes.
    pub fn category(&self) -> FaultCategory {
        let has = |known: &[&str]| self.codes.iter().any(|code| known.contains(&code.as_str()));
        if has(&FORM) {
            FaultCategory::Form
        } else if has(&IDENTITY) {
            FaultCategory::Identity
        } else if has(&TROUBLE) || self.codes.first().is_some_and(|code| RECEIVER.contains(&code.as_str())) {
            FaultCategory::Receiver
        } else {
            FaultCategory::Sender
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_looked_at_from_the_most_telling_one() {
        for (codes, category) in [
            (&["Sender", "DeserializationFailed"][..], FaultCategory::Form),
            (&["Receiver", "FailedAuthentication"], FaultCategory::Identity),
            (&["InternalServiceFault"], FaultCategory::Receiver),
            (&["Sender", "InternalServiceFault"], FaultCategory::Receiver),
            (&["Sender", "Receiver"], FaultCategory::Sender),
            (&["Receiver"], FaultCategory::Receiver),
            (&["Server"], FaultCategory::Receiver),
            (&["Sender"], FaultCategory::Sender),
            (&["Client"], FaultCategory::Sender),
            (&[], FaultCategory::Sender),
        ] {
            let fault = Fault { codes: codes.iter().map(ToString::to_string).collect(), reason: String::new() };
            assert_eq!(fault.category(), category, "{codes:?}");
        }
    }
}
