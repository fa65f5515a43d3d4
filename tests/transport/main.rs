//! The way to a host and back, against real servers on loopback: each network stage that can fail does, and is told by name.
//!
//! By the public interface only. Names under `.localhost` are loopback to the operator, and so reach the servers here. Where time
//! has to pass, the clock is stopped once the server has what it should have, and then runs by itself to the next deadline.

#![allow(unreachable_pub)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod proxies;
mod servers;
mod tls;

use std::process::Command;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tokio::time::Instant;
use ukg_pro::client::Client;
use ukg_pro::credentials::Credentials;
use ukg_pro::endpoint::Endpoint;
use ukg_pro::login::{LoginFailure, Refusal};
use ukg_pro::sensitive::Sensitive;
use ukg_pro::transport::{BODY_MAX, ProxySettings, Transport, Trust, TrustFlaw, Unanswered, UnreadableReason, authorities};
use ukg_pro::words::Words;

use servers::{Authority, H1, H2, LOGIN_OK, Reply, Reply2, answer, http1, http2, ok, refusing, tcp};

const HOST: &str = "service4.ultipro.localhost";
/// Longer than any test may take, and the longest `spec.timeout`.
const LONG: Duration = Duration::from_secs(300);

fn trust(roots: &[&Authority], proxy: ProxySettings) -> Transport {
    let extra_roots: Vec<CertificateDer<'static>> = roots.iter().map(|authority| authority.certificate.clone()).collect();
    Transport::new(Trust { extra_roots, allow_private_addresses: false, proxy }).unwrap()
}

fn direct(authority: &Authority) -> Transport {
    trust(&[authority], ProxySettings::default())
}

async fn login(transport: &Transport, port: u16) -> Result<(), LoginFailure> {
    login_to(transport, "service4", &format!("ultipro.localhost:{port}")).await
}

async fn login_to(transport: &Transport, subdomain: &str, domain: &str) -> Result<(), LoginFailure> {
    let secret = |value: &str| Sensitive::new(value.to_owned());
    let credentials = Credentials {
        username: secret("canary-username"),
        password: secret("canary-password"),
        customer_api_key: secret("CAN01"),
        user_api_key: None,
    };
    let endpoint = Endpoint::from_parts(subdomain, domain).unwrap();
    let words = Words::built_in();
    let client = Client {
        transport,
        endpoint: &endpoint,
        credentials: &credentials,
        deadline: Instant::now() + LONG,
        words: &words,
        recorder: None,
    };
    client.login(&Sensitive::new("CANARYKEY001".to_owned())).await.map(drop)
}

fn unanswered(unanswered: Unanswered) -> Result<(), LoginFailure> {
    Err(LoginFailure::Unanswered(unanswered))
}

#[tokio::test]
async fn a_login_works_over_each_version_of_http_and_tls() {
    let authority = Authority::new();
    let hosts = [
        http1(authority.config(HOST, H1), |_| Reply::Keep(ok())).await,
        http1(authority.config(HOST, &[]), |_| Reply::Keep(ok())).await,
        http1(authority.config_of_version(HOST, &rustls::version::TLS12), |_| Reply::Keep(ok())).await,
        http1(authority.config_of_version(HOST, &rustls::version::TLS13), |_| Reply::Keep(ok())).await,
        http2(authority.config(HOST, H2), |_| Reply2::Answer).await,
        http2(authority.config(HOST, &[b"h2", b"http/1.1"]), |_| Reply2::Answer).await,
    ];
    for (case, host) in hosts.iter().enumerate() {
        let transport = direct(&authority);
        assert_eq!(login(&transport, host.port).await, Ok(()), "{case}");
        assert_eq!(login(&transport, host.port).await, Ok(()), "{case}");
        assert_eq!(host.seen.count(), 2, "{case}");
        assert_eq!(host.seen.connections(), 1, "{case}: the calls of one check share a connection");
        let request = &host.seen.requests()[0];
        assert!(request.contains("/services/LoginService") && request.contains("canary-username"), "{case}: {request}");
    }
    let request = &hosts[0].seen.requests()[0];
    for line in [
        "POST /services/LoginService HTTP/1.1\r\n",
        &format!("host: {HOST}:{}\r\n", hosts[0].port),
        "user-agent: ukgpro-operator/",
        "content-type: application/soap+xml; charset=utf-8\r\n",
    ] {
        assert!(request.contains(line), "{line} in {request}");
    }
    assert!(!request.contains("accept-encoding"), "{request}");
    assert!(hosts[4].seen.requests()[0].starts_with("HTTP/2.0 "));
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_told() {
    let transport = direct(&Authority::new());
    assert_eq!(login_to(&transport, "service4", "ultipro.invalid").await, unanswered(Unanswered::HostNotFound));
}

#[test]
fn an_address_is_no_host() {
    // The connector judges addresses as well, should one ever get so far; see its resolver's tests.
    for (subdomain, domain) in [("127", "0.0.1"), ("0x7f", "0.0.1"), ("127", "0.1"), ("0177", "0.0.1"), ("169", "254.169.254")]
    {
        assert!(Endpoint::from_parts(subdomain, domain).is_err(), "{subdomain}.{domain}");
    }
}

#[tokio::test]
async fn a_port_where_no_one_listens_is_told() {
    let (gone, _held) = refusing();
    assert_eq!(login(&direct(&Authority::new()), gone).await, unanswered(Unanswered::ConnectRefused));
}

#[tokio::test]
async fn a_host_that_never_ends_the_handshake_is_no_connection_in_time() {
    let transport = direct(&Authority::new());
    let host = tcp(|stream, _| async {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let started = Instant::now();
    let (found, ()) = tokio::join!(login(&transport, host.port), async {
        host.seen.news().await;
        tokio::time::pause();
    });
    assert_eq!(found, unanswered(Unanswered::ConnectTimeout));
    assert!(started.elapsed() < Duration::from_secs(10), "connecting has a deadline below the shortest spec.timeout");
}

#[tokio::test]
async fn time_that_runs_out_while_connecting_is_not_the_answers() {
    let host = tcp(|stream, _| async {
        let _stream = stream;
        std::future::pending().await
    })
    .await;
    let transport = direct(&Authority::new());
    let credentials = Credentials {
        username: Sensitive::new(String::new()),
        password: Sensitive::new(String::new()),
        customer_api_key: Sensitive::new(String::new()),
        user_api_key: None,
    };
    let endpoint = Endpoint::from_parts("service4", &format!("ultipro.localhost:{}", host.port)).unwrap();
    let deadline = Instant::now() + Duration::from_millis(200);
    let words = Words::built_in();
    let client = Client {
        transport: &transport,
        endpoint: &endpoint,
        credentials: &credentials,
        deadline,
        words: &words,
        recorder: None,
    };
    assert_eq!(
        client.login(&Sensitive::new("CANARYKEY001".to_owned())).await.map(drop),
        unanswered(Unanswered::ConnectTimeout)
    );
}

#[tokio::test]
async fn a_host_that_has_the_request_and_is_slow_is_told_so() {
    let authority = Authority::new();
    let whole = ok();
    let head_end = whole.len() - LOGIN_OK.len();
    let replies = [
        ("no answer", Reply::Hang(Vec::new())),
        ("half a head", Reply::Hang(b"HTTP/1.1 200 OK\r\ncontent-".to_vec())),
        ("half a body", Reply::Hang(whole[..head_end + 10].to_vec())),
        ("a head that never ends", Reply::Dribble(b"HTTP/1.1 200 OK\r\nx: ".to_vec())),
        ("a body that never ends", Reply::Dribble(b"HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n".to_vec())),
    ];
    for (case, reply) in replies {
        let host = http1(authority.config(HOST, H1), move |_| reply.clone()).await;
        assert_eq!(in_its_own_time(&direct(&authority), &host).await, unanswered(Unanswered::AnswerTimeout), "{case}");
    }
    let host = http2(authority.config(HOST, H2), |_| Reply2::Hang).await;
    assert_eq!(in_its_own_time(&direct(&authority), &host).await, unanswered(Unanswered::AnswerTimeout), "HTTP/2");
}

/// A login during which the clock stands still once the host has the request.
async fn in_its_own_time(transport: &Transport, host: &servers::Server) -> Result<(), LoginFailure> {
    let started = Instant::now();
    let (found, ()) = tokio::join!(login(transport, host.port), async {
        host.seen.news().await;
        while host.seen.count() == 0 {
            host.seen.news().await;
        }
        tokio::time::pause();
    });
    let elapsed = started.elapsed();
    tokio::time::resume();
    assert!(elapsed >= LONG && elapsed < LONG + Duration::from_secs(5), "the deadline is the whole exchange's: {elapsed:?}");
    found
}

#[tokio::test]
async fn a_connection_that_breaks_before_the_answer_is_whole_is_told() {
    let authority = Authority::new();
    let whole = ok();
    let replies = [
        ("no answer", Vec::new()),
        ("half a head", b"HTTP/1.1 200 OK\r\ncontent-".to_vec()),
        ("half a body", whole[..whole.len() - 10].to_vec()),
        ("half a body in chunks", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n<s:En\r\n".to_vec()),
    ];
    for (case, bytes) in replies {
        let host = http1(authority.config(HOST, H1), move |_| Reply::Close(bytes.clone())).await;
        assert_eq!(login(&direct(&authority), host.port).await, unanswered(Unanswered::ConnectionLost), "{case}");
    }
    for (case, reply) in [
        ("break", Reply2::Break),
        ("reset", Reply2::Reset(h2::Reason::INTERNAL_ERROR)),
        ("reset in the body", Reply2::Half(h2::Reason::CANCEL)),
    ] {
        let host = http2(authority.config(HOST, H2), move |_| reply).await;
        assert_eq!(login(&direct(&authority), host.port).await, unanswered(Unanswered::ConnectionLost), "HTTP/2 {case}");
    }
}

#[tokio::test]
async fn an_answer_beyond_all_bounds_or_not_of_http_is_said_to_be_so() {
    let authority = Authority::new();
    let padded = |length: usize| format!("{LOGIN_OK}{}", " ".repeat(length - LOGIN_OK.len()));
    let chunked = |length: usize| {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        format!("{head}{length:x}\r\n{}\r\n0\r\n\r\n", padded(length)).into_bytes()
    };
    let refused = Err(LoginFailure::Refused(Refusal::Credentials));
    let odd = |oddity| Err(LoginFailure::Unanswered(Unanswered::Unreadable(oddity)));
    let page = padded(BODY_MAX + 1);
    let page =
        format!("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}", page.len()).into_bytes();
    for (case, bytes, expected) in [
        ("the largest", answer("200 OK", "", &padded(BODY_MAX)), Ok(())),
        ("larger", answer("200 OK", "", &padded(BODY_MAX + 1)), odd(UnreadableReason::TooLarge)),
        ("a larger page", page, unanswered(Unanswered::NotUkgPro)),
        ("the largest, in chunks", chunked(BODY_MAX), Ok(())),
        ("larger, in chunks", chunked(BODY_MAX + 1), odd(UnreadableReason::TooLarge)),
        ("encoded as it is", answer("200 OK", "content-encoding: identity\r\n", LOGIN_OK), Ok(())),
        ("compressed", answer("200 OK", "content-encoding: gzip\r\n", LOGIN_OK), odd(UnreadableReason::Compressed)),
        ("a compressed 401", answer("401 Unauthorized", "content-encoding: gzip\r\n", "x"), refused),
        ("a 401 beyond all bounds", answer("401 Unauthorized", "", &padded(BODY_MAX + 1)), refused),
        (
            "a compressed 503",
            answer("503 Unavailable", "content-encoding: gzip\r\n", ""),
            unanswered(Unanswered::Unavailable { retry_after: None }),
        ),
        ("a head of 16 KiB", answer("200 OK", &format!("x: {}\r\n", "x".repeat(16 << 10)), LOGIN_OK), Ok(())),
        (
            "a head of 64 KiB",
            answer("200 OK", &format!("x: {}\r\n", "x".repeat(64 << 10)), LOGIN_OK),
            odd(UnreadableReason::NotHttp),
        ),
        ("another protocol", b"220 smtp.corp ESMTP\r\n".to_vec(), odd(UnreadableReason::NotHttp)),
    ] {
        let host = http1(authority.config(HOST, H1), move |_| Reply::Close(bytes.clone())).await;
        assert_eq!(login(&direct(&authority), host.port).await, expected, "{case}");
    }
}

#[tokio::test]
async fn a_redirect_is_never_followed() {
    let authority = Authority::new();
    let elsewhere = http1(authority.config("elsewhere.localhost", H1), |_| Reply::Keep(ok())).await;
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        for location in [format!("https://elsewhere.localhost:{}/", elsewhere.port), "/services/Other".to_owned()] {
            let bytes = answer(status, &format!("location: {location}\r\n"), LOGIN_OK);
            let host = http1(authority.config(HOST, H1), move |_| Reply::Keep(bytes.clone())).await;
            let found = login(&direct(&authority), host.port).await;
            assert_eq!(found, unanswered(Unanswered::NotUkgPro), "{status} {location}");
            assert_eq!(host.seen.count(), 1, "{status} {location}");
        }
    }
    assert_eq!(elsewhere.seen.connections(), 0);
}

#[tokio::test]
async fn a_request_is_sent_once_whatever_becomes_of_it() {
    let authority = Authority::new();
    let lost = unanswered(Unanswered::ConnectionLost);
    // How many logins go well on the connection before.
    for before in [0, 1] {
        let host =
            http1(authority.config(HOST, H1), move |n| if n <= before { Reply::Keep(ok()) } else { Reply::Close(Vec::new()) })
                .await;
        let transport = direct(&authority);
        for _ in 0..before {
            assert_eq!(login(&transport, host.port).await, Ok(()));
        }
        assert_eq!(login(&transport, host.port).await, lost, "HTTP/1.1 after {before}");
        assert_eq!((host.seen.count(), host.seen.connections()), (before + 1, 1), "HTTP/1.1 after {before}");

        for (case, reply) in [
            ("break", Reply2::Break),
            // What a client may repeat by RFC 9113; a login must not be.
            ("refused stream", Reply2::Reset(h2::Reason::REFUSED_STREAM)),
            ("going away", Reply2::GoAway),
        ] {
            let host = http2(authority.config(HOST, H2), move |n| if n <= before { Reply2::Answer } else { reply }).await;
            let transport = direct(&authority);
            for _ in 0..before {
                assert_eq!(login(&transport, host.port).await, Ok(()));
            }
            assert_eq!(login(&transport, host.port).await, lost, "HTTP/2 {case} after {before}");
            assert_eq!((host.seen.count(), host.seen.connections()), (before + 1, 1), "HTTP/2 {case} after {before}");
        }
    }
}

#[tokio::test]
async fn authorities_of_a_bundle_are_beside_the_platforms() {
    if let (Ok(ports), Some(bundle)) = (std::env::var("PORTS"), std::env::var_os("BUNDLE")) {
        return with_a_platform_of_its_own(&ports, &bundle).await;
    }
    let (platform, bundle, stranger) = (Authority::new(), Authority::new(), Authority::new());
    let mut hosts = Vec::new();
    for authority in [&platform, &bundle, &stranger] {
        hosts.push(http1(authority.config(HOST, H1), |_| Reply::Keep(ok())).await);
    }
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| {
        let path = directory.path().join(name);
        std::fs::write(&path, &authority.pem).unwrap();
        path
    };
    // The platform's authorities are those of the process, so this test runs once more in a process of its own.
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "authorities_of_a_bundle_are_beside_the_platforms", "--nocapture"]).env_remove("SSL_CERT_DIR");
    child.env("SSL_CERT_FILE", file("platform.pem", &platform)).env("BUNDLE", file("bundle.pem", &bundle));
    child.env("PORTS", hosts.iter().map(|host| host.port.to_string()).collect::<Vec<_>>().join(","));
    let output = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

async fn with_a_platform_of_its_own(ports: &str, bundle: &std::ffi::OsStr) {
    let [platform, bundled, stranger] = ports.split(',').map(|port| port.parse().unwrap()).collect::<Vec<u16>>()[..] else {
        panic!("{ports}");
    };
    let pem = std::fs::read(bundle).unwrap();
    let plain = Transport::new(Trust::default()).unwrap();
    let with_bundle = plain.trusting(authorities(&pem).unwrap().authorities).unwrap();
    for (transport, port, expected) in [
        (&plain, platform, Ok(())),
        (&plain, bundled, unanswered(Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing))),
        (&with_bundle, platform, Ok(())),
        (&with_bundle, bundled, Ok(())),
        (&with_bundle, stranger, unanswered(Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing))),
    ] {
        assert_eq!(login(transport, port).await, expected);
    }
}

#[test]
fn a_bundle_is_certificates_in_pem_or_refused() {
    let (one, other) = (Authority::new(), Authority::new());
    let bundle = format!("# comment\n{}\n{}", one.pem, other.pem);
    assert_eq!(authorities(bundle.as_bytes()).unwrap().authorities, vec![one.certificate, other.certificate]);
    assert!(authorities(b"-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n").is_err());
    assert!(authorities(b"-----BEGIN CERTIFICATE-----\nAAAA\n").is_err());
    let no_certificate = CertificateDer::from(vec![0]);
    let trust = Trust { extra_roots: vec![no_certificate], ..Trust::default() };
    assert!(Transport::new(trust).is_err());
}
