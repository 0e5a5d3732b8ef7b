//! DefaultPreemption: which pods of lower priority would have to go so that a pod fits.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::sync::Arc;

use k8s_openapi::jiff::Timestamp;

use crate::cache::Cache;
use crate::cycle::{Profile, prepare, refusal};
use crate::diagnosis::{Diagnosis, histogram};
use crate::framework::{Cycle, Surroundings, Verdict};
use crate::pod_info::PodInfo;

/// At most this many nodes are tried in depth (upstream's floor; it adds a tenth of the cluster).
const MIN_CANDIDATES: usize = 100;

/// What preemption comes to.
#[derive(Debug)]
pub enum Outcome {
    /// The pod fits on `node` once `victims` are gone.
    Found {
        /// The node.
        node: String,
        /// The pods to delete.
        victims: Vec<Arc<PodInfo>>,
    },
    /// Nobody's leaving helps; the text says why.
    Useless(String),
}

/// Looks for the node where making room hurts least. The cache is changed for trying, and is as before at the end.
pub fn find(profile: &Profile, cache: &mut Cache, surroundings: &Surroundings, pod: &PodInfo, refused: &Diagnosis) -> Outcome {
    if let Some(reason) = ineligible(cache, pod) {
        return Outcome::Useless(reason.to_owned());
    }
    let limit = MIN_CANDIDATES.max(refused.nodes / 10);
    let mut candidates = Vec::new();
    let mut reasons: Vec<Cow<'static, str>> = Vec::new();
    for (node, verdict) in &refused.verdicts {
        if !matches!(verdict, Verdict::Rejected(_)) || candidates.len() >= limit {
            reasons.push("Preemption is not helpful for scheduling".into());
            continue;
        }
        match try_node(profile, cache, surroundings, pod, node) {
            Ok(victims) => candidates.push((node.clone(), victims)),
            Err(why) => reasons.extend(why),
        }
    }
    match candidates.into_iter().min_by_key(|(_, victims)| cost(victims)) {
        Some((node, victims)) => Outcome::Found { node, victims },
        None => Outcome::Useless(histogram(refused.nodes, reasons.iter())),
    }
}

fn ineligible(cache: &Cache, pod: &PodInfo) -> Option<&'static str> {
    if pod.pod.spec.as_ref().and_then(|s| s.preemption_policy.as_deref()) == Some("Never") {
        return Some("not eligible due to preemptionPolicy=Never.");
    }
    let nominated = pod.pod.status.as_ref().and_then(|s| s.nominated_node_name.as_deref())?;
    let leaving = |p: &Arc<PodInfo>| p.priority() < pod.priority() && p.pod.metadata.deletion_timestamp.is_some();
    let waits = cache.node(nominated)?.pods.values().any(leaving);
    waits.then_some("not eligible due to a terminating pod on the nominated node.")
}

/// The pods that must leave this node: all of lower priority, less those that can stay after all, most important first.
fn try_node(
    profile: &Profile,
    cache: &mut Cache,
    surroundings: &Surroundings,
    pod: &PodInfo,
    name: &str,
) -> Result<Vec<Arc<PodInfo>>, Vec<Cow<'static, str>>> {
    let Some(node) = cache.node(name) else {
        return Err(Vec::new());
    };
    let mut lower: Vec<Arc<PodInfo>> = node.pods.values().filter(|p| p.priority() < pod.priority()).cloned().collect();
    if lower.is_empty() {
        return Err(vec!["No preemption victims found for incoming pod".into()]);
    }
    lower.sort_by_key(|p| (Reverse(p.priority()), started(p), p.uid().to_owned()));
    let assumed: Vec<bool> = lower.iter().map(|p| cache.is_assumed(p.uid())).collect();
    lower.iter().for_each(|p| _ = cache.remove_pod(p.uid()));
    let fits = |cache: &Cache| {
        let cycle = Cycle { pod, cache, surroundings };
        cache.node(name).and_then(|node| refusal(&prepare(profile, &cycle), node))
    };
    let outcome = match fits(cache) {
        Some((_, Verdict::Rejected(reasons) | Verdict::Unresolvable(reasons))) => Err(reasons),
        Some((_, Verdict::Fits)) | None => {
            let mut victims = Vec::new();
            for candidate in &lower {
                cache.assume(candidate.clone(), name);
                if fits(cache).is_some() {
                    cache.remove_pod(candidate.uid());
                    victims.push(candidate.clone());
                }
            }
            Ok(victims)
        }
    };
    for (candidate, assumed) in lower.into_iter().zip(assumed) {
        if assumed { cache.assume(candidate, name) } else { cache.set_pod(candidate) }
    }
    outcome
}

fn started(pod: &PodInfo) -> Option<Timestamp> {
    pod.pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0)
}

/// Least first: the highest priority lost, the sum of priorities, the number of pods; then the youngest important pod.
fn cost(victims: &[Arc<PodInfo>]) -> (i32, i64, usize, Reverse<Option<Timestamp>>) {
    let highest = victims.iter().map(|p| p.priority()).max().unwrap_or(i32::MIN);
    // Shifted, so that many pods of negative priority cost more than few.
    let sum = victims.iter().map(|p| i64::from(p.priority()) + i64::from(i32::MAX) + 1).sum();
    let oldest = victims.iter().filter(|p| p.priority() == highest).map(|p| started(p)).min().flatten();
    (highest, sum, victims.len(), Reverse(oldest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cycle::schedule;
    use crate::node_info::tests::node;
    use crate::plugins::default_profile;
    use crate::pod_info::tests::pod;
    use serde_json::json;
    use stdx::Prng;

    fn told(nodes: &[&str], there: &[&str], text: &str, spec: serde_json::Value) -> String {
        let mut cache = Cache::default();
        nodes.iter().for_each(|text| cache.set_node(node(text).node.unwrap()));
        there.iter().for_each(|text| cache.set_pod(Arc::new(pod(text, json!(null)))));
        let (pod, surroundings, profile) = (pod(text, spec), Surroundings::default(), default_profile());
        let cycle = Cycle { pod: &pod, cache: &cache, surroundings: &surroundings };
        let crate::cycle::Outcome::Unfit(d) = schedule(&profile, &cycle, &[], &mut 0, &Prng::seeded(1)) else { panic!("it fits") };
        let before: Vec<usize> = cache.nodes().map(|n| n.pods.len()).collect();
        let outcome = find(&profile, &mut cache, &surroundings, &pod, &d);
        assert_eq!(cache.nodes().map(|n| n.pods.len()).collect::<Vec<_>>(), before, "the cache is as before");
        match outcome {
            Outcome::Found { node, mut victims } => {
                victims.sort_by_key(|v| v.uid().to_owned());
                let names: Vec<_> = victims.iter().map(|v| v.pod.metadata.name.clone().unwrap()).collect();
                format!("{node}: {}", names.join(" "))
            }
            Outcome::Useless(message) => message,
        }
    }

    #[test]
    fn the_least_important_pods_make_room() {
        let none = json!(null);
        let there = ["x cpu=2 node=a priority=5", "y cpu=1 node=b priority=1", "z cpu=1 node=b priority=2"];
        let nodes = ["a cpu=2", "b cpu=2"];
        assert_eq!(told(&nodes, &there, "p cpu=1 priority=10", none.clone()), "b: y");
        assert_eq!(told(&nodes, &there, "p cpu=2 priority=10", none.clone()), "b: y z");
        assert_eq!(
            told(&nodes, &there, "p cpu=2", none.clone()),
            "0/2 nodes are available: 2 No preemption victims found for incoming pod."
        );
        assert_eq!(
            told(&nodes, &there, "p cpu=9 priority=10", none.clone()),
            "0/2 nodes are available: 2 Preemption is not helpful for scheduling."
        );
        assert_eq!(
            told(&nodes, &there, "p cpu=2 priority=10", json!({"preemptionPolicy": "Never"})),
            "not eligible due to preemptionPolicy=Never."
        );
    }
}
