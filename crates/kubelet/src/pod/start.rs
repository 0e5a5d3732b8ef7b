//! Starts sandboxes and containers.

use std::time::Duration;

use client::EventType;
use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;

use super::crash::Turn;
use super::kill::{self, Hook, Kill};
use super::worker::Worker;
use crate::container::config::{self, Making};
use crate::container::security::ImageUser;
use crate::hooks;
use crate::image::{Outcome, Wanted};
use crate::labels;
use crate::machine::Machine;
use crate::plan::{self, KillReason, Plan};
use crate::resources;
use crate::sandbox;
use crate::spec::{self, Kind};
use crate::status::Waiting;
use crate::time;
use crate::view::{RunState, SandboxNeed};

/// How long a container that could not be made waits; changes of what it refers to cut the wait short.
const CONFIG_RETRY: Duration = Duration::from_secs(10);
/// Ended containers that stay in the runtime beside the newest, for `logs --previous`.
const KEPT: usize = 1;

/// Whether one container's turn let the next one have its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Started {
    /// It runs.
    Yes,
    /// It does not, or not yet.
    No,
}

/// Makes the pod's directories and its sandbox.
pub(super) async fn make_sandbox(machine: &Machine, pod: &Pod, attempt: u32) -> Result<(), String> {
    let settings = &machine.config;
    let (namespace, name, uid) = (spec::namespace(pod), spec::name(pod), spec::uid(pod));
    for dir in [settings.pod_dir(uid), settings.log_dir(namespace, name, uid)] {
        std::fs::create_dir_all(&dir).map_err(|e| format!("making {}: {e}", dir.display()))?;
    }
    refuse_unsupported(pod)?;
    if let Some(cgroups) = &machine.cgroups {
        cgroups.ensure(&machine.cgroup_of(pod), &resources::pod(pod)).map_err(|e| e.to_string())?;
    }
    let config = sandbox::config(machine, pod, attempt);
    let runtime_handler = runtime_handler(machine, pod).await?;
    let request = v1::RunPodSandboxRequest { config: Some(config), runtime_handler };
    let answer = machine.deps.runtime.run_pod_sandbox(request).await;
    answer.map(|_| ()).map_err(|error| format!("rpc error: code = {:?} desc = {error}", error.code()))
}

/// What would silently be something else than the user asked for.
fn refuse_unsupported(pod: &Pod) -> Result<(), String> {
    let spec = spec::of(pod);
    if spec.host_users == Some(false) {
        return Err("this node does not support user namespaces (hostUsers: false) yet".into());
    }
    if spec.resource_claims.as_ref().is_some_and(|c| !c.is_empty()) {
        return Err("this node does not support resourceClaims yet".into());
    }
    Ok(())
}

/// The runtime's name for the pod's runtime class.
async fn runtime_handler(machine: &Machine, pod: &Pod) -> Result<String, String> {
    let Some(name) = spec::of(pod).runtime_class_name.as_deref().filter(|n| !n.is_empty()) else { return Ok(String::new()) };
    let api: Api<RuntimeClass> = Api::all(machine.deps.client.clone());
    let class = api.get(name).await;
    class.map(|c| c.handler).map_err(|e| format!("failed to get sandbox runtime: RuntimeClass {name:?}: {e}"))
}

impl Worker {
    /// Stops and forgets what is left of a broken sandbox; answers whether a new one can be made now.
    pub(super) async fn clear_for_new_sandbox(&mut self, attempt: u32) -> bool {
        let Some(old) = self.view.sandboxes.first().cloned() else { return true };
        if attempt > 0 && old.ready {
            self.machine.event(&self.pod, EventType::Normal, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        }
        let running: Vec<(String, String)> = self.view.running().map(|c| (c.id.clone(), c.name.clone())).collect();
        for (id, name) in &running {
            let message = format!("Stopping container {name}");
            self.kill(plan::Kill { id: id.clone(), name: name.clone(), message, reason: KillReason::Other });
        }
        if !running.is_empty() {
            return false;
        }
        let runtime = &self.machine.deps.runtime;
        for (index, sandbox) in self.view.sandboxes.iter().enumerate() {
            let stopped = runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: sandbox.id.clone() }).await;
            if let Err(error) = stopped {
                tracing::warn!(pod = spec::label(&self.pod), %error, "stopping a sandbox");
                self.within(Duration::from_secs(1));
                return false;
            }
            // The newest old one keeps the containers that tell how the last ones ended.
            if index >= KEPT {
                let removed = runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() }).await;
                if let Err(error) = removed {
                    tracing::debug!(pod = spec::label(&self.pod), %error, "removing a sandbox");
                }
            }
        }
        true
    }

    /// Stops one container in the background.
    pub(super) fn kill(&mut self, kill: plan::Kill) {
        if self.killing.contains_key(&kill.id) {
            return;
        }
        let grace = kill::grace(&self.pod, &kill.name, kill.reason);
        let task = Kill {
            machine: self.machine.clone(),
            pod: self.pod.clone(),
            id: kill.id.clone(),
            name: kill.name,
            message: kill.message,
            grace,
            hook: Hook::Run,
            wake: self.wake.clone(),
            pod_ip: self.pod_ips().first().cloned().unwrap_or_default(),
            order: None,
        };
        self.killing.insert(kill.id, task.start());
    }

    /// Starts what the plan says, in order; answers whether anything changed in the runtime.
    pub(super) async fn start_all(&mut self, plan: &Plan) -> bool {
        let pod = self.pod.clone();
        let spec = spec::of(&pod);
        let mut changed = false;
        for container in spec::ephemeral(spec).iter().enumerate().filter(|(at, _)| plan.start_ephemeral.contains(at)).map(|(_, c)| c) {
            changed |= self.start(Kind::Ephemeral, container).await == Started::Yes;
        }
        for container in plan.start_init.iter().filter_map(|at| spec::init(spec).get(*at)) {
            // A hook that runs holds the later containers back.
            if !self.hooks.is_empty() {
                return changed;
            }
            let started = self.start(Kind::Init, container).await;
            changed |= started == Started::Yes;
            if started == Started::No && !spec::is_sidecar(container) {
                return changed;
            }
        }
        for container in plan.start.iter().filter_map(|at| spec.containers.get(*at)) {
            if !self.hooks.is_empty() {
                return changed;
            }
            changed |= self.start(Kind::Regular, container).await == Started::Yes;
        }
        changed
    }

    async fn start(&mut self, kind: Kind, container: &Container) -> Started {
        if self.killing.values().any(|k| k.name == container.name) {
            return Started::No;
        }
        if let Some(wait) = self.crash_wait(kind, container) {
            self.within(wait);
            return Started::No;
        }
        let (machine, pod) = (self.machine.clone(), self.pod.clone());
        let field_path = kind.field_path(&container.name);
        let wanted =
            Wanted { image: container.image.as_deref().unwrap_or_default(), policy: container.image_pull_policy.as_deref(), field_path };
        let Some((image_ref, user)) = self.image(kind, container, &wanted).await else { return Started::No };
        if !self.volume_images(kind, container).await {
            return Started::No;
        }
        match self.create(kind, container, &image_ref, &user).await {
            Ok(()) => {
                self.waiting.remove(&container.name);
                Started::Yes
            }
            Err((reason, message)) => {
                machine.container_event(&pod, kind, &container.name, EventType::Warning, "Failed", format!("Error: {message}"));
                self.wait(container, reason, message);
                self.within(CONFIG_RETRY);
                Started::No
            }
        }
    }

    /// An image and its user; without it, the container says why it waits.
    async fn image(&mut self, kind: Kind, container: &Container, wanted: &Wanted<'_>) -> Option<(String, ImageUser)> {
        let (machine, pod, wake) = (self.machine.clone(), self.pod.clone(), self.wake.clone());
        match machine.pulls.ensure(&machine, &pod, wanted, &wake).await {
            Outcome::Present { image_ref, user } => Some((image_ref, user)),
            Outcome::Pulling => {
                // Whatever was wrong before is out of date.
                self.waiting.remove(&container.name);
                None
            }
            Outcome::Failed(failure) => {
                if let Some(wait) = failure.retry {
                    self.within(wait);
                }
                // Failed pulls have their own events.
                let news = self.waiting.get(&container.name).is_none_or(|w| w.reason != failure.reason);
                if news && !matches!(failure.reason, "ErrImagePull" | "ImagePullBackOff") {
                    machine.container_event(
                        &pod,
                        kind,
                        &container.name,
                        EventType::Warning,
                        "Failed",
                        format!("Error: {}", failure.reason),
                    );
                }
                self.wait(container, failure.reason, failure.message);
                None
            }
        }
    }

    /// Makes sure of the images that the container mounts as volumes.
    async fn volume_images(&mut self, kind: Kind, container: &Container) -> bool {
        let pod = self.pod.clone();
        let mounts = |name: &str| container.volume_mounts.iter().flatten().any(|m| m.name == name);
        for volume in spec::of(&pod).volumes.iter().flatten().filter(|v| mounts(&v.name)) {
            let Some(source) = &volume.image else { continue };
            let wanted = Wanted {
                image: source.reference.as_deref().unwrap_or_default(),
                policy: source.pull_policy.as_deref(),
                field_path: format!("spec.volumes{{{}}}", volume.name),
            };
            let Some((image_ref, _)) = self.image(kind, container, &wanted).await else { return false };
            if let Some(mounted) = self.volumes.ready.as_mut().and_then(|v| v.mounted.get_mut(&volume.name)) {
                mounted.image = Some(image_ref);
            }
        }
        true
    }

    fn wait(&mut self, container: &Container, reason: &str, message: String) {
        self.waiting.insert(container.name.clone(), Waiting { reason: reason.to_owned(), message });
    }

    /// The rest of a crashed container's back-off.
    fn crash_wait(&mut self, kind: Kind, container: &Container) -> Option<Duration> {
        let last = self.view.latest(&container.name).filter(|c| c.state == RunState::Exited)?;
        let (finished_at, now) = (last.finished_at, time::nanos(self.machine.config.clock.now()));
        let key = format!("{}/{}", container.name, labels::hash(container));
        let Turn::Later { wait, left } = self.crashes.turn(&key, finished_at, now) else { return None };
        let pod = spec::label(&self.pod);
        let message = format!("back-off {} restarting failed container={} pod={pod}", time::go(wait), container.name);
        let told = self.waiting.get(&container.name).is_some_and(|w| w.message == message);
        if !told {
            let text = format!("Back-off restarting failed container {} in pod {pod}", container.name);
            self.machine.container_event(&self.pod, kind, &container.name, EventType::Warning, "BackOff", text);
        }
        self.wait(container, "CrashLoopBackOff", message);
        Some(left)
    }

    async fn create(&mut self, kind: Kind, container: &Container, image_ref: &str, user: &ImageUser) -> Result<(), (&'static str, String)> {
        let (machine, pod) = (self.machine.clone(), self.pod.clone());
        let config_error = |message: String| ("CreateContainerConfigError", message);
        let SandboxNeed::Keep(sandbox_id) = self.view.sandbox_need(spec::host_network(spec::of(&pod))) else {
            return Err(config_error("the pod has no sandbox".into()));
        };
        let attempt = self.view.ready_sandbox().map_or(0, |s| s.attempt);
        let target = match kind {
            Kind::Ephemeral => self.target(&container.name)?,
            Kind::Init | Kind::Regular => None,
        };
        self.forget_older(&container.name).await;
        let volumes = self.volumes.ready.as_ref().map(|v| v.mounted.clone()).unwrap_or_default();
        let around = self.around();
        let making = Making {
            pod: &pod,
            container,
            restart_count: self.restart_count(container),
            image_ref,
            image_user: user,
            around: &around,
            volumes: &volumes,
            target: target.as_deref(),
        };
        let config = config::build(&machine, &making).await.map_err(|e| config_error(e.0))?;
        let request = v1::CreateContainerRequest {
            pod_sandbox_id: sandbox_id,
            config: Some(config),
            sandbox_config: Some(sandbox::config(&machine, &pod, attempt)),
        };
        let runtime = &machine.deps.runtime;
        let id = runtime.create_container(request).await.map_err(|e| ("CreateContainerError", e.to_string()))?.container_id;
        machine.container_event(&pod, kind, &container.name, EventType::Normal, "Created", "Container created");
        let started = runtime.start_container(v1::StartContainerRequest { container_id: id.clone() }).await;
        started.map_err(|e| ("RunContainerError", e.to_string().replace(&id, &container.name)))?;
        machine.container_event(&pod, kind, &container.name, EventType::Normal, "Started", "Container started");
        self.run_post_start(container, &id);
        Ok(())
    }

    fn run_post_start(&mut self, container: &Container, id: &str) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.post_start.clone()) else { return };
        let (machine, pod, wake) = (self.machine.clone(), self.pod.clone(), self.wake.clone());
        let (container, id, ip) = (container.clone(), id.to_owned(), self.pod_ips().first().cloned().unwrap_or_default());
        let name = container.name.clone();
        let key = id.clone();
        let task = tokio::spawn(async move {
            let result = hooks::run(&machine, &pod, &container, &id, &ip, &hook).await;
            wake.notify_one();
            result
        });
        self.hooks.insert(key, (name, task));
    }

    pub(super) fn post_start_failed(&mut self, id: &str, name: &str, message: String) {
        let kind = spec::find(spec::of(&self.pod), name).map_or(Kind::Regular, |(kind, _)| kind);
        // The details may hold secrets.
        self.machine.container_event(&self.pod, kind, name, EventType::Warning, "FailedPostStartHook", "PostStartHook failed");
        self.waiting.insert(name.to_owned(), Waiting { reason: "PostStartHookError".into(), message });
        if self.view.by_id(id).is_some_and(|c| c.state == RunState::Running) {
            self.kill(plan::Kill {
                id: id.to_owned(),
                name: name.to_owned(),
                message: "FailedPostStartHook".into(),
                reason: KillReason::Other,
            });
        }
    }

    /// The container whose processes an ephemeral one sees.
    fn target(&self, name: &str) -> Result<Option<String>, (&'static str, String)> {
        let ephemeral = spec::of(&self.pod).ephemeral_containers.iter().flatten().find(|e| e.name == name);
        let Some(target) = ephemeral.and_then(|e| e.target_container_name.as_deref()).filter(|t| !t.is_empty()) else { return Ok(None) };
        let missing = || ("CreateContainerConfigError", format!("unable to find target container {target}"));
        self.view.latest(target).map(|c| Some(c.id.clone())).ok_or_else(missing)
    }

    /// How many containers of this name there were; from the logs when the runtime has forgotten.
    fn restart_count(&self, container: &Container) -> i32 {
        if let Some(last) = self.view.latest(&container.name) {
            return last.noted.restart_count.saturating_add(1);
        }
        let pod = &self.pod;
        let dir = self.machine.config.log_dir(spec::namespace(pod), spec::name(pod), spec::uid(pod)).join(&container.name);
        let names = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
        let last = names.filter_map(|n| n.to_string_lossy().split('.').next()?.parse::<i32>().ok()).max();
        last.map_or(0, |n| n.saturating_add(1))
    }

    /// Removes ended containers of this name that nobody will ask for any more.
    async fn forget_older(&self, name: &str) {
        let ended = self.view.containers.iter().filter(|c| c.name == name && c.state == RunState::Exited);
        for container in ended.skip(KEPT) {
            let removed =
                self.machine.deps.runtime.remove_container(v1::RemoveContainerRequest { container_id: container.id.clone() }).await;
            match removed {
                Ok(_) => drop(std::fs::remove_file(&container.log_path)),
                Err(error) => tracing::debug!(container = container.id, %error, "removing an ended container"),
            }
        }
    }
}
