//! Does the TLS handshake, and classifies why it fails or a certificate is not trusted, in a closed vocabulary without text of the
//! other side.

use std::cell::Cell;
use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, WebPkiServerVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, DigitallySignedStruct, OtherError, PeerIncompatible, ProtocolVersion, SignatureScheme,
};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use webpki::EndEntityCert;

use super::Unanswered;

/// How long a host that asked for a client certificate has to refuse: a few round trips. A later refusal may count as a lost
/// connection.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a certificate is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TrustFlaw {
    /// Its authority is not trusted.
    UnknownAuthority,
    /// Its authority is not trusted, and it came alone: usually the host omits the intermediate certificate, the commonest real
    /// fault.
    IntermediateMissing,
    /// It is self-signed.
    SelfSigned,
    /// Its authority is named like a product that inspects TLS.
    Inspected,
    /// It has expired; the time, if known.
    Expired(Option<Timestamp>),
    /// It is not yet valid; the start, if known.
    NotYetValid(Option<Timestamp>),
    /// It is for another name.
    OtherName,
    /// It has no subjectAltName, so it is for no name.
    NoName,
    /// The kind of its key or signature is not accepted.
    Weak,
    /// Its signature was not made by its authority.
    BadSignature,
    /// It is not for servers.
    Purpose,
    /// It cannot be parsed, or holds something unknown.
    Unreadable,
    /// Something else, such as an authority that may not issue for this name.
    Other,
}

/// Why a handshake fails before or after the check of the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HandshakeFlaw {
    /// The host only supports TLS older than 1.2.
    OldVersion,
    /// Host and client have no cipher suite or key exchange in common.
    NoCommonCipher,
    /// The answer is not TLS.
    NotTls,
    /// The host demands a client certificate.
    ClientCertificate,
    /// The host refused with an alert.
    Refused,
    /// The connection was closed.
    Closed,
    /// Something else.
    Other,
}

impl TrustFlaw {
    /// Returns the name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownAuthority => "unknown_authority",
            Self::IntermediateMissing => "intermediate_missing",
            Self::SelfSigned => "self_signed",
            Self::Inspected => "inspecting_proxy",
            Self::Expired(_) => "expired",
            Self::NotYetValid(_) => "not_yet_valid",
            Self::OtherName => "other_name",
            Self::NoName => "no_name",
            Self::Weak => "weak",
            Self::BadSignature => "bad_signature",
            Self::Purpose => "not_for_servers",
            Self::Unreadable => "certificate_unreadable",
            Self::Other => "certificate_other",
        }
    }
}

impl HandshakeFlaw {
    /// Returns the name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OldVersion => "old_version",
            Self::NoCommonCipher => "no_common_cipher",
            Self::NotTls => "not_tls",
            Self::ClientCertificate => "client_certificate_demanded",
            Self::Refused => "refused_by_alert",
            Self::Closed => "closed",
            Self::Other => "handshake_other",
        }
    }
}

/// Every cause of a TLS failure, as named in metrics.
pub const CAUSES: [&str; 20] = [
    "unknown_authority",
    "intermediate_missing",
    "self_signed",
    "inspecting_proxy",
    "expired",
    "not_yet_valid",
    "other_name",
    "no_name",
    "weak",
    "bad_signature",
    "not_for_servers",
    "certificate_unreadable",
    "certificate_other",
    "old_version",
    "no_common_cipher",
    "not_tls",
    "client_certificate_demanded",
    "refused_by_alert",
    "closed",
    "handshake_other",
];

/// The names of products that inspect TLS, as in their authorities.
const INSPECTORS: [&str; 26] = [
    "Zscaler",
    "Netskope",
    "Palo Alto",
    "Fortinet",
    "FortiGate",
    "Blue Coat",
    "BlueCoat",
    "Symantec Web",
    "Cisco Umbrella",
    "Cisco Secure Access",
    "IronPort",
    "Forcepoint",
    "Websense",
    "Sophos",
    "McAfee Web",
    "Skyhigh",
    "Check Point",
    "Barracuda",
    "WatchGuard",
    "SonicWall",
    "Cloudflare for Teams",
    "Gateway CA - Cloudflare",
    "iboss",
    "Menlo",
    "mitmproxy",
    "PortSwigger",
];

/// A verifier that judges like rustls, and says more about an unknown authority.
///
/// **Invariant.** What rustls does not trust is not trusted: only its refusals are reworded.
#[derive(Debug)]
pub(super) struct ExplainingVerifier(pub(super) Arc<WebPkiServerVerifier>);

/// The flaw, in the form of an error that rustls carries.
#[derive(Debug)]
struct ReclassifiedError(TrustFlaw);

impl fmt::Display for ReclassifiedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl Error for ReclassifiedError {}

impl ServerCertVerifier for ExplainingVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        verified.map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
                let flaw = of_unknown_authority(end_entity, intermediates);
                rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(ReclassifiedError(flaw)))))
            }
            error => error,
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss).map_err(of_own_signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss).map_err(of_own_signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// Rewords the refusal of the signature that the host made with its certificate's key. The certificate is trusted by then, so no
/// authority is at fault. A key that is too short leads to this refusal.
fn of_own_signature(error: rustls::Error) -> rustls::Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::BadSignature) => {
            rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(ReclassifiedError(TrustFlaw::Weak)))))
        }
        error => error,
    }
}

fn of_unknown_authority(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> TrustFlaw {
    let Ok(certificate) = EndEntityCert::try_from(end_entity) else { return TrustFlaw::Unreadable };
    let last = intermediates.last().and_then(|last| EndEntityCert::try_from(last).ok());
    let names = [Some(certificate.issuer()), last.as_ref().map(|last| last.issuer())];
    if names.into_iter().flatten().any(is_inspectors) {
        TrustFlaw::Inspected
    } else if certificate.issuer() == certificate.subject() {
        TrustFlaw::SelfSigned
    } else if intermediates.is_empty() {
        TrustFlaw::IntermediateMissing
    } else {
        TrustFlaw::UnknownAuthority
    }
}

/// Whether an encoded distinguished name contains the name of such a product.
fn is_inspectors(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    INSPECTORS.iter().any(|product| memchr::memmem::find(&name, product.to_ascii_lowercase().as_bytes()).is_some())
}

tokio::task_local! {
    /// Whether the host of the connection that this task makes asked for a client certificate.
    static ASKED: Cell<bool>;
}

/// Has no client certificate, and notes that a host asked for one.
///
/// All connections share it: rustls resumes no session that another resolver began.
#[derive(Debug)]
pub(super) struct NoCertificate;

impl ResolvesClientCert for NoCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        // A proxy's handshake has no such note: each of its failures is the proxy's.
        let _ = ASKED.try_with(|asked| asked.set(true));
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

/// Does the handshake. Also returns whether the host may still refuse it because the client has no certificate.
///
/// With TLS 1.3 the client is done before the host judges that.
pub(super) async fn handshake<S>(tls: &TlsConnector, name: ServerName<'static>, hop: S) -> io::Result<(TlsStream<S>, bool)>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    ASKED
        .scope(Cell::new(false), async {
            let stream = tls.connect(name, hop).await?;
            let may_refuse = ASKED.with(Cell::get) && stream.get_ref().1.protocol_version() == Some(ProtocolVersion::TLSv1_3);
            Ok((stream, may_refuse))
        })
        .await
}

/// Waits until the host refuses the client that has no certificate, or speaks, or [`REFUSAL_TIMEOUT`] ends.
///
/// A refusal would race with the request, and be lost in hyper if it came first.
pub(super) async fn refusal<S>(stream: &mut TlsStream<S>) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // What the host says stays in the buffer. One that accepts may also wait for the request.
    match timeout(REFUSAL_TIMEOUT, stream.fill_buf()).await {
        // It closes the connection.
        Ok(Ok([])) => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Ok(_)) | Err(_) => Ok(()),
        Ok(Err(error)) => Err(error),
    }
}

/// Whether an error, or the one inside it, is the alert of a host that demands a client certificate.
pub(super) fn wants_a_certificate(error: &(dyn Error + 'static)) -> bool {
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|inner| inner as &(dyn Error + 'static));
    let alert = [Some(error), inner].into_iter().flatten().find_map(|error| error.downcast_ref::<rustls::Error>());
    matches!(alert, Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)))
}

/// Classifies a failed handshake by the type of the rustls error inside the io::Error.
pub(super) fn handshake_failure(error: &io::Error) -> Unanswered {
    let cause = error.get_ref().and_then(|inner| (inner as &(dyn Error + 'static)).downcast_ref::<rustls::Error>());
    match cause {
        Some(rustls::Error::InvalidCertificate(flaw)) => Unanswered::TlsUntrusted(of_certificate(flaw)),
        Some(rustls::Error::NoCertificatesPresented) => Unanswered::TlsUntrusted(TrustFlaw::Unreadable),
        Some(other) => Unanswered::TlsFailed(of_handshake(other)),
        None => Unanswered::TlsFailed(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => HandshakeFlaw::Closed,
            _ => HandshakeFlaw::Other,
        }),
    }
}

fn of_certificate(error: &CertificateError) -> TrustFlaw {
    let date = |time: &UnixTime| Timestamp::from_second(i64::try_from(time.as_secs()).ok()?).ok();
    match error {
        CertificateError::Other(OtherError(other)) => {
            other.downcast_ref::<ReclassifiedError>().map_or(TrustFlaw::Other, |ReclassifiedError(flaw)| *flaw)
        }
        CertificateError::UnknownIssuer => TrustFlaw::UnknownAuthority,
        CertificateError::Expired => TrustFlaw::Expired(None),
        CertificateError::ExpiredContext { not_after, .. } => TrustFlaw::Expired(date(not_after)),
        CertificateError::NotValidYet => TrustFlaw::NotYetValid(None),
        CertificateError::NotValidYetContext { not_before, .. } => TrustFlaw::NotYetValid(date(not_before)),
        CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => TrustFlaw::NoName,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => TrustFlaw::OtherName,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => TrustFlaw::Weak,
        CertificateError::BadSignature => TrustFlaw::BadSignature,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => TrustFlaw::Purpose,
        CertificateError::BadEncoding | CertificateError::UnhandledCriticalExtension => TrustFlaw::Unreadable,
        _ => TrustFlaw::Other,
    }
}

fn of_handshake(error: &rustls::Error) -> HandshakeFlaw {
    match error {
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion => HandshakeFlaw::OldVersion,
            AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => HandshakeFlaw::NoCommonCipher,
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate => HandshakeFlaw::ClientCertificate,
            _ => HandshakeFlaw::Refused,
        },
        rustls::Error::PeerIncompatible(why) => match why {
            PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => HandshakeFlaw::OldVersion,
            _ => HandshakeFlaw::NoCommonCipher,
        },
        rustls::Error::InvalidMessage(_) => HandshakeFlaw::NotTls,
        _ => HandshakeFlaw::Other,
    }
}
