//! Each reason, caused on a real API server. A reason without a scenario does not compile.

use std::net::SocketAddr;

use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use ukgpro_operator::api::conditions::{find, is_true};
use ukgpro_operator::api::messages;
use ukgpro_operator::api::{Kstatus, Reason, UkgProConnection, Verdict};

use crate::states::compare;
use crate::support::World;

/// The differences from a connection that works.
#[derive(Default)]
struct Scenario {
    /// What changes after its first verdict.
    later: Option<Later>,
    /// Merged into the spec.
    spec: Value,
    /// Merged into the Secret; `null` removes a key. If this is not a map, there is no Secret.
    secret: Value,
    /// Faults of the simulator at this connection's host.
    faults: Vec<Value>,
    /// The operator that checks it.
    operator: Which,
}

struct Later {
    /// The reason of the first verdict.
    first: Reason,
    /// Faults that replace the previous ones.
    faults: Vec<Value>,
    /// Whether a check is requested, which passes a hold. If not, a field of the spec is edited that no verdict depends on.
    asked: bool,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Which {
    #[default]
    Ordinary,
    /// With a proxy that does not exist.
    BehindAProxy,
    /// With a limit of one login per account and day.
    WithinALimit,
    /// Without the right to ConfigMaps.
    WithoutARight,
    None,
}

/// Addresses that fail at one stage.
struct Broken {
    /// Accepts a connection, and answers something that is not TLS.
    no_tls: SocketAddr,
    /// Never completes a connection, because its queue is full.
    silent: SocketAddr,
}

fn at(operation: &str, answer: Value) -> Vec<Value> {
    vec![json!({"operation": operation, "answer": answer})]
}

fn at_login(answer: Value) -> Vec<Value> {
    at("LoginService/Authenticate", answer)
}

fn spec(spec: Value) -> Scenario {
    Scenario { spec, ..Scenario::default() }
}

fn secret(secret: Value) -> Scenario {
    Scenario { secret, ..Scenario::default() }
}

fn faults(faults: Vec<Value>) -> Scenario {
    Scenario { faults, ..Scenario::default() }
}

fn scenario(reason: Reason, broken: &Broken, customer_api_key: &str) -> Scenario {
    let port = |address: &SocketAddr| json!({"domain": format!("ultipro.localhost:{}", address.port())});
    let other = json!({"operationError": {"message": "Something else", "severity": "Error", "code": "1"}});
    match reason {
        Reason::AllPermissionsGranted => Scenario::default(),
        Reason::OnlyLoginTested => spec(json!({"permissions": []})),
        Reason::Degraded => Scenario {
            later: Some(Later { first: Reason::AllPermissionsGranted, faults: at_login(json!({"status": 503})), asked: true }),
            ..Scenario::default()
        },
        Reason::LoginUncertain => Scenario {
            later: Some(Later { first: Reason::ConnectionLost, faults: Vec::new(), asked: false }),
            ..faults(at_login(json!({"closeConnection": true})))
        },
        Reason::LoginLimitReached => Scenario {
            operator: Which::WithinALimit,
            later: Some(Later { first: Reason::AllPermissionsGranted, faults: Vec::new(), asked: false }),
            ..Scenario::default()
        },
        Reason::CredentialsRejected | Reason::LoginHeld => secret(json!({"password": "not-the-password"})),
        Reason::PasswordHeld => Scenario {
            secret: json!({"password": "not-the-password", "userApiKey": null}),
            ..spec(json!({"permissions": [{"name": "PtoPlanIntegration"}]}))
        },
        Reason::CustomerApiKeyRejected => secret(json!({"customerApiKey": "NOTIT"})),
        Reason::UserApiKeyRejected => faults(at_login(json!({"loginFailed": "Invalid User API Key"}))),
        Reason::AccountUnusable => faults(at_login(json!({"loginFailed": "This account is locked."}))),
        Reason::PermissionsMissing => faults(at("EmployeePerson/FindPeople", json!({"status": 403}))),
        Reason::RestLoginRefused => Scenario {
            faults: at("GET /personnel/v1/pto-plans", json!({"status": 401})),
            ..spec(json!({"permissions": [{"name": "PtoPlanIntegration"}]}))
        },
        Reason::HostNotFound => spec(json!({"domain": "ultipro.invalid"})),
        Reason::ConnectTimeout => spec(port(&broken.silent)),
        Reason::ConnectRefused => spec(json!({"domain": "ultipro.localhost:1"})),
        Reason::ProxyFailed => Scenario { operator: Which::BehindAProxy, ..Scenario::default() },
        Reason::TlsUntrusted => spec(json!({"caRef": null})),
        Reason::TlsFailed => spec(port(&broken.no_tls)),
        Reason::AnswerTimeout => Scenario {
            later: Some(Later {
                first: Reason::AllPermissionsGranted,
                faults: at_login(json!({"delaySeconds": 60})),
                asked: true,
            }),
            ..spec(json!({"timeout": "10s", "failureThreshold": 1}))
        },
        Reason::ConnectionLost => Scenario {
            later: Some(Later {
                first: Reason::AllPermissionsGranted,
                faults: at_login(json!({"closeConnection": true})),
                asked: true,
            }),
            ..spec(json!({"failureThreshold": 1}))
        },
        Reason::NotUkgPro => {
            faults(at_login(json!({"status": 200, "headers": {"content-type": "text/html"}, "body": "<html>"})))
        }
        Reason::AnswerUnreadable => {
            faults(at_login(json!({"status": 200, "headers": {"content-type": "application/json"}, "body": "{}"})))
        }
        Reason::RateLimited => faults(at_login(json!({"status": 429}))),
        Reason::ServerError => faults(at_login(json!({"status": 503}))),
        Reason::AddressNotAllowed => spec(json!({"subdomain": "inside", "domain": "ultipro.test"})),
        Reason::SecretNotFound => secret(json!("none")),
        Reason::SecretKeyMissing => secret(json!({"password": null})),
        Reason::SecretValueMalformed => secret(json!({"username": "svc\n"})),
        Reason::ApiKeysSwapped => secret(json!({"userApiKey": customer_api_key})),
        Reason::EndpointInvalid => Scenario { secret: json!({"subdomain": "https://x"}), ..spec(json!({"subdomain": null})) },
        Reason::DomainNotAllowed => spec(json!({"domain": "example.com"})),
        Reason::CaNotFound => spec(json!({"caRef": {"name": "not-there"}})),
        // A key of its Secret.
        Reason::CaInvalid => spec(json!({"caRef": {"kind": "Secret", "name": name(reason), "key": "username"}})),
        Reason::ReferenceForbidden => Scenario { operator: Which::WithoutARight, ..Scenario::default() },
        Reason::PermissionUnknown => spec(json!({"permissions": [{"name": "EmployeeShoeSize"}]})),
        Reason::LoginUndetermined => faults(at_login(json!({"soapFault": {"status": 500, "code": "Sender", "reason": "x"}}))),
        Reason::LoginFailedUnexplained => faults(at_login(json!({"loginFailed": "Nein."}))),
        Reason::PermissionsUndetermined => faults(at("EmployeePerson/FindPeople", other)),
        // The others have their own tests in `hosts` and `guard`, because they need a host that limits requests, and time.
        Reason::Probing | Reason::CheckDelayed | Reason::CheckOverdue | Reason::LoginPaused => {
            Scenario { operator: Which::None, ..Scenario::default() }
        }
        Reason::Suspended => spec(json!({"suspend": true})),
    }
}

/// RFC 7386, except that a null patch changes nothing.
fn merge(into: &mut Value, patch: &Value) {
    if patch.is_null() {
        return;
    }
    match (into.as_object_mut(), patch.as_object()) {
        (Some(into), Some(patch)) => {
            for (key, value) in patch {
                match value {
                    Value::Null => drop(into.remove(key)),
                    _ => merge(into.entry(key.clone()).or_insert(Value::Null), value),
                }
            }
        }
        _ => *into = patch.clone(),
    }
}

fn name(reason: Reason) -> String {
    reason.as_str().to_lowercase()
}

/// Causes the reasons whose scenario is for this operator, and checks what is reported.
async fn bring_about(world: &World, which: Which, broken: &Broken) {
    let reasons = || Reason::ALL.iter().copied();
    let hosts: Vec<_> = reasons().map(|reason| format!("{}.ultipro.localhost", name(reason))).collect();
    world.simulator.play_tenants(&json!({"tenants": [world.account.tenant_at(&hosts)]})).await;
    let mut laid_in = Vec::new();
    let mut manifests = Vec::new();
    let mut changes = Vec::new();
    let at_host = |name: &str, mut fault: Value| {
        fault["host"] = json!(format!("{name}.ultipro.localhost"));
        fault
    };
    for reason in reasons() {
        let scenario = scenario(reason, broken, &world.account.customer_api_key);
        if scenario.operator != which {
            continue;
        }
        let name = name(reason);
        laid_in.extend(scenario.faults.into_iter().map(|fault| at_host(&name, fault)));
        changes.extend(scenario.later.map(|later| (reason, later)));
        let [username, password, customer_api_key, user_api_key] = world.account.secrets();
        let mut data = json!({"username": username, "password": password,
            "customerApiKey": customer_api_key, "userApiKey": user_api_key});
        merge(&mut data, &scenario.secret);
        if data.is_object() {
            world.put_secret_named(&name, data).await;
        }
        let mut manifest = world.connection(&["EmployeePersonDetails"]);
        manifest["metadata"]["name"] = json!(name);
        manifest["spec"]["secretRef"]["name"] = json!(name);
        // The reason of the second of two connections with the same refused values, or with the same password.
        let host = if matches!(reason, Reason::LoginHeld | Reason::PasswordHeld) {
            self::name(Reason::CredentialsRejected)
        } else {
            name
        };
        manifest["spec"]["subdomain"] = json!(host);
        merge(&mut manifest["spec"], &scenario.spec);
        manifests.push((reason, manifest));
    }
    world.simulator.faults(json!(laid_in)).await;
    for (reason, manifest) in &manifests {
        if matches!(*reason, Reason::LoginHeld | Reason::PasswordHeld) {
            world.wait_for_reason_of(&name(Reason::CredentialsRejected), "CredentialsRejected").await;
        }
        world.apply(manifest).await.expect("accepted");
    }
    let edited: Vec<_> = changes.iter().filter(|(_, later)| !later.asked).map(|(reason, _)| *reason).collect();
    let change = async {
        for (reason, later) in changes {
            let name = name(reason);
            world.wait_for_reason_of(&name, later.first.as_str()).await;
            laid_in.extend(later.faults.into_iter().map(|fault| at_host(&name, fault)));
            world.simulator.faults(json!(laid_in)).await;
            let change = match later.asked {
                true => json!({"metadata": {"annotations": {"reconcile.fluxcd.io/requestedAt": "now"}}}),
                false => json!({"spec": {"interval": "1h"}}),
            };
            world.edit_named(&name, change).await;
        }
    };
    // All at once, because a retry may report something else.
    let look = join_all(manifests.iter().map(|(reason, _)| look(world, *reason, if edited.contains(reason) { 2 } else { 1 })));
    tokio::join!(change, look);
}

/// Checks that all places report what fits the reason, and match the committed state.
async fn look(world: &World, reason: Reason, generation: i64) {
    let stored = world.wait_for_stored(&name(reason), reason.as_str(), generation).await;
    compare(reason.as_str(), &stored);
    let connection: UkgProConnection = stored.try_parse().expect("a connection");
    let status = connection.status.expect("a status");
    let state = reason.verdict().map_or("Unknown", Verdict::as_str);
    assert_eq!(status.state, state, "{reason:?}");
    assert_eq!(is_true(&status.conditions, "Stalled"), reason.kstatus() == Kstatus::Failed, "{reason:?}");
    assert_eq!(is_true(&status.conditions, "Reconciling"), reason.kstatus() == Kstatus::InProgress, "{reason:?}");
    let ready = &find(&status.conditions, "Ready").expect("always there").message;
    let opening = messages::template(reason).0.split('{').next().expect("a text").trim();
    assert!(ready.contains(opening), "{reason:?}: {ready}");
    assert!(!ready.contains(['{', '}']), "{reason:?}: {ready}");
}

#[tokio::test]
async fn every_reason_is_told_by_its_own_words() {
    let world = World::new("reasons").await;
    let no_tls = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = TcpSocket::new_v4().expect("a socket");
    silent.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let silent = silent.listen(1).expect("a listener");
    let broken = Broken { no_tls: no_tls.local_addr().expect("bound"), silent: silent.local_addr().expect("bound") };
    let serve_no_tls = tokio::spawn(async move {
        while let Ok((stream, _)) = no_tls.accept().await {
            let _ = stream.try_write(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    // Linux completes connections until the queue exceeds its length, and then stops answering.
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(std::time::Duration::from_millis(500), TcpStream::connect(broken.silent)).await
    {
        filling.push(stream);
    }

    let _operator = world.operator_with_hosts("10.0.0.1 inside.ultipro.test\n");
    bring_about(&world, Which::Ordinary, &broken).await;
    serve_no_tls.abort();
    world.finish().await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_from_a_host_that_is_not() {
    let world = World::new("proxy").await;
    let broken = Broken { no_tls: ([127, 0, 0, 1], 1).into(), silent: ([127, 0, 0, 1], 1).into() };
    // The API server is reached directly, UKG Pro through a proxy that does not exist.
    let variables = [("HTTPS_PROXY", "http://user:not-to-be-seen@127.0.0.1:1"), ("NO_PROXY", "127.0.0.1")];
    let _operator = world.operator_with(&[], &variables);
    bring_about(&world, Which::BehindAProxy, &broken).await;
    assert!(!world.operator_log().contains("not-to-be-seen"));
    world.finish().await;
}

#[tokio::test]
async fn an_account_sees_no_more_logins_than_the_operator_allows() {
    let world = World::new("limit").await;
    let broken = Broken { no_tls: ([127, 0, 0, 1], 1).into(), silent: ([127, 0, 0, 1], 1).into() };
    let _operator = world.operator_with(&["--logins-per-day", "1"], &[]);
    bring_about(&world, Which::WithinALimit, &broken).await;
    assert_eq!(world.simulator.logins(&world.account).await, (1, 0));
    world.finish().await;
}

#[tokio::test]
async fn what_the_operator_has_no_right_to_is_told_where_it_is_missed() {
    let world = World::new("forbidden").await;
    let broken = Broken { no_tls: ([127, 0, 0, 1], 1).into(), silent: ([127, 0, 0, 1], 1).into() };
    let rules = world.set_rules(None).await;
    let fewer = rules.iter().flatten().cloned().map(|mut rule| {
        if let Some(resources) = &mut rule.resources {
            resources.retain(|resource| resource != "configmaps");
        }
        rule
    });
    let fewer: Vec<_> = fewer.filter(|rule| rule.resources.as_ref().is_none_or(|resources| !resources.is_empty())).collect();
    world.set_rules(Some(fewer.clone())).await;
    let _operator = world.operator();
    bring_about(&world, Which::WithoutARight, &broken).await;
    let name = name(Reason::ReferenceForbidden);
    // A restored right is noticed without an edit.
    world.set_rules(rules.clone()).await;
    world
        .wait_longer("the right to be noticed", async || {
            let found = world.connections().get(&name).await.expect("it is there");
            is_true(&found.status.expect("a status").conditions, "Ready")
        })
        .await;
    assert!(!world.operator_log().contains("check not finished"), "it is a condition of the connection, not a line in the log");
    // An Active connection outlasts a moment without the right.
    let ready = async || {
        let status = world.connections().get(&name).await.expect("it is there").status.expect("a status");
        (find(&status.conditions, "Ready").expect("always there").clone(), status.secret_resource_version)
    };
    let before = ready().await;
    world.set_rules(Some(fewer)).await;
    let labelled = json!({"metadata": {"labels": {"touched": "yes"}}});
    let secrets = world.secrets();
    let labelled = secrets.patch(&name, &PatchParams::default(), &Patch::Merge(&labelled)).await.expect("labelled");
    world.wait_until("a refused check", async || world.operator_log().contains("not allowed to get ConfigMap")).await;
    world.set_rules(rules).await;
    world.wait_until("the new version to be read", async || ready().await.1 == labelled.metadata.resource_version).await;
    assert_eq!(ready().await.0.last_transition_time, before.0.last_transition_time, "it was Ready all the time");
    world.assert_nothing_got_out(&[&world.account]).await;
    world.finish_without_operator().await;
}

#[tokio::test]
async fn without_an_operator_a_connection_says_that_it_waits() {
    let world = World::new("waiting").await;
    let mut manifest = world.connection(&[]);
    manifest["metadata"]["name"] = json!(name(Reason::Probing));
    let connection = world.apply(&manifest).await.expect("accepted");
    compare(Reason::Probing.as_str(), &world.stored(&name(Reason::Probing)).await);
    let ready = find(&connection.status.as_ref().expect("a status").conditions, "Ready").expect("always there").clone();
    assert_eq!((ready.reason.as_str(), scenario_is_for_nobody()), (Reason::Probing.as_str(), true));
    assert!(ready.message.contains("that ukgpro-operator runs"), "{}", ready.message);
    world.finish_without_operator().await;
}

fn scenario_is_for_nobody() -> bool {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    scenario(Reason::Probing, &Broken { no_tls: nowhere, silent: nowhere }, "").operator == Which::None
}
