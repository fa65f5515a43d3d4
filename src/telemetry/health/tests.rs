use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicUsize;
use std::thread;
use std::time::Instant;

use super::*;
use crate::telemetry::metrics::tests::{metrics, read};
use crate::telemetry::watchdog::tests::by_hand;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(20);
const ROOMY: Limits = Limits { connections: 64, deadline: PATIENCE };

/// A server on loopback, and the state behind it.
struct Served {
    server: Server,
    health: SocketAddr,
    metrics: SocketAddr,
    readiness: Readiness,
    watchdog: Arc<Watchdog>,
    pass: Box<dyn Fn(u64)>,
}

fn served(health_limits: Limits, metrics_limits: Limits, hosts_in_outage: metrics::GaugeFn) -> Served {
    let bind = || TcpListener::bind("127.0.0.1:0").expect("a port");
    let (health, metrics_listener) = (bind(), bind());
    let address = |listener: &TcpListener| listener.local_addr().expect("bound");
    let addresses = (address(&health), address(&metrics_listener));
    let (watchdog, pass) = by_hand();
    let readiness = Readiness::default();
    let (metrics, _) = metrics(watchdog.clone(), hosts_in_outage);
    let endpoints = Endpoints {
        health,
        readiness: readiness.clone(),
        watchdog: watchdog.clone(),
        metrics: Some((metrics_listener, Arc::new(metrics))),
    };
    let server = start_within(endpoints, health_limits, metrics_limits).expect("started");
    Served { server, health: addresses.0, metrics: addresses.1, readiness, watchdog, pass: Box::new(pass) }
}

fn roomy() -> Served {
    served(ROOMY, ROOMY, Box::new(|| 0))
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Reads until the other side closes.
fn rest(mut stream: &TcpStream) -> String {
    let mut text = String::new();
    match stream.read_to_string(&mut text) {
        // The server closed before it read all of the request.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        result => drop(result.expect("closed in time")),
    }
    text
}

fn send(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("open");
    rest(&stream)
}

/// Returns status and body.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    parse(&send(address, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")))
}

fn parse(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}

fn until(mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "in vain");
        thread::yield_now();
    }
}

fn ok() -> (u16, String) {
    (200, "ok\n".to_owned())
}

#[test]
fn readiness_is_the_first_list() {
    let served = roomy();
    assert_eq!(get(served.health, "/livez"), ok());
    assert_eq!(
        get(served.health, "/readyz"),
        (503, "the connections or the login ledger have not been read yet; the log says why\n".to_owned())
    );
    served.readiness.set();
    assert_eq!(get(served.health, "/readyz"), ok());
    assert_eq!(get(served.health, "/readyz?verbose"), ok());
}

#[test]
fn a_namespace_that_is_not_listed_keeps_from_being_ready_and_not_from_working() {
    let served = roomy();
    served.readiness.set_unlisted(vec!["b".to_owned(), "c".to_owned()]);
    served.readiness.set();
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(served.readiness.reached());
    let (status, body) = get(served.health, "/readyz");
    assert_eq!(status, 503);
    assert!(body.starts_with("the connections of namespace b cannot be listed, nor those of 1 more;"), "{body}");
    served.readiness.set_unlisted(Vec::new());
    assert_eq!(get(served.health, "/readyz"), ok());
}

#[test]
fn an_operator_that_cannot_check_most_connections_or_write_its_ledger_is_not_ready() {
    let served = roomy();
    served.readiness.set();
    served.readiness.overdue((5, 10));
    assert_eq!(get(served.health, "/readyz"), ok(), "half of them may be one team's trouble");
    served.readiness.overdue((6, 10));
    let most =
        "in 6 of 10 namespaces most connections could not be checked for several intervals; the log says why\n".to_owned();
    assert_eq!(get(served.health, "/readyz"), (503, most));
    served.readiness.overdue((0, 10));
    served.readiness.ledger_unwritten(Some(Duration::from_secs(61)));
    let unwritten = "the login ledger could not be written for 61 s; the log says why\n".to_owned();
    assert_eq!(get(served.health, "/readyz"), (503, unwritten));
    served.readiness.ledger_unwritten(None);
    assert_eq!(get(served.health, "/readyz"), ok());
}

#[test]
fn an_operator_whose_watch_fails_for_minutes_is_not_ready_and_lives() {
    let served = roomy();
    served.readiness.set();
    let watch = served.watchdog.watch(crate::telemetry::watchdog::Watched::Connections, None);
    served.watchdog.received(&watch);
    (served.pass)(180);
    assert_eq!(get(served.health, "/readyz"), ok());
    served.watchdog.asked(&watch);
    (served.pass)(1);
    assert_eq!(
        get(served.health, "/readyz"),
        (503, "the watch of connections has received nothing for 181 s; the log says why\n".to_owned())
    );
    assert_eq!(get(served.health, "/livez"), ok(), "a new process would fare no better");
    served.watchdog.received(&watch);
    assert_eq!(get(served.health, "/readyz"), ok());
}

#[test]
fn what_is_stuck_is_named_in_one_line() {
    let served = roomy();
    let mut check = served.watchdog.queued();
    check.runs();
    (served.pass)(600);
    assert_eq!(get(served.health, "/livez"), ok());
    (served.pass)(1);
    assert_eq!(get(served.health, "/livez"), (503, "a check has been running for 601 s\n".to_owned()));
    drop(check);
    assert_eq!(get(served.health, "/livez"), ok());
}

#[test]
fn a_main_runtime_that_is_blocked_is_answered_for_and_then_found_out() {
    let served = roomy();
    let (say, heard) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    let (end, ended) = mpsc::channel::<()>();
    let watchdog = served.watchdog.clone();
    let main = thread::spawn(move || {
        // Paused time advances by itself while the runtime is idle.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("built").block_on(async move {
            tokio::spawn(watchdog.heartbeat());
            tokio::task::yield_now().await;
            say.send(()).expect("awaited");
            while released.try_recv().is_err() {
                std::hint::spin_loop();
            }
            while ended.try_recv().is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
    });
    heard.recv_timeout(PATIENCE).expect("it runs");
    assert_eq!(get(served.health, "/livez"), ok());
    (served.pass)(30);
    assert_eq!(get(served.health, "/livez"), ok(), "at its bound");
    (served.pass)(1);
    assert_eq!(get(served.health, "/livez"), (503, "the main runtime has not run for 31 s\n".to_owned()));
    assert_eq!(get(served.metrics, "/metrics").0, 200);
    release.send(()).expect("it spins");
    until(|| get(served.health, "/livez") == ok());
    end.send(()).expect("it runs");
    main.join().expect("no panic");
}

#[test]
fn metrics_have_their_media_type_and_can_be_read() {
    let served = roomy();
    let asked = "GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text;version=1.0.0\r\n\r\n";
    let answer = send(served.metrics, asked);
    assert!(answer.contains("\r\ncontent-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"), "{answer}");
    let (status, text) = parse(&answer);
    assert_eq!(status, 200);
    assert!(read(&text).keys().any(|(name, _)| name == "ukgpro_build_info"));
    let answer = send(served.metrics, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.contains("\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\n# TYPE ukgpro_build_info gauge\n") && !answer.contains("# EOF"), "{answer}");
}

#[test]
fn each_address_has_its_own_paths_and_takes_get_and_head_only() {
    let served = roomy();
    for (address, path) in [
        (served.health, "/metrics"),
        (served.health, "/"),
        (served.health, "/livez/"),
        (served.metrics, "/livez"),
        (served.metrics, "/readyz"),
        (served.metrics, "/metrics/x"),
    ] {
        assert_eq!(get(address, path), (404, "not found\n".to_owned()), "{path}");
    }
    for (address, path) in [(served.health, "/livez"), (served.metrics, "/metrics")] {
        let head = send(address, &format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        assert!(head.starts_with("HTTP/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = send(address, &format!("{method} {path} HTTP/1.1\r\nHost: x\r\ncontent-length: 0\r\n\r\n"));
            assert!(answer.starts_with("HTTP/1.1 405") && answer.contains("\r\nallow: GET, HEAD\r\n"), "{answer}");
        }
    }
}

#[test]
fn one_request_a_connection_of_http_1_and_of_a_size() {
    let served = roomy();
    let twice = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2);
    assert_eq!(send(served.health, &twice).matches("HTTP/1.1 200").count(), 1);
    let announced = send(served.health, "GET /livez HTTP/1.1\r\nHost: x\r\ncontent-length: 1000000\r\n\r\n");
    assert!(announced.starts_with("HTTP/1.1 200"), "a body is not waited for: {announced}");
    // HTTP/2 is not understood.
    let http2 = send(served.health, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    assert!(!http2.contains("200") && !http2.starts_with("\0"), "{http2:?}");
    let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nx: {}\r\n\r\n", "y".repeat(9000));
    let mut stream = connect(served.health);
    // The server may close before all is written.
    let _ = stream.write_all(long.as_bytes());
    let refused = rest(&stream);
    assert!(!refused.contains("200"), "{refused}");
    assert_eq!(get(served.health, "/livez"), ok());
}

#[test]
fn who_holds_connections_loses_them_to_who_asks() {
    let served = served(Limits { connections: 3, deadline: PATIENCE * 2 }, ROOMY, Box::new(|| 0));
    let hold = || {
        let mut stream = connect(served.health);
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").expect("open");
        stream
    };
    let [first, second, third] = [hold(), hold(), hold()];
    assert_eq!(get(served.health, "/livez"), ok(), "the fourth");
    assert_eq!(rest(&first), "", "the oldest gave way");
    for mut held in [&second, &third] {
        held.write_all(b"x\r\n\r\n").expect("open");
        assert_eq!(parse(&rest(held)), ok(), "the others did not");
    }
    // The same with any number of them.
    let held: Vec<_> = (0..100).map(|_| hold()).collect();
    assert_eq!(get(served.health, "/livez"), ok());
    held[..97].iter().for_each(|held| assert_eq!(rest(held), ""));
}

#[test]
fn a_connection_is_cut_at_its_deadline_however_slowly_it_sends() {
    let deadline = Duration::from_millis(100);
    let served = served(Limits { connections: 8, deadline }, ROOMY, Box::new(|| 0));
    let began = Instant::now();
    let silent = connect(served.health);
    let mut slow = connect(served.health);
    slow.write_all(b"GET /livez HTTP/1.1\r\n").expect("open");
    assert_eq!(rest(&silent), "");
    until(|| slow.write_all(b"x: y\r\n").is_err());
    assert!(began.elapsed() >= deadline);
}

#[tokio::test]
async fn a_connection_is_cut_at_its_deadline_however_slowly_it_reads() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut client = connect(listener.local_addr().expect("bound"));
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    let large = vec![b'x'; 64 << 20];
    let large = move |_: &str, _: &http::HeaderMap| std::future::ready(answer(StatusCode::OK, TEXT, large.clone()));
    let (stream, _) = listener.accept().await.expect("one");
    let connection = server::connection(stream, Duration::from_millis(100), large);
    tokio::time::timeout(PATIENCE, connection).await.expect("cut");
    assert!(rest(&client).len() < 64 << 20);
}

/// Returns a server whose scrapes hang until the sender is dropped, and the number of scrapes that have begun.
fn hanging(metrics_limits: Limits) -> (Served, Arc<AtomicUsize>, mpsc::Sender<()>) {
    let begun = Arc::new(AtomicUsize::new(0));
    let counted = begun.clone();
    let (release, released) = mpsc::channel();
    let released = std::sync::Mutex::new(released);
    let hangs = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        let _ = released.lock().expect("no panic").recv();
        0
    };
    (served(ROOMY, metrics_limits, Box::new(hangs)), begun, release)
}

fn scraper(served: &Served) -> TcpStream {
    let mut stream = connect(served.metrics);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").expect("open");
    stream
}

#[test]
fn a_scrape_that_hangs_holds_up_neither_the_kubelet_nor_the_end() {
    let (served, begun, release) = hanging(ROOMY);
    let scrapers: Vec<_> = (0..4).map(|_| scraper(&served)).collect();
    until(|| begun.load(Ordering::SeqCst) == 1);
    assert_eq!(get(served.health, "/livez"), ok());
    served.server.stop();
    scrapers.iter().for_each(|scraper| assert_eq!(rest(scraper), "", "cut"));
    assert_eq!(begun.load(Ordering::SeqCst), 1, "one at a time");
    drop(release);
}

#[test]
fn nothing_is_put_together_for_those_who_are_gone() {
    let (served, begun, release) = hanging(Limits { connections: 1, deadline: PATIENCE });
    let mut last = scraper(&served);
    until(|| begun.load(Ordering::SeqCst) == 1);
    for _ in 0..10 {
        let before = std::mem::replace(&mut last, scraper(&served));
        assert_eq!(rest(&before), "", "it gave way");
    }
    drop(release);
    assert_eq!(parse(&rest(&last)).0, 200);
    assert_eq!(begun.load(Ordering::SeqCst), 2, "the one that hung, and the one that is still wanted");
}

#[test]
fn at_the_end_the_addresses_are_closed() {
    let served = roomy();
    let mut held = connect(served.health);
    held.write_all(b"GET /livez HTTP/1.1\r\n").expect("open");
    assert_eq!(get(served.health, "/livez"), ok(), "so it has been accepted");
    let began = Instant::now();
    served.server.stop();
    assert!(began.elapsed() < PATIENCE / 2, "it is not waited for");
    assert_eq!(rest(&held), "");
    for address in [served.health, served.metrics] {
        assert!(TcpStream::connect(address).is_err());
    }

    let dropped = roomy();
    drop(dropped.server);
    until(|| TcpStream::connect(dropped.health).is_err() && TcpStream::connect(dropped.metrics).is_err());
}

#[tokio::test]
async fn an_answer_under_way_is_finished_at_the_end() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let client = thread::spawn(move || get(address, "/"));
    let stop = CancellationToken::new();
    let stops = stop.clone();
    let slow = move |_: &str, _: &http::HeaderMap| {
        // Stopped during the request.
        stops.cancel();
        async {
            tokio::task::yield_now().await;
            answer(StatusCode::OK, TEXT, "whole\n")
        }
    };
    server::serve(listener, ROOMY, stop, slow).await;
    assert_eq!(client.join().expect("no panic"), (200, "whole\n".to_owned()));
}

/// Collects the log.
#[derive(Clone, Default)]
struct Lines(Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_log_is_told_once_each_time() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().with_target(false);
    let subscriber = subscriber.with_writer(move || writer.clone()).finish();
    tracing::subscriber::with_default(subscriber, || {
        let (watchdog, pass) = by_hand();
        let reported = AtomicBool::new(false);
        let mut check = watchdog.queued();
        check.runs();
        for _ in 0..3 {
            assert_eq!(livez(&watchdog, &reported).status(), 200);
        }
        pass(601);
        for _ in 0..3 {
            assert_eq!(livez(&watchdog, &reported).status(), 503);
        }
        drop(check);
        for _ in 0..3 {
            assert_eq!(livez(&watchdog, &reported).status(), 200);
        }
    });
    let lines = String::from_utf8(lines.0.lock().expect("no panic").clone()).expect("text");
    let lines: Vec<_> = lines.lines().map(str::trim).collect();
    assert_eq!(lines, ["ERROR not alive stuck=a check has been running for 601 s", "INFO alive again"]);
}
