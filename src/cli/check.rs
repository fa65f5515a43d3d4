//! `ukgpro-operator check`: its flags, and how it prints the verdict.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use ukg_pro::capture::Recorder;
use ukg_pro::transport::ProxySettings;

use super::flags::PolicyArgs;
use super::print;
use crate::api::messages;

pub mod admission;
pub mod manifests;
pub mod once;

use manifests::Source;

/// The command's flags.
#[derive(Args)]
pub struct CheckArgs {
    /// Files with the manifests of a UkgProConnection, its Secret and any other object it refers to; - is standard input
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,

    /// The connection to check, if the files contain several
    #[arg(long)]
    name: Option<String>,

    /// Write UKG Pro's answers, redacted, to this file
    #[arg(long, value_name = "FILE")]
    capture: Option<PathBuf>,

    /// The output format of the verdict
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,

    #[command(flatten)]
    policy: PolicyArgs,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    /// For people
    Text,
    /// The connection's status, as the operator would write it
    Yaml,
}

/// Checks one connection and prints the verdict. Returns whether it is Active.
#[tokio::main]
pub async fn run(args: CheckArgs) -> Result<bool, String> {
    let catalogue = args.policy.catalogue()?;
    let policy = args.policy.policy(catalogue.words(), None);
    let proxy = ProxySettings::from_env().map_err(|error| error.to_string())?;
    let sources: Vec<_> =
        args.files.iter().map(|path| Source::read(path)).collect::<Result<_, _>>().map_err(|e| e.to_string())?;
    let input = manifests::collect(&sources, args.name.as_deref()).map_err(|error| error.to_string())?;
    drop(sources);
    // Created before the login, so that no login is spent on a capture that cannot be saved.
    let file = args.capture.as_deref().map(|path| File::create(path).map_err(|error| at_capture(path, &error))).transpose()?;
    for note in &input.notes {
        eprintln!("ukgpro-operator: {note}");
    }
    if let Some(warning) = once::warning(&input.connection, &catalogue) {
        eprintln!("ukgpro-operator: {warning}");
    }
    let recorder = file.is_some().then(Arc::<Recorder>::default);
    let checked = once::check(input, &policy, proxy, &catalogue, recorder.clone()).await.map_err(|error| error.to_string())?;
    for warning in &checked.warnings {
        eprintln!("ukgpro-operator: {warning}");
    }
    print(&match args.output {
        Output::Text => checked.text(),
        Output::Yaml => checked.yaml().map_err(|error| error.to_string())?,
    })?;
    if let (Some(mut file), Some(recorder), Some(path)) = (file, recorder, args.capture) {
        let text = once::capture_file(&recorder.capture()).map_err(|error| error.to_string())?;
        file.write_all(text.as_bytes()).map_err(|error| at_capture(&path, &error))?;
    }
    Ok(checked.is_active())
}

fn at_capture(path: &Path, error: &std::io::Error) -> String {
    format!("--capture {}: {}", path.display(), messages::file(error))
}
