//! What an emptying pass found, and the conditions that say so.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition, NamespaceStatus};
use k8s_openapi::jiff::Timestamp;

use crate::context::time;

/// The finalizer in `spec.finalizers` that this controller takes away.
pub const FINALIZER: &str = "kubernetes";

/// What is left of a namespace after one pass.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// Why resources could not be discovered.
    pub discovery_errors: Vec<String>,
    /// Why content could not be deleted.
    pub delete_errors: Vec<String>,
    /// Objects left by `resource.group`.
    pub remaining: BTreeMap<String, usize>,
    /// Objects left by finalizer.
    pub finalizers: BTreeMap<String, usize>,
}

impl Found {
    /// Whether the namespace may go.
    pub fn is_empty(&self) -> bool {
        self.discovery_errors.is_empty() && self.delete_errors.is_empty() && self.remaining.values().all(|n| *n == 0)
    }
}

/// Type, and the reason and message when all is well.
const TYPES: [(&str, &str, &str); 5] = [
    ("NamespaceDeletionDiscoveryFailure", "ResourcesDiscovered", "All resources successfully discovered"),
    ("NamespaceDeletionGroupVersionParsingFailure", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
    ("NamespaceDeletionContentFailure", "ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
    ("NamespaceContentRemaining", "ContentRemoved", "All content successfully removed"),
    ("NamespaceFinalizersRemaining", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
];

/// The status to write, or `None` if it says all this already.
pub fn status(namespace: &Namespace, found: &Found, now: Timestamp) -> Option<NamespaceStatus> {
    let old = namespace.status.clone().unwrap_or_default();
    let mut conditions = old.conditions.clone().unwrap_or_default();
    for (type_, ok_reason, ok_message) in TYPES {
        let (status, reason, message) = match trouble(type_, found) {
            Some((reason, message)) => ("True", reason, message),
            None => ("False", ok_reason, ok_message.to_owned()),
        };
        let new = NamespaceCondition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: Some(time(now)),
        };
        match conditions.iter_mut().find(|c| c.type_ == type_) {
            Some(c) if c.status == new.status && c.reason == new.reason && c.message == new.message => {}
            Some(c) if c.status == new.status => {
                *c = NamespaceCondition { last_transition_time: c.last_transition_time.clone(), ..new };
            }
            Some(c) => *c = new,
            None => conditions.push(new),
        }
    }
    let new = NamespaceStatus { phase: Some("Terminating".to_owned()), conditions: Some(conditions) };
    (new != old).then_some(new)
}

fn trouble(type_: &str, found: &Found) -> Option<(&'static str, String)> {
    let listed = |of: &BTreeMap<String, usize>, verb: &str| -> Vec<String> {
        of.iter().filter(|(_, n)| **n > 0).map(|(name, n)| format!("{name} {verb} {n} resource instances")).collect()
    };
    match type_ {
        "NamespaceDeletionDiscoveryFailure" if !found.discovery_errors.is_empty() => {
            Some(("DiscoveryFailed", found.discovery_errors.join(", ")))
        }
        "NamespaceDeletionContentFailure" if !found.delete_errors.is_empty() => {
            let (count, all) = (found.delete_errors.len(), found.delete_errors.join(", "));
            Some(("ContentDeletionFailed", format!("Failed to delete all resource types, {count} remaining: {all}")))
        }
        "NamespaceContentRemaining" => {
            let list = listed(&found.remaining, "has");
            (!list.is_empty()).then(|| ("SomeResourcesRemain", format!("Some resources are remaining: {}", list.join(", "))))
        }
        "NamespaceFinalizersRemaining" => {
            let list = listed(&found.finalizers, "in");
            let message = || format!("Some content in the namespace has finalizers remaining: {}", list.join(", "));
            (!list.is_empty()).then(|| ("SomeFinalizersRemain", message()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::at;

    #[test]
    fn conditions_tell_what_remains_and_settle() {
        let mut namespace = Namespace::default();
        let found = Found {
            remaining: BTreeMap::from([("pods.".into(), 2), ("configmaps.".into(), 0)]),
            finalizers: BTreeMap::from([("e2e/keep".into(), 1)]),
            ..Default::default()
        };
        assert!(!found.is_empty());
        let status = super::status(&namespace, &found, at(5)).unwrap();
        let told: Vec<_> = status.conditions.iter().flatten().filter(|c| c.status == "True").collect();
        assert_eq!(told[0].message.as_deref(), Some("Some resources are remaining: pods. has 2 resource instances"));
        assert_eq!(
            told[1].message.as_deref(),
            Some("Some content in the namespace has finalizers remaining: e2e/keep in 1 resource instances")
        );
        namespace.status = Some(status);
        assert_eq!(super::status(&namespace, &found, at(9)), None);
        let after = super::status(&namespace, &Found::default(), at(9)).unwrap();
        assert!(after.conditions.unwrap().iter().all(|c| c.status == "False"));
    }
}
