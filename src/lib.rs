//! A Kubernetes operator that checks, and keeps checking, connections to UKG Pro.
//!
//! A `UkgProConnection` names a Secret and the permissions that an integration needs. The operator logs in with the Secret's values,
//! makes one harmless read per permission, and writes what works, what does not, and what to do about it into the status.
//!
//! # How data flows
//!
//! ```text
//!           Kubernetes                                   UKG Pro                          Kubernetes
//! watch ─▶ resolve ─▶ lint ─▶ gate ─▶ authenticate ─▶ probe ─▶ decide ─▶ publish
//!          Secret      pure    pure    one login        one read   pure      status, event
//!          CA                                           per row
//! ```
//!
//! | step | from, to | may touch |
//! |---|---|---|
//! | [`cluster::watch`] | changes of connections and Secrets → connections to check | watches Kubernetes |
//! | [`controller::resolve`] | connection → `Target`, or `Unresolved` | reads Kubernetes |
//! | [`controller::lint`] | credentials → what rules out a login, and what is suspicious | nothing |
//! | [`controller::gate`] | connection, `Target`, [`login_guard`] → go or hold | nothing |
//! | [`controller::authenticate`] | `Target` → `Session`, or `LoginFailure` | UKG Pro |
//! | [`controller::probe`] | `Session`, required permissions → one result each | UKG Pro |
//! | [`controller::decide`] | connection, `Observation`, now → `Decision` | nothing |
//! | [`controller::publish`] | `Decision` → status, event | writes Kubernetes |
//!
//! # The map
//!
//! Each room imports only rooms below it; `tests/house.rs` holds that.
//!
//! | room | what is in it |
//! |---|---|
//! | [`cli`] | the commands `run`, `check`, `wait`, `catalogue`, `crd`: flags and wiring |
//! | [`operator`] | the tasks of a running operator: watches, workers, leadership |
//! | [`controller`] | the steps above, a file each |
//! | [`schedule`] | when a connection is checked: work queue, rate limits and outages of hosts, what is overdue |
//! | [`login_guard`] | which logins may be sent: the login ledger, single flight, shared sessions, daily limits |
//! | [`telemetry`] | metrics, health endpoints, watchdog, logs |
//! | [`cluster`] | the way to the API server: client, deadlines, watches and caches, leader election |
//! | [`api`] | the custom resource: spec, status, conditions, reasons, messages, validation rules |
//! | `crates/ukg-pro` ([`ukg_pro`]) | the UKG Pro client: SOAP, REST, login, permissions, TLS, DNS. No Kubernetes |
//!
//! `crates/ukgpro-simulator` stands in for UKG Pro in tests. It shares no code with `ukg-pro`, so that neither repeats a mistake of
//! the other.
//!
//! # Invariants
//!
//! 1. `ukg-pro` depends on nothing of Kubernetes. `lint`, `gate`, `decide`, [`api::conditions`] and the SOAP reader and writer are not
//!    asynchronous and read no clock.
//! 2. An `Err` from [`controller::reconcile`] means that Kubernetes could not be read or written, and nothing else.
//! 3. One closed [`api::Reason`] is the vocabulary of conditions and events. Each reason has one fixed text in [`api::messages`] and a
//!    section in `docs/runbook.md`. No text of a server reaches a status, an event or a log line.
//! 4. Secrets live in [`ukg_pro::sensitive::Sensitive`], which cannot be printed, serialised or cloned and is wiped when dropped.
//! 5. `lastTransitionTime` changes only when a condition's status does; nothing in the status moves while nothing changes.
//! 6. No finalizer: nothing outside the cluster needs cleaning up, and a namespace always deletes at once.
//! 7. Every wait on the network has a deadline; every queue, body, document depth and level of concurrency has a bound.
//! 8. What a user sees has one source: the CRD in `crds/` is generated from [`api`], and a test fails when it drifts.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod login_guard;
pub mod operator;
pub mod schedule;
pub mod telemetry;
