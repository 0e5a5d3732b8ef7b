//! All nodes with their pods, as the API says plus what was decided and is not written yet ("assumed").
//!
//! # Guarantees
//! A pod is counted on exactly one node. A cycle reads the cache itself, under its lock: there is no snapshot to copy, so a
//! cycle costs what it looks at.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// The scheduler's picture of the cluster.
#[derive(Default)]
pub struct Cache {
    nodes: BTreeMap<String, NodeInfo>,
    /// Where each pod is counted, and whether the API says so yet.
    places: HashMap<String, Place>,
}

struct Place {
    node: String,
    assumed: bool,
}

impl Cache {
    /// Nodes that exist, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values().filter(|n| n.node.is_some())
    }

    /// One node.
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name).filter(|n| n.node.is_some())
    }

    /// A node is new or changed.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let name = node.metadata.name.clone().unwrap_or_default();
        self.nodes.entry(name).or_default().set_node(node);
    }

    /// A node is gone. Its pods stay counted until they go too.
    pub fn remove_node(&mut self, name: &str) {
        let Some(info) = self.nodes.get_mut(name) else {
            return;
        };
        info.node = None;
        if info.pods.is_empty() {
            self.nodes.remove(name);
        }
    }

    /// The API says that the pod is on its node, which ends an assumption.
    pub fn set_pod(&mut self, pod: Arc<PodInfo>) {
        let node = pod.pod.spec.as_ref().and_then(|s| s.node_name.clone()).unwrap_or_default();
        self.put(pod, node, false);
    }

    /// A pod was given a node, and the API does not know yet.
    pub fn assume(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.put(pod, node.to_owned(), true);
    }

    /// The API refused what was assumed.
    pub fn forget(&mut self, uid: &str) {
        if self.is_assumed(uid) {
            self.remove_pod(uid);
        }
    }

    /// The pod is gone, or has ended.
    pub fn remove_pod(&mut self, uid: &str) -> bool {
        let Some(place) = self.places.remove(uid) else {
            return false;
        };
        if let Some(info) = self.nodes.get_mut(&place.node) {
            info.remove(uid);
            if info.node.is_none() && info.pods.is_empty() {
                self.nodes.remove(&place.node);
            }
        }
        true
    }

    /// Whether a node was chosen that the API does not show yet.
    pub fn is_assumed(&self, uid: &str) -> bool {
        self.places.get(uid).is_some_and(|p| p.assumed)
    }

    /// Whether the pod counts on some node.
    pub fn has_pod(&self, uid: &str) -> bool {
        self.places.contains_key(uid)
    }

    fn put(&mut self, pod: Arc<PodInfo>, node: String, assumed: bool) {
        if self.places.get(pod.uid()).is_some_and(|p| p.node != node) {
            self.remove_pod(pod.uid());
        }
        self.places.insert(pod.uid().to_owned(), Place { node: node.clone(), assumed });
        self.nodes.entry(node).or_default().add(pod);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_info::tests::node;
    use crate::pod_info::tests::pod;
    use serde_json::json;

    #[test]
    fn an_assumed_pod_counts_at_once_and_moves_if_the_api_says_otherwise() {
        let mut cache = Cache::default();
        for name in ["a", "b"] {
            cache.set_node(node(name).node.unwrap());
        }
        cache.assume(Arc::new(pod("p cpu=1", json!(null))), "a");
        assert_eq!(cache.node("a").unwrap().requested.milli_cpu, 1000);
        cache.set_pod(Arc::new(pod("p cpu=1 node=b", json!(null))));
        assert_eq!(cache.node("a").unwrap().requested.milli_cpu, 0);
        assert_eq!(cache.node("b").unwrap().requested.milli_cpu, 1000);
        cache.forget("uid-p");
        assert!(cache.has_pod("uid-p"), "only assumptions can be forgotten");
        cache.remove_node("b");
        assert!(cache.node("b").is_none());
        assert!(cache.remove_pod("uid-p"));
        assert_eq!(cache.nodes().count(), 1);
    }
}
