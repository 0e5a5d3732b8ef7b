//! StorageObjectInUseProtection: volumes and claims go only when nobody uses them any more.

use api::{ApiError, meta};
use serde_json::{Value, json};

use super::{Operation, Plugin, Review};

pub(super) struct StorageObjectInUseProtection;

#[async_trait::async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
        if review.operation != Operation::Create {
            return Ok(());
        }
        let finalizer = if review.is_about("", "persistentvolumes") {
            "kubernetes.io/pv-protection"
        } else if review.is_about("", "persistentvolumeclaims") {
            "kubernetes.io/pvc-protection"
        } else {
            return Ok(());
        };
        if let Some(metadata) = meta::metadata_mut(object)
            && let Some(finalizers) = metadata.entry("finalizers").or_insert_with(|| json!([])).as_array_mut()
            && !finalizers.iter().any(|f| f == finalizer)
        {
            finalizers.push(json!(finalizer));
        }
        Ok(())
    }
}
