//! The extension points that plugins fill (kube-scheduler's framework, with its names).

use std::borrow::Cow;
use std::collections::BTreeMap;

use kube::core::{Selector, SelectorExt as _};

use crate::cache::Cache;
use crate::node_info::NodeInfo;
use crate::pod_info::{PodInfo, Term};

/// The best score of one plugin.
pub const MAX_SCORE: i64 = 100;

/// What a filter says about one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The pod can run there.
    Fits,
    /// It cannot, but might if other pods went away.
    Rejected(Vec<Cow<'static, str>>),
    /// It cannot, whatever pods go away.
    Unresolvable(Vec<Cow<'static, str>>),
}

impl Verdict {
    /// Rejected for one reason.
    pub fn rejected(reason: &'static str) -> Self {
        Self::Rejected(vec![Cow::Borrowed(reason)])
    }

    /// Rejected for one reason that no preemption can change.
    pub fn unresolvable(reason: &'static str) -> Self {
        Self::Unresolvable(vec![Cow::Borrowed(reason)])
    }
}

/// What happened in the cluster that may make a waiting pod fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node is new.
    NodeAdded,
    /// A node's allocatable resources changed.
    NodeAllocatable,
    /// A node's labels changed.
    NodeLabels,
    /// A node's taints changed, or whether it is schedulable.
    NodeTaints,
    /// A pod got a node.
    PodAssigned,
    /// A pod on a node changed its labels or shrank.
    PodChanged,
    /// A pod on a node ended or was deleted.
    PodGone,
}

/// Facts beyond nodes and pods that some plugins look up.
#[derive(Default)]
pub struct Surroundings {
    /// Labels by namespace.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// What the pod's services and controllers select with, for spreading by default.
    pub default_selector: Option<Selector>,
}

impl Surroundings {
    /// Whether a term is about this pod.
    pub fn matches(&self, term: &Term, pod: &PodInfo) -> bool {
        let named = term.namespaces.iter().any(|n| n == pod.namespace());
        let labelled = || {
            term.namespace_selector.as_ref().is_some_and(|selector| {
                self.namespaces.get(pod.namespace()).map_or_else(|| selector.selects_all(), |labels| selector.matches(labels))
            })
        };
        (named || labelled()) && term.selector.as_ref().is_some_and(|s| pod.is_selected_by(s))
    }
}

/// One pod's scheduling.
#[derive(Clone, Copy)]
pub struct Cycle<'a> {
    /// The pod.
    pub pod: &'a PodInfo,
    /// The cluster.
    pub cache: &'a Cache,
    /// Further facts.
    pub surroundings: &'a Surroundings,
}

/// A plugin. The default methods are those of an extension point that it does not fill.
pub trait Plugin: Send + Sync {
    /// Its name in configuration files.
    fn name(&self) -> &'static str;

    /// Prepares filtering for one pod; `None` when it has nothing to say about it.
    fn filter<'a>(&'a self, cycle: &Cycle<'a>) -> Option<Box<dyn Filter + 'a>> {
        let _ = cycle;
        None
    }

    /// Prepares scoring among the nodes that fit; `None` when it does not tell them apart.
    fn score<'a>(&'a self, cycle: &Cycle<'a>, feasible: &[&'a NodeInfo]) -> Option<Box<dyn Score + 'a>> {
        let _ = (cycle, feasible);
        None
    }

    /// How much its scores count.
    fn weight(&self) -> i64 {
        1
    }

    /// Whether a pod that it rejected is worth another try after the event.
    fn wakes(&self, event: Event) -> bool {
        let _ = event;
        true
    }
}

/// A filter prepared for one pod.
pub trait Filter {
    /// Whether the pod can run on the node.
    fn judge(&self, node: &NodeInfo) -> Verdict;
}

/// A score prepared for one pod.
pub trait Score {
    /// How good the node is; any number, before [`Score::normalize`].
    fn rate(&self, node: &NodeInfo) -> i64;

    /// Brings the scores of all nodes into 0..=[`MAX_SCORE`].
    fn normalize(&self, scores: &mut [i64]) {
        let _ = scores;
    }
}

/// Which way scores are scaled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The highest becomes [`MAX_SCORE`].
    High,
    /// Zero becomes [`MAX_SCORE`].
    Low,
}

/// Scales scores to the highest among them.
pub fn scale(scores: &mut [i64], better: Better) {
    let max = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if max == 0 { 0 } else { score.saturating_mul(MAX_SCORE) / max };
        *score = match better {
            Better::High => scaled,
            Better::Low => MAX_SCORE - scaled,
        };
    }
}
