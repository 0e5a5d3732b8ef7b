//! Role-based access control, evaluated on compiled roles and bindings (upstream `plugin/pkg/auth/authorizer/rbac`).

pub mod aggregation;
mod compiled;
pub mod escalation;
pub mod rule;

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use self::compiled::{Compiled, Compiler};
use self::rule::Rule;
use super::objects::{Objects, keys};
use crate::identity::{Attributes, Decision, UserInfo};

/// What decides who may do what by roles.
pub struct Rbac {
    objects: Arc<dyn Objects>,
    compiled: ArcSwap<Compiled>,
    compiler: Mutex<Compiler>,
}

/// One rule that a user has, and why.
pub(crate) struct Granted<'a> {
    rule: &'a Rule,
    binding: &'a compiled::Binding,
    subject: usize,
}

impl Rbac {
    /// Nothing is compiled before the first question.
    pub fn new(objects: Arc<dyn Objects>) -> Self {
        Self { objects, compiled: ArcSwap::from_pointee(Compiled::default()), compiler: Mutex::default() }
    }

    /// The roles and bindings as they are now. They change rarely: usually this only compares four numbers.
    fn current(&self) -> Arc<Compiled> {
        let now = self.revisions();
        let known = self.compiled.load_full();
        if known.revisions == now {
            return known;
        }
        let mut compiler = self.compiler.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.compiled.load_full();
        // Read again under the lock: a slower thread must not put an older state back.
        let now = self.revisions();
        if known.revisions == now {
            return known;
        }
        let fresh = Arc::new(compiler.compile(self.objects.as_ref(), now));
        self.compiled.store(fresh.clone());
        fresh
    }

    fn revisions(&self) -> [u64; 4] {
        [keys::CLUSTER_ROLES, keys::ROLES, keys::CLUSTER_ROLE_BINDINGS, keys::ROLE_BINDINGS].map(|p| self.objects.newest(p))
    }

    /// Allowed if any rule of any role bound to the user covers the attributes.
    pub fn decide(&self, attributes: &Attributes) -> Decision {
        let compiled = self.current();
        let mut reason = None;
        let missing = compiled.visit(&attributes.user, &attributes.namespace, |granted| {
            let allows = granted.rule.allows(attributes);
            if allows {
                reason = Some(format!("RBAC: allowed by {}", granted.binding.describe(granted.subject)));
            }
            !allows
        });
        match reason {
            Some(reason) => Decision::Allow(reason),
            None => Decision::NoOpinion(missing_roles(&missing)),
        }
    }

    /// All rules that a user has in a namespace (or, with an empty namespace, in the whole cluster).
    pub fn rules_for(&self, user: &UserInfo, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        self.current().visit(user, namespace, |granted| {
            rules.push(granted.rule.clone());
            true
        });
        rules
    }

    /// The rules of the role that a binding in `namespace` refers to.
    pub(crate) fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Arc<[Rule]>> {
        self.current().role(kind, name, namespace).cloned()
    }
}

/// Bindings may name roles that do not exist; the refusal says so.
fn missing_roles(missing: &[String]) -> String {
    match missing {
        [] => String::new(),
        [one] => format!("RBAC: {one}"),
        many => format!("RBAC: [{}]", many.join(", ")),
    }
}

#[cfg(test)]
mod tests;
