//! Where writes wait for the committer. Bounded by bytes: when it is full, callers wait for room.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{Error, Outcome, Revision, Write};

/// What may wait in KiB. Past it a writer waits before it is queued.
const ROOM_KIB: usize = 32 * 1024;
/// What one batch takes at most. It keeps a frame far below its limit and bounds how long a commit takes.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_JOBS: usize = 4096;

/// Something the committer is asked to do. A dropped `reply` means that the store has stopped.
pub(crate) enum Job {
    Write { write: Write, reply: oneshot::Sender<Outcome>, room: OwnedSemaphorePermit },
    Compact { before: Revision, reply: oneshot::Sender<Result<(), Error>> },
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { write, .. } => bytes(write),
            Self::Compact { .. } => 0,
        }
    }
}

/// What a write weighs.
pub(crate) fn bytes(write: &Write) -> usize {
    let value = match &write.op {
        crate::Op::Put { value, .. } => value.len(),
        crate::Op::Delete => 0,
    };
    write.key.len() + value + super::codec::VERSION_OVERHEAD
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

pub(crate) struct Queue {
    waiting: Mutex<Waiting>,
    bell: Condvar,
    room: Arc<Semaphore>,
}

/// The queue takes nothing any more.
#[derive(Debug)]
pub(crate) struct Closed;

impl Queue {
    pub(crate) fn new() -> Self {
        Self { waiting: Mutex::default(), bell: Condvar::new(), room: Arc::new(Semaphore::new(ROOM_KIB)) }
    }

    /// Waits for room for so many bytes.
    pub(crate) async fn room(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Closed> {
        let kib = bytes.div_ceil(1024).clamp(1, ROOM_KIB);
        let kib = u32::try_from(kib).unwrap_or(u32::MAX);
        self.room.clone().acquire_many_owned(kib).await.map_err(|_| Closed)
    }

    pub(crate) fn push(&self, job: Job) -> Result<(), Closed> {
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(Closed);
        }
        waiting.jobs.push_back(job);
        drop(waiting);
        self.bell.notify_one();
        Ok(())
    }

    /// The next batch; empty when nothing came within `patience`; `None` when closed and drained.
    pub(crate) fn take(&self, patience: Duration) -> Option<Vec<Job>> {
        let waiting = self.lock();
        let idle = |w: &mut Waiting| w.jobs.is_empty() && !w.closed;
        let (mut waiting, _) = self.bell.wait_timeout_while(waiting, patience, idle).unwrap_or_else(PoisonError::into_inner);
        if waiting.jobs.is_empty() && waiting.closed {
            return None;
        }
        let mut batch = Vec::new();
        let mut size = 0;
        while batch.len() < BATCH_JOBS {
            // The first job always goes, however large it is.
            let fits = |job: &mut Job| size == 0 || size + job.bytes() <= BATCH_BYTES;
            let Some(job) = waiting.jobs.pop_front_if(fits) else { break };
            size += job.bytes();
            batch.push(job);
        }
        Some(batch)
    }

    /// How many jobs wait.
    pub(crate) fn waiting(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Takes nothing more; what waits is still handed out.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.room.close();
        self.bell.notify_one();
    }

    /// Closes and drops what waits; its callers see that the store has stopped.
    pub(crate) fn abandon(&self) {
        self.close();
        let jobs = std::mem::take(&mut self.lock().jobs);
        drop(jobs);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Nothing under this lock can panic half-way, so a poisoned queue is a whole queue.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
