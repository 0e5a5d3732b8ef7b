//! The contract that every engine keeps.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;

/// A point in the store's history. One growing sequence for all keys; 0 is "before everything".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// One key's value at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key, for example `/registry/pods/default/web`.
    pub key: Arc<str>,
    /// The value as written.
    pub value: Bytes,
    /// The revision that created the key (since its last deletion).
    pub created: Revision,
    /// The revision that wrote this value.
    pub modified: Revision,
}

/// What must hold for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key's value was written at exactly this revision.
    Modified(Revision),
    /// Whatever is there.
    Anything,
}

/// What a write does to its key.
#[derive(Clone, Debug)]
pub enum Op {
    /// Sets the value; with a time to live, the store deletes the key by itself some time after it has run out.
    /// The embedded engine keeps these very bytes: a small slice of a large buffer keeps the whole buffer alive.
    Put { value: Bytes, ttl: Option<Duration> },
    /// Removes the key. Removing a key that does not exist takes no revision and answers `Mismatch { current: None }`,
    /// whatever was expected.
    Delete,
}

/// A compare-and-swap on one key.
#[derive(Clone, Debug)]
pub struct Write {
    /// The whole key.
    pub key: Arc<str>,
    /// The condition.
    pub expect: Expect,
    /// The change.
    pub op: Op,
}

/// What became of a write. It is durable when this is returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Done at this revision; `previous` is what the key held before.
    Committed { revision: Revision, previous: Option<Entry> },
    /// The expectation did not hold; this is what the key holds (`None`: it does not exist). Nothing changed.
    Mismatch { current: Option<Entry> },
}

/// Which keys to read, in key order.
#[derive(Clone, Debug)]
pub struct Range {
    /// Every key that starts with this.
    pub prefix: Arc<str>,
    /// Only keys strictly after this one (to go on after a page).
    pub after: Option<Arc<str>>,
    /// At most this many; 0 is all.
    pub limit: usize,
    /// As of this revision; `None` is now.
    pub at: Option<Revision>,
}

/// A consistent read.
#[derive(Clone, Debug)]
pub struct RangeResult {
    /// The entries, in key order.
    pub entries: Vec<Entry>,
    /// The revision this is a picture of.
    pub revision: Revision,
    /// How many more keys match after the last entry.
    pub remaining: usize,
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// It was created or changed.
    Put,
    /// It was removed; the entry's value is empty and `modified` is the revision of the removal.
    Delete,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// The key after the change.
    pub entry: Entry,
    /// The key before the change.
    pub previous: Option<Entry>,
}

/// Changes in revision order, and how far the history is complete: every matching change up to and including
/// `revision` has now been delivered. A batch may be empty (progress only).
#[derive(Clone, Debug)]
pub struct WatchBatch {
    /// The changes, oldest first.
    pub events: Vec<Event>,
    /// Complete up to here.
    pub revision: Revision,
}

/// An endless stream of batches; it ends after an error.
pub type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchBatch, Error>> + Send>>;

/// Why the store refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The revision lies before the oldest one kept.
    #[error("revision {asked} has been compacted, the oldest kept is {oldest}", asked = asked.0, oldest = oldest.0)]
    Compacted { asked: Revision, oldest: Revision },
    /// The revision has not happened yet.
    #[error("revision {asked} lies in the future, the newest is {newest}", asked = asked.0, newest = newest.0)]
    Future { asked: Revision, newest: Revision },
    /// The watcher fell further behind than the history reaches.
    #[error("the watch on {prefix} fell behind the kept history")]
    WatchTooSlow { prefix: String },
    /// A write failed on its way to the disk. The store is shut for good: fail stop, never limp.
    #[error("the store has stopped: {0}")]
    Poisoned(String),
    /// What is on the disk is not what was written.
    #[error("the store at {path} is damaged: {what}")]
    Corrupt { path: String, what: String },
    /// The value is larger than the store takes.
    #[error("the value of {key} has {bytes} bytes, the limit is {limit}")]
    TooLarge { key: String, bytes: usize, limit: usize },
    /// The store could not be opened or reached.
    #[error("{attempted}: {source}")]
    Io {
        attempted: String,
        #[source]
        source: Arc<std::io::Error>,
    },
}

/// A consistent, durable, revisioned map.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest committed revision (for etcd: a linearizable question).
    async fn revision(&self) -> Result<Revision, Error>;

    /// One key, as of now.
    async fn get(&self, key: &str) -> Result<Option<Entry>, Error>;

    /// Many keys of one moment.
    async fn range(&self, range: Range) -> Result<RangeResult, Error>;

    /// Writes if the expectation holds, and returns when the write is durable. Each committed write takes one new revision.
    /// Dropping the future does not take the write back.
    async fn write(&self, write: Write) -> Result<Outcome, Error>;

    /// Every change to keys with the prefix after the given revision, in order, none left out. `Compacted` when the
    /// history does not reach back so far; a watch that later falls out of the history ends with `WatchTooSlow`.
    /// Every commit of any key moves every watch on, so a few watches with short prefixes cost less than many.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<WatchStream, Error>;

    /// Forgets history before the revision, which becomes the oldest that can be read or watched from; the live values
    /// stay. Engines also do this by themselves.
    async fn compact(&self, before: Revision) -> Result<(), Error>;
}
