//! The closed vocabulary of reasons that conditions, events, metrics and the runbook share.
//!
//! The full text of each reason is in [`crate::api::messages`].

/// The four verdicts. Each is also a condition type.
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

    /// Returns the condition type.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Active => "Active",
            Verdict::Unauthorized => "Unauthorized",
            Verdict::Forbidden => "Forbidden",
            Verdict::Unreachable => "Unreachable",
        }
    }
}

/// What kstatus makes of a connection, by its conditions `Reconciling` and `Stalled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kstatus {
    /// Neither condition is there.
    Current,
    /// `Reconciling`: the operator retries.
    InProgress,
    /// `Stalled`: a person has to act, although the operator may try again after hours.
    Failed,
}

/// Why a check has to wait for its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// The host limits requests of this account.
    AccountLimited,
    /// The host limits requests of several accounts.
    HostLimited,
    /// Other checks of the host come first.
    Busy,
}

/// Why a connection is not checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OverdueCause {
    /// No worker of the operator has reached it, or its check panicked.
    #[default]
    NoWorker,
    /// The objects it refers to cannot be read.
    Reading,
    /// The login ledger cannot be read or written. Without it no login is sent.
    Ledger,
    /// Its verdict cannot be written.
    Writing,
    /// The host limits requests, or other checks of it come first.
    Host,
}

/// A change in the state of a whole host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostChange {
    /// Most connections of the host fail.
    Outage {
        /// The number of failing connections.
        failing: usize,
        /// The number of connections whose last check is known.
        known: usize,
    },
    /// Most connections no longer fail.
    Recovery,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident => $verdict:expr, $kstatus:ident;)*) => {
        /// Why a connection is in the state it is in.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Reason] = &[$(Reason::$name,)*];

            /// Returns the name used in conditions, events and metrics.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Reason::$name => stringify!($name),)*
                }
            }

            /// Returns the verdict for this reason; `None` if it implies none of the four.
            pub fn verdict(self) -> Option<Verdict> {
                match self {
                    $(Reason::$name => $verdict,)*
                }
            }

            /// Returns what kstatus makes of it.
            pub fn kstatus(self) -> Kstatus {
                match self {
                    $(Reason::$name => Kstatus::$kstatus,)*
                }
            }
        }
    };
}

reasons! {
    /// The login worked and every required permission is granted.
    AllPermissionsGranted => Some(Verdict::Active), Current;
    /// The login worked, and no permission is required, so none was tested.
    OnlyLoginTested => Some(Verdict::Active), Current;
    /// It worked before. The last checks got no usable answer, but not often enough for Unreachable.
    Degraded => Some(Verdict::Active), Current;

    /// The user name, password, user API key or account state is wrong. UKG Pro does not say which.
    CredentialsRejected => Some(Verdict::Unauthorized), Failed;
    /// The customer API key is wrong, or is used at the wrong data centre.
    CustomerApiKeyRejected => Some(Verdict::Unauthorized), Failed;
    /// UKG Pro says that the user API key is wrong.
    UserApiKeyRejected => Some(Verdict::Unauthorized), Failed;
    /// UKG Pro says that the account is locked or disabled, or that its password has expired.
    AccountUnusable => Some(Verdict::Unauthorized), Failed;
    /// The same credentials were refused before and are not tried again until they change.
    LoginHeld => Some(Verdict::Unauthorized), Failed;

    /// The login worked and a required permission is denied.
    PermissionsMissing => Some(Verdict::Forbidden), Failed;

    /// REST refuses the login that LoginService accepts.
    RestLoginRefused => Some(Verdict::Forbidden), Failed;

    /// DNS has no such host.
    HostNotFound => Some(Verdict::Unreachable), InProgress;
    /// The connection timed out.
    ConnectTimeout => Some(Verdict::Unreachable), InProgress;
    /// The connection was refused.
    ConnectRefused => Some(Verdict::Unreachable), InProgress;
    /// The proxy did not open a tunnel.
    ProxyFailed => Some(Verdict::Unreachable), InProgress;
    /// The host's certificate is not trusted.
    TlsUntrusted => Some(Verdict::Unreachable), InProgress;
    /// The TLS handshake failed.
    TlsFailed => Some(Verdict::Unreachable), InProgress;
    /// The connection worked, but the whole answer did not arrive in time.
    AnswerTimeout => Some(Verdict::Unreachable), InProgress;
    /// The connection broke before the whole answer.
    ConnectionLost => Some(Verdict::Unreachable), InProgress;
    /// The answer is a web page or a redirect.
    NotUkgPro => Some(Verdict::Unreachable), InProgress;
    /// The answer cannot be read.
    AnswerUnreadable => Some(Verdict::Unreachable), InProgress;
    /// The host limits requests.
    RateLimited => Some(Verdict::Unreachable), InProgress;
    /// The host reports an error of its own.
    ServerError => Some(Verdict::Unreachable), InProgress;
    /// The host resolves to an address that the operator may not connect to.
    AddressNotAllowed => Some(Verdict::Unreachable), InProgress;

    /// The Secret does not exist.
    SecretNotFound => None, InProgress;
    /// The Secret lacks a key.
    SecretKeyMissing => None, Failed;
    /// A value of the Secret cannot be correct.
    SecretValueMalformed => None, Failed;
    /// The two API keys are equal, or swapped.
    ApiKeysSwapped => None, Failed;
    /// Domain and subdomain do not form a host name.
    EndpointInvalid => None, Failed;
    /// The domain is not one that the operator may connect to.
    DomainNotAllowed => None, Failed;
    /// The CA bundle does not exist.
    CaNotFound => None, InProgress;
    /// The CA bundle is unusable.
    CaInvalid => None, Failed;
    /// The operator has no right to read the Secret or the CA bundle.
    ReferenceForbidden => None, InProgress;
    /// A required permission is not in the catalogue.
    PermissionUnknown => None, Failed;
    /// The login's answer was neither a success nor a known refusal.
    LoginUndetermined => None, InProgress;
    /// As many logins in a row as a day allows were answered with neither a success nor a refusal.
    LoginPaused => None, Failed;
    /// The same user name and password were refused with another User API key, or without one.
    PasswordHeld => None, Failed;
    /// The login failed with an unknown message. It is not retried until the values change.
    LoginFailedUnexplained => None, Failed;
    /// A login with these values was sent, and its outcome is unknown. It is not repeated automatically within a day.
    LoginUncertain => None, Failed;
    /// The account has reached its limit of logins or refusals within a day, so no more are sent.
    LoginLimitReached => None, Failed;
    /// A probe's answer shows neither a grant nor a denial.
    PermissionsUndetermined => None, InProgress;
    /// No check has finished yet.
    Probing => None, InProgress;
    /// The check waits until its host accepts requests.
    CheckDelayed => None, InProgress;
    /// It worked, but could not be checked for several intervals.
    CheckOverdue => None, InProgress;
    /// Checks are suspended.
    Suspended => None, Current;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_success_is_settled_and_active() {
        for reason in Reason::ALL {
            let is_current = reason.kstatus() == Kstatus::Current;
            let good = matches!(reason, Reason::AllPermissionsGranted | Reason::OnlyLoginTested | Reason::Degraded);
            assert_eq!(is_current, good || *reason == Reason::Suspended, "{reason:?}");
            assert_eq!(reason.verdict() == Some(Verdict::Active), good, "{reason:?}");
        }
    }
}
