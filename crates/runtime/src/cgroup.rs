//! Control groups, v1 (also hybrid) and v2: creating them, writing limits, counting use, ending what runs in them.
//!
//! What to write is planned purely ([`limits`]); this file finds the trees and does the writing.

mod devices;
mod limits;
mod tree;
mod usage;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) use devices::{DeviceRule, Devices};
pub(crate) use limits::Limits;
pub(crate) use tree::{Tree, Version};
pub(crate) use usage::Usage;

use limits::{Need, Write};

/// How often, and how long apart, an emptied cgroup is tried to be removed: its last processes may still be dying.
const REMOVE_TRIES: u32 = 200;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// Something in the cgroup tree could not be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: io::Error },
    #[error("the limit {file} = {value:?} needs the cgroup controller {controller:?}, which this host does not have")]
    NoController { controller: String, file: String, value: String },
    #[error("no cgroup tree is mounted on this host")]
    NoTree,
    #[error("the cgroup path {0:?} goes outside its tree")]
    Path(String),
    #[error("processes in the cgroup {0} do not end")]
    Busy(PathBuf),
}

impl From<Error> for cri::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Path(_) => Self::InvalidArgument(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

/// One cgroup's folders.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Folders {
    pub(crate) v1: Vec<PathBuf>,
    pub(crate) v2: Option<PathBuf>,
}

impl Folders {
    pub(crate) fn all(self) -> Vec<PathBuf> {
        self.v1.into_iter().chain(self.v2).collect()
    }
}

/// The host's cgroup trees.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    tree: Tree,
}

impl Cgroups {
    /// Finds the trees in the text of `/proc/self/mountinfo`.
    pub(crate) fn detect(mountinfo: &str) -> Result<Self, Error> {
        Tree::parse(mountinfo).map(|tree| Self { tree }).ok_or(Error::NoTree)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The folders of cgroup `path` in every hierarchy.
    pub(crate) fn folders(&self, path: &str) -> Result<Folders, Error> {
        let relative = plain(path)?;
        let (v1, v2) = self.tree.mounts();
        Ok(Folders { v1: v1.map(|mount| mount.join(&relative)).collect(), v2: v2.map(|mount| mount.join(&relative)) })
    }

    /// Makes the cgroup with its ancestors and writes its limits.
    pub(crate) fn create(&self, path: &str, limits: &Limits, devices: &Devices) -> Result<(), Error> {
        let relative = plain(path)?;
        let folders = self.folders(path)?.all();
        for folder in &folders {
            fs::create_dir_all(folder).map_err(|source| Error::File { action: "creating", path: folder.clone(), source })?;
        }
        self.tree.prepare(&relative)?;
        self.apply(path, limits)?;
        devices::apply(&self.tree, &relative, devices)
    }

    /// Writes limits to an existing cgroup.
    pub(crate) fn apply(&self, path: &str, limits: &Limits) -> Result<(), Error> {
        let relative = plain(path)?;
        for write in limits::plan(limits, self.tree.version()) {
            self.write(&relative, &write)?;
        }
        Ok(())
    }

    fn write(&self, relative: &Path, write: &Write) -> Result<(), Error> {
        let Some(mount) = self.tree.of(&write.controller) else {
            return match write.need {
                Need::IfPresent => Ok(()),
                Need::Must => {
                    Err(Error::NoController { controller: write.controller.clone(), file: write.file.clone(), value: write.value.clone() })
                }
            };
        };
        let path = mount.join(relative).join(&write.file);
        match fs::write(&path, &write.value) {
            Err(e) if write.need == Need::IfPresent && matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                Ok(())
            }
            // The limit with swap is never below the one without: raised together, the former goes first.
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) && write.file == "memory.limit_in_bytes" => {
                let with_swap = path.with_file_name("memory.memsw.limit_in_bytes");
                fs::write(with_swap, &write.value).and_then(|()| fs::write(&path, &write.value)).map_err(|source| failed(&path, source))
            }
            other => other.map_err(|source| failed(&path, source)),
        }
    }

    /// What the cgroup has used.
    pub(crate) fn usage(&self, path: &str) -> Result<Usage, Error> {
        let relative = plain(path)?;
        Ok(usage::read(&self.tree, &relative))
    }

    /// Ends everything in the cgroup and takes it away with what is below. A missing one is success. Blocking, bounded in time.
    pub(crate) fn remove(&self, path: &str) -> Result<(), Error> {
        let folders = self.folders(path)?.all();
        for attempt in 0..REMOVE_TRIES {
            kill(&folders);
            if folders.iter().all(|folder| remove_below(folder)) {
                return Ok(());
            }
            if attempt > 0 {
                std::thread::sleep(REMOVE_PAUSE);
            }
        }
        Err(Error::Busy(folders.first().cloned().unwrap_or_default()))
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::File { action: "writing", path: path.to_owned(), source }
}

/// Removes a cgroup folder depth first; whether it is gone. The files inside belong to the kernel.
fn remove_below(folder: &Path) -> bool {
    let Ok(entries) = fs::read_dir(folder) else { return true };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            kill(std::slice::from_ref(&entry.path()));
            remove_below(&entry.path());
        }
    }
    matches!(fs::remove_dir(folder).map_err(|e| e.kind()), Ok(()) | Err(io::ErrorKind::NotFound))
}

/// Sends SIGKILL to every process in the cgroup with these folders.
pub(crate) fn kill(folders: &[PathBuf]) {
    for pid in members(folders) {
        let _ = crate::sys::kill(pid, libc::SIGKILL);
    }
}

/// The processes in the cgroup with these folders, as this PID namespace numbers them.
pub(crate) fn members(folders: &[PathBuf]) -> Vec<i32> {
    let mut pids: Vec<i32> = folders
        .iter()
        .filter_map(|folder| fs::read_to_string(folder.join("cgroup.procs")).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.parse().ok()).collect::<Vec<i32>>())
        .filter(|pid| *pid > 1)
        .collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

/// Moves the calling, single-threaded process into the v1 cgroup with these folders. By `tasks`, not `cgroup.procs`: for a single thread
/// that moves itself the kernel takes no global lock, whose price is a grace period of some ten milliseconds.
pub(crate) fn enter(folders: &[PathBuf]) -> Result<(), Error> {
    for folder in folders {
        let path = folder.join("tasks");
        fs::write(&path, "0").map_err(|source| failed(&path, source))?;
    }
    Ok(())
}

/// How many processes the kernel has killed in it for want of memory.
pub(crate) fn out_of_memory_kills(folders: &[PathBuf]) -> u64 {
    let texts = folders.iter().flat_map(|folder| ["memory.oom_control", "memory.events"].map(|file| fs::read_to_string(folder.join(file))));
    texts.flatten().filter_map(|text| usage::field(&text, "oom_kill")).sum()
}

/// A cgroup path relative to its tree: no `..`, not the root itself.
fn plain(path: &str) -> Result<PathBuf, Error> {
    use std::path::Component;
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(Error::Path(path.to_owned())),
        }
    }
    if plain.as_os_str().is_empty() { Err(Error::Path(path.to_owned())) } else { Ok(plain) }
}

#[cfg(test)]
mod tests;
