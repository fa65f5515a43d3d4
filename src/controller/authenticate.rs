//! authenticate: a target → a session, by one login. Speaks to UKG Pro.

use tokio::time::Instant;

use super::resolve::Target;
use crate::ledger::{Fingerprint, Ledger};
use crate::ukg::catalogue::RestProbe;
use crate::ukg::client::Client;
use crate::ukg::login::{LoginFailure, Session, Unclear};

/// Logs in once; a refusal is in the ledger before it is told.
pub async fn authenticate(
    target: &Target,
    fingerprint: Fingerprint,
    ledger: &Ledger,
    deadline: Instant,
) -> Result<Session, LoginFailure> {
    let client = client(target, deadline);
    let result = match (&target.credentials.user_api_key, first_rest(target)) {
        (Some(user_api_key), _) => client.login(user_api_key).await,
        (None, Some(read)) => client.login_by(read).await,
        // resolve asks for the user API key where nothing is required by REST.
        (None, None) => Err(LoginFailure::Undetermined(Unclear::Other)),
    };
    if let Err(failure) = result {
        ledger.record(fingerprint, failure);
        return Err(failure);
    }
    result
}

/// The read to log in by, without a user API key: better one that answers with a row than one past the end, which may be a 404.
fn first_rest(target: &Target) -> Option<&RestProbe> {
    target.requirements.iter().filter_map(|requirement| requirement.row.rest.as_ref()).min_by_key(|read| read.people)
}

/// The target's web services.
pub(super) fn client(target: &Target, deadline: Instant) -> Client<'_> {
    let Target { transport, endpoint, credentials, recorder, .. } = target;
    Client { transport, endpoint, credentials, deadline, recorder: recorder.as_deref() }
}
