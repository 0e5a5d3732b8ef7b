//! Certificate signing requests: who asks is what the server knows, not what the request says.

use serde_json::{Map, Value, json};

use super::generic::{keep_old, keep_status_only, set};
use super::{Strategy, Unconditional};
use crate::identity::UserInfo;

pub(super) struct Requests;

/// Conditions that only `/approval` may write.
const DECISIONS: [&str; 2] = ["Approved", "Denied"];

impl Strategy for Requests {
    fn unconditional(&self) -> Unconditional {
        Unconditional::Allowed
    }

    fn note_requester(&self, object: &mut Value, user: &UserInfo) {
        let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else { return };
        for key in ["username", "uid", "groups", "extra"] {
            spec.remove(key);
        }
        put(spec, "username", json!(user.name), user.name.is_empty());
        put(spec, "uid", json!(user.uid), user.uid.is_empty());
        put(spec, "groups", json!(user.groups), user.groups.is_empty());
        put(spec, "extra", json!(user.extra), user.extra.is_empty());
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "spec");
        keep_old(new, old, "status");
    }

    fn prepare_subresource(&self, subresource: &str, new: &mut Value, old: &Value) {
        keep_status_only(new, old);
        let mut status = new.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
        if subresource == "approval" {
            let mut kept = old.get("status").and_then(Value::as_object).cloned().unwrap_or_default();
            match status.remove("conditions") {
                Some(conditions) => kept.insert("conditions".to_owned(), conditions),
                None => kept.remove("conditions"),
            };
            status = kept;
        } else {
            keep_decisions(&mut status, old);
        }
        set(new, "status", Value::Object(status));
    }
}

fn put(spec: &mut Map<String, Value>, key: &str, value: Value, empty: bool) {
    if !empty {
        spec.insert(key.to_owned(), value);
    }
}

/// Decisions stay as they were. Where one was added or taken away, the new list stays for validation to refuse.
fn keep_decisions(status: &mut Map<String, Value>, old: &Value) {
    let before = old.pointer("/status/conditions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let Some(after) = status.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    for word in DECISIONS {
        let is = |c: &&Value| c.get("type").is_some_and(|t| t == word);
        let old: Vec<&Value> = before.iter().filter(is).collect();
        if after.iter().filter(is).count() != old.len() {
            continue;
        }
        for (new, old) in after.iter_mut().filter(|c| is(&&**c)).zip(old) {
            *new = old.clone();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_asks_in_the_name_of_another() {
        let mut request = json!({"metadata": {"name": "r"}, "spec": {"username": "system:node:a", "groups": ["system:nodes"], "uid": "1"}});
        Requests.note_requester(&mut request, &UserInfo::new("joe", &["dev"]));
        assert_eq!(request["spec"], json!({"username": "joe", "groups": ["dev"]}));
    }

    #[test]
    fn each_subresource_writes_its_own_part() {
        let approved = json!({"type": "Approved", "status": "True"});
        let failed = json!({"type": "Failed", "status": "True"});
        let other = json!({"type": "Approved", "status": "True", "message": "for another reason"});
        let old = json!({"metadata": {}, "spec": {"username": "joe"}, "status": {"conditions": [approved], "certificate": "a"}});
        let mut new = json!({"metadata": {}, "spec": {"username": "eve"}, "status": {"conditions": [failed, other], "certificate": "b"}});
        let asked = new.clone();
        Requests.prepare_subresource("status", &mut new, &old);
        assert_eq!(new["status"], json!({"conditions": [failed, approved], "certificate": "b"}));
        assert_eq!(new["spec"], old["spec"]);
        let mut new = asked.clone();
        Requests.prepare_subresource("approval", &mut new, &old);
        assert_eq!(new["status"], json!({"conditions": [failed, other], "certificate": "a"}));
        let mut new = asked;
        Requests.prepare_update(&mut new, &old);
        assert_eq!((&new["spec"], &new["status"]), (&old["spec"], &old["status"]));
    }
}
