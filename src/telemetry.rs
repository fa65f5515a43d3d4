//! What the operator reports about itself: metrics, health endpoints, the watchdog behind them, logs.
//!
//! | file | what is in it |
//! |---|---|
//! | [`health`] | `/livez`, `/readyz` and `/metrics` |
//! | [`logs`] | the format of log lines |
//! | [`metrics`] | what Prometheus scrapes |
//! | [`watchdog`] | whether the process still makes progress |

pub mod health;
pub mod logs;
pub mod metrics;
pub mod watchdog;
