//! `ferry server`: control plane and node in one process. Reads top to bottom as the order of start.

mod certificates;
mod cni;
mod control_plane;
mod node;
mod pod_network;

use std::fs;
use std::sync::Arc;

use anyhow::Context as _;
use stdx::{Clock, Prng};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::settings::{Agent, Settings};

use certificates::Certificates;
pub(crate) use pod_network::BuiltinPodNetwork;

/// What every part is given.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) clock: Clock,
    pub(crate) prng: Prng,
    /// The certificates in use, all kept good.
    pub(crate) certificates: Arc<Certificates>,
    /// Cancelled when the process shall end.
    pub(crate) stop: CancellationToken,
}

/// Runs until SIGTERM or SIGINT. Pods keep running afterwards; `ferry reset` takes them away.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let keys = settings.data_dir.join("pki");
    let shared = Shared {
        clock: Clock::System,
        prng: Prng::from_entropy(),
        certificates: Certificates::new(keys.clone()),
        stop: CancellationToken::new(),
    };
    fs::create_dir_all(&settings.data_dir).with_context(|| format!("creating {}", settings.data_dir.display()))?;
    let pki = pki::Cluster::open(&keys, shared.clock.clone())?;

    let control_plane = control_plane::start(&settings, &pki, &shared).await?;
    write_kubeconfig(&settings, &pki)?;
    tracing::info!(kubeconfig = %settings.kubeconfig.display(), "the API server answers on https://{}:{}", settings.node_ip, settings.listen.port());
    let node = match settings.agent {
        Agent::Run => Some(node::start(&settings, &pki, &shared, &control_plane).await?),
        Agent::LeaveOut => None,
    };

    let certificates = shared.certificates.clone();
    tokio::spawn(certificates.keep_good(shared.clone(), move |pki| write_kubeconfig(&settings, pki)));

    wait_for_end(&shared.stop).await?;
    tracing::info!("ending; pods keep running");
    shared.stop.cancel();
    if let Some(node) = node {
        node.ended().await;
    }
    control_plane.ended().await;
    Ok(())
}

async fn wait_for_end(stop: &CancellationToken) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        // A part that cannot go on has said why in the log.
        () = stop.cancelled() => anyhow::bail!("a part of the server failed, see the log above"),
    }
}

fn write_kubeconfig(settings: &Settings, pki: &pki::Cluster) -> anyhow::Result<()> {
    let admin = pki.leaf("admin", &pki::Identity::client("kubernetes-admin", Some("system:masters")))?;
    let url = format!("https://{}:{}", settings.node_ip, settings.listen.port());
    let text = pki::kubeconfig("ferry", &url, pki.server_ca.certificate_pem(), &admin);
    if let Some(parent) = settings.kubeconfig.parent() {
        fs::create_dir_all(parent).with_context(|| format!("creating {}", parent.display()))?;
    }
    stdx::fs::write_atomic(&settings.kubeconfig, text.as_bytes(), 0o600)
        .with_context(|| format!("writing {}", settings.kubeconfig.display()))
}
