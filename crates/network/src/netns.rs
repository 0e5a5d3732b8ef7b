//! Named network namespaces: files under a directory of the caller's choice, each a bind mount of a namespace.
//!
//! A thread that enters a namespace never leaves it again: it ends with its closure, so no thread of a pool is ever
//! left in a foreign namespace.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use crate::error::{Error, Result};

/// The namespace of the calling thread, as the kernel shows it.
const OWN_NAMESPACE: &str = "/proc/thread-self/ns/net";
/// Magic numbers of the file systems that namespace files live on (nsfs, and procfs of old kernels).
const NAMESPACE_FILE_SYSTEMS: [u64; 2] = [0x6e73_6673, 0x9fa0];

/// An open network namespace. It stays alive while this handle or any clone of it lives.
#[derive(Clone, Debug)]
pub struct Namespace {
    file: Arc<File>,
    path: PathBuf,
}

impl Namespace {
    /// The namespace of the calling thread.
    pub fn current() -> Result<Self> {
        Self::open(Path::new(OWN_NAMESPACE))
    }

    /// Opens the namespace mounted at `path` (or a `/proc/<pid>/ns/net` link). A plain file there, such as a crash
    /// between creating and mounting leaves, is [`Error::NoNamespace`].
    pub fn open(path: &Path) -> Result<Self> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoNamespace(path.to_owned()));
            }
            Err(e) => {
                return Err(Error::io(format!("open network namespace {}", path.display()))(e));
            }
        };
        let system =
            rustix::fs::fstatfs(&file).map_err(|e| Error::io(format!("look at network namespace {}", path.display()))(e.into()))?;
        // The type of `f_type` differs between architectures, hence the cast.
        #[allow(clippy::unnecessary_cast, reason = "signed on some targets, unsigned on others")]
        let magic = system.f_type as u64;
        if !NAMESPACE_FILE_SYSTEMS.contains(&magic) {
            return Err(Error::NoNamespace(path.to_owned()));
        }
        Ok(Self { file: Arc::new(file), path: path.to_owned() })
    }

    /// Makes a fresh namespace and mounts it at `directory/name`; the directory is made if needed.
    /// An existing file of that name is an error (`EEXIST`): see [`delete`].
    pub fn create(directory: &Path, name: &str) -> Result<Self> {
        if name.is_empty() || name.contains('/') || name == "." || name == ".." {
            return Err(Error::Setting { name: "namespace name", detail: format!("{name:?} is not a file name") });
        }
        let path = directory.join(name);
        let attempt = format!("create network namespace {}", path.display());
        fs::create_dir_all(directory).map_err(Error::io(attempt.clone()))?;
        OpenOptions::new().write(true).create_new(true).mode(0o444).open(&path).map_err(Error::io(attempt.clone()))?;
        let target = path.clone();
        let mounted = on_new_thread(&attempt, move || {
            // SAFETY: only the network namespace is unshared, no file table or memory that other threads rely on,
            // and this thread ends right after.
            unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?;
            mount_bind(OWN_NAMESPACE, &target)
        })
        .and_then(|done| done.map_err(|e| Error::io(attempt.clone())(e.into())));
        if let Err(e) = mounted {
            let _ = fs::remove_file(&path);
            return Err(e);
        }
        Self::open(&path)
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` on a fresh thread inside this namespace and waits for it. Sockets opened there stay in the
    /// namespace when they are handed out.
    pub fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let attempt = format!("enter network namespace {}", self.path.display());
        let file = Arc::clone(&self.file);
        on_new_thread(&attempt, move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
            Ok::<T, rustix::io::Errno>(work())
        })?
        .map_err(|e| Error::io(attempt)(e.into()))
    }
}

/// Two handles are equal when they were opened at the same place.
impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Namespace {}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Unmounts and removes the namespace at `path`; nothing there is fine. Its links and sockets die with the last
/// process or handle that uses it.
pub fn delete(path: &Path) -> Result<()> {
    match unmount(path, UnmountFlags::DETACH) {
        // EINVAL: a plain file, left by a crash before the mount.
        Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::INVAL) => {}
        Err(e) => {
            return Err(Error::io(format!("unmount network namespace {}", path.display()))(e.into()));
        }
    }
    match fs::remove_file(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io(format!("remove network namespace {}", path.display()))(e)),
    }
}

fn on_new_thread<T: Send + 'static>(attempt: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    thread::Builder::new()
        .name("netns".into())
        .spawn(work)
        .map_err(Error::io(attempt))?
        .join()
        .map_err(|_| Error::ThreadDied(attempt.to_owned()))
}
