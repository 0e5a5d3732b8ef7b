//! Limits, and the files and values that express them in each cgroup version.

use std::collections::BTreeMap;

use cri::v1;

use super::tree::Version;

/// What a cgroup may use. Zero or empty means "leave as it is", as in the CRI.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) cpu_shares: u64,
    /// Microseconds per period; negative means no limit.
    pub(crate) cpu_quota: i64,
    /// Microseconds.
    pub(crate) cpu_period: u64,
    /// Bytes; negative means no limit.
    pub(crate) memory: i64,
    /// Bytes of memory and swap together; negative means no limit.
    pub(crate) memory_and_swap: i64,
    pub(crate) cpus: String,
    pub(crate) memory_nodes: String,
    /// Page size such as `2MB` → bytes.
    pub(crate) hugepages: Vec<(String, u64)>,
    /// v2 files and values, written as they are.
    pub(crate) unified: BTreeMap<String, String>,
}

impl From<&v1::LinuxContainerResources> for Limits {
    fn from(r: &v1::LinuxContainerResources) -> Self {
        let positive = |n: i64| u64::try_from(n).unwrap_or(0);
        Self {
            cpu_shares: positive(r.cpu_shares),
            cpu_quota: r.cpu_quota,
            cpu_period: positive(r.cpu_period),
            memory: r.memory_limit_in_bytes,
            memory_and_swap: r.memory_swap_limit_in_bytes,
            cpus: r.cpuset_cpus.clone(),
            memory_nodes: r.cpuset_mems.clone(),
            hugepages: r.hugepage_limits.iter().map(|h| (h.page_size.clone(), h.limit)).collect(),
            unified: r.unified.clone().into_iter().collect(),
        }
    }
}

/// One file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) controller: String,
    pub(super) file: String,
    pub(super) value: String,
    pub(super) need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// The limit was asked for and must hold.
    Must,
    /// Nothing is lost on a host without it: swap accounting is a boot option, and no huge pages of a size means none can be used.
    IfPresent,
}

/// What to write, in order.
pub(super) fn plan(limits: &Limits, version: Version) -> Vec<Write> {
    let mut writes = Writes(Vec::new());
    match version {
        Version::V1 => v1_files(limits, &mut writes),
        Version::V2 => v2_files(limits, &mut writes),
    }
    for (controller_file, cpus) in [("cpuset.cpus", &limits.cpus), ("cpuset.mems", &limits.memory_nodes)] {
        if !cpus.is_empty() {
            writes.must("cpuset", controller_file, cpus.clone());
        }
    }
    for (size, bytes) in &limits.hugepages {
        let suffix = if version == Version::V1 { "limit_in_bytes" } else { "max" };
        let need = if *bytes == 0 { Need::IfPresent } else { Need::Must };
        writes.push("hugetlb", format!("hugetlb.{size}.{suffix}"), bytes.to_string(), need);
    }
    writes.0
}

struct Writes(Vec<Write>);

impl Writes {
    fn push(&mut self, controller: &str, file: impl Into<String>, value: impl ToString, need: Need) {
        self.0.push(Write { controller: controller.to_owned(), file: file.into(), value: value.to_string(), need });
    }

    fn must(&mut self, controller: &str, file: &str, value: impl ToString) {
        self.push(controller, file, value, Need::Must);
    }
}

fn v1_files(limits: &Limits, writes: &mut Writes) {
    if limits.cpu_shares != 0 {
        writes.must("cpu", "cpu.shares", limits.cpu_shares);
    }
    if limits.cpu_period != 0 {
        writes.must("cpu", "cpu.cfs_period_us", limits.cpu_period);
    }
    if limits.cpu_quota != 0 {
        writes.must("cpu", "cpu.cfs_quota_us", limits.cpu_quota.max(-1));
    }
    if limits.memory != 0 {
        writes.must("memory", "memory.limit_in_bytes", limits.memory.max(-1));
    }
    if limits.memory_and_swap != 0 {
        writes.push("memory", "memory.memsw.limit_in_bytes", limits.memory_and_swap.max(-1), Need::IfPresent);
    }
}

fn v2_files(limits: &Limits, writes: &mut Writes) {
    if limits.cpu_shares != 0 {
        writes.must("cpu", "cpu.weight", weight(limits.cpu_shares));
    }
    if limits.cpu_quota != 0 || limits.cpu_period != 0 {
        let quota = if limits.cpu_quota > 0 { limits.cpu_quota.to_string() } else { "max".to_owned() };
        let period = if limits.cpu_period == 0 { 100_000 } else { limits.cpu_period };
        writes.must("cpu", "cpu.max", format!("{quota} {period}"));
    }
    let bytes = |n: i64| if n < 0 { "max".to_owned() } else { n.to_string() };
    if limits.memory != 0 {
        writes.must("memory", "memory.max", bytes(limits.memory));
    }
    if limits.memory_and_swap != 0 {
        let swap = if limits.memory_and_swap < 0 { -1 } else { (limits.memory_and_swap - limits.memory.max(0)).max(0) };
        writes.push("memory", "memory.swap.max", bytes(swap), Need::IfPresent);
    }
    for (file, value) in &limits.unified {
        let controller = file.split('.').next().unwrap_or_default().to_owned();
        // Only a plain file name: a path could leave the container's own cgroup.
        if !file.contains('/') {
            writes.must(&controller, file, value);
        }
    }
}

/// v1 shares (2–262144) on v2's scale (1–10000), by the formula of the OCI runtimes.
fn weight(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(limits: &Limits, version: Version) -> Vec<String> {
        plan(limits, version).into_iter().map(|w| format!("{}={}", w.file, w.value)).collect()
    }

    #[test]
    fn each_version_has_its_files() {
        let limits = Limits {
            cpu_shares: 1024,
            cpu_quota: 50_000,
            cpu_period: 100_000,
            memory: 1 << 20,
            memory_and_swap: 3 << 20,
            cpus: "0-1".into(),
            hugepages: vec![("2MB".into(), 0)],
            unified: [("memory.high".to_owned(), "900000".to_owned()), ("../x".to_owned(), "1".to_owned())].into(),
            ..Default::default()
        };
        assert_eq!(
            files(&limits, Version::V1),
            [
                "cpu.shares=1024",
                "cpu.cfs_period_us=100000",
                "cpu.cfs_quota_us=50000",
                "memory.limit_in_bytes=1048576",
                "memory.memsw.limit_in_bytes=3145728",
                "cpuset.cpus=0-1",
                "hugetlb.2MB.limit_in_bytes=0",
            ]
        );
        assert_eq!(
            files(&limits, Version::V2),
            [
                "cpu.weight=39",
                "cpu.max=50000 100000",
                "memory.max=1048576",
                "memory.swap.max=2097152",
                "memory.high=900000",
                "cpuset.cpus=0-1",
                "hugetlb.2MB.max=0",
            ]
        );
    }

    #[test]
    fn nothing_asked_writes_nothing_and_no_limit_is_said() {
        for version in [Version::V1, Version::V2] {
            assert!(plan(&Limits::default(), version).is_empty());
        }
        let unlimited = Limits { cpu_quota: -1, memory: -1, ..Default::default() };
        assert_eq!(files(&unlimited, Version::V1), ["cpu.cfs_quota_us=-1", "memory.limit_in_bytes=-1"]);
        assert_eq!(files(&unlimited, Version::V2), ["cpu.max=max 100000", "memory.max=max"]);
        assert_eq!((weight(2), weight(262_144), weight(u64::MAX)), (1, 10_000, 10_000));
    }
}
