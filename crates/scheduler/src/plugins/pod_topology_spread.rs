//! PodTopologySpread: spreads like pods over zones, nodes or whatever label is named.

mod constraint;
mod filtering;
mod scoring;

use crate::framework::{Cycle, Event, Filter, Plugin, Score};
use crate::node_info::NodeInfo;
use constraint::{Action, Constraint};

/// The plugin.
pub struct PodTopologySpread;

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let constraints = Constraint::of(&cycle.pod.pod, Action::DoNotSchedule);
        (!constraints.is_empty()).then(|| Box::new(filtering::Filtering::new(cycle, constraints)) as Box<dyn Filter + 'a>)
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, feasible: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let own = Constraint::of(&cycle.pod.pod, Action::ScheduleAnyway);
        let has_any = cycle.pod.pod.spec.as_ref().is_some_and(|s| s.topology_spread_constraints.iter().flatten().next().is_some());
        let (constraints, all_labels) =
            if has_any { (own, true) } else { (Constraint::defaults(cycle.surroundings.default_selector.clone()), false) };
        (!constraints.is_empty()).then(|| Box::new(scoring::Scoring::new(cycle, constraints, all_labels, feasible)) as Box<dyn Score + 'a>)
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wakes(&self, event: Event) -> bool {
        event != Event::NodeAllocatable
    }
}
