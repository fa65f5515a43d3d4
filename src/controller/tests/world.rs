//! A simulated cluster: connections with their Secrets and statuses, the ledger's Secret, and two processes of the operator that
//! alternate, each with its own memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use tokio_util::task::AbortOnDropHandle;
use ukg_pro::catalogue::{Catalogue, Requirement};
use ukg_pro::transport::{Transport, Trust};

use super::cost::{Costs, What};
use super::upstream::{Interface, Presented, Tenant, Upstream, Values};
use super::{after_polls, promises};
use crate::api::{ApiChoice, REQUESTED_AT, RequiredPermission, UkgProConnection, UkgProConnectionStatus};
use crate::controller::decide::tests::connection_with;
use crate::controller::decide::{Decision, Observation, Observed, decide};
use crate::controller::resolve::{Found, ReferencedObjects, Target, Transports, VALUE_MAX, requirements, resolve};
use crate::controller::{self, Policy};
use crate::login_guard::tests::FakeStore;
use crate::login_guard::{Entry, Ledger};
use crate::schedule::clock::Clock;

/// What a connection requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only a login.
    Login,
    /// Permissions by SOAP only.
    Soap,
    /// Permissions by SOAP and REST.
    Both,
    /// Permissions by REST only, without a User API key.
    Rest,
}

pub(super) const SOAP: [&str; 2] = ["EmployeePersonDetails", "EmployeeJobDetails"];
pub(super) const REST: [&str; 4] =
    ["PtoPlanIntegration", "CompanyConfigurationIntegration", "PayrollIntegration", "PersonnelIntegration"];

impl Kind {
    pub(super) fn permissions(self) -> Vec<RequiredPermission> {
        let (soap, rest): (&[&str], &[&str]) = match self {
            Kind::Login => (&[], &[]),
            Kind::Soap => (&SOAP, &[]),
            Kind::Both => (&SOAP, &REST),
            Kind::Rest => (&[], &REST),
        };
        let named = |name: &&str| RequiredPermission { name: (*name).to_owned(), api: ApiChoice::Auto };
        soap.iter().chain(rest).map(named).collect()
    }
}

/// A connection and its Secret, in a namespace of their own.
pub(super) struct ConnectionFixture {
    pub(super) connection: UkgProConnection,
    pub(super) kind: Kind,
    pub(super) password: u8,
    pub(super) version: u64,
    /// Its last check.
    check: u32,
    /// What its open request for one more try was granted for, each once.
    pub(super) granted: Vec<What>,
    /// What was last observed and reported.
    pub(super) reported: promises::Reported,
}

impl ConnectionFixture {
    pub(super) fn values(&self) -> Values {
        Values { password: self.password, user_api_key: self.kind != Kind::Rest }
    }

    pub(super) fn status(&self) -> &UkgProConnectionStatus {
        self.connection.status.as_ref().expect("the API server fills it in")
    }

    fn secret(&self) -> Secret {
        let mut data = BTreeMap::from([
            ("username", "acme-service".to_owned()),
            ("password", format!("Pa55-of-acme-{}", self.password)),
            ("customerApiKey", "AB12C".to_owned()),
        ]);
        if self.values().user_api_key {
            data.insert("userApiKey", "A1B2C3D4E5F6".to_owned());
        }
        let data = data.into_iter().map(|(key, value)| (key.to_owned(), ByteString(value.into_bytes()))).collect();
        let mut secret = Secret { data: Some(data), ..Secret::default() };
        secret.metadata.resource_version = Some(self.version.to_string());
        secret
    }

    pub(super) fn requirements(&self) -> Vec<Requirement> {
        requirements(&self.connection.spec, catalogue()).expect("known")
    }

    fn target(&self) -> Target {
        static TRANSPORTS: OnceLock<Transports> = OnceLock::new();
        let transports =
            TRANSPORTS.get_or_init(|| Transports::new(Transport::new(Trust::default()).expect("the platform trusts somebody")));
        let policy = Policy {
            allowed_domains: vec!["ultipro.com".parse().expect("a domain")],
            secret_subdomains: Vec::new(),
            allow_private_addresses: false,
            heartbeat: None,
            words: catalogue().words(),
        };
        let references = ReferencedObjects { secret: Some(Found::of(self.secret(), VALUE_MAX)), bundle: None };
        resolve(&self.connection, self.requirements(), references, &policy, transports).expect("whole")
    }
}

pub(super) fn catalogue() -> &'static Catalogue {
    static CATALOGUE: OnceLock<Catalogue> = OnceLock::new();
    CATALOGUE.get_or_init(Catalogue::built_in)
}

/// A process of the operator.
pub(super) struct Process {
    ledger: std::sync::Arc<Ledger>,
    _flushing: AbortOnDropHandle<()>,
    /// What it has seen to work and not refused since.
    pub(super) works: Vec<What>,
    /// Whether another process has been active since it last read the ledger.
    pub(super) is_behind: bool,
}

impl Process {
    fn new(store: &FakeStore) -> Self {
        let ledger = std::sync::Arc::new(store.ledger());
        let flushed = ledger.clone();
        let flushing = AbortOnDropHandle::new(tokio::spawn(async move { flushed.flush_loop().await }));
        Self { ledger, _flushing: flushing, works: Vec::new(), is_behind: false }
    }

    pub(super) fn has_seen_work(&self, values: Values, interface: Interface) -> bool {
        self.works.contains(&(values, interface))
    }

    pub(super) fn learn(&mut self, presented: &Presented) {
        let what = (presented.values, presented.to);
        if let (true, Some(taken)) = (presented.answered, presented.taken) {
            self.works.retain(|known| *known != what);
            self.works.extend(taken.then_some(what));
        }
    }
}

/// The result of a check.
pub(super) enum Ended {
    /// The process was killed.
    Killed,
    /// The ledger could not be written or read, so there is no result.
    Unsaid,
    Found(Observation),
}

pub(super) struct World {
    pub(super) upstream: Upstream,
    pub(super) store: FakeStore,
    pub(super) clock: Clock,
    pub(super) fixtures: Vec<ConnectionFixture>,
    pub(super) costs: Costs,
    /// What the process knew to work when the last check began, or has seen to work during it.
    knew: Vec<What>,
    processes: [Process; 2],
    active: usize,
    checks: u32,
    versions: u64,
}

impl World {
    /// A tenant that accepts password 0, without connections.
    pub(super) fn new() -> Self {
        let store = FakeStore::default();
        Self {
            processes: [Process::new(&store), Process::new(&store)],
            store,
            upstream: Upstream::default(),
            clock: Clock::set_to(Timestamp::from_second(1_800_000_000).expect("in range")),
            fixtures: Vec::new(),
            costs: Costs::default(),
            knew: Vec::new(),
            active: 0,
            checks: 0,
            versions: 0,
        }
    }

    /// A world with connections of these kinds that have this password.
    pub(super) fn with(kinds: &[Kind], password: u8) -> Self {
        let mut world = Self::new();
        kinds.iter().for_each(|kind| world.add(*kind, password));
        world
    }

    /// Creates a connection with a Secret of its own.
    pub(super) fn add(&mut self, kind: Kind, password: u8) {
        let mut connection = connection_with(None);
        connection.spec.permissions = kind.permissions();
        connection.metadata.namespace = Some(format!("team-{}", self.fixtures.len()));
        let (version, uid) = (self.version(), self.version());
        connection.metadata.uid = Some(format!("uid-{uid}"));
        let reported = promises::Reported::default();
        self.fixtures.push(ConnectionFixture { connection, kind, password, version, check: 0, granted: Vec::new(), reported });
    }

    /// Deletes a connection and creates it again with the same spec and annotations.
    pub(super) fn recreate(&mut self, fixture: usize) {
        let uid = self.version();
        let fixture = &mut self.fixtures[fixture];
        fixture.connection.status = connection_with(None).status;
        fixture.connection.metadata.uid = Some(format!("uid-{uid}"));
        (fixture.granted, fixture.reported) = (Vec::new(), promises::Reported::default());
    }

    /// Writes its Secret, possibly with the same values.
    pub(super) fn edit(&mut self, fixture: usize, password: u8) {
        let version = self.version();
        let fixture = &mut self.fixtures[fixture];
        (fixture.password, fixture.version) = (password, version);
    }

    pub(super) fn require(&mut self, fixture: usize, kind: Kind) {
        let fixture = &mut self.fixtures[fixture];
        fixture.kind = kind;
        fixture.connection.spec.permissions = kind.permissions();
        fixture.connection.metadata.generation = fixture.connection.metadata.generation.map(|generation| generation + 1);
    }

    /// Requests a check; another value is another request.
    pub(super) fn request(&mut self, fixture: usize, value: &str) {
        let fixture = &mut self.fixtures[fixture];
        if fixture.connection.requested_at() != Some(value) {
            fixture.granted.clear();
        }
        fixture.connection.metadata.annotations = Some([(REQUESTED_AT.to_owned(), value.to_owned())].into());
    }

    fn version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    /// Lets time pass for all.
    pub(super) async fn pass(&mut self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Sets the wall clock; no time passes.
    pub(super) fn set_clock(&mut self, by: SignedDuration) {
        let time = self.clock.now().checked_add(by).expect("some days");
        self.clock = Clock::set_to(time);
        self.costs.clock_is_set(time);
    }

    /// The active process.
    pub(super) fn process(&self) -> &Process {
        &self.processes[self.active]
    }

    /// Kills the active process and starts another in its place.
    pub(super) async fn restart(&mut self) {
        self.processes[self.active] = Process::new(&self.store);
        self.forgive().await;
    }

    /// Fails over to the other process, which takes as long as a lease. `invalidate` makes it drop what it knew.
    pub(super) async fn fail_over(&mut self, invalidate: bool) {
        self.pass(Duration::from_secs(15)).await;
        self.processes[self.active].is_behind = true;
        self.active = 1 - self.active;
        let process = &mut self.processes[self.active];
        if invalidate {
            process.ledger.invalidate();
            process.works.clear();
            process.is_behind = false;
        }
        self.forgive().await;
    }

    /// Allows for what a process could not record before it was replaced, which is lost.
    async fn forgive(&mut self) {
        self.costs.is_forgotten();
        for values in self.costs.unwritten() {
            let entry = self.stored(values).await;
            self.costs.is_replaced(values, entry.as_ref());
        }
    }

    /// Returns what the ledger's Secret says about these values.
    pub(super) async fn stored(&self, values: Values) -> Option<Entry> {
        let fixture = self.fixtures.iter().find(|fixture| fixture.values().user_api_key == values.user_api_key)?;
        let fixture = ConnectionFixture {
            connection: fixture.connection.clone(),
            reported: promises::Reported::default(),
            granted: Vec::new(),
            password: values.password,
            ..*fixture
        };
        let (ledger, target) = (self.store.ledger(), fixture.target());
        let ids = ledger.credential_ids("hr", &target.endpoint, &target.credentials).await.ok()?;
        ledger.known(ids, self.clock.now()).entry
    }

    /// Makes one check as the operator does, up to the observation.
    async fn check_connection(&self, fixture: &ConnectionFixture) -> Ended {
        if fixture.connection.spec.suspend {
            return Ended::Found(Observation::Suspended);
        }
        let (upstream, check) = (self.upstream.clone(), fixture.check);
        let tenant = Tenant { upstream, check, values: fixture.values(), clock: &self.clock };
        let ledger = &self.process().ledger;
        match controller::check(&fixture.connection, &fixture.target(), &tenant, ledger, &self.clock).await {
            Ok(observation) => Ended::Found(observation),
            Err(_) => Ended::Unsaid,
        }
    }

    /// Checks these connections concurrently. With `kill`, the process is killed after so many polls, or else at the end.
    pub(super) async fn check(&mut self, fixtures: &[usize], kill: Option<usize>) -> Vec<(usize, Ended)> {
        let failures = self.store.failures();
        let first = self.checks;
        self.checks += u32::try_from(fixtures.len()).expect("few");
        self.upstream.state().shown.clear();
        fixtures.iter().zip(first..).for_each(|(fixture, check)| self.fixtures[*fixture].check = check);
        let checks = fixtures.iter().map(|fixture| self.check_connection(&self.fixtures[*fixture]));
        let found = after_polls(futures::future::join_all(checks), kill).await;
        let is_killed = found.is_none();
        let found = found.unwrap_or_else(|| fixtures.iter().map(|_| Ended::Killed).collect());

        let presented: Vec<_> = std::mem::take(&mut self.upstream.state().presented);
        self.knew = self.process().works.clone();
        for presented in &presented {
            let fixture = &mut self.fixtures[fixtures[(presented.check - first) as usize]];
            self.costs.presented(presented, fixture, &self.processes[self.active], &self.knew);
            self.processes[self.active].learn(presented);
        }
        let taken = presented.iter().filter(|presented| presented.answered && presented.taken == Some(true));
        self.knew.extend(taken.map(|presented| (presented.values, presented.to)));
        self.costs.ended(&self.processes[self.active], is_killed, self.store.failures() > failures);
        fixtures.iter().copied().zip(found).collect()
    }

    /// Whether these values were seen to work, in the last checks or by the check that shared its session.
    pub(super) fn is_seen_to_work(&self, what: What) -> bool {
        self.knew.contains(&what) || self.process().has_seen_work(what.0, what.1)
    }

    /// Returns the permissions that UKG Pro showed the last check of a connection to be granted.
    pub(super) fn shown(&self, fixture: &ConnectionFixture) -> BTreeSet<String> {
        let state = self.upstream.state();
        state.shown.iter().filter(|shown| shown.check == fixture.check).map(|shown| shown.permission.clone()).collect()
    }

    /// Checks one connection and writes its status, as the operator does.
    pub(super) async fn check_and_publish(&mut self, fixture: usize) -> Option<Decision> {
        let found = self.check(&[fixture], None).await.pop()?;
        self.publish(found)
    }

    /// Writes the status after a check of a connection, if there was an observation.
    pub(super) fn publish(&mut self, (fixture, ended): (usize, Ended)) -> Option<Decision> {
        let Ended::Found(observation) = ended else { return None };
        let requirements = self.fixtures[fixture].requirements();
        let before = &self.fixtures[fixture].connection;
        let observed = Observed::of(before, observation.clone(), None);
        let decision = decide(before, &requirements, &observed, self.clock.now());
        // The status as it is read back.
        let status: UkgProConnectionStatus =
            serde_json::to_value(&decision.status).and_then(serde_json::from_value).expect("JSON");
        let after = UkgProConnection { status: Some(status), ..before.clone() };
        let again = decide(&after, &requirements, &observed, self.clock.now() + SignedDuration::from_hours(1));
        promises::hold(self, fixture, &observation, &after, &decision, &again);
        let reported =
            self.fixtures[fixture].reported.after(self, fixture, &observation, after.status.as_ref().expect("just decided"));
        let fixture = &mut self.fixtures[fixture];
        (fixture.connection, fixture.reported) = (after, reported);
        Some(decision)
    }
}
