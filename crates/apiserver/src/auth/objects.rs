//! The seam to the watch caches.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use crate::cache::Page;
use crate::storage::{Storage, prefix_of};

/// One stored object.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its key in the store.
    pub key: Arc<str>,
    /// The revision that wrote it.
    pub revision: u64,
    /// The whole object.
    pub json: Bytes,
}

/// Read access to stored objects, at least as fresh as the last acknowledged write.
pub trait Objects: Send + Sync + 'static {
    /// The object at a key such as `/registry/pods/default/web`, as JSON.
    fn get(&self, key: &str) -> Option<Bytes>;

    /// All objects whose keys start with the prefix, such as `/registry/roles/` or `/registry/pods/default/`.
    fn list(&self, prefix: &str) -> Vec<Stored>;

    /// A number that grows with every change of the resource whose keys start with the prefix.
    fn newest(&self, prefix: &str) -> u64;
}

impl Objects for Storage {
    fn get(&self, key: &str) -> Option<Bytes> {
        self.cache(prefix_of(key)).get(key).map(|o| o.json().clone())
    }

    fn list(&self, prefix: &str) -> Vec<Stored> {
        let page = Page { prefix, from: "", limit: 0, at: None };
        // Only a picture of the past can be too old.
        let Ok(picture) = self.cache(prefix_of(prefix)).picture(&page, self.applied(), |_| true) else { return Vec::new() };
        picture.objects.iter().map(|o| Stored { key: o.key().clone(), revision: o.revision().0, json: o.json().clone() }).collect()
    }

    fn newest(&self, prefix: &str) -> u64 {
        self.cache(prefix_of(prefix)).newest().0
    }
}

/// Where each resource is kept.
pub(crate) mod keys {
    pub(crate) const ROLES: &str = "/registry/roles/";
    pub(crate) const CLUSTER_ROLES: &str = "/registry/clusterroles/";
    pub(crate) const ROLE_BINDINGS: &str = "/registry/rolebindings/";
    pub(crate) const CLUSTER_ROLE_BINDINGS: &str = "/registry/clusterrolebindings/";
    pub(crate) const PODS: &str = "/registry/pods/";
    pub(crate) const NODES: &str = "/registry/minions/";
    pub(crate) const SECRETS: &str = "/registry/secrets/";
    pub(crate) const SERVICE_ACCOUNTS: &str = "/registry/serviceaccounts/";
    pub(crate) const VOLUMES: &str = "/registry/persistentvolumes/";
    pub(crate) const ATTACHMENTS: &str = "/registry/volumeattachments/";
    pub(crate) const RESOURCE_SLICES: &str = "/registry/resourceslices/";
}

/// The part of an object that says whether it is still the same one.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Sameness {
    pub(crate) metadata: SameMeta,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct SameMeta {
    pub(crate) uid: String,
    pub(crate) deletion_timestamp: Option<jiff::Timestamp>,
}

/// The object's UID and deletion time, if it exists.
pub(crate) fn sameness(objects: &dyn Objects, key: &str) -> Option<SameMeta> {
    let json = objects.get(key)?;
    serde_json::from_slice::<Sameness>(&json).ok().map(|s| s.metadata)
}

#[cfg(test)]
pub(crate) mod fake {
    //! Objects in a map, for tests.

    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use serde_json::Value;

    use super::*;

    #[derive(Default)]
    pub(crate) struct Fake(Mutex<(u64, BTreeMap<String, Stored>)>);

    impl Fake {
        pub(crate) fn put(&self, key: &str, object: &Value) {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            let stored = Stored { key: key.into(), revision: state.0, json: serde_json::to_vec(object).unwrap().into() };
            state.1.insert(key.to_owned(), stored);
        }

        pub(crate) fn delete(&self, key: &str) {
            let mut state = self.0.lock().unwrap();
            state.0 += 1;
            state.1.remove(key);
        }
    }

    impl Objects for Fake {
        fn get(&self, key: &str) -> Option<Bytes> {
            self.0.lock().unwrap().1.get(key).map(|s| s.json.clone())
        }

        fn list(&self, prefix: &str) -> Vec<Stored> {
            self.0.lock().unwrap().1.values().filter(|s| s.key.starts_with(prefix)).cloned().collect()
        }

        fn newest(&self, _prefix: &str) -> u64 {
            self.0.lock().unwrap().0
        }
    }
}
