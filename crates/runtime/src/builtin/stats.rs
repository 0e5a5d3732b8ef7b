//! What containers and sandboxes use, from cgroups, /proc and the writable layers.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use cri::v1;

use super::container::{Container, Phase};
use super::sandbox::Sandbox;
use super::{Builtin, files};
use crate::cgroup::Usage;

/// Files counted per writable layer; a larger one is reported by this part of it, so that one container cannot stall the node's statistics.
const MAX_COUNTED: u64 = 200_000;

impl Builtin {
    pub(super) async fn container_stats_of(&self, container: Arc<Container>) -> cri::Result<v1::ContainerStats> {
        let (cgroups, now) = (self.cgroups.clone(), self.now());
        let sandboxes = self.layout.sandboxes();
        files::blocking(move || {
            let usage = cgroups.usage(&container.record.cgroup)?;
            let (bytes, inodes) = disk_use(&container.dir.upper());
            let config = container.config();
            Ok(v1::ContainerStats {
                attributes: Some(v1::ContainerAttributes {
                    id: container.id.clone(),
                    metadata: config.metadata.clone(),
                    labels: config.labels.clone(),
                    annotations: config.annotations.clone(),
                }),
                cpu: Some(cpu(&usage, now)),
                memory: Some(memory(&usage, now)),
                writable_layer: Some(v1::FilesystemUsage {
                    timestamp: now,
                    fs_id: Some(v1::FilesystemIdentifier { mountpoint: sandboxes.display().to_string() }),
                    used_bytes: value(Some(bytes)),
                    inodes_used: value(Some(inodes)),
                }),
                swap: None,
                io: None,
            })
        })
        .await
    }

    pub(super) async fn sandbox_stats_of(&self, sandbox: Arc<Sandbox>) -> cri::Result<v1::PodSandboxStats> {
        let running: Vec<_> = self.containers_of(&sandbox.id).into_iter().filter(|c| matches!(c.phase(), Phase::Running(_))).collect();
        let mut containers = Vec::new();
        for container in &running {
            containers.push(self.container_stats_of(container.clone()).await?);
        }
        let pid = running.iter().find_map(|c| if let Phase::Running(started) = c.phase() { Some(started.pid) } else { None });
        let network = pid.filter(|_| sandbox.has_network()).and_then(|pid| fs::read_to_string(format!("/proc/{pid}/net/dev")).ok());
        let parent = sandbox.config.linux.as_ref().map(|l| l.cgroup_parent.clone()).filter(|p| !p.is_empty());
        let parent = parent.unwrap_or_else(|| format!("{}/{}", self.config.cgroup_root.trim_end_matches('/'), sandbox.id));
        let (cgroups, now) = (self.cgroups.clone(), self.now());
        let usage = files::blocking(move || Ok(cgroups.usage(&parent)?)).await?;
        Ok(v1::PodSandboxStats {
            attributes: Some(v1::PodSandboxAttributes {
                id: sandbox.id.clone(),
                metadata: sandbox.config.metadata.clone(),
                labels: sandbox.config.labels.clone(),
                annotations: sandbox.config.annotations.clone(),
            }),
            linux: Some(v1::LinuxPodSandboxStats {
                cpu: Some(cpu(&usage, now)),
                memory: Some(memory(&usage, now)),
                network: network.map(|text| interfaces(&text, now)),
                process: Some(v1::ProcessUsage { timestamp: now, process_count: value(usage.processes) }),
                containers,
                io: None,
            }),
            windows: None,
        })
    }
}

fn value(value: Option<u64>) -> Option<v1::UInt64Value> {
    value.map(|value| v1::UInt64Value { value })
}

fn cpu(usage: &Usage, timestamp: i64) -> v1::CpuUsage {
    v1::CpuUsage { timestamp, usage_core_nano_seconds: value(usage.cpu_nanoseconds), usage_nano_cores: None, psi: None }
}

fn memory(usage: &Usage, timestamp: i64) -> v1::MemoryUsage {
    let available = usage.memory_limit.zip(usage.working_set).map(|(limit, used)| limit.saturating_sub(used));
    v1::MemoryUsage {
        timestamp,
        working_set_bytes: value(usage.working_set),
        available_bytes: value(available),
        usage_bytes: value(usage.memory),
        rss_bytes: value(usage.rss),
        page_faults: value(usage.page_faults),
        major_page_faults: value(usage.major_page_faults),
        psi: None,
    }
}

/// Bytes and inodes below a folder. Links are not followed.
fn disk_use(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let (mut bytes, mut inodes) = (0u64, 0u64);
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            bytes = bytes.saturating_add(found.blocks().saturating_mul(512));
            inodes += 1;
            if inodes >= MAX_COUNTED {
                return (bytes, inodes);
            }
            if found.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    (bytes, inodes)
}

/// The table of /proc/PID/net/dev (proc(5)), loopback left out.
fn interfaces(text: &str, timestamp: i64) -> v1::NetworkUsage {
    let one = |line: &str| {
        let (name, numbers) = line.split_once(':')?;
        let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        let at = |index: usize| value(numbers.get(index).copied());
        let name = name.trim().to_owned();
        (name != "lo").then(|| v1::NetworkInterfaceUsage { name, rx_bytes: at(0), rx_errors: at(2), tx_bytes: at(8), tx_errors: at(10) })
    };
    let all: Vec<v1::NetworkInterfaceUsage> = text.lines().filter_map(one).collect();
    let default = all.iter().find(|i| i.name == "eth0").or(all.first()).cloned();
    v1::NetworkUsage { timestamp, default_interface: default, interfaces: all }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_read_without_loopback() {
        let text = "Inter-|   Receive  |  Transmit\n face |bytes packets errs\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 100 2 3 0 0 0 0 0 200 4 5 0 0 0 0 0\n";
        let usage = interfaces(text, 1);
        assert_eq!(usage.interfaces.len(), 1);
        let eth0 = usage.default_interface.unwrap();
        assert_eq!(
            (eth0.rx_bytes.unwrap().value, eth0.rx_errors.unwrap().value, eth0.tx_bytes.unwrap().value, eth0.tx_errors.unwrap().value),
            (100, 3, 200, 5)
        );
    }
}
