//! Probes: startup, liveness and readiness, by exec, HTTP, TCP and gRPC.

pub mod check;
mod grpc;
pub mod http;
mod task;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::machine::Machine;
use crate::plan::{Verdict, Verdicts};
use crate::spec::{self, Kind};
use crate::view::{RunState, View};

/// What a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Whether the container has started.
    Startup,
    /// Whether it must be restarted.
    Liveness,
    /// Whether it can serve.
    Readiness,
}

impl Purpose {
    /// The word in events.
    pub fn word(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }
}

/// The verdicts of one pod's probes, by container identifier. Bounded by the pod's containers.
#[derive(Default)]
pub struct Results(Mutex<HashMap<(String, Purpose), Verdict>>);

impl Results {
    /// Records a verdict; answers whether it is new.
    pub fn set(&self, container_id: &str, purpose: Purpose, verdict: Verdict) -> bool {
        self.lock().insert((container_id.to_owned(), purpose), verdict) != Some(verdict)
    }

    fn get(&self, container_id: &str, purpose: Purpose) -> Option<Verdict> {
        self.lock().get(&(container_id.to_owned(), purpose)).copied()
    }

    fn keep(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|(id, _), _| keep(id));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, Purpose), Verdict>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Verdicts for Results {
    fn liveness(&self, container_id: &str) -> Option<Verdict> {
        self.get(container_id, Purpose::Liveness)
    }
    fn startup(&self, container_id: &str) -> Option<Verdict> {
        self.get(container_id, Purpose::Startup)
    }
    fn readiness(&self, container_id: &str) -> Option<Verdict> {
        self.get(container_id, Purpose::Readiness)
    }
}

/// The probes of one pod that run now. All end when it is dropped.
pub struct Probes {
    machine: Arc<Machine>,
    results: Arc<Results>,
    wake: Arc<Notify>,
    tasks: HashMap<(String, Purpose), AbortHandle>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Probes {
    /// No probe runs until [`Probes::sync`]; `wake` is told of new verdicts.
    pub fn new(machine: Arc<Machine>, results: Arc<Results>, wake: Arc<Notify>) -> Self {
        Self { machine, results, wake, tasks: HashMap::new() }
    }

    /// Starts the probes that are due for running containers and ends those of others. While a pod ends, only readiness counts.
    pub fn sync(&mut self, pod: &Arc<Pod>, view: &View, pod_ip: &str) {
        let running = |id: &str| view.by_id(id).is_some_and(|c| c.state == RunState::Running);
        self.tasks.retain(|(id, purpose), task| {
            let keep = running(id) && (*purpose == Purpose::Readiness || !spec::is_deleting(pod));
            if !keep {
                task.abort();
            }
            keep
        });
        self.results.keep(|id| view.by_id(id).is_some());
        for (kind, container) in spec::all(spec::of(pod)) {
            if kind == Kind::Ephemeral || (kind == Kind::Init && !spec::is_sidecar(&container)) {
                continue;
            }
            let Some(seen) = view.latest(&container.name).filter(|c| c.state == RunState::Running) else { continue };
            let started = container.startup_probe.is_none() || self.results.startup(&seen.id) == Some(Verdict::Success);
            let due: [(Purpose, &Option<Probe>, bool); 3] = [
                (Purpose::Startup, &container.startup_probe, !started && !spec::is_deleting(pod)),
                (Purpose::Liveness, &container.liveness_probe, started && !spec::is_deleting(pod)),
                (Purpose::Readiness, &container.readiness_probe, started),
            ];
            for (purpose, probe, _) in due.into_iter().filter(|(.., due)| *due) {
                if let Some(probe) = probe {
                    self.start(pod, kind, &container, &seen.id, seen.started_at, purpose, probe, pod_ip);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields of the task that is made here")]
    fn start(
        &mut self,
        pod: &Arc<Pod>,
        kind: Kind,
        container: &Container,
        id: &str,
        started_at: i64,
        purpose: Purpose,
        probe: &Probe,
        pod_ip: &str,
    ) {
        let key = (id.to_owned(), purpose);
        if self.tasks.contains_key(&key) {
            return;
        }
        let target = check::Target {
            machine: self.machine.clone(),
            pod: pod.clone(),
            kind,
            container: container.clone(),
            id: id.to_owned(),
            pod_ip: pod_ip.to_owned(),
        };
        let task = task::Task { target, purpose, probe: probe.clone(), started_at, results: self.results.clone(), wake: self.wake.clone() };
        self.tasks.insert(key, tokio::spawn(task.run()).abort_handle());
    }
}
