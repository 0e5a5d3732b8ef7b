//! InterPodAffinity: near to some pods, away from others; and away from pods that want nobody near.

use std::collections::HashMap;

use crate::framework::{Cycle, Event, Filter, MAX_SCORE, Plugin, Score, Verdict};
use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, Term};

/// How much a pod's required affinity draws later pods towards it (upstream's default).
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// The plugin.
pub struct InterPodAffinity;

/// Counts by topology key and value.
type Places = HashMap<(String, String), i64>;

struct Filtering<'a> {
    pod: &'a PodInfo,
    /// Where pods are that want this pod away.
    repelled_by_others: Places,
    /// Where pods are that all required affinity terms select.
    attracting: Places,
    /// Where pods are that this pod wants to be away from.
    repelling: Places,
    /// The first pod of a group that must be near to each other may go anywhere.
    is_first: bool,
}

struct Scoring(Places);

impl Plugin for InterPodAffinity {
    fn name(&self) -> &'static str {
        "InterPodAffinity"
    }

    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let pod = cycle.pod;
        let own_terms = !pod.affinity.is_empty() || !pod.anti_affinity.is_empty();
        let others = cycle.cache.nodes().any(|n| n.with_anti_affinity > 0);
        if !own_terms && !others {
            return None;
        }
        let mut filtering =
            Filtering { pod, repelled_by_others: Places::new(), attracting: Places::new(), repelling: Places::new(), is_first: false };
        for node in cycle.cache.nodes().filter(|n| own_terms || n.with_anti_affinity > 0) {
            filtering.count(cycle, node);
        }
        let likes_itself = pod.affinity.iter().all(|term| cycle.surroundings.matches(term, pod));
        filtering.is_first = filtering.attracting.is_empty() && likes_itself;
        Some(Box::new(filtering))
    }

    fn score<'a>(&'a self, cycle: &Cycle<'a>, _: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let pod = cycle.pod;
        let mut places = Places::new();
        for node in cycle.cache.nodes() {
            for other in node.pods.values() {
                let mut add = |term: &Term, about: &PodInfo, weight: i64| {
                    if let Some(value) = node.label(&term.topology_key).filter(|_| cycle.surroundings.matches(term, about)) {
                        *places.entry((term.topology_key.clone(), value.to_owned())).or_default() += weight;
                    }
                };
                pod.preferred_affinity.iter().for_each(|t| add(t, other, t.weight));
                pod.preferred_anti_affinity.iter().for_each(|t| add(t, other, -t.weight));
                other.affinity.iter().for_each(|t| add(t, pod, HARD_AFFINITY_WEIGHT));
                other.preferred_affinity.iter().for_each(|t| add(t, pod, t.weight));
                other.preferred_anti_affinity.iter().for_each(|t| add(t, pod, -t.weight));
            }
        }
        (!places.is_empty()).then(|| Box::new(Scoring(places)) as Box<dyn Score + 'a>)
    }

    fn weight(&self) -> i64 {
        2
    }

    fn wakes(&self, event: Event) -> bool {
        !matches!(event, Event::NodeAllocatable | Event::NodeTaints)
    }
}

impl Filtering<'_> {
    fn count(&mut self, cycle: &Cycle<'_>, node: &NodeInfo) {
        let add = |places: &mut Places, term: &Term| {
            if let Some(value) = node.label(&term.topology_key) {
                *places.entry((term.topology_key.clone(), value.to_owned())).or_default() += 1;
            }
        };
        for other in node.pods.values() {
            for term in other.anti_affinity.iter().filter(|t| cycle.surroundings.matches(t, self.pod)) {
                add(&mut self.repelled_by_others, term);
            }
            for term in self.pod.anti_affinity.iter().filter(|t| cycle.surroundings.matches(t, other)) {
                add(&mut self.repelling, term);
            }
            let all = !self.pod.affinity.is_empty() && self.pod.affinity.iter().all(|t| cycle.surroundings.matches(t, other));
            if all {
                self.pod.affinity.iter().for_each(|term| add(&mut self.attracting, term));
            }
        }
    }
}

fn at(places: &Places, key: &str, node: &NodeInfo) -> bool {
    node.label(key).is_some_and(|value| places.contains_key(&(key.to_owned(), value.to_owned())))
}

impl Filter for Filtering<'_> {
    fn judge(&self, node: &NodeInfo) -> Verdict {
        let has_labels = self.pod.affinity.iter().all(|t| node.label(&t.topology_key).is_some());
        let near = self.pod.affinity.iter().all(|t| at(&self.attracting, &t.topology_key, node));
        if !has_labels || !(near || self.is_first) {
            return Verdict::unresolvable("node(s) didn't match pod affinity rules");
        }
        if self.pod.anti_affinity.iter().any(|t| at(&self.repelling, &t.topology_key, node)) {
            return Verdict::rejected("node(s) didn't match pod anti-affinity rules");
        }
        let is_here = |((key, value), _): (&(String, String), &i64)| node.label(key) == Some(value);
        if self.repelled_by_others.iter().any(is_here) {
            return Verdict::rejected("node(s) didn't satisfy existing pods anti-affinity rules");
        }
        Verdict::Fits
    }
}

impl Score for Scoring {
    fn rate(&self, node: &NodeInfo) -> i64 {
        self.0.iter().filter(|((key, value), _)| node.label(key) == Some(value)).map(|(_, weight)| weight).sum()
    }

    fn normalize(&self, scores: &mut [i64]) {
        let (min, max) = (scores.iter().copied().min().unwrap_or(0), scores.iter().copied().max().unwrap_or(0));
        for score in scores {
            *score = if max > min { MAX_SCORE * (*score - min) / (max - min) } else { 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::framework::Surroundings;
    use crate::node_info::tests::node;
    use crate::pod_info::tests::pod;
    use serde_json::json;
    use std::sync::Arc;

    fn rules(kind: &str, app: &str) -> serde_json::Value {
        json!({"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchLabels": {"app": app}}}]}}})
    }

    #[test]
    fn required_terms_attract_and_repel() {
        let mut cache = Cache::default();
        for text in ["a label=zone:1", "b label=zone:2", "c"] {
            cache.set_node(node(text).node.unwrap());
        }
        cache.set_pod(Arc::new(pod("db label=app:db node=a", json!(null))));
        cache.set_pod(Arc::new(pod("shy label=app:shy node=b", rules("podAntiAffinity", "loud"))));
        let surroundings = Surroundings::default();
        let told = |text: &str, spec: serde_json::Value| -> Vec<bool> {
            let p = pod(text, spec);
            let cycle = Cycle { pod: &p, cache: &cache, surroundings: &surroundings };
            let filter = InterPodAffinity.filter(&cycle).unwrap();
            cache.nodes().map(|n| filter.judge(n) == Verdict::Fits).collect()
        };
        assert_eq!(told("p", rules("podAffinity", "db")), [true, false, false]);
        assert_eq!(told("p", rules("podAntiAffinity", "db")), [false, true, true]);
        assert_eq!(told("p label=app:loud", json!(null)), [true, false, true]);
        // The first of a group that wants to be together goes anywhere with the label.
        assert_eq!(told("p label=app:new", rules("podAffinity", "new")), [true, true, false]);
        assert_eq!(told("p label=app:new", rules("podAffinity", "absent")), [false, false, false]);
    }
}
