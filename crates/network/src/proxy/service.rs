//! One Service and its slices to its part of the table: pure.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use super::NodeFacts;
use super::base::{
    self, CLUSTER_IPS, FIREWALL_IPS, HAIRPIN, MASQUERADE_MARK, NO_ENDPOINT_NODE_PORTS, NO_ENDPOINTS, NODE_PORTS, REJECT_CHAIN, SERVICE_IPS,
};
use super::endpoints::{Endpoint, Usable, categorize, collect};
use crate::nft::{
    self, Anonymous, Comparison, Content, Data, Expr, Family, FibKey, Field, Reg, Rule, SetRef, SetSpec, Verdict, address_bytes,
};
use crate::podnet::Protocol;

/// Another proxy takes care of services with this label.
const OTHER_PROXY: &str = "service.kubernetes.io/service-proxy-name";
/// The API's default when `timeoutSeconds` is missing: three hours.
const DEFAULT_AFFINITY: u64 = 10_800;
/// The most clients that one service port remembers. When it is full, new clients are balanced without memory.
const MAX_AFFINITY_CLIENTS: u32 = 65_535;
/// nft's number for "address . port".
const TARGET_V4: u32 = (7 << 6) | 13;
const TARGET_V6: u32 = (8 << 6) | 13;

/// A UDP service port, for finding tracked flows that lead to endpoints that are gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpFrontend {
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Its port.
    pub port: u16,
    /// Its NodePort, if it has one.
    pub node_port: Option<u16>,
    /// The endpoints that flows may lead to.
    pub serving: Vec<(IpAddr, u16)>,
}

/// One service's part of the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fragment {
    /// Its chains.
    pub chains: BTreeMap<String, Vec<Rule>>,
    /// Its own sets.
    pub sets: BTreeMap<String, SetSpec>,
    /// Its entries in the table's sets.
    pub elements: BTreeMap<(&'static str, Vec<u8>), Option<Data>>,
    /// Its UDP ports.
    pub udp: Vec<UdpFrontend>,
}

/// The part of `service` for `family`; empty when the proxy has nothing to do for it.
pub fn plan_service(service: &Service, slices: &[Arc<EndpointSlice>], family: Family, facts: &NodeFacts) -> Fragment {
    let mut fragment = Fragment::default();
    let Some(spec) = &service.spec else { return fragment };
    let skipped = service.metadata.labels.as_ref().is_some_and(|l| l.contains_key(OTHER_PROXY));
    let Some(cluster_ip) = cluster_ip(spec, family).filter(|_| !skipped) else { return fragment };
    for port in spec.ports.iter().flatten() {
        let planned = PortPlan::new(service, spec, port, cluster_ip, slices, family, facts);
        if let Some(plan) = planned {
            plan.write(&mut fragment);
        }
    }
    fragment
}

fn cluster_ip(spec: &ServiceSpec, family: Family) -> Option<IpAddr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let all = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    all.filter_map(|ip| ip.parse().ok()).find(|ip| family.holds(*ip))
}

/// What is decided about one port before anything is written.
struct PortPlan<'a> {
    family: Family,
    facts: &'a NodeFacts,
    /// `namespace/name/protocol/port name`, the end of its chains' names.
    name: String,
    protocol: Protocol,
    port: u16,
    node_port: Option<u16>,
    cluster_ip: IpAddr,
    external_ips: Vec<IpAddr>,
    load_balancer_ips: Vec<IpAddr>,
    source_ranges: Vec<IpNet>,
    affinity: Option<Duration>,
    internal_local: bool,
    external_local: bool,
    usable: Usable,
    serving: Vec<(IpAddr, u16)>,
}

impl<'a> PortPlan<'a> {
    fn new(
        service: &Service,
        spec: &ServiceSpec,
        port: &ServicePort,
        cluster_ip: IpAddr,
        slices: &[Arc<EndpointSlice>],
        family: Family,
        facts: &'a NodeFacts,
    ) -> Option<Self> {
        let protocol = Protocol::from_name(port.protocol.as_deref())?;
        let number = u16::try_from(port.port).ok().filter(|n| *n != 0)?;
        let port_name = port.name.as_deref().unwrap_or_default();
        let (namespace, name) = (service.metadata.namespace.as_deref()?, service.metadata.name.as_deref()?);
        let parse = |texts: &Option<Vec<String>>| -> Vec<IpAddr> {
            texts.iter().flatten().filter_map(|t| t.parse().ok()).filter(|ip| family.holds(*ip)).collect()
        };
        let external_ips = parse(&spec.external_ips);
        let kind = spec.type_.as_deref().unwrap_or("ClusterIP");
        let reachable = matches!(kind, "NodePort" | "LoadBalancer") || !external_ips.is_empty();
        let internal_local = spec.internal_traffic_policy.as_deref() == Some("Local");
        let external_local = reachable && spec.external_traffic_policy.as_deref() == Some("Local");
        let endpoints = collect(slices, family, port_name, protocol, &facts.name);
        // Even with policy Local, pods and the node reach external addresses by all endpoints.
        let usable = categorize(&endpoints, !internal_local || reachable, internal_local || external_local, facts);
        Some(Self {
            family,
            facts,
            name: format!("{namespace}/{name}/{}/{port_name}", protocol.name().to_ascii_lowercase()),
            protocol,
            port: number,
            node_port: port.node_port.and_then(|n| u16::try_from(n).ok()).filter(|n| *n != 0),
            cluster_ip,
            external_ips,
            load_balancer_ips: ingress(service, family),
            source_ranges: source_ranges(spec, family),
            affinity: affinity(spec),
            internal_local,
            external_local,
            usable,
            serving: endpoints.iter().filter(|e| e.serving).map(|e| (e.address, e.port)).collect(),
        })
    }

    fn chain(&self, purpose: &str) -> String {
        format!("{purpose}/{}", self.name)
    }

    fn goto(&self, purpose: &str) -> Option<Data> {
        Some(Data::Verdict(Verdict::Goto(self.chain(purpose))))
    }

    fn key(&self, address: IpAddr) -> Vec<u8> {
        let mut key = address_bytes(address);
        key.extend_from_slice(&nft::protocol_bytes(self.protocol.number()));
        key.extend_from_slice(&nft::port_bytes(self.port));
        key
    }

    fn is_external(&self) -> bool {
        self.node_port.is_some() || !self.external_ips.is_empty() || !self.load_balancer_ips.is_empty()
    }

    /// The verdict for packets that no endpoint takes: nobody anywhere refuses, nobody on this node drops.
    fn unanswered(&self) -> Option<Data> {
        let verdict = if self.usable.any { Verdict::Drop } else { Verdict::Goto(REJECT_CHAIN.into()) };
        Some(Data::Verdict(verdict))
    }

    fn write(&self, fragment: &mut Fragment) {
        let (internal, external) = (policy(self.internal_local), policy(self.external_local));
        let has = |purpose: &str| {
            let endpoints = if purpose == LOCAL { &self.usable.local } else { &self.usable.cluster };
            self.usable.any && !endpoints.is_empty()
        };
        if !self.facts.served_here.contains(&self.cluster_ip) {
            fragment.elements.insert((CLUSTER_IPS, address_bytes(self.cluster_ip)), None);
            let (map, verdict) = if has(internal) { (SERVICE_IPS, self.goto(internal)) } else { (NO_ENDPOINTS, self.unanswered()) };
            fragment.elements.insert((map, self.key(self.cluster_ip)), verdict);
        }
        for address in self.external_ips.iter().chain(&self.load_balancer_ips) {
            if self.usable.any {
                fragment.elements.insert((SERVICE_IPS, self.key(*address)), self.goto(EXTERNAL));
            }
            if !has(external) {
                fragment.elements.insert((NO_ENDPOINTS, self.key(*address)), self.unanswered());
            }
        }
        if let Some(port) = self.node_port {
            let key = [nft::protocol_bytes(self.protocol.number()), nft::port_bytes(port)].concat();
            if self.usable.any {
                fragment.elements.insert((NODE_PORTS, key.clone()), self.goto(EXTERNAL));
            }
            if !has(external) {
                fragment.elements.insert((NO_ENDPOINT_NODE_PORTS, key), self.unanswered());
            }
        }
        self.write_chains(fragment, has(external));
        self.write_firewall(fragment);
        self.write_udp(fragment);
    }

    fn write_chains(&self, fragment: &mut Fragment, external_has_endpoints: bool) {
        if !self.usable.any {
            return;
        }
        let mut used = Vec::new();
        if self.is_external() {
            fragment.chains.insert(self.chain(EXTERNAL), self.external_rules(external_has_endpoints));
            used.push(CLUSTER);
            used.extend(self.external_local.then_some(LOCAL));
        }
        used.push(policy(self.internal_local));
        for (purpose, endpoints) in [(CLUSTER, &self.usable.cluster), (LOCAL, &self.usable.local)] {
            if !used.contains(&purpose) {
                continue;
            }
            // The external chain may lead here even when there is nobody: then the chain is there and empty.
            let rules = if endpoints.is_empty() { Vec::new() } else { self.endpoint_rules(endpoints) };
            fragment.chains.insert(self.chain(purpose), rules);
            for endpoint in endpoints.iter().filter(|e| e.local) {
                let address = address_bytes(endpoint.address);
                fragment.elements.insert((HAIRPIN, [address.clone(), address].concat()), None);
            }
        }
        if let Some(timeout) = self.affinity {
            let (length, shown_as) = match self.family {
                Family::Ipv4 => (8, TARGET_V4),
                Family::Ipv6 => (20, TARGET_V6),
            };
            let values = Content::Values { length, shown_as };
            let mut set = base::set(self.family, &self.affinity_map(timeout), &[Field::Source], values);
            set.timeout = Some(timeout);
            set.limit = Some(MAX_AFFINITY_CLIENTS);
            fragment.sets.insert(set.name.clone(), set);
        }
    }

    /// A set's lifetime cannot change, so it is part of the name.
    fn affinity_map(&self, timeout: Duration) -> String {
        format!("affinity-{}s/{}", timeout.as_secs(), self.name)
    }

    fn endpoint_rules(&self, endpoints: &[Endpoint]) -> Vec<Rule> {
        let targets: Vec<(IpAddr, u16)> = endpoints.iter().map(|e| (e.address, e.port)).collect();
        let rule = || Rule::new(self.family);
        let (client, target) = (Reg(0), Reg(8));
        let Some(timeout) = self.affinity else {
            return vec![base::choose(rule(), &targets).destination_nat(target)];
        };
        let map = self.affinity_map(timeout);
        let still_there = targets.iter().filter_map(|(address, port)| match Data::socket(*address, *port) {
            Data::Value(value) => Some((value, None)),
            Data::Verdict(_) => None,
        });
        let still_there = SetRef::Anonymous(Anonymous {
            key_length: self.family.address_length() + 4,
            value_length: None,
            elements: still_there.collect(),
        });
        let known = SetRef::Named(map.clone());
        let returning = rule()
            .load(&[Field::Source], client)
            .then(Expr::Lookup { set: known, key: client, into: Some(target), inverted: false })
            .then(Expr::Lookup { set: still_there, key: target, into: None, inverted: false })
            .remember(&map, client, target, timeout)
            .destination_nat(target);
        // Remembering keeps the value of an entry that is there, so an entry for a gone endpoint is taken out first.
        let fresh = base::choose(rule().load(&[Field::Source], client), &targets)
            .then(Expr::Forget { set: map.clone(), key: client, value: target })
            .remember(&map, client, target, timeout)
            .destination_nat(target);
        // When the memory is full, remembering ends the rule: this one balances without it.
        let full = base::choose(rule(), &targets).destination_nat(target);
        vec![returning, fresh, full]
    }

    fn external_rules(&self, has_endpoints: bool) -> Vec<Rule> {
        let rule = || Rule::new(self.family);
        let goto = |rule: Rule, purpose: &str| rule.verdict(Verdict::Goto(self.chain(purpose)));
        let mut rules = Vec::new();
        if self.external_local {
            for pods in NodeFacts::of_family(&self.facts.cluster_cidrs, self.family) {
                rules.push(goto(rule().address(Field::Source, Comparison::Equal, pods.trunc()), CLUSTER));
            }
            let from_node = || rule().local(FibKey::SourceType, Comparison::Equal);
            rules.push(from_node().set_mark_bits(MASQUERADE_MARK));
            rules.push(goto(from_node(), CLUSTER));
        } else {
            rules.push(rule().set_mark_bits(MASQUERADE_MARK));
        }
        if has_endpoints {
            rules.push(goto(rule(), policy(self.external_local)));
        }
        rules
    }

    fn write_firewall(&self, fragment: &mut Fragment) {
        if self.load_balancer_ips.is_empty() || self.source_ranges.is_empty() {
            return;
        }
        let allow = |net: IpNet| Rule::new(self.family).address(Field::Source, Comparison::Equal, net.trunc()).verdict(Verdict::Return);
        let mut rules: Vec<Rule> = self.source_ranges.iter().copied().map(allow).collect();
        // The node's packets to the address may carry that address as their source.
        if self.facts.addresses.iter().any(|ip| self.source_ranges.iter().any(|net| net.contains(ip))) {
            rules.extend(self.load_balancer_ips.iter().map(|ip| allow(IpNet::from(*ip))));
        }
        rules.push(Rule::new(self.family).verdict(Verdict::Drop));
        fragment.chains.insert(self.chain(FIREWALL), rules);
        for address in &self.load_balancer_ips {
            fragment.elements.insert((FIREWALL_IPS, self.key(*address)), self.goto(FIREWALL));
        }
    }

    fn write_udp(&self, fragment: &mut Fragment) {
        if self.protocol == Protocol::Udp && !self.serving.is_empty() {
            let own = (!self.facts.served_here.contains(&self.cluster_ip)).then_some(self.cluster_ip);
            let addresses = own.into_iter().chain(self.external_ips.clone()).chain(self.load_balancer_ips.clone());
            fragment.udp.push(UdpFrontend {
                addresses: addresses.collect(),
                port: self.port,
                node_port: self.node_port,
                serving: self.serving.clone(),
            });
        }
    }
}

/// All endpoints; those of this node; traffic that comes by an external address; check of a load balancer's clients.
const CLUSTER: &str = "service";
const LOCAL: &str = "local";
const EXTERNAL: &str = "external";
const FIREWALL: &str = "firewall";

fn policy(local: bool) -> &'static str {
    if local { LOCAL } else { CLUSTER }
}

fn ingress(service: &Service, family: Family) -> Vec<IpAddr> {
    if service.spec.as_ref().and_then(|s| s.type_.as_deref()) != Some("LoadBalancer") {
        return Vec::new();
    }
    let status = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    let all = status.and_then(|s| s.ingress.as_ref()).into_iter().flatten();
    // With mode "Proxy" the load balancer answers itself and must not be short-cut.
    let direct = all.filter(|i| i.ip_mode.as_deref().is_none_or(|mode| mode == "VIP"));
    direct.filter_map(|i| i.ip.as_deref()?.parse().ok()).filter(|ip| family.holds(*ip)).collect()
}

fn source_ranges(spec: &ServiceSpec, family: Family) -> Vec<IpNet> {
    let texts = spec.load_balancer_source_ranges.iter().flatten();
    let ranges: Vec<IpNet> = texts.filter_map(|t| t.trim().parse().ok()).filter(|n: &IpNet| family.holds(n.addr())).collect();
    // A range of everything is the same as no range.
    if ranges.iter().any(|n| n.prefix_len() == 0) { Vec::new() } else { ranges }
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let client_ip = spec.session_affinity_config.as_ref().and_then(|c| c.client_ip.as_ref());
    let seconds = client_ip.and_then(|c| c.timeout_seconds).and_then(|s| u64::try_from(s).ok());
    Some(Duration::from_secs(seconds.filter(|s| *s > 0).unwrap_or(DEFAULT_AFFINITY)))
}
