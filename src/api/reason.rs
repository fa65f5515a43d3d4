//! The closed vocabulary: conditions, events, metrics and the runbook all speak these words and no other.
//!
//! What each says in full is in [`crate::api::messages`].

/// The four verdicts; each is a condition type too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The login worked and every required permission is granted.
    Active,
    /// The login was refused.
    Unauthorized,
    /// The login worked and a required permission is denied.
    Forbidden,
    /// No usable answer came.
    Unreachable,
}

impl Verdict {
    /// All four.
    pub const ALL: [Verdict; 4] = [Verdict::Active, Verdict::Unauthorized, Verdict::Forbidden, Verdict::Unreachable];

    /// The condition's type.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Active => "Active",
            Verdict::Unauthorized => "Unauthorized",
            Verdict::Forbidden => "Forbidden",
            Verdict::Unreachable => "Unreachable",
        }
    }
}

/// Who moves next. In kstatus' terms: current, in progress, failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// Nobody has to.
    Settled,
    /// The operator tries again by itself.
    Retried,
    /// Only a person can help.
    Stalled,
}

/// Why a host is not to be asked yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// It limits requests of this account.
    AccountLimited,
    /// It limits requests of several.
    HostLimited,
    /// Other checks of it come first.
    Busy,
}

/// Why a connection is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Stall {
    /// None of the operator's workers came to it.
    #[default]
    NoWorker,
    /// What it refers to cannot be read.
    Reading,
    /// The login ledger cannot be read or written, and without it no login is sent.
    Ledger,
    /// Its verdict cannot be written.
    Writing,
    /// The host limits requests, or other checks of it come first.
    Host,
}

/// A change in how a host fares as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostChange {
    /// Most connections of the host fail.
    Outage {
        /// So many of them.
        failing: usize,
        /// Of so many whose last check is known.
        known: usize,
    },
    /// Most do not any more.
    Recovery,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $verdict:expr, $disposition:ident;)*) => {
        /// Why a connection is in the state it is in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// As in conditions, events and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)*
                }
            }

            /// The verdict it stands for; `None` where none of the four is known.
            pub fn verdict(self) -> Option<Verdict> {
                match self {
                    $(Reason::$name => $verdict,)*
                }
            }

            /// Who moves next.
            pub fn disposition(self) -> Disposition {
                match self {
                    $(Reason::$name => Disposition::$disposition,)*
                }
            }
        }
    };
}

reasons! {
    /// The login worked and every required permission is granted.
    AllPermissionsGranted => Some(Verdict::Active), Settled;
    /// The login worked, and no permission is required, so none was tested.
    OnlyLoginTested => Some(Verdict::Active), Settled;
    /// It worked, and the last checks got no usable answer; not often enough yet to call it unreachable.
    Degraded => Some(Verdict::Active), Settled;

    /// User name, password, user API key or the account's state: UKG Pro does not say which.
    CredentialsRejected => Some(Verdict::Unauthorized), Stalled;
    /// The customer API key, or the right key at the wrong data centre.
    CustomerApiKeyRejected => Some(Verdict::Unauthorized), Stalled;
    /// The user API key, said so by UKG Pro.
    UserApiKeyRejected => Some(Verdict::Unauthorized), Stalled;
    /// The account's state, said so by UKG Pro: it is locked, disabled, or its password has expired.
    AccountUnusable => Some(Verdict::Unauthorized), Stalled;
    /// The same credentials were refused before and are not tried again until they change.
    LoginHeld => Some(Verdict::Unauthorized), Stalled;

    /// The login worked and a required permission is denied.
    PermissionsMissing => Some(Verdict::Forbidden), Stalled;

    /// REST refuses the login that LoginService takes.
    RestLoginRefused => Some(Verdict::Forbidden), Stalled;

    /// DNS has no such host.
    HostNotFound => Some(Verdict::Unreachable), Retried;
    /// No connection in time.
    ConnectTimeout => Some(Verdict::Unreachable), Retried;
    /// The connection was refused.
    ConnectRefused => Some(Verdict::Unreachable), Retried;
    /// The proxy made no tunnel.
    ProxyFailed => Some(Verdict::Unreachable), Retried;
    /// The host's certificate is not trusted.
    TlsUntrusted => Some(Verdict::Unreachable), Retried;
    /// The TLS handshake failed.
    TlsFailed => Some(Verdict::Unreachable), Retried;
    /// Connected, but no whole answer in time.
    AnswerTimeout => Some(Verdict::Unreachable), Retried;
    /// The connection broke before the whole answer.
    ConnectionLost => Some(Verdict::Unreachable), Retried;
    /// A web page or a redirect.
    NotUkgPro => Some(Verdict::Unreachable), Retried;
    /// An answer that cannot be read.
    AnswerUnreadable => Some(Verdict::Unreachable), Retried;
    /// The host limits requests.
    RateLimited => Some(Verdict::Unreachable), Retried;
    /// The host has trouble of its own.
    ServerError => Some(Verdict::Unreachable), Retried;
    /// The host resolves to an address the operator may not speak to.
    AddressNotAllowed => Some(Verdict::Unreachable), Retried;

    /// The Secret is not there.
    SecretNotFound => None, Retried;
    /// The Secret lacks a key.
    SecretKeyMissing => None, Stalled;
    /// A value of the Secret cannot be right.
    SecretValueMalformed => None, Stalled;
    /// The two API keys are one value, or in each other's place.
    ApiKeysSwapped => None, Stalled;
    /// Domain and subdomain make no host.
    EndpointInvalid => None, Stalled;
    /// The domain is not among those the operator may speak to.
    DomainNotAllowed => None, Stalled;
    /// The CA bundle is not there.
    CaNotFound => None, Retried;
    /// The CA bundle is unusable.
    CaInvalid => None, Stalled;
    /// The operator has no right to read the Secret or the CA bundle.
    ReferenceForbidden => None, Retried;
    /// A required permission is not in the catalogue.
    PermissionUnknown => None, Stalled;
    /// The login's answer was neither a success nor a known refusal.
    LoginUndetermined => None, Retried;
    /// The answers to as many logins in a row as a day allows were neither a success nor a refusal.
    LoginPaused => None, Stalled;
    /// The same user name and password were refused with another User API key, or without one.
    PasswordHeld => None, Stalled;
    /// The login failed in words that are not known; it is not tried again until the values change.
    LoginFailedUnexplained => None, Stalled;
    /// A login with these values was sent and its end was not seen; it is not sent again by itself within a day.
    LoginUncertain => None, Stalled;
    /// The account has seen so many logins, or refusals, within a day that no more are sent.
    LoginLimitReached => None, Stalled;
    /// A probe's answer shows neither a grant nor a denial.
    PermissionsUndetermined => None, Retried;
    /// No check has ended yet.
    Probing => None, Retried;
    /// The check waits until the host may be asked.
    CheckDelayed => None, Retried;
    /// It worked, and could not be checked for several intervals.
    CheckOverdue => None, Retried;
    /// Checks are suspended.
    Suspended => None, Settled;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_settled_and_active() {
        for reason in Reason::ALL {
            let settled = reason.disposition() == Disposition::Settled;
            let good = matches!(reason, Reason::AllPermissionsGranted | Reason::OnlyLoginTested | Reason::Degraded);
            assert_eq!(settled, good || *reason == Reason::Suspended, "{reason:?}");
            assert_eq!(reason.verdict() == Some(Verdict::Active), good, "{reason:?}");
        }
    }
}
