//! Connections with known verdicts, their checks during a fault, and what must hold afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use ukgpro_operator::api::{REQUESTED_AT, UkgProConnection, UkgProConnectionStatus};

use crate::support::World;
use crate::support::simulator::{Account, HOST};
use crate::support::witness::Witness;

/// Longer than any recovery takes: the longest wait after a failed check is two minutes, and a busy machine adds to it.
pub const DEADLINE: Duration = Duration::from_secs(240);

/// The connection that works.
pub const GOOD: &str = "good";
/// The connection with a password that UKG Pro refuses.
pub const WRONG: &str = "wrong";
/// The connection without a permission.
pub const LACKING: &str = "lacking";

/// The right state of each.
pub const RIGHT: [(&str, &str); 3] = [(GOOD, "Active"), (WRONG, "Unauthorized"), (LACKING, "Forbidden")];

/// One connection of each kind, with an account each, and a witness of every verdict they get.
///
/// No check becomes due by itself during a test, so that each login can be accounted for.
pub struct Fleet {
    connections: Api<UkgProConnection>,
    secrets: Api<Secret>,
    accounts: BTreeMap<&'static str, Account>,
    /// Number of edits that each allow one login of the connections that may log in.
    touched: AtomicU64,
    witness: Witness,
}

impl Fleet {
    /// Creates the connections for a running operator, and waits for their verdicts.
    pub async fn settled(world: &World) -> Self {
        let fleet = Self::created_with(world, &[]).await;
        fleet.settle(world).await;
        fleet
    }

    /// Waits for the verdicts.
    pub async fn settle(&self, world: &World) {
        for (name, state) in RIGHT {
            world.wait_for_of(name, state, |status| status.state == state).await;
        }
    }

    /// Creates the connections, with these labels.
    pub async fn created_with(world: &World, labels: &[(&str, &str)]) -> Self {
        let mut accounts = BTreeMap::new();
        for name in [GOOD, WRONG, LACKING] {
            let tag = format!("{}-{name}", world.namespace);
            let mut account = Account { customer_api_key: world.account.customer_api_key.clone(), ..Account::unique(&tag) };
            account.user_api_key = format!("UKEY{}{name}", world.account.customer_api_key);
            if name == LACKING {
                account.permissions.clear();
            }
            accounts.insert(name, account);
        }
        play(world, accounts.values(), &[HOST]).await;
        for (name, account) in &accounts {
            let [username, password, customer_api_key, user_api_key] = account.secrets();
            let password = if *name == WRONG { "not-the-password" } else { password };
            let data = json!({"username": username, "password": password, "customerApiKey": customer_api_key,
                "userApiKey": user_api_key});
            world.put_secret_named(name, data).await;
            let mut manifest = connection(world, name);
            manifest["metadata"]["labels"] = labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
            world.apply(&manifest).await.expect("accepted");
        }
        let (connections, secrets) = (world.connections(), world.secrets());
        let witness = Witness::of(connections.clone());
        Self { connections, secrets, accounts, touched: AtomicU64::new(0), witness }
    }

    /// Configures the simulator with these accounts in addition to the fleet's.
    pub async fn play_beside(&self, world: &World, accounts: &[Account]) {
        play(world, self.accounts.values().chain(accounts), &[HOST]).await;
    }

    /// Triggers a check of each: a request for the first, an edit of the second's Secret, an edit of the third's spec.
    pub async fn touch(&self) {
        let n = self.touched.fetch_add(1, Ordering::SeqCst) + 1;
        let params = PatchParams::default();
        let asked = json!({"metadata": {"annotations": {REQUESTED_AT: n.to_string()}}});
        self.connections.patch(GOOD, &params, &Patch::Merge(&asked)).await.expect("asked");
        let labelled = json!({"metadata": {"labels": {"touched": n.to_string()}}});
        self.secrets.patch(WRONG, &params, &Patch::Merge(&labelled)).await.expect("labelled");
        let edited = json!({"spec": {"timeout": format!("{}s", 30 + n)}});
        self.connections.patch(LACKING, &params, &Patch::Merge(&edited)).await.expect("edited");
    }

    /// Waits until every edit so far is in a status, and returns how long that took.
    pub async fn caught_up(&self, world: &World) -> Duration {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let behind = self.behind().await;
            if behind.is_empty() {
                return begun.elapsed();
            }
            if begun.elapsed() > DEADLINE {
                panic!("lost updates after {DEADLINE:?}: {behind:?}; the operator said\n{}", world.operator_log());
            }
        }
    }

    /// Returns the connections whose status is not about the current objects, or a note if nothing can be read.
    async fn behind(&self) -> Vec<String> {
        let params = ListParams::default();
        let (Ok(connections), Ok(secrets)) = (self.connections.list(&params).await, self.secrets.list(&params).await) else {
            return vec!["nothing can be read".to_owned()];
        };
        let version = |name: &str| {
            let secret = secrets.items.iter().find(|secret| secret.name_any() == name);
            secret.and_then(|secret| secret.metadata.resource_version.clone())
        };
        let mut behind: BTreeSet<&str> = self.accounts.keys().copied().collect();
        for connection in &connections.items {
            let Some(status) = &connection.status else { continue };
            let is_told = status.observed_generation == connection.metadata.generation
                && status.secret_resource_version == version(&connection.spec.secret_ref.name)
                && connection.open_request().is_none();
            if is_told {
                behind.remove(connection.name_any().as_str());
            }
        }
        behind.into_iter().map(str::to_owned).collect()
    }

    /// Checks what must hold after any fault: each verdict ever given is right, no unrequested login was spent, and nothing
    /// leaked.
    ///
    /// `repeated` is the number of further logins allowed for each connection that may log in, for example after it was
    /// recreated.
    pub async fn verify(&self, world: &World, repeated: u64) {
        self.verify_verdicts(world, None).await;
        self.verify_logins(world, repeated).await;
    }

    /// Checks the same if the operator had no right to the Secrets for a while: a connection may also have reported that.
    pub async fn verify_refused(&self, world: &World) {
        self.verify_verdicts(world, Some("ReferenceForbidden")).await;
        self.verify_logins(world, 0).await;
    }

    /// Checks the same after the operator was killed repeatedly, each time with new wrong values: none of them was sent twice.
    /// Returns the number of logins with wrong values.
    pub async fn verify_killed(&self, world: &World, kills: u64) -> u64 {
        self.verify_verdicts(world, Some("LoginUncertain")).await;
        let touched = self.touched.load(Ordering::SeqCst);
        for (name, account) in &self.accounts {
            let (attempts, refused) = world.simulator.logins(account).await;
            if *name == WRONG {
                assert!(attempts <= 1 + kills, "{attempts} logins with {} wrong values", 1 + kills);
                continue;
            }
            // A login that works is repeated if its outcome is unknown.
            assert!(attempts <= 1 + touched + kills && refused == 0, "{attempts} logins of {name}, {refused} refused");
        }
        world.simulator.logins(&self.accounts[WRONG]).await.0
    }

    /// Checks that each state and event ever seen is right. A connection may also have had the reason `untold`.
    async fn verify_verdicts(&self, world: &World, untold: Option<&str>) {
        let right = |name: &str| -> Option<(&str, &[&str])> {
            Some(match name {
                GOOD => ("Active", &["AllPermissionsGranted"]),
                WRONG => ("Unauthorized", &["CredentialsRejected", "LoginHeld"]),
                LACKING => ("Forbidden", &["PermissionsMissing"]),
                _ => return None,
            })
        };
        for (name, seen) in self.witness.states() {
            let Some((state, _)) = right(&name) else { continue };
            let is_right = |seen: &&String| {
                let is_untold = untold.is_some_and(|untold| seen.ends_with(untold));
                *seen == "Unknown/Probing" || seen.starts_with(state) || is_untold
            };
            let wrong: Vec<_> = seen.iter().filter(|seen| !is_right(seen)).collect();
            assert!(wrong.is_empty(), "wrong verdicts of {name}: {wrong:?}; the operator said\n{}", world.operator_log());
        }
        let events = Api::<Event>::namespaced(world.admin.clone(), &world.namespace).list(&ListParams::default()).await;
        for event in events.expect("events").items {
            let name = event.regarding.and_then(|about| about.name).unwrap_or_default();
            let Some((_, reasons)) = right(&name) else { continue };
            let reason = event.reason.unwrap_or_default();
            let is_right = reasons.contains(&reason.as_str()) || untold == Some(reason.as_str());
            assert!(is_right, "a wrong event of {name}: {reason}");
        }
        world.assert_nothing_got_out(&self.accounts.values().collect::<Vec<_>>()).await;
    }

    /// Checks that no unrequested login was spent.
    pub async fn verify_logins(&self, world: &World, repeated: u64) {
        let touched = self.touched.load(Ordering::SeqCst);
        for (name, account) in &self.accounts {
            let (attempts, refused) = world.simulator.logins(account).await;
            let expected = if *name == WRONG { 1 } else { 1 + touched + repeated };
            assert!(attempts <= expected, "{attempts} logins of {name}, {expected} at most are wanted");
            assert_eq!(refused, u64::from(*name == WRONG), "refused logins of {name}");
        }
    }
}

/// Requests a check and waits for its receipt.
pub async fn ask(world: &World, name: &str, value: &str) -> UkgProConnectionStatus {
    world.edit_named(name, json!({"metadata": {"annotations": {REQUESTED_AT: value}}})).await;
    let answered = |status: &UkgProConnectionStatus| status.last_handled_reconcile_at.as_deref() == Some(value);
    world.wait_for_of(name, "the receipt", answered).await.status.expect("a status")
}

/// Configures the simulator with these accounts of one customer.
pub async fn play<'a>(world: &World, accounts: impl Iterator<Item = &'a Account>, hosts: &[&str]) {
    let accounts: Vec<_> = accounts
        .map(|account| {
            json!({"username": account.username, "password": account.password, "userApiKey": account.user_api_key,
                "permissions": account.permissions})
        })
        .collect();
    let tenant =
        json!({"name": "acme", "hosts": hosts, "customerApiKey": world.account.customer_api_key, "accounts": accounts});
    world.simulator.play_tenants(&json!({"tenants": [tenant]})).await;
}

/// Returns the Secret's data for the account of the world.
pub fn data_of(world: &World) -> Value {
    let [username, password, customer_api_key, user_api_key] = world.account.secrets();
    json!({"username": username, "password": password, "customerApiKey": customer_api_key, "userApiKey": user_api_key})
}

/// Returns a connection of this name, with a Secret of the same name, which is due once a day.
pub fn connection(world: &World, name: &str) -> Value {
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["metadata"]["name"] = json!(name);
    manifest["spec"]["secretRef"]["name"] = json!(name);
    manifest["spec"]["interval"] = json!("24h");
    manifest
}
