//! The control API: reads counters, replaces tenants and injects faults, in plain HTTP on a loopback address.
//!
//! There is no authentication: anyone who reaches it controls the simulator. It never returns a credential.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State as Shared};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use axum_server::tls_rustls::RustlsConfig;

use crate::config::Config;
use crate::counters::Counters;
use crate::faults::{Fault, Faults};
use crate::simulator::Simulator;
use crate::tls::Authority;

/// A configuration of 10,000 accounts is about 3 MiB.
const LARGEST_BODY: usize = 64 * 1024 * 1024;

/// What the control API controls.
pub(crate) struct Control {
    /// Tenants, counters, faults.
    pub(crate) simulator: Arc<Simulator>,
    /// Issues a certificate for new hosts.
    pub(crate) authority: Authority,
    /// Serves that certificate.
    pub(crate) tls: RustlsConfig,
}

type Control_ = Shared<Arc<Control>>;

/// The routes.
pub(crate) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/ca.pem", get(certificate))
        .route("/counters", get(counters).delete(reset_counters))
        .route("/config", get(config).put(replace_config))
        .route("/faults", get(faults).put(replace_faults).delete(remove_faults))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(control)
}

fn refused(what: impl ToString) -> Response {
    (StatusCode::BAD_REQUEST, Json(serde_json::json!({ "error": what.to_string() }))).into_response()
}

async fn certificate(Shared(control): Control_) -> Response {
    ([(header::CONTENT_TYPE, "application/x-pem-file")], control.authority.pem().to_owned()).into_response()
}

async fn counters(Shared(control): Control_) -> Response {
    Json(&control.simulator.state().counters).into_response()
}

async fn reset_counters(Shared(control): Control_) -> StatusCode {
    control.simulator.state().counters = Counters::default();
    StatusCode::NO_CONTENT
}

/// Returns the configuration without its credentials. An account that refused logins have locked is `Locked`.
async fn config(Shared(control): Control_) -> Response {
    let state = control.simulator.state();
    let mut config = state.config.clone();
    for tenant in &mut config.tenants {
        for account in &mut tenant.accounts {
            account.status = state.tenants.status(&tenant.name, &account.username).unwrap_or(account.status);
        }
    }
    drop(state);
    Json(config).into_response()
}

async fn replace_config(Shared(control): Control_, text: String) -> Response {
    let config = match Config::parse(&text) {
        Ok(config) => config,
        Err(error) => return refused(error),
    };
    match control.authority.server_config(&config.certificate_names()) {
        Ok(tls) => control.tls.reload_from_config(tls),
        Err(error) => return refused(error),
    }
    tracing::info!(tenants = config.tenants.len(), "playing other tenants");
    control.simulator.replace(config);
    StatusCode::NO_CONTENT.into_response()
}

async fn faults(Shared(control): Control_) -> Response {
    Json(control.simulator.state().faults.list()).into_response()
}

async fn replace_faults(Shared(control): Control_, text: String) -> Response {
    let faults: Vec<Fault> = match serde_json::from_str(&text) {
        Ok(faults) => faults,
        Err(error) => return refused(format!("write a JSON list of faults: {error}")),
    };
    match Faults::new(faults) {
        Ok(faults) => {
            control.simulator.state().faults = faults;
            StatusCode::NO_CONTENT.into_response()
        }
        Err(error) => refused(error),
    }
}

async fn remove_faults(Shared(control): Control_) -> StatusCode {
    control.simulator.state().faults = Faults::default();
    StatusCode::NO_CONTENT
}
