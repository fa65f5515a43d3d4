//! Certificates that are not trusted, and handshakes that fail.

use rustls::version::{TLS12, TLS13};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use ukg_pro::transport::{HandshakeFlaw, TrustFlaw, Unanswered};

use super::servers::{Authority, H1, H2, Reply, Reply2, http1, http2, ok, self_signed, tcp};
use super::{HOST, direct, login, unanswered};

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let transport = direct(&authority);
    let past = |parameters: &mut rcgen::CertificateParams| {
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
    };
    let future = |parameters: &mut rcgen::CertificateParams| parameters.not_before = rcgen::date_time_ymd(4000, 1, 1);
    let day = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap());
    let for_clients = |parameters: &mut rcgen::CertificateParams| {
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    };
    let nameless = |parameters: &mut rcgen::CertificateParams| parameters.subject_alt_names.clear();
    let inspector = Authority::named("Zscaler Intermediate Root CA");
    let [replaced, old] = [Authority::named("Corporate CA"), Authority::named("Corporate CA")];
    let with_old = direct(&old);
    let constrained = Authority::constrained("example.com");
    let with_constrained = direct(&constrained);
    for (case, tls, transport, flaw) in [
        ("alone, of an unknown authority", stranger.config(HOST, H1), &transport, TrustFlaw::IntermediateMissing),
        ("without its intermediate", authority.intermediate().config(HOST, H1), &transport, TrustFlaw::IntermediateMissing),
        ("with an unknown authority", stranger.intermediate().config_with_chain(HOST), &transport, TrustFlaw::UnknownAuthority),
        ("of a proxy that inspects", inspector.config(HOST, H1), &transport, TrustFlaw::Inspected),
        ("the same with its chain", inspector.intermediate().config_with_chain(HOST), &transport, TrustFlaw::Inspected),
        ("of an authority that was replaced", replaced.config(HOST, H1), &with_old, TrustFlaw::BadSignature),
        ("self-signed", self_signed(HOST), &transport, TrustFlaw::SelfSigned),
        ("expired", authority.config_with(HOST, H1, past), &transport, TrustFlaw::Expired(day("2002-01-01T00:00:00Z"))),
        (
            "not yet valid",
            authority.config_with(HOST, H1, future),
            &transport,
            TrustFlaw::NotYetValid(day("4000-01-01T00:00:00Z")),
        ),
        ("another name", authority.config("service2.ultipro.localhost", H1), &transport, TrustFlaw::OtherName),
        ("no name", authority.config_with(HOST, H1, nameless), &transport, TrustFlaw::NoName),
        ("for clients", authority.config_with(HOST, H1, for_clients), &transport, TrustFlaw::Purpose),
        ("beyond its authority's names", constrained.config(HOST, H1), &with_constrained, TrustFlaw::Other),
    ] {
        let host = http1(tls, |_| Reply::Keep(ok())).await;
        assert_eq!(login(transport, host.port).await, unanswered(Unanswered::TlsUntrusted(flaw)), "{case}");
        assert_eq!(host.seen.count(), 0, "{case}: no credentials for who is not trusted");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_otherwise_is_told() {
    let transport = direct(&Authority::new());
    // A fatal alert: protocol_version.
    const NO_SUCH_VERSION: &[u8] = &[21, 3, 1, 0, 2, 2, 70];
    for (case, bytes, flaw) in [
        ("a plain HTTP port", Some(&b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..]), HandshakeFlaw::NotTls),
        ("a mail server", Some(b"220 mail.corp ESMTP\r\n"), HandshakeFlaw::NotTls),
        ("an old TLS", Some(NO_SUCH_VERSION), HandshakeFlaw::OldVersion),
        // handshake_failure, insufficient_security, internal_error, unrecognized_name.
        ("no common cipher", Some(&[21, 3, 3, 0, 2, 2, 40]), HandshakeFlaw::NoCommonCipher),
        ("too weak", Some(&[21, 3, 3, 0, 2, 2, 71]), HandshakeFlaw::NoCommonCipher),
        ("trouble of its own", Some(&[21, 3, 3, 0, 2, 2, 80]), HandshakeFlaw::Refused),
        ("a name it has not", Some(&[21, 3, 3, 0, 2, 2, 112]), HandshakeFlaw::Refused),
        ("an end after the client's part", Some(b""), HandshakeFlaw::Closed),
        ("an end at once", None, HandshakeFlaw::Closed),
    ] {
        let host = tcp(move |mut stream, _| async move {
            let Some(bytes) = bytes else { return };
            let _ = stream.readable().await;
            let _ = stream.write_all(bytes).await;
        })
        .await;
        assert_eq!(login(&transport, host.port).await, unanswered(Unanswered::TlsFailed(flaw)), "{case}");
    }
}

/// With TLS 1.3 the refusal comes when the client's handshake is over.
#[tokio::test]
async fn a_host_that_wants_a_client_certificate_is_told_before_anything_is_sent() {
    let authority = Authority::new();
    let wanted = unanswered(Unanswered::TlsFailed(HandshakeFlaw::ClientCertificate));
    for version in [&TLS12, &TLS13] {
        for protocols in [H1, H2] {
            let config = |is_must| authority.config_for_known_clients(HOST, is_must, protocols, version);
            let case = format!("{:?}, {protocols:?}", version.version);
            let host = async |is_must| {
                if protocols == H1 {
                    http1(config(is_must), |_| Reply::Keep(ok())).await
                } else {
                    http2(config(is_must), |_| Reply2::Answer).await
                }
            };
            let (must, may) = (host(true).await, host(false).await);
            for _ in 0..20 {
                assert_eq!(login(&direct(&authority), must.port).await, wanted, "{case}");
            }
            assert_eq!(must.seen.count(), 0, "{case}");
            assert_eq!(login(&direct(&authority), may.port).await, Ok(()), "{case}: one that would only like it");
        }
    }
}

/// By `close_notify`, in place of an alert.
#[tokio::test]
async fn a_host_that_asks_for_a_client_certificate_and_closes_has_failed_the_handshake() {
    let authority = Authority::new();
    let config = authority.config_for_known_clients(HOST, false, H1, &TLS13);
    let host = tcp(move |stream, _| {
        let acceptor = TlsAcceptor::from(config.clone());
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let _ = stream.shutdown().await;
        }
    })
    .await;
    let closed = unanswered(Unanswered::TlsFailed(HandshakeFlaw::Closed));
    assert_eq!(login(&direct(&authority), host.port).await, closed);
}
