//! A simulated UKG Pro: it judges requests, records every password it receives, and can lose an answer, give none or give
//! another. It yields before and after it judges, so that a check can be killed at either moment.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use ukg_pro::catalogue::{Api, Requirement};
use ukg_pro::login::{LoginFailure, Refusal, Session, UndeterminedReason};
use ukg_pro::outcome::Outcome;
use ukg_pro::sensitive::Sensitive;
use ukg_pro::transport::Unanswered;

use crate::controller::authenticate::WebServices;
use crate::schedule::clock::Clock;

/// The part of a Secret that a login depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Values {
    pub(super) password: u8,
    pub(super) user_api_key: bool,
}

/// The interface that a password is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Interface {
    LoginService,
    Rest,
}

/// A password that was sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presented {
    /// The check that sent it.
    pub(super) check: u32,
    pub(super) values: Values,
    pub(super) to: Interface,
    /// When, by the operator's wall clock.
    pub(super) at: Timestamp,
    /// Whether it was accepted; `None` if UKG Pro had trouble of its own and judged nothing.
    pub(super) taken: Option<bool>,
    /// Whether the answer arrived.
    pub(super) answered: bool,
    /// Whether it was sent to log in rather than to read.
    pub(super) is_login: bool,
    /// Whether the answer is no success, and may be a refusal as far as the operator can know.
    pub(super) is_unclear: bool,
}

impl Presented {
    pub(super) fn is_refused(&self) -> bool {
        self.taken == Some(false)
    }
}

/// A permission that an answer showed to be granted; the answer arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) check: u32,
    pub(super) permission: String,
}

/// What may happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// It does not arrive.
    NotSent,
    /// It is judged, and the answer is lost.
    Lost,
    /// It is judged, and the answer does not come before the deadline.
    DeadlineExceeded,
    /// A gateway in front of the service answers.
    Unavailable,
    /// It is answered without being judged.
    ServerError,
    RateLimited,
    Unclear,
}

/// Which requests meet a fault: each `every`th, from the one numbered `first`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Faults {
    pub(super) fault: Fault,
    pub(super) every: u8,
    pub(super) first: u8,
}

/// The state of the tenant.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The password that is accepted.
    pub(super) password: u8,
    /// After so many requests, this password is accepted instead.
    pub(super) rotation: Option<(u64, u8)>,
    pub(super) locked: bool,
    /// REST accepts no login.
    pub(super) refuses_rest: bool,
    /// A refusal is worded in a way that the operator does not know.
    pub(super) unexplained: bool,
    /// The rows that are not ticked in UKG Pro.
    pub(super) denied: BTreeSet<String>,
    pub(super) faults: Option<Faults>,
    /// The number of requests, which selects those that meet a fault.
    requests: u64,
    pub(super) presented: Vec<Presented>,
    pub(super) shown: Vec<Shown>,
}

impl State {
    pub(super) fn takes(&self, values: Values, by: Interface) -> bool {
        !self.locked && values.password == self.password && !(by == Interface::Rest && self.refuses_rest)
    }

    /// Returns the fault of the next request.
    fn next(&mut self) -> Option<Fault> {
        if let Some((left, password)) = self.rotation.take() {
            match left.checked_sub(1) {
                Some(left) => self.rotation = Some((left, password)),
                None => self.password = password,
            }
        }
        let number = self.requests;
        self.requests += 1;
        let Faults { fault, every, first } = self.faults?;
        let every = u64::from(every.max(1));
        (number % every == u64::from(first) % every).then_some(fault)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Upstream(Arc<Mutex<State>>);

impl Upstream {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test goes on after a panic")
    }
}

/// The tenant as one check sees it.
pub(super) struct Tenant<'a> {
    pub(super) upstream: Upstream,
    pub(super) check: u32,
    pub(super) values: Values,
    pub(super) clock: &'a Clock,
}

/// Why there is no answer to read.
enum Trouble {
    Unanswered(Unanswered),
    Unclear,
}

impl Tenant<'_> {
    /// Makes one request: decides whether UKG Pro accepts the login, and what it finds then.
    async fn exchange<T>(
        &self,
        is_login: bool,
        shown_to: Option<Interface>,
        deadline: Instant,
        judge: impl FnOnce(&mut State, bool, bool) -> T,
    ) -> Result<T, Trouble> {
        yield_now().await;
        let (fault, answer) = {
            let mut state = self.upstream.state();
            let fault = state.next();
            let is_judged = matches!(fault, None | Some(Fault::Lost | Fault::DeadlineExceeded));
            let answered = !matches!(fault, Some(Fault::Lost | Fault::DeadlineExceeded));
            let taken = shown_to.is_none_or(|to| state.takes(self.values, to));
            if let Some(to) = shown_to.filter(|_| fault != Some(Fault::NotSent)) {
                let taken = is_judged.then_some(taken);
                let (check, values) = (self.check, self.values);
                let (is_unclear, at) = (matches!(fault, Some(Fault::ServerError | Fault::Unclear)), self.clock.now());
                state.presented.push(Presented { check, values, to, at, taken, answered, is_login, is_unclear });
            }
            (fault, is_judged.then(|| judge(&mut state, taken, answered)))
        };
        match fault {
            Some(Fault::DeadlineExceeded) => sleep_until(deadline).await,
            _ => yield_now().await,
        }
        let unanswered = |unanswered| Err(Trouble::Unanswered(unanswered));
        match (fault, answer) {
            (Some(Fault::Lost), _) => unanswered(Unanswered::ConnectionLost),
            (Some(Fault::DeadlineExceeded), _) => unanswered(Unanswered::AnswerTimeout),
            (Some(Fault::NotSent), _) => unanswered(Unanswered::ConnectRefused),
            (Some(Fault::Unavailable), _) => unanswered(Unanswered::Unavailable { retry_after: None }),
            (Some(Fault::ServerError), _) => unanswered(Unanswered::ServerError),
            (Some(Fault::RateLimited), _) => unanswered(Unanswered::RateLimited { retry_after: Some(Duration::from_secs(60)) }),
            (Some(Fault::Unclear), _) | (None, None) => Err(Trouble::Unclear),
            (None, Some(answer)) => Ok(answer),
        }
    }
}

impl WebServices for Tenant<'_> {
    async fn log_in(&self, deadline: Instant) -> Result<Session, LoginFailure> {
        let to = if self.values.user_api_key { Interface::LoginService } else { Interface::Rest };
        let taken = self.exchange(true, Some(to), deadline, |state, taken, _| (taken, state.unexplained)).await;
        match taken {
            Ok((true, _)) if to == Interface::Rest => Ok(Session::Basic),
            // The token names its values, so that a session of other values cannot be used.
            Ok((true, _)) => Ok(Session::Token(Sensitive::new(format!("{:?}", self.values)))),
            Ok((false, true)) => Err(LoginFailure::Undetermined(UndeterminedReason::Failed)),
            Ok((false, false)) => Err(LoginFailure::Refused(Refusal::Credentials)),
            Err(Trouble::Unanswered(unanswered)) => Err(unanswered.into()),
            Err(Trouble::Unclear) => Err(LoginFailure::Undetermined(UndeterminedReason::Fault)),
        }
    }

    async fn read(&self, session: &Session, requirement: &Requirement, deadline: Instant) -> Outcome {
        let permission = &requirement.row.name;
        let shown_to = match (requirement.api, session) {
            (Api::Rest, _) => Some(Interface::Rest),
            (Api::Soap, Session::Token(token)) => {
                assert_eq!(token.expose(), format!("{:?}", self.values), "a session served other values");
                None
            }
            (Api::Soap, Session::Basic) => panic!("a SOAP service was asked without a token"),
        };
        let judge = |state: &mut State, taken: bool, answered: bool| {
            let granted = taken && !state.denied.contains(permission);
            if granted && answered {
                state.shown.push(Shown { check: self.check, permission: permission.clone() });
            }
            (taken, granted)
        };
        match self.exchange(false, shown_to, deadline, judge).await {
            Ok((false, _)) => Outcome::LoginRefused,
            Ok((true, true)) => Outcome::Granted,
            Ok((true, false)) => Outcome::Denied,
            Err(Trouble::Unanswered(unanswered)) => Outcome::Error(unanswered),
            Err(Trouble::Unclear) => Outcome::Undetermined,
        }
    }
}
