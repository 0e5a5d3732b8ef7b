//! NodeName: a pod that names its node gets no other.

use crate::framework::{Cycle, Event, Filter, Plugin, Verdict};
use crate::node_info::NodeInfo;

/// The plugin.
pub struct NodeName;

struct Prepared<'a>(&'a str);

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let named = cycle.pod.pod.spec.as_ref()?.node_name.as_deref().filter(|n| !n.is_empty())?;
        Some(Box::new(Prepared(named)))
    }

    fn wakes(&self, event: Event) -> bool {
        event == Event::NodeAdded
    }
}

impl Filter for Prepared<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        if node.name() == self.0 { Verdict::Fits } else { Verdict::unresolvable("node(s) didn't match the requested node name") }
    }
}
