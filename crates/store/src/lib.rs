//! The revisioned key-value store under the API server, shaped like etcd v3 and no wider than Kubernetes needs.
//!
//! Two engines stand behind [`Store`]: the embedded one (default) and a real etcd cluster.
//!
//! Never here: Kubernetes objects. Keys are paths, values are bytes; what they mean is the API server's business.

mod contract;
mod embedded;

pub use contract::{Entry, Error, Event, EventKind, Expect, Op, Outcome, Range, RangeResult, Revision, Store, WatchBatch, WatchStream, Write};
pub use embedded::{Embedded, KEY_LIMIT, Options, RESTORE_REVISION_BUMP, Stats, restore_snapshot};
