//! `ukgpro-simulator` is a stand-in for UKG Pro: LoginService, the SOAP data services and the REST reads, over HTTPS.
//!
//! It is written from what is known of the wire. It shares no code with the operator's client, so a misunderstanding in one shows
//! against the other. It is as strict as UKG Pro: it refuses or silently drops what a client does wrong, and counts it.
//!
//! | file | role |
//! |---|---|
//! | `main` | flags, listeners, start and stop |
//! | [`config`] | the tenants file |
//! | [`catalogue`] | names of services, paths and permission rows |
//! | [`simulator`] | the state, and the handling of a request |
//! | [`tenants`] | accounts, locks, tokens |
//! | [`xml`], [`soap`], [`message`] | strict reading, and writing |
//! | [`login`], [`data`], [`rest`] | the services |
//! | [`description`] | their WSDL and XML schemas |
//! | [`people`], [`filter`], [`records`] | invented persons, the conditions of a query, and persons' records |
//! | [`faults`], [`counters`], [`admin`] | faults that a test injects, counters, and the control API |
//! | [`call`], [`tls`] | HTTP and TLS |

mod admin;
mod call;
mod catalogue;
mod config;
mod counters;
mod data;
mod description;
mod faults;
mod filter;
mod login;
mod message;
mod people;
mod records;
mod rest;
mod simulator;
mod soap;
mod tenants;
mod tls;
mod xml;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tracing_subscriber::EnvFilter;

use crate::admin::Control;
use crate::config::{Config, ConfigError};
use crate::simulator::Simulator;
use crate::tls::{Authority, CA_CERTIFICATE, CountingAcceptor, TlsError};

/// How long requests in flight may take to finish at a stop.
const GRACE: Duration = Duration::from_secs(3);

/// Stands in for UKG Pro's web services, for tests.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// YAML file with the tenants to simulate.
    #[arg(long, env = "UKGPRO_SIMULATOR_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Address of the HTTPS listener; port 0 takes a free port.
    #[arg(long, env = "UKGPRO_SIMULATOR_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Address of the control API, plain HTTP and without authentication; port 0 takes a free port.
    #[arg(long, env = "UKGPRO_SIMULATOR_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8444")]
    admin_listen: SocketAddr,
    /// File to write the certificate of the simulator's own authority to, for clients to trust.
    #[arg(long, env = "UKGPRO_SIMULATOR_CA_OUT", value_name = "FILE")]
    ca_out: Option<PathBuf>,
    /// Directory that keeps the authority (ca.crt and ca.key) across restarts; created if it does not exist.
    #[arg(long, env = "UKGPRO_SIMULATOR_STATE_DIR", value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// Stop when standard input closes, as it does when the parent process dies.
    #[arg(long, env = "UKGPRO_SIMULATOR_EXIT_WHEN_STDIN_CLOSES")]
    exit_when_stdin_closes: bool,
    /// What to log on standard error: error, warn, info, debug (each request), or a tracing filter.
    #[arg(long, env = "UKGPRO_SIMULATOR_LOG", value_name = "FILTER", default_value = "info")]
    log: String,
}

/// Why the simulator cannot start.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("--log: {0}")]
    Log(#[from] tracing_subscriber::filter::ParseError),
    #[error("--config {path}: {source}")]
    ReadConfig { path: PathBuf, source: io::Error },
    #[error("--config {path}: {source}")]
    Config { path: PathBuf, source: ConfigError },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("--ca-out {path}: {source}")]
    CaOut { path: PathBuf, source: io::Error },
    #[error("{flag} {address}: {source}")]
    Listen { flag: &'static str, address: SocketAddr, source: io::Error },
    #[error("cannot start: {0}")]
    Runtime(io::Error),
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    match start(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error may be closed, and there is nowhere else to report it.
            let _ = writeln!(io::stderr(), "ukgpro-simulator: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(flags: &Flags) -> Result<(), StartError> {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&flags.log)?)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    let path = &flags.config;
    let text = std::fs::read_to_string(path).map_err(|source| StartError::ReadConfig { path: path.clone(), source })?;
    let config = Config::parse(&text).map_err(|source| StartError::Config { path: path.clone(), source })?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(StartError::Runtime)?;
    runtime.block_on(run(flags, config))
}

async fn run(flags: &Flags, config: Config) -> Result<(), StartError> {
    // First, so that no stop signal is missed.
    let stop = stop_signal(flags.exit_when_stdin_closes).map_err(StartError::Runtime)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let random = provider.secure_random;
    let authority = Authority::open(flags.state_dir.as_deref(), provider)?;
    if let Some(path) = &flags.ca_out {
        std::fs::write(path, authority.pem()).map_err(|source| StartError::CaOut { path: path.clone(), source })?;
    }
    let tls = RustlsConfig::from_config(authority.server_config(&config.certificate_names())?);
    let simulator = Arc::new(Simulator::new(config, random));

    let (https, https_address) = listen("--listen", flags.listen)?;
    let (admin, admin_address) = listen("--admin-listen", flags.admin_listen)?;
    let services = Router::new().fallback(Simulator::serve).with_state(simulator.clone());
    let acceptor = CountingAcceptor::new(tls.clone(), simulator.clone());
    let control = admin::router(Arc::new(Control { simulator, authority, tls }));
    let (https_handle, admin_handle) = (Handle::new(), Handle::new());
    let https = axum_server::from_tcp(https)
        .map_err(StartError::Runtime)?
        .acceptor(acceptor)
        .handle(https_handle.clone())
        .serve(services.into_make_service());
    let admin = axum_server::from_tcp(admin)
        .map_err(StartError::Runtime)?
        .handle(admin_handle.clone())
        .serve(control.into_make_service());

    let ca_file = flags.ca_out.clone().or_else(|| flags.state_dir.as_ref().map(|dir| dir.join(CA_CERTIFICATE)));
    announce(https_address, admin_address, ca_file.as_deref()).map_err(StartError::Runtime)?;
    let stopper = async {
        let why = stop.await;
        tracing::info!(why, "stopping");
        https_handle.graceful_shutdown(Some(GRACE));
        admin_handle.graceful_shutdown(Some(GRACE));
        Ok(())
    };
    tokio::try_join!(https, admin, stopper).map(drop).map_err(StartError::Runtime)
}

fn listen(flag: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let bound = listener.local_addr()?;
        Ok((listener, bound))
    };
    bind().map_err(|source| StartError::Listen { flag, address, source })
}

/// Writes the one line on standard output. Both listeners accept connections from here on.
fn announce(https: SocketAddr, admin: SocketAddr, ca_file: Option<&Path>) -> io::Result<()> {
    let line = serde_json::json!({
        "https": https.to_string(),
        "admin": format!("http://{admin}"),
        "caFile": ca_file.map(|path| path.to_string_lossy()),
    });
    tracing::info!(%https, %admin, "ready");
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Waits for a signal, or for the end of standard input if `stdin_too`.
fn stop_signal(stdin_too: bool) -> io::Result<impl Future<Output = &'static str>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let closed = Arc::new(Notify::new());
    if stdin_too {
        let closed = closed.clone();
        // A thread of its own: a blocked read would delay the runtime's shutdown.
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while io::stdin().read(&mut bytes).is_ok_and(|read| read > 0) {}
            closed.notify_one();
        });
    }
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
            () = closed.notified() => "standard input closed",
        }
    })
}
