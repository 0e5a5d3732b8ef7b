//! Which of too many pods go first: those whose loss costs least (`controller.ActivePodsWithRanks`).

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;

use crate::pods;

const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Sorts the pods that may be deleted, first victims first. `related` are the active pods of all owners in the same family
/// (a Deployment's ReplicaSets): a node that has many of them can spare one.
pub(super) fn sort(candidates: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| pods::is_ready(pod)) {
        *on_node.entry(pods::node(pod)).or_default() += 1;
    }
    candidates.sort_by(|a, b| {
        let rank = |pod: &Pod| Reverse(on_node.get(pods::node(pod)).copied().unwrap_or(0));
        Ordering::Equal
            .then(pods::node(a).is_empty().cmp(&pods::node(b).is_empty()).reverse())
            .then(phase_rank(a).cmp(&phase_rank(b)))
            .then(pods::is_ready(a).cmp(&pods::is_ready(b)))
            .then(deletion_cost(a).cmp(&deletion_cost(b)))
            .then(rank(a).cmp(&rank(b)))
            .then_with(|| younger_first(pods::ready_since(a), pods::ready_since(b), now, a, b))
            .then(pods::max_restarts(b).cmp(&pods::max_restarts(a)))
            .then_with(|| younger_first(created(a), created(b), now, a, b))
    });
}

fn phase_rank(pod: &Pod) -> u8 {
    match pods::phase(pod) {
        "Running" => 2,
        "Unknown" => 1,
        _ => 0,
    }
}

fn deletion_cost(pod: &Pod) -> i32 {
    let text = pod.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST));
    text.and_then(|t| t.parse().ok()).unwrap_or(0)
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

/// Ages are compared by their power of two, so that pods of about the same age are chosen by UID, that is at random.
fn younger_first(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp, pod_a: &Pod, pod_b: &Pod) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if a == b => Ordering::Equal,
        (Some(a), Some(b)) => {
            let magnitude = |at: Timestamp| {
                let nanos = now.duration_since(at).as_nanos();
                u128::try_from(nanos).ok().and_then(u128::checked_ilog2)
            };
            magnitude(a).cmp(&magnitude(b)).then_with(|| pod_a.metadata.uid.cmp(&pod_b.metadata.uid))
        }
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::{at, pod};

    #[test]
    fn the_cheapest_loss_goes_first() {
        // Each line: the pod that goes first, the pod that goes second.
        let table = [
            ("a", "b node=n"),
            ("a node=n", "b node=n phase=Unknown"),
            ("a node=n phase=Unknown", "b node=n phase=Running"),
            ("a node=n phase=Running", "b node=n ready=5"),
            ("a node=n ready=5", "b node=n ready=5 cost=1"),
            ("a node=n ready=5 cost=-1", "b node=n ready=5"),
            ("a node=n ready=999", "b node=n ready=5"),
            ("a node=n ready=5 created=999", "b node=n ready=5 created=1"),
            ("a node=n ready=5", "b node=n ready=6"),
        ];
        for (first, second) in table {
            let (first, second) = (Arc::new(pod(first)), Arc::new(pod(second)));
            let mut both = [second.clone(), first.clone()];
            sort(&mut both, &[], at(1000));
            assert_eq!(both[0].metadata.name, first.metadata.name, "{:?}", both[0].metadata.name);
        }
    }

    #[test]
    fn a_node_with_more_siblings_can_spare_one() {
        let lonely = Arc::new(pod("a node=one ready=5"));
        let crowded = Arc::new(pod("b node=two ready=5"));
        let related = [lonely.clone(), crowded.clone(), Arc::new(pod("c node=two ready=5"))];
        let mut both = [lonely, crowded];
        sort(&mut both, &related, at(1000));
        assert_eq!(both[0].metadata.name.as_deref(), Some("b"));
    }
}
