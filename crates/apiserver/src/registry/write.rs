//! The door to the store: compare-and-swap of one object.

use std::sync::Arc;

use api::ApiError;
use bytes::Bytes;
use serde_json::Value;
use store::{Expect, Op, Outcome, Revision, Write};

use super::store_failed;
use crate::call::Call;
use crate::object::{self, Object};

/// What became of a write.
pub enum Written {
    /// It is stored.
    Done(Arc<Object>),
    /// Somebody else was faster; this is what is there now.
    Lost(Option<Arc<Object>>),
}

/// Stores a tree (in the served version) under the key.
pub async fn put(call: &Call, key: &Arc<str>, tree: Value, expect: Expect) -> Result<Written, ApiError> {
    let ttl = call.resource.strategy.time_to_live(&tree);
    let value = Bytes::from(object::encode(&call.resource.to_stored(tree)));
    let write = Write { key: key.clone(), expect, op: Op::Put { value: value.clone(), ttl } };
    match call.server.storage.write(write).await.map_err(store_failed)? {
        Outcome::Committed { revision, .. } => Ok(Written::Done(stored(call, key, &value, revision)?)),
        Outcome::Mismatch { current } => lost(current),
    }
}

/// The cache has just made the same object from the same bytes; share it unless it is already older news.
fn stored(call: &Call, key: &Arc<str>, value: &Bytes, revision: Revision) -> Result<Arc<Object>, ApiError> {
    let cached = super::cached(call, key).filter(|o| o.revision() == revision);
    match cached {
        Some(object) => Ok(object),
        None => Object::from_stored(key.clone(), value, revision).map(Arc::new).map_err(ApiError::internal),
    }
}

/// Removes the object if it is still the same revision. The answer is its last state under the deletion's revision.
pub async fn remove(call: &Call, object: &Object) -> Result<Written, ApiError> {
    let write = Write { key: object.key().clone(), expect: Expect::Modified(object.revision()), op: Op::Delete };
    match call.server.storage.write(write).await.map_err(store_failed)? {
        Outcome::Committed { revision, .. } => Ok(Written::Done(Arc::new(object.tombstone(revision)))),
        Outcome::Mismatch { current } => lost(current),
    }
}

fn lost(current: Option<store::Entry>) -> Result<Written, ApiError> {
    let object = current.map(|e| Object::from_stored(e.key.clone(), &e.value, e.modified).map(Arc::new));
    object.transpose().map(Written::Lost).map_err(ApiError::internal)
}
