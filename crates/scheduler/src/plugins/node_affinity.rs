//! NodeAffinity: `nodeSelector`, required and preferred node affinity.

use k8s_openapi::api::core::v1::{Pod, PreferredSchedulingTerm};

use crate::framework::{Better, Cycle, Event, Filter, Plugin, Score, Verdict, scale};
use crate::node_info::NodeInfo;
use crate::node_match::{fits_term, required};

/// The plugin.
pub struct NodeAffinity;

struct Filtering<'a>(&'a Pod);
struct Scoring<'a>(&'a [PreferredSchedulingTerm]);

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let spec = cycle.pod.pod.spec.as_ref()?;
        let node_affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
        let has_required = node_affinity.is_some_and(|a| a.required_during_scheduling_ignored_during_execution.is_some());
        let selects = spec.node_selector.as_ref().is_some_and(|s| !s.is_empty());
        (selects || has_required).then(|| Box::new(Filtering(&cycle.pod.pod)) as Box<dyn Filter + 'a>)
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let affinity = cycle.pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
        let terms = affinity.preferred_during_scheduling_ignored_during_execution.as_deref()?;
        Some(Box::new(Scoring(terms)))
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wakes(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeLabels)
    }
}

impl Filter for Filtering<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        if required(self.0, node) { Verdict::Fits } else { Verdict::unresolvable("node(s) didn't match Pod's node affinity/selector") }
    }
}

impl Score for Scoring<'_> {
    fn rate(&self, node: &NodeInfo) -> i64 {
        // Unlike a required one, an empty preferred term asks for nothing and matches nothing.
        self.0.iter().filter(|t| fits_term(&t.preference, node)).map(|t| i64::from(t.weight)).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        scale(scores, Better::High);
    }
}
