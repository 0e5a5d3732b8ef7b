//! Amounts of resources: what a pod asks for and what a node has (`component-helpers/resource`).

use std::collections::BTreeMap;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, Node, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// A pod that names no CPU counts with this much when nodes are compared, in thousandths.
pub const DEFAULT_MILLI_CPU: i64 = 100;
/// A pod that names no memory counts with this much when nodes are compared, in bytes.
pub const DEFAULT_MEMORY: i64 = 200 * 1024 * 1024;

/// Amounts by resource. CPU is in thousandths, all else in whole units.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes.
    pub memory: i64,
    /// Bytes.
    pub ephemeral_storage: i64,
    /// Pods; only nodes have this.
    pub pods: i64,
    /// Extended resources and huge pages.
    pub scalar: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a list as the API has it. Amounts that cannot be read count as zero; the API server lets none in.
    pub fn from_list(list: &BTreeMap<String, Text>) -> Self {
        let mut all = Self::default();
        for (name, text) in list {
            let Ok(quantity) = Quantity::parse(&text.0) else {
                continue;
            };
            match name.as_str() {
                "cpu" => all.milli_cpu = quantity.milli(),
                "memory" => all.memory = quantity.value(),
                "ephemeral-storage" => all.ephemeral_storage = quantity.value(),
                "pods" => all.pods = quantity.value(),
                _ => _ = all.scalar.insert(name.clone(), quantity.value()),
            }
        }
        all
    }

    /// What a node offers to pods.
    pub fn allocatable(node: &Node) -> Self {
        let list = node.status.as_ref().and_then(|s| s.allocatable.as_ref());
        list.map(Self::from_list).unwrap_or_default()
    }

    /// Adds each amount.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, i64::saturating_add);
    }

    /// Takes each amount away.
    pub fn sub(&mut self, other: &Self) {
        self.combine(other, i64::saturating_sub);
    }

    /// Raises each amount to the other's where that is higher.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, how: fn(i64, i64) -> i64) {
        self.milli_cpu = how(self.milli_cpu, other.milli_cpu);
        self.memory = how(self.memory, other.memory);
        self.ephemeral_storage = how(self.ephemeral_storage, other.ephemeral_storage);
        self.pods = how(self.pods, other.pods);
        for (name, amount) in &other.scalar {
            let own = self.scalar.entry(name.clone()).or_default();
            *own = how(*own, *amount);
        }
    }
}

/// Whether absent CPU and memory requests count as nothing or as a small default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absent {
    /// As nothing: for deciding whether a pod fits.
    Nothing,
    /// As [`DEFAULT_MILLI_CPU`] and [`DEFAULT_MEMORY`]: for comparing nodes.
    Default,
}

/// What a pod asks a node for: the sum of its containers and sidecars, or what one init container needs while it runs if that
/// is more, and the overhead of its runtime class. Requests for the pod as a whole replace the sum.
pub fn pod_requests(pod: &Pod, absent: Absent) -> Resources {
    let Some(spec) = &pod.spec else {
        return Resources::default();
    };
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&container_requests(pod, container, absent));
    }
    let mut sidecars = Resources::default();
    let mut peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let mut needs = container_requests(pod, container, absent);
        if container.restart_policy.as_deref() == Some("Always") {
            total.add(&needs);
            sidecars.add(&needs);
            needs = sidecars.clone();
        } else {
            needs.add(&sidecars);
        }
        peak.raise_to(&needs);
    }
    total.raise_to(&peak);
    if let Some(of_pod) = spec.resources.as_ref().and_then(|r| r.requests.as_ref()) {
        replace(&mut total, of_pod);
    }
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::from_list(overhead));
    }
    total
}

fn replace(total: &mut Resources, of_pod: &BTreeMap<String, Text>) {
    let whole = Resources::from_list(of_pod);
    if of_pod.contains_key("cpu") {
        total.milli_cpu = whole.milli_cpu;
    }
    if of_pod.contains_key("memory") {
        total.memory = whole.memory;
    }
    total.scalar.extend(whole.scalar);
}

fn container_requests(pod: &Pod, container: &Container, absent: Absent) -> Resources {
    let wanted = requests(container.resources.as_ref());
    let mut all = wanted.map(Resources::from_list).unwrap_or_default();
    // While a resize is under way the node must hold the larger of what is wanted and what is in place.
    if let Some(in_place) = in_place(pod, &container.name) {
        all.raise_to(&in_place);
    }
    if absent == Absent::Default {
        if wanted.is_none_or(|w| !w.contains_key("cpu")) {
            all.milli_cpu = DEFAULT_MILLI_CPU;
        }
        if wanted.is_none_or(|w| !w.contains_key("memory")) {
            all.memory = DEFAULT_MEMORY;
        }
    }
    all
}

fn requests(resources: Option<&ResourceRequirements>) -> Option<&BTreeMap<String, Text>> {
    resources.and_then(|r| r.requests.as_ref())
}

fn in_place(pod: &Pod, container: &str) -> Option<Resources> {
    let statuses = pod.status.as_ref()?.container_statuses.as_deref()?;
    let status = statuses.iter().find(|s| s.name == container)?;
    let mut all = requests(status.resources.as_ref()).map(Resources::from_list).unwrap_or_default();
    if let Some(allocated) = &status.allocated_resources {
        all.raise_to(&Resources::from_list(allocated));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn asked(spec: serde_json::Value, absent: Absent) -> (i64, i64) {
        let pod: Pod = serde_json::from_value(json!({ "spec": spec })).unwrap();
        let r = pod_requests(&pod, absent);
        (r.milli_cpu, r.memory)
    }

    fn container(cpu: &str, memory: &str) -> serde_json::Value {
        json!({"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_pod_asks_for_its_containers_or_its_hungriest_init_step() {
        let two = json!({"containers": [container("100m", "1Ki"), container("1", "1Ki")]});
        assert_eq!(asked(two, Absent::Nothing), (1100, 2048));
        let init = json!({"containers": [container("1", "1Ki")], "initContainers": [container("3", "10")]});
        assert_eq!(asked(init, Absent::Nothing), (3000, 1024));
        let mut sidecar = container("500m", "1Ki");
        sidecar["restartPolicy"] = json!("Always");
        let with = json!({"containers": [container("1", "0")], "initContainers": [sidecar, container("3", "0")],
                          "overhead": {"cpu": "10m"}});
        assert_eq!(asked(with, Absent::Nothing), (3510, 1024));
        let whole = json!({"containers": [container("1", "1Ki")], "resources": {"requests": {"cpu": "4"}}});
        assert_eq!(asked(whole, Absent::Nothing), (4000, 1024));
        assert_eq!(asked(json!({"containers": [{"name": "c"}]}), Absent::Default), (100, DEFAULT_MEMORY));
    }
}
