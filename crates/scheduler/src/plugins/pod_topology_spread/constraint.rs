//! One spreading constraint, ready to be counted with.

use k8s_openapi::api::core::v1::Pod;
use kube::core::{Expression, Selector, SelectorExt as _};

use crate::framework::Cycle;
use crate::node_info::NodeInfo;
use crate::node_match::{is_kept_away, required};

pub(super) const HOSTNAME: &str = "kubernetes.io/hostname";

/// What happens when a constraint cannot be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    DoNotSchedule,
    ScheduleAnyway,
}

pub(super) struct Constraint {
    pub(super) max_skew: i64,
    pub(super) key: String,
    pub(super) selector: Option<Selector>,
    pub(super) min_domains: usize,
    honour_affinity: bool,
    honour_taints: bool,
}

impl Constraint {
    /// The pod's own constraints of one kind.
    pub(super) fn of(pod: &Pod, action: Action) -> Vec<Self> {
        let word = match action {
            Action::DoNotSchedule => "DoNotSchedule",
            Action::ScheduleAnyway => "ScheduleAnyway",
        };
        let all = pod.spec.iter().flat_map(|s| s.topology_spread_constraints.iter().flatten());
        all.filter(|c| c.when_unsatisfiable == word)
            .map(|c| {
                let mut selector: Option<Selector> = c.label_selector.clone().and_then(|s| s.try_into().ok());
                if let Some(selector) = &mut selector {
                    let value = |key: &String| pod.metadata.labels.as_ref().and_then(|l| l.get(key)).cloned();
                    for key in c.match_label_keys.iter().flatten() {
                        selector.extend(value(key).map(|v| Expression::Equal(key.clone(), v)));
                    }
                }
                Self {
                    max_skew: c.max_skew.into(),
                    key: c.topology_key.clone(),
                    selector,
                    min_domains: c.min_domains.and_then(|n| usize::try_from(n).ok()).unwrap_or(1),
                    honour_affinity: c.node_affinity_policy.as_deref() != Some("Ignore"),
                    honour_taints: c.node_taints_policy.as_deref() == Some("Honor"),
                }
            })
            .collect()
    }

    /// What holds for pods without constraints: spread what one service or controller selects over nodes and zones.
    pub(super) fn defaults(selector: Option<Selector>) -> Vec<Self> {
        let Some(selector) = selector.filter(|s| !s.selects_all()) else {
            return Vec::new();
        };
        let over = |key: &str, max_skew| Self {
            max_skew,
            key: key.to_owned(),
            selector: Some(selector.clone()),
            min_domains: 1,
            honour_affinity: true,
            honour_taints: false,
        };
        vec![over(HOSTNAME, 3), over("topology.kubernetes.io/zone", 5)]
    }

    /// Whether the node takes part in the count.
    pub(super) fn counts(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> bool {
        let pod = &cycle.pod.pod;
        let fits = !self.honour_affinity || required(pod, node);
        let welcome = !self.honour_taints || !is_kept_away(pod, node);
        fits && welcome
    }

    /// How many of the node's pods are alike. Those on their way out no longer count.
    pub(super) fn matching(&self, cycle: &Cycle<'_>, node: &NodeInfo) -> i64 {
        let Some(selector) = &self.selector else {
            return 0;
        };
        let alike = node.pods.values().filter(|pod| {
            pod.namespace() == cycle.pod.namespace() && pod.pod.metadata.deletion_timestamp.is_none() && pod.is_selected_by(selector)
        });
        i64::try_from(alike.count()).unwrap_or(i64::MAX)
    }

    /// Whether the pod itself is alike.
    pub(super) fn matches_self(&self, cycle: &Cycle<'_>) -> bool {
        let labels = cycle.pod.pod.metadata.labels.clone().unwrap_or_default();
        self.selector.as_ref().is_some_and(|s| s.matches(&labels))
    }
}

/// Whether the node has the labels of all constraints.
pub(super) fn has_all_labels(node: &NodeInfo, constraints: &[Constraint]) -> bool {
    constraints.iter().all(|c| node.label(&c.key).is_some())
}
