//! A pod's requests and limits: totals, quality of service, and the kernel's figures for them.

use std::collections::BTreeMap;

use cri::v1::{HugepageLimit, LinuxContainerResources};
use k8s_openapi::api::core::v1::{Container, Pod, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity;
use crate::spec;

/// One period of CPU accounting, in microseconds.
const CPU_PERIOD_US: i64 = 100_000;
/// The kernel refuses smaller quotas, in microseconds.
const MIN_QUOTA_US: i64 = 1000;
/// The kernel's smallest and largest CPU weights (cgroup v1 shares).
const SHARES: std::ops::RangeInclusive<i64> = 2..=262_144;

/// Amounts by resource name, in thousandths.
pub type Amounts = BTreeMap<String, i64>;

/// A pod's quality of service class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qos {
    /// Limits equal requests everywhere.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// None at all.
    BestEffort,
}

impl Qos {
    /// The API's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// One amount of a resource list in thousandths, when it is there and well formed.
pub fn amount(list: Option<&BTreeMap<String, Quantity>>, resource: &str) -> Option<i64> {
    list?.get(resource).and_then(quantity::milli)
}

fn requests(container: &Container) -> Option<&BTreeMap<String, Quantity>> {
    container.resources.as_ref()?.requests.as_ref()
}

/// A container's limit in thousandths.
pub fn limit(container: &Container, resource: &str) -> Option<i64> {
    amount(container.resources.as_ref()?.limits.as_ref(), resource)
}

/// A container's request in thousandths; without one, its limit.
pub fn request(container: &Container, resource: &str) -> Option<i64> {
    amount(requests(container), resource).or_else(|| limit(container, resource))
}

/// What the pod requests in all: the larger of what its containers need together and what any step of initialisation
/// needs, plus overhead; pod-level requests replace the sum for their resources.
pub fn pod_requests(spec: &PodSpec) -> Amounts {
    total(spec, |r| r.requests.as_ref().or(r.limits.as_ref()), true)
}

/// As [`pod_requests`], for limits. A resource that some container leaves unlimited is not in the result.
pub fn pod_limits(spec: &PodSpec) -> Amounts {
    let mut limits = total(spec, |r| r.limits.as_ref(), false);
    let pod_level = spec.resources.as_ref().and_then(|r| r.limits.as_ref());
    limits.retain(|name, _| {
        let stated = pod_level.is_some_and(|l| l.contains_key(name));
        stated || spec.containers.iter().chain(spec::init(spec)).all(|c| limit(c, name).is_some_and(|l| l > 0))
    });
    limits
}

fn total(spec: &PodSpec, list: impl Fn(&ResourceRequirements) -> Option<&BTreeMap<String, Quantity>>, with_overhead: bool) -> Amounts {
    let of = |c: &Container| -> Amounts {
        let amounts = c.resources.as_ref().and_then(&list).into_iter().flatten();
        amounts.filter_map(|(name, q)| Some((name.clone(), quantity::milli(q)?))).collect()
    };
    let mut sum = Amounts::new();
    spec.containers.iter().for_each(|c| add(&mut sum, &of(c)));
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec::init(spec) {
        let mut step = sidecars.clone();
        add(&mut step, &of(container));
        if spec::is_sidecar(container) {
            sidecars.clone_from(&step);
        }
        raise(&mut peak, &step);
    }
    add(&mut sum, &sidecars);
    raise(&mut sum, &peak);
    if let Some(pod_level) = spec.resources.as_ref().and_then(&list) {
        sum.extend(pod_level.iter().filter_map(|(name, q)| Some((name.clone(), quantity::milli(q)?))));
    }
    for (name, q) in spec.overhead.iter().flatten() {
        if with_overhead || sum.contains_key(name) {
            *sum.entry(name.clone()).or_default() += quantity::milli(q).unwrap_or(0);
        }
    }
    sum
}

fn add(sum: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        let entry = sum.entry(name.clone()).or_default();
        *entry = entry.saturating_add(*amount);
    }
}

fn raise(sum: &mut Amounts, other: &Amounts) {
    for (name, amount) in other {
        let entry = sum.entry(name.clone()).or_default();
        *entry = (*entry).max(*amount);
    }
}

/// The quality of service class, from CPU and memory only.
pub fn qos(pod: &Pod) -> Qos {
    let spec = spec::of(pod);
    let sets: Vec<&ResourceRequirements> = match &spec.resources {
        Some(pod_level) if pod_level.requests.is_some() || pod_level.limits.is_some() => vec![pod_level],
        _ => spec.containers.iter().chain(spec::init(spec)).map(|c| c.resources.as_ref()).map(|r| r.unwrap_or(&NOTHING)).collect(),
    };
    let positive = |list: Option<&BTreeMap<String, Quantity>>, name: &str| amount(list, name).filter(|a| *a > 0);
    let mut guaranteed = true;
    let mut any = false;
    for set in sets {
        for name in ["cpu", "memory"] {
            let (request, limit) = (positive(set.requests.as_ref(), name), positive(set.limits.as_ref(), name));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

static NOTHING: ResourceRequirements = ResourceRequirements { claims: None, limits: None, requests: None };

/// CPU weight (cgroup v1 shares) of a request in thousandths of a CPU.
pub fn shares(milli_cpu: i64) -> i64 {
    (milli_cpu.saturating_mul(1024) / 1000).clamp(*SHARES.start(), *SHARES.end())
}

/// CPU time per period, in microseconds; 0 without a limit.
pub fn quota(milli_cpu: i64) -> i64 {
    if milli_cpu <= 0 { 0 } else { (milli_cpu.saturating_mul(CPU_PERIOD_US) / 1000).max(MIN_QUOTA_US) }
}

/// What the kernel is told of one container. `memory_capacity` is the node's, in bytes.
pub fn container(pod: &Pod, container: &Container, memory_capacity: i64) -> LinuxContainerResources {
    let cpu_limit = limit(container, "cpu").unwrap_or(0);
    LinuxContainerResources {
        cpu_period: CPU_PERIOD_US,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(request(container, "cpu").unwrap_or(0)),
        memory_limit_in_bytes: whole(limit(container, "memory")),
        oom_score_adj: oom_score_adj(pod, container, memory_capacity),
        hugepage_limits: huge_pages(container),
        ..LinuxContainerResources::default()
    }
}

/// What the kernel is told of the pod as a whole.
pub fn pod(pod: &Pod) -> LinuxContainerResources {
    let spec = spec::of(pod);
    let (requests, limits) = (pod_requests(spec), pod_limits(spec));
    LinuxContainerResources {
        cpu_period: CPU_PERIOD_US,
        cpu_quota: quota(limits.get("cpu").copied().unwrap_or(0)),
        cpu_shares: shares(requests.get("cpu").copied().unwrap_or(0)),
        memory_limit_in_bytes: whole(limits.get("memory").copied()),
        ..LinuxContainerResources::default()
    }
}

fn huge_pages(container: &Container) -> Vec<HugepageLimit> {
    let limits = container.resources.as_ref().and_then(|r| r.limits.as_ref());
    let rows = limits.into_iter().flatten().filter_map(|(name, limit)| {
        let size = quantity::value(&Quantity(name.strip_prefix("hugepages-")?.to_owned()))?;
        Some((size, u64::try_from(quantity::value(limit)?).ok()?))
    });
    // The kernel's names for the sizes.
    let name = |bytes: i64| if bytes % (1 << 30) == 0 { format!("{}GB", bytes >> 30) } else { format!("{}MB", bytes >> 20) };
    rows.map(|(size, limit)| HugepageLimit { page_size: name(size), limit }).collect()
}

fn whole(milli: Option<i64>) -> i64 {
    milli.map_or(0, |m| m.div_euclid(1000))
}

/// How soon the kernel kills the container when memory runs out: -997 for guaranteed and node-critical pods, 1000 for
/// best-effort ones, and between by the share of the node's memory that a burstable container requests.
fn oom_score_adj(pod: &Pod, container: &Container, memory_capacity: i64) -> i64 {
    const NODE_CRITICAL: i32 = 2_000_001_000;
    if spec::of(pod).priority.is_some_and(|p| p >= NODE_CRITICAL) {
        return -997;
    }
    match qos(pod) {
        Qos::Guaranteed => -997,
        Qos::BestEffort => 1000,
        Qos::Burstable => {
            let requested = whole(request(container, "memory"));
            let share = requested.saturating_mul(1000).checked_div(memory_capacity).unwrap_or(0);
            (1000 - share).clamp(3, 999)
        }
    }
}

/// The pod's cgroup under the kubelet's root: `/kubepods/burstable/pod<uid>`.
pub fn cgroup_parent(root: &str, pod: &Pod, systemd: bool) -> String {
    let uid = spec::uid(pod);
    let class = match qos(pod) {
        Qos::Guaranteed => None,
        Qos::Burstable => Some("burstable"),
        Qos::BestEffort => Some("besteffort"),
    };
    if systemd {
        let uid = uid.replace('-', "_");
        return class.map_or_else(|| format!("kubepods-pod{uid}.slice"), |c| format!("kubepods-{c}-pod{uid}.slice"));
    }
    let root = root.trim_end_matches('/');
    class.map_or_else(|| format!("{root}/kubepods/pod{uid}"), |c| format!("{root}/kubepods/{c}/pod{uid}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u-1"}, "spec": spec})).unwrap()
    }

    #[test]
    fn classes_follow_cpu_and_memory() {
        let of = |resources: serde_json::Value| qos(&pod(json!({"containers": [{"name": "c", "resources": resources}]})));
        assert_eq!(of(json!({})), Qos::BestEffort);
        assert_eq!(of(json!({"requests": {"cpu": "1"}})), Qos::Burstable);
        assert_eq!(of(json!({"limits": {"cpu": "1", "memory": "1Gi"}})), Qos::Guaranteed);
        assert_eq!(of(json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}})), Qos::Burstable);
        assert_eq!(of(json!({"limits": {"nvidia.com/gpu": "1"}})), Qos::BestEffort);
    }

    #[test]
    fn initialisation_counts_when_it_needs_more_and_sidecars_always() {
        let p = pod(json!({
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}},
                {"name": "i", "resources": {"requests": {"cpu": "2"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}],
            "overhead": {"cpu": "50m"}}));
        assert_eq!(pod_requests(spec::of(&p))["cpu"], 2150);
    }

    #[test]
    fn the_kernel_figures() {
        assert_eq!((shares(0), shares(500), quota(0), quota(500), quota(1)), (2, 512, 0, 50_000, 1000));
        let p = pod(json!({"containers": [{"name": "c", "resources": {"requests": {"memory": "1Gi"}}}]}));
        let r = container(&p, &spec::of(&p).containers[0], 4 << 30);
        assert_eq!((r.oom_score_adj, r.memory_limit_in_bytes), (750, 0));
        assert_eq!(cgroup_parent("/", &p, false), "/kubepods/burstable/podu-1");
        assert_eq!(cgroup_parent("/", &p, true), "kubepods-burstable-podu_1.slice");
        assert!(pod_limits(spec::of(&p)).is_empty());
    }
}
