//! What the operator writes: `status`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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

fn is_zero(number: &i32) -> bool {
    *number == 0
}
