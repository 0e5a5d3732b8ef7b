//! Patches on JSON trees: RFC 6902, RFC 7396 and Kubernetes' strategic merge.
//!
//! [`read`] takes a body, the other functions apply it. Nothing here decodes the result into a kind: the caller does, and
//! tells [`read`]'s complaints together with those of that decoding.

use serde_json::Value;

use crate::codec::{Decoded, FieldValidation, decode_json};
use crate::error::{ApiError, Cause, Reason};

mod go_text;
mod json;
mod merge;
mod strategic;

pub(crate) use go_text::{shown, type_name};
pub use json::{MAX_COPIED_BYTES, MAX_OPERATIONS, MAX_SHIFTED, json_patch};
pub use merge::merge_patch;
pub use strategic::strategic_merge;

/// The kinds of patches that are JSON documents (apply is not one of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchKind {
    /// `application/json-patch+json`: a list of operations.
    Json,
    /// `application/merge-patch+json`: a tree in which null deletes.
    Merge,
    /// `application/strategic-merge-patch+json`: a tree merged by the schema.
    Strategic,
}

/// Reads a patch. `object` of the result is the patch, `warnings` are its duplicate and unknown fields, also under strict
/// validation: the caller refuses then, since only it knows the patched object that the refusal shows.
///
/// Errors are 400 in Kubernetes' words, or 413 for too many operations.
pub fn read(kind: PatchKind, bytes: &[u8], validation: FieldValidation) -> Result<Decoded, ApiError> {
    let lenient = validation == FieldValidation::Ignore;
    let soft = if lenient { FieldValidation::Ignore } else { FieldValidation::Warn };
    let mut decoded = decode_json(bytes, None, soft).map_err(|e| refuse(kind, validation, &e.message))?;
    match kind {
        PatchKind::Json => {
            if decoded.object.is_null() {
                decoded.object = Value::Array(Vec::new());
            }
            decoded.warnings = decoded.warnings.iter().map(|w| format!("json patch {w}")).collect();
            check_operations(&decoded.object, validation, &mut decoded.warnings)?;
        }
        PatchKind::Merge => match &decoded.object {
            Value::Object(_) => {}
            // A list replaces the whole document, but only who asked for no checks gets that far.
            Value::Array(_) if lenient => {}
            Value::Null => return Err(ApiError::bad_request(BAD_MERGE)),
            _ if lenient => return Err(ApiError::bad_request(BAD_MERGE)),
            other => return Err(refuse(kind, validation, &no_map(other))),
        },
        PatchKind::Strategic => match &decoded.object {
            Value::Object(_) => {}
            Value::Null => decoded.object = Value::Object(serde_json::Map::new()),
            other => return Err(refuse(kind, validation, &no_map(other))),
        },
    }
    Ok(decoded)
}

const BAD_MERGE: &str = "Invalid JSON Patch";

fn refuse(kind: PatchKind, validation: FieldValidation, why: &str) -> ApiError {
    match (kind, validation) {
        (PatchKind::Merge, FieldValidation::Ignore) => ApiError::bad_request(BAD_MERGE),
        (PatchKind::Strategic, _) | (_, FieldValidation::Ignore) => ApiError::bad_request(why),
        _ => ApiError::bad_request(format!("error decoding patch: {why}")),
    }
}

fn no_map(found: &Value) -> String {
    format!("json: cannot unmarshal {} into Go value of type map[string]interface {{}}", json_kind(found))
}

/// The word of Go's JSON library for a value.
fn json_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check_operations(patch: &Value, validation: FieldValidation, complaints: &mut Vec<String>) -> Result<(), ApiError> {
    let lenient = validation == FieldValidation::Ignore;
    let fail = |why: String| Err(refuse(PatchKind::Json, validation, &why));
    let Some(operations) = patch.as_array() else {
        let ty = if lenient { "jsonpatch.Patch" } else { "[]handlers.jsonPatchOp" };
        return fail(format!("json: cannot unmarshal {} into Go value of type {ty}", json_kind(patch)));
    };
    if operations.len() > MAX_OPERATIONS {
        return Err(json::too_many(operations.len()));
    }
    for (i, operation) in operations.iter().enumerate() {
        match operation {
            Value::Object(fields) if !lenient => {
                for (name, value) in fields {
                    match (name.as_str(), value) {
                        ("value", _) | ("op" | "path" | "from", Value::String(_) | Value::Null) => {}
                        ("op" | "path" | "from", other) => {
                            let found = json_kind(other);
                            return fail(format!("json: cannot unmarshal {found} into Go struct field jsonPatchOp.{name} of type string"));
                        }
                        _ => complaints.push(format!("json patch unknown field {:?}", format!("[{i}].{name}"))),
                    }
                }
            }
            Value::Object(_) | Value::Null => {}
            other => {
                let ty = if lenient { "jsonpatch.Operation" } else { "handlers.jsonPatchOp" };
                return fail(format!("json: cannot unmarshal {} into Go value of type {ty}", json_kind(other)));
            }
        }
    }
    Ok(())
}

/// 422 as kube-apiserver answers it; its sentence says nothing of the reason, so that goes into a cause.
fn unprocessable(why: String) -> ApiError {
    ApiError::new(422, Reason::Invalid, "the server rejected our request due to an error in our request").with_cause(Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: why,
        field: "patch".to_owned(),
    })
}

#[cfg(test)]
mod tests;
