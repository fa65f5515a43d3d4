//! The custom resource `UkgProConnection`: what a user writes, and what the operator writes back.
//!
//! The CRD in `crds/` is generated from these types ([`crd()`]) and a test fails when it drifts. What can be judged without I/O is
//! judged by the API server, by the CEL rules here, each with a message that says what to write instead.
//!
//! [`reason`] holds the closed vocabulary of reasons; [`coaching`] the rules whose message computes the value to paste.

// KubeSchema writes private copies of the types with their visibility.
#![allow(unreachable_pub)]
// Each printcolumn has a type of its own, which the lint takes for a repetition.
#![allow(clippy::duplicated_attributes)]

use std::ops::RangeInclusive;
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, CustomResourceExt, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::ledger::Tried;

pub mod coaching;
pub mod reason;

pub use reason::{Delay, Disposition, Reason, Stall, Verdict};

// Every enumeration here has a variant that stands for what is not known, as a newer operator or CRD may have written: an object
// that cannot be read is not served, and was perhaps being served a moment ago.

/// The annotation by which a person, or an existing tool, asks for a check now; another value is another request.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// How much of a request's value is kept; tools write a time.
const REQUEST_MAX: usize = 64;

/// What the operator owns in a status, and who it says it is in events.
pub const FIELD_MANAGER: &str = "ukgpro-operator";

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
        description = "Why; kubectl describe has the message, and the runbook a section for each"
    ),
    printcolumn(
        name = "Host",
        type_ = "string",
        json_path = ".status.endpoint",
        description = "The web-service host that was spoken to"
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
        description = "How often it is tested while nothing changes"
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        json_path = ".spec.suspend",
        priority = 1,
        description = "Whether nothing is sent to UKG Pro"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "The time since it was made"
    ),
    printcolumn(
        name = "Missing",
        type_ = "string",
        json_path = ".status.missing",
        description = "Required permissions that UKG Pro denies"
    )
)]
// The one rule about two fields. An object that was stored before there was the rule can be edited otherwise all the same, suspended
// above all: the API server does so by itself for a rule whose own field does not change, and here that is the whole spec.
#[x_kube(validation = Rule::new("oldSelf.optMap(old, old.timeout == self.timeout && old.interval == self.interval).orValue(false) || [self.timeout, self.interval].exists(text, !text.matches('^([0-9]{1,5}(h|m|s))+$')) || duration(self.timeout) <= duration(self.interval)").optional_old_self(true).message("timeout is longer than interval; write a timeout of at most the interval").field_path(".timeout"))]
#[serde(rename_all = "camelCase")]
pub struct UkgProConnectionSpec {
    /// The Secret, in the same namespace, that holds the service account's values.
    pub secret_ref: SecretReference,

    /// The web-service domain, such as `ultipro.com`; a port may follow. Wins over the Secret's key `domain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = coaching::domain())]
    pub domain: Option<String>,

    /// The web-service subdomain: only what stands between `https://` and the first dot of the web-service URL, such as
    /// `service4`. Wins over the Secret's key `subdomain`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    #[x_kube(validation = coaching::subdomain())]
    pub subdomain: Option<String>,

    /// Certificate authorities to trust beside the platform's, for a private proxy or a simulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaReference>,

    /// Named sets of permissions this connection needs: `EmployeeData`, `Compensation`, `HrisIntegration`, `Directory`, `Payroll`,
    /// `TimeOff`, and what whoever runs the operator adds; `ukgpro-operator catalogue` says what each holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("default" = []))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub profiles: Vec<String>,

    /// The permissions this connection needs: rows of the page Service Account Administration, with access View. What is named
    /// here wins over the same row in a profile. Without any, and without profiles, only the login is tested.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("default" = []))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub permissions: Vec<RequiredPermission>,

    /// How often the connection is tested while nothing changes: 1m to 24h.
    #[serde(default = "default_interval")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')").message("interval is not a duration from 1m to 24h; write hours, minutes and seconds, such as 10m or 1h30m"))]
    pub interval: String,

    /// How long one test may take, from the first byte of the login to the last of the probes: 10s to 5m.
    #[serde(default = "default_timeout")]
    #[schemars(length(max = 16))]
    #[x_kube(validation = Rule::new("self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('10s') && duration(self) <= duration('5m')").message("timeout is not a duration from 10s to 5m; write minutes and seconds, such as 30s"))]
    pub timeout: String,

    /// After how many checks in a row without a usable answer an Active connection becomes Unreachable: 1 to 10. Before that it stays
    /// Active, with reason `Degraded`. Refusals, denials and recoveries count at once.
    #[serde(default = "default_failure_threshold")]
    #[schemars(range(min = 1, max = 10))]
    pub failure_threshold: i32,

    /// A Secret with the values to come. They are checked beside the live ones, with the same care, and reported as condition
    /// `CandidateReady`; the verdict is not touched. Naming it in `secretRef` afterwards promotes it without another login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate_secret_ref: Option<SecretReference>,

    /// While true, nothing is sent to UKG Pro and the last verdict stays.
    #[serde(default)]
    pub suspend: bool,

    /// Which operator looks after this connection, where several do: the one whose `--controller-class` is this; without it, the one
    /// that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')").message("controllerClass is not the name of a class; write lower-case letters, digits and hyphens"))]
    pub controller_class: Option<String>,
}

/// A Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("this is not the name of a Secret; write lower-case letters, digits, hyphens and dots"))]
    pub name: String,

    /// Other names of the keys, for Secrets made by other tools. Each value has a key of its own.
    #[serde(default)]
    #[x_kube(validation = Rule::new("self.username != self.password && self.username != self.customerApiKey && self.username != self.userApiKey && self.password != self.customerApiKey && self.password != self.userApiKey && self.customerApiKey != self.userApiKey && self.domain != self.subdomain").message("two values have one key; give each a key of its own"))]
    #[x_kube(validation = Rule::new("![self.domain, self.subdomain].exists(key, key in [self.username, self.password, self.customerApiKey, self.userApiKey, 'username', 'password', 'customerApiKey', 'userApiKey'])").message("domain and subdomain are shown in the status and may not have a credential's key; write them in spec.domain and spec.subdomain, or under keys of their own"))]
    pub keys: SecretKeys,

    /// What is dropped from the end of every value: nothing (`None`), or one line end (`Newline`), for Secrets whose maker adds
    /// one. A value is never changed otherwise.
    #[serde(default)]
    pub trim: Trim,
}

/// What is dropped from the end of a Secret's values.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trim {
    /// One line feed, or one carriage return and line feed.
    Newline,
    /// Nothing.
    #[default]
    #[serde(other)]
    None,
}

/// Under which keys of the Secret the values stand.
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
    /// The User API key, one per service account. May be absent where all permissions are tested by REST.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub user_api_key: String,
    /// The web-service domain, where `spec.domain` is not set.
    #[schemars(length(min = 1, max = 253), pattern("^[-._a-zA-Z0-9]+$"))]
    pub domain: String,
    /// The web-service subdomain, where `spec.subdomain` is not set.
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

/// A bundle of certificate authorities in a ConfigMap or Secret of the same namespace.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CaReference {
    /// What holds the bundle.
    #[serde(default)]
    pub kind: CaKind,
    /// The object's name.
    #[schemars(length(min = 1, max = 253))]
    #[x_kube(validation = Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')").message("caRef.name is not the name of a ConfigMap or Secret; write lower-case letters, digits, hyphens and dots"))]
    pub name: String,
    /// The key under which the bundle stands, in PEM.
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
    /// As in the spec.
    pub fn as_str(self) -> &'static str {
        match self {
            CaKind::Secret => "Secret",
            CaKind::ConfigMap => "ConfigMap",
        }
    }
}

/// A row of Service Account Administration that must be granted.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct RequiredPermission {
    /// The row's title without blanks, such as `EmployeePersonDetails`.
    #[schemars(length(min = 1, max = 63))]
    #[x_kube(validation = Rule::new("self.matches('^[A-Z][A-Za-z0-9]*$')").message("permissions[].name is not the name of a permission; write the row's title without blanks, such as EmployeePersonDetails"))]
    pub name: String,

    /// The interface to test it by, where UKG Pro has both; Auto takes SOAP where there is a SOAP service.
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
    /// SOAP where there is a SOAP service, REST elsewhere.
    #[default]
    #[serde(other)]
    Auto,
}

/// What the operator found. Nothing in it moves while nothing changes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UkgProConnectionStatus {
    /// The generation of the spec that this status is about; none before the first check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The verdict: the one of `Active`, `Unauthorized`, `Forbidden` and `Unreachable` that is True, or `Unknown`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub state: String,

    /// The web-service host that was spoken to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 270))]
    pub endpoint: Option<String>,

    /// The Secret for workloads to bind to, as the Service Binding specification has it: the one that `spec.secretRef` names, once
    /// it was found to hold a login's values. It does not wait for a verdict, and none takes it away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that a check has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_handled_reconcile_at: Option<String>,

    /// A fingerprint of the fields of the spec that this verdict is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub checked_spec: Option<String>,

    /// Names of the required permissions that UKG Pro denies, for people and `kubectl get`; `permissions` has them one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8320))]
    pub missing: Option<String>,

    /// The `resourceVersion` of the Secret that this status is about. A refused login is not tried again before it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_resource_version: Option<String>,

    /// Checks in a row that got no usable answer, while the connection is Degraded.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 10))]
    pub failures: i32,

    /// When the connection was last checked, to the operator's `--heartbeat` (an hour): it moves no more often than that by itself, and
    /// with whatever else a check writes here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked_time: Option<Time>,

    /// When the next login may be tried, where that is held back until a certain time. There is no such time at rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_time: Option<Time>,

    /// What is known to have worked with the values of this very version of the Secret: then trouble on the way is no reason to fear for
    /// the account.
    #[serde(default, skip_serializing_if = "Worked::is_nothing")]
    pub worked: Worked,

    /// Logins in a row that were answered neither with a session nor with a refusal, with the values of this very version of the Secret.
    /// Each may have been a refusal, so the next has to wait: see `nextCheckTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_attempts: Option<LoginAttempts>,

    /// What condition `CandidateReady` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,

    /// `Active`, `Unauthorized`, `Forbidden`, `Unreachable`: one is True once there is a verdict. `Ready` sums up. `Stalled` is
    /// there while only a person can help, `Reconciling` while it is retried by itself, `CandidateReady` with a candidate.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// Each required permission by itself.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionStatus>,
}

/// What a workload binds to.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The name of a Secret of the same namespace.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// Logins in a row whose answers do not show what became of them.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LoginAttempts {
    /// How many. More than 24 count as 24.
    #[schemars(range(min = 1, max = 24))]
    pub count: i32,
    /// When the last was.
    pub last_time: Time,
}

impl From<Tried> for LoginAttempts {
    fn from(tried: Tried) -> Self {
        Self { count: tried.times.into(), last_time: Time(tried.at) }
    }
}

impl LoginAttempts {
    fn tried(&self) -> Option<Tried> {
        u16::try_from(self.count).ok().filter(|times| *times > 0).map(|times| Tried { times, at: self.last_time.0 })
    }
}

impl UkgProConnectionStatus {
    /// The logins in a row that were answered neither with a session nor with a refusal.
    pub fn tried(&self) -> Option<Tried> {
        self.login_attempts.as_ref().and_then(LoginAttempts::tried)
    }
}

/// What was checked of a candidate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// A fingerprint of the spec as it will be with the candidate in `secretRef`, and of the permissions that were tested.
    #[schemars(length(max = 64))]
    pub checked_spec: String,
    /// The `resourceVersion` of the candidate's Secret.
    #[schemars(length(max = 64))]
    pub secret_resource_version: String,
    /// What is known to have worked with its values.
    #[serde(default, skip_serializing_if = "Worked::is_nothing")]
    pub worked: Worked,
    /// Logins in a row with its values that were answered neither with a session nor with a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_attempts: Option<LoginAttempts>,
}

/// What has worked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Worked {
    /// The login.
    pub login: bool,
    /// Basic authentication, of REST.
    pub rest: bool,
}

impl Worked {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One required permission.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PermissionStatus {
    /// As in `spec.permissions`.
    #[schemars(length(max = 63))]
    pub name: String,
    /// The row's title on the page Service Account Administration.
    #[schemars(length(max = 128))]
    pub title: String,
    /// The access to tick in that row.
    pub access: Access,
    /// The interface it was tested by.
    pub api: ApiKind,
    /// What was found.
    pub state: PermissionState,
    /// Why, where the state is not Granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What to do, where it is Denied or Undetermined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub remedy: Option<String>,
    /// Since when the state is what it is.
    pub since: Time,
}

/// What a row is ticked for.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    #[allow(missing_docs)]
    #[serde(other)]
    View,
}

/// The interface a permission is tested by.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKind {
    /// A REST resource.
    #[serde(rename = "REST")]
    Rest,
    /// A SOAP data service.
    #[serde(rename = "SOAP", other)]
    Soap,
}

/// What was found of a permission.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionState {
    /// The read worked.
    Granted,
    /// UKG Pro refused the read for want of the permission.
    Denied,
    /// UKG Pro's answer shows neither.
    Undetermined,
    /// No usable answer came.
    Error,
    /// Not tested, since the check did not get that far.
    #[serde(other)]
    Unknown,
}

/// Ten minutes: a rotated password is noticed within a coffee break, at 144 logins a day.
fn default_interval() -> String {
    "10m".to_owned()
}

/// Two hiccups in a row are common with any service, three are not.
fn default_failure_threshold() -> i32 {
    3
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn default_timeout() -> String {
    "30s".to_owned()
}

/// The bounds of `spec.interval` and `spec.timeout`, as the CRD's rules have them.
const INTERVAL: RangeInclusive<Duration> = Duration::from_secs(60)..=Duration::from_secs(86_400);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_secs(300);

/// Where cert-manager and OpenShift put a bundle.
fn default_ca_key() -> String {
    "ca.crt".to_owned()
}

impl UkgProConnectionSpec {
    /// `interval` as plain time, within its bounds.
    pub fn interval(&self) -> Duration {
        within(&self.interval, &default_interval(), INTERVAL)
    }

    /// `timeout` as plain time, within its bounds.
    pub fn timeout(&self) -> Duration {
        within(&self.timeout, &default_timeout(), TIMEOUT)
    }

    /// `failureThreshold`, within its bounds.
    pub fn failure_threshold(&self) -> i32 {
        self.failure_threshold.clamp(1, 10)
    }

    /// The spec as it will be when the candidate is promoted.
    pub fn promoted(&self) -> Option<Self> {
        let secret_ref = self.candidate_secret_ref.clone()?;
        Some(Self { secret_ref, candidate_secret_ref: None, ..self.clone() })
    }

    /// A fingerprint of the fields a verdict depends on, to tell a verdict about this spec from one about another.
    pub fn checked(&self) -> String {
        let Self { secret_ref, domain, subdomain, ca_ref, profiles, permissions, .. } = self;
        let fields = serde_json::json!([secret_ref, domain, subdomain, ca_ref, profiles, permissions]).to_string();
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, fields.as_bytes());
        hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A duration as text, or the default where an object was stored before the CRD had its rules.
fn within(text: &str, default: &str, bounds: RangeInclusive<Duration>) -> Duration {
    let time = duration(text).or_else(|| duration(default)).unwrap_or(*bounds.start());
    time.clamp(*bounds.start(), *bounds.end())
}

/// Whole hours, minutes and seconds, as in `1h30m`.
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
    /// This connection as it will be when the candidate is promoted, with what its status says of that.
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

    /// The request for a check that a person has made by [`REQUESTED_AT`], as far as it is kept.
    pub fn requested_at(&self) -> Option<&str> {
        let value = self.metadata.annotations.as_ref()?.get(REQUESTED_AT)?;
        Some(value.char_indices().nth(REQUEST_MAX).map_or(value.as_str(), |(end, _)| &value[..end]))
    }

    /// A request that no check has answered yet.
    pub fn open_request(&self) -> Option<&str> {
        let handled = self.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        self.requested_at().filter(|requested| handled != Some(requested))
    }
}

/// The CustomResourceDefinition to install.
///
/// A new object has a status from its first moment, with all conditions Unknown. Without it kstatus, and so Flux, Helm and `kubectl wait`,
/// take an object that no operator has looked at yet for a finished one. It names no generation: kstatus would tell of that, and not of
/// the message.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = UkgProConnection::crd();
    // By this an implementation of Service Binding knows the kinds that it can bind to. Here, as the derive would label objects too.
    crd.metadata.labels = Some([("servicebinding.io/provisioned-service".to_owned(), "true".to_owned())].into());
    let message = "Waiting for the first check. If this stays, see whether ukgpro-operator runs and watches this namespace.";
    let conditions: Vec<_> = crate::conditions::ALWAYS
        .iter()
        .map(|type_| {
            json!({
                "type": type_,
                "status": "Unknown",
                "reason": Reason::Probing.as_str(),
                "message": message,
                "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        })
        .collect();
    let status = json!({ "state": "Unknown", "conditions": conditions });
    for version in &mut crd.spec.versions {
        if let Some(root) = version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut()) {
            root.properties.iter_mut().filter_map(|fields| fields.get_mut("spec")).for_each(describe_defaults);
            set_default(root, &["status"], status.clone());
        }
    }
    crd
}

/// Says in each field's description what its default is, which `kubectl explain` does not show.
fn describe_defaults(schema: &mut JSONSchemaProps) {
    let default = match &schema.default {
        Some(JSON(serde_json::Value::String(text))) => Some(text.clone()),
        Some(JSON(plain @ (serde_json::Value::Bool(_) | serde_json::Value::Number(_)))) => Some(plain.to_string()),
        _ => None,
    };
    if let (Some(default), Some(description)) = (default, &mut schema.description) {
        description.push_str(&format!(" Default: {default}."));
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
        describe_defaults(items);
    }
    schema.properties.iter_mut().flat_map(|properties| properties.values_mut()).for_each(describe_defaults);
}

fn set_default(schema: &mut JSONSchemaProps, path: &[&str], value: serde_json::Value) {
    match path {
        [] => schema.default = Some(JSON(value)),
        [first, rest @ ..] => {
            if let Some(property) = schema.properties.as_mut().and_then(|properties| properties.get_mut(*first)) {
                set_default(property, rest, value);
            }
        }
    }
}

/// Whether an object can have this name (RFC 1123): what was stored before the CRD had its rules may hold anything.
pub fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&name.len()) && name.chars().all(inner) && name.starts_with(ends) && name.ends_with(ends)
}

/// Whether a class of operators can have this name: that of an object without dots.
pub fn is_class(name: &str) -> bool {
    is_object_name(name) && !name.contains('.') && name.len() <= 63
}

#[cfg(test)]
mod tests;
