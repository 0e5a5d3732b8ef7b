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

/// Goes on after a failure, so that as much as possible is gone, and reports the first one.
pub(crate) async fn run(flags: ResetFlags) -> anyhow::Result<()> {
    let data_dir = std::path::absolute(&flags.place.data_dir)?;
    if !data_dir.join("pki").exists() {
        bail!("{} holds no Ferry cluster; name the right folder with --data-dir", data_dir.display());
    }
    if !flags.yes && !confirmed(&data_dir)? {
        bail!("nothing was changed");
    }
    // Fails, naming the process, while a server runs on this folder.
    let lock_path = data_dir.join("store");
    let store = tokio::task::spawn_blocking(move || store::Embedded::open(&lock_path, store::Options::default())).await?;
    let store = store.context("a server may still be running here; stop it first")?;
    let layout = Layout::read(&data_dir)?;
    let here = Namespace::current().context("opening this network namespace")?;
    let network = PodNet::start(layout.pod_network(&data_dir, here.clone())).await.context("opening the pod network")?;
    let pods = match &layout.runtime_socket {
        None => remove_pods(&data_dir, &network, &layout.cgroup_root).await,
        Some(socket) => remove_foreign_pods(socket, &layout.cgroup_root).await,
    };
    let network = network.destroy().await.context("removing the pod network");
    let rules = remove_rules(&here).context("removing the service rules");
    drop(store);
    pods.and(network).and(rules)?;
    // Volumes that are mounted would stand in the way of removing their folders.
    kubelet::volume::teardown::remove(&data_dir).with_context(|| format!("removing {}", data_dir.display()))?;
    println!("{} and everything that ran from it is gone", data_dir.display());
    Ok(())
}

/// Pods of another runtime; its images stay.
async fn remove_foreign_pods(socket: &Path, cgroup_root: &str) -> anyhow::Result<()> {
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
    outcome?;
    // What the kubelet made for the pods.
    if let Some(tree) = kubelet::cgroup::Tree::of_host().filter(|_| cgroup_root.trim_matches('/') != "") {
        tree.remove(cgroup_root)?;
    }
    Ok(())
}

/// Pods of the built-in runtime.
async fn remove_pods(data_dir: &Path, network: &PodNet, cgroup_root: &str) -> anyhow::Result<()> {
    let images = runtime::images::LocalImages::new(image::open(data_dir)?, runtime::images::Registries::new(data_dir.join(image::CERTIFICATES)));
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
