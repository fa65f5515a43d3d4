//! authenticate: a target → a session, by one login. Speaks to UKG Pro.

use tokio::time::Instant;

use super::resolve::Target;
use crate::ledger::{Fingerprint, Ledger};
use crate::ukg::client::Client;
use crate::ukg::login::{LoginFailure, Session};

/// Logs in once; a refusal is in the ledger before it is told.
pub async fn authenticate(
    target: &Target,
    fingerprint: Fingerprint,
    ledger: &Ledger,
    deadline: Instant,
) -> Result<Session, LoginFailure> {
    let result = client(target, deadline).login().await;
    if let Err(failure) = result {
        ledger.record(fingerprint, failure);
        return Err(failure);
    }
    result
}

/// The target's web services.
pub(super) fn client(target: &Target, deadline: Instant) -> Client<'_> {
    Client { transport: &target.transport, endpoint: &target.endpoint, credentials: &target.credentials, deadline }
}
