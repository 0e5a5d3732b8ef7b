//! A one-node cluster for one test, with the real kubectl and helm.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::containerd::{self, Containerd};
use crate::http::{Connection, Response};
use crate::https::{Access, Api, Identity};
use crate::image::Image;
use crate::node::{NODE_IP, Node, Place};
use crate::peers::{self, Kubectl};
use crate::process::{self, Output};
use crate::wait::{eventually, eventually_within};

/// The image that every test cluster has: busybox with all its applets.
pub const BUSYBOX: &str = "ferry.test/busybox:1";
/// The sample's image, made by `ferry sample image`.
pub const SAMPLE: &str = "ferry.test/sample:v1";
/// How long a node may take until it is ready, on a machine that is busy compiling.
const START_MAX: Duration = Duration::from_secs(180);
/// How long an answer of an application may take.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How much of the server's log a failed test shows.
const LOG_SHOWN_LINES: usize = 60;
const LINE_SHOWN_CHARS: usize = 400;

/// What runs containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    BuiltIn,
    /// Debian's, by CRI.
    Containerd,
}

/// How a cluster differs from the usual.
#[derive(Clone, Debug)]
pub struct Options {
    /// Further flags of `ferry server`.
    pub flags: Vec<String>,
    pub kubectl: Kubectl,
    pub runtime: Runtime,
    /// Whether the node is waited for and given images; without it only the API server is.
    pub node: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { flags: Vec::new(), kubectl: Kubectl::V1_35, runtime: Runtime::BuiltIn, node: true }
    }
}

/// A running cluster; it vanishes with the value.
pub struct Cluster {
    pub node: Node,
    options: Options,
    containerd: Option<Containerd>,
}

impl Cluster {
    /// Starts a cluster with one node that is ready and has the image [`BUSYBOX`].
    ///
    /// # Panics
    /// If it does not come up; the message shows the server's log.
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// As [`Cluster::start`], with options.
    ///
    /// # Panics
    /// As for [`Cluster::start`].
    pub fn start_with(options: Options) -> Self {
        Self::start_on(Node::create().unwrap(), options)
    }

    /// As [`Cluster::start`], on a machine that was prepared.
    ///
    /// # Panics
    /// As for [`Cluster::start`].
    pub fn start_on(node: Node, mut options: Options) -> Self {
        let containerd = match options.runtime {
            Runtime::BuiltIn => None,
            Runtime::Containerd => {
                options.flags.push(format!("--container-runtime-endpoint=unix://{}", containerd::SOCKET));
                Some(Containerd::start(&node).unwrap())
            }
        };
        let mut cluster = Self { node, options, containerd };
        if cluster.options.runtime == Runtime::Containerd {
            let archive = cluster.node.folder().join("pause.tar").to_string_lossy().into_owned();
            cluster.ferry(&["image", "pause", &archive]).ok();
            cluster.import_archive(&archive);
        }
        cluster.restart_server();
        if cluster.options.node {
            cluster.import(&Image::busybox(BUSYBOX).unwrap());
        }
        cluster
    }

    /// Starts the server, again or for the first time, and waits until its API answers and its node is ready.
    ///
    /// # Panics
    /// As for [`Cluster::start`].
    pub fn restart_server(&mut self) {
        let flags = self.options.flags.clone();
        self.node.start_server(&flags).unwrap();
        eventually_within(START_MAX, "the API server's readiness", || {
            assert!(self.node.server().is_some(), "ferry server ended; its log says:\n{}", self.node.log());
            let ready = if self.kubeconfig().exists() { Some(self.kubectl(&["get", "--raw", "/readyz"])) } else { None };
            match ready {
                Some(ready) if ready.status.success() => Ok(()),
                Some(ready) => Err(ready.to_string()),
                None => Err("no kubeconfig".to_owned()),
            }
        });
        if self.options.node {
            let name = self.node.name().to_owned();
            eventually_within(START_MAX, "the node's readiness", || {
                let condition = r#"jsonpath={.status.conditions[?(@.type=="Ready")].status}"#;
                let output = self.kubectl(&["get", "node", &name, "-o", condition]);
                if output.stdout == "True" { Ok(()) } else { Err(format!("{output}\n--- log\n{}", self.log_end())) }
            });
        }
    }

    /// Ends containerd and starts it again, if the cluster runs on it.
    ///
    /// # Panics
    /// If it does not end or does not come up.
    pub fn restart_containerd(&mut self) {
        self.containerd = self.containerd.take().map(|c| c.restart(&self.node).unwrap());
    }

    /// The containers that containerd has, sandboxes among them.
    ///
    /// # Panics
    /// If it does not say.
    pub fn containerd_containers(&self) -> Vec<String> {
        Containerd::containers(&self.node)
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.node.data_dir().join("kubeconfig")
    }

    /// Imports an image into the node.
    ///
    /// # Panics
    /// If that fails.
    pub fn import(&self, image: &Image) {
        let archive = self.node.folder().join("image.tar");
        image.write(&archive).unwrap();
        self.import_archive(&archive.to_string_lossy());
        fs::remove_file(archive).unwrap();
    }

    /// Makes the sample's image out of the binary and imports it.
    ///
    /// # Panics
    /// If that fails.
    pub fn import_sample(&self) {
        let archive = self.node.folder().join("sample.tar").to_string_lossy().into_owned();
        self.ferry(&["sample", "image", &archive]).ok();
        self.import_archive(&archive);
    }

    fn import_archive(&self, archive: &str) {
        match self.options.runtime {
            Runtime::BuiltIn => drop(self.ferry(&["image", "import", "--data-dir", &self.node.data_dir().to_string_lossy(), archive]).ok()),
            Runtime::Containerd => Containerd::import(&self.node, archive),
        }
    }

    /// Runs a `ferry` command on the node.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn ferry(&self, args: &[&str]) -> Output {
        process::run(self.node.command(Place::Node, peers::ferry()).args(args), b"").unwrap()
    }

    /// Runs kubectl outside of the node.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn kubectl(&self, args: &[&str]) -> Output {
        process::run(&mut self.kubectl_command(args), b"").unwrap()
    }

    /// As [`Cluster::kubectl`]; what it printed.
    ///
    /// # Panics
    /// If it does not succeed.
    #[track_caller]
    pub fn kubectl_ok(&self, args: &[&str]) -> String {
        self.kubectl(args).ok()
    }

    /// Runs kubectl with an input.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn kubectl_with(&self, args: &[&str], input: &str) -> Output {
        process::run(&mut self.kubectl_command(args), input.as_bytes()).unwrap()
    }

    /// kubectl, ready to be started in whatever way.
    pub fn kubectl_command(&self, args: &[&str]) -> Command {
        let mut command = self.client_command(peers::kubectl(self.options.kubectl));
        command.args(args);
        command
    }

    /// Applies a manifest.
    ///
    /// # Panics
    /// If that fails.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with(&["apply", "-f", "-"], manifest).ok()
    }

    /// Runs helm outside of the node.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn helm(&self, args: &[&str]) -> Output {
        process::run(self.client_command(peers::helm()).args(args), b"").unwrap()
    }

    fn client_command(&self, program: PathBuf) -> Command {
        let home = self.node.folder().join("home");
        fs::create_dir_all(&home).unwrap();
        let mut command = self.node.command(Place::Outside, program);
        command.env("KUBECONFIG", self.kubeconfig()).env("HOME", &home).current_dir(home);
        // Nothing of the user's own may leak in.
        for name in
            ["HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy", "KUBERNETES_SERVICE_HOST", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"]
        {
            command.env_remove(name);
        }
        command
    }

    /// An object as JSON.
    ///
    /// # Panics
    /// If it cannot be got.
    #[track_caller]
    pub fn get(&self, what: &[&str]) -> Value {
        let mut args = vec!["get", "-o", "json"];
        args.extend(what);
        serde_json::from_str(&self.kubectl_ok(&args)).unwrap()
    }

    /// Waits until what a JSONPath finds is as wanted.
    ///
    /// # Panics
    /// If it never is.
    #[track_caller]
    pub fn wait_for(&self, what: &[&str], path: &str, wanted: &str) {
        let mut args = vec!["get"];
        args.extend(what);
        let template = format!("jsonpath={path}");
        args.extend(["-o", &template]);
        eventually(&format!("{path} = {wanted:?} of {what:?}"), || {
            let output = self.kubectl(&args);
            if output.status.success() && output.stdout == wanted { Ok(()) } else { Err(output.to_string()) }
        });
    }

    /// Waits until a rollout is complete.
    ///
    /// # Panics
    /// If it fails.
    #[track_caller]
    pub fn rolled_out(&self, what: &str) {
        self.kubectl_ok(&["rollout", "status", what, "--timeout=180s"]);
    }

    /// The names of the pods that a selector finds, sorted.
    ///
    /// # Panics
    /// If they cannot be listed.
    #[track_caller]
    pub fn pods(&self, selector: &str) -> Vec<String> {
        let listed = self.kubectl_ok(&["get", "pods", "-l", selector, "-o", "name"]);
        let mut names: Vec<String> = listed.lines().map(|l| l.trim_start_matches("pod/").to_owned()).collect();
        names.sort();
        names
    }

    /// Asks an application once, by `http://IP:PORT/path`.
    ///
    /// # Errors
    /// If nobody answers.
    pub fn http_get(&self, from: Place, url: &str) -> anyhow::Result<Response> {
        let rest = url.strip_prefix("http://").context("this client speaks only http")?;
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = if host.contains(':') { host.parse()? } else { format!("{host}:80").parse()? };
        let socket = self.node.connect(from, address).with_context(|| format!("connecting to {address}"))?;
        socket.set_read_timeout(Some(ANSWER_MAX))?;
        Ok(Connection::new(socket, host).ask("GET", &format!("/{path}"), &[("connection", "close")], b"")?)
    }

    /// A connection to the API server, without kubectl.
    ///
    /// # Panics
    /// If there is none to be had.
    pub fn api(&self, identity: Identity) -> Api {
        let access = Access::read(&fs::read_to_string(self.kubeconfig()).unwrap()).unwrap();
        let socket = self.node.connect(Place::Outside, (NODE_IP, 6443).into()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        access.over(access.tls(identity).unwrap(), socket).unwrap()
    }

    fn log_end(&self) -> String {
        let log = self.node.log();
        let lines: Vec<String> = log.lines().map(|l| l.chars().take(LINE_SHOWN_CHARS).collect()).collect();
        lines[lines.len().saturating_sub(LOG_SHOWN_LINES)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("--- the end of the server's log\n{}", self.log_end());
        if self.node.server().is_some() {
            for args in [&["get", "pods", "-A", "-o", "wide"][..], &["events", "-A"]] {
                if let Ok(output) = process::run(self.kubectl_command(args).arg("--request-timeout=10s"), b"") {
                    eprintln!("--- kubectl {}\n{}{}", args.join(" "), output.stdout, output.stderr);
                }
            }
        }
        if std::env::var_os("FERRY_TEST_KEEP").is_some() {
            eprintln!("--- FERRY_TEST_KEEP is set; the node {} waits, data in {}", self.node.name(), self.node.folder().display());
            std::thread::sleep(Duration::from_secs(3600));
        }
    }
}
