//! ConfigMaps and Secrets that pods on this node refer to: each is watched while a pod needs it.
//!
//! # Guarantees
//! A watch is opened per object, never for a whole kind, since a node may read only what its pods refer to.
//! # Caveats
//! An object that is watched is served from the cache, which may lag; one that the cache lacks is asked for directly.

use std::any::Any;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use client::{Informer, Object, ObjectKey};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::runtime::watcher;
use kube::{Api, Client, Resource};
use tokio::sync::Notify;

use crate::spec;

/// Why an object could not be had.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    /// Whether it does not exist, or could not be read.
    pub missing: Missing,
}

/// The two ways of not having an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no such object.
    Absent,
    /// It may exist, but could not be read.
    Unreadable,
}

/// What a pod refers to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A ConfigMap by name.
    ConfigMap(String),
    /// A Secret by name.
    Secret(String),
}

type Users = Arc<Mutex<HashMap<String, Arc<Notify>>>>;

struct Watched {
    informer: Box<dyn Any + Send + Sync>,
    users: Users,
}

type Key = (ObjectKey, &'static str);

/// The objects that pods refer to.
pub struct Objects {
    client: Client,
    watched: Mutex<HashMap<Key, Watched>>,
    by_pod: Mutex<HashMap<String, BTreeSet<(String, Reference)>>>,
}

impl Objects {
    /// Nothing is watched until a pod needs it.
    pub fn new(client: Client) -> Self {
        Self { client, watched: Mutex::default(), by_pod: Mutex::default() }
    }

    /// Watches what the pod refers to and nothing else for it; `changed` is told of changes.
    pub fn follow(&self, pod: &Pod, changed: &Arc<Notify>) {
        let namespace = spec::namespace(pod).to_owned();
        let wanted: BTreeSet<_> = references(pod).into_iter().map(|r| (namespace.clone(), r)).collect();
        let uid = spec::uid(pod);
        let before = {
            let mut by_pod = self.by_pod.lock().unwrap_or_else(PoisonError::into_inner);
            by_pod.insert(uid.to_owned(), wanted.clone()).unwrap_or_default()
        };
        for (namespace, reference) in wanted.difference(&before) {
            match reference {
                Reference::ConfigMap(name) => self.watch::<ConfigMap>(namespace, name, uid, changed),
                Reference::Secret(name) => self.watch::<Secret>(namespace, name, uid, changed),
            }
        }
        before.difference(&wanted).for_each(|(namespace, reference)| self.release(namespace, reference, uid));
    }

    /// Ends the watches that only this pod needed.
    pub fn forget(&self, uid: &str) {
        let before = self.by_pod.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
        before.into_iter().flatten().for_each(|(namespace, reference)| self.release(&namespace, &reference, uid));
    }

    /// The object, from the cache if it is watched there.
    pub async fn get<K>(&self, namespace: &str, name: &str) -> Result<Arc<K>, Error>
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let object = ObjectKey::new(namespace, name);
        let cached = {
            let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = watched.get(&(object.clone(), std::any::type_name::<K>()));
            entry.and_then(|w| w.informer.downcast_ref::<Informer<K>>()).filter(|i| i.has_synced()).and_then(|i| i.get(&object))
        };
        if let Some(object) = cached {
            return Ok(object);
        }
        let got = Api::<K>::namespaced(self.client.clone(), namespace).get(name).await;
        got.map(Arc::new).map_err(|error| match error {
            kube::Error::Api(status) => {
                let missing = if status.code == 404 { Missing::Absent } else { Missing::Unreadable };
                Error { message: status.message.clone(), missing }
            }
            other => Error { message: format!("reading {} {object}: {other}", K::kind(&())), missing: Missing::Unreadable },
        })
    }

    fn watch<K>(&self, namespace: &str, name: &str, uid: &str, changed: &Arc<Notify>)
    where
        K: Object + Resource<Scope = NamespaceResourceScope>,
    {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (ObjectKey::new(namespace, name), std::any::type_name::<K>());
        let entry = watched.entry(key).or_insert_with(|| {
            let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
            let informer = Informer::start(api, watcher::Config::default().fields(&format!("metadata.name={name}")));
            let users = Users::default();
            let tell = users.clone();
            informer.on_change(move |_| {
                tell.lock().unwrap_or_else(PoisonError::into_inner).values().for_each(|pod| pod.notify_one());
            });
            Watched { informer: Box::new(informer), users }
        });
        entry.users.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), changed.clone());
    }

    fn release(&self, namespace: &str, reference: &Reference, uid: &str) {
        let (name, kind) = match reference {
            Reference::ConfigMap(name) => (name, std::any::type_name::<ConfigMap>()),
            Reference::Secret(name) => (name, std::any::type_name::<Secret>()),
        };
        let key = (ObjectKey::new(namespace, name.as_str()), kind);
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = watched.get(&key).is_some_and(|entry| {
            let mut users = entry.users.lock().unwrap_or_else(PoisonError::into_inner);
            users.remove(uid);
            users.is_empty()
        });
        if unused {
            watched.remove(&key);
        }
    }
}

/// All ConfigMaps and Secrets that a pod's specification names.
pub fn references(pod: &Pod) -> BTreeSet<Reference> {
    let spec = spec::of(pod);
    let mut found = BTreeSet::new();
    found.extend(spec.image_pull_secrets.iter().flatten().map(|s| Reference::Secret(s.name.clone())));
    for (_, container) in spec::all(spec) {
        for from in container.env_from.iter().flatten() {
            found.extend(from.config_map_ref.iter().map(|r| Reference::ConfigMap(r.name.clone())));
            found.extend(from.secret_ref.iter().map(|r| Reference::Secret(r.name.clone())));
        }
        for source in container.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
            found.extend(source.config_map_key_ref.iter().map(|r| Reference::ConfigMap(r.name.clone())));
            found.extend(source.secret_key_ref.iter().map(|r| Reference::Secret(r.name.clone())));
        }
    }
    for volume in spec.volumes.iter().flatten() {
        found.extend(volume.config_map.iter().map(|v| Reference::ConfigMap(v.name.clone())));
        found.extend(volume.secret.iter().filter_map(|v| v.secret_name.clone()).map(Reference::Secret));
        for source in volume.projected.iter().filter_map(|p| p.sources.as_ref()).flatten() {
            found.extend(source.config_map.iter().map(|v| Reference::ConfigMap(v.name.clone())));
            found.extend(source.secret.iter().map(|v| Reference::Secret(v.name.clone())));
        }
    }
    found.retain(|r| !matches!(r, Reference::ConfigMap(name) | Reference::Secret(name) if name.is_empty()));
    found
}
