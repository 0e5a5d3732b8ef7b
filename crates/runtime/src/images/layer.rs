//! Unpacks a layer into a folder in overlayfs' own form.
//!
//! Layers are hostile: paths may climb, links may lead out, sizes may lie. Every entry's parent is resolved by the kernel
//! with the layer's folder as its root (`openat2`, RESOLVE_IN_ROOT), and the entry itself is made by name in that parent
//! without following anything. Deletions (`.wh.` entries, OCI image specification `layer.md`) become overlayfs whiteouts.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid};
use tar::{Entry, EntryType};

use super::error::Error;

/// Entries of one layer; more is an attack on the inode table.
const ENTRIES_MAX: u64 = 2_000_000;
/// Bytes of one unpacked layer.
const BYTES_MAX: u64 = 64 << 30;
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks an uncompressed tar stream into `target`, which must be an empty folder.
pub(super) fn unpack(layer: &str, tar: impl Read, target: &Path) -> Result<(), Error> {
    let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
    let root = fs::open(target, flags, Mode::empty()).map_err(|e| Error::io("opening", target)(e.into()))?;
    let mut unpacker = Unpacker { layer, root, target, entries: 0, bytes: 0, folder_times: Vec::new() };
    let mut archive = tar::Archive::new(tar);
    let broken = |source| Error::Malformed { what: "layer", image: layer.to_owned(), why: io::Error::to_string(&source) };
    for entry in archive.entries().map_err(broken)? {
        unpacker.entry(&mut entry.map_err(broken)?)?;
    }
    unpacker.finish();
    Ok(())
}

struct Unpacker<'a> {
    layer: &'a str,
    root: OwnedFd,
    target: &'a Path,
    entries: u64,
    bytes: u64,
    /// Set last, as every file made inside changes them.
    folder_times: Vec<(PathBuf, i64)>,
}

impl Unpacker<'_> {
    fn entry<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<(), Error> {
        let given = entry.path_bytes().into_owned();
        let refused = |why: String| Error::Layer { layer: self.layer.to_owned(), entry: String::from_utf8_lossy(&given).into_owned(), why };
        self.entries += 1;
        self.bytes = self.bytes.saturating_add(entry.size());
        if self.entries > ENTRIES_MAX || self.bytes > BYTES_MAX {
            return Err(refused("the layer is too large".into()));
        }
        let path = relative(Path::new(OsStr::from_bytes(&given))).ok_or_else(|| refused("the path leaves the image".into()))?;
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return self.root_folder(entry).map_err(|e| refused(e.to_string()));
        };
        let parent_path = path.parent().map(Path::to_owned).unwrap_or_default();
        let made = self.parent(&parent_path).and_then(|parent| self.make(entry, &parent, &name, &path));
        made.map_err(|e| refused(e.to_string()))
    }

    /// The entry `./`: only its attributes count.
    fn root_folder<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> io::Result<()> {
        let header = entry.header();
        let (mode, uid, gid) = (mode(header)?, header.uid()?, header.gid()?);
        fs::chownat(fs::CWD, self.target, Some(uid_of(uid)?), Some(gid_of(gid)?), AtFlags::empty())?;
        Ok(fs::chmodat(fs::CWD, self.target, mode, AtFlags::empty())?)
    }

    fn make<R: Read>(&mut self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        let text = name.as_bytes();
        if text == OPAQUE.as_bytes() {
            return set_opaque(parent);
        }
        if let Some(hidden) = text.strip_prefix(WHITEOUT.as_bytes()) {
            return whiteout(parent, OsStr::from_bytes(hidden));
        }
        let kind = entry.header().entry_type();
        if !(kind.is_dir() && is_folder(parent, name)) {
            remove(parent, name)?;
        }
        match kind {
            EntryType::Directory => match fs::mkdirat(parent, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(e) => return Err(e.into()),
            },
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = std::fs::File::from(fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))?);
                io::copy(entry, &mut file)?;
            }
            EntryType::Symlink => {
                let to = entry.link_name_bytes().ok_or_else(|| io::Error::other("a symbolic link without a target"))?;
                fs::symlinkat(OsStr::from_bytes(&to), parent, name)?;
            }
            EntryType::Link => return self.hard_link(entry, parent, name),
            EntryType::Char | EntryType::Block | EntryType::Fifo => device(entry.header(), parent, name)?,
            // Extended headers have been applied by the reader; anything else carries no file.
            _ => return Ok(()),
        }
        self.attributes(entry, parent, name, path)
    }

    fn hard_link<R: Read>(&self, entry: &Entry<'_, R>, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
        let to = entry.link_name_bytes().ok_or_else(|| io::Error::other("a hard link without a target"))?;
        let to = relative(Path::new(OsStr::from_bytes(&to))).ok_or_else(|| io::Error::other("the link leads out of the image"))?;
        let to_name = to.file_name().ok_or_else(|| io::Error::other("a hard link to the root"))?;
        let to_parent = self.parent(to.parent().unwrap_or(Path::new("")))?;
        Ok(fs::linkat(to_parent, to_name, parent, name, AtFlags::empty())?)
    }

    fn attributes<R: Read>(&mut self, entry: &mut Entry<'_, R>, parent: &OwnedFd, name: &OsStr, path: &Path) -> io::Result<()> {
        let xattrs = xattrs(entry)?;
        let header = entry.header();
        let kind = header.entry_type();
        let nofollow = AtFlags::SYMLINK_NOFOLLOW;
        fs::chownat(parent, name, Some(uid_of(header.uid()?)?), Some(gid_of(header.gid()?)?), nofollow)?;
        let mtime = i64::try_from(header.mtime()?).unwrap_or(0);
        if kind.is_symlink() {
            return set_times(parent, name, mtime);
        }
        // After the change of owner, which clears the setuid bit; `name` is no link, for it was made just now.
        fs::chmodat(parent, name, mode(header)?, AtFlags::empty())?;
        for (key, value) in xattrs {
            let file = fs::openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            set_xattr(&file, &key, &value)?;
        }
        if kind.is_dir() {
            self.folder_times.push((path.to_owned(), mtime));
            return Ok(());
        }
        set_times(parent, name, mtime)
    }

    /// The folder at `path`, made where it is missing; links on the way are followed, but never out of the image.
    fn parent(&self, path: &Path) -> io::Result<OwnedFd> {
        match self.resolve(path) {
            Err(rustix::io::Errno::NOENT) => {
                let mut so_far = PathBuf::new();
                for part in path.components() {
                    let above = self.resolve(&so_far)?;
                    so_far.push(part);
                    match fs::mkdirat(&above, part.as_os_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                        Err(e) => return Err(e.into()),
                    }
                }
                Ok(self.resolve(path)?)
            }
            other => Ok(other?),
        }
    }

    fn resolve(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        fs::openat2(&self.root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
    }

    fn finish(&self) {
        for (path, mtime) in self.folder_times.iter().rev() {
            let (Some(name), parent) = (path.file_name(), path.parent().unwrap_or(Path::new(""))) else { continue };
            // A folder that a later entry replaced has no time of its own to keep.
            let _ = self.resolve(parent).map(|parent| set_times(&parent, name, *mtime));
        }
    }
}

/// The path below the root without `.` and leading `/`; `None` if it climbs out.
fn relative(path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(clean)
}

fn mode(header: &tar::Header) -> io::Result<Mode> {
    Ok(Mode::from_raw_mode(header.mode()? & 0o7777))
}

fn uid_of(raw: u64) -> io::Result<Uid> {
    u32::try_from(raw).map(Uid::from_raw).map_err(|_| io::Error::other("the owner's number is too large"))
}

fn gid_of(raw: u64) -> io::Result<Gid> {
    u32::try_from(raw).map(Gid::from_raw).map_err(|_| io::Error::other("the group's number is too large"))
}

fn is_folder(parent: &OwnedFd, name: &OsStr) -> bool {
    let stat = fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
    stat.is_ok_and(|s| fs::FileType::from_raw_mode(s.st_mode).is_dir())
}

/// A later entry of the same name replaces an earlier one.
fn remove(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    match fs::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(rustix::io::Errno::ISDIR) => {
            let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = fs::openat(parent, name, flags, Mode::empty())?;
            for inside in fs::Dir::read_from(folder.as_fd())? {
                let inside = inside?;
                let inside_name = OsString::from(OsStr::from_bytes(inside.file_name().to_bytes()));
                if inside_name != "." && inside_name != ".." {
                    remove(&folder, &inside_name)?;
                }
            }
            Ok(fs::unlinkat(parent, name, AtFlags::REMOVEDIR)?)
        }
        Err(e) => Err(e.into()),
    }
}

fn whiteout(parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." {
        return Err(io::Error::other("a whiteout of nothing"));
    }
    remove(parent, name)?;
    let device = fs::makedev(0, 0);
    Ok(fs::mknodat(parent, name, fs::FileType::CharacterDevice, Mode::empty(), device)?)
}

fn set_opaque(folder: &OwnedFd) -> io::Result<()> {
    set_xattr(folder, OsStr::new("trusted.overlay.opaque"), b"y")
}

/// Through /proc, since an O_PATH descriptor takes no attributes itself.
fn set_xattr(file: &OwnedFd, key: &OsStr, value: &[u8]) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(fs::setxattr(path.as_str(), key, value, fs::XattrFlags::empty())?)
}

fn set_times(parent: &OwnedFd, name: &OsStr, mtime: i64) -> io::Result<()> {
    let at = Timespec { tv_sec: mtime, tv_nsec: 0 };
    Ok(fs::utimensat(parent, name, &Timestamps { last_access: at, last_modification: at }, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn device(header: &tar::Header, parent: &OwnedFd, name: &OsStr) -> io::Result<()> {
    let kind = match header.entry_type() {
        EntryType::Char => fs::FileType::CharacterDevice,
        EntryType::Block => fs::FileType::BlockDevice,
        _ => fs::FileType::Fifo,
    };
    // Whoever opens it in a container still meets the device cgroup.
    let number = fs::makedev(header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0));
    Ok(fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), number)?)
}

/// Extended attributes of the entry that an image may carry: file capabilities and user attributes. Others, above all
/// overlayfs' own, are left out.
fn xattrs<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<Vec<(OsString, Vec<u8>)>> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for extension in extensions {
        let extension = extension?;
        let Some(key) = extension.key_bytes().strip_prefix(b"SCHILY.xattr.".as_slice()) else { continue };
        if key == b"security.capability" || key.starts_with(b"user.") {
            found.push((OsString::from(OsStr::from_bytes(key)), extension.value_bytes().to_vec()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
