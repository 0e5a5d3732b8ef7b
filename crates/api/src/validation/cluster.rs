//! Namespaces, nodes, priority classes, leases, disruption budgets, runtime classes.

use std::collections::BTreeSet;

use super::at::{At, same};
use super::{amount, format, ip, labels, number, pod};
use crate::field::{Error, ErrorList, Path};

/// Users' priorities end here; above are the system's.
const MAX_PRIORITY: i64 = 1_000_000_000;
/// The system's own priority classes.
const SYSTEM_CLASSES: [(&str, i64); 2] = [("system-node-critical", 2_000_001_000), ("system-cluster-critical", 2_000_000_000)];

pub(super) fn namespace(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let list = spec.get("finalizers");
    for finalizer in list.items() {
        let name = finalizer.str();
        for detail in format::qualified_name(name) {
            list.invalid_shown(errs, name, &detail);
        }
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            list.invalid_shown(errs, name, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

/// Only the namespace controller ends a namespace.
pub(super) fn namespace_status(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    let (status, metadata) = (new.get("status"), new.get("metadata"));
    let phase = status.get("phase").str();
    let path = status.path().child("Phase");
    match (metadata.get("deletionTimestamp").is_set(), phase) {
        (false, "Active") | (true, "Terminating") => {}
        (false, _) => errs.push(Error::invalid(&path, phase, "may only be 'Active' if `deletionTimestamp` is empty")),
        (true, _) => errs.push(Error::invalid(&path, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty")),
    }
}

pub(super) fn node(o: &At<'_, '_>, errs: &mut ErrorList) {
    node_parts(o, errs);
    let spec = o.get("spec");
    let ranges = spec.get("podCIDRs");
    for range in ranges.items() {
        ip::cidr(&range, range.str(), errs);
    }
    let dual = ip::is_dual_stack(ranges.items().filter_map(|r| r.str().split('/').next()));
    if ranges.len() > 1 && (!dual || ranges.len() > 2) {
        ranges.invalid(errs, "may specify no more than one CIDR for each IP family");
    }
}

fn node_parts(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, status) = (o.get("spec"), o.get("status"));
    taints(&spec.get("taints"), errs);
    for list in ["capacity", "allocatable"] {
        for (name, value) in status.get(list).entries() {
            let mut own = ErrorList::new();
            amount::value(name, &value, &mut own);
            let path = Path::new("status").child(list).child(name);
            errs.extend(own.into_iter().map(|e| Error { field: path.clone(), ..e }));
        }
    }
}

/// Upstream reports these below the metadata.
fn taints(list: &At<'_, '_>, errs: &mut ErrorList) {
    let mut seen = BTreeSet::new();
    for (i, taint) in list.items().enumerate() {
        let path = Path::new("metadata").child("taints").index(i);
        let (key, value, effect) = (taint.get("key").str(), taint.get("value").str(), taint.get("effect").str());
        errs.extend(format::qualified_name(key).iter().map(|d| Error::invalid(&path.child("key"), key, d)));
        let bad = format::label_value(value);
        if !bad.is_empty() {
            errs.push(Error::invalid(&path.child("value"), value, &bad.join(";")));
        }
        let effects = ["NoExecute", "NoSchedule", "PreferNoSchedule"];
        if effect.is_empty() {
            errs.push(Error::required(&path.child("effect"), ""));
        } else if !effects.contains(&effect) {
            errs.push(Error::not_supported(&path.child("effect"), effect, &effects));
        }
        if !seen.insert((key, effect)) {
            let mut error = Error::duplicate(&path, taint.value().clone());
            error.message.push_str(": taints must be unique by key and effect pair");
            errs.push(error);
        }
    }
}

pub(super) fn node_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    node_parts(new, errs);
    let (spec, before, status) = (new.get("spec"), old.get("spec"), new.get("status"));
    let mut seen = BTreeSet::new();
    for address in status.get("addresses").items() {
        if !seen.insert(address.value().to_string()) {
            address.duplicate(errs);
        }
    }
    let ranges = before.get("podCIDRs");
    if !ranges.is_empty() && !same(ranges.value(), spec.get("podCIDRs").value()) {
        spec.get("podCIDRs").forbidden(errs, "node updates may not change podCIDR except from \"\" to valid");
    }
    let provider = before.get("providerID");
    if !provider.is_empty() && provider.str() != spec.get("providerID").str() {
        spec.get("providerID").forbidden(errs, "node updates may not change providerID except from \"\" to valid");
    }
}

pub(super) fn priority_class(o: &At<'_, '_>, errs: &mut ErrorList) {
    let metadata = o.get("metadata");
    let (name, value) = (metadata.get("name"), o.get("value"));
    let number = value.int().unwrap_or(0);
    if name.str().starts_with("system-") {
        const HEAD: &str = "priority class names with 'system-' prefix are reserved for system use only. error: ";
        let why = match SYSTEM_CLASSES.iter().find(|(known, _)| *known == name.str()) {
            None => Some(format!("{} is not a known system priority class", name.str())),
            Some((known, wanted)) if *wanted != number => Some(format!("value of {known} PriorityClass must be {wanted}")),
            Some((known, _)) if o.get("globalDefault").is_true() => Some(format!("globalDefault of {known} PriorityClass must be false")),
            Some(_) => None,
        };
        if let Some(why) = why {
            name.forbidden(errs, &format!("{HEAD}{why}"));
        }
    } else if number > MAX_PRIORITY {
        value.forbidden(errs, &format!("maximum allowed value of a user defined priority is {MAX_PRIORITY}"));
    }
    let policy = o.get("preemptionPolicy");
    if policy.is_set() {
        policy.required_one_of(errs, &["Never", "PreemptLowerPriority"], "");
    }
}

pub(super) fn priority_class_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    if new.get("value").int().unwrap_or(0) != old.get("value").int().unwrap_or(0) {
        new.get("value").forbidden(errs, "may not be changed in an update.");
    }
    new.get("preemptionPolicy").immutable(&old.get("preemptionPolicy"), errs);
}

pub(super) fn lease(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.int().is_some_and(|s| s <= 0) {
        duration.invalid(errs, "must be greater than 0");
    }
    spec.get("leaseTransitions").not_negative(errs);
    let strategy = spec.get("strategy");
    if !spec.get("preferredHolder").is_empty() && strategy.is_empty() {
        spec.get("preferredHolder").forbidden(errs, "may only be specified if `strategy` is defined");
    }
}

pub(super) fn disruption_budget(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let (least, most) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if least.is_set() && most.is_set() {
        spec.invalid(errs, "minAvailable and maxUnavailable cannot be both set");
    }
    for at in [least, most] {
        number::int_or_percent(&at, errs);
        number::at_most_100_percent(&at, errs);
    }
    labels::selector(&spec.get("selector"), errs);
    if spec.get("unhealthyPodEvictionPolicy").is_set() {
        spec.get("unhealthyPodEvictionPolicy").one_of(errs, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

pub(super) fn disruption_budget_status(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    number::counters(&new.get("status"), &["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"], errs);
}

pub(super) fn runtime_class(o: &At<'_, '_>, errs: &mut ErrorList) {
    let handler = o.get("handler");
    handler.complain(errs, format::label_1123(handler.str()));
    let overhead = o.get("overhead");
    for (name, value) in overhead.get("podFixed").entries() {
        amount::container_resource_name(name, &value, errs);
        amount::value(name, &value, errs);
    }
    let scheduling = o.get("scheduling");
    labels::labels(&scheduling.get("nodeSelector"), errs);
    pod::tolerations(&scheduling.get("tolerations"), errs);
}

pub(super) fn runtime_class_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    new.get("handler").immutable(&old.get("handler"), errs);
}
