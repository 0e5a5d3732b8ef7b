//! The data directory: who holds it, which format it has, and which files belong to it.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;

/// The format this build writes and the newest it reads.
pub(crate) const FORMAT: u32 = 1;
const FORMAT_FILE: &str = "FORMAT";
const FORMAT_NAME: &str = "ferry-store";
const LOCK_FILE: &str = "LOCK";
/// Only the owner reads the store: it holds Secrets.
pub(crate) const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// An opened and locked data directory. The lock goes with the value, also when the process is killed.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    _lock: File,
}

/// What the directory holds.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sequence numbers of the log segments, growing.
    pub(crate) logs: Vec<u64>,
    /// Sequence numbers of the checkpoints, growing.
    pub(crate) checkpoints: Vec<u64>,
    /// Left-overs of interrupted writes.
    pub(crate) temporary: Vec<PathBuf>,
}

/// Wraps an I/O error with what was attempted.
pub(crate) fn io_error(attempted: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let attempted = attempted.into();
    move |source| Error::Io { attempted, source: Arc::new(source) }
}

impl Directory {
    /// Creates the directory if needed and takes its lock, or tells who has it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Error> {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(DIRECTORY_MODE).create(path).map_err(io_error(format!("create the store {}", path.display())))?;
        let attempted = format!("lock the store {}", path.display());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(FILE_MODE);
        let mut lock = options.open(path.join(LOCK_FILE)).map_err(io_error(attempted.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(e)) => return Err(io_error(attempted)(e)),
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let known = lock.read_to_string(&mut holder).is_ok() && !holder.trim().is_empty();
                let holder = if known { holder.trim() } else { "another process" };
                let busy = io::Error::new(io::ErrorKind::ResourceBusy, format!("it is in use by {holder}"));
                return Err(io_error(attempted)(busy));
            }
        }
        let name = format!("process {}\n", std::process::id());
        let named = lock.set_len(0).and_then(|()| lock.rewind()).and_then(|()| lock.write_all(name.as_bytes()));
        named.map_err(io_error(attempted))?;
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The format on the disk; `None` when the directory is not a store yet.
    pub(crate) fn format(&self) -> Result<Option<u32>, Error> {
        let path = self.path.join(FORMAT_FILE);
        let text = stdx::fs::read_if_exists(&path).map_err(io_error(format!("read {}", path.display())))?;
        let Some(text) = text else { return Ok(None) };
        let text = String::from_utf8_lossy(&text);
        let version = text.trim().strip_prefix(FORMAT_NAME).and_then(|v| v.trim().parse().ok());
        let version: u32 = version.ok_or_else(|| self.corrupt("FORMAT does not name a format version"))?;
        if version != FORMAT {
            let what = format!("it has format {version}, this build reads format {FORMAT}");
            return Err(io_error(format!("open the store {}", self.path.display()))(io::Error::new(io::ErrorKind::Unsupported, what)));
        }
        Ok(Some(version))
    }

    /// Marks the directory as a whole store. The last step of making one.
    pub(crate) fn write_format(&self) -> Result<(), Error> {
        let path = self.path.join(FORMAT_FILE);
        let text = format!("{FORMAT_NAME} {FORMAT}\n");
        stdx::fs::write_atomic(&path, text.as_bytes(), FILE_MODE).map_err(io_error(format!("write {}", path.display())))
    }

    pub(crate) fn list(&self) -> Result<Listing, Error> {
        let attempted = || format!("list the store {}", self.path.display());
        let mut listing = Listing::default();
        for entry in fs::read_dir(&self.path).map_err(io_error(attempted()))? {
            let entry = entry.map_err(io_error(attempted()))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(".tmp") {
                listing.temporary.push(entry.path());
            } else if let Some(seq) = sequence(name, LOG) {
                listing.logs.push(seq);
            } else if let Some(seq) = sequence(name, CHECKPOINT) {
                listing.checkpoints.push(seq);
            }
        }
        listing.logs.sort_unstable();
        listing.checkpoints.sort_unstable();
        Ok(listing)
    }

    pub(crate) fn corrupt(&self, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.display().to_string(), what: what.into() }
    }
}

const LOG: &str = "log-";
const CHECKPOINT: &str = "checkpoint-";

fn sequence(name: &str, kind: &str) -> Option<u64> {
    name.strip_prefix(kind)?.parse().ok()
}

/// Where the log segment with this number lies.
pub(crate) fn log_path(directory: &Path, seq: u64) -> PathBuf {
    directory.join(format!("{LOG}{seq:016}"))
}

/// Where the checkpoint lies that stands for all segments before `seq`.
pub(crate) fn checkpoint_path(directory: &Path, seq: u64) -> PathBuf {
    directory.join(format!("{CHECKPOINT}{seq:016}"))
}

/// Makes renames and new names in the directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Opens a new temporary file beside `path`, to be renamed to it once it is whole.
pub(crate) fn create_beside(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(&temporary)?;
    Ok((file, temporary))
}
