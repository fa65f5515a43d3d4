//! A watcher that records every status the API server shows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio_util::task::AbortOnDropHandle;
use ukgpro_operator::api::UkgProConnection;
use ukgpro_operator::api::conditions;

/// A watcher with its own connection, which only the end of the API server interrupts.
pub struct Witness {
    states: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    _watching: AbortOnDropHandle<()>,
}

impl Witness {
    pub fn of(connections: Api<UkgProConnection>) -> Self {
        let states = Arc::<Mutex<BTreeMap<String, BTreeSet<String>>>>::default();
        let seen = states.clone();
        let watching = tokio::spawn(async move {
            let mut changes = Box::pin(watcher(connections, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(change) = changes.next().await {
                let Ok(connection) = change else { continue };
                let (name, status) = (connection.name_any(), connection.status.unwrap_or_default());
                let reason = conditions::find(&status.conditions, "Ready").map(|ready| ready.reason.clone());
                let state = format!("{}/{}", status.state, reason.unwrap_or_default());
                seen.lock().expect("no panic").entry(name).or_default().insert(state);
            }
        });
        Self { states, _watching: AbortOnDropHandle::new(watching) }
    }

    /// Returns every `state/reason` seen so far, by connection.
    pub fn states(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.states.lock().expect("no panic").clone()
    }
}
