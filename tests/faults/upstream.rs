//! Faults of UKG Pro, or of what answers in its place.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::fleet::{Fleet, GOOD, ask, connection, data_of, play};
use crate::servers::{Authority, H1, Reply, Server, http1, ok};
use crate::support::simulator::HOST;
use crate::support::witness::Witness;
use crate::support::{World, odd};
use crate::{Given, Recovery};

/// Five real minutes at the shortest interval. Values that never worked are sent once, whatever the form of the answer. Values
/// that have worked are sent a few times, with growing gaps. A restart in between, by `kill -9`, adds no login.
pub async fn answers_that_may_be_refusals_for_five_minutes(given: Given) -> Recovery {
    const MINUTES: Duration = Duration::from_secs(300);
    let world = World::on(given.control_plane, "perhaps-refused").await;
    let mut operator = world.operator();
    let mut manifest = world.connection(&["EmployeePersonDetails"]);
    manifest["spec"]["interval"] = json!("1m");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason("AllPermissionsGranted").await;
    // Its host also answers oddly from now on.
    let sent = async || world.simulator.counters().await["requests"]["LoginService/Authenticate"].as_u64().unwrap_or(0);
    let before = sent().await;
    let names = odd::connect(&world, &[HOST]).await;
    let begun = tokio::time::Instant::now();
    for restart in 1..=2 {
        tokio::time::sleep_until(begun + MINUTES * restart / 3).await;
        operator.kill();
        operator = world.operator();
    }
    tokio::time::sleep_until(begun + MINUTES).await;
    for name in &names {
        let status = world.connections().get(name).await.expect("there").status.expect("a status");
        assert_eq!(status.login_attempts.map(|attempts| attempts.count), Some(1), "{name}");
    }
    let worked = sent().await - before - names.len() as u64;
    assert!((2..=6).contains(&worked), "15 s, then twice as long each time: {worked} logins");
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    let note = format!("{} connections, a login each; {worked} of one that had worked", names.len());
    Recovery::within(MINUTES).noting(note)
}

/// A certificate that is expired, or of another name or an unknown authority: no credentials are sent, and the verdict says so.
/// The same for an authority that a connection no longer trusts.
pub async fn certificates_that_are_not_trusted(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "certificates").await;
    let operator = world.operator();
    let fleet = Fleet::settled(&world).await;
    let (authority, stranger) = (Authority::new(), Authority::new());
    let past = |parameters: &mut rcgen::CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let hosts: [(&str, Server); 3] = [
        ("expired", http1(authority.config_with(HOST, H1, past), |_| Reply::Keep(ok())).await),
        ("another-name", http1(authority.config("service2.ultipro.localhost", H1), |_| Reply::Keep(ok())).await),
        ("stranger", http1(stranger.config(HOST, H1), |_| Reply::Keep(ok())).await),
    ];
    world.put_config_map("authority", json!({"ca.crt": authority.pem})).await;
    for (name, host) in &hosts {
        let mut manifest = connection(&world, name);
        manifest["spec"]["secretRef"]["name"] = json!(GOOD);
        manifest["spec"]["caRef"]["name"] = json!("authority");
        manifest["spec"]["domain"] = json!(format!("ultipro.localhost:{}", host.port));
        world.apply(&manifest).await.expect("accepted");
    }
    for (name, host) in &hosts {
        let status = world.wait_for_reason_of(name, "TlsUntrusted").await.status.expect("a status");
        assert_eq!(status.state, "Unreachable", "{name}");
        assert!(host.seen.connections() > 0 && host.seen.count() == 0, "{name}: credentials for who is not trusted");
    }
    // The bundle of the working connections is exchanged, and put back. The state changes only at the third consecutive failure.
    let witness = Witness::of(world.connections());
    world.put_config_map("simulator-ca", json!({"ca.crt": stranger.pem})).await;
    let before = world.simulator.counters().await["requests"].clone();
    let status = ask(&world, GOOD, "a").await;
    assert_eq!(status.state, "Active", "one failure is none");
    world.wait_for_reason_of(GOOD, "Degraded").await;
    assert_eq!(world.simulator.counters().await["requests"], before, "something was sent to who is not trusted");
    world.put_config_map("simulator-ca", json!({"ca.crt": world.simulator.ca})).await;
    let back = Instant::now();
    ask(&world, GOOD, "b").await;
    world.wait_for_reason_of(GOOD, "AllPermissionsGranted").await;
    let recovered = back.elapsed();
    assert!(witness.states()[GOOD].iter().all(|state| state.starts_with("Active")), "{:?}", witness.states());
    // One login for the last requested check.
    fleet.verify_logins(&world, 1).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting("expired, another name, unknown authority; a bundle exchanged and put back")
}

/// Whatever comes instead of an answer, a working connection never gets a failing verdict, and each check logs in once.
pub async fn answers_that_are_none(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "answers").await;
    let operator = world.operator();
    play(&world, [&world.account].into_iter(), &[HOST]).await;
    world.put_secret_named(GOOD, data_of(&world)).await;
    let mut manifest = connection(&world, GOOD);
    manifest["spec"]["timeout"] = json!("10s");
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason_of(GOOD, "AllPermissionsGranted").await;
    let witness = Witness::of(world.connections());
    let soap = |body: &str, times: usize| {
        let headers = json!({"content-type": "application/soap+xml; charset=utf-8"});
        json!({"status": 200, "headers": headers, "body": body, "repeatBody": times})
    };
    let html =
        |status: u16| json!({"status": status, "headers": {"content-type": "text/html"}, "body": "<html><p>Please log in"});
    let to = |location: String| json!({"status": 302, "headers": {"location": location}});
    let admin = format!("http://127.0.0.1:{}/latest/meta-data", world.simulator.port);
    let answers: Vec<(&str, Value)> = vec![
        ("an answer that does not come", json!({"delaySeconds": 60})),
        ("a torn answer", json!({"closeConnection": true})),
        ("an HTML page", html(200)),
        ("an HTML page with 503", html(503)),
        ("a redirect to the inside", to(admin)),
        ("a redirect to itself", to(format!("https://{HOST}:{}/services/LoginService", world.simulator.port))),
        ("a huge document", soap("<a>xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx</a>", 4 << 20)),
        ("a deep document", soap("<a>", 100_000)),
        ("an empty answer", soap("", 1)),
        ("no XML", soap("\u{0}\u{1}", 10)),
        ("500", json!({"status": 500})),
        ("a gateway's timeout", json!({"status": 504})),
    ];
    let mut longest = Duration::ZERO;
    let mut asked = 0_u64;
    for (what, answer) in &answers {
        for operation in ["LoginService/Authenticate", "EmployeePerson/FindPeople"] {
            world.simulator.faults(json!([{"operation": operation, "answer": answer}])).await;
            asked += 1;
            ask(&world, GOOD, &asked.to_string()).await;
            world.simulator.faults(json!([])).await;
            let back = Instant::now();
            asked += 1;
            ask(&world, GOOD, &asked.to_string()).await;
            world.wait_for_reason_of(GOOD, "AllPermissionsGranted").await;
            longest = longest.max(back.elapsed());
            let told = &witness.states()[GOOD];
            let wrong = told.iter().any(|state| state.starts_with("Unauthorized") || state.starts_with("Forbidden"));
            assert!(!wrong, "{what} at {operation}: {told:?}");
        }
    }
    // Also a host that sends one byte per second for as long as the client reads.
    let authority = Authority::new();
    let loris = http1(authority.config(HOST, H1), |_| Reply::Dribble(b"HTTP/1.1 200 OK\r\nx: ".to_vec())).await;
    world.put_config_map("authority", json!({"ca.crt": authority.pem})).await;
    let mut manifest = connection(&world, "loris");
    manifest["spec"]["secretRef"]["name"] = json!(GOOD);
    manifest["spec"]["caRef"]["name"] = json!("authority");
    manifest["spec"]["timeout"] = json!("10s");
    manifest["spec"]["domain"] = json!(format!("ultipro.localhost:{}", loris.port));
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason_of("loris", "AnswerTimeout").await;
    assert_eq!(loris.seen.count(), 1);
    // After a failure a check follows in 15 s. None of these steps waits for it.
    let (attempts, refused) = world.simulator.logins(&world.account).await;
    assert!(attempts <= asked + 1 && refused == 0, "{attempts} logins, {refused} refused, {asked} asked for");
    world.assert_nothing_got_out(&[&world.account]).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(longest).noting(format!("longest of {} answers, at the login and at a read", answers.len()))
}

/// A host answers every request with 429, amid the first checks of many connections.
pub async fn storm_of_429(given: Given) -> Recovery {
    const SIZE: usize = 60;
    let world = World::on(given.control_plane, "storm").await;
    let operator = world.operator();
    let crowd = Crowd::new(SIZE);
    play(&world, crowd.accounts.iter(), &[HOST]).await;
    let witness = Witness::of(world.connections());
    let storm = json!([{"operation": "*", "answer": {"status": 429, "headers": {"retry-after": "5"}}}]);
    world.simulator.faults(storm).await;
    crowd.create(&world, &world.namespace, &[]).await;
    // Three times the `Retry-After` of 5 s.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let during = world.simulator.requests().await;
    world.simulator.faults(json!([])).await;
    let over = Instant::now();
    let active = || witness.states().values().filter(|states| states.contains("Active/AllPermissionsGranted")).count();
    world.wait_longer("all to be Active", async || active() == SIZE).await;
    let recovered = over.elapsed();
    // Without a pause for the whole host, each connection would send requests repeatedly.
    assert!(during < SIZE as u64, "{during} requests during the storm");
    for (name, states) in witness.states() {
        let right = |state: &String| {
            // A connection that has not been checked yet reports that it waits.
            matches!(state.as_str(), "Unknown/Probing" | "Unknown/CheckDelayed" | "Active/AllPermissionsGranted")
                || state.ends_with("/RateLimited")
        };
        assert!(states.iter().all(right), "{name}: {states:?}");
    }
    crowd.verify(&world, 2).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish().await;
    Recovery::within(recovered).noting(format!("{SIZE} connections, {during} requests in 15 s of storm"))
}
