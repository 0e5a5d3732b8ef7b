//! [`Request`] to bytes.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _};

use super::{Mac, ROUTE_ORIGIN, Request, RouteSpec, RouteTarget};
use crate::netlink::{Message, flags};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_NEWNEIGH: u16 = 28;

const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFF_UP: u32 = 1;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTN_UNICAST: u8 = 1;
const RTN_UNREACHABLE: u8 = 7;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;

/// Encodes `request`; `index` is its link's number, 0 for requests that go by name.
pub(super) fn request(request: &Request, index: u32) -> Message {
    match request {
        Request::AddBridge { name, mac, mtu } => {
            let mut m = new_link(name, mac, *mtu);
            m.nest(IFLA_LINKINFO, |m| {
                m.put(IFLA_INFO_KIND, b"bridge");
            });
            m
        }
        Request::AddVeth { name, mac, peer, peer_mac, peer_namespace, mtu } => {
            let mut m = new_link(name, mac, *mtu);
            let namespace = peer_namespace.as_fd().as_raw_fd().cast_unsigned();
            m.nest(IFLA_LINKINFO, |m| {
                m.put(IFLA_INFO_KIND, b"veth").nest(IFLA_INFO_DATA, |m| {
                    m.nest(VETH_INFO_PEER, |m| {
                        m.raw(&link_header(0, 0)).put_str(IFLA_IFNAME, peer).put(IFLA_ADDRESS, peer_mac);
                        m.put_u32(IFLA_MTU, *mtu).put_u32(IFLA_NET_NS_FD, namespace);
                    });
                });
            });
            m
        }
        Request::SetUp(name) => {
            let mut m = Message::new(RTM_NEWLINK, 0, &link_header(IFF_UP, IFF_UP));
            m.put_str(IFLA_IFNAME, name);
            m
        }
        Request::DeleteLink(name) => {
            let mut m = Message::new(RTM_DELLINK, 0, &link_header(0, 0));
            m.put_str(IFLA_IFNAME, name);
            m
        }
        Request::AddAddress { address, .. } => {
            let mut m = address_message(RTM_NEWADDR, flags::CREATE | flags::EXCL, *address, index);
            m.put_u32(IFA_FLAGS, IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
            m
        }
        Request::DeleteAddress { address, .. } => address_message(RTM_DELADDR, 0, *address, index),
        Request::SetRoute(spec) => route(RTM_NEWROUTE, flags::CREATE | flags::REPLACE, spec, index),
        Request::DeleteRoute(spec) => route(RTM_DELROUTE, 0, spec, index),
        Request::SetNeighbour { address, mac, .. } => {
            let mut header = vec![family(*address), 0, 0, 0];
            header.extend_from_slice(&index.to_ne_bytes());
            header.extend_from_slice(&NUD_PERMANENT.to_ne_bytes());
            header.extend_from_slice(&[0, 0]);
            let mut m = Message::new(RTM_NEWNEIGH, flags::CREATE | flags::REPLACE, &header);
            m.put(NDA_DST, &octets(*address)).put(NDA_LLADDR, mac);
            m
        }
    }
}

fn new_link(name: &str, mac: &Mac, mtu: u32) -> Message {
    let mut m = Message::new(RTM_NEWLINK, flags::CREATE | flags::EXCL, &link_header(0, 0));
    m.put_str(IFLA_IFNAME, name).put(IFLA_ADDRESS, mac).put_u32(IFLA_MTU, mtu);
    m
}

fn link_header(flags: u32, change: u32) -> Vec<u8> {
    let mut header = vec![0u8; 8];
    header.extend_from_slice(&flags.to_ne_bytes());
    header.extend_from_slice(&change.to_ne_bytes());
    header
}

fn address_message(kind: u16, flags: u16, address: ipnet::IpNet, index: u32) -> Message {
    let mut header = vec![family(address.addr()), address.prefix_len(), 0, 0];
    header.extend_from_slice(&index.to_ne_bytes());
    let mut m = Message::new(kind, flags, &header);
    m.put(IFA_LOCAL, &octets(address.addr())).put(IFA_ADDRESS, &octets(address.addr()));
    m
}

fn route(kind: u16, flags: u16, spec: &RouteSpec, index: u32) -> Message {
    let network = spec.destination.network();
    let (scope, class) = match spec.target {
        RouteTarget::Link { .. } => (RT_SCOPE_LINK, RTN_UNICAST),
        RouteTarget::Gateway { .. } => (RT_SCOPE_UNIVERSE, RTN_UNICAST),
        RouteTarget::Unreachable => (RT_SCOPE_UNIVERSE, RTN_UNREACHABLE),
    };
    let header = [family(network), spec.destination.prefix_len(), 0, 0, RT_TABLE_MAIN, ROUTE_ORIGIN, scope, class, 0, 0, 0, 0];
    let mut m = Message::new(kind, flags, &header);
    if spec.destination.prefix_len() > 0 {
        m.put(RTA_DST, &octets(network));
    }
    m.put_u32(RTA_PRIORITY, spec.metric);
    match &spec.target {
        RouteTarget::Link { source, .. } => {
            m.put_u32(RTA_OIF, index);
            if let Some(source) = source {
                m.put(RTA_PREFSRC, &octets(*source));
            }
        }
        RouteTarget::Gateway { gateway, .. } => {
            m.put_u32(RTA_OIF, index).put(RTA_GATEWAY, &octets(*gateway));
        }
        RouteTarget::Unreachable => {}
    }
    m
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}
