//! The end of a pod: its containers stop, its volumes go, the API is told, and at last nothing of it is left.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use cri::v1;
use tokio::sync::watch;

use super::Wish;
use super::kill::{Ended, Hook, Kill, MIN_GRACE};
use super::worker::{State, Worker};
use crate::spec;
use crate::status::writer::Then;
use crate::volume::teardown;

/// How long to wait before trying something again that failed.
const RETRY: Duration = Duration::from_secs(1);

/// A pod whose containers are being stopped.
pub(super) struct Ending {
    /// The grace period in force, in seconds.
    grace: i64,
    /// Who has ended, for those who wait for them.
    order: Ended,
}

impl Worker {
    /// From now on no container starts.
    pub(super) fn begin_ending(&mut self) {
        let (ended, _) = watch::channel(HashSet::new());
        self.state = State::Ending(Ending { grace: i64::MAX, order: Arc::new(ended) });
        self.hooks.values().for_each(|(_, hook)| hook.abort());
        self.hooks.clear();
    }

    /// The grace period that the pod's state asks for, in seconds.
    fn wanted_grace(&self, wish: &Wish) -> i64 {
        let stated = self.pod.metadata.deletion_grace_period_seconds.or(spec::of(&self.pod).termination_grace_period_seconds);
        match wish {
            Wish::Remove => MIN_GRACE,
            Wish::Follow | Wish::Reject(_) => stated.unwrap_or(MIN_GRACE).max(MIN_GRACE),
        }
    }

    /// Stops what still runs; once nothing does, the pod has ended.
    pub(super) async fn go_on_ending(&mut self, wish: &Wish) {
        let wanted = self.wanted_grace(wish);
        let State::Ending(ending) = &mut self.state else { return };
        let first = ending.grace == i64::MAX;
        if wanted < ending.grace {
            ending.grace = wanted;
            // A shorter period replaces the stops under way.
            self.killing.clear();
        }
        let (grace, order) = (ending.grace, ending.order.clone());
        self.stop_containers(grace, &order, first);
        self.sync_probes();
        if self.view.running().next().is_some() {
            return;
        }
        let sandboxes: Vec<String> = self.view.sandboxes.iter().filter(|s| s.ready).map(|s| s.id.clone()).collect();
        for pod_sandbox_id in sandboxes {
            if let Err(error) = self.machine.deps.runtime.stop_pod_sandbox(v1::StopPodSandboxRequest { pod_sandbox_id }).await {
                tracing::warn!(pod = spec::label(&self.pod), %error, "stopping a sandbox");
                return self.within(RETRY);
            }
        }
        self.killing.clear();
        if !self.observe().await {
            return self.within(RETRY);
        }
        if self.view.running().next().is_none() {
            self.note_end();
        }
    }

    fn stop_containers(&mut self, grace: i64, order: &Ended, first: bool) {
        let running: Vec<(String, String)> = self.view.running().map(|c| (c.id.clone(), c.name.clone())).collect();
        // Whoever does not run need not be waited for.
        let names: HashSet<&String> = running.iter().map(|(_, name)| name).collect();
        let others = spec::all(spec::of(&self.pod)).into_iter().map(|(_, c)| c.name).filter(|name| !names.contains(name));
        let others: Vec<String> = others.collect();
        order.send_modify(|ended| ended.extend(others));
        for (id, name) in running {
            if self.killing.contains_key(&id) {
                continue;
            }
            let kill = Kill {
                machine: self.machine.clone(),
                pod: self.pod.clone(),
                id: id.clone(),
                message: format!("Stopping container {name}"),
                name,
                grace,
                hook: if first { Hook::Run } else { Hook::Skip },
                wake: self.wake.clone(),
                pod_ip: self.pod_ips().first().cloned().unwrap_or_default(),
                order: Some(order.clone()),
            };
            self.killing.insert(id, kill.start());
        }
    }

    /// What is left to do for a pod of which nothing runs.
    pub(super) async fn after_end(&mut self, wish: &Wish) {
        self.killing.clear();
        let dir = self.machine.config.pod_dir(spec::uid(&self.pod));
        match tokio::task::spawn_blocking(move || teardown::remove(&dir)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(pod = spec::label(&self.pod), %error, "removing a pod's files");
                self.writer.publish(&self.pod, &self.status, Then::Keep);
                return self.within(RETRY);
            }
            Err(error) => tracing::error!(pod = spec::label(&self.pod), %error, "removing a pod's files"),
        }
        if *wish == Wish::Remove {
            return self.remove_all().await;
        }
        // Containers that have ended stay for their logs until the API forgets the pod.
        self.writer.publish(&self.pod, &self.status, Then::Delete);
    }

    async fn remove_all(&mut self) {
        let runtime = &self.machine.deps.runtime;
        for sandbox in &self.view.sandboxes {
            let removed = runtime.remove_pod_sandbox(v1::RemovePodSandboxRequest { pod_sandbox_id: sandbox.id.clone() }).await;
            if let Err(error) = removed {
                tracing::warn!(pod = spec::label(&self.pod), %error, "removing a sandbox");
                return self.within(RETRY);
            }
        }
        for container in &self.view.containers {
            let removed = runtime.remove_container(v1::RemoveContainerRequest { container_id: container.id.clone() }).await;
            if let Err(error) = removed {
                tracing::debug!(pod = spec::label(&self.pod), %error, "removing a container");
            }
        }
        if let Some(cgroups) = &self.machine.cgroups
            && let Err(error) = cgroups.remove(&self.machine.cgroup_of(&self.pod))
        {
            tracing::debug!(pod = spec::label(&self.pod), %error, "will retry");
            return self.within(RETRY);
        }
        let (namespace, name, uid) = (spec::namespace(&self.pod), spec::name(&self.pod), spec::uid(&self.pod));
        // Logs may be missing.
        let _ = std::fs::remove_dir_all(self.machine.config.log_dir(namespace, name, uid));
        self.machine.objects.forget(uid);
        self.machine.pulls.forget(uid);
        self.machine.tokens.forget(uid);
        self.state = State::Gone;
    }
}
