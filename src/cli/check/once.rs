//! One check from manifests, without a cluster: `ukgpro-operator check`.
//!
//! ```text
//! read ─▶ gather ─▶ check ─▶ render
//! files    pure      UKG Pro   pure
//! ```
//!
//! **Role.** The controller's own steps, with files in the place of Kubernetes. What is decided here is decided by
//! [`controller::check`] and [`decide::decide`], so a verdict of this command is the operator's.
//!
//! **Invariant.** An error names the file, the document and the place in it, and never quotes what stands there: it may be a
//! password in the wrong place. Secret values are wiped when dropped, as far as they are copies of ours.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;
use ukg_pro::capture::{Capture, Recorder};
use ukg_pro::catalogue::{Api, Catalogue};
use ukg_pro::transport::{ProxySettings, Transport};

use crate::api::conditions::{self, READY};
use crate::api::{UkgProConnection, Verdict, messages};
use crate::controller::decide::{self, Observation, Observed};
use crate::controller::resolve::{self, Referents, Transports};
use crate::controller::{self, Policy};
use crate::login_guard::Ledger;
use crate::operator::StartError;
use crate::schedule::clock::Clock;

/// What manifests say about one connection.
pub struct Gathered {
    /// The connection, with the defaults of its definition and without a status.
    pub connection: UkgProConnection,
    /// What it refers to.
    pub referents: Referents,
    /// What was left out of account.
    pub notes: Vec<String>,
}

/// What a check came to.
pub struct Checked {
    /// The connection, with the status the operator would give it.
    pub connection: UkgProConnection,
    /// What whoever runs the operator is told besides.
    pub warnings: Vec<String>,
}

/// What a person should know before a login is spent; `None` where none will be.
pub fn warning(connection: &UkgProConnection, catalogue: &Catalogue) -> Option<String> {
    let spec = &connection.spec;
    let requirements = resolve::requirements(spec, catalogue).ok().filter(|_| !spec.suspend)?;
    let rest = requirements.iter().filter(|requirement| requirement.api == Api::Rest).count();
    let more = match rest {
        0 => String::new(),
        1 => ", and makes one REST read, which carries the password too".to_owned(),
        reads => format!(", and makes {reads} REST reads, which carry the password too"),
    };
    Some(format!(
        "this logs in to UKG Pro once with the values of Secret {}{more}. A refused password counts against the account, and nothing \
         remembers it: do not repeat a check that was refused before the values are corrected.",
        spec.secret_ref.name
    ))
}

/// Checks a connection once, as the operator does.
pub async fn check(
    gathered: Gathered,
    policy: &Policy,
    proxy: ProxySettings,
    catalogue: &Catalogue,
    recorder: Option<Arc<Recorder>>,
) -> Result<Checked, StartError> {
    let Gathered { mut connection, referents, .. } = gathered;
    let transports = Transports::new(Transport::new(policy.trust(proxy))?);
    let (ledger, clock) = (Ledger::in_memory()?, Clock::system());
    let requirements = resolve::requirements(&connection.spec, catalogue);
    let target = |requirements| resolve::resolve(&connection, requirements, referents, policy, &transports);
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
    // Files have no versions.
    connection.status = Some(crate::api::UkgProConnectionStatus { secret_resource_version: None, ..decision.status });
    Ok(Checked { connection, warnings })
}

impl Checked {
    /// Whether the verdict is Active.
    pub fn is_active(&self) -> bool {
        self.connection.status.as_ref().is_some_and(|status| status.state == Verdict::Active.as_str())
    }

    /// The verdict, its message and the permissions, for people.
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

    /// The connection's status, as the operator would write it.
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

/// A capture as a file to look through and to send.
pub fn capture_file(capture: &Capture) -> Result<String, serde_saphyr::ser::Error> {
    let yaml = serde_saphyr::to_string(capture)?;
    Ok(format!(
        "# What UKG Pro answered ukgpro-operator {}. Only words of a built-in list are copied; all else is a <placeholder>.\n{yaml}",
        env!("CARGO_PKG_VERSION")
    ))
}
