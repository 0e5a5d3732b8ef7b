//! Ingresses, their classes, and network policies.

use super::at::At;
use super::{format, ip, labels};
use crate::field::{Error, ErrorList, Path};

/// The longest name of an ingress controller, in bytes.
const MAX_CONTROLLER: usize = 250;

pub(super) fn ingress(o: &At<'_, '_>, errs: &mut ErrorList) {
    const CLASS: &str = "kubernetes.io/ingress.class";
    ingress_spec(o, errs);
    let (metadata, spec) = (o.get("metadata"), o.get("spec"));
    let annotation = metadata.get("annotations").value().get(CLASS).and_then(serde_json::Value::as_str);
    let class = spec.get("ingressClassName");
    if let Some(text) = annotation
        && class.is_set()
        && class.str() != text
    {
        let path = Path::new("annotations").child(CLASS);
        errs.push(Error::invalid(&path, text, "must match `ingressClassName` when both are specified"));
    }
}

pub(super) fn ingress_update(new: &At<'_, '_>, _: &At<'_, '_>, errs: &mut ErrorList) {
    ingress_spec(new, errs);
}

fn ingress_spec(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let (rules, default, class) = (spec.get("rules"), spec.get("defaultBackend"), spec.get("ingressClassName"));
    if rules.is_empty() && !default.is_set() {
        spec.invalid_shown(errs, rules.value().clone(), "either `defaultBackend` or `rules` must be specified");
    }
    if default.is_set() {
        backend(&default, errs);
    }
    for rule in rules.items() {
        host(&rule.get("host"), errs);
        let http = rule.get("http");
        if !http.is_set() {
            continue;
        }
        let paths = http.get("paths");
        if paths.is_empty() {
            paths.required(errs, "");
        }
        paths.items().for_each(|p| http_path(&p, errs));
    }
    for tls in spec.get("tls").items() {
        for name in tls.get("hosts").items() {
            let check = if name.str().contains('*') { format::wildcard_subdomain } else { format::subdomain };
            name.complain(errs, check(name.str()));
        }
        let secret = tls.get("secretName");
        if !secret.is_empty() {
            secret.complain(errs, format::subdomain(secret.str()));
        }
    }
    if class.is_set() {
        class.complain(errs, format::subdomain(class.str()));
    }
}

fn host(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.is_empty() {
        return;
    }
    if ip::parse(at.str()).is_some() {
        at.invalid(errs, "must be a DNS name, not an IP address");
    }
    let check = if at.str().contains('*') { format::wildcard_subdomain } else { format::subdomain };
    at.complain(errs, check(at.str()));
}

fn http_path(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (kind, path) = (at.get("pathType"), at.get("path"));
    if !kind.is_set() {
        return kind.required(errs, "pathType must be specified");
    }
    let text = path.str();
    let absolute = text.starts_with('/');
    match kind.str() {
        "Exact" | "Prefix" => {
            if !absolute {
                path.invalid_str(errs, "must be an absolute path");
            }
            for bad in ["//", "/./", "/../", "%2f", "%2F"].iter().filter(|bad| text.contains(**bad)) {
                path.invalid_str(errs, &format!("must not contain '{bad}'"));
            }
            for bad in ["/..", "/."].iter().filter(|bad| text.ends_with(**bad)) {
                path.invalid_str(errs, &format!("cannot end with '{bad}'"));
            }
        }
        "ImplementationSpecific" if !text.is_empty() && !absolute => path.invalid_str(errs, "must be an absolute path"),
        "ImplementationSpecific" => {}
        _ => kind.one_of(errs, &["Exact", "ImplementationSpecific", "Prefix"]),
    }
    backend(&at.get("backend"), errs);
}

fn backend(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (resource, service) = (at.get("resource"), at.get("service"));
    match (resource.is_set(), service.is_set()) {
        (true, true) => at.invalid_shown(errs, "", "cannot set both resource and service backends"),
        (true, false) => typed_reference(&resource, errs),
        (false, true) => {
            let (name, port) = (service.get("name"), service.get("port"));
            if name.is_empty() {
                name.required(errs, "");
            } else {
                name.complain(errs, format::label_1123(name.str()));
            }
            let (port_name, number) = (port.get("name"), port.get("number"));
            match (port_name.is_empty(), number.is_empty()) {
                (false, false) => at.invalid_shown(errs, "", "cannot set both port name & port number"),
                (false, true) => port_name.complain(errs, format::port_name(port_name.str())),
                (true, false) => {
                    format::port_number(number.int().unwrap_or(0)).iter().for_each(|detail| number.invalid(errs, detail));
                }
                (true, true) => at.required(errs, "port name or number is required"),
            }
        }
        (false, false) => at.invalid_shown(errs, "", "resource or service backend is required"),
    }
}

fn typed_reference(at: &At<'_, '_>, errs: &mut ErrorList) {
    let group = at.get("apiGroup");
    if group.is_set() {
        group.complain(errs, format::subdomain(group.str()));
    }
    for field in ["kind", "name"] {
        let value = at.get(field);
        if value.is_empty() {
            value.required(errs, "");
        } else {
            value.complain(errs, format::path_segment(value.str()));
        }
    }
}

pub(super) fn ingress_status(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (status, before) = (new.get("status"), old.get("status"));
    let (balancer, was) = (status.get("loadBalancer"), before.get("loadBalancer"));
    let kept: Vec<&str> = was.get("ingress").items().map(|i| i.get("ip").str()).collect();
    for point in balancer.get("ingress").items() {
        let (address, name) = (point.get("ip"), point.get("hostname"));
        if !address.is_empty() {
            ip::legacy(&address, &kept, errs);
        }
        if !name.is_empty() {
            name.complain(errs, format::subdomain(name.str()));
            if ip::parse(name.str()).is_some() {
                name.invalid(errs, "must be a DNS name, not an IP address");
            }
        }
    }
}

pub(super) fn ingress_class(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    let (controller, parameters) = (spec.get("controller"), spec.get("parameters"));
    if controller.str().len() > MAX_CONTROLLER {
        controller.too_long(errs, MAX_CONTROLLER);
    }
    if controller.is_empty() {
        controller.required(errs, "");
    } else if let Some(why) = format::domain_prefixed(controller.str()) {
        controller.invalid(errs, why);
    }
    if !parameters.is_set() {
        return;
    }
    typed_reference(&parameters, errs);
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    scope.required_one_of(errs, &["Cluster", "Namespace"], "");
    match (scope.str(), namespace.is_set()) {
        ("Namespace", false) => namespace.required(errs, "`parameters.scope` is set to 'Namespace'"),
        ("Namespace", true) => namespace.complain(errs, format::label_1123(namespace.str())),
        ("Cluster", true) => namespace.forbidden(errs, "`parameters.scope` is set to 'Cluster'"),
        _ => {}
    }
}

pub(super) fn ingress_class_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    spec.get("controller").immutable(&before.get("controller"), errs);
    ingress_class(new, errs);
}

pub(super) fn network_policy(o: &At<'_, '_>, errs: &mut ErrorList) {
    let spec = o.get("spec");
    labels::selector(&spec.get("podSelector"), errs);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for rule in spec.get(direction).items() {
            rule.get("ports").items().for_each(|p| policy_port(&p, errs));
            rule.get(peers).items().for_each(|p| peer(&p, errs));
        }
    }
    let kinds = spec.get("policyTypes");
    if kinds.len() > 2 {
        return kinds.invalid(errs, "may not specify more than two policyTypes");
    }
    kinds.items().for_each(|k| k.one_of(errs, &["Egress", "Ingress"]));
}

fn policy_port(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (protocol, port, end) = (at.get("protocol"), at.get("port"), at.get("endPort"));
    if protocol.is_set() {
        protocol.one_of(errs, &["SCTP", "TCP", "UDP"]);
    }
    match (port.int(), port.is_set()) {
        (Some(number), _) => {
            format::port_number(number).iter().for_each(|detail| port.invalid(errs, detail));
            if let Some(last) = end.int() {
                if last < number {
                    end.invalid_shown(errs, number, "must be greater than or equal to `port`");
                }
                format::port_number(last).iter().for_each(|detail| end.invalid(errs, detail));
            }
        }
        (None, true) => {
            if end.is_set() {
                end.invalid(errs, "may not be specified when `port` is non-numeric");
            }
            port.complain(errs, format::port_name(port.str()));
        }
        (None, false) if end.is_set() => end.invalid(errs, "may not be specified when `port` is not specified"),
        (None, false) => {}
    }
}

fn peer(at: &At<'_, '_>, errs: &mut ErrorList) {
    let (pods, namespaces, block) = (at.get("podSelector"), at.get("namespaceSelector"), at.get("ipBlock"));
    labels::selector(&pods, errs);
    labels::selector(&namespaces, errs);
    if block.is_set() {
        ip_block(&block, errs);
    }
    let selects = pods.is_set() || namespaces.is_set();
    if !selects && !block.is_set() {
        at.required(errs, "must specify a peer");
    } else if selects && block.is_set() {
        at.forbidden(errs, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(at: &At<'_, '_>, errs: &mut ErrorList) {
    let cidr = at.get("cidr");
    if cidr.is_empty() {
        return cidr.required(errs, "");
    }
    ip::cidr(&cidr, cidr.str(), errs);
    let Ok(whole) = cidr.str().parse::<ipnet::IpNet>() else { return };
    for except in at.get("except").items() {
        ip::cidr(&except, except.str(), errs);
        let Ok(part) = except.str().parse::<ipnet::IpNet>() else { continue };
        if !whole.contains(&part.addr()) || whole.prefix_len() >= part.prefix_len() {
            except.invalid(errs, "must be a strict subset of `cidr`");
        }
    }
}
