//! The custom resource `UkgProConnection`: the fields users write, the fields the operator writes, and their texts.
//!
//! The CRD in `crds/` is generated from these types ([`crd()`]), and a test fails if it drifts. The API server validates
//! everything that needs no I/O with the CEL rules defined here. The message of each rule says what to write instead.
//!
//! | file | contents |
//! |---|---|
//! | [`spec`] | the fields a user writes |
//! | [`status`] | the fields the operator writes |
//! | [`verdict`] | the verdict in a status, and whether it is about the current connection |
//! | [`conditions`] | Kubernetes' rules for conditions |
//! | [`reason`] | the closed vocabulary of reasons |
//! | [`messages`] | the text of each reason |
//! | [`validation`] | the rules whose message computes the value to paste |

// KubeSchema generates private copies of the types and keeps their visibility.
#![allow(unreachable_pub)]
// Each printcolumn has a `type_`, which the lint mistakes for a duplicate.
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

pub use reason::{Delay, HostChange, Kstatus, OverdueCause, Reason, Verdict};
pub use spec::*;
pub use status::*;

/// The annotation with which a person or a tool requests a check. Each new value is a new request.
pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
/// The field manager of the status, and the reporting component of events.
pub const FIELD_MANAGER: &str = "ukgpro-operator";

/// Returns the CustomResourceDefinition to install.
///
/// A new object gets a default status in which all conditions are Unknown. Without it kstatus, and so Flux, Helm and `kubectl
/// wait`, treat an object that no operator has processed yet as finished. The default has no `observedGeneration`: with one,
/// kstatus would report the generations instead of the message.
pub fn crd() -> CustomResourceDefinition {
    let mut crd = UkgProConnection::crd();
    // Implementations of Service Binding find bindable kinds by this label. The derive macro would put it on objects too.
    crd.metadata.labels = Some([("servicebinding.io/provisioned-service".to_owned(), "true".to_owned())].into());
    let message = "Waiting for the first check. If this persists, verify that ukgpro-operator runs and watches this namespace.";
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
            if let Some(schema) = root.properties.as_mut().and_then(|fields| fields.get_mut("status")) {
                schema.default = Some(JSON(status.clone()));
            }
        }
    }
    crd
}

/// Appends the default to the description of each field, because `kubectl explain` does not show defaults.
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

/// Whether this is a valid object name (RFC 1123). Objects stored before the CRD had its rules may hold any name.
pub fn is_object_name(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    let ends = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&name.len()) && name.chars().all(inner) && name.starts_with(ends) && name.ends_with(ends)
}

/// Whether this is a valid controller class: a short object name without dots.
pub fn is_class(name: &str) -> bool {
    is_object_name(name) && !name.contains('.') && name.len() <= 63
}

#[cfg(test)]
mod tests;
