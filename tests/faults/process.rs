//! Faults of the operator's own process: kills, clock steps, and name resolution.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fleet::{Fleet, GOOD, WRONG, ask, connection, data_of, play};
use crate::support::World;
use crate::support::witness::Witness;
use crate::{Given, Recovery};

/// Enough that some fall into each phase: before the first list, during a login, between a login and the write of its outcome.
const KILLS: u64 = 20;

/// Each run of the operator finds new wrong values and a request, and is killed at a random moment of handling them.
pub async fn killed_at_random_moments(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "kills").await;
    let flags = ["--refused-logins-per-day", "1000"];
    let operator = world.operator_with(&flags, &[]);
    let fleet = Fleet::settled(&world).await;
    operator.kill();
    let slow = json!([{"operation": "LoginService/Authenticate", "every": 2, "answer": {"delaySeconds": 0.2}}]);
    world.simulator.faults(slow).await;
    for n in 0..KILLS {
        let operator = world.operator_with(&flags, &[]);
        let values = json!({"stringData": {"password": format!("also-wrong-{n}")}});
        world.edit_secret_named(WRONG, values).await;
        fleet.touch().await;
        // Within the time of a start and these checks.
        let life = Duration::from_millis(RandomState::new().hash_one(n) % 1200);
        tokio::time::sleep(life).await;
        operator.kill();
    }
    world.simulator.faults(json!([])).await;
    fleet.touch().await;
    let operator = world.operator_with(&flags, &[]);
    let started = Instant::now();
    fleet.caught_up(&world).await;
    let recovered = started.elapsed();
    let attempts = fleet.verify_killed(&world, KILLS).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(recovered).noting(format!("{KILLS} kills; {attempts} logins with {} wrong values", KILLS + 1))
}

/// The clock steps forward, back behind the real time, and right again, under a running operator.
pub async fn clock_stepped_an_hour_both_ways(given: Given) -> Recovery {
    let world = World::on(given.control_plane, "clock").await;
    let library = preload(world.directory.path());
    let offset = world.directory.path().join("offset");
    // Overwrites eight bytes, which the operator has mapped.
    let step = |seconds: i64| {
        use std::os::unix::fs::FileExt as _;
        let file = std::fs::File::options().create(true).truncate(false).write(true).open(&offset).expect("a file");
        file.write_all_at(&seconds.to_ne_bytes(), 0).expect("written");
    };
    step(0);
    let variables = [("LD_PRELOAD", text(&library)), ("CLOCK_OFFSET", text(&offset))];
    let operator = world.operator_with(&[], &variables);
    let fleet = Fleet::settled(&world).await;
    let mut longest = Duration::ZERO;
    for seconds in [3600, -3600, 0] {
        step(seconds);
        fleet.touch().await;
        longest = longest.max(fleet.caught_up(&world).await);
        let now = jiff::Timestamp::now().as_second() + seconds;
        let said = world.operator_time().as_second();
        assert!((said - now).abs() < 600, "the operator's clock shows {said}, not {now}");
    }
    fleet.verify(&world, 0).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(longest).noting("longest of three steps: an hour on, two back, one on")
}

/// A name that cannot be resolved costs no login. A name that resolves late or changes costs no additional login.
pub async fn names_fail_are_slow_and_change(given: Given) -> Recovery {
    const NAME: &str = "service4.ultipro.test";
    let world = World::on(given.control_plane, "names").await;
    let library = preload(world.directory.path());
    let names = world.directory.path().join("names");
    let answer = |answer: &str| {
        let new = names.with_extension("new");
        std::fs::write(&new, format!("{NAME}. {answer}\n")).expect("written");
        std::fs::rename(&new, &names).expect("moved");
    };
    answer("127.0.0.1");
    let variables = [("LD_PRELOAD", text(&library)), ("NAMES", text(&names))];
    let operator = world.operator_with(&["--allow-private-addresses"], &variables);
    play(&world, [&world.account].into_iter(), &[NAME]).await;
    let [username, password, customer_api_key, user_api_key] = world.account.secrets();
    let data =
        json!({"username": username, "password": password, "customerApiKey": customer_api_key, "userApiKey": user_api_key});
    world.put_secret_named(GOOD, data).await;
    let mut manifest = connection(&world, GOOD);
    manifest["spec"]["domain"] = json!(format!("ultipro.test:{}", world.simulator.port));
    world.apply(&manifest).await.expect("accepted");
    world.wait_for_reason_of(GOOD, "AllPermissionsGranted").await;
    let mut longest = Duration::ZERO;
    let mut asked = 0;
    let logins = async || world.simulator.logins(&world.account).await.0;
    for (answered, reaches) in [("none", false), ("2:127.0.0.1", true), ("10:127.0.0.1", false), ("127.0.0.2", false)] {
        answer(answered);
        let before = logins().await;
        asked += 1;
        let status = ask(&world, GOOD, &asked.to_string()).await;
        assert_eq!(status.state, "Active", "{answered}: one failure is none");
        let after = logins().await;
        // An open connection may stay in use, whatever its name resolves to now.
        assert!(after <= before + 1 && (!reaches || after == before + 1), "{answered}: {before} logins, then {after}");
        answer("127.0.0.1");
        let back = Instant::now();
        asked += 1;
        ask(&world, GOOD, &asked.to_string()).await;
        world.wait_for_reason_of(GOOD, "AllPermissionsGranted").await;
        longest = longest.max(back.elapsed());
    }
    let (attempts, refused) = world.simulator.logins(&world.account).await;
    assert!(attempts <= asked + 1 && refused == 0, "{attempts} logins, {refused} refused, {asked} asked for");
    world.assert_nothing_got_out(&[&world.account]).await;
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish_without_operator().await;
    Recovery::within(longest).noting(format!("longest of four; {attempts} logins in {asked} checks"))
}

/// A name whose servers are silent blocks its resolution for longer than a check waits. Checks of other names are not affected.
pub async fn a_name_that_hangs_holds_up_no_other(given: Given) -> Recovery {
    /// Connections to the host whose name hangs, and to others whose names do not.
    const HANGING: usize = 120;
    const OTHERS: usize = 40;
    let world = World::on(given.control_plane, "hanging").await;
    let library = preload(world.directory.path());
    let names = world.directory.path().join("names");
    let subdomains: Vec<_> = (0..OTHERS).map(|n| format!("other{n}")).collect();
    let hosts: Vec<_> = subdomains.iter().map(|subdomain| format!("{subdomain}.ultipro.test")).collect();
    let answers: String = hosts.iter().map(|host| format!("{host}. 127.0.0.1\n")).collect();
    std::fs::write(&names, format!("hanging.ultipro.test. 60:127.0.0.1\n{answers}")).expect("written");
    let variables = [("LD_PRELOAD", text(&library)), ("NAMES", text(&names))];
    let operator = world.operator_with(&["--allow-private-addresses"], &variables);
    play(&world, [&world.account].into_iter(), &hosts.iter().map(String::as_str).collect::<Vec<_>>()).await;
    world.put_secret_named(GOOD, data_of(&world)).await;
    let apply = async |name: &str, secret: &str, subdomain: &str| {
        let mut manifest = connection(&world, name);
        manifest["spec"]["secretRef"]["name"] = json!(secret);
        manifest["spec"]["domain"] = json!(format!("ultipro.test:{}", world.simulator.port));
        manifest["spec"]["subdomain"] = json!(subdomain);
        world.apply(&manifest).await.expect("accepted");
    };
    let witness = Witness::of(world.connections());
    for n in 0..HANGING {
        // Each has its own account, because connections of one account learn from each other.
        let name = format!("hanging{n}");
        let mut data = data_of(&world);
        data["username"] = json!(format!("svc-{name}"));
        world.put_secret_named(&name, data).await;
        apply(&name, &name, "hanging").await;
    }
    let told = || witness.states().values().filter(|states| states.contains("Unreachable/HostNotFound")).count();
    let mut longest = Duration::ZERO;
    for (n, subdomain) in subdomains.iter().enumerate() {
        // One after another, for as long as checks of the hanging name wait.
        world.wait_until("more that hang", async || told() >= n * HANGING / OTHERS).await;
        let begun = Instant::now();
        apply(subdomain, GOOD, subdomain).await;
        world.wait_for_reason_of(subdomain, "AllPermissionsGranted").await;
        longest = longest.max(begun.elapsed());
        let seen = &witness.states()[subdomain];
        assert!(seen.iter().all(|state| !state.contains("HostNotFound")), "after {n}: {seen:?}");
    }
    let (attempts, refused) = world.simulator.logins(&world.account).await;
    assert!(attempts <= OTHERS as u64 && refused == 0, "{attempts} logins, {refused} refused");
    world.assert_no_request_refused();
    assert!(operator.stop().success());
    world.finish().await;
    Recovery::within(longest).noting(format!("longest of {OTHERS} first checks, while {HANGING} others waited for a name"))
}

/// Compiles the library that is preloaded between the operator and its libc.
fn preload(directory: &Path) -> PathBuf {
    let library = directory.join("preload.so");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/preload.c");
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).args([source, "-ldl"]);
    assert!(command.status().expect("a C compiler runs").success(), "preload.c does not compile");
    library
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path")
}
