//! Who may come in, and what each may do: the answers behind the seams of [`crate::identity`].
//!
//! Everything is read from the watch caches through [`Objects`]; nothing here waits for the store. Never here: what a
//! request means, which the pipeline has already worked out.

pub mod authentication;
pub mod bootstrap;
pub mod forbidden;
pub mod impersonation;
mod node;
pub mod objects;
pub mod rbac;
pub mod review;

use std::sync::Arc;

use api::ApiError;
use serde_json::Value;

pub use authentication::{Authentication, Settings};
pub use forbidden::forbidden;
pub use objects::{Objects, Stored};
pub use rbac::Rbac;

use crate::identity::{Attributes, Authorizer, Decision, UserInfo};

/// Members may do everything, also when no role says so: the way in when roles are broken.
pub const MASTERS: &str = "system:masters";
/// Everybody whose credentials were good.
pub const AUTHENTICATED: &str = "system:authenticated";
/// Everybody else.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The name of those who showed no credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// The user behind a request that showed no credentials.
pub fn anonymous() -> UserInfo {
    UserInfo::new(ANONYMOUS, &[UNAUTHENTICATED])
}

/// The authorizers in their order: masters, the node authorizer, RBAC.
pub struct Authorization {
    node: node::NodeAuthorizer,
    rbac: Arc<Rbac>,
}

impl Authorization {
    /// Decides by what the caches hold at the time of each question.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { node: node::NodeAuthorizer::new(objects.clone()), rbac: Arc::new(Rbac::new(objects)) }
    }

    /// The part that knows roles, for the checks against privilege escalation.
    pub fn rbac(&self) -> &Arc<Rbac> {
        &self.rbac
    }

    /// May this be done? The same as the trait's question, for callers that are not async.
    pub fn decide(&self, attributes: &Attributes) -> Decision {
        if attributes.user.groups.iter().any(|g| g == MASTERS) {
            return Decision::Allow(String::new());
        }
        let mut reasons = Vec::new();
        for decision in [self.node.decide(attributes), self.rbac.decide(attributes)] {
            match decision {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join("\n"))
    }
}

#[async_trait::async_trait]
impl Authorizer for Authorization {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        self.decide(attributes)
    }

    async fn rules(&self, user: &UserInfo, namespace: &str) -> Value {
        let incomplete = node::name_of(user).is_some().then_some("node authorizer does not support user rule resolution");
        review::rules_status(&self.rbac.rules_for(user, namespace), user, incomplete)
    }

    fn may_grant(&self, user: &UserInfo, kind: &str, namespace: &str, new: &Value, old: Option<&Value>) -> Result<(), ApiError> {
        rbac::escalation::check(self, user, kind, namespace, new, old)
    }
}
