//! The embedded engine: one directory, one process, everything that lives and the history window in memory.
//!
//! Writes go to a log of our own, one frame and one fsync for all that wait ([`committer`]); checkpoints let the log
//! go ([`checkpoint`]); reads and watches see the memory ([`state`], [`watch`]). Why no storage engine of others stands
//! below: the API server holds all objects in memory anyway and shares the values' bytes with this store; a log and a
//! map take half the CPU per write of the best one measured, a tenth of its latency tail, a fixed amount of memory, and
//! let every damaged byte be answered with a clear error. The price: live data must fit into memory.

mod checkpoint;
mod codec;
mod committer;
mod directory;
mod frame;
mod image;
mod log;
mod options;
mod plan;
mod queue;
mod recover;
mod shared;
mod snapshot;
mod state;
mod watch;

use std::fs::File;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use options::Options;
pub use snapshot::{RESTORE_REVISION_BUMP, restore_snapshot};
pub use state::Stats;

use crate::{Entry, Error, Outcome, Range, RangeResult, Revision, Store, WatchStream, Write};
use checkpoint::Checkpointer;
use committer::Committer;
use directory::{Directory, io_error};
use log::SyncFile;
use queue::Job;
use shared::Shared;

/// The longest key. Kubernetes' longest are near 700 bytes.
pub const KEY_LIMIT: usize = 4096;

/// A store in a directory. Dropping it finishes the writes that wait, closes the files and frees the directory.
pub struct Embedded {
    shared: Arc<Shared>,
    sync: SyncFile,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// Held until the committer has ended.
    _directory: Directory,
}

/// File contents are durable when `fdatasync` has returned.
fn durable() -> SyncFile {
    Arc::new(File::sync_data)
}

impl Embedded {
    /// Opens the store in `path`, making it if there is none. Blocks while it reads the log.
    ///
    /// Errors: `Io` when another process has it (named in the message) or the format is another one; `Corrupt` when
    /// what is on the disk is not what was written, in which case nothing was changed.
    pub fn open(path: &Path, options: Options) -> Result<Arc<Self>, Error> {
        Self::open_with(path, options, durable())
    }

    fn open_with(path: &Path, options: Options, sync: SyncFile) -> Result<Arc<Self>, Error> {
        let directory = Directory::lock(path)?;
        let recovered = recover::recover(&directory, &options, &sync)?;
        let shared = Arc::new(Shared::new(path.to_path_buf(), options, recovered.state));
        let checkpointer = Checkpointer::new(shared.clone(), sync.clone(), recovered.files);
        let committer = Committer { shared: shared.clone(), log: recovered.log, checkpointer, last_ms: recovered.last_ms };
        let thread = std::thread::Builder::new().name("store-commit".into());
        let thread = thread.spawn(move || committer.run()).map_err(io_error("start the store's committer thread"))?;
        Ok(Arc::new(Self { shared, sync, committer: Mutex::new(Some(thread)), _directory: directory }))
    }

    /// The sizes of the moment.
    pub fn stats(&self) -> Result<Stats, Error> {
        Ok(self.shared.read()?.stats())
    }

    /// Bytes on the disk: log and newest checkpoint, as of the last commit.
    pub fn disk_bytes(&self) -> u64 {
        self.shared.log_bytes.load(Ordering::Relaxed) + self.shared.checkpoint_bytes.load(Ordering::Relaxed)
    }

    /// The oldest revision that can be read or watched from.
    pub fn oldest_revision(&self) -> Result<Revision, Error> {
        Ok(Revision(self.shared.read()?.floor()))
    }

    /// Writes the live data of this moment to a file, which appears only when whole and durable, and returns its
    /// revision. Writes go on meanwhile. [`restore_snapshot`] makes a store from it.
    pub async fn save_snapshot(&self, path: &Path) -> Result<Revision, Error> {
        let (shared, sync, path) = (self.shared.clone(), self.sync.clone(), path.to_path_buf());
        let saved = tokio::task::spawn_blocking(move || snapshot::save(&shared, &path, &sync)).await;
        saved.map_err(|e| io_error("write a snapshot")(std::io::Error::other(e)))?
    }

    async fn ask<T>(&self, job: Job, answer: oneshot::Receiver<T>) -> Result<T, Error> {
        self.shared.queue.push(job).map_err(|_| self.shared.stop_error())?;
        answer.await.map_err(|_| self.shared.stop_error())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.shared.queue.close();
        let thread = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A panic of the thread has stopped the store and was reported by the panic hook.
        let _ = thread.map(JoinHandle::join);
    }
}

#[async_trait::async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, Error> {
        Ok(Revision(self.shared.read()?.revision()))
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, Error> {
        Ok(self.shared.read()?.get(key))
    }

    async fn range(&self, range: Range) -> Result<RangeResult, Error> {
        self.shared.read()?.range(&range)
    }

    async fn write(&self, write: Write) -> Result<Outcome, Error> {
        self.shared.check()?;
        let value_bytes = match &write.op {
            crate::Op::Put { value, .. } => value.len(),
            crate::Op::Delete => 0,
        };
        let too_large = |bytes, limit| {
            let key = write.key.chars().take(KEY_LIMIT).collect();
            Err(Error::TooLarge { key, bytes, limit })
        };
        if value_bytes > self.shared.options.value_limit() {
            return too_large(value_bytes, self.shared.options.value_limit());
        }
        if write.key.len() > KEY_LIMIT {
            return too_large(write.key.len(), KEY_LIMIT);
        }
        let room = self.shared.queue.room(queue::bytes(&write)).await.map_err(|_| self.shared.stop_error())?;
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Write { write, reply, room }, answer).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error> {
        self.shared.read()?.check(after)?;
        Ok(watch::stream(self.shared.clone(), prefix, after))
    }

    async fn compact(&self, before: Revision) -> Result<(), Error> {
        let (reply, answer) = oneshot::channel();
        self.ask(Job::Compact { before, reply }, answer).await?
    }
}

#[cfg(test)]
mod tests;
