//! SchedulingGates: a pod with gates is not even looked at until they are gone.

use k8s_openapi::api::core::v1::Pod;

/// Whether the pod waits for somebody to remove its gates.
pub fn is_gated(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|s| s.scheduling_gates.as_ref()).is_some_and(|gates| !gates.is_empty())
}
