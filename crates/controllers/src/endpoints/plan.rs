//! Computes the Endpoints object of a Service.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service};
use k8s_openapi::jiff::Timestamp;

use crate::endpointslice::plan::note_trigger;
use crate::pods;
use crate::services::{self, HEADLESS, Terminating};

/// The most addresses in one object; the rest is in the slices only.
pub const MAX_ADDRESSES: usize = 1000;
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";

/// What was seen.
pub struct Observed<'a> {
    /// The service.
    pub service: &'a Service,
    /// The pods that it selects.
    pub pods: &'a [Arc<Pod>],
    /// The object as it is.
    pub current: Option<&'a Endpoints>,
    /// The change that is answered to.
    pub trigger: Option<Timestamp>,
}

/// The object to write, or `None` if it is right.
pub fn plan(seen: &Observed<'_>) -> Option<Endpoints> {
    let all = subsets(seen.service, seen.pods);
    let (subsets, truncated) = truncate(all);
    let service = &seen.service.metadata;
    let mut labels = service.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if services::is_headless(seen.service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    let mut new = seen.current.cloned().unwrap_or_default();
    let was_truncated = new.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(OVER_CAPACITY));
    let unchanged = seen.current.is_some()
        && new.subsets.as_deref().unwrap_or_default() == subsets.as_slice()
        && new.metadata.labels.as_ref() == Some(&labels)
        && was_truncated == truncated;
    if unchanged {
        return None;
    }
    new.metadata.name = service.name.clone();
    new.metadata.namespace = service.namespace.clone();
    new.metadata.labels = Some(labels);
    let annotations = new.metadata.annotations.get_or_insert_default();
    if truncated {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    } else {
        annotations.remove(OVER_CAPACITY);
    }
    note_trigger(&mut new.metadata, seen.trigger);
    new.subsets = (!subsets.is_empty()).then_some(subsets);
    Some(new)
}

/// Ports in an order of their own, so that equal sets of ports compare equal.
type Ports = BTreeMap<PortKey, EndpointPort>;
/// Name, number, protocol.
type PortKey = (String, i32, String);

#[derive(Default)]
struct Addresses {
    ready: BTreeMap<(String, String), EndpointAddress>,
    not_ready: BTreeMap<(String, String), EndpointAddress>,
}

/// Groups the addresses by the set of ports at which they answer.
fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let spec = service.spec.as_ref();
    let service_ports = spec.and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let publish = services::publishes_not_ready(service);
    let terminating = if publish { Terminating::Include } else { Terminating::Exclude };
    let mut groups: BTreeMap<Vec<PortKey>, (Ports, Addresses)> = BTreeMap::new();
    for pod in pods.iter().filter(|pod| services::is_listed(pod, terminating)) {
        let Some(address) = address(service, pod) else {
            continue;
        };
        let mut ports = Ports::new();
        for port in service_ports {
            let Some(number) = services::port_of(pod, port) else {
                continue;
            };
            let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
            let name = port.name.clone().filter(|n| !n.is_empty());
            let key = (name.clone().unwrap_or_default(), number, protocol.clone());
            let port = EndpointPort { name, port: number, protocol: Some(protocol), app_protocol: port.app_protocol.clone() };
            ports.insert(key, port);
        }
        let portless_is_fine = service_ports.is_empty() && services::is_headless(service);
        if ports.is_empty() && !portless_is_fine {
            continue;
        }
        let (_, group) = groups.entry(ports.keys().cloned().collect()).or_insert_with(|| (ports, Addresses::default()));
        let list = if publish || pods::is_ready(pod) { &mut group.ready } else { &mut group.not_ready };
        list.insert((address.ip.clone(), pod.metadata.uid.clone().unwrap_or_default()), address);
    }
    let some = |list: Vec<EndpointAddress>| (!list.is_empty()).then_some(list);
    let subset = |(ports, group): (Ports, Addresses)| EndpointSubset {
        addresses: some(group.ready.into_values().collect()),
        not_ready_addresses: some(group.not_ready.into_values().collect()),
        ports: Some(ports.into_values().collect::<Vec<_>>()).filter(|p| !p.is_empty()),
    };
    groups.into_values().map(subset).collect()
}

/// The pod's address of the service's main family.
fn address(service: &Service, pod: &Pod) -> Option<EndpointAddress> {
    let families = service.spec.as_ref().and_then(|s| s.ip_families.as_deref()).unwrap_or_default();
    let wants_v6 = families.first().map(|f| f == "IPv6");
    let mut all = services::addresses(pod).into_iter();
    let ip = all.find(|ip| wants_v6.is_none_or(|v6| v6 == ip.contains(':')))?;
    Some(EndpointAddress {
        ip: ip.to_owned(),
        hostname: services::hostname(pod, service).map(str::to_owned),
        node_name: Some(pods::node(pod)).filter(|n| !n.is_empty()).map(str::to_owned),
        target_ref: Some(services::target(pod)),
    })
}

/// Keeps ready addresses first.
fn truncate(subsets: Vec<EndpointSubset>) -> (Vec<EndpointSubset>, bool) {
    let count = |list: &Option<Vec<EndpointAddress>>| list.as_ref().map_or(0, Vec::len);
    let total: usize = subsets.iter().map(|s| count(&s.addresses) + count(&s.not_ready_addresses)).sum();
    if total <= MAX_ADDRESSES {
        return (subsets, false);
    }
    let ready: usize = subsets.iter().map(|s| count(&s.addresses)).sum();
    let (mut ready_room, mut other_room) = (MAX_ADDRESSES, MAX_ADDRESSES.saturating_sub(ready));
    let cut = |list: Option<Vec<EndpointAddress>>, room: &mut usize| {
        let mut list = list.unwrap_or_default();
        list.truncate(*room);
        *room -= list.len();
        (!list.is_empty()).then_some(list)
    };
    let kept = subsets.into_iter().map(|s| EndpointSubset {
        addresses: cut(s.addresses, &mut ready_room),
        not_ready_addresses: cut(s.not_ready_addresses, &mut other_room),
        ports: s.ports,
    });
    (kept.filter(|s| s.addresses.is_some() || s.not_ready_addresses.is_some()).collect(), true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;
    use serde_json::json;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "s"},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.43.0.5", "ipFamilies": ["IPv4"],
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}
        }))
        .unwrap()
    }

    fn planned(service: &Service, texts: &[&str], current: Option<&Endpoints>) -> Option<Endpoints> {
        let pods: Vec<_> = texts.iter().map(|t| Arc::new(pod(t))).collect();
        plan(&Observed { service, pods: &pods, current, trigger: None })
    }

    #[test]
    fn ready_and_unready_addresses_are_told_apart_and_the_plan_settles() {
        let s = service();
        let texts = ["b ip=10.0.0.2 ready=5", "a ip=10.0.0.1 ready=5", "c ip=10.0.0.3", "d ip=10.0.0.4 deleting ready=1", "e"];
        let e = planned(&s, &texts, None).unwrap();
        let subset = &e.subsets.as_ref().unwrap()[0];
        let ips = |list: &Option<Vec<EndpointAddress>>| list.iter().flatten().map(|a| a.ip.clone()).collect::<Vec<_>>();
        assert_eq!(ips(&subset.addresses), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(ips(&subset.not_ready_addresses), ["10.0.0.3"]);
        assert_eq!(e.metadata.labels.as_ref().unwrap()[MANAGED_BY], MANAGER);
        assert_eq!(planned(&s, &texts, Some(&e)), None);
        let empty = planned(&s, &[], Some(&e)).unwrap();
        assert_eq!(empty.subsets, None);
    }

    #[test]
    fn too_many_addresses_are_cut_with_the_ready_ones_first() {
        let texts: Vec<String> = (0..1100)
            .map(|i| {
                let ready = if i >= 200 { "ready=5" } else { "" };
                format!("p{i} ip=10.0.{}.{} {ready}", i / 250, i % 250)
            })
            .collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let e = planned(&service(), &texts, None).unwrap();
        let subset = &e.subsets.as_ref().unwrap()[0];
        assert_eq!(subset.addresses.as_ref().unwrap().len(), 900);
        assert_eq!(subset.not_ready_addresses.as_ref().unwrap().len(), 100);
        assert_eq!(e.metadata.annotations.unwrap()[OVER_CAPACITY], "truncated");
    }
}
