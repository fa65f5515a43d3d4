//! `ukgpro-operator catalogue`: lists the permissions and profiles that connections can require.

use std::path::{Path, PathBuf};

use clap::Args;
use ukg_pro::catalogue::Catalogue;

use super::print;
use crate::api::messages;

/// The command's flags.
#[derive(Args)]
pub struct CatalogueArgs {
    /// File with permissions and profiles to add to the built-in ones, as for run
    #[arg(long, env = "UKGPRO_CONFIG")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &CatalogueArgs) -> Result<(), String> {
    print(&listing(&load(args.config.as_deref())?))
}

/// Returns the built-in permissions together with those of a file.
pub fn load(config: Option<&Path>) -> Result<Catalogue, String> {
    let Some(path) = config else { return Ok(Catalogue::built_in()) };
    let at = |what: String| format!("--config {}: {what}", path.display());
    let yaml = std::fs::read_to_string(path).map_err(|error| at(messages::file(&error)))?;
    Catalogue::built_in().extended(&yaml).map_err(|error| at(error.to_string()))
}

fn listing(catalogue: &Catalogue) -> String {
    let mut text = String::from("PERMISSION                       API        TITLE, AND WHAT IT GIVES\n");
    for row in catalogue.rows() {
        let apis = match (&row.soap, &row.rest) {
            (Some(_), Some(_)) => "SOAP,REST",
            (Some(_), None) => "SOAP",
            _ => "REST",
        };
        text += &format!("{:<32} {apis:<10} {}: {}\n", row.name, row.title, row.enables);
    }
    text += "\nNOT TESTED                       BECAUSE\n";
    for row in catalogue.unprobed() {
        text += &format!("{:<32} {}\n", row.name, row.why);
    }
    text += "\nPROFILE                          PERMISSIONS\n";
    for profile in catalogue.profiles() {
        let members = profile.permissions.iter().map(|member| match member.api {
            Some(api) => format!("{} ({api})", member.name),
            None => member.name.clone(),
        });
        text += &format!("{:<32} {}\n", profile.name, members.collect::<Vec<_>>().join(", "));
    }
    text
}
