//! Constraints that should be kept: the fewer like pods in a domain, the better.

use std::collections::{HashMap, HashSet};

use super::constraint::{Constraint, HOSTNAME, has_all_labels};
use crate::framework::{Cycle, MAX_SCORE, Score};
use crate::node_info::NodeInfo;

/// Marks nodes outside the count until scores are normalized.
const OUTSIDE: i64 = -1;

pub(super) struct Scoring<'a> {
    cycle: Cycle<'a>,
    constraints: Vec<Weighed>,
    outside: HashSet<String>,
}

struct Weighed {
    constraint: Constraint,
    by_value: HashMap<String, i64>,
    weight: f64,
}

impl<'a> Scoring<'a> {
    /// `all_labels`: nodes without one of the labels are left out, as for a pod's own constraints.
    pub(super) fn new(cycle: &Cycle<'a>, constraints: Vec<Constraint>, all_labels: bool, feasible: &[&NodeInfo]) -> Self {
        let is_outside = |node: &NodeInfo| all_labels && !has_all_labels(node, &constraints);
        let outside: HashSet<String> = feasible.iter().filter(|n| is_outside(n)).map(|n| n.name().to_owned()).collect();
        let inside: Vec<&&NodeInfo> = feasible.iter().filter(|n| !outside.contains(n.name())).collect();
        let counting: Vec<&NodeInfo> = cycle.cache.nodes().filter(|n| !is_outside(n)).collect();
        let weighed = constraints.into_iter().map(|constraint| {
            let per_node = constraint.key == HOSTNAME;
            let mut by_value: HashMap<String, i64> = HashMap::new();
            if !per_node {
                by_value.extend(inside.iter().filter_map(|n| n.label(&constraint.key)).map(|v| (v.to_owned(), 0)));
                for node in counting.iter().filter(|n| constraint.counts(cycle, n)) {
                    if let Some(count) = node.label(&constraint.key).and_then(|v| by_value.get_mut(v)) {
                        *count += constraint.matching(cycle, node);
                    }
                }
            }
            let domains = if per_node { inside.len() } else { by_value.len() };
            Weighed { constraint, by_value, weight: ((domains + 2) as f64).ln() }
        });
        let constraints = weighed.collect();
        Self { cycle: *cycle, constraints, outside }
    }
}

impl Score for Scoring<'_> {
    fn rate(&self, node: &NodeInfo) -> i64 {
        if self.outside.contains(node.name()) {
            return OUTSIDE;
        }
        let mut score = 0.0;
        for weighed in &self.constraints {
            let Some(value) = node.label(&weighed.constraint.key) else {
                continue;
            };
            let count = if weighed.constraint.key == HOSTNAME {
                weighed.constraint.matching(&self.cycle, node)
            } else {
                weighed.by_value.get(value).copied().unwrap_or(0)
            };
            score += count as f64 * weighed.weight + (weighed.constraint.max_skew - 1) as f64;
        }
        score.round() as i64
    }

    fn normalize(&self, scores: &mut [i64]) {
        let inside = || scores.iter().copied().filter(|s| *s != OUTSIDE);
        let (min, max) = (inside().min().unwrap_or(0), inside().max().unwrap_or(0));
        for score in scores.iter_mut() {
            *score = match *score {
                OUTSIDE => 0,
                _ if max == 0 => MAX_SCORE,
                s => MAX_SCORE * (max + min - s) / max,
            };
        }
    }
}
