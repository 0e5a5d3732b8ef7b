//! Each kind of mount, by the file-descriptor mount calls: made or cloned first, adjusted while nobody sees it, then put in its place.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Dev, FileType, Mode, OFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::root::{Root, kind_of};
use crate::spec::{Access, ContainerSpec, DeviceKind, DeviceNode, MountSource, MountSpec, Propagation};
use crate::sys::{self, MountChange, Reach};

const NO_SUID: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOSUID;
const NO_DEV: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NODEV;
const NO_EXEC: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_NOEXEC;
const READ_ONLY: MountAttrFlags = MountAttrFlags::MOUNT_ATTR_RDONLY;

/// The bits as mount_setattr(2) takes them.
pub(super) fn attributes(flags: MountAttrFlags) -> u64 {
    u64::from(flags.bits())
}

/// Clones the host's trees that are to be bound, in the mounts' order.
pub(super) fn open_sources(mounts: &[MountSpec]) -> Result<Vec<Option<OwnedFd>>, String> {
    let open = |mount: &MountSpec| match &mount.source {
        MountSource::Bind { path, propagation, .. } => {
            if *propagation == Propagation::Both && !is_shared(path) {
                return Err(format!("path {} is not on a shared mount, as bidirectional propagation needs", path.display()));
            }
            clone_tree(path).map(Some).map_err(|e| format!("opening {} for {}: {e}", path.display(), mount.target))
        }
        _ => Ok(None),
    };
    mounts.iter().map(open).collect()
}

/// A detached copy of a tree of mounts.
pub(super) fn clone_tree(path: &Path) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    Ok(rustix::mount::open_tree(CWD, path, flags)?)
}

/// Whether the mount that holds `path` is shared (proc(5), mountinfo).
fn is_shared(path: &Path) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mounts = text.lines().filter_map(|line| {
        let point = PathBuf::from(line.split(' ').nth(4)?);
        path.starts_with(&point).then(|| (point.components().count(), line.contains(" shared:")))
    });
    // Of several mounts on one point the last one counts.
    mounts.max_by_key(|(depth, _)| *depth).is_some_and(|(_, shared)| shared)
}

/// Puts an open tree over an open target.
pub(super) fn place(tree: &OwnedFd, target: &OwnedFd) -> rustix::io::Result<()> {
    rustix::mount::move_mount(tree, "", target, "", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH)
}

/// A new filesystem that nobody sees yet. An option without a value is a flag.
pub(super) fn filesystem(kind: &str, options: &[(&str, Option<&str>)], flags: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(context.as_fd(), "source", kind)?;
    for (key, value) in options {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(context.as_fd(), *key, *value)?,
            None => rustix::mount::fsconfig_set_flag(context.as_fd(), *key)?,
        }
    }
    rustix::mount::fsconfig_create(context.as_fd())?;
    Ok(rustix::mount::fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, flags)?)
}

/// An overlay of `layers`, lowest first, writable with `upper` and `work`. On a kernel before 6.5 it is mounted at `point` at once and the
/// answer is `None`.
pub(super) fn overlay(layers: &[PathBuf], writable: Option<(&Path, &Path)>, point: &Path) -> io::Result<Option<OwnedFd>> {
    // Named by descriptor: option values are short in the kernel, paths may be long and hold any character.
    let open = |path: &Path| rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty());
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let lower = layers.iter().rev().map(|path| open(path)).collect::<Result<Vec<_>, _>>()?;
    let above = writable.map(|(upper, work)| Ok::<_, rustix::io::Errno>((open(upper)?, open(work)?))).transpose()?;
    let lower: Vec<(OwnedFd, String)> = lower
        .into_iter()
        .map(|fd| {
            let text = name(&fd);
            (fd, text)
        })
        .collect();
    let above_names = above.as_ref().map(|(upper, work)| (name(upper), name(work)));
    let mut options: Vec<(&str, Option<&str>)> = lower.iter().map(|(_, text)| ("lowerdir+", Some(text.as_str()))).collect();
    if let Some((upper, work)) = &above_names {
        options.extend([("upperdir", Some(upper.as_str())), ("workdir", Some(work.as_str()))]);
    }
    match filesystem("overlay", &options, MountAttrFlags::empty()) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            let joined = lower.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(":");
            let above = above_names.map(|(upper, work)| format!(",upperdir={upper},workdir={work}")).unwrap_or_default();
            let data = std::ffi::CString::new(format!("lowerdir={joined}{above}"))?;
            rustix::mount::mount("overlay", point, "overlay", rustix::mount::MountFlags::empty(), Some(data.as_c_str()))?;
            Ok(None)
        }
        other => other.map(Some),
    }
}

/// Makes one mount and puts it into the root.
pub(super) fn attach(root: &Root, mount: &MountSpec, source: Option<OwnedFd>, spec: &ContainerSpec, scratch: &Path) -> io::Result<()> {
    let hardened = NO_SUID | NO_DEV | NO_EXEC;
    let restrict = |access: Access| if access == Access::ReadWrite { hardened } else { hardened | READ_ONLY };
    let folder = |tree: io::Result<OwnedFd>| -> io::Result<()> { Ok(place(&tree?, &root.target(&mount.target, FileType::Directory)?)?) };
    match &mount.source {
        MountSource::Bind { access, propagation, .. } => {
            let tree = source.ok_or_else(|| io::Error::other("its source was not opened"))?;
            bind(root, &mount.target, &tree, *access, *propagation)
        }
        MountSource::Image { layers, sub_path } => {
            let tree = image(layers, sub_path, scratch)?;
            bind(root, &mount.target, &tree, Access::ReadOnly, Propagation::Private)
        }
        MountSource::Proc => folder(filesystem("proc", &[], hardened)),
        MountSource::Sysfs { access } => folder(filesystem("sysfs", &[], restrict(*access))),
        MountSource::Mqueue => folder(filesystem("mqueue", &[], hardened)),
        MountSource::Tmpfs { options } => {
            let pairs: Vec<(&str, Option<&str>)> =
                options.split(',').filter(|o| !o.is_empty()).map(|o| o.split_once('=').map_or((o, None), |(k, v)| (k, Some(v)))).collect();
            folder(filesystem("tmpfs", &pairs, hardened))
        }
        MountSource::Devpts => {
            let options = [("newinstance", None), ("ptmxmode", Some("0666")), ("mode", Some("0620")), ("gid", Some("5"))];
            folder(filesystem("devpts", &options, NO_SUID | NO_EXEC))
        }
        MountSource::Dev => {
            folder(filesystem("tmpfs", &[("mode", Some("755")), ("size", Some("65536k"))], NO_SUID))?;
            devices(root, &mount.target, &spec.devices)
        }
        MountSource::CgroupV2 { access } => folder(filesystem("cgroup2", &[], restrict(*access))),
        MountSource::CgroupV1 { hierarchies, access } => cgroup_v1(root, &mount.target, hierarchies, restrict(*access)),
    }
}

fn bind(root: &Root, target: &str, tree: &OwnedFd, access: Access, propagation: Propagation) -> io::Result<()> {
    let propagation = match propagation {
        Propagation::Private => libc::MS_PRIVATE,
        Propagation::FromHost => libc::MS_SLAVE,
        // The clone is in its source's peer group already.
        Propagation::Both => 0,
    };
    if propagation != 0 {
        sys::set_mount(tree.as_fd(), MountChange { set: 0, propagation }, Reach::Below)?;
    }
    let read_only = MountChange { set: attributes(READ_ONLY), propagation: 0 };
    match access {
        Access::ReadWrite => {}
        Access::ReadOnly => sys::set_mount(tree.as_fd(), read_only, Reach::One)?,
        Access::RecursiveReadOnly => sys::set_mount(tree.as_fd(), read_only, Reach::Below)?,
    }
    let target = root.target(target, kind_of(tree)?)?;
    Ok(place(tree, &target)?)
}

/// A read-only view of an image, put together out of sight at `scratch`.
fn image(layers: &[PathBuf], sub_path: &str, scratch: &Path) -> io::Result<OwnedFd> {
    fs::create_dir_all(scratch)?;
    match layers {
        [] => return Err(io::Error::other("the image has no layers")),
        [one] => {
            let tree = clone_tree(one)?;
            rustix::mount::move_mount(&tree, "", CWD, scratch, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
        }
        many => {
            if let Some(tree) = overlay(many, None, scratch)? {
                rustix::mount::move_mount(&tree, "", CWD, scratch, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
            }
        }
    }
    let base = rustix::fs::open(scratch, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let within = rustix::fs::ResolveFlags::IN_ROOT | rustix::fs::ResolveFlags::NO_MAGICLINKS;
    let sub_path = if sub_path.is_empty() { "." } else { sub_path };
    let found = rustix::fs::openat2(&base, sub_path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), within)?;
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(rustix::mount::open_tree(&found, "", flags)?)
}

/// Each hierarchy's own part of the tree, by the cgroup namespace, below a small tmpfs.
fn cgroup_v1(root: &Root, target: &str, hierarchies: &[String], flags: MountAttrFlags) -> io::Result<()> {
    let base = filesystem("tmpfs", &[("mode", Some("755"))], NO_SUID | NO_DEV | NO_EXEC)?;
    place(&base, &root.target(target, FileType::Directory)?)?;
    for hierarchy in hierarchies {
        let controllers: Vec<(&str, Option<&str>)> = hierarchy.split(',').map(|name| (name, None)).collect();
        let tree = filesystem("cgroup", &controllers, flags)?;
        place(&tree, &root.target(&format!("{target}/{hierarchy}"), FileType::Directory)?)?;
    }
    let read_only = flags.intersection(READ_ONLY);
    sys::set_mount(root.open(target, OFlags::PATH)?.as_fd(), MountChange { set: attributes(read_only), propagation: 0 }, Reach::One)
}

const USUAL_DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

fn devices(root: &Root, dev: &str, own: &[DeviceNode]) -> io::Result<()> {
    let folder = root.target(dev, FileType::Directory)?;
    // The shim's umask is empty, so the mode is what is written here.
    for (name, major, minor) in USUAL_DEVICES {
        rustix::fs::mknodat(&folder, name, FileType::CharacterDevice, Mode::from_bits_truncate(0o666), device(major, minor))?;
    }
    for (name, to) in LINKS {
        rustix::fs::symlinkat(to, &folder, name)?;
    }
    for node in own {
        let parent = root.folder(node.path.parent().unwrap_or(Path::new("/dev")))?;
        let Some(name) = node.path.file_name() else { continue };
        let kind = match node.kind {
            DeviceKind::Character => FileType::CharacterDevice,
            DeviceKind::Block => FileType::BlockDevice,
        };
        match rustix::fs::mknodat(&parent, name, kind, Mode::from_bits_truncate(node.mode), device(node.major, node.minor)) {
            // One of the usual ones.
            Err(rustix::io::Errno::EXIST) => continue,
            other => other?,
        }
        let owner = (rustix::fs::Uid::from_raw(node.uid), rustix::fs::Gid::from_raw(node.gid));
        rustix::fs::chownat(&parent, name, Some(owner.0), Some(owner.1), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

fn device(major: u32, minor: u32) -> Dev {
    rustix::fs::makedev(major, minor)
}

/// A mount's source in an error message.
pub(super) fn describe(source: &MountSource) -> String {
    match source {
        MountSource::Bind { path, .. } => path.display().to_string(),
        MountSource::Image { .. } => "image volume".to_owned(),
        MountSource::Proc => "proc".to_owned(),
        MountSource::Sysfs { .. } => "sysfs".to_owned(),
        MountSource::Tmpfs { .. } => "tmpfs".to_owned(),
        MountSource::Dev => "dev".to_owned(),
        MountSource::Devpts => "devpts".to_owned(),
        MountSource::Mqueue => "mqueue".to_owned(),
        MountSource::CgroupV1 { .. } | MountSource::CgroupV2 { .. } => "cgroup".to_owned(),
    }
}
