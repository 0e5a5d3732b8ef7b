//! Object metadata (apimachinery `api/validation/objectmeta.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::At;
use super::{format, labels};
use crate::field::{Error, ErrorList};

/// All annotations of an object together may be this long, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;
/// The longest name of a field manager, in bytes.
const MAX_MANAGER: usize = 128;
/// The longest name of a subresource in managed fields, in bytes.
const MAX_SUBRESOURCE: usize = 256;

/// Whether objects of a kind live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Each object is in one namespace.
    Namespaced,
    /// The objects belong to the cluster.
    Cluster,
}

/// Which names a kind allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameRule {
    /// An RFC 1123 subdomain: most kinds.
    Subdomain,
    /// An RFC 1123 label: namespaces, services, stateful sets.
    Label,
    /// Whatever can stand in a URL's path: RBAC kinds.
    PathSegment,
    /// The kind checks its names itself.
    Own,
}

impl NameRule {
    fn complaints(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => format::subdomain(name),
            Self::Label => format::label_1123(name),
            Self::PathSegment => format::path_segment(name),
            Self::Own => Vec::new(),
        }
    }

    fn prefix_complaints(self, prefix: &str) -> Vec<String> {
        // A trailing dash is fine where more will follow. Upstream also swallows the byte before it; so do we.
        match prefix.strip_suffix('-') {
            Some(rest) if !rest.is_empty() && self != Self::PathSegment => {
                let kept: String = rest.chars().take(rest.chars().count().saturating_sub(1)).collect();
                self.complaints(&format!("{kept}a"))
            }
            _ => self.complaints(prefix),
        }
    }
}

/// The metadata of a new object, after its name was generated.
pub(super) fn create(meta: &At<'_, '_>, scope: Scope, rule: NameRule, errs: &mut ErrorList) {
    let prefix = meta.get("generateName");
    if !prefix.is_empty() {
        prefix.complain(errs, rule.prefix_complaints(prefix.str()));
    }
    let name = meta.get("name");
    if name.is_empty() {
        name.required(errs, "name or generateName is required");
    } else {
        name.complain(errs, rule.complaints(name.str()));
    }
    let namespace = meta.get("namespace");
    match scope {
        Scope::Namespaced if namespace.is_empty() => namespace.required(errs, ""),
        Scope::Namespaced => namespace.complain(errs, format::label_1123(namespace.str())),
        Scope::Cluster if !namespace.is_empty() => namespace.forbidden(errs, "not allowed on this type"),
        Scope::Cluster => {}
    }
    meta.get("generation").not_negative(errs);
    labels::labels(&meta.get("labels"), errs);
    annotations(&meta.get("annotations"), errs);
    owners(&meta.get("ownerReferences"), errs);
    finalizers(&meta.get("finalizers"), errs);
    managed_fields(&meta.get("managedFields"), errs);
    kube_finalizers(&meta.get("finalizers"), errs);
}

/// The metadata of a changed object.
pub(super) fn update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    if old.get("deletionTimestamp").is_set() {
        no_new_finalizers(&new.get("finalizers"), &old.get("finalizers"), errs);
    }
    let version = new.get("resourceVersion");
    if version.is_empty() {
        version.invalid_str(errs, "must be specified for an update");
    }
    let generation = new.get("generation");
    let (now, before) = (generation.int().unwrap_or(0), old.get("generation").int().unwrap_or(0));
    if now < before {
        generation.invalid_shown(errs, now, "must not be decremented");
    }
    for name in ["name", "namespace", "uid"] {
        let (new, old) = (new.get(name), old.get(name));
        if new.str() != old.str() {
            new.invalid_str(errs, "field is immutable");
        }
    }
    for name in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        new.get(name).immutable(&old.get(name), errs);
    }
    labels::labels(&new.get("labels"), errs);
    annotations(&new.get("annotations"), errs);
    owners(&new.get("ownerReferences"), errs);
    managed_fields(&new.get("managedFields"), errs);
    kube_finalizers(&new.get("finalizers"), errs);
}

/// The keys and the size of annotations.
pub(super) fn annotations(at: &At<'_, '_>, errs: &mut ErrorList) {
    let mut size = 0;
    for (key, value) in at.entries() {
        size += key.len() + value.str().len();
        for detail in format::qualified_name(&key.to_lowercase()) {
            at.invalid_shown(errs, key, &detail);
        }
    }
    if size > MAX_ANNOTATIONS {
        at.too_long(errs, MAX_ANNOTATIONS);
    }
}

fn owners(at: &At<'_, '_>, errs: &mut ErrorList) {
    let mut controller: Option<String> = None;
    for owner in at.items() {
        let version = owner.get("apiVersion").str();
        // Upstream reports below the list, not below the element.
        let below = |name: &str| at.path().child(name);
        let (group, bare) = version.split_once('/').unwrap_or(("", version));
        if bare.is_empty() {
            errs.push(Error::invalid(&below("apiVersion"), version, "version must not be empty"));
        }
        for name in ["kind", "name", "uid"] {
            if owner.get(name).is_empty() {
                errs.push(Error::invalid(&below(name), "", "must not be empty"));
            }
        }
        if (group, bare, owner.get("kind").str()) == ("", "v1", "Event") {
            at.invalid_shown(errs, owner.value().clone(), "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").is_true() {
            let name = format!("{}/{}", owner.get("kind").str(), owner.get("name").str());
            match &controller {
                None => controller = Some(name),
                Some(first) => at.invalid(
                    errs,
                    &format!("Only one reference can have Controller set to true. Found \"true\" in references for {first} and {name}"),
                ),
            }
        }
    }
}

fn finalizers(at: &At<'_, '_>, errs: &mut ErrorList) {
    for finalizer in at.items() {
        for detail in format::qualified_name(finalizer.str()) {
            at.invalid_shown(errs, finalizer.str(), &detail);
        }
    }
    let has = |name: &str| at.items().any(|f| f.str() == name);
    if has("orphan") && has("foregroundDeletion") {
        at.invalid(errs, "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// A finalizer without a domain must be one that Kubernetes knows.
fn kube_finalizers(at: &At<'_, '_>, errs: &mut ErrorList) {
    for finalizer in at.items() {
        let name = finalizer.str();
        if !name.contains('/') && !matches!(name, "kubernetes" | "orphan" | "foregroundDeletion") {
            finalizer.invalid(errs, "name is neither a standard finalizer name nor is it fully qualified");
        }
    }
}

fn no_new_finalizers(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let before: BTreeSet<&str> = old.items().map(|f| f.str()).collect();
    let extra: BTreeSet<&str> = new.items().map(|f| f.str()).filter(|f| !before.contains(f)).collect();
    if !extra.is_empty() {
        let shown: Vec<String> = extra.iter().map(|f| format!("{f:?}")).collect();
        let shown = format!("[]string{{{}}}", shown.join(", "));
        new.forbidden(errs, &format!("no new finalizers can be added if the object is being deleted, found new finalizers {shown}"));
    }
}

fn managed_fields(at: &At<'_, '_>, errs: &mut ErrorList) {
    for entry in at.items() {
        let operation = entry.get("operation");
        if !matches!(operation.str(), "Apply" | "Update") {
            operation.invalid_str(errs, "must be `Apply` or `Update`");
        }
        let kind = entry.get("fieldsType");
        if !kind.is_empty() && kind.str() != "FieldsV1" {
            kind.invalid(errs, "must be `FieldsV1`");
        }
        manager(&entry.get("manager"), errs);
        let subresource = entry.get("subresource");
        if subresource.str().len() > MAX_SUBRESOURCE {
            subresource.too_long(errs, MAX_SUBRESOURCE);
        }
    }
}

fn manager(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.str().len() > MAX_MANAGER {
        at.too_long(errs, MAX_MANAGER);
    }
    for (i, c) in at.str().char_indices() {
        if c.is_control() {
            at.invalid(errs, &format!("invalid character U+{:04X} (at position {i})", u32::from(c)));
        }
    }
}

/// The metadata of a new object of a kind that has no rules of its own, for example a custom resource.
pub fn create_only_metadata(scope: Scope, object: &Value) -> ErrorList {
    let mut errs = ErrorList::new();
    create(&At::root(object).get("metadata"), scope, NameRule::Subdomain, &mut errs);
    errs
}

/// The metadata of a changed object of a kind that has no rules of its own.
pub fn update_only_metadata(new: &Value, old: &Value) -> ErrorList {
    let mut errs = ErrorList::new();
    update(&At::root(new).get("metadata"), &At::root(old).get("metadata"), &mut errs);
    errs
}
