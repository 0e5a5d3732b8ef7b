//! Decides what a batch of writes does, before any of it is on the disk. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::state::{State, Version};
use crate::{Entry, Expect, Op, Outcome, Revision, Write};

/// The changes of one batch, in revision order: the first has the revision after the state's.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) changes: Vec<(Arc<str>, Version)>,
}

/// Sees the state as it will be after the writes planned so far.
pub(crate) struct Planner<'a> {
    state: &'a State,
    now_ms: u64,
    /// The newest entry of keys that this batch changes.
    changed: HashMap<Arc<str>, Option<Entry>>,
    batch: Batch,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(state: &'a State, now_ms: u64) -> Self {
        Self { state, now_ms, changed: HashMap::new(), batch: Batch::default() }
    }

    /// Plans one write and says what its caller will be told once the batch is durable.
    pub(crate) fn write(&mut self, write: Write) -> Outcome {
        let current = self.changed.get(&write.key).cloned().unwrap_or_else(|| self.state.get(&write.key));
        let holds = match write.expect {
            Expect::Absent => current.is_none(),
            Expect::Modified(revision) => current.as_ref().is_some_and(|c| c.modified == revision),
            Expect::Anything => true,
        };
        // Removing what is not there changes nothing, so it takes no revision.
        let idle = current.is_none() && matches!(write.op, Op::Delete);
        if !holds || idle {
            return Outcome::Mismatch { current };
        }
        let (value, ttl) = match write.op {
            Op::Put { value, ttl } => (Some(value), ttl),
            Op::Delete => (None, None),
        };
        let modified = self.next_revision();
        let created = current.as_ref().map_or(modified, |c| c.created.0);
        let deadline = ttl.map(|ttl| self.now_ms.saturating_add(millis(ttl)).max(1));
        // The existing name is shared, so that the history of a key does not hold its name many times.
        let key = current.as_ref().map_or(write.key, |c| c.key.clone());
        self.push(key, Version { created, modified, value, deadline });
        Outcome::Committed { revision: Revision(modified), previous: current }
    }

    /// Plans the removal of keys whose time has run out, at most `limit`; a key just written by this batch stays.
    pub(crate) fn expire(&mut self, limit: usize) {
        let state = self.state;
        for key in state.expired(self.now_ms, limit) {
            if self.changed.contains_key(key) {
                continue;
            }
            let Some(current) = state.get(key) else { continue };
            let version = Version { created: current.created.0, modified: self.next_revision(), value: None, deadline: None };
            self.push(key.clone(), version);
        }
    }

    pub(crate) fn finish(self) -> Batch {
        self.batch
    }

    fn next_revision(&self) -> u64 {
        self.state.revision() + 1 + self.batch.changes.len() as u64
    }

    fn push(&mut self, key: Arc<str>, version: Version) {
        self.changed.insert(key.clone(), version.entry(&key));
        self.batch.changes.push((key, version));
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn put(key: &str, expect: Expect, value: &'static str) -> Write {
        Write { key: key.into(), expect, op: Op::Put { value: Bytes::from_static(value.as_bytes()), ttl: None } }
    }

    #[test]
    fn later_writes_of_a_batch_see_the_earlier_ones() {
        let state = State::default();
        let mut plan = Planner::new(&state, 0);
        assert_eq!(plan.write(put("/a", Expect::Absent, "1")), Outcome::Committed { revision: Revision(1), previous: None });
        let Outcome::Mismatch { current: Some(current) } = plan.write(put("/a", Expect::Absent, "2")) else { panic!("must exist") };
        assert_eq!(current.value, "1");
        assert!(matches!(plan.write(put("/a", Expect::Modified(Revision(1)), "3")), Outcome::Committed { revision: Revision(2), .. }));
        let delete = Write { key: "/a".into(), expect: Expect::Anything, op: Op::Delete };
        assert!(matches!(plan.write(delete.clone()), Outcome::Committed { revision: Revision(3), previous: Some(p) } if p.value == "3"));
        assert_eq!(plan.write(delete), Outcome::Mismatch { current: None });
        let batch = plan.finish();
        let got: Vec<_> = batch.changes.iter().map(|(_, v)| (v.created, v.modified, v.value.is_some())).collect();
        assert_eq!(got, [(1, 1, true), (1, 2, true), (1, 3, false)]);
    }

    #[test]
    fn a_key_written_again_in_the_batch_does_not_expire() {
        let mut state = State::default();
        for (revision, key) in [(1, "/old"), (2, "/again")] {
            let version = Version { created: revision, modified: revision, value: Some(Bytes::new()), deadline: Some(10) };
            state.apply(key.into(), version, 0);
        }
        let mut plan = Planner::new(&state, 10);
        plan.write(put("/again", Expect::Anything, "x"));
        plan.expire(100);
        let batch = plan.finish();
        let got: Vec<_> = batch.changes.iter().map(|(k, v)| (k.as_ref(), v.modified, v.value.is_some())).collect();
        assert_eq!(got, [("/again", 3, true), ("/old", 4, false)]);
    }
}
