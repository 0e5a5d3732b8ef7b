//! The way from kubectl's client-side apply to server-side apply.
//!
//! Client-side apply keeps the last configuration in an annotation. What it says and the object still has is kubectl's own,
//! although an update wrote it: `kubectl apply --server-side` takes it over without a conflict.

use serde_json::Value;

use super::Target;
use super::collect::fields_of;
use super::compare::compare;
use super::set::FieldSet;
use super::spot::Spot;
use super::validate::check;
use crate::meta;

const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// The name under which kubectl applies; others do not take part.
pub(super) const KUBECTL: &str = "kubectl";
/// All annotations of an object together may be this big; a configuration that does not fit is left out.
const MAX_ANNOTATIONS: usize = 256 * 1024;

/// The configuration in the annotation, if it is of the target's version and fits the schema.
pub(super) fn configuration(target: &Target<'_>, live: &Value) -> Option<Value> {
    let text = meta::annotation(live, ANNOTATION).filter(|t| !t.is_empty())?;
    let config: Value = serde_json::from_str(text).ok()?;
    let version = config.get("apiVersion").and_then(Value::as_str)?;
    (version == target.gvk.api_version() && check(Spot::root(target.schema), &config).is_empty()).then_some(config)
}

/// The fields of the configuration that the object still has as they were applied.
pub(super) fn unchanged_fields<'a>(target: &Target<'a>, live: &'a Value, config: &'a Value) -> Option<FieldSet<'a>> {
    let spot = Spot::root(target.schema);
    let mut fields = fields_of(spot, config).ok()?;
    let changes = compare(spot, config, live).ok()?;
    for set in [&changes.modified, &changes.added, &changes.removed] {
        fields.subtract(set);
    }
    Some(fields)
}

/// Keeps the annotation in step, so that client-side apply can go on where server-side apply was.
pub(super) fn refresh(object: &mut Value, config: &Value) {
    if meta::annotation(object, ANNOTATION).is_none_or(str::is_empty) {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.remove(ANNOTATION);
        if annotations.is_empty()
            && let Some(metadata) = meta::metadata_mut(&mut config)
        {
            metadata.remove("annotations");
        }
    }
    let text = format!("{config}\n");
    let others: usize = meta::annotations(object).filter(|(k, _)| *k != ANNOTATION).map(|(k, v)| k.len() + v.len()).sum();
    let fits = others + ANNOTATION.len() + text.len() <= MAX_ANNOTATIONS;
    if let Some(annotations) = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        if fits {
            annotations.insert(ANNOTATION.to_owned(), Value::from(text));
        } else {
            annotations.remove(ANNOTATION);
        }
    }
}
