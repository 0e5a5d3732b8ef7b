//! Making and starting containers, and what their ends mean.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cri::v1;
use prost::Message as _;
use tokio::sync::watch;

use super::records::ContainerRecord;
use super::sandbox::Sandbox;
use super::{Builtin, files};
use crate::cgroup::{DeviceRule, Devices, Folders, Limits, Tree};
use crate::image::ResolvedImage;
use crate::paths::ContainerDir;
use crate::spec::{self, ContainerInput, ContainerSpec, DeviceKind, DeviceNode, View};
use crate::wire::{Answer, Call, Exit, Started};
use crate::{seccomp, signal};

/// The exit code of a container that could not be started, as containerd reports it.
pub(super) const START_ERROR: i32 = 128;

/// One container.
pub(super) struct Container {
    pub(super) id: String,
    pub(super) dir: ContainerDir,
    config: Mutex<v1::ContainerConfig>,
    pub(super) record: ContainerRecord,
    log_directory: String,
    phase: watch::Sender<Phase>,
    /// Held while it is started, stopped or removed.
    pub(super) gate: tokio::sync::Mutex<()>,
}

/// Where in its life a container is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    Created,
    Running(Started),
    /// `None`: it never ran.
    Exited(Option<Started>, Exit),
}

impl Container {
    pub(super) fn new(id: String, sandbox: &Sandbox, config: v1::ContainerConfig, record: ContainerRecord, phase: Phase) -> Self {
        Self {
            dir: sandbox.dir.container(&id),
            id,
            config: Mutex::new(config),
            record,
            log_directory: sandbox.config.log_directory.clone(),
            phase: watch::Sender::new(phase),
            gate: tokio::sync::Mutex::new(()),
        }
    }

    pub(super) fn config(&self) -> MutexGuard<'_, v1::ContainerConfig> {
        self.config.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn phase(&self) -> Phase {
        self.phase.borrow().clone()
    }

    /// To wait for a change of phase.
    pub(super) fn watch(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// A running container has ended. An end is told once; false for a second telling.
    pub(super) fn end(&self, exit: Exit) -> bool {
        self.phase.send_if_modified(|phase| {
            let started = match phase {
                Phase::Exited(..) => return false,
                Phase::Running(started) => Some(started.clone()),
                Phase::Created => None,
            };
            *phase = Phase::Exited(started, exit);
            true
        })
    }

    /// The log's whole path, as status reports it.
    pub(super) fn log_path(&self, config: &v1::ContainerConfig) -> String {
        match (self.log_directory.as_str(), config.log_path.as_str()) {
            ("", _) | (_, "") => String::new(),
            (directory, file) => format!("{}/{file}", directory.trim_end_matches('/')),
        }
    }

    /// Errors unless it is running.
    pub(super) fn must_run(&self) -> cri::Result<()> {
        match self.phase() {
            Phase::Running(_) => Ok(()),
            _ => Err(cri::Error::FailedPrecondition(format!("container {} is not running", self.id))),
        }
    }

    pub(super) fn limits(&self) -> Limits {
        let config = self.config();
        config.linux.as_ref().and_then(|l| l.resources.as_ref()).map(Limits::from).unwrap_or_default()
    }
}

impl Builtin {
    pub(super) async fn make_container(&self, request: v1::CreateContainerRequest) -> cri::Result<String> {
        let mut config = request.config.ok_or_else(|| cri::Error::InvalidArgument("the container has no configuration".into()))?;
        let metadata = config.metadata.clone().ok_or_else(|| cri::Error::InvalidArgument("the container has no metadata".into()))?;
        let sandbox = self.sandbox(&request.pod_sandbox_id)?;
        sandbox.shim()?;
        let image = self.config.images.resolve(config.image.as_ref().map_or("", |i| i.image.as_str())).await?;
        let volume_images = self.volume_images(&config).await?;
        let id = self.fresh_id();
        let record = ContainerRecord {
            sandbox: sandbox.id.clone(),
            created_at: self.now(),
            image_id: image.id.clone(),
            image_reference: image.reference.clone(),
            cgroup: self.cgroup_of(&sandbox, &id),
            stop_signal: signal::from_cri(config.stop_signal())
                .or_else(|| signal::parse(&image.config.stop_signal))
                .unwrap_or(libc::SIGTERM),
        };
        // The target's shared PID namespace is named by whole id from here on.
        if let Some(target) = target_of(&mut config) {
            target.clone_from(&self.container(&target.clone())?.id);
        }
        let folders = self.cgroups.folders(&record.cgroup)?;
        let (spec, filter) = plan(&id, &config, &sandbox, &image, &volume_images, folders, self.cgroups.tree())?;
        let dir = sandbox.dir.container(&id);
        let container = Arc::new(Container::new(id.clone(), &sandbox, config.clone(), record.clone(), Phase::Created));
        {
            let mut state = self.lock();
            let same = |c: &&Arc<Container>| c.record.sandbox == sandbox.id && c.config().metadata.as_ref() == Some(&metadata);
            if let Some(known) = state.containers.values().find(same) {
                let why =
                    format!("container {} attempt {} exists already in its pod sandbox as {}", metadata.name, metadata.attempt, known.id);
                return Err(cri::Error::AlreadyExists(why));
            }
            state.containers.insert(id.clone(), container.clone());
        }
        let written = files::blocking({
            let dir = dir.clone();
            move || write_folder(&dir, &config, &record, &spec, filter.as_deref())
        });
        if let Err(e) = written.await {
            self.lock().containers.remove(&id);
            let _ = files::blocking(move || files::remove_folder(&dir.0)).await;
            return Err(e);
        }
        self.publish(&id, &sandbox, v1::ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    async fn volume_images(&self, config: &v1::ContainerConfig) -> cri::Result<BTreeMap<String, ResolvedImage>> {
        let mut images = BTreeMap::new();
        for image in config.mounts.iter().filter_map(|m| m.image.as_ref()).filter(|image| !image.image.is_empty()) {
            images.insert(image.image.clone(), self.config.images.resolve(&image.image).await?);
        }
        Ok(images)
    }

    fn cgroup_of(&self, sandbox: &Sandbox, container: &str) -> String {
        let parent = sandbox.config.linux.as_ref().map(|l| l.cgroup_parent.as_str()).filter(|p| !p.is_empty());
        match parent {
            Some(parent) => format!("{}/{container}", parent.trim_end_matches('/')),
            None => format!("{}/{}/{container}", self.config.cgroup_root.trim_end_matches('/'), sandbox.id),
        }
    }

    pub(super) async fn start_container_inner(&self, id: &str) -> cri::Result<()> {
        let container = self.container(id)?;
        let _gate = container.gate.lock().await;
        if container.phase() != Phase::Created {
            return Err(cri::Error::FailedPrecondition(format!("container {} has been started already", container.id)));
        }
        let sandbox = self.sandbox(&container.record.sandbox)?;
        let outcome = self.start_process(&container, &sandbox).await;
        if let Err(e) = outcome {
            let why = format!("failed to start container {:?}: {e}", container.id);
            let exit = Exit { code: START_ERROR, at: self.now(), out_of_memory: false, error: Some(why.clone()) };
            let (path, record) = (container.dir.exited(), exit.clone());
            files::blocking(move || files::write_json(&path, &record)).await?;
            container.end(exit);
            return Err(cri::Error::Internal(why));
        }
        self.publish(&container.id, &sandbox, v1::ContainerEventType::ContainerStartedEvent);
        Ok(())
    }

    async fn start_process(&self, container: &Arc<Container>, sandbox: &Arc<Sandbox>) -> cri::Result<()> {
        let shim = sandbox.shim()?;
        let (cgroups, made) = (self.cgroups.clone(), container.clone());
        files::blocking(move || {
            let config = made.config().clone();
            let devices = allowed_devices(&config)?;
            cgroups.create(&made.record.cgroup, &made.limits(), &devices)?;
            Ok(())
        })
        .await?;
        let (answer, _) = shim.ask(Call::Start { container: container.id.clone() }, &[]).await?;
        let Answer::Started { pid } = answer else { return Err(cri::Error::Internal("the pod's shim answered out of turn".into())) };
        let path = container.dir.started();
        let found = files::blocking(move || files::read_json::<Started>(&path)).await?;
        let started = found.unwrap_or_else(|| Started { pid, at: self.now(), user: Default::default() });
        // It may have ended in the meantime, and that news may have come first.
        container.phase.send_modify(|phase| match phase {
            Phase::Created => *phase = Phase::Running(started),
            Phase::Exited(known @ None, _) => *known = Some(started),
            Phase::Running(_) | Phase::Exited(..) => {}
        });
        Ok(())
    }

    /// The shim says that a container has ended.
    pub(super) fn container_ended(&self, id: &str, exit: Exit) {
        let Ok(container) = self.container(id) else { return };
        if container.end(exit)
            && let Ok(sandbox) = self.sandbox(&container.record.sandbox)
        {
            self.publish(id, &sandbox, v1::ContainerEventType::ContainerStoppedEvent);
        }
    }

    pub(super) async fn update_resources(&self, request: v1::UpdateContainerResourcesRequest) -> cri::Result<()> {
        let container = self.container(&request.container_id)?;
        let Some(new) = request.linux else { return Ok(()) };
        let _gate = container.gate.lock().await;
        if let Phase::Exited(..) = container.phase() {
            return Err(cri::Error::FailedPrecondition(format!("container {} has ended", container.id)));
        }
        let running = matches!(container.phase(), Phase::Running(_));
        let (cgroups, changed) = (self.cgroups.clone(), container.clone());
        files::blocking(move || {
            if running {
                cgroups.apply(&changed.record.cgroup, &Limits::from(&new))?;
            }
            let bytes = {
                let mut config = changed.config();
                merge(config.linux.get_or_insert_default().resources.get_or_insert_default(), &new);
                config.encode_to_vec()
            };
            files::write(&changed.dir.config(), &bytes)
        })
        .await
    }
}

/// Takes over what is set in `new`; zero and empty mean "as it was".
fn merge(old: &mut v1::LinuxContainerResources, new: &v1::LinuxContainerResources) {
    for (old, new) in [
        (&mut old.cpu_period, new.cpu_period),
        (&mut old.cpu_quota, new.cpu_quota),
        (&mut old.cpu_shares, new.cpu_shares),
        (&mut old.memory_limit_in_bytes, new.memory_limit_in_bytes),
        (&mut old.memory_swap_limit_in_bytes, new.memory_swap_limit_in_bytes),
        (&mut old.oom_score_adj, new.oom_score_adj),
    ] {
        if new != 0 {
            *old = new;
        }
    }
    for (old, new) in [(&mut old.cpuset_cpus, &new.cpuset_cpus), (&mut old.cpuset_mems, &new.cpuset_mems)] {
        if !new.is_empty() {
            old.clone_from(new);
        }
    }
    if !new.hugepage_limits.is_empty() {
        old.hugepage_limits.clone_from(&new.hugepage_limits);
    }
    old.unified.extend(new.unified.clone());
}

fn target_of(config: &mut v1::ContainerConfig) -> Option<&mut String> {
    let options = config.linux.as_mut()?.security_context.as_mut()?.namespace_options.as_mut()?;
    (options.pid() == v1::NamespaceMode::Target).then_some(&mut options.target_id)
}

type Filter = Option<Vec<u8>>;

fn plan(
    id: &str,
    config: &v1::ContainerConfig,
    sandbox: &Sandbox,
    image: &ResolvedImage,
    volume_images: &BTreeMap<String, ResolvedImage>,
    cgroups: Folders,
    tree: &Tree,
) -> cri::Result<(ContainerSpec, Filter)> {
    let view = match tree {
        Tree::V1 { hierarchies, .. } => View::V1(hierarchies.iter().map(|h| h.controllers.join(",")).collect()),
        Tree::V2 { .. } => View::V2,
    };
    let security = config.linux.as_ref().and_then(|l| l.security_context.clone()).unwrap_or_default();
    let hostname = sandbox.state().record.hostname.clone();
    let mut spec = spec::container(ContainerInput {
        id,
        config,
        sandbox: &sandbox.config,
        sandbox_dir: &sandbox.dir,
        hostname: &hostname,
        image,
        volume_images,
        cgroups,
        view: &view,
        devices: device_nodes(config, security.privileged)?,
        seccomp: false,
    })?;
    let filter = seccomp::filter(security.seccomp.as_ref(), spec.capabilities.bounding, security.privileged)?;
    spec.seccomp = filter.is_some();
    Ok((spec, filter.map(|program| seccomp::to_bytes(&program))))
}

fn write_folder(
    dir: &ContainerDir,
    config: &v1::ContainerConfig,
    record: &ContainerRecord,
    spec: &ContainerSpec,
    filter: Option<&[u8]>,
) -> cri::Result<()> {
    for path in [dir.rootfs(), dir.upper(), dir.work()] {
        files::make_folder(&path)?;
    }
    // The upper folder's own mode is that of the container's root.
    use std::os::unix::fs::PermissionsExt as _;
    let mode = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(dir.upper(), mode).map_err(|e| files::failed("opening up", dir.upper(), &e))?;
    files::write(&dir.config(), &config.encode_to_vec())?;
    files::write_json(&dir.spec(), spec)?;
    if let Some(filter) = filter {
        files::write(&dir.seccomp(), filter)?;
    }
    // The record comes last: a folder without one was cut off half-way and is taken away.
    files::write_json(&dir.record(), record)
}

/// Nodes to make in the container's /dev: those asked for, or with privileges all of the host's.
fn device_nodes(config: &v1::ContainerConfig, privileged: bool) -> cri::Result<Vec<DeviceNode>> {
    let mut nodes = Vec::new();
    if privileged {
        let entries = std::fs::read_dir("/dev").map_err(|e| files::failed("reading", "/dev", &e))?;
        let usual = ["ptmx", "console", "fd", "pts", "shm", "mqueue"];
        let own = entries.flatten().map(|e| e.path()).filter(|p| !usual.iter().any(|name| p.ends_with(name)));
        nodes.extend(own.filter_map(|path| device(&path, path.clone())));
    }
    for asked in &config.devices {
        let target = if asked.container_path.is_empty() { &asked.host_path } else { &asked.container_path };
        let found = device(std::path::Path::new(&asked.host_path), PathBuf::from(target));
        nodes.push(found.ok_or_else(|| cri::Error::InvalidArgument(format!("{} is not a device", asked.host_path)))?);
    }
    Ok(nodes)
}

fn device(host: &std::path::Path, path: PathBuf) -> Option<DeviceNode> {
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
    let found = std::fs::metadata(host).ok()?;
    let kind = match found.file_type() {
        t if t.is_char_device() => DeviceKind::Character,
        t if t.is_block_device() => DeviceKind::Block,
        _ => return None,
    };
    let (major, minor) = (rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev()));
    Some(DeviceNode { path, kind, major, minor, mode: found.mode() & 0o777, uid: found.uid(), gid: found.gid() })
}

fn allowed_devices(config: &v1::ContainerConfig) -> cri::Result<Devices> {
    let privileged = config.linux.as_ref().and_then(|l| l.security_context.as_ref()).is_some_and(|s| s.privileged);
    if privileged {
        return Ok(Devices::All);
    }
    let rule = |asked: &v1::Device| {
        let node = device(std::path::Path::new(&asked.host_path), PathBuf::new())
            .ok_or_else(|| cri::Error::InvalidArgument(format!("{} is not a device", asked.host_path)))?;
        if asked.permissions.is_empty() || asked.permissions.chars().any(|c| !"rwm".contains(c)) {
            return Err(cri::Error::InvalidArgument(format!("device {}: permissions {:?}", asked.host_path, asked.permissions)));
        }
        Ok(DeviceRule { kind: node.kind, major: node.major, minor: node.minor, access: asked.permissions.clone() })
    };
    config.devices.iter().map(rule).collect::<cri::Result<_>>().map(Devices::Only)
}
