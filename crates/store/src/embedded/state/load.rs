//! Rebuilds the state from the versions in a checkpoint.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Chain, Past, State, Version, event, trim};

/// Takes the versions (those of one key together, oldest first), then the frame of the picture.
#[derive(Default)]
pub(crate) struct Loader {
    state: State,
}

impl Loader {
    /// Takes one version; says what is wrong when it is out of order.
    pub(crate) fn version(&mut self, key: Arc<str>, version: Version) -> Result<(), String> {
        match self.state.index.get_mut(&key) {
            None => {
                self.state.index.insert(key, Chain { newest: version, older: VecDeque::new() });
            }
            Some(chain) if chain.newest.modified < version.modified => {
                let old = std::mem::replace(&mut chain.newest, version);
                chain.older.push_back(old);
            }
            Some(chain) => return Err(format!("{key}: revision {} comes after {}", version.modified, chain.newest.modified)),
        }
        Ok(())
    }

    /// Ends the picture of `revision`, whose history is complete after `floor` and was written at `at_ms`.
    /// Changes of the window get that one time: they stay a little longer than needed, never shorter.
    pub(crate) fn finish(mut self, revision: u64, floor: u64, at_ms: u64) -> Result<State, String> {
        let floor = floor.min(revision);
        let mut changes = Vec::new();
        let state = &mut self.state;
        (state.revision, state.base, state.floor) = (revision, floor, floor);
        state.index.retain(|_, chain| {
            trim(chain, floor);
            chain.newest.value.is_some() || chain.newest.modified > floor
        });
        for (key, chain) in &state.index {
            let mut previous: Option<&Version> = None;
            for version in chain.older.iter().chain([&chain.newest]) {
                if version.modified > floor {
                    changes.push(event(key, version, previous.and_then(|p| p.entry(key))));
                }
                previous = Some(version);
            }
        }
        changes.sort_unstable_by_key(|change| change.entry.modified);
        let contiguous = changes.iter().zip(floor + 1..).all(|(change, at)| change.entry.modified.0 == at);
        if !contiguous || changes.len() as u64 != revision - floor {
            return Err(format!("the history between revisions {floor} and {revision} has holes"));
        }
        for event in changes {
            let past = Past { event, at_ms };
            state.history_bytes += past.cost();
            state.history.push_back(past);
        }
        let live: Vec<(Arc<str>, Version)> = state.live();
        for (key, version) in &live {
            state.count_live(key, version);
        }
        Ok(self.state)
    }
}
