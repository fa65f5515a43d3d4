//! The Helm chart, and what is made of it for Kustomize: with the real tools, on a real API server, and with the real operator under
//! the chart's ServiceAccount.
//!
//! | file | about |
//! |---|---|
//! | `applications` | `examples/helm`, a chart with a connection in it, and what Helm makes of the verdict |
//! | `rendered` | the chart as text: lint, unit tests, documents, every flag and every value |
//! | `kustomize` | `config/` is what the chart renders; `WRITE_MANIFESTS=1` writes it |
//! | `overlays` | `examples/kustomize` with the real Kustomize: what is merged, and which names are found |
//! | `schemas` | what the chart, `config/` and `examples/` give is what the API server knows |
//! | `releases` | install, upgrade, uninstall, refusals |
//! | `rights` | the operator under each mode's rights: nothing refused, nothing superfluous |
//! | `policies` | the admission policies |
//! | `printed` | what the documents print to be typed |
//!
//! There are no nodes here, so Pods stay Pending and helm does not wait for them; `make e2e-node` has them run. Where a test needs them,
//! `pods` runs their containers as processes.

#![allow(unreachable_pub)]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "some of it is for other tests")]
mod support;

mod applications;
mod helm;
mod kustomize;
mod overlays;
mod pods;
mod policies;
mod printed;
mod releases;
mod rendered;
mod rights;
mod schemas;
