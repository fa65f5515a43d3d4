//! gate: what may be sent? Pure.
//!
//! **Contract.** Credentials that UKG Pro refused are not sent again until their values change, or a person asks for one more try.
//! Two memories say so: the ledger of this process, by the values themselves; and the connection's own status, across a restart, by
//! the Secret's version and the fields of the spec that a verdict depends on.

use super::decide::standing_reason;
use super::resolve::Resolved;
use crate::api::{Reason, UkgProConnection, Verdict};
use crate::ledger::Refused;
use crate::ukg::login::LoginFailure;

/// What may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// A login, and every probe.
    Open,
    /// A login, but no REST read: REST refused this login.
    WithoutRest,
    /// Nothing.
    Held(Hold),
}

/// Why nothing is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// These values met this failure, for this connection or another.
    Refused(LoginFailure),
    /// The status says so of this very Secret and spec.
    StatusStands,
}

/// What may be sent, given what the ledger knows of these values.
pub fn gate(connection: &UkgProConnection, resolved: &Resolved, refused: Option<Refused>) -> Gate {
    if connection.open_request().is_some() {
        return Gate::Open;
    }
    match refused {
        Some(Refused::Login(failure)) => Gate::Held(Hold::Refused(failure)),
        Some(Refused::Rest) => Gate::WithoutRest,
        None => by_status(connection, resolved),
    }
}

fn by_status(connection: &UkgProConnection, resolved: &Resolved) -> Gate {
    let Some(status) = &connection.status else { return Gate::Open };
    let same = status.checked_spec.as_ref() == Some(&connection.spec.checked())
        && status.secret_resource_version.as_deref() == Some(&resolved.secret_version);
    let refused = standing_reason(status)
        .is_some_and(|reason| reason.verdict() == Some(Verdict::Unauthorized) || reason == Reason::LoginFailedUnexplained);
    let refused_by_rest = || {
        let rest = Reason::RestLoginRefused.as_str();
        status.permissions.iter().any(|permission| permission.reason.as_deref() == Some(rest))
    };
    match same {
        true if refused => Gate::Held(Hold::StatusStands),
        true if refused_by_rest() => Gate::WithoutRest,
        _ => Gate::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::REQUESTED_AT;
    use crate::controller::decide::tests::{connection_with, resolved};
    use crate::ukg::login::Refusal;

    #[test]
    fn a_refusal_holds_until_the_values_change_or_a_person_asks() {
        let failure = LoginFailure::Refused(Refusal::Credentials);
        let login = Some(Refused::Login(failure));
        let stands = Gate::Held(Hold::StatusStands);
        for (what, reason, secret, refused, expected) in [
            ("the ledger knows", None, "7", login, Gate::Held(Hold::Refused(failure))),
            ("the ledger knows of REST", None, "7", Some(Refused::Rest), Gate::WithoutRest),
            ("never checked", None, "7", None, Gate::Open),
            ("refused, nothing changed", Some(Reason::CredentialsRejected), "7", None, stands),
            ("held, nothing changed", Some(Reason::LoginHeld), "7", None, stands),
            ("unexplained, nothing changed", Some(Reason::LoginFailedUnexplained), "7", None, stands),
            ("refused by REST, nothing changed", Some(Reason::RestLoginRefused), "7", None, Gate::WithoutRest),
            ("refused, Secret changed", Some(Reason::CredentialsRejected), "8", None, Gate::Open),
            ("refused by REST, Secret changed", Some(Reason::RestLoginRefused), "8", None, Gate::Open),
            ("active", Some(Reason::AllPermissionsGranted), "7", None, Gate::Open),
            ("forbidden", Some(Reason::PermissionsMissing), "7", None, Gate::Open),
            ("unreachable", Some(Reason::ConnectTimeout), "7", None, Gate::Open),
        ] {
            let mut connection = connection_with(reason);
            let resolved = Resolved { secret_version: secret.to_owned(), ..resolved() };
            assert_eq!(gate(&connection, &resolved, refused), expected, "{what}");

            // An edit that no verdict depends on holds as well.
            connection.spec.interval = "1h".to_owned();
            connection.metadata.generation = Some(2);
            assert_eq!(gate(&connection, &resolved, refused), expected, "{what}, interval changed");

            connection.metadata.annotations = Some([(REQUESTED_AT.to_owned(), "now".to_owned())].into());
            assert_eq!(gate(&connection, &resolved, refused), Gate::Open, "{what}, asked for");
            if let Some(status) = &mut connection.status {
                status.last_handled_reconcile_at = Some("now".to_owned());
            }
            assert_eq!(gate(&connection, &resolved, refused), expected, "{what}, answered");

            connection.spec.subdomain = Some("service5".to_owned());
            let elsewhere = if refused.is_some() { expected } else { Gate::Open };
            assert_eq!(gate(&connection, &resolved, refused), elsewhere, "{what}, another host");
        }
    }
}
