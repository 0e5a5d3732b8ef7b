//! Debian's containerd on a node, with runc and the CNI plugins: another runtime behind the CRI.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Signal;

use crate::node::{Node, Place};
use crate::process::{self, Process};

/// Where Debian keeps the plugins.
const PLUGINS: &str = "/usr/lib/cni";
/// How long it may take to end.
const END_MAX: Duration = Duration::from_secs(60);
/// Where the kubelet's containers live in containerd.
const NAMESPACE: &str = "k8s.io";

/// A containerd; it ends with the node, and this value only buries the process that started it.
pub struct Containerd {
    folder: PathBuf,
    starter: Option<Child>,
}

impl Containerd {
    /// Starts one whose networks come from what `ferry server` writes.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(node: &Node) -> anyhow::Result<Self> {
        anyhow::ensure!(Path::new(PLUGINS).join("ptp").is_file(), "no CNI plugins in {PLUGINS}; run: apt-get install containernetworking-plugins");
        let folder = node.folder().join("containerd");
        fs::create_dir_all(&folder)?;
        let mut containerd = Self { folder, starter: None };
        fs::write(containerd.folder.join("config.toml"), containerd.config(&node.data_dir().join("cni/net.d")))?;
        containerd.spawn(node)?;
        Ok(containerd)
    }

    fn config(&self, networks: &Path) -> String {
        let folder = self.folder.display();
        let networks = networks.display();
        // A test machine may lack the right to protect sandboxes from the kernel's out-of-memory killer.
        format!(
            "version = 2\nroot = \"{folder}/root\"\nstate = \"{folder}/state\"\n\
             [grpc]\n  address = \"{folder}/containerd.sock\"\n\
             [plugins.\"io.containerd.internal.v1.opt\"]\n  path = \"{folder}/opt\"\n\
             [plugins.\"io.containerd.grpc.v1.cri\"]\n  sandbox_image = \"ferry.test/pause:v1\"\n  restrict_oom_score_adj = true\n\
             [plugins.\"io.containerd.grpc.v1.cri\".cni]\n  bin_dir = \"{PLUGINS}\"\n  conf_dir = \"{networks}\"\n"
        )
    }

    fn spawn(&mut self, node: &Node) -> anyhow::Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.folder.join("log"))?;
        let mut command = node.command(Place::Node, "containerd");
        command.arg("--config").arg(self.folder.join("config.toml")).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        self.starter = Some(command.spawn().context("starting containerd")?);
        crate::eventually("containerd's answer", || {
            let answer = self.ctr(node, &["version"]);
            if answer.status.success() { Ok(()) } else { Err(format!("{answer}\n{}", self.log())) }
        });
        Ok(())
    }

    /// Ends it and starts it again; its containers go on meanwhile.
    ///
    /// # Errors
    /// If it cannot be started.
    ///
    /// # Panics
    /// If it does not end.
    pub fn restart(&mut self, node: &Node) -> anyhow::Result<()> {
        if let Some(mut starter) = self.starter.take() {
            let process = Process::now(starter.id()).and_then(Process::child).context("finding containerd")?;
            process.signal(Signal::TERM);
            assert!(process.wait(END_MAX), "containerd does not end:\n{}", self.log());
            starter.wait()?;
        }
        self.spawn(node)
    }

    /// For `ferry server --container-runtime-endpoint`.
    pub fn endpoint(&self) -> String {
        format!("unix://{}/containerd.sock", self.folder.display())
    }

    /// Its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Imports an archive.
    ///
    /// # Panics
    /// If that fails.
    pub fn import(&self, node: &Node, archive: &Path) {
        self.ctr(node, &["images", "import", &archive.to_string_lossy()]).ok();
    }

    /// The containers that it has, sandboxes among them.
    ///
    /// # Panics
    /// If it does not say.
    pub fn containers(&self, node: &Node) -> Vec<String> {
        self.ctr(node, &["containers", "list", "--quiet"]).ok().lines().map(str::to_owned).collect()
    }

    fn ctr(&self, node: &Node, args: &[&str]) -> process::Output {
        let mut command = node.command(Place::Node, "ctr");
        command.arg("--address").arg(self.folder.join("containerd.sock")).args(["--namespace", NAMESPACE]).args(args);
        process::run(&mut command, b"").unwrap()
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if let Some(mut starter) = self.starter.take() {
            // It ends by itself if the node is gone already.
            let _ = starter.kill();
            let _ = starter.wait();
        }
    }
}
