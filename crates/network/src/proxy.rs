//! The service proxy: Services and EndpointSlices become one nftables table, `ferry-proxy`, changed by small
//! transactions.
//!
//! # Expected flow
//! [`plan_service`] turns one Service and its slices into a [`Fragment`] (pure); [`Applied`] turns changed fragments
//! into the changes of the table (pure); [`Proxy::sync`] commits them; [`run`] calls it when informers report changes.
//! # Guarantees
//! A packet to a service address is rewritten to one of its endpoints, refused, or dropped as the traffic policy
//! says; to an unowned address of the service range it is refused. It never leaves the machine unrewritten.
//! # Caveats
//! A Service that names an address of [`NodeFacts::served_here`] is left alone: the node answers there itself.
//! NodePorts do not answer on 127.0.0.0/8, as in kube-proxy's nftables mode.

mod applied;
mod base;
mod endpoints;
mod run;
mod service;
mod sync;

use std::net::IpAddr;

use ipnet::IpNet;

use crate::nft::Family;

pub use applied::{Applied, ServiceKey};
pub use base::{MASQUERADE_MARK, TABLE};
pub use endpoints::{Endpoint, Usable, categorize, collect};
pub use run::{RunError, run};
pub use service::{Fragment, UdpFrontend, plan_service};
pub use sync::{Proxy, Synced};

/// On which of the node's addresses NodePorts answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// On all but loopback.
    All,
    /// On these.
    Only(Vec<IpAddr>),
}

/// What the proxy knows about its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeFacts {
    /// The node's name, as endpoints name it.
    pub name: String,
    /// The node's zone label.
    pub zone: Option<String>,
    /// The node's primary addresses.
    pub addresses: Vec<IpAddr>,
    /// The ranges of all pods; traffic from elsewhere to a ClusterIP is masqueraded.
    pub cluster_cidrs: Vec<IpNet>,
    /// The ranges of service addresses; what is not rewritten there is refused.
    pub service_cidrs: Vec<IpNet>,
    /// Service addresses that this node answers itself, such as the cluster DNS address.
    pub served_here: Vec<IpAddr>,
    /// Where NodePorts answer.
    pub node_port_addresses: NodePortAddresses,
}

impl NodeFacts {
    fn of_family(nets: &[IpNet], family: Family) -> impl Iterator<Item = IpNet> + '_ {
        nets.iter().copied().filter(move |net| family.holds(net.addr()))
    }
}
