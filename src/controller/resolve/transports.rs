//! HTTPS clients, one per set of certificate authorities.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ukg_pro::transport::{self, Bundle, BundleFlaw, BundleWarnings, Transport};

use crate::controller::resolve::CaFlaw;

/// Clients kept for the bundles that were used last; each holds the parsed authorities and a connection pool.
pub const TRANSPORTS_KEPT: usize = 16;

/// The HTTPS clients: one for all connections that trust only the platform's authorities, and one for each recently used CA
/// bundle, so that a bundle is parsed once for all connections that use it. Different bundles share no pool.
pub struct Transports {
    /// For connections without a CA bundle.
    pub shared: Transport,
    /// By the digest of the bundle, most recently used first. **Bound.** [`TRANSPORTS_KEPT`].
    pub(super) recent: Mutex<VecDeque<([u8; 32], ClientWithWarnings)>>,
}

/// A client with its own authorities, and what should be corrected in their bundle.
type ClientWithWarnings = (Transport, BundleWarnings);

impl Transports {
    /// Creates the clients; no bundle was used yet.
    pub fn new(shared: Transport) -> Self {
        Self { shared, recent: Mutex::default() }
    }

    pub(super) fn trusting(&self, digest: [u8; 32], pem: &[u8]) -> Result<ClientWithWarnings, CaFlaw> {
        let recent = || self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        {
            let mut recent = recent();
            if let Some(at) = recent.iter().position(|(of, _)| *of == digest)
                && let Some(found) = recent.remove(at)
            {
                recent.push_front(found.clone());
                return Ok(found.1);
            }
        }
        let Bundle { authorities, bundle_warnings } = transport::authorities(pem).map_err(CaFlaw::Bundle)?;
        let transport = self.shared.trusting(authorities).map_err(|_| CaFlaw::Bundle(BundleFlaw::NoCertificate))?;
        let found = (transport, bundle_warnings);
        let mut recent = recent();
        // Another check may have added it first: connections with one bundle share one pool.
        if let Some((_, first)) = recent.iter().find(|(of, _)| *of == digest) {
            return Ok(first.clone());
        }
        recent.push_front((digest, found.clone()));
        recent.truncate(TRANSPORTS_KEPT);
        Ok(found)
    }
}
