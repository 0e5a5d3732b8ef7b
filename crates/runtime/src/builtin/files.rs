//! File work of the daemon, off its async threads, with errors that name the file.

use std::fs;
use std::io;
use std::path::Path;

use prost::Message;
use rustix::mount::{MountFlags, UnmountFlags};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::paths::Layout;

/// Shared memory of a pod, as other runtimes size it.
const SHM_OPTIONS: &std::ffi::CStr = c"mode=1777,size=67108864";

/// Runs blocking work on tokio's threads for it.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> cri::Result<T> + Send + 'static) -> cri::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(cri::Error::Internal(format!("the runtime's file work was cut off: {e}"))))
}

pub(super) fn failed(action: &str, path: impl AsRef<Path>, error: &io::Error) -> cri::Error {
    cri::Error::Internal(format!("{action} {}: {error}", path.as_ref().display()))
}

/// Makes the runtime's folders, readable by root only.
pub(super) fn make_folders(layout: &Layout) -> cri::Result<()> {
    for path in [layout.sandboxes(), layout.network_namespaces()] {
        make_folder(&path)?;
    }
    Ok(())
}

pub(super) fn make_folder(path: &Path) -> cri::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o711).create(path).map_err(|e| failed("making", path, &e))
}

/// Writes a file whole. A crash of this process leaves the old or the new one; after a power cut no container is left to describe,
/// so nothing is synced.
pub(super) fn write(path: &Path, data: &[u8]) -> cri::Result<()> {
    let temporary = path.with_extension("new");
    fs::write(&temporary, data).and_then(|()| fs::rename(&temporary, path)).map_err(|e| failed("writing", path, &e))
}

pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> cri::Result<()> {
    let text = serde_json::to_vec(value).map_err(|e| failed("writing", path, &io::Error::other(e)))?;
    write(path, &text)
}

/// Reads a JSON file; `None` when there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> cri::Result<Option<T>> {
    let text = stdx::fs::read_if_exists(path).map_err(|e| failed("reading", path, &e))?;
    text.map(|text| serde_json::from_slice(&text)).transpose().map_err(|e| failed("reading", path, &io::Error::other(e)))
}

pub(super) fn read_message<T: Message + Default>(path: &Path) -> cri::Result<T> {
    let bytes = fs::read(path).map_err(|e| failed("reading", path, &e))?;
    T::decode(bytes.as_slice()).map_err(|e| failed("reading", path, &io::Error::other(e)))
}

/// Mounts a pod's shared memory.
pub(super) fn mount_shm(path: &Path) -> cri::Result<()> {
    make_folder(path)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("shm", path, "tmpfs", flags, Some(SHM_OPTIONS)).map_err(|e| failed("mounting", path, &e.into()))
}

/// Takes mounts off a path, however many there are; none is success.
pub(super) fn unmount(path: &Path) {
    while rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
}

/// Removes a folder with all below it; a missing one is success.
pub(super) fn remove_folder(path: &Path) -> cri::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("removing", path, &e)),
        _ => Ok(()),
    }
}
