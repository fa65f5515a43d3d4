//! The text of each condition and event, by reason: what happened, and what to do.

use crate::api::Reason;
use crate::api::messages::MessageArgs;

/// Returns what happened and what to do. `{secret}`, `{host}`, `{detail}` and `{page}` stand for [`MessageArgs`] and
/// [`PAGE`](super::PAGE).
pub fn template(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::AllPermissionsGranted => ("The login to {host} works and every required permission is granted.", ""),
        Reason::OnlyLoginTested => (
            "The login to {host} works. No permission is required, so none was tested.",
            "In spec.permissions or spec.profiles, list the permissions that the integration needs. Otherwise only the \
             integration notices a missing permission.",
        ),
        Reason::Degraded => (
            "The login to {host} and every required permission worked before. {detail}",
            "No action is needed if this passes. The verdict changes when spec.failureThreshold checks in a row have failed.",
        ),
        Reason::CredentialsRejected => (
            "UKG Pro at {host} refused the login and does not say which value is wrong.",
            "In UKG Pro, open {page} and compare Secret {secret} with the account's row: the user name (case-sensitive, and of \
             a service account, not of a person), the password, and the User API key of this row (not the Customer API key). \
             The account's status must be Active. To protect the account from being locked, the operator sends no login until \
             the Secret changes or you request a check with the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::CustomerApiKeyRejected => (
            "UKG Pro at {host} refused the login before it looked at the account: the Customer API key is wrong, or this is \
             not the tenant's data centre.",
            "In UKG Pro, open {page} and copy the Customer API key at the top of the page (not a User API key) into Secret \
             {secret}. Compare the host with the URLs on the page Web Services. The operator sends no login until the Secret \
             or the spec changes, or you request a check with the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::UserApiKeyRejected => (
            "UKG Pro at {host} refused the User API key.",
            "In UKG Pro, open {page} and copy the User API key from the row of this user name (not the Customer API key) into \
             Secret {secret}. The operator sends no login until the Secret changes or you request a check with the annotation \
             reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::AccountUnusable => (
            "UKG Pro at {host} refused the login and says that {detail}.",
            "In UKG Pro, open {page} and correct the account, or set a new password there and in Secret {secret}. The operator \
             logs in again when the Secret changes. If you corrected only the account, request a check with the annotation \
             reconcile.fluxcd.io/requestedAt. Until then, the operator sends no login.",
        ),
        Reason::LoginHeld => (
            "The operator sent no login: {host} refused the same credentials before.",
            "Compare Secret {secret} with {page} in UKG Pro, and correct it. The operator logs in again when the values \
             change. If they are right, for example because the account was locked and is unlocked now, request a check with \
             the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::PasswordHeld => (
            "The operator sent no login: {host} refused another login with this user name and password. That login had a User \
             API key and this one has none, or the other way round.",
            "Compare the user name, the password and the Customer API key in Secret {secret} with {page}. The operator logs in \
             when they change. If they are right and only the User API key of the other login was wrong, request a check with \
             the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::PermissionsMissing => (
            "The login to {host} works, but UKG Pro denies these permissions: {detail}.",
            "In UKG Pro, open {page}, edit this service account, tick View in these rows, and save. The next check sees the \
             change; to check at once, set the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::RestLoginRefused => (
            "LoginService at {host} accepts this login, but the REST API refuses it (401), so these permissions are not \
             granted: {detail}.",
            "Compare Secret {secret} with {page}: REST uses the user name, the password and the Customer API key. To protect \
             the account from being locked, the operator sends no REST read until the Secret changes or you request a check \
             with the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::HostNotFound => (
            "The host name of {host} does not resolve, or no name server answered.",
            "Compare subdomain and domain with the web-service URL on UKG Pro's page Web Services (for example subdomain \
             service4 and domain ultipro.com). The login page of a company has another host name. If the host name is right, \
             check the cluster's DNS.",
        ),
        Reason::ConnectTimeout => (
            "The connection to {host}, or its TLS handshake, timed out.",
            "Allow outbound HTTPS (port 443) from the operator's Pod to this host in firewalls and network policies, or set a \
             proxy.",
        ),
        Reason::ConnectRefused => (
            "The connection to {host} was refused, or there is no route to it.",
            "Check subdomain, domain and port. If they are right, something between the operator's Pod and UKG Pro refuses \
             outbound HTTPS.",
        ),
        Reason::ProxyFailed => (
            "The operator could not connect to {host} through the proxy.",
            "Check the operator's HTTPS_PROXY and NO_PROXY, and the user and password for the proxy. Check that the proxy \
             allows CONNECT to this host.",
        ),
        Reason::TlsUntrusted => (
            "The certificate of {host} is not trusted: {detail}.",
            "If a proxy inspects TLS, or the host has a certificate authority of your own, name that authority in spec.caRef. \
             Otherwise check the host name: this host may not be UKG Pro.",
        ),
        Reason::TlsFailed => (
            "The TLS handshake with {host} failed: {detail}.",
            "Something between the operator's Pod and UKG Pro breaks TLS. Check proxies and firewalls, and check that the port \
             speaks HTTPS.",
        ),
        Reason::AnswerTimeout => (
            "{host} accepted the connection but did not answer within spec.timeout.",
            "No action is needed if this passes. If it persists, raise spec.timeout or ask UKG support about the tenant's web \
             services.",
        ),
        Reason::ConnectionLost => (
            "The connection to {host} broke before the answer was complete.",
            "No action is needed if this passes. If it persists, check proxies and firewalls that end connections.",
        ),
        Reason::NotUkgPro => (
            "{host} answers with a web page or a redirect. UKG Pro's web services send neither.",
            "Take subdomain and domain from the URLs on UKG Pro's page Web Services, such as service4 and ultipro.com, and not \
             from the login page.",
        ),
        Reason::AnswerUnreadable => (
            "{host} sent an answer that the operator cannot read: {detail}.",
            "Look for a proxy or firewall between the operator's Pod and UKG Pro that changes answers. Compare subdomain and \
             domain with the URLs on UKG Pro's page Web Services. 'ukgpro-operator check --capture' records the structure of \
             the answer, without values.",
        ),
        Reason::RateLimited => (
            "{host} limits requests at the moment.",
            "No action is needed if this passes. If it persists, use a longer spec.interval, or fewer clients with this \
             account.",
        ),
        Reason::ServerError => (
            "{host} reports a server error and gave no usable answer.",
            "No action is needed if this passes. If it persists, ask UKG support about the tenant's web services.",
        ),
        Reason::AddressNotAllowed => (
            "The host name of {host} resolves to a loopback, link-local or private address.",
            "Check subdomain and domain. If your network reaches UKG Pro at a private address, whoever runs the operator can \
             set --allow-private-addresses.",
        ),
        Reason::SecretNotFound => (
            "There is no Secret {secret} in this namespace.",
            "Create it, or correct spec.secretRef.name. The operator then checks the connection by itself.",
        ),
        Reason::SecretKeyMissing => (
            "Secret {secret} lacks these keys: {detail}.",
            "Add them, or set the names of the keys that the Secret has in spec.secretRef.keys. You can set domain and \
             subdomain in spec instead.",
        ),
        Reason::SecretValueMalformed => (
            "Secret {secret} has values that cannot be right: {detail}.",
            "Correct them; the operator sends no login with them. Write values with 'kubectl create secret --from-literal' or \
             with stringData, which add no newline, or set spec.secretRef.trim to Newline, which removes one.",
        ),
        Reason::ApiKeysSwapped => (
            "Secret {secret} does not hold two different API keys: {detail}.",
            "The Customer API key is the same for the whole tenant. The User API key is in the account's row. Both are on \
             {page}.",
        ),
        Reason::EndpointInvalid => {
            ("Subdomain and domain do not form a host name: {detail}.", "Both are in the URLs on UKG Pro's page Web Services.")
        }
        Reason::DomainNotAllowed => (
            "The operator may not connect to this domain and port. It allows these domains, on port 443 unless another port is \
             named: {detail}.",
            "Check the domain, and leave the port out: UKG Pro answers on port 443. Whoever runs the operator can allow more \
             with --allowed-domains.",
        ),
        Reason::CaNotFound => (
            "The CA bundle that spec.caRef names does not exist: {detail}.",
            "Create it, or correct kind, name or key in spec.caRef. The operator looks for it again within a minute.",
        ),
        Reason::CaInvalid => (
            "The CA bundle in {detail}.",
            "The key that spec.caRef names must hold one or more certificates in PEM format. The operator reads it again within a \
             minute.",
        ),
        Reason::ReferenceForbidden => (
            "The operator is not allowed to get {detail} in this namespace, so it cannot check this connection.",
            "Whoever runs the operator must give its ServiceAccount this right. The chart's Role and RoleBinding do, unless \
             rbac.create is false, watchNamespaces lacks this namespace, or resourceNames lack the object. The operator tries \
             again within a minute.",
        ),
        Reason::PermissionUnknown => (
            "spec requires permissions that the operator cannot test: {detail}.",
            "In spec.permissions, write the title of a row without spaces, with an acronym as a word, such as \
             PtoPlanIntegration. In spec.profiles, write the name of a profile, such as EmployeeData. 'ukgpro-operator \
             catalogue' lists all rows and profiles.",
        ),
        Reason::LoginUndetermined => (
            "The answer of {host} to the login shows neither success nor refusal: {detail}.",
            "The operator tries again at status.nextCheckTime. It waits longer each time, so that the account is not locked. \
             If this persists, ask UKG support whether LoginService works for this tenant. 'ukgpro-operator check --capture' \
             records the structure of the answer, without values.",
        ),
        Reason::LoginPaused => (
            "The answers of {host} to several logins in a row show neither success nor refusal: {detail}.",
            "Each answer may be a refusal in a form that the operator does not know. The operator waits before it sends \
             another login, so that the account is not locked. Compare Secret {secret} with {page}. The operator tries other \
             values when it sees them, and you can request a check with the annotation reconcile.fluxcd.io/requestedAt. 'ukgpro-operator \
             check --capture' records the structure of the answer, without values.",
        ),
        Reason::LoginFailedUnexplained => (
            "UKG Pro at {host} says that the login failed, in words that the operator does not know. Most likely it refused \
             the login.",
            "Compare Secret {secret} with {page}. To protect the account from being locked, the operator sends no login until \
             the Secret changes or you request a check with the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::LoginUncertain => (
            "The operator sent a login to {host} with these values and does not know the result. UKG Pro may have refused it.",
            "To protect the account from being locked, the operator does not repeat the login before {detail}. If Secret \
             {secret} is right, request a check with the annotation reconcile.fluxcd.io/requestedAt. The operator tries other \
             values when it sees them.",
        ),
        Reason::LoginLimitReached => (
            "The operator sent no login: this account has reached its daily limit of logins or of refused logins.",
            "The operator continues at {detail}. Compare Secret {secret} with {page}. Find out whether something keeps \
             changing the Secret, whether spec.interval is too short, or whether too many connections use this account. \
             Whoever runs the operator can change --logins-per-day and --refused-logins-per-day. A check that you request with the \
             annotation reconcile.fluxcd.io/requestedAt can exceed only --refused-logins-per-day.",
        ),
        Reason::PermissionsUndetermined => (
            "The login to {host} works, but UKG Pro's answers do not show whether these permissions are granted: {detail}.",
            "Check these rows on {page}. The operator tests them again after spec.interval.",
        ),
        Reason::Probing => ("No check has finished yet.", ""),
        Reason::CheckDelayed => (
            "These values have not been tested yet: {detail}.",
            "No action is needed: the operator checks the connection then. If this persists, use a longer spec.interval, or \
             fewer clients with this account.",
        ),
        Reason::CheckOverdue => (
            "This connection worked when it was last tested, but {detail}. It is not known whether it works now.",
            "Whoever runs the operator finds the cause in the operator's log and at /readyz. The next check gives a new \
             verdict.",
        ),
        Reason::Suspended => (
            "spec.suspend is true: the operator makes no checks and keeps the last verdict.",
            "To resume, set spec.suspend to false.",
        ),
    }
}

/// Returns the template that fits the arguments: if single reads fail while others work, the host as a whole is not at fault.
pub(super) fn template_for(reason: Reason, args: &MessageArgs) -> (&'static str, &'static str) {
    match reason {
        Reason::ServerError if !args.detail.is_empty() => (
            "{host} accepts the login and answers other reads, but reports a server error for the reads of {detail}.",
            "No action is needed if this passes. If it persists, check in UKG Pro, on the page {page}, whether View is ticked \
             in these rows: a read may fail without it. Then ask UKG support.",
        ),
        _ => template(reason),
    }
}
