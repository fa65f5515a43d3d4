//! A Kubernetes operator that checks connections to UKG Pro continuously.
//!
//! A `UkgProConnection` names a Secret and the permissions that an integration needs. The operator logs in with the Secret's
//! values and makes one harmless read per permission. The status then shows what works, what does not, and what to do about it.
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
//! | step | input → output | I/O |
//! |---|---|---|
//! | [`cluster::watch`] | changes of connections and Secrets → connections to check | watches Kubernetes |
//! | [`controller::resolve`] | connection → `Target`, or `Unresolved` | reads Kubernetes |
//! | [`controller::lint`] | credentials → flaws that rule out a login, and suspicious values | none |
//! | [`controller::gate`] | connection, `Target`, [`login_guard`] → go or hold | none |
//! | [`controller::authenticate`] | `Target` → `Session`, or `LoginFailure` | UKG Pro |
//! | [`controller::probe`] | `Session`, required permissions → one result each | UKG Pro |
//! | [`controller::decide`] | connection, `Observation`, now → `Decision` | none |
//! | [`controller::publish`] | `Decision` → status, event | writes Kubernetes |
//!
//! # Modules
//!
//! Each module imports only modules below it. `tests/house.rs` enforces this.
//!
//! | module | contents |
//! |---|---|
//! | [`cli`] | the commands `run`, `check`, `wait`, `catalogue`, `crd`: flags and wiring |
//! | [`operator`] | the tasks of a running operator: watches, workers, leadership |
//! | [`controller`] | the steps above, one file each |
//! | [`schedule`] | when a connection is checked: work queue, rate limits and outages of hosts, overdue checks |
//! | [`login_guard`] | which logins may be sent: the login ledger, single flight, shared sessions, daily limits |
//! | [`telemetry`] | metrics, health endpoints, watchdog, logs |
//! | [`cluster`] | access to the API server: client, deadlines, watches and caches, leader election |
//! | [`api`] | the custom resource: spec, status, conditions, reasons, messages, validation rules |
//! | `crates/ukg-pro` ([`ukg_pro`]) | the UKG Pro client: SOAP, REST, login, permissions, TLS, DNS. No Kubernetes |
//!
//! `crates/ukgpro-simulator` replaces UKG Pro in tests. It shares no code with `ukg-pro`, so that neither repeats a mistake of the
//! other.
//!
//! # Invariants
//!
//! 1. `ukg-pro` does not depend on Kubernetes. `lint`, `gate`, `decide`, [`api::conditions`] and the SOAP reader and writer are
//!    synchronous and do not read a clock.
//! 2. An `Err` from [`controller::reconcile`] always means that Kubernetes could not be read or written.
//! 3. The closed enum [`api::Reason`] is the vocabulary of conditions and events. Each reason has one fixed text in
//!    [`api::messages`] and a section in `docs/runbook.md`. No text from a server reaches a status, an event or a log line.
//! 4. Secret values are held in [`ukg_pro::sensitive::Sensitive`], which cannot be printed, serialised or cloned and is wiped when
//!    dropped.
//! 5. `lastTransitionTime` changes only when the status of a condition changes. The status stays the same until something changes.
//! 6. There is no finalizer: nothing outside the cluster needs cleanup, and a namespace is always deleted at once.
//! 7. Every network wait has a deadline. Every queue, body, document depth and level of concurrency has a bound.
//! 8. Everything a user sees has one source: the CRD in `crds/` is generated from [`api`], and a test fails if it drifts.

pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod login_guard;
pub mod operator;
pub mod schedule;
pub mod telemetry;
