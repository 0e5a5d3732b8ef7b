//! Pods: graceful deletion, quality of service, and subresources that each change one thing only.

use std::collections::BTreeMap;

use api::meta;
use serde_json::{Value, json};

use super::generic::{Counts, bump_generation, set, set_generation};
use super::{Grace, Strategy, keep_old, keep_status_only};

pub(super) struct Pods;

impl Strategy for Pods {
    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        set_generation(object, 1);
        let qos = quality_of_service(object);
        set(object, "status", json!({"phase": "Pending", "qosClass": qos}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "status");
        bump_generation(new, old, Counts::Spec);
    }

    fn prepare_subresource(&self, subresource: &str, new: &mut Value, old: &Value) {
        match subresource {
            "ephemeralcontainers" => {
                let wanted = new.pointer("/spec/ephemeralContainers").cloned();
                only_spec_field(new, old, "ephemeralContainers", wanted);
                bump_generation(new, old, Counts::Spec);
            }
            "resize" => {
                resize(new, old);
                bump_generation(new, old, Counts::Spec);
            }
            _ => status(new, old),
        }
    }

    fn grace(&self, object: &Value, asked: Option<i64>) -> Grace {
        let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_i64);
        let scheduled = object.pointer("/spec/nodeName").and_then(Value::as_str).is_some_and(|n| !n.is_empty());
        let phase = object.pointer("/status/phase").and_then(Value::as_str).unwrap_or_default();
        if !scheduled || matches!(phase, "Failed" | "Succeeded") {
            return Grace::Seconds(0);
        }
        let period = asked.or(own).unwrap_or(0);
        Grace::Seconds(if period < 0 { 1 } else { period })
    }
}

fn status(new: &mut Value, old: &Value) {
    keep_status_only(new, old);
    // Old kubelets garble owner references and forget the class.
    let owners = old.pointer("/metadata/ownerReferences").cloned();
    if let Some(metadata) = meta::metadata_mut(new) {
        match owners {
            Some(o) => metadata.insert("ownerReferences".to_owned(), o),
            None => metadata.remove("ownerReferences"),
        };
    }
    let observed = old.pointer("/status/observedGeneration").cloned();
    let qos = old.pointer("/status/qosClass").cloned();
    if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        for (key, value) in [("qosClass", qos), ("observedGeneration", observed)] {
            if let Some(value) = value {
                status.entry(key).or_insert(value);
            }
        }
    }
}

/// Everything is as before except one field of the spec.
fn only_spec_field(new: &mut Value, old: &Value, field: &str, wanted: Option<Value>) {
    let version = new.pointer("/metadata/resourceVersion").cloned();
    let managed = new.pointer("/metadata/managedFields").cloned();
    *new = old.clone();
    if let Some(metadata) = meta::metadata_mut(new) {
        for (key, value) in [("resourceVersion", version), ("managedFields", managed)] {
            match value {
                Some(v) => metadata.insert(key.to_owned(), v),
                None => metadata.remove(key),
            };
        }
    }
    if let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) {
        match wanted {
            Some(v) => spec.insert(field.to_owned(), v),
            None => spec.remove(field),
        };
    }
}

fn resize(new: &mut Value, old: &Value) {
    let mut containers = old.pointer("/spec/containers").cloned().unwrap_or_default();
    let wanted = new.pointer("/spec/containers").and_then(Value::as_array).cloned().unwrap_or_default();
    for container in containers.as_array_mut().into_iter().flatten() {
        let Some(fields) = container.as_object_mut() else { continue };
        let Some(asked) = wanted.iter().find(|w| w.get("name") == fields.get("name")) else { continue };
        for key in ["resources", "resizePolicy"] {
            match asked.get(key) {
                Some(v) => fields.insert(key.to_owned(), v.clone()),
                None => fields.remove(key),
            };
        }
    }
    only_spec_field(new, old, "containers", Some(containers));
}

/// `Guaranteed`, `Burstable` or `BestEffort` (upstream `pkg/apis/core/helper/qos`).
fn quality_of_service(pod: &Value) -> &'static str {
    let groups = ["/spec/containers", "/spec/initContainers"];
    let containers = groups.iter().filter_map(|p| pod.pointer(p).and_then(Value::as_array)).flatten();
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let read = |which: &str| -> BTreeMap<String, String> {
            let map = container.pointer(&format!("/resources/{which}")).and_then(Value::as_object);
            let known = map.into_iter().flatten().filter(|(k, _)| matches!(k.as_str(), "cpu" | "memory"));
            known.filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned()))).filter(|(_, v)| v != "0").collect()
        };
        let (requests, limits) = (read("requests"), read("limits"));
        any |= !requests.is_empty() || !limits.is_empty();
        guaranteed &= limits.len() == 2 && requests == limits;
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_follow_requests_and_limits() {
        let c = |r: Value| json!({"spec": {"containers": [{"name": "c", "resources": r}]}});
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(quality_of_service(&c(json!({}))), "BestEffort");
        assert_eq!(quality_of_service(&c(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(quality_of_service(&c(json!({"requests": full, "limits": full}))), "Guaranteed");
    }

    #[test]
    fn grace_is_only_for_pods_that_run_somewhere() {
        let pod =
            |node: &str, phase: &str| json!({"spec": {"nodeName": node, "terminationGracePeriodSeconds": 30}, "status": {"phase": phase}});
        assert_eq!(Pods.grace(&pod("", "Pending"), None), Grace::Seconds(0));
        assert_eq!(Pods.grace(&pod("n", "Running"), None), Grace::Seconds(30));
        assert_eq!(Pods.grace(&pod("n", "Running"), Some(5)), Grace::Seconds(5));
        assert_eq!(Pods.grace(&pod("n", "Running"), Some(-1)), Grace::Seconds(1));
        assert_eq!(Pods.grace(&pod("n", "Succeeded"), Some(5)), Grace::Seconds(0));
    }
}
