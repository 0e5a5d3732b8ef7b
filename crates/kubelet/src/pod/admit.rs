//! Whether the node can take a pod: the checks that protect it from a scheduler that knew less than it does.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, NodeSelectorTerm, Pod};

use crate::quantity;
use crate::resources;
use crate::spec;
use crate::status::Imposed;

/// Why the node refuses a pod, or `None`. `others` are the pods that use the node already.
pub(super) fn check(pod: &Pod, others: &[Arc<Pod>], node: &Node) -> Option<Imposed> {
    let refuse = |reason: String, message: String| Some(Imposed { reason, message: format!("Pod was rejected: {message}") });
    if let Some(sysctl) = unsafe_sysctl(pod) {
        return refuse("SysctlForbidden".into(), format!("forbidden sysctl: {sysctl}"));
    }
    if !selects(pod, node) {
        return refuse("NodeAffinity".into(), "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".into());
    }
    if others.iter().any(|other| ports_conflict(pod, other)) {
        return refuse("NodePorts".into(), "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports".into());
    }
    let allocatable = node.status.as_ref().and_then(|s| s.allocatable.as_ref())?;
    let wanted = resources::pod_requests(spec::of(pod)).into_iter().chain([("pods".to_owned(), 1000)]);
    for (name, wanted) in wanted.filter(|(_, wanted)| *wanted > 0) {
        let of = |p: &Pod| if name == "pods" { 1000 } else { resources::pod_requests(spec::of(p)).get(&name).copied().unwrap_or(0) };
        let used: i64 = others.iter().map(|p| of(p)).sum();
        let capacity = allocatable.get(&name).and_then(quantity::milli).unwrap_or(0);
        if used.saturating_add(wanted) > capacity {
            // CPU is counted in thousandths, all else in whole units.
            let unit = if name == "cpu" { 1 } else { 1000 };
            let [wanted, used, capacity] = [wanted, used, capacity].map(|n| n / unit);
            let message = format!("Node didn't have enough resource: {name}, requested: {wanted}, used: {used}, capacity: {capacity}");
            return refuse(format!("OutOf{name}"), message);
        }
    }
    None
}

/// The first sysctl that would reach beyond the pod, with upstream's reason.
fn unsafe_sysctl(pod: &Pod) -> Option<String> {
    const SAFE: [&str; 12] = [
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_wmem",
    ];
    let spec = spec::of(pod);
    for sysctl in spec.security_context.as_ref()?.sysctls.iter().flatten() {
        let name = sysctl.name.replace('/', ".");
        if name.starts_with("net.") && spec::host_network(spec) {
            return Some(format!("{:?} not allowed with host net enabled", sysctl.name));
        }
        if name.starts_with("kernel.") && spec.host_ipc == Some(true) {
            return Some(format!("{:?} not allowed with host ipc enabled", sysctl.name));
        }
        if !SAFE.contains(&name.as_str()) {
            return Some(format!("{:?} not allowlisted", sysctl.name));
        }
    }
    None
}

fn ports_conflict(a: &Pod, b: &Pod) -> bool {
    let ports = |pod: &Pod| -> Vec<(String, String, i32)> {
        let spec = spec::of(pod);
        let sidecars = spec::init(spec).iter().filter(|c| spec::is_sidecar(c));
        let all = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
        let used = all.filter_map(|p| Some((p, p.host_port.filter(|h| *h > 0)?)));
        used.map(|(p, port)| (p.protocol.clone().unwrap_or_else(|| "TCP".into()), p.host_ip.clone().unwrap_or_default(), port)).collect()
    };
    let any = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
    let theirs = ports(b);
    ports(a).iter().any(|(protocol, ip, port)| theirs.iter().any(|(p, i, n)| p == protocol && n == port && (i == ip || any(i) || any(ip))))
}

fn selects(pod: &Pod, node: &Node) -> bool {
    let spec = spec::of(pod);
    let empty = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&empty);
    if !spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value)) {
        return false;
    }
    let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|n| n.required_during_scheduling_ignored_during_execution.as_ref()) else { return true };
    let name = node.metadata.name.as_deref().unwrap_or_default();
    required.node_selector_terms.iter().any(|term| term_matches(term, labels, name))
}

fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term that asks nothing matches nothing.
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|r| requirement_matches(r, labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| requirement_matches(r, (r.key == "metadata.name").then_some(name)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|v| values.iter().any(|w| w == v));
    let compared = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared().is_some_and(|(have, limit)| have > limit),
        "Lt" => compared().is_some_and(|(have, limit)| have < limit),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap()
    }

    #[test]
    fn a_node_refuses_what_it_cannot_hold() {
        let node: Node = serde_json::from_value(json!({"metadata": {"name": "n", "labels": {"zone": "a"}}, "status": {"allocatable": {"cpu": "1", "memory": "1Gi", "pods": "2"}}})).unwrap();
        let busy = Arc::new(pod(
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "600m"}}, "ports": [{"containerPort": 80, "hostPort": 80}]}]}),
        ));
        let ask =
            |spec: serde_json::Value, others: usize| check(&pod(spec), &vec![busy.clone(); others], &node).map(|i| (i.reason, i.message));
        assert_eq!(ask(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "300m"}}}]}), 1), None);
        let cpu = ask(json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}), 1).unwrap();
        assert_eq!(
            cpu,
            (
                "OutOfcpu".into(),
                "Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000".into()
            )
        );
        assert_eq!(ask(json!({"containers": []}), 2).unwrap().0, "OutOfpods");
        let port = |ip: &str, protocol: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 1, "hostPort": 80, "hostIP": ip, "protocol": protocol}]}]});
        assert_eq!(ask(port("127.0.0.1", "TCP"), 1).unwrap().0, "NodePorts");
        assert_eq!(ask(port("", "UDP"), 1), None);
        assert_eq!(ask(json!({"containers": [], "nodeSelector": {"zone": "b"}}), 0).unwrap().0, "NodeAffinity");
        assert_eq!(ask(json!({"containers": [], "nodeSelector": {"zone": "a"}}), 0), None);
    }
}
