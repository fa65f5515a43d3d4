//! Logs, on standard error: for people, or one JSON object a line.
//!
//! **Invariant.** `kube_client::client` logs whole reply bodies, Secrets included, when one cannot be decoded; it is silenced below
//! errors whatever filter is asked for.

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// A filter that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("--log-level is not a filter; write info, debug or a list such as info,ukgpro_operator=debug")]
pub struct FilterError(#[from] tracing_subscriber::filter::ParseError);

/// Starts logging for the process.
pub fn start(format: LogFormat, level: &str) -> Result<(), FilterError> {
    let filter = EnvFilter::try_new(level)?.add_directive("kube_client::client=error".parse()?);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder.with_target(false).with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
    Ok(())
}
