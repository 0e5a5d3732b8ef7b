//! What Endpoints and EndpointSlices have in common: which pods stand behind a Service, and at which ports.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

use client::ObjectKey;
use k8s_openapi::api::core::v1::{Container, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::Timestamp;

use crate::pods;

/// The annotation by which one can tell how long a change took to reach the proxies.
pub const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// The label of endpoints whose service has no address of its own.
pub const HEADLESS: &str = "service.kubernetes.io/headless";

/// The pod selector of a service that this cluster fills with endpoints: not an external name, not one without a selector.
pub fn pod_selector(service: &Service) -> Option<&BTreeMap<String, String>> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") { None } else { spec.selector.as_ref() }
}

/// Whether the pod's labels are selected. An empty selector selects all pods of the namespace.
pub fn selects(selector: &BTreeMap<String, String>, pod: &Pod) -> bool {
    let labels = pod.metadata.labels.as_ref();
    selector.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
}

/// Whether the service has no address of its own.
pub fn is_headless(service: &Service) -> bool {
    let ip = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default();
    ip.is_empty() || ip == "None"
}

/// Whether pods that are not ready count as ready too.
pub fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses) == Some(true)
}

/// Whether terminating pods stay listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Terminating {
    /// They stay, marked as such.
    Include,
    /// They go at once.
    Exclude,
}

/// Whether a selected pod is listed at all: it has an address and has not ended.
pub fn is_listed(pod: &Pod, terminating: Terminating) -> bool {
    let has_address = !addresses(pod).is_empty();
    let leaves = pods::is_terminating(pod) && terminating == Terminating::Exclude;
    !pods::is_terminal(pod) && has_address && !leaves
}

/// All addresses of a pod, its main one first.
pub fn addresses(pod: &Pod) -> Vec<&str> {
    let Some(status) = &pod.status else {
        return Vec::new();
    };
    let all: Vec<&str> = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str()).collect();
    if all.is_empty() { status.pod_ip.iter().map(String::as_str).collect() } else { all }
}

/// The name by which DNS knows the pod below its service, if it asked for one.
pub fn hostname<'a>(pod: &'a Pod, service: &Service) -> Option<&'a str> {
    let spec = pod.spec.as_ref()?;
    let hostname = spec.hostname.as_deref().filter(|h| !h.is_empty())?;
    let same = spec.subdomain == service.metadata.name && pod.metadata.namespace == service.metadata.namespace;
    same.then_some(hostname)
}

/// A reference to the pod behind an endpoint.
pub fn target(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..Default::default()
    }
}

/// The pod's port for a service port: a number, or the number of the container port of that name.
pub fn port_of(pod: &Pod, port: &ServicePort) -> Option<i32> {
    match port.target_port.as_ref() {
        None => Some(port.port),
        // Zero stands for the default, which is the service's own port.
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(name)) if name.is_empty() => Some(port.port),
        Some(IntOrString::String(name)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let spec = pod.spec.as_ref()?;
            let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
            spec.containers.iter().chain(sidecars).find_map(|c| named_port(c, name, protocol))
        }
    }
}

fn named_port(container: &Container, name: &str, protocol: &str) -> Option<i32> {
    let ports = container.ports.iter().flatten();
    let mut fitting = ports.filter(|p| p.name.as_deref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol);
    fitting.next().map(|p| p.container_port)
}

/// Remembers when services and their pods last changed, to tell which change an update answers to.
#[derive(Default)]
pub struct TriggerTimes(Mutex<HashMap<ObjectKey, Seen>>);

#[derive(Default)]
struct Seen {
    service: Option<Timestamp>,
    pods: HashMap<String, Timestamp>,
}

impl TriggerTimes {
    /// The earliest change since the last call for this service; `None` if nothing has changed.
    pub fn next(&self, key: &ObjectKey, service: &Service, pods: &[std::sync::Arc<Pod>]) -> Option<Timestamp> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = all.entry(key.clone()).or_default();
        let created = service.metadata.creation_timestamp.as_ref().map(|t| t.0);
        let mut changes: Vec<Timestamp> = created.filter(|at| seen.service.is_none_or(|old| *at > old)).into_iter().collect();
        let mut now_seen = HashMap::new();
        for pod in pods {
            let Some(at) = pods::condition(pod, "Ready").and_then(|c| c.last_transition_time.as_ref()) else {
                continue;
            };
            let name = pod.metadata.name.clone().unwrap_or_default();
            if seen.pods.get(&name).is_none_or(|old| at.0 > *old) {
                changes.push(at.0);
            }
            now_seen.insert(name, at.0);
        }
        *seen = Seen { service: created, pods: now_seen };
        changes.into_iter().min()
    }

    /// The service is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn named_ports_are_looked_up_in_each_pod_by_name_and_protocol() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "initContainers": [{"name": "s", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 7}]},
                               {"name": "i", "ports": [{"name": "init", "containerPort": 6}]}],
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 80},
                                                   {"name": "dns", "containerPort": 53, "protocol": "UDP"}]}]}}))
        .unwrap();
        let port = |target: serde_json::Value, protocol: &str| -> ServicePort {
            serde_json::from_value(json!({"port": 1000, "targetPort": target, "protocol": protocol})).unwrap()
        };
        for (target, protocol, expected) in [
            (json!("http"), "TCP", Some(80)),
            (json!("http"), "UDP", None),
            (json!("dns"), "UDP", Some(53)),
            (json!("side"), "TCP", Some(7)),
            (json!("init"), "TCP", None),
            (json!(8080), "TCP", Some(8080)),
            (json!(0), "TCP", Some(1000)),
        ] {
            assert_eq!(port_of(&pod, &port(target.clone(), protocol)), expected, "{target} {protocol}");
        }
    }
}
