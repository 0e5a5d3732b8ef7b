//! The node: pod network, service proxy, name server, runtime, kubelet.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use network::Namespace;
use network::podnet::{self, PodNet};
use network::proxy::{self, NodeFacts, NodePortAddresses};
use tokio::task::JoinHandle;

use super::Shared;
use super::control_plane::ControlPlane;
use super::pod_network::{BuiltinPodNetwork, live_sandboxes};
use crate::image;
use crate::layout::Layout;
use crate::settings::{Part, Runtime, Settings};

const KUBELET_PORT: u16 = 10250;

/// A running node.
pub(crate) struct Node {
    kubelet: JoinHandle<()>,
}

/// The three faces of a container runtime.
struct Faces {
    runtime: Arc<dyn cri::RuntimeService>,
    images: Arc<dyn cri::ImageService>,
    streaming: Arc<dyn cri::StreamingService>,
}

/// Starts everything; returns when the kubelet runs.
pub(crate) async fn start(settings: &Settings, pki: &pki::Cluster, shared: &Shared, plane: &ControlPlane) -> anyhow::Result<Node> {
    let here = Namespace::current().context("opening this network namespace")?;
    let pod_net = PodNet::start(Layout::of(settings).write(&settings.data_dir)?.pod_network(&settings.data_dir, here.clone()))
        .await
        .context("setting up the pod network")?;
    if settings.proxy == Part::Run {
        start_proxy(settings, &here, shared, plane)?;
    }
    if settings.dns == Part::Run {
        start_dns(settings, shared, plane)?;
    }
    let faces = match &settings.runtime {
        Runtime::BuiltIn => builtin_runtime(settings, shared, pod_net).await?,
        Runtime::Cri(socket) => cri_runtime(settings, socket, &pod_net)?,
    };
    let kubelet = start_kubelet(settings, pki, shared, plane, faces)?;
    Ok(Node { kubelet })
}

impl Node {
    /// Returns when the kubelet has ended.
    pub(crate) async fn ended(self) {
        let _ = self.kubelet.await;
    }
}

fn start_proxy(settings: &Settings, here: &Namespace, shared: &Shared, plane: &ControlPlane) -> anyhow::Result<()> {
    let facts = NodeFacts {
        name: settings.node_name.clone(),
        zone: None,
        addresses: vec![settings.node_ip],
        cluster_cidrs: vec![settings.cluster_cidr.into()],
        service_cidrs: vec![settings.service_cidr.into()],
        served_here: Layout::of(settings).local_addresses.into_iter().map(IpAddr::V4).collect(),
        node_port_addresses: NodePortAddresses::All,
    };
    let proxy = proxy::Proxy::open(here, network::nft::Family::Ipv4, facts).context("opening the service proxy")?;
    let (informers, stop) = (plane.informers.clone(), shared.stop.clone());
    tokio::spawn(async move {
        // The table stays when the process ends: services keep working while the server is away.
        if let Err(error) = proxy::run(proxy, &informers, stop.clone().cancelled_owned()).await {
            tracing::error!(%error, "the service proxy ended");
            stop.cancel();
        }
    });
    Ok(())
}

fn start_dns(settings: &Settings, shared: &Shared, plane: &ControlPlane) -> anyhow::Result<()> {
    let listener = dns::Listener::bind(&[SocketAddr::from((settings.cluster_dns, 53))]).context("binding the name server")?;
    let config = dns::Config {
        domain: settings.cluster_domain.clone(),
        server: settings.cluster_dns.into(),
        ranges: vec![settings.cluster_cidr.into(), settings.service_cidr.into()],
        resolv_conf: PathBuf::from("/etc/resolv.conf"),
    };
    let (informers, stop) = (plane.informers.clone(), shared.stop.clone());
    tokio::spawn(async move {
        if let Err(error) = dns::run(config, listener, &informers, stop.clone().cancelled_owned()).await {
            tracing::error!(%error, "the name server ended");
            stop.cancel();
        }
    });
    Ok(())
}

async fn builtin_runtime(settings: &Settings, shared: &Shared, pod_net: PodNet) -> anyhow::Result<Faces> {
    let images = builtin_images(settings)?;
    let runtime = runtime::Builtin::open(runtime::Config {
        data_dir: settings.data_dir.clone(),
        cgroup_root: settings.cgroup_root.clone(),
        images: images.clone(),
        network: Arc::new(BuiltinPodNetwork(pod_net.clone())),
        clock: shared.clock.clone(),
        prng: shared.prng.clone(),
    })
    .await
    .context("opening the container runtime")?;
    let live = live_sandboxes(runtime.as_ref()).await?;
    pod_net.recover(&live).await.context("recovering the pod network")?;
    Ok(Faces { runtime: runtime.clone(), images, streaming: runtime })
}

/// The node's image service.
pub(crate) fn builtin_images(settings: &Settings) -> anyhow::Result<Arc<runtime::images::LocalImages>> {
    let registries = runtime::images::Registries::new(settings.data_dir.join(image::CERTIFICATES));
    Ok(Arc::new(runtime::images::LocalImages::new(image::open(&settings.data_dir)?, registries)))
}

/// Another runtime calls CNI plugins for the pods' links; the rest of the pod network stays.
fn cri_runtime(settings: &Settings, socket: &Path, pod_net: &PodNet) -> anyhow::Result<Faces> {
    let folder = super::cni::write(&settings.data_dir, settings.node_cidr, pod_net.gateway(), podnet::DEFAULT_MTU)?;
    tracing::info!(conf_dir = %folder.display(), "the runtime at {} must read its network configuration from here", socket.display());
    let remote = cri::Remote::new(&format!("unix://{}", socket.display()))
        .with_context(|| format!("connecting to the runtime at {}", socket.display()))?;
    let remote = Arc::new(remote);
    Ok(Faces { runtime: remote.clone(), images: remote.clone(), streaming: remote })
}

fn start_kubelet(
    settings: &Settings,
    pki: &pki::Cluster,
    shared: &Shared,
    plane: &ControlPlane,
    faces: Faces,
) -> anyhow::Result<JoinHandle<()>> {
    let identity =
        pki::Identity::server(&format!("system:node:{}", settings.node_name), vec![settings.node_name.clone()], vec![settings.node_ip]);
    let certificate = shared.certificates.open(pki, "kubelet-server", identity)?;
    let bind = SocketAddr::new(settings.listen.ip(), KUBELET_PORT);
    let config = kubelet::Config {
        node_name: settings.node_name.clone(),
        node_ips: vec![settings.node_ip],
        data_dir: settings.data_dir.clone(),
        cluster_dns: vec![settings.cluster_dns.into()],
        cluster_domain: settings.cluster_domain.clone(),
        resolv_conf: PathBuf::from("/etc/resolv.conf"),
        max_pods: settings.max_pods,
        node_labels: Default::default(),
        node_taints: Vec::new(),
        register: kubelet::Register::Yes,
        provider_id: None,
        cgroup_root: settings.cgroup_root.clone(),
        reserved: Default::default(),
        version: apiserver::config::VERSION.to_owned(),
        server: Some(kubelet::Server { bind, tls: kubelet_tls(pki, certificate)? }),
        clock: shared.clock.clone(),
        prng: shared.prng.clone(),
    };
    let user = format!("system:node:{}", settings.node_name);
    let deps = kubelet::Deps {
        client: plane.client(&user, &["system:nodes", "system:authenticated"]),
        runtime: faces.runtime,
        images: faces.images,
        streaming: faces.streaming,
    };
    let stop = shared.stop.clone();
    Ok(tokio::spawn(async move {
        tokio::select! {
            ended = kubelet::run(config, deps) => {
                tracing::error!(?ended, "the kubelet ended");
                stop.cancel();
            }
            () = stop.cancelled() => {}
        }
    }))
}

/// Only the API server's own client certificate gets in; the kubelet's routes check the rest.
fn kubelet_tls(pki: &pki::Cluster, certificate: Arc<pki::RotatingCertificate>) -> anyhow::Result<Arc<rustls::ServerConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let clients = Arc::new(pki::trust_only(pki.client_ca.certificate_pem())?);
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(clients, provider.clone()).allow_unauthenticated().build()?;
    let builder = rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_client_cert_verifier(verifier).with_cert_resolver(certificate)))
}
