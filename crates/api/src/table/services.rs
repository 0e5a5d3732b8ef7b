//! Rows of services and endpoints.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::row::{NONE, Row, UNKNOWN, int, list, or, text};

/// At most this many addresses are shown.
const SHOWN: usize = 3;

pub(super) fn service(row: &Row<'_>) -> Vec<Value> {
    let ports: Vec<String> = row.list("/spec/ports").iter().map(port).collect();
    vec![
        row.name(),
        json!(row.text("/spec/type")),
        json!(row.text_or("/spec/clusterIPs/0", NONE)),
        json!(external_ip(row)),
        json!(or(&ports.join(","), NONE)),
        row.age(),
        row.labels("/spec/selector"),
    ]
}

fn port(port: &Value) -> String {
    let (number, protocol) = (int(port.get("port")), text(port.get("protocol")));
    match int(port.get("nodePort")) {
        node if node > 0 => format!("{number}:{node}/{protocol}"),
        _ => format!("{number}/{protocol}"),
    }
}

fn external_ip(row: &Row<'_>) -> String {
    let external: Vec<&str> = row.list("/spec/externalIPs").iter().map(|v| text(Some(v))).collect();
    match row.text("/spec/type") {
        "ClusterIP" | "NodePort" => or(&external.join(","), NONE).to_owned(),
        "LoadBalancer" => {
            let balancer = balancer_addresses(row);
            let all: Vec<&str> = balancer.iter().map(String::as_str).chain(external).collect();
            or(&all.join(","), "<pending>").to_owned()
        }
        "ExternalName" => row.text("/spec/externalName").to_owned(),
        _ => UNKNOWN.to_owned(),
    }
}

/// The addresses that a load balancer got, sorted.
pub(super) fn balancer_addresses(row: &Row<'_>) -> BTreeSet<String> {
    let address = |i: &Value| or(text(i.get("ip")), text(i.get("hostname"))).to_owned();
    row.list("/status/loadBalancer/ingress").iter().map(address).filter(|a| !a.is_empty()).collect()
}

pub(super) fn endpoints(row: &Row<'_>) -> Vec<Value> {
    vec![row.name(), json!(addresses(row.list("/subsets"))), row.age()]
}

fn addresses(subsets: &[Value]) -> String {
    if subsets.is_empty() {
        return NONE.to_owned();
    }
    let mut shown: Vec<String> = Vec::new();
    let mut count = 0;
    for subset in subsets {
        let addresses = list(subset.get("addresses"));
        let ports = list(subset.get("ports"));
        // Headless services may have no ports at all.
        let ports: Vec<Option<i64>> = if ports.is_empty() { vec![None] } else { ports.iter().map(|p| Some(int(p.get("port")))).collect() };
        for port in ports {
            count += addresses.len();
            for address in addresses.iter().take(SHOWN.saturating_sub(shown.len())) {
                shown.push(host_port(text(address.get("ip")), port));
            }
        }
    }
    let joined = shown.join(",");
    if count > SHOWN { format!("{joined} + {} more...", count - SHOWN) } else { joined }
}

fn host_port(host: &str, port: Option<i64>) -> String {
    match port {
        None => host.to_owned(),
        Some(port) if host.contains(':') => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
    }
}
