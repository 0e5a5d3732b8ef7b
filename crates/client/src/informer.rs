//! Shared informers: one list and watch per kind and process, one cache that everybody reads.
//!
//! # Expected flow
//! [`Informers::of`] starts the watch of a kind on first use; components register handlers with [`Informer::on_change`]
//! and read with [`Informer::get`] and [`Informer::list`].
//! # Guarantees
//! Handlers see every object once as `Applied` before [`Informer::synced`] returns, and changes in the watch's order;
//! intermediate states may be skipped after a lost connection, deletions never are.
//! # Assumptions
//! Handlers only mark work as due (for example in a [`crate::WorkQueue`]): they run on the informer's task, and must neither
//! block nor register further handlers.
//! # Caveats
//! The cache lags behind the API server. A decision to delete needs a check by UID against the server.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::StreamExt as _;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What can be watched: any typed kind.
pub trait Object: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}

impl<K> Object for K where K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static {}

/// Namespace and name; cluster-scoped objects have an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace, or empty.
    pub namespace: String,
    /// The name.
    pub name: String,
}

/// A change of the cache.
#[derive(Debug)]
pub enum Change<K> {
    /// The object is new (`old` is `None`) or changed.
    Applied {
        /// What the cache held before.
        old: Option<Arc<K>>,
        /// What it holds now.
        new: Arc<K>,
    },
    /// The object is gone; this is its last known state.
    Deleted(Arc<K>),
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Shared<K> {
    objects: RwLock<BTreeMap<ObjectKey, Arc<K>>>,
    handlers: Mutex<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

struct Watching<K> {
    shared: Arc<Shared<K>>,
    task: AbortHandle,
}

/// A handle on one kind's cache; clones share it, and the watch ends with the last one.
pub struct Informer<K>(Arc<Watching<K>>);

/// All informers of one component process, by kind.
#[derive(Clone)]
pub struct Informers {
    client: Client,
    by_kind: Arc<Mutex<HashMap<TypeId, Box<dyn Any + Send + Sync>>>>,
}

// === impl ObjectKey ===

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        let meta = object.meta();
        Self::new(meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

// === impl Change ===

impl<K> Change<K> {
    /// The object as last seen.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Applied { new, .. } => new,
            Self::Deleted(last) => last,
        }
    }
}

// === impl Informers ===

impl Informers {
    /// No watch runs until a kind is asked for.
    pub fn new(client: Client) -> Self {
        Self { client, by_kind: Arc::default() }
    }

    /// The client that the watches use.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The informer of a kind in all namespaces; started on first use.
    pub fn of<K: Object>(&self) -> Informer<K> {
        let mut kinds = self.by_kind.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.get(&TypeId::of::<K>()).and_then(|i| i.downcast_ref::<Informer<K>>());
        if let Some(informer) = known {
            return informer.clone();
        }
        let informer = Informer::start(Api::all(self.client.clone()), watcher::Config::default());
        kinds.insert(TypeId::of::<K>(), Box::new(informer.clone()));
        informer
    }
}

// === impl Informer ===

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> Drop for Watching<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<K: Object> Informer<K> {
    /// Watches what `api` and `config` select. Prefer [`Informers::of`], which shares; this is for selected views,
    /// such as the pods of one node. Must be called inside a tokio runtime.
    pub fn start(api: Api<K>, config: watcher::Config) -> Self {
        let (synced, _) = watch::channel(false);
        let shared = Arc::new(Shared { objects: RwLock::default(), handlers: Mutex::default(), synced });
        let task = tokio::spawn(follow(api, config, shared.clone())).abort_handle();
        Self(Arc::new(Watching { shared, task }))
    }

    /// Returns when the cache has been filled once.
    pub async fn synced(&self) {
        let mut synced = self.0.shared.synced.subscribe();
        // The sender lives in `self`, so waiting cannot fail before the condition holds.
        let _ = synced.wait_for(|done| *done).await;
    }

    /// Whether the cache has been filled once.
    pub fn has_synced(&self) -> bool {
        *self.0.shared.synced.borrow()
    }

    /// One object, or `None` when the cache does not have it.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.read(|objects| objects.get(key).cloned())
    }

    /// All objects, by namespace and name.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.read(|objects| objects.values().cloned().collect())
    }

    /// All objects of one namespace, by name.
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        let from = ObjectKey::new(namespace, "");
        self.read(|objects| {
            let of_namespace = objects.range(from..).take_while(|(key, _)| key.namespace == namespace);
            of_namespace.map(|(_, object)| object.clone()).collect()
        })
    }

    /// Calls `handler` for every object already in the cache (as `Applied` without `old`) and for every later change.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = self.0.shared.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        for object in self.list() {
            handler(&Change::Applied { old: None, new: object });
        }
        handlers.push(Box::new(handler));
    }

    fn read<T>(&self, look: impl FnOnce(&BTreeMap<ObjectKey, Arc<K>>) -> T) -> T {
        look(&self.0.shared.objects.read().unwrap_or_else(PoisonError::into_inner))
    }
}

// === impl Shared ===

impl<K: Object> Shared<K> {
    fn apply(&self, object: K) {
        let key = ObjectKey::of(&object);
        let new = Arc::new(object);
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(key, new.clone());
        let unchanged = old
            .as_ref()
            .is_some_and(|old| old.meta().resource_version.is_some() && old.meta().resource_version == new.meta().resource_version);
        if !unchanged {
            tell(&handlers, &Change::Applied { old, new });
        }
    }

    fn delete(&self, key: &ObjectKey, last: Option<K>) {
        let handlers = self.handlers.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(gone) = last.map(Arc::new).or(known) {
            tell(&handlers, &Change::Deleted(gone));
        }
    }

    /// Removes what the server no longer has, after a list that was complete.
    fn keep_only(&self, listed: &HashMap<ObjectKey, ()>) {
        let stale: Vec<ObjectKey> = {
            let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
            objects.keys().filter(|key| !listed.contains_key(*key)).cloned().collect()
        };
        for key in stale {
            self.delete(&key, None);
        }
    }
}

fn tell<K>(handlers: &[Handler<K>], change: &Change<K>) {
    for handler in handlers {
        handler(change);
    }
}

async fn follow<K: Object>(api: Api<K>, config: watcher::Config, shared: Arc<Shared<K>>) {
    let mut events = watcher(api, config).default_backoff().boxed();
    let mut listed = HashMap::new();
    while let Some(event) = events.next().await {
        match event {
            Ok(watcher::Event::Apply(object)) => shared.apply(object),
            Ok(watcher::Event::Delete(object)) => shared.delete(&ObjectKey::of(&object), Some(object)),
            Ok(watcher::Event::Init) => listed.clear(),
            Ok(watcher::Event::InitApply(object)) => {
                listed.insert(ObjectKey::of(&object), ());
                shared.apply(object);
            }
            Ok(watcher::Event::InitDone) => {
                shared.keep_only(&std::mem::take(&mut listed));
                shared.synced.send_replace(true);
            }
            // The watcher retries by itself, with backoff.
            Err(error) => tracing::debug!(kind = %K::kind(&()), %error, "watch interrupted"),
        }
    }
}
