//! Faults, injected one by one on a real API server and the simulator while the real operator runs.
//!
//! `make test-faults` runs them all, `make test` those marked below, `cargo test --test faults NAME` those whose name contains
//! NAME. Under any fault, three things must hold: no connection ever gets a wrong verdict, every edit ends up in a status, and no
//! unrequested login is spent. The time that the operator took to catch up is printed, and only asserted against a generous
//! deadline. Faults that break the control plane itself have their own.
//!
//! Some faults are also covered elsewhere, or covered better, and those tests are not repeated here:
//!
//! | fault | where |
//! |---|---|
//! | certificates expired, not yet valid, of another name or CA; no TLS | `tests/transport`, `a_certificate_that_is_not_trusted_is_told` |
//! | slow-loris heads and bodies | `tests/transport`, `a_host_that_has_the_request_and_is_slow_is_told_so` |
//! | torn answers, resets by HTTP/1.1 and HTTP/2 | `tests/transport`, `a_connection_that_breaks_before_the_answer_is_whole_is_told` |
//! | huge and deep documents | `tests/transport`, `tests/memory.rs` and the reader's own tests and fuzz targets |
//! | redirects, to internal addresses too | `tests/transport`, `a_redirect_is_never_followed` |
//! | a name that resolves to an internal address | `tests/e2e`, `AddressNotAllowed` in `every_reason_is_told_by_its_own_words` |
//! | Lease deleted or stolen, leader cut off, leader killed | `tests/e2e/leadership.rs` |
//! | killed while it logs in, killed before a receipt | `tests/e2e/guard.rs`; at every await point, `src/controller/tests/kills.rs` |
//! | clock stepped, in the ledger and the gate | `src/controller/tests/sequences.rs` |
//! | a verdict that may not be written | `tests/e2e/operators.rs` |

#![allow(unreachable_pub)]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../transport/servers.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "some of it is for other tests")]
mod servers;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "some of it is for other tests")]
mod support;

mod access;
mod control_plane;
mod crowd;
mod fleet;
mod memory;
mod process;
mod shares;
mod upstream;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::LocalBoxFuture;
use futures::{FutureExt, StreamExt, stream};
use support::control_plane::ControlPlane;
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, Semaphore};

/// Concurrent faults. They mostly wait, but the API servers among them work.
const AT_ONCE: usize = 4;
/// Deadline of one fault. The slowest, etcd's minute and the cut connection, take less than half of it.
const LONGEST: Duration = Duration::from_secs(480);

/// The input of a fault.
#[derive(Clone, Copy)]
pub(crate) struct Given {
    pub(crate) control_plane: &'static ControlPlane,
    /// Whether it runs in `make test`: smaller, and within a minute.
    pub(crate) brief: bool,
}

/// The result of a fault: how long the operator took to catch up, and a note.
pub(crate) struct Recovery {
    pub(crate) within: Duration,
    pub(crate) note: String,
}

impl Recovery {
    pub(crate) fn within(within: Duration) -> Self {
        Self { within, note: String::new() }
    }

    pub(crate) fn noting(self, note: impl Into<String>) -> Self {
        Self { note: note.into(), ..self }
    }
}

/// The control plane on which a fault is injected.
#[derive(Clone, Copy, PartialEq)]
enum On {
    /// The shared one.
    Shared,
    /// One that is broken by one fault after another.
    Broken,
}

struct Fault {
    name: &'static str,
    on: On,
    /// Whether it is among those of `make test`.
    in_brief: bool,
    inject: fn(Given) -> LocalBoxFuture<'static, Recovery>,
}

macro_rules! faults {
    ($($on:ident, $brief:literal, $module:ident :: $name:ident;)*) => {
        [$(Fault { name: stringify!($name), on: On::$on, in_brief: $brief, inject: |given| $module::$name(given).boxed_local() },)*]
    };
}

const FAULTS: &[Fault] = &faults! {
    Broken, true, control_plane::api_server_killed_and_restarted;
    Broken, true, control_plane::crd_deleted_and_recreated;
    Broken, false, control_plane::etcd_stopped_for_a_minute;
    Broken, false, control_plane::versions_compacted_while_it_stood_still;
    Broken, true, control_plane::etcd_restored_from_a_backup;
    Shared, true, access::connection_cut_without_a_reset;
    Shared, false, access::connections_lost_without_a_reset;
    Shared, true, access::rights_on_secrets_taken_away;
    Shared, true, access::namespace_deleted_with_its_connections;
    Shared, false, access::api_server_answers_429;
    Shared, false, access::another_writer_causes_conflicts;
    Shared, false, access::lease_stolen;
    Shared, false, process::killed_at_random_moments;
    Shared, false, process::clock_stepped_an_hour_both_ways;
    Shared, false, process::names_fail_are_slow_and_change;
    Shared, false, process::a_name_that_hangs_holds_up_no_other;
    Shared, false, upstream::certificates_that_are_not_trusted;
    Shared, false, upstream::answers_that_are_none;
    Shared, false, upstream::answers_that_may_be_refusals_for_five_minutes;
    Shared, false, upstream::storm_of_429;
    Shared, true, memory::large_objects_under_the_charts_limit;
    Shared, true, shares::one_namespaces_hanging_checks_delay_no_other;
};

fn main() -> ExitCode {
    let (flags, filters): (Vec<_>, Vec<_>) = std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let brief = flags.iter().any(|flag| flag == "--brief");
    let chosen: Vec<_> = FAULTS
        .iter()
        .filter(|fault| !brief || fault.in_brief)
        .filter(|fault| filters.is_empty() || filters.iter().any(|filter| fault.name.contains(filter.as_str())))
        .collect();
    if flags.iter().any(|flag| flag == "--list") {
        chosen.iter().for_each(|fault| println!("{}: test", fault.name));
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let failed = runtime.block_on(inject_all(&chosen, brief));
    // The control planes notice the end of this process, and end.
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Injects faults, prints the table, and returns whether any has failed.
async fn inject_all(chosen: &[&'static Fault], brief: bool) -> bool {
    let begun = Instant::now();
    let running = Arc::new(Semaphore::new(AT_ONCE));
    let broken = OnceCell::new();
    let (on_broken, on_shared): (Vec<_>, Vec<_>) = chosen.iter().partition(|fault| fault.on == On::Broken);
    let one = async |fault: &'static Fault, control_plane| {
        let _permit = running.acquire().await.expect("open");
        (fault, inject(fault, Given { control_plane, brief }).await)
    };
    let sequence = async {
        let mut results = Vec::new();
        for fault in on_broken {
            let control_plane = broken.get_or_init(async || blocking(ControlPlane::breakable).await).await;
            match control_plane {
                Some(control_plane) => results.push(one(fault, *control_plane).await),
                None => println!("{}: left out, as this cluster is not to be broken", fault.name),
            }
        }
        if let Some(Some(control_plane)) = broken.get() {
            blocking(|| control_plane.end()).await;
        }
        results
    };
    let side_by_side = async {
        if on_shared.is_empty() {
            return Vec::new();
        }
        let shared = blocking(ControlPlane::shared).await;
        stream::iter(on_shared).map(|fault| one(fault, shared)).buffer_unordered(usize::MAX).collect().await
    };
    let (first, then) = tokio::join!(sequence, side_by_side);
    let results: Vec<(&Fault, Result<Recovery, ()>)> = first.into_iter().chain(then).collect();
    println!("\n{:<44} {:>10}  held: right verdicts, no lost update, no extra login", "fault", "recovery");
    for (fault, result) in &results {
        match result {
            Ok(Recovery { within, note }) => println!("{:<44} {:>8.1} s  {note}", fault.name, within.as_secs_f64()),
            Err(()) => println!("{:<44} {:>10}", fault.name, "FAILED"),
        }
    }
    let failed = results.iter().filter(|(_, result)| result.is_err()).count();
    println!("{} faults in {:.0} s, {failed} not withstood", results.len(), begun.elapsed().as_secs_f64());
    failed > 0
}

async fn inject(fault: &Fault, given: Given) -> Result<Recovery, ()> {
    println!("{} ...", fault.name);
    // On a thread of its own, so that a panic affects this fault only.
    let runtime = Handle::current();
    let inject = fault.inject;
    let injected = move || runtime.block_on(tokio::time::timeout(LONGEST, inject(given)));
    match tokio::task::spawn_blocking(injected).await {
        Ok(Ok(recovery)) => {
            println!("{} ... withstood", fault.name);
            Ok(recovery)
        }
        Ok(Err(_)) => {
            println!("{} ... FAILED, not over after {} s", fault.name, LONGEST.as_secs());
            Err(())
        }
        Err(_) => {
            println!("{} ... FAILED, see above", fault.name);
            Err(())
        }
    }
}

/// Runs blocking work on a thread for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic")
}
