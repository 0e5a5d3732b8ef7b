//! The roles and bindings that a cluster starts with, and how the stored ones are brought up to them at each start.
//!
//! `policy.txt` has one object per unindented line: kind, name (with namespace where there is one), then `+word` for each
//! aggregation label and `<word` for each label that it gathers; a binding goes on with `= Kind/role`. The indented lines
//! below are its rules (`verbs | groups or url | resources or paths | names`; `core` is the core group) or subjects.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::rbac::rule::Rule;

const POLICY: &str = include_str!("bootstrap/policy.txt");
const GROUP: &str = "rbac.authorization.k8s.io";
const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// All roles and bindings of the start, complete objects, roles first.
pub fn objects() -> Vec<Value> {
    let mut out: Vec<Value> = Vec::new();
    for line in POLICY.lines().filter(|l| !l.starts_with('#') && !l.is_empty()) {
        match line.strip_prefix("  ") {
            None => out.push(head(line)),
            Some(detail) => {
                if let Some(object) = out.last_mut() {
                    add(object, detail);
                }
            }
        }
    }
    out
}

/// What every kubelet may do, whichever its node: the rules of `system:node`.
pub(super) fn node_rules() -> Vec<Rule> {
    let role = objects().into_iter().find(|o| o.pointer("/metadata/name") == Some(&json!("system:node")));
    role.and_then(|r| serde_json::from_value(r.get("rules")?.clone()).ok()).unwrap_or_default()
}

fn head(line: &str) -> Value {
    let mut words = line.split(' ');
    let kind = words.next().unwrap_or_default();
    let place = words.next().unwrap_or_default();
    let (namespace, name) = if kind.starts_with("Cluster") { ("", place) } else { place.split_once('/').unwrap_or(("", place)) };
    let mut labels = BTreeMap::from([("kubernetes.io/bootstrapping".to_owned(), "rbac-defaults".to_owned())]);
    let mut gathers = Vec::new();
    let mut role = None;
    while let Some(word) = words.next() {
        let label = |name: &str| format!("{GROUP}/{name}");
        if let Some(name) = word.strip_prefix('+') {
            labels.insert(label(name), "true".to_owned());
        } else if let Some(name) = word.strip_prefix('<') {
            gathers.push(json!({"matchLabels": {label(name): "true"}}));
        } else if word == "=" {
            role = words.next().and_then(|r| r.split_once('/'));
        }
    }
    let mut metadata = json!({"name": name, "labels": labels, "annotations": {AUTO_UPDATE: "true"}});
    if let (false, Some(m)) = (namespace.is_empty(), metadata.as_object_mut()) {
        m.insert("namespace".to_owned(), namespace.into());
    }
    let mut object = json!({"apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": metadata});
    if let Some(o) = object.as_object_mut() {
        match role {
            Some((kind, name)) => {
                o.insert("roleRef".to_owned(), json!({"apiGroup": GROUP, "kind": kind, "name": name}));
                o.insert("subjects".to_owned(), json!([]));
            }
            None => {
                o.insert("rules".to_owned(), json!([]));
            }
        }
        if !gathers.is_empty() {
            o.insert("aggregationRule".to_owned(), json!({"clusterRoleSelectors": gathers}));
        }
    }
    object
}

fn add(object: &mut Value, detail: &str) {
    if let Some(rules) = object.get_mut("rules").and_then(Value::as_array_mut) {
        rules.push(rule(detail));
    } else if let (Some(subjects), Some((kind, name))) = (object.get_mut("subjects").and_then(Value::as_array_mut), detail.split_once(' '))
    {
        subjects.push(match (kind, name.split_once('/')) {
            ("ServiceAccount", Some((namespace, name))) => json!({"kind": kind, "name": name, "namespace": namespace}),
            _ => json!({"apiGroup": GROUP, "kind": kind, "name": name}),
        });
    }
}

fn rule(line: &str) -> Value {
    let mut parts = line.split(" | ");
    let mut words = || -> Vec<&str> { parts.next().map(|p| p.split(',').collect()).unwrap_or_default() };
    let (verbs, groups, things, names) = (words(), words(), words(), words());
    if groups == ["url"] {
        return json!({"verbs": verbs, "nonResourceURLs": things});
    }
    let groups: Vec<&str> = groups.into_iter().map(|g| if g == "core" { "" } else { g }).collect();
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": things});
    if let (false, Some(r)) = (names.is_empty(), rule.as_object_mut()) {
        r.insert("resourceNames".to_owned(), json!(names));
    }
    rule
}

/// What must happen to one object at the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Reconciled {
    /// It is there and has all it needs, or somebody has forbidden updates by the annotation.
    Keep,
    /// It is not there: create this.
    Create(Value),
    /// It lacks something: store this instead.
    Update(Value),
    /// A binding refers to another role, which cannot be changed: delete it and create this.
    Replace(Value),
}

/// Compares a wanted object with the stored one. Rights that somebody has added stay; missing ones are added.
pub fn reconcile(wanted: &Value, stored: Option<&Value>) -> Reconciled {
    let Some(stored) = stored else { return Reconciled::Create(wanted.clone()) };
    if stored.pointer("/metadata/annotations").and_then(|a| a.get(AUTO_UPDATE)) == Some(&json!("false")) {
        return Reconciled::Keep;
    }
    if wanted.get("roleRef") != stored.get("roleRef") {
        return Reconciled::Replace(wanted.clone());
    }
    let mut merged = stored.clone();
    for map in ["labels", "annotations"] {
        merge_missing(&mut merged, wanted, map);
    }
    add_missing_rules(&mut merged, wanted);
    add_missing(&mut merged, wanted, "/subjects", same_subject);
    add_missing(&mut merged, wanted, "/aggregationRule/clusterRoleSelectors", |a, b| a == b);
    if &merged == stored { Reconciled::Keep } else { Reconciled::Update(merged) }
}

fn same_subject(a: &Value, b: &Value) -> bool {
    ["kind", "name", "namespace"].iter().all(|k| a.get(k) == b.get(k))
}

fn merge_missing(merged: &mut Value, wanted: &Value, map: &str) {
    let Some(wanted) = wanted.pointer("/metadata").and_then(|m| m.get(map)).and_then(Value::as_object) else { return };
    let Some(meta) = merged.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    let target = meta.entry(map).or_insert_with(|| Value::Object(Map::new()));
    if let Some(target) = target.as_object_mut() {
        for (key, value) in wanted {
            target.entry(key.as_str()).or_insert_with(|| value.clone());
        }
    }
}

fn add_missing_rules(merged: &mut Value, wanted: &Value) {
    let parse = |o: &Value| -> Vec<Rule> { o.get("rules").and_then(|r| serde_json::from_value(r.clone()).ok()).unwrap_or_default() };
    let (have, want) = (parse(merged), parse(wanted));
    let missing: Vec<Rule> = want.iter().flat_map(Rule::broken_down).filter(|one| !have.iter().any(|rule| rule.covers(one))).collect();
    if missing.is_empty() {
        return;
    }
    let mut rules = merged.get("rules").and_then(Value::as_array).cloned().unwrap_or_default();
    rules.extend(missing.iter().filter_map(|r| serde_json::to_value(r).ok()));
    if let Some(o) = merged.as_object_mut() {
        o.insert("rules".to_owned(), rules.into());
    }
}

fn add_missing(merged: &mut Value, wanted: &Value, pointer: &str, same: fn(&Value, &Value) -> bool) {
    let Some(want) = wanted.pointer(pointer).and_then(Value::as_array) else { return };
    let have = merged.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
    let missing: Vec<Value> = want.iter().filter(|w| !have.iter().any(|h| same(h, w))).cloned().collect();
    if missing.is_empty() {
        return;
    }
    let all = Value::Array(have.into_iter().chain(missing).collect());
    match merged.pointer_mut(pointer) {
        Some(place) => *place = all,
        None => {
            // The whole branch is missing: take the wanted one.
            let branch = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
            if let (Some(o), Some(value)) = (merged.as_object_mut(), wanted.get(branch)) {
                o.insert(branch.to_owned(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
        objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn the_policy_is_complete_and_well_formed() {
        let objects = objects();
        assert_eq!(objects.len(), 137);
        assert_eq!(
            named(&objects, "ClusterRole", "cluster-admin")["rules"],
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}, {"verbs": ["*"], "nonResourceURLs": ["*"]}])
        );
        assert_eq!(
            named(&objects, "ClusterRole", "edit")["aggregationRule"],
            json!({"clusterRoleSelectors": [{"matchLabels": {"rbac.authorization.k8s.io/aggregate-to-edit": "true"}}]})
        );
        assert_eq!(named(&objects, "ClusterRoleBinding", "cluster-admin")["subjects"][0]["name"], "system:masters");
        let lock = named(&objects, "RoleBinding", "system::leader-locking-kube-scheduler");
        assert_eq!(lock["metadata"]["namespace"], "kube-system");
        assert_eq!(lock["subjects"][1], json!({"kind": "ServiceAccount", "name": "kube-scheduler", "namespace": "kube-system"}));
        for o in &objects {
            let errs = api::validation::create(GROUP, "v1", o["kind"].as_str().unwrap(), o);
            assert!(errs.is_empty(), "{}: {errs:?}", o["metadata"]["name"]);
            for rule in o["rules"].as_array().into_iter().flatten() {
                assert!(!rule["verbs"].as_array().unwrap().is_empty(), "{rule}");
            }
        }
        assert!(!node_rules().is_empty());
    }

    #[test]
    fn what_somebody_added_stays_and_what_is_missing_comes_back() {
        let all = objects();
        let wanted = named(&all, "ClusterRole", "system:basic-user");
        assert_eq!(reconcile(wanted, None), Reconciled::Create(wanted.clone()));
        assert_eq!(reconcile(wanted, Some(wanted)), Reconciled::Keep);

        let mut extended = wanted.clone();
        extended["rules"].as_array_mut().unwrap().push(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}));
        extended["metadata"]["labels"]["mine"] = json!("x");
        assert_eq!(reconcile(wanted, Some(&extended)), Reconciled::Keep);

        let mut emptied = wanted.clone();
        emptied["rules"] = json!([]);
        let Reconciled::Update(repaired) = reconcile(wanted, Some(&emptied)) else { panic!("must be repaired") };
        assert_eq!(reconcile(wanted, Some(&repaired)), Reconciled::Keep);

        emptied["metadata"]["annotations"][AUTO_UPDATE] = json!("false");
        assert_eq!(reconcile(wanted, Some(&emptied)), Reconciled::Keep);

        let binding = named(&all, "ClusterRoleBinding", "system:basic-user");
        let mut other = binding.clone();
        other["roleRef"]["name"] = json!("other");
        assert_eq!(reconcile(binding, Some(&other)), Reconciled::Replace(binding.clone()));
        let mut nobody = binding.clone();
        nobody.as_object_mut().unwrap().remove("subjects");
        assert_eq!(reconcile(binding, Some(&nobody)), Reconciled::Update(binding.clone()));
    }
}
