//! The part of the table that is the same for all services: hooks, dispatch maps, refusals, masquerading.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{NodeFacts, NodePortAddresses};
use crate::nft::{
    BaseChain, ChainKind, Comparison, Content, Expr, Family, FibKey, Field, Hook, Op, Reg, Reject, Rule, SetSpec, Verdict, address_bytes,
    port_bytes,
};

/// The proxy's nftables table.
pub const TABLE: &str = "ferry-proxy";
/// The packet mark between rewriting the destination and masquerading; the bit that kube-proxy uses too.
pub const MASQUERADE_MARK: u32 = 0x4000;

/// address . protocol . port → chain of the service.
pub(super) const SERVICE_IPS: &str = "service-ips";
/// protocol . port → chain of the service.
pub(super) const NODE_PORTS: &str = "service-nodeports";
/// address . protocol . port → refuse or drop.
pub(super) const NO_ENDPOINTS: &str = "no-endpoint-services";
/// protocol . port → refuse or drop.
pub(super) const NO_ENDPOINT_NODE_PORTS: &str = "no-endpoint-nodeports";
/// address . protocol . port → chain that checks the source.
pub(super) const FIREWALL_IPS: &str = "firewall-ips";
/// All ClusterIPs in use.
pub(super) const CLUSTER_IPS: &str = "cluster-ips";
/// address . address of endpoints on this node: a pod that reaches itself by a service.
pub(super) const HAIRPIN: &str = "hairpin-connections";
const NODE_PORT_IPS: &str = "nodeport-ips";

/// Refuses the packet.
pub(super) const REJECT_CHAIN: &str = "reject-chain";
const SERVICES: &str = "services";
const FIREWALL: &str = "firewall-check";
const ENDPOINTS: &str = "service-endpoints-check";
const NODE_PORT_ENDPOINTS: &str = "nodeport-endpoints-check";
const CLUSTER_IP_CHECK: &str = "cluster-ips-check";

const DESTINATION_NAT: i32 = -100;
const BEFORE_DESTINATION_NAT: i32 = -110;
const FILTER: i32 = 0;
const SOURCE_NAT: i32 = 100;

/// The three parts of a dispatch key.
pub(super) const BY_ADDRESS: [Field; 3] = [Field::Destination, Field::Protocol, Field::DestinationPort];
/// The two parts of a NodePort's key.
pub(super) const BY_PORT: [Field; 2] = [Field::Protocol, Field::DestinationPort];

/// Makes the table anew: what was in it is gone in the same transaction.
pub(super) fn table(family: Family, facts: &NodeFacts) -> Vec<Op> {
    let table = || TABLE.to_owned();
    let mut ops =
        vec![Op::AddTable { family, table: table() }, Op::DeleteTable { family, table: table() }, Op::AddTable { family, table: table() }];
    ops.extend(sets(family));
    if let NodePortAddresses::Only(addresses) = &facts.node_port_addresses {
        let members = addresses.iter().filter(|a| family.holds(**a) && !a.is_loopback());
        let elements = members.map(|a| (address_bytes(*a), None)).collect();
        ops.push(Op::AddSet(set(family, NODE_PORT_IPS, &[Field::Destination], Content::Members)));
        ops.push(Op::AddElements { set: NODE_PORT_IPS.into(), elements });
    }
    for chain in [SERVICES, FIREWALL, ENDPOINTS, NODE_PORT_ENDPOINTS, CLUSTER_IP_CHECK, REJECT_CHAIN] {
        ops.push(Op::AddChain { chain: chain.into(), base: None });
    }
    for (chain, base, _) in hooks(family) {
        ops.push(Op::AddChain { chain: chain.into(), base: Some(base) });
    }
    let all = hooks(family).into_iter().map(|(chain, _, rules)| (chain, rules)).chain(chains(family, facts));
    for (chain, rules) in all {
        ops.extend(rules.into_iter().map(|rule| Op::AddRule { chain: chain.into(), rule }));
    }
    ops
}

/// How many rules each chain of the base has.
pub(super) fn rule_counts(family: Family, facts: &NodeFacts) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for op in table(family, facts) {
        match op {
            Op::AddChain { chain, .. } => *counts.entry(chain).or_insert(0) += 0,
            Op::AddRule { chain, .. } => *counts.entry(chain).or_insert(0) += 1,
            _ => {}
        }
    }
    counts
}

/// The shape of a set whose keys are `fields`.
pub(super) fn set(family: Family, name: &str, fields: &[Field], content: Content) -> SetSpec {
    let registers: u32 = fields.iter().map(|f| u32::from(f.registers(family))).sum();
    let key_shown_as = fields.iter().fold(0, |shown, f| (shown << 6) | f.shown_as(family));
    SetSpec { name: name.into(), key_length: registers * 4, key_shown_as, content, timeout: None, limit: None }
}

fn sets(family: Family) -> Vec<Op> {
    let shapes: [(&str, &[Field], Content); 7] = [
        (SERVICE_IPS, &BY_ADDRESS, Content::Verdicts),
        (NODE_PORTS, &BY_PORT, Content::Verdicts),
        (NO_ENDPOINTS, &BY_ADDRESS, Content::Verdicts),
        (NO_ENDPOINT_NODE_PORTS, &BY_PORT, Content::Verdicts),
        (FIREWALL_IPS, &BY_ADDRESS, Content::Verdicts),
        (CLUSTER_IPS, &[Field::Destination], Content::Members),
        (HAIRPIN, &[Field::Source, Field::Destination], Content::Members),
    ];
    shapes.into_iter().map(|(name, fields, content)| Op::AddSet(set(family, name, fields, content))).collect()
}

fn hooks(family: Family) -> Vec<(&'static str, BaseChain, Vec<Rule>)> {
    let base = |kind, hook, priority| BaseChain { kind, hook, priority };
    let jump = |chain: &str| Rule::new(family).verdict(Verdict::Jump(chain.into()));
    let first = |chain: &str| Rule::new(family).new_connection().verdict(Verdict::Jump(chain.into()));
    let (nat, filter) = (ChainKind::Nat, ChainKind::Filter);
    let masquerade = vec![
        Rule::new(family).marked(MASQUERADE_MARK).clear_mark_bits(MASQUERADE_MARK).masquerade(),
        Rule::new(family).destination_was_rewritten().in_set(&[Field::Source, Field::Destination], HAIRPIN).masquerade(),
    ];
    vec![
        ("firewall-in", base(filter, Hook::Prerouting, BEFORE_DESTINATION_NAT), vec![first(FIREWALL)]),
        ("firewall-out", base(filter, Hook::Output, BEFORE_DESTINATION_NAT), vec![first(FIREWALL)]),
        ("nat-in", base(nat, Hook::Prerouting, DESTINATION_NAT), vec![jump(SERVICES)]),
        ("nat-out", base(nat, Hook::Output, DESTINATION_NAT), vec![jump(SERVICES)]),
        ("nat-leaving", base(nat, Hook::Postrouting, SOURCE_NAT), masquerade),
        ("filter-in", base(filter, Hook::Input, FILTER), vec![first(NODE_PORT_ENDPOINTS), first(ENDPOINTS)]),
        ("filter-forward", base(filter, Hook::Forward, FILTER), vec![first(ENDPOINTS), first(CLUSTER_IP_CHECK)]),
        ("filter-out", base(filter, Hook::Output, FILTER), vec![first(ENDPOINTS), first(CLUSTER_IP_CHECK)]),
    ]
}

fn chains(family: Family, facts: &NodeFacts) -> Vec<(&'static str, Vec<Rule>)> {
    let rule = || Rule::new(family);
    let node_port = |map: &str| {
        let loopback: IpNet = match family {
            Family::Ipv4 => ipnet::Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8).unwrap_or_default().into(),
            Family::Ipv6 => IpNet::from(IpAddr::V6(Ipv6Addr::LOCALHOST)),
        };
        match facts.node_port_addresses {
            NodePortAddresses::All => rule()
                .local(FibKey::DestinationType, Comparison::Equal)
                .address(Field::Destination, Comparison::Different, loopback)
                .verdict_map(&BY_PORT, map),
            NodePortAddresses::Only(_) => rule().in_set(&[Field::Destination], NODE_PORT_IPS).verdict_map(&BY_PORT, map),
        }
    };
    // Someone outside routes a service address to this node: answers must come back through it.
    let mut foreign = rule().in_set(&[Field::Destination], CLUSTER_IPS);
    for pods in NodeFacts::of_family(&facts.cluster_cidrs, family) {
        foreign = foreign.address(Field::Source, Comparison::Different, pods);
    }
    let mut refuse = vec![
        rule().local(FibKey::DestinationType, Comparison::Equal).verdict(Verdict::Return),
        rule().in_set(&[Field::Destination], CLUSTER_IPS).reject(Reject::PortUnreachable),
    ];
    let unowned = NodeFacts::of_family(&facts.service_cidrs, family);
    refuse.extend(unowned.map(|net| rule().address(Field::Destination, Comparison::Equal, net.trunc()).reject(Reject::HostUnreachable)));
    vec![
        (SERVICES, vec![foreign.set_mark_bits(MASQUERADE_MARK), rule().verdict_map(&BY_ADDRESS, SERVICE_IPS), node_port(NODE_PORTS)]),
        (FIREWALL, vec![rule().verdict_map(&BY_ADDRESS, FIREWALL_IPS)]),
        (ENDPOINTS, vec![rule().verdict_map(&BY_ADDRESS, NO_ENDPOINTS)]),
        (NODE_PORT_ENDPOINTS, vec![node_port(NO_ENDPOINT_NODE_PORTS)]),
        (CLUSTER_IP_CHECK, refuse),
        (REJECT_CHAIN, vec![rule().reject(Reject::PortUnreachable)]),
    ]
}

/// The steps that send a packet to one of `targets` by chance; the target stands from register 8 on.
pub(super) fn choose(rule: Rule, targets: &[(IpAddr, u16)]) -> Rule {
    use crate::nft::{Anonymous, Data, SetRef};
    if let [(address, port)] = targets {
        // Apart, since one load takes at most 16 bytes.
        let port_at = Reg(8 + Field::Destination.registers(rule.family()));
        return rule
            .then(Expr::Load { value: address_bytes(*address), into: Reg(8) })
            .then(Expr::Load { value: port_bytes(*port).to_vec(), into: port_at });
    }
    let modulus = u32::try_from(targets.len()).unwrap_or(u32::MAX);
    let elements = (0u32..).zip(targets).map(|(n, (a, p))| (n.to_ne_bytes().to_vec(), Some(Data::socket(*a, *p))));
    let value_length = Some(rule.family().address_length() + 4);
    let set = SetRef::Anonymous(Anonymous { key_length: 4, value_length, elements: elements.collect() });
    rule.then(Expr::Random { modulus, into: Reg(4) }).then(Expr::Lookup { set, key: Reg(4), into: Some(Reg(8)), inverted: false })
}
