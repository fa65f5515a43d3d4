//! How the operator gets to the API server: by what the kubeconfig or the ServiceAccount says, and by what it says later.
//!
//! kube's client reads the authorities and the certificate of its own once. When the API server's authority is rotated, the kubelet puts
//! the new one beside the token, and a process that goes on with the old one is blind until it is started anew. So where a request does
//! not get through, or is answered 401, the configuration is read again, and the requests to come go by what it says.
//!
//! **Contract.** A request goes by one client, from beginning to end; nothing is sent twice. An API server that is away costs a look at
//! the configuration in `AGAIN`, and no more.
//!
//! A token that stands in a file is read here as well, since kube takes it with the line end that a person's editor leaves at its end, of
//! which no header can be made.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode};
use kube::client::{Body, ClientBuilder};
use kube::{Client, Config};
use tokio::time::Instant;
use tower_service::Service;
use zeroize::Zeroizing;

use crate::cluster::failure::kubernetes_failure;

/// From one look at the configuration to the next, while requests fail.
const AGAIN: Duration = Duration::from_secs(10);
/// How long to go on with a token before its file is read again: the kubelet puts a new one there when four fifths of its time have
/// passed, of ten minutes at the least.
const TOKEN_AGE: Duration = Duration::from_secs(50);

/// Where the configuration comes from.
type Source = dyn Fn() -> BoxFuture<'static, Option<Config>> + Send + Sync;

/// The way to the API server, for [`ClientBuilder::new`].
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    source: Box<Source>,
    /// Whether the client tries again by itself what an API server with too much to do refuses.
    retries: bool,
    agent: Option<HeaderValue>,
    state: Mutex<State>,
}

struct State {
    client: Client,
    /// What the client trusts and speaks to.
    seen: Seen,
    token: Option<Token>,
    looked: Instant,
}

/// What of a configuration tells whether another has come.
#[derive(PartialEq, Eq)]
struct Seen {
    url: String,
    authorities: Option<Vec<Vec<u8>>>,
}

struct Token {
    file: PathBuf,
    /// `None` where it could not be read, or no header be made of it.
    header: Option<HeaderValue>,
    read: Instant,
}

impl Access {
    /// By this configuration, and later by what the environment says; for a part of the operator that is told to the API server.
    pub fn new(config: Config, retries: bool, part: &str) -> kube::Result<Self> {
        Self::by(config, retries, part, || Box::pin(async { Config::infer().await.ok() }))
    }

    fn by(
        config: Config,
        retries: bool,
        part: &str,
        source: impl Fn() -> BoxFuture<'static, Option<Config>> + Send + Sync + 'static,
    ) -> kube::Result<Self> {
        let state = State::of(config, retries)?;
        let agent = HeaderValue::try_from(agent(part)).ok();
        Ok(Self(Arc::new(Shared { source: Box::new(source), retries, agent, state: Mutex::new(state) })))
    }

    /// The client of now, and the header to go with it.
    fn current(&self) -> (Client, Option<HeaderValue>) {
        let mut state = self.state();
        let token = state.token.as_mut().and_then(Token::header);
        (state.client.clone(), token)
    }

    /// Whether it is time to look at the configuration again, and if so, that it is looked at.
    fn is_due(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let due = now.duration_since(state.looked) >= AGAIN;
        if due {
            state.looked = now;
        }
        due
    }

    /// Reads the configuration again. The requests to come go by a new client, with connections of its own.
    async fn renew(&self) {
        let Some(config) = (self.0.source)().await else {
            tracing::warn!("the kubeconfig or ServiceAccount cannot be read again; going on with what it said before");
            return;
        };
        match State::of(config, self.0.retries) {
            Ok(new) => {
                let mut state = self.state();
                if new.seen != state.seen {
                    tracing::info!("the kubeconfig or ServiceAccount names other authorities or another API server now");
                }
                *state = new;
            }
            Err(error) => {
                let failure = kubernetes_failure(&error);
                tracing::warn!(
                    failure,
                    "the kubeconfig or ServiceAccount makes no client now; going on with what it said before"
                );
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // What is in it is put there as a whole, so a poisoned lock holds good data.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who asks, as audit logs and the API server's rules of priority name it, in the form that Kubernetes' own clients have.
fn agent(part: &str) -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("ukgpro-operator/{} ({}/{arch}) {part}", env!("CARGO_PKG_VERSION"), std::env::consts::OS)
}

impl State {
    fn of(mut config: Config, retries: bool) -> kube::Result<Self> {
        config.default_retry = retries;
        let seen = Seen { url: config.cluster_url.to_string(), authorities: config.root_cert.clone() };
        let auth = &mut config.auth_info;
        // What kube prefers to a file goes on as it is.
        let by_file = auth.token.is_none() && auth.auth_provider.is_none() && auth.username.is_none();
        let file = if by_file { auth.token_file.take() } else { None };
        let token = file.map(|file| Token::of(file.into()));
        let client = ClientBuilder::try_from(config)?.build();
        Ok(Self { client, seen, token, looked: Instant::now() })
    }
}

impl Token {
    fn of(file: PathBuf) -> Self {
        let header = Self::read(&file);
        Self { file, header, read: Instant::now() }
    }

    fn header(&mut self) -> Option<HeaderValue> {
        if self.read.elapsed() >= TOKEN_AGE || self.header.is_none() {
            self.read = Instant::now();
            // The last one may be good for a while yet.
            self.header = Self::read(&self.file).or(self.header.take());
        }
        self.header.clone()
    }

    fn read(file: &std::path::Path) -> Option<HeaderValue> {
        let text = Zeroizing::new(std::fs::read_to_string(file).ok()?);
        let line = Zeroizing::new(format!("Bearer {}", text.trim()));
        let mut header = HeaderValue::try_from(line.as_str()).ok()?;
        header.set_sensitive(true);
        Some(header)
    }
}

impl Service<Request<Body>> for Access {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let access = self.clone();
        Box::pin(async move {
            let (client, token) = access.current();
            if let Some(token) = token {
                request.headers_mut().insert(AUTHORIZATION, token);
            }
            if let Some(agent) = &access.0.agent {
                request.headers_mut().insert(USER_AGENT, agent.clone());
            }
            let answer = client.send(request).await;
            let is_locked_out = match &answer {
                Ok(answer) => answer.status() == StatusCode::UNAUTHORIZED,
                Err(_) => true,
            };
            if is_locked_out && access.is_due() {
                access.renew().await;
            }
            answer
        })
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
