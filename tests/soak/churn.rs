//! Connections that change all the time, and what each must have come to.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use ukgpro_operator::api::{REQUESTED_AT, UkgProConnection};

use crate::support::World;
use crate::support::simulator::{Account, HOST};
use crate::support::witness::Witness;

/// Places for connections that change. Three of four are taken: a free one is always taken, one that is taken freed once in three.
const PLACES: usize = 200;
/// Connections that are only checked, each once a minute.
const STEADY: usize = 50;
/// Between two changes.
const PACE: Duration = Duration::from_millis(150);
/// Longer than it takes after a restart of the API server.
const DEADLINE: Duration = Duration::from_secs(240);

/// A connection and its account, by what was done to them.
struct Place {
    account: Account,
    /// Whether there is one, and whether its password is right.
    now: Option<bool>,
    /// How many logins were worth it, and how many of them are refused.
    logins: u64,
    refusals: u64,
}

pub struct Churn<'a> {
    world: &'a World,
    connections: Api<UkgProConnection>,
    secrets: Api<Secret>,
    places: Vec<Place>,
    steady: Vec<Account>,
    changes: u64,
    random: u64,
    witness: Witness,
}

impl<'a> Churn<'a> {
    /// The steady ones, and as many of the others as there will be on average.
    pub async fn begin(world: &'a World) -> Self {
        let account = |kind: &str, n: usize| Account {
            customer_api_key: world.account.customer_api_key.clone(),
            ..Account::unique(&format!("{kind}{n:04}"))
        };
        let place = |n| Place { account: account("churn", n), now: None, logins: 0, refusals: 0 };
        let (places, steady): (Vec<_>, Vec<_>) =
            ((0..PLACES).map(place).collect(), (0..STEADY).map(|n| account("steady", n)).collect());
        let (connections, secrets) = (world.connections(), world.secrets());
        let witness = Witness::of(connections.clone());
        let mut churn = Self { world, connections, secrets, places, steady, changes: 0, random: 1, witness };
        let accounts: Vec<_> = churn
            .accounts()
            .into_iter()
            .map(|account| {
                json!({"username": account.username, "password": account.password, "userApiKey": account.user_api_key,
                "permissions": account.permissions})
            })
            .collect();
        let customer = &world.account.customer_api_key;
        let tenant = json!({"name": "acme", "hosts": [HOST], "customerApiKey": customer, "accounts": accounts});
        world.simulator.play_tenants(&json!({"tenants": [tenant]})).await;
        for (n, account) in churn.steady.iter().enumerate() {
            churn.create(&format!("steady{n}"), account, "1m").await;
        }
        for n in 0..PLACES * 3 / 4 {
            churn.come(n).await;
        }
        churn
    }

    pub fn accounts(&self) -> Vec<&Account> {
        self.places.iter().map(|place| &place.account).chain(&self.steady).collect()
    }

    pub fn connections(&self) -> usize {
        STEADY + self.places.iter().filter(|place| place.now.is_some()).count()
    }

    pub fn changes(&self) -> u64 {
        self.changes
    }

    pub async fn logins(&self) -> u64 {
        self.world.simulator.counters().await["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0)
    }

    /// Changes one after another.
    pub async fn until(&mut self, end: Instant) {
        let mut ticks = tokio::time::interval(PACE);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        while Instant::now() < end {
            ticks.tick().await;
            self.change().await;
        }
    }

    async fn change(&mut self) {
        self.changes += 1;
        let n = self.draw(PLACES as u64) as usize;
        match (self.places[n].now, self.draw(6)) {
            (None, _) => self.come(n).await,
            (Some(_), 0 | 1) => self.go(n).await,
            (Some(right), 2) => self.rotate(n, !right).await,
            (Some(right), 3) => self.ask(n, right).await,
            (Some(right), 4) => self.edit(n, right).await,
            (Some(_), _) => self.label(n).await,
        }
    }

    async fn come(&mut self, n: usize) {
        self.create(&name(n), &self.places[n].account, "24h").await;
        let place = &mut self.places[n];
        place.now = Some(true);
        place.logins += 1;
    }

    async fn go(&mut self, n: usize) {
        self.connections.delete(&name(n), &DeleteParams::default()).await.expect("deleted");
        self.secrets.delete(&name(n), &DeleteParams::default()).await.expect("deleted");
        self.places[n].now = None;
    }

    async fn rotate(&mut self, n: usize, right: bool) {
        let wrong = format!("wrong-{}", self.changes);
        let password = if right { &self.places[n].account.password } else { &wrong };
        self.patch_secret(n, json!({"stringData": {"password": password}})).await;
        let place = &mut self.places[n];
        place.now = Some(right);
        place.logins += 1;
        place.refusals += u64::from(!right);
    }

    /// A request is one more try, whatever stands in the way.
    async fn ask(&mut self, n: usize, right: bool) {
        self.patch(n, json!({"metadata": {"annotations": {REQUESTED_AT: self.changes.to_string()}}})).await;
        self.places[n].logins += 1;
        self.places[n].refusals += u64::from(!right);
    }

    /// An edit is worth a check, and a login only with values that are not refused.
    async fn edit(&mut self, n: usize, right: bool) {
        let timeout = format!("{}s", 10 + self.changes % 50);
        self.patch(n, json!({"spec": {"timeout": timeout}})).await;
        self.places[n].logins += u64::from(right);
    }

    /// The Secret has another version and the same values.
    async fn label(&mut self, n: usize) {
        self.patch_secret(n, json!({"metadata": {"labels": {"n": self.changes.to_string()}}})).await;
        self.places[n].logins += u64::from(self.places[n].now == Some(true));
    }

    async fn create(&self, name: &str, account: &Account, interval: &str) {
        let [username, password, customer_api_key, user_api_key] = account.secrets();
        let data = json!({"username": username, "password": password, "customerApiKey": customer_api_key,
            "userApiKey": user_api_key});
        self.world.put_secret_named(name, data).await;
        let mut manifest = self.world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["secretRef"]["name"] = json!(name);
        manifest["spec"]["interval"] = json!(interval);
        self.world.apply(&manifest).await.expect("accepted");
    }

    async fn patch(&self, n: usize, patch: Value) {
        self.connections.patch(&name(n), &PatchParams::default(), &Patch::Merge(&patch)).await.expect("edited");
    }

    async fn patch_secret(&self, n: usize, patch: Value) {
        self.secrets.patch(&name(n), &PatchParams::default(), &Patch::Merge(&patch)).await.expect("edited");
    }

    /// Waits until every verdict is about what stands there now, and sees that it is right and cost no more logins than it was worth.
    pub async fn come_to_rest(&self, passed: Duration) {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(500));
        loop {
            ticks.tick().await;
            let behind = self.behind().await;
            if behind.is_empty() {
                break;
            }
            if begun.elapsed() > DEADLINE {
                let log = self.world.operator_log();
                let tail: Vec<_> = log.lines().rev().take(50).collect();
                panic!("lost updates or wrong verdicts: {behind:?}; the operator said last\n{}", tail.join("\n"));
            }
        }
        for (name, states) in self.witness.states() {
            // Of those that change only the last can be judged, above; and a Secret may go before its connection is known to have gone.
            let right = |state: &String| match state.split('/').next() {
                Some("Active") => true,
                Some("Unauthorized") => name.starts_with("churn"),
                _ => state == "Unknown/Probing" || (name.starts_with("churn") && state.ends_with("/SecretNotFound")),
            };
            assert!(states.iter().all(right), "wrong verdicts of {name}: {states:?}");
        }
        let counters = self.world.simulator.counters().await;
        let count = |account: &Account, field: &str| counters["logins"][&account.username][field].as_u64().unwrap_or(0);
        for (n, Place { account, logins, refusals, .. }) in self.places.iter().enumerate() {
            let (attempts, refused) = (count(account, "attempts"), count(account, "refused"));
            let right = attempts <= *logins && refused <= *refusals;
            assert!(right, "{}: {attempts} logins, {refused} refused; {logins} and {refusals} at most are wanted", name(n));
        }
        for account in &self.steady {
            // Each check comes up to a tenth sooner than a minute after the one before.
            let most = 2 + (passed.as_secs_f64() / 60.0 / 0.9) as u64;
            let (attempts, refused) = (count(account, "attempts"), count(account, "refused"));
            assert!(attempts <= most && refused == 0, "{}: {attempts} logins, {refused} refused", account.username);
        }
    }

    /// Those whose verdict is not what it must be, or not about what stands there now.
    async fn behind(&self) -> Vec<String> {
        let params = ListParams::default();
        let (Ok(connections), Ok(secrets)) = (self.connections.list(&params).await, self.secrets.list(&params).await) else {
            return vec!["nothing can be read".to_owned()];
        };
        let versions: std::collections::HashMap<_, _> =
            secrets.items.into_iter().map(|secret| (secret.name_any(), secret.metadata.resource_version)).collect();
        let wrong = |connection: &UkgProConnection| {
            let name = connection.name_any();
            let place = name.strip_prefix("churn").and_then(|n| self.places.get(n.parse::<usize>().ok()?));
            let right = place.is_none_or(|place| place.now == Some(true));
            let status = connection.status.clone().unwrap_or_default();
            let is_told = status.state == if right { "Active" } else { "Unauthorized" }
                && status.observed_generation == connection.metadata.generation
                && Some(&status.secret_resource_version) == versions.get(&connection.spec.secret_ref.name)
                && connection.open_request().is_none();
            (!is_told).then_some(format!("{name} {}", status.state))
        };
        connections.items.iter().filter_map(wrong).collect()
    }

    /// A number below this one. The same each time, as what it picks is not what is tested.
    fn draw(&mut self, below: u64) -> u64 {
        // An LCG whose upper bits are good enough, by Knuth.
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }
}

fn name(n: usize) -> String {
    format!("churn{n}")
}
