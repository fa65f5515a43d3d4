//! The reason and message of the verdict, derived from an observation and the previous status.

use jiff::Timestamp;

use crate::api::conditions::{DesiredCondition, READY, RECONCILING, STALLED, Status};
use crate::api::messages::{self, MessageArgs};
use crate::api::verdict::verdict_reason;
use crate::api::{Kstatus, Reason, UkgProConnection, UkgProConnectionStatus, Verdict};
use crate::controller::decide::observation::{Observation, Observed, is_transient};
use crate::controller::gate::{self, Hold, is_about_values};
use crate::controller::lint;
use crate::controller::resolve::Resolved;

/// The reason and message that an observation comes down to.
pub(super) struct Conclusion {
    pub(super) reason: Reason,
    pub(super) message: String,
}

impl Conclusion {
    pub(super) fn of(
        connection: &UkgProConnection,
        observed: &Observed,
        previous: &UkgProConnectionStatus,
        now: Timestamp,
    ) -> Self {
        let Observed { observation, failures, .. } = observed;
        let (reason, detail) = observation.finding(previous);
        let args = message_args(observation, reason, detail, &connection.spec.secret_ref.name, now);
        // A pause after failures of another connection with the same values counts as this connection's own failures.
        let stays = (is_transient(reason) || matches!(observation, Observation::Held(_, Hold::Paused(_))))
            && *failures < connection.spec.failure_threshold()
            && verdict_reason(previous).and_then(Reason::verdict) == Some(Verdict::Active)
            && observation.resolved().is_some_and(|resolved| is_about_values(previous, connection, resolved));
        if stays {
            let what = messages::what(reason, &args);
            let detail = format!("Failed checks in a row: {failures} of {}. {what}", connection.spec.failure_threshold());
            let args = MessageArgs { detail, hint: String::new(), ..args };
            return Self { reason: Reason::Degraded, message: messages::message(Reason::Degraded, &args) };
        }
        // In this check or before it.
        let has_worked = |resolved: &Resolved| observation.worked(gate::recorded(connection, resolved).worked).login;
        let message = match reason {
            Reason::NotUkgPro if observation.resolved().is_some_and(has_worked) => messages::page_of_a_known_host(&args),
            _ => messages::message(reason, &args),
        };
        Self { reason, message }
    }
}

pub(super) fn message_args(
    observation: &Observation,
    reason: Reason,
    detail: String,
    secret: &str,
    now: Timestamp,
) -> MessageArgs {
    let host = observation.resolved().map(|resolved| resolved.endpoint.clone()).unwrap_or_default();
    let hint = observation.resolved().and_then(|resolved| hint(reason, resolved, now)).unwrap_or_default();
    MessageArgs { secret: secret.to_owned(), host, detail, hint }
}

/// Returns what was noticed before the login and may explain the result.
pub(super) fn hint(reason: Reason, resolved: &Resolved, now: Timestamp) -> Option<String> {
    match reason {
        Reason::AllPermissionsGranted | Reason::OnlyLoginTested => messages::bundle_warnings(resolved.bundle_warnings, now),
        Reason::CredentialsRejected
        | Reason::CustomerApiKeyRejected
        | Reason::UserApiKeyRejected
        | Reason::RestLoginRefused
        | Reason::LoginHeld
        | Reason::LoginFailedUnexplained
        | Reason::LoginUndetermined => {
            (!resolved.suspicious.is_empty()).then(|| messages::suspicious(&lint::text(&resolved.suspicious)))
        }
        Reason::HostNotFound | Reason::NotUkgPro | Reason::TlsUntrusted if resolved.has_unknown_subdomain => {
            Some(messages::LOGIN_SITE.to_owned())
        }
        Reason::TlsUntrusted => messages::bundle_warnings(resolved.bundle_warnings, now),
        _ => None,
    }
}

pub(super) fn conditions_of(finding: &Conclusion) -> Vec<DesiredCondition> {
    let Conclusion { reason, message, .. } = finding;
    let desired = |type_, status, message: &str| DesiredCondition {
        type_,
        status,
        reason: reason.as_str().to_owned(),
        message: message.to_owned(),
    };
    let verdict = reason.verdict();
    let mut list = vec![desired(READY, ready(*reason), message)];
    list.extend(Verdict::ALL.iter().map(|each| match verdict {
        None => desired(each.as_str(), Status::Unknown, &messages::see_condition(READY)),
        Some(verdict) if verdict == *each => desired(each.as_str(), Status::True, message),
        Some(verdict) => desired(each.as_str(), Status::False, &messages::see_condition(verdict.as_str())),
    }));
    match reason.kstatus() {
        Kstatus::Current => {}
        Kstatus::InProgress => list.push(desired(RECONCILING, Status::True, message)),
        Kstatus::Failed => list.push(desired(STALLED, Status::True, message)),
    }
    list
}

/// Returns False if the connection certainly cannot be used as it is, and Unknown if that is not known.
pub(super) fn ready(reason: Reason) -> Status {
    match (reason.verdict(), reason) {
        (Some(Verdict::Active), _) => Status::True,
        (None, Reason::Probing | Reason::LoginUndetermined | Reason::LoginUncertain | Reason::LoginLimitReached)
        | (None, Reason::LoginPaused)
        | (None, Reason::PermissionsUndetermined | Reason::CheckDelayed | Reason::CheckOverdue | Reason::ReferenceForbidden) => {
            Status::Unknown
        }
        _ => Status::False,
    }
}
