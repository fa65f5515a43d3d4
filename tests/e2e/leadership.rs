//! Leader election on a real API server, with only the rights that its module lists.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Config};
use serde_json::json;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use ukgpro_operator::cluster::leader_election::{Candidate, Leadership, Settings, Term, Timing};

use crate::support::World;
use crate::support::wire::Wire;

const LEASE: &str = "ukgpro-operator";
const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything takes here. A wait that reaches it has failed.
const DEADLINE: Duration = Duration::from_secs(60);

/// Returns a shorter timing than an operator's, for tests that wait for a Lease to expire.
fn short() -> Timing {
    Timing::new(4 * SECOND, 3 * SECOND, SECOND / 2).expect("fits")
}

/// A process that takes part in an election.
struct Standing {
    identity: String,
    leadership: Leadership,
    drained: oneshot::Sender<()>,
    election: JoinHandle<()>,
}

impl Standing {
    fn new(world: &World, config: Config, instance: &str, timing: Timing) -> Self {
        let (namespace, name) = (world.namespace.clone(), LEASE.to_owned());
        let settings = Settings { namespace, name, instance: instance.to_owned(), timing };
        let candidate = Candidate::new(config, settings).expect("a candidate");
        let (identity, leadership) = (candidate.identity().to_owned(), candidate.leadership());
        let (drained, end) = oneshot::channel();
        let election = tokio::spawn(candidate.run(async { end.await.unwrap_or(()) }));
        Self { identity, leadership, drained, election }
    }

    async fn leads(&self) -> Term {
        tokio::time::timeout(DEADLINE, self.leadership.acquired()).await.expect("it leads")
    }

    async fn stop(self) {
        self.drained.send(()).expect("it stands");
        self.election.await.expect("no panic");
    }
}

/// Returns the configuration of a client that has only the rights on Leases that an election needs.
async fn restricted(world: &World) -> Config {
    let verbs = ["get", "create", "update"].map(str::to_owned).to_vec();
    let rule = PolicyRule {
        api_groups: Some(vec!["coordination.k8s.io".to_owned()]),
        resources: Some(vec!["leases".to_owned()]),
        verbs,
        ..PolicyRule::default()
    };
    world.set_rules(Some(vec![rule])).await;
    let mut config = world.control_plane.config().await;
    config.auth_info.impersonate = Some(format!("system:serviceaccount:{}:ukgpro-operator", world.namespace));
    // The API server picks up a Role a moment after it is written.
    let api = Api::<Lease>::namespaced(config.clone().try_into().expect("a client"), &world.namespace);
    world.wait_until("the rights", async || api.get_opt(LEASE).await.is_ok()).await;
    config
}

async fn lost(term: &Term) {
    tokio::time::timeout(DEADLINE, term.lost()).await.expect("the term ends");
}

fn leases(world: &World) -> Api<Lease> {
    Api::namespaced(world.admin.clone(), &world.namespace)
}

async fn spec(world: &World) -> LeaseSpec {
    leases(world).get(LEASE).await.expect("a Lease").spec.expect("a spec")
}

async fn holder(world: &World) -> Option<String> {
    leases(world).get_opt(LEASE).await.expect("an answer")?.spec?.holder_identity
}

/// Waits for a renewal, so that the other candidates have had time to read the Lease too.
async fn renewed(world: &World) {
    let before = spec(world).await.renew_time;
    world.wait_until("a renewal", async || spec(world).await.renew_time != before).await;
}

#[tokio::test]
async fn one_of_two_leads_and_a_clean_stop_hands_over_in_less_than_two_seconds() {
    let world = World::new("lead").await;
    let config = restricted(&world).await;
    let first = Standing::new(&world, config.clone(), "first", Timing::default());
    let term = first.leads().await;
    let second = Standing::new(&world, config, "second", Timing::default());
    let taken = spec(&world).await;
    assert_eq!(taken.holder_identity.as_ref(), Some(&first.identity));
    assert_eq!((taken.lease_duration_seconds, taken.lease_transitions), (Some(15), Some(0)));
    // Labels of others stay, and cost the leader only a read.
    let label = json!({"metadata": {"labels": {"team": "hr"}}});
    leases(&world).patch(LEASE, &PatchParams::default(), &Patch::Merge(&label)).await.expect("labelled");
    for _ in 0..2 {
        renewed(&world).await;
        assert!(term.is_leading() && !second.leadership.is_leading());
    }
    assert_eq!(spec(&world).await.acquire_time, taken.acquire_time);
    assert!(leases(&world).get(LEASE).await.expect("a Lease").metadata.labels.is_some());

    let stopped = Instant::now();
    let follower = second.identity.clone();
    let (_, follow) = tokio::join!(first.stop(), second.leads());
    assert!(stopped.elapsed() < 2 * SECOND, "{:?}", stopped.elapsed());
    assert!(!term.is_leading() && follow.is_leading());
    let taken = spec(&world).await;
    assert_eq!((taken.holder_identity, taken.lease_transitions), (Some(follower), Some(1)));

    second.stop().await;
    let released = spec(&world).await;
    assert_eq!((released.holder_identity.as_deref(), released.lease_duration_seconds), (Some(""), Some(1)));
    world.finish_without_operator().await;
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_leader_when_the_lease_is_over() {
    let world = World::new("killed").await;
    let config = restricted(&world).await;
    let first = Standing::new(&world, config.clone(), "same", short());
    let term = first.leads().await;
    // A second candidate with the same pod name.
    let second = Standing::new(&world, config, "same", short());
    renewed(&world).await;
    let killed = Instant::now();
    first.election.abort();
    lost(&term).await;
    second.leads().await;
    let taken = killed.elapsed();
    assert!(3 * SECOND < taken && taken < 7 * SECOND, "{taken:?}");
    assert_eq!(spec(&world).await.lease_transitions, Some(1));
    second.stop().await;
    world.finish_without_operator().await;
}

#[tokio::test]
async fn a_leader_that_cannot_reach_the_api_server_steps_down_before_another_starts() {
    let world = World::new("cut").await;
    let config = restricted(&world).await;
    let wire = Wire::to(&config).await;
    let first = Standing::new(&world, wire.by(config.clone()), "first", short());
    let term = first.leads().await;
    let second = Standing::new(&world, config, "second", short());
    renewed(&world).await;
    wire.cut();
    let given_up = async {
        lost(&term).await;
        Instant::now()
    };
    let taken = async {
        let follow = second.leads().await;
        (follow, !first.leadership.is_leading() && !term.is_leading(), Instant::now())
    };
    let (given_up, (follow, alone, taken)) = tokio::join!(given_up, taken);
    assert!(alone && given_up < taken, "{:?}", given_up.saturating_duration_since(taken));

    // The candidate stands again once it gets through, although its old connections never recover.
    wire.mend();
    renewed(&world).await;
    assert!(follow.is_leading() && !first.leadership.is_leading());
    second.stop().await;
    first.leads().await;
    first.stop().await;
    world.finish_without_operator().await;
}

#[tokio::test]
async fn a_lease_that_is_deleted_or_stolen_is_noticed_by_its_leader() {
    let world = World::new("stolen").await;
    let first = Standing::new(&world, restricted(&world).await, "first", short());
    let term = first.leads().await;
    leases(&world).delete(LEASE, &DeleteParams::default()).await.expect("deleted");
    world.wait_until("another Lease", async || holder(&world).await.as_ref() == Some(&first.identity)).await;
    renewed(&world).await;
    assert!(term.is_leading());

    let thief = json!({"spec": {"holderIdentity": "thief", "leaseDurationSeconds": 1}});
    leases(&world).patch(LEASE, &PatchParams::default(), &Patch::Merge(&thief)).await.expect("stolen");
    let stolen = Instant::now();
    lost(&term).await;
    assert!(stolen.elapsed() < 2 * SECOND, "{:?}", stolen.elapsed());
    // The thief does not renew it.
    first.leads().await;
    assert_eq!(spec(&world).await.lease_transitions, Some(1));
    first.stop().await;
    world.finish_without_operator().await;
}

#[tokio::test]
async fn what_a_put_of_a_lease_does_is_as_the_election_takes_it_to_be() {
    let world = World::new("put").await;
    let leases = leases(&world);
    let params = PostParams::default();
    let spec = |holder: &str| Some(LeaseSpec { holder_identity: Some(holder.to_owned()), ..LeaseSpec::default() });
    let metadata = ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() };
    let made = leases.create(&params, &Lease { metadata, spec: spec("a") }).await.expect("made");
    let code = |error: kube::Error| match error {
        kube::Error::Api(status) => status.code,
        error => panic!("{error}"),
    };

    // A renewal that changes nothing would be invisible.
    let same = leases.replace(LEASE, &params, &made).await.expect("replaced");
    assert_eq!(same.metadata.resource_version, made.metadata.resource_version);
    let renewed = leases.replace(LEASE, &params, &Lease { spec: spec("b"), ..made.clone() }).await.expect("replaced");
    let late = leases.replace(LEASE, &params, &made).await.expect_err("an old version");
    assert_eq!(code(late), 409);
    let again = leases.create(&params, &Lease { metadata: ObjectMeta::default(), ..made.clone() }).await;
    assert!(again.is_err());

    // A version does not keep a PUT from creating a missing Lease. A uid does.
    leases.delete(LEASE, &DeleteParams::default()).await.expect("deleted");
    let gone = leases.replace(LEASE, &params, &renewed).await.expect_err("nothing to replace");
    assert_eq!(code(gone), 409);
    assert!(leases.get_opt(LEASE).await.expect("an answer").is_none());
    let metadata = ObjectMeta { uid: None, ..renewed.metadata };
    leases.replace(LEASE, &params, &Lease { metadata, spec: renewed.spec }).await.expect("made, of all things");
    world.finish_without_operator().await;
}
