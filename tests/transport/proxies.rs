//! Through a proxy, and when there is none to be had.

use std::process::Command;

use ukg_pro::transport::{HandshakeFlaw, ProxySettings, Transport, Trust, TrustFlaw, Unanswered};

use super::servers::{Authority, H1, H2, Reply, Reply2, Server, Way, http1, http2, ok, proxy, refusing, self_signed, tcp};
use super::{HOST, login, login_to, trust, unanswered};

/// A host whose name no resolver here knows: whoever reaches it left that to the proxy.
const FAR: &str = "service4.ultipro.invalid";
/// `canary user:p@ss/w:rd`
const AUTHORIZATION: &str = "Basic Y2FuYXJ5IHVzZXI6cEBzcy93OnJk";
const USER: &str = "canary%20user:p%40ss%2Fw%3Ard";

fn by(authority: &Authority, url: &str) -> Transport {
    trust(&[authority], ProxySettings::new(url, "").unwrap())
}

async fn far(transport: &Transport) -> Result<(), ukg_pro::login::LoginFailure> {
    login_to(transport, "service4", "ultipro.invalid").await
}

async fn far_host(authority: &Authority) -> Server {
    http1(authority.config(FAR, H1), |_| Reply::Keep(ok())).await
}

#[tokio::test]
async fn a_proxy_resolves_the_host_and_passes_the_login_on_unseen() {
    let authority = Authority::new();
    let host = far_host(&authority).await;
    let host2 = http2(authority.config(FAR, H2), |_| Reply2::Answer).await;
    for host in [&host, &host2] {
        let server = proxy(None, Way::Tunnel(host.port, None)).await;
        // A proxy on a private address is the administrator's choice, though such a host would be refused.
        let transport = by(&authority, &format!("http://127.0.0.1:{}", server.port));
        assert_eq!(far(&transport).await, Ok(()));
        assert_eq!(far(&transport).await, Ok(()));
        assert_eq!(host.seen.count(), 2);
        let [connect] = &server.seen.requests()[..] else { panic!("one tunnel serves both") };
        assert!(connect.starts_with(&format!("CONNECT {FAR}:443 HTTP/1.1\r\n")), "{connect}");
        assert!(connect.contains("user-agent: ukgpro-operator/"), "{connect}");
        assert!(!connect.contains("proxy-authorization"), "{connect}");
    }
}

#[tokio::test]
async fn a_proxy_gets_the_user_and_password_of_its_url_decoded_and_the_host_does_not() {
    let authority = Authority::new();
    let host = far_host(&authority).await;
    let server = proxy(None, Way::Tunnel(host.port, Some(AUTHORIZATION))).await;
    let with = by(&authority, &format!("http://{USER}@localhost:{}", server.port));
    assert_eq!(far(&with).await, Ok(()));
    assert!(!host.seen.requests()[0].to_lowercase().contains("proxy-authorization"));
    for user in ["", "canary%20user:wrong@", "canary%20user@"] {
        let without = by(&authority, &format!("http://{user}localhost:{}", server.port));
        assert_eq!(far(&without).await, unanswered(Unanswered::ProxyFailed), "{user}");
    }
    assert_eq!(host.seen.count(), 1);
}

#[tokio::test]
async fn a_proxys_password_is_in_no_text() {
    let authority = Authority::new();
    let server = proxy(None, Way::Say("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")).await;
    let settings = ProxySettings::new(&format!("http://{USER}@localhost:{}", server.port), "").unwrap();
    let trust = Trust { extra_roots: vec![authority.certificate.clone()], proxy: settings, ..Trust::default() };
    let mut shown = format!("{trust:?}");
    let transport = Transport::new(trust).unwrap();
    let failure = far(&transport).await.unwrap_err();
    shown.push_str(&format!("{transport:?} {failure:?} {failure}"));
    assert!(server.seen.requests()[0].contains(AUTHORIZATION), "it was in use");
    for secret in ["canary", "p@ss", "p%40ss", "Y2FuYX"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn what_stops_at_the_proxy_is_the_proxys() {
    let authority = Authority::new();
    for says in [
        "HTTP/1.1 407 Proxy Authentication Required\r\nproxy-authenticate: Basic\r\n\r\n",
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 504 Gateway Timeout\r\n\r\n",
        "HTTP/1.1 301 Moved\r\nlocation: http://localhost/\r\n\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "HTTP/1.1 200 ",
        "",
    ] {
        let server = proxy(None, Way::Say(says)).await;
        let found = far(&by(&authority, &format!("http://127.0.0.1:{}", server.port))).await;
        assert_eq!(found, unanswered(Unanswered::ProxyFailed), "{says}");
        assert_eq!((server.seen.count(), server.seen.connections()), (1, 1), "{says}");
    }
    let (gone, _held) = refusing();
    for url in [format!("http://127.0.0.1:{gone}"), "http://proxy.invalid:3128".to_owned()] {
        assert_eq!(far(&by(&authority, &url)).await, unanswered(Unanswered::ProxyFailed), "{url}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_nothing_is_given_up_before_the_checks_deadline() {
    let server = proxy(None, Way::Silence).await;
    let transport = by(&Authority::new(), &format!("http://127.0.0.1:{}", server.port));
    let started = tokio::time::Instant::now();
    let (found, ()) = tokio::join!(far(&transport), async {
        while server.seen.count() == 0 {
            server.seen.news().await;
        }
        tokio::time::pause();
    });
    assert_eq!(found, unanswered(Unanswered::ProxyFailed));
    assert!(started.elapsed() < std::time::Duration::from_secs(10), "{:?}", started.elapsed());
}

#[tokio::test]
async fn what_fails_beyond_the_tunnel_is_the_hosts() {
    let authority = Authority::new();
    let untrusted = http1(self_signed(FAR), |_| Reply::Keep(ok())).await;
    let plain = tcp(|mut stream, _| async move {
        use tokio::io::AsyncWriteExt;
        let _ = stream.readable().await;
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    })
    .await;
    let closing = tcp(|stream, _| async move {
        let _ = stream.readable().await;
    })
    .await;
    let losing = http1(authority.config(FAR, H1), |_| Reply::Close(Vec::new())).await;
    for (host, expected) in [
        (&untrusted, Unanswered::TlsUntrusted(TrustFlaw::SelfSigned)),
        (&plain, Unanswered::TlsFailed(HandshakeFlaw::NotTls)),
        (&closing, Unanswered::TlsFailed(HandshakeFlaw::Closed)),
        (&losing, Unanswered::ConnectionLost),
    ] {
        let server = proxy(None, Way::Tunnel(host.port, None)).await;
        let found = far(&by(&authority, &format!("http://127.0.0.1:{}", server.port))).await;
        assert_eq!(found, unanswered(expected));
    }
    assert_eq!(losing.seen.count(), 1, "sent once");
}

#[tokio::test]
async fn a_host_that_swallows_the_handshake_is_not_the_proxys_fault() {
    let host = tcp(|stream, seen| async move {
        // What comes first through the tunnel is the client's part of the handshake.
        let _ = stream.readable().await;
        seen.request(String::new());
        std::future::pending().await
    })
    .await;
    let server = proxy(None, Way::Tunnel(host.port, None)).await;
    let transport = by(&Authority::new(), &format!("http://127.0.0.1:{}", server.port));
    let (found, ()) = tokio::join!(far(&transport), async {
        while host.seen.count() == 0 {
            host.seen.news().await;
        }
        tokio::time::pause();
    });
    assert_eq!(found, unanswered(Unanswered::ConnectTimeout));
}

#[tokio::test]
async fn a_proxy_can_be_spoken_to_by_tls() {
    let authority = Authority::new();
    let host = far_host(&authority).await;
    let server =
        proxy(Some(authority.config("proxy.localhost", &[b"h2", b"http/1.1"])), Way::Tunnel(host.port, Some(AUTHORIZATION)))
            .await;
    let transport = by(&authority, &format!("https://{USER}@proxy.localhost:{}", server.port));
    assert_eq!(far(&transport).await, Ok(()));

    let untrusted = proxy(Some(self_signed("proxy.localhost")), Way::Tunnel(host.port, None)).await;
    let transport = by(&authority, &format!("https://proxy.localhost:{}", untrusted.port));
    assert_eq!(far(&transport).await, unanswered(Unanswered::ProxyFailed), "the proxy's certificate, not the host's");
    assert_eq!(untrusted.seen.count(), 0);
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_directly() {
    let authority = Authority::new();
    let host = http1(authority.config(HOST, H1), |_| Reply::Keep(ok())).await;
    let server = proxy(None, Way::Tunnel(host.port, None)).await;
    let url = format!("http://127.0.0.1:{}", server.port);
    let transport = trust(&[&authority], ProxySettings::new(&url, "ultipro.localhost").unwrap());
    assert_eq!(login(&transport, host.port).await, Ok(()));
    assert_eq!(server.seen.connections(), 0);
}

#[tokio::test]
async fn a_transport_with_further_authorities_keeps_the_proxy() {
    let authority = Authority::new();
    let host = far_host(&authority).await;
    let server = proxy(None, Way::Tunnel(host.port, None)).await;
    let transport = by(&Authority::new(), &format!("http://127.0.0.1:{}", server.port));
    assert_eq!(far(&transport).await, unanswered(Unanswered::TlsUntrusted(TrustFlaw::IntermediateMissing)));
    assert_eq!(far(&transport.trusting(vec![authority.certificate.clone()]).unwrap()).await, Ok(()));
}

#[test]
fn a_proxy_variable_that_cannot_be_read_stops_the_operator_by_name() {
    let mut operator = Command::new(env!("CARGO_BIN_EXE_ukgpro-operator"));
    operator.arg("run").env("HTTPS_PROXY", "http://user:canary/x@proxy:3128");
    let output = operator.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(said.contains("environment variable HTTPS_PROXY is not the URL of a proxy"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}
