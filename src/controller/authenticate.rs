//! authenticate: a target → a session, by one login. Speaks to UKG Pro.

use std::sync::Arc;

use tokio::time::Instant;
use ukg_pro::catalogue::{Api, Requirement, RestProbe};
use ukg_pro::client::Client;
use ukg_pro::login::{LoginFailure, Session, Unclear};
use ukg_pro::outcome::Outcome;

use super::resolve::Target;
use crate::login_guard::{Lend, Turn};
use crate::telemetry::metrics::{LoginOutcome, Metrics, Stage};

/// A tenant's web services as a check uses them, so that the check can be tried without any.
pub trait WebServices: Sync {
    /// Logs in, once.
    fn log_in(&self, deadline: Instant) -> impl Future<Output = Result<Session, LoginFailure>> + Send;

    /// Makes the read that shows whether a permission is granted, once.
    fn read(&self, session: &Session, requirement: &Requirement, deadline: Instant) -> impl Future<Output = Outcome> + Send;
}

impl WebServices for Target {
    async fn log_in(&self, deadline: Instant) -> Result<Session, LoginFailure> {
        let client = self.client(deadline);
        match (&self.credentials.user_api_key, self.first_rest()) {
            (Some(user_api_key), _) => client.login(user_api_key).await,
            (None, Some(read)) => client.login_by(read).await,
            // resolve asks for the user API key where nothing is required by REST.
            (None, None) => Err(LoginFailure::Undetermined(Unclear::Other)),
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

    /// The read to log in by, without a user API key: better one that answers with a row than one past the end, which may be a 404.
    fn first_rest(&self) -> Option<&RestProbe> {
        self.requirements.iter().filter_map(|requirement| requirement.row.rest.as_ref()).min_by_key(|read| read.people)
    }
}

/// Web services whose use is counted.
pub struct Measured<'a, S> {
    /// The services.
    pub services: &'a S,
    /// What counts.
    pub metrics: &'a Metrics,
}

impl<S: WebServices> WebServices for Measured<'_, S> {
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

/// Logs in once, in its turn, and lends the session to those who come soon.
pub async fn authenticate(
    services: &impl WebServices,
    turn: &mut Turn,
    deadline: Instant,
    lend: Lend,
) -> Result<Arc<Session>, LoginFailure> {
    let session = services.log_in(deadline).await.inspect_err(|failure| turn.failed(*failure, lend.authority))?;
    let session = Arc::new(session);
    turn.succeeded(&session, lend);
    Ok(session)
}
