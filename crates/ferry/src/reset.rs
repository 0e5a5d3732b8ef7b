//! `ferry reset`: takes away what a server left running, and its data.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use cri::RuntimeService as _;
use network::Namespace;
use network::nft::Family;
use network::podnet::PodNet;
use network::proxy::{NodeFacts, NodePortAddresses, Proxy};
use stdx::{Clock, Prng};

use crate::cli::ResetFlags;
use crate::image;
use crate::layout::Layout;
use crate::server::BuiltinPodNetwork;

/// Goes on after a failure, so that as much as possible is gone, and reports the first one. What tells a later run
/// what to do goes last, so that a reset that failed can be tried again.
pub(crate) async fn run(flags: ResetFlags) -> anyhow::Result<()> {
    let data_dir = std::path::absolute(&flags.place.data_dir)?;
    if !data_dir.exists() {
        bail!("{} does not exist, so it holds no Ferry cluster; name the right folder with --data-dir", data_dir.display());
    }
    if !Layout::is_in(&data_dir) && !data_dir.join("pki").exists() {
        bail!("{} holds no Ferry cluster; name the right folder with --data-dir", data_dir.display());
    }
    let store = lock(&data_dir).await?;
    if !flags.yes && !confirmed(&data_dir)? {
        bail!("nothing was changed");
    }
    // A server without a node leaves nothing but files.
    if Layout::is_in(&data_dir) {
        remove_node(&data_dir, &Layout::read(&data_dir)?).await?;
    }
    drop(store);
    let removing = || format!("removing {}", data_dir.display());
    for entry in std::fs::read_dir(&data_dir).with_context(removing)? {
        let entry = entry.with_context(removing)?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path()).with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    std::fs::remove_dir_all(&data_dir).with_context(removing)?;
    println!("{} and everything that ran from it is gone", data_dir.display());
    Ok(())
}

/// The store's lock, which a running server holds. A store that cannot be read any more is no reason to keep it.
async fn lock(data_dir: &Path) -> anyhow::Result<Option<Arc<store::Embedded>>> {
    let path = data_dir.join("store");
    if !path.exists() {
        return Ok(None);
    }
    match tokio::task::spawn_blocking(move || store::Embedded::open(&path, store::Options::default())).await? {
        Ok(store) => Ok(Some(store)),
        Err(store::Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::ResourceBusy => {
            bail!("a server is still running on {} ({source}); stop it first", data_dir.display())
        }
        Err(error) => {
            eprintln!("ferry: the store is damaged, which does not matter now: {error}");
            Ok(None)
        }
    }
}

/// Pods, pod network, service rules, volumes, cgroups.
async fn remove_node(data_dir: &Path, layout: &Layout) -> anyhow::Result<()> {
    let here = Namespace::current().context("opening this network namespace")?;
    let network = PodNet::start(layout.pod_network(data_dir, here.clone())).await.context("opening the pod network")?;
    let pods = match &layout.runtime_socket {
        None => remove_pods(data_dir, &network, &layout.cgroup_root).await,
        Some(socket) => remove_foreign_pods(socket).await,
    };
    let network = network.destroy().await.context("removing the pod network");
    let rules = remove_rules(&here).context("removing the service rules");
    let (dir, cgroup_root) = (data_dir.to_owned(), layout.cgroup_root.clone());
    let node = tokio::task::spawn_blocking(move || kubelet::remove_leftovers(&dir, &cgroup_root)).await?;
    pods.and(network).and(rules).and(node.context("removing volumes and cgroups"))
}

/// Pods of the built-in runtime.
async fn remove_pods(data_dir: &Path, network: &PodNet, cgroup_root: &str) -> anyhow::Result<()> {
    let images =
        runtime::images::LocalImages::new(image::open(data_dir)?, runtime::images::Registries::new(data_dir.join(image::CERTIFICATES)));
    let runtime = runtime::Builtin::open(runtime::Config {
        data_dir: data_dir.to_owned(),
        cgroup_root: cgroup_root.to_owned(),
        images: Arc::new(images),
        network: Arc::new(BuiltinPodNetwork(network.clone())),
        clock: Clock::System,
        prng: Prng::from_entropy(),
    });
    runtime.await.context("opening the container runtime")?.destroy_all().await.context("removing pods")
}

/// Pods of another runtime; its images stay.
async fn remove_foreign_pods(socket: &Path) -> anyhow::Result<()> {
    let remote = cri::Remote::new(&format!("unix://{}", socket.display()))?;
    let listed = remote.list_pod_sandbox(cri::v1::ListPodSandboxRequest::default()).await;
    let listed = listed.with_context(|| format!("asking the runtime at {} for its pods", socket.display()))?;
    let mut outcome = Ok(());
    for sandbox in listed.items.into_iter().filter(|s| s.labels.contains_key(kubelet::labels::POD_UID)) {
        let id = sandbox.id;
        let stopped = remote.stop_pod_sandbox(cri::v1::StopPodSandboxRequest { pod_sandbox_id: id.clone() }).await;
        let removed = remote.remove_pod_sandbox(cri::v1::RemovePodSandboxRequest { pod_sandbox_id: id.clone() }).await;
        outcome = outcome.and(stopped.map(drop).and(removed.map(drop)).with_context(|| format!("removing pod sandbox {id}")));
    }
    outcome
}

fn remove_rules(here: &Namespace) -> network::Result<()> {
    // To remove the table, none of the facts that its rules are made of matter.
    let facts = NodeFacts {
        name: String::new(),
        zone: None,
        addresses: Vec::new(),
        cluster_cidrs: Vec::new(),
        service_cidrs: Vec::new(),
        served_here: Vec::new(),
        node_port_addresses: NodePortAddresses::All,
    };
    Proxy::open(here, Family::Ipv4, facts)?.destroy()
}

fn confirmed(data_dir: &Path) -> anyhow::Result<bool> {
    print!("This ends every pod of the cluster in {} and deletes all its data. Type yes to go on: ", data_dir.display());
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(answer.trim() == "yes")
}
