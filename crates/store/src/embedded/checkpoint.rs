//! Checkpoints: an image of the state that lets older log segments go. One at a time, on its own thread, reading the
//! state in small steps while commits go on.
//!
//! An image need not freeze the state. It holds the versions up to the revision at which the log went over to a new
//! segment. When history is forgotten while it is written, a version that it misses is one that a later commit
//! replaced, and that commit stands in the new segment; the image's tail raises the floor to what it misses.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::directory::{checkpoint_path, log_path};
use super::image::{Head, Tail, Writer};
use super::log::{Log, SyncFile};
use super::shared::Shared;
use crate::Error;

/// Keys copied under one hold of the state's lock. It bounds how long a checkpoint can make a commit wait.
const KEYS_PER_STEP: usize = 256;
/// When the log reaches so many times the size at which a checkpoint is due while one is still being written, commits
/// wait for it: this is what bounds the disk when writers are faster than checkpoints.
const LOG_OVERRUN: u64 = 2;

/// Decides when to write checkpoints and watches over the one under way.
pub(crate) struct Checkpointer {
    shared: Arc<Shared>,
    sync: SyncFile,
    running: Option<JoinHandle<io::Result<u64>>>,
    /// The oldest log segment still there.
    oldest_log: u64,
    /// The newest checkpoint and its length.
    last: Option<(u64, u64)>,
    /// Bytes in whole segments that the last (or the running) checkpoint does not stand for.
    sealed_bytes: u64,
    /// The segment that follows what the running checkpoint stands for.
    running_seq: u64,
}

/// What recovery knows about the files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Files {
    pub(crate) oldest_log: u64,
    pub(crate) last_checkpoint: Option<(u64, u64)>,
    /// Bytes in the segments before the one being written.
    pub(crate) sealed_bytes: u64,
}

impl Checkpointer {
    pub(crate) fn new(shared: Arc<Shared>, sync: SyncFile, files: Files) -> Self {
        let this = Self {
            shared,
            sync,
            running: None,
            oldest_log: files.oldest_log,
            last: files.last_checkpoint,
            sealed_bytes: files.sealed_bytes,
            running_seq: 0,
        };
        this.shared.checkpoint_bytes.store(this.last_bytes(), Ordering::Relaxed);
        this
    }

    fn last_bytes(&self) -> u64 {
        self.last.map_or(0, |(_, bytes)| bytes)
    }

    /// The log size at which a checkpoint pays: it is then at least half garbage, or small.
    fn due_at(&self) -> u64 {
        self.shared.options.checkpoint_min_bytes.max(self.last_bytes())
    }

    /// Called after each commit: goes over to new segments and begins checkpoints.
    pub(crate) fn after_commit(&mut self, log: &mut Log) -> Result<(), Error> {
        let log_bytes = self.sealed_bytes + log.bytes();
        self.shared.log_bytes.store(log_bytes, Ordering::Relaxed);
        let overrun = log_bytes > self.due_at().saturating_mul(LOG_OVERRUN);
        if self.running.as_ref().is_some_and(|r| r.is_finished() || overrun) {
            self.join()?;
        }
        let due = self.running.is_none() && self.sealed_bytes + log.bytes() > self.due_at();
        if due || log.bytes() > self.shared.options.segment_bytes {
            self.sealed_bytes += log.bytes();
            log.rotate(self.shared.options.segment_bytes)
                .map_err(|e| Error::Poisoned(format!("begin log segment {}: {e}", log.seq() + 1)))?;
        }
        if due {
            self.begin(log.seq())?;
        }
        Ok(())
    }

    fn begin(&mut self, seq: u64) -> Result<(), Error> {
        let (shared, sync) = (self.shared.clone(), self.sync.clone());
        let at_ms = shared.options.clock.now().duration_since(std::time::UNIX_EPOCH).map_or(0, super::plan::millis);
        let head = Head { seq, revision: shared.read()?.revision(), at_ms };
        let thread = std::thread::Builder::new().name("store-checkpoint".into());
        let running =
            thread.spawn(move || write(&shared, head, &sync)).map_err(super::directory::io_error("start the checkpoint thread"))?;
        self.sealed_bytes = 0;
        self.running_seq = seq;
        self.running = Some(running);
        Ok(())
    }

    /// Waits for the checkpoint under way and removes what it stands for.
    fn join(&mut self) -> Result<(), Error> {
        let Some(running) = self.running.take() else { return Ok(()) };
        let failed = |what: String| Error::Poisoned(format!("write checkpoint {}: {what}", self.running_seq));
        let bytes = match running.join() {
            Ok(Ok(bytes)) => bytes,
            Ok(Err(e)) if e.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Ok(Err(e)) => return Err(failed(e.to_string())),
            Err(_) => return Err(failed("its thread panicked".into())),
        };
        // Removing is only about space: what stays after a failure is removed when the store opens.
        let directory = &self.shared.directory;
        if let Some((seq, _)) = self.last.replace((self.running_seq, bytes)) {
            let _ = fs::remove_file(checkpoint_path(directory, seq));
        }
        for seq in self.oldest_log..self.running_seq {
            let _ = fs::remove_file(log_path(directory, seq));
        }
        self.oldest_log = self.running_seq;
        self.shared.checkpoint_bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Ends with the store: a checkpoint under way gives up, the log has everything.
    pub(crate) fn close(mut self) -> Result<(), Error> {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.join()
    }
}

/// Writes the image of `head`. `Interrupted`: the store is closing.
fn write(shared: &Shared, head: Head, sync: &SyncFile) -> io::Result<u64> {
    let mut writer = Writer::create(&checkpoint_path(&shared.directory, head.seq), head)?;
    let stopped = |e: Error| io::Error::new(io::ErrorKind::Interrupted, e.to_string());
    let mut after: Option<Arc<str>> = None;
    loop {
        if shared.closing.load(Ordering::SeqCst) {
            writer.discard();
            return Err(io::ErrorKind::Interrupted.into());
        }
        let step = shared.read().map_err(stopped)?.versions(after.as_deref(), head.revision, KEYS_PER_STEP);
        let Some((last, _)) = step.last() else { break };
        after = Some(last.clone());
        for (key, versions) in &step {
            for version in versions {
                writer.version(key, version)?;
            }
        }
    }
    let tail = {
        let state = shared.read().map_err(stopped)?;
        Tail { floor: state.floor(), durable: state.revision() }
    };
    writer.finish(tail, sync)
}
