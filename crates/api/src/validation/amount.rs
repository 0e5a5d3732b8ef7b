//! Resource names and quantities.

use std::cmp::Ordering;

use super::at::At;
use super::format;
use crate::field::ErrorList;
use crate::quantity::Quantity;

const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// The quantity at a field; zero if it is silent or (the decoder refuses that) malformed.
pub(super) fn quantity(at: &At<'_, '_>) -> Quantity {
    match at.value() {
        serde_json::Value::String(s) => Quantity::parse(s).unwrap_or_default(),
        serde_json::Value::Number(n) => Quantity::parse(&n.to_string()).unwrap_or_default(),
        _ => Quantity::default(),
    }
}

/// Whether the name is one of a size of huge pages.
pub(super) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the resource belongs to Kubernetes itself.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the name can be an extended resource's.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name) && !name.starts_with("requests.") && format::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether less can be asked for than is used.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// A name anywhere: a standard one or a qualified one. Answers whether it was fine.
pub(super) fn resource_name(name: &str, at: &At<'_, '_>, errs: &mut ErrorList) -> bool {
    let before = errs.len();
    for detail in format::qualified_name(name) {
        at.invalid_shown(errs, name, &detail);
    }
    let quota_huge_pages = is_huge_pages(name) || name.starts_with("requests.hugepages-");
    if errs.len() == before && !name.contains('/') && !STANDARD.contains(&name) && !quota_huge_pages {
        at.invalid_shown(errs, name, "must be a standard resource type or fully qualified");
    }
    errs.len() == before
}

/// A name in a container's resources.
pub(super) fn container_resource_name(name: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    resource_name(name, at, errs);
    if !name.contains('/') {
        if !matches!(name, "cpu" | "memory" | "ephemeral-storage") && !is_huge_pages(name) {
            at.invalid_shown(errs, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        at.invalid_shown(errs, name, "doesn't follow extended resource name standard");
    }
}

/// A quantity that must not be negative, and must be whole where halves make no sense.
pub(super) fn value(name: &str, at: &At<'_, '_>, errs: &mut ErrorList) {
    let q = quantity(at);
    if q.signum() < 0 {
        at.invalid_shown(errs, q.to_string(), "must be greater than or equal to 0");
    }
    if (WHOLE.contains(&name) || is_extended(name)) && q.milli() % 1000 != 0 {
        at.invalid_shown(errs, q.to_string(), "must be an integer");
    }
}

/// A quantity that must be more than nothing.
pub(super) fn positive(at: &At<'_, '_>, errs: &mut ErrorList) -> bool {
    let q = quantity(at);
    if q.signum() <= 0 {
        at.invalid_shown(errs, q.to_string(), "must be greater than zero");
    }
    q.signum() > 0
}

/// The order of the quantities at two fields.
pub(super) fn compare(a: &At<'_, '_>, b: &At<'_, '_>) -> Ordering {
    quantity(a).cmp(&quantity(b))
}

/// Whether a quantity of huge pages is a positive multiple of their size.
pub(super) fn fits_page(name: &str, at: &At<'_, '_>) -> bool {
    let Some(page) = name.strip_prefix("hugepages-").and_then(|size| Quantity::parse(size).ok()) else { return true };
    page.signum() > 0 && quantity(at).nano() % page.nano() == 0
}
