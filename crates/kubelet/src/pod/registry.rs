//! All pods of the node: starts a worker for each, admits them, and passes on what concerns them.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{EventType, Informer, ObjectKey, WorkQueue};
use cri::v1;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::worker::Worker;
use super::{Desired, Wish, admit};
use crate::labels;
use crate::logs::rotate;
use crate::machine::Machine;
use crate::spec;
use crate::status;
use crate::time;
use crate::volume::teardown;

/// How often the runtime is listed although it tells of events.
const SLOW_RELIST: Duration = Duration::from_secs(60);
/// How often it is listed when it does not.
const FAST_RELIST: Duration = Duration::from_secs(1);
/// The wait before a worker that failed starts anew.
const WORKER_RETRY: Duration = Duration::from_secs(1);

struct Handle {
    key: ObjectKey,
    desired: watch::Sender<Desired>,
    wake: Arc<Notify>,
    ended: Arc<AtomicBool>,
}

/// The pods of the node by UID; bounded by what the API binds here and what still runs.
#[derive(Clone)]
pub struct Registry {
    machine: Arc<Machine>,
    pods: Informer<Pod>,
    handles: Arc<Mutex<HashMap<String, Handle>>>,
    queue: WorkQueue<ObjectKey>,
}

impl Registry {
    /// A registry of the pods that the informer shows.
    pub fn new(machine: Arc<Machine>, pods: Informer<Pod>) -> Self {
        let queue = WorkQueue::default();
        let changed = queue.clone();
        pods.on_change(move |change| changed.add(ObjectKey::of(change.object().as_ref())));
        Self { machine, pods, handles: Arc::default(), queue }
    }

    /// Follows the API and the runtime; never returns.
    pub async fn run(&self) {
        tokio::join!(self.follow_api(), self.follow_runtime());
    }

    /// The pods as the workers see them.
    pub fn list(&self) -> Vec<Arc<Pod>> {
        self.lock().values().map(|h| h.desired.borrow().pod.clone()).collect()
    }

    /// The pod of a name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        self.pods.get(&ObjectKey::new(namespace, name))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Handle>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn follow_api(&self) {
        self.pods.synced().await;
        self.machine.node.synced().await;
        self.clean_up().await;
        // The workers end with this future.
        let mut workers = JoinSet::new();
        while let Some(key) = self.queue.get().await {
            while workers.try_join_next().is_some() {}
            self.sync(&key, &mut workers);
            self.queue.done(&key);
        }
    }

    fn sync(&self, key: &ObjectKey, workers: &mut JoinSet<()>) {
        let current = self.pods.get(key);
        let uid = current.as_deref().map(spec::uid).unwrap_or_default().to_owned();
        let mut handles = self.lock();
        for (_, gone) in handles.iter().filter(|(id, handle)| handle.key == *key && **id != uid) {
            gone.desired.send_if_modified(|desired| std::mem::replace(&mut desired.wish, Wish::Remove) != Wish::Remove);
        }
        let Some(pod) = current else { return };
        if let Some(handle) = handles.get(&uid) {
            handle.desired.send_if_modified(|desired| {
                let news = matters(&desired.pod, &pod);
                desired.pod = pod;
                news
            });
            return;
        }
        let wish = self.admit(&pod, &handles);
        let (desired, wanted) = watch::channel(Desired { pod, wish });
        let (wake, ended) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        handles.insert(uid.clone(), Handle { key: key.clone(), desired, wake: wake.clone(), ended: ended.clone() });
        workers.spawn(supervise(self.clone(), uid, wanted, wake, ended));
    }

    fn admit(&self, pod: &Pod, handles: &HashMap<String, Handle>) -> Wish {
        // Pods that have begun here before were admitted then.
        let begun = pod.status.as_ref().is_some_and(|s| s.container_statuses.is_some() || s.start_time.is_some());
        if begun || spec::is_terminal(pod) || spec::is_deleting(pod) {
            return Wish::Follow;
        }
        let Some(node) = self.machine.node.list().into_iter().next() else { return Wish::Follow };
        let others: Vec<Arc<Pod>> = handles
            .values()
            .filter(|h| !h.ended.load(Ordering::SeqCst))
            .map(|h| h.desired.borrow().clone())
            .filter(|d| !matches!(d.wish, Wish::Reject(_)))
            .map(|d| d.pod)
            .collect();
        let Some(refusal) = admit::check(pod, &others, &node) else { return Wish::Follow };
        let message = refusal.message.trim_start_matches("Pod was rejected: ").to_owned();
        self.machine.event(pod, EventType::Warning, &refusal.reason, message);
        Wish::Reject(refusal)
    }

    async fn follow_runtime(&self) {
        let mut known = HashMap::new();
        loop {
            let pace = match self.machine.deps.runtime.container_events().await {
                Ok(mut events) => {
                    // What happened before the stream began is found by listing.
                    self.relist(&mut known).await;
                    let mut relist = tokio::time::interval(SLOW_RELIST);
                    relist.tick().await;
                    loop {
                        tokio::select! {
                            event = events.next() => match event {
                                Some(Ok(event)) => self.on_event(&event),
                                Some(Err(error)) => {
                                    tracing::debug!(%error, "container events were lost");
                                    self.relist(&mut known).await;
                                }
                                None => break,
                            },
                            _ = relist.tick() => self.relist(&mut known).await,
                        }
                    }
                    FAST_RELIST
                }
                Err(error) => {
                    tracing::debug!(%error, "the runtime has no container events");
                    FAST_RELIST
                }
            };
            self.relist(&mut known).await;
            tokio::time::sleep(pace).await;
        }
    }

    fn on_event(&self, event: &v1::ContainerEventResponse) {
        let uid = event.pod_sandbox_status.as_ref().and_then(|s| s.metadata.as_ref()).map(|m| m.uid.as_str());
        let handles = self.lock();
        match uid.and_then(|uid| handles.get(uid)) {
            Some(handle) => handle.wake.notify_one(),
            // An event that names no pod may be about any.
            None if uid.is_none() => handles.values().for_each(|h| h.wake.notify_one()),
            None => {}
        }
    }

    /// Wakes the workers of pods whose containers or sandboxes are not as they were.
    async fn relist(&self, known: &mut HashMap<String, String>) {
        let runtime = &self.machine.deps.runtime;
        let (sandboxes, containers) = tokio::join!(
            runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()),
            runtime.list_containers(v1::ListContainersRequest::default())
        );
        let (Ok(sandboxes), Ok(containers)) = (sandboxes, containers) else { return };
        self.rotate_logs(&containers.containers).await;
        let rows = sandboxes
            .items
            .into_iter()
            .map(|s| (s.labels, s.id, s.state))
            .chain(containers.containers.into_iter().map(|c| (c.labels, c.id, c.state)));
        let mut now: HashMap<String, Vec<String>> = HashMap::new();
        for (mut row_labels, id, state) in rows {
            if let Some(uid) = row_labels.remove(labels::POD_UID) {
                now.entry(uid).or_default().push(format!("{id}={state}"));
            }
        }
        let now: HashMap<String, String> = now
            .into_iter()
            .map(|(uid, mut list)| {
                list.sort();
                (uid, list.join(","))
            })
            .collect();
        let handles = self.lock();
        for (uid, handle) in handles.iter() {
            if now.get(uid) != known.get(uid) {
                handle.wake.notify_one();
            }
        }
        drop(handles);
        *known = now;
    }

    /// Moves logs away that have grown too long.
    async fn rotate_logs(&self, containers: &[v1::Container]) {
        let config = &self.machine.config;
        let now = time::now(&config.clock).0.strftime("%Y%m%d-%H%M%S").to_string();
        for container in containers.iter().filter(|c| c.state() == v1::ContainerState::ContainerRunning) {
            let label = |key: &str| container.labels.get(key).map(String::as_str).unwrap_or_default();
            let name = label(labels::CONTAINER_NAME);
            let dir = config.log_dir(label(labels::POD_NAMESPACE), label(labels::POD_NAME), label(labels::POD_UID)).join(name);
            let path = dir.join(format!("{}.log", labels::read(&container.annotations).restart_count));
            match rotate::check(self.machine.deps.runtime.as_ref(), &container.id, &path, &now).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "rotating a log")
                }
                _ => {}
            }
        }
    }

    /// Takes away what is left of pods that the API no longer has.
    async fn clean_up(&self) {
        let wanted: HashSet<String> = self.pods.list().iter().map(|p| spec::uid(p).to_owned()).collect();
        let runtime = &self.machine.deps.runtime;
        let listed = runtime.list_pod_sandbox(v1::ListPodSandboxRequest::default()).await;
        for sandbox in listed.map(|l| l.items).unwrap_or_default() {
            let Some(uid) = sandbox.labels.get(labels::POD_UID).filter(|uid| !wanted.contains(*uid)) else { continue };
            tracing::info!(uid, sandbox = sandbox.id, "removing a pod that the API no longer has");
            let id = sandbox.id.clone();
            let machine = self.machine.clone();
            let uid = uid.clone();
            tokio::spawn(async move { remove_orphan(&machine, &uid, id).await });
        }
        let dirs = std::fs::read_dir(self.machine.config.data_dir.join("pods")).into_iter().flatten().flatten();
        for dir in dirs.filter(|d| !wanted.contains(&*d.file_name().to_string_lossy())) {
            let removed = tokio::task::spawn_blocking(move || teardown::remove(&dir.path())).await;
            if let Ok(Err(error)) = removed {
                tracing::warn!(%error, "removing the files of a pod that the API no longer has");
            }
        }
        let logs = std::fs::read_dir(self.machine.config.data_dir.join("logs/pods")).into_iter().flatten().flatten();
        for dir in logs {
            let name = dir.file_name().to_string_lossy().into_owned();
            if name.rsplit('_').next().is_some_and(|uid| !wanted.contains(uid)) {
                // Logs are only a convenience here.
                let _ = std::fs::remove_dir_all(dir.path());
            }
        }
    }
}

/// Whether a pod's change asks for work; its worker's own writes of the status do not.
fn matters(old: &Pod, new: &Pod) -> bool {
    let (a, b) = (&old.metadata, &new.metadata);
    let gates = |pod: &Pod| -> Vec<(String, String)> {
        let conditions = pod.status.iter().filter_map(|s| s.conditions.as_ref()).flatten();
        conditions.filter(|c| !status::is_own_condition(&c.type_)).map(|c| (c.type_.clone(), c.status.clone())).collect()
    };
    a.generation != b.generation
        || a.deletion_timestamp != b.deletion_timestamp
        || a.deletion_grace_period_seconds != b.deletion_grace_period_seconds
        || a.labels != b.labels
        || a.annotations != b.annotations
        || spec::phase(old) != spec::phase(new) && spec::is_terminal(new)
        || old.spec != new.spec
        || gates(old) != gates(new)
}

/// Stops a pod's containers within the grace period that they were made with, and removes it.
async fn remove_orphan(machine: &Machine, uid: &str, pod_sandbox_id: String) {
    const DEFAULT_GRACE: i64 = 30;
    let runtime = &machine.deps.runtime;
    let filter = v1::ContainerFilter { pod_sandbox_id: pod_sandbox_id.clone(), ..v1::ContainerFilter::default() };
    let listed = runtime.list_containers(v1::ListContainersRequest { filter: Some(filter) }).await;
    let stops = listed.map(|l| l.containers).unwrap_or_default().into_iter().map(|container| {
        let timeout = labels::read(&container.annotations).termination_grace.unwrap_or(DEFAULT_GRACE);
        runtime.stop_container(v1::StopContainerRequest { container_id: container.id, timeout })
    });
    futures::future::join_all(stops).await;
    let stopped = runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await;
    let removed = runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: pod_sandbox_id.clone() }).await;
    if let Err(error) = stopped.map(|_| ()).and(removed.map(|_| ())) {
        tracing::warn!(sandbox = pod_sandbox_id, %error, "removing a pod that the API no longer has");
    }
    // Its class is no longer known.
    let root = machine.config.cgroup_root.trim_end_matches('/');
    for class in ["", "/burstable", "/besteffort"] {
        let removed = machine.cgroups.as_ref().map_or(Ok(()), |c| c.remove(&format!("{root}/kubepods{class}/pod{uid}")));
        if let Err(error) = removed {
            tracing::debug!(uid, %error, "removing the cgroup of a pod that the API no longer has");
        }
    }
}

/// Runs the pod's worker until the pod is gone; one that fails starts anew and finds the pod in the runtime.
async fn supervise(registry: Registry, uid: String, desired: watch::Receiver<Desired>, wake: Arc<Notify>, ended: Arc<AtomicBool>) {
    loop {
        let worker = Worker::new(registry.machine.clone(), desired.clone(), wake.clone(), ended.clone());
        // A set of one, since it ends its task when it is dropped.
        let mut running = JoinSet::new();
        running.spawn(worker.run());
        match running.join_next().await {
            None | Some(Ok(())) => break,
            Some(Err(error)) => tracing::error!(uid, %error, "a pod's worker failed and starts anew"),
        }
        tokio::time::sleep(WORKER_RETRY).await;
    }
    let key = registry.lock().remove(&uid).map(|handle| handle.key);
    // Another pod of the same name may have come meanwhile.
    key.into_iter().for_each(|key| registry.queue.add(key));
}
