//! NodeResourcesFit: what the pod asks for must be free; nodes with more left are better (LeastAllocated).

use std::borrow::Cow;

use crate::framework::{Cycle, Event, Filter, MAX_SCORE, Plugin, Score, Verdict};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// The plugin.
pub struct NodeResourcesFit;

struct Prepared<'a>(&'a PodInfo);

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        Some(Box::new(Prepared(cycle.pod)))
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        Some(Box::new(Prepared(cycle.pod)))
    }

    fn wakes(&self, event: Event) -> bool {
        matches!(event, Event::NodeAdded | Event::NodeAllocatable | Event::PodGone | Event::PodChanged)
    }
}

impl Filter for Prepared<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let (wanted, have, used) = (&self.0.requests, &node.allocatable, &node.requested);
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if pods.saturating_add(1) > have.pods {
            reasons.push("Too many pods".into());
        }
        let mut hopeless = false;
        let mut check = |name: &str, wanted: i64, have: i64, used: i64| {
            if wanted > 0 && wanted > have - used {
                reasons.push(format!("Insufficient {name}").into());
                hopeless |= wanted > have;
            }
        };
        check("cpu", wanted.milli_cpu, have.milli_cpu, used.milli_cpu);
        check("memory", wanted.memory, have.memory, used.memory);
        check("ephemeral-storage", wanted.ephemeral_storage, have.ephemeral_storage, used.ephemeral_storage);
        for (name, wanted) in &wanted.scalar {
            let of = |r: &crate::resources::Resources| r.scalar.get(name).copied().unwrap_or(0);
            check(name, *wanted, of(have), of(used));
        }
        match (reasons.is_empty(), hopeless) {
            (true, _) => Verdict::Fits,
            (false, false) => Verdict::Rejected(reasons),
            (false, true) => Verdict::Unresolvable(reasons),
        }
    }
}

impl Score for Prepared<'_> {
    fn rate(&self, node: &NodeInfo) -> i64 {
        let (wanted, used, have) = (&self.0.weighed, &node.weighed, &node.allocatable);
        let left = |wanted: i64, used: i64, have: i64| {
            let after = used.saturating_add(wanted);
            if have <= 0 { None } else { Some((have - after).max(0).saturating_mul(MAX_SCORE) / have) }
        };
        let rates = [left(wanted.milli_cpu, used.milli_cpu, have.milli_cpu), left(wanted.memory, used.memory, have.memory)];
        let known: Vec<i64> = rates.into_iter().flatten().collect();
        let count = i64::try_from(known.len()).unwrap_or(1).max(1);
        known.iter().sum::<i64>() / count
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_info::tests::node;
    use crate::pod_info::tests::pod;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn shortages_are_named_one_by_one() {
        let mut n = node("n cpu=2 memory=1Gi pods=2");
        n.add(Arc::new(pod("used cpu=1500m memory=512Mi", json!(null))));
        let table = [
            ("p cpu=500m", vec![]),
            ("p cpu=501m", vec!["Insufficient cpu"]),
            ("p cpu=1 memory=600Mi", vec!["Insufficient cpu", "Insufficient memory"]),
            ("p nvidia.com/gpu=1", vec!["Insufficient nvidia.com/gpu"]),
            ("p", vec![]),
        ];
        for (text, expected) in table {
            let p = pod(text, json!(null));
            let reasons = match Prepared(&p).judge(&n) {
                Verdict::Fits => vec![],
                Verdict::Rejected(reasons) | Verdict::Unresolvable(reasons) => reasons,
            };
            assert_eq!(reasons, expected, "{text}");
        }
        assert!(matches!(Prepared(&pod("p cpu=3", json!(null))).judge(&n), Verdict::Unresolvable(_)));
        n.add(Arc::new(pod("second", json!(null))));
        assert_eq!(Prepared(&pod("p", json!(null))).judge(&n), Verdict::rejected("Too many pods"));
    }

    #[test]
    fn emptier_nodes_are_better() {
        let p = pod("p cpu=1 memory=1Gi", json!(null));
        assert_eq!(Prepared(&p).rate(&node("n cpu=4 memory=4Gi")), 75);
        let mut used = node("n cpu=4 memory=4Gi");
        used.add(Arc::new(pod("used cpu=2 memory=2Gi", json!(null))));
        assert_eq!(Prepared(&p).rate(&used), 25);
    }
}
