//! The kernel's connection table: which UDP flows are tracked, and forgetting those that lead to a dead address.
//! Source: `linux/netfilter/nfnetlink_conntrack.h`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::Result;
use crate::netlink::{self, Attribute, Attributes, Message, Socket, flags};
use crate::netns::Namespace;
use crate::nft::Family;

const SUBSYSTEM: u16 = 1;
const GET: u16 = (SUBSYSTEM << 8) | 1;
const DELETE: u16 = (SUBSYSTEM << 8) | 2;
const TUPLE_ORIGINAL: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const NESTED: u16 = 0x8000;
const HEADER: usize = 4;
/// Layer 4 protocol number of UDP.
pub const UDP: u8 = 17;

/// One direction of a tracked flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Direction {
    /// Sender.
    pub source: IpAddr,
    /// Receiver.
    pub destination: IpAddr,
    /// Sender's port; 0 for protocols without.
    pub source_port: u16,
    /// Receiver's port; 0 for protocols without.
    pub destination_port: u16,
}

/// A tracked flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Layer 4 protocol number.
    pub protocol: u8,
    /// As the first packet was sent.
    pub original: Direction,
    /// As answers come: after address translation.
    pub reply: Direction,
}

/// Where stale flows are forgotten: the kernel, or a recorder in tests.
pub trait Flows: Send {
    /// Forgets every UDP flow of `family` that `stale` says; returns how many.
    fn forget_udp(&mut self, family: Family, stale: &dyn Fn(&Flow) -> bool) -> Result<usize>;
}

/// The connection table of one network namespace.
#[derive(Debug)]
pub struct FlowTable {
    socket: Socket,
}

impl FlowTable {
    /// Opens it in `namespace`.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        Ok(Self { socket: Socket::open_in(netlink::Family::Netfilter, namespace)? })
    }
}

impl Flows for FlowTable {
    fn forget_udp(&mut self, family: Family, stale: &dyn Fn(&Flow) -> bool) -> Result<usize> {
        let header = [family.number(), 0, 0, 0];
        let mut doomed: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
        self.socket.query(
            Message::new(GET, flags::DUMP, &header),
            || "list tracked connections".into(),
            |m| {
                if let Some((flow, tuple, id)) = flow(m.payload)
                    && flow.protocol == UDP
                    && stale(&flow)
                {
                    doomed.push((tuple, id));
                }
            },
        )?;
        let mut forgotten = 0;
        for (tuple, id) in doomed {
            let mut m = Message::new(DELETE, 0, &header);
            m.put(TUPLE_ORIGINAL | NESTED, &tuple);
            if let Some(id) = id {
                m.put(ID, &id);
            }
            match self.socket.execute(m, || "forget a tracked connection".into()) {
                Ok(()) => forgotten += 1,
                // It ended by itself in between.
                Err(e) if e.is_absent() => {}
                Err(e) => return Err(e),
            }
        }
        Ok(forgotten)
    }
}

/// A flow, the raw original tuple that names it, and its identifier (so that a newer flow of the same tuple stays).
fn flow(payload: &[u8]) -> Option<(Flow, Vec<u8>, Option<Vec<u8>>)> {
    let attributes = Attributes::new(payload.get(HEADER..)?);
    let original = attributes.get(TUPLE_ORIGINAL)?;
    let (protocol, there) = direction(original)?;
    let (_, back) = direction(attributes.get(TUPLE_REPLY)?)?;
    let id = attributes.get(ID).map(|a| a.payload.to_vec());
    Some((Flow { protocol, original: there, reply: back }, original.payload.to_vec(), id))
}

fn direction(tuple: Attribute<'_>) -> Option<(u8, Direction)> {
    let addresses = tuple.nested().get(1)?;
    let ports = tuple.nested().get(2)?;
    let address = |v4: u16, v6: u16| -> Option<IpAddr> {
        if let Some(a) = addresses.nested().get(v4) {
            return Some(Ipv4Addr::from(<[u8; 4]>::try_from(a.payload).ok()?).into());
        }
        let a = addresses.nested().get(v6)?;
        Some(Ipv6Addr::from(<[u8; 16]>::try_from(a.payload).ok()?).into())
    };
    let protocol = *ports.nested().get(1)?.payload.first()?;
    let port = |kind: u16| -> u16 {
        let bytes = ports.nested().get(kind).and_then(|a| a.payload.get(..2)?.try_into().ok());
        bytes.map_or(0, u16::from_be_bytes)
    };
    let direction = Direction { source: address(1, 3)?, destination: address(2, 4)?, source_port: port(2), destination_port: port(3) };
    Some((protocol, direction))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_flow_is_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = flow(&payload);
        }
    }
}
