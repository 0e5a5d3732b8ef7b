//! The container's file tree: overlay, mounts, masked paths, and the move into it. Runs in the container's own mount namespace, so all of
//! it goes when the last process does, and the host never sees a mount.
//!
//! Every path inside the tree is looked up with `RESOLVE_IN_ROOT`: a link in an image leads nowhere outside.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::mount;
use crate::paths::ContainerDir;
use crate::spec::ContainerSpec;
use crate::sys::{self, MountChange, Reach};

/// Builds the tree and makes it this process's root.
pub(super) fn build(dir: &ContainerDir, spec: &ContainerSpec) -> Result<(), String> {
    // Sources are taken first: what is cloned now keeps its ties to the host's mounts, while this namespace's copies lose theirs below.
    let sources = mount::open_sources(&spec.mounts)?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).map_err(|e| format!("cutting mounts off from the host: {}", io::Error::from(e)))?;
    let root = Root::overlay(dir, &spec.layers).map_err(|e| format!("mounting the root filesystem: {e}"))?;
    for (at, (mount, source)) in spec.mounts.iter().zip(sources).enumerate() {
        mount::attach(&root, mount, source, spec, &dir.scratch().join(at.to_string()))
            .map_err(|e| format!("mounting {:?} to {}: {e}", mount::describe(&mount.source), mount.target))?;
    }
    root.make_read_only(&spec.read_only)?;
    root.mask(&spec.masked)?;
    root.enter(spec.root_read_only).map_err(|e| format!("changing the root: {e}"))
}

/// An open container root.
pub(super) struct Root(OwnedFd);

const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);

impl Root {
    fn overlay(dir: &ContainerDir, layers: &[PathBuf]) -> io::Result<Self> {
        let rootfs = dir.rootfs();
        let tree = mount::overlay(layers, Some((&dir.upper(), &dir.work())), &rootfs)?;
        if let Some(tree) = tree {
            rustix::mount::move_mount(&tree, "", CWD, &rootfs, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        Ok(Self(rustix::fs::open(&rootfs, FOLDER, Mode::empty())?))
    }

    /// Opens what is at a container path, links followed inside the root.
    pub(super) fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let relative = path.trim_start_matches('/');
        let relative = if relative.is_empty() { "." } else { relative };
        rustix::fs::openat2(&self.0, relative, flags | OFlags::CLOEXEC, Mode::empty(), INSIDE)
    }

    /// Opens a folder, making what is missing of it.
    pub(super) fn folder(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut done = PathBuf::new();
        let mut current = self.open("/", FOLDER)?;
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            done.push(name);
            let text = done.to_string_lossy();
            current = match self.open(&text, FOLDER) {
                Err(Errno::NOENT) => {
                    match rustix::fs::mkdirat(&current, name, Mode::from_bits_truncate(0o755)) {
                        Ok(()) | Err(Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                    self.open(&text, FOLDER)?
                }
                other => other?,
            };
        }
        Ok(current)
    }

    /// A mount target of the right kind, made if it is missing.
    pub(super) fn target(&self, path: &str, kind: FileType) -> io::Result<OwnedFd> {
        if kind == FileType::Directory {
            return self.folder(Path::new(path));
        }
        match self.open(path, OFlags::PATH) {
            Err(Errno::NOENT) => {}
            other => return Ok(other?),
        }
        let path = Path::new(path);
        let folder = self.folder(path.parent().unwrap_or(Path::new("/")))?;
        let name = path.file_name().ok_or(Errno::INVAL)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        drop(rustix::fs::openat(&folder, name, flags, Mode::from_bits_truncate(0o644))?);
        Ok(rustix::fs::openat(&folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Makes each path read-only that exists.
    fn make_read_only(&self, paths: &[String]) -> Result<(), String> {
        for path in paths {
            let one = || -> io::Result<()> {
                let target = match self.open(path, OFlags::PATH) {
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                    other => other?,
                };
                let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
                let tree = rustix::mount::open_tree(&target, "", flags | OpenTreeFlags::AT_EMPTY_PATH)?;
                sys::set_mount(
                    tree.as_fd(),
                    MountChange { set: mount::attributes(MountAttrFlags::MOUNT_ATTR_RDONLY), propagation: 0 },
                    Reach::One,
                )?;
                Ok(mount::place(&tree, &target)?)
            };
            one().map_err(|e| format!("making {path} read-only: {e}"))?;
        }
        Ok(())
    }

    /// Hides each path that exists: a folder behind an empty one, a file behind /dev/null.
    fn mask(&self, paths: &[String]) -> Result<(), String> {
        for path in paths {
            let one = || -> io::Result<()> {
                let target = match self.open(path, OFlags::PATH) {
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
                    other => other?,
                };
                let is_folder = FileType::from_raw_mode(rustix::fs::fstat(&target)?.st_mode) == FileType::Directory;
                let tree = if is_folder {
                    mount::filesystem("tmpfs", &[("size", Some("0"))], MountAttrFlags::MOUNT_ATTR_RDONLY)?
                } else {
                    mount::clone_tree(Path::new("/dev/null"))?
                };
                Ok(mount::place(&tree, &target)?)
            };
            one().map_err(|e| format!("masking {path}: {e}"))?;
        }
        Ok(())
    }

    /// Makes this the root of the process, and lets go of the host's.
    fn enter(self, read_only: bool) -> io::Result<()> {
        rustix::process::fchdir(&self.0)?;
        rustix::process::pivot_root(".", ".")?;
        rustix::mount::unmount(".", UnmountFlags::DETACH)?;
        rustix::process::chdir("/")?;
        if read_only {
            let root = rustix::fs::open("/", FOLDER, Mode::empty())?;
            sys::set_mount(
                root.as_fd(),
                MountChange { set: mount::attributes(MountAttrFlags::MOUNT_ATTR_RDONLY), propagation: 0 },
                Reach::One,
            )?;
        }
        Ok(())
    }
}

/// Puts the terminal at /dev/console, for the container's first process only; an exec's terminal fails here harmlessly, since the file is
/// then a mount already or the filesystem read-only.
pub(super) fn bind_console(slave: &OwnedFd) {
    if rustix::process::getpid().as_raw_nonzero().get() != 1 || Path::new("/dev/console").exists() {
        return;
    }
    let made = fs::File::create("/dev/console");
    let path = format!("/proc/self/fd/{}", slave.as_raw_fd());
    if made.is_ok() {
        let _ = rustix::mount::mount(&path, "/dev/console", c"", MountFlags::BIND, None::<&std::ffi::CStr>);
    }
}

/// What kind of file an open tree is.
pub(super) fn kind_of(tree: impl AsFd) -> io::Result<FileType> {
    let stat = rustix::fs::statat(tree, "", AtFlags::EMPTY_PATH)?;
    Ok(FileType::from_raw_mode(stat.st_mode))
}
