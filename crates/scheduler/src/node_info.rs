//! A node and the sums over its pods, kept up to date pod by pod.

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::{HostPort, PodInfo};
use crate::resources::Resources;

/// One node.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// The node; absent while only its pods are known.
    pub node: Option<Arc<Node>>,
    /// What it offers.
    pub allocatable: Resources,
    /// What its pods ask for.
    pub requested: Resources,
    /// The same with defaults for absent requests, for comparing nodes.
    pub weighed: Resources,
    /// Its pods by UID.
    pub pods: HashMap<String, Arc<PodInfo>>,
    /// How many of them must be away from other pods.
    pub with_anti_affinity: usize,
    /// Sizes of the images that it holds, by name.
    pub images: HashMap<String, i64>,
}

impl NodeInfo {
    /// The node's name.
    pub fn name(&self) -> &str {
        self.node.as_ref().and_then(|n| n.metadata.name.as_deref()).unwrap_or_default()
    }

    /// A label of the node.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.as_ref()?.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// The node's taints.
    pub fn taints(&self) -> &[Taint] {
        let spec = self.node.as_ref().and_then(|n| n.spec.as_ref());
        spec.and_then(|s| s.taints.as_deref()).unwrap_or_default()
    }

    /// Takes over a new version of the node.
    pub fn set_node(&mut self, node: Arc<Node>) {
        self.allocatable = Resources::allocatable(&node);
        self.images.clear();
        for image in node.status.iter().flat_map(|s| s.images.iter().flatten()) {
            for name in image.names.iter().flatten() {
                self.images.insert(name.clone(), image.size_bytes.unwrap_or(0));
            }
        }
        self.node = Some(node);
    }

    /// Counts a pod in; one that is there already is replaced.
    pub fn add(&mut self, pod: Arc<PodInfo>) {
        self.remove(pod.uid());
        self.requested.add(&pod.requests);
        self.weighed.add(&pod.weighed);
        self.with_anti_affinity += usize::from(!pod.anti_affinity.is_empty());
        self.pods.insert(pod.uid().to_owned(), pod);
    }

    /// Counts a pod out.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(uid)?;
        self.requested.sub(&pod.requests);
        self.weighed.sub(&pod.weighed);
        self.with_anti_affinity -= usize::from(!pod.anti_affinity.is_empty());
        Some(pod)
    }

    /// Whether one of its pods has the port already.
    pub fn has_port(&self, wanted: &HostPort) -> bool {
        let all = |ip: &str| ip == "0.0.0.0";
        let taken = |have: &HostPort| {
            have.port == wanted.port && have.protocol == wanted.protocol && (have.ip == wanted.ip || all(&have.ip) || all(&wanted.ip))
        };
        self.pods.values().any(|pod| pod.host_ports.iter().any(taken))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A node from words: `name cpu=4 memory=8Gi pods=110 label=k:v taint=key:Effect unschedulable`.
    pub(crate) fn node(text: &str) -> NodeInfo {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap();
        let mut all = json!({
            "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}},
            "spec": {"taints": []},
            "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110", "ephemeral-storage": "10Gi"}}
        });
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            match key {
                "label" => {
                    let (k, v) = value.split_once(':').unwrap();
                    all["metadata"]["labels"][k] = json!(v);
                }
                "taint" => {
                    let (k, effect) = value.split_once(':').unwrap();
                    all["spec"]["taints"].as_array_mut().unwrap().push(json!({"key": k, "effect": effect}));
                }
                "unschedulable" => all["spec"]["unschedulable"] = json!(true),
                resource => all["status"]["allocatable"][resource] = json!(value),
            }
        }
        let mut info = NodeInfo::default();
        info.set_node(Arc::new(serde_json::from_value(all).unwrap()));
        info
    }

    #[test]
    fn sums_follow_the_pods() {
        use crate::pod_info::tests::pod;
        let mut n = node("n");
        n.add(Arc::new(pod("a cpu=1 port=80", json!(null))));
        n.add(Arc::new(pod("a cpu=2 port=80", json!(null))));
        assert_eq!((n.requested.milli_cpu, n.pods.len()), (2000, 1));
        let port = |ip: &str, protocol: &str| HostPort { ip: ip.into(), protocol: protocol.into(), port: 80 };
        assert!(n.has_port(&port("127.0.0.1", "TCP")));
        assert!(!n.has_port(&port("127.0.0.1", "UDP")));
        n.remove("uid-a");
        assert_eq!((n.requested.milli_cpu, n.weighed.memory), (0, 0));
        assert!(!n.has_port(&port("0.0.0.0", "TCP")));
    }
}
