//! The operator's binary. The commands are in [`ukgpro_operator::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ukgpro_operator::cli::main()
}
