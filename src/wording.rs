//! What each [`Reason`] says to a person: the one place with sentences.
//!
//! **Invariant.** A text is fixed but for names that are the user's own Kubernetes vocabulary (Secret, keys, fields, permission
//! titles) and the host. Nothing a server sent and no value of a Secret can get in: [`Facts`] has no room for it.

use jiff::Timestamp;

use crate::api::{Delay, PermissionState, Reason, Stall, Verdict};
use crate::hosts::Change;
use crate::ukg::catalogue::{Requirement, Row};
use crate::ukg::transport::{Blemish, HandshakeFlaw, TrustFlaw};

/// Where a service account is looked after.
pub const PAGE: &str = "System Configuration > Security > Service Account Administration";

/// The detail where it is not known since when a login has no end.
pub const WITHIN_A_DAY: &str = "a day has passed";

/// What is added where a host does not work and its name is not like those of web services.
pub const LOGIN_SITE: &str = "This looks like a login page's host: the names of UKG Pro's web-service hosts begin with service or \
                              rental, such as service4.";

/// An event's note may have 1,024 bytes.
pub const NOTE_MAX: usize = 1024;

/// The names a text may mention.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The Secret's name.
    pub secret: String,
    /// The host, as a URL; empty where it is not known.
    pub host: String,
    /// What this reason is about in particular: missing keys, permission titles, what is wrong with a field.
    pub detail: String,
    /// A sentence on what may be the cause; empty without one. It stands before the remedy, or an event might lose it.
    pub hint: String,
}

/// What happened, and what to do. `{secret}`, `{host}`, `{detail}` and `{page}` stand for [`Facts`] and [`PAGE`].
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
             off, this namespace is not in watchNamespaces, or resourceNames leave the object out. It is tried again every minute.",
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

/// The same, where what is known makes it another: one read that fails beside others that work is not the host.
fn template_for(reason: Reason, facts: &Facts) -> (&'static str, &'static str) {
    match reason {
        Reason::ServerError if !facts.detail.is_empty() => (
            "{host} takes the login and answers other reads, but has trouble of its own with the reads of {detail}.",
            "Nothing need be done if this passes. If it stays, see on UKG Pro's page {page} whether View is ticked in these rows, since a \
             service may fail where it is not; then ask UKG support.",
        ),
        _ => template(reason),
    }
}

/// The whole message.
pub fn message(reason: Reason, facts: &Facts) -> String {
    let (what, remedy) = template_for(reason, facts);
    let parts: Vec<_> = [what, &facts.hint, remedy].into_iter().filter(|part| !part.is_empty()).collect();
    fill(&parts.join(" "), facts)
}

/// The whole message of a web page or redirect from a host where these values have worked: it is no wrong host name.
pub fn page_of_a_known_host(facts: &Facts) -> String {
    let remedy = "These values have worked there, so this is most likely maintenance, or a page of a proxy or firewall on the way. Nothing \
                  need be done if this passes. If it stays, open the host in a browser from the operator's network, then ask UKG support.";
    fill(&format!("{} {remedy}", template(Reason::NotUkgPro).0), facts)
}

/// What happened, without what to do.
pub fn what(reason: Reason, facts: &Facts) -> String {
    fill(template_for(reason, facts).0, facts)
}

/// The message about a candidate.
pub fn candidate(reason: Reason, facts: &Facts) -> String {
    let message = message(reason, facts);
    match reason {
        _ if reason.verdict() == Some(Verdict::Active) => {
            format!("Candidate: {message} Name Secret {} in spec.secretRef to promote it; that costs no login.", facts.secret)
        }
        // What is to be corrected is the candidate's.
        _ => format!("Candidate: {}", message.replace("spec.secretRef", "spec.candidateSecretRef")),
    }
}

/// A key that serves more than it may.
pub fn key_shared(key: &str) -> String {
    format!(
        "spec.secretRef.keys names {key} for two values, or for the domain or subdomain, which everybody may read, though it is a \
         credential's; give each value a key of its own"
    )
}

/// Why a check waits, and until when.
pub fn delay(delay: Delay, until: Timestamp) -> String {
    let why = match delay {
        Delay::AccountLimited => "the host limits the requests of this account",
        Delay::HostLimited => "the host limits requests of several accounts",
        Delay::Busy => "other checks of the host come first",
    };
    format!("{why}, so the login waits until {until}")
}

/// How many logins were answered so, how the last was, and until when the next has to wait.
pub fn paused(times: u16, last: Option<&str>, until: Timestamp) -> String {
    let last = last.map(|last| format!("; of the last: {}", last.trim_end_matches('.'))).unwrap_or_default();
    format!("{times} with these values, and the next waits until {until}{last}")
}

/// Why a certificate is not trusted.
pub fn untrusted(flaw: TrustFlaw) -> String {
    match flaw {
        TrustFlaw::UnknownAuthority => "it is of an authority that is not trusted here".to_owned(),
        TrustFlaw::Alone => {
            "it came alone, and its issuer is not trusted: either the host has left out the intermediate certificate, which its operator \
             must add, or it is of an authority of your own"
                .to_owned()
        }
        TrustFlaw::SelfSigned => "it is self-signed".to_owned(),
        TrustFlaw::Inspected => "it is of an authority with the name of a product that inspects TLS".to_owned(),
        TrustFlaw::Expired(since) => {
            since.map_or("it has expired".to_owned(), |since| format!("it expired on {}", day(since)))
        }
        TrustFlaw::NotYetValid(until) => {
            let until = until.map_or("it is not valid yet".to_owned(), |until| format!("it is not valid before {}", day(until)));
            format!("{until}; look at the clock of the operator's node")
        }
        TrustFlaw::OtherName => "it is made for another name".to_owned(),
        TrustFlaw::NoName => "it is made for no name: it has no subjectAltName".to_owned(),
        TrustFlaw::Weak => "its key or signature is of a kind that is too weak or not known".to_owned(),
        TrustFlaw::BadSignature => "an authority of its issuer's name is trusted and did not sign it: the authority may have been replaced".to_owned(),
        TrustFlaw::Purpose => "it is not made for servers".to_owned(),
        TrustFlaw::Unreadable => "it cannot be read, or there is none".to_owned(),
        TrustFlaw::Other => "it breaks a rule, such as an authority that may not issue for this name, or one in a server's place".to_owned(),
    }
}

/// Why a handshake failed.
pub fn handshake(flaw: HandshakeFlaw) -> &'static str {
    match flaw {
        HandshakeFlaw::OldVersion => "the host speaks only TLS older than 1.2",
        HandshakeFlaw::NoCommonCipher => {
            "there is no cipher suite or key exchange that both sides have (the host may know RSA key exchange only), or the host wants a \
             certificate of its clients"
        }
        HandshakeFlaw::NotTls => "what answers does not speak TLS, but plain HTTP or another protocol",
        HandshakeFlaw::ClientCertificate => "the host asks its clients for a certificate, and UKG Pro does not",
        HandshakeFlaw::Refused => "the host, or something before it, refused it by an alert",
        HandshakeFlaw::Closed => "the connection was closed in its midst, as firewalls do that do not want the name",
        HandshakeFlaw::Other => "one side broke the protocol",
    }
}

/// What is said until values that have changed are checked.
pub fn rechecking(secret: &str) -> String {
    format!(
        "Secret {secret}, or the CA bundle, has changed and is being checked; the other conditions are about what was there before."
    )
}

/// What should be corrected in a CA bundle that can be used.
pub fn blemish(Blemish { private_key, first_expiry }: Blemish, now: Timestamp) -> Option<String> {
    let key = private_key.then(|| {
        "The CA bundle that spec.caRef names holds a private key, which nobody needs who trusts it: take it out, and treat it as known to \
         others."
            .to_owned()
    });
    let expired = first_expiry.filter(|expiry| *expiry < now).map(|expiry| {
        format!(
            "An authority in the CA bundle that spec.caRef names has expired on {}: replace it; other programs do not trust it any more.",
            day(expiry)
        )
    });
    let said: Vec<_> = key.into_iter().chain(expired).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// Why a connection is not checked.
pub fn stall(stall: Stall) -> &'static str {
    match stall {
        Stall::NoWorker => "the operator has not come to it for several intervals",
        Stall::Reading => "what spec refers to could not be read for several intervals",
        Stall::Ledger => "the login ledger could not be read or written for several intervals, and without it no login is sent",
        Stall::Writing => "no verdict could be written for several intervals",
        Stall::Host => "its host was not to be asked for several intervals",
    }
}

/// Why a file cannot be read or written, in words of a shell rather than of a library.
pub fn file(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "it may not be read or written by this user".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory; name a file".to_owned(),
        kind => kind.to_string(),
    }
}

/// What is told of a host as a whole, to whoever runs the operator.
pub fn host(host: &str, change: Change) -> String {
    match change {
        Change::Outage { failing, known } => format!(
            "{failing} of {known} connections to {host} get no usable answer: the host, or the way to it, is down. It is asked less often \
             until it answers; nothing of the connections need be changed."
        ),
        Change::Recovery => format!("{host} answers again."),
    }
}

/// What is told whoever runs the operator of a read that was answered with people.
pub fn unfiltered(requirement: &Requirement, host: &str) -> String {
    let Requirement { row, api } = requirement;
    format!(
        "{host} answered the {api} read of {} with people, though it asks for nobody: it does not honour the filter. Nothing of the \
         answer was kept. Replace this read, or test the row by the other interface, with permissions in --config; \
         the runbook (ProbeUnfiltered) says how.",
        row.name
    )
}

fn fill(text: &str, facts: &Facts) -> String {
    let host = if facts.host.is_empty() { "the host" } else { &facts.host };
    // The detail last, so that nothing inside it is taken for a placeholder.
    text.replace("{page}", PAGE).replace("{secret}", &facts.secret).replace("{host}", host).replace("{detail}", &facts.detail)
}

/// What to do about one permission; `None` where nothing need be done, or another condition says it.
pub fn remedy(state: PermissionState, row: &Row) -> Option<String> {
    let Row { title, enables, .. } = row;
    match state {
        PermissionState::Denied => Some(format!(
            "In UKG Pro, open {PAGE}, edit this service account, tick View in the row {title}, and save. It gives {enables}."
        )),
        PermissionState::Undetermined => Some(format!(
            "UKG Pro's answer does not show whether this is granted. In UKG Pro, open {PAGE} and see whether View is ticked in the \
             row {title}."
        )),
        PermissionState::Granted | PermissionState::Error | PermissionState::Unknown => None,
    }
}

/// What is added where a login was refused that had something odd about it; `findings` names keys and kinds.
pub fn suspicious(findings: &str) -> String {
    format!("Suspicious in the Secret: {findings}.")
}

/// What a condition says that is not True while another is.
pub fn otherwise(true_condition: &str) -> String {
    format!("See condition {true_condition}.")
}

/// A message cut to what an event may carry, at a word.
pub fn note(message: &str) -> String {
    if message.len() <= NOTE_MAX {
        return message.to_owned();
    }
    let mut end = NOTE_MAX - "…".len();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    let end = message[..end].rfind(' ').unwrap_or(end);
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{Disposition, Verdict};

    #[test]
    fn every_reason_says_what_happened_and_what_to_do() {
        let facts = Facts {
            secret: "acme".to_owned(),
            host: "https://service4.ultipro.com".to_owned(),
            detail: "Employee Job Details".to_owned(),
            hint: LOGIN_SITE.to_owned(),
        };
        for reason in Reason::ALL {
            let (what, remedy) = template(*reason);
            assert!(what.len() > 10, "{reason:?}");
            let good = reason.verdict() == Some(Verdict::Active) || *reason == Reason::Probing;
            assert!(good || remedy.len() > 20, "{reason:?} has no remedy");
            let message = message(*reason, &facts);
            assert!(!message.contains(['{', '}']) && !message.contains("  "), "{message}");
            assert!(message.ends_with('.'), "{message}");
            assert!(message.len() < NOTE_MAX, "{reason:?} is too long for an event");
        }
    }

    #[test]
    fn who_must_act_is_told_where() {
        for reason in Reason::ALL.iter().filter(|r| r.disposition() == Disposition::Stalled) {
            let (what, remedy) = template(*reason);
            let text = format!("{what} {remedy}");
            assert!(
                ["{page}", "{secret}", "spec.", "--allowed", "page"].iter().any(|place| text.contains(place)),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn a_detail_is_never_read_as_a_placeholder() {
        let facts = Facts { detail: "{secret}".to_owned(), secret: "s".to_owned(), ..Facts::default() };
        assert!(message(Reason::PermissionUnknown, &facts).contains("{secret}"));
    }

    #[test]
    fn a_note_is_cut_at_a_word_within_the_bound() {
        let long = "wörd ".repeat(400);
        let cut = note(&long);
        assert!(cut.len() <= NOTE_MAX && cut.ends_with("wörd…"), "{}", cut.len());
        assert_eq!(note("short"), "short");
    }
}
