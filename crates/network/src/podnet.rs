//! The built-in pod network: one pair of links per pod, an address from the node's range, routes, masquerading and
//! host ports.
//!
//! Pods are not joined by a switch: each pod's link is routed by itself (`/32`), so all traffic passes the node's
//! routing and its rules, nothing depends on bridge netfilter settings, and taking the link away takes the pod's
//! routes and neighbours with it. The bridge (`ferry0`) has no ports: it holds the gateway address and the service
//! addresses that this node answers itself, and carries the route of the service range for programs on the node.

mod ipam;
mod kernel;
mod plan;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::netns::Namespace;
use ipam::Ipam;
pub use kernel::KernelSteps;
pub use plan::{LINK_PREFIX, Step, Steps, TABLE, Tolerate};

/// What the pod network needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's network namespace.
    pub node: Namespace,
    /// The bridge that holds the gateway address.
    pub bridge: String,
    /// The range that this node's pods get addresses from.
    pub pod_cidr: Ipv4Net,
    /// The ranges of all pods of the cluster.
    pub cluster_cidr: Ipv4Net,
    /// The range of service addresses.
    pub service_cidr: Ipv4Net,
    /// Service addresses that this node answers itself, such as the cluster DNS address.
    pub local_addresses: Vec<Ipv4Addr>,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Where allocations are kept; only this pod network may write there.
    pub state_dir: PathBuf,
}

/// The bridge's name unless configured otherwise.
pub const DEFAULT_BRIDGE: &str = "ferry0";
/// Largest packet unless configured otherwise: Ethernet's.
pub const DEFAULT_MTU: u32 = 1500;

/// A transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl Protocol {
    /// Its number in the IP header.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Sctp => 132,
        }
    }

    /// Its name in the Kubernetes API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// By its name in the Kubernetes API, where absence means TCP.
    pub fn from_name(name: Option<&str>) -> Option<Self> {
        match name {
            None | Some("TCP" | "") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }
}

/// A port of the node that leads to a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostPort {
    /// The node's address; `None` means all.
    pub host_ip: Option<Ipv4Addr>,
    /// The node's port.
    pub host_port: u16,
    /// The pod's port.
    pub container_port: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// What a pod got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAddresses {
    /// The pod's addresses, the primary first.
    pub addresses: Vec<IpAddr>,
    /// Its default gateway.
    pub gateway: IpAddr,
}

/// What [`PodNet::recover`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Pods whose network is as it was.
    pub kept: Vec<String>,
    /// Live pods whose link or allocation is gone; their sandboxes must be made again.
    pub lost: Vec<String>,
    /// Dead pods whose addresses and links were taken back.
    pub released: Vec<String>,
}

/// The pod network of one node. Cheap to clone.
#[derive(Clone)]
pub struct PodNet {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    state: Mutex<State>,
}

struct State {
    ipam: Ipam,
    steps: Box<dyn Steps>,
}

impl PodNet {
    /// Makes bridge, routes and rules (or takes over those that are there) and reads the allocations.
    pub async fn start(config: Config) -> Result<Self> {
        on_worker("start the pod network", move || {
            let steps = KernelSteps::open(&config.node)?;
            Self::start_with(config, Box::new(steps))
        })
        .await
    }

    /// [`PodNet::start`] with any kernel, on the calling thread.
    pub fn start_with(config: Config, mut steps: Box<dyn Steps>) -> Result<Self> {
        plan::check(&config)?;
        let ipam = Ipam::open(&config.state_dir, config.pod_cidr)?;
        steps.run(&plan::setup(&config, &ipam))?;
        Ok(Self { inner: Arc::new(Inner { config, state: Mutex::new(State { ipam, steps }) }) })
    }

    /// The address that this node's pods use as gateway, on the bridge.
    pub fn gateway(&self) -> Ipv4Addr {
        ipam::gateway(self.inner.config.pod_cidr)
    }

    /// Connects the pod `id` whose namespace is at `netns`: loopback, `eth0` with an address, default route, host
    /// ports. Called again for a pod that is connected, it connects it anew with the same address.
    pub async fn add(&self, id: &str, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddresses> {
        let (this, id, netns, ports) = (self.clone(), id.to_owned(), netns.to_owned(), host_ports.to_vec());
        on_worker("connect a pod", move || this.add_now(&id, &netns, &ports)).await
    }

    /// Disconnects the pod `id` and frees its address; a pod that is not connected is fine.
    pub async fn remove(&self, id: &str) -> Result<()> {
        let (this, id) = (self.clone(), id.to_owned());
        on_worker("disconnect a pod", move || this.remove_now(&id)).await
    }

    /// After a restart: keeps the pods in `live`, takes back everything of all others.
    pub async fn recover(&self, live: &[String]) -> Result<Recovered> {
        let (this, live) = (self.clone(), live.iter().cloned().collect());
        on_worker("recover the pod network", move || this.recover_now(&live)).await
    }

    /// Removes bridge, links, routes, rules and allocations. Kernel settings such as forwarding stay.
    pub async fn destroy(&self) -> Result<()> {
        let this = self.clone();
        on_worker("remove the pod network", move || {
            let mut state = this.state();
            let links = state.steps.pod_links()?;
            state.steps.run(&plan::teardown(&this.inner.config, &links))?;
            state.ipam.clear()
        })
        .await
    }

    fn add_now(&self, id: &str, netns: &Path, host_ports: &[HostPort]) -> Result<PodAddresses> {
        let config = &self.inner.config;
        let namespace = Namespace::open(netns)?;
        let mut state = self.state();
        if let Some(before) = state.ipam.of_owner(id) {
            let ports = state.ipam.host_ports(before).to_vec();
            state.steps.run(&plan::detach(config, before, &ports))?;
        }
        let address = state.ipam.allocate(id, host_ports)?;
        if let Err(e) = state.steps.run(&plan::attach(config, address, &namespace, host_ports)) {
            // The first failure is the one to report; what cannot be undone now, `recover` finds later.
            let _ = state.steps.run(&plan::detach(config, address, &[]));
            let rules = plan::rules(config, &state.ipam.without(id));
            let _ = state.steps.run(&rules);
            let _ = state.ipam.release(id);
            return Err(e);
        }
        Ok(PodAddresses { addresses: vec![address.into()], gateway: ipam::gateway(config.pod_cidr).into() })
    }

    fn remove_now(&self, id: &str) -> Result<()> {
        let mut state = self.state();
        let Some(address) = state.ipam.of_owner(id) else {
            return Ok(());
        };
        let ports = state.ipam.host_ports(address).to_vec();
        if let Err(first) = state.steps.run(&plan::detach(&self.inner.config, address, &ports)) {
            // Somebody took our rules away: make them again from what is known, then the pod is gone from them too.
            if ports.is_empty() || !first.is_absent() {
                return Err(first);
            }
            state.steps.run(&plan::detach(&self.inner.config, address, &[]))?;
            let rules = plan::rules(&self.inner.config, &state.ipam.without(id));
            state.steps.run(&rules)?;
        }
        state.ipam.release(id)
    }

    fn recover_now(&self, live: &BTreeSet<String>) -> Result<Recovered> {
        let config = &self.inner.config;
        let mut state = self.state();
        let links: BTreeSet<String> = state.steps.pod_links()?.into_iter().collect();
        let mut found = Recovered::default();
        for (address, owner) in state.ipam.owners() {
            if !live.contains(&owner) {
                state.steps.run(&plan::detach(config, address, &[]))?;
                state.ipam.release(&owner)?;
                found.released.push(owner);
            } else if links.contains(&plan::link_name(address)) {
                found.kept.push(owner);
            } else {
                found.lost.push(owner);
            }
        }
        found.lost.extend(live.iter().filter(|id| state.ipam.of_owner(id).is_none()).cloned());
        let known: BTreeSet<String> = state.ipam.owners().into_iter().map(|(a, _)| plan::link_name(a)).collect();
        state.steps.run(&plan::delete_links(links.difference(&known)))?;
        let rules = plan::rules(config, &state.ipam);
        state.steps.run(&rules)?;
        Ok(found)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while holding the lock leaves at worst one half-done pod, which `add` and `remove` both repair.
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn on_worker<T: Send + 'static>(what: &str, work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::ThreadDied(what.to_owned()))?
}
