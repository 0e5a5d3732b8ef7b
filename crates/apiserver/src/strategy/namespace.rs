//! Namespaces: active until they are deleted, and gone only when `spec.finalizers` is empty.

use serde_json::{Value, json};

use super::generic::set;
use super::{Strategy, keep_old, keep_status_only};

/// The finalizer that the namespace controller takes away when the namespace is empty.
const KUBERNETES: &str = "kubernetes";

pub(super) struct Namespaces;

impl Strategy for Namespaces {
    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        set(object, "status", json!({"phase": "Active"}));
        let mut finalizers = object.pointer("/spec/finalizers").and_then(Value::as_array).cloned().unwrap_or_default();
        if !finalizers.iter().any(|f| f == KUBERNETES) {
            finalizers.push(json!(KUBERNETES));
        }
        if !object.get("spec").is_some_and(Value::is_object) {
            set(object, "spec", json!({}));
        }
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("finalizers".to_owned(), Value::Array(finalizers));
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let finalizers = old.pointer("/spec/finalizers").cloned();
        keep_old(new, old, "status");
        if !new.get("spec").is_some_and(Value::is_object) {
            set(new, "spec", json!({}));
        }
        if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
            match finalizers {
                Some(f) => spec.insert("finalizers".to_owned(), f),
                None => spec.remove("finalizers"),
            };
        }
    }

    fn prepare_subresource(&self, subresource: &str, new: &mut Value, old: &Value) {
        if subresource == "finalize" {
            keep_old(new, old, "status");
        } else {
            keep_status_only(new, old);
        }
    }

    fn may_go(&self, object: &Value) -> bool {
        object.pointer("/spec/finalizers").and_then(Value::as_array).is_none_or(Vec::is_empty)
    }
}
