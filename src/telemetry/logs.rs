//! Log output on standard error: for people, or one JSON object per line.
//!
//! **Invariant.** The targets in [`SILENT`] log nothing, whatever the filter.

use std::io::IsTerminal as _;

use clap::ValueEnum;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line, for machines.
    Json,
}

/// A filter that cannot be parsed.
#[derive(Debug, thiserror::Error)]
#[error("--log-level is not a filter; write info, debug or a list such as info,ukgpro_operator=debug")]
pub struct FilterError(#[from] tracing_subscriber::filter::ParseError);

/// Targets that never log. `kube_client::client` logs whole response bodies, Secrets included, when one cannot be decoded.
/// `kube_runtime::watcher` logs what the API server said; the operator itself logs the kind of failure.
pub const SILENT: [&str; 2] = ["kube_client::client", "kube_runtime::watcher"];

/// Starts logging for the process.
pub fn start(format: LogFormat, level: &str) -> Result<(), FilterError> {
    let said = filter_fn(|metadata| !SILENT.iter().any(|target| metadata.target().starts_with(target)));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Text => lines.with_target(false).with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(said)).with(EnvFilter::try_new(level)?).init();
    Ok(())
}
