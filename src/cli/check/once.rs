//! The check of one connection from manifests, without a cluster.
//!
//! ```text
//! read ─▶ collect ─▶ check ─▶ render
//! files    pure       UKG Pro   pure
//! ```
//!
//! **Role.** Runs the controller's own steps on files instead of Kubernetes. All decisions come from [`controller::check`] and
//! [`decide::decide`], so this command gives the same verdict as the operator.
//!
//! **Invariant.** An error names the file, the document and the line, and never quotes their content, which may be a password in
//! the wrong place. Secret values are wiped when dropped, as far as this program copied them.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use ukg_pro::capture::{Capture, Recorder};
use ukg_pro::catalogue::{Api, Catalogue};
use ukg_pro::transport::{ProxySettings, Transport};

use crate::api::conditions::{self, READY};
use crate::api::{UkgProConnection, Verdict, messages};
use crate::controller::decide::{self, Observation, Observed};
use crate::controller::resolve::{self, ReferencedObjects, Transports};
use crate::controller::{self, Policy};
use crate::login_guard::Ledger;
use crate::operator::OperatorError;
use crate::schedule::clock::Clock;

/// The content of the manifests about one connection.
pub struct CheckInput {
    /// The connection, with the definition's defaults and without a status.
    pub connection: UkgProConnection,
    /// The objects it refers to.
    pub references: ReferencedObjects,
    /// Notes on what was ignored.
    pub notes: Vec<String>,
}

/// The result of a check.
pub struct Checked {
    /// The connection, with the status that the operator would write.
    pub connection: UkgProConnection,
    /// Further warnings for the operator's administrator.
    pub warnings: Vec<String>,
}

/// Returns a warning to show before the login; `None` if no login will be sent.
pub fn warning(connection: &UkgProConnection, catalogue: &Catalogue) -> Option<String> {
    let spec = &connection.spec;
    let requirements = resolve::requirements(spec, catalogue).ok().filter(|_| !spec.suspend)?;
    let rest = requirements.iter().filter(|requirement| requirement.api == Api::Rest).count();
    let more = match rest {
        0 => String::new(),
        1 => ", and one REST read, which sends the password too".to_owned(),
        reads => format!(", and {reads} REST reads, which send the password too"),
    };
    Some(format!(
        "this check sends one login to UKG Pro with the values of Secret {}{more}. A refused login counts against the account, and \
         this command does not remember it: if the login is refused, correct the values before you check again.",
        spec.secret_ref.name
    ))
}

/// Checks a connection once, like the operator.
pub async fn check(
    input: CheckInput,
    policy: &Policy,
    proxy: ProxySettings,
    catalogue: &Catalogue,
    recorder: Option<Arc<Recorder>>,
) -> Result<Checked, OperatorError> {
    let CheckInput { mut connection, references, .. } = input;
    let transports = Transports::new(Transport::new(policy.trust(proxy))?);
    let (ledger, clock) = (Ledger::in_memory()?, Clock::system());
    let requirements = resolve::requirements(&connection.spec, catalogue);
    let target = |requirements| resolve::resolve(&connection, requirements, references, policy, &transports);
    let observation = if connection.spec.suspend {
        Observation::Suspended
    } else {
        match requirements.clone().and_then(target) {
            Ok(mut target) => {
                target.recorder = recorder;
                controller::check(&connection, &target, &target, &ledger, &clock).await?
            }
            Err(unresolved) => Observation::Unresolved(unresolved),
        }
    };
    let warnings = observation.unfiltered().map(|(requirement, host)| messages::unfiltered(requirement, host)).collect();
    let observed = Observed::of(&connection, observation, None);
    let decision = decide::decide(&connection, &requirements.unwrap_or_default(), &observed, clock.now());
    // Files have no `resourceVersion`.
    connection.status = Some(crate::api::UkgProConnectionStatus { secret_resource_version: None, ..decision.status });
    Ok(Checked { connection, warnings })
}

impl Checked {
    /// Whether the verdict is Active.
    pub fn is_active(&self) -> bool {
        self.connection.status.as_ref().is_some_and(|status| status.state == Verdict::Active.as_str())
    }

    /// Returns the verdict, its message and the permissions, for people.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let Some(status) = &self.connection.status else { return text };
        let name = self.connection.metadata.name.as_deref().unwrap_or_default();
        let ready = conditions::find(&status.conditions, READY);
        let (reason, message) = ready.map_or(("", ""), |ready| (&ready.reason, &ready.message));
        // Writing to a String does not fail.
        let _ = writeln!(text, "{name}: {} ({reason})\n{message}", status.state);
        if !status.permissions.is_empty() {
            let _ = writeln!(text, "\n{:<32} {:<5} {:<13} REASON", "PERMISSION", "API", "STATE");
        }
        for permission in &status.permissions {
            let api = serde_json::to_value(permission.api).unwrap_or_default();
            let (api, state) = (api.as_str().unwrap_or_default(), format!("{:?}", permission.state));
            let reason = permission.reason.as_deref().unwrap_or_default();
            let line = format!("{:<32} {api:<5} {state:<13} {reason}", permission.name);
            let _ = writeln!(text, "{}", line.trim_end());
            if let Some(remedy) = &permission.remedy {
                let _ = writeln!(text, "    {remedy}");
            }
        }
        text
    }

    /// Returns the connection's status as the operator would write it.
    pub fn yaml(&self) -> Result<String, serde_saphyr::ser::Error> {
        let metadata = &self.connection.metadata;
        serde_saphyr::to_string(&json!({
            "apiVersion": <UkgProConnection as kube::Resource>::api_version(&()),
            "kind": <UkgProConnection as kube::Resource>::kind(&()),
            "metadata": {"name": metadata.name, "namespace": metadata.namespace},
            "status": self.connection.status,
        }))
    }
}

/// Returns a capture as a file to review and send.
pub fn capture_file(capture: &Capture) -> Result<String, serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(capture)?;
    Ok(format!(
        "# What UKG Pro answered ukgpro-operator {}. Only words of a built-in list are copied; everything else is a <placeholder>.\n{yaml}",
        env!("CARGO_PKG_VERSION")
    ))
}
