//! What the container side needs of the pod network, and no more.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;

/// Whose network is being set up.
#[derive(Clone, Debug, Default)]
pub struct PodIdentity {
    /// The sandbox's id: unique, and the same on every call for one sandbox.
    pub sandbox_id: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's annotations (bandwidth and the like).
    pub annotations: BTreeMap<String, String>,
    /// Ports of the node that lead into the pod.
    pub ports: Vec<HostPort>,
}

/// One `hostPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// The transport protocol.
    pub protocol: cri::v1::Protocol,
    /// The port inside the pod.
    pub container_port: u16,
    /// The port on the node.
    pub host_port: u16,
    /// The node's address to listen on; empty means all.
    pub host_ip: String,
}

/// Joins sandboxes to the pod network.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// Gives the network namespace at `netns` its interface and addresses (loopback included). Answers the pod's addresses, the primary
    /// one first. On an error nothing stays set up. The error's text is shown to users.
    async fn add(&self, netns: &Path, pod: &PodIdentity) -> Result<Vec<IpAddr>, String>;

    /// Takes it all back. `netns` may be gone already. Idempotent.
    async fn remove(&self, netns: &Path, pod: &PodIdentity) -> Result<(), String>;

    /// Why the network is not ready for pods, if it is not (shown as the node's NetworkReady condition).
    async fn not_ready(&self) -> Option<String>;
}
