//! The text of each condition and event, by reason: what happened, and what to do.

use crate::api::Reason;
use crate::api::messages::Facts;

/// Returns what happened and what to do. `{secret}`, `{host}`, `{detail}` and `{page}` stand for [`Facts`] and
/// [`PAGE`](super::PAGE).
pub fn template(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::AllPermissionsGranted => ("The login to {host} works and every required permission is granted.", ""),
        Reason::OnlyLoginTested => (
            "The login to {host} works. No permission is required, so none was tested.",
            "Name what the integration reads in spec.permissions or spec.profiles, or a missing permission is found by the integration alone.",
        ),
        Reason::Degraded => (
            "The login to {host} and every required permission worked before; since then {detail}",
            "Nothing need be done if this passes. The verdict changes when spec.failureThreshold checks in a row have failed.",
        ),
        Reason::CredentialsRejected => (
            "UKG Pro at {host} refused the login and does not say which value is wrong.",
            "In UKG Pro, open {page} and compare Secret {secret} with the account's row: the user name (case-sensitive, and a service \
             account rather than a person's login), the password, the User API key of this very row (not the Customer API key), and \
             that the account's status is Active. To protect the account from being locked, no login is tried until the Secret changes or \
             a check is asked for by the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::CustomerApiKeyRejected => (
            "UKG Pro at {host} refused the login before it looked at the account: the Customer API key is wrong, or this is not the \
             tenant's data centre.",
            "In UKG Pro, open {page} and copy the Customer API key shown at its top (not a User API key) into Secret {secret}, and \
             compare the host with the URLs on the page Web Services. No login is tried until the Secret or the spec changes, or one is \
             asked for by the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::UserApiKeyRejected => (
            "UKG Pro at {host} refused the User API key.",
            "In UKG Pro, open {page} and copy the User API key from the row of this very user name (not the Customer API key, which is \
             a different one) into Secret {secret}. No login is tried until the Secret changes or one is asked for by the annotation \
             reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::AccountUnusable => (
            "UKG Pro at {host} refused the login and says that {detail}.",
            "In UKG Pro, open {page} and set the account right, or give it a new password there and in Secret {secret}. A login follows at \
             once when the Secret changes; if only the account was set right, ask for one by the annotation \
             reconcile.fluxcd.io/requestedAt. None is sent until then.",
        ),
        Reason::LoginHeld => (
            "No login was tried: {host} has refused these same credentials before.",
            "Correct Secret {secret} by what {page} shows; a login follows at once when its values change. If they are right, because \
             the account was locked and is not any more, ask for one by the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::PasswordHeld => (
            "No login was tried: {host} has refused this user name and password, sent with a User API key where this Secret has none, or \
             without one.",
            "Compare the user name, the password and the Customer API key in Secret {secret} with {page}; a login follows at once when they \
             change. If they are right, because only the other's User API key was wrong, ask for one by the annotation \
             reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::PermissionsMissing => (
            "The login to {host} works, but UKG Pro denies: {detail}.",
            "In UKG Pro, open {page}, edit this service account, tick View in these rows, and save. The next check will see it.",
        ),
        Reason::RestLoginRefused => (
            "LoginService of {host} takes this login, but the REST API refuses it (401), so these are not granted: {detail}.",
            "Compare Secret {secret} with {page}: REST wants the user name, the password and the Customer API key. To protect the \
             account, no REST read is tried until the Secret changes or a check is asked for by the annotation \
             reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::HostNotFound => (
            "The host name of {host} does not resolve.",
            "Compare subdomain and domain with the web-service URL on UKG Pro's page Web Services (subdomain service4, domain \
             ultipro.com). A company's login page has another host name. If it is right, look at the cluster's DNS.",
        ),
        Reason::ConnectTimeout => (
            "No connection to {host} was made in time.",
            "Allow outbound HTTPS (port 443) from the operator's pod to this host in firewalls and network policies, or set a proxy.",
        ),
        Reason::ConnectRefused => (
            "The connection to {host} was refused.",
            "Check subdomain, domain and port; if they are right, something between the operator's pod and UKG Pro refuses outbound \
             HTTPS.",
        ),
        Reason::ProxyFailed => (
            "The proxy made no connection to {host}.",
            "Check the operator's HTTPS_PROXY and NO_PROXY, the proxy's user and password, and that it allows CONNECT to this host.",
        ),
        Reason::TlsUntrusted => (
            "The certificate that {host} shows is not trusted: {detail}.",
            "If a proxy inspects TLS, name its authority in spec.caRef. If not, check the host name: this may not be UKG Pro.",
        ),
        Reason::TlsFailed => (
            "The TLS handshake with {host} failed: {detail}.",
            "Something between the operator's pod and UKG Pro breaks TLS; check proxies and firewalls, and that the port speaks HTTPS.",
        ),
        Reason::AnswerTimeout => (
            "{host} accepted the connection but did not answer within spec.timeout.",
            "Nothing need be done if this passes. If it stays, raise spec.timeout or ask UKG support about the tenant's web services.",
        ),
        Reason::ConnectionLost => (
            "The connection to {host} broke before the answer was whole.",
            "Nothing need be done if this passes. If it stays, look at proxies and firewalls that end connections.",
        ),
        Reason::NotUkgPro => (
            "{host} answers, but not as a UKG Pro web service does: it sends a web page or a redirect.",
            "This is often the host of the login page. Take subdomain and domain from the URLs on UKG Pro's page Web Services, such \
             as service4 and ultipro.com.",
        ),
        Reason::AnswerUnreadable => (
            "{host} answers in a form that the operator cannot read: {detail}.",
            "Look for a proxy or firewall between the operator's pod and UKG Pro that changes answers, and compare subdomain and domain \
             with the URLs on UKG Pro's page Web Services. 'ukgpro-operator check --capture' keeps the form of the answer, without values.",
        ),
        Reason::RateLimited => (
            "{host} limits requests at the moment.",
            "Nothing need be done if this passes. If it stays, use a longer spec.interval, or fewer clients with this account.",
        ),
        Reason::ServerError => (
            "{host} has trouble of its own and gave no usable answer.",
            "Nothing need be done if this passes. If it stays, ask UKG support about the tenant's web services.",
        ),
        Reason::AddressNotAllowed => (
            "The host name of {host} resolves to a loopback, link-local or private address.",
            "Check subdomain and domain. If UKG Pro is reached by a private address here, start the operator with \
             --allow-private-addresses.",
        ),
        Reason::SecretNotFound => (
            "There is no Secret {secret} in this namespace.",
            "Create it, or correct spec.secretRef.name. The check follows by itself.",
        ),
        Reason::SecretKeyMissing => (
            "Secret {secret} lacks: {detail}.",
            "Add what is missing, or name the keys it has in spec.secretRef.keys. Domain and subdomain may stand in spec instead.",
        ),
        Reason::SecretValueMalformed => (
            "Secret {secret} has values that cannot be right: {detail}.",
            "Correct them; no login is tried with them. Write values with 'kubectl create secret --from-literal', or with \
             stringData, so that no line end gets in; spec.secretRef.trim: Newline drops one.",
        ),
        Reason::ApiKeysSwapped => (
            "Secret {secret} does not hold the two API keys in their places: {detail}.",
            "The Customer API key is one for the whole tenant; the User API key stands on the account's row. Both are on {page}.",
        ),
        Reason::EndpointInvalid => {
            ("Subdomain and domain make no host: {detail}.", "Both are in the URLs on UKG Pro's page Web Services.")
        }
        Reason::DomainNotAllowed => (
            "This operator may not speak to that domain and port: {detail}, on port 443 where no other is named.",
            "Check the domain, and leave the port out: UKG Pro answers on 443. Whoever runs the operator can allow more by \
             --allowed-domains.",
        ),
        Reason::CaNotFound => (
            "The certificate authorities that spec.caRef names are not there: {detail}.",
            "Create it, or correct kind, name or key in spec.caRef. It is looked for again within a minute.",
        ),
        Reason::CaInvalid => (
            "spec.caRef gives no certificate authorities: {detail}.",
            "The key must hold one or more certificates in PEM. It is read again within a minute.",
        ),
        Reason::ReferenceForbidden => (
            "The operator has no right to get {detail} in this namespace, so nothing can be said of this connection.",
            "Whoever runs the operator gives its ServiceAccount that right; the chart's Role and RoleBinding do, unless rbac.create is \
             off, this namespace is not in watchNamespaces, or resourceNames leave the object out. It is tried again within a minute.",
        ),
        Reason::PermissionUnknown => (
            "spec asks for permissions that the operator cannot test: {detail}.",
            "In spec.permissions, write a row's title without blanks, such as EmployeePersonDetails, and in spec.profiles the name of a \
             profile, such as EmployeeData; 'ukgpro-operator catalogue' lists the rows and profiles there are.",
        ),
        Reason::LoginUndetermined => (
            "{host} gave an answer to the login that shows neither a success nor a refusal: {detail}.",
            "It is tried again at status.nextCheckTime, each time later, lest the account be locked. If it stays, ask UKG support whether \
             LoginService works for this tenant; 'ukgpro-operator check --capture' keeps the form of the answer, without values.",
        ),
        Reason::LoginPaused => (
            "{host} answered several logins in a row neither with a success nor with a refusal: {detail}.",
            "Each of them may have been refused in a form that the operator does not know, so no more are sent for a while, lest the account \
             be locked. Compare Secret {secret} with {page}; other values are tried at once, and a check can be asked for by the \
             annotation reconcile.fluxcd.io/requestedAt. 'ukgpro-operator check --capture' keeps the form of the answer, without values.",
        ),
        Reason::LoginFailedUnexplained => (
            "UKG Pro at {host} failed the login in words the operator does not know; most likely it was refused.",
            "Compare Secret {secret} with {page}. To protect the account from being locked, no login is tried until the Secret changes \
             or one is asked for by the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::LoginUncertain => (
            "A login to {host} with these values was sent and no end of it was seen, so UKG Pro may have refused it.",
            "To protect the account from being locked, it is not repeated by itself before {detail}. If Secret {secret} is right, ask for \
             a check by the annotation reconcile.fluxcd.io/requestedAt; other values are tried at once.",
        ),
        Reason::LoginLimitReached => (
            "No login was tried: this account has seen as many logins, or refused ones, within a day as the operator allows.",
            "Logins go on at {detail}. Compare Secret {secret} with {page}, and look for what keeps changing it, for a short \
             spec.interval and for many connections with this account. Whoever runs the operator can set --logins-per-day and \
             --refused-logins-per-day. A check can be asked for by the annotation reconcile.fluxcd.io/requestedAt.",
        ),
        Reason::PermissionsUndetermined => (
            "The login to {host} works, but UKG Pro's answers do not show whether it grants: {detail}.",
            "Look at these rows on {page}. They are tested again at the interval.",
        ),
        Reason::Probing => ("No check has ended yet.", ""),
        Reason::CheckDelayed => (
            "These values were not tested yet: {detail}.",
            "Nothing need be done; the check follows by itself. If it stays, use a longer spec.interval, or fewer clients with this \
             account.",
        ),
        Reason::CheckOverdue => (
            "This connection worked when it was last tested, but {detail}, so it is not known whether it works now.",
            "Whoever runs the operator finds the cause in its log and under /readyz. The verdict follows with the next check.",
        ),
        Reason::Suspended => {
            ("Checks are suspended by spec.suspend; the last verdict stays.", "Set spec.suspend to false to go on.")
        }
    }
}

/// Returns the template that fits the facts: if single reads fail while others work, the host as a whole is not at fault.
pub(super) fn template_for(reason: Reason, facts: &Facts) -> (&'static str, &'static str) {
    match reason {
        Reason::ServerError if !facts.detail.is_empty() => (
            "{host} takes the login and answers other reads, but has trouble of its own with the reads of {detail}.",
            "Nothing need be done if this passes. If it stays, see on UKG Pro's page {page} whether View is ticked in these rows, since a \
             service may fail where it is not; then ask UKG support.",
        ),
        _ => template(reason),
    }
}
