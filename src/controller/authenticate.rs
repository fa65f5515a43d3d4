//! The authenticate step: logs in to a target once and returns the session. Speaks to UKG Pro.

use std::sync::Arc;

use tokio::time::Instant;
use ukg_pro::catalogue::{Api, Requirement, RestProbe};
use ukg_pro::client::Client;
use ukg_pro::login::{LoginFailure, Session, UndeterminedReason};
use ukg_pro::outcome::Outcome;

use super::resolve::Target;
use crate::login_guard::LoginPermit;
use crate::schedule::clock::Clock;
use crate::telemetry::metrics::{LoginOutcome, Metrics, Stage};

/// A tenant's web services as a check uses them; a trait, so that the check can be tested without a tenant.
pub trait WebServices: Sync {
    /// Logs in, once.
    fn log_in(&self, deadline: Instant) -> impl Future<Output = Result<Session, LoginFailure>> + Send;

    /// Sends the read that shows whether a permission is granted, once.
    fn read(&self, session: &Session, requirement: &Requirement, deadline: Instant) -> impl Future<Output = Outcome> + Send;
}

impl WebServices for Target {
    async fn log_in(&self, deadline: Instant) -> Result<Session, LoginFailure> {
        let client = self.client(deadline);
        match (&self.credentials.user_api_key, self.first_rest()) {
            (Some(user_api_key), _) => client.login(user_api_key).await,
            (None, Some(read)) => client.login_by(read).await,
            // Cannot happen: `resolve` requires the User API key unless REST probes all permissions.
            (None, None) => Err(LoginFailure::Undetermined(UndeterminedReason::Other)),
        }
    }

    async fn read(&self, session: &Session, requirement: &Requirement, deadline: Instant) -> Outcome {
        self.client(deadline).probe(session, requirement).await
    }
}

impl Target {
    fn client(&self, deadline: Instant) -> Client<'_> {
        let Target { transport, endpoint, credentials, words, recorder, .. } = self;
        Client { transport, endpoint, credentials, deadline, words, recorder: recorder.as_deref() }
    }

    /// Whether user name and password are sent by basic authentication.
    pub fn uses_rest(&self) -> bool {
        self.requirements.iter().any(|requirement| requirement.api == Api::Rest)
    }

    /// Returns the read that serves as login without a User API key. One that returns a row is preferred to one past the end,
    /// which may be a 404.
    fn first_rest(&self) -> Option<&RestProbe> {
        self.requirements.iter().filter_map(|requirement| requirement.row.rest.as_ref()).min_by_key(|read| read.people)
    }
}

/// Web services that record metrics.
pub struct MeteredServices<'a, S> {
    /// The services.
    pub services: &'a S,
    /// The metrics.
    pub metrics: &'a Metrics,
}

impl<S: WebServices> WebServices for MeteredServices<'_, S> {
    async fn log_in(&self, deadline: Instant) -> Result<Session, LoginFailure> {
        let timer = self.metrics.stage(Stage::Login);
        let result = self.services.log_in(deadline).await;
        timer.stop();
        self.metrics.login(LoginOutcome::of(&result));
        if let Err(LoginFailure::Unanswered(unanswered)) = &result {
            self.metrics.unanswered(*unanswered);
        }
        result
    }

    async fn read(&self, session: &Session, requirement: &Requirement, deadline: Instant) -> Outcome {
        if requirement.api == Api::Rest {
            self.metrics.rest_read();
        }
        let timer = self.metrics.stage(Stage::Probe);
        let outcome = self.services.read(session, requirement, deadline).await;
        timer.stop();
        match outcome {
            Outcome::GrantedUnfiltered => self.metrics.unfiltered_read(),
            Outcome::Error(unanswered) => self.metrics.unanswered(unanswered),
            _ => {}
        }
        outcome
    }
}

/// Logs in once with this permit, and shares the session with checks that come soon. Records a failure, which ends the permit.
pub async fn authenticate<'a>(
    services: &impl WebServices,
    mut permit: LoginPermit<'a>,
    deadline: Instant,
    clock: &Clock,
) -> Result<(Arc<Session>, LoginPermit<'a>), LoginFailure> {
    match services.log_in(deadline).await {
        Ok(session) => Ok((permit.share(session), permit)),
        Err(failure) => {
            permit.failed(failure, clock.now()).await;
            Err(failure)
        }
    }
}
