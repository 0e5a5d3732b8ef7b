//! RFC 7396 merge patches, with the one liberty that kube-apiserver takes: nulls inside lists of the patch stay.

use serde_json::{Map, Value};

/// The document with the patch merged in. A patch that is no object replaces the document.
pub fn merge_patch(doc: &Value, patch: &Value) -> Value {
    match (doc, patch) {
        (Value::Object(doc), Value::Object(patch)) => {
            let mut merged = doc.clone();
            merge_maps(&mut merged, patch);
            Value::Object(merged)
        }
        _ => without_nulls(patch),
    }
}

fn merge_maps(doc: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (key, value) in patch {
        if value.is_null() {
            doc.remove(key);
            continue;
        }
        match (doc.get_mut(key), value) {
            (Some(Value::Object(present)), Value::Object(change)) => merge_maps(present, change),
            // An object that makes room for a list or a scalar takes it as it is.
            (Some(place @ Value::Object(_)), _) => *place = value.clone(),
            (Some(place), _) => *place = without_nulls(value),
            (None, _) => {
                doc.insert(key.clone(), without_nulls(value));
            }
        }
    }
}

/// Drops members that are null, also inside lists; list elements that are null stay.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect()),
        Value::Array(list) => Value::Array(list.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}
