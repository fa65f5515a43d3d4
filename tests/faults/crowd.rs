//! Many working connections, with an account each.

use std::collections::BTreeMap;

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;
use ukgpro_operator::api::UkgProConnection;

use crate::fleet::connection;
use crate::support::World;
use crate::support::simulator::Account;

/// Concurrent requests of a test itself to the API server.
const AT_ONCE: usize = 16;

/// The accounts. Connection `n` is `c<n>`.
pub struct Crowd {
    pub accounts: Vec<Account>,
}

impl Crowd {
    pub fn new(size: usize) -> Self {
        Self { accounts: (0..size).map(|n| Account::unique(&format!("crowd{n:05}"))).collect() }
    }

    pub fn names(&self) -> impl Iterator<Item = String> {
        (0..self.accounts.len()).map(|n| format!("c{n}"))
    }

    /// Creates the connections, with these labels. Their accounts belong to the world's customer.
    pub async fn create(&self, world: &World, namespace: &str, labels: &[(&str, &str)]) {
        let connections = &Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
        let secrets = &Api::<Secret>::namespaced(world.admin.clone(), namespace);
        let labels = &labels.iter().copied().collect::<BTreeMap<_, _>>();
        let params = &PostParams::default();
        let customer = &world.account.customer_api_key;
        let made = stream::iter(self.names().zip(&self.accounts)).map(|(name, account)| async move {
            let data = json!({"username": account.username, "password": account.password, "customerApiKey": customer,
                "userApiKey": account.user_api_key});
            let secret = json!({"metadata": {"name": name}, "stringData": data});
            secrets.create(params, &serde_json::from_value(secret).expect("a Secret")).await?;
            let mut manifest = connection(world, &name);
            manifest["metadata"] = json!({"name": name, "labels": labels});
            connections.create(params, &serde_json::from_value(manifest).expect("a connection")).await.map(drop)
        });
        made.buffer_unordered(AT_ONCE).try_collect::<()>().await.expect("created");
    }

    /// Checks that no account has had more than `most` logins, or any refusal.
    pub async fn verify(&self, world: &World, most: u64) {
        let counters = world.simulator.counters().await;
        for account in &self.accounts {
            let logins = &counters["logins"][&account.username];
            let count = |field: &str| logins[field].as_u64().unwrap_or(0);
            assert!(count("attempts") <= most && count("refused") == 0, "{}: {logins}, {most} wanted", account.username);
        }
    }
}
