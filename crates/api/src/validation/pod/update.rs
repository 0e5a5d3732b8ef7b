//! What may change in a pod once it exists.

use serde_json::{Map, Value};

use super::{annotations, metadata_and_spec};
use crate::field::ErrorList;
use crate::validation::at::{At, same};
use crate::validation::format;

const CHANGEABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only \
    additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// A changed pod, by its main resource.
pub(in crate::validation) fn update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    metadata_and_spec(new, errs);
    let (new_meta, old_meta) = (new.get("metadata"), old.get("metadata"));
    annotations::updated(&new_meta.get("annotations"), &old_meta.get("annotations"), errs);
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    for list in ["containers", "initContainers"] {
        if new_spec.get(list).len() != old_spec.get(list).len() {
            return new_spec.get(list).forbidden(errs, "pod updates may not add or remove containers");
        }
    }
    if !deadline(&new_spec, &old_spec, errs) {
        return;
    }
    added_tolerations(&new_spec.get("tolerations"), &old_spec.get("tolerations"), errs);
    deleted_gates(&new_spec.get("schedulingGates"), &old_spec.get("schedulingGates"), errs);
    if same(new_spec.value(), old_spec.value()) {
        return;
    }
    let rest = without_changeable(new_spec.value(), old_spec.value());
    if !same(&rest, old_spec.value()) {
        let difference = difference(old_spec.value(), &rest);
        new_spec.forbidden(errs, &format!("pod updates may not change fields other than {CHANGEABLE}\n{difference}"));
    }
}

/// A pod that got ephemeral containers; those it had may not change.
pub(in crate::validation) fn ephemeral_containers(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    metadata_and_spec(new, errs);
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    let list = new_spec.get("ephemeralContainers");
    for was in old_spec.get("ephemeralContainers").items() {
        let name = was.get("name").str();
        match list.items().find(|c| c.get("name").str() == name) {
            None => list.forbidden(errs, &format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) if !same(now.value(), was.value()) => {
                let difference = difference(was.value(), now.value());
                list.forbidden(errs, &format!("existing ephemeral containers {name:?} may not be changed\n{difference}"));
            }
            Some(_) => {}
        }
    }
}

/// A pod whose containers got other CPU and memory; nothing else may change.
pub(in crate::validation) fn resize(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    metadata_and_spec(new, errs);
    let (new_spec, old_spec) = (new.get("spec"), old.get("spec"));
    let mut rest = new_spec.value().clone();
    for list in ["containers", "initContainers"] {
        let olds = old_spec.get(list);
        let news = rest.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (now, was) in news.zip(olds.items()) {
            if let Some(c) = now.as_object_mut() {
                put_back(c, "resources", was.value());
                put_back(c, "resizePolicy", was.value());
            }
        }
    }
    if !same(&rest, old_spec.value()) {
        let difference = difference(old_spec.value(), &rest);
        new_spec.forbidden(errs, &format!("only cpu and memory resources are mutable\n{difference}"));
    }
    for list in ["containers", "initContainers"] {
        for (now, was) in new_spec.get(list).items().zip(old_spec.get(list).items()) {
            resized(&now.get("resources"), &was.get("resources"), errs);
        }
    }
    // The class of service decides how the pod is treated under pressure, so a resize may not change it.
    if quality(new_spec.value()) != quality(old_spec.value()) {
        let why = "Pod QOS Class may not change as a result of resizing";
        new_spec.invalid_shown(errs, quality(new_spec.value()), why);
    }
}

fn resized(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    for what in ["requests", "limits"] {
        let (now, was) = (new.get(what), old.get(what));
        for (name, value) in was.entries() {
            if matches!(name, "cpu" | "memory") && !now.entry(name).is_set() {
                now.forbidden(errs, &format!("resource {what} cannot be removed"));
            } else if !matches!(name, "cpu" | "memory") && !same(now.entry(name).value(), value.value()) {
                now.forbidden(errs, "only cpu and memory resources are mutable");
            }
        }
    }
}

/// The class of service, by what the containers ask for.
fn quality(spec: &Value) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for list in ["containers", "initContainers"] {
        for c in spec.get(list).and_then(Value::as_array).into_iter().flatten() {
            let at = |what: &str, name: &str| c.pointer(&format!("/resources/{what}/{name}")).filter(|v| !v.is_null());
            for name in ["cpu", "memory"] {
                let (request, limit) = (at("requests", name), at("limits", name));
                any |= request.is_some() || limit.is_some();
                guaranteed &= limit.is_some() && (request.is_none() || request == limit);
            }
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// Whether the rest still needs a look.
fn deadline(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) -> bool {
    let at = new.get("activeDeadlineSeconds");
    match (at.int(), old.get("activeDeadlineSeconds").int()) {
        (Some(n), _) if !(0..=i64::from(i32::MAX)).contains(&n) => {
            at.invalid(errs, &format::range(0, i64::from(i32::MAX)));
            false
        }
        (Some(n), Some(before)) if before < n => {
            at.invalid(errs, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            at.invalid(errs, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn added_tolerations(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let bare = |t: &At<'_, '_>| {
        let mut t = t.value().clone();
        if let Some(o) = t.as_object_mut() {
            o.remove("tolerationSeconds");
        }
        t
    };
    if old.items().any(|o| !new.items().any(|n| same(&bare(&n), &bare(&o)))) {
        new.forbidden(errs, "existing toleration can not be modified except its tolerationSeconds");
    }
}

fn deleted_gates(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    for gate in new.items() {
        let name = gate.get("name");
        if !old.items().any(|o| o.get("name").str() == name.str()) {
            name.forbidden(errs, &format!("only deletion is allowed, but found new scheduling gate '{}'", name.str()));
        }
    }
}

/// The new spec with the old values of everything that may change.
fn without_changeable(new: &Value, old: &Value) -> Value {
    let mut spec = new.clone();
    let Some(fields) = spec.as_object_mut() else { return spec };
    for key in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        put_back(fields, key, old);
    }
    let grace = |v: &Value| v.get("terminationGracePeriodSeconds").and_then(Value::as_i64);
    if grace(old).is_some_and(|s| s < 0) && grace(new) == Some(1) {
        put_back(fields, "terminationGracePeriodSeconds", old);
    }
    for list in ["containers", "initContainers"] {
        let olds = old.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let news = fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
        for (new, old) in news.zip(olds) {
            if let Some(c) = new.as_object_mut() {
                put_back(c, "image", old);
            }
        }
    }
    // A pod that waits behind gates may still be told more narrowly where to run; narrowing is checked by the scheduler's admission.
    let gated = old.get("schedulingGates").and_then(Value::as_array).is_some_and(|g| !g.is_empty());
    if gated && narrower_selector(new, old) {
        put_back(fields, "nodeSelector", old);
    }
    if gated && narrower_affinity(new, old) {
        let affinity = fields.get("affinity").and_then(Value::as_object).cloned().unwrap_or_default();
        let mut affinity: Map<String, Value> = affinity;
        put_back(&mut affinity, "nodeAffinity", old.get("affinity").unwrap_or(&Value::Null));
        fields.insert("affinity".to_owned(), Value::Object(affinity));
    }
    spec
}

fn put_back(fields: &mut Map<String, Value>, key: &str, old: &Value) {
    match old.get(key) {
        Some(value) => fields.insert(key.to_owned(), value.clone()),
        None => fields.remove(key),
    };
}

fn narrower_selector(new: &Value, old: &Value) -> bool {
    let entries = |v: &Value| v.get("nodeSelector").and_then(Value::as_object).cloned().unwrap_or_default();
    let new = entries(new);
    entries(old).iter().all(|(k, v)| new.get(k) == Some(v))
}

/// Required terms may only gain expressions; preferred ones are free.
fn narrower_affinity(new: &Value, old: &Value) -> bool {
    const TERMS: &str = "/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms";
    let terms = |v: &Value| v.pointer(TERMS).and_then(Value::as_array).cloned().unwrap_or_default();
    let (new, old) = (terms(new), terms(old));
    if old.is_empty() {
        return true;
    }
    let list = |term: &Value, key: &str| term.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let only_added = |new: &Value, old: &Value| {
        !(list(old, "matchExpressions").is_empty() && list(old, "matchFields").is_empty())
            && ["matchExpressions", "matchFields"].iter().all(|key| list(new, key).starts_with(&list(old, key)))
    };
    new.len() == old.len() && new.iter().zip(&old).all(|(n, o)| only_added(n, o))
}

/// What differs, by path, as `-` old and `+` new lines.
fn difference(old: &Value, new: &Value) -> String {
    /// Lines shown at most; the rest is summed up.
    const MAX_LINES: usize = 40;
    let mut lines = Vec::new();
    collect(String::from("spec"), old, new, &mut lines);
    let more = lines.len().saturating_sub(MAX_LINES);
    lines.truncate(MAX_LINES);
    if more > 0 {
        lines.push(format!("  … and {more} more"));
    }
    lines.join("\n")
}

fn collect(path: String, old: &Value, new: &Value, lines: &mut Vec<String>) {
    match (old, new) {
        _ if same(old, new) => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let at = |m: &Map<String, Value>| m.get(key).cloned().unwrap_or_default();
                collect(format!("{path}.{key}"), &at(a), &at(b), lines);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                collect(format!("{path}[{i}]"), x, y, lines);
            }
        }
        _ => {
            lines.push(format!("- {path}: {old}"));
            lines.push(format!("+ {path}: {new}"));
        }
    }
}
