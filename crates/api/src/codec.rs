//! Bodies in, objects out: JSON and YAML with the schema's help, in Kubernetes' words when something is wrong.
//!
//! Protobuf bodies are read by [`crate::protobuf`]; [`decode_body`] takes all three.

use serde_json::Value;

mod cursor;
mod decode;
pub mod moment;
mod normal;
mod syntax;

pub use cursor::MAX_DEPTH;
pub use normal::normalize;
pub(crate) use normal::{finish, store, zero};

use crate::error::ApiError;
use crate::meta::Gvk;
use crate::meta::gvk::{api_version, parse_api_version};
use crate::schema::{Type, builtin};
use cursor::{Cursor, Fault};
use decode::{Outcome, Report};

/// Bodies above this many bytes are refused (kube-apiserver's own limit for resource requests). The HTTP front answers
/// 413 before that; this is the second lock.
pub const MAX_BODY: usize = 3 * 1024 * 1024;
/// How much of an unrecognisable body an error shows.
const SUMMARY_BYTES: usize = 30;

/// The `fieldValidation` parameter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// Unknown and duplicate fields refuse the request.
    Strict,
    /// They are dropped and told as warnings.
    #[default]
    Warn,
    /// They are dropped in silence.
    Ignore,
}

impl FieldValidation {
    /// Reads the parameter's value; empty means [`FieldValidation::Warn`]. `None` for any other word.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            "Ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

/// The encoding of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

/// A decoded body.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    /// The object, pruned and normalised.
    pub object: Value,
    /// Sentences for `Warning` headers.
    pub warnings: Vec<String>,
}

/// Why a body could not be decoded, before it is wrapped into what the server answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text is malformed or its kind cannot be read.
    #[error("couldn't get version/kind; json parse error: {0}")]
    Kind(String),
    /// A value has the wrong type.
    #[error("{0}")]
    Type(String),
    /// Unknown or duplicate fields under strict validation.
    #[error("strict decoding error: {}", .0.join(", "))]
    Strict(Vec<String>),
}

/// Decodes a JSON text. With a type it is pruned and normalised to it; without one everything is kept.
///
/// Errors are 400 with the bare sentence; [`decode_body`] adds what the API server puts around it.
pub fn decode_json(bytes: &[u8], ty: Option<&Type>, validation: FieldValidation) -> Result<Decoded, ApiError> {
    read_json(bytes, ty, validation, Vec::new()).map_err(|e| ApiError::bad_request(e.to_string()))
}

/// As [`decode_json`], for a tree that is already in memory, such as a patched object.
pub fn decode_value(value: &Value, ty: Option<&Type>, validation: FieldValidation) -> Result<Decoded, DecodeError> {
    let bytes = serde_json::to_vec(value).map_err(|e| DecodeError::Type(e.to_string()))?;
    read_json(&bytes, ty, validation, Vec::new())
}

/// `before` are strict errors found on the way to the JSON text (YAML's duplicate keys).
fn read_json(bytes: &[u8], ty: Option<&Type>, validation: FieldValidation, before: Vec<String>) -> Result<Decoded, DecodeError> {
    if bytes.len() > MAX_BODY {
        return Err(DecodeError::Type(format!("request body of {} bytes is over the limit of {MAX_BODY}", bytes.len())));
    }
    let report = if validation == FieldValidation::Ignore { Report::Nothing } else { Report::Strict };
    let Outcome { object, strict, wrong } = decode::decode(bytes, ty, report).map_err(|f| DecodeError::Type(fault(bytes, f)))?;
    if let Some(message) = wrong {
        return Err(DecodeError::Type(message));
    }
    let mut found = before;
    found.extend(strict);
    match validation {
        FieldValidation::Strict if !found.is_empty() => Err(DecodeError::Strict(found)),
        FieldValidation::Ignore => Ok(Decoded { object, warnings: Vec::new() }),
        _ => Ok(Decoded { object, warnings: found }),
    }
}

fn fault(bytes: &[u8], fault: Fault) -> String {
    match fault {
        Fault::Depth => "exceeded max depth".to_owned(),
        Fault::Syntax => syntax::complaint(bytes).unwrap_or_else(|| "malformed JSON".to_owned()),
    }
}

/// Decodes a request's body for a resource, as kube-apiserver does: finds the kind, takes `expected` where the body says
/// nothing, refuses other kinds and versions, prunes, reports and normalises.
///
/// `expected` is the kind the resource takes and `ty` its schema (`None` for custom resources, whose schema is applied
/// later). The object always carries `apiVersion` and `kind` afterwards. Errors are 400 with Kubernetes' sentence.
pub fn decode_body(
    bytes: &[u8],
    encoding: Encoding,
    expected: &Gvk,
    ty: Option<&Type>,
    validation: FieldValidation,
) -> Result<Decoded, ApiError> {
    if encoding == Encoding::Protobuf {
        return decode_protobuf(bytes, expected);
    }
    let unrecognised = |e: &dyn std::fmt::Display| {
        let kind = &expected.kind;
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {e} ({})", summary(bytes)))
    };
    let mut duplicates = Vec::new();
    let converted;
    let mut json = bytes;
    if encoding == Encoding::Yaml {
        let doc = crate::yaml::to_json(bytes).map_err(|e| unrecognised(&e))?;
        duplicates.extend(doc.duplicates.filter(|_| validation != FieldValidation::Ignore));
        converted = doc.json;
        json = &converted;
    }
    let actual = kind_of(json).map_err(|e| unrecognised(&e))?;
    let actual = with_defaults(actual, expected);
    let refuse = |e: &dyn std::fmt::Display| {
        let Gvk { kind, version, .. } = &actual;
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {}: {e}", expected.kind))
    };
    if ty.is_some() {
        check_kind(&actual, expected).map_err(|e| refuse(&e))?;
    }
    let mut decoded = read_json(json, ty, validation, duplicates).map_err(|e| refuse(&e))?;
    check_version(&actual, expected)?;
    stamp(&mut decoded.object, &actual);
    Ok(decoded)
}

fn decode_protobuf(bytes: &[u8], expected: &Gvk) -> Result<Decoded, ApiError> {
    let unrecognised = |e: &dyn std::fmt::Display| {
        let kind = &expected.kind;
        ApiError::bad_request(format!("the object provided is unrecognized (must be of type {kind}): {e} ({})", summary(bytes)))
    };
    let (actual, mut object) = crate::protobuf::decode(bytes).map_err(|e| unrecognised(&e))?;
    let actual = with_defaults(actual, expected);
    check_kind(&actual, expected).map_err(|e| {
        let Gvk { kind, version, .. } = &actual;
        ApiError::bad_request(format!("{kind} in version {version:?} cannot be handled as a {}: {e}", expected.kind))
    })?;
    check_version(&actual, expected)?;
    stamp(&mut object, &actual);
    Ok(Decoded { object, warnings: Vec::new() })
}

/// Reads only `apiVersion` and `kind` of a JSON object; absent ones are empty.
pub fn kind_of(json: &[u8]) -> Result<Gvk, DecodeError> {
    const GO_STRUCT: &str =
        "struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
    let mut cursor = Cursor::new(json);
    let (mut version, mut kind, mut wrong) = (String::new(), String::new(), None);
    let outcome = (|| {
        if cursor.peek()? != b'{' {
            let found = cursor.skip()?;
            if found != "null" {
                wrong = Some(format!("json: cannot unmarshal {found} into Go value of type {GO_STRUCT}"));
            }
            return cursor.end();
        }
        cursor.open(b'{')?;
        let mut first = true;
        while cursor.more(b'}', first)? {
            first = false;
            let key = cursor.key()?;
            let place = match key.as_ref() {
                "apiVersion" => &mut version,
                "kind" => &mut kind,
                _ => {
                    cursor.skip()?;
                    continue;
                }
            };
            if cursor.peek()? == b'"' {
                *place = cursor.string()?.into_owned();
            } else {
                let found = cursor.skip()?;
                if found != "null" {
                    wrong.get_or_insert(format!("json: cannot unmarshal {found} into Go struct field .{key} of type string"));
                }
            }
        }
        cursor.end()
    })();
    outcome.map_err(|f| DecodeError::Kind(fault(json, f)))?;
    if let Some(message) = wrong {
        return Err(DecodeError::Kind(message));
    }
    let (group, version) = parse_api_version(&version).map_err(DecodeError::Type)?;
    Ok(Gvk::new(group, version, &kind))
}

fn with_defaults(mut actual: Gvk, expected: &Gvk) -> Gvk {
    if actual.kind.is_empty() {
        actual.kind.clone_from(&expected.kind);
    }
    if actual.version.is_empty() && actual.group.is_empty() {
        actual.group.clone_from(&expected.group);
    }
    if actual.version.is_empty() && actual.group == expected.group {
        actual.version.clone_from(&expected.version);
    }
    actual
}

/// The body's kind must exist and be the resource's.
fn check_kind(actual: &Gvk, expected: &Gvk) -> Result<(), String> {
    let Gvk { group, version, kind } = actual;
    if builtin().by_gvk(group, version, kind).is_none() {
        // The scheme's name is part of the sentence that clients know.
        const SCHEME: &str = "pkg/api/legacyscheme/scheme.go:30";
        let of = api_version(group, version);
        return Err(format!("no kind {kind:?} is registered for version {of:?} in scheme {SCHEME:?}"));
    }
    if kind != &expected.kind {
        let package = if expected.group.is_empty() { "core" } else { expected.group.split('.').next().unwrap_or_default() };
        return Err(format!("converting ({version}.{kind}) to ({package}.{}): unknown conversion", expected.kind));
    }
    Ok(())
}

fn check_version(actual: &Gvk, expected: &Gvk) -> Result<(), ApiError> {
    if actual.group == expected.group && actual.version == expected.version {
        return Ok(());
    }
    Err(ApiError::bad_request(format!(
        "the API version in the data ({}) does not match the expected API version ({})",
        actual.api_version(),
        expected.api_version()
    )))
}

fn stamp(object: &mut Value, gvk: &Gvk) {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".to_owned(), Value::from(gvk.api_version()));
        map.insert("kind".to_owned(), Value::from(gvk.kind.clone()));
    }
}

fn summary(body: &[u8]) -> String {
    let shown = body.get(..SUMMARY_BYTES.min(body.len())).unwrap_or_default();
    let dots = if body.len() > SUMMARY_BYTES { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{dots}", String::from_utf8_lossy(shown)),
        Some(_) => format!("{}{dots}", hex::encode(shown)),
    }
}

#[cfg(test)]
mod tests;
