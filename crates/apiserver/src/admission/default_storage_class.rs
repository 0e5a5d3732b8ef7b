//! DefaultStorageClass: a claim that names no class gets the default one.

use api::{ApiError, meta};
use serde_json::{Value, json};

use super::{Operation, Plugin, Review};

const DEFAULT: &str = "storageclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

pub(super) struct DefaultStorageClass;

#[async_trait::async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    async fn mutate(&self, review: &Review<'_>, claim: &mut Value) -> Result<(), ApiError> {
        if review.operation != Operation::Create || !review.is_about("", "persistentvolumeclaims") {
            return Ok(());
        }
        if claim.pointer("/spec/storageClassName").is_some() || meta::annotation(claim, OLD_CLASS).is_some() {
            return Ok(());
        }
        let classes = review.call.server.all("storage.k8s.io", "storageclasses", "");
        let defaults = classes.iter().map(|o| o.tree()).filter(|c| meta::annotation(c, DEFAULT) == Some("true"));
        // Of several defaults the youngest counts, then the first by name.
        let newest = defaults
            .max_by(|a, b| meta::creation_timestamp(a).cmp(meta::creation_timestamp(b)).then_with(|| meta::name(b).cmp(meta::name(a))));
        if let (Some(class), Some(spec)) = (newest, claim.get_mut("spec").and_then(Value::as_object_mut)) {
            spec.insert("storageClassName".to_owned(), json!(meta::name(&class)));
        }
        Ok(())
    }
}
