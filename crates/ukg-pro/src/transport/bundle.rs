//! Parses a bundle of certificate authorities, and says what is wrong with one that cannot be used. Pure.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Why a bundle cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BundleFlaw {
    /// It is empty.
    #[error("it is empty")]
    Empty,
    /// One of its certificates cannot be read.
    #[error("certificate {at} of {of} cannot be read; copy it again, including its first and last line")]
    Entry {
        /// Its position, from 1.
        at: usize,
        /// The number of certificates.
        of: usize,
    },
    /// OpenSSL's own form of a certificate, which includes what it is trusted for.
    #[error("it contains BEGIN TRUSTED CERTIFICATE, a format of OpenSSL; convert it with 'openssl x509'")]
    Trusted,
    /// PKCS#7.
    #[error("it contains PKCS#7; extract the certificates with 'openssl pkcs7 -print_certs'")]
    Pkcs7,
    /// DER.
    #[error("it contains a certificate in DER format; convert it to PEM with 'openssl x509 -inform der'")]
    Der,
    /// PEM in base64: an encoded value was encoded again.
    #[error("it contains PEM in base64; encode it only once, or write it under stringData")]
    EncodedTwice,
    /// UTF-16, as some Windows editors write.
    #[error("it is UTF-16 text; save it as UTF-8")]
    Utf16,
    /// Only a private key.
    #[error("it contains a private key and no certificate; remove the key, and treat it as compromised")]
    PrivateKey,
    /// A certificate request.
    #[error("it contains a certificate request; use the authority's certificate instead")]
    Request,
    /// Something else.
    #[error("it contains no certificate in PEM format")]
    NoCertificate,
}

/// What should be corrected in a usable bundle.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BundleWarnings {
    /// Whether it contains a private key.
    pub private_key: bool,
    /// When the first authority expires or expired. It is still trusted here, by its key; OpenSSL refuses it.
    pub first_expiry: Option<Timestamp>,
}

/// A usable bundle.
#[derive(Debug)]
pub struct Bundle {
    /// Its authorities.
    pub authorities: Vec<CertificateDer<'static>>,
    /// What should be corrected.
    pub bundle_warnings: BundleWarnings,
}

/// Parses a PEM bundle, all of whose certificates must be readable. A byte-order mark before them and text around them do no
/// harm.
pub fn authorities(bundle: &[u8]) -> Result<Bundle, BundleFlaw> {
    if bundle.starts_with(&[0xff, 0xfe]) || bundle.starts_with(&[0xfe, 0xff]) {
        return Err(BundleFlaw::Utf16);
    }
    let bundle = bundle.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bundle);
    let has = |label: &str| memchr::memmem::find(bundle, format!("-----BEGIN {label}").as_bytes()).is_some();
    let has_key = || ["", "RSA ", "EC ", "ENCRYPTED "].iter().any(|kind| has(&format!("{kind}PRIVATE KEY")));
    let of = memchr::memmem::find_iter(bundle, b"-----BEGIN CERTIFICATE-----").count();
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let at = found.len() + 1;
        let certificate = certificate.map_err(|_| BundleFlaw::Entry { at, of: of.max(at) })?;
        if webpki::anchor_from_trusted_cert(&certificate).is_err() {
            return Err(BundleFlaw::Entry { at, of: of.max(at) });
        }
        found.push(certificate);
    }
    match found.is_empty() {
        false => {
            let private_key = has_key();
            let first_expiry = found.iter().filter_map(expiry).min();
            Ok(Bundle { authorities: found, bundle_warnings: BundleWarnings { private_key, first_expiry } })
        }
        true if of > 0 => Err(BundleFlaw::Entry { at: 1, of }),
        true if bundle.trim_ascii().is_empty() => Err(BundleFlaw::Empty),
        true if has("TRUSTED CERTIFICATE") => Err(BundleFlaw::Trusted),
        true if has("PKCS7") || has("CMS") => Err(BundleFlaw::Pkcs7),
        true if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") => Err(BundleFlaw::Request),
        true if has_key() => Err(BundleFlaw::PrivateKey),
        true if is_der(bundle) => Err(BundleFlaw::Der),
        true => Err(encoded(bundle)),
    }
}

/// Returns when a certificate expires, as webpki reports it for a time after all expiries. `None` if webpki reports something
/// else first.
fn expiry(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let end_of_times = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(Timestamp::MAX.as_second()).ok()?));
    let usage = KeyUsage::server_auth();
    match certificate.verify_for_usage(&[], &[], &[], end_of_times, usage, None, None) {
        Err(webpki::Error::CertExpired { not_after, .. }) => {
            Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()
        }
        _ => None,
    }
}

/// Whether this is a sequence with a two-byte length, as every certificate is.
fn is_der(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x30, 0x82])
}

fn encoded(bundle: &[u8]) -> BundleFlaw {
    let text: Vec<u8> = bundle.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    match BASE64_STANDARD.decode(text) {
        Ok(decoded) if decoded.starts_with(b"-----BEGIN ") => BundleFlaw::EncodedTwice,
        Ok(decoded) if is_der(&decoded) => BundleFlaw::Der,
        _ => BundleFlaw::NoCertificate,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_bundle_is_said() {
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate");
        let (pem, der) = (certificate.pem(), certificate.der().to_vec());
        let utf_16: Vec<u8> = [0xff, 0xfe].into_iter().chain(pem.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let body = |label: &str| format!("-----BEGIN {label}-----\nMIIB\n-----END {label}-----\n").into_bytes();
        let torn = format!("{pem}-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n{pem}");
        let cut = format!("{pem}{}", &pem[..pem.len() - 40]);
        let other = format!("{pem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        for (what, bundle, expected) in [
            ("one", pem.clone().into_bytes(), Ok(1)),
            ("two", format!("# ours\n{pem}\n{pem}").into_bytes(), Ok(2)),
            ("a byte-order mark", format!("\u{feff}{pem}").into_bytes(), Ok(1)),
            ("with its private key", format!("{}{pem}", key.serialize_pem()).into_bytes(), Ok(1)),
            ("nothing", b" \n".to_vec(), Err(BundleFlaw::Empty)),
            ("a torn one", torn.into_bytes(), Err(BundleFlaw::Entry { at: 2, of: 3 })),
            ("one that is no certificate", other.into_bytes(), Err(BundleFlaw::Entry { at: 2, of: 2 })),
            ("a key alone", key.serialize_pem().into_bytes(), Err(BundleFlaw::PrivateKey)),
            ("OpenSSL's own", body("TRUSTED CERTIFICATE"), Err(BundleFlaw::Trusted)),
            ("PKCS#7", body("PKCS7"), Err(BundleFlaw::Pkcs7)),
            ("a request", body("CERTIFICATE REQUEST"), Err(BundleFlaw::Request)),
            ("DER", der.clone(), Err(BundleFlaw::Der)),
            ("DER in base64", BASE64_STANDARD.encode(der).into_bytes(), Err(BundleFlaw::Der)),
            ("base64 twice", BASE64_STANDARD.encode(&pem).into_bytes(), Err(BundleFlaw::EncodedTwice)),
            ("UTF-16", utf_16, Err(BundleFlaw::Utf16)),
            ("text", b"no certificate".to_vec(), Err(BundleFlaw::NoCertificate)),
        ] {
            let found = authorities(&bundle);
            let with_key = found.as_ref().is_ok_and(|found| found.bundle_warnings.private_key);
            assert_eq!(with_key, what == "with its private key", "{what}");
            assert_eq!(found.map(|found| found.authorities.len()), expected, "{what}");
        }
        assert!(
            authorities(cut.as_bytes()).is_err() || authorities(cut.as_bytes()).is_ok_and(|found| found.authorities.len() == 1)
        );
    }

    #[test]
    fn the_first_of_the_authorities_to_expire_is_known_before_and_after() {
        let until = |year: i32| {
            let mut parameters = rcgen::CertificateParams::default();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters.not_after = rcgen::date_time_ymd(year, 1, 2);
            parameters.self_signed(&rcgen::KeyPair::generate().expect("a key")).expect("a certificate").pem()
        };
        for (bundle, first) in [(until(2031) + &until(2020), "2020-01-02T00:00:00Z"), (until(2090), "2090-01-02T00:00:00Z")] {
            let found = authorities(bundle.as_bytes()).expect("a bundle").bundle_warnings;
            assert_eq!(found, BundleWarnings { private_key: false, first_expiry: Some(first.parse().expect("a time")) });
        }
    }
}
