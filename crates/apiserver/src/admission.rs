//! Admission: what needs the cluster's state before an object may be stored. One file per plugin.

mod default_storage_class;
mod default_tolerations;
mod namespace_lifecycle;
mod node_restriction;
mod priority;
mod rights;
mod service_account;
mod storage_in_use;

use std::sync::Arc;

use api::ApiError;
use serde_json::Value;

use crate::call::Call;
use crate::object::Object;

/// What is about to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
    /// A connection to something that runs.
    Connect,
}

/// What a plugin may look at besides the object.
pub struct Review<'a> {
    /// The request.
    pub call: &'a Call,
    /// What is about to happen.
    pub operation: Operation,
    /// The object before it.
    pub old: Option<&'a Value>,
}

impl Review<'_> {
    /// Whether it is about the resource itself (not a subresource).
    pub fn is_about(&self, group: &str, plural: &str) -> bool {
        self.call.group() == group && self.call.plural() == plural && self.call.info.subresource.is_empty()
    }

    /// An object of another built-in resource, from the cache.
    pub fn find(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.call.server.find(group, plural, namespace, name)
    }

    /// 403 about the object under review.
    pub fn forbid(&self, name: &str, why: &str) -> ApiError {
        ApiError::forbidden(self.call.group(), self.call.plural(), name, why)
    }
}

/// An admission plugin.
#[async_trait::async_trait]
pub trait Plugin: Send + Sync {
    /// Its upstream name.
    fn name(&self) -> &'static str;

    /// Changes the object, or refuses.
    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
        let _ = (review, object);
        Ok(())
    }

    /// Looks at the final object (`Null` for a deletion), and may refuse.
    async fn validate(&self, review: &Review<'_>, object: &Value) -> Result<(), ApiError> {
        let _ = (review, object);
        Ok(())
    }
}

/// The plugins in their order.
pub type Chain = Vec<Box<dyn Plugin>>;

/// The plugins that are always on, in upstream's order.
pub fn builtin() -> Chain {
    vec![
        Box::new(namespace_lifecycle::NamespaceLifecycle),
        Box::new(service_account::ServiceAccount),
        Box::new(node_restriction::NodeRestriction),
        Box::new(priority::Priority),
        Box::new(rights::Rights),
        Box::new(default_tolerations::DefaultTolerationSeconds),
        Box::new(default_storage_class::DefaultStorageClass),
        Box::new(storage_in_use::StorageObjectInUseProtection),
    ]
}

/// Lets every plugin change the object.
pub async fn mutate(chain: &Chain, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
    for plugin in chain {
        plugin.mutate(review, object).await?;
    }
    Ok(())
}

/// Lets every plugin see the final object.
pub async fn validate(chain: &Chain, review: &Review<'_>, object: &Value) -> Result<(), ApiError> {
    for plugin in chain {
        plugin.validate(review, object).await?;
    }
    Ok(())
}
