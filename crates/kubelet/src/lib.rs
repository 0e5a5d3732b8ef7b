//! The kubelet: makes the pods that the API binds to this node run, and tells the API how they are.
//!
//! It sees containers only through the traits of `cri`, and meets the rest of the cluster only through the API. Never here:
//! how a container is made, how pods reach each other, and which node a pod runs on.
//!
//! `unsafe` is not needed here: mounts and file access go through `rustix`.

pub mod cgroup;
pub mod config;
pub mod container;
pub mod downward;
pub mod hooks;
pub mod image;
pub mod labels;
pub mod logs;
pub mod machine;
pub mod node;
pub mod objects;
pub mod observe;
pub mod plan;
pub mod pod;
pub mod probe;
pub mod quantity;
pub mod resources;
pub mod restart;
pub mod sandbox;
pub mod server;
pub mod spec;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod time;
pub mod view;
pub mod volume;

use std::sync::Arc;
use std::time::Duration;

use client::{EventRecorder, Informer, Informers};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use kube::Api;
use kube::runtime::watcher;

pub use config::{Config, Deps, Register, Reserved, Server};

use machine::Machine;
use pod::registry::Registry;

/// The wait before asking a runtime again that does not answer yet.
const RUNTIME_RETRY: Duration = Duration::from_millis(200);

/// Why a kubelet could not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A directory could not be made.
    #[error("making directory {path}: {source}")]
    Directory {
        /// The directory.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The node server could not listen.
    #[error("listening on {address}: {source}")]
    Listen {
        /// Where.
        address: std::net::SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Runs a kubelet until the future is dropped; pods go on running without it. Must be called inside a tokio runtime.
pub async fn run(config: Config, deps: Deps) -> Result<(), Error> {
    for dir in [config.data_dir.join("pods"), config.data_dir.join("logs/pods")] {
        std::fs::create_dir_all(&dir).map_err(|source| Error::Directory { path: dir.clone(), source })?;
    }
    let listener = match &config.server {
        Some(server) => Some(server::listen(server.bind).await?),
        None => None,
    };
    let machine = Arc::new(machine(config, deps).await);
    let name = machine.config.node_name.clone();
    let pods: Api<Pod> = Api::all(machine.deps.client.clone());
    let pods = Informer::start(pods, watcher::Config::default().fields(&format!("spec.nodeName={name}")));
    let registry = Registry::new(machine.clone(), pods);
    let serve = async {
        match listener {
            Some(listener) => server::serve(machine.clone(), registry.clone(), listener).await,
            None => std::future::pending().await,
        }
    };
    tokio::join!(node::run(machine.clone()), registry.run(), serve);
    Ok(())
}

/// Takes away what a kubelet leaves on its node once its pods have ended: volumes below `data_dir`, and the cgroups at
/// `cgroup_root`. Idempotent. For a node that is being given up; no kubelet may run on it.
pub fn remove_leftovers(data_dir: &std::path::Path, cgroup_root: &str) -> std::io::Result<()> {
    let volumes = volume::teardown::remove(&data_dir.join("pods"));
    let root = cgroup_root.trim_matches('/');
    let tree = cgroup::Tree::of_host().filter(|_| !root.is_empty());
    let cgroups = tree.map_or(Ok(()), |tree| patiently(|| tree.remove(root)));
    volumes.and(cgroups.map_err(std::io::Error::other))
}

/// Processes that were killed a moment ago still count as being in their cgroup.
fn patiently<E>(mut attempt: impl FnMut() -> Result<(), E>) -> Result<(), E> {
    const ATTEMPTS: u32 = 20;
    const PAUSE: Duration = Duration::from_millis(50);
    for _ in 1..ATTEMPTS {
        if attempt().is_ok() {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
    }
    attempt()
}

async fn machine(config: Config, deps: Deps) -> Machine {
    let version = loop {
        match deps.runtime.version(cri::v1::VersionRequest::default()).await {
            Ok(version) => break version,
            Err(error) => {
                tracing::warn!(%error, "the container runtime does not answer yet");
                tokio::time::sleep(RUNTIME_RETRY).await;
            }
        }
    };
    let driver = deps.runtime.runtime_config(cri::v1::RuntimeConfigRequest::default()).await;
    let driver = driver.ok().and_then(|c| c.linux).map(|l| l.cgroup_driver());
    let client = deps.client.clone();
    let nodes: Api<Node> = Api::all(client.clone());
    let name = config.node_name.clone();
    Machine {
        events: EventRecorder::new(client.clone(), "kubelet", &name, config.clock.clone(), config.prng.clone()),
        runtime_name: version.runtime_name,
        cgroups: cgroup::Tree::of_host().filter(|_| !config.cgroup_root.is_empty() && driver != Some(cri::v1::CgroupDriver::Systemd)),
        systemd_cgroups: driver == Some(cri::v1::CgroupDriver::Systemd),
        memory: node::Facts::read(&config).memory,
        objects: objects::Objects::new(client.clone()),
        services: Informers::new(client.clone()).of::<Service>(),
        node: Informer::start(nodes, watcher::Config::default().fields(&format!("metadata.name={name}"))),
        pulls: Arc::default(),
        tokens: volume::token::Tokens::new(client, config.clock.clone()),
        config,
        deps,
    }
}
