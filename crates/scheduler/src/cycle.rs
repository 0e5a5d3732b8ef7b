//! One scheduling cycle: filter the nodes, score those that fit, choose the best.

use std::sync::Arc;

use stdx::Prng;

use crate::diagnosis::Diagnosis;
use crate::framework::{Cycle, Filter, Plugin, Verdict};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

/// Clusters up to this size are looked at whole.
const MIN_NODES_TO_FIND: usize = 100;
/// However large the cluster, at least this share of it must be found fitting before the search stops, in percent.
const MIN_PERCENT_TO_FIND: usize = 5;

/// The plugins of a profile.
pub type Profile = [Box<dyn Plugin>];

/// How a cycle ends.
#[derive(Debug)]
pub enum Outcome {
    /// The pod goes to this node.
    Chosen(String),
    /// There is no node at all.
    NoNodes,
    /// No node will do.
    Unfit(Diagnosis),
}

type Filters<'a> = Vec<(&'static str, Box<dyn Filter + 'a>)>;

/// Chooses a node. `nominated` are pods that wait for room made for them and their nodes; `start` is where the search begins,
/// so that large clusters are searched evenly.
pub fn schedule(profile: &Profile, cycle: &Cycle<'_>, nominated: &[(String, Arc<PodInfo>)], start: &mut usize, prng: &Prng) -> Outcome {
    let nodes: Vec<&NodeInfo> = cycle.cache.nodes().collect();
    if nodes.is_empty() {
        return Outcome::NoNodes;
    }
    let filters = prepare(profile, cycle);
    let enough = nodes_to_find(nodes.len());
    let mut diagnosis = Diagnosis { nodes: nodes.len(), ..Diagnosis::default() };
    let mut feasible = Vec::new();
    let first = *start % nodes.len();
    let mut looked_at = 0;
    for node in nodes.iter().cycle().skip(first).take(nodes.len()) {
        looked_at += 1;
        match judge(&filters, cycle, node, nominated) {
            None => feasible.push(*node),
            Some((plugin, verdict)) => {
                diagnosis.plugins.insert(plugin);
                diagnosis.verdicts.insert(node.name().to_owned(), verdict);
            }
        }
        if feasible.len() >= enough {
            break;
        }
    }
    *start = (first + looked_at) % nodes.len();
    match best(profile, cycle, &feasible, prng) {
        Some(name) => Outcome::Chosen(name),
        None => Outcome::Unfit(diagnosis),
    }
}

/// All filters that have something to say about the pod.
pub(crate) fn prepare<'a>(profile: &'a Profile, cycle: &Cycle<'a>) -> Filters<'a> {
    profile.iter().filter_map(|plugin| Some((plugin.name(), plugin.filter(cycle)?))).collect()
}

/// The first refusal of a node, if any.
pub(crate) fn refusal(filters: &Filters<'_>, node: &NodeInfo) -> Option<(&'static str, Verdict)> {
    filters.iter().find_map(|(name, filter)| match filter.judge(node) {
        Verdict::Fits => None,
        verdict => Some((*name, verdict)),
    })
}

fn judge(
    filters: &Filters<'_>,
    cycle: &Cycle<'_>,
    node: &NodeInfo,
    nominated: &[(String, Arc<PodInfo>)],
) -> Option<(&'static str, Verdict)> {
    let waits_here = |(name, pod): &&(String, Arc<PodInfo>)| {
        name == node.name() && pod.uid() != cycle.pod.uid() && pod.priority() >= cycle.pod.priority()
    };
    let mut waiting = nominated.iter().filter(waits_here).peekable();
    if waiting.peek().is_some() {
        let mut crowded = node.clone();
        waiting.for_each(|(_, pod)| crowded.add(pod.clone()));
        if let Some(refused) = refusal(filters, &crowded) {
            return Some(refused);
        }
    }
    refusal(filters, node)
}

fn nodes_to_find(all: usize) -> usize {
    if all < MIN_NODES_TO_FIND {
        return all;
    }
    let percent = 50usize.saturating_sub(all / 125).max(MIN_PERCENT_TO_FIND);
    (all * percent / 100).max(MIN_NODES_TO_FIND)
}

fn best(profile: &Profile, cycle: &Cycle<'_>, feasible: &[&NodeInfo], prng: &Prng) -> Option<String> {
    if let [only] = feasible {
        return Some(only.name().to_owned());
    }
    let mut totals = vec![0i64; feasible.len()];
    for plugin in profile {
        let Some(score) = plugin.score(cycle, feasible) else {
            continue;
        };
        let mut scores: Vec<i64> = feasible.iter().map(|node| score.rate(node)).collect();
        score.normalize(&mut scores);
        for (total, score) in totals.iter_mut().zip(scores) {
            *total = total.saturating_add(score.saturating_mul(plugin.weight()));
        }
    }
    let top = totals.iter().copied().max()?;
    let winners: Vec<&&NodeInfo> = feasible.iter().zip(&totals).filter(|(_, t)| **t == top).map(|(n, _)| n).collect();
    let pick = usize::try_from(prng.below(winners.len() as u64)).unwrap_or(0);
    winners.get(pick).map(|node| node.name().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::framework::Surroundings;
    use crate::node_info::tests::node;
    use crate::plugins::default_profile;
    use crate::pod_info::tests::pod;
    use serde_json::json;

    /// The chosen node, or the message.
    fn told(nodes: &[&str], there: &[&str], text: &str, spec: serde_json::Value) -> String {
        let mut cache = Cache::default();
        nodes.iter().for_each(|text| cache.set_node(node(text).node.unwrap()));
        there.iter().for_each(|text| cache.set_pod(Arc::new(pod(text, json!(null)))));
        let pod = pod(text, spec);
        let surroundings = Surroundings::default();
        let cycle = Cycle { pod: &pod, cache: &cache, surroundings: &surroundings };
        match schedule(&default_profile(), &cycle, &[], &mut 0, &Prng::seeded(1)) {
            Outcome::Chosen(node) => node,
            Outcome::NoNodes => "no nodes".to_owned(),
            Outcome::Unfit(diagnosis) => diagnosis.message(),
        }
    }

    #[test]
    fn pods_find_their_nodes_or_learn_why_not() {
        let none = json!(null);
        let two = ["a cpu=2", "b cpu=4"];
        assert_eq!(told(&[], &[], "p", none.clone()), "no nodes");
        assert_eq!(told(&two, &[], "p cpu=3", none.clone()), "b");
        assert_eq!(told(&two, &["x cpu=2 node=b"], "p cpu=1", none.clone()), "a");
        assert_eq!(told(&two, &[], "p cpu=5", none.clone()), "0/2 nodes are available: 2 Insufficient cpu.");
        assert_eq!(
            told(&["a taint=k:NoSchedule", "b unschedulable", "c cpu=1"], &[], "p cpu=2", none.clone()),
            "0/3 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable."
        );
        assert_eq!(told(&["a taint=k:NoSchedule"], &[], "p toleration=k", none.clone()), "a");
        assert_eq!(told(&["a taint=k:PreferNoSchedule", "b"], &[], "p", none.clone()), "b");
        assert_eq!(told(&["a", "b label=disk:ssd"], &[], "p", json!({"nodeSelector": {"disk": "ssd"}})), "b");
        assert_eq!(
            told(&["a"], &[], "p", json!({"nodeSelector": {"disk": "ssd"}})),
            "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector."
        );
        assert_eq!(
            told(&["a"], &["x port=80 node=a"], "p port=80", none.clone()),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports."
        );
        let prefers = json!({"affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 50, "preference": {"matchExpressions": [{"key": "zone", "operator": "Exists"}]}}]}}});
        assert_eq!(told(&["a", "b", "c label=zone:z"], &[], "p", prefers), "c");
    }

    #[test]
    fn large_clusters_are_not_searched_to_the_end() {
        assert_eq!([50, 100, 1000, 5000, 20_000].map(nodes_to_find), [50, 100, 420, 500, 1000]);
    }
}
