//! What the runtime has of one pod, as the kubelet's decisions see it.

use cri::v1;

use crate::labels;

/// The state of a container in the runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Made but not started.
    Created,
    /// Running.
    Running,
    /// Ended.
    Exited,
    /// The runtime cannot tell.
    Unknown,
}

impl RunState {
    /// The word in messages.
    pub fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Exited => "exited",
            Self::Unknown => "unknown",
        }
    }
}

/// A container in the runtime. Times are nanoseconds since the epoch; 0 means never.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The runtime's identifier.
    pub id: String,
    /// The name in the pod.
    pub name: String,
    /// Its state.
    pub state: RunState,
    /// When it was made.
    pub created_at: i64,
    /// When it was started.
    pub started_at: i64,
    /// When it ended.
    pub finished_at: i64,
    /// How it ended.
    pub exit_code: i32,
    /// Why, in a word.
    pub reason: String,
    /// Why, in a sentence.
    pub message: String,
    /// The image as the specification named it.
    pub image: String,
    /// The image as the runtime names it.
    pub image_ref: String,
    /// The kubelet's annotations.
    pub noted: labels::Noted,
    /// Where its log is.
    pub log_path: String,
    /// What is mounted into it.
    pub mounts: Vec<v1::Mount>,
    /// Limits in force.
    pub resources: Option<v1::LinuxContainerResources>,
    /// Who it runs as.
    pub user: Option<v1::LinuxContainerUser>,
}

/// A sandbox in the runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// The runtime's identifier.
    pub id: String,
    /// Whether it works.
    pub ready: bool,
    /// How many there were before it.
    pub attempt: u32,
    /// When it was made, in nanoseconds since the epoch.
    pub created_at: i64,
    /// Its addresses; empty in the node's network.
    pub ips: Vec<String>,
}

/// All of one pod, newest first.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The sandboxes.
    pub sandboxes: Vec<Sandbox>,
    /// The containers.
    pub containers: Vec<Seen>,
}

/// Whether a sandbox must be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxNeed {
    /// The sandbox with this identifier works.
    Keep(String),
    /// A new one, with this attempt number; the old one, if any, goes.
    Create {
        /// The new one's number.
        attempt: u32,
    },
}

impl View {
    /// The newest container of a name.
    pub fn latest(&self, name: &str) -> Option<&Seen> {
        self.containers.iter().find(|c| c.name == name)
    }

    /// A container by identifier.
    pub fn by_id(&self, id: &str) -> Option<&Seen> {
        self.containers.iter().find(|c| c.id == id)
    }

    /// The containers that run, or may run.
    pub fn running(&self) -> impl Iterator<Item = &Seen> {
        self.containers.iter().filter(|c| matches!(c.state, RunState::Running | RunState::Unknown))
    }

    /// The working sandbox.
    pub fn ready_sandbox(&self) -> Option<&Sandbox> {
        self.sandboxes.first().filter(|s| s.ready)
    }

    /// The addresses of the working sandbox.
    pub fn ips(&self) -> Vec<String> {
        self.ready_sandbox().map(|s| s.ips.clone()).unwrap_or_default()
    }

    /// Whether the pod has a working sandbox: exactly one is ready, it is the newest, and it has an address unless it uses
    /// the node's network.
    pub fn sandbox_need(&self, host_network: bool) -> SandboxNeed {
        let Some(newest) = self.sandboxes.first() else { return SandboxNeed::Create { attempt: 0 } };
        let ready = self.sandboxes.iter().filter(|s| s.ready).count();
        if ready > 1 || !newest.ready || (!host_network && newest.ips.is_empty()) {
            return SandboxNeed::Create { attempt: newest.attempt.saturating_add(1) };
        }
        SandboxNeed::Keep(newest.id.clone())
    }
}

impl From<v1::ContainerStatus> for Seen {
    fn from(status: v1::ContainerStatus) -> Self {
        let state = match status.state() {
            v1::ContainerState::ContainerCreated => RunState::Created,
            v1::ContainerState::ContainerRunning => RunState::Running,
            v1::ContainerState::ContainerExited => RunState::Exited,
            v1::ContainerState::ContainerUnknown => RunState::Unknown,
        };
        let from_metadata = || status.metadata.as_ref().map(|m| m.name.clone()).unwrap_or_default();
        let name = status.labels.get(labels::CONTAINER_NAME).cloned().unwrap_or_else(from_metadata);
        let image = status.image.map(|i| if i.user_specified_image.is_empty() { i.image } else { i.user_specified_image });
        let exited = state == RunState::Exited;
        Self {
            id: status.id,
            name,
            state,
            created_at: status.created_at,
            started_at: if state == RunState::Created { 0 } else { status.started_at },
            finished_at: if exited { status.finished_at } else { 0 },
            exit_code: if exited { status.exit_code } else { 0 },
            reason: if exited { status.reason } else { String::new() },
            message: if exited { status.message } else { String::new() },
            image: image.unwrap_or_default(),
            image_ref: status.image_ref,
            noted: labels::read(&status.annotations),
            log_path: status.log_path,
            mounts: status.mounts,
            resources: status.resources.and_then(|r| r.linux),
            user: status.user.and_then(|u| u.linux),
        }
    }
}

impl From<v1::PodSandboxStatus> for Sandbox {
    fn from(status: v1::PodSandboxStatus) -> Self {
        let ready = status.state() == v1::PodSandboxState::SandboxReady;
        let network = status.network.unwrap_or_default();
        let first = Some(network.ip).filter(|ip| !ip.is_empty());
        Self {
            id: status.id,
            ready,
            attempt: status.metadata.map(|m| m.attempt).unwrap_or_default(),
            created_at: status.created_at,
            ips: first.into_iter().chain(network.additional_ips.into_iter().map(|ip| ip.ip)).collect(),
        }
    }
}
