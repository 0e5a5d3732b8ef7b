//! Roles and bindings.

use super::at::{At, same};
use super::{format, labels};
use crate::field::{Error, ErrorList};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Whether rules apply in one namespace or everywhere.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Namespace,
    Cluster,
}

pub(super) fn role(o: &At<'_, '_>, errs: &mut ErrorList) {
    rules(o, Reach::Namespace, errs);
}

pub(super) fn cluster_role(o: &At<'_, '_>, errs: &mut ErrorList) {
    rules(o, Reach::Cluster, errs);
    let gathers = o.get("aggregationRule");
    if gathers.is_set() {
        let selectors = gathers.get("clusterRoleSelectors");
        if selectors.is_empty() {
            selectors.required(errs, "at least one clusterRoleSelector required if aggregationRule is non-nil");
        }
        selectors.items().for_each(|s| labels::selector(&s, errs));
    }
}

fn rules(o: &At<'_, '_>, reach: Reach, errs: &mut ErrorList) {
    for rule in o.get("rules").items() {
        let urls = rule.get("nonResourceURLs");
        if rule.get("verbs").is_empty() {
            rule.get("verbs").required(errs, "verbs must contain at least one value");
        }
        if !urls.is_empty() {
            if reach == Reach::Namespace {
                urls.invalid(errs, "namespaced rules cannot apply to non-resource URLs");
            }
            if ["apiGroups", "resources", "resourceNames"].iter().any(|f| !rule.get(f).is_empty()) {
                urls.invalid(errs, "rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        if rule.get("apiGroups").is_empty() {
            rule.get("apiGroups").required(errs, "resource rules must supply at least one api group");
        }
        if rule.get("resources").is_empty() {
            rule.get("resources").required(errs, "resource rules must supply at least one resource");
        }
    }
}

pub(super) fn role_binding(o: &At<'_, '_>, errs: &mut ErrorList) {
    binding(o, Reach::Namespace, errs);
}

pub(super) fn cluster_role_binding(o: &At<'_, '_>, errs: &mut ErrorList) {
    binding(o, Reach::Cluster, errs);
}

fn binding(o: &At<'_, '_>, reach: Reach, errs: &mut ErrorList) {
    let role = o.get("roleRef");
    role.get("apiGroup").one_of(errs, &[GROUP]);
    role.get("kind").one_of(errs, if reach == Reach::Cluster { &["ClusterRole"] } else { &["ClusterRole", "Role"] });
    let name = role.get("name");
    if name.is_empty() {
        name.required(errs, "");
    } else {
        name.complain(errs, format::path_segment(name.str()));
    }
    o.get("subjects").items().for_each(|s| subject(&s, reach, errs));
}

fn subject(s: &At<'_, '_>, reach: Reach, errs: &mut ErrorList) {
    let (kind, name, group) = (s.get("kind"), s.get("name"), s.get("apiGroup"));
    if name.is_empty() {
        name.required(errs, "");
    }
    match kind.str() {
        "ServiceAccount" => {
            if !name.is_empty() {
                name.complain(errs, format::subdomain(name.str()));
            }
            group.one_of(errs, &[""]);
            if reach == Reach::Cluster && s.get("namespace").is_empty() {
                s.get("namespace").required(errs, "");
            }
        }
        "User" | "Group" => group.one_of(errs, &[GROUP]),
        other => errs.push(Error::not_supported(&kind.path(), other, &["Group", "ServiceAccount", "User"])),
    }
}

/// The role of a binding never changes.
pub(super) fn role_binding_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    role_binding(new, errs);
    fixed_role(new, old, errs);
}

pub(super) fn cluster_role_binding_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    cluster_role_binding(new, errs);
    fixed_role(new, old, errs);
}

fn fixed_role(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let role = new.get("roleRef");
    if !same(role.value(), old.get("roleRef").value()) {
        role.invalid(errs, "cannot change roleRef");
    }
}
