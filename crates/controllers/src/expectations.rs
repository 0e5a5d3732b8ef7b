//! What a controller has asked for and its cache has not shown yet. While anything is outstanding the controller must not
//! create or delete more, or it would repeat itself (client-go's `ControllerExpectations`).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::ObjectKey;
use tokio::time::Instant;

/// After this time an expectation counts as met: an event was missed, and looking again is safer than waiting for ever.
const EXPIRES_AFTER: Duration = Duration::from_secs(300);

/// Outstanding creations and deletions by owner.
#[derive(Default)]
pub struct Expectations {
    by_owner: Mutex<HashMap<ObjectKey, Outstanding>>,
}

struct Outstanding {
    creations: usize,
    deletions: HashSet<String>,
    since: Instant,
}

impl Expectations {
    /// Whether the cache shows all that was asked for.
    pub fn satisfied(&self, owner: &ObjectKey) -> bool {
        self.lock().get(owner).is_none_or(|o| o.is_met() || o.since.elapsed() > EXPIRES_AFTER)
    }

    /// The owner is about to create `count` objects and to delete the objects with these UIDs.
    pub fn expect(&self, owner: &ObjectKey, creations: usize, deletions: impl IntoIterator<Item = String>) {
        let outstanding = Outstanding { creations, deletions: deletions.into_iter().collect(), since: Instant::now() };
        self.lock().insert(owner.clone(), outstanding);
    }

    /// A creation was seen, or will never be because it failed.
    pub fn creation_observed(&self, owner: &ObjectKey) {
        if let Some(outstanding) = self.lock().get_mut(owner) {
            outstanding.creations = outstanding.creations.saturating_sub(1);
        }
    }

    /// A deletion was seen, or will never be because it failed.
    pub fn deletion_observed(&self, owner: &ObjectKey, uid: &str) {
        if let Some(outstanding) = self.lock().get_mut(owner) {
            outstanding.deletions.remove(uid);
        }
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &ObjectKey) {
        self.lock().remove(owner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ObjectKey, Outstanding>> {
        self.by_owner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outstanding {
    fn is_met(&self) -> bool {
        self.creations == 0 && self.deletions.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn they_hold_until_all_was_seen_or_time_is_up() {
        let e = Expectations::default();
        let owner = ObjectKey::new("ns", "web");
        assert!(e.satisfied(&owner));
        e.expect(&owner, 2, ["u1".to_owned()]);
        e.creation_observed(&owner);
        e.deletion_observed(&owner, "other");
        assert!(!e.satisfied(&owner));
        e.creation_observed(&owner);
        assert!(!e.satisfied(&owner));
        e.deletion_observed(&owner, "u1");
        assert!(e.satisfied(&owner));
        e.expect(&owner, 1, []);
        tokio::time::advance(EXPIRES_AFTER + Duration::from_secs(1)).await;
        assert!(e.satisfied(&owner));
    }
}
