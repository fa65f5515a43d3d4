//! Faults that a test injects: answers that are wrong, late or truncated.
//!
//! The list is replaced as a whole. The first fault that matches and is not used up applies.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};

use crate::call::{HttpResponse, Payload};
use crate::catalogue::soap_service;
use crate::{data, login, soap};

/// Beginning of a truncated answer.
const TORN: &str = "<s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\"><s:Bo";
/// A delay should exceed a client's deadline, not hang a test.
const LONGEST_DELAY: f64 = 3_600.0;

/// An injected fault.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fault {
    /// Host it is limited to. Absent: all hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    /// `LoginService/Authenticate`, `EmployeePerson/FindPeople`, `GET /personnel/v1/pto-plans`, or `*` for all.
    operation: String,
    /// Remaining uses. Absent: unlimited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    /// Applies to every n-th matching call only. Absent: to all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    every: Option<u32>,
    /// Number of matching calls so far.
    #[serde(skip)]
    fitted: u32,
    /// The answer to send instead.
    answer: Answer,
}

/// What a fault does: at most one reply, possibly delayed.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    repeat_body: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    close_connection: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    login_failed: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    soap_fault: Option<SoapFault>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    operation_error: Option<OperationError>,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct SoapFault {
    #[serde(default = "server_error")]
    status: u16,
    #[serde(default = "receiver")]
    code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subcode: Option<String>,
    reason: String,
}

#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OperationError {
    message: String,
    #[serde(default = "error")]
    severity: String,
    #[serde(default)]
    code: String,
}

fn server_error() -> u16 {
    500
}

fn receiver() -> String {
    "Receiver".to_owned()
}

fn error() -> String {
    "Error".to_owned()
}

/// How to answer a call.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Delay before the reply.
    pub(crate) delay: Option<Duration>,
    /// The reply. `None`: the usual answer.
    pub(crate) reply: Option<HttpResponse>,
    /// Whether the reply refuses a login.
    pub(crate) refuses_login: bool,
}

/// Why a list of faults cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("faults[{index}].{field}: {what}")]
pub(crate) struct FaultError {
    index: usize,
    field: &'static str,
    what: String,
}

/// The list of faults.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// Checks a list.
    pub(crate) fn new(mut faults: Vec<Fault>) -> Result<Self, FaultError> {
        for (index, fault) in faults.iter_mut().enumerate() {
            if let Some(host) = &mut fault.host {
                host.make_ascii_lowercase();
            }
            fault.check().map_err(|(field, what)| FaultError { index, field, what })?;
        }
        Ok(Self(faults))
    }

    /// Returns the faults, with the remaining `times`.
    pub(crate) fn list(&self) -> &[Fault] {
        &self.0
    }

    /// Takes the first fault that matches.
    pub(crate) fn take(&mut self, host: &str, operation: &str) -> Option<Plan> {
        let fits = |fault: &&mut Fault| {
            fault.host.as_deref().is_none_or(|wanted| wanted == host)
                && (fault.operation == "*" || fault.operation == operation)
                && fault.times != Some(0)
        };
        let fault = self.0.iter_mut().filter(fits).find_map(|fault| {
            fault.fitted = fault.fitted.wrapping_add(1);
            fault.every.is_none_or(|every| fault.fitted.is_multiple_of(every)).then_some(fault)
        })?;
        if let Some(times) = &mut fault.times {
            *times -= 1;
        }
        Some(fault.answer.plan(operation))
    }
}

impl Fault {
    fn check(&self) -> Result<(), (&'static str, String)> {
        let answer = &self.answer;
        if self.every == Some(0) {
            return Err(("every", "write 1 or more".to_owned()));
        }
        if self.operation != "*" && !self.operation.contains('/') {
            let what = "write *, or an operation such as LoginService/Authenticate or GET /personnel/v1/pto-plans";
            return Err(("operation", what.to_owned()));
        }
        if answer.delay_seconds.is_some_and(|delay| !(0.0..=LONGEST_DELAY).contains(&delay)) {
            return Err(("answer.delaySeconds", format!("write a number from 0 to {LONGEST_DELAY}")));
        }
        for status in [answer.status, answer.soap_fault.as_ref().map(|fault| fault.status)].into_iter().flatten() {
            if !(200..=599).contains(&status) {
                return Err(("answer.status", "write a status from 200 to 599".to_owned()));
            }
        }
        for (name, value) in &answer.headers {
            if HeaderName::try_from(name).is_err() || HeaderValue::try_from(value).is_err() {
                return Err(("answer.headers", format!("`{name}` is no HTTP header, or its value is not one line of text")));
            }
        }
        let kinds = [
            answer.status.is_some(),
            answer.close_connection == Some(true),
            answer.login_failed.is_some(),
            answer.soap_fault.is_some(),
            answer.operation_error.is_some(),
        ];
        let kinds = kinds.into_iter().filter(|kind| *kind).count();
        if kinds > 1 || (kinds == 0 && answer.delay_seconds.is_none()) {
            let what = "write one of status, closeConnection: true, loginFailed, soapFault and operationError, with or without delaySeconds, or delaySeconds alone";
            return Err(("answer", what.to_owned()));
        }
        if answer.status.is_none() && (answer.body.is_some() || answer.repeat_body.is_some() || !answer.headers.is_empty()) {
            return Err(("answer", "headers, body and repeatBody go with status: write a status too".to_owned()));
        }
        if answer.operation_error.is_some() && self.operation != "*" && service_of(&self.operation).is_none() {
            let what = "operationError is for a SOAP data service: write an operation such as EmployeePerson/FindPeople";
            return Err(("operation", what.to_owned()));
        }
        Ok(())
    }
}

fn service_of(operation: &str) -> Option<&'static crate::catalogue::SoapService> {
    operation.split_once('/').and_then(|(service, _)| soap_service(service))
}

impl Answer {
    fn plan(&self, operation: &str) -> Plan {
        let delay = self.delay_seconds.map(Duration::from_secs_f64);
        Plan { delay, reply: self.reply(operation), refuses_login: self.login_failed.is_some() }
    }

    fn reply(&self, operation: &str) -> Option<HttpResponse> {
        if let Some(status) = self.status {
            let mut reply = HttpResponse::empty(code(status));
            for (name, value) in &self.headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    reply.headers.append(name, value);
                }
            }
            let body = Bytes::from(self.body.clone().unwrap_or_default());
            reply.body = match self.repeat_body {
                Some(times) => Payload::Repeated(body, times),
                None => Payload::Whole(body),
            };
            return Some(reply);
        }
        if self.close_connection == Some(true) {
            return Some(HttpResponse { body: Payload::Torn(Bytes::from(TORN)), ..HttpResponse::empty(StatusCode::OK) });
        }
        if let Some(message) = &self.login_failed {
            return Some(login::refused(message));
        }
        if let Some(fault) = &self.soap_fault {
            let mut reply = soap::Fault::new(&fault.code, fault.subcode.as_deref(), fault.reason.as_str());
            reply.status = code(fault.status);
            return Some(reply.reply());
        }
        // With `*`, an operation without an OperationResult gets the usual answer.
        let error = self.operation_error.as_ref()?;
        let service = service_of(operation)?;
        Some(data::operation_error(service, &error.code, &error.severity, &error.message))
    }
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

#[cfg(test)]
mod tests;
