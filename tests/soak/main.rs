//! An hour of churn against one operator: nothing may grow, no verdict be wrong, no login be spent that nobody asked for.
//!
//! `make soak` runs it for `SOAK_MINUTES` (60). Connections come, are edited, have their Secrets rotated to wrong values and back, are
//! asked for and go; some are checked by the minute besides; the API server is killed and started anew now and then. At each of
//! [`SAMPLES`] points all comes to rest, every verdict and login is compared with what it must be, and the operator's memory is read.
//!
//! **Growth.** A line is fitted to the memory of the second half. What it rises in that half may be [`TOLERANCE`] of its mean and
//! [`SLACK_MIB`] besides: the first half is for allocators and caches to fill, and samples differ by what was freed last.

#![allow(unreachable_pub)]
#![allow(clippy::print_stdout, reason = "it prints a table")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "some of it is for other tests")]
mod support;

mod churn;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use churn::Churn;
use support::World;
use support::control_plane::ControlPlane;

/// How often all comes to rest.
const SAMPLES: u32 = 30;
/// Of the mean, over half the time.
const TOLERANCE: f64 = 0.04;
/// What one page more or less here and there comes to.
const SLACK_MIB: f64 = 1.0;
/// The API server is killed once in so many samples.
const RESTART_EACH: u32 = 6;

fn main() -> ExitCode {
    let Some(minutes) = std::env::var_os("SOAK_MINUTES") else {
        println!("this takes an hour: make soak, or SOAK_MINUTES=3 make soak");
        return ExitCode::SUCCESS;
    };
    let minutes: f64 = minutes.to_str().and_then(|text| text.parse().ok()).expect("SOAK_MINUTES is a number");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match runtime.block_on(soak(Duration::from_secs_f64(minutes * 60.0))) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// What is read when all is at rest.
struct Sample {
    minutes: f64,
    resident: f64,
}

async fn soak(time: Duration) -> bool {
    let control_plane = ControlPlane::breakable().expect("a control plane of its own, which can be broken");
    let world = World::on(control_plane, "soak").await;
    let operator = world.operator_with(&["--refused-logins-per-day", "1000000", "--log-level", "info"], &[]);
    let mut churn = Churn::begin(&world).await;
    let begun = Instant::now();
    let mut samples: Vec<Sample> = Vec::new();
    println!(
        "{:>7} {:>12} {:>8} {:>8} {:>9} {:>6} {:>8}",
        "minutes", "connections", "changes", "logins", "restarts", "fds", "RSS MiB"
    );
    let mut restarts = 0;
    for n in 1..=SAMPLES {
        churn.until(begun + time * n / SAMPLES).await;
        if n % RESTART_EACH == RESTART_EACH / 2 {
            control_plane.order("kill kube-apiserver").await;
            control_plane.order("start kube-apiserver").await;
            restarts += 1;
        }
        churn.come_to_rest(begun.elapsed()).await;
        let minutes = begun.elapsed().as_secs_f64() / 60.0;
        let (resident, descriptors) = (resident(operator.id()), descriptors(operator.id()));
        println!(
            "{minutes:>7.1} {:>12} {:>8} {:>8} {restarts:>9} {descriptors:>6} {resident:>8.1}",
            churn.connections(),
            churn.changes(),
            churn.logins().await,
        );
        samples.push(Sample { minutes, resident });
    }
    world.assert_nothing_got_out(&churn.accounts()).await;
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    let half = &samples[samples.len() / 2..];
    let mean = half.iter().map(|sample| sample.resident).sum::<f64>() / half.len() as f64;
    let (growth, most) = (growth(half), TOLERANCE * mean + SLACK_MIB);
    println!("in the second half {growth:+.2} MiB, of {most:.2} at most; {:.1} MiB on average", mean);
    growth <= most
}

/// By how much a line through the samples rises from the first to the last: least squares.
fn growth(samples: &[Sample]) -> f64 {
    let n = samples.len() as f64;
    let mean = |value: fn(&Sample) -> f64| samples.iter().map(value).sum::<f64>() / n;
    let (x, y) = (mean(|sample| sample.minutes), mean(|sample| sample.resident));
    let covariance = samples.iter().map(|sample| (sample.minutes - x) * (sample.resident - y)).sum::<f64>();
    let variance = samples.iter().map(|sample| (sample.minutes - x).powi(2)).sum::<f64>();
    let span = samples[samples.len() - 1].minutes - samples[0].minutes;
    covariance / variance * span
}

/// MiB of a process that are resident.
fn resident(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the operator runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<f64>().expect("kB") / 1024.0
}

/// Files and sockets that a process has open.
fn descriptors(pid: u32) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("the operator runs").count()
}
