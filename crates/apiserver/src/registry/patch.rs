//! PATCH in all its types.

use api::codec::{DecodeError, FieldValidation};
use api::patch::{PatchKind, json_patch, merge_patch, strategic_merge};
use api::schema::Type;
use api::{ApiError, codec, field, meta};
use http::{Response, StatusCode};
use serde_json::Value;

use super::read_body;
use super::update::{self, Existed};
use crate::body::Body;
use crate::call::Call;
use crate::managed;
use crate::model;
use crate::negotiate::{media_type, unsupported};
use crate::request::WriteOptions;
use crate::respond;
use crate::strategy::Upsert;

const TYPES: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// The type of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatchType {
    /// A JSON document.
    Document(PatchKind),
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// The type by the request's content type.
    pub fn of(call: &Call) -> Result<Self, ApiError> {
        match media_type(&call.headers).as_str() {
            "application/json-patch+json" => Ok(Self::Document(PatchKind::Json)),
            "application/merge-patch+json" => Ok(Self::Document(PatchKind::Merge)),
            "application/strategic-merge-patch+json" => Ok(Self::Document(PatchKind::Strategic)),
            "application/apply-patch+yaml" => Ok(Self::Apply),
            _ => Err(unsupported(TYPES)),
        }
    }
}

/// Answers the request.
pub async fn serve(call: &Call, body: Body) -> Result<Response<Body>, ApiError> {
    let kind = PatchType::of(call)?;
    let options = WriteOptions::parse(&call.query, "PatchOptions")?;
    check_options(kind, &options)?;
    let bytes = read_body(call, body).await?;
    let (made, existed) = match kind {
        PatchType::Apply => {
            let upsert = if call.info.subresource.is_empty() { Upsert::Creates } else { Upsert::Refused };
            let wanted = managed::configuration(&options, &bytes)?;
            update::change(call, &options, upsert, Box::new(|present| managed::apply(call, &options, &wanted, present))).await?
        }
        PatchType::Document(kind) => {
            let patch = Patch::parse(kind, &bytes, options.field_validation)?;
            update::change(call, &options, Upsert::Refused, Box::new(|present| patched(call, &options, &patch, present))).await?
        }
    };
    respond::object(call, &made, if existed == Existed::No { StatusCode::CREATED } else { StatusCode::OK })
}

fn check_options(kind: PatchType, options: &WriteOptions) -> Result<(), ApiError> {
    let mut errors = field::ErrorList::new();
    if kind == PatchType::Apply {
        if options.field_manager.is_none() {
            errors.push(field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch"));
        }
    } else if options.force.is_some() {
        errors.push(field::Error::forbidden(&field::Path::new("force"), "may not be specified for non-apply patch"));
    }
    if errors.is_empty() { Ok(()) } else { Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &errors)) }
}

/// A patch that has been read.
pub struct Patch {
    kind: PatchKind,
    tree: Value,
    /// Unknown and duplicate fields of the patch itself.
    complaints: Vec<String>,
}

impl Patch {
    /// Reads a patch of a type (not apply).
    pub fn parse(kind: PatchKind, bytes: &[u8], validation: FieldValidation) -> Result<Self, ApiError> {
        let read = api::patch::read(kind, bytes, validation)?;
        Ok(Self { kind, tree: read.object, complaints: read.warnings })
    }

    /// A merge patch that is already a tree.
    pub fn merge(tree: Value) -> Self {
        Self { kind: PatchKind::Merge, tree, complaints: Vec::new() }
    }

    /// The tree with the patch in it.
    pub fn apply(&self, present: &Value, schema: Option<&Type>) -> Result<Value, ApiError> {
        match (self.kind, schema) {
            (PatchKind::Json, _) => json_patch(present, &self.tree),
            (PatchKind::Merge, _) => Ok(merge_patch(present, &self.tree)),
            (PatchKind::Strategic, Some(schema)) => strategic_merge(present, &self.tree, schema),
            (PatchKind::Strategic, None) => {
                Err(unsupported("application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"))
            }
        }
    }
}

fn patched(call: &Call, options: &WriteOptions, patch: &Patch, present: Option<&Value>) -> Result<Value, ApiError> {
    let present = present.ok_or_else(|| super::not_found(call))?;
    let gvk = call.resource.gvk();
    let schema = model::schema(&gvk);
    let tree = patch.apply(present, schema)?;
    let decoded = checked(&tree, schema, options.field_validation, &gvk.kind, meta::name(present))?;
    if options.field_validation == FieldValidation::Strict && !patch.complaints.is_empty() {
        return Err(ApiError::bad_request(format!("strict decoding error: {}", patch.complaints.join(", "))));
    }
    patch.complaints.iter().cloned().chain(decoded.warnings).for_each(|w| call.warn(w));
    let mut tree = decoded.object;
    super::fields::match_name(call, &mut tree)?;
    Ok(tree)
}

/// The patched tree must still be an object of the kind.
pub fn checked(
    tree: &Value,
    schema: Option<&Type>,
    validation: FieldValidation,
    kind: &str,
    name: &str,
) -> Result<codec::Decoded, ApiError> {
    codec::decode_value(tree, schema, validation).map_err(|e| match e {
        DecodeError::Strict(_) => ApiError::bad_request(e.to_string()),
        other => {
            let error = field::Error::invalid(&field::Path::new("patch"), tree.to_string(), &other.to_string());
            ApiError::invalid("", kind, name, &[error])
        }
    })
}
