//! Nobody may hand out rights that they do not hold.

use api::{ApiError, meta};
use serde_json::Value;

use super::{Operation, Plugin, Review};

/// Asks the authorizer about every role and binding that is written.
pub(super) struct Rights;

#[async_trait::async_trait]
impl Plugin for Rights {
    fn name(&self) -> &'static str {
        "RoleEscalation"
    }

    /// Before validation, as upstream: a forbidden role is 403 even when it is also malformed.
    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
        let call = review.call;
        if call.group() != "rbac.authorization.k8s.io" || !matches!(review.operation, Operation::Create | Operation::Update) {
            return Ok(());
        }
        let namespace = if call.info.namespace.is_empty() { meta::namespace(object) } else { &call.info.namespace };
        call.server.authorizer.may_grant(&call.user, &call.resource.descriptor.kind, namespace, object, review.old)
    }
}
