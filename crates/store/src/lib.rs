//! The revisioned key-value store under the API server, shaped like etcd v3 and no wider than Kubernetes needs.
//!
//! Behind [`Store`] stands the embedded engine; the contract is shaped so that a real etcd cluster can stand there as well.
//!
//! Never here: Kubernetes objects. Keys are paths, values are bytes; what they mean is the API server's business.

mod contract;
mod embedded;

pub use contract::{
    Entry, Error, Event, EventKind, Expect, Op, Outcome, Range, RangeResult, Revision, Store, WatchBatch, WatchStream, Write,
};
pub use embedded::{Embedded, KEY_LIMIT, Options, RESTORE_REVISION_BUMP, Stats, restore_snapshot};
