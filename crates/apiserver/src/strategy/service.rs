//! Services: the addresses and ports that the server chose survive an update that does not name them.

use serde_json::{Value, json};

use super::generic::{drop_status, set};
use super::{Strategy, Upsert, keep_old};

pub(super) struct Services;

impl Strategy for Services {
    fn upsert(&self) -> Upsert {
        Upsert::Creates
    }

    fn returns_deleted(&self) -> bool {
        true
    }

    fn prepare_create(&self, object: &mut Value) {
        drop_status(object);
        set(object, "status", json!({"loadBalancer": {}}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "status");
        patch_allocated(new, old);
    }
}

fn kind(service: &Value) -> &str {
    service.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP")
}

/// Whether Services of a type have node ports.
pub(crate) fn has_node_ports(service: &Value) -> bool {
    matches!(kind(service), "NodePort" | "LoadBalancer")
}

/// Whether Services of a type have cluster addresses.
pub(crate) fn has_cluster_ips(service: &Value) -> bool {
    kind(service) != "ExternalName"
}

/// What was allocated stays when the update leaves it out (upstream `patchAllocatedValues`).
fn patch_allocated(new: &mut Value, old: &Value) {
    if has_cluster_ips(new) && has_cluster_ips(old) {
        for key in ["clusterIP", "clusterIPs"] {
            fill(new, old, &["spec"], key);
        }
    }
    if has_node_ports(new) && has_node_ports(old) {
        let before = old.pointer("/spec/ports").and_then(Value::as_array).cloned().unwrap_or_default();
        let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for port in ports.into_iter().flatten() {
            let same = |b: &&Value| b.get("port") == port.get("port") && b.get("protocol") == port.get("protocol");
            let chosen = before.iter().find(same).and_then(|b| b.get("nodePort")).cloned();
            if let (Some(chosen), Some(fields)) = (chosen, port.as_object_mut())
                && fields.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0
            {
                fields.insert("nodePort".to_owned(), chosen);
            }
        }
    }
    if kind(new) == "LoadBalancer" && kind(old) == "LoadBalancer" {
        fill(new, old, &["spec"], "healthCheckNodePort");
    }
}

fn fill(new: &mut Value, old: &Value, at: &[&str], key: &str) {
    let before = at.iter().try_fold(old, |n, p| n.get(p)).and_then(|n| n.get(key)).cloned();
    let place = at.iter().try_fold(new, |n, p| n.get_mut(p)).and_then(Value::as_object_mut);
    if let (Some(before), Some(place)) = (before, place) {
        let absent = place.get(key).is_none_or(|v| v.is_null() || v == "" || *v == json!(0) || *v == json!([]));
        if absent {
            place.insert(key.to_owned(), before);
        }
    }
}
