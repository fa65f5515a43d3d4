//! One login, one probe: a request written, sent once, and its answer read.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

use crate::ukg::catalogue::{Probe, RestProbe, SoapProbe};
use crate::ukg::credentials::Credentials;
use crate::ukg::endpoint::Endpoint;
use crate::ukg::login::{self, LoginFailure, Session};
use crate::ukg::outcome::{self, Outcome};
use crate::ukg::soap::write;
use crate::ukg::transport::{self, Transport};

/// SOAP 1.2's media type as WCF insists on it.
const SOAP_XML: &str = "application/soap+xml; charset=utf-8";

/// A tenant's web services, as one connection reaches them.
pub struct Client<'a> {
    /// How to get there.
    pub transport: &'a Transport,
    /// Where.
    pub endpoint: &'a Endpoint,
    /// As whom.
    pub credentials: &'a Credentials,
    /// When every call of this check must have ended.
    pub deadline: Instant,
}

impl Client<'_> {
    /// Logs in, once.
    pub async fn login(&self) -> Result<Session, LoginFailure> {
        let message = write::authenticate(self.credentials);
        let request = self.transport.post(self.endpoint.url("/services/LoginService"));
        let request = request.header(CONTENT_TYPE, SOAP_XML).body(message.as_bytes().to_vec());
        login::read_answer(&transport::send(request, self.deadline).await?)
    }

    /// Makes the read that shows whether a permission is granted.
    pub async fn probe(&self, session: &Session, probe: &Probe) -> Outcome {
        match probe {
            Probe::Soap(soap) => self.soap_probe(session, soap).await,
            Probe::Rest(rest) => self.rest_probe(rest).await,
        }
    }

    async fn soap_probe(&self, session: &Session, probe: &SoapProbe) -> Outcome {
        let SoapProbe { service, operation, form } = *probe;
        let message = write::find_nobody(service, operation, &session.token, &self.credentials.customer_api_key);
        let request = self.transport.post(self.endpoint.url(&format!("/services/{service}")));
        let request = request.header(CONTENT_TYPE, SOAP_XML).body(message.as_bytes().to_vec());
        match transport::send(request, self.deadline).await {
            Ok(answer) => outcome::read_soap(&answer, form),
            Err(unanswered) => Outcome::Error(unanswered),
        }
    }

    async fn rest_probe(&self, probe: &RestProbe) -> Outcome {
        let Credentials { username, password, customer_api_key, .. } = self.credentials;
        let Ok(mut key) = HeaderValue::from_str(customer_api_key.expose()) else {
            // No header can hold it, so no REST call can be made with it.
            return Outcome::Undetermined;
        };
        key.set_sensitive(true);
        let request = self.transport.get(self.endpoint.url(probe.path));
        let request = request.header(ACCEPT, "application/json").header("US-Customer-Api-Key", key);
        let request = request.basic_auth(username.expose(), password.expose());
        match transport::send(request, self.deadline).await {
            Ok(answer) => outcome::read_rest(&answer),
            Err(unanswered) => Outcome::Error(unanswered),
        }
    }
}
