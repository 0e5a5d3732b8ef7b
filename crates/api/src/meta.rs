//! What every object has: its kind, its metadata and the rules for names.
//!
//! The accessors read a JSON tree without copying it; a missing or misshapen field reads as absent.

pub mod gvk;
pub mod names;

pub use gvk::{Gvk, Gvr};

use serde_json::{Map, Value};

/// One owner of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerReference<'a> {
    /// `v1`, `apps/v1`, …
    pub api_version: &'a str,
    /// The owner's kind.
    pub kind: &'a str,
    /// The owner's name.
    pub name: &'a str,
    /// The owner's UID.
    pub uid: &'a str,
    /// This owner manages the object.
    pub controller: bool,
    /// The owner may not go before the object.
    pub block_owner_deletion: bool,
}

/// `metadata`, if it is an object.
pub fn metadata(object: &Value) -> Option<&Map<String, Value>> {
    object.get("metadata")?.as_object()
}

/// `metadata`, made if need be; `None` only when the object is no JSON object.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let place = object.as_object_mut()?.entry("metadata").or_insert(Value::Null);
    if !place.is_object() {
        *place = Value::Object(Map::new());
    }
    place.as_object_mut()
}

fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object).and_then(|m| m.get(field)).and_then(Value::as_str).unwrap_or_default()
}

/// `metadata.name`, or empty.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.generateName`, or empty.
pub fn generate_name(object: &Value) -> &str {
    text(object, "generateName")
}

/// `metadata.namespace`, or empty.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`, or empty.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`, or empty.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// `metadata.creationTimestamp` as written (RFC 3339), or empty.
pub fn creation_timestamp(object: &Value) -> &str {
    text(object, "creationTimestamp")
}

/// `metadata.deletionTimestamp` as written (RFC 3339), if the object is going away.
pub fn deletion_timestamp(object: &Value) -> Option<&str> {
    metadata(object)?.get("deletionTimestamp")?.as_str()
}

/// `metadata.generation`, or 0.
pub fn generation(object: &Value) -> i64 {
    metadata(object).and_then(|m| m.get("generation")).and_then(Value::as_i64).unwrap_or(0)
}

fn pairs<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
    let map = metadata(object).and_then(|m| m.get(field)).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(k, v)| Some((k.as_str(), v.as_str()?)))
}

/// `metadata.labels`.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    pairs(object, "labels")
}

/// `metadata.annotations`.
pub fn annotations(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    pairs(object, "annotations")
}

/// One label.
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("labels")?.get(key)?.as_str()
}

/// One annotation.
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    metadata(object)?.get("annotations")?.get(key)?.as_str()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    let list = metadata(object).and_then(|m| m.get("finalizers")).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
pub fn owner_references(object: &Value) -> impl Iterator<Item = OwnerReference<'_>> {
    let list = metadata(object).and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
    list.into_iter().flatten().map(|o| {
        let word = |k: &str| o.get(k).and_then(Value::as_str).unwrap_or_default();
        let flag = |k: &str| o.get(k).and_then(Value::as_bool).unwrap_or(false);
        OwnerReference {
            api_version: word("apiVersion"),
            kind: word("kind"),
            name: word("name"),
            uid: word("uid"),
            controller: flag("controller"),
            block_owner_deletion: flag("blockOwnerDeletion"),
        }
    })
}

/// The owner that manages the object.
pub fn controller_of(object: &Value) -> Option<OwnerReference<'_>> {
    owner_references(object).find(|o| o.controller)
}

/// Sets a field of `metadata`; an empty text takes it away.
pub fn set(object: &mut Value, field: &str, value: &str) {
    let Some(metadata) = metadata_mut(object) else { return };
    if value.is_empty() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accessors_read_what_is_there_and_forgive_what_is_not() {
        let o = json!({"metadata": {"name": "web", "labels": {"a": "b", "n": 1}, "finalizers": ["x/y"],
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "rs", "uid": "u", "controller": true}]}});
        assert_eq!((name(&o), namespace(&o), label(&o, "a"), generation(&o)), ("web", "", Some("b"), 0));
        assert_eq!(labels(&o).collect::<Vec<_>>(), [("a", "b")]);
        assert_eq!(finalizers(&o).collect::<Vec<_>>(), ["x/y"]);
        assert_eq!(controller_of(&o).map(|c| (c.kind, c.block_owner_deletion)), Some(("ReplicaSet", false)));
        assert_eq!(name(&json!({"metadata": 3})), "");
        let mut empty = json!({});
        set(&mut empty, "name", "x");
        assert_eq!(empty, json!({"metadata": {"name": "x"}}));
        set(&mut empty, "name", "");
        assert_eq!(empty, json!({"metadata": {}}));
    }
}
