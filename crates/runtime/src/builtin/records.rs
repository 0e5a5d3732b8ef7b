//! What is kept on disk of sandboxes and containers, beside the configurations that the kubelet gave.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// `sandbox.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SandboxRecord {
    /// Nanoseconds since the epoch.
    pub(super) created_at: i64,
    pub(super) phase: SandboxPhase,
    pub(super) addresses: Vec<IpAddr>,
    /// What `hostname` answers in the pod.
    pub(super) hostname: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum SandboxPhase {
    /// Being made; one that is found so at a start was cut off and is taken away.
    Starting,
    Ready,
    Stopped,
}

/// `container.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ContainerRecord {
    pub(super) sandbox: String,
    /// Nanoseconds since the epoch.
    pub(super) created_at: i64,
    pub(super) image_id: String,
    pub(super) image_reference: String,
    /// The cgroup's path in every hierarchy.
    pub(super) cgroup: String,
    pub(super) stop_signal: i32,
}
