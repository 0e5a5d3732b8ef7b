//! NodeResourcesBalancedAllocation: prefers nodes where the pod evens out the use of CPU and memory.

use crate::framework::{Cycle, MAX_SCORE, Plugin, Score};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// The plugin.
pub struct BalancedAllocation;

struct Prepared<'a>(&'a PodInfo);

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let requests = &cycle.pod.requests;
        let best_effort = requests.milli_cpu == 0 && requests.memory == 0;
        (!best_effort).then(|| Box::new(Prepared(cycle.pod)) as Box<dyn Score + 'a>)
    }
}

impl Score for Prepared<'_> {
    fn rate(&self, node: &NodeInfo) -> i64 {
        let (wanted, used, have) = (&self.0.requests, &node.requested, &node.allocatable);
        let before = balance(&[(used.milli_cpu, have.milli_cpu), (used.memory, have.memory)]);
        let after = balance(&[(used.milli_cpu + wanted.milli_cpu, have.milli_cpu), (used.memory + wanted.memory, have.memory)]);
        // 75 when nothing changes, towards 100 when the pod evens the use out.
        MAX_SCORE / 2 + (MAX_SCORE / 2 + after - before) / 2
    }
}

/// 100 when all shares are equal, 50 when they are as far apart as can be. Two resources at most have shares here, whose
/// standard deviation is half their distance.
fn balance(used_of: &[(i64, i64); 2]) -> i64 {
    let shares: Vec<f64> =
        used_of.iter().filter(|(_, have)| *have > 0).map(|(used, have)| (*used as f64 / *have as f64).min(1.0)).collect();
    let deviation = match shares.as_slice() {
        [a, b] => (a - b).abs() / 2.0,
        _ => 0.0,
    };
    ((1.0 - deviation) * MAX_SCORE as f64) as i64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node_info::tests::node;
    use crate::pod_info::tests::pod;
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn a_pod_that_evens_out_the_use_is_welcome() {
        let mut n = node("n cpu=4 memory=4Gi");
        n.add(Arc::new(pod("used cpu=2", json!(null))));
        let rate = |text: &str| Prepared(&pod(text, json!(null))).rate(&n);
        assert_eq!(rate("p memory=2Gi"), 87);
        assert_eq!(rate("p cpu=2"), 62);
    }
}
