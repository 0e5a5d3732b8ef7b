//! Flags, checked: what the components are built from.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;

use crate::cli::ServerFlags;
use crate::node_address;

/// Bits of a node's pod range: 254 pods.
const NODE_PREFIX: u8 = 24;

/// A server's settings.
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) node_name: String,
    pub(crate) node_ip: IpAddr,
    pub(crate) extra_names: Vec<String>,
    pub(crate) cluster_cidr: Ipv4Net,
    pub(crate) node_cidr: Ipv4Net,
    pub(crate) service_cidr: Ipv4Net,
    pub(crate) cluster_dns: Ipv4Addr,
    pub(crate) cluster_domain: String,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) agent: Agent,
    pub(crate) dns: Part,
    pub(crate) proxy: Part,
    pub(crate) cgroup_root: String,
    pub(crate) runtime: Runtime,
    pub(crate) max_pods: u32,
}

/// Whether this machine is also a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agent {
    Run,
    LeaveOut,
}

/// Whether a part runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Run,
    LeaveOut,
}

/// Which container runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    BuiltIn,
    /// A CRI runtime's socket.
    Cri(PathBuf),
}

impl Settings {
    /// Checks flags; errors say what to write instead.
    pub(crate) fn new(flags: ServerFlags) -> anyhow::Result<Self> {
        let node_ip = flags.node_ip.map_or_else(|| node_address::find(&[flags.cluster_cidr, flags.service_cidr]), Ok)?;
        if !flags.service_cidr.contains(&flags.cluster_dns) {
            bail!("--cluster-dns {} is not in --service-cidr {}; choose an address inside it", flags.cluster_dns, flags.service_cidr);
        }
        if flags.service_cidr.contains(&flags.cluster_cidr) || flags.cluster_cidr.contains(&flags.service_cidr) {
            bail!("--service-cidr {} and --cluster-cidr {} overlap; choose two ranges apart", flags.service_cidr, flags.cluster_cidr);
        }
        let node_cidr = flags.cluster_cidr.subnets(NODE_PREFIX.max(flags.cluster_cidr.prefix_len()));
        let node_cidr = node_cidr.ok().and_then(|mut all| all.next()).context("--cluster-cidr has no room for a node")?;
        let (mut dns, mut proxy) = (Part::Run, Part::Run);
        for name in flags.disable.iter().flat_map(|names| names.split(',')) {
            match name {
                "dns" => dns = Part::LeaveOut,
                "proxy" => proxy = Part::LeaveOut,
                other => bail!("--disable {other}: there is no such component; dns and proxy can be left out"),
            }
        }
        let runtime = match flags.container_runtime_endpoint.as_deref() {
            None => Runtime::BuiltIn,
            Some(url) => match url.strip_prefix("unix://") {
                Some(path) if path.starts_with('/') => Runtime::Cri(path.into()),
                _ => bail!("--container-runtime-endpoint {url}: write it as unix:///path/to/socket"),
            },
        };
        let node_name = flags.node_name.map_or_else(host_name, Ok)?;
        let complaints = api::meta::names::dns1123_subdomain(&node_name);
        if let Some(why) = complaints.first() {
            bail!("the node name {node_name:?} cannot be used: {why}; give another one with --node-name");
        }
        Ok(Self {
            listen: SocketAddr::new(flags.bind_address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)), flags.https_port),
            kubeconfig: flags.write_kubeconfig.unwrap_or_else(|| flags.data_dir.join("kubeconfig")),
            data_dir: std::path::absolute(&flags.data_dir).context("finding the data folder")?,
            node_name,
            node_ip,
            extra_names: flags.tls_san,
            cluster_cidr: flags.cluster_cidr,
            node_cidr,
            service_cidr: flags.service_cidr,
            cluster_dns: flags.cluster_dns,
            cluster_domain: flags.cluster_domain,
            agent: if flags.disable_agent { Agent::LeaveOut } else { Agent::Run },
            dns,
            proxy,
            cgroup_root: flags.cgroup_root,
            runtime,
            max_pods: flags.max_pods,
        })
    }

    /// The address of the `kubernetes` service: the first of the service range.
    pub(crate) fn kubernetes_service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.network()) + 1)
    }
}

fn host_name() -> anyhow::Result<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_ascii_lowercase();
    if name.is_empty() { bail!("this machine has no name; give the node one with --node-name") } else { Ok(name) }
}
