//! gate: may this login be tried? Pure.
//!
//! **Contract.** Credentials that UKG Pro refused are not sent again until their values change. Two memories say so: the ledger
//! of this process, by the values themselves; and the connection's own status, across a restart, by the Secret's version and the
//! spec's generation.

use super::resolve::Resolved;
use crate::api::{Reason, UkgProConnection, Verdict};
use crate::controller::decide::standing_reason;
use crate::ukg::login::LoginFailure;

/// Why a login is not tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// These values met this failure, for this connection or another.
    Refused(LoginFailure),
    /// The status says so of this very Secret and spec.
    StatusStands,
}

/// Whether to hold the login; `None` lets it go.
pub fn gate(connection: &UkgProConnection, resolved: &Resolved, refusal: Option<LoginFailure>) -> Option<Hold> {
    if let Some(failure) = refusal {
        return Some(Hold::Refused(failure));
    }
    let status = connection.status.as_ref()?;
    let reason = standing_reason(status)?;
    let refused = reason.verdict() == Some(Verdict::Unauthorized) || reason == Reason::LoginFailedUnexplained;
    let same = status.observed_generation == connection.metadata.generation
        && status.secret_resource_version.as_deref() == Some(&resolved.secret_version);
    (refused && same).then_some(Hold::StatusStands)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::decide::tests::{connection_with, resolved};
    use crate::ukg::login::Refusal;

    #[test]
    fn a_refusal_holds_until_the_secret_or_the_spec_changes() {
        let refused = LoginFailure::Refused(Refusal::Credentials);
        for (what, reason, secret, generation, refusal, held) in [
            ("the ledger knows", None, "7", 1, Some(refused), Some(Hold::Refused(refused))),
            ("never checked", None, "7", 1, None, None),
            ("refused, nothing changed", Some(Reason::CredentialsRejected), "7", 1, None, Some(Hold::StatusStands)),
            ("held, nothing changed", Some(Reason::LoginHeld), "7", 1, None, Some(Hold::StatusStands)),
            ("unexplained, nothing changed", Some(Reason::LoginFailedUnexplained), "7", 1, None, Some(Hold::StatusStands)),
            ("refused, Secret changed", Some(Reason::CredentialsRejected), "8", 1, None, None),
            ("refused, spec changed", Some(Reason::CredentialsRejected), "7", 2, None, None),
            ("active", Some(Reason::AllPermissionsGranted), "7", 1, None, None),
            ("forbidden", Some(Reason::PermissionsMissing), "7", 1, None, None),
            ("unreachable", Some(Reason::ConnectTimeout), "7", 1, None, None),
        ] {
            let mut connection = connection_with(reason);
            connection.metadata.generation = Some(generation);
            let resolved = Resolved { secret_version: secret.to_owned(), ..resolved() };
            assert_eq!(gate(&connection, &resolved, refusal), held, "{what}");
        }
    }
}
