//! Connections with an account each, and the moment at which all have their verdict.

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, pin_mut, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::Instant;
use ukg_pro::credentials::Credentials;
use ukg_pro::sensitive::Sensitive;
use ukgpro_operator::api::UkgProConnection;

use crate::settings::PERMISSIONS;
use crate::support::World;

/// Concurrent requests of the bench itself to the API server.
const AT_ONCE: usize = 32;
/// Longer than any fleet takes. A wait that reaches it has failed.
pub const DEADLINE: Duration = Duration::from_secs(900);
const CUSTOMER: &str = "CUST1";
pub const HOSTS: [&str; 8] =
    ["service2", "service4", "service5", "service11", "service12", "service13", "service14", "service15"];

/// Returns the account of a connection, by its number.
pub fn credentials(n: usize) -> Credentials {
    let [username, password, user_api_key] = values(n).map(Sensitive::new);
    let customer_api_key = Sensitive::new(CUSTOMER.to_owned());
    Credentials { username, password, customer_api_key, user_api_key: Some(user_api_key) }
}

fn values(n: usize) -> [String; 3] {
    [format!("svc-{n}"), format!("Right-{n}!pass"), format!("UK{n:010}")]
}

/// Returns the Secret's data for this account.
pub fn data(n: usize) -> Value {
    let [username, password, user_api_key] = values(n);
    json!({"username": username, "password": password, "customerApiKey": CUSTOMER, "userApiKey": user_api_key})
}

/// Configures the simulator with this many accounts.
pub async fn play(world: &World, accounts: usize) {
    let accounts = (0..accounts).map(values).map(|[username, password, user_api_key]| {
        json!({"username": username, "password": password, "userApiKey": user_api_key, "permissions": PERMISSIONS})
    });
    let accounts: Vec<_> = accounts.collect();
    let hosts = HOSTS.map(|host| format!("{host}.ultipro.localhost"));
    let tenant = json!({"name": "acme", "hosts": hosts, "customerApiKey": CUSTOMER, "accounts": accounts});
    world.simulator.play_tenants(&json!({"tenants": [tenant]})).await;
}

/// The connections of a namespace.
pub struct Fleet {
    pub connections: Api<UkgProConnection>,
    pub secrets: Api<Secret>,
    pub size: usize,
}

impl Fleet {
    /// Creates the connections and their Secrets.
    pub async fn create(world: &World, namespace: &str, size: usize, interval: &str) -> Self {
        let (connections, secrets) =
            (Api::namespaced(world.admin.clone(), namespace), Api::namespaced(world.admin.clone(), namespace));
        let params = &PostParams::default();
        let made = stream::iter(0..size).map(|n| {
            let (connections, secrets): (&Api<UkgProConnection>, &Api<Secret>) = (&connections, &secrets);
            async move {
                let secret = json!({"metadata": {"name": format!("s{n}")}, "stringData": data(n)});
                secrets.create(params, &serde_json::from_value(secret).expect("a Secret")).await?;
                let connection = json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection",
                    "metadata": {"name": format!("c{n}")},
                    "spec": {"secretRef": {"name": format!("s{n}")}, "interval": interval,
                        "domain": world.domain(), "subdomain": HOSTS[n % HOSTS.len()],
                        "permissions": PERMISSIONS.map(|name| json!({"name": name}))}});
                connections.create(params, &serde_json::from_value(connection).expect("a connection")).await.map(drop)
            }
        });
        made.buffer_unordered(AT_ONCE).try_collect::<()>().await.expect("created");
        Self { connections, secrets, size }
    }

    /// Deletes them and waits until they are gone. Each request deletes a page, because deleting 10,000 exceeds the API server's
    /// limit for a request.
    pub async fn delete(self) {
        let (delete, page) = (DeleteParams::default(), ListParams::default().limit(500));
        while !self.connections.list(&page.clone().limit(1)).await.expect("a list").items.is_empty() {
            self.connections.delete_collection(&delete, &page).await.expect("deleted");
        }
        let mine = page.fields("type=Opaque");
        while !self.secrets.list(&mine.clone().limit(1)).await.expect("a list").items.is_empty() {
            self.secrets.delete_collection(&delete, &mine).await.expect("deleted");
        }
    }

    /// Starts a watch. The receiver gets the time at which the last connection becomes Active.
    pub async fn watched(&self) -> oneshot::Receiver<Instant> {
        let (listed, is_listed) = oneshot::channel();
        let (all, all_active) = oneshot::channel();
        let (connections, size) = (self.connections.clone(), self.size);
        tokio::spawn(async move {
            let mut listed = Some(listed);
            let mut active = HashSet::new();
            let events = watcher(connections, watcher::Config::default()).default_backoff();
            pin_mut!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                        if is_active(&object) {
                            active.insert(object.name_any());
                        }
                    }
                    Ok(watcher::Event::InitDone) => drop(listed.take().map(|listed| listed.send(()))),
                    Ok(_) => {}
                    Err(error) => println!("the bench's watch: {error}"),
                }
                if active.len() == size {
                    let _ = all.send(Instant::now());
                    return;
                }
            }
        });
        is_listed.await.expect("a list");
        all_active
    }
}

pub fn is_active(connection: &UkgProConnection) -> bool {
    let generation = connection.metadata.generation;
    connection.status.as_ref().is_some_and(|status| status.state == "Active" && status.observed_generation == generation)
}
