//! The watch cache of one resource: every object, and a window of the latest events.
//!
//! The window is one shared log; a watcher is only a position in it. So a slow watcher costs the writer and the other
//! watchers nothing, and is served as long as the log still holds its position.
//! A past state is not kept: it is the present one with the window's events taken back, which also makes consistent pages.

pub mod event;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use store::Revision;
use tokio::sync::watch;

pub use event::{Change, WatchEvent};

use crate::object::Object;

/// The bytes of objects that one resource's window may keep alive. When it is full, the oldest events go even before
/// their time, and watchers and continue tokens from before get 410 and list again.
pub const WINDOW_BYTES: usize = 64 * 1024 * 1024;
/// How many events a watcher takes out of the window at once; the rest comes in its next turn.
const TURN: usize = 512;

/// The watch cache of one resource.
#[derive(Debug)]
pub struct Cache {
    state: RwLock<State>,
    newest: watch::Sender<Revision>,
}

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<Arc<str>, Arc<Object>>,
    window: VecDeque<Arc<WatchEvent>>,
    window_bytes: usize,
    /// The window is complete after this revision.
    floor: Revision,
    /// The newest event's revision, or that of the first load.
    newest: Revision,
}

/// The window no longer reaches back to the revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooOld {
    /// The oldest revision that can still be asked for.
    pub floor: Revision,
}

/// A consistent picture of (a part of) the resource.
#[derive(Clone, Debug)]
pub struct Picture {
    /// The objects in key order.
    pub objects: Vec<Arc<Object>>,
    /// How many more match after the last one, if the page was cut short.
    pub remaining: usize,
    /// The revision it shows.
    pub revision: Revision,
}

/// Which part of a resource to picture.
pub struct Page<'a> {
    /// The start of every wanted key.
    pub prefix: &'a str,
    /// Only keys that are not before this one; empty for all.
    pub from: &'a str,
    /// At most so many; 0 is all.
    pub limit: usize,
    /// As of this revision instead of now.
    pub at: Option<Revision>,
}

impl Cache {
    /// An empty cache whose history begins at `floor`.
    pub fn new(floor: Revision) -> Self {
        let state = State { floor, newest: floor, ..State::default() };
        Self { state: RwLock::new(state), newest: watch::Sender::new(floor) }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an object in without an event: the first load.
    pub fn load(&self, object: Arc<Object>) {
        self.write().objects.insert(object.key().clone(), object);
    }

    /// Applies one change. Changes must come in revision order.
    pub fn apply(&self, key: &Arc<str>, revision: Revision, object: Option<Object>) {
        let mut state = self.write();
        let previous = match &object {
            Some(_) => state.objects.get(key).cloned(),
            None => state.objects.remove(key),
        };
        let event = match (object, previous) {
            (Some(object), previous) => {
                let object = Arc::new(object);
                state.objects.insert(key.clone(), object.clone());
                let change = if previous.is_some() { Change::Modified } else { Change::Added };
                WatchEvent::new(change, revision, object, previous)
            }
            (None, Some(previous)) => WatchEvent::new(Change::Deleted, revision, Arc::new(previous.tombstone(revision)), Some(previous)),
            (None, None) => return,
        };
        state.push(event);
        drop(state);
        self.newest.send_replace(revision);
    }

    /// Forgets events up to `floor`.
    pub fn trim(&self, floor: Revision) {
        let mut state = self.write();
        while state.window.front().is_some_and(|e| e.revision <= floor) {
            state.drop_oldest();
        }
        state.floor = state.floor.max(floor);
    }

    /// The object at the key.
    pub fn get(&self, key: &str) -> Option<Arc<Object>> {
        self.read().objects.get(key).cloned()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.read().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The newest event's revision, or that of the first load.
    pub fn newest(&self) -> Revision {
        *self.newest.borrow()
    }

    /// Signals every new event's revision.
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.newest.subscribe()
    }

    /// A picture of now (at least `applied`) or of `page.at`; `matches` decides which objects count.
    pub fn picture(&self, page: &Page<'_>, applied: Revision, matches: impl Fn(&Object) -> bool) -> Result<Picture, TooOld> {
        let state = self.read();
        let start = if page.from > page.prefix { page.from } else { page.prefix };
        let present = state.objects.range::<str, _>((Bound::Included(start), Bound::Unbounded));
        let present = present.take_while(|(k, _)| k.starts_with(page.prefix));
        let mut picker = Picker { objects: Vec::new(), remaining: 0, limit: page.limit };
        let now = applied.max(state.newest);
        let revision = page.at.unwrap_or(now);
        if revision >= now {
            present.filter(|(_, o)| matches(o)).for_each(|(_, o)| picker.offer(o));
        } else {
            if revision < state.floor {
                return Err(TooOld { floor: state.floor });
            }
            state.rolled_back(present, page.prefix, start, revision).filter(|o| matches(o)).for_each(|o| picker.offer(o));
        }
        Ok(Picture { objects: picker.objects, remaining: picker.remaining, revision })
    }

    /// The events after `revision`, oldest first, at most [`TURN`] of them.
    pub fn after(&self, revision: Revision) -> Result<Vec<Arc<WatchEvent>>, TooOld> {
        let state = self.read();
        if revision < state.floor {
            return Err(TooOld { floor: state.floor });
        }
        let start = state.window.partition_point(|e| e.revision <= revision);
        Ok(state.window.range(start..).take(TURN).cloned().collect())
    }
}

struct Picker {
    objects: Vec<Arc<Object>>,
    remaining: usize,
    limit: usize,
}

impl Picker {
    fn offer(&mut self, object: &Arc<Object>) {
        if self.limit > 0 && self.objects.len() >= self.limit {
            self.remaining = self.remaining.saturating_add(1);
        } else {
            self.objects.push(object.clone());
        }
    }
}

impl State {
    fn push(&mut self, event: WatchEvent) {
        self.newest = event.revision;
        self.window_bytes = self.window_bytes.saturating_add(event.weight());
        self.window.push_back(Arc::new(event));
        while self.window_bytes > WINDOW_BYTES && self.window.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(event) = self.window.pop_front() {
            self.window_bytes = self.window_bytes.saturating_sub(event.weight());
            self.floor = self.floor.max(event.revision);
        }
    }

    /// The objects as they were at `revision`: for every key with a later event, what its first later event replaced.
    fn rolled_back<'a>(
        &'a self,
        present: impl Iterator<Item = (&'a Arc<str>, &'a Arc<Object>)>,
        prefix: &str,
        start: &str,
        revision: Revision,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        let mut past: BTreeMap<&Arc<str>, Option<&Arc<Object>>> = present.map(|(k, o)| (k, Some(o))).collect();
        let first = self.window.partition_point(|e| e.revision <= revision);
        // Newest first, so that the oldest later event has the last word.
        for event in self.window.range(first..).rev() {
            let key = event.object.key();
            if key.starts_with(prefix) && &**key >= start {
                past.insert(key, event.previous.as_ref());
            }
        }
        past.into_values().flatten()
    }
}

#[cfg(test)]
mod tests;
