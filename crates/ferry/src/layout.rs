//! What of a node's set-up outlives its process: written at each start, so that `ferry reset` finds what to remove.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use ipnet::Ipv4Net;
use network::{Namespace, podnet};
use serde::{Deserialize, Serialize};

use crate::settings::{Part, Runtime, Settings};

const FILE: &str = "layout.json";

/// Ranges, addresses and cgroups of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    node_cidr: Ipv4Net,
    cluster_cidr: Ipv4Net,
    service_cidr: Ipv4Net,
    /// Service addresses that this node answers itself.
    pub(crate) local_addresses: Vec<Ipv4Addr>,
    pub(crate) cgroup_root: String,
    /// The CRI runtime that the pods run on; none means the built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runtime_socket: Option<PathBuf>,
}

impl Layout {
    /// What the settings ask for.
    pub(crate) fn of(settings: &Settings) -> Self {
        Self {
            node_cidr: settings.node_cidr,
            cluster_cidr: settings.cluster_cidr,
            service_cidr: settings.service_cidr,
            local_addresses: if settings.dns == Part::Run { vec![settings.cluster_dns] } else { Vec::new() },
            cgroup_root: settings.cgroup_root.clone(),
            runtime_socket: match &settings.runtime {
                Runtime::BuiltIn => None,
                Runtime::Cri(socket) => Some(socket.clone()),
            },
        }
    }

    /// Keeps it in the data folder, and gives it back. Refuses to change from one kind of runtime to the other: nobody would
    /// end the pods that are left.
    pub(crate) fn write(self, data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let before = Self::read_if_written(data_dir)?;
        if before.is_some_and(|before| before.runtime_socket.is_some() != self.runtime_socket.is_some()) {
            bail!(
                "{} holds pods of {}; start with the same --container-runtime-endpoint as before, or run `ferry reset` first",
                data_dir.display(),
                if self.runtime_socket.is_some() { "the built-in runtime" } else { "another runtime" }
            );
        }
        stdx::fs::write_atomic(&path, &serde_json::to_vec_pretty(&self)?, 0o644).with_context(|| format!("writing {}", path.display()))?;
        Ok(self)
    }

    /// Whether a node has run from this folder.
    pub(crate) fn is_in(data_dir: &Path) -> bool {
        data_dir.join(FILE).exists()
    }

    /// What the last start wrote.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Self> {
        let path = data_dir.join(FILE);
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", path.display()))
    }

    /// As [`Layout::read`], for a folder that may be new.
    pub(crate) fn read_if_written(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        if data_dir.join(FILE).exists() { Self::read(data_dir).map(Some) } else { Ok(None) }
    }

    /// The pod network in a namespace.
    pub(crate) fn pod_network(&self, data_dir: &Path, node: Namespace) -> podnet::Config {
        podnet::Config {
            node,
            bridge: podnet::DEFAULT_BRIDGE.to_owned(),
            pod_cidr: self.node_cidr,
            cluster_cidr: self.cluster_cidr,
            service_cidr: self.service_cidr,
            local_addresses: self.local_addresses.clone(),
            mtu: podnet::DEFAULT_MTU,
            state_dir: data_dir.join("network"),
        }
    }
}
