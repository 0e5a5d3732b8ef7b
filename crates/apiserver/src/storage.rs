//! The store with a watch cache in front: every read comes from the cache, every write goes to the store and returns when
//! the cache shows it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use futures::StreamExt as _;
use store::{EventKind, Outcome, Range, Revision, Store, Write};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cache::Cache;
use crate::object::Object;

/// Where Kubernetes keeps everything.
pub const ROOT: &str = "/registry/";
/// How long the windows keep events.
const HISTORY: Duration = Duration::from_secs(11 * 60);
/// How often old events are dropped.
const TRIM_EVERY: Duration = Duration::from_secs(30);
/// How many objects one step of the first load takes.
const LOAD_PAGE: usize = 1000;

/// The store and its caches.
pub struct Storage {
    store: Arc<dyn Store>,
    caches: RwLock<HashMap<String, Arc<Cache>>>,
    /// Everything up to here is in the caches.
    applied: watch::Sender<Revision>,
    loaded: Revision,
    checkpoints: Mutex<VecDeque<(Instant, Revision)>>,
    /// Why the store can no longer be followed, once that is so.
    lost: Mutex<Option<store::Error>>,
}

impl Storage {
    /// Loads all objects and follows the store from then on. The follower ends when the storage is dropped.
    pub async fn open(store: Arc<dyn Store>) -> Result<Arc<Self>, store::Error> {
        let loaded = store.revision().await?;
        let storage = Self {
            store,
            caches: RwLock::default(),
            applied: watch::Sender::new(loaded),
            loaded,
            checkpoints: Mutex::default(),
            lost: Mutex::default(),
        };
        storage.load().await?;
        let storage = Arc::new(storage);
        let stream = storage.store.watch(ROOT, loaded).await?;
        tokio::spawn(follow(Arc::downgrade(&storage), stream));
        tokio::spawn(trim(Arc::downgrade(&storage)));
        Ok(storage)
    }

    async fn load(&self) -> Result<(), store::Error> {
        let mut after = None;
        loop {
            let range = Range { prefix: ROOT.into(), after: after.take(), limit: LOAD_PAGE, at: Some(self.loaded) };
            let page = self.store.range(range).await?;
            after = page.entries.last().map(|e| e.key.clone());
            for entry in page.entries {
                match Object::from_stored(entry.key.clone(), &entry.value, entry.modified) {
                    Ok(object) => self.cache_of(&entry.key).load(Arc::new(object)),
                    Err(damaged) => tracing::error!(%damaged, "left out an object"),
                }
            }
            if page.remaining == 0 || after.is_none() {
                return Ok(());
            }
        }
    }

    /// The store itself, for keys that are no objects.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The cache of a resource by its key prefix (`/registry/pods/`).
    pub fn cache(&self, prefix: &str) -> Arc<Cache> {
        if let Some(cache) = self.caches.read().unwrap_or_else(PoisonError::into_inner).get(prefix) {
            return cache.clone();
        }
        let mut caches = self.caches.write().unwrap_or_else(PoisonError::into_inner);
        caches.entry(prefix.to_owned()).or_insert_with(|| Arc::new(Cache::new(self.loaded))).clone()
    }

    fn cache_of(&self, key: &str) -> Arc<Cache> {
        self.cache(prefix_of(key))
    }

    /// Everything up to this revision is in the caches.
    pub fn applied(&self) -> Revision {
        *self.applied.borrow()
    }

    /// Waits until the caches show everything that is committed now, and returns that revision.
    pub async fn fresh(&self) -> Result<Revision, store::Error> {
        let newest = self.store.revision().await?;
        self.reached(newest).await?;
        Ok(self.applied())
    }

    /// Waits until the caches show the revision. It fails when the store can no longer be followed: a cache that lost
    /// history must not be read as if it were true.
    pub async fn reached(&self, revision: Revision) -> Result<(), store::Error> {
        let mut applied = self.applied.subscribe();
        loop {
            self.healthy()?;
            if *applied.borrow_and_update() >= revision {
                return Ok(());
            }
            // The sender lives in `self`, so this cannot fail.
            let _ = applied.changed().await;
        }
    }

    /// Whether the caches still follow the store.
    pub fn healthy(&self) -> Result<(), store::Error> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Signals every growth of [`Storage::applied`].
    pub fn progress(&self) -> watch::Receiver<Revision> {
        self.applied.subscribe()
    }

    /// Writes, and returns when the caches show it.
    pub async fn write(&self, write: Write) -> Result<Outcome, store::Error> {
        let outcome = self.store.write(write).await?;
        if let Outcome::Committed { revision, .. } = &outcome {
            self.reached(*revision).await?;
        }
        Ok(outcome)
    }

    fn apply(&self, batch: store::WatchBatch) {
        for event in batch.events {
            let entry = event.entry;
            let cache = self.cache_of(&entry.key);
            match event.kind {
                EventKind::Delete => cache.apply(&entry.key, entry.modified, None),
                EventKind::Put => match Object::from_stored(entry.key.clone(), &entry.value, entry.modified) {
                    Ok(object) => cache.apply(&entry.key, entry.modified, Some(object)),
                    Err(damaged) => tracing::error!(%damaged, "left out an object"),
                },
            }
        }
        self.applied.send_if_modified(|applied| {
            let grown = batch.revision > *applied;
            *applied = batch.revision.max(*applied);
            grown
        });
    }

    fn trim(&self, now: Instant) {
        let floor = {
            let mut points = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
            points.push_back((now, self.applied()));
            let mut floor = None;
            while let Some((_, revision)) = points.pop_front_if(|(at, _)| now.duration_since(*at) >= HISTORY) {
                floor = Some(revision);
            }
            floor
        };
        let Some(floor) = floor else { return };
        let caches: Vec<_> = self.caches.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        caches.iter().for_each(|c| c.trim(floor));
    }
}

async fn follow(storage: std::sync::Weak<Storage>, mut stream: store::WatchStream) {
    while let Some(batch) = stream.next().await {
        let Some(storage) = storage.upgrade() else { return };
        match batch {
            Ok(batch) => storage.apply(batch),
            Err(error) => {
                tracing::error!(%error, "the watch cache lost the store");
                *storage.lost.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                // Wakes everybody who waits, so that they see it.
                storage.applied.send_modify(|_| {});
                return;
            }
        }
    }
}

async fn trim(storage: std::sync::Weak<Storage>) {
    loop {
        tokio::time::sleep(TRIM_EVERY).await;
        let Some(storage) = storage.upgrade() else { return };
        storage.trim(Instant::now());
    }
}

/// The resource part of a key: two segments for the places where Kubernetes nests them or a group has its own folder, else one.
pub fn prefix_of(key: &str) -> &str {
    let rest = key.strip_prefix(ROOT).unwrap_or_default();
    let Some(first) = rest.find('/') else { return key };
    let folder = rest.get(..first).unwrap_or_default();
    let nested = folder == "services" || folder.contains('.');
    let end = if nested {
        let second = rest.get(first.saturating_add(1)..).and_then(|r| r.find('/'));
        second.map_or(first, |s| first.saturating_add(1).saturating_add(s))
    } else {
        first
    };
    key.get(..ROOT.len().saturating_add(end).saturating_add(1)).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_their_resource() {
        for (key, prefix) in [
            ("/registry/pods/default/web", "/registry/pods/"),
            ("/registry/services/specs/default/web", "/registry/services/specs/"),
            ("/registry/services/endpoints/default/web", "/registry/services/endpoints/"),
            ("/registry/namespaces/default", "/registry/namespaces/"),
            ("/registry/example.com/things/default/a", "/registry/example.com/things/"),
            ("/registry/odd", "/registry/odd"),
        ] {
            assert_eq!(prefix_of(key), prefix, "{key}");
        }
    }
}
