//! What the daemon tells the shim about a sandbox and a container: complete, resolved, and free of CRI words.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

mod caps;
mod mounts;
mod plan;

pub(crate) use caps::bit as capability;
pub(crate) use plan::{ContainerInput, View, container};

/// Everything the shim needs to set up a sandbox: the content of `shim.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SandboxSpec {
    pub(crate) id: String,
    pub(crate) hostname: String,
    /// Where to pin a fresh network namespace; `None` on the host's network.
    pub(crate) network: Option<PathBuf>,
    pub(crate) ipc: Isolation,
    /// `Own`: one PID namespace for the whole pod.
    pub(crate) shared_pid: bool,
    /// `name.with.dots` → value, for the sandbox's own namespaces.
    pub(crate) sysctls: Vec<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Isolation {
    Own,
    Host,
}

/// Everything the shim needs to start a container and to run commands in it: the content of `spec.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContainerSpec {
    pub(crate) id: String,
    pub(crate) args: Vec<String>,
    /// Each `NAME=value`; a `HOME` is added from /etc/passwd when there is none.
    pub(crate) env: Vec<String>,
    pub(crate) cwd: String,
    pub(crate) terminal: bool,
    pub(crate) stdin: Stdin,
    /// The log file, or none.
    pub(crate) log: Option<PathBuf>,
    /// Lowest first.
    pub(crate) layers: Vec<PathBuf>,
    pub(crate) root_read_only: bool,
    /// In order.
    pub(crate) mounts: Vec<MountSpec>,
    pub(crate) masked: Vec<String>,
    pub(crate) read_only: Vec<String>,
    pub(crate) pid: PidMode,
    /// Device nodes beside the usual ones.
    pub(crate) devices: Vec<DeviceNode>,
    /// The container's cgroup folders in the v1 hierarchies.
    pub(crate) cgroups: Vec<PathBuf>,
    /// And in the v2 tree.
    pub(crate) unified: Option<PathBuf>,
    pub(crate) user: UserSpec,
    pub(crate) capabilities: Capabilities,
    pub(crate) no_new_privs: bool,
    /// The folder's filter file is to be applied.
    pub(crate) seccomp: bool,
    pub(crate) oom_score_adj: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stdin {
    /// Reads end of file at once.
    Closed,
    /// Stays open between attaches.
    Open,
    /// Closes when the first attach ends.
    Once,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum PidMode {
    Own,
    /// The sandbox's shared namespace.
    Sandbox,
    Host,
    /// That of another container of the sandbox.
    Target(String),
}

/// One device node in /dev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DeviceNode {
    pub(crate) path: PathBuf,
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Permission bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DeviceKind {
    Character,
    Block,
}

/// Who the process is to be; resolved in the image's own files by the shim.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UserSpec {
    /// `name`, `number`, or either with `:group`; empty means root.
    pub(crate) user: String,
    /// Overrides the primary group.
    pub(crate) group: Option<u32>,
    pub(crate) supplemental: Vec<u32>,
    /// Groups of the user in the image's /etc/group are not added (`supplementalGroupsPolicy: Strict`).
    pub(crate) strict: bool,
}

/// Capability sets as bit masks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Capabilities {
    pub(crate) bounding: u64,
    pub(crate) ambient: u64,
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountSpec {
    /// The absolute path in the container.
    pub(crate) target: String,
    pub(crate) source: MountSource,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountSource {
    Bind {
        path: PathBuf,
        access: Access,
        propagation: Propagation,
    },
    /// Unpacked image layers, lowest first, read-only, from `sub_path` on.
    Image {
        layers: Vec<PathBuf>,
        sub_path: String,
    },
    Proc,
    Sysfs {
        access: Access,
    },
    Tmpfs {
        options: String,
    },
    /// /dev with the usual nodes, and `devices`.
    Dev,
    Devpts,
    Mqueue,
    /// cgroup v1: name of the folder → controllers, and the v2 tree if there is one.
    CgroupV1 {
        hierarchies: Vec<String>,
        access: Access,
    },
    CgroupV2 {
        access: Access,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Access {
    ReadWrite,
    ReadOnly,
    /// Read-only with all mounts below.
    RecursiveReadOnly,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Propagation {
    Private,
    FromHost,
    Both,
}
