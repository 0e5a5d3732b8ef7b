//! NamespaceLifecycle: nothing is created where there is no namespace or one that is going, and some stay for ever.

use api::{ApiError, error::Cause, meta};
use serde_json::Value;

use super::{Operation, Plugin, Review};

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(super) struct NamespaceLifecycle;

#[async_trait::async_trait]
impl Plugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
        let call = review.call;
        if review.operation == Operation::Delete && review.is_about("", "namespaces") {
            let name = review.old.map(meta::name).unwrap_or_default();
            if IMMORTAL.contains(&name) {
                return Err(review.forbid(name, "this namespace may not be deleted"));
            }
        }
        let namespace = call.info.namespace.as_str();
        if review.operation != Operation::Create || namespace.is_empty() || !call.resource.descriptor.namespaced {
            return Ok(());
        }
        // Rights may be asked about namespaces that do not exist yet.
        if call.plural() == "localsubjectaccessreviews" {
            return Ok(());
        }
        let Some(found) = review.find("", "namespaces", "", namespace) else {
            return Err(ApiError::not_found("", "namespaces", namespace));
        };
        if meta::deletion_timestamp(&found.tree()).is_none() {
            return Ok(());
        }
        let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
        let cause = Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        };
        Err(review.forbid(meta::name(object), &why).with_cause(cause))
    }
}
