//! The difference of two pod statuses as a strategic merge patch: only what changed, so that others' conditions stay.

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde_json::{Map, Value, json};

use super::conditions;

/// The patch from `old` to `new`, or `None` when nothing changed. The UID makes it fail on another pod of the same name.
pub(super) fn between(pod: &Pod, old: &PodStatus, new: &PodStatus) -> Option<Value> {
    let (old, new) = (object(old), object(new));
    let mut changed = Map::new();
    for key in old.keys().chain(new.keys()) {
        let (before, after) = (old.get(key), new.get(key));
        if before == after || changed.contains_key(key) {
            continue;
        }
        let value = match key.as_str() {
            "conditions" => by_key("type", before, after, conditions::is_own),
            "podIPs" | "hostIPs" => by_key("ip", before, after, |_| true),
            _ => after.cloned().unwrap_or(Value::Null),
        };
        if value != json!([]) {
            changed.insert(key.clone(), value);
        }
    }
    if changed.is_empty() {
        return None;
    }
    Some(json!({ "metadata": { "uid": pod.metadata.uid }, "status": changed }))
}

fn object(status: &PodStatus) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// The changed and removed entries of a list that is merged by `key`.
fn by_key(key: &str, before: Option<&Value>, after: Option<&Value>, ours: impl Fn(&str) -> bool) -> Value {
    let list = |v: Option<&Value>| v.and_then(Value::as_array).cloned().unwrap_or_default();
    let (before, after) = (list(before), list(after));
    let find = |list: &[Value], name: &Value| list.iter().find(|e| e.get(key) == Some(name)).cloned();
    let mut entries = Vec::new();
    for entry in &after {
        let Some(name) = entry.get(key).filter(|n| n.as_str().is_some_and(&ours)) else { continue };
        let old = find(&before, name);
        if old.as_ref() == Some(entry) {
            continue;
        }
        let mut entry = entry.clone();
        if let (Some(Value::Object(old)), Value::Object(new)) = (old, &mut entry) {
            for gone in old.keys().filter(|k| !new.contains_key(*k)).cloned().collect::<Vec<_>>() {
                new.insert(gone, Value::Null);
            }
        }
        entries.push(entry);
    }
    for entry in &before {
        if let Some(name) = entry.get(key).filter(|n| n.as_str().is_some_and(&ours) && find(&after, n).is_none()) {
            entries.push(json!({ "$patch": "delete", key: name }));
        }
    }
    Value::Array(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(value: Value) -> PodStatus {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn only_changes_are_sent() {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"uid": "u"}})).unwrap();
        let old = status(json!({"phase": "Pending", "reason": "x", "podIPs": [{"ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "False", "reason": "no"}, {"type": "gate", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}));
        let new = status(json!({"phase": "Running", "podIPs": [{"ip": "10.0.0.2"}],
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "PodScheduled", "status": "True"}]}));
        let expected = json!({"metadata": {"uid": "u"}, "status": {
            "phase": "Running", "reason": null,
            "podIPs": [{"ip": "10.0.0.2"}, {"$patch": "delete", "ip": "10.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": null}]}});
        assert_eq!(between(&pod, &old, &new), Some(expected));
        assert_eq!(between(&pod, &new, &new), None);
    }
}
