//! What is special about a kind on its way into the store: one file per kind that is special at all.
//!
//! Everything here is pure: it sees one object, or the new and the old one. What needs the cluster's state is admission.

mod autoscaler;
mod certificates;
mod cluster;
mod event;
mod generic;
mod namespace;
mod networking;
mod node;
mod pod;
mod service;
mod storage_kinds;
mod workload;

use std::time::Duration;

use api::meta::Gvk;
use serde_json::Value;

use crate::identity::UserInfo;
use crate::request::options::Propagation;

pub use generic::{Generic, bump_generation, keep_old, keep_status_only};
pub(crate) use service::{has_cluster_ips, has_node_ports};

/// How long an object may take to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// The kind knows no grace.
    None,
    /// So many seconds.
    Seconds(i64),
}

/// What a PUT to a name that does not exist does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upsert {
    /// 404.
    Refused,
    /// It creates.
    Creates,
}

/// What an update without a resourceVersion does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconditional {
    /// It replaces whatever is there.
    Allowed,
    /// 422.
    Refused,
}

/// What is special about a kind. The defaults are Kubernetes' generic behaviour.
pub trait Strategy: Send + Sync {
    /// What a PUT to a name that does not exist does.
    fn upsert(&self) -> Upsert {
        Upsert::Refused
    }

    /// What an update without a resourceVersion does.
    fn unconditional(&self) -> Unconditional {
        Unconditional::Allowed
    }

    /// A deletion answers with the object instead of a `Status`.
    fn returns_deleted(&self) -> bool {
        false
    }

    /// Resets what a creator may not set.
    fn prepare_create(&self, object: &mut Value) {
        generic::drop_status(object);
    }

    /// Writes into a new object who asked for it.
    fn note_requester(&self, object: &mut Value, user: &UserInfo) {
        let _ = (object, user);
    }

    /// Resets what an update of the main resource may not change, and counts the generation.
    fn prepare_update(&self, new: &mut Value, old: &Value) {
        keep_old(new, old, "status");
    }

    /// Resets what an update of the subresource (`status`, `resize`, …) may not change.
    fn prepare_subresource(&self, subresource: &str, new: &mut Value, old: &Value) {
        let _ = subresource;
        keep_status_only(new, old);
    }

    /// How long the object may take to go when a client asks with this grace period.
    fn grace(&self, object: &Value, asked: Option<i64>) -> Grace {
        let _ = (object, asked);
        Grace::None
    }

    /// What happens to dependents when nobody says.
    fn default_propagation(&self) -> Propagation {
        Propagation::Background
    }

    /// How long the store keeps the object.
    fn time_to_live(&self, object: &Value) -> Option<Duration> {
        let _ = object;
        None
    }

    /// Sentences for `Warning` headers.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let _ = (new, old);
        Vec::new()
    }

    /// The object in the kind's other version.
    fn convert(&self, object: Value, to: &Gvk) -> Value {
        generic::relabel(object, to)
    }

    /// An object that is being deleted may go now, once its finalizers are gone.
    fn may_go(&self, object: &Value) -> bool {
        let _ = object;
        true
    }
}

/// The strategy of a resource.
pub fn of(group: &str, plural: &str) -> &'static dyn Strategy {
    workload::of(group, plural)
        .or_else(|| networking::of(group, plural))
        .or_else(|| storage_kinds::of(group, plural))
        .or_else(|| cluster::of(group, plural))
        .unwrap_or(match (group, plural) {
            ("", "pods") => &pod::Pods,
            ("", "services") => &service::Services,
            ("", "namespaces") => &namespace::Namespaces,
            ("", "nodes") => &node::Nodes,
            ("autoscaling", "horizontalpodautoscalers") => &autoscaler::Autoscalers,
            ("certificates.k8s.io", "certificatesigningrequests") => &certificates::Requests,
            ("" | "events.k8s.io", "events") => &event::Events,
            _ => &Generic::PLAIN,
        })
}
