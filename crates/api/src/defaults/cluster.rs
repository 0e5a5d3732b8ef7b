//! Defaults of the remaining kinds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::tree::{self, Object};

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

/// A namespace carries its own name as a label, so that selectors can find it.
pub(super) fn namespace(o: &mut Object) {
    if let Some(meta) = tree::grow(o, "metadata") {
        let name = tree::text(meta, "name").to_owned();
        if !name.is_empty()
            && let Some(labels) = tree::grow(meta, "labels")
        {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
    }
    if let Some(status) = tree::grow(o, "status") {
        tree::set_empty(status, "phase", "Active");
    }
}

/// What a node does not hold back can be allocated.
pub(super) fn node(o: &mut Object) {
    if let Some(status) = tree::child(o, "status")
        && let Some(capacity) = status.get("capacity").filter(|c| c.is_object()).cloned()
    {
        tree::set_absent(status, "allocatable", capacity);
    }
}

/// `stringData` is write-only: it moves into `data`, encoded.
pub(super) fn secret(o: &mut Object) {
    tree::set_empty(o, "type", "Opaque");
    if let Some(Value::Object(plain)) = o.remove("stringData")
        && !plain.is_empty()
        && let Some(data) = tree::grow(o, "data")
    {
        for (key, value) in plain {
            data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
        }
    }
}

pub(super) fn limit_range(o: &mut Object) {
    let Some(spec) = tree::child(o, "spec") else { return };
    for item in tree::each(spec, "limits") {
        if tree::text(item, "type") == "Container" {
            tree::fill_map(item, "max", "default");
            tree::fill_map(item, "default", "defaultRequest");
            tree::fill_map(item, "min", "defaultRequest");
        }
    }
}

pub(super) fn role_binding(o: &mut Object) {
    if let Some(role) = tree::grow(o, "roleRef") {
        tree::set_empty(role, "apiGroup", RBAC_GROUP);
    }
    for subject in tree::each(o, "subjects") {
        if matches!(tree::text(subject, "kind"), "User" | "Group") {
            tree::set_empty(subject, "apiGroup", RBAC_GROUP);
        }
    }
}

pub(super) fn priority_class(o: &mut Object) {
    tree::set_absent(o, "preemptionPolicy", "PreemptLowerPriority");
}

pub(super) fn token_request(o: &mut Object) {
    /// A token's lifetime where none is asked for, in seconds.
    const HOUR: u32 = 3600;
    if let Some(spec) = tree::grow(o, "spec") {
        tree::set_absent(spec, "expirationSeconds", HOUR);
    }
}

pub(super) fn flow_schema(o: &mut Object) {
    if let Some(spec) = tree::grow(o, "spec") {
        tree::set_empty(spec, "matchingPrecedence", 1000);
    }
}

pub(super) fn priority_level(o: &mut Object) {
    let Some(spec) = tree::child(o, "spec") else { return };
    if let Some(exempt) = tree::child(spec, "exempt") {
        tree::set_absent(exempt, "nominalConcurrencyShares", 0);
        tree::set_absent(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = tree::child(spec, "limited") {
        tree::set_absent(limited, "nominalConcurrencyShares", 30);
        tree::set_absent(limited, "lendablePercent", 0);
        if let Some(queuing) = tree::descend(limited, &["limitResponse", "queuing"]) {
            tree::set_empty(queuing, "handSize", 8);
            tree::set_empty(queuing, "queues", 64);
            tree::set_empty(queuing, "queueLengthLimit", 50);
        }
    }
}

pub(super) fn resource_claim(o: &mut Object) {
    if let Some(spec) = tree::child(o, "spec") {
        claim_devices(spec);
    }
}

pub(super) fn resource_claim_template(o: &mut Object) {
    if let Some(spec) = tree::descend(o, &["spec", "spec"]) {
        claim_devices(spec);
    }
}

fn claim_devices(spec: &mut Object) {
    let Some(devices) = tree::child(spec, "devices") else { return };
    for request in tree::each(devices, "requests") {
        // Before v1beta2 the exact request's fields stood in the request itself; only v1 and v1beta2 are served.
        if let Some(exact) = tree::child(request, "exactly") {
            device_count(exact);
        }
        for alternative in tree::each(request, "firstAvailable") {
            device_count(alternative);
        }
    }
}

fn device_count(request: &mut Object) {
    tree::set_empty(request, "allocationMode", "ExactCount");
    if tree::text(request, "allocationMode") == "ExactCount" {
        tree::set_empty(request, "count", json!(1));
    }
}
