//! nf_tables by netlink: tables, chains, sets, maps, rules and their expressions, sent as transactions.
//! Source: `linux/netfilter/nf_tables.h` for numbers, nft(8) for meanings.
//!
//! An [`Op`] says one change; a slice of them is one transaction: the kernel does all of it or nothing.

mod encode;
mod expr;
mod kernel;
mod listing;
mod ops;
mod rule;

pub use expr::{Anonymous, Comparison, Data, Expr, FibKey, Reg, Reject, SetRef, Verdict};
pub use kernel::{Nft, NftSocket};
pub use listing::{ChainListing, SetListing};
pub use ops::{BaseChain, ChainKind, Content, Hook, Op, SetSpec};
pub use rule::{Field, Rule};

/// The packets that a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The kernel's number.
    pub fn number(self) -> u8 {
        match self {
            Self::Ipv4 => 2,
            Self::Ipv6 => 10,
        }
    }

    /// Bytes of an address.
    pub fn address_length(self) -> u32 {
        match self {
            Self::Ipv4 => 4,
            Self::Ipv6 => 16,
        }
    }

    /// Whether `address` is of this family.
    pub fn holds(self, address: std::net::IpAddr) -> bool {
        address.is_ipv4() == (self == Self::Ipv4)
    }
}

/// The bytes of an address as a set key or value holds them.
pub fn address_bytes(address: std::net::IpAddr) -> Vec<u8> {
    match address {
        std::net::IpAddr::V4(a) => a.octets().to_vec(),
        std::net::IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// A port as one part of a concatenated key or value: network byte order, filled up to a register.
pub fn port_bytes(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

/// A layer 4 protocol number as one part of a concatenated key: filled up to a register.
pub fn protocol_bytes(protocol: u8) -> [u8; 4] {
    [protocol, 0, 0, 0]
}
