//! NodePorts: host ports are used once per node and address.

use crate::framework::{Cycle, Event, Filter, Plugin, Verdict};
use crate::node_info::NodeInfo;
use crate::pod_info::HostPort;

/// The plugin.
pub struct NodePorts;

struct Prepared<'a>(&'a [HostPort]);

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let ports = cycle.pod.host_ports.as_slice();
        (!ports.is_empty()).then(|| Box::new(Prepared(ports)) as Box<dyn Filter + 'a>)
    }

    fn wakes(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::PodGone)
    }
}

impl Filter for Prepared<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        if self.0.iter().any(|port| node.has_port(port)) {
            Verdict::rejected("node(s) didn't have free ports for the requested pod ports")
        } else {
            Verdict::Fits
        }
    }
}
