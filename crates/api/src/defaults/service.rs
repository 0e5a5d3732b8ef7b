//! Defaults of services, endpoints and the networking kinds.

use serde_json::{Value, json};

use super::tree::{self, Object};

/// How long a client stays with one endpoint: three hours, in seconds.
const AFFINITY_SECONDS: u32 = 10_800;

pub(super) fn service(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    affinity(spec);
    tree::set_empty(spec, "type", "ClusterIP");
    for port in tree::each(spec, "ports") {
        tree::set_empty(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            tree::set_empty(port, "targetPort", number);
        }
    }
    let kind = tree::text(spec, "type").to_owned();
    let reachable = matches!(kind.as_str(), "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !tree::is_empty(spec, "externalIPs"));
    if reachable {
        tree::set_empty(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        tree::set_absent(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind != "LoadBalancer" {
        return;
    }
    tree::set_absent(spec, "allocateLoadBalancerNodePorts", true);
    if let Some(balancer) = tree::descend(o, &["status", "loadBalancer"]) {
        for ingress in tree::each(balancer, "ingress") {
            if !tree::is_empty(ingress, "ip") {
                tree::set_absent(ingress, "ipMode", "VIP");
            }
        }
    }
}

fn affinity(spec: &mut Object) {
    tree::set_empty(spec, "sessionAffinity", "None");
    match tree::text(spec, "sessionAffinity") {
        "None" => {
            spec.remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let told = tree::descend(spec, &["sessionAffinityConfig", "clientIP"]).is_some_and(|c| !tree::is_absent(c, "timeoutSeconds"));
            if !told {
                let config = json!({"clientIP": {"timeoutSeconds": AFFINITY_SECONDS}});
                spec.insert("sessionAffinityConfig".to_owned(), config);
            }
        }
        _ => {}
    }
}

pub(super) fn endpoints(o: &mut Object) {
    for subset in tree::each(o, "subsets") {
        for port in tree::each(subset, "ports") {
            tree::set_empty(port, "protocol", "TCP");
        }
    }
}

pub(super) fn endpoint_slice(o: &mut Object) {
    for port in tree::each(o, "ports") {
        tree::set_absent(port, "name", "");
        tree::set_absent(port, "protocol", "TCP");
    }
}

pub(super) fn network_policy(o: &mut Object) {
    let Some(spec) = tree::grow(o, "spec") else { return };
    if tree::is_empty(spec, "policyTypes") {
        let mut types = vec![Value::from("Ingress")];
        if !tree::is_empty(spec, "egress") {
            types.push("Egress".into());
        }
        spec.insert("policyTypes".to_owned(), types.into());
    }
    for direction in ["ingress", "egress"] {
        for rule in tree::each(spec, direction) {
            for port in tree::each(rule, "ports") {
                tree::set_absent(port, "protocol", "TCP");
            }
        }
    }
}

pub(super) fn ingress_class(o: &mut Object) {
    if let Some(parameters) = tree::descend(o, &["spec", "parameters"]) {
        tree::set_absent(parameters, "scope", "Cluster");
    }
}
