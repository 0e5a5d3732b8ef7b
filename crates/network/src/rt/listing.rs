//! Links and routes as the kernel lists them.

use std::net::{IpAddr, Ipv4Addr};

use crate::netlink::{Attributes, Message, flags};

use super::encode::IFLA_IFNAME;

const RTM_GETLINK: u16 = 18;
const RTM_GETROUTE: u16 = 26;
const LINK_HEADER: usize = 16;
const ROUTE_HEADER: usize = 12;
const IFLA_MTU: u16 = 4;
const RTA_DST: u16 = 1;
const RTA_PRIORITY: u16 = 6;
const RT_TABLE_MAIN: u8 = 254;

/// A link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// An IPv4 route of the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The network.
    pub network: Ipv4Addr,
    /// Its prefix length.
    pub prefix: u8,
    /// Who made it; see [`super::ROUTE_ORIGIN`].
    pub origin: u8,
    /// The kernel's route type (1 unicast, 7 unreachable).
    pub class: u8,
    /// Lower wins.
    pub metric: u32,
}

pub(super) fn links_request() -> Message {
    Message::new(RTM_GETLINK, flags::DUMP, &[0; LINK_HEADER])
}

pub(super) fn link_request(name: &str) -> Message {
    let mut m = Message::new(RTM_GETLINK, 0, &[0; LINK_HEADER]);
    m.put_str(IFLA_IFNAME, name);
    m
}

pub(super) fn routes_request() -> Message {
    let mut header = [0; ROUTE_HEADER];
    if let Some(family) = header.first_mut() {
        *family = libc::AF_INET as u8;
    }
    Message::new(RTM_GETROUTE, flags::DUMP, &header)
}

pub(super) fn link(payload: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(payload.get(4..8)?.try_into().ok()?);
    let attributes = Attributes::new(payload.get(LINK_HEADER..)?);
    Some(Link {
        index,
        name: attributes.get(IFLA_IFNAME)?.text()?.to_owned(),
        mtu: attributes.get(IFLA_MTU).and_then(|a| number(a.payload)).unwrap_or(0),
    })
}

pub(super) fn route(payload: &[u8]) -> Option<Route> {
    let header = payload.get(..ROUTE_HEADER)?;
    let (prefix, table, origin, class) = (header.get(1)?, header.get(4)?, header.get(5)?, header.get(7)?);
    if *table != RT_TABLE_MAIN {
        return None;
    }
    let attributes = Attributes::new(payload.get(ROUTE_HEADER..)?);
    let network = match attributes.get(RTA_DST) {
        Some(a) => Ipv4Addr::from(<[u8; 4]>::try_from(a.payload).ok()?),
        None => Ipv4Addr::UNSPECIFIED,
    };
    let metric = attributes.get(RTA_PRIORITY).and_then(|a| number(a.payload)).unwrap_or(0);
    Some(Route { network, prefix: *prefix, origin: *origin, class: *class, metric })
}

impl Route {
    /// Whether the route covers `address`.
    pub fn covers(&self, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else {
            return false;
        };
        ipnet::Ipv4Net::new(self.network, self.prefix).is_ok_and(|net| net.contains(&address))
    }
}

fn number(payload: &[u8]) -> Option<u32> {
    payload.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_listing_is_read_without_panic(payload in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (link(&payload), route(&payload));
        }
    }
}
