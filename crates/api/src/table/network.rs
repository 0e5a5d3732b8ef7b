//! Rows of ingresses, network policies, endpoint slices and address ranges.

use serde_json::{Value, json};

use super::row::{NONE, Row, UNSET, list, or, some_of, text};
use super::{Cells, services};

/// At most this many hosts, ports or endpoints are shown.
const SHOWN: usize = 3;

pub(super) fn cells(kind: &str) -> Option<Cells> {
    Some(match kind {
        "Ingress" => ingress,
        "IngressClass" => ingress_class,
        "NetworkPolicy" => |row| vec![row.name(), row.selector("/spec/podSelector"), row.age()],
        "EndpointSlice" => endpoint_slice,
        "ServiceCIDR" => service_cidr,
        "IPAddress" => ip_address,
        _ => return None,
    })
}

fn ingress(row: &Row<'_>) -> Vec<Value> {
    let addresses: Vec<String> = services::balancer_addresses(row).into_iter().collect();
    let ports = if row.list("/spec/tls").is_empty() { "80" } else { "80, 443" };
    vec![
        row.name(),
        json!(row.text_or("/spec/ingressClassName", NONE)),
        json!(hosts(row.list("/spec/rules"))),
        json!(addresses.join(",")),
        json!(ports),
        row.age(),
    ]
}

/// Rules beyond the third host are only counted, also those without a host.
fn hosts(rules: &[Value]) -> String {
    let mut shown: Vec<&str> = Vec::new();
    let mut more = false;
    for rule in rules {
        more |= shown.len() == SHOWN;
        let host = text(rule.get("host"));
        if !more && !host.is_empty() {
            shown.push(host);
        }
    }
    match (shown.is_empty(), more) {
        (true, _) => "*".to_owned(),
        (false, false) => shown.join(","),
        (false, true) => format!("{} + {} more...", shown.join(","), rules.len() - SHOWN),
    }
}

fn ingress_class(row: &Row<'_>) -> Vec<Value> {
    let mut name = row.text("/metadata/name").to_owned();
    if row.annotation("ingressclass.kubernetes.io/is-default-class") == Some("true") {
        name.push_str(" (default)");
    }
    let parameters = row.get("/spec/parameters").map_or_else(
        || NONE.to_owned(),
        |p| {
            let group = p.get("apiGroup").and_then(Value::as_str).map(|g| format!(".{g}")).unwrap_or_default();
            format!("{}{group}/{}", text(p.get("kind")), text(p.get("name")))
        },
    );
    vec![json!(name), json!(row.text("/spec/controller")), json!(parameters), row.age()]
}

fn endpoint_slice(row: &Row<'_>) -> Vec<Value> {
    let port = |p: &Value| match (p.get("port").and_then(Value::as_i64), p.get("name").and_then(Value::as_str)) {
        (Some(number), _) => number.to_string(),
        (None, Some(name)) => name.to_owned(),
        (None, None) => "*".to_owned(),
    };
    let ports: Vec<String> = row.list("/ports").iter().map(port).collect();
    let addresses = row.list("/endpoints").iter().flat_map(|e| list(e.get("addresses")));
    let addresses: Vec<String> = addresses.map(|a| text(Some(a)).to_owned()).collect();
    let shown = |words: &[String]| json!(or(&some_of(words, SHOWN, ","), UNSET));
    vec![row.name(), json!(row.text("/addressType")), shown(&ports), shown(&addresses), row.age()]
}

fn service_cidr(row: &Row<'_>) -> Vec<Value> {
    let ranges: Vec<&str> = row.list("/spec/cidrs").iter().map(|c| text(Some(c))).collect();
    vec![row.name(), json!(ranges.join(",")), row.age()]
}

fn ip_address(row: &Row<'_>) -> Vec<Value> {
    let parent = row.get("/spec/parentRef").map_or_else(
        || NONE.to_owned(),
        |p| {
            let (group, resource) = (text(p.get("group")), text(p.get("resource")));
            let of = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let namespace = text(p.get("namespace"));
            let slash = if namespace.is_empty() { "" } else { "/" };
            format!("{}{slash}{namespace}/{}", of.to_lowercase(), text(p.get("name")))
        },
    );
    vec![row.name(), json!(parent)]
}
