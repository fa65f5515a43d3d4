//! Finds what the API server would refuse in a connection, without an API server. Pure.
//!
//! Everything comes from the resource's definition: fields, types, bounds and allowed values are read from it, and the message of
//! each CEL rule known here is the definition's own. The rules on `domain` and `subdomain` are not repeated: the check itself
//! applies them, in [`Endpoint`](ukg_pro::endpoint::Endpoint). Messages do not quote unknown field names, since a file may contain
//! anything; they name the most similar known one.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use serde_json::Value;

use crate::api;

/// A CEL rule of the definition, and its equivalent in Rust.
type Rule = (&'static str, fn(&Value) -> bool);

const RULES: [Rule; 8] = [
    (
        "self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('1m') && duration(self) <= duration('24h')",
        |interval| seconds(interval).is_some_and(|seconds| (60..=86_400).contains(&seconds)),
    ),
    (
        "self.matches('^([0-9]{1,5}(h|m|s))+$') && duration(self) >= duration('10s') && duration(self) <= duration('5m')",
        |timeout| seconds(timeout).is_some_and(|seconds| (10..=300).contains(&seconds)),
    ),
    (
        "oldSelf.optMap(old, old.timeout == self.timeout && old.interval == self.interval).orValue(false) || [self.timeout, \
         self.interval].exists(text, !text.matches('^([0-9]{1,5}(h|m|s))+$')) || duration(self.timeout) <= \
         duration(self.interval)",
        |spec| {
            let of = |field, default| spec.get(field).map_or(Some(default), seconds);
            // A separate rule reports an invalid duration.
            of("timeout", 30).zip(of("interval", 600)).is_none_or(|(timeout, interval)| timeout <= interval)
        },
    ),
    (
        "self.username != self.password && self.username != self.customerApiKey && self.username != self.userApiKey && self.password != \
         self.customerApiKey && self.password != self.userApiKey && self.customerApiKey != self.userApiKey && self.domain != \
         self.subdomain",
        |keys| {
            let [username, password, customer, user, domain, subdomain] = keys_of(keys);
            let credentials = [&username, &password, &customer, &user];
            credentials.iter().collect::<std::collections::BTreeSet<_>>().len() == credentials.len() && domain != subdomain
        },
    ),
    (
        "![self.domain, self.subdomain].exists(key, key in [self.username, self.password, self.customerApiKey, self.userApiKey, \
         'username', 'password', 'customerApiKey', 'userApiKey'])",
        |keys| {
            let ([username, password, customer, user, domain, subdomain], standard) = (keys_of(keys), keys_of(&Value::Null));
            let credentials = [&[username, password, customer, user][..], &standard[..4]].concat();
            !credentials.contains(&domain) && !credentials.contains(&subdomain)
        },
    ),
    ("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')", |name| name.as_str().is_some_and(api::is_object_name)),
    ("self.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$')", |class| class.as_str().is_some_and(api::is_class)),
    ("self.matches('^[A-Z][A-Za-z0-9]*$')", |name| {
        let name = name.as_str().unwrap_or_default();
        name.starts_with(|c: char| c.is_ascii_uppercase()) && name.chars().all(|c| c.is_ascii_alphanumeric())
    }),
];

/// Returns the keys of a Secret, with the definition's defaults, credentials first.
fn keys_of(keys: &Value) -> [String; 6] {
    let api::SecretKeys { username, password, customer_api_key, user_api_key, domain, subdomain } =
        serde_json::from_value(keys.clone()).unwrap_or_default();
    [username, password, customer_api_key, user_api_key, domain, subdomain]
}

/// Parses a duration as the definition does, in seconds.
fn seconds(time: &Value) -> Option<u64> {
    time.as_str().and_then(api::duration).map(|duration| duration.as_secs())
}

/// Returns what is wrong with a connection's manifest, by field.
pub fn flaws(manifest: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    let crd = api::crd();
    let root = crd.spec.versions.first().and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let spec = root.and_then(|root| root.properties.as_ref()?.get("spec"));
    match (manifest.get("spec"), spec) {
        (Some(value), Some(schema)) => validate("spec", value, schema, &mut flaws),
        _ => flaws.push("spec is missing".to_owned()),
    }
    flaws
}

fn validate(path: &str, value: &Value, schema: &JSONSchemaProps, flaws: &mut Vec<String>) {
    // The API server replaces a null by the default.
    if value.is_null() && (schema.nullable == Some(true) || schema.default.is_some()) {
        return;
    }
    let (fits, kind) = match schema.type_.as_deref() {
        Some("object") => (value.is_object(), "an object"),
        Some("array") => (value.is_array(), "a list"),
        Some("string") => (value.is_string(), "a string"),
        Some("boolean") => (value.is_boolean(), "true or false"),
        Some("integer") => (value.is_i64() || value.is_u64(), "an integer"),
        _ => (true, ""),
    };
    if !fits {
        flaws.push(format!("{path} must be {kind}"));
        return;
    }
    match value {
        Value::Object(fields) => validate_fields(path, fields, schema, flaws),
        Value::Array(items) => validate_items(path, items, schema, flaws),
        Value::String(text) => validate_text(path, text, schema, flaws),
        _ => {}
    }
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let holds = RULES.iter().find(|(known, _)| *known == rule.rule).is_none_or(|(_, holds)| holds(value));
        if !holds {
            flaws.push(format!(
                "{path}: {}",
                rule.message.as_deref().unwrap_or("it breaks a rule of the CustomResourceDefinition")
            ));
        }
    }
}

fn validate_fields(path: &str, fields: &serde_json::Map<String, Value>, schema: &JSONSchemaProps, flaws: &mut Vec<String>) {
    let Some(properties) = &schema.properties else { return };
    for (name, value) in fields {
        match properties.get(name) {
            Some(schema) => validate(&format!("{path}.{name}"), value, schema, flaws),
            None if matches!(schema.additional_properties, Some(JSONSchemaPropsOrBool::Schema(_))) => {}
            None => {
                let likeness = |known: &&String| strsim::jaro_winkler(&known.to_ascii_lowercase(), &name.to_ascii_lowercase());
                let nearest = properties.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
                let nearest =
                    nearest.filter(|known| likeness(known) > 0.75).map(|known| format!("; the most similar field is {known}"));
                flaws.push(format!("{path} has an unknown field{}", nearest.unwrap_or_default()));
            }
        }
    }
    for missing in schema.required.iter().flatten().filter(|name| !fields.contains_key(*name)) {
        flaws.push(format!("{path}.{missing} is missing"));
    }
}

fn validate_items(path: &str, items: &[Value], schema: &JSONSchemaProps, flaws: &mut Vec<String>) {
    if schema.max_items.is_some_and(|max| i64::try_from(items.len()).is_ok_and(|count| count > max)) {
        flaws.push(format!("{path} must not have more than {} entries", schema.max_items.unwrap_or_default()));
        return;
    }
    let keys = schema.x_kubernetes_list_map_keys.as_deref().unwrap_or_default();
    let identity = |item: &Value| match schema.x_kubernetes_list_type.as_deref() {
        Some("set") => Some(vec![item.clone()]),
        Some("map") => Some(keys.iter().map(|key| item.get(key).cloned().unwrap_or_default()).collect()),
        _ => None,
    };
    for (number, item) in items.iter().enumerate() {
        if let Some(JSONSchemaPropsOrArray::Schema(schema)) = &schema.items {
            validate(&format!("{path}[{number}]"), item, schema, flaws);
        }
        if identity(item).is_some_and(|this| items[..number].iter().any(|before| identity(before).as_ref() == Some(&this))) {
            flaws.push(format!("{path}[{number}] is a duplicate"));
        }
    }
}

fn validate_text(path: &str, text: &str, schema: &JSONSchemaProps, flaws: &mut Vec<String>) {
    let length = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
    if schema.min_length.is_some_and(|min| length < min) {
        flaws.push(format!("{path} is empty"));
    }
    if let Some(max) = schema.max_length.filter(|max| length > *max) {
        flaws.push(format!("{path} must not be longer than {max} characters"));
    }
    let allowed: Vec<_> = schema.enum_.iter().flatten().filter_map(|allowed| allowed.0.as_str()).collect();
    if !allowed.is_empty() && !allowed.contains(&text) {
        flaws.push(format!("{path} must be one of {}", allowed.join(", ")));
    }
}

#[cfg(test)]
mod tests;
