//! The operator compared with the floor: the cost of keeping connections checked, and of the same requests by a bare client.
//!
//! Run by `make bench`; `docs/benchmarks.md` has the method. One control plane and, for each number of connections, one
//! simulator. The operator, the floor (this program again, see [`floor`]), the simulator and the control plane are separate
//! processes, so that their costs can be told apart. Nothing here asserts a time: missed goals are printed, and only a defect (no
//! verdict, a refused request, a write at rest) makes it fail.

#![allow(unreachable_pub, dead_code)]
#![allow(clippy::print_stdout, reason = "it measures")]

#[path = "../../tests/support/mod.rs"]
mod support;

mod audit;
mod before;
mod edits;
mod fleet;
mod floor;
mod latency;
mod phases;
mod process;
mod settings;
mod table;

use std::process::ExitCode;

use settings::Settings;
use support::control_plane::ControlPlane;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    if let [role, plan] = arguments.as_slice()
        && role == floor::ROLE
    {
        return floor::main(plan.as_ref());
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("this takes minutes, and the machine for itself: make bench");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let is_well = runtime.block_on(measure(&Settings::of_environment()));
    // The control plane notices the end of this process, and ends.
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(settings: &Settings) -> bool {
    println!("{settings}");
    let control_plane = ControlPlane::shared();
    if let Some(before) = &settings.before {
        for &connections in &settings.connections {
            before::beside(before, settings, connections).await;
        }
        return true;
    }
    let mut defects = Vec::new();
    for &connections in &settings.connections {
        let table = phases::all(control_plane, settings, connections).await;
        defects.extend(table.defects);
    }
    let one = latency::one_check(settings.permissions()).await;
    println!("\n{one}");
    for defect in &defects {
        println!("DEFECT: {defect}");
    }
    defects.is_empty()
}
