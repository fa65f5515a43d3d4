//! The `spec` of a connection: its fields, the validation rules for the API server, and how the operator reads it.

use std::ops::RangeInclusive;
use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::UkgProConnectionStatus;
use super::{REQUESTED_AT, validation};

// Every enum here has a variant for unknown values, because a newer operator or CRD may have written one. Without it the object
// could not be read, and a connection that was being served would no longer be.

/// The maximum length of a stored check request, in characters. Tools write a timestamp.
pub(super) const REQUEST_MAX: usize = 64;

/// A connection to a UKG Pro tenant.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "ukgpro.dev",
    version = "v1alpha1",
    kind = "UkgProConnection",
    plural = "ukgproconnections",
    namespaced,
    shortname = "ukg",
    shortname = "ukgpro",
    status = "UkgProConnectionStatus",
    derive = "PartialEq",
    doc = "A connection to a UKG Pro tenant: the service account to use, and the permissions it must have.",
    selectable = ".spec.secretRef.name",
    selectable = ".status.state",
    selectable = ".status.endpoint",
    printcolumn(
        name = "State",
        type_ = "string",
        json_path = ".status.state",
        description = "The verdict: Active, Unauthorized, Forbidden, Unreachable, or Unknown"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status",
        description = "Whether the connection can be used: True, False, or Unknown"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        description = "The reason for the state; kubectl describe shows the message, and the runbook explains each reason"
    ),
    printcolumn(
        name = "Host",
        type_ = "string",
        json_path = ".status.endpoint",
        description = "The web-service host that was contacted"
    ),
    printcolumn(
        name = "Secret",
        type_ = "string",
        json_path = ".spec.secretRef.name",
        priority = 1,
        description = "The Secret with the service account's values"
    ),
    printcolumn(
        name = "Interval",
        type_ = "string",
        json_path = ".spec.interval",
        priority = 1,
        description = "How often the connection is checked while nothing changes"
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        priority = 1,
        description = "Whether checks are suspended"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The time since the connection was created"
    ),
    printcolumn(
        name = "Missing",
        type_ = "string",
        json_path = ".status.missing",
        description = "Required permissions that UKG Pro denies"
    )
)]
// The only rule about two fields. An object stored before the rule existed can still be edited in other fields, above all
// suspended. For a rule about an unchanged field the API server allows that by itself, but this rule's field is the whole spec.
#[x_kube(validation = Rule::new("oldSelf.optMap(old, old.timeout == self.timeout && old.interval == self.interval).orValue(false) || [self.timeout, self.interval].exists(text, !text.matches('^([0-9]{1,5}(h|m|s))+$')) || duration(self.timeout) <= duration(self.interval)").optional_old_self(true).message("timeout is longer than interval; write a timeout of at most the interval").field_path(".timeout"))]
#[serde(rename_all = "camelCase")]
pub struct UkgProConnectionSpec {
    /// The Secret in the same namespace that holds the service account's values.
    pub secret_ref: SecretReference,

    /// The web-service domain, such as `ultipro.com`, with an optional port. Overrides the Secret's key `domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = validation::domain())]
    pub domain: Option<String>,

    /// The web-service subdomain: only the part between `https://` and the first dot of the web-service URL, such as `service4`.
    /// Overrides the Secret's key `subdomain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = validation::subdomain())]
    pub subdomain: Option<String>,

    /// Certificate authorities to trust in addition to the platform's, for a private proxy or a simulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaReference>,

    /// Named sets of permissions this connection needs: `EmployeeData`, `Compensation`, `HrisIntegration`, `Directory`, `Payroll`,
    /// `TimeOff`, and those your administrator adds. `ukgpro-operator catalogue` lists their contents.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("default" = []))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub profiles: Vec<String>,

    /// The permissions this connection needs: rows of the page Service Account Administration, with access View. An entry here
    /// overrides the same row in a profile. Without permissions and profiles, only the login is tested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("default" = []))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub permissions: Vec<RequiredPermission>,

    /// How often the connection is checked while nothing changes: 1m to 24h.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')").message("interval is not a duration from 1m to 24h; write hours, minutes and seconds, such as 10m or 1h30m"))]
    pub interval: String,

    /// How long one check may take, from the first byte of the login to the last byte of the probes: 10s to 5m.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('10s') && duration(self) <= duration('5m')").message("timeout is not a duration from 10s to 5m; write minutes and seconds, such as 30s"))]
    pub timeout: String,

    /// The number of checks in a row without a usable answer after which an Active connection becomes Unreachable: 1 to 10. Until
    /// then it stays Active with reason `Degraded`. Refusals, denials and recoveries take effect at once.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: i32,

    /// A Secret with future values. The operator checks them beside the live values, by the same rules, and reports the result in
    /// condition `CandidateReady`. The verdict does not change. Naming the Secret in `secretRef` later promotes it without another
    /// login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_secret_ref: Option<SecretReference>,

    /// If true, nothing is sent to UKG Pro and the last verdict stays.
    #[serde(default)]
    pub suspend: bool,

    /// The operator that manages this connection, if there are several: the one whose `--controller-class` has this value. If
    /// unset, the operator without a class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("controllerClass is not the name of a class; write lower-case letters, digits and hyphens"))]
    pub controller_class: Option<String>,
}

/// A Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("this is not the name of a Secret; write lower-case letters, digits, hyphens and dots"))]
    pub name: String,

    /// Custom names of the Secret's keys, for Secrets made by other tools. Each value has a key of its own.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.username != self.password && self.username != self.customerApiKey && self.username != self.userApiKey && self.password != self.customerApiKey && self.password != self.userApiKey && self.customerApiKey != self.userApiKey && self.domain != self.subdomain").message("two values have the same key; give each value its own key"))]
    #[x_kube(validation = Rule::new("![self.domain, self.subdomain].exists(key, key in [self.username, self.password, self.customerApiKey, self.userApiKey, 'username', 'password', 'customerApiKey', 'userApiKey'])").message("the status shows domain and subdomain, so they must not use a credential's key; write them in spec.domain and spec.subdomain, or under their own keys"))]
    pub keys: SecretKeys,

    /// What to remove from the end of every value: nothing (`None`), or one newline (`Newline`, LF or CRLF), for tools that add
    /// one. Values are not changed otherwise.
    #[serde(default)]
    pub trim: Trim,
}

/// What to remove from the end of a Secret's values.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trim {
    /// One line feed, or one carriage return and line feed.
    Newline,
    /// Nothing.
    #[default]
    #[serde(other)]
    None,
}

/// The keys of the Secret that hold the values.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct SecretKeys {
    /// The service account's user name.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub username: String,
    /// The service account's password.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub password: String,
    /// The Customer API key, one per tenant.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub customer_api_key: String,
    /// The User API key, one per service account. Optional if all permissions are tested by REST.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub user_api_key: String,
    /// The web-service domain, used if `spec.domain` is not set.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub domain: String,
    /// The web-service subdomain, used if `spec.subdomain` is not set.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub subdomain: String,
}

impl Default for SecretKeys {
    fn default() -> Self {
        Self {
            username: "username".to_owned(),
            password: "password".to_owned(),
            customer_api_key: "customerApiKey".to_owned(),
            user_api_key: "userApiKey".to_owned(),
            domain: "domain".to_owned(),
            subdomain: "subdomain".to_owned(),
        }
    }
}

/// A bundle of certificate authorities in a ConfigMap or Secret in the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaReference {
    /// The kind of the object that holds the bundle.
    #[serde(default)]
    pub kind: CaKind,
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("caRef.name is not the name of a ConfigMap or Secret; write lower-case letters, digits, hyphens and dots"))]
    pub name: String,
    /// The key that holds the bundle, in PEM.
    #[serde(default = "default_ca_key")]
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// The kinds that may hold a CA bundle.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CaKind {
    #[allow(missing_docs)]
    Secret,
    #[default]
    #[allow(missing_docs)]
    #[serde(other)]
    ConfigMap,
}

impl CaKind {
    /// Returns the value used in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            CaKind::Secret => "Secret",
            CaKind::ConfigMap => "ConfigMap",
        }
    }
}

/// A row of the page Service Account Administration that must be granted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequiredPermission {
    /// The row's title without spaces, with an acronym as a word, such as `EmployeePersonDetails` or `PtoPlanIntegration`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')").message("permissions[].name is not the name of a permission; write the row's title without spaces, such as EmployeePersonDetails"))]
    pub name: String,

    /// The interface to test the permission by, if UKG Pro has both. Auto uses SOAP if there is a SOAP service.
    #[serde(default)]
    pub api: ApiChoice,
}

/// The interface to test a permission by.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApiChoice {
    /// A SOAP data service.
    #[serde(rename = "SOAP")]
    Soap,
    /// A REST resource.
    #[serde(rename = "REST")]
    Rest,
    /// SOAP if there is a SOAP service, REST otherwise.
    #[default]
    #[serde(other)]
    Auto,
}

/// A rotated password is noticed within a coffee break, at 144 logins a day.
fn default_interval() -> String {
    "10m".to_owned()
}

/// Two failures in a row are common with any service, three are not.
fn default_failure_threshold() -> i32 {
    3
}

fn default_timeout() -> String {
    "30s".to_owned()
}

/// The bounds of `spec.interval` and `spec.timeout`, as in the CRD's rules.
pub(super) const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(300);

/// The key that cert-manager and OpenShift use for a bundle.
fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

impl UkgProConnectionSpec {
    /// Returns `interval`, clamped to its bounds.
    pub fn interval(&self) -> Duration {
        within(&self.interval, &default_interval(), INTERVAL)
    }

    /// Returns `timeout`, clamped to its bounds.
    pub fn timeout(&self) -> Duration {
        within(&self.timeout, &default_timeout(), TIMEOUT)
    }

    /// Returns `failureThreshold`, clamped to its bounds.
    pub fn failure_threshold(&self) -> i32 {
        self.failure_threshold.clamp(1, 10)
    }

    /// Returns the spec after promotion of the candidate.
    pub fn promoted(&self) -> Option<Self> {
        let secret_ref = self.candidate_secret_ref.clone()?;
        Some(Self { secret_ref, candidate_secret_ref: None, ..self.clone() })
    }

    /// Returns a fingerprint of the fields that a verdict depends on. It shows whether a verdict is about this spec.
    pub fn checked(&self) -> String {
        let Self { secret_ref, domain, subdomain, ca_ref, profiles, permissions, .. } = self;
        let fields = serde_json::json!([secret_ref, domain, subdomain, ca_ref, profiles, permissions]).to_string();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, fields.as_bytes());
        hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Parses and clamps a duration. Uses the default for invalid text, which objects stored before the CRD had its rules may hold.
pub(super) fn within(text: &str, default: &str, bounds: RangeInclusive<Duration>) -> Duration {
    let time = duration(text).or_else(|| duration(default)).unwrap_or(*bounds.start());
    time.clamp(*bounds.start(), *bounds.end())
}

/// Parses whole hours, minutes and seconds, as in `1h30m`.
pub fn duration(text: &str) -> Option<Duration> {
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let unit = match rest.as_bytes()[digits] {
            b'h' => 3600,
            b'm' => 60,
            b's' => 1,
            _ => return None,
        };
        seconds = seconds.checked_add(rest[..digits].parse::<u64>().ok()?.checked_mul(unit)?)?;
        rest = &rest[digits + 1..];
    }
    (!text.is_empty()).then(|| Duration::from_secs(seconds))
}

impl UkgProConnection {
    /// Returns this connection after promotion of the candidate, with what its status says about the candidate.
    pub fn promoted(&self) -> Option<Self> {
        let spec = self.spec.promoted()?;
        let status = self.status.as_ref().map(|status| {
            let candidate = status.candidate.as_ref();
            UkgProConnectionStatus {
                last_handled_reconcile_at: status.last_handled_reconcile_at.clone(),
                checked_spec: candidate.map(|_| spec.checked()),
                secret_resource_version: candidate.map(|candidate| candidate.secret_resource_version.clone()),
                worked: candidate.map(|candidate| candidate.worked).unwrap_or_default(),
                login_attempts: candidate.and_then(|candidate| candidate.login_attempts.clone()),
                ..UkgProConnectionStatus::default()
            }
        });
        Some(Self { spec, status, metadata: self.metadata.clone() })
    }

    /// Returns the check request in the annotation [`REQUESTED_AT`], cut to the stored length.
    pub fn requested_at(&self) -> Option<&str> {
        let value = self.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
        Some(value.char_indices().nth(REQUEST_MAX).map_or(value.as_str(), |(end, _)| &value[..end]))
    }

    /// Returns that request if no check has answered it yet.
    pub fn open_request(&self) -> Option<&str> {
        let handled = self.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        self.requested_at().filter(|requested| handled != Some(requested))
    }
}
