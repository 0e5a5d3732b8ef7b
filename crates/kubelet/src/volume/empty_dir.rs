//! Directories that live as long as the pod, on disk or in memory.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Pod};
use rustix::mount::{MountFlags, mount};

use super::ownership::{self, Access};
use crate::quantity;
use crate::resources;
use crate::spec;

/// Where the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Medium {
    /// On the node's disk.
    Disk,
    /// In memory, at most so many bytes.
    Memory(Option<i64>),
}

/// Makes an `emptyDir`. Containers of any user may write to it.
pub(super) fn prepare(path: &Path, source: &EmptyDirVolumeSource, pod: &Pod, fs_group: Option<u32>) -> io::Result<()> {
    let medium = match source.medium.as_deref().unwrap_or_default() {
        "" => Medium::Disk,
        "Memory" => Medium::Memory(memory_limit(source, pod)),
        other => return Err(io::Error::other(format!("this node does not support the emptyDir medium {other:?}"))),
    };
    if is_made(path, &medium) {
        return Ok(());
    }
    make(path, &medium)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o777))?;
    ownership::apply(path, fs_group, Access::ReadWrite)
}

/// The volume's own limit or the pod's memory limit, whichever is smaller.
fn memory_limit(source: &EmptyDirVolumeSource, pod: &Pod) -> Option<i64> {
    let own = source.size_limit.as_ref().and_then(quantity::value).filter(|l| *l > 0);
    let pods = resources::pod_limits(spec::of(pod)).get("memory").map(|m| m / 1000).filter(|l| *l > 0);
    own.into_iter().chain(pods).min()
}

/// Makes the directory, and mounts memory there if that is its medium and it is not yet.
pub(super) fn make(path: &Path, medium: &Medium) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let Medium::Memory(limit) = medium else { return Ok(()) };
    if is_mount_point(path) {
        return Ok(());
    }
    let options = limit.map_or_else(String::new, |bytes| format!("size={bytes}"));
    let options = std::ffi::CString::new(options)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", path, "tmpfs", flags, options.as_c_str())
        .map_err(|e| io::Error::other(format!("mounting memory at {}: {e}", path.display())))
}

fn is_made(path: &Path, medium: &Medium) -> bool {
    path.is_dir() && (*medium == Medium::Disk || is_mount_point(path))
}

/// Whether something is mounted here: the directory is on another device than its parent.
fn is_mount_point(path: &Path) -> bool {
    let device = |p: &Path| fs::symlink_metadata(p).map(|m| m.dev()).ok();
    path.parent().is_some_and(|parent| device(path).is_some() && device(path) != device(parent))
}
