use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::runtime::watcher::Event;
use ukg_pro::login::{Refusal, UndeterminedReason};
use ukg_pro::transport::{HandshakeFlaw, TrustFlaw, Unanswered};

use super::*;
use crate::api::conditions::READY;
use crate::api::{UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::cluster::watch::Connections;
use crate::cluster::watch::connections::WatchEventHandler;
use crate::controller::decide::tests::connection;
use crate::telemetry::watchdog::tests::by_hand;
use crate::telemetry::watchdog::{Bounds, Watched};

/// Returns metrics over a cache that the test writes.
pub(crate) fn metrics(watchdog: Arc<Watchdog>, hosts_in_outage: GaugeFn) -> (Metrics, WatchEventHandler) {
    let connections = Arc::<Connections>::default();
    let sources = Sources {
        connections: connections.clone(),
        watchdog,
        ledger_entries: Box::new(|| 7),
        ledger_failing_seconds: Box::new(|| 0),
        connections_overdue: Box::new(|| 2),
        accounts_limited: Box::new(|| 4),
        hosts_paused: Box::new(|| 5),
        hosts_in_outage,
    };
    (Metrics::new(sources), WatchEventHandler::new(connections, Arc::default(), &[], None))
}

fn fresh() -> (Metrics, WatchEventHandler) {
    metrics(Arc::new(Watchdog::new(Bounds::default())), Box::new(|| 3))
}

fn named(name: &str, state: &str, reason: &str) -> UkgProConnection {
    let mut connection = connection();
    connection.metadata.name = Some(name.to_owned());
    // Each version is newer than those before.
    static VERSION: AtomicUsize = AtomicUsize::new(1);
    connection.metadata.resource_version = Some(VERSION.fetch_add(1, Ordering::Relaxed).to_string());
    let ready = Condition {
        type_: READY.to_owned(),
        status: "False".to_owned(),
        reason: reason.to_owned(),
        message: "a message with a host, a user and a secret".to_owned(),
        observed_generation: None,
        last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
    };
    let status = UkgProConnectionStatus { state: state.to_owned(), conditions: vec![ready], ..Default::default() };
    connection.status = Some(status);
    connection
}

/// A series' name and labels.
type Series = (String, BTreeMap<String, String>);

/// Parses a scrape as strictly as OpenMetrics: each family once, with its help, type and unit before its samples; names and
/// suffixes that fit the type; no series twice; histograms that add up; and the end mark.
pub(crate) fn read(text: &str) -> BTreeMap<Series, f64> {
    let body = text.strip_suffix("# EOF\n").expect("the mark of the end");
    let mut families: BTreeSet<&str> = BTreeSet::new();
    let (mut family, mut type_) = ("", "");
    let mut samples = BTreeMap::new();
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let (word, rest) = rest.split_once(' ').expect("a name");
            let (name, rest) = rest.split_once(' ').expect("a text");
            assert!(!rest.is_empty(), "{line}");
            match word {
                "HELP" => {
                    assert!(families.insert(name), "{name} stands twice");
                    assert!(rest.ends_with('.') && !rest.ends_with("..") && !rest.contains('\\'), "{line}");
                    (family, type_) = (name, "");
                }
                "TYPE" => {
                    assert_eq!((name, type_), (family, ""), "{line}");
                    type_ = rest;
                }
                "UNIT" => assert!(name == family && name.ends_with(&format!("_{rest}")), "{line}"),
                _ => panic!("{line}"),
            }
            continue;
        }
        let end = line.find(['{', ' ']).expect("a name");
        let (name, rest) = line.split_at(end);
        assert!(name.starts_with("ukgpro_"), "{line}");
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        let suffixes: &[&str] = match type_ {
            "gauge" => &[""],
            "counter" => &["_total"],
            "info" => &["_info"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => panic!("{line}: type {type_}"),
        };
        assert!(name.strip_prefix(family).is_some_and(|suffix| suffixes.contains(&suffix)), "{line}");
        let (labels, value) = labels(rest);
        let value = value.parse().expect("a number");
        assert!(samples.insert((name.to_owned(), labels), value).is_none(), "twice: {line}");
    }
    histograms_add_up(&samples);
    samples
}

fn labels(text: &str) -> (BTreeMap<String, String>, &str) {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return (labels, text.strip_prefix(' ').expect("a value")) };
    loop {
        let (name, tail) = rest.split_once("=\"").expect("a label");
        let mut value = String::new();
        let mut characters = tail.char_indices();
        let end = loop {
            match characters.next().expect("an end") {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next().expect("an escape") {
                    (_, 'n') => '\n',
                    (_, escaped @ ('\\' | '"')) => escaped,
                    (_, other) => panic!("escape of {other:?}"),
                }),
                (_, other) => value.push(other),
            }
        };
        assert!(labels.insert(name.to_owned(), value).is_none(), "{text}");
        rest = &tail[end + 1..];
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None => return (labels, rest.strip_prefix("} ").expect("a value")),
        }
    }
}

fn histograms_add_up(samples: &BTreeMap<Series, f64>) {
    let mut histograms: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
    for ((name, labels), value) in samples {
        if let Some(name) = name.strip_suffix("_bucket") {
            let mut labels = labels.clone();
            let bound = labels.remove("le").expect("a bound").parse().expect("a number");
            histograms.entry((format!("{name}_count"), labels)).or_default().push((bound, *value));
        }
    }
    for (count, mut buckets) in histograms {
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by_key(|(_, value)| *value), "{count:?}: {buckets:?}");
        assert_eq!(buckets.last().copied(), Some((f64::INFINITY, samples[&count])), "{count:?}");
    }
}

fn series<const N: usize>(name: &str, labels: [(&str, &str); N]) -> Series {
    (name.to_owned(), labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

/// Returns the samples with this name, without the namespace, which is always the same.
fn of<'a>(samples: &'a BTreeMap<Series, f64>, name: &str) -> Vec<(Vec<&'a str>, f64)> {
    let found = samples.iter().filter(|((found, _), _)| found == name);
    let values = |labels: &'a BTreeMap<String, String>| {
        labels.iter().filter(|(k, _)| *k != "namespace").map(|(_, v)| v.as_str()).collect()
    };
    found.map(|((_, labels), value)| (values(labels), *value)).collect()
}

#[test]
fn every_metric_is_there_from_the_start_at_nothing() {
    let samples = read(&fresh().0.encode());
    let names: BTreeSet<_> = samples.keys().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "ukgpro_build_info",
        "ukgpro_check_duration_seconds_bucket",
        "ukgpro_check_duration_seconds_count",
        "ukgpro_check_duration_seconds_sum",
        "ukgpro_checks_running",
        "ukgpro_checks_total",
        "ukgpro_connections_overdue",
        "ukgpro_hosts_in_outage",
        "ukgpro_hosts_paused",
        "ukgpro_ledger_write_failing_seconds",
        "ukgpro_accounts_limited",
        "ukgpro_leader",
        "ukgpro_lease_wait_seconds",
        "ukgpro_ledger_entries",
        "ukgpro_logins_total",
        "ukgpro_queue_depth",
        "ukgpro_queue_longest_wait_seconds",
        "ukgpro_queue_wait_seconds_bucket",
        "ukgpro_queue_wait_seconds_count",
        "ukgpro_queue_wait_seconds_sum",
        "ukgpro_rest_reads_total",
        "ukgpro_unfiltered_reads_total",
        "ukgpro_tls_failures_total",
    ];
    assert_eq!(names, expected.into());
    let levels = [
        ("ukgpro_build_info", 1.0),
        ("ukgpro_accounts_limited", 4.0),
        ("ukgpro_connections_overdue", 2.0),
        ("ukgpro_hosts_paused", 5.0),
        ("ukgpro_hosts_in_outage", 3.0),
        ("ukgpro_ledger_entries", 7.0),
    ];
    for ((name, labels), value) in &samples {
        let expected = levels.iter().find(|(level, _)| level == name).map_or(0.0, |(_, value)| *value);
        assert_eq!(*value, expected, "{name} {labels:?}");
    }
    let reasons: Vec<_> = of(&samples, "ukgpro_checks_total").into_iter().flat_map(|(labels, _)| labels).collect();
    let all: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(reasons, all.into_iter().collect::<Vec<_>>());
    assert!(samples.len() < 200, "{} series before the first connection", samples.len());
}

#[test]
fn what_is_counted_comes_out_where_it_belongs() {
    let metrics = fresh().0;
    metrics.checked(Reason::AllPermissionsGranted, Duration::from_millis(700));
    metrics.checked(Reason::AllPermissionsGranted, Duration::from_secs(31));
    metrics.checked(Reason::ConnectTimeout, Duration::from_secs(301));
    for outcome in [LoginOutcome::Succeeded, LoginOutcome::Held, LoginOutcome::Held] {
        metrics.login(outcome);
    }
    metrics.rest_read();
    metrics.unfiltered_read();
    metrics.unanswered(Unanswered::TlsUntrusted(TrustFlaw::Expired(None)));
    metrics.unanswered(Unanswered::TlsFailed(HandshakeFlaw::Other));
    metrics.unanswered(Unanswered::ConnectTimeout);
    metrics.waited(Duration::from_secs(5));
    metrics.stage(Stage::Login).stop();
    let _ = metrics.stage(Stage::Probe);
    metrics.leads(true);
    let samples = read(&metrics.encode());
    let value = |name: &str, label: (&str, &str)| samples[&series(name, [label])];
    assert_eq!(value("ukgpro_checks_total", ("reason", "AllPermissionsGranted")), 2.0);
    assert_eq!(value("ukgpro_checks_total", ("reason", "ConnectTimeout")), 1.0);
    assert_eq!(value("ukgpro_checks_total", ("reason", "Suspended")), 0.0);
    assert_eq!(value("ukgpro_logins_total", ("outcome", "succeeded")), 1.0);
    assert_eq!(value("ukgpro_logins_total", ("outcome", "held")), 2.0);
    assert_eq!(samples[&series("ukgpro_rest_reads_total", [])], 1.0);
    assert_eq!(samples[&series("ukgpro_unfiltered_reads_total", [])], 1.0);
    let failures = of(&samples, "ukgpro_tls_failures_total");
    let counted: Vec<_> = failures.iter().filter(|(_, count)| *count > 0.0).map(|(labels, _)| labels.concat()).collect();
    assert_eq!(counted, ["expired", "handshake_other"]);
    assert_eq!(samples[&series("ukgpro_leader", [])], 1.0);
    assert_eq!(samples[&series("ukgpro_queue_wait_seconds_sum", [])], 5.0);
    let of_stage = |stage| value("ukgpro_check_duration_seconds_count", ("stage", stage));
    assert_eq!(["whole", "login", "probe", "resolve"].map(of_stage), [3.0, 1.0, 0.0, 0.0], "a timer that is dropped is none");
    let within = |bound| samples[&series("ukgpro_check_duration_seconds_bucket", [("stage", "whole"), ("le", bound)])];
    // What hit a timeout is just above its bucket.
    assert_eq!(["0.5", "1.0", "30.0", "60.0", "300.0", "+Inf"].map(within), [0.0, 1.0, 1.0, 2.0, 2.0, 3.0]);
}

#[test]
fn a_login_is_counted_as_what_it_was() {
    for (login, outcome) in [
        (Ok(()), "succeeded"),
        (Err(LoginFailure::Refused(Refusal::Credentials)), "refused"),
        (Err(LoginFailure::Undetermined(UndeterminedReason::Failed)), "undetermined"),
        (Err(LoginFailure::Unanswered(Unanswered::ServerError)), "unanswered"),
    ] {
        assert_eq!(LoginOutcome::of(&login).as_str(), outcome);
    }
}

#[test]
fn a_connection_is_in_one_state_for_one_reason() {
    let (metrics, mut store) = fresh();
    let mut new = named("new", "", "");
    new.status = None;
    for connection in [
        named("good", "Active", "AllPermissionsGranted"),
        named("bad", "Forbidden", "PermissionsMissing"),
        named("unknown", "Unknown", "SecretNotFound"),
        named("of-a-newer-operator", "Splendid", "user=svc host=acme.ultipro.com"),
        new,
    ] {
        store.after(0, Event::Apply(connection.into()));
    }
    let text = metrics.encode();
    let samples = read(&text);
    let expected = [
        (vec!["bad", "Active"], 0.0),
        (vec!["bad", "Forbidden"], 1.0),
        (vec!["good", "Active"], 1.0),
        (vec!["new", "Active"], 0.0),
        (vec!["new", "Unknown"], 1.0),
        (vec!["of-a-newer-operator", "Active"], 0.0),
        (vec!["of-a-newer-operator", "Unknown"], 1.0),
        (vec!["unknown", "Active"], 0.0),
        (vec!["unknown", "Unknown"], 1.0),
    ];
    assert_eq!(of(&samples, "ukgpro_connection_state"), expected);
    let expected = [
        (vec!["bad", "PermissionsMissing"], 1.0),
        (vec!["good", "AllPermissionsGranted"], 1.0),
        (vec!["new", "Unknown"], 1.0),
        (vec!["of-a-newer-operator", "Unknown"], 1.0),
        (vec!["unknown", "SecretNotFound"], 1.0),
    ];
    assert_eq!(of(&samples, "ukgpro_connection_reason"), expected);
    for secret in ["Splendid", "svc", "ultipro", "message"] {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn every_verdict_and_every_reason_is_told() {
    let (metrics, mut store) = fresh();
    for (n, reason) in Reason::ALL.iter().enumerate() {
        let state = reason.verdict().map_or("Unknown", Verdict::as_str);
        store.after(0, Event::Apply(named(&format!("c{n}"), state, reason.as_str()).into()));
    }
    let samples = read(&metrics.encode());
    for (n, reason) in Reason::ALL.iter().enumerate() {
        let of_it = |label| {
            [("namespace", "hr"), ("name", &format!("c{n}")), label].map(|(k, v): (&str, &str)| (k.to_owned(), v.to_owned()))
        };
        let state = reason.verdict().map_or("Unknown", Verdict::as_str);
        assert_eq!(samples[&("ukgpro_connection_state".to_owned(), of_it(("state", state)).into())], 1.0, "{reason:?}");
        assert_eq!(
            samples[&("ukgpro_connection_reason".to_owned(), of_it(("reason", reason.as_str())).into())],
            1.0,
            "{reason:?}"
        );
    }
}

#[test]
fn the_series_of_a_deleted_connection_go_at_once_and_a_change_leaves_none_behind() {
    let (metrics, mut store) = fresh();
    let named = |name| named(name, "Forbidden", "PermissionsMissing");
    store.after(0, Event::Apply(named("a").into()));
    store.after(0, Event::Apply(named("b").into()));
    store.after(0, Event::Delete(named("a").into()));
    store.after(0, Event::Apply(super::tests::named("b", "Active", "AllPermissionsGranted").into()));
    let samples = read(&metrics.encode());
    assert_eq!(of(&samples, "ukgpro_connection_state"), [(vec!["b", "Active"], 1.0)]);
    assert_eq!(of(&samples, "ukgpro_connection_reason"), [(vec!["b", "AllPermissionsGranted"], 1.0)]);
    store.after(0, Event::Init);
    store.after(0, Event::InitDone);
    let samples = read(&metrics.encode());
    assert_eq!(of(&samples, "ukgpro_connection_state"), []);
    assert_eq!(of(&samples, "ukgpro_connection_reason"), []);
}

#[test]
fn odd_names_are_escaped() {
    // Kubernetes allows no such name, but an object stored before a rule existed may have any.
    let (metrics, mut store) = fresh();
    let odd = "a\"} 1\n# EOF\n\\n,=é";
    store.after(0, Event::Apply(named(odd, "Active", "AllPermissionsGranted").into()));
    let text = metrics.encode();
    assert_eq!(text.lines().filter(|line| line.starts_with("# EOF")).count(), 1);
    assert_eq!(of(&read(&text), "ukgpro_connection_state"), [(vec![odd, "Active"], 1.0)]);
}

#[test]
fn the_queue_and_the_watches_are_read_when_they_are_asked_for() {
    let (watchdog, pass) = by_hand();
    let (metrics, _store) = metrics(watchdog.clone(), Box::new(|| 0));
    watchdog.received(&watchdog.watch(Watched::Connections, None));
    let _waiting = watchdog.queued();
    pass(40);
    let _other = watchdog.queued();
    watchdog.queued().runs();
    let mut running = watchdog.queued();
    running.runs();
    let samples = read(&metrics.encode());
    for (name, expected) in
        [("ukgpro_queue_depth", 2.0), ("ukgpro_checks_running", 1.0), ("ukgpro_queue_longest_wait_seconds", 40.0)]
    {
        assert_eq!(samples[&series(name, [])], expected, "{name}");
    }
    assert_eq!(of(&samples, "ukgpro_watch_age_seconds"), [(vec!["connections"], 40.0)], "the other has not begun");
    pass(5);
    watchdog.asked(&watchdog.watch(Watched::Secrets, Some("hr")));
    let text = metrics.encode();
    for line in [
        "ukgpro_watch_age_seconds{watch=\"connections\"} 45.0\n",
        "ukgpro_watch_age_seconds{watch=\"secrets\",namespace=\"hr\"} 0.0\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

/// The page of the book. `WRITE_REFERENCE=1` writes it (`make reference`).
#[test]
fn the_reference_names_every_metric() {
    let (metrics, _) = fresh();
    let text = metrics.encode();
    let mut page = "# Metrics\n\n<!-- Generated by `make reference`. -->\n\nWhat `/metrics` serves, as OpenMetrics or in Prometheus' text \
        format. No host, user name or value of a Secret is a label.\n\n| name | type | meaning |\n|---|---|---|\n"
        .to_owned();
    let mut rows = BTreeMap::<&str, (&str, &str)>::new();
    for line in text.lines() {
        let parts: Vec<_> = line.splitn(4, ' ').collect();
        match parts[..] {
            ["#", "HELP", name, help] => rows.entry(name).or_default().1 = help,
            ["#", "TYPE", name, kind] => rows.entry(name).or_default().0 = kind,
            _ => {}
        }
    }
    assert!(rows.len() > 20, "{rows:?}");
    for (name, (kind, help)) in rows {
        let suffix = if kind == "counter" { "_total" } else { "" };
        page.push_str(&format!("| `{name}{suffix}` | {kind} | {} |\n", help.replace('|', "\\|")));
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/reference/metrics.md");
    if std::env::var_os("WRITE_REFERENCE").is_some() {
        std::fs::write(path, page).expect("written");
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == page, "docs/reference/metrics.md has drifted; run `make reference` and commit the result");
}
