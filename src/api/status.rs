//! The `status` of a connection, which the operator writes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the operator found. It stays the same until something changes.
#[derive(Serialize, Deserialize, KubeSchema, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct UkgProConnectionStatus {
    /// The generation of the spec that this status is about. Unset before the first check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// The verdict: the one of `Active`, `Unauthorized`, `Forbidden` and `Unreachable` that is True, or `Unknown`.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub state: String,

    /// The web-service host that was contacted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 270))]
    pub endpoint: Option<String>,

    /// The Secret that workloads bind to, as defined by the Service Binding specification: the Secret that `spec.secretRef` names,
    /// once it is found to hold the values for a login. It does not depend on the verdict.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,

    /// The last value of the annotation `reconcile.fluxcd.io/requestedAt` that a check has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub last_handled_reconcile_at: Option<String>,

    /// A fingerprint of the spec fields that this verdict is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub checked_spec: Option<String>,

    /// Names of the required permissions that UKG Pro denies, for people and `kubectl get`. `permissions` lists them one by one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 8320))]
    pub missing: Option<String>,

    /// The `resourceVersion` of the Secret that this status is about. A refused login is not retried until it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub secret_resource_version: Option<String>,

    /// The number of checks in a row without a usable answer, while the connection is Degraded.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = 0, max = 10))]
    pub failures: i32,

    /// When the connection was last checked. A check updates it together with any other change, and otherwise at most once per
    /// `--heartbeat` of the operator (1h by default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_checked_time: Option<Time>,

    /// When the next login may be tried, if logins are held back until a certain time. Unset otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_check_time: Option<Time>,

    /// What is known to have worked with the values of this version of the Secret. Once the login has worked, connection trouble
    /// is no risk to the account.
    #[serde(default, skip_serializing_if = "Worked::is_nothing")]
    pub worked: Worked,

    /// Logins in a row, with the values of this version of the Secret, whose answers were neither a session nor a refusal. Each
    /// answer may have been a refusal, so the next login waits until `nextCheckTime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_attempts: Option<LoginAttempts>,

    /// The check that condition `CandidateReady` is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateStatus>,

    /// `Active`, `Unauthorized`, `Forbidden`, `Unreachable`: one is True once there is a verdict. `Ready` is the summary.
    /// `Stalled` is present while only a person can help, `Reconciling` while the operator retries, and `CandidateReady` while
    /// there is a candidate.
    #[serde(default)]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,

    /// The result for each required permission.
    // Only the operator writes it, as a whole. A map would make the API server record an owner for each field of each item, which
    // is a tenth of the object, and more work at each write.
    #[schemars(length(max = 128))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub permissions: Vec<PermissionStatus>,
}

/// The Secret that workloads bind to.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The name of a Secret in the same namespace.
    #[schemars(length(max = 253))]
    pub name: String,
}

/// Logins in a row whose answers do not show the outcome.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct LoginAttempts {
    /// The number of logins. More than 24 count as 24.
    #[schemars(range(min = 1, max = 24))]
    pub count: i32,
    /// The time of the last login.
    pub last_time: Time,
}

/// The check of a candidate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct CandidateStatus {
    /// A fingerprint of the spec with the candidate in `secretRef`, and of the permissions that were tested.
    #[schemars(length(max = 64))]
    pub checked_spec: String,
    /// The `resourceVersion` of the candidate's Secret.
    #[schemars(length(max = 64))]
    pub secret_resource_version: String,
    /// What is known to have worked with its values.
    #[serde(default, skip_serializing_if = "Worked::is_nothing")]
    pub worked: Worked,
    /// Logins in a row with its values whose answers were neither a session nor a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login_attempts: Option<LoginAttempts>,
}

/// Which kinds of authentication have worked.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct Worked {
    /// The login.
    pub login: bool,
    /// Basic authentication with REST.
    pub rest: bool,
}

impl Worked {
    fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// The result for one required permission.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct PermissionStatus {
    /// The name, as in `spec.permissions`.
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
    /// Why the state is not Granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub reason: Option<String>,
    /// What to do if it is Denied or Undetermined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub remedy: Option<String>,
    /// The time of the last change of the state.
    pub since: Time,
}

/// The access that is ticked in a row.
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

/// The result for a permission.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermissionState {
    /// The read worked.
    Granted,
    /// UKG Pro refused the read because the permission is missing.
    Denied,
    /// UKG Pro's answer shows neither a grant nor a denial.
    Undetermined,
    /// No usable answer came.
    Error,
    /// Not tested, because the check did not get that far.
    #[serde(other)]
    Unknown,
}

fn is_zero(number: &i32) -> bool {
    *number == 0
}
