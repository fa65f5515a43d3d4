//! The simulator's own certificate authority, and the certificates it issues.
//!
//! With a state directory, the authority is the same after a restart, so that clients that trust it need no change.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum_server::accept::Accept;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use futures::future::BoxFuture;
use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use crate::simulator::Simulator;

/// File name of the authority's certificate in the state directory.
pub(crate) const CA_CERTIFICATE: &str = "ca.crt";
/// File name of its key.
const CA_KEY: &str = "ca.key";
/// Deadline for a handshake, after which the connection is closed.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    /// A file of the state directory cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// One of the two files is missing.
    #[error("{0} holds only one of ca.crt and ca.key: delete it for a new authority, or put the other back")]
    Half(PathBuf),
    /// The files are not a pair that this program made.
    #[error("ca.crt and ca.key of the state directory are no pair made by ukgpro-simulator: delete both for a new authority")]
    NotOurs,
    /// A certificate cannot be made.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A certificate cannot be used.
    #[error("cannot use a certificate: {0}")]
    Rustls(#[from] rustls::Error),
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> TlsError + '_ {
    |source| TlsError::File { path: path.to_owned(), source }
}

/// The certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    provider: Arc<CryptoProvider>,
}

impl Authority {
    /// Opens the authority of the state directory, creating it if necessary. Without a directory, creates one for this run.
    pub(crate) fn open(directory: Option<&Path>, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let Some(directory) = directory else {
            return Self::new(provider);
        };
        let (certificate, key) = (directory.join(CA_CERTIFICATE), directory.join(CA_KEY));
        match (certificate.exists(), key.exists()) {
            (true, true) => {
                let pem = fs::read_to_string(&certificate).map_err(file(&certificate))?;
                let key = fs::read_to_string(&key).map_err(file(&key))?;
                let key = KeyPair::from_pem(&key).map_err(|_| TlsError::NotOurs)?;
                let authority = Self { issuer: Issuer::new(parameters(), key), pem, provider };
                authority.prove_itself()?;
                Ok(authority)
            }
            (false, false) => {
                let authority = Self::new(provider)?;
                fs::create_dir_all(directory).map_err(file(directory))?;
                write_private(&key, &authority.issuer.key().serialize_pem()).map_err(file(&key))?;
                fs::write(&certificate, &authority.pem).map_err(file(&certificate))?;
                Ok(authority)
            }
            _ => Err(TlsError::Half(directory.to_owned())),
        }
    }

    fn new(provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let key = KeyPair::generate()?;
        let pem = parameters().self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(parameters(), key), pem, provider })
    }

    /// Returns the certificate for clients to trust.
    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    /// Returns a server configuration with a certificate for these names.
    pub(crate) fn server_config(&self, names: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
        let (certificate, key) = self.issue(names)?;
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    fn issue(&self, names: &[String]) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), TlsError> {
        let mut parameters = CertificateParams::new(names)?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "ukgpro-simulator");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = parameters.signed_by(&key, &self.issuer)?;
        Ok((certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// Checks that a client that trusts the certificate on file trusts a certificate issued now.
    fn prove_itself(&self) -> Result<(), TlsError> {
        let not_ours = |_| TlsError::NotOurs;
        let (certificate, _) = self.issue(&["localhost".to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes()).map_err(|_| TlsError::NotOurs)?).map_err(not_ours)?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
            .build()
            .map_err(|_| TlsError::NotOurs)?;
        let name = ServerName::from(IpAddr::from([127, 0, 0, 1]));
        let name = ServerName::try_from("localhost").unwrap_or(name);
        verifier.verify_server_cert(&certificate, &[], &name, &[], UnixTime::now()).map_err(not_ours)?;
        Ok(())
    }
}

/// The same on every run, because a certificate names its issuer by them.
fn parameters() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "ukgpro-simulator CA");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?.write_all(text.as_bytes())
}

/// Accepts TLS connections and counts them.
#[derive(Clone)]
pub(crate) struct CountingAcceptor {
    tls: RustlsAcceptor,
    simulator: Arc<Simulator>,
}

impl CountingAcceptor {
    /// An acceptor with these certificates.
    pub(crate) fn new(config: RustlsConfig, simulator: Arc<Simulator>) -> Self {
        Self { tls: RustlsAcceptor::new(config).handshake_timeout(HANDSHAKE), simulator }
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for CountingAcceptor {
    type Stream = <RustlsAcceptor as Accept<TcpStream, S>>::Stream;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // An answer is written in parts. Without this, the last part waits until the client acknowledges the first, a delay that
        // a server on a real line does not have.
        let prompt = stream.set_nodelay(true);
        let accepted = self.tls.accept(stream, service);
        let simulator = self.simulator.clone();
        Box::pin(async move {
            prompt?;
            let accepted = accepted.await?;
            simulator.state().counters.connection();
            Ok(accepted)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    #[test]
    fn the_authority_of_a_state_directory_stays_the_same() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("new");
        let first = Authority::open(Some(&path), provider()).expect("made");
        let second = Authority::open(Some(&path), provider()).expect("found");
        assert_eq!(first.pem(), second.pem());
        assert_eq!(fs::read_to_string(path.join(CA_CERTIFICATE)).expect("written"), first.pem());
        assert_ne!(Authority::open(None, provider()).expect("made").pem(), first.pem());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(path.join(CA_KEY)).expect("written").permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn a_state_directory_that_is_not_ours_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        Authority::open(Some(&one), provider()).expect("made");
        Authority::open(Some(&two), provider()).expect("made");
        fs::copy(two.join(CA_KEY), one.join(CA_KEY)).expect("copied");
        assert!(matches!(Authority::open(Some(&one), provider()), Err(TlsError::NotOurs)));
        fs::remove_file(one.join(CA_KEY)).expect("removed");
        assert!(matches!(Authority::open(Some(&one), provider()), Err(TlsError::Half(_))));
        fs::write(two.join(CA_CERTIFICATE), "no certificate").expect("written");
        assert!(matches!(Authority::open(Some(&two), provider()), Err(TlsError::NotOurs)));
    }
}
