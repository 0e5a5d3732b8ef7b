//! The node's object, from facts: pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSpec, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

use super::{Facts, RuntimeState};
use crate::machine::Machine;
use crate::quantity;

/// The most images that a status lists.
const IMAGES: usize = 50;
/// The most names of one image.
const IMAGE_NAMES: usize = 5;
/// Memory below which the node is under pressure, in bytes; upstream's default eviction threshold.
const MEMORY_LOW: i64 = 100 << 20;
/// The share of free disk, in percent, below which the node is under pressure.
const DISK_LOW_PERCENT: i64 = 10;

/// The node as it is created.
pub(super) fn new(machine: &Machine) -> Node {
    let config = &machine.config;
    let arch = arch();
    let mut labels: BTreeMap<String, String> = [
        ("kubernetes.io/hostname", config.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", arch),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", arch),
    ]
    .into_iter()
    .map(|(k, v)| (k.to_owned(), v.to_owned()))
    .collect();
    labels.extend(config.node_labels.clone());
    let mut node = Node::default();
    node.metadata.name = Some(config.node_name.clone());
    node.metadata.labels = Some(labels);
    node.metadata.annotations =
        Some(BTreeMap::from([("volumes.kubernetes.io/controller-managed-attach-detach".to_owned(), "true".to_owned())]));
    node.spec = Some(NodeSpec {
        provider_id: config.provider_id.clone(),
        taints: Some(config.node_taints.iter().filter_map(|t| taint(t)).collect::<Vec<_>>()).filter(|t| !t.is_empty()),
        ..NodeSpec::default()
    });
    node
}

/// A taint from `key=value:effect` or `key:effect`.
fn taint(text: &str) -> Option<Taint> {
    let (rest, effect) = text.rsplit_once(':')?;
    let (key, value) = rest.split_once('=').map_or((rest, None), |(k, v)| (k, Some(v.to_owned())));
    Some(Taint { key: key.to_owned(), value, effect: effect.to_owned(), time_added: None })
}

/// The architecture in Go's words.
fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// The fields of the status that the kubelet owns.
pub(super) fn status(machine: &Machine, node: &Node, facts: &Facts, runtime: &RuntimeState, now: &Time) -> Value {
    let config = &machine.config;
    let (capacity, allocatable) = resources(machine, facts);
    let mut addresses: Vec<Value> = config.node_ips.iter().map(|ip| json!({ "type": "InternalIP", "address": ip.to_string() })).collect();
    addresses.push(json!({ "type": "Hostname", "address": config.node_name }));
    json!({
        "capacity": capacity,
        "allocatable": allocatable,
        "addresses": addresses,
        "conditions": conditions(node, facts, runtime, now),
        "daemonEndpoints": { "kubeletEndpoint": { "Port": config.server.as_ref().map_or(0, |s| s.bind.port()) } },
        "images": images(runtime),
        "runtimeHandlers": handlers(runtime),
        "features": { "supplementalGroupsPolicy": true },
        "nodeInfo": {
            "machineID": facts.machine_id,
            "systemUUID": facts.system_uuid,
            "bootID": facts.boot_id,
            "kernelVersion": facts.kernel,
            "osImage": facts.os_image,
            "containerRuntimeVersion": runtime.version,
            "kubeletVersion": config.version,
            "kubeProxyVersion": "",
            "operatingSystem": "linux",
            "architecture": arch(),
            "swap": { "capacity": facts.swap },
        },
    })
}

fn resources(machine: &Machine, facts: &Facts) -> (Map<String, Value>, Map<String, Value>) {
    let config = &machine.config;
    let huge: i64 = facts.huge_pages.iter().map(|(_, bytes)| bytes).sum();
    let kib = |bytes: i64| quantity::from_bytes(bytes / 1024 * 1024).0;
    let capacity = |cpu: i64, memory: i64, disk: String| {
        let mut list = Map::new();
        list.insert("cpu".into(), quantity::from_milli(cpu).0.into());
        list.insert("memory".into(), kib(memory).into());
        list.insert("ephemeral-storage".into(), disk.into());
        list.insert("pods".into(), config.max_pods.to_string().into());
        for (size, bytes) in &facts.huge_pages {
            list.insert(format!("hugepages-{}", quantity::from_bytes(*size).0), quantity::from_bytes(*bytes).0.into());
        }
        list
    };
    let cpu = facts.cpus.saturating_mul(1000);
    let disk = facts.disk.0;
    let free_for_pods = disk - disk / 100 * DISK_LOW_PERCENT;
    (
        capacity(cpu, facts.memory, kib(disk)),
        // What eviction and reservations keep back, pods cannot use.
        capacity(
            (cpu - config.reserved.milli_cpu).max(0),
            (facts.memory - huge - MEMORY_LOW - config.reserved.memory).max(0),
            free_for_pods.to_string(),
        ),
    )
}

fn conditions(node: &Node, facts: &Facts, runtime: &RuntimeState, now: &Time) -> Vec<Value> {
    let memory = facts.available > 0 && facts.available < MEMORY_LOW;
    let disk = facts.disk.0 > 0 && facts.disk.1 < facts.disk.0 / 100 * DISK_LOW_PERCENT;
    let pids = facts.pids.0 > 0 && facts.pids.1 > facts.pids.0 / 10 * 9;
    let pressure = |on: bool, yes: (&'static str, &'static str), no: (&'static str, &'static str)| {
        let (reason, message) = if on { yes } else { no };
        (if on { "True" } else { "False" }, reason, message.to_owned())
    };
    let ready = if runtime.problems.is_empty() {
        ("True", "KubeletReady", "kubelet is posting ready status".to_owned())
    } else {
        ("False", "KubeletNotReady", format!("[{}]", runtime.problems.join(", ")).trim_matches(['[', ']']).to_owned())
    };
    let rows = [
        (
            "MemoryPressure",
            pressure(
                memory,
                ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
                ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
            ),
        ),
        (
            "DiskPressure",
            pressure(
                disk,
                ("KubeletHasDiskPressure", "kubelet has disk pressure"),
                ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
            ),
        ),
        (
            "PIDPressure",
            pressure(
                pids,
                ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
                ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
            ),
        ),
        ("Ready", ready),
    ];
    let old = node.status.as_ref().and_then(|s| s.conditions.as_ref());
    let rows = rows.into_iter().map(|(type_, (status, reason, message))| {
        let before = old.into_iter().flatten().find(|c| c.type_ == type_ && c.status == status);
        let since = before.and_then(|c| c.last_transition_time.as_ref()).unwrap_or(now);
        json!({ "type": type_, "status": status, "reason": reason, "message": message, "lastHeartbeatTime": now, "lastTransitionTime": since })
    });
    rows.collect()
}

fn images(runtime: &RuntimeState) -> Vec<Value> {
    let mut images = runtime.images.clone();
    images.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.id.cmp(&b.id)));
    let shown = images.into_iter().take(IMAGES).map(|image| {
        let names: Vec<String> = image.repo_digests.into_iter().chain(image.repo_tags).take(IMAGE_NAMES).collect();
        json!({ "names": names, "sizeBytes": image.size })
    });
    shown.collect()
}

fn handlers(runtime: &RuntimeState) -> Vec<Value> {
    let rows = runtime.handlers.iter().map(|handler| {
        let features = handler.features.unwrap_or_default();
        json!({ "name": handler.name, "features": {
            "recursiveReadOnlyMounts": features.recursive_read_only_mounts, "userNamespaces": features.user_namespaces } })
    });
    rows.collect()
}
