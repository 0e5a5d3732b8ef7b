//! Stops containers: preStop hook, termination order, grace period.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::hooks;
use crate::machine::Machine;
use crate::plan::KillReason;
use crate::spec::{self, Kind};

/// Containers always get this many seconds.
pub(super) const MIN_GRACE: i64 = 1;

/// A container that is being stopped. Dropping it leaves the stop to whoever takes over.
pub(super) struct Killing {
    task: JoinHandle<()>,
    /// The container's name.
    pub(super) name: String,
}

impl Killing {
    /// Whether the runtime has answered.
    pub(super) fn is_done(&self) -> bool {
        self.task.is_finished()
    }
}

impl Drop for Killing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Names of containers that have ended while their pod ends, for those that must wait for them.
pub(super) type Ended = Arc<watch::Sender<HashSet<String>>>;

/// How a container is stopped.
pub(super) struct Kill {
    pub(super) machine: Arc<Machine>,
    pub(super) pod: Arc<Pod>,
    pub(super) id: String,
    pub(super) name: String,
    /// The event's text.
    pub(super) message: String,
    /// Seconds.
    pub(super) grace: i64,
    pub(super) hook: Hook,
    /// Told when it is over.
    pub(super) wake: Arc<Notify>,
    pub(super) pod_ip: String,
    /// The order in which the pod's containers end, if all do.
    pub(super) order: Option<Ended>,
}

/// Whether the preStop hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hook {
    /// It runs within the grace period.
    Run,
    /// It has run, or is running: the grace period was shortened.
    Skip,
}

impl Kill {
    /// Starts stopping.
    pub(super) fn start(self) -> Killing {
        let name = self.name.clone();
        Killing { task: tokio::spawn(self.run()), name }
    }

    async fn run(self) {
        let found = spec::find(spec::of(&self.pod), &self.name);
        let kind = found.as_ref().map_or(Kind::Regular, |(kind, _)| *kind);
        if self.hook == Hook::Run {
            self.machine.container_event(&self.pod, kind, &self.name, EventType::Normal, "Killing", self.message.clone());
        }
        let started = Instant::now();
        let left = |grace: i64| grace.saturating_sub(i64::try_from(started.elapsed().as_secs()).unwrap_or(i64::MAX));
        if let Some((_, container)) = found.as_ref().filter(|_| self.hook == Hook::Run && self.grace > 0) {
            self.pre_stop(kind, container).await;
        }
        if let Some(order) = &self.order {
            let wait = Duration::from_secs(u64::try_from(left(self.grace)).unwrap_or(0));
            let before = before(&self.pod, &self.name);
            let mut ended = order.subscribe();
            let _ = tokio::time::timeout(wait, ended.wait_for(|names| before.iter().all(|b| names.contains(b)))).await;
        }
        let request = v1::StopContainerRequest { container_id: self.id.clone(), timeout: left(self.grace).max(MIN_GRACE) };
        match self.machine.deps.runtime.stop_container(request).await {
            Err(error) if !error.is_not_found() => {
                tracing::warn!(pod = spec::label(&self.pod), container = self.name, %error, "stopping a container")
            }
            _ => {
                if let Some(order) = &self.order {
                    order.send_if_modified(|names| names.insert(self.name.clone()));
                }
            }
        }
        self.wake.notify_one();
    }

    async fn pre_stop(&self, kind: Kind, container: &Container) {
        let Some(hook) = container.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) else { return };
        let limit = Duration::from_secs(u64::try_from(self.grace).unwrap_or(0));
        let running = hooks::run(&self.machine, &self.pod, container, &self.id, &self.pod_ip, hook);
        if let Ok(Err(error)) = tokio::time::timeout(limit, running).await {
            tracing::info!(pod = spec::label(&self.pod), container = container.name, error, "preStop hook failed");
            // The details may hold secrets.
            self.machine.container_event(&self.pod, kind, &container.name, EventType::Warning, "FailedPreStopHook", "PreStopHook failed");
        }
    }
}

/// The containers that end before this one: all regular ones before a sidecar, and the sidecars after it.
fn before(pod: &Pod, name: &str) -> Vec<String> {
    let spec = spec::of(pod);
    let init = spec::init(spec);
    let Some(at) = init.iter().position(|c| c.name == name && spec::is_sidecar(c)) else { return Vec::new() };
    let later = init.iter().skip(at + 1).filter(|c| spec::is_sidecar(c));
    spec.containers.iter().chain(later).map(|c| c.name.clone()).collect()
}

/// The grace period of a single container, in seconds.
pub(super) fn grace(pod: &Pod, name: &str, reason: KillReason) -> i64 {
    if let Some(seconds) = pod.metadata.deletion_grace_period_seconds {
        return seconds;
    }
    let spec = spec::of(pod);
    let Some(pods) = spec.termination_grace_period_seconds else { return MIN_GRACE };
    let container = spec::find(spec, name).map(|(_, c)| c).unwrap_or_default();
    let probe = match reason {
        KillReason::Liveness => container.liveness_probe,
        KillReason::Startup => container.startup_probe,
        KillReason::Unknown | KillReason::Other => None,
    };
    probe.and_then(|p| p.termination_grace_period_seconds).unwrap_or(pods)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sidecars_end_last_and_in_reverse() {
        let pod: Pod = serde_json::from_value(json!({"spec": {"initContainers": [{"name": "s1", "restartPolicy": "Always"}, {"name": "i"}, {"name": "s2", "restartPolicy": "Always"}],
            "containers": [{"name": "a", "livenessProbe": {"terminationGracePeriodSeconds": 3}}], "terminationGracePeriodSeconds": 30}})).unwrap();
        assert_eq!(before(&pod, "s1"), ["a", "s2"]);
        assert_eq!(before(&pod, "s2"), ["a"]);
        assert!(before(&pod, "a").is_empty() && before(&pod, "i").is_empty());
        assert_eq!((grace(&pod, "a", KillReason::Liveness), grace(&pod, "a", KillReason::Other)), (3, 30));
    }
}
