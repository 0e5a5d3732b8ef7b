//! Constraints that must be kept.

use std::collections::HashMap;

use super::constraint::{Constraint, has_all_labels};
use crate::framework::{Cycle, Filter, Verdict};
use crate::node_info::NodeInfo;

const UNEVEN: &str = "node(s) didn't match pod topology spread constraints";
const NO_LABEL: &str = "node(s) didn't match pod topology spread constraints (missing required label)";

pub(super) struct Filtering {
    constraints: Vec<Counted>,
}

struct Counted {
    constraint: Constraint,
    by_value: HashMap<String, i64>,
    least: i64,
    own: i64,
}

impl Filtering {
    pub(super) fn new(cycle: &Cycle<'_>, constraints: Vec<Constraint>) -> Self {
        let nodes: Vec<&NodeInfo> = cycle.cache.nodes().filter(|n| has_all_labels(n, &constraints)).collect();
        let counted = constraints.into_iter().map(|constraint| {
            let mut by_value: HashMap<String, i64> = HashMap::new();
            for node in nodes.iter().filter(|n| constraint.counts(cycle, n)) {
                let value = node.label(&constraint.key).unwrap_or_default().to_owned();
                *by_value.entry(value).or_default() += constraint.matching(cycle, node);
            }
            // With fewer domains than asked for, the missing ones count as empty.
            let too_few = by_value.len() < constraint.min_domains;
            let least = if too_few { 0 } else { by_value.values().copied().min().unwrap_or(0) };
            let own = i64::from(constraint.matches_self(cycle));
            Counted { constraint, by_value, least, own }
        });
        Self { constraints: counted.collect() }
    }
}

impl Filter for Filtering {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        for counted in &self.constraints {
            let Some(value) = node.label(&counted.constraint.key) else {
                return Verdict::unresolvable(NO_LABEL);
            };
            let there = counted.by_value.get(value).copied().unwrap_or(0);
            if there + counted.own - counted.least > counted.constraint.max_skew {
                return Verdict::rejected(UNEVEN);
            }
        }
        Verdict::Fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::framework::{Plugin as _, Surroundings};
    use crate::node_info::tests::node;
    use crate::pod_info::tests::pod;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn no_zone_gets_ahead_by_more_than_the_skew() {
        let mut cache = Cache::default();
        for text in ["a label=zone:1", "b label=zone:1", "c label=zone:2", "d"] {
            cache.set_node(node(text).node.unwrap());
        }
        for text in ["p1 label=app:web node=a", "p2 label=app:web node=b", "p3 label=app:web node=c", "q label=app:db node=c"] {
            cache.set_pod(Arc::new(pod(text, json!(null))));
        }
        let spread = |min: i32| {
            json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "minDomains": min,
                "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "web"}}}]})
        };
        let surroundings = Surroundings::default();
        for (min, expected) in [(1, ["no", "no", "yes", "never"]), (3, ["no", "no", "no", "never"])] {
            let p = pod("new label=app:web", spread(min));
            let cycle = Cycle { pod: &p, cache: &cache, surroundings: &surroundings };
            let filter = crate::plugins::pod_topology_spread::PodTopologySpread.filter(&cycle).unwrap();
            let told: Vec<&str> = cache
                .nodes()
                .map(|n| match filter.judge(n) {
                    Verdict::Fits => "yes",
                    Verdict::Rejected(_) => "no",
                    Verdict::Unresolvable(_) => "never",
                })
                .collect();
            assert_eq!(told, expected, "minDomains {min}");
        }
    }
}
