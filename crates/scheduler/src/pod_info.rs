//! A pod as the scheduler looks at it: what its spec says, worked out once.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm};
use kube::core::{Expression, Selector, SelectorExt as _};

use crate::resources::{Absent, Resources, pod_requests};

/// A port on the node that a pod wants for itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// The address; `0.0.0.0` means all.
    pub ip: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: i32,
}

/// One term of pod affinity or anti-affinity.
#[derive(Clone, Debug)]
pub struct Term {
    /// Which pods it is about; `None` selects no pod.
    pub selector: Option<Selector>,
    /// The named namespaces, or the pod's own.
    pub namespaces: Vec<String>,
    /// Namespaces by their labels; `None` when only names count.
    pub namespace_selector: Option<Selector>,
    /// What counts as the same place.
    pub topology_key: String,
    /// How much it matters, for preferred terms.
    pub weight: i64,
}

/// A pod with what scheduling needs of it.
#[derive(Debug)]
pub struct PodInfo {
    /// The pod.
    pub pod: Arc<Pod>,
    /// What must be free on its node.
    pub requests: Resources,
    /// The same with defaults for what is absent, for comparing nodes.
    pub weighed: Resources,
    /// Ports on the node.
    pub host_ports: Vec<HostPort>,
    /// Pods it must be near to.
    pub affinity: Vec<Term>,
    /// Pods it must be away from.
    pub anti_affinity: Vec<Term>,
    /// Pods it would like to be near to.
    pub preferred_affinity: Vec<Term>,
    /// Pods it would like to be away from.
    pub preferred_anti_affinity: Vec<Term>,
}

impl PodInfo {
    /// Works out what the pod's spec says.
    pub fn new(pod: Arc<Pod>) -> Self {
        let affinity = pod.spec.as_ref().and_then(|s| s.affinity.as_ref());
        let near = affinity.and_then(|a| a.pod_affinity.as_ref());
        let away = affinity.and_then(|a| a.pod_anti_affinity.as_ref());
        let required = |terms: Option<&Vec<PodAffinityTerm>>| terms.into_iter().flatten().map(|t| term(&pod, t, 0)).collect();
        let weighted = |terms: Option<&Vec<k8s_openapi::api::core::v1::WeightedPodAffinityTerm>>| {
            terms.into_iter().flatten().map(|t| term(&pod, &t.pod_affinity_term, t.weight.into())).collect()
        };
        Self {
            requests: pod_requests(&pod, Absent::Nothing),
            weighed: pod_requests(&pod, Absent::Default),
            host_ports: host_ports(&pod),
            affinity: required(near.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())),
            anti_affinity: required(away.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref())),
            preferred_affinity: weighted(near.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref())),
            preferred_anti_affinity: weighted(away.and_then(|n| n.preferred_during_scheduling_ignored_during_execution.as_ref())),
            pod,
        }
    }

    /// The pod's UID.
    pub fn uid(&self) -> &str {
        self.pod.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The pod's namespace.
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// Higher goes first.
    pub fn priority(&self) -> i32 {
        self.pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0)
    }

    /// Whether its selector matches the pod's labels.
    pub fn is_selected_by(&self, selector: &Selector) -> bool {
        self.pod.metadata.labels.as_ref().map_or_else(|| selector.matches(&Default::default()), |l| selector.matches(l))
    }
}

fn host_ports(pod: &Pod) -> Vec<HostPort> {
    let Some(spec) = &pod.spec else {
        return Vec::new();
    };
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    ports
        .filter_map(|p| {
            Some(HostPort {
                ip: p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| "0.0.0.0".to_owned()),
                protocol: p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                port: p.host_port.filter(|port| *port > 0)?,
            })
        })
        .collect()
}

fn term(pod: &Pod, term: &PodAffinityTerm, weight: i64) -> Term {
    let mut selector: Option<Selector> = term.label_selector.clone().and_then(|s| s.try_into().ok());
    if let Some(selector) = &mut selector {
        let value = |key: &String| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
        for key in term.match_label_keys.iter().flatten() {
            selector.extend(value(key).map(|v| Expression::In(key.clone(), [v].into())));
        }
        for key in term.mismatch_label_keys.iter().flatten() {
            selector.extend(value(key).map(|v| Expression::NotIn(key.clone(), [v].into())));
        }
    }
    let namespace_selector: Option<Selector> = term.namespace_selector.clone().and_then(|s| s.try_into().ok());
    let mut namespaces = term.namespaces.clone().unwrap_or_default();
    if namespaces.is_empty() && namespace_selector.is_none() {
        namespaces.extend(pod.metadata.namespace.clone());
    }
    Term { selector, namespaces, namespace_selector, topology_key: term.topology_key.clone(), weight }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A pod from words: `name cpu=100m memory=1Gi label=k:v port=80 node=n priority=5 toleration=key` and a spec in JSON
    /// that is laid over it.
    pub(crate) fn pod(text: &str, spec: serde_json::Value) -> PodInfo {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap();
        let mut all = json!({
            "metadata": {"name": name, "namespace": "ns", "uid": format!("uid-{name}"), "labels": {}},
            "spec": {"containers": [{"name": "c", "image": "img:1", "resources": {"requests": {}}, "ports": []}], "tolerations": []}
        });
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            let container = &mut all["spec"]["containers"][0];
            match key {
                "label" => {
                    let (k, v) = value.split_once(':').unwrap();
                    all["metadata"]["labels"][k] = json!(v);
                }
                "port" => {
                    container["ports"].as_array_mut().unwrap().push(json!({"containerPort": 1, "hostPort": value.parse::<i32>().unwrap()}))
                }
                "node" => all["spec"]["nodeName"] = json!(value),
                "priority" => all["spec"]["priority"] = json!(value.parse::<i32>().unwrap()),
                "namespace" => all["metadata"]["namespace"] = json!(value),
                "toleration" => {
                    all["spec"]["tolerations"].as_array_mut().unwrap().push(json!({"key": value, "operator": "Exists"}));
                }
                resource => container["resources"]["requests"][resource] = json!(value),
            }
        }
        if let Some(over) = spec.as_object() {
            for (key, value) in over {
                all["spec"][key] = value.clone();
            }
        }
        PodInfo::new(Arc::new(serde_json::from_value(all).unwrap()))
    }
}
