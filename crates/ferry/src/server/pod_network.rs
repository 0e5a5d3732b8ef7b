//! Joins the runtime's seam to the pod network: two crates that do not know each other.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use async_trait::async_trait;
use network::podnet::{self, PodNet};
use runtime::{HostPort, PodIdentity, PodNetwork};

/// The built-in pod network as the runtime sees it.
pub(crate) struct BuiltinPodNetwork(pub(crate) PodNet);

#[async_trait]
impl PodNetwork for BuiltinPodNetwork {
    async fn add(&self, netns: &Path, pod: &PodIdentity) -> Result<Vec<IpAddr>, String> {
        let ports = pod.ports.iter().map(to_podnet).collect::<Result<Vec<_>, _>>()?;
        let connected = self.0.add(&pod.sandbox_id, netns, &ports).await.map_err(|e| e.to_string())?;
        Ok(connected.addresses)
    }

    async fn remove(&self, _: &Path, pod: &PodIdentity) -> Result<(), String> {
        self.0.remove(&pod.sandbox_id).await.map_err(|e| e.to_string())
    }

    async fn not_ready(&self) -> Option<String> {
        // The bridge stands before the runtime is opened.
        None
    }
}

fn to_podnet(port: &HostPort) -> Result<podnet::HostPort, String> {
    let host_ip: Option<Ipv4Addr> = match port.host_ip.as_str() {
        "" | "0.0.0.0" | "::" => None,
        text => Some(text.parse().map_err(|_| format!("host port {}: the host address {text:?} is not IPv4", port.host_port))?),
    };
    let protocol = podnet::Protocol::from_name(Some(port.protocol.as_str_name()))
        .ok_or_else(|| format!("host port {}: protocol {} is not known", port.host_port, port.protocol.as_str_name()))?;
    Ok(podnet::HostPort { host_ip, host_port: port.host_port, container_port: port.container_port, protocol })
}

/// The sandboxes that own an address, after a restart.
pub(crate) async fn live_sandboxes(runtime: &dyn cri::RuntimeService) -> anyhow::Result<Vec<String>> {
    let sandboxes = runtime.list_pod_sandbox(cri::v1::ListPodSandboxRequest::default()).await?;
    let ids: BTreeSet<String> = sandboxes.items.into_iter().map(|s| s.id).collect();
    Ok(ids.into_iter().collect())
}
