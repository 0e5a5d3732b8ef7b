//! The values that Kubernetes fills in where a manifest is silent (upstream `pkg/apis/*/v1/defaults.go`).
//!
//! Defaults are applied on the JSON tree, before and again after mutating admission; applying them twice changes nothing.
//! A field that is absent, `null` or (for fields that are no pointers upstream) the empty value counts as silent.
//! Never here: values that need the cluster's state (cluster IPs, node ports, UIDs), which strategies and allocators set.

mod admission;
mod autoscaling;
mod cluster;
mod container;
mod image;
mod pod;
mod service;
mod storage;
mod tree;
mod volume;
mod workload;

use serde_json::Value;

pub use workload::select_own_pods;

/// Fills in the defaults of `object`, which is of the given group, version and kind.
///
/// Kinds without defaults, unknown kinds and malformed trees (a list where an object belongs) are left as they are:
/// the decoder has already said what is wrong with them.
pub fn apply((group, version, kind): (&str, &str, &str), object: &mut Value) {
    let Some(o) = object.as_object_mut() else { return };
    match (group, kind) {
        ("", "Pod") => pod::pod(o),
        ("", "PodTemplate") => pod::template(o),
        ("", "ReplicationController") => workload::replication_controller(o),
        ("", "Service") => service::service(o),
        ("", "Endpoints") => service::endpoints(o),
        ("", "Namespace") => cluster::namespace(o),
        ("", "Node") => cluster::node(o),
        ("", "Secret") => cluster::secret(o),
        ("", "LimitRange") => cluster::limit_range(o),
        ("", "PersistentVolume") => storage::persistent_volume(o),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim(o),
        ("apps", "Deployment") => workload::deployment(o),
        ("apps", "ReplicaSet") => workload::replica_set(o),
        ("apps", "StatefulSet") => workload::stateful_set(o),
        ("apps", "DaemonSet") => workload::daemon_set(o),
        ("batch", "Job") => workload::job(o),
        ("batch", "CronJob") => workload::cron_job(o),
        ("autoscaling", "HorizontalPodAutoscaler") if version == "v1" => autoscaling::v1(o),
        ("autoscaling", "HorizontalPodAutoscaler") => autoscaling::v2(o),
        ("discovery.k8s.io", "EndpointSlice") => service::endpoint_slice(o),
        ("networking.k8s.io", "NetworkPolicy") => service::network_policy(o),
        ("networking.k8s.io", "IngressClass") => service::ingress_class(o),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => cluster::role_binding(o),
        ("scheduling.k8s.io", "PriorityClass") => cluster::priority_class(o),
        ("storage.k8s.io", "StorageClass") => storage::storage_class(o),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(o),
        ("authentication.k8s.io", "TokenRequest") => cluster::token_request(o),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => cluster::flow_schema(o),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => cluster::priority_level(o),
        ("resource.k8s.io", "ResourceClaim") => cluster::resource_claim(o),
        ("resource.k8s.io", "ResourceClaimTemplate") => cluster::resource_claim_template(o),
        ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration") => admission::webhooks(o, admission::Webhooks::Validating),
        ("admissionregistration.k8s.io", "MutatingWebhookConfiguration") => admission::webhooks(o, admission::Webhooks::Mutating),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy" | "MutatingAdmissionPolicy") => admission::policy(o),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding") => {
            admission::policy_binding(o);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => admission::custom_resource_definition(o),
        ("apiregistration.k8s.io", "APIService") => admission::api_service(o),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
