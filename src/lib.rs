//! A Kubernetes operator that checks, and keeps checking, connections to UKG Pro.
//!
//! A `UkgProConnection` names a Secret and the permissions an integration needs. The operator logs in with it, makes one harmless
//! read per permission, and writes back what works, what does not, and what to do about it.
//!
//! # The way a connection's data flows
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
//! | [`watch`] | changes of connections and Secrets → connections to check | watches Kubernetes |
//! | [`controller::resolve`] | connection → `Target`, or `Unresolved` | reads Kubernetes |
//! | [`controller::lint`] | credentials → what rules out a login, and what is suspicious | nothing |
//! | [`controller::gate`] | connection, `Target`, [`ledger`] → go or hold | nothing |
//! | [`controller::authenticate`] | `Target` → `Session`, or `LoginFailure` | UKG Pro |
//! | [`controller::probe`] | `Session`, wanted permissions → one result each | UKG Pro |
//! | [`controller::decide`] | connection, `Observation`, now → `Decision` | nothing |
//! | [`controller::publish`] | `Decision` → status, event | writes Kubernetes |
//!
//! # The house
//!
//! | module | what is in it |
//! |---|---|
//! | [`access`] | the way to the API server, and another one when authorities or tokens have changed |
//! | [`agenda`] | which connections were looked at, and who is waited for |
//! | [`api`] | the custom resource and the closed vocabulary of reasons |
//! | [`check`] | one check from manifests, without a cluster |
//! | [`clock`] | time, which tests can make go faster |
//! | [`conditions`] | Kubernetes' rules for conditions, pure |
//! | [`controller`] | the arrows above, a file each |
//! | [`health`] | `/livez`, `/readyz` and `/metrics` |
//! | [`hosts`] | what the connections of one host have in common: pace, pauses, outages |
//! | [`leadership`] | which of several operators acts |
//! | [`ledger`] | which credentials must not be sent again |
//! | [`metrics`] | what Prometheus scrapes |
//! | [`queue`] | which connections are checked next |
//! | [`run`] | the tasks of a running operator |
//! | [`staleness`] | which connections were not checked in time |
//! | [`sieve`] | what is left out of the API server's answers while they are read |
//! | [`telemetry`] | logs |
//! | [`ukg`] | the UKG Pro client, which knows no Kubernetes |
//! | [`wait`] | waiting for a connection, for what must not begin before it works |
//! | [`watch`] | what wakes a check |
//! | [`watchdog`] | whether the operator still moves |
//! | [`wording`] | what each reason says to a person |
//!
//! `src/main.rs` has the flags; `src/bin/ukgpro-simulator` is a stand-in for UKG Pro that shares no code with [`ukg`], so that
//! neither repeats a mistake of the other.
//!
//! # Invariants
//!
//! 1. [`ukg`] knows nothing of Kubernetes. `lint`, `gate`, `decide`, [`conditions`] and the SOAP reader and writer are not
//!    asynchronous and read no clock.
//! 2. An `Err` from [`controller::reconcile`] means that Kubernetes could not be read or written, and nothing else.
//! 3. One closed [`api::Reason`] is the vocabulary of conditions and events, each with one fixed text in [`wording`] and a section in
//!    `docs/runbook.md`. No text of a server reaches a status, an event or a log line.
//! 4. Secrets live in [`ukg::sensitive::Sensitive`], which cannot be printed, serialised or cloned and is wiped when dropped.
//! 5. `lastTransitionTime` changes only when a condition's status does; nothing in the status moves while nothing changes.
//! 6. No finalizer: nothing outside the cluster needs cleaning up, and a namespace always deletes at once.
//! 7. Every wait on the network has a deadline; every queue, body, document depth and level of concurrency has a bound.
//! 8. What a user sees has one source: the CRD in `crds/` is generated from [`api`], and a test fails when it drifts.

pub mod access;
pub mod agenda;
pub mod api;
pub mod check;
pub mod clock;
pub mod conditions;
pub mod controller;
pub mod health;
pub mod hosts;
pub mod leadership;
pub mod ledger;
pub mod metrics;
pub mod queue;
pub mod run;
pub mod sieve;
pub mod staleness;
pub mod telemetry;
pub mod ukg;
pub mod wait;
pub mod watch;
pub mod watchdog;
pub mod wording;
