//! What the machine has, read from the kernel.

use std::fs;
use std::path::Path;

use crate::config::Config;

/// The machine's figures and names.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// CPUs.
    pub cpus: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of swap.
    pub swap: i64,
    /// Bytes of disk for pods, and those still free.
    pub disk: (i64, i64),
    /// Bytes of memory still available.
    pub available: i64,
    /// CPU time used since the machine started, in nanoseconds.
    pub cpu_nanos: u64,
    /// Process identifiers in all, and those in use.
    pub pids: (i64, i64),
    /// Huge pages by size in bytes.
    pub huge_pages: Vec<(i64, i64)>,
    /// Names for `nodeInfo`.
    pub machine_id: String,
    /// As above.
    pub system_uuid: String,
    /// As above.
    pub boot_id: String,
    /// As above.
    pub kernel: String,
    /// As above.
    pub os_image: String,
}

impl Facts {
    /// Reads all; what cannot be read is empty or zero.
    pub fn read(config: &Config) -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let meminfo = text("/proc/meminfo");
        let memory = |key: &str| number(&meminfo, key).saturating_mul(1024);
        let first = |options: &[&str]| options.iter().map(|p| text(p)).find(|t| !t.is_empty()).unwrap_or_default();
        let os_release = text("/etc/os-release");
        let pretty = os_release.lines().find_map(|l| l.strip_prefix("PRETTY_NAME=")).unwrap_or("Linux").trim_matches('"').to_owned();
        let machine_id = first(&["/etc/machine-id", "/var/lib/dbus/machine-id"]);
        Self {
            cpus: std::thread::available_parallelism().map_or(1, |n| i64::try_from(n.get()).unwrap_or(1)),
            memory: memory("MemTotal:"),
            swap: memory("SwapTotal:"),
            available: memory("MemAvailable:"),
            cpu_nanos: cpu_nanos(&text("/proc/stat")),
            disk: disk(&config.data_dir),
            pids: (text("/proc/sys/kernel/pid_max").parse().unwrap_or(0), threads(&text("/proc/loadavg"))),
            huge_pages: huge_pages(Path::new("/sys/kernel/mm/hugepages")),
            system_uuid: Some(text("/sys/class/dmi/id/product_uuid")).filter(|u| !u.is_empty()).unwrap_or_else(|| machine_id.clone()),
            machine_id,
            boot_id: text("/proc/sys/kernel/random/boot_id"),
            kernel: text("/proc/sys/kernel/osrelease"),
            os_image: pretty,
        }
    }
}

fn number(text: &str, key: &str) -> i64 {
    let line = text.lines().find_map(|l| l.strip_prefix(key));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// The second figure of the fourth field: all schedulable entities.
fn threads(loadavg: &str) -> i64 {
    let field = loadavg.split_whitespace().nth(3).and_then(|f| f.split_once('/'));
    field.and_then(|(_, all)| all.parse().ok()).unwrap_or(0)
}

/// The busy time of the first line: user, nice, system, irq, softirq and steal, in hundredths of a second.
fn cpu_nanos(stat: &str) -> u64 {
    const TICK: u64 = 10_000_000;
    let line = stat.lines().find_map(|l| l.strip_prefix("cpu ")).unwrap_or_default();
    let fields = line.split_whitespace().take(8).map(|f| f.parse::<u64>().unwrap_or(0)).enumerate();
    // The fourth and fifth are idle time.
    let busy: u64 = fields.filter(|(at, _)| !matches!(at, 3 | 4)).map(|(_, ticks)| ticks).sum();
    busy.saturating_mul(TICK)
}

fn disk(path: &Path) -> (i64, i64) {
    let Ok(stat) = rustix::fs::statvfs(path) else { return (0, 0) };
    let bytes = |blocks: u64| i64::try_from(blocks.saturating_mul(stat.f_frsize)).unwrap_or(i64::MAX);
    (bytes(stat.f_blocks), bytes(stat.f_bavail))
}

fn huge_pages(dir: &Path) -> Vec<(i64, i64)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut sizes: Vec<(i64, i64)> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let kib: i64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let pages: i64 = fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            Some((kib.saturating_mul(1024), pages.saturating_mul(kib).saturating_mul(1024)))
        })
        .collect();
    sizes.sort_unstable();
    sizes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_texts_are_read() {
        assert_eq!(number("MemTotal:       1234 kB\nMemFree: 1 kB", "MemTotal:"), 1234);
        assert_eq!(threads("0.1 0.2 0.3 2/345 678"), 345);
        assert_eq!(cpu_nanos("cpu  1 2 3 400 500 6 7 8 9 9\ncpu0 1"), 27 * 10_000_000);
        assert_eq!((number("", "x"), threads("")), (0, 0));
    }
}
