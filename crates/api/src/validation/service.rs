//! Services.

use std::collections::BTreeSet;

use serde_json::Value;

use super::at::At;
use super::pod::port;
use super::{format, ip, labels};
use crate::field::{Error, ErrorList, Path};

/// How long a client may stay with one endpoint: a day, in seconds.
const MAX_AFFINITY: i64 = 86_400;
const ONLY_LOAD_BALANCER: &str = "may only be used when `type` is 'LoadBalancer'";
const FIXED: &str = "may not change once set";

pub(super) fn create(o: &At<'_, '_>, errs: &mut ErrorList) {
    service(o, None, errs);
}

pub(super) fn update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let external = [&spec, &before].iter().any(|s| s.get("type").str() == "ExternalName");
    if !external {
        changed_cluster_ips(&spec, &before, errs);
        changed_families(&spec, &before, errs);
    }
    let both = |field: &str| [&spec, &before].iter().all(|s| s.get("type").str() == field);
    let class = spec.get("loadBalancerClass");
    if both("LoadBalancer") && class.value() != before.get("loadBalancerClass").value() {
        class.invalid(errs, FIXED);
    }
    if needs_health_check(&spec)
        && needs_health_check(&before)
        && spec.get("healthCheckNodePort").value() != before.get("healthCheckNodePort").value()
    {
        spec.get("healthCheckNodePort").forbidden(errs, "field is immutable");
    }
    service(new, Some(old), errs);
}

fn texts<'v>(list: &At<'_, 'v>) -> Vec<&'v str> {
    list.items().map(|i| i.str()).collect()
}

fn is_headless(spec: &At<'_, '_>) -> bool {
    texts(&spec.get("clusterIPs")) == ["None"]
}

fn needs_health_check(spec: &At<'_, '_>) -> bool {
    spec.get("type").str() == "LoadBalancer" && spec.get("externalTrafficPolicy").str() == "Local"
}

fn changed_cluster_ips(spec: &At<'_, '_>, before: &At<'_, '_>, errs: &mut ErrorList) {
    if is_headless(spec) && is_headless(before) {
        return;
    }
    let list = spec.get("clusterIPs");
    let (new, old) = (texts(&list), texts(&before.get("clusterIPs")));
    let mut refuse = |i: usize, why: &str| errs.push(Error::invalid(&list.path().index(i), list.value().clone(), why));
    if new.len() == old.len() {
        for i in (0..old.len()).filter(|i| new.get(*i) != old.get(*i)) {
            refuse(i, FIXED);
        }
        return;
    }
    if new.is_empty() {
        return refuse(0, "primary clusterIP can not be unset");
    }
    if !old.is_empty() && new.first() != old.first() {
        refuse(0, FIXED);
    }
    let policy = spec.get("ipFamilyPolicy");
    if old.len() > new.len() && policy.str() != "SingleStack" {
        policy.invalid(errs, "must be set to 'SingleStack' when releasing the secondary clusterIP");
    }
}

fn changed_families(spec: &At<'_, '_>, before: &At<'_, '_>, errs: &mut ErrorList) {
    if is_headless(spec) || is_headless(before) {
        return;
    }
    let list = spec.get("ipFamilies");
    let (new, old) = (texts(&list), texts(&before.get("ipFamilies")));
    let mut refuse = |why: &str| errs.push(Error::invalid(&list.path().index(0), list.value().clone(), why));
    if new.len() == old.len() {
        (0..old.len()).filter(|i| new.get(*i) != old.get(*i)).for_each(|_| refuse(FIXED));
        return;
    }
    if !new.is_empty() && !old.is_empty() && new.first() != old.first() {
        refuse(FIXED);
    }
    let policy = spec.get("ipFamilyPolicy");
    if old.len() > new.len() && new.len() == 1 && policy.str() != "SingleStack" {
        policy.invalid(errs, "must be set to 'SingleStack' when releasing the secondary ipFamily");
    }
}

fn service(o: &At<'_, '_>, old: Option<&At<'_, '_>>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let kind = spec.get("type").str();
    let list = spec.get("ports");
    if list.is_empty() && !is_headless(&spec) && kind != "ExternalName" {
        list.required(errs, "");
    }
    by_type(&spec, errs);
    ports(&spec, errs);
    labels::labels(&spec.get("selector"), errs);
    affinity(&spec, errs);
    let before = old.map(|o| o.get("spec").value().clone()).unwrap_or_default();
    let before = At::root(&before);
    cluster_ips(&spec, &before, errs);
    let kept = before.get("externalIPs");
    for address in spec.get("externalIPs").items() {
        if ip::legacy(&address, &texts(&kept), errs) {
            ip::endpoint(&address, errs);
        }
    }
    spec.get("type").required_one_of(errs, &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], "");
    node_ports(&spec, errs);
    load_balancer(o, &spec, errs);
    traffic_policies(&spec, errs);
}

fn by_type(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let kind = spec.get("type").str();
    match kind {
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let path = spec.get("clusterIPs").path().index(0);
            errs.push(Error::invalid(&path, "None", &format!("may not be set to 'None' for {kind} services")));
        }
        "ExternalName" => {
            for field in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
                if !spec.get(field).is_empty() {
                    spec.get(field).forbidden(errs, "may not be set for ExternalName services");
                }
            }
            let name = spec.get("externalName");
            let text = name.str().strip_suffix('.').unwrap_or(name.str());
            if text.is_empty() {
                name.required(errs, "");
            }
            for detail in format::subdomain(text).iter().filter(|_| !text.is_empty()) {
                name.invalid_shown(errs, text, detail);
            }
        }
        _ => {}
    }
}

fn ports(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let list = spec.get("ports");
    let mut names = BTreeSet::new();
    for p in list.items() {
        let name = p.get("name");
        if name.is_empty() {
            if list.len() > 1 {
                name.required(errs, "");
            }
        } else {
            name.complain(errs, format::label_1123(name.str()));
            if !names.insert(name.str()) {
                name.duplicate(errs);
            }
        }
        let number = p.get("port").int().unwrap_or(0);
        for detail in format::port_number(number) {
            p.get("port").invalid_shown(errs, number, &detail);
        }
        p.get("protocol").required_one_of(errs, &["SCTP", "TCP", "UDP"], "");
        port(&p.get("targetPort"), errs);
        let app = p.get("appProtocol");
        if app.is_set() {
            app.complain(errs, format::qualified_name(app.str()));
        }
    }
}

fn affinity(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let (kind, config) = (spec.get("sessionAffinity"), spec.get("sessionAffinityConfig"));
    kind.required_one_of(errs, &["ClientIP", "None"], "");
    match kind.str() {
        "ClientIP" => {
            const WHY: &str = "when session affinity type is ClientIP";
            let client = config.get("clientIP");
            let timeout = client.get("timeoutSeconds");
            match [&config, &client, &timeout].iter().find(|at| !at.is_set()) {
                Some(missing) => missing.required(errs, WHY),
                None if timeout.int().is_none_or(|s| s <= 0 || s > MAX_AFFINITY) => {
                    timeout.invalid(errs, &format!("must be greater than 0 and less than {MAX_AFFINITY}"));
                }
                None => {}
            }
        }
        "None" if config.is_set() => config.forbidden(errs, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn cluster_ips(spec: &At<'_, '_>, before: &At<'_, '_>, errs: &mut ErrorList) {
    if spec.get("type").str() == "ExternalName" {
        return;
    }
    let (one, list, families) = (spec.get("clusterIP"), spec.get("clusterIPs"), spec.get("ipFamilies"));
    let all = texts(&list);
    match (one.str(), all.first()) {
        ("", Some(_)) => list.invalid(errs, "must be empty when `clusterIP` is not specified"),
        ("", None) => {}
        (_, None) => list.required(errs, ""),
        (ip, Some(first)) if ip != *first => list.invalid(errs, "first value must match `clusterIP`"),
        _ => {}
    }
    let mut seen = BTreeSet::new();
    for family in families.items() {
        family.one_of(errs, &["IPv4", "IPv6"]);
        if !seen.insert(family.str()) {
            family.duplicate(errs);
        }
    }
    if spec.get("ipFamilyPolicy").is_set() {
        spec.get("ipFamilyPolicy").one_of(errs, &["PreferDualStack", "RequireDualStack", "SingleStack"]);
    }
    let kept = before.get("clusterIPs");
    let count = errs.len();
    for (i, address) in list.items().enumerate() {
        if i == 0 && address.str() == "None" {
            if all.len() > 1 {
                list.invalid(errs, "'None' must be the first and only value");
            }
        } else {
            ip::legacy(&address, &texts(&kept), errs);
        }
    }
    let bad = errs.len() > count;
    if all.len() > 2 {
        list.invalid(errs, "may only hold up to 2 values");
    }
    if bad || all.first() == Some(&"None") {
        return;
    }
    if all.len() > 1 && !ip::is_dual_stack(all.iter().copied()) {
        list.invalid(errs, "may specify no more than one IP for each IP family");
    }
    for (i, (address, family)) in list.items().zip(families.items()).enumerate() {
        let is_v6 = ip::parse(address.str()).is_some_and(|ip| ip.is_ipv6());
        let wanted = family.str();
        if matches!((wanted, is_v6), ("IPv4", true) | ("IPv6", false)) {
            address.invalid(errs, &format!("expected an {wanted} value as indicated by `ipFamilies[{i}]`"));
        }
    }
}

fn node_ports(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let is_cluster_ip = spec.get("type").str() == "ClusterIP";
    let (mut nodes, mut ports) = (BTreeSet::new(), BTreeSet::new());
    let list = spec.get("ports");
    for p in list.items() {
        let node = p.get("nodePort");
        if node.is_empty() {
            continue;
        }
        if is_cluster_ip {
            node.forbidden(errs, "may not be used when `type` is 'ClusterIP'");
        }
        if !nodes.insert((p.get("protocol").str(), node.int())) {
            node.duplicate(errs);
        }
    }
    for p in list.items() {
        let (protocol, number) = (p.get("protocol").str(), p.get("port").int().unwrap_or(0));
        if !ports.insert((protocol, number)) {
            // Upstream shows its internal struct here, with every field.
            let shown = serde_json::json!({"protocol": protocol, "port": number});
            errs.push(Error::duplicate(&p.path(), shown));
        }
    }
}

fn load_balancer(o: &At<'_, '_>, spec: &At<'_, '_>, errs: &mut ErrorList) {
    const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let is_balancer = spec.get("type").str() == "LoadBalancer";
    let ranges = spec.get("loadBalancerSourceRanges");
    let metadata = o.get("metadata");
    let annotation = metadata.get("annotations").value().get(RANGES).and_then(Value::as_str);
    if !ranges.is_empty() {
        // Upstream spells this path with a capital.
        let path = spec.path().child("LoadBalancerSourceRanges");
        if !is_balancer {
            errs.push(Error::forbidden(&path, ONLY_LOAD_BALANCER));
        }
        for (i, range) in ranges.items().enumerate() {
            let mut own = ErrorList::new();
            ip::cidr(&range, range.str().trim(), &mut own);
            errs.extend(own.into_iter().map(|e| Error { field: path.index(i), ..e }));
        }
    } else if let Some(text) = annotation {
        let path = Path::new("metadata").child("annotations").key(RANGES);
        if !is_balancer {
            errs.push(Error::forbidden(&path, ONLY_LOAD_BALANCER));
        }
        for range in text.split(',').map(str::trim).filter(|r| !r.is_empty()) {
            let mut own = ErrorList::new();
            ip::cidr(&metadata, range, &mut own);
            errs.extend(own.into_iter().map(|e| Error { field: path.clone(), ..e }));
        }
    }
    let allocate = spec.get("allocateLoadBalancerNodePorts");
    if allocate.is_set() && !is_balancer {
        allocate.forbidden(errs, ONLY_LOAD_BALANCER);
    }
    if is_balancer && !allocate.is_set() {
        errs.push(Error::required(&Path::new("allocateLoadBalancerNodePorts"), ""));
    }
    let class = spec.get("loadBalancerClass");
    if class.is_set() {
        if is_balancer {
            class.complain(errs, format::qualified_name(class.str()));
        } else {
            class.forbidden(errs, ONLY_LOAD_BALANCER);
        }
    }
}

fn traffic_policies(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let kind = spec.get("type").str();
    let reachable = matches!(kind, "LoadBalancer" | "NodePort") || (kind == "ClusterIP" && !spec.get("externalIPs").is_empty());
    let external = spec.get("externalTrafficPolicy");
    if reachable {
        external.required_one_of(errs, &["Cluster", "Local"], "");
    } else if !external.is_empty() {
        external.invalid(errs, "may only be set for externally-accessible services");
    }
    let check = spec.get("healthCheckNodePort");
    let number = check.int().unwrap_or(0);
    if !needs_health_check(spec) {
        if number != 0 {
            check.invalid(errs, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
        }
    } else if number == 0 {
        check.required(errs, "");
    } else {
        format::port_number(number).iter().for_each(|detail| check.invalid(errs, detail));
    }
    let internal = spec.get("internalTrafficPolicy");
    if internal.is_set() {
        internal.one_of(errs, &["Cluster", "Local"]);
    } else if matches!(kind, "NodePort" | "LoadBalancer" | "ClusterIP") {
        internal.required(errs, "");
    }
    if spec.get("trafficDistribution").is_set() {
        spec.get("trafficDistribution").one_of(errs, &["PreferClose", "PreferSameNode", "PreferSameZone"]);
    }
}

pub(super) fn status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (status, spec) = (new.get("status"), new.get("spec"));
    let balancer = status.get("loadBalancer");
    let list = balancer.get("ingress");
    if spec.get("type").str() != "LoadBalancer" && !list.is_empty() {
        return list.forbidden(errs, "may only be used when `spec.type` is 'LoadBalancer'");
    }
    let before = old.get("status");
    let before = before.get("loadBalancer");
    let kept: Vec<&str> = before.get("ingress").items().map(|i| i.get("ip").str()).collect();
    for ingress in list.items() {
        let (address, mode, host) = (ingress.get("ip"), ingress.get("ipMode"), ingress.get("hostname"));
        if !address.is_empty() {
            ip::legacy(&address, &kept, errs);
        }
        match (mode.is_set(), address.is_empty()) {
            (false, false) => mode.required(errs, "must be specified when `ip` is set"),
            (true, true) => mode.forbidden(errs, "may not be specified when `ip` is not set"),
            (true, false) => mode.one_of(errs, &["Proxy", "VIP"]),
            (false, true) => {}
        }
        if !host.is_empty() {
            host.complain(errs, format::subdomain(host.str()));
            if ip::parse(host.str()).is_some() {
                host.invalid(errs, "must be a DNS name, not an IP address");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::validation::tests::shown;
    use crate::validation::{create, update};

    fn service(spec: Value) -> Value {
        let mut o = json!({"metadata": {"name": "s", "namespace": "default", "resourceVersion": "1"}, "spec": spec});
        crate::defaults::apply(("", "v1", "Service"), &mut o);
        o
    }

    #[test]
    fn bad_services_are_refused() {
        for (spec, want) in [
            (json!({"ports": [{"port": 80}]}), vec![]),
            (json!({"clusterIP": "None", "clusterIPs": ["None"]}), vec![]),
            (json!({}), vec!["spec.ports: Required value"]),
            (
                json!({"ports": [{"port": 0}]}),
                vec![
                    "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
                    "spec.ports[0].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
                ],
            ),
            (json!({"ports": [{"port": 80}, {"port": 81, "name": "b"}]}), vec!["spec.ports[0].name: Required value"]),
            (
                json!({"ports": [{"port": 80, "nodePort": 30000}]}),
                vec!["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
            ),
            (
                json!({"type": "X", "ports": [{"port": 80}]}),
                vec![
                    "spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \"NodePort\"",
                ],
            ),
            (json!({"type": "ExternalName"}), vec!["spec.externalName: Required value"]),
            (
                json!({"clusterIP": "x", "clusterIPs": ["x"], "ports": [{"port": 80}]}),
                vec!["spec.clusterIPs[0]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
            ),
            (
                json!({"ports": [{"port": 80}], "externalIPs": ["127.0.0.1"]}),
                vec!["spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)"],
            ),
            (
                json!({"ports": [{"port": 80}], "sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}),
                vec!["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than 86400"],
            ),
            (
                json!({"ports": [{"port": 80}], "externalTrafficPolicy": "Local"}),
                vec!["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"],
            ),
            (
                json!({"ports": [{"port": 80}], "loadBalancerSourceRanges": ["1.2.3.4/33"]}),
                vec![
                    "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
                    "spec.LoadBalancerSourceRanges[0]: Invalid value: \"1.2.3.4/33\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
                ],
            ),
        ] {
            assert_eq!(shown(&create("", "v1", "Service", &service(spec.clone()))), want, "{spec}");
        }
    }

    #[test]
    fn the_cluster_address_stays() {
        let with = |ip: &str| service(json!({"clusterIP": ip, "clusterIPs": [ip], "ports": [{"port": 80}]}));
        assert_eq!(shown(&update("", "v1", "Service", &with("10.0.0.1"), &with("10.0.0.1"))), [""; 0]);
        assert_eq!(
            shown(&update("", "v1", "Service", &with("10.0.0.2"), &with("10.0.0.1"))),
            ["spec.clusterIPs[0]: Invalid value: [\"10.0.0.2\"]: may not change once set"]
        );
    }
}
