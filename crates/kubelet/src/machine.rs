//! What all parts of one kubelet share: its configuration, its connections and its caches.

use std::sync::Arc;

use client::{EventRecorder, EventType, Informer};
use k8s_openapi::api::core::v1::{Node, Pod, Service};

use crate::cgroup::Tree;
use crate::config::{Config, Deps};
use crate::image::Pulls;
use crate::objects::Objects;
use crate::resources;
use crate::spec::Kind;
use crate::volume::token::Tokens;

/// Shared by all parts of one kubelet.
pub struct Machine {
    /// How it is set up.
    pub config: Config,
    /// Its connections.
    pub deps: Deps,
    /// Its events.
    pub events: EventRecorder,
    /// The runtime's name, for container identifiers.
    pub runtime_name: String,
    /// Whether cgroups are named in systemd's way.
    pub systemd_cgroups: bool,
    /// Where pods' cgroups are made; `None` leaves them to the runtime.
    pub cgroups: Option<Tree>,
    /// The node's memory in bytes.
    pub memory: i64,
    /// ConfigMaps and Secrets that pods refer to.
    pub objects: Objects,
    /// All services, for environment variables.
    pub services: Informer<Service>,
    /// The node's own object.
    pub node: Informer<Node>,
    /// Image pulls.
    pub pulls: Arc<Pulls>,
    /// Service account tokens.
    pub tokens: Tokens,
}

impl Machine {
    /// Records an event about a pod.
    pub fn event(&self, pod: &Pod, kind: EventType, reason: &str, message: impl Into<String>) {
        self.events.event(pod, kind, reason, message);
    }

    /// The pod's cgroup, empty when it is the runtime's business.
    pub fn cgroup_of(&self, pod: &Pod) -> String {
        if self.config.cgroup_root.is_empty() {
            return String::new();
        }
        resources::cgroup_parent(&self.config.cgroup_root, pod, self.systemd_cgroups)
    }

    /// Records an event about a container of a pod.
    pub fn container_event(&self, pod: &Pod, list: Kind, name: &str, kind: EventType, reason: &str, message: impl Into<String>) {
        self.events.event_at(pod, &list.field_path(name), kind, reason, message);
    }
}
