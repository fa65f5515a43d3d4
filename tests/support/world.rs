//! The environment of one test: a namespace, a simulator and a way to start operators.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::config::Kubeconfig;
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use ukgpro_operator::api::conditions;
use ukgpro_operator::api::{UkgProConnection, UkgProConnectionStatus};
use ukgpro_operator::cluster::deadlines::Deadlines;

use super::control_plane::ControlPlane;
use super::fast_clock::InProcessOperator;
use super::operator::{Operator, with_hosts};
use super::simulator::{Account, Simulator};
use super::wire::Wire;

/// Longer than anything takes on a busy machine. A test that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(60);
const SERVICE_ACCOUNT: &str = "ukgpro-operator";
pub const SECRET: &str = "acme-ukg-pro";
pub const CONNECTION: &str = "acme";

pub struct World {
    pub control_plane: &'static ControlPlane,
    pub namespace: String,
    pub admin: Client,
    pub account: Account,
    pub simulator: Simulator,
    /// Further namespaces, for an operator of the whole cluster.
    pub elsewhere: Vec<String>,
    /// The operator's kubeconfig.
    pub kubeconfig: PathBuf,
    pub directory: TempDir,
}

impl World {
    /// Creates a namespace with the simulator's CA in ConfigMap `simulator-ca`, the account's Secret, and rights for an operator.
    pub async fn new(name: &str) -> Self {
        Self::on(ControlPlane::shared(), name).await
    }

    /// Does the same on this control plane.
    pub async fn on(control_plane: &'static ControlPlane, name: &str) -> Self {
        let admin = control_plane.admin().await;
        let tag = format!("{:08x}", RandomState::new().hash_one(name) as u32);
        let namespace = format!("e2e-{name}-{tag}");
        let directory = tempfile::tempdir().expect("a directory");
        let account = Account::unique(&tag);
        let simulator = Simulator::start(directory.path(), &account);
        let kubeconfig = directory.path().join("operator.kubeconfig");
        let world = Self { control_plane, namespace, admin, account, simulator, elsewhere: Vec::new(), kubeconfig, directory };
        world.create_namespace(&world.namespace).await;
        world.grant_rights().await;
        world.put_secret(&world.account).await;
        world
    }

    /// Does the same with `more` further namespaces, for an operator of the whole cluster that handles only this world's
    /// connections. They have the label `world` with the name of its namespace.
    pub async fn spread(name: &str, more: usize) -> Self {
        Self::spread_on(ControlPlane::shared(), name, more).await
    }

    /// Does the same on this control plane.
    pub async fn spread_on(control_plane: &'static ControlPlane, name: &str, more: usize) -> Self {
        let mut world = Self::on(control_plane, name).await;
        world.elsewhere = (1..=more).map(|n| format!("{}-{n}", world.namespace)).collect();
        for namespace in &world.elsewhere {
            world.create_namespace(namespace).await;
        }
        let params = PostParams::default();
        let rules = world.api::<Role>().get(SERVICE_ACCOUNT).await.expect("a Role").rules;
        let role = ClusterRole { metadata: named(&world.namespace), rules, ..ClusterRole::default() };
        Api::all(world.admin.clone()).create(&params, &role).await.expect("a ClusterRole");
        let binding = world.api::<RoleBinding>().get(SERVICE_ACCOUNT).await.expect("a RoleBinding");
        let binding = ClusterRoleBinding {
            metadata: named(&world.namespace),
            role_ref: RoleRef { kind: "ClusterRole".to_owned(), name: world.namespace.clone(), ..binding.role_ref },
            subjects: binding.subjects,
        };
        Api::all(world.admin.clone()).create(&params, &binding).await.expect("a ClusterRoleBinding");
        world
    }

    /// Creates a namespace with the simulator's CA in it.
    async fn create_namespace(&self, name: &str) {
        let params = PostParams::default();
        let object = Namespace { metadata: named(name), ..Namespace::default() };
        Api::all(self.admin.clone()).create(&params, &object).await.expect("a namespace");
        let ca = BTreeMap::from([("ca.crt".to_owned(), self.simulator.ca.clone())]);
        let ca = ConfigMap { metadata: named("simulator-ca"), data: Some(ca), ..ConfigMap::default() };
        Api::namespaced(self.admin.clone(), name).create(&params, &ca).await.expect("a ConfigMap");
    }

    /// Creates a ServiceAccount with the rights of `config/rbac`, in this namespace only, and a kubeconfig with its token.
    async fn grant_rights(&self) {
        self.create(&ServiceAccount { metadata: named(SERVICE_ACCOUNT), ..ServiceAccount::default() }).await;
        let manifests = concat!(env!("CARGO_MANIFEST_DIR"), "/config/rbac/rbac.yaml");
        let manifests = std::fs::read_to_string(manifests).expect("the rights");
        let document = |kind: &str| manifests.split("\n---\n").find(|document| document.contains(&format!("kind: {kind}\n")));
        let watched: ClusterRole = serde_saphyr::from_str(document("ClusterRole").expect("a role")).expect("a ClusterRole");
        let own: Role = serde_saphyr::from_str(document("Role").expect("a role")).expect("a Role");
        let rules = watched.rules.into_iter().flatten().chain(own.rules.into_iter().flatten()).collect();
        self.create(&Role { metadata: named(SERVICE_ACCOUNT), rules: Some(rules) }).await;
        self.create(&RoleBinding {
            metadata: named(SERVICE_ACCOUNT),
            role_ref: RoleRef {
                api_group: "rbac.authorization.k8s.io".to_owned(),
                kind: "Role".to_owned(),
                name: SERVICE_ACCOUNT.to_owned(),
            },
            subjects: Some(vec![Subject {
                kind: "ServiceAccount".to_owned(),
                name: SERVICE_ACCOUNT.to_owned(),
                namespace: Some(self.namespace.clone()),
                ..Subject::default()
            }]),
        })
        .await;
        self.write_kubeconfig(&self.namespace, SERVICE_ACCOUNT, &self.kubeconfig).await;
    }

    /// Writes a kubeconfig with a token of this ServiceAccount.
    pub async fn write_kubeconfig(&self, namespace: &str, service_account: &str, path: &Path) {
        Self::write_kubeconfig_of(&self.admin, &self.control_plane.kubeconfig, namespace, service_account, path).await;
    }

    /// Does the same for the control plane of the administrator's kubeconfig `of`.
    pub async fn write_kubeconfig_of(admin: &Client, of: &Path, namespace: &str, service_account: &str, path: &Path) {
        let request = TokenRequest { spec: TokenRequestSpec::default(), ..TokenRequest::default() };
        let accounts = Api::<ServiceAccount>::namespaced(admin.clone(), namespace);
        let token = accounts.create_token_request(service_account, &PostParams::default(), &request).await;
        let token = token.expect("a token").status.expect("a token").token;
        let admin = Kubeconfig::read_from(of).expect("a kubeconfig");
        let cluster = admin.clusters[0].cluster.clone().expect("a cluster");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": cluster}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
            "users": [{"name": "x", "user": {"token": token}}],
        });
        std::fs::write(path, kubeconfig.to_string()).expect("the kubeconfig is written");
    }

    /// Starts an operator for this world. Several may run.
    pub fn operator(&self) -> Operator {
        self.operator_with(&[], &[])
    }

    /// Starts an operator with these additional flags and environment variables.
    pub fn operator_with(&self, flags: &[&str], variables: &[(&str, &str)]) -> Operator {
        self.start_operator(&[], flags, variables)
    }

    /// Starts an operator that has these lines as its `/etc/hosts`.
    pub fn operator_with_hosts(&self, hosts: &str) -> Operator {
        let path = self.directory.path().join("hosts");
        std::fs::write(&path, hosts).expect("the file is written");
        self.start_operator(&with_hosts(), &[], &[("HOSTS", path.to_str().expect("a path"))])
    }

    /// Starts an operator that reaches the API server through this relay.
    pub fn operator_by(&self, wire: &Wire) -> Operator {
        self.start_operator_as(&wire.kubeconfig(&self.kubeconfig), &[], &[], &[])
    }

    /// Starts an operator through this program.
    pub fn start_operator(&self, program: &[&str], flags: &[&str], variables: &[(&str, &str)]) -> Operator {
        self.start_operator_as(&self.kubeconfig, program, flags, variables)
    }

    /// Starts an operator through this program, with this kubeconfig.
    pub fn start_operator_as(
        &self,
        kubeconfig: &Path,
        program: &[&str],
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Operator {
        let log = self.directory.path().join("operator.log");
        let scope = ["--namespace", &self.namespace];
        let flags = [if self.elsewhere.is_empty() { scope.as_slice() } else { &[] }, flags].concat();
        Operator::start(program, kubeconfig, &self.namespace, &log, &flags, variables)
    }

    /// Runs the operator's own code in the test's process, on a clock that is `factor` times as fast.
    pub async fn operator_on_fast_clock(&self, factor: u32) -> InProcessOperator {
        InProcessOperator::start(&self.kubeconfig, &self.namespace, factor, Deadlines::default()).await
    }

    /// Does the same with the real clock, through this relay to the API server and with these deadlines.
    pub async fn operator_in_process(&self, wire: &Wire, deadlines: Deadlines) -> InProcessOperator {
        InProcessOperator::start(&wire.kubeconfig(&self.kubeconfig), &self.namespace, 1, deadlines).await
    }

    /// Returns the domain and port of this world's simulator.
    pub fn domain(&self) -> String {
        format!("ultipro.localhost:{}", self.simulator.port)
    }

    /// Returns the manifest of a connection to this world's simulator that requires these permissions.
    pub fn connection(&self, permissions: &[&str]) -> Value {
        json!({
            "apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection",
            "metadata": {"name": CONNECTION, "namespace": self.namespace},
            "spec": {
                "secretRef": {"name": SECRET}, "domain": self.domain(), "subdomain": "service4",
                "caRef": {"name": "simulator-ca"},
                "permissions": permissions.iter().map(|name| json!({"name": name})).collect::<Vec<_>>(),
            },
        })
    }

    pub fn connections(&self) -> Api<UkgProConnection> {
        self.api()
    }

    pub fn secrets(&self) -> Api<Secret> {
        self.api()
    }

    /// Applies a connection as `kubectl apply --server-side` does. Returns the error's text if it is refused.
    pub async fn apply(&self, manifest: &Value) -> Result<UkgProConnection, String> {
        let name = manifest["metadata"]["name"].as_str().expect("a name");
        let params = PatchParams::apply("tests").force();
        match self.connections().patch(name, &params, &Patch::Apply(manifest)).await {
            Ok(connection) => Ok(connection),
            Err(kube::Error::Api(status)) => Err(status.message),
            Err(error) => panic!("{error}"),
        }
    }

    /// Creates or replaces the Secret, with the values of this account.
    pub async fn put_secret(&self, account: &Account) {
        let [username, password, customer_api_key, user_api_key] = account.secrets();
        self.put_secret_data(json!({
            "username": username, "password": password,
            "customerApiKey": customer_api_key, "userApiKey": user_api_key,
        }))
        .await;
    }

    pub async fn put_secret_data(&self, data: Value) {
        let _ = self.secrets().delete(SECRET, &DeleteParams::default()).await;
        self.put_secret_named(SECRET, data).await;
    }

    pub async fn put_secret_named(&self, name: &str, data: Value) {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data});
        self.secrets()
            .patch(name, &PatchParams::apply("tests").force(), &Patch::Apply(&secret))
            .await
            .expect("the Secret is applied");
    }

    /// Returns the manifest of a connection, and creates a Secret of the same name with an account that the tenant does not know.
    #[allow(dead_code, reason = "only one of the test binaries uses it")]
    pub async fn connection_of_a_stranger(&self, name: &str) -> Value {
        let data = json!({"username": name, "password": "p4ss!word", "customerApiKey": "NOTIT", "userApiKey": "N0T1TE1THER1"});
        self.put_secret_named(name, data).await;
        let mut manifest = self.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["secretRef"]["name"] = json!(name);
        manifest
    }

    /// Creates or replaces a ConfigMap.
    pub async fn put_config_map(&self, name: &str, data: Value) {
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        let params = PatchParams::apply("tests").force();
        self.api::<ConfigMap>().patch(name, &params, &Patch::Apply(&map)).await.expect("the ConfigMap is applied");
    }

    /// Merges a patch into the Secret, as an edit in place.
    pub async fn edit_secret(&self, patch: Value) {
        self.edit_secret_named(SECRET, patch).await;
    }

    /// Merges a patch into a Secret.
    pub async fn edit_secret_named(&self, name: &str, patch: Value) {
        self.secrets().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await.expect("the Secret is edited");
    }

    /// Replaces the rules of the operator's Role and returns the previous ones.
    pub async fn set_rules(&self, rules: Option<Vec<PolicyRule>>) -> Option<Vec<PolicyRule>> {
        let mut role = self.api::<Role>().get(SERVICE_ACCOUNT).await.expect("a Role");
        let before = std::mem::replace(&mut role.rules, rules);
        self.api::<Role>().replace(SERVICE_ACCOUNT, &PostParams::default(), &role).await.expect("replaced");
        before
    }

    /// Merges a patch into the connection.
    pub async fn edit(&self, patch: Value) {
        self.edit_named(CONNECTION, patch).await;
    }

    /// Merges a patch into a connection.
    pub async fn edit_named(&self, name: &str, patch: Value) {
        let edited = self.connections().patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        edited.expect("the connection is edited");
    }

    /// Waits until the status of [`CONNECTION`], for its current spec, matches.
    pub async fn wait_for(&self, what: &str, is: impl Fn(&UkgProConnectionStatus) -> bool) -> UkgProConnection {
        self.wait_for_of(CONNECTION, what, is).await
    }

    /// Waits until the status of a connection, for its current spec, matches.
    pub async fn wait_for_of(&self, name: &str, what: &str, is: impl Fn(&UkgProConnectionStatus) -> bool) -> UkgProConnection {
        let current = |connection: Option<&UkgProConnection>| {
            connection.is_some_and(|connection| {
                let status = connection.status.as_ref();
                status.is_some_and(|status| status.observed_generation == connection.metadata.generation && is(status))
            })
        };
        match tokio::time::timeout(DEADLINE, await_condition(self.connections(), name, current)).await {
            Ok(found) => found.expect("a watch").expect("the connection is there"),
            Err(_) => {
                let connection = self.connections().get(name).await.expect("the connection is there");
                let status = serde_json::to_string_pretty(&connection.status).expect("JSON");
                panic!("waited for {what} in vain; the status is\n{status}\nand the operator said\n{}", self.operator_log());
            }
        }
    }

    /// Waits for this reason in `Ready`.
    pub async fn wait_for_reason(&self, reason: &str) -> UkgProConnection {
        self.wait_for_reason_of(CONNECTION, reason).await
    }

    /// Waits for this reason in a connection's `Ready`.
    pub async fn wait_for_reason_of(&self, name: &str, reason: &str) -> UkgProConnection {
        let is = |status: &UkgProConnectionStatus| {
            conditions::find(&status.conditions, "Ready").is_some_and(|ready| ready.reason == reason)
        };
        self.wait_for_of(name, reason, is).await
    }

    /// Returns the connection as the API server stores it, with any field of its status.
    pub async fn stored(&self, name: &str) -> DynamicObject {
        self.as_stored().get(name).await.expect("the connection is there")
    }

    /// Waits until the status for this generation has this reason in `Ready`, and returns the connection as stored at that time.
    pub async fn wait_for_stored(&self, name: &str, reason: &str, generation: i64) -> DynamicObject {
        let is = |stored: Option<&DynamicObject>| {
            stored.is_some_and(|stored| {
                let status = &stored.data["status"];
                let ready = status["conditions"].as_array().and_then(|list| list.iter().find(|each| each["type"] == "Ready"));
                [status["observedGeneration"].as_i64(), stored.metadata.generation] == [Some(generation); 2]
                    && ready.is_some_and(|ready| ready["reason"] == reason)
            })
        };
        match tokio::time::timeout(DEADLINE, await_condition(self.as_stored(), name, is)).await {
            Ok(found) => found.expect("a watch").expect("the connection is there"),
            Err(_) => {
                let status = self.stored(name).await.data;
                panic!("waited for {reason} in vain; there is\n{status:#}\nand the operator said\n{}", self.operator_log());
            }
        }
    }

    fn as_stored(&self) -> Api<DynamicObject> {
        let kind = ApiResource::erase::<UkgProConnection>(&());
        Api::namespaced_with(self.admin.clone(), &self.namespace, &kind)
    }

    /// Waits until this returns true.
    pub async fn wait_until(&self, what: &str, is: impl AsyncFn() -> bool) {
        self.wait_within(DEADLINE, what, is).await;
    }

    /// Does the same for what takes minutes.
    pub async fn wait_longer(&self, what: &str, is: impl AsyncFn() -> bool) {
        self.wait_within(5 * DEADLINE, what, is).await;
    }

    async fn wait_within(&self, deadline: Duration, what: &str, is: impl AsyncFn() -> bool) {
        let poll = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            loop {
                ticks.tick().await;
                if is().await {
                    return;
                }
            }
        };
        if tokio::time::timeout(deadline, poll).await.is_err() {
            panic!("waited for {what} in vain; the operator said\n{}", self.operator_log());
        }
    }

    /// Waits until the simulator's counters match.
    pub async fn wait_for_counters(&self, what: &str, is: impl Fn(&Value) -> bool) {
        self.wait_until(what, async || is(&self.simulator.counters().await)).await;
    }

    /// Waits for this many events about the connection and returns their reasons, oldest first.
    pub async fn events(&self, count: usize) -> Vec<String> {
        let events = async || {
            let mut events = self.api::<Event>().list(&ListParams::default()).await.expect("events").items;
            events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
            events
        };
        self.wait_until("events", async || events().await.len() >= count).await;
        events().await.into_iter().filter_map(|event| event.reason).collect()
    }

    /// Waits until the login ledger holds no login of unknown outcome.
    pub async fn wait_for_tidy_ledger(&self) {
        let entries = async || {
            let ledger = self.api::<Secret>().get("ukgpro-operator-ledger").await.expect("a ledger");
            let entries = ledger.data.and_then(|mut data| data.remove("entries")).expect("entries");
            String::from_utf8(entries.0).expect("text")
        };
        self.wait_until("a tidy ledger", async || !entries().await.contains(" begun ")).await;
    }

    /// Returns how often the operator has read a Secret, by the API server's audit log. Each check does so once.
    pub fn secrets_read(&self) -> usize {
        let is_read = |entry: &Value| {
            let object = &entry["objectRef"];
            entry["verb"] == "get" && object["resource"] == "secrets" && object["name"] != "ukgpro-operator-ledger"
        };
        self.audited().iter().filter(|entry| is_read(entry)).count()
    }

    /// Returns how many statuses the operator has written, by the audit log.
    pub fn statuses_written(&self) -> usize {
        let is_written = |entry: &Value| entry["verb"] == "patch" && entry["responseStatus"]["code"] == 200;
        self.audited().iter().filter(|entry| is_written(entry)).count()
    }

    /// Runs the real kubectl in this namespace. Returns whether it succeeded, and its standard output and error.
    pub async fn kubectl(&self, arguments: &[&str]) -> (bool, String) {
        let mut command = self.control_plane.command();
        command.args(["--namespace", &self.namespace]).args(arguments);
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.expect("kubectl ends").expect("kubectl runs");
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    pub fn operator_log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("operator.log")).unwrap_or_default()
    }

    /// Returns the Prometheus metrics of the operator that was started last.
    pub async fn metrics(&self) -> String {
        let log = self.operator_log();
        let started = log.lines().rfind(|line| line.contains("\"started\"")).expect("it has started");
        let started: Value = serde_json::from_str(started).expect("JSON");
        let url = format!("http://{}/metrics", started["metrics"].as_str().expect("an address"));
        let http = reqwest::Client::builder().no_proxy().build().expect("a client");
        http.get(url).send().await.expect("an answer").text().await.expect("a text")
    }

    /// Returns the time of the last line in the operator's log.
    pub fn operator_time(&self) -> Timestamp {
        let log = self.operator_log();
        let last: Value = log.lines().rev().find_map(|line| serde_json::from_str(line).ok()).expect("a line");
        last["timestamp"].as_str().and_then(|time| time.parse().ok()).expect("a time")
    }

    /// Checks what must hold in any test, and cleans up. Each test ends with it.
    pub async fn finish(self) {
        self.assert_nothing_got_out(&[&self.account]).await;
        self.assert_no_request_refused();
        self.finish_without_operator().await;
    }

    /// Checks that no person's data crossed the wire, and no credential of these accounts is in a log, status or event.
    pub async fn assert_nothing_got_out(&self, accounts: &[&Account]) {
        let counters = self.simulator.counters().await;
        assert_eq!(counters["personRecords"], 0, "a person's data crossed the wire");
        assert_eq!(counters["strictness"], json!([]), "UKG Pro would have refused or dropped something");
        let log = self.operator_log();
        let objects = [
            serde_json::to_string(&self.connections().list(&ListParams::default()).await.expect("a list").items),
            serde_json::to_string(&self.api::<Event>().list(&ListParams::default()).await.expect("a list").items),
        ];
        let texts = [log.clone(), objects.map(|text| text.expect("JSON")).join("\n")];
        for form in accounts.iter().flat_map(|account| account.forms()) {
            assert!(texts.iter().all(|text| !text.contains(&form)), "a credential got out, as {form}");
        }
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Deletes everything that the world created.
    pub async fn finish_without_operator(self) {
        self.finish_but_for(&[]).await;
    }

    /// Does the same if these namespaces are already gone.
    pub async fn finish_but_for(self, gone: &[String]) {
        let params = DeleteParams::default();
        for namespace in self.elsewhere.iter().chain([&self.namespace]).filter(|namespace| !gone.contains(namespace)) {
            Api::<Namespace>::all(self.admin.clone()).delete(namespace, &params).await.expect("deleted");
        }
        if !self.elsewhere.is_empty() {
            Api::<ClusterRoleBinding>::all(self.admin.clone()).delete(&self.namespace, &params).await.expect("deleted");
            Api::<ClusterRole>::all(self.admin.clone()).delete(&self.namespace, &params).await.expect("deleted");
        }
    }

    /// Checks that the API server refused the operator no request for lack of rights.
    pub fn assert_no_request_refused(&self) {
        let audited = self.audited();
        for entry in &audited {
            assert_ne!(entry["responseStatus"]["code"], 403, "{} {}", entry["verb"], entry["requestURI"]);
        }
        assert!(!audited.is_empty() || self.control_plane.audit_log.is_none(), "the audit log has the operator's requests");
    }

    /// Returns the operator's requests in the API server's audit log; none with an existing cluster.
    pub fn audited(&self) -> Vec<Value> {
        self.audited_of(&self.namespace, SERVICE_ACCOUNT)
    }

    /// Returns the requests of a ServiceAccount.
    pub fn audited_of(&self, namespace: &str, service_account: &str) -> Vec<Value> {
        let Some(audit_log) = &self.control_plane.audit_log else { return Vec::new() };
        let user = format!("system:serviceaccount:{namespace}:{service_account}\"");
        let log = std::fs::read_to_string(audit_log).expect("the audit log");
        // The last line may be incomplete.
        log.lines().filter(|line| line.contains(&user)).filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns the API of a kind in this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    pub async fn create<K>(&self, object: &K)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize,
    {
        let created = self.api::<K>().create(&PostParams::default(), object).await;
        created.unwrap_or_else(|error| panic!("{} {}: {error}", K::kind(&()), object.name_any()));
    }
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }
}
