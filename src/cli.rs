//! The command line: `ukgpro-operator run`, `check`, `wait`, `catalogue`, `crd`. One file per command, with flags and wiring.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

pub mod catalogue;
pub mod check;
pub mod crd;
mod flags;
pub mod run;
pub mod wait;

/// Checks connections to UKG Pro continuously.
#[derive(Parser)]
#[command(version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the operator
    Run(Box<run::RunArgs>),
    /// Check one connection from manifests, without a cluster
    ///
    /// Exits with 0 if the connection is Active, 1 if it is not, and 2 if it cannot be checked.
    Check(check::CheckArgs),
    /// Wait until a connection works, or until another of its conditions is True
    ///
    /// For init containers and pipelines. Exits with 0 if the condition is True. Exits with 1 and prints the connection's message
    /// if the timeout has passed or only a person can help. Requires the right to list and watch connections.
    Wait(wait::WaitArgs),
    /// Print the CustomResourceDefinition
    Crd,
    /// List the permissions and profiles that connections can require
    Catalogue(catalogue::CatalogueArgs),
}

/// The exit code if a check could not be made. clap uses it for invalid flags too.
const CANNOT_CHECK: u8 = 2;

/// Returns the command line, for generated documentation.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => {
            return match check::run(args) {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(message) => {
                    eprintln!("ukgpro-operator: {message}");
                    ExitCode::from(CANNOT_CHECK)
                }
            };
        }
        Command::Wait(args) => wait::run(args),
        Command::Crd => crd::run(),
        Command::Catalogue(args) => catalogue::run(&args),
        Command::Run(args) => run::run(*args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ukgpro-operator: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Prints to standard output, which may be closed before everything is read.
fn print(text: &str) -> Result<(), String> {
    std::io::stdout().write_all(text.as_bytes()).map_err(|error| error.kind().to_string())
}

const NO_CLIENT: &str = "no client can be made from the kubeconfig; try it with kubectl";

async fn kubernetes() -> Result<kube::Config, &'static str> {
    kube::Config::infer().await.map_err(|_| "no kubeconfig and no ServiceAccount was found; set KUBECONFIG")
}
