//! The one owner of a pod on this node.
//!
//! # Expected flow
//! A loop: observe the runtime, decide, act, tell the API; then wait for a wish, an event or a timer.
//! # Guarantees
//! Nothing waits in the loop for what may take long: pulls, hooks and stops run beside it and wake it. A worker that
//! starts anew, after a crash or a restart of the process, finds all of its pod in the runtime.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use client::EventType;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::crash::Crashes;
use super::end::Ending;
use super::kill::Killing;
use super::{Desired, Wish};
use crate::downward::Surroundings;
use crate::machine::Machine;
use crate::observe;
use crate::plan::{self, Plan, SandboxAction, Verdict};
use crate::probe::{Probes, Purpose, Results};
use crate::spec;
use crate::status::writer::{Then, Writer};
use crate::status::{self, Facts, Imposed, Stage, Waiting};
use crate::time;
use crate::view::View;
use crate::volume::{self, Volumes};

/// How long to wait before asking a runtime that failed again.
const RUNTIME_RETRY: Duration = Duration::from_secs(1);
/// How long to wait before making a sandbox again that could not be made; nothing cuts it short, since the failed attempt
/// itself shows up as a change in the runtime.
const SANDBOX_RETRY: stdx::Backoff = stdx::Backoff::new(Duration::from_secs(1), Duration::from_secs(10));
/// How long to wait before trying volumes again; changes of what they refer to cut it short.
const VOLUME_RETRY: stdx::Backoff = stdx::Backoff::new(Duration::from_millis(500), Duration::from_secs(122));
/// How often a pod is looked at when nothing happens.
const RESYNC: Duration = Duration::from_secs(60);

/// The life of a pod on this node.
pub(super) enum State {
    /// Containers may start.
    Alive,
    /// Containers are being stopped.
    Ending(Ending),
    /// Nothing runs; the API has been, or is being, told.
    Ended,
    /// All of it is gone from this node.
    Gone,
}

/// The owner of one pod.
pub(super) struct Worker {
    pub(super) machine: Arc<Machine>,
    pub(super) desired: watch::Receiver<Desired>,
    pub(super) wake: Arc<Notify>,
    /// Tells the registry that the pod no longer uses resources.
    pub(super) ended: Arc<AtomicBool>,
    pub(super) state: State,
    pub(super) pod: Arc<Pod>,
    pub(super) view: View,
    pub(super) status: PodStatus,
    pub(super) writer: Writer,
    pub(super) waiting: HashMap<String, Waiting>,
    pub(super) crashes: Crashes,
    pub(super) results: Arc<Results>,
    pub(super) probes: Probes,
    pub(super) volumes: VolumeState,
    sandbox_failures: u32,
    /// No sandbox is made before this.
    sandbox_at: Option<Instant>,
    /// postStart hooks that run, by container identifier.
    pub(super) hooks: HashMap<String, (String, JoinHandle<Result<(), String>>)>,
    /// Containers that are being stopped, by identifier.
    pub(super) killing: HashMap<String, Killing>,
    pub(super) imposed: Option<Imposed>,
    /// The soonest thing to do when nothing else happens.
    pub(super) due: Option<Duration>,
}

/// How the pod's volumes stand.
#[derive(Default)]
pub(super) struct VolumeState {
    pub(super) ready: Option<Volumes>,
    failures: u32,
    refresh_at: Option<Instant>,
}

impl Worker {
    /// A worker that will find out for itself what there is of the pod.
    pub(super) fn new(machine: Arc<Machine>, desired: watch::Receiver<Desired>, wake: Arc<Notify>, ended: Arc<AtomicBool>) -> Self {
        let pod = desired.borrow().pod.clone();
        let results = Arc::new(Results::default());
        adopt_verdicts(&pod, &results);
        Self {
            desired,
            ended,
            state: State::Alive,
            view: View::default(),
            status: pod.status.clone().unwrap_or_default(),
            writer: Writer::start(machine.deps.client.clone()),
            waiting: HashMap::new(),
            crashes: Crashes::default(),
            probes: Probes::new(machine.clone(), results.clone(), wake.clone()),
            results,
            volumes: VolumeState::default(),
            sandbox_failures: 0,
            sandbox_at: None,
            hooks: HashMap::new(),
            killing: HashMap::new(),
            imposed: None,
            due: None,
            pod,
            wake,
            machine,
        }
    }

    /// Works until the pod is gone from this node, or the registry is.
    pub(super) async fn run(mut self) {
        self.machine.objects.follow(&self.pod, &self.wake);
        loop {
            let desired = self.desired.borrow_and_update().clone();
            if desired.pod.metadata.generation != self.pod.metadata.generation {
                self.machine.objects.follow(&desired.pod, &self.wake);
            }
            self.pod = desired.pod;
            self.due = None;
            self.step(desired.wish).await;
            if matches!(self.state, State::Gone) {
                return;
            }
            let wait = self.due.unwrap_or(RESYNC).min(RESYNC);
            tokio::select! {
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn step(&mut self, wish: Wish) {
        if !self.observe().await {
            return self.within(RUNTIME_RETRY);
        }
        self.reap().await;
        if let (Wish::Reject(imposed), State::Alive) = (&wish, &self.state) {
            self.imposed = Some(imposed.clone());
        }
        let over = wish != Wish::Follow || spec::is_deleting(&self.pod) || spec::is_terminal(&self.pod) || self.past_deadline();
        if over && matches!(self.state, State::Alive) {
            self.begin_ending();
        }
        if matches!(self.state, State::Alive) {
            self.keep_alive().await;
        }
        if matches!(self.state, State::Ending(_)) {
            self.go_on_ending(&wish).await;
        }
        self.publish();
        if matches!(self.state, State::Ended) {
            self.after_end(&wish).await;
        }
    }

    /// Looks at the runtime; answers whether that worked.
    pub(super) async fn observe(&mut self) -> bool {
        match observe::pod(self.machine.deps.runtime.as_ref(), spec::uid(&self.pod), &self.view).await {
            Ok(view) => {
                self.view = view;
                true
            }
            Err(error) => {
                tracing::warn!(pod = spec::label(&self.pod), %error, "asking the runtime for a pod");
                false
            }
        }
    }

    /// Takes note of hooks and stops that are over.
    async fn reap(&mut self) {
        self.killing.retain(|_, killing| !killing.is_done());
        let done: Vec<String> = self.hooks.iter().filter(|(_, (_, task))| task.is_finished()).map(|(id, _)| id.clone()).collect();
        for id in done {
            let Some((name, task)) = self.hooks.remove(&id) else { continue };
            if let Ok(Err(message)) = task.await {
                self.post_start_failed(&id, &name, message);
            }
        }
    }

    /// Whether `activeDeadlineSeconds` have passed; if not, wakes when they will have.
    fn past_deadline(&mut self) -> bool {
        let Some(limit) = spec::of(&self.pod).active_deadline_seconds.and_then(|s| u64::try_from(s).ok()) else { return false };
        let Some(start) = &self.status.start_time else { return false };
        let now = self.machine.config.clock.now();
        let passed = now.duration_since(start.0.into()).unwrap_or_default();
        let left = Duration::from_secs(limit).saturating_sub(passed);
        if !left.is_zero() {
            self.within(left);
            return false;
        }
        if self.imposed.is_none() && matches!(self.state, State::Alive) {
            let message = "Pod was active on the node longer than the specified deadline";
            self.machine.event(&self.pod, EventType::Normal, "DeadlineExceeded", message);
            self.imposed = Some(Imposed { reason: "DeadlineExceeded".into(), message: message.into() });
        }
        true
    }

    /// Brings the pod to what its specification says.
    async fn keep_alive(&mut self) {
        self.sync_probes();
        let plan = plan::plan(&self.pod, &self.view, self.results.as_ref());
        match plan.sandbox {
            SandboxAction::End => return self.begin_ending(),
            SandboxAction::Create(attempt) => {
                let left = self.sandbox_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
                if !left.is_zero() {
                    return self.within(left);
                }
                if !self.clear_for_new_sandbox(attempt).await {
                    return;
                }
                // The first word that the node has the pod goes out while the sandbox is made.
                self.publish();
                let made = {
                    let pod = self.pod.clone();
                    self.make_sandbox_and_volumes(&pod, attempt).await
                };
                if !made || !self.observe().await {
                    return;
                }
            }
            SandboxAction::Keep(_) => self.prepare_volumes().await,
        }
        self.apply(plan).await;
        self.sync_probes();
    }

    async fn apply(&mut self, plan: Plan) {
        for kill in &plan.kill {
            self.kill(kill.clone());
        }
        if self.volumes.ready.is_none() {
            return;
        }
        if self.start_all(&plan).await && !self.observe().await {
            self.within(RUNTIME_RETRY);
        }
    }

    /// Makes the sandbox and the volumes at the same time, since neither needs the other.
    async fn make_sandbox_and_volumes(&mut self, pod: &Arc<Pod>, attempt: u32) -> bool {
        let machine = self.machine.clone();
        let around = self.around();
        let (sandbox, volumes) = tokio::join!(super::start::make_sandbox(&machine, pod, attempt), volume::prepare(&machine, pod, &around));
        self.take_volumes(volumes);
        match sandbox {
            Ok(()) => {
                (self.sandbox_failures, self.sandbox_at) = (0, None);
                true
            }
            Err(error) => {
                self.machine.event(pod, EventType::Warning, "FailedCreatePodSandBox", format!("Failed to create pod sandbox: {error}"));
                self.sandbox_failures = self.sandbox_failures.saturating_add(1);
                let wait = SANDBOX_RETRY.after(self.sandbox_failures);
                self.sandbox_at = Some(Instant::now() + wait);
                self.within(wait);
                false
            }
        }
    }

    async fn prepare_volumes(&mut self) {
        let around = self.around();
        let made = volume::prepare(&self.machine, &self.pod, &around).await;
        self.take_volumes(made);
    }

    fn take_volumes(&mut self, made: Result<Volumes, volume::Error>) {
        match made {
            Ok(volumes) => {
                self.volumes.failures = 0;
                self.volumes.refresh_at = volumes.refresh.map(|left| Instant::now() + left);
                self.volumes.ready = Some(volumes);
            }
            Err(error) => {
                self.volumes.failures = self.volumes.failures.saturating_add(1);
                self.machine.event(&self.pod, EventType::Warning, "FailedMount", error.to_string());
                self.within(VOLUME_RETRY.after(self.volumes.failures));
            }
        }
        if let Some(at) = self.volumes.refresh_at {
            self.within(at.saturating_duration_since(Instant::now()));
        }
    }

    pub(super) fn sync_probes(&mut self) {
        let ip = self.pod_ips().first().cloned().unwrap_or_default();
        // A container whose postStart hook runs has not started yet.
        let view = self.view_without_hooks();
        self.probes.sync(&self.pod, &view, &ip);
    }

    /// The pod's addresses; the node's for pods in its network.
    pub(super) fn pod_ips(&self) -> Vec<String> {
        if spec::host_network(spec::of(&self.pod)) { self.machine.config.host_ips() } else { self.view.ips() }
    }

    pub(super) fn around(&self) -> Surroundings {
        let node = spec::of(&self.pod).node_name.clone().unwrap_or_default();
        let node = self.machine.node.get(&client::ObjectKey::new("", node));
        let allocatable = node.and_then(|n| n.status.as_ref()?.allocatable.clone()).unwrap_or_default();
        Surroundings {
            pod_ips: self.pod_ips(),
            host_ips: self.machine.config.host_ips(),
            allocatable: allocatable.iter().filter_map(|(name, q)| Some((name.clone(), crate::quantity::milli(q)?))).collect(),
        }
    }

    fn view_without_hooks(&self) -> View {
        let mut view = self.view.clone();
        view.containers.retain(|c| !self.hooks.contains_key(&c.id));
        view
    }

    /// Computes the status and has it written if it changed.
    fn publish(&mut self) {
        let view = self.view_without_hooks();
        let host_ips = self.machine.config.host_ips();
        let stage = match self.state {
            State::Alive => Stage::Alive,
            State::Ending(_) => Stage::Ending,
            State::Ended | State::Gone => Stage::Ended,
        };
        let facts = Facts {
            pod: &self.pod,
            view: &view,
            old: &self.status,
            waiting: &self.waiting,
            verdicts: self.results.as_ref(),
            host_ips: &host_ips,
            runtime: &self.machine.runtime_name,
            stage,
            imposed: self.imposed.as_ref(),
            now: time::now(&self.machine.config.clock),
        };
        let status = status::generate(&facts);
        // The API may have been changed by somebody else, so the writer compares once more.
        self.status = status;
        if !matches!(self.state, State::Ended) {
            self.writer.publish(&self.pod, &self.status, Then::Keep);
        }
    }

    /// Looks again within this time at the latest.
    pub(super) fn within(&mut self, wait: Duration) {
        self.due = Some(self.due.map_or(wait, |due| due.min(wait)));
    }

    pub(super) fn note_end(&mut self) {
        self.state = State::Ended;
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// Takes over what the API says of containers that started and were ready before this kubelet did.
fn adopt_verdicts(pod: &Pod, results: &Results) {
    let Some(status) = &pod.status else { return };
    for container in status.container_statuses.iter().chain(&status.init_container_statuses).flatten() {
        let Some((_, id)) = container.container_id.as_deref().and_then(|id| id.split_once("://")) else { continue };
        if container.started == Some(true) {
            results.set(id, Purpose::Startup, Verdict::Success);
        }
        if container.ready {
            results.set(id, Purpose::Readiness, Verdict::Success);
        }
    }
}
