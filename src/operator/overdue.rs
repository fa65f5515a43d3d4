//! Withdraws the Ready status of connections that could not be checked for several intervals.

use std::time::Duration;

use crate::controller::publish::Published;
use crate::controller::{self, Context, decide};
use crate::operator::workers::CheckState;
use crate::telemetry::health::Readiness;

/// How often to look for overdue connections: frequent compared with the shortest interval, cheap compared with a check.
const OVERDUE_SCAN_INTERVAL: Duration = Duration::from_secs(30);

/// The number of failed writes after which the rest waits for the next round: each may take a whole request timeout.
const WRITE_FAILURES_MAX: usize = 3;

/// How long the ledger may be unwritable before `/readyz` reports it: longer than a restart of the API server takes.
pub(super) const UNWRITTEN_MAX: Duration = Duration::from_secs(60);

/// Withdraws the Ready status of connections that could not be checked for several intervals. Never ends.
pub(super) async fn report_overdue(context: &Context, checks: &CheckState, readiness: &Readiness) {
    loop {
        tokio::time::sleep(context.clock.real(OVERDUE_SCAN_INTERVAL)).await;
        readiness.overdue(context.overdue.namespaces(context.clock.uptime()));
        readiness.ledger_unwritten(context.ledger.failing_for().filter(|failing| *failing > UNWRITTEN_MAX));
        let mut failures = 0;
        for (key, cause) in context.overdue.unreported(context.clock.uptime()) {
            // It may have been checked during the writes before it.
            if !context.overdue.is_overdue(&key, context.clock.uptime()) {
                continue;
            }
            let Some(connection) = context.connections.get(&key).map(|kept| kept.connection(&key)) else { continue };
            let Some(decision) = decide::overdue(&connection, cause, context.clock.now()) else {
                context.overdue.mark_reported(&key, context.clock.uptime());
                continue;
            };
            // A connection that changed meanwhile, or cannot be written now, is handled in the next round.
            match checks.run_while_leading(controller::publish::publish(&connection, &decision, context)).await {
                None => break,
                Some(Ok(Published::Done)) => context.overdue.mark_reported(&key, context.clock.uptime()),
                Some(Ok(Published::Gone | Published::Outdated)) => {}
                Some(Err(error)) => {
                    let (namespace, name) = (key.namespace(), key.name());
                    tracing::warn!(namespace, name, %error, "an overdue connection still shows its old verdict");
                    failures += 1;
                    if failures == WRITE_FAILURES_MAX {
                        break;
                    }
                }
            }
        }
    }
}
