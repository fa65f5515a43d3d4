//! The operator's binary; [`ukgpro_operator::cli`] has its commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    ukgpro_operator::cli::main()
}
