//! Fills the text of a [`Reason`] with names, and holds the texts that belong to no reason.
//!
//! **Invariant.** A text is fixed, except for the user's own Kubernetes names (Secret, keys, fields, permission titles) and the
//! host. Nothing that a server sent and no value of a Secret can get in: [`MessageArgs`] has no field for it.

use jiff::Timestamp;
use ukg_pro::catalogue::{Requirement, Row};
use ukg_pro::transport::{BundleWarnings, HandshakeFlaw, TrustFlaw};

use super::{Delay, HostChange, OverdueCause, PermissionState, Reason, Verdict};

mod templates;

pub use templates::template;
use templates::template_for;

/// The page of UKG Pro where service accounts are managed.
pub const PAGE: &str = "System Configuration > Security > Service Account Administration";

/// The detail for an uncertain login whose start time is not known.
pub const UNCERTAIN_START_DETAIL: &str = "a day has passed";

/// The hint for a failing host whose name looks like a login page's.
pub const LOGIN_SITE: &str = "This looks like the host of a login page: the names of UKG Pro's web-service hosts begin with \
                              service or rental, such as service4.";

/// The maximum length of an event's note, in bytes.
pub const NOTE_MAX: usize = 1024;

/// The names that a text may mention.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct MessageArgs {
    /// The Secret's name.
    pub secret: String,
    /// The host, as a URL; empty if it is not known.
    pub host: String,
    /// The specifics of this reason: missing keys, permission titles, or what is wrong with a field.
    pub detail: String,
    /// A sentence on the possible cause; empty if there is none. It precedes the remedy, or an event might cut it off.
    pub hint: String,
}

/// Returns the whole message.
pub fn message(reason: Reason, args: &MessageArgs) -> String {
    let (what, remedy) = template_for(reason, args);
    let parts: Vec<_> = [what, &args.hint, remedy].into_iter().filter(|part| !part.is_empty()).collect();
    fill(&parts.join(" "), args)
}

/// Returns the message for a web page or redirect from a host where these values have worked, so the host name is right.
pub fn page_of_a_known_host(args: &MessageArgs) -> String {
    let remedy = "These values have worked at this host, so this is most likely maintenance, or a page of a proxy or firewall. \
                  No action is needed if this passes. If it persists, open the host in a browser from the operator's network, \
                  then ask UKG support.";
    fill(&format!("{} {remedy}", template(Reason::NotUkgPro).0), args)
}

/// Returns what happened, without the remedy.
pub fn what(reason: Reason, args: &MessageArgs) -> String {
    fill(template_for(reason, args).0, args)
}

/// Returns the message about a candidate.
pub fn candidate(reason: Reason, args: &MessageArgs) -> String {
    let message = message(reason, args);
    match reason {
        _ if reason.verdict() == Some(Verdict::Active) => {
            format!("Candidate: {message} To promote it without another login, name Secret {} in spec.secretRef.", args.secret)
        }
        // The field to correct is the candidate's.
        _ => format!("Candidate: {}", message.replace("spec.secretRef", "spec.candidateSecretRef")),
    }
}

/// Returns the text for a Secret key that is used for too many values.
pub fn key_shared(key: &str) -> String {
    format!(
        "spec.secretRef.keys uses {key} for two values, or uses a credential's key for domain or subdomain, which the status \
         shows; give each value its own key"
    )
}

/// Returns why a check waits, and until when.
pub fn delay(delay: Delay, until: Timestamp) -> String {
    let why = match delay {
        Delay::AccountLimited => "the host limits the requests of this account",
        Delay::HostLimited => "the host limits requests of several accounts",
        Delay::Busy => "other checks of the host come first",
    };
    format!("{why}, so the login waits until {until}")
}

/// Returns how many logins had an unclear answer, until when the next one waits, and the last answer.
pub fn paused(times: u16, last: Option<&str>, until: Timestamp) -> String {
    let last = last.map(|last| format!("; the last answer: {}", last.trim_end_matches('.'))).unwrap_or_default();
    let logins = if times == 1 { "login" } else { "logins" };
    format!("{times} {logins} with these values; the next login waits until {until}{last}")
}

/// Returns why a certificate is not trusted.
pub fn untrusted(flaw: TrustFlaw) -> String {
    match flaw {
        TrustFlaw::UnknownAuthority => "it was issued by an authority that is not trusted".to_owned(),
        TrustFlaw::IntermediateMissing => {
            "the host sent no intermediate certificate, and the issuer is not trusted; either whoever runs the host must add \
             the intermediate certificate, or an authority of your own issued the certificate"
                .to_owned()
        }
        TrustFlaw::SelfSigned => "it is self-signed".to_owned(),
        TrustFlaw::Inspected => "its issuer has the name of a product that inspects TLS".to_owned(),
        TrustFlaw::Expired(since) => {
            since.map_or("it has expired".to_owned(), |since| format!("it expired on {}", day(since)))
        }
        TrustFlaw::NotYetValid(until) => {
            let until = until.map_or("it is not valid yet".to_owned(), |until| format!("it is not valid before {}", day(until)));
            format!("{until}; check the clock of the operator's node")
        }
        TrustFlaw::OtherName => "it is for another host name".to_owned(),
        TrustFlaw::NoName => "it names no host: it has no subjectAltName".to_owned(),
        TrustFlaw::Weak => "its key or signature is too weak, or of an unknown kind".to_owned(),
        TrustFlaw::BadSignature => {
            "a trusted authority has the name of its issuer but did not sign it: the authority may have been replaced".to_owned()
        }
        TrustFlaw::Purpose => "it is not a server certificate".to_owned(),
        TrustFlaw::Unreadable => "it cannot be read, or the host sent none".to_owned(),
        TrustFlaw::Other => {
            "it breaks a rule: for example, its authority may not issue for this name, or it is itself an authority's certificate"
                .to_owned()
        }
    }
}

/// Returns why a TLS handshake failed.
pub fn handshake(flaw: HandshakeFlaw) -> &'static str {
    match flaw {
        HandshakeFlaw::OldVersion => "the host supports only TLS versions older than 1.2",
        HandshakeFlaw::NoCommonCipher => {
            "the operator and the host have no cipher suite or key exchange in common (the host may support only RSA key \
             exchange), or the host requires a client certificate"
        }
        HandshakeFlaw::NotTls => "the host does not speak TLS, but plain HTTP or another protocol",
        HandshakeFlaw::ClientCertificate => "the host requires a client certificate, and UKG Pro does not",
        HandshakeFlaw::Refused => "the host, or something in front of it, refused it with a TLS alert",
        HandshakeFlaw::Closed => "the connection was closed during the handshake; firewalls that block a host name do this",
        HandshakeFlaw::Other => "one side violated the TLS protocol",
    }
}

/// Returns the message shown until changed values have been checked.
pub fn rechecking(secret: &str) -> String {
    format!(
        "Secret {secret} or the CA bundle has changed, and the operator is checking it. The other conditions are about the previous \
         values."
    )
}

/// Returns what to correct in a CA bundle that is usable.
pub fn bundle_warnings(BundleWarnings { private_key, first_expiry }: BundleWarnings, now: Timestamp) -> Option<String> {
    let key = private_key.then(|| {
        "The CA bundle that spec.caRef names contains a private key, which is not needed for trust. Remove the key and treat it \
         as compromised."
            .to_owned()
    });
    let expired = first_expiry.filter(|expiry| *expiry < now).map(|expiry| {
        format!(
            "An authority in the CA bundle that spec.caRef names expired on {}. Replace it: other programs no longer trust it.",
            day(expiry)
        )
    });
    let said: Vec<_> = key.into_iter().chain(expired).collect();
    (!said.is_empty()).then(|| said.join(" "))
}

fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// Returns why a connection is not checked.
pub fn overdue_text(cause: OverdueCause) -> &'static str {
    match cause {
        OverdueCause::NoWorker => "the operator has finished no check of it for several intervals",
        OverdueCause::Reading => "the operator could not read the objects that spec refers to for several intervals",
        OverdueCause::Ledger => {
            "the operator could not read or write the login ledger for several intervals, and sends no login without it"
        }
        OverdueCause::Writing => "the operator could not write the verdict for several intervals",
        OverdueCause::Host => "its host limited requests, or other checks of the host came first, for several intervals",
    }
}

/// Returns why a file cannot be read or written, in the words of a shell rather than of a library.
pub fn file(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "there is no such file".to_owned(),
        std::io::ErrorKind::PermissionDenied => "this user may not read or write it".to_owned(),
        std::io::ErrorKind::IsADirectory => "it is a directory; name a file".to_owned(),
        kind => kind.to_string(),
    }
}

/// Returns the message about a host as a whole, for the operator's administrator.
pub fn host(host: &str, change: HostChange) -> String {
    match change {
        HostChange::Outage { failing, known } => format!(
            "{failing} of {known} connections to {host} get no usable answer: the host, or the network path to it, is down. The \
             operator checks them less often until the host answers. You do not need to change any connection."
        ),
        HostChange::Recovery => format!("{host} answers again."),
    }
}

/// Returns the message about a read that returned people, for the operator's administrator.
pub fn unfiltered(requirement: &Requirement, host: &str) -> String {
    let Requirement { row, api } = requirement;
    format!(
        "{host} answered the {api} read of {} with people, although the read asks for nobody: the host ignores the filter. The \
         operator kept nothing of the answer. Replace this read with permissions in --config, or test the row by the other \
         interface; see ProbeUnfiltered in the runbook.",
        row.name
    )
}

fn fill(text: &str, args: &MessageArgs) -> String {
    let host = if args.host.is_empty() { "the host" } else { &args.host };
    // The detail comes last, so that nothing inside it is taken for a placeholder.
    text.replace("{page}", PAGE).replace("{secret}", &args.secret).replace("{host}", host).replace("{detail}", &args.detail)
}

/// Returns the remedy for one permission; `None` if there is nothing to do, or another condition says it.
pub fn remedy(state: PermissionState, row: &Row) -> Option<String> {
    let Row { title, enables, .. } = row;
    match state {
        PermissionState::Denied => Some(format!(
            "In UKG Pro, open {PAGE}, edit this service account, tick View in the row {title}, and save. This row gives access to \
             {enables}."
        )),
        PermissionState::Undetermined => Some(format!(
            "UKG Pro's answer does not show whether this is granted. In UKG Pro, open {PAGE} and check whether View is ticked in \
             the row {title}."
        )),
        PermissionState::Granted | PermissionState::Error | PermissionState::Unknown => None,
    }
}

/// Returns the hint for a failed login with suspicious values; `findings` names keys and kinds.
pub fn suspicious(findings: &str) -> String {
    format!("Suspicious values in the Secret: {findings}.")
}

/// Returns the message of a condition that is not True while another one is.
pub fn see_condition(true_condition: &str) -> String {
    format!("See condition {true_condition}.")
}

/// Cuts a message at a word to the maximum length of an event's note.
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
    use crate::api::{Kstatus, Verdict};

    #[test]
    fn every_reason_says_what_happened_and_what_to_do() {
        let args = MessageArgs {
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
            let message = message(*reason, &args);
            assert!(!message.contains(['{', '}']) && !message.contains("  "), "{message}");
            assert!(message.ends_with('.'), "{message}");
            assert!(message.len() < NOTE_MAX, "{reason:?} is too long for an event");
        }
    }

    #[test]
    fn who_must_act_is_told_where() {
        for reason in Reason::ALL.iter().filter(|r| r.kstatus() == Kstatus::Failed) {
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
        let args = MessageArgs { detail: "{secret}".to_owned(), secret: "s".to_owned(), ..MessageArgs::default() };
        assert!(message(Reason::PermissionUnknown, &args).contains("{secret}"));
    }

    #[test]
    fn a_note_is_cut_at_a_word_within_the_bound() {
        let long = "wörd ".repeat(400);
        let cut = note(&long);
        assert!(cut.len() <= NOTE_MAX && cut.ends_with("wörd…"), "{}", cut.len());
        assert_eq!(note("short"), "short");
    }
}
