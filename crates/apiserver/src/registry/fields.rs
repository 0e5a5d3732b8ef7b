//! The metadata that only the server sets.

use std::time::SystemTime;

use api::{ApiError, meta};
use serde_json::{Value, json};

use crate::call::Call;

/// How many random letters end a generated name.
const SUFFIX: usize = 5;
/// The longest base of a generated name.
const LONGEST_BASE: usize = 63 - SUFFIX;

/// A moment as Kubernetes writes it.
pub fn timestamp(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// What every new object gets.
pub fn fill_new(call: &Call, object: &mut Value) {
    let now = timestamp(call.server.clock.now());
    let uid = call.server.prng.uuid();
    let Some(metadata) = meta::metadata_mut(object) else { return };
    metadata.remove("deletionTimestamp");
    metadata.remove("deletionGracePeriodSeconds");
    metadata.remove("selfLink");
    metadata.remove("resourceVersion");
    metadata.insert("uid".to_owned(), json!(uid));
    metadata.insert("creationTimestamp".to_owned(), json!(now));
}

/// Takes a name from `generateName` if the object has none of its own.
pub fn generate_name(call: &Call, object: &mut Value) {
    let base = meta::generate_name(object);
    if base.is_empty() || !meta::name(object).is_empty() {
        return;
    }
    let mut end = base.len().min(LONGEST_BASE);
    while !base.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    let name = format!("{}{}", base.get(..end).unwrap_or_default(), call.server.prng.name_suffix(SUFFIX));
    meta::set(object, "name", &name);
}

/// What no update can change.
pub fn keep_system_fields(new: &mut Value, old: &Value) {
    let before = meta::metadata(old).cloned().unwrap_or_default();
    let Some(metadata) = meta::metadata_mut(new) else { return };
    let mut keep = |key: &str| match before.get(key) {
        Some(value) => metadata.insert(key.to_owned(), value.clone()),
        None => metadata.remove(key),
    };
    keep("creationTimestamp");
    keep("deletionTimestamp");
    keep("deletionGracePeriodSeconds");
    keep("selfLink");
    if metadata.get("uid").is_none_or(|u| u == "") {
        metadata.insert("uid".to_owned(), before.get("uid").cloned().unwrap_or_default());
    }
}

/// The generation is the server's: it starts from the old one, and only a strategy counts it up.
pub fn keep_generation(new: &mut Value, old: &Value) {
    let before = old.pointer("/metadata/generation").cloned();
    let Some(metadata) = meta::metadata_mut(new) else { return };
    match before {
        Some(generation) => metadata.insert("generation".to_owned(), generation),
        None => metadata.remove("generation"),
    };
}

/// The object's namespace is the request's.
pub fn match_namespace(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let expected = if call.resource.descriptor.namespaced { call.info.namespace.as_str() } else { "" };
    let actual = meta::namespace(object);
    if actual == expected {
        return Ok(());
    }
    if !actual.is_empty() {
        return Err(ApiError::bad_request("the namespace of the provided object does not match the namespace sent on the request"));
    }
    meta::set(object, "namespace", expected);
    Ok(())
}

/// The object's name is the request's.
pub fn match_name(call: &Call, object: &mut Value) -> Result<(), ApiError> {
    let (expected, actual) = (call.info.name.as_str(), meta::name(object).to_owned());
    if actual == expected {
        return Ok(());
    }
    if !actual.is_empty() {
        let message = format!("the name of the object ({actual}) does not match the name on the URL ({expected})");
        return Err(ApiError::bad_request(message));
    }
    meta::set(object, "name", expected);
    Ok(())
}
