//! Which pods have to go.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::pods;

/// More pods that have ended than this, and the oldest go (upstream's default).
pub const TERMINATED_THRESHOLD: usize = 12_500;
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What was seen.
pub struct Observed<'a> {
    /// All pods.
    pub pods: &'a [Arc<Pod>],
    /// All nodes.
    pub nodes: &'a [Arc<Node>],
    /// Nodes that pods name and that are surely gone.
    pub gone: &'a BTreeSet<String>,
}

/// Why a pod goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// One of too many that have ended.
    Terminated,
    /// It is terminating on a node that an administrator has put out of service.
    OutOfService,
    /// Its node is gone.
    Orphaned,
    /// It is terminating and never got a node.
    Unscheduled,
}

/// The pods to remove; each only once.
pub fn plan(seen: &Observed<'_>) -> Vec<(Arc<Pod>, Cause)> {
    let out_of_service: BTreeSet<&str> =
        seen.nodes.iter().filter(|n| is_out_of_service(n)).filter_map(|n| n.metadata.name.as_deref()).collect();
    let mut ended: Vec<&Arc<Pod>> = seen.pods.iter().filter(|p| pods::is_terminal(p)).collect();
    let surplus = ended.len().saturating_sub(TERMINATED_THRESHOLD);
    // Evicted pods first: they tell the least.
    let evicted = |p: &Pod| p.status.as_ref().and_then(|s| s.reason.as_deref()) == Some("Evicted");
    ended.sort_by_key(|p| (!evicted(p), p.metadata.creation_timestamp.as_ref().map(|t| t.0), p.metadata.name.clone()));
    let surplus: BTreeSet<Option<&str>> = ended.into_iter().take(surplus).map(|p| p.metadata.uid.as_deref()).collect();
    let cause = |pod: &Arc<Pod>| {
        let (node, terminating) = (pods::node(pod), pods::is_terminating(pod));
        if surplus.contains(&pod.metadata.uid.as_deref()) {
            Some(Cause::Terminated)
        } else if terminating && out_of_service.contains(node) {
            Some(Cause::OutOfService)
        } else if seen.gone.contains(node) {
            Some(Cause::Orphaned)
        } else if terminating && node.is_empty() {
            Some(Cause::Unscheduled)
        } else {
            None
        }
    };
    seen.pods.iter().filter_map(|pod| Some((pod.clone(), cause(pod)?))).collect()
}

fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let conditions = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let ready = conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True");
    !ready && taints.iter().any(|t| t.key == OUT_OF_SERVICE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;

    #[test]
    fn only_pods_that_nobody_looks_after_go() {
        let pods: Vec<Arc<Pod>> = ["a node=here ready=1", "b node=gone ready=1", "c deleting", "d", "e node=here deleting"]
            .iter()
            .map(|t| Arc::new(pod(t)))
            .collect();
        let gone = BTreeSet::from(["gone".to_owned()]);
        let planned = plan(&Observed { pods: &pods, nodes: &[], gone: &gone });
        let told: Vec<_> = planned.iter().map(|(p, c)| (p.metadata.name.as_deref().unwrap(), *c)).collect();
        assert_eq!(told, [("b", Cause::Orphaned), ("c", Cause::Unscheduled)]);
    }

    #[test]
    fn of_too_many_ended_pods_the_oldest_go() {
        let mut pods: Vec<Arc<Pod>> =
            (0..TERMINATED_THRESHOLD + 2).map(|i| Arc::new(pod(&format!("p{i} phase=Succeeded created={}", 1_000_000 - i)))).collect();
        pods.push(Arc::new(pod("running phase=Running created=0")));
        let planned = plan(&Observed { pods: &pods, nodes: &[], gone: &BTreeSet::new() });
        let mut told: Vec<_> = planned.iter().map(|(p, _)| p.metadata.name.clone().unwrap()).collect();
        told.sort();
        assert_eq!(told, [format!("p{TERMINATED_THRESHOLD}"), format!("p{}", TERMINATED_THRESHOLD + 1)]);
    }
}
