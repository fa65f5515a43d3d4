//! `examples/helm`, an application's chart with a connection in it, by the real Helm and with the real operator.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::helm::Helm;
use crate::support::World;

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/helm");
/// As long as Helm may wait. What fails at once fails long before.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Helm's verb and flags, with the world's account but for this password.
fn arguments(world: &World, verb: &str, password: &str, flags: &[&str]) -> Vec<String> {
    let account = &world.account;
    let own = [
        ("domain", world.domain()),
        ("caConfigMap", "simulator-ca".to_owned()),
        ("username", account.username.clone()),
        ("password", password.to_owned()),
        ("customerApiKey", account.customer_api_key.clone()),
        ("userApiKey", account.user_api_key.clone()),
    ];
    let own = own.into_iter().flat_map(|(name, value)| ["--set-literal".to_owned(), format!("ukgPro.{name}={value}")]);
    let base = [verb, "payroll-sync", CHART, "--namespace", &world.namespace, "--wait", "--timeout", "120s"];
    base.iter().chain(flags).map(|text| (*text).to_owned()).chain(own).collect()
}

fn run(helm: &Helm<'_>, arguments: &[String]) -> (bool, String, Duration) {
    let begun = Instant::now();
    let (done, said) = helm.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    (done, said, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_waits_for_the_verdict_and_says_what_it_is() {
    let world = World::new("application").await;
    let operator = world.operator();
    let helm = Helm::new(&world);
    let install = |password: &str| arguments(&world, "install", password, &[]);
    let (done, said, took) = run(&helm, &install("not-the-password"));
    assert!(!done, "{said}");
    assert!(took < TIMEOUT / 4, "at once, not after {took:?}");
    for part in ["/payroll-sync not ready", "status: Failed", "refused the login", "the password"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("not-the-password"), "{said}");
    helm.done(&["uninstall", "payroll-sync", "--namespace", &world.namespace]);
    let (done, said, _) = run(&helm, &install(&world.account.password));
    assert!(done, "{said}");
    assert!(operator.stop().success());
    world.finish().await;
}

/// What Helm says at its timeout is the one hint that whoever installs gets.
#[tokio::test(flavor = "multi_thread")]
async fn without_an_operator_helm_says_to_look_for_one() {
    let world = World::new("application-alone").await;
    let helm = Helm::new(&world);
    let (done, said, _) = run(&helm, &arguments(&world, "install", "any", &["--timeout", "2s"]));
    assert!(!done && said.contains("verify that ukgpro-operator runs and watches this namespace"), "{said}");
    world.finish_without_operator().await;
}

/// With a hash of the values in the Secret's name: under one name, Helm may see the verdict on the values before.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_mended_by_an_upgrade_and_a_wrong_one_is_rolled_back() {
    let world = World::new("application-upgraded").await;
    let operator = world.operator();
    let helm = Helm::new(&world);
    let (done, said, _) = run(&helm, &arguments(&world, "install", "not-the-password", &[]));
    assert!(!done, "{said}");
    let upgrade = |password: &str| arguments(&world, "upgrade", password, &["--rollback-on-failure"]);
    let (done, said, _) = run(&helm, &upgrade(&world.account.password));
    assert!(done, "{said}");
    let secret = async || world.connections().get("payroll-sync").await.expect("there").spec.secret_ref.name;
    let right = secret().await;
    let (done, said, took) = run(&helm, &upgrade("another-wrong-one"));
    assert!(!done && said.contains("refused the login"), "{said}");
    assert!(took < TIMEOUT, "{took:?}");
    assert_eq!(secret().await, right, "it is rolled back");
    world.wait_for_reason_of("payroll-sync", "AllPermissionsGranted").await;
    assert_eq!(world.simulator.logins(&world.account).await.1, 2, "each wrong password costs one login");
    assert!(operator.stop().success());
    world.finish().await;
}

/// Docs say to leave `suspend` out of manifests.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_suspended_by_hand_can_be_upgraded_where_no_manifest_names_suspend() {
    let world = World::new("application-suspended").await;
    let operator = world.operator();
    let helm = Helm::new(&world);
    let (done, said, _) = run(&helm, &arguments(&world, "install", &world.account.password, &[]));
    assert!(done, "{said}");
    let suspend = Patch::Merge(json!({"spec": {"suspend": true}}));
    world.connections().patch("payroll-sync", &PatchParams::default(), &suspend).await.expect("suspended");
    // Nobody checks it meanwhile, so there is no verdict to wait for.
    let upgrade =
        arguments(&world, "upgrade", &world.account.password, &["--set", "ukgPro.profiles={Directory}", "--wait=hookOnly"]);
    let (done, said, _) = run(&helm, &upgrade);
    assert!(done, "{said}");
    let connection = world.connections().get("payroll-sync").await.expect("there");
    assert!(connection.spec.suspend, "who has suspended it still has");
    assert_eq!(connection.spec.profiles, ["Directory"]);
    assert!(operator.stop().success());
    world.finish().await;
}
