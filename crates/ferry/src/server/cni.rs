//! Joins another runtime to the node's network: writes the CNI configuration that such a runtime is pointed at.
//!
//! The routes, refusals, masquerading and service addresses stay with the built-in pod network; only the pods' links and
//! addresses are the business of the standard plugins then. `ptp` fits, since it routes each pod by itself too.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use ipnet::Ipv4Net;
use serde_json::{Value, json};

/// Below the data folder.
const FOLDER: &str = "cni/net.d";
const ADDRESSES: &str = "cni/addresses";
const FILE: &str = "10-ferry.conflist";
/// The newest version of the configuration that containerd 1.6 and its contemporaries know.
const CNI_VERSION: &str = "1.0.0";

/// Writes the configuration for a node's pods and returns the folder to put into the runtime's `conf_dir`.
pub(super) fn write(data_dir: &Path, pods: Ipv4Net, gateway: Ipv4Addr, mtu: u32) -> anyhow::Result<PathBuf> {
    let folder = data_dir.join(FOLDER);
    fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
    let path = folder.join(FILE);
    let text = serde_json::to_vec_pretty(&network(pods, gateway, mtu, &data_dir.join(ADDRESSES)))?;
    // An unchanged file is left alone: runtimes watch the folder.
    if stdx::fs::read_if_exists(&path).ok().flatten().as_deref() != Some(text.as_slice()) {
        stdx::fs::write_atomic(&path, &text, 0o644).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(folder)
}

/// A network configuration list, see the CNI specification, section 1.
fn network(pods: Ipv4Net, gateway: Ipv4Addr, mtu: u32, addresses: &Path) -> Value {
    json!({
        "cniVersion": CNI_VERSION,
        "name": "ferry",
        "plugins": [
            {
                "type": "ptp",
                "mtu": mtu,
                // Ferry's own rules do that, and leave pods' addresses as they are inside the cluster.
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": pods.trunc(), "gateway": gateway }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": addresses,
                },
            },
            { "type": "portmap", "capabilities": { "portMappings": true } },
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_names_the_nodes_range_and_is_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let write = || write(dir.path(), "10.42.7.0/24".parse().unwrap(), Ipv4Addr::new(10, 42, 7, 1), 1400).unwrap();
        let file = write().join(FILE);
        let text: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        let ptp = &text["plugins"][0];
        assert_eq!((&ptp["type"], &ptp["mtu"]), (&json!("ptp"), &json!(1400)));
        assert_eq!(ptp["ipam"]["ranges"][0][0], json!({ "subnet": "10.42.7.0/24", "gateway": "10.42.7.1" }));
        let inode = |p: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(p).unwrap());
        let before = inode(&file);
        write();
        assert_eq!(inode(&file), before);
    }
}
