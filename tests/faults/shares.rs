//! One namespace that uses all it can, and another that needs a verdict.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use ukgpro_operator::api::UkgProConnection;
use ukgpro_operator::api::conditions::{READY, find};

use crate::fleet::data_of;
use crate::support::World;
use crate::support::world::SECRET;
use crate::{Given, Recovery};

/// Longest wait of another namespace. It is 2 s on an idle machine; a busy one is given more, yet far less than it once took
/// (71.5 s).
const LONGEST: Duration = Duration::from_secs(10);

/// Connections of one namespace to hosts that accept a connection and never speak TLS: each check lasts until its timeout.
/// Another namespace's new connection is checked alongside.
pub async fn one_namespaces_hanging_checks_delay_no_other(given: Given) -> Recovery {
    let world = World::spread_on(given.control_plane, "shares", 2).await;
    let [greedy, other] = world.elsewhere.as_slice() else { panic!("two namespaces") };
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let (taken, mut checks) = mpsc::unbounded_channel();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
            let _ = taken.send(());
        }
    });
    let selector = format!("world={}", world.namespace);
    let operator = world.operator_with(&["--selector", &selector], &[]);
    // Warm up: a first connection has its verdict, as in a cluster where others are already checked.
    create(&world, other, "first", SECRET, &json!({})).await;
    verdict_of(&world, other, "first").await;

    let count: u32 = if given.brief { 200 } else { 600 };
    put_secret(&world, greedy, "greedy").await;
    let greedy_ones = stream::iter(0..count).map(|n| {
        let host = json!({"subdomain": format!("service{n}"), "domain": format!("ultipro.localhost:{port}")});
        let world = &world;
        async move { create(world, greedy, &format!("greedy-{n}"), "greedy", &host).await }
    });
    greedy_ones.buffer_unordered(16).collect::<()>().await;
    // As many checks as one namespace may have in flight.
    for _ in 0..40 {
        checks.recv().await.expect("its listener lives");
    }
    let begun = Instant::now();
    create(&world, other, "good", SECRET, &json!({})).await;
    verdict_of(&world, other, "good").await;
    let waited = begun.elapsed();
    assert!(waited < LONGEST, "another namespace's connection waited {waited:?}");
    assert!(operator.stop().success());
    holding.abort();
    world.finish_without_operator().await;
    Recovery::within(waited).noting(format!("beside {count} that hang"))
}

async fn put_secret(world: &World, namespace: &str, name: &str) {
    let secret = Secret {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        string_data: serde_json::from_value(data_of(world)).expect("text"),
        ..Secret::default()
    };
    let api = Api::<Secret>::namespaced(world.admin.clone(), namespace);
    // The second connection of a namespace finds it there.
    let _ = api.create(&PostParams::default(), &secret).await;
}

async fn create(world: &World, namespace: &str, name: &str, secret: &str, host: &Value) {
    put_secret(world, namespace, secret).await;
    let mut manifest = world.connection(&[]);
    let labels = BTreeMap::from([("world", &world.namespace)]);
    manifest["metadata"] = json!({"name": name, "labels": labels});
    manifest["spec"]["secretRef"]["name"] = json!(secret);
    for (field, value) in host.as_object().into_iter().flatten() {
        manifest["spec"][field] = value.clone();
    }
    let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
    let connection = serde_json::from_value(manifest).expect("a connection");
    connections.create(&PostParams::default(), &connection).await.expect("created");
}

async fn verdict_of(world: &World, namespace: &str, name: &str) {
    let connections = Api::<UkgProConnection>::namespaced(world.admin.clone(), namespace);
    let is_ready = |connection: Option<&UkgProConnection>| {
        let status = connection.and_then(|connection| connection.status.as_ref());
        status.and_then(|status| find(&status.conditions, READY)).is_some_and(|ready| ready.status == "True")
    };
    let waiting = kube::runtime::wait::await_condition(connections, name, is_ready);
    tokio::time::timeout(Duration::from_secs(180), waiting).await.expect("a verdict in time").expect("a watch");
}
