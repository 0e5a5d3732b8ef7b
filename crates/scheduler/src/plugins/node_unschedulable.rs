//! NodeUnschedulable: keeps pods off cordoned nodes.

use k8s_openapi::api::core::v1::{Pod, Taint};

use crate::framework::{Cycle, Event, Filter, Plugin, Verdict};
use crate::node_info::NodeInfo;
use crate::node_match::{tolerates, tolerations};

/// The plugin.
pub struct NodeUnschedulable;

struct Prepared<'a>(&'a Pod);

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Prepared(&cycle.pod.pod)))
    }

    fn wakes(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeTaints)
    }
}

impl Filter for Prepared<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        let spec = node.node.as_ref().and_then(|n| n.spec.as_ref());
        if spec.and_then(|s| s.unschedulable) != Some(true) {
            return Verdict::Fits;
        }
        let cordon = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Default::default() };
        if tolerates(tolerations(self.0), &cordon) { Verdict::Fits } else { Verdict::unresolvable("node(s) were unschedulable") }
    }
}
