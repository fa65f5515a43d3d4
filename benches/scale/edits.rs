//! Time from a changed Secret to its verdict.

use futures::{StreamExt, pin_mut};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::fleet::{self, DEADLINE, Fleet, HOSTS};
use crate::floor::Upstream;
use crate::phases::Round;
use crate::support::World;
use crate::table::Goal;

/// Repeatedly changes the Secret of one connection to the values of a new account, and waits for the verdict.
pub async fn edits(round: &mut Round<'_>, fleet: &Fleet) {
    let (world, edits) = (round.world, round.settings.edits);
    let mut verdicts = verdicts(fleet).await;
    let upstream = Upstream::new(world.simulator.port, &world.simulator.ca);
    let requirements = round.settings.permissions();
    let before = stages(world).await;
    let (mut whole, mut bare) = (Vec::new(), Vec::new());
    for edit in 0..edits {
        let account = round.size + edit;
        let begun = Instant::now();
        let patch = json!({"stringData": fleet::data(account)});
        let written =
            fleet.secrets.patch("s0", &PatchParams::default(), &Patch::Merge(&patch)).await.expect("the Secret is edited");
        let version = written.metadata.resource_version;
        let arrived = async {
            loop {
                let (at, seen) = verdicts.recv().await.expect("a watch");
                if seen == version {
                    return at;
                }
            }
        };
        let ended = timeout(DEADLINE, arrived).await.expect("a verdict in time");
        whole.push((ended - begun).as_secs_f64() * 1e3);
        let begun = Instant::now();
        upstream.check(HOSTS[0], &fleet::credentials(account), &requirements).await.expect("answers");
        bare.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let after = stages(world).await;
    let upstream = quantile(&mut bare, 0.5);
    let beyond = |whole: &mut Vec<f64>, q| quantile(whole, q) - upstream;
    let (p50, p95) = (beyond(&mut whole, 0.5), beyond(&mut whole, 0.95));
    round.table.operator("Secret change to verdict beyond upstream, p50, ms", p50, None);
    round.table.operator("Secret change to verdict beyond upstream, p95, ms", p95, Some(Goal::AtMost(100.0)));
    let means = after
        .iter()
        .zip(&before)
        .filter(|(after, before)| after.2 > before.2)
        .map(|(after, before)| format!("{} {:.1}", after.0, 1e3 * (after.1 - before.1) / (after.2 - before.2)));
    let means = means.collect::<Vec<_>>().join(", ");
    round
        .table
        .note(format!("of {edits} edits, in ms: upstream by a bare client {upstream:.1}; the operator's own means: {means}"));
}

/// Sends the Secret's version in each Active verdict of the first connection, with the time of the verdict.
async fn verdicts(fleet: &Fleet) -> mpsc::UnboundedReceiver<(Instant, Option<String>)> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let connections = fleet.connections.clone();
    tokio::spawn(async move {
        let events = watcher(connections, watcher::Config::default().fields("metadata.name=c0"));
        pin_mut!(events);
        while let Some(event) = events.next().await {
            if let Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) = event
                && fleet::is_active(&object)
                && sender.send((Instant::now(), object.status.and_then(|status| status.secret_resource_version))).is_err()
            {
                return;
            }
        }
    });
    receiver.recv().await.expect("the first of the list");
    receiver
}

/// Returns name, sum and count of each duration in the operator's metrics.
async fn stages(world: &World) -> Vec<(String, f64, f64)> {
    let log = world.operator_log();
    let started = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let address = started
        .filter_map(|line| line["fields"]["metrics"].as_str().or(line["metrics"].as_str()).map(str::to_owned))
        .next_back();
    let url = format!("http://{}/metrics", address.expect("the operator says where"));
    let text = reqwest::Client::builder().no_proxy().build().expect("a client").get(url);
    let text = text.send().await.expect("metrics").text().await.expect("metrics");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|value| value.trim().parse::<f64>().ok()).unwrap_or_else(|| panic!("{name} is not in the metrics"))
    };
    let stage = |stage: &str| {
        let of = |part: &str| value(&format!("ukgpro_check_duration_seconds_{part}{{stage=\"{stage}\"}}"));
        (stage.to_owned(), of("sum"), of("count"))
    };
    let mut stages: Vec<_> = ["resolve", "login", "probe", "publish", "whole"].map(stage).into();
    stages.push(("queue".to_owned(), value("ukgpro_queue_wait_seconds_sum"), value("ukgpro_queue_wait_seconds_count")));
    stages
}

/// Returns a quantile by the nearest rank.
pub fn quantile(sample: &mut [f64], q: f64) -> f64 {
    sample.sort_by(f64::total_cmp);
    let rank = (q * sample.len() as f64).ceil() as usize;
    sample.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
