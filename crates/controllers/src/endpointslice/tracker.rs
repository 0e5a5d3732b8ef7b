//! Which versions of slices this controller has written, so that it does not act on a cache that shows older ones.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use client::ObjectKey;
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// Generations by slice UID, by service; `GONE` for a deleted slice.
#[derive(Default)]
pub(super) struct Tracker(Mutex<HashMap<ObjectKey, HashMap<String, i64>>>);

const GONE: i64 = -1;

impl Tracker {
    /// A write has succeeded; `slice` is what the server answered.
    pub(super) fn wrote(&self, service: &ObjectKey, slice: &EndpointSlice) {
        self.set(service, slice, slice.metadata.generation.unwrap_or(0));
    }

    /// A deletion has succeeded.
    pub(super) fn deleted(&self, service: &ObjectKey, slice: &EndpointSlice) {
        self.set(service, slice, GONE);
    }

    /// The watch has shown that a slice is gone, whoever deleted it.
    pub(super) fn saw_deletion(&self, service: &ObjectKey, slice: &EndpointSlice) {
        if let Some(of_service) = self.lock().get_mut(service) {
            of_service.remove(slice.metadata.uid.as_deref().unwrap_or_default());
        }
    }

    /// Whether the cache lags behind what was written.
    pub(super) fn is_stale(&self, service: &ObjectKey, cached: &[Arc<EndpointSlice>]) -> bool {
        let all = self.lock();
        let Some(written) = all.get(service) else {
            return false;
        };
        written.iter().any(|(uid, generation)| {
            let shown = cached.iter().find(|s| s.metadata.uid.as_ref() == Some(uid));
            let shown = shown.map(|s| s.metadata.generation.unwrap_or(0));
            if *generation == GONE { shown.is_some() } else { shown.is_none_or(|shown| shown < *generation) }
        })
    }

    pub(super) fn forget(&self, service: &ObjectKey) {
        self.lock().remove(service);
    }

    fn set(&self, service: &ObjectKey, slice: &EndpointSlice, generation: i64) {
        let uid = slice.metadata.uid.clone().unwrap_or_default();
        self.lock().entry(service.clone()).or_default().insert(uid, generation);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ObjectKey, HashMap<String, i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_stale_until_it_shows_the_last_write() {
        let slice = |generation| {
            let mut s = EndpointSlice::default();
            s.metadata.uid = Some("u".into());
            s.metadata.generation = Some(generation);
            s
        };
        let (tracker, key) = (Tracker::default(), ObjectKey::new("ns", "web"));
        assert!(!tracker.is_stale(&key, &[]));
        tracker.wrote(&key, &slice(2));
        assert!(tracker.is_stale(&key, &[]));
        assert!(tracker.is_stale(&key, &[Arc::new(slice(1))]));
        assert!(!tracker.is_stale(&key, &[Arc::new(slice(2))]));
        tracker.deleted(&key, &slice(2));
        assert!(tracker.is_stale(&key, &[Arc::new(slice(2))]));
        tracker.saw_deletion(&key, &slice(2));
        assert!(!tracker.is_stale(&key, &[]));
    }
}
