//! What a kubelet is told and given.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use stdx::{Clock, Prng};

/// How a kubelet is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// The node's name, which is also the kubelet's identity.
    pub node_name: String,
    /// The node's addresses, the first one primary.
    pub node_ips: Vec<IpAddr>,
    /// Where volumes, logs and pod files live; `pods/`, `logs/pods/` are made below it.
    pub data_dir: PathBuf,
    /// The cluster's name servers.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's DNS domain, such as `cluster.local`.
    pub cluster_domain: String,
    /// The node's own resolver configuration, for pods with `dnsPolicy: Default`.
    pub resolv_conf: PathBuf,
    /// The most pods that the node takes.
    pub max_pods: u32,
    /// Labels that the node gets beside the well-known ones.
    pub node_labels: BTreeMap<String, String>,
    /// Taints that the node gets when it is created, as `key=value:effect`.
    pub node_taints: Vec<String>,
    /// Whether the kubelet creates and labels its node object.
    pub register: Register,
    /// The node's provider identifier, if it has one.
    pub provider_id: Option<String>,
    /// The parent of all pods' cgroups, `/` for the root; empty leaves pods' cgroups to the runtime.
    pub cgroup_root: String,
    /// CPU (in thousandths) and memory (in bytes) kept from pods.
    pub reserved: Reserved,
    /// The version that the node reports, such as `v1.36.0`.
    pub version: String,
    /// The node server; `None` serves nothing.
    pub server: Option<Server>,
    /// The wall clock.
    pub clock: Clock,
    /// Randomness for names and jitter.
    pub prng: Prng,
}

/// Whether the kubelet creates its node object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Register {
    /// It creates the node and keeps its labels.
    Yes,
    /// Somebody else creates the node.
    No,
}

/// What is kept from pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Thousandths of a CPU.
    pub milli_cpu: i64,
    /// Bytes of memory.
    pub memory: i64,
}

/// How the node server is reached and whom it trusts.
#[derive(Clone, Debug)]
pub struct Server {
    /// Where it listens, usually port 10250.
    pub bind: SocketAddr,
    /// Its certificate and key, and the CA of its clients.
    pub tls: Arc<rustls::ServerConfig>,
}

/// What a kubelet works with.
#[derive(Clone)]
pub struct Deps {
    /// The API, as the node's own user.
    pub client: kube::Client,
    /// Sandboxes and containers.
    pub runtime: Arc<dyn cri::RuntimeService>,
    /// Images.
    pub images: Arc<dyn cri::ImageService>,
    /// Exec, attach and port-forward.
    pub streaming: Arc<dyn cri::StreamingService>,
}

impl Config {
    /// Where a pod's files live.
    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.data_dir.join("pods").join(uid)
    }

    /// Where a pod's logs live.
    pub fn log_dir(&self, namespace: &str, name: &str, uid: &str) -> PathBuf {
        self.data_dir.join("logs/pods").join(format!("{namespace}_{name}_{uid}"))
    }

    /// The node's addresses as texts.
    pub fn host_ips(&self) -> Vec<String> {
        self.node_ips.iter().map(IpAddr::to_string).collect()
    }
}
