//! What a kubelet may do: its own objects, and what the pods on its node refer to (upstream `plugin/pkg/auth/authorizer/node`).

mod references;

use std::sync::Arc;

use self::references::References;
use super::bootstrap;
use super::objects::Objects;
use super::rbac::rule::Rule;
use crate::identity::{Attributes, Decision, UserInfo};

const NODES_GROUP: &str = "system:nodes";
const NODE_PREFIX: &str = "system:node:";
/// Where nodes keep their leases.
const LEASES: &str = "kube-node-lease";

/// The node that a user is, if it is one. The name is empty for a member of the group whose user name is none of a node.
pub(super) fn name_of(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix(NODE_PREFIX)?;
    user.groups.iter().any(|g| g == NODES_GROUP).then_some(name)
}

/// Decides for kubelets; has no opinion on anybody else.
pub(super) struct NodeAuthorizer {
    references: References,
    /// What every kubelet may do to resources that are not divided by node.
    rules: Vec<Rule>,
}

impl NodeAuthorizer {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        Self { references: References::new(objects), rules: bootstrap::node_rules() }
    }

    pub(super) fn decide(&self, a: &Attributes) -> Decision {
        let Some(node) = name_of(&a.user) else { return no("") };
        if node.is_empty() {
            return no(&format!("unknown node for user {:?}", a.user.name));
        }
        match (a.group.as_str(), a.resource.as_str()) {
            ("", "secrets" | "configmaps") => self.read(node, a),
            ("", "persistentvolumeclaims") if a.subresource == "status" => match a.verb.as_str() {
                "update" | "patch" => self.related(node, a),
                _ => no("can only get/update/patch this type"),
            },
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => self.get(node, a),
            ("", "serviceaccounts") => self.service_account(node, a),
            ("coordination.k8s.io", "leases") => lease(node, a),
            ("storage.k8s.io", "csinodes") => csi_node(node, a),
            ("resource.k8s.io", "resourceslices") => self.resource_slice(node, a),
            ("", "nodes") => own_node(node, a),
            ("", "pods") => self.pod(node, a),
            _ if self.rules.iter().any(|r| r.allows(a)) => yes(),
            _ => no(""),
        }
    }

    fn related(&self, node: &str, a: &Attributes) -> Decision {
        if a.name.is_empty() {
            return no("No Object name found");
        }
        if self.references.related(node, &a.resource, &a.namespace, &a.name) {
            return yes();
        }
        no(&format!("no relationship found between node '{node}' and this object"))
    }

    fn get(&self, node: &str, a: &Attributes) -> Decision {
        if a.verb != "get" {
            return no("can only get individual resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot get subresource");
        }
        self.related(node, a)
    }

    fn read(&self, node: &str, a: &Attributes) -> Decision {
        if !matches!(a.verb.as_str(), "get" | "list" | "watch") {
            return no("can only read resources of this type");
        }
        if !a.subresource.is_empty() {
            return no("cannot read subresource");
        }
        if a.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(node, a)
    }

    fn service_account(&self, node: &str, a: &Attributes) -> Decision {
        if a.verb == "get" && a.subresource.is_empty() {
            return self.read(node, a);
        }
        if a.verb != "create" || a.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if a.subresource != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(node, a)
    }

    fn resource_slice(&self, node: &str, a: &Attributes) -> Decision {
        if !a.subresource.is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match a.verb.as_str() {
            "create" => yes(),
            "get" | "update" | "patch" | "delete" => self.related(node, a),
            "watch" | "list" | "deletecollection" if selects(a, "spec.nodeName", node) => yes(),
            "watch" | "list" | "deletecollection" => no("can only list/watch/deletecollection resourceslices with nodeName field selector"),
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn pod(&self, node: &str, a: &Attributes) -> Decision {
        match (a.subresource.as_str(), a.verb.as_str()) {
            ("", "get") => self.related(node, a),
            ("", "list" | "watch") if selects(a, "spec.nodeName", node) => yes(),
            ("", "list" | "watch") if !a.name.is_empty() => self.related(node, a),
            ("", "list" | "watch") => no("can only list/watch pods with spec.nodeName field selector"),
            // Which pods, the node restriction in admission decides: it sees the objects.
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => yes(),
            _ => no(""),
        }
    }
}

fn yes() -> Decision {
    Decision::Allow(String::new())
}

fn no(reason: &str) -> Decision {
    Decision::NoOpinion(reason.to_owned())
}

fn selects(a: &Attributes, field: &str, value: &str) -> bool {
    a.field_equals.get(field).is_some_and(|v| v == value)
}

fn lease(node: &str, a: &Attributes) -> Decision {
    match a.verb.as_str() {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a node lease"),
    }
    if a.namespace != LEASES {
        return no(&format!("can only access leases in the {LEASES:?} system namespace"));
    }
    // The name of a lease to be created is not known here; admission checks it.
    if a.verb != "create" && a.name != node {
        return no("can only access node lease with the same name as the requesting node");
    }
    yes()
}

fn csi_node(node: &str, a: &Attributes) -> Decision {
    match a.verb.as_str() {
        "get" | "create" | "update" | "patch" | "delete" => {}
        _ => return no("can only get, create, update, patch, or delete a CSINode"),
    }
    if !a.subresource.is_empty() {
        return no("cannot authorize CSINode subresources");
    }
    if a.verb != "create" && a.name != node {
        return no("can only access CSINode with the same name as the requesting node");
    }
    yes()
}

fn own_node(node: &str, a: &Attributes) -> Decision {
    match (a.subresource.as_str(), a.verb.as_str()) {
        // Which node, the node restriction in admission decides.
        ("", "create" | "update" | "patch") | ("status", "update" | "patch") => yes(),
        ("", "get" | "list" | "watch") => match a.name.as_str() {
            "" => no(&format!("node '{node}' cannot read all nodes, only its own Node object")),
            name if name == node => yes(),
            name => no(&format!("node '{node}' cannot read '{name}', only its own Node object")),
        },
        _ => no(""),
    }
}

#[cfg(test)]
mod tests;
