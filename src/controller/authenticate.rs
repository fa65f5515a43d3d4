//! authenticate: a target → a session, by one login. Speaks to UKG Pro.

use tokio::time::Instant;

use super::resolve::Target;
use crate::ledger::Turn;
use crate::ukg::catalogue::RestProbe;
use crate::ukg::client::Client;
use crate::ukg::login::{LoginFailure, Session, Unclear};

/// Logs in once, in its turn. Who waited while another with the same values failed has the same failure, at no cost.
pub async fn authenticate(target: &Target, turn: &mut Turn, deadline: Instant) -> Result<Session, LoginFailure> {
    if let Some(failure) = turn.failed_meanwhile() {
        return Err(failure);
    }
    let client = client(target, deadline);
    let result = match (&target.credentials.user_api_key, first_rest(target)) {
        (Some(user_api_key), _) => client.login(user_api_key).await,
        (None, Some(read)) => client.login_by(read).await,
        // resolve asks for the user API key where nothing is required by REST.
        (None, None) => Err(LoginFailure::Undetermined(Unclear::Other)),
    };
    result.inspect_err(|failure| turn.failed(*failure))
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
