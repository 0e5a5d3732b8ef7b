//! Rules by small steps: each method adds the expressions of one thought.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use super::{Comparison, Data, Expr, Family, FibKey, Reg, Reject, SetRef, Verdict, address_bytes};

/// The route type "an address of this machine".
const RTN_LOCAL: u32 = 2;
/// A connection's first packet.
const STATE_NEW: u32 = 8;
/// The destination was rewritten.
const STATUS_DESTINATION_NAT: u32 = 32;

/// A part of a lookup key, taken from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Source address.
    Source,
    /// Destination address.
    Destination,
    /// Layer 4 protocol number.
    Protocol,
    /// Destination port.
    DestinationPort,
}

impl Field {
    /// Registers that the field takes.
    pub fn registers(self, family: Family) -> u8 {
        match self {
            Self::Source | Self::Destination if family == Family::Ipv6 => 4,
            _ => 1,
        }
    }

    /// nft's number of the field's type.
    pub fn shown_as(self, family: Family) -> u32 {
        match (self, family) {
            (Self::Source | Self::Destination, Family::Ipv4) => 7,
            (Self::Source | Self::Destination, Family::Ipv6) => 8,
            (Self::Protocol, _) => 12,
            (Self::DestinationPort, _) => 13,
        }
    }
}

/// A rule of one family under construction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    family: Family,
    /// The steps so far.
    pub exprs: Vec<Expr>,
}

impl Rule {
    /// A rule that matches everything and does nothing.
    pub fn new(family: Family) -> Self {
        Self { family, exprs: Vec::new() }
    }

    /// Adds any step.
    pub fn then(mut self, expr: Expr) -> Self {
        self.exprs.push(expr);
        self
    }

    /// Loads `fields` one after the other from register `at` on, as a concatenated key has them.
    pub fn load(mut self, fields: &[Field], at: Reg) -> Self {
        let mut next = at.0;
        for field in fields {
            let into = Reg(next);
            let length = self.family.address_length();
            let (source, destination) = match self.family {
                Family::Ipv4 => (12, 16),
                Family::Ipv6 => (8, 24),
            };
            self.exprs.push(match field {
                Field::Source => Expr::NetworkHeader { offset: source, length, into },
                Field::Destination => Expr::NetworkHeader { offset: destination, length, into },
                Field::Protocol => Expr::Protocol { into },
                Field::DestinationPort => Expr::TransportHeader { offset: 2, length: 2, into },
            });
            next = next.saturating_add(field.registers(self.family));
        }
        self
    }

    fn compare(self, load: impl FnOnce(Reg) -> Expr, how: Comparison, with: Vec<u8>) -> Self {
        self.then(load(Reg(0))).then(Expr::Compare { reg: Reg(0), how, with })
    }

    /// Only packets whose `field` address is in (or, `Different`, outside) `net`.
    pub fn address(self, field: Field, how: Comparison, net: IpNet) -> Self {
        let (mask, network) = (address_bytes(net.netmask()), address_bytes(net.network()));
        let xor = vec![0; mask.len()];
        let rule = self.load(&[field], Reg(0));
        let rule = if net.prefix_len() == net.max_prefix_len() {
            rule
        } else {
            rule.then(Expr::Bitwise { from: Reg(0), into: Reg(0), mask, xor })
        };
        rule.then(Expr::Compare { reg: Reg(0), how, with: network })
    }

    /// Only packets whose `key` address is (or is not) one of this machine's.
    pub fn local(self, key: FibKey, how: Comparison) -> Self {
        self.compare(|into| Expr::Fib { key, into }, how, RTN_LOCAL.to_ne_bytes().to_vec())
    }

    /// Only the first packet of a connection.
    pub fn new_connection(self) -> Self {
        self.then(Expr::ConnectionState { into: Reg(0) }).bits(STATE_NEW)
    }

    /// Only packets of connections whose destination was rewritten.
    pub fn destination_was_rewritten(self) -> Self {
        self.then(Expr::ConnectionStatus { into: Reg(0) }).bits(STATUS_DESTINATION_NAT)
    }

    /// Only packets that carry a bit of `mark`.
    pub fn marked(self, mark: u32) -> Self {
        self.then(Expr::Mark { into: Reg(0) }).bits(mark)
    }

    fn bits(self, mask: u32) -> Self {
        self.then(Expr::Bitwise { from: Reg(0), into: Reg(0), mask: mask.to_ne_bytes().to_vec(), xor: vec![0; 4] }).then(Expr::Compare {
            reg: Reg(0),
            how: Comparison::Different,
            with: vec![0; 4],
        })
    }

    /// Sets the bits `mark` of the packet's mark.
    pub fn set_mark_bits(self, mark: u32) -> Self {
        let (mask, xor) = ((!mark).to_ne_bytes().to_vec(), mark.to_ne_bytes().to_vec());
        self.then(Expr::Mark { into: Reg(0) })
            .then(Expr::Bitwise { from: Reg(0), into: Reg(0), mask, xor })
            .then(Expr::SetMark { from: Reg(0) })
    }

    /// Clears the bits `mark` of the packet's mark.
    pub fn clear_mark_bits(self, mark: u32) -> Self {
        self.then(Expr::Mark { into: Reg(0) })
            .then(Expr::Bitwise { from: Reg(0), into: Reg(0), mask: (!mark).to_ne_bytes().to_vec(), xor: vec![0; 4] })
            .then(Expr::SetMark { from: Reg(0) })
    }

    /// Only packets that came in by a link whose name starts with `prefix`.
    pub fn input_link_prefix(self, prefix: &str) -> Self {
        self.compare(|into| Expr::InputLink { into }, Comparison::Equal, prefix.as_bytes().to_vec())
    }

    /// Only packets that leave by a link whose name starts with `prefix`.
    pub fn output_link_prefix(self, prefix: &str) -> Self {
        self.compare(|into| Expr::OutputLink { into }, Comparison::Equal, prefix.as_bytes().to_vec())
    }

    /// The verdict that the map `name` has for `fields`; no entry, no verdict.
    pub fn verdict_map(self, fields: &[Field], name: &str) -> Self {
        self.load(fields, Reg(0)).then(Expr::VerdictLookup { set: SetRef::Named(name.into()), key: Reg(0) })
    }

    /// Only packets whose `fields` are in the set `name`.
    pub fn in_set(self, fields: &[Field], name: &str) -> Self {
        self.load(fields, Reg(0)).then(Expr::Lookup { set: SetRef::Named(name.into()), key: Reg(0), into: None, inverted: false })
    }

    /// Ends with a verdict.
    pub fn verdict(self, verdict: Verdict) -> Self {
        self.then(Expr::Verdict(verdict))
    }

    /// Ends by refusing the packet.
    pub fn reject(self, how: Reject) -> Self {
        self.then(Expr::Reject(how))
    }

    /// Ends by rewriting the source.
    pub fn masquerade(self) -> Self {
        self.then(Expr::Masquerade)
    }

    /// Ends by rewriting destination address and port to what stands from register `at` on.
    pub fn destination_nat(self, at: Reg) -> Self {
        let port = Reg(at.0.saturating_add(Field::Destination.registers(self.family)));
        self.then(Expr::DestinationNat { address: at, port: Some(port) })
    }

    /// Remembers `key → value` (both in registers) in the dynamic map `set`.
    pub fn remember(self, set: &str, key: Reg, value: Reg, timeout: Duration) -> Self {
        self.then(Expr::Remember { set: set.into(), key, value: Some(value), timeout })
    }

    /// The family it is for.
    pub fn family(&self) -> Family {
        self.family
    }
}

impl Data {
    /// Address and port as a value that [`Rule::destination_nat`] reads.
    pub fn socket(address: IpAddr, port: u16) -> Self {
        let mut bytes = address_bytes(address);
        bytes.extend_from_slice(&super::port_bytes(port));
        Self::Value(bytes)
    }
}
