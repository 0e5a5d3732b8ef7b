//! Limit ranges and resource quotas.

use std::collections::BTreeSet;

use super::amount::{self, quantity};
use super::at::At;
use super::format;
use crate::field::{Error, ErrorList};

const QUOTA_RESOURCES: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
const SCOPES: &[&str] = &[
    "Terminating",
    "NotTerminating",
    "BestEffort",
    "NotBestEffort",
    "PriorityClass",
    "VolumeAttributesClass",
    "CrossNamespacePodAffinity",
];

pub(super) fn limit_range(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let mut seen = BTreeSet::new();
    for item in spec.get("limits").items() {
        let kind = item.get("type");
        let complaints = format::qualified_name(kind.str());
        if complaints.is_empty() && !kind.str().contains('/') && !matches!(kind.str(), "Pod" | "Container" | "PersistentVolumeClaim") {
            kind.invalid_str(errs, "must be a standard limit type or fully qualified");
        }
        kind.complain(errs, complaints);
        if !seen.insert(kind.str()) {
            kind.duplicate(errs);
        }
        limit_names(&item, errs);
        if kind.str() == "PersistentVolumeClaim" && ["min", "max"].iter().all(|f| !item.get(f).entry("storage").is_set()) {
            let why = "either minimum or maximum storage value is required, but neither was provided";
            errs.push(Error::required(&item.path().child("limits"), why));
        }
        limit_order(&item, errs);
    }
}

fn limit_names(item: &At<'_, '_>, errs: &mut ErrorList) {
    let kind = item.get("type").str();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        let map = item.get(field);
        if kind == "Pod" && field.starts_with("default") {
            if !map.is_empty() {
                map.forbidden(errs, "may not be specified when `type` is 'Pod'");
            }
            continue;
        }
        for (name, value) in map.entries() {
            if matches!(kind, "Pod" | "Container") {
                amount::container_resource_name(name, &value, errs);
            } else {
                amount::resource_name(name, &value, errs);
            }
        }
    }
}

/// Minimum ≤ default request ≤ default ≤ maximum, for each resource.
fn limit_order(item: &At<'_, '_>, errs: &mut ErrorList) {
    let fields: &[&'static str] =
        if item.get("type").str() == "Pod" { &["min", "max"] } else { &["min", "defaultRequest", "default", "max"] };
    let names: BTreeSet<&str> = fields.iter().flat_map(|f| item.get(f).entries().map(|(name, _)| name).collect::<Vec<_>>()).collect();
    for name in names {
        let value = |field: &'static str| -> Option<crate::quantity::Quantity> {
            let map = item.get(field);
            fields.contains(&field).then(|| map.entry(name)).filter(At::is_set).map(|v| quantity(&v))
        };
        // Smaller field, its word, larger field, its word, and which of the two is reported and shown.
        for (low, low_word, high, high_word, reported) in [
            ("min", "min value", "max", "max value", "min"),
            ("min", "min value", "defaultRequest", "default request value", "defaultRequest"),
            ("defaultRequest", "default request value", "max", "max value", "defaultRequest"),
            ("defaultRequest", "default request value", "default", "default limit value", "defaultRequest"),
            ("min", "min value", "default", "default value", "default"),
            ("default", "default value", "max", "max value", "default"),
        ] {
            let (Some(less), Some(more)) = (value(low), value(high)) else { continue };
            if less > more {
                let shown = match (low, high) {
                    ("min", "default") => &less,
                    ("default", "max") => &more,
                    _ if reported == low => &less,
                    _ => &more,
                };
                let path = item.path().child(reported).key(name);
                let why = format!("{low_word} {less} is greater than {high_word} {more}");
                errs.push(Error::invalid(&path, shown.to_string(), &why));
            }
        }
    }
    let ratios = item.get("maxLimitRequestRatio");
    for (_, ratio) in ratios.entries() {
        let q = quantity(&ratio);
        if q.milli() < 1000 {
            ratio.invalid_shown(errs, q.to_string(), &format!("ratio {q} is less than 1"));
        }
    }
}

fn quota_map(map: &At<'_, '_>, errs: &mut ErrorList) {
    for (name, value) in map.entries() {
        amount::resource_name(name, &value, errs);
        let huge = name.starts_with("hugepages-") || name.starts_with("requests.hugepages-");
        if !name.contains('/') && !huge && !QUOTA_RESOURCES.contains(&name) {
            value.invalid_shown(errs, name, "must be a standard resource for quota");
        }
        amount::value(name, &value, errs);
    }
}

pub(super) fn resource_quota(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    quota_map(&spec.get("hard"), errs);
    let scopes = spec.get("scopes");
    for scope in scopes.items() {
        if !SCOPES.contains(&scope.str()) {
            scopes.invalid(errs, "unsupported scope");
        }
        if spec.get("hard").entries().any(|(name, _)| QUOTA_RESOURCES.contains(&name) && !scope_fits(scope.str(), name)) {
            scopes.invalid(errs, "unsupported scope applied to resource");
        }
    }
    let has = |name: &str| scopes.items().any(|s| s.str() == name);
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(a) && has(b) {
            scopes.invalid(errs, "conflicting scopes");
        }
    }
    scope_selector(&spec, errs);
    status_maps(o, errs);
}

/// Best effort pods ask for nothing, so only their number can be limited; the others also by what they ask for.
fn scope_fits(scope: &str, resource: &str) -> bool {
    match scope {
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        "Terminating" | "NotTerminating" | "NotBestEffort" | "PriorityClass" | "CrossNamespacePodAffinity" => matches!(
            resource,
            "pods"
                | "cpu"
                | "memory"
                | "ephemeral-storage"
                | "requests.cpu"
                | "requests.memory"
                | "requests.ephemeral-storage"
                | "limits.cpu"
                | "limits.memory"
                | "limits.ephemeral-storage"
        ),
        _ => true,
    }
}

fn scope_selector(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let selector = spec.get("scopeSelector");
    let path = selector.path().child("matchExpressions");
    for e in selector.get("matchExpressions").items() {
        let (scope, operator, values) = (e.get("scopeName").str(), e.get("operator").str(), e.get("values"));
        if !SCOPES.contains(&scope) {
            errs.push(Error::invalid(&path.child("scopeName"), scope, "unsupported scope"));
        }
        let named = matches!(scope, "PriorityClass" | "VolumeAttributesClass") || !SCOPES.contains(&scope);
        if !named && operator != "Exists" {
            const WHY: &str = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, \
                ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";
            errs.push(Error::invalid(&path.child("operator"), operator, WHY));
        }
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errs.push(Error::required(&path.child("values"), why));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                errs.push(Error::invalid(&path.child("values"), values.value().clone(), why));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errs.push(Error::invalid(&path.child("operator"), operator, "not a valid selector operator")),
        }
    }
}

fn status_maps(o: &At<'_, '_>, errs: &mut ErrorList) {
    let status = o.get("status");
    quota_map(&status.get("hard"), errs);
    quota_map(&status.get("used"), errs);
}

pub(super) fn resource_quota_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    resource_quota(new, errs);
    let (new, old) = (new.get("spec"), old.get("spec"));
    let (scopes, before) = (new.get("scopes"), old.get("scopes"));
    let set = |list: &At<'_, '_>| -> BTreeSet<String> { list.items().map(|s| s.str().to_owned()).collect() };
    if set(&scopes) != set(&before) {
        scopes.invalid(errs, "field is immutable");
    }
}

pub(super) fn resource_quota_status(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    status_maps(new, errs);
}
