//! What the callers, the committer, the checkpointer and the watchers share.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use super::options::Options;
use super::queue::Queue;
use super::state::State;
use crate::Error;

pub(crate) struct Shared {
    pub(crate) directory: PathBuf,
    pub(crate) options: Options,
    pub(crate) queue: Queue,
    /// Set to ask a checkpoint under way to give up.
    pub(crate) closing: AtomicBool,
    /// The bytes of the log that no checkpoint stands for yet, and of the newest checkpoint.
    pub(crate) log_bytes: AtomicU64,
    pub(crate) checkpoint_bytes: AtomicU64,
    state: RwLock<State>,
    stopped: OnceLock<String>,
    /// The newest revision that readers may see.
    progress: watch::Sender<u64>,
}

impl Shared {
    pub(crate) fn new(directory: PathBuf, options: Options, state: State) -> Self {
        let progress = watch::Sender::new(state.revision());
        Self {
            directory,
            options,
            queue: Queue::new(),
            closing: AtomicBool::new(false),
            log_bytes: AtomicU64::new(0),
            checkpoint_bytes: AtomicU64::new(0),
            state: RwLock::new(state),
            stopped: OnceLock::new(),
            progress,
        }
    }

    /// The state, unless the store has stopped. A panic of the committer stops the store before its lock is free
    /// again, so a poisoned lock is never read here as if it were whole.
    pub(crate) fn read(&self) -> Result<RwLockReadGuard<'_, State>, Error> {
        let state = self.state.read();
        self.check()?;
        state.map_err(|_| self.stop_error())
    }

    /// For the committer only.
    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.stopped.get().is_some() { Err(self.stop_error()) } else { Ok(()) }
    }

    pub(crate) fn stop_error(&self) -> Error {
        Error::Poisoned(self.stopped.get().cloned().unwrap_or_else(|| "its committer is gone".into()))
    }

    /// Shuts the store for good: whatever waits and whatever comes is refused. The first reason stays.
    pub(crate) fn stop(&self, why: String) {
        let _ = self.stopped.set(why);
        self.closing.store(true, Ordering::SeqCst);
        self.queue.abandon();
        self.announce();
    }

    /// Wakes the watchers.
    pub(crate) fn announce(&self) {
        let revision = self.state.read().unwrap_or_else(PoisonError::into_inner).revision();
        self.progress.send_modify(|newest| *newest = revision);
    }

    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }
}
