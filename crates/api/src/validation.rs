//! Whether an object may be stored, in Kubernetes' own words (upstream `pkg/apis/*/validation`).
//!
//! Objects come decoded and defaulted, so types are right and silent fields are filled. Every error names its field; the
//! list is empty for a good object. Never here: rules that need the cluster's state, which are admission's.

mod amount;
mod at;
mod format;
mod ip;
mod labels;
mod meta;
mod number;
mod pod;
mod service;
mod workload;

use serde_json::Value;

use crate::field::ErrorList;
use at::At;
pub use meta::{NameRule, Scope, create_only_metadata, update_only_metadata};

/// A check of one object.
type Check = fn(&At<'_, '_>, &mut ErrorList);
/// A check of a changed object (first) against the stored one.
type Compare = fn(&At<'_, '_>, &At<'_, '_>, &mut ErrorList);

/// What a kind demands beyond its metadata.
struct Rules {
    scope: Scope,
    name: NameRule,
    create: Check,
    update: Compare,
    status: Compare,
}

impl Rules {
    const fn new(scope: Scope, name: NameRule) -> Self {
        Self { scope, name, create: |_, _| {}, update: |_, _, _| {}, status: |_, _, _| {} }
    }

    const fn namespaced() -> Self {
        Self::new(Scope::Namespaced, NameRule::Subdomain)
    }

    const fn cluster() -> Self {
        Self::new(Scope::Cluster, NameRule::Subdomain)
    }
}

/// All errors of a new object of the given group, version and kind, after its name and namespace were set.
///
/// Kinds that are not built in have only their metadata checked, see also [`create_only_metadata`].
pub fn create(group: &str, _version: &str, kind: &str, object: &Value) -> ErrorList {
    let rules = rules(group, kind).unwrap_or_else(|| Rules::new(scope_by_namespace(object), NameRule::Subdomain));
    let root = At::root(object);
    let mut errs = ErrorList::new();
    meta::create(&root.get("metadata"), rules.scope, rules.name, &mut errs);
    (rules.create)(&root, &mut errs);
    errs
}

/// All errors of a changed object against the stored one.
pub fn update(group: &str, _version: &str, kind: &str, new: &Value, old: &Value) -> ErrorList {
    let mut errs = update_only_metadata(new, old);
    if let Some(rules) = rules(group, kind) {
        (rules.update)(&At::root(new), &At::root(old), &mut errs);
    }
    errs
}

/// All errors of an object whose status was changed by the `status` subresource, against the stored one.
pub fn update_status(group: &str, _version: &str, kind: &str, new: &Value, old: &Value) -> ErrorList {
    let mut errs = update_only_metadata(new, old);
    if let Some(rules) = rules(group, kind) {
        (rules.status)(&At::root(new), &At::root(old), &mut errs);
    }
    errs
}

/// All errors of an object changed by a subresource (empty for the object itself), against the stored one.
pub fn update_subresource((group, version, kind): (&str, &str, &str), subresource: &str, new: &Value, old: &Value) -> ErrorList {
    match (kind, subresource) {
        (_, "" | "scale") => update(group, version, kind, new, old),
        ("Pod", "ephemeralcontainers" | "resize") => {
            let mut errs = update_only_metadata(new, old);
            let check = if subresource == "resize" { pod::resize } else { pod::ephemeral_containers };
            check(&At::root(new), &At::root(old), &mut errs);
            errs
        }
        _ => update_status(group, version, kind, new, old),
    }
}

fn scope_by_namespace(object: &Value) -> Scope {
    if At::root(object).get("metadata").get("namespace").is_empty() { Scope::Cluster } else { Scope::Namespaced }
}

/// The built-in kinds.
fn rules(group: &str, kind: &str) -> Option<Rules> {
    Some(match group {
        "" => core(kind)?,
        "apps" => apps(kind)?,
        "rbac.authorization.k8s.io" => rbac(kind)?,
        _ => other(group, kind)?,
    })
}

fn core(kind: &str) -> Option<Rules> {
    Some(match kind {
        "Namespace" => Rules::new(Scope::Cluster, NameRule::Label),
        "Service" => Rules {
            create: service::create,
            update: service::update,
            status: service::status,
            ..Rules::new(Scope::Namespaced, NameRule::Label)
        },
        "ReplicationController" => Rules {
            create: workload::replication_controller,
            update: |new, _, errs| workload::replication_controller(new, errs),
            status: workload::replica_set_status,
            ..Rules::namespaced()
        },
        "Node" | "PersistentVolume" => Rules::cluster(),
        "Pod" => Rules { create: pod::create, update: pod::update, status: pod::status, ..Rules::namespaced() },
        "PodTemplate" => {
            Rules { create: pod::pod_template, update: |new, _, errs| pod::pod_template(new, errs), ..Rules::namespaced() }
        }
        "Endpoints" | "ConfigMap" | "Secret" | "ServiceAccount" | "Event" | "LimitRange"
        | "ResourceQuota" | "PersistentVolumeClaim" => Rules::namespaced(),
        _ => return None,
    })
}

fn apps(kind: &str) -> Option<Rules> {
    Some(match kind {
        "Deployment" => Rules {
            create: workload::deployment,
            update: workload::deployment_update,
            status: workload::deployment_status,
            ..Rules::namespaced()
        },
        "ReplicaSet" => Rules {
            create: workload::replica_set,
            update: workload::replica_set_update,
            status: workload::replica_set_status,
            ..Rules::namespaced()
        },
        "StatefulSet" => Rules {
            create: workload::stateful_set,
            update: workload::stateful_set_update,
            status: workload::stateful_set_status,
            ..Rules::new(Scope::Namespaced, NameRule::Label)
        },
        "DaemonSet" => Rules {
            create: workload::daemon_set,
            update: workload::daemon_set_update,
            status: workload::daemon_set_status,
            ..Rules::namespaced()
        },
        "ControllerRevision" => Rules {
            create: workload::controller_revision,
            update: workload::controller_revision_update,
            ..Rules::namespaced()
        },
        _ => return None,
    })
}

fn rbac(kind: &str) -> Option<Rules> {
    Some(match kind {
        "Role" | "RoleBinding" => Rules::new(Scope::Namespaced, NameRule::PathSegment),
        "ClusterRole" | "ClusterRoleBinding" => Rules::new(Scope::Cluster, NameRule::PathSegment),
        _ => return None,
    })
}

fn other(group: &str, kind: &str) -> Option<Rules> {
    Some(match (group, kind) {
        ("batch", "Job" | "CronJob")
        | ("autoscaling", "HorizontalPodAutoscaler")
        | ("policy", "PodDisruptionBudget")
        | ("coordination.k8s.io", "Lease")
        | ("discovery.k8s.io", "EndpointSlice")
        | ("events.k8s.io", "Event")
        | ("networking.k8s.io", "Ingress" | "NetworkPolicy")
        | ("storage.k8s.io", "CSIStorageCapacity")
        | ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => Rules::namespaced(),
        ("networking.k8s.io", "IPAddress") => Rules::new(Scope::Cluster, NameRule::Own),
        ("apiregistration.k8s.io", "APIService") => Rules::new(Scope::Cluster, NameRule::PathSegment),
        ("networking.k8s.io", "IngressClass" | "ServiceCIDR")
        | ("storage.k8s.io", "StorageClass" | "VolumeAttachment" | "CSINode" | "CSIDriver" | "VolumeAttributesClass")
        | ("scheduling.k8s.io", "PriorityClass")
        | ("node.k8s.io", "RuntimeClass")
        | ("certificates.k8s.io", "CertificateSigningRequest")
        | ("flowcontrol.apiserver.k8s.io", "FlowSchema" | "PriorityLevelConfiguration")
        | ("resource.k8s.io", "DeviceClass" | "ResourceSlice")
        | (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
            | "MutatingAdmissionPolicy"
            | "MutatingAdmissionPolicyBinding",
        )
        | ("apiextensions.k8s.io", "CustomResourceDefinition") => Rules::cluster(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
