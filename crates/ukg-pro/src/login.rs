//! Interprets an answer of LoginService. Pure.
//!
//! A wrong user name, password or user API key and a locked or inactive account look alike on the wire, and here unless the text
//! names the key or state. UKG Pro's texts are only probable. So a refusal in unknown words is neither a known refusal nor
//! trouble on their side: it gives no verdict, but still prevents a second login.

use crate::fault::FaultCategory;
use crate::outcome::is_rest_denial;
use crate::sensitive::Sensitive;
use crate::soap::read::{self, Element, Fault};
use crate::transport::{Answer, Unanswered, UnreadableReason};
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
    #[error("undetermined: {0}")]
    Undetermined(UndeterminedReason),
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
pub enum UndeterminedReason {
    /// `Failed` in unknown words, or a 403 as a web page: most likely a refusal.
    #[error("most likely refused")]
    Failed,
    /// `Ok` without a token.
    #[error("it says Ok without a token")]
    NoToken,
    /// A fault that names no refusal.
    #[error("it is a SOAP fault that reports no refusal")]
    Fault,
    /// The form of the request is refused, which implies that no credentials were checked.
    #[error(
        "it rejects the form of the request, so this is not LoginService as the operator knows it, or a proxy changed the request"
    )]
    Form,
    /// Another status or another message.
    #[error("it is not a known answer")]
    Other,
}

impl LoginFailure {
    /// Whether an answer came that may or may not be a refusal. It counts as an attempt.
    pub fn is_unclear(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Undetermined(UndeterminedReason::Failed) => false,
            Self::Undetermined(
                UndeterminedReason::NoToken | UndeterminedReason::Fault | UndeterminedReason::Form | UndeterminedReason::Other,
            ) => true,
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
        matches!(self, Self::Refused(_) | Self::Undetermined(UndeterminedReason::Failed))
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
        return Err(LoginFailure::Undetermined(UndeterminedReason::Other));
    }
    // Neither the status nor the envelope alone decides: a `TokenResponse` is read whatever the status.
    if let Some(response) = envelope.as_ref().ok().and_then(token_response) {
        return match (answer.status, read_response(response, words)) {
            (200, read) => read,
            (300..=399, Ok(_)) => Err(Unanswered::NotUkgPro.into()),
            // A session with an error status is a contradiction.
            (_, Ok(_)) => Err(LoginFailure::Undetermined(UndeterminedReason::Other)),
            (_, Err(failure)) => Err(failure),
        };
    }
    match answer.status {
        // Perhaps a page of a firewall or a gateway: no verdict, but no second attempt either.
        403 if answer.is_html() && answer.retry_after.is_none() => Err(LoginFailure::Undetermined(UndeterminedReason::Failed)),
        403 => {
            let said = envelope.ok().as_ref().and_then(read::fault).and_then(|fault| refusal(&Text::of(&fault.reason), words));
            match (said, answer.retry_after) {
                // The quota of a gateway.
                (None, Some(_)) => Err(Unanswered::RateLimited { retry_after: answer.retry_after }.into()),
                (said, _) => Err(LoginFailure::Refused(said.unwrap_or(Refusal::Credentials))),
            }
        }
        200..=299 => match envelope {
            Ok(envelope) => Err(read::fault(&envelope)
                .map_or(LoginFailure::Undetermined(UndeterminedReason::Other), |fault| read_fault(&fault, words))),
            Err(error) => Err(unreadable(answer, error).into()),
        },
        status => {
            if let Some(unanswered) = Unanswered::from_status(answer) {
                // A fault says more than its status, which is 500 for all faults of WCF.
                return match envelope.ok().as_ref().and_then(read::fault) {
                    Some(fault) if status == 500 => Err(read_fault(&fault, words)),
                    _ => Err(unanswered.into()),
                };
            }
            match envelope {
                Ok(envelope) => Err(read::fault(&envelope)
                    .map_or(LoginFailure::Undetermined(UndeterminedReason::Other), |f| read_fault(&f, words))),
                // Every UKG Pro web-service host has LoginService, whatever else it refuses.
                Err(_) if answer.is_html() => Err(Unanswered::NotUkgPro.into()),
                Err(_) if matches!(status, 404 | 410) => Err(Unanswered::Unreadable(UnreadableReason::NotFound).into()),
                // The host refuses the media type: it wants SOAP 1.1 or MTOM.
                Err(_) if status == 415 => Err(LoginFailure::Undetermined(UndeterminedReason::Form)),
                Err(_) => Err(LoginFailure::Undetermined(UndeterminedReason::Other)),
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
        403 if answer.is_html() => Err(LoginFailure::Undetermined(UndeterminedReason::Failed)),
        403 if answer.retry_after.is_some() => Err(Unanswered::RateLimited { retry_after: answer.retry_after }.into()),
        // It is about a permission, so the login was accepted.
        403 if is_rest_denial(answer, words) => Ok(Session::Basic),
        _ => Err(Unanswered::from_status(answer)
            .map_or(LoginFailure::Undetermined(UndeterminedReason::Other), LoginFailure::Unanswered)),
    }
}

/// Returns the `TokenResponse` of an envelope, if it holds one.
fn token_response(envelope: &Element) -> Option<&Element> {
    read::body(envelope).filter(|e| e.name == "TokenResponse" && e.is_ukg())
}

fn read_response(response: &Element, words: &Words) -> Result<Session, LoginFailure> {
    if response.children.iter().filter(|child| child.name == "Status").count() > 1 {
        return Err(LoginFailure::Undetermined(UndeterminedReason::Other));
    }
    match response.child_text("Status").map(str::to_ascii_lowercase).as_deref() {
        Some("ok") => match response.child_text("Token") {
            Some(token) => Ok(Session::Token(Sensitive::new(token.to_owned()))),
            None => Err(LoginFailure::Undetermined(UndeterminedReason::NoToken)),
        },
        Some("failed") => Err(read_message(response.child_text("StatusMessage").unwrap_or_default(), words)),
        _ => Err(LoginFailure::Undetermined(UndeterminedReason::Other)),
    }
}

fn read_message(message: &str, words: &Words) -> LoginFailure {
    let text = Text::of(message);
    match refusal(&text, words) {
        Some(refusal) => LoginFailure::Refused(refusal),
        None if words.says_general_error(&text) => LoginFailure::Unanswered(Unanswered::ServerError),
        None => LoginFailure::Undetermined(UndeterminedReason::Failed),
    }
}

fn read_fault(fault: &Fault, words: &Words) -> LoginFailure {
    let text = Text::of(&fault.reason);
    let said = || refusal(&text, words).map(LoginFailure::Refused);
    match fault.category() {
        FaultCategory::Form => LoginFailure::Undetermined(UndeterminedReason::Form),
        FaultCategory::Identity => said().unwrap_or(LoginFailure::Refused(Refusal::Credentials)),
        FaultCategory::Receiver if words.says_trouble(&text) => Unanswered::ServerError.into(),
        FaultCategory::Receiver => said().unwrap_or(Unanswered::ServerError.into()),
        FaultCategory::Sender => said().unwrap_or(LoginFailure::Undetermined(UndeterminedReason::Fault)),
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
mod tests;
