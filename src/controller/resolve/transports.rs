//! HTTPS clients, one per set of certificate authorities.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ukg_pro::transport::{self, Blemish, Bundle, BundleFlaw, Transport};

use crate::controller::resolve::CaFlaw;

/// Clients that are kept for bundles that were used last; each holds the parsed authorities and a pool.
pub const TRANSPORTS_KEPT: usize = 16;

/// The HTTPS clients: one for all that trust the platform's authorities, and one for each bundle of others that was used last, so that a
/// bundle is parsed once for all the connections that have it. Those with different ones share no pool.
pub struct Transports {
    /// For connections without authorities of their own.
    pub shared: Transport,
    /// By the digest of their bundle, the one used last in front. **Bound.** [`TRANSPORTS_KEPT`].
    pub(super) recent: Mutex<VecDeque<([u8; 32], Trusting)>>,
}

/// A client with authorities of its own, and what should be corrected in their bundle.
pub(super) type Trusting = (Transport, Blemish);

impl Transports {
    /// No bundle was used yet.
    pub fn new(shared: Transport) -> Self {
        Self { shared, recent: Mutex::default() }
    }

    pub(super) fn trusting(&self, digest: [u8; 32], pem: &[u8]) -> Result<Trusting, CaFlaw> {
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
        let Bundle { authorities, blemish } = transport::authorities(pem).map_err(CaFlaw::Bundle)?;
        let transport = self.shared.trusting(authorities).map_err(|_| CaFlaw::Bundle(BundleFlaw::NoCertificate))?;
        let found = (transport, blemish);
        let mut recent = recent();
        // Another may have come first: those with one bundle have one pool.
        if let Some((_, first)) = recent.iter().find(|(of, _)| *of == digest) {
            return Ok(first.clone());
        }
        recent.push_front((digest, found.clone()));
        recent.truncate(TRANSPORTS_KEPT);
        Ok(found)
    }
}
