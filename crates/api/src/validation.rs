//! Whether an object may be stored, in Kubernetes' own words (upstream `pkg/apis/*/validation`).
//!
//! Objects come decoded and defaulted, so types are right and silent fields are filled. Every error names its field; the
//! list is empty for a good object. Never here: rules that need the cluster's state, which are admission's.

mod amount;
mod at;
mod autoscaling;
mod batch;
mod certificates;
mod cluster;
mod config;
mod endpoints;
mod event;
mod format;
mod ip;
mod labels;
mod limits;
mod meta;
mod networking;
mod number;
mod pod;
mod rbac;
mod service;
mod storage;
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
        "rbac.authorization.k8s.io" => access(kind)?,
        "networking.k8s.io" => network(kind)?,
        "storage.k8s.io" => stored(kind)?,
        _ => other(group, kind)?,
    })
}

/// Rules where an update is checked like a new object.
const fn same_on_update(base: Rules, create: Check, update: Compare) -> Rules {
    Rules { create, update, ..base }
}

fn core(kind: &str) -> Option<Rules> {
    let (namespaced, cluster) = (Rules::namespaced, Rules::cluster);
    Some(match kind {
        "Namespace" => {
            Rules { create: cluster::namespace, status: cluster::namespace_status, ..Rules::new(Scope::Cluster, NameRule::Label) }
        }
        "Node" => {
            // A kubelet writes the same fields by both ways.
            Rules { create: cluster::node, update: cluster::node_update, status: cluster::node_update, ..cluster() }
        }
        "PersistentVolume" => Rules { create: storage::volume, update: storage::volume_update, ..cluster() },
        "PersistentVolumeClaim" => Rules { create: storage::claim, update: storage::claim_update, ..namespaced() },
        "Pod" => Rules { create: pod::create, update: pod::update, status: pod::status, ..namespaced() },
        "PodTemplate" => same_on_update(namespaced(), pod::pod_template, |new, _, errs| pod::pod_template(new, errs)),
        "ReplicationController" => Rules {
            create: workload::replication_controller,
            update: |new, _, errs| workload::replication_controller(new, errs),
            status: workload::replica_set_status,
            ..namespaced()
        },
        "Service" => Rules {
            create: service::create,
            update: service::update,
            status: service::status,
            ..Rules::new(Scope::Namespaced, NameRule::Label)
        },
        "Endpoints" => Rules { create: endpoints::endpoints, update: endpoints::endpoints_update, ..namespaced() },
        "ConfigMap" => Rules { create: config::config_map, update: config::config_map_update, ..namespaced() },
        "Secret" => Rules { create: config::secret, update: config::secret_update, ..namespaced() },
        "Event" => Rules { create: event::core, update: event::core_update, ..namespaced() },
        "LimitRange" => same_on_update(namespaced(), limits::limit_range, |new, _, errs| limits::limit_range(new, errs)),
        "ResourceQuota" => Rules {
            create: limits::resource_quota,
            update: limits::resource_quota_update,
            status: limits::resource_quota_status,
            ..namespaced()
        },
        "ServiceAccount" => namespaced(),
        _ => return None,
    })
}

fn apps(kind: &str) -> Option<Rules> {
    let namespaced = Rules::namespaced;
    Some(match kind {
        "Deployment" => {
            Rules { create: workload::deployment, update: workload::deployment_update, status: workload::deployment_status, ..namespaced() }
        }
        "ReplicaSet" => Rules {
            create: workload::replica_set,
            update: workload::replica_set_update,
            status: workload::replica_set_status,
            ..namespaced()
        },
        "StatefulSet" => Rules {
            create: workload::stateful_set,
            update: workload::stateful_set_update,
            status: workload::stateful_set_status,
            ..Rules::new(Scope::Namespaced, NameRule::Label)
        },
        "DaemonSet" => {
            Rules { create: workload::daemon_set, update: workload::daemon_set_update, status: workload::daemon_set_status, ..namespaced() }
        }
        "ControllerRevision" => {
            Rules { create: workload::controller_revision, update: workload::controller_revision_update, ..namespaced() }
        }
        _ => return None,
    })
}

fn access(kind: &str) -> Option<Rules> {
    let namespaced = Rules::new(Scope::Namespaced, NameRule::PathSegment);
    let cluster = Rules::new(Scope::Cluster, NameRule::PathSegment);
    Some(match kind {
        "Role" => same_on_update(namespaced, rbac::role, |new, _, errs| rbac::role(new, errs)),
        "ClusterRole" => same_on_update(cluster, rbac::cluster_role, |new, _, errs| rbac::cluster_role(new, errs)),
        "RoleBinding" => Rules { create: rbac::role_binding, update: rbac::role_binding_update, ..namespaced },
        "ClusterRoleBinding" => Rules { create: rbac::cluster_role_binding, update: rbac::cluster_role_binding_update, ..cluster },
        _ => return None,
    })
}

fn network(kind: &str) -> Option<Rules> {
    let namespaced = Rules::namespaced;
    Some(match kind {
        "Ingress" => {
            Rules { create: networking::ingress, update: networking::ingress_update, status: networking::ingress_status, ..namespaced() }
        }
        "NetworkPolicy" => same_on_update(namespaced(), networking::network_policy, |new, _, errs| networking::network_policy(new, errs)),
        "IngressClass" => Rules { create: networking::ingress_class, update: networking::ingress_class_update, ..Rules::cluster() },
        "IPAddress" => Rules::new(Scope::Cluster, NameRule::Own),
        "ServiceCIDR" => Rules::cluster(),
        _ => return None,
    })
}

fn stored(kind: &str) -> Option<Rules> {
    Some(match kind {
        "StorageClass" => Rules { create: storage::class, update: storage::class_update, ..Rules::cluster() },
        "CSIDriver" => Rules { create: storage::csi_driver, ..Rules::cluster() },
        "VolumeAttributesClass" => Rules { update: storage::attributes_class_update, ..Rules::cluster() },
        "VolumeAttachment" | "CSINode" => Rules::cluster(),
        "CSIStorageCapacity" => Rules::namespaced(),
        _ => return None,
    })
}

fn other(group: &str, kind: &str) -> Option<Rules> {
    let (namespaced, cluster) = (Rules::namespaced, Rules::cluster);
    Some(match (group, kind) {
        ("batch", "Job") => Rules { create: batch::job, update: batch::job_update, status: batch::job_status, ..namespaced() },
        ("batch", "CronJob") => Rules { create: batch::cron_job, update: batch::cron_job_update, ..namespaced() },
        ("autoscaling", "HorizontalPodAutoscaler") => Rules {
            create: autoscaling::autoscaler,
            update: |new, _, errs| autoscaling::autoscaler(new, errs),
            status: autoscaling::status,
            ..namespaced()
        },
        ("policy", "PodDisruptionBudget") => Rules {
            create: cluster::disruption_budget,
            update: |new, _, errs| cluster::disruption_budget(new, errs),
            status: cluster::disruption_budget_status,
            ..namespaced()
        },
        ("coordination.k8s.io", "Lease") => same_on_update(namespaced(), cluster::lease, |new, _, errs| cluster::lease(new, errs)),
        ("discovery.k8s.io", "EndpointSlice") => Rules { create: endpoints::slice, update: endpoints::slice_update, ..namespaced() },
        ("events.k8s.io", "Event") => Rules { create: event::events, update: event::events_update, ..namespaced() },
        ("scheduling.k8s.io", "PriorityClass") => {
            Rules { create: cluster::priority_class, update: cluster::priority_class_update, ..cluster() }
        }
        ("node.k8s.io", "RuntimeClass") => Rules { create: cluster::runtime_class, update: cluster::runtime_class_update, ..cluster() },
        ("certificates.k8s.io", "CertificateSigningRequest") => Rules {
            create: certificates::request,
            update: certificates::update,
            status: certificates::status,
            ..Rules::new(Scope::Cluster, NameRule::Own)
        },
        ("apiregistration.k8s.io", "APIService") => Rules::new(Scope::Cluster, NameRule::PathSegment),
        ("resource.k8s.io", "ResourceClaim" | "ResourceClaimTemplate") => namespaced(),
        (
            "flowcontrol.apiserver.k8s.io" | "resource.k8s.io" | "admissionregistration.k8s.io" | "apiextensions.k8s.io",
            "FlowSchema"
            | "PriorityLevelConfiguration"
            | "DeviceClass"
            | "ResourceSlice"
            | "ValidatingWebhookConfiguration"
            | "MutatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
            | "MutatingAdmissionPolicy"
            | "MutatingAdmissionPolicyBinding"
            | "CustomResourceDefinition",
        ) => cluster(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
