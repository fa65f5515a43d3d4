//! The operator's binary. The commands are in [`ukgpro_operator::cli`].

use std::process::ExitCode;

/// Less CPU and, after the peak of a start, less memory than glibc's: see `docs/benchmarks.md`. It also serves C code.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ukgpro_operator::cli::main()
}
