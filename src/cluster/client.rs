//! The client for the API server. It picks up a rotated certificate authority or token without a restart.
//!
//! kube's client reads the authorities and its own certificate only once. When the API server's authority is rotated, the kubelet
//! puts the new one next to the token. A process that keeps the old one cannot connect until it is restarted. So when a request
//! fails to get through or is answered with 401, this client reads the configuration again and uses it for later requests.
//!
//! The same replaces a connection that is open and of no use: of an API server that hangs, several requests in a row are given up
//! before an answer begins.
//!
//! **Contract.** One inner client handles a request from start to end, and this layer repeats no request. While the API server is
//! unreachable, the configuration is read at most once per `RELOAD_INTERVAL`.
//!
//! Token files are read here too. An editor often leaves a line end at the end of the file; kube keeps it and cannot make a header
//! of it.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
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

use crate::cluster::deadlines::is_watch;
use crate::cluster::failure::kubernetes_failure;

mod connection;

/// The shortest time between two reads of the configuration while requests fail.
const RELOAD_INTERVAL: Duration = Duration::from_secs(10);
/// The number of requests in a row that are given up before an answer begins, after which connections are replaced.
const UNANSWERED_MAX: usize = 3;
/// How long a token is used before its file is read again. The kubelet replaces a token after four fifths of its lifetime, which is
/// at least ten minutes.
const TOKEN_AGE: Duration = Duration::from_secs(50);

/// Reads the configuration.
type Source = dyn Fn() -> BoxFuture<'static, Option<Config>> + Send + Sync;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Watches, checks and the ledger: many requests at once. Retries requests that an overloaded API server refuses.
    Controller,
    /// The Lease: one request at a time, and a late answer is worth nothing.
    LeaderElection,
}

/// The connection to the API server, for [`kube::client::ClientBuilder::new`].
#[derive(Clone)]
pub struct ApiServerClient(Arc<Shared>);

struct Shared {
    source: Box<Source>,
    role: Role,
    agent: Option<HeaderValue>,
    /// The number of requests in a row that were given up before an answer began.
    unanswered: AtomicUsize,
    state: Mutex<State>,
}

struct State {
    client: Client,
    /// For watches, each of which keeps a connection for itself.
    watches: Client,
    /// The API server and the authorities that the client uses.
    identity: ConfigIdentity,
    token: Option<Token>,
    last_reload: Instant,
}

/// The parts of a configuration that show whether it has changed.
#[derive(PartialEq, Eq)]
struct ConfigIdentity {
    url: String,
    authorities: Option<Vec<Vec<u8>>>,
}

struct Token {
    file: PathBuf,
    /// `None` if the file could not be read or its text makes no valid header.
    header: Option<HeaderValue>,
    read: Instant,
}

impl ApiServerClient {
    /// Makes a client from `config`; later configurations come from the environment.
    pub fn new(config: Config, role: Role) -> kube::Result<Self> {
        Self::by(config, role, || Box::pin(async { Config::infer().await.ok() }))
    }

    fn by(
        config: Config,
        role: Role,
        source: impl Fn() -> BoxFuture<'static, Option<Config>> + Send + Sync + 'static,
    ) -> kube::Result<Self> {
        let state = State::of(config, role)?;
        let agent = HeaderValue::try_from(agent(role)).ok();
        Ok(Self(Arc::new(Shared {
            source: Box::new(source),
            role,
            agent,
            unanswered: AtomicUsize::new(0),
            state: Mutex::new(state),
        })))
    }

    /// Returns the current client for a request, and the token header to send with it.
    fn current(&self, is_watch: bool) -> (Client, Option<HeaderValue>) {
        let mut state = self.state();
        let token = state.token.as_mut().and_then(Token::header);
        (if is_watch { state.watches.clone() } else { state.client.clone() }, token)
    }

    /// Returns true if it is time to read the configuration again, and counts that as a read.
    fn is_due(&self) -> bool {
        let (mut state, now) = (self.state(), Instant::now());
        let due = now.duration_since(state.last_reload) >= RELOAD_INTERVAL;
        if due {
            state.last_reload = now;
        }
        due
    }

    /// Reads the configuration again. Later requests use a new client with its own connections.
    async fn reload(&self) {
        let Some(config) = (self.0.source)().await else {
            tracing::warn!("the kubeconfig or ServiceAccount cannot be read again; continuing with what it said before");
            return;
        };
        match State::of(config, self.0.role) {
            Ok(new) => {
                let mut state = self.state();
                if new.identity != state.identity {
                    tracing::info!("the kubeconfig or ServiceAccount now names other authorities or another API server");
                }
                *state = new;
            }
            Err(error) => {
                let failure = kubernetes_failure(&error);
                tracing::warn!(
                    failure,
                    "no client can be made from the kubeconfig or ServiceAccount now; continuing with what it said before"
                );
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // The state is only replaced as a whole, so a poisoned lock holds valid data.
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The user agent, for audit logs and the API server's priority and fairness rules, in the form of Kubernetes' own clients.
fn agent(role: Role) -> String {
    let part = match role {
        Role::Controller => "controller",
        Role::LeaderElection => "leader-election",
    };
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("ukgpro-operator/{} ({}/{arch}) {part}", env!("CARGO_PKG_VERSION"), std::env::consts::OS)
}

impl State {
    fn of(mut config: Config, role: Role) -> kube::Result<Self> {
        config.default_retry = role == Role::Controller;
        let identity = ConfigIdentity { url: config.cluster_url.to_string(), authorities: config.root_cert.clone() };
        let auth = &mut config.auth_info;
        // kube prefers these to a token file, so they stay as they are.
        let by_file = auth.token.is_none() && auth.auth_provider.is_none() && auth.username.is_none();
        let file = if by_file { auth.token_file.take() } else { None };
        let token = file.map(|file| Token::of(file.into()));
        let watches = ClientBuilder::try_from(config.clone())?.build();
        let client = match role {
            Role::Controller => connection::client(config)?,
            Role::LeaderElection => watches.clone(),
        };
        Ok(Self { client, watches, identity, token, last_reload: Instant::now() })
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
            // The previous token may still be valid for a while.
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

impl Service<Request<Body>> for ApiServerClient {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, kube::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<kube::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let access = self.clone();
        Box::pin(async move {
            if access.0.unanswered.load(Ordering::Relaxed) >= UNANSWERED_MAX && access.is_due() {
                access.0.unanswered.store(0, Ordering::Relaxed);
                access.reload().await;
            }
            let (client, token) = access.current(is_watch(&request));
            if let Some(token) = token {
                request.headers_mut().insert(AUTHORIZATION, token);
            }
            if let Some(agent) = &access.0.agent {
                request.headers_mut().insert(USER_AGENT, agent.clone());
            }
            let unanswered = Unanswered(&access.0.unanswered);
            let answer = client.send(request).await;
            unanswered.answered();
            let is_locked_out = match &answer {
                Ok(answer) => answer.status() == StatusCode::UNAUTHORIZED,
                Err(_) => true,
            };
            if is_locked_out && access.is_due() {
                access.reload().await;
            }
            answer
        })
    }
}

/// A request without an answer so far. If it is dropped, it was given up.
struct Unanswered<'a>(&'a AtomicUsize);

impl Unanswered<'_> {
    fn answered(self) {
        self.0.store(0, Ordering::Relaxed);
        std::mem::forget(self);
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for ApiServerClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ApiServerClient").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
