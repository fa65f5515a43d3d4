//! `ukgpro-operator crd`: prints the CustomResourceDefinition.

use super::print;
use crate::api;

/// Runs the command.
pub fn run() -> Result<(), String> {
    let yaml = serde_saphyr::to_string(&api::crd()).map_err(|error| error.to_string())?;
    print(&yaml)
}
