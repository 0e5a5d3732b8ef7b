//! What the store holds in memory: every kept version of every key, and the changes of the history window in order.
//!
//! Pure: no files, no clock, no threads. The committer is the only one that changes it.

mod load;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use load::Loader;

use crate::{Entry, Error, Event, EventKind, Range, RangeResult, Revision};

/// What one kept change costs besides its key and the value it replaced: the event and the index's version, measured
/// from their sizes and rounded up.
const CHANGE_OVERHEAD_BYTES: usize = 320;

/// One version of a key, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The revision that created the key (of a tombstone: the one that had created what it removed).
    pub(crate) created: u64,
    pub(crate) modified: u64,
    /// `None` is a tombstone.
    pub(crate) value: Option<Bytes>,
    /// When the store may delete the key, in milliseconds since the epoch.
    pub(crate) deadline: Option<u64>,
}

impl Version {
    pub(crate) fn entry(&self, key: &Arc<str>) -> Option<Entry> {
        let value = self.value.clone()?;
        Some(Entry { key: key.clone(), value, created: Revision(self.created), modified: Revision(self.modified) })
    }

    fn bytes(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// The versions of one key; `older` in growing order, mostly empty.
#[derive(Debug)]
struct Chain {
    newest: Version,
    older: VecDeque<Version>,
}

impl Chain {
    fn at(&self, revision: u64) -> Option<&Version> {
        if self.newest.modified <= revision {
            return Some(&self.newest);
        }
        let after = self.older.partition_point(|v| v.modified <= revision);
        self.older.get(after.checked_sub(1)?)
    }
}

/// A change inside the history window.
#[derive(Debug)]
struct Past {
    event: Event,
    at_ms: u64,
}

impl Past {
    fn cost(&self) -> usize {
        let replaced = self.event.previous.as_ref().map_or(0, |p| p.value.len());
        CHANGE_OVERHEAD_BYTES + self.event.entry.key.len() + replaced
    }
}

/// How much history stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) window: Duration,
    pub(crate) bytes: usize,
}

/// Sizes of the moment, for metrics and tests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Keys that exist now.
    pub keys: usize,
    /// Bytes of their values and names.
    pub live_bytes: usize,
    /// Changes kept in the history window.
    pub history_events: usize,
    /// What they cost in memory, estimated.
    pub history_bytes: usize,
}

/// The revisioned map. History holds one change per revision in `(base, revision]`, so a revision is found by its distance.
#[derive(Debug, Default)]
pub(crate) struct State {
    index: BTreeMap<Arc<str>, Chain>,
    history: VecDeque<Past>,
    history_bytes: usize,
    /// The revision before the first change in `history`.
    base: u64,
    /// The oldest revision that may be asked for; runs ahead of `base` while eviction catches up.
    floor: u64,
    revision: u64,
    deadlines: BTreeSet<(u64, Arc<str>)>,
    keys: usize,
    live_bytes: usize,
}

impl State {
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn stats(&self) -> Stats {
        Stats { keys: self.keys, live_bytes: self.live_bytes, history_events: self.history.len(), history_bytes: self.history_bytes }
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let (key, chain) = self.index.get_key_value(key)?;
        chain.newest.entry(key)
    }

    /// Checks that the history reaches back to `revision` and that it has happened.
    pub(crate) fn check(&self, revision: Revision) -> Result<(), Error> {
        if revision.0 > self.revision {
            return Err(Error::Future { asked: revision, newest: Revision(self.revision) });
        }
        if revision.0 < self.floor {
            return Err(Error::Compacted { asked: revision, oldest: Revision(self.floor) });
        }
        Ok(())
    }

    pub(crate) fn range(&self, range: &Range) -> Result<RangeResult, Error> {
        let at = range.at.unwrap_or(Revision(self.revision));
        self.check(at)?;
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let mut entries = Vec::new();
        let mut remaining = 0;
        for (key, chain) in self.under(&range.prefix, range.after.as_deref()) {
            let Some(version) = chain.at(at.0).filter(|v| v.value.is_some()) else { continue };
            if entries.len() < limit {
                entries.extend(version.entry(key));
            } else {
                remaining += 1;
            }
        }
        Ok(RangeResult { entries, revision: at, remaining })
    }

    fn under<'a>(&'a self, prefix: &'a str, after: Option<&str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Chain)> {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.index.range::<str, _>((from, Bound::Unbounded)).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// Up to `keys` keys after `after` with their kept versions up to `at`, oldest first. For checkpoints.
    pub(crate) fn versions(&self, after: Option<&str>, at: u64, keys: usize) -> Vec<(Arc<str>, Vec<Version>)> {
        let kept = |chain: &Chain| chain.older.iter().chain([&chain.newest]).filter(|v| v.modified <= at).cloned().collect();
        self.under("", after).take(keys).map(|(key, chain)| (key.clone(), kept(chain))).collect()
    }

    /// The live versions of this moment. For snapshots.
    pub(crate) fn live(&self) -> Vec<(Arc<str>, Version)> {
        let live = self.index.iter().filter(|(_, chain)| chain.newest.value.is_some());
        live.map(|(key, chain)| (key.clone(), chain.newest.clone())).collect()
    }

    /// The changes after `after`, at most `limit`, oldest first.
    pub(crate) fn changes(&self, after: u64, limit: usize) -> impl Iterator<Item = &Event> {
        let skip = usize::try_from(after.saturating_sub(self.base)).unwrap_or(usize::MAX).min(self.history.len());
        self.history.range(skip..).take(limit).map(|past| &past.event)
    }

    /// Keys whose time has run out at `now_ms`, at most `limit`.
    pub(crate) fn expired(&self, now_ms: u64, limit: usize) -> impl Iterator<Item = &Arc<str>> {
        self.deadlines.iter().take_while(move |(deadline, _)| *deadline <= now_ms).take(limit).map(|(_, key)| key)
    }

    /// Takes over a change. Its `modified` must be the next revision.
    pub(crate) fn apply(&mut self, key: Arc<str>, version: Version, at_ms: u64) {
        debug_assert_eq!(version.modified, self.revision + 1);
        self.revision = version.modified;
        let previous = self.replace(&key, &version).and_then(|old| old.entry(&key));
        let past = Past { event: event(&key, &version, previous), at_ms };
        self.history_bytes += past.cost();
        self.history.push_back(past);
    }

    /// Puts the version in its chain and keeps the running figures; returns what was newest before.
    fn replace(&mut self, key: &Arc<str>, version: &Version) -> Option<Version> {
        let old = match self.index.get_mut(key) {
            Some(chain) => {
                let old = std::mem::replace(&mut chain.newest, version.clone());
                chain.older.push_back(old.clone());
                Some(old)
            }
            None => {
                self.index.insert(key.clone(), Chain { newest: version.clone(), older: VecDeque::new() });
                None
            }
        };
        if let Some(old) = old.as_ref().filter(|v| v.value.is_some()) {
            self.keys -= 1;
            self.live_bytes -= key.len() + old.bytes();
            if let Some(deadline) = old.deadline {
                self.deadlines.remove(&(deadline, key.clone()));
            }
        }
        self.count_live(key, version);
        old
    }

    fn count_live(&mut self, key: &Arc<str>, version: &Version) {
        if version.value.is_some() {
            self.keys += 1;
            self.live_bytes += key.len() + version.bytes();
            if let Some(deadline) = version.deadline {
                self.deadlines.insert((deadline, key.clone()));
            }
        }
    }

    /// From now on nothing before `floor` can be asked for; the memory follows by [`State::evict`].
    pub(crate) fn raise_floor(&mut self, floor: u64) {
        self.floor = self.floor.max(floor.min(self.revision));
    }

    /// Forgets up to `budget` changes that need not be kept and returns how many it forgot. Fewer than `budget` means
    /// that there was nothing more to forget.
    pub(crate) fn evict(&mut self, limits: Limits, now_ms: u64, budget: usize) -> usize {
        let oldest_ms = now_ms.saturating_sub(u64::try_from(limits.window.as_millis()).unwrap_or(u64::MAX));
        let mut forgotten = 0;
        while forgotten < budget {
            let Some(oldest) = self.history.front() else { break };
            let droppable = self.base < self.floor || self.history_bytes > limits.bytes || oldest.at_ms < oldest_ms;
            if !droppable {
                break;
            }
            self.forget_oldest();
            forgotten += 1;
        }
        forgotten
    }

    /// Whether the history takes more memory than allowed.
    pub(crate) fn is_over(&self, limits: Limits) -> bool {
        self.history_bytes > limits.bytes
    }

    fn forget_oldest(&mut self) {
        let Some(past) = self.history.pop_front() else { return };
        self.history_bytes -= past.cost();
        self.base += 1;
        self.floor = self.floor.max(self.base);
        let key = &past.event.entry.key;
        let Some(chain) = self.index.get_mut(key) else { return };
        trim(chain, self.base);
        if chain.newest.value.is_none() && chain.newest.modified <= self.base {
            self.index.remove(key);
        }
    }
}

/// Drops the versions that no revision from `base` on can see.
fn trim(chain: &mut Chain, base: u64) {
    loop {
        let next = chain.older.get(1).unwrap_or(&chain.newest);
        if chain.older.is_empty() || next.modified > base {
            break;
        }
        chain.older.pop_front();
    }
    if chain.older.front().is_some_and(|v| v.value.is_none() && v.modified <= base) {
        chain.older.pop_front();
    }
    if chain.older.is_empty() || chain.older.capacity() > 64 + 4 * chain.older.len() {
        chain.older.shrink_to_fit();
    }
}

fn event(key: &Arc<str>, version: &Version, previous: Option<Entry>) -> Event {
    let (kind, value) = match &version.value {
        Some(value) => (EventKind::Put, value.clone()),
        None => (EventKind::Delete, Bytes::new()),
    };
    let entry = Entry { key: key.clone(), value, created: Revision(version.created), modified: Revision(version.modified) };
    Event { kind, entry, previous }
}

#[cfg(test)]
mod tests;
