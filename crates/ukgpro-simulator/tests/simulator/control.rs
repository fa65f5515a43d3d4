//! Connections, injected faults, the control API, and the process: its start, its stop and its flags.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Version};
use serde_json::json;

use crate::harness::{Answer, Simulator, client, login, right_login};
use crate::{CONFIG, HOST, NONE};

#[tokio::test]
async fn both_http_versions_and_both_tls_versions_are_spoken() {
    let simulator = Simulator::start();
    let clients = [
        (client(&simulator.ca, simulator.https, |b| b), Version::HTTP_2),
        (client(&simulator.ca, simulator.https, |b| b.http1_only()), Version::HTTP_11),
        (client(&simulator.ca, simulator.https, |b| b.tls_version_max(reqwest::tls::Version::TLS_1_2)), Version::HTTP_2),
        (client(&simulator.ca, simulator.https, |b| b.tls_version_min(reqwest::tls::Version::TLS_1_3)), Version::HTTP_2),
    ];
    for (client, version) in &clients {
        let request = client.post(simulator.url(HOST, "/services/LoginService"));
        let response = request.header("content-type", "application/soap+xml").body(right_login()).send().await.unwrap();
        assert_eq!(response.version(), *version);
        assert_eq!(Answer::of(response).await.element("Status"), "Ok");
    }
    assert_eq!(simulator.admin("/counters").await["connections"], 4);
    let stranger = Client::builder().no_proxy().resolve(HOST, simulator.https).build().unwrap();
    assert!(stranger.get(simulator.url(HOST, "/")).send().await.is_err(), "no one else trusts the authority");
    assert_eq!(simulator.admin("/counters").await["connections"], 4, "a handshake that fails is no connection");
}

#[tokio::test]
async fn faults_come_instead_of_answers() {
    let simulator = Simulator::start();
    let right = right_login();

    let answer = json!({"status": 503, "headers": {"retry-after": "7"}, "body": "busy"});
    let once = json!([{"host": HOST, "operation": "LoginService/Authenticate", "times": 1, "answer": answer}]);
    assert_eq!(simulator.put("/faults", once).await.0, 204);
    let response = simulator.post("/services/LoginService", &right).send().await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"7".parse().unwrap()));
    assert_eq!(response.text().await.unwrap(), "busy");
    assert_eq!(simulator.login(&right).await.element("Status"), "Ok", "it was for one time");
    assert_eq!(simulator.admin("/faults").await[0]["times"], 0);

    simulator.fault("LoginService/Authenticate", json!({"loginFailed": "Invalid User API Key"})).await;
    assert_eq!(simulator.login(&right).await.element("StatusMessage"), "Invalid User API Key");

    let fault = json!({"status": 500, "code": "Sender", "subcode": "FailedAuthentication", "reason": "Access is denied."});
    simulator.fault("*", json!({ "soapFault": fault })).await;
    let answer = simulator.login(&right).await;
    assert_eq!((answer.status, answer.element("Text").as_str()), (500, "Access is denied."));
    simulator.delete("/faults").await;
    assert_eq!(simulator.admin("/faults").await, json!([]));

    let token = simulator.token().await;
    let error = json!({"message": "Too many", "severity": "Error", "code": "E1"});
    simulator.fault("EmployeePerson/FindPeople", json!({ "operationError": error })).await;
    let answer = simulator.find("EmployeePerson", "FindPeople", &token, NONE).await;
    assert_eq!((answer.element("Message").as_str(), answer.element("HasErrors").as_str()), ("Too many", "true"));

    simulator.fault("GET /personnel/v1/pto-plans", json!({"status": 429})).await;
    assert_eq!(simulator.rest("/personnel/v1/pto-plans", "p<a>&s's", "ACME1").await.status, 429);

    simulator.fault("LoginService/Authenticate", json!({"status": 200, "body": "0123456789", "repeatBody": 500_000})).await;
    assert_eq!(simulator.login(&right).await.text.len(), 5_000_000);

    let counters = simulator.admin("/counters").await;
    assert_eq!(counters["requests"]["LoginService/Authenticate"], 6, "faults are requests too");
    assert_eq!(counters["logins"]["svc-acme"], json!({"attempts": 7, "accepted": 2, "refused": 1, "rest": 1}));
}

#[tokio::test]
async fn a_fault_can_tear_the_connection_and_delay_an_answer() {
    let simulator = Simulator::start();
    simulator.fault("LoginService/Authenticate", json!({"closeConnection": true})).await;
    for version in [Version::HTTP_2, Version::HTTP_11] {
        let client = client(&simulator.ca, simulator.https, |b| if version == Version::HTTP_11 { b.http1_only() } else { b });
        let request = client.post(simulator.url(HOST, "/services/LoginService"));
        let sent = request.header("content-type", "application/soap+xml").body(right_login()).send().await;
        let torn = match sent {
            Ok(response) => response.text().await.is_err(),
            Err(_) => true,
        };
        assert!(torn, "{version:?}");
    }

    simulator.fault("LoginService/Authenticate", json!({"delaySeconds": 0.3})).await;
    let started = Instant::now();
    assert_eq!(simulator.login(&right_login()).await.element("Status"), "Ok");
    assert!(started.elapsed() >= Duration::from_millis(300));

    simulator.delete("/counters").await;
    simulator.fault("LoginService/Authenticate", json!({"delaySeconds": 60})).await;
    let request = simulator.post("/services/LoginService", &right_login()).timeout(Duration::from_millis(200));
    assert!(request.send().await.unwrap_err().is_timeout());
    let logins = &simulator.admin("/counters").await["logins"]["svc-acme"];
    assert_eq!((&logins["attempts"], &logins["accepted"]), (&json!(1), &json!(0)));
}

#[tokio::test]
async fn the_control_api_shows_and_changes_everything_but_credentials() {
    let simulator = Simulator::start();
    let health = simulator.plain.get(format!("{}/healthz", simulator.admin)).send().await.unwrap();
    assert_eq!((health.status().as_u16(), health.text().await.unwrap().as_str()), (200, "ok\n"));
    let ca = simulator.plain.get(format!("{}/ca.pem", simulator.admin)).send().await.unwrap();
    assert_eq!(ca.text().await.unwrap(), simulator.ca);

    simulator.token().await;
    assert_eq!(simulator.admin("/counters").await["connections"], 1);
    simulator.delete("/counters").await;
    let zero = json!({"logins": {}, "requests": {}, "loginTimes": {"span": 0.0, "busiestSecond": 0}, "connections": 0,
        "personRecords": 0, "strictness": []});
    assert_eq!(simulator.admin("/counters").await, zero);

    let shown = simulator.admin("/config").await;
    assert_eq!(shown["tenants"][0]["accounts"][0]["password"], "[redacted]");
    assert_eq!(shown["tenants"][0]["accounts"][0]["permissions"][0], "EmployeePersonDetails");
    for credential in ["p<a>", "UKEY00", "ACME1", "GLOB1"] {
        assert!(!shown.to_string().contains(credential));
    }
    let (status, error) = simulator.put("/config", &shown).await;
    assert_eq!(status, 400);
    assert!(error.contains("tenants[0].customerApiKey: write the value itself"), "{error}");
    assert_eq!(simulator.login(&right_login()).await.element("Status"), "Ok", "a refused configuration changes nothing");

    let config = json!({"tenants": [{"name": "new", "hosts": ["new.ultipro.localhost"], "customerApiKey": "NEW01",
        "accounts": [{"username": "u", "password": "p", "userApiKey": "k"}]}]});
    assert_eq!(simulator.put("/config", config).await, (204, String::new()));
    let fresh = client(&simulator.ca, simulator.https, |b| b);
    let request = fresh.post(simulator.url("new.ultipro.localhost", "/services/LoginService"));
    let request = request.header("content-type", "application/soap+xml").body(login("NEW01", "p", "k", "u"));
    let answer = Answer::of(request.send().await.unwrap()).await;
    assert_eq!(answer.element("Status"), "Ok", "the new host has a certificate, and the old authority's");

    let (status, error) = simulator.put("/faults", json!([{"operation": "*", "answer": {}}])).await;
    assert_eq!(status, 400);
    assert!(error.contains("faults[0].answer: write one of"), "{error}");
}

#[tokio::test]
async fn the_authority_outlives_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let first = Simulator::start_with(CONFIG, Some(state.path()));
    let ca = first.ca.clone();
    drop(first);
    let second = Simulator::start_with(CONFIG, Some(state.path()));
    let old = client(&ca, second.https, |builder| builder);
    let response = old.get(second.url(HOST, "/services/LoginService?wsdl")).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn it_stops_by_itself_when_told_or_when_its_parent_is_gone() {
    for signal in [None, Some("-TERM"), Some("-INT")] {
        let mut simulator = Simulator::start();
        simulator.token().await; // an open connection does not delay the stop
        match signal {
            Some(signal) => {
                let id = simulator.child.id().to_string();
                assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
            }
            None => drop(simulator.child.stdin.take()),
        }
        // On another thread, because the client has to notice that the server stops.
        let stopped = tokio::task::spawn_blocking(move || simulator.child.wait());
        assert!(stopped.await.unwrap().unwrap().success(), "{signal:?}");
    }
}

#[test]
fn a_wrong_file_or_flag_is_said_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tenants.yaml");
    let run = |config: &str, more: &[&str]| {
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ukgpro-simulator"));
        command.env("UKGPRO_SIMULATOR_LOG", "error");
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--config"]).arg(&file).args(more);
        let output = command.stdin(Stdio::null()).output().unwrap();
        assert!(!output.status.success());
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    };
    let error = run(&CONFIG.replace("PtoPlanIntegration", "PtoPlan"), &[]);
    assert!(error.contains("tenants[0].accounts[0].permissions[2]: `PtoPlan` is no known row"), "{error}");
    let error = run(CONFIG, &["--ca-out", "/nonexistent/ca.pem"]);
    assert!(error.contains("--ca-out /nonexistent/ca.pem: "), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
}
