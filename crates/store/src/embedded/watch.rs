//! Watches: cursors into the shared history. A watch holds no queue of its own, so a slow one costs nothing and, when
//! the history has gone on without it, ends alone.

use std::sync::Arc;

use tokio::sync::watch;

use super::shared::Shared;
use crate::{Error, Revision, WatchBatch, WatchStream};

/// Changes looked at under one hold of the state's lock.
const SCAN: usize = 4096;
/// A batch ends after so many changes or bytes, so that a watcher far behind does not hold much at once.
const BATCH_EVENTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

struct Cursor {
    shared: Arc<Shared>,
    progress: watch::Receiver<u64>,
    prefix: String,
    /// Everything up to here has been delivered.
    after: u64,
}

/// Every change under `prefix` after the revision, which the caller has checked.
pub(crate) fn stream(shared: Arc<Shared>, prefix: &str, after: Revision) -> WatchStream {
    let progress = shared.progress();
    let cursor = Cursor { shared, progress, prefix: prefix.to_owned(), after: after.0 };
    Box::pin(futures::stream::unfold(Some(cursor), |cursor| async {
        let mut cursor = cursor?;
        match cursor.next().await {
            Ok(batch) => Some((Ok(batch), Some(cursor))),
            Err(e) => Some((Err(e), None)),
        }
    }))
}

impl Cursor {
    async fn next(&mut self) -> Result<WatchBatch, Error> {
        loop {
            // Marked as seen before the state is read: a commit in between wakes us again.
            self.progress.mark_unchanged();
            if let Some(batch) = self.advance()? {
                return Ok(batch);
            }
            // The sender lives in `shared`, which this cursor holds.
            self.progress.changed().await.map_err(|_| self.shared.stop_error())?;
        }
    }

    /// What has happened since; `None` when nothing has.
    fn advance(&mut self) -> Result<Option<WatchBatch>, Error> {
        let state = self.shared.read()?;
        if self.after < state.floor() {
            return Err(Error::WatchTooSlow { prefix: self.prefix.clone() });
        }
        let mut events = Vec::new();
        let mut bytes = 0;
        let before = self.after;
        for event in state.changes(self.after, SCAN) {
            self.after = event.entry.modified.0;
            if event.entry.key.starts_with(&self.prefix) {
                bytes += event.entry.value.len() + event.previous.as_ref().map_or(0, |p| p.value.len());
                events.push(event.clone());
                if events.len() >= BATCH_EVENTS || bytes >= BATCH_BYTES {
                    break;
                }
            }
        }
        let moved = self.after > before;
        Ok(moved.then_some(WatchBatch { events, revision: Revision(self.after) }))
    }
}
