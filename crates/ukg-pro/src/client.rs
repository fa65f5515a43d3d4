//! Makes one login or one probe: writes a request, sends it once, and interprets the answer.

use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use tokio::time::Instant;

use crate::capture::{self, Exchange, Recorder};
use crate::catalogue::{Api, Requirement, RestProbe, SoapProbe};
use crate::credentials::Credentials;
use crate::endpoint::Endpoint;
use crate::login::{self, LoginFailure, Session};
use crate::outcome::{self, Outcome};
use crate::sensitive::Sensitive;
use crate::soap::write::{self, MessageId};
use crate::transport::{self, Answer, Transport, Unanswered};
use crate::words::Words;

/// The SOAP 1.2 media type that WCF requires.
const SOAP_XML: &str = "application/soap+xml; charset=utf-8";

/// A client for a tenant's web services, on behalf of one connection.
pub struct Client<'a> {
    /// The HTTPS client.
    pub transport: &'a Transport,
    /// The host.
    pub endpoint: &'a Endpoint,
    /// The credentials to log in with.
    pub credentials: &'a Credentials,
    /// The time by which every call of this check must end.
    pub deadline: Instant,
    /// The phrases by which the texts of answers are judged.
    pub words: &'a Words,
    /// Records redacted answers. Usually `None`.
    pub recorder: Option<&'a Recorder>,
}

impl Client<'_> {
    /// Logs in to LoginService, once.
    pub async fn login(&self, user_api_key: &Sensitive) -> Result<Session, LoginFailure> {
        let message = write::authenticate(self.credentials, user_api_key, &MessageId::random());
        let request = self.transport.post(self.endpoint.url("/services/LoginService"));
        let request = request.header(CONTENT_TYPE, SOAP_XML).body(message);
        self.exchange("LoginService/Authenticate", request, |answer| login::read_answer(answer, self.words)).await
    }

    /// Logs in once by a REST read, which needs no user API key.
    pub async fn login_by(&self, read: &RestProbe) -> Result<Session, LoginFailure> {
        self.read(read, |answer| login::read_basic(answer, self.words)).await
    }

    /// Makes the read that shows whether a permission is granted.
    pub async fn probe(&self, session: &Session, requirement: &Requirement) -> Outcome {
        match (requirement.api, &requirement.row.soap, &requirement.row.rest, session) {
            (Api::Soap, Some(soap), _, Session::Token(token)) => self.soap_probe(token, soap).await,
            (Api::Rest, _, Some(rest), _) => {
                self.read(rest, |answer| outcome::read_rest(answer, rest.people, self.words)).await
            }
            // The catalogue and resolve rule this case out. Nothing can be concluded from it.
            _ => Outcome::Undetermined,
        }
    }

    async fn soap_probe(&self, token: &Sensitive, probe: &SoapProbe) -> Outcome {
        let SoapProbe { service, operation, disputed } = probe;
        let message = write::find_nobody(service, operation, token, &self.credentials.customer_api_key, &MessageId::random());
        let request = self.transport.post(self.endpoint.url(&format!("/services/{service}")));
        let request = request.header(CONTENT_TYPE, SOAP_XML).body(message);
        let read = |answer: &Answer| outcome::read_soap(answer, *disputed, self.words);
        self.exchange(&format!("{service}/{operation}"), request, read).await
    }

    async fn read<T: Taken>(&self, read: &RestProbe, taken: impl FnOnce(&Answer) -> T) -> T {
        let Credentials { username, password, customer_api_key, .. } = self.credentials;
        let request = self.transport.get(self.endpoint.url(&read.target())).header(ACCEPT, "application/json");
        let request = request.basic_auth(username.expose(), password.expose());
        // A key that is not a valid header value fails here, before anything is sent. Lint reports it earlier.
        let Ok(mut key) = HeaderValue::from_str(customer_api_key.expose()) else {
            return T::unanswered(Unanswered::ConnectionLost);
        };
        key.set_sensitive(true);
        let path = read.path.split('?').next().unwrap_or_default();
        self.exchange(&format!("GET {path}"), request.header("US-Customer-Api-Key", key), taken).await
    }

    /// Sends a request once and interprets its answer.
    async fn exchange<T: Taken>(
        &self,
        operation: &str,
        request: transport::RequestBuilder,
        read: impl FnOnce(&Answer) -> T,
    ) -> T {
        let begun = Instant::now();
        let answer = transport::send(request, self.deadline).await;
        let took = begun.elapsed();
        let taken = match &answer {
            Ok(answer) => answer.readable().map_or_else(T::unanswered, |()| read(answer)),
            Err(unanswered) => T::unanswered(*unanswered),
        };
        if let Some(recorder) = self.recorder {
            let exchange = match &answer {
                Ok(answer) => {
                    let speaks_of = capture::speaks_of(answer, self.words);
                    Exchange { speaks_of, ..capture::redact(operation, answer) }
                }
                Err(unanswered) => capture::unanswered(operation, *unanswered),
            };
            recorder.record(Exchange { taken_as: taken.taken_as(), ..exchange }, took);
        }
        taken
    }
}

/// The interpretation of an answer.
trait Taken {
    /// The result if no usable answer came.
    fn unanswered(unanswered: Unanswered) -> Self;
    /// The interpretation in words, for a capture.
    fn taken_as(&self) -> String;
}

impl Taken for Outcome {
    fn unanswered(unanswered: Unanswered) -> Self {
        Self::Error(unanswered)
    }

    fn taken_as(&self) -> String {
        self.to_string()
    }
}

impl Taken for Result<Session, LoginFailure> {
    fn unanswered(unanswered: Unanswered) -> Self {
        Err(unanswered.into())
    }

    fn taken_as(&self) -> String {
        match self {
            Ok(_) => "a session".to_owned(),
            Err(failure) => failure.to_string(),
        }
    }
}
