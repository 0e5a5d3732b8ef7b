//! Decides which slices to create, change and delete, touching as few as it can.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::{MANAGED_BY, MANAGER, SERVICE_NAME};
use crate::ownership::controller_ref;
use crate::pods;
use crate::services::{self, HEADLESS, LAST_CHANGE, Terminating};

/// The most endpoints in one slice (upstream's default).
pub const MAX_ENDPOINTS: usize = 100;
/// Slices of one service; more endpoints are left out rather than flooding the store.
pub const MAX_SLICES: usize = 1000;

/// What was seen.
pub struct Observed<'a> {
    /// The service.
    pub service: &'a Service,
    /// The pods that it selects.
    pub pods: &'a [Arc<Pod>],
    /// The nodes of these pods, for their zones.
    pub nodes: &'a HashMap<String, Arc<Node>>,
    /// The slices of this service that this controller manages and that are not being deleted.
    pub slices: &'a [Arc<EndpointSlice>],
    /// The change that is answered to.
    pub trigger: Option<Timestamp>,
}

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make a slice; the API server names it.
    Create(Box<EndpointSlice>),
    /// Write a slice that exists.
    Update(Box<EndpointSlice>),
    /// Remove a slice.
    Delete(Arc<EndpointSlice>),
}

/// Slices of one address type with the same ports hold endpoints of the same kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    IPv4,
    IPv6,
}

impl Family {
    fn as_str(self) -> &'static str {
        match self {
            Self::IPv4 => "IPv4",
            Self::IPv6 => "IPv6",
        }
    }

    fn of(address: &str) -> Option<Self> {
        match address.parse().ok()? {
            IpAddr::V4(_) => Some(Self::IPv4),
            IpAddr::V6(_) => Some(Self::IPv6),
        }
    }
}

type PortsKey = String;
type Group = (Family, PortsKey);

struct Desired {
    ports: Vec<EndpointPort>,
    /// By identity, so that a pod whose readiness changes stays in its slice.
    endpoints: BTreeMap<String, Endpoint>,
}

/// Compares the slices with the pods.
pub fn plan(seen: &Observed<'_>) -> Vec<Action> {
    let families = families(seen.service);
    let mut desired = desired(seen, &families);
    let mut actions = Vec::new();
    let mut by_group: BTreeMap<Group, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in seen.slices {
        match group_of(slice).filter(|(family, _)| families.contains(family)) {
            Some(group) => by_group.entry(group).or_default().push(slice.clone()),
            None => actions.push(Action::Delete(slice.clone())),
        }
    }
    // A service without endpoints keeps one empty slice per family, so that watchers learn that there are none.
    for family in &families {
        if !desired.keys().any(|(of, _)| of == family) {
            let empty = Desired { ports: Vec::new(), endpoints: BTreeMap::new() };
            desired.insert((*family, ports_key(&[])), empty);
        }
    }
    for (group, slices) in &by_group {
        if !desired.contains_key(group) {
            actions.extend(slices.iter().cloned().map(Action::Delete));
        }
    }
    for (group, wanted) in desired {
        let slices = by_group.remove(&group).unwrap_or_default();
        reconcile(seen, group.0, wanted, slices, &mut actions);
    }
    actions
}

/// Brings the slices of one group to the wanted endpoints.
fn reconcile(seen: &Observed<'_>, family: Family, wanted: Desired, slices: Vec<Arc<EndpointSlice>>, actions: &mut Vec<Action>) {
    let Desired { ports, endpoints: mut missing } = wanted;
    let is_placeholder = missing.is_empty();
    let mut kept: Vec<(Arc<EndpointSlice>, Vec<Endpoint>, bool)> = Vec::new();
    for slice in slices {
        let mut changed = !labels_are_right(seen.service, &slice);
        let mut endpoints = Vec::new();
        for old in slice.endpoints.iter().flatten() {
            match missing.remove(&identity(old)) {
                Some(new) => {
                    changed |= !same(&new, old);
                    endpoints.push(new);
                }
                None => changed = true,
            }
        }
        kept.push((slice, endpoints, changed));
    }
    let mut rest: Vec<Endpoint> = missing.into_values().collect();
    // Slices that are written anyway are filled first, the fullest first; then a slice with room; then new ones.
    kept.sort_by_key(|(_, endpoints, changed)| (!*changed, std::cmp::Reverse(endpoints.len())));
    for (_, endpoints, changed) in &mut kept {
        if *changed || (!rest.is_empty() && endpoints.len() + rest.len() <= MAX_ENDPOINTS) {
            let take = rest.len().min(MAX_ENDPOINTS.saturating_sub(endpoints.len()));
            *changed |= take > 0;
            endpoints.extend(rest.drain(..take));
        }
    }
    let mut placeholders = usize::from(is_placeholder);
    for (slice, endpoints, changed) in kept {
        if endpoints.is_empty() {
            if placeholders == 0 {
                actions.push(Action::Delete(slice));
                continue;
            }
            placeholders -= 1;
        }
        if changed {
            actions.push(Action::Update(Box::new(updated(seen, &slice, endpoints))));
        }
    }
    for _ in 0..placeholders {
        actions.push(Action::Create(Box::new(new_slice(seen, family, &ports, Vec::new()))));
    }
    for chunk in rest.chunks(MAX_ENDPOINTS).take(MAX_SLICES) {
        actions.push(Action::Create(Box::new(new_slice(seen, family, &ports, chunk.to_vec()))));
    }
}

fn families(service: &Service) -> BTreeSet<Family> {
    let spec = service.spec.as_ref();
    let named = spec.and_then(|s| s.ip_families.as_deref()).unwrap_or_default();
    let families: BTreeSet<Family> = named
        .iter()
        .filter_map(|f| match f.as_str() {
            "IPv4" => Some(Family::IPv4),
            "IPv6" => Some(Family::IPv6),
            _ => None,
        })
        .collect();
    if !families.is_empty() {
        return families;
    }
    let own = spec.and_then(|s| s.cluster_ip.as_deref()).and_then(Family::of);
    own.map_or_else(|| BTreeSet::from([Family::IPv4, Family::IPv6]), |family| BTreeSet::from([family]))
}

fn desired(seen: &Observed<'_>, families: &BTreeSet<Family>) -> BTreeMap<Group, Desired> {
    let mut groups: BTreeMap<Group, Desired> = BTreeMap::new();
    for pod in seen.pods.iter().filter(|pod| services::is_listed(pod, Terminating::Include)) {
        let ports = ports(seen.service, pod);
        for family in families {
            let addresses: Vec<String> =
                services::addresses(pod).into_iter().filter(|address| Family::of(address) == Some(*family)).map(str::to_owned).collect();
            if addresses.is_empty() {
                continue;
            }
            let endpoint = endpoint(seen, pod, addresses);
            let group =
                groups.entry((*family, ports_key(&ports))).or_insert_with(|| Desired { ports: ports.clone(), endpoints: BTreeMap::new() });
            group.endpoints.insert(identity(&endpoint), endpoint);
        }
    }
    groups
}

fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_deref()).unwrap_or_default();
    let resolved = ports.iter().filter_map(|port| {
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(services::port_of(pod, port)?),
            protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
            app_protocol: port.app_protocol.clone(),
        })
    });
    resolved.collect()
}

fn endpoint(seen: &Observed<'_>, pod: &Pod, addresses: Vec<String>) -> Endpoint {
    let serving = pods::is_ready(pod);
    let terminating = pods::is_terminating(pod);
    let node = Some(pods::node(pod)).filter(|n| !n.is_empty());
    let labels = node.and_then(|n| seen.nodes.get(n)).and_then(|n| n.metadata.labels.as_ref());
    let zone = labels.and_then(|l| l.get("topology.kubernetes.io/zone")).filter(|z| !z.is_empty());
    Endpoint {
        addresses,
        conditions: Some(EndpointConditions {
            ready: Some(services::publishes_not_ready(seen.service) || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: services::hostname(pod, seen.service).map(str::to_owned),
        node_name: node.map(str::to_owned),
        target_ref: Some(services::target(pod)),
        zone: zone.cloned(),
        deprecated_topology: None,
        hints: None,
    }
}

/// The same pod at the same addresses, whatever its conditions.
fn identity(endpoint: &Endpoint) -> String {
    let uid = endpoint.target_ref.as_ref().and_then(|t| t.uid.as_deref()).unwrap_or_default();
    format!("{uid} {}", endpoint.addresses.join(","))
}

fn same(new: &Endpoint, old: &Endpoint) -> bool {
    let without_hints = Endpoint { hints: None, ..old.clone() };
    *new == without_hints
}

fn ports_key(ports: &[EndpointPort]) -> PortsKey {
    let word = |p: &EndpointPort| {
        let text = |o: &Option<String>| o.clone().unwrap_or_default();
        format!("{}/{}/{}/{}", text(&p.name), text(&p.protocol), p.port.unwrap_or(0), text(&p.app_protocol))
    };
    let mut words: Vec<String> = ports.iter().map(word).collect();
    words.sort();
    words.join(" ")
}

fn group_of(slice: &EndpointSlice) -> Option<Group> {
    let family = match slice.address_type.as_str() {
        "IPv4" => Family::IPv4,
        "IPv6" => Family::IPv6,
        _ => return None,
    };
    Some((family, ports_key(slice.ports.as_deref().unwrap_or_default())))
}

fn labels(service: &Service) -> BTreeMap<String, String> {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.remove(HEADLESS);
    if services::is_headless(service) {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels.insert(SERVICE_NAME.to_owned(), service.metadata.name.clone().unwrap_or_default());
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels
}

fn labels_are_right(service: &Service, slice: &EndpointSlice) -> bool {
    let uid = service.metadata.uid.as_deref().unwrap_or_default();
    let owned = slice.metadata.owner_references.iter().flatten().any(|r| r.uid == uid);
    owned && slice.metadata.labels.as_ref() == Some(&labels(service))
}

fn updated(seen: &Observed<'_>, slice: &EndpointSlice, endpoints: Vec<Endpoint>) -> EndpointSlice {
    let mut slice = slice.clone();
    slice.endpoints = Some(endpoints);
    slice.metadata.labels = Some(labels(seen.service));
    slice.metadata.owner_references = Some(vec![controller_ref(seen.service)]);
    note_trigger(&mut slice.metadata, seen.trigger);
    slice
}

fn new_slice(seen: &Observed<'_>, family: Family, ports: &[EndpointPort], endpoints: Vec<Endpoint>) -> EndpointSlice {
    let service = &seen.service.metadata;
    let mut metadata = ObjectMeta {
        generate_name: Some(format!("{}-", service.name.as_deref().unwrap_or_default())),
        namespace: service.namespace.clone(),
        labels: Some(labels(seen.service)),
        owner_references: Some(vec![controller_ref(seen.service)]),
        ..Default::default()
    };
    note_trigger(&mut metadata, seen.trigger);
    EndpointSlice { address_type: family.as_str().to_owned(), endpoints: Some(endpoints), ports: Some(ports.to_vec()), metadata }
}

/// Writes down which change a version answers to, or takes an old note away.
pub fn note_trigger(metadata: &mut ObjectMeta, trigger: Option<Timestamp>) {
    let annotations = metadata.annotations.get_or_insert_default();
    match trigger {
        Some(at) => _ = annotations.insert(LAST_CHANGE.to_owned(), at.to_string()),
        None => _ = annotations.remove(LAST_CHANGE),
    }
    if annotations.is_empty() {
        metadata.annotations = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;
    use serde_json::json;

    fn service() -> Service {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "namespace": "ns", "uid": "s", "labels": {"team": "a"}},
            "spec": {"selector": {"app": "web"}, "clusterIP": "10.43.0.5", "ipFamilies": ["IPv4"],
                     "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}
        }))
        .unwrap()
    }

    fn planned(service: &Service, pods: &[Arc<Pod>], slices: &[Arc<EndpointSlice>]) -> Vec<Action> {
        plan(&Observed { service, pods, nodes: &HashMap::new(), slices, trigger: None })
    }

    /// Carries a plan out.
    fn apply(slices: &mut Vec<Arc<EndpointSlice>>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Create(mut new) => {
                    new.metadata.name = Some(format!("web-{}", slices.len()));
                    slices.push(Arc::from(new));
                }
                Action::Update(new) => {
                    let at = slices.iter().position(|s| s.metadata.name == new.metadata.name).unwrap();
                    slices[at] = Arc::from(new);
                }
                Action::Delete(gone) => slices.retain(|s| s.metadata.name != gone.metadata.name),
            }
        }
    }

    fn pods_upto(count: usize) -> Vec<Arc<Pod>> {
        (0..count).map(|i| Arc::new(pod(&format!("p{i} node=n ready=5 ip=10.0.{}.{}", i / 250, i % 250)))).collect()
    }

    #[test]
    fn a_service_without_pods_has_one_empty_slice_and_then_fills_it() {
        let s = service();
        let mut slices = Vec::new();
        apply(&mut slices, planned(&s, &[], &[]));
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].ports.as_deref(), Some(&[][..]));
        let labels = slices[0].metadata.labels.as_ref().unwrap();
        assert_eq!(labels[MANAGED_BY], MANAGER);
        assert_eq!((labels[SERVICE_NAME].as_str(), labels["team"].as_str()), ("web", "a"));
        assert!(planned(&s, &[], &slices).is_empty(), "a right plan changes nothing");
        let pods = pods_upto(2);
        let actions = planned(&s, &pods, &slices);
        apply(&mut slices, actions);
        assert_eq!(slices.len(), 1, "the empty slice has other ports and goes");
        assert_eq!(slices[0].ports.as_ref().unwrap()[0].port, Some(8080));
        assert!(planned(&s, &pods, &slices).is_empty());
    }

    #[test]
    fn conditions_say_ready_serving_and_terminating() {
        let mut s = service();
        let table = [
            ("a ip=10.0.0.1 ready=5", false, (true, true, false)),
            ("a ip=10.0.0.1", false, (false, false, false)),
            ("a ip=10.0.0.1 ready=5 deleting", false, (false, true, true)),
            ("a ip=10.0.0.1 deleting", true, (true, false, true)),
        ];
        for (text, publish, expected) in table {
            s.spec.as_mut().unwrap().publish_not_ready_addresses = Some(publish);
            let Some(Action::Create(slice)) = planned(&s, &[Arc::new(pod(text))], &[]).pop() else { panic!("{text}") };
            let c = slice.endpoints.unwrap()[0].conditions.clone().unwrap();
            assert_eq!((c.ready.unwrap(), c.serving.unwrap(), c.terminating.unwrap()), expected, "{text}");
        }
        for text in ["a", "a ip=10.0.0.1 phase=Failed", "a ip=fd00::1 ready=5"] {
            let Some(Action::Create(slice)) = planned(&s, &[Arc::new(pod(text))], &[]).pop() else { panic!("{text}") };
            assert!(slice.endpoints.unwrap().is_empty(), "{text}");
        }
    }

    #[test]
    fn many_endpoints_are_split_and_a_change_touches_one_slice() {
        let s = service();
        let mut slices = Vec::new();
        let mut pods = pods_upto(250);
        apply(&mut slices, planned(&s, &pods, &[]));
        let mut sizes: Vec<usize> = slices.iter().map(|s| s.endpoints.as_ref().unwrap().len()).collect();
        sizes.sort();
        assert_eq!(sizes, [50, 100, 100]);
        pods[7] = Arc::new(pod("p7 node=n ip=10.0.0.7"));
        let actions = planned(&s, &pods, &slices);
        assert_eq!(actions.len(), 1);
        apply(&mut slices, actions);
        pods.push(Arc::new(pod("extra ip=10.0.9.9 ready=5")));
        let actions = planned(&s, &pods, &slices);
        assert_eq!(actions.len(), 1);
        assert!(matches!(&actions[0], Action::Update(slice) if slice.endpoints.as_ref().unwrap().len() == 51));
        apply(&mut slices, actions);
        let actions = planned(&s, &[], &slices);
        apply(&mut slices, actions);
        assert_eq!(slices.len(), 1);
    }
}
