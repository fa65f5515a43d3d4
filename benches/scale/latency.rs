//! One check over a slow line, compared with the minimum: a TLS handshake and two round trips.
//!
//! The line is a relay that delays every byte, each way. The check is the operator's own code (lint to probes) in this process,
//! each time with a client without connections. Kubernetes and the ledger's writes are not included.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_rustls::TlsConnector;
use ukg_pro::catalogue::Requirement;
use ukg_pro::outcome::Outcome;
use ukg_pro::transport::{Transport, Trust, authorities};
use ukgpro_operator::controller::decide::Observation;
use ukgpro_operator::controller::resolve::{Found, ReferencedObjects, Transports, VALUE_MAX, resolve};
use ukgpro_operator::controller::{self, Policy};
use ukgpro_operator::login_guard::Ledger;
use ukgpro_operator::schedule::clock::Clock;

use crate::edits::quantile;
use crate::fleet::{self, HOSTS};
use crate::floor::Upstream;
use crate::support::World;
use crate::table::{Goal, Table};

/// Delay each way. A round trip is twice this, roughly as across a continent.
const DELAY: Duration = Duration::from_millis(20);
const SAMPLES: usize = 20;

pub async fn one_check(requirements: Vec<Requirement>) -> Table {
    let world = World::new("latency").await;
    fleet::play(&world, 1).await;
    let port = relay(world.simulator.port).await;
    let mut ideal = sample(async || ideal(&world, port).await).await;
    let mut floor = sample(async || {
        let upstream = Upstream::new(port, &world.simulator.ca);
        let begun = Instant::now();
        upstream.check(HOSTS[0], &fleet::credentials(0), &requirements).await.expect("answers");
        begun.elapsed()
    })
    .await;
    let mut operator = sample(async || check(&world, port, &requirements).await).await;
    let (ideal, floor, operator) = (quantile(&mut ideal, 0.5), quantile(&mut floor, 0.5), quantile(&mut operator, 0.5));
    let title = format!("one check of {} permissions, round trip {} ms", requirements.len(), 2 * DELAY.as_millis());
    let mut table = Table::new(title);
    table.both("TLS handshake + 2 round trips (as floor) and check, ms", ideal, operator, Some(Goal::TimesFloor(1.1)));
    table.both("the same beside a bare client's check, ms", floor, operator, None);
    world.finish_without_operator().await;
    table
}

async fn sample(measure: impl AsyncFn() -> Duration) -> Vec<f64> {
    let mut sample = Vec::new();
    for _ in 0..SAMPLES {
        sample.push(measure().await.as_secs_f64() * 1e3);
    }
    sample
}

/// Measures a handshake and two round trips.
async fn ideal(world: &World, port: u16) -> Duration {
    let mut roots = RootCertStore::empty();
    authorities(world.simulator.ca.as_bytes())
        .expect("PEM")
        .authorities
        .into_iter()
        .for_each(|root| roots.add(root).expect("a root"));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let tls = TlsConnector::from(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
    let name = ServerName::try_from(format!("{}.ultipro.localhost", HOSTS[0])).expect("a name");
    let begun = Instant::now();
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("the relay");
    tls.connect(name, tcp).await.expect("a handshake");
    begun.elapsed() + 4 * DELAY
}

async fn check(world: &World, port: u16, requirements: &[Requirement]) -> Duration {
    let extra_roots = authorities(world.simulator.ca.as_bytes()).expect("PEM").authorities;
    let transport = Transport::new(Trust { extra_roots, ..Trust::default() }).expect("a client");
    let connection = json!({"apiVersion": "ukgpro.dev/v1alpha1", "kind": "UkgProConnection", "metadata": {"name": "c0"},
        "spec": {"secretRef": {"name": "s0"}, "domain": format!("ultipro.localhost:{port}"), "subdomain": HOSTS[0]}});
    let connection = serde_json::from_value(connection).expect("a connection");
    let Value::Object(data) = fleet::data(0) else { unreachable!("it is an object") };
    let data = data.into_iter().map(|(key, value)| (key, k8s_openapi::ByteString(value.as_str().expect("text").into())));
    let secret = k8s_openapi::api::core::v1::Secret { data: Some(data.collect()), ..Default::default() };
    let references = ReferencedObjects { secret: Some(Found::of(secret, VALUE_MAX)), bundle: None };
    let policy = Policy {
        allowed_domains: vec!["ultipro.localhost:*".parse().expect("a domain")],
        secret_subdomains: Vec::new(),
        allow_private_addresses: false,
        heartbeat: None,
        words: ukg_pro::catalogue::Catalogue::built_in().words(),
    };
    let Ok(target) = resolve(&connection, requirements.to_vec(), references, &policy, &Transports::new(transport.clone()))
    else {
        panic!("it resolves");
    };
    let (ledger, clock) = (Ledger::in_memory().expect("a ledger"), Clock::system());
    let begun = Instant::now();
    let observation = controller::check(&connection, &target, &target, &ledger, &clock).await.expect("a ledger");
    let elapsed = begun.elapsed();
    let Observation::Probed(_, probed) = observation else { panic!("it is probed") };
    assert!(probed.iter().all(|found| found.outcome == Outcome::Granted));
    elapsed
}

/// Starts a relay with a delay and returns its port. It accepts connections at once, so no figure includes the TCP handshake.
async fn relay(to: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to)).await.expect("the simulator");
            for stream in [&near, &far] {
                stream.set_nodelay(true).expect("TCP");
            }
            let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
            pump(near_read, far_write);
            pump(far_read, near_write);
        }
    });
    port
}

fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf) {
    let (sender, mut held) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + DELAY, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some((at, bytes)) = held.recv().await {
            sleep_until(at).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
}
