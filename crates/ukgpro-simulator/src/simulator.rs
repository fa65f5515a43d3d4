//! The handling of a request, and the simulator's one locked state.
//!
//! [`Simulator::serve`] is the handler of the HTTPS listener. It counts a request and looks for an injected fault when the
//! request arrives. The service answers it, perhaps after a delay. No lock is held during the delay.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::uri::Authority;
use axum::http::{Method, Request, Response, StatusCode, header};
use rustls::crypto::SecureRandom;

use crate::call::{HttpRequest, HttpResponse};
use crate::catalogue::{self, EMPLOYEE_CHANGES, LOGIN_SERVICE, PAY_STATEMENT, SERVICES, SoapService};
use crate::config::Config;
use crate::counters::{Counters, Outcome};
use crate::faults::{Faults, Plan};
use crate::soap::{self, Refusal};
use crate::tenants::{AccountName, Presented, Tenants, Tokens};
use crate::{data, description, login, rest};

/// Requests are small. The real limit is unknown.
const LARGEST_BODY: usize = 1024 * 1024;
const LOGIN_PAGE: &str = "<!DOCTYPE html><html><head><title>Sign in</title></head><body><form method=\"post\"><h1>Sign in</h1><input name=\"username\"><input name=\"password\" type=\"password\"><button>Sign in</button></form></body></html>";

/// The state of a running simulator.
pub(crate) struct State {
    /// The configuration as it was read.
    pub(crate) config: Config,
    /// Who may log in, and what they may read.
    pub(crate) tenants: Tenants,
    /// Tokens of the sessions.
    pub(crate) tokens: Tokens,
    /// Faults that a test injected.
    pub(crate) faults: Faults,
    /// Counters that a test reads.
    pub(crate) counters: Counters,
}

/// The simulator.
pub(crate) struct Simulator {
    state: Mutex<State>,
    random: &'static dyn SecureRandom,
}

impl Simulator {
    /// Creates a simulator of the tenants of a checked configuration.
    pub(crate) fn new(config: Config, random: &'static dyn SecureRandom) -> Self {
        let state = State {
            tenants: Tenants::new(&config),
            tokens: Tokens::new(Duration::from_secs(config.token_lifetime)),
            faults: Faults::default(),
            counters: Counters::default(),
            config,
        };
        Self { state: Mutex::new(state), random }
    }

    /// Locks the state. Callers hold the lock as briefly as possible.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the tenants. Tokens stay valid for accounts that still exist.
    pub(crate) fn replace(&self, config: Config) {
        let mut state = self.state();
        state.tenants = Tenants::new(&config);
        state.tokens.set_lifetime(Duration::from_secs(config.token_lifetime));
        state.config = config;
    }

    /// Answers a request.
    pub(crate) async fn serve(Shared(simulator): Shared<Arc<Self>>, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let call = match read(request).await {
            Ok(call) => call,
            Err(reply) => return reply.into_response(),
        };
        let (operation, plan) = simulator.arrive(&call);
        let mut laid_in = None;
        if let Some(plan) = plan {
            if let Some(delay) = plan.delay {
                tokio::time::sleep(delay).await;
            }
            laid_in = plan.reply;
        }
        let fault = laid_in.is_some();
        let reply = laid_in.unwrap_or_else(|| simulator.answer(&call, &operation));
        let reply = reply.answering(soap::message_id(&call), simulator.state().config.byte_order_mark);
        let status = reply.status.as_u16();
        tracing::debug!(host = call.host, operation, status, fault, elapsed = ?started.elapsed(), "answered");
        reply.into_response()
    }

    /// Counts a call and takes the fault that matches it, if any.
    fn arrive(&self, call: &HttpRequest) -> (String, Option<Plan>) {
        let mut state = self.state();
        let here = state.tenants.serves(&call.host);
        let operation = if here { operation(call) } else { format!("{} (login page)", call.method) };
        state.counters.request(&operation);
        let username = if !here {
            None
        } else if operation == login::OPERATION {
            login::username(call)
        } else {
            rest::basic(call).map(|basic| basic.username)
        };
        if let Some(username) = &username {
            let known = state.tenants.has_account(username);
            let rest = operation != login::OPERATION;
            state.counters.attempt(username, known, rest);
        }
        let plan = state.faults.take(&call.host, &operation);
        if let (Some(username), Some(Plan { refuses_login: true, .. })) = (&username, &plan) {
            state.counters.outcome(username, Outcome::Refused);
        }
        (operation, plan)
    }

    /// Answers as UKG Pro would.
    fn answer(&self, call: &HttpRequest, operation: &str) -> HttpResponse {
        if !self.state().tenants.serves(&call.host) {
            return HttpResponse::new(StatusCode::OK, "text/html; charset=utf-8", LOGIN_PAGE);
        }
        let result = if let Some(name) = call.path.strip_prefix(SERVICES) {
            let document = description::asked_for(call);
            if name == LOGIN_SERVICE {
                match document {
                    Some(document) => return description::login(call, document),
                    None => self.log_in(call),
                }
            } else if let Some(service) = catalogue::soap_service(name) {
                match document {
                    Some(document) => {
                        let headers = self.state().config.token_headers_in_wsdl;
                        return description::data(call, service, headers, document);
                    }
                    None => self.read_soap(call, service, operation),
                }
            } else {
                return HttpResponse::empty(StatusCode::NOT_FOUND);
            }
        } else {
            self.read_rest(call, operation)
        };
        result.unwrap_or_else(|refusal| {
            self.note(operation, &refusal.note);
            *refusal.reply
        })
    }

    fn log_in(&self, call: &HttpRequest) -> Result<HttpResponse, Refusal> {
        let login = login::read(call)?;
        let mut state = self.state();
        for note in &login.notes {
            note_in(&mut state, login::OPERATION, note);
        }
        let account = match try_login(&mut state, &call.host, &login.presented()) {
            Ok(account) => account,
            Err(crate::tenants::Refusal::CustomerApiKey) => {
                return Ok(login::refused(login::KEY_REFUSED));
            }
            Err(crate::tenants::Refusal::Account) => {
                return Ok(login::refused(login::ACCOUNT_REFUSED));
            }
        };
        let Some(token) = self.guid() else {
            let fault = soap::Fault::new("Receiver", Some("InternalServiceFault"), "no random numbers for a token");
            return Ok(fault.reply());
        };
        state.tokens.give(token.clone(), account, Instant::now());
        Ok(login::accepted(&token))
    }

    fn read_soap(&self, call: &HttpRequest, service: &'static SoapService, operation: &str) -> Result<HttpResponse, Refusal> {
        let read = data::read(call, service)?;
        for note in read.notes.iter().chain(&read.query.dropped) {
            self.note(operation, note);
        }
        let mut state = self.state();
        let session = state.tokens.owner(&read.token, Instant::now()).and_then(|name| {
            let (tenant, account) = state.tenants.find(name)?;
            let ours = state.tenants.is_key_of(&call.host, &read.customer_api_key, name);
            ours.then(|| (tenant.people(), account.may_read_soap(service.name)))
        });
        let Some((people, may_read)) = session else {
            return Ok(data::token_refused());
        };
        if !may_read {
            return Ok(data::denied(service, state.config.denied_as));
        }
        if let Some(member) = read.query.unreadable {
            return Ok(data::unreadable(service, member));
        }
        let (page, total) = data::select(&read.query, people);
        state.counters.person_records(page.len());
        Ok(data::found(service, &read.query, &page, total))
    }

    fn read_rest(&self, call: &HttpRequest, operation: &str) -> Result<HttpResponse, Refusal> {
        let known = catalogue::rest_read(&call.path);
        if call.path == EMPLOYEE_CHANGES {
            self.note(operation, "is allowed eight times a day and no check may call it");
        } else if known.is_none() && call.path != PAY_STATEMENT {
            return Ok(HttpResponse::empty(StatusCode::NOT_FOUND));
        }
        let method = if call.path == PAY_STATEMENT { Method::POST } else { Method::GET };
        if call.method != method {
            let note = format!("{} where only {method} is allowed", call.method);
            return Err(Refusal::new(rest::method_not_allowed(&method), note));
        }
        let (Some(basic), Some(customer_api_key)) = (rest::basic(call), call.header("us-customer-api-key")) else {
            let note = "Basic authentication or the header US-Customer-Api-Key is missing or cannot be read".to_owned();
            return Err(Refusal::new(rest::unauthorized(), note));
        };
        let mut state = self.state();
        let presented =
            Presented { customer_api_key, username: &basic.username, password: &basic.password, user_api_key: None };
        let Ok(name) = try_login(&mut state, &call.host, &presented) else {
            return Ok(rest::unauthorized());
        };
        let Some((people, true)) =
            state.tenants.find(&name).map(|(tenant, account)| (tenant.people(), account.may_read_rest(&call.path)))
        else {
            return Ok(rest::forbidden(&call.path));
        };
        let Some(read) = known else {
            return match call.path.as_str() {
                PAY_STATEMENT => Ok(rest::bad_request("The body names no employee.")),
                _ => Ok(HttpResponse::new(StatusCode::OK, "application/json; charset=utf-8", "[]")),
            };
        };
        let page = match rest::page(call, read) {
            Ok(page) => page,
            Err(parameter) => {
                let note = format!("parameter {parameter} is no number from 1 up");
                return Err(Refusal::new(rest::bad_request(&note), note));
            }
        };
        for dropped in &page.dropped {
            note_in(&mut state, operation, dropped);
        }
        let (reply, persons) = rest::rows(read, &page, people, state.config.rest_past_end);
        state.counters.person_records(persons);
        Ok(reply)
    }

    fn note(&self, operation: &str, what: &str) {
        note_in(&mut self.state(), operation, what);
    }

    /// Returns a random GUID, the form of a session's token.
    fn guid(&self) -> Option<String> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).ok()?;
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        Some([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
    }
}

fn note_in(state: &mut State, operation: &str, what: &str) {
    tracing::warn!(operation, what, "a client broke the protocol");
    state.counters.note(format!("{operation}: {what}"));
}

fn try_login(state: &mut State, host: &str, presented: &Presented<'_>) -> Result<AccountName, crate::tenants::Refusal> {
    let result = state.tenants.log_in(host, presented);
    let outcome = if result.is_ok() { Outcome::Accepted } else { Outcome::Refused };
    state.counters.outcome(presented.username, outcome);
    result
}

/// Returns the name of a call's operation, for counters and faults.
fn operation(call: &HttpRequest) -> String {
    if let Some(name) = call.path.strip_prefix(SERVICES) {
        let service = catalogue::soap_service(name);
        if let (Some(document), true) = (description::asked_for(call), name == LOGIN_SERVICE || service.is_some()) {
            return description::operation(call, document);
        }
        if call.method == Method::POST && name == LOGIN_SERVICE {
            return login::OPERATION.to_owned();
        }
        if let (&Method::POST, Some(service)) = (&call.method, service) {
            return format!("{}/{}", service.name, service.operation);
        }
    }
    format!("{} {}", call.method, call.path)
}

/// Reads a whole request. The error is the reply to one that cannot be read.
async fn read(request: Request<Body>) -> Result<HttpRequest, HttpResponse> {
    let (parts, body) = request.into_parts();
    let authority = parts.uri.authority().cloned().or_else(|| {
        let value = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Authority::try_from(value).ok()
    });
    let host = authority.as_ref().map_or("", Authority::host);
    let port = authority.as_ref().and_then(Authority::port_u16).map_or_else(String::new, |port| format!(":{port}"));
    let body = axum::body::to_bytes(body, LARGEST_BODY)
        .await
        .map_err(|_| HttpResponse::text(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large, or ended early"))?;
    Ok(HttpRequest {
        host: host.trim_end_matches('.').to_ascii_lowercase(),
        authority: format!("{host}{port}"),
        method: parts.method,
        path: catalogue::canonical(parts.uri.path()),
        query: parts.uri.query().map(str::to_owned),
        headers: parts.headers,
        body,
    })
}
