//! Routing netlink: the few requests about links, addresses, routes and neighbours that a node needs.
//! Source: rtnetlink(7), `linux/if_link.h`, `linux/rtnetlink.h`.

mod encode;
mod listing;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::error::{Error, Result};
use crate::netlink::{Family, Message, Socket};
use crate::netns::Namespace;

pub use listing::{Link, Route};

/// A link-layer address.
pub type Mac = [u8; 6];

/// The origin that this crate's routes carry, so that they can be told from anybody else's.
pub const ROUTE_ORIGIN: u8 = 70;

/// One change. Names are resolved in the namespace of the socket it is sent on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Makes a bridge, down and without address.
    AddBridge {
        /// Its name, at most 15 bytes.
        name: String,
        /// A fixed link address; without one it would change with the lowest port.
        mac: Mac,
        /// Largest packet, in bytes.
        mtu: u32,
    },
    /// Makes a pair of links, one end here, the other in another namespace.
    AddVeth {
        /// The end here.
        name: String,
        /// Its link address.
        mac: Mac,
        /// The other end's name.
        peer: String,
        /// The other end's link address.
        peer_mac: Mac,
        /// Where the other end goes.
        peer_namespace: Namespace,
        /// Largest packet, in bytes.
        mtu: u32,
    },
    /// Brings a link up.
    SetUp(String),
    /// Removes a link (and the other end of a pair).
    DeleteLink(String),
    /// Puts an address on a link, without a route for its prefix.
    AddAddress {
        /// The link.
        link: String,
        /// Address and prefix length.
        address: IpNet,
    },
    /// Takes an address from a link.
    DeleteAddress {
        /// The link.
        link: String,
        /// Address and prefix length.
        address: IpNet,
    },
    /// Adds or replaces a route in the main table.
    SetRoute(RouteSpec),
    /// Removes a route.
    DeleteRoute(RouteSpec),
    /// Adds or replaces a permanent neighbour, so that no packet waits for its link address.
    SetNeighbour {
        /// The link.
        link: String,
        /// The neighbour.
        address: IpAddr,
        /// Its link address.
        mac: Mac,
    },
}

/// A route in the main table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSpec {
    /// Which packets.
    pub destination: IpNet,
    /// Where to.
    pub target: RouteTarget,
    /// Lower wins among routes to the same destination.
    pub metric: u32,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteTarget {
    /// Directly out of a link, with a preferred source address.
    Link {
        /// The link.
        link: String,
        /// The source address of packets that start here.
        source: Option<IpAddr>,
    },
    /// To a gateway that is reached by a link.
    Gateway {
        /// The link.
        link: String,
        /// The next hop.
        gateway: IpAddr,
    },
    /// Nowhere: senders are told at once.
    Unreachable,
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AddBridge { name, .. } => write!(f, "add bridge {name}"),
            Self::AddVeth { name, peer, peer_namespace, .. } => {
                write!(f, "add link pair {name} and {peer} in {}", peer_namespace.path().display())
            }
            Self::SetUp(name) => write!(f, "set link {name} up"),
            Self::DeleteLink(name) => write!(f, "delete link {name}"),
            Self::AddAddress { link, address } => write!(f, "add address {address} to link {link}"),
            Self::DeleteAddress { link, address } => {
                write!(f, "delete address {address} from link {link}")
            }
            Self::SetRoute(route) => write!(f, "set route to {}", route.destination),
            Self::DeleteRoute(route) => write!(f, "delete route to {}", route.destination),
            Self::SetNeighbour { link, address, .. } => {
                write!(f, "set neighbour {address} on link {link}")
            }
        }
    }
}

/// A routing netlink socket in one namespace.
#[derive(Debug)]
pub struct Router {
    socket: Socket,
}

impl Router {
    /// Opens it in the calling thread's namespace.
    pub fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(Family::Route)? })
    }

    /// Opens it in `namespace`.
    pub fn open_in(namespace: &Namespace) -> Result<Self> {
        Ok(Self { socket: Socket::open_in(Family::Route, namespace)? })
    }

    /// Does one change. Deleting what is not there and adding what is there are errors
    /// (see [`Error::is_absent`] and [`Error::is_present`]).
    pub fn apply(&mut self, request: &Request) -> Result<()> {
        let index = match request.link() {
            Some(name) => self.index_of(name).map_err(|e| renamed(e, request))?,
            None => 0,
        };
        self.socket.execute(encode::request(request, index), || request.to_string())
    }

    /// All links of the namespace.
    pub fn links(&mut self) -> Result<Vec<Link>> {
        let mut found = Vec::new();
        self.socket.query(listing::links_request(), || "list links".into(), |m| found.extend(listing::link(m.payload)))?;
        Ok(found)
    }

    /// All IPv4 routes of the main table.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut found = Vec::new();
        self.socket.query(
            listing::routes_request(),
            || "list routes".into(),
            |m| {
                found.extend(listing::route(m.payload));
            },
        )?;
        Ok(found)
    }

    fn index_of(&mut self, name: &str) -> Result<u32> {
        let mut index = None;
        let request: Message = listing::link_request(name);
        self.socket.query(
            request,
            || format!("look up link {name}"),
            |m| {
                index = index.or(listing::link(m.payload).map(|l| l.index));
            },
        )?;
        index.ok_or_else(|| Error::Malformed { attempt: format!("look up link {name}"), detail: "it has no index" })
    }
}

impl Request {
    /// The link whose index the request needs.
    fn link(&self) -> Option<&str> {
        match self {
            Self::AddAddress { link, .. } | Self::DeleteAddress { link, .. } | Self::SetNeighbour { link, .. } => Some(link),
            Self::SetRoute(route) | Self::DeleteRoute(route) => match &route.target {
                RouteTarget::Link { link, .. } | RouteTarget::Gateway { link, .. } => Some(link),
                RouteTarget::Unreachable => None,
            },
            _ => None,
        }
    }
}

fn renamed(error: Error, request: &Request) -> Error {
    match error {
        Error::Refused { attempt, refusal } => Error::Refused { attempt: format!("{request}: {attempt}"), refusal },
        other => other,
    }
}
