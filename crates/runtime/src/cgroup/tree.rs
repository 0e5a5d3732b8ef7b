//! Where the cgroup hierarchies are mounted, and what new cgroups need before limits can be written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// Controllers that are switched on for new v2 cgroups where the host has them.
const V2_CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V1,
    V2,
}

/// The mounted hierarchies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    /// Controllers on hierarchies of their own; beside them perhaps a v2 tree with the rest (hybrid).
    V1 {
        hierarchies: Vec<Hierarchy>,
        unified: Option<PathBuf>,
    },
    V2 {
        mount: PathBuf,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) controllers: Vec<String>,
}

impl Tree {
    /// Reads the text of `/proc/self/mountinfo` (proc(5)); `None` without any cgroup mount.
    pub(crate) fn parse(mountinfo: &str) -> Option<Self> {
        let mut hierarchies: Vec<Hierarchy> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let Some((before, after)) = line.split_once(" - ") else { continue };
            let Some(mount) = before.split(' ').nth(4).map(unescape) else { continue };
            let mut after = after.split(' ');
            match (after.next(), after.nth(1)) {
                (Some("cgroup2"), _) => unified = unified.or(Some(mount)),
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<String> = options.split(',').filter(|o| CONTROLLERS_V1.contains(o)).map(str::to_owned).collect();
                    let known = hierarchies.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        hierarchies.push(Hierarchy { mount, controllers });
                    }
                }
                _ => {}
            }
        }
        match (hierarchies.is_empty(), unified) {
            (true, None) => None,
            (true, Some(mount)) => Some(Self::V2 { mount }),
            (false, unified) => Some(Self::V1 { hierarchies, unified }),
        }
    }

    pub(crate) fn version(&self) -> Version {
        match self {
            Self::V1 { .. } => Version::V1,
            Self::V2 { .. } => Version::V2,
        }
    }

    /// All mount points: of v1 hierarchies, and of the v2 tree.
    pub(crate) fn mounts(&self) -> (impl Iterator<Item = &Path>, Option<&Path>) {
        let (v1, v2) = match self {
            Self::V1 { hierarchies, unified } => (hierarchies.as_slice(), unified.as_deref()),
            Self::V2 { mount } => (&[][..], Some(mount.as_path())),
        };
        (v1.iter().map(|h| h.mount.as_path()), v2)
    }

    /// Where a controller's files are.
    pub(crate) fn of(&self, controller: &str) -> Option<&Path> {
        match self {
            Self::V2 { mount } => Some(mount),
            Self::V1 { hierarchies, .. } => {
                hierarchies.iter().find(|h| h.controllers.iter().any(|c| c == controller)).map(|h| h.mount.as_path())
            }
        }
    }

    /// Makes a fresh cgroup usable: cpusets are inherited by hand on v1, controllers are switched on from above on v2.
    pub(super) fn prepare(&self, relative: &Path) -> Result<(), Error> {
        match self {
            Self::V2 { mount } => {
                switch_on_controllers(mount, relative);
                Ok(())
            }
            Self::V1 { unified, .. } => {
                if let Some(mount) = unified {
                    switch_on_controllers(mount, relative);
                }
                self.of("cpuset").map_or(Ok(()), |mount| inherit_cpusets(mount, relative))
            }
        }
    }
}

const CONTROLLERS_V1: [&str; 13] =
    ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "net_cls", "net_prio", "perf_event", "hugetlb", "rdma"];

/// The folders from just below `mount` down to `relative`.
fn downwards(mount: &Path, relative: &Path) -> Vec<PathBuf> {
    let mut folder = mount.to_owned();
    relative
        .components()
        .map(|name| {
            folder.push(name);
            folder.clone()
        })
        .collect()
}

/// A controller that cannot be switched on leaves its files missing, and a limit that needs them then fails with their name.
fn switch_on_controllers(mount: &Path, relative: &Path) {
    let mut parents = vec![mount.to_owned()];
    parents.extend(downwards(mount, relative));
    parents.pop();
    for parent in parents {
        let available = fs::read_to_string(parent.join("cgroup.controllers")).unwrap_or_default();
        let active = fs::read_to_string(parent.join("cgroup.subtree_control")).unwrap_or_default();
        for controller in V2_CONTROLLERS {
            let listed = |text: &str| text.split_whitespace().any(|c| c == controller);
            if listed(&available) && !listed(&active) {
                let _ = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
            }
        }
    }
}

/// A v1 cpuset starts empty, and nothing may enter it before it has CPUs and memory nodes.
fn inherit_cpusets(mount: &Path, relative: &Path) -> Result<(), Error> {
    for folder in downwards(mount, relative) {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let path = folder.join(file);
            let fail = |source: io::Error| Error::File { action: "inheriting", path: path.clone(), source };
            if fs::read_to_string(&path).map_err(fail)?.trim().is_empty() {
                let parent = folder.parent().unwrap_or(mount).join(file);
                let value = fs::read_to_string(parent).map_err(fail)?;
                fs::write(&path, value.trim()).map_err(fail)?;
            }
        }
    }
    Ok(())
}

/// Mount points are escaped in octal (`\040` for a space).
fn unescape(text: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let octal = (*first == b'\\').then(|| tail.get(..3)).flatten();
        let value = octal.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 8).ok());
        match (value, tail.get(3..)) {
            (Some(value), Some(after)) => {
                out.push(value);
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    std::ffi::OsString::from_vec(out).into()
}
