//! Making a sandbox: folder, shim, network.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cri::v1;
use prost::Message as _;
use tokio::sync::mpsc;

use super::client::{Notice, Shim};
use super::records::{SandboxPhase, SandboxRecord};
use super::{Builtin, files};
use crate::network::{HostPort, PodIdentity};
use crate::paths::SandboxDir;
use crate::shim::SHIM_ARGUMENT;
use crate::spec::{Isolation, SandboxSpec};
use crate::wire::{self, Event};

/// One sandbox.
pub(super) struct Sandbox {
    pub(super) id: String,
    pub(super) dir: SandboxDir,
    pub(super) config: v1::PodSandboxConfig,
    state: Mutex<SandboxState>,
    /// Held while it is stopped or removed, so that two callers do not do it at once.
    pub(super) gate: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
pub(super) struct SandboxState {
    pub(super) record: SandboxRecord,
    pub(super) shim: Option<Arc<Shim>>,
}

impl Sandbox {
    pub(super) fn new(id: String, dir: SandboxDir, config: v1::PodSandboxConfig, record: SandboxRecord, shim: Option<Arc<Shim>>) -> Self {
        Self { id, dir, config, state: Mutex::new(SandboxState { record, shim }), gate: tokio::sync::Mutex::new(()) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SandboxState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way to its shim while it is ready.
    pub(super) fn shim(&self) -> cri::Result<Arc<Shim>> {
        let state = self.state();
        let ready = state.record.phase == SandboxPhase::Ready;
        state.shim.clone().filter(|_| ready).ok_or_else(|| cri::Error::FailedPrecondition(format!("pod sandbox {} is not ready", self.id)))
    }

    fn options(&self) -> v1::NamespaceOption {
        options(&self.config)
    }

    /// Whether it has a network of its own.
    pub(super) fn has_network(&self) -> bool {
        self.options().network() != v1::NamespaceMode::Node
    }

    /// What the pod network is told.
    pub(super) fn identity(&self) -> PodIdentity {
        let metadata = self.config.metadata.clone().unwrap_or_default();
        let port = |p: &v1::PortMapping| {
            let number = |n: i32| u16::try_from(n).ok().filter(|n| *n != 0);
            let (container_port, host_port) = (number(p.container_port)?, number(p.host_port)?);
            Some(HostPort { protocol: p.protocol(), container_port, host_port, host_ip: p.host_ip.clone() })
        };
        PodIdentity {
            sandbox_id: self.id.clone(),
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            annotations: self.config.annotations.clone().into_iter().collect(),
            ports: self.config.port_mappings.iter().filter_map(port).collect(),
        }
    }
}

pub(super) fn options(config: &v1::PodSandboxConfig) -> v1::NamespaceOption {
    let security = config.linux.as_ref().and_then(|l| l.security_context.as_ref());
    security.and_then(|s| s.namespace_options.clone()).unwrap_or_default()
}

impl Builtin {
    /// Makes a sandbox; on failure nothing of it is left.
    pub(super) async fn run_sandbox(&self, request: v1::RunPodSandboxRequest) -> cri::Result<String> {
        let config = request.config.ok_or_else(|| cri::Error::InvalidArgument("the pod sandbox has no configuration".into()))?;
        let metadata = config.metadata.clone().ok_or_else(|| cri::Error::InvalidArgument("the pod sandbox has no metadata".into()))?;
        if !request.runtime_handler.is_empty() {
            return Err(cri::Error::InvalidArgument(format!("no runtime for {:?} is configured", request.runtime_handler)));
        }
        let namespaces = options(&config);
        if namespaces.userns_options.as_ref().is_some_and(|u| u.mode() == v1::NamespaceMode::Pod) {
            return Err(cri::Error::Unimplemented("user namespaces are not supported by the built-in runtime".into()));
        }
        let id = self.fresh_id();
        let dir = self.layout.sandbox(&id);
        let hostname = if namespaces.network() == v1::NamespaceMode::Node || config.hostname.is_empty() {
            rustix::system::uname().nodename().to_string_lossy().into_owned()
        } else {
            config.hostname.clone()
        };
        let record = SandboxRecord { created_at: self.now(), phase: SandboxPhase::Starting, addresses: Vec::new(), hostname };
        let sandbox = Arc::new(Sandbox::new(id.clone(), dir, config, record, None));
        {
            let mut state = self.lock();
            let taken = state.sandboxes.values().find(|known| known.config.metadata.as_ref() == Some(&metadata));
            if let Some(known) = taken {
                let why = format!(
                    "pod sandbox {}/{} attempt {} exists already as {}",
                    metadata.namespace, metadata.name, metadata.attempt, known.id
                );
                return Err(cri::Error::AlreadyExists(why));
            }
            state.sandboxes.insert(id.clone(), sandbox.clone());
        }
        if let Err(e) = self.bring_up(&sandbox).await {
            if let Err(later) = self.remove_sandbox(&id).await {
                tracing::warn!("taking away what is left of pod sandbox {id}: {later}");
            }
            return Err(e);
        }
        self.publish(&id, &sandbox, v1::ContainerEventType::ContainerCreatedEvent);
        self.publish(&id, &sandbox, v1::ContainerEventType::ContainerStartedEvent);
        Ok(id)
    }

    async fn bring_up(&self, sandbox: &Arc<Sandbox>) -> cri::Result<()> {
        let network = sandbox.has_network().then(|| self.layout.network_namespace(&sandbox.id));
        let spec = shim_spec(sandbox, network.clone());
        let prepared = sandbox.clone();
        files::blocking(move || prepare_folder(&prepared, &spec)).await?;
        let shim = self.spawn_shim(sandbox).await?;
        sandbox.state().shim = Some(shim);
        let addresses = match &network {
            Some(path) => self
                .config
                .network
                .add(path, &sandbox.identity())
                .await
                .map_err(|why| cri::Error::Internal(format!("failed to setup network for sandbox {:?}: {why}", sandbox.id)))?,
            None => Vec::new(),
        };
        let record = {
            let mut state = sandbox.state();
            state.record.addresses = addresses;
            state.record.phase = SandboxPhase::Ready;
            state.record.clone()
        };
        let path = sandbox.dir.record();
        files::blocking(move || files::write_json(&path, &record)).await
    }

    /// Starts the sandbox's shim and waits until it has made the namespaces.
    async fn spawn_shim(&self, sandbox: &Arc<Sandbox>) -> cri::Result<Arc<Shim>> {
        let fail = |e: std::io::Error| cri::Error::Internal(format!("starting the shim of pod sandbox {}: {e}", sandbox.id));
        let (ours, theirs) = wire::pair().map_err(fail)?;
        let log = std::fs::File::create(sandbox.dir.shim_log()).map_err(fail)?;
        let mut child = tokio::process::Command::new("/proc/self/exe")
            .arg(SHIM_ARGUMENT)
            .arg(&sandbox.dir.0)
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(fail)?;
        // Reaps it while this process lives; afterwards it is init's.
        tokio::spawn(async move { child.wait().await });
        let (shim, mut notices) = Shim::new(ours).map_err(fail)?;
        match notices.recv().await {
            Some(Notice::Event(Event::Ready(Ok(())))) => {}
            Some(Notice::Event(Event::Ready(Err(why)))) => {
                return Err(cri::Error::Internal(format!("setting up pod sandbox {}: {why}", sandbox.id)));
            }
            _ => {
                let said = std::fs::read_to_string(sandbox.dir.shim_log()).unwrap_or_default();
                return Err(cri::Error::Internal(format!("the shim of pod sandbox {} ended at once: {}", sandbox.id, said.trim())));
            }
        }
        self.listen(sandbox.id.clone(), notices);
        Ok(shim)
    }

    /// Follows what a shim says, until it is gone.
    pub(super) fn listen(&self, sandbox: String, mut notices: mpsc::Receiver<Notice>) {
        let this = self.this.clone();
        tokio::spawn(async move {
            while let Some(notice) = notices.recv().await {
                let Some(runtime) = this.upgrade() else { return };
                match notice {
                    Notice::Event(Event::Exited { container, exit }) => runtime.container_ended(&container, exit),
                    Notice::Event(Event::Ready(_) | Event::ExecExited { .. }) => {}
                    Notice::Gone => runtime.shim_gone(&sandbox).await,
                }
            }
        });
    }
}

fn shim_spec(sandbox: &Sandbox, network: Option<std::path::PathBuf>) -> SandboxSpec {
    let options = sandbox.options();
    let sysctls: BTreeMap<String, String> =
        sandbox.config.linux.as_ref().map(|l| l.sysctls.clone().into_iter().collect()).unwrap_or_default();
    SandboxSpec {
        id: sandbox.id.clone(),
        hostname: sandbox.state().record.hostname.clone(),
        network,
        ipc: if options.ipc() == v1::NamespaceMode::Node { Isolation::Host } else { Isolation::Own },
        shared_pid: options.pid() == v1::NamespaceMode::Pod,
        sysctls: sysctls.into_iter().collect(),
    }
}

fn prepare_folder(sandbox: &Sandbox, spec: &SandboxSpec) -> cri::Result<()> {
    let dir = &sandbox.dir;
    files::make_folder(&dir.containers())?;
    files::write(&dir.config(), &sandbox.config.encode_to_vec())?;
    files::write_json(&dir.record(), &sandbox.state().record.clone())?;
    files::write_json(&dir.shim_spec(), spec)?;
    files::write(&dir.hostname(), format!("{}\n", spec.hostname).as_bytes())?;
    files::write(&dir.resolv_conf(), &resolv_conf(sandbox.config.dns_config.as_ref()))?;
    if !sandbox.config.log_directory.is_empty() {
        files::make_folder(Path::new(&sandbox.config.log_directory))?;
    }
    if spec.ipc == Isolation::Own {
        files::mount_shm(&dir.shm())?;
    }
    Ok(())
}

/// resolv.conf(5) for the pod; without a DNS configuration, the host's.
fn resolv_conf(config: Option<&v1::DnsConfig>) -> Vec<u8> {
    let Some(config) = config else { return std::fs::read("/etc/resolv.conf").unwrap_or_default() };
    let mut text = String::new();
    if !config.searches.is_empty() {
        text += &format!("search {}\n", config.searches.join(" "));
    }
    for server in &config.servers {
        text += &format!("nameserver {server}\n");
    }
    if !config.options.is_empty() {
        text += &format!("options {}\n", config.options.join(" "));
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_is_written_in_its_usual_form() {
        let config = v1::DnsConfig {
            servers: vec!["10.43.0.10".into()],
            searches: vec!["ns.svc.cluster.local".into(), "svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        let text = String::from_utf8(resolv_conf(Some(&config))).unwrap();
        assert_eq!(text, "search ns.svc.cluster.local svc.cluster.local\nnameserver 10.43.0.10\noptions ndots:5\n");
    }
}
