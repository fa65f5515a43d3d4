//! The custom resource `UkgProConnection`: what a user writes, what the operator writes back, and in which words.
//!
//! The CRD in `crds/` is generated from these types ([`crd()`]) and a test fails when it drifts. What can be judged without I/O is
//! judged by the API server, by the CEL rules here, each with a message that says what to write instead.
//!
//! | file | what is in it |
//! |---|---|
//! | [`spec`] | the fields a user writes |
//! | [`status`] | the fields the operator writes |
//! | [`verdict`] | what a status says, and whether it is about the connection as it is |
//! | [`conditions`] | Kubernetes' rules for conditions |
//! | [`reason`] | the closed vocabulary of reasons |
//! | [`messages`] | what each reason says to a person |
//! | [`validation`] | the rules whose message computes the value to paste |

// KubeSchema writes private copies of the types with their visibility.
#![allow(unreachable_pub)]
// Each printcolumn has a type of its own, which the lint takes for a repetition.
#![allow(clippy::duplicated_attributes)]

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSON, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

pub mod conditions;
pub mod messages;
pub mod reason;
pub mod spec;
pub mod status;
pub mod validation;
pub mod verdict;

pub use reason::{Delay, Disposition, HostChange, Reason, Stall, Verdict};
pub use spec::*;
pub use status::*;

/// The annotation by which a person, or an existing tool, asks for a check now; another value is another request.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// What the operator owns in a status, and who it says it is in events.
pub const FIELD_MANAGER: &str = "ukgpro-operator";

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
    let conditions: Vec<_> = conditions::ALWAYS
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
