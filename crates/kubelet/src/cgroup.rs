//! The cgroups that hold all of a pod's containers, with the pod's own limits. Containers' cgroups are the runtime's business.
//!
//! On a host with the systemd driver the runtime makes the pod's slice, and nothing is done here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use cri::v1::LinuxContainerResources;

/// Controllers that pods use.
const CONTROLLERS: [&str; 5] = ["cpu", "cpuset", "io", "memory", "pids"];
/// Hierarchies of v1 that runtimes put containers into; runc makes a pod's cgroup in each of them and leaves it there.
const CONTROLLERS_V1: [&str; 14] = [
    "cpu",
    "cpuacct",
    "cpuset",
    "memory",
    "devices",
    "freezer",
    "blkio",
    "pids",
    "hugetlb",
    "net_cls",
    "net_prio",
    "perf_event",
    "rdma",
    "name=systemd",
];

/// Why a pod's cgroup could not be made or removed.
#[derive(Debug, thiserror::Error)]
#[error("{attempt} cgroup {path}: {source}")]
pub struct Error {
    attempt: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Where cgroups are mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tree {
    /// One mount for all.
    V2(PathBuf),
    /// Mounts by controllers, perhaps with a v2 tree beside them.
    V1 {
        /// Mount point and its controllers.
        hierarchies: Vec<(PathBuf, Vec<String>)>,
        /// The v2 tree of a hybrid host.
        unified: Option<PathBuf>,
    },
}

impl Tree {
    /// This host's cgroups; `None` without any.
    pub fn of_host() -> Option<Self> {
        Self::parse(&fs::read_to_string("/proc/self/mountinfo").ok()?)
    }

    /// Reads a `mountinfo` text (proc(5)).
    fn parse(mountinfo: &str) -> Option<Self> {
        let (mut hierarchies, mut unified): (Vec<(PathBuf, Vec<String>)>, _) = (Vec::new(), None);
        for (before, after) in mountinfo.lines().filter_map(|line| line.split_once(" - ")) {
            let Some(point) = before.split(' ').nth(4).map(PathBuf::from) else { continue };
            let mut fields = after.split(' ');
            match (fields.next(), fields.nth(1)) {
                (Some("cgroup2"), _) => unified = unified.or(Some(point)),
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<String> = options.split(',').filter(|o| CONTROLLERS_V1.contains(o)).map(str::to_owned).collect();
                    if !controllers.is_empty() && !hierarchies.iter().any(|(_, known)| *known == controllers) {
                        hierarchies.push((point, controllers));
                    }
                }
                _ => {}
            }
        }
        match (hierarchies.is_empty(), unified) {
            (true, unified) => unified.map(Self::V2),
            (false, unified) => Some(Self::V1 { hierarchies, unified }),
        }
    }

    fn mounts(&self) -> Vec<&Path> {
        match self {
            Self::V2(mount) => vec![mount],
            Self::V1 { hierarchies, unified } => hierarchies.iter().map(|(mount, _)| mount).chain(unified).map(PathBuf::as_path).collect(),
        }
    }

    fn of(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V2(mount) => Some(mount),
            Self::V1 { hierarchies, .. } => {
                hierarchies.iter().find(|(_, list)| list.iter().any(|c| c == controller)).map(|(mount, _)| mount.as_path())
            }
        }
    }

    /// Makes the cgroup at `path` (such as `/kubepods/burstable/pod1`) and sets its limits; zero means none.
    pub fn ensure(&self, path: &str, limits: &LinuxContainerResources) -> Result<(), Error> {
        let relative = Path::new(path.trim_start_matches('/'));
        for mount in self.mounts() {
            let folder = mount.join(relative);
            fs::create_dir_all(&folder).map_err(|source| Error { attempt: "making", path: folder.clone(), source })?;
            switch_on(mount, relative);
        }
        if let Some(mount) = self.of("cpuset").filter(|_| matches!(self, Self::V1 { .. })) {
            inherit_cpusets(mount, relative)?;
        }
        for (controller, file, value) in self.writes(limits) {
            let Some(mount) = self.of(controller) else { continue };
            let file = mount.join(relative).join(file);
            // A controller that the host does not offer has no files.
            if file.exists() {
                fs::write(&file, value).map_err(|source| Error { attempt: "limiting", path: file.clone(), source })?;
            }
        }
        Ok(())
    }

    fn writes(&self, limits: &LinuxContainerResources) -> Vec<(&'static str, &'static str, String)> {
        let (quota, period, memory) = (limits.cpu_quota, limits.cpu_period, limits.memory_limit_in_bytes);
        match self {
            Self::V2(_) => {
                let weight = 1 + (limits.cpu_shares.clamp(2, 262_144) - 2) * 9999 / 262_142;
                let limit = |n: i64| if n > 0 { n.to_string() } else { "max".to_owned() };
                vec![
                    ("cpu", "cpu.weight", weight.to_string()),
                    ("cpu", "cpu.max", format!("{} {period}", limit(quota))),
                    ("memory", "memory.max", limit(memory)),
                ]
            }
            Self::V1 { .. } => {
                let limit = |n: i64| if n > 0 { n.to_string() } else { "-1".to_owned() };
                vec![
                    ("cpu", "cpu.shares", limits.cpu_shares.max(2).to_string()),
                    ("cpu", "cpu.cfs_period_us", period.to_string()),
                    ("cpu", "cpu.cfs_quota_us", limit(quota)),
                    ("memory", "memory.limit_in_bytes", limit(memory)),
                ]
            }
        }
    }

    /// Removes the cgroup and the empty ones below it. Idempotent; fails while processes are left.
    pub fn remove(&self, path: &str) -> Result<(), Error> {
        for mount in self.mounts() {
            let folder = mount.join(path.trim_start_matches('/'));
            remove_below(&folder).map_err(|source| Error { attempt: "removing", path: folder.clone(), source })?;
        }
        Ok(())
    }
}

fn remove_below(folder: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_below(&entry.path())?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Switches v2 controllers on above the cgroup; one that cannot be leaves its files missing.
fn switch_on(mount: &Path, relative: &Path) {
    let mut folder = mount.to_owned();
    for part in relative.components() {
        let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
        let active = fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in CONTROLLERS {
            let listed = |text: &str| text.split_whitespace().any(|c| c == controller);
            if listed(&available) && !listed(&active) {
                let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
        folder.push(part);
    }
}

/// A v1 cpuset starts empty and takes nobody in before it has CPUs and memory nodes.
fn inherit_cpusets(mount: &Path, relative: &Path) -> Result<(), Error> {
    let mut parent = mount.to_owned();
    for part in relative.components() {
        let folder = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let path = folder.join(file);
            let read = |path: &Path| fs::read_to_string(path).map_err(|source| Error { attempt: "reading", path: path.to_owned(), source });
            if read(&path)?.trim().is_empty() {
                let value = read(&parent.join(file))?;
                fs::write(&path, value.trim()).map_err(|source| Error { attempt: "setting up", path, source })?;
            }
        }
        parent = folder;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_layouts_are_read() {
        let v2 = "1 0 0:2 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n";
        let v1 = "2 0 0:3 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n3 0 0:4 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n";
        assert_eq!(Tree::parse(v2), Some(Tree::V2("/sys/fs/cgroup".into())));
        assert_eq!(Tree::parse(""), None);
        let hybrid = Tree::parse(&format!("{v1}{v2}")).unwrap();
        assert_eq!(hybrid.of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(hybrid.mounts().len(), 3, "runc uses the named hierarchy too");
    }

    #[test]
    fn limits_become_files() {
        let limits =
            LinuxContainerResources { cpu_shares: 512, cpu_period: 100_000, cpu_quota: 50_000, ..LinuxContainerResources::default() };
        let v2: Vec<String> = Tree::V2("/x".into()).writes(&limits).into_iter().map(|(_, f, v)| format!("{f}={v}")).collect();
        assert_eq!(v2, ["cpu.weight=20", "cpu.max=50000 100000", "memory.max=max"]);
    }

    #[test]
    fn a_cgroup_is_made_and_removed_with_what_is_below() {
        let dir = tempfile::tempdir().unwrap();
        let tree = Tree::V2(dir.path().to_owned());
        tree.ensure("/kubepods/pod1", &LinuxContainerResources::default()).unwrap();
        fs::create_dir(dir.path().join("kubepods/pod1/c")).unwrap();
        tree.remove("/kubepods/pod1").unwrap();
        assert!(dir.path().join("kubepods").exists() && !dir.path().join("kubepods/pod1").exists());
        tree.remove("/kubepods/pod1").unwrap();
    }
}
