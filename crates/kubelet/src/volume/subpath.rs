//! Paths inside volumes, which may hold links that a hostile container made: every step is resolved by the kernel beneath
//! the volume's root.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat2};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

const INSIDE: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_MAGICLINKS);

/// Mounts `sub_path` of the volume at `place` and answers `place`. A directory is made if nothing is there.
pub fn bind(volume: &Path, sub_path: &str, place: &Path) -> io::Result<std::path::PathBuf> {
    let found = resolve(volume, sub_path)?;
    // A mount for an earlier container of this name may be there.
    while unmount(place, UnmountFlags::DETACH).is_ok() {}
    if let Some(parent) = place.parent() {
        std::fs::create_dir_all(parent)?;
    }
    if FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory {
        std::fs::create_dir_all(place)?;
    } else if !place.exists() {
        File::create(place)?;
    }
    // The open file is what is mounted, whatever its name stands for by now.
    mount_bind(format!("/proc/self/fd/{}", found.as_raw_fd()), place)?;
    Ok(place.to_owned())
}

/// Opens a file of the volume for reading.
pub fn open_file(volume: &Path, path: &str) -> io::Result<File> {
    let root = root(volume)?;
    Ok(openat2(&root, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty(), INSIDE)?.into())
}

fn root(volume: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(volume, flags, Mode::empty())?)
}

fn resolve(volume: &Path, sub_path: &str) -> io::Result<OwnedFd> {
    let root = root(volume)?;
    match step(root.as_fd(), sub_path, OFlags::PATH) {
        Err(rustix::io::Errno::NOENT) => {}
        other => return Ok(other?),
    }
    // New directories get the volume's own permissions.
    let mode = Mode::from_raw_mode(fstat(&root)?.st_mode & 0o7777);
    let mut at = root;
    for part in sub_path.split('/').filter(|p| !p.is_empty() && *p != ".") {
        at = match step(at.as_fd(), part, OFlags::PATH) {
            Err(rustix::io::Errno::NOENT) => {
                mkdirat(&at, part, mode)?;
                let made = step(at.as_fd(), part, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
                // Permissions at creation are subject to the process's mask.
                rustix::fs::fchmod(&made, mode)?;
                made
            }
            other => other?,
        };
    }
    Ok(at)
}

fn step(at: std::os::fd::BorrowedFd<'_>, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat2(at, path, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_cannot_lead_out() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("v");
        std::fs::create_dir_all(volume.join("in")).unwrap();
        std::fs::write(volume.join("in/file"), "x").unwrap();
        std::os::unix::fs::symlink("/etc", volume.join("abs")).unwrap();
        std::os::unix::fs::symlink("..", volume.join("up")).unwrap();
        std::os::unix::fs::symlink("in", volume.join("ok")).unwrap();
        assert!(resolve(&volume, "ok/file").is_ok());
        assert!(resolve(&volume, "new/deep").is_ok() && volume.join("new/deep").is_dir());
        for path in ["abs", "abs/passwd", "up", "up/x"] {
            assert!(resolve(&volume, path).is_err(), "{path}");
        }
        assert!(open_file(&volume, "abs/passwd").is_err() && open_file(&volume, "in/file").is_ok());
    }
}
