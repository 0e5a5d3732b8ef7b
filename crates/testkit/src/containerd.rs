//! Another runtime on a test node: Debian's containerd and runc, with nothing of theirs on the machine itself.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::node::{Node, Place};
use crate::process::Process;
use crate::wait::eventually;

/// On the node, whose /run is its own.
pub(crate) const SOCKET: &str = "/run/containerd/containerd.sock";
/// Where Debian keeps the standard CNI plugins.
const CNI_PLUGINS: &str = "/usr/lib/cni";
/// Where containerd keeps images that come through CRI.
const NAMESPACE: &str = "k8s.io";
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(60);

/// A running containerd; it ends with the node.
pub(crate) struct Containerd {
    child: Child,
}

impl Containerd {
    /// Starts it and waits until it answers.
    pub(crate) fn start(node: &Node) -> anyhow::Result<Self> {
        let folder = node.folder().join("containerd");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("config.toml"), configuration(&folder, &node.data_dir())).context("writing containerd's configuration")?;
        Self::spawn(node)
    }

    /// Ends it and starts it again; its containers go on meanwhile.
    pub(crate) fn restart(mut self, node: &Node) -> anyhow::Result<Self> {
        let process = Process::now(self.child.id()).and_then(Process::child).context("finding containerd")?;
        process.signal(Signal::TERM);
        anyhow::ensure!(process.wait(END_MAX), "containerd does not end");
        self.child.wait()?;
        Self::spawn(node)
    }

    fn spawn(node: &Node) -> anyhow::Result<Self> {
        let folder = node.folder().join("containerd");
        let log = OpenOptions::new().create(true).append(true).open(folder.join("log"))?;
        let mut command = node.command(Place::Node, "containerd");
        command.arg("--config").arg(folder.join("config.toml")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().context("starting containerd")?;
        eventually("containerd's first answer", || {
            let answer = node.run(Place::Node, &["ctr", "--address", SOCKET, "version"]);
            if answer.status.success() { Ok(()) } else { Err(answer.to_string()) }
        });
        Ok(Self { child })
    }

    /// The containers that it has, sandboxes among them.
    pub(crate) fn containers(node: &Node) -> Vec<String> {
        let listed = node.run(Place::Node, &["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "containers", "list", "--quiet"]).ok();
        listed.lines().map(str::to_owned).collect()
    }

    /// Imports an image archive.
    pub(crate) fn import(node: &Node, archive: &str) {
        node.run(Place::Node, &["ctr", "--address", SOCKET, "--namespace", NAMESPACE, "images", "import", archive]).ok();
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, data_dir: &Path) -> String {
    format!(
        r#"version = 2
root = "{folder}/root"
state = "/run/containerd/state"
[grpc]
address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "ferry.test/pause:v1"
# Test machines lack the right to protect a process from the kernel's memory killer.
restrict_oom_score_adj = true
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{data}/cni/net.d"
"#,
        folder = folder.display(),
        data = data_dir.display(),
    )
}
