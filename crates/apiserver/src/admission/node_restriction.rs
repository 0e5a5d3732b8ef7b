//! NodeRestriction: a kubelet changes only its own node and the pods bound to it.

use api::{ApiError, meta};
use serde_json::Value;

use super::{Operation, Plugin, Review};

const NODE_USER: &str = "system:node:";
const NODES_GROUP: &str = "system:nodes";
const MIRROR: &str = "kubernetes.io/config.mirror";

pub(super) struct NodeRestriction;

#[async_trait::async_trait]
impl Plugin for NodeRestriction {
    fn name(&self) -> &'static str {
        "NodeRestriction"
    }

    async fn mutate(&self, review: &Review<'_>, object: &mut Value) -> Result<(), ApiError> {
        let user = &review.call.user;
        if !user.groups.iter().any(|g| g == NODES_GROUP) {
            return Ok(());
        }
        let Some(node) = user.name.strip_prefix(NODE_USER) else { return Ok(()) };
        match (review.call.group(), review.call.plural()) {
            ("", "nodes") => own_node(review, object, node),
            ("", "pods") => own_pod(review, object, node),
            ("coordination.k8s.io", "leases") => own_lease(review, object, node),
            ("storage.k8s.io", "csinodes") => own_name(review, object, node, "CSINode"),
            _ => Ok(()),
        }
    }
}

/// The name of what the request is about, also when it is being created.
fn name<'a>(review: &'a Review<'_>, object: &'a Value) -> &'a str {
    let named = review.call.info.name.as_str();
    if named.is_empty() { meta::name(object) } else { named }
}

fn own_node(review: &Review<'_>, object: &Value, node: &str) -> Result<(), ApiError> {
    let about = name(review, object);
    if about != node {
        return Err(review.forbid(about, &format!("node {node:?} is not allowed to modify node {about:?}")));
    }
    if review.operation == Operation::Update {
        let taints = |o: &Value| o.pointer("/spec/taints").cloned();
        if review.old.is_some_and(|old| taints(old) != taints(object)) && review.call.info.subresource.is_empty() {
            return Err(review.forbid(about, &format!("node {node:?} is not allowed to modify taints")));
        }
    }
    Ok(())
}

fn own_name(review: &Review<'_>, object: &Value, node: &str, kind: &str) -> Result<(), ApiError> {
    let about = name(review, object);
    if about == node {
        return Ok(());
    }
    Err(review.forbid(about, &format!("can only access {kind} with the same name as the requesting node")))
}

fn own_lease(review: &Review<'_>, object: &Value, node: &str) -> Result<(), ApiError> {
    if review.call.info.namespace != "kube-node-lease" {
        let why = format!("can only access leases in the {:?} system namespace", "kube-node-lease");
        return Err(review.forbid(name(review, object), &why));
    }
    own_name(review, object, node, "node lease")
}

fn own_pod(review: &Review<'_>, object: &Value, node: &str) -> Result<(), ApiError> {
    let about = name(review, object);
    let bound = |pod: &Value| pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node);
    match (review.operation, review.call.info.subresource.as_str()) {
        (Operation::Create, "") if meta::annotation(object, MIRROR).is_none() => {
            let why = format!("pod does not have {MIRROR:?} annotation, node {node:?} can only create mirror pods");
            Err(review.forbid(about, &why))
        }
        (Operation::Create, "") if !bound(object) => {
            Err(review.forbid(about, &format!("node {node:?} can only create pods with spec.nodeName set to itself")))
        }
        (Operation::Delete, "") if !review.old.is_some_and(bound) => {
            Err(review.forbid(about, &format!("node {node:?} can only delete pods with spec.nodeName set to itself")))
        }
        (Operation::Update, "status") if !review.old.is_some_and(bound) => {
            let why = format!("node {node:?} can only update pod status for pods with spec.nodeName set to itself");
            Err(review.forbid(about, &why))
        }
        (Operation::Update, "") => {
            Err(review.forbid(about, &format!("unexpected operation UPDATE, node {node:?} can only create and delete mirror pods")))
        }
        _ => Ok(()),
    }
}
