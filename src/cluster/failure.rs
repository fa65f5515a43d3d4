//! Why a request to the API server failed, in fixed words: an error's own text may quote what was sent. Pure.

use std::io::ErrorKind;
use std::time::Duration;

use rustls::CertificateError;

use super::deadlines::DeadlineExceeded;

/// The deadline of one Kubernetes request. A slower server is in trouble; kube itself would retry for minutes.
pub const KUBERNETES_DEADLINE: Duration = Duration::from_secs(15);

/// Describes a Kubernetes client's error without the other side's texts, which may quote what was sent.
pub fn kubernetes_failure(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("the API server answered {} {}", status.code, status.reason),
        kube::Error::BuildRequest(_) => "no request to the API server could be made from these names".to_owned(),
        kube::Error::SerdeError(_) => "the API server's answer could not be decoded".to_owned(),
        kube::Error::Auth(_) => "the operator's own credentials for the API server could not be read".to_owned(),
        error => way_to_api_server(error).to_owned(),
    }
}

/// Returns why the API server was not reached. It searches the error's chain of sources, because their depth depends on the client.
fn way_to_api_server(error: &(dyn std::error::Error + 'static)) -> &'static str {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(flaw)) = error.downcast_ref() {
            return match flaw {
                // A rotated authority mostly keeps its name, so only the signature shows that it is another one.
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "the API server's certificate is not from an authority that the operator's kubeconfig or ServiceAccount names"
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "the API server's certificate has expired"
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "the API server's certificate is not valid yet; compare the clocks"
                }
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    "the API server's certificate is for another name than the one in the server's URL"
                }
                _ => "the API server's certificate is not trusted",
            };
        }
        if error.is::<rustls::Error>() {
            return "the TLS handshake with the API server failed";
        }
        if error.is::<http::header::InvalidHeaderValue>() {
            return "the token for the API server is invalid: it has characters that no token has";
        }
        if error.is::<DeadlineExceeded>() || error.is::<tokio::time::error::Elapsed>() {
            return "the API server did not answer in time";
        }
        next = match error.downcast_ref::<std::io::Error>() {
            Some(io) => match (io.get_ref(), io.kind()) {
                // `source` would skip the inner error and return that error's own source.
                (Some(inner), _) => Some(inner),
                (None, ErrorKind::ConnectionRefused) => return "the API server refuses connections",
                (None, ErrorKind::TimedOut) => return "the connection to the API server timed out",
                (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof) => {
                    return "the connection to the API server broke";
                }
                (None, ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                    return "there is no route to the API server's network";
                }
                (None, _) => error.source(),
            },
            None => error.source(),
        };
    }
    "the API server could not be reached"
}
