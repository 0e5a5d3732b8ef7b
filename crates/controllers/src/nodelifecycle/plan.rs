//! What a node's silence and conditions mean for its status and taints.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::context::time;

/// A node that has reported may be silent for this long (upstream's `node-monitor-grace-period`).
pub const GRACE: SignedDuration = SignedDuration::from_secs(50);
/// A node that has never reported may take this long (upstream's `node-startup-grace-period`).
pub const STARTUP_GRACE: SignedDuration = SignedDuration::from_secs(60);

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// Condition, the status that is bad, and the taint's key.
const BAD: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// Conditions that become unknown when the node falls silent.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What is remembered of a node between looks: what it last said, and when that was noticed. Times that the node itself writes
/// are not trusted, since its clock may be wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    heartbeat: Option<Timestamp>,
    lease: Option<Timestamp>,
    heard: Timestamp,
}

impl Health {
    /// Brings the memory up to date with what the node says now.
    pub fn next(old: Option<&Self>, node: &Node, lease: Option<&Lease>, now: Timestamp) -> Self {
        let heartbeat = ready(node).and_then(|c| c.last_heartbeat_time.as_ref()).map(|t| t.0);
        let lease = lease.and_then(|l| l.spec.as_ref()?.renew_time.as_ref()).map(|t| t.0);
        let Some(old) = old else {
            // A node without any report has been silent since it was made.
            let created = node.metadata.creation_timestamp.as_ref().map(|t| t.0);
            let heard = if ready(node).is_none() { created.unwrap_or(now) } else { now };
            return Self { heartbeat, lease, heard };
        };
        let spoke = old.heartbeat != heartbeat || lease > old.lease;
        Self { heartbeat, lease: lease.max(old.lease), heard: if spoke { now } else { old.heard } }
    }

    /// Whether the node has been silent for too long.
    pub fn is_silent(&self, node: &Node, now: Timestamp) -> bool {
        let grace = if ready(node).is_none() { STARTUP_GRACE } else { GRACE };
        now.duration_since(self.heard) > grace
    }
}

/// The Ready condition.
pub fn ready(node: &Node) -> Option<&NodeCondition> {
    condition(node, "Ready")
}

fn condition<'a>(node: &'a Node, type_: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_deref()?.iter().find(|c| c.type_ == type_)
}

/// The node's readiness as one word: `True`, `False` or `Unknown`.
pub fn readiness(node: &Node) -> &str {
    ready(node).map_or("Unknown", |c| c.status.as_str())
}

/// The conditions of a silent node; `None` if they say so already.
pub fn silent_conditions(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions = node.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for type_ in REPORTED {
        match conditions.iter_mut().find(|c| c.type_ == type_) {
            Some(c) if c.status == "Unknown" => {}
            Some(c) => {
                c.status = "Unknown".to_owned();
                c.reason = Some("NodeStatusUnknown".to_owned());
                c.message = Some("Kubelet stopped posting node status.".to_owned());
                c.last_transition_time = Some(time(now));
                changed = true;
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: type_.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(time(now)),
                });
            }
        }
    }
    changed.then_some(conditions)
}

/// Whether pods may be made to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evictions {
    /// Nodes that are not ready get NoExecute taints.
    Allowed,
    /// A node that has none yet waits for its turn.
    Later,
    /// No node is ready: more likely we are cut off than they, so nobody leaves.
    Stopped,
}

/// The node's taints as they should be; `None` if they are.
pub fn taints(node: &Node, evictions: Evictions, now: Timestamp) -> Option<Vec<Taint>> {
    let spec = node.spec.as_ref();
    let old = spec.and_then(|s| s.taints.clone()).unwrap_or_default();
    let is_bad = |type_: &str, bad: &str| condition(node, type_).is_some_and(|c| c.status == bad);
    let mut wanted: Vec<(&str, &str)> =
        BAD.iter().filter(|(type_, bad, _)| is_bad(type_, bad)).map(|(_, _, key)| (*key, "NoSchedule")).collect();
    if spec.and_then(|s| s.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, "NoSchedule"));
    }
    let evicting = ready(node).and_then(|c| match c.status.as_str() {
        "False" => Some(NOT_READY),
        "Unknown" => Some(UNREACHABLE),
        _ => None,
    });
    let has_one = old.iter().any(|t| t.effect == "NoExecute" && (t.key == NOT_READY || t.key == UNREACHABLE));
    if let Some(key) = evicting.filter(|_| evictions == Evictions::Allowed || (has_one && evictions == Evictions::Later)) {
        wanted.push((key, "NoExecute"));
    }
    let managed = |t: &Taint| match t.effect.as_str() {
        "NoSchedule" => t.key == UNSCHEDULABLE || BAD.iter().any(|(_, _, key)| t.key == *key),
        "NoExecute" => t.key == NOT_READY || t.key == UNREACHABLE,
        _ => false,
    };
    let is_wanted = |t: &Taint| wanted.iter().any(|(key, effect)| t.key == *key && t.effect == *effect);
    let mut new: Vec<Taint> = old.iter().filter(|t| !managed(t) || is_wanted(t)).cloned().collect();
    for (key, effect) in &wanted {
        if !new.iter().any(|t| t.key == *key && t.effect == *effect) {
            new.push(Taint { key: (*key).to_owned(), effect: (*effect).to_owned(), value: None, time_added: Some(time(now)) });
        }
    }
    (new != old).then_some(new)
}

/// Whether the new taints make pods leave that may stay now.
pub fn starts_evicting(node: &Node, new: &[Taint]) -> bool {
    let old = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    let evicts = |taints: &[Taint]| taints.iter().any(|t| t.effect == "NoExecute" && (t.key == NOT_READY || t.key == UNREACHABLE));
    evicts(new) && !evicts(old)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::at;
    use serde_json::json;

    fn node(ready: &str, taints: &[(&str, &str)]) -> Node {
        let taints: Vec<_> = taints.iter().map(|(k, e)| json!({"key": k, "effect": e})).collect();
        let conditions = if ready.is_empty() { json!([]) } else { json!([{"type": "Ready", "status": ready}]) };
        serde_json::from_value(json!({
            "metadata": {"name": "n", "creationTimestamp": at(0).to_string()},
            "spec": {"taints": taints}, "status": {"conditions": conditions}
        }))
        .unwrap()
    }

    fn told(node: &Node, evictions: Evictions) -> String {
        let Some(taints) = taints(node, evictions, at(5)) else {
            return "same".to_owned();
        };
        let words = taints.iter().map(|t| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect));
        words.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn taints_follow_the_conditions() {
        use Evictions::{Allowed, Later, Stopped};
        let (ns, ne) = ("NoSchedule", "NoExecute");
        let table = [
            (node("True", &[(NOT_READY, ns)]), Allowed, ""),
            (node("True", &[("mine", ns)]), Allowed, "same"),
            (node("False", &[]), Allowed, "not-ready:NoSchedule not-ready:NoExecute"),
            (node("False", &[]), Later, "not-ready:NoSchedule"),
            (node("False", &[]), Stopped, "not-ready:NoSchedule"),
            (node("Unknown", &[(NOT_READY, ns), (NOT_READY, ne)]), Later, "unreachable:NoSchedule unreachable:NoExecute"),
            (node("True", &[(UNREACHABLE, ns), (UNREACHABLE, ne), ("mine", ne)]), Allowed, "mine:NoExecute"),
            (node("", &[]), Allowed, "same"),
        ];
        for (node, evictions, expected) in table {
            assert_eq!(told(&node, evictions), expected, "{:?}", node.spec);
        }
    }

    #[test]
    fn a_silent_node_becomes_unknown_by_our_clock() {
        let n = node("True", &[]);
        let lease = |at: Timestamp| -> Lease { serde_json::from_value(json!({"spec": {"renewTime": format!("{at:.6}")}})).unwrap() };
        let first = Health::next(None, &n, Some(&lease(at(10))), at(1000));
        assert!(!first.is_silent(&n, at(1050)));
        assert!(first.is_silent(&n, at(1051)));
        let same = Health::next(Some(&first), &n, Some(&lease(at(10))), at(1040));
        assert!(same.is_silent(&n, at(1051)), "the same lease is no sign of life");
        let renewed = Health::next(Some(&first), &n, Some(&lease(at(20))), at(1040));
        assert!(!renewed.is_silent(&n, at(1051)));
        let conditions = silent_conditions(&n, at(1051)).unwrap();
        assert_eq!(conditions.len(), 4);
        assert_eq!(conditions[0].message.as_deref(), Some("Kubelet stopped posting node status."));
        let never = node("", &[]);
        let health = Health::next(None, &never, None, at(30));
        assert!(!health.is_silent(&never, at(60)));
        assert!(health.is_silent(&never, at(61)));
    }
}
