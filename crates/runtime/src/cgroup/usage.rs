//! What a cgroup has used, from the kernel's files.

use std::fs;
use std::path::Path;

use super::tree::{Tree, Version};

/// Counters of one cgroup; `None` where the host does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu_nanoseconds: Option<u64>,
    /// Bytes charged, page cache included.
    pub(crate) memory: Option<u64>,
    /// Bytes that cannot be given back at once: charged less inactive file pages.
    pub(crate) working_set: Option<u64>,
    /// Bytes of anonymous memory.
    pub(crate) rss: Option<u64>,
    pub(crate) page_faults: Option<u64>,
    pub(crate) major_page_faults: Option<u64>,
    /// The limit in bytes, if there is one.
    pub(crate) memory_limit: Option<u64>,
    pub(crate) processes: Option<u64>,
}

/// v1 says "no limit" by the largest number of whole pages that fits.
const NO_LIMIT_FROM: u64 = 1 << 62;

pub(super) fn read(tree: &Tree, relative: &Path) -> Usage {
    let text = |controller: &str, file: &str| tree.of(controller).and_then(|m| fs::read_to_string(m.join(relative).join(file)).ok());
    let number = |controller: &str, file: &str| text(controller, file).and_then(|t| t.trim().parse::<u64>().ok());
    let version = tree.version();
    let (current, limit, names) = match version {
        Version::V1 => {
            ("memory.usage_in_bytes", "memory.limit_in_bytes", ["total_inactive_file", "total_rss", "total_pgfault", "total_pgmajfault"])
        }
        Version::V2 => ("memory.current", "memory.max", ["inactive_file", "anon", "pgfault", "pgmajfault"]),
    };
    let stat = text("memory", "memory.stat").unwrap_or_default();
    let [inactive, rss, faults, major] = names.map(|name| field(&stat, name));
    let memory = number("memory", current);
    Usage {
        cpu_nanoseconds: match version {
            Version::V1 => number("cpuacct", "cpuacct.usage"),
            Version::V2 => text("cpu", "cpu.stat").and_then(|t| field(&t, "usage_usec")).map(|us| us.saturating_mul(1000)),
        },
        memory,
        working_set: memory.map(|bytes| bytes.saturating_sub(inactive.unwrap_or(0))),
        rss,
        page_faults: faults,
        major_page_faults: major,
        memory_limit: number("memory", limit).filter(|bytes| *bytes < NO_LIMIT_FROM),
        processes: number("pids", "pids.current"),
    }
}

/// The number after `name` in a `name number` list.
pub(super) fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}
