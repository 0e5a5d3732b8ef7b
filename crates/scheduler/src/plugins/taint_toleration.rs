//! TaintToleration: keeps pods off taints that they don't tolerate, and prefers nodes without soft ones.

use k8s_openapi::api::core::v1::{Pod, Toleration};

use crate::framework::{Better, Cycle, Event, Filter, Plugin, Score, Verdict, scale};
use crate::node_info::NodeInfo;
use crate::node_match::{is_kept_away, tolerates, tolerations};

/// The plugin.
pub struct TaintToleration;

struct Filtering<'a>(&'a Pod);
struct Scoring(Vec<Toleration>);

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Filtering(&cycle.pod.pod)))
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, feasible: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        if feasible.iter().all(|n| n.taints().is_empty()) {
            return None;
        }
        let soft = |t: &&Toleration| matches!(t.effect.as_deref(), None | Some("" | "PreferNoSchedule"));
        Some(Box::new(Scoring(tolerations(&cycle.pod.pod).iter().filter(soft).cloned().collect())))
    }

    fn weight(&self) -> i64 {
        3
    }

    fn wakes(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeTaints)
    }
}

impl Filter for Filtering<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        if is_kept_away(self.0, node) { Verdict::unresolvable("node(s) had untolerated taint(s)") } else { Verdict::Fits }
    }
}

impl Score for Scoring {
    fn rate(&self, node: &NodeInfo) -> i64 {
        let disliked = node.taints().iter().filter(|t| t.effect == "PreferNoSchedule" && !tolerates(&self.0, t));
        i64::try_from(disliked.count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, scores: &mut [i64]) {
        scale(scores, Better::Low);
    }
}
