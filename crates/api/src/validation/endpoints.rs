//! Endpoints and endpoint slices.

use std::collections::BTreeSet;

use super::at::{At, same};
use super::{format, ip, labels};
use crate::field::{Error, ErrorList};

/// Endpoints in one slice.
const MAX_ENDPOINTS: usize = 1000;
/// Addresses of one endpoint.
const MAX_ADDRESSES: usize = 100;
/// Ports of one slice.
const MAX_PORTS: usize = 20_000;
/// Zones and nodes that an endpoint may be hinted to.
const MAX_HINTS: usize = 8;

pub(super) fn endpoints(o: &At<'_, '_>, errs: &mut ErrorList) {
    for subset in o.get("subsets").items() {
        let ports = subset.get("ports");
        if subset.get("addresses").is_empty() && subset.get("notReadyAddresses").is_empty() {
            subset.required(errs, "must specify `addresses` or `notReadyAddresses`");
        }
        for list in ["addresses", "notReadyAddresses"] {
            for address in subset.get(list).items() {
                let (text, host, node) = (address.get("ip"), address.get("hostname"), address.get("nodeName"));
                ip::legacy(&text, &[], errs);
                if !host.is_empty() {
                    host.complain(errs, format::label_1123(host.str()));
                }
                if node.is_set() {
                    node.complain(errs, format::subdomain(node.str()));
                }
                ip::endpoint(&text, errs);
            }
        }
        for port in ports.items() {
            let (name, number) = (port.get("name"), port.get("port"));
            if !name.is_empty() {
                name.complain(errs, format::label_1123(name.str()));
            } else if ports.len() > 1 {
                name.required(errs, "");
            }
            for detail in format::port_number(number.int().unwrap_or(0)) {
                number.invalid_shown(errs, number.int().unwrap_or(0), &detail);
            }
            port.get("protocol").required_one_of(errs, &["SCTP", "TCP", "UDP"], "");
            app_protocol(&port, errs);
        }
    }
}

fn app_protocol(port: &At<'_, '_>, errs: &mut ErrorList) {
    let app = port.get("appProtocol");
    if app.is_set() {
        app.complain(errs, format::qualified_name(app.str()));
    }
}

/// What is stored may stay as it is, even if it is bad by now.
pub(super) fn endpoints_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    if !same(new.get("subsets").value(), old.get("subsets").value()) {
        endpoints(new, errs);
    }
}

pub(super) fn slice(o: &At<'_, '_>, errs: &mut ErrorList) {
    o.get("addressType").required_one_of(errs, &["FQDN", "IPv4", "IPv6"], "");
    slice_ports(&o.get("ports"), errs);
    slice_endpoints(o, errs);
}

pub(super) fn slice_update(new: &At<'_, '_>, old: &At<'_, '_>, errs: &mut ErrorList) {
    new.get("addressType").required_one_of(errs, &["FQDN", "IPv4", "IPv6"], "");
    slice_ports(&new.get("ports"), errs);
    if !same(new.get("endpoints").value(), old.get("endpoints").value()) {
        slice_endpoints(new, errs);
    }
    new.get("addressType").immutable(&old.get("addressType"), errs);
}

fn slice_ports(list: &At<'_, '_>, errs: &mut ErrorList) {
    if list.len() > MAX_PORTS {
        return errs.push(Error::too_many(&list.path(), list.len(), MAX_PORTS));
    }
    let mut names = BTreeSet::new();
    for port in list.items() {
        let name = port.get("name");
        if !name.is_empty() {
            name.complain(errs, format::label_1123(name.str()));
        }
        if !names.insert(name.str()) {
            errs.push(Error::duplicate(&name.path(), name.str()));
        }
        port.get("protocol").required_one_of(errs, &["SCTP", "TCP", "UDP"], "");
        app_protocol(&port, errs);
    }
}

fn slice_endpoints(o: &At<'_, '_>, errs: &mut ErrorList) {
    let (list, kind) = (o.get("endpoints"), o.get("addressType").str());
    if list.len() > MAX_ENDPOINTS {
        return errs.push(Error::too_many(&list.path(), list.len(), MAX_ENDPOINTS));
    }
    for endpoint in list.items() {
        let (addresses, node, host) = (endpoint.get("addresses"), endpoint.get("nodeName"), endpoint.get("hostname"));
        if addresses.is_empty() {
            addresses.required(errs, "must contain at least 1 address");
        } else if addresses.len() > MAX_ADDRESSES {
            errs.push(Error::too_many(&addresses.path(), addresses.len(), MAX_ADDRESSES));
        }
        addresses.items().for_each(|a| address(&a, &addresses, kind, errs));
        if node.is_set() {
            node.complain(errs, format::subdomain(node.str()));
        }
        labels::labels(&endpoint.get("deprecatedTopology"), errs);
        if host.is_set() {
            host.complain(errs, format::label_1123(host.str()));
        }
        let hints = endpoint.get("hints");
        for (field, check) in [("forZones", format::label_value as fn(&str) -> Vec<String>), ("forNodes", format::subdomain)] {
            let list = hints.get(field);
            if list.len() > MAX_HINTS {
                errs.push(Error::too_many(&list.path(), list.len(), MAX_HINTS));
                continue;
            }
            let mut seen = BTreeSet::new();
            for hint in list.items() {
                let name = hint.get("name");
                if !seen.insert(name.str()) {
                    name.duplicate(errs);
                }
                name.complain(errs, check(name.str()));
            }
        }
    }
}

fn address(at: &At<'_, '_>, list: &At<'_, '_>, kind: &str, errs: &mut ErrorList) {
    let parsed = ip::parse(at.str());
    match kind {
        "IPv4" if ip::legacy(at, &[], errs) => {
            if !parsed.is_some_and(|ip| ip.is_ipv4()) {
                list.invalid_shown(errs, at.str(), "must be an IPv4 address");
            }
            ip::endpoint(at, errs);
        }
        "IPv6" => {
            let before = errs.len();
            ip::canonical(at, errs);
            if errs.len() == before {
                if !parsed.is_some_and(|ip| ip.is_ipv6()) {
                    list.invalid_shown(errs, at.str(), "must be an IPv6 address");
                }
                ip::endpoint(at, errs);
            }
        }
        "FQDN" => {
            let text = at.str().strip_suffix('.').unwrap_or(at.str());
            if text.is_empty() {
                return at.required(errs, "");
            }
            let complaints = format::subdomain(text);
            if complaints.is_empty() && text.split('.').count() < 2 {
                at.invalid_str(errs, "should be a domain with at least two segments separated by dots");
            }
            at.complain(errs, complaints);
        }
        _ => {}
    }
}
