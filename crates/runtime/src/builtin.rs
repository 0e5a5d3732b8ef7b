//! The runtime as the daemon holds it: what sandboxes and containers there are, and the way to each sandbox's shim.
//!
//! All that must outlast this process is in files (`records`); this is a view of them, built anew at every start (`recover`).

mod attach;
mod client;
mod container;
mod exec;
mod files;
mod forward;
mod records;
mod recover;
mod sandbox;
mod service;
mod stats;
mod status;
mod stop;
mod terminal;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cri::v1;
use tokio::sync::broadcast;

use crate::cgroup::{self, Cgroups};
use crate::image::Images;
use crate::network::PodNetwork;
use crate::paths::Layout;

use container::Container;
use sandbox::Sandbox;

/// Events that a slow listener may be behind before it is told to list again.
const EVENTS: usize = 1024;

/// What the runtime is built on.
#[derive(Clone)]
pub struct Config {
    /// The node's data directory; the runtime uses `runtime/` and `netns/` below it.
    pub data_dir: PathBuf,
    /// The cgroup below which sandboxes without a `cgroup_parent` of their own are put, such as `/ferry`. A `cgroup_parent` is taken as it
    /// is: the kubelet has put its own root before it.
    pub cgroup_root: String,
    /// Where images come from.
    pub images: Arc<dyn Images>,
    /// What joins sandboxes to the pod network.
    pub network: Arc<dyn PodNetwork>,
    /// Timestamps.
    pub clock: stdx::Clock,
    /// Ids.
    pub prng: stdx::Prng,
}

/// The built-in runtime.
pub struct Builtin {
    config: Config,
    layout: Layout,
    cgroups: Cgroups,
    state: Mutex<State>,
    events: broadcast::Sender<v1::ContainerEventResponse>,
    next_exec: AtomicU64,
    this: Weak<Builtin>,
}

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, Arc<Sandbox>>,
    containers: BTreeMap<String, Arc<Container>>,
}

impl Builtin {
    /// Opens the runtime on its data directory and finds again what runs there. Needs root, and a tokio runtime with I/O and time.
    pub async fn open(config: Config) -> cri::Result<Arc<Self>> {
        let layout = Layout::new(&config.data_dir);
        let cgroups = files::blocking({
            let layout = layout.clone();
            move || {
                files::make_folders(&layout)?;
                let mounts =
                    std::fs::read_to_string("/proc/self/mountinfo").map_err(|e| files::failed("reading", "/proc/self/mountinfo", &e))?;
                Ok(Cgroups::detect(&mounts)?)
            }
        })
        .await?;
        if cgroups.tree().version() == cgroup::Version::V2 {
            tracing::warn!("on cgroup v2 the access to devices is limited only by which nodes a container has, not by the kernel");
        }
        let runtime = Arc::new_cyclic(|this| Self {
            config,
            layout,
            cgroups,
            state: Mutex::default(),
            events: broadcast::channel(EVENTS).0,
            next_exec: AtomicU64::new(1),
            this: this.clone(),
        });
        runtime.recover().await?;
        Ok(runtime)
    }

    /// Takes every sandbox away, running or not, with its mounts, namespaces and cgroups. For `ferry reset`. Goes on after a failure and
    /// answers the first one.
    pub async fn destroy_all(&self) -> cri::Result<()> {
        let ids: Vec<String> = self.lock().sandboxes.keys().cloned().collect();
        let mut outcome = Ok(());
        for id in ids {
            let removed = self.remove_sandbox(&id).await;
            outcome = outcome.and(removed);
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Finds a sandbox by its id or an unambiguous beginning of it.
    fn sandbox(&self, id: &str) -> cri::Result<Arc<Sandbox>> {
        find(&self.lock().sandboxes, id).ok_or_else(|| cri::Error::NotFound(format!("pod sandbox {id:?} not found")))
    }

    /// As [`Self::sandbox`], for a container.
    fn container(&self, id: &str) -> cri::Result<Arc<Container>> {
        find(&self.lock().containers, id).ok_or_else(|| cri::Error::NotFound(format!("container {id:?} not found")))
    }

    /// The containers of one sandbox.
    fn containers_of(&self, sandbox: &str) -> Vec<Arc<Container>> {
        self.lock().containers.values().filter(|c| c.record.sandbox == sandbox).cloned().collect()
    }

    /// Nanoseconds since the epoch.
    fn now(&self) -> i64 {
        let since = self.config.clock.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    }

    /// A fresh id: 64 hexadecimal digits, as tools expect.
    fn fresh_id(&self) -> String {
        (0..4).map(|_| format!("{:016x}", self.config.prng.next_u64())).collect()
    }

    /// Tells listeners what happened to a container, or to a sandbox as its own container.
    fn publish(&self, id: &str, sandbox: &Arc<Sandbox>, kind: v1::ContainerEventType) {
        // Nobody listening is no error, and building the statuses is then not worth it.
        if self.events.receiver_count() > 0 {
            let containers = self.containers_of(&sandbox.id);
            let _ = self.events.send(v1::ContainerEventResponse {
                container_id: id.to_owned(),
                container_event_type: kind.into(),
                created_at: self.now(),
                pod_sandbox_status: Some(status::sandbox(sandbox)),
                containers_statuses: containers.iter().map(status::container).collect(),
            });
        }
    }
}

fn find<T>(all: &BTreeMap<String, Arc<T>>, id: &str) -> Option<Arc<T>> {
    if let Some(found) = all.get(id) {
        return Some(found.clone());
    }
    let mut matching = all.range(id.to_owned()..).take_while(|(key, _)| !id.is_empty() && key.starts_with(id)).map(|(_, value)| value);
    match (matching.next(), matching.next()) {
        (Some(only), None) => Some(only.clone()),
        _ => None,
    }
}
