//! Where things are below the data directory. One function per file, so that the layout is in one place.

use std::path::{Path, PathBuf};

/// The runtime's part of the data directory.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self { root: data_dir.to_owned() }
    }

    /// One folder per sandbox.
    pub(crate) fn sandboxes(&self) -> PathBuf {
        self.root.join("runtime/sandboxes")
    }

    pub(crate) fn sandbox(&self, id: &str) -> SandboxDir {
        SandboxDir(self.sandboxes().join(id))
    }

    /// One bind mount per network namespace, named by sandbox id.
    pub(crate) fn network_namespaces(&self) -> PathBuf {
        self.root.join("netns")
    }

    pub(crate) fn network_namespace(&self, id: &str) -> PathBuf {
        self.network_namespaces().join(id)
    }
}

/// A sandbox's folder.
#[derive(Clone, Debug)]
pub(crate) struct SandboxDir(pub(crate) PathBuf);

impl SandboxDir {
    /// The record of the sandbox: when it was made, its addresses, its state.
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("sandbox.json")
    }
    /// The sandbox's configuration as the kubelet gave it (protobuf).
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.pb")
    }
    /// What the shim reads at its start.
    pub(crate) fn shim_spec(&self) -> PathBuf {
        self.0.join("shim.json")
    }
    /// The shim's error output.
    pub(crate) fn shim_log(&self) -> PathBuf {
        self.0.join("shim.log")
    }
    /// The pod's shared memory, a tmpfs.
    pub(crate) fn shm(&self) -> PathBuf {
        self.0.join("shm")
    }
    pub(crate) fn resolv_conf(&self) -> PathBuf {
        self.0.join("resolv.conf")
    }
    pub(crate) fn hostname(&self) -> PathBuf {
        self.0.join("hostname")
    }
    pub(crate) fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }
    pub(crate) fn container(&self, id: &str) -> ContainerDir {
        ContainerDir(self.containers().join(id))
    }
}

/// The shim's socket, inside the sandbox's folder.
pub(crate) const SHIM_SOCKET: &str = "shim.sock";

/// A container's folder.
#[derive(Clone, Debug)]
pub(crate) struct ContainerDir(pub(crate) PathBuf);

impl ContainerDir {
    /// The record of the container: when it was made, of which image.
    pub(crate) fn record(&self) -> PathBuf {
        self.0.join("container.json")
    }
    /// The container's configuration as the kubelet gave it (protobuf).
    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config.pb")
    }
    /// What the shim reads to start it.
    pub(crate) fn spec(&self) -> PathBuf {
        self.0.join("spec.json")
    }
    /// The seccomp filter, as the kernel takes it.
    pub(crate) fn seccomp(&self) -> PathBuf {
        self.0.join("seccomp.bpf")
    }
    /// Written by the shim when the process runs.
    pub(crate) fn started(&self) -> PathBuf {
        self.0.join("started.json")
    }
    /// Written by the shim when the process has ended.
    pub(crate) fn exited(&self) -> PathBuf {
        self.0.join("exited.json")
    }
    /// Where the root filesystem is put together, in the container's own mount namespace only.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.0.join("rootfs")
    }
    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }
    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }
    /// Scratch mount points for image volumes.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.0.join("scratch")
    }
}
