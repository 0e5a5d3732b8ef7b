//! Which steps set up a node, connect a pod, disconnect it and take all away: pure.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::ipam::{self, Ipam};
use super::{Config, HostPort};
use crate::error::{Error, Result};
use crate::netns::Namespace;
use crate::nft::{
    self, BaseChain, ChainKind, Comparison, Content, Data, Expr, Family, FibKey, Field, Hook, Op, Reg, Rule, SetRef, SetSpec, Verdict,
};
use crate::rt::{Mac, Request, RouteSpec, RouteTarget};

/// The pod network's nftables table.
pub const TABLE: &str = "ferry-pods";
/// How the node's ends of pod links are named, before the address in hex.
pub const LINK_PREFIX: &str = "fpod";
/// The pod's end.
const POD_LINK: &str = "eth0";
/// The service range leads to the bridge for programs on the node, so that rules can rewrite it...
const SERVICE_METRIC: u32 = 1024;
/// ...and nowhere without it; so do pods that nobody has.
const UNREACHABLE_METRIC: u32 = 65_536;
/// Before the service proxy's, so that a host port wins over a node port.
const HOST_PORT_PRIORITY: i32 = -110;
const SOURCE_NAT_PRIORITY: i32 = 100;
/// Before connection tracking.
const RAW_PRIORITY: i32 = -300;
/// Host ports of all addresses, and those of one address.
const PORTS: &str = "host-ports";
const PORTS_BY_ADDRESS: &str = "host-ports-by-address";
const HAIRPIN: &str = "hairpin";
const FAMILY: Family = Family::Ipv4;
/// nft's numbers of the types "address . port", "address . protocol . port" and so on: six bits for each part.
const ADDRESS_PORT: u32 = (7 << 6) | 13;

/// Which refusal means that there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tolerate {
    /// None.
    Nothing,
    /// The object is there already.
    Present,
    /// The object is gone already.
    Absent,
}

/// One effect on the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A request in the node's namespace.
    Node(Request, Tolerate),
    /// Requests in a pod's namespace.
    Pod(Namespace, Vec<Request>),
    /// A kernel setting of the node's namespace: name under `/proc/sys/net`, value.
    Setting(String, &'static str),
    /// One transaction on [`TABLE`]; removing a table that is not there is fine.
    Rules(Vec<Op>),
}

/// Where steps go: the kernel, or a recorder in tests.
pub trait Steps: Send {
    /// Does the steps in order and stops at the first that fails.
    fn run(&mut self, steps: &[Step]) -> Result<()>;
    /// The names of the pod links that the node has.
    fn pod_links(&mut self) -> Result<Vec<String>>;
}

/// Refuses settings that cannot work.
pub(super) fn check(config: &Config) -> Result<()> {
    let fail = |name, detail: String| Err(Error::Setting { name, detail });
    if config.pod_cidr.prefix_len() > 29 {
        return fail("pod-cidr", format!("{} has no room for pods", config.pod_cidr));
    }
    if config.bridge.is_empty() || config.bridge.len() > 15 || config.bridge.starts_with(LINK_PREFIX) {
        return fail("bridge", format!("{:?} cannot be a link's name", config.bridge));
    }
    let overlap = |a: Ipv4Net, b: Ipv4Net| a.contains(&b) || b.contains(&a);
    if overlap(config.cluster_cidr, config.service_cidr) || overlap(config.pod_cidr, config.service_cidr) {
        return fail("service-cidr", format!("{} overlaps the pods' range", config.service_cidr));
    }
    Ok(())
}

/// The node's end of the link of the pod at `address`.
pub(super) fn link_name(address: Ipv4Addr) -> String {
    format!("{LINK_PREFIX}{:08x}", u32::from(address))
}

fn mac(kind: u8, address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    // Locally administered, and different for the two ends.
    [0x0a, kind, a, b, c, d]
}

const POD_END: u8 = 0x58;
const NODE_END: u8 = 0x59;

fn single(address: Ipv4Addr) -> IpNet {
    IpNet::from(std::net::IpAddr::V4(address))
}

fn service_route(config: &Config) -> RouteSpec {
    let target = RouteTarget::Link { link: config.bridge.clone(), source: Some(ipam::gateway(config.pod_cidr).into()) };
    RouteSpec { destination: config.service_cidr.into(), target, metric: SERVICE_METRIC }
}

fn refused_ranges(config: &Config) -> Vec<RouteSpec> {
    let mut ranges = vec![config.cluster_cidr, config.service_cidr];
    if !config.cluster_cidr.contains(&config.pod_cidr) {
        ranges.push(config.pod_cidr);
    }
    let refuse = |range: Ipv4Net| RouteSpec {
        destination: IpNet::from(range.trunc()),
        target: RouteTarget::Unreachable,
        metric: UNREACHABLE_METRIC,
    };
    ranges.into_iter().map(refuse).collect()
}

/// Everything that exists once per node. Safe to run again.
pub(super) fn setup(config: &Config, ipam: &Ipam) -> Vec<Step> {
    let gateway = ipam::gateway(config.pod_cidr);
    let address = |address| Step::Node(Request::AddAddress { link: config.bridge.clone(), address: single(address) }, Tolerate::Present);
    // The refusals come first: from here on no packet for a pod or a service can leave the machine.
    let mut steps: Vec<Step> = refused_ranges(config).into_iter().map(|r| Step::Node(Request::SetRoute(r), Tolerate::Nothing)).collect();
    let bridge = Request::AddBridge { name: config.bridge.clone(), mac: mac(NODE_END, gateway), mtu: config.mtu };
    steps.push(Step::Node(Request::SetUp("lo".into()), Tolerate::Nothing));
    steps.push(Step::Node(bridge, Tolerate::Present));
    // The gateway address is the first on the bridge: it is the one that masquerading chooses.
    steps.push(address(gateway));
    steps.extend(config.local_addresses.iter().copied().map(address));
    steps.push(Step::Node(Request::SetUp(config.bridge.clone()), Tolerate::Nothing));
    steps.push(Step::Node(Request::SetRoute(service_route(config)), Tolerate::Nothing));
    steps.push(Step::Setting("ipv4/ip_forward".into(), "1"));
    steps.extend(rules(config, ipam));
    steps
}

/// Connects a pod.
pub(super) fn attach(config: &Config, address: Ipv4Addr, pod: &Namespace, ports: &[HostPort]) -> Vec<Step> {
    let gateway = ipam::gateway(config.pod_cidr);
    let link = link_name(address);
    let node = |request| Step::Node(request, Tolerate::Nothing);
    let to = |destination: IpNet, target| Request::SetRoute(RouteSpec { destination, target, metric: 0 });
    let pair = Request::AddVeth {
        name: link.clone(),
        mac: mac(NODE_END, address),
        peer: POD_LINK.into(),
        peer_mac: mac(POD_END, address),
        peer_namespace: pod.clone(),
        mtu: config.mtu,
    };
    let mut steps = vec![Step::Node(Request::DeleteLink(link.clone()), Tolerate::Absent), node(pair)];
    if !ports.is_empty() {
        // Connections to 127.0.0.1 on the node may lead to this pod.
        steps.push(Step::Setting(format!("ipv4/conf/{link}/route_localnet"), "1"));
    }
    let neighbour = |link: &str, address: Ipv4Addr, mac| Request::SetNeighbour { link: link.into(), address: address.into(), mac };
    steps.push(node(Request::SetUp(link.clone())));
    steps.push(node(neighbour(&link, address, mac(POD_END, address))));
    let inside = vec![
        Request::SetUp("lo".into()),
        Request::AddAddress { link: POD_LINK.into(), address: single(address) },
        Request::SetUp(POD_LINK.into()),
        neighbour(POD_LINK, gateway, mac(NODE_END, address)),
        to(single(gateway), RouteTarget::Link { link: POD_LINK.into(), source: None }),
        to(IpNet::from(Ipv4Net::default()), RouteTarget::Gateway { link: POD_LINK.into(), gateway: gateway.into() }),
    ];
    steps.push(Step::Pod(pod.clone(), inside));
    steps.push(node(to(single(address), RouteTarget::Link { link, source: Some(gateway.into()) })));
    let elements = port_elements(&ports.iter().map(|p| (address, *p)).collect::<Vec<_>>());
    if !elements.is_empty() {
        let add = |(set, key, value): (&str, Vec<u8>, Option<Data>)| Op::AddElements { set: set.into(), elements: vec![(key, value)] };
        steps.push(Step::Rules(elements.into_iter().map(add).collect()));
    }
    steps
}

/// Disconnects a pod. Routes and neighbours go with the link.
pub(super) fn detach(_config: &Config, address: Ipv4Addr, ports: &[HostPort]) -> Vec<Step> {
    let mut steps = vec![Step::Node(Request::DeleteLink(link_name(address)), Tolerate::Absent)];
    let elements = port_elements(&ports.iter().map(|p| (address, *p)).collect::<Vec<_>>());
    if !elements.is_empty() {
        let delete = |(set, key, _): (&str, Vec<u8>, Option<Data>)| Op::DeleteElements { set: set.into(), keys: vec![key] };
        steps.push(Step::Rules(elements.into_iter().map(delete).collect()));
    }
    steps
}

/// Removes links that belong to no pod.
pub(super) fn delete_links<'a>(links: impl Iterator<Item = &'a String>) -> Vec<Step> {
    links.map(|link| Step::Node(Request::DeleteLink(link.clone()), Tolerate::Absent)).collect()
}

/// Removes everything that [`setup`] and [`attach`] made.
pub(super) fn teardown(config: &Config, links: &[String]) -> Vec<Step> {
    let mut steps = delete_links(links.iter());
    steps.push(Step::Rules(vec![Op::DeleteTable { family: FAMILY, table: TABLE.into() }]));
    // The route through the bridge goes with the bridge.
    steps.push(Step::Node(Request::DeleteLink(config.bridge.clone()), Tolerate::Absent));
    let refused = refused_ranges(config).into_iter();
    steps.extend(refused.map(|r| Step::Node(Request::DeleteRoute(r), Tolerate::Absent)));
    steps
}

/// The entries of the rules' sets for host ports, each key once.
fn port_elements(ports: &[(Ipv4Addr, HostPort)]) -> Vec<(&'static str, Vec<u8>, Option<Data>)> {
    let mut elements: Vec<(&'static str, Vec<u8>, Option<Data>)> = Vec::new();
    for (address, port) in ports {
        let mut key = port.host_ip.map(|ip| ip.octets().to_vec()).unwrap_or_default();
        key.extend_from_slice(&nft::protocol_bytes(port.protocol.number()));
        key.extend_from_slice(&nft::port_bytes(port.host_port));
        let set = if port.host_ip.is_some() { PORTS_BY_ADDRESS } else { PORTS };
        let target = Data::socket((*address).into(), port.container_port);
        let hairpin = [address.octets(), address.octets()].concat();
        for element in [(set, key, Some(target)), (HAIRPIN, hairpin, None)] {
            if !elements.iter().any(|(set, key, _)| (*set, key) == (element.0, &element.1)) {
                elements.push(element);
            }
        }
    }
    elements
}

/// The whole table, made anew in one transaction.
pub(super) fn rules(config: &Config, ipam: &Ipam) -> Vec<Step> {
    let table = || (FAMILY, TABLE.to_owned());
    let add = |(family, table)| Op::AddTable { family, table };
    let delete = |(family, table)| Op::DeleteTable { family, table };
    let mut ops = vec![add(table()), delete(table()), add(table())];
    ops.extend(sets().into_iter().map(Op::AddSet));
    for (chain, kind, hook, priority, rules) in chains(config) {
        ops.push(Op::AddChain { chain: chain.into(), base: Some(BaseChain { kind, hook, priority }) });
        ops.extend(rules.into_iter().map(|rule| Op::AddRule { chain: chain.into(), rule }));
    }
    for (set, key, value) in port_elements(&ipam.all_host_ports()) {
        ops.push(Op::AddElements { set: set.into(), elements: vec![(key, value)] });
    }
    vec![Step::Rules(ops)]
}

fn sets() -> Vec<SetSpec> {
    let set = |name: &str, key_length, key_shown_as, content| SetSpec {
        name: name.into(),
        key_length,
        key_shown_as,
        content,
        timeout: None,
        limit: None,
    };
    let target = Content::Values { length: 8, shown_as: ADDRESS_PORT };
    vec![
        set(PORTS, 8, (12 << 6) | 13, target),
        set(PORTS_BY_ADDRESS, 12, (7 << 12) | (12 << 6) | 13, target),
        set(HAIRPIN, 8, (7 << 6) | 7, Content::Members),
    ]
}

type ChainPlan = (&'static str, ChainKind, Hook, i32, Vec<Rule>);

fn chains(config: &Config) -> Vec<ChainPlan> {
    let rule = || Rule::new(FAMILY);
    let net = |text: [u8; 4], prefix| IpNet::from(Ipv4Net::new(text.into(), prefix).unwrap_or_default());
    let (loopback, multicast) = (net([127, 0, 0, 0], 8), net([224, 0, 0, 0], 4));
    let to_pod = |fields: &[Field], set: &str, rule: Rule| {
        let lookup = Expr::Lookup { set: SetRef::Named(set.into()), key: Reg(0), into: Some(Reg(8)), inverted: false };
        rule.load(fields, Reg(0)).then(lookup).destination_nat(Reg(8))
    };
    let ports = || {
        vec![
            to_pod(&[Field::Destination, Field::Protocol, Field::DestinationPort], PORTS_BY_ADDRESS, rule()),
            to_pod(&[Field::Protocol, Field::DestinationPort], PORTS, rule().local(FibKey::DestinationType, Comparison::Equal)),
        ]
    };
    let outside = |rule: Rule, net: IpNet| rule.address(Field::Destination, Comparison::Different, net);
    let mut leaving = rule().address(Field::Source, Comparison::Equal, config.pod_cidr.trunc().into());
    for range in [config.cluster_cidr.trunc().into(), config.service_cidr.trunc().into(), multicast] {
        leaving = outside(leaving, range);
    }
    let sources = vec![
        rule().destination_was_rewritten().in_set(&[Field::Source, Field::Destination], HAIRPIN).masquerade(),
        rule().output_link_prefix(LINK_PREFIX).address(Field::Source, Comparison::Equal, loopback).masquerade(),
        leaving.masquerade(),
    ];
    let guard = rule().input_link_prefix(LINK_PREFIX).address(Field::Destination, Comparison::Equal, loopback).verdict(Verdict::Drop);
    vec![
        ("loopback-guard", ChainKind::Filter, Hook::Prerouting, RAW_PRIORITY, vec![guard]),
        ("host-ports-in", ChainKind::Nat, Hook::Prerouting, HOST_PORT_PRIORITY, ports()),
        ("host-ports-out", ChainKind::Nat, Hook::Output, HOST_PORT_PRIORITY, ports()),
        ("sources", ChainKind::Nat, Hook::Postrouting, SOURCE_NAT_PRIORITY, sources),
    ]
}
