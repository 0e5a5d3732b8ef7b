//! One event of the window, with its wire frames made once for all watchers.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use store::Revision;

use crate::object::Object;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is new (for this watcher).
    Added,
    /// It changed.
    Modified,
    /// It is gone (for this watcher).
    Deleted,
}

impl Change {
    /// The word on the wire.
    pub fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change of one object.
#[derive(Debug)]
pub struct WatchEvent {
    /// What happened to the object as such; a selector may see it otherwise.
    pub change: Change,
    /// When.
    pub revision: Revision,
    /// The object after it; for a deletion its last state under the deletion's revision.
    pub object: Arc<Object>,
    /// The object before it.
    pub previous: Option<Arc<Object>>,
    frame: OnceLock<Bytes>,
}

impl WatchEvent {
    /// A new event.
    pub fn new(change: Change, revision: Revision, object: Arc<Object>, previous: Option<Arc<Object>>) -> Self {
        Self { change, revision, object, previous, frame: OnceLock::new() }
    }

    /// What a window pays for keeping it: its own object; the previous one was paid by an earlier event or is the present.
    pub fn weight(&self) -> usize {
        self.object.size().saturating_mul(2).saturating_add(256)
    }

    /// The JSON frame of the event as it happened, made once.
    pub fn frame(&self) -> &Bytes {
        self.frame.get_or_init(|| json_frame(self.change, self.object.json()))
    }

    /// What a watcher with a selector sees: the change and the object, or nothing. `matches` is its selector.
    pub fn seen_by(&self, matches: impl Fn(&Object) -> bool) -> Option<(Change, Seen<'_>)> {
        let before = self.previous.as_deref().is_some_and(&matches);
        let after = self.change != Change::Deleted && matches(&self.object);
        match (before, after) {
            (false, true) => Some((Change::Added, Seen::Object(&self.object))),
            (true, true) => Some((Change::Modified, Seen::Object(&self.object))),
            (true, false) if self.change == Change::Deleted => Some((Change::Deleted, Seen::Object(&self.object))),
            (true, false) => self.previous.as_ref().map(|p| (Change::Deleted, Seen::Left(p, self.revision))),
            (false, false) => None,
        }
    }
}

/// The object a watcher is shown.
#[derive(Debug)]
pub enum Seen<'a> {
    /// This one.
    Object(&'a Arc<Object>),
    /// It no longer matches: its last matching state, under the revision at which it left.
    Left(&'a Arc<Object>, Revision),
}

impl Seen<'_> {
    /// The object itself.
    pub fn object(&self) -> Arc<Object> {
        match self {
            Self::Object(o) => Arc::clone(o),
            Self::Left(o, revision) => Arc::new(o.tombstone(*revision)),
        }
    }
}

/// `{"type":…,"object":…}` and a newline.
pub fn json_frame(change: Change, object: &[u8]) -> Bytes {
    frame(change.word(), object)
}

/// As [`json_frame`] with any type word.
pub fn frame(word: &str, object: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(object.len().saturating_add(32));
    out.extend_from_slice(b"{\"type\":\"");
    out.extend_from_slice(word.as_bytes());
    out.extend_from_slice(b"\",\"object\":");
    out.extend_from_slice(object);
    out.extend_from_slice(b"}\n");
    Bytes::from(out)
}
