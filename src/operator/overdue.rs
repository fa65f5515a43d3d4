//! Takes back that connections are Ready which could not be checked for several intervals.

use std::time::Duration;

use crate::controller::publish::Published;
use crate::controller::{self, Context, decide};
use crate::operator::workers::Checks;
use crate::telemetry::health::Readiness;

/// How often it is looked for connections that are overdue: soon enough beside the least interval, and nothing beside a check.
pub(super) const STALE_ROUND: Duration = Duration::from_secs(30);

/// After so many that could not be written the rest waits for the next round: each may last as long as a request may.
pub(super) const STALE_FAILURES: usize = 3;

/// A ledger that could not be written for longer than a restart of the API server takes is told under `/readyz`.
pub(super) const UNWRITTEN_MAX: Duration = Duration::from_secs(60);

/// Takes back that connections are Ready which could not be checked for several intervals. Never ends.
pub(super) async fn tell_of_stale(context: &Context, checks: &Checks, readiness: &Readiness) {
    loop {
        tokio::time::sleep(context.clock.real(STALE_ROUND)).await;
        readiness.overdue(context.staleness.namespaces(context.clock.uptime()));
        readiness.ledger_unwritten(context.ledger.failing_for().filter(|failing| *failing > UNWRITTEN_MAX));
        let mut failures = 0;
        for (key, stall) in context.staleness.news(context.clock.uptime()) {
            // The ones before have taken their time.
            if !context.staleness.is_overdue(&key, context.clock.uptime()) {
                continue;
            }
            let Some(connection) = context.connections.get(&key).map(|kept| kept.connection(&key)) else { continue };
            let Some(decision) = decide::overdue(&connection, stall, context.clock.now()) else {
                context.staleness.told(&key, context.clock.uptime());
                continue;
            };
            // One that another has written meanwhile, or that cannot be written now, comes in the next round.
            match checks.mandated(controller::publish::publish(&connection, &decision, context)).await {
                None => break,
                Some(Ok(Published::Done)) => context.staleness.told(&key, context.clock.uptime()),
                Some(Ok(Published::Gone | Published::Outdated)) => {}
                Some(Err(error)) => {
                    let (namespace, name) = (key.namespace(), key.name());
                    tracing::warn!(namespace, name, %error, "a connection that is overdue is still shown with its old verdict");
                    failures += 1;
                    if failures == STALE_FAILURES {
                        break;
                    }
                }
            }
        }
    }
}
