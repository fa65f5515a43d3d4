//! `/livez` and `/readyz`.
//!
//! Alive: the process answers. Ready: the first list of connections has been read, so that verdicts are kept up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

/// Whether the operator is ready, told by the watch and asked by the endpoint.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The connections have been listed.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Serves until the process ends.
pub async fn serve(listener: TcpListener, readiness: Readiness) -> std::io::Result<()> {
    let readyz = |State(readiness): State<Readiness>| async move {
        if readiness.is_set() {
            (StatusCode::OK, "ok\n")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "connections are not listed yet\n")
        }
    };
    let router = Router::new().route("/livez", get(|| async { "ok\n" })).route("/readyz", get(readyz)).with_state(readiness);
    axum::serve(listener, router).await
}
