//! Which endpoints a service port has, and which of them traffic may go to.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointSlice};

use super::NodeFacts;
use crate::nft::Family;
use crate::podnet::Protocol;

/// Where traffic of one service port can go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Whether it runs on this node.
    pub local: bool,
    /// Accepts new connections (or its service wants unready ones too).
    pub ready: bool,
    /// Would be ready if it were not terminating.
    pub serving: bool,
    /// Shutting down.
    pub terminating: bool,
    /// Zones it is meant for.
    pub zones: Vec<String>,
    /// Nodes it is meant for.
    pub nodes: Vec<String>,
}

/// The endpoints to use from this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usable {
    /// For traffic policy `Cluster`.
    pub cluster: Vec<Endpoint>,
    /// For traffic policy `Local`.
    pub local: Vec<Endpoint>,
    /// Whether the service has usable endpoints on any node.
    pub any: bool,
}

/// All endpoints of the port named `name` (empty when unnamed) in `slices`, each address and port once, in order.
/// When two entries have the same address and port, a living one wins over one that is terminating.
pub fn collect(slices: &[Arc<EndpointSlice>], family: Family, name: &str, protocol: Protocol, node: &str) -> Vec<Endpoint> {
    let kind = match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    };
    let mut found: BTreeMap<(IpAddr, u16), Endpoint> = BTreeMap::new();
    for slice in slices.iter().filter(|s| s.address_type == kind && s.metadata.deletion_timestamp.is_none()) {
        let ports = slice
            .ports
            .iter()
            .flatten()
            .filter(|p| p.name.as_deref().unwrap_or_default() == name && Protocol::from_name(p.protocol.as_deref()) == Some(protocol));
        for number in ports.filter_map(|p| p.port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0)) {
            for endpoint in slice.endpoints.iter().flatten().filter_map(|e| endpoint(e, number, family, node)) {
                let place = found.entry((endpoint.address, number));
                place
                    .and_modify(|e| {
                        if !endpoint.terminating {
                            *e = endpoint.clone()
                        }
                    })
                    .or_insert(endpoint);
            }
        }
    }
    found.into_values().collect()
}

fn endpoint(from: &ApiEndpoint, port: u16, family: Family, node: &str) -> Option<Endpoint> {
    // Only the first address counts: the API calls all further ones interchangeable and asks for no more.
    let address: IpAddr = from.addresses.first()?.parse().ok().filter(|a| family.holds(*a))?;
    let conditions = from.conditions.as_ref();
    let hints = from.hints.as_ref();
    Some(Endpoint {
        address,
        port,
        local: from.node_name.as_deref() == Some(node),
        ready: conditions.and_then(|c| c.ready).unwrap_or(true),
        serving: conditions.and_then(|c| c.serving).unwrap_or(true),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        zones: hints.and_then(|h| h.for_zones.as_ref()).into_iter().flatten().map(|z| z.name.clone()).collect(),
        nodes: hints.and_then(|h| h.for_nodes.as_ref()).into_iter().flatten().map(|n| n.name.clone()).collect(),
    })
}

/// Chooses by readiness, place and hints (KEP-1669 for terminating endpoints, KEP-2433 and KEP-3015 for hints).
pub fn categorize(all: &[Endpoint], uses_cluster: bool, uses_local: bool, facts: &NodeFacts) -> Usable {
    let fading = |e: &&Endpoint| e.serving && e.terminating;
    let chosen = |keep: &dyn Fn(&&Endpoint) -> bool| -> Vec<Endpoint> { all.iter().filter(keep).cloned().collect() };
    let mut usable = Usable::default();
    if uses_cluster {
        let near = Near::of(all, facts);
        usable.cluster = chosen(&|e| e.ready && near.admits(e));
        if usable.cluster.is_empty() {
            usable.cluster = chosen(&fading);
        }
        usable.any = !usable.cluster.is_empty();
    }
    if uses_local {
        usable.any |= all.iter().any(|e| e.ready || fading(&e));
        usable.local = chosen(&|e| e.local && e.ready);
        if usable.local.is_empty() {
            usable.local = chosen(&|e| e.local && fading(e));
        }
    }
    usable
}

/// How far traffic should go, by the hints of all ready endpoints.
enum Near<'a> {
    Anywhere,
    Node(&'a str),
    Zone(&'a str),
}

impl<'a> Near<'a> {
    fn of(all: &[Endpoint], facts: &'a NodeFacts) -> Self {
        // A single ready endpoint without hints makes the hints unusable: they would starve it.
        let ready = || all.iter().filter(|e| e.ready);
        if ready().next().is_none() {
            return Self::Anywhere;
        }
        if ready().all(|e| !e.nodes.is_empty()) && ready().any(|e| e.nodes.contains(&facts.name)) {
            return Self::Node(&facts.name);
        }
        match facts.zone.as_deref().filter(|zone| !zone.is_empty()) {
            Some(zone) if ready().all(|e| !e.zones.is_empty()) && ready().any(|e| e.zones.iter().any(|z| z == zone)) => Self::Zone(zone),
            _ => Self::Anywhere,
        }
    }

    fn admits(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Node(name) => endpoint.nodes.iter().any(|n| n == name),
            Self::Zone(name) => endpoint.zones.iter().any(|z| z == name),
        }
    }
}
