//! The one thread that changes the store. It takes all waiting writes, plans them, makes them durable as one frame
//! with one fsync, applies them in memory, and only then answers.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::UNIX_EPOCH;

use tokio::sync::oneshot;

use super::checkpoint::Checkpointer;
use super::log::{Log, put_commit};
use super::plan::{Batch, Planner, millis};
use super::queue::Job;
use super::shared::Shared;
use crate::{Error, Outcome, Revision};

/// Keys whose time has run out that one commit removes; the rest waits for the next commit.
const EXPIRE_PER_COMMIT: usize = 256;
/// Changes forgotten under one hold of the state's lock. It bounds how long forgetting makes readers wait.
const EVICT_PER_STEP: usize = 1024;
/// The frame buffer is given back when a large batch has blown it up.
const BUFFER_KEPT_BYTES: usize = 256 << 10;

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: Log,
    pub(crate) checkpointer: Checkpointer,
    /// The time of the last commit: ages never go backwards, whatever the clock does.
    pub(crate) last_ms: u64,
}

type Replies = Vec<(oneshot::Sender<Outcome>, Outcome)>;

/// Stops the store when the committer's thread ends, for whatever reason.
struct StopAtEnd(Arc<Shared>);

impl Drop for StopAtEnd {
    fn drop(&mut self) {
        let why = if std::thread::panicking() { "its committer panicked" } else { "it was closed" };
        self.0.stop(why.into());
    }
}

impl Committer {
    /// Serves until the queue is closed and drained, or something fails.
    pub(crate) fn run(mut self) {
        let shared = self.shared.clone();
        let _stop = StopAtEnd(shared.clone());
        let mut buffer = Vec::new();
        while let Some(jobs) = shared.queue.take(shared.options.tick) {
            if let Err(e) = self.round(jobs, &mut buffer) {
                tracing::error!(error = %e, store = %shared.directory.display(), "the store stops");
                shared.stop(reason(e));
            }
            if shared.check().is_err() {
                break;
            }
        }
        if let Err(e) = self.checkpointer.close() {
            tracing::error!(error = %e, "the last checkpoint failed; the log has everything");
        }
    }

    fn round(&mut self, jobs: Vec<Job>, buffer: &mut Vec<u8>) -> Result<(), Error> {
        let shared = self.shared.clone();
        let now_ms = shared.options.clock.now().duration_since(UNIX_EPOCH).map_or(0, millis);
        let mut compactions = Vec::new();
        // The room in the queue is given back only after the commit: what is being written still takes memory.
        let mut rooms = Vec::with_capacity(jobs.len());
        let mut replies: Replies = Vec::with_capacity(jobs.len());
        let batch = {
            let state = shared.read()?;
            let mut planner = Planner::new(&state, now_ms);
            for job in jobs {
                match job {
                    Job::Compact { before, reply } => compactions.push((before, reply)),
                    Job::Write { write, reply, room } => {
                        rooms.push(room);
                        replies.push((reply, planner.write(write)));
                    }
                }
            }
            planner.expire(EXPIRE_PER_COMMIT);
            planner.finish()
        };
        // From here an error drops `replies`; it must stop the store before that, so that callers learn why.
        let committed = self.commit(batch, now_ms, buffer);
        if let Err(e) = committed {
            shared.stop(reason(e));
            return Ok(());
        }
        for (reply, outcome) in replies {
            let _ = reply.send(outcome);
        }
        drop(rooms);
        for (before, reply) in compactions {
            let _ = reply.send(self.compact(before));
        }
        self.evict(now_ms);
        Ok(())
    }

    fn commit(&mut self, batch: Batch, now_ms: u64, buffer: &mut Vec<u8>) -> Result<(), Error> {
        if batch.changes.is_empty() {
            // Nothing to write; but a checkpoint under way may have ended.
            return self.checkpointer.after_commit(&mut self.log);
        }
        self.last_ms = self.last_ms.max(now_ms);
        buffer.clear();
        buffer.shrink_to(BUFFER_KEPT_BYTES);
        put_commit(buffer, self.log.salt(), self.last_ms, &batch.changes);
        self.log.append(buffer).map_err(|e| Error::Poisoned(format!("write log segment {}: {e}", self.log.seq())))?;
        {
            let mut state = self.shared.write();
            for (key, version) in batch.changes {
                state.apply(key, version, self.last_ms);
            }
        }
        self.shared.announce();
        self.checkpointer.after_commit(&mut self.log)
    }

    fn compact(&self, before: Revision) -> Result<(), Error> {
        let mut state = self.shared.write();
        if before.0 > state.revision() {
            return Err(Error::Future { asked: before, newest: Revision(state.revision()) });
        }
        state.raise_floor(before.0);
        Ok(())
    }

    /// Forgets what is over the limits. Too many bytes are forgotten at once, as they bound the memory; age can wait
    /// while writes wait, as every round forgets more than a step of it.
    fn evict(&self, now_ms: u64) {
        let limits = self.shared.options.limits();
        loop {
            let mut state = self.shared.write();
            let forgotten = state.evict(limits, now_ms, EVICT_PER_STEP);
            let over = state.is_over(limits);
            drop(state);
            let more = forgotten == EVICT_PER_STEP;
            let closing = self.shared.closing.load(Ordering::Relaxed);
            if !more || closing || (!over && self.shared.queue.waiting() > 0) {
                return;
            }
        }
    }
}

/// What a stopped store tells its callers.
fn reason(error: Error) -> String {
    match error {
        Error::Poisoned(why) => why,
        other => other.to_string(),
    }
}
