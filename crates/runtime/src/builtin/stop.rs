//! Ends: stopping and removing containers and sandboxes, and what follows when a shim dies.

use std::sync::Arc;
use std::time::Duration;

use cri::v1;

use super::container::{Container, Phase};
use super::records::SandboxPhase;
use super::sandbox::Sandbox;
use super::{Builtin, files};
use crate::wire::{Call, Exit, Scope};

/// How long a killed container may take to be gone. Longer only when a process hangs in the kernel; then the caller tries again.
const KILL_PATIENCE: Duration = Duration::from_secs(30);
/// The exit code of a container whose end nobody saw.
const UNSEEN: i32 = 255;

impl Builtin {
    /// Stops a container: its signal, then after `timeout` KILL for all its processes.
    pub(super) async fn stop(&self, container: &Arc<Container>, timeout: Duration) -> cri::Result<()> {
        let mut phase = container.watch();
        if !matches!(container.phase(), Phase::Running(_)) {
            return Ok(());
        }
        let shim = self.sandbox(&container.record.sandbox)?.shim()?;
        let ended = |phase: &Phase| matches!(phase, Phase::Exited(..));
        let id = &container.id;
        if !timeout.is_zero() {
            let call = Call::Signal { container: id.clone(), signal: container.record.stop_signal, scope: Scope::Main };
            shim.ask(call, &[]).await?;
            if tokio::time::timeout(timeout, phase.wait_for(ended)).await.is_ok() {
                return Ok(());
            }
        }
        shim.ask(Call::Signal { container: id.clone(), signal: libc::SIGKILL, scope: Scope::All }, &[]).await?;
        match tokio::time::timeout(KILL_PATIENCE, phase.wait_for(ended)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(cri::Error::DeadlineExceeded(format!("container {id} was killed but does not end"))),
        }
    }

    /// Removes a container, ending it first. A missing one is success.
    pub(super) async fn remove(&self, id: &str) -> cri::Result<()> {
        let Ok(container) = self.container(id) else { return Ok(()) };
        self.stop(&container, Duration::ZERO).await?;
        let _gate = container.gate.lock().await;
        let (cgroups, gone) = (self.cgroups.clone(), container.clone());
        files::blocking(move || {
            cgroups.remove(&gone.record.cgroup)?;
            files::remove_folder(&gone.dir.0)
        })
        .await?;
        let removed = self.lock().containers.remove(&container.id);
        if removed.is_some()
            && let Ok(sandbox) = self.sandbox(&container.record.sandbox)
        {
            self.publish(&container.id, &sandbox, v1::ContainerEventType::ContainerDeletedEvent);
        }
        Ok(())
    }

    /// Ends a sandbox's containers, takes its network down and ends its shim. Idempotent; a missing one is success.
    pub(super) async fn stop_sandbox(&self, id: &str) -> cri::Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        let _gate = sandbox.gate.lock().await;
        if sandbox.state().record.phase == SandboxPhase::Stopped && sandbox.state().shim.is_none() {
            return Ok(());
        }
        let stops = self.containers_of(&sandbox.id).into_iter().map(|container| async move { self.stop(&container, Duration::ZERO).await });
        for outcome in futures::future::join_all(stops).await {
            outcome?;
        }
        self.tear_down(&sandbox).await?;
        self.publish(&sandbox.id, &sandbox, v1::ContainerEventType::ContainerStoppedEvent);
        Ok(())
    }

    /// What is left once no container runs. Every step can be done again.
    pub(super) async fn tear_down(&self, sandbox: &Arc<Sandbox>) -> cri::Result<()> {
        let pin = self.layout.network_namespace(&sandbox.id);
        if sandbox.has_network() {
            let removed = self.config.network.remove(&pin, &sandbox.identity()).await;
            removed.map_err(|why| cri::Error::Internal(format!("failed to tear down the network of sandbox {:?}: {why}", sandbox.id)))?;
        }
        let record = {
            let mut state = sandbox.state();
            state.record.phase = SandboxPhase::Stopped;
            state.record.clone()
        };
        let shim = sandbox.state().shim.take();
        if let Some(shim) = shim {
            // It may be gone already, which is what is wanted. If it hangs in the kernel with its containers, its cgroups stay busy, and
            // removing them will say so.
            let _ = shim.ask(Call::Shutdown, &[]).await;
            let _ = tokio::time::timeout(KILL_PATIENCE, shim.closed()).await;
        }
        let dir = sandbox.dir.clone();
        files::blocking(move || {
            files::unmount(&pin);
            let _ = std::fs::remove_file(&pin);
            files::unmount(&dir.shm());
            if dir.0.exists() { files::write_json(&dir.record(), &record) } else { Ok(()) }
        })
        .await
    }

    /// Removes a sandbox with all its containers. A missing one is success.
    pub(super) async fn remove_sandbox(&self, id: &str) -> cri::Result<()> {
        let Ok(sandbox) = self.sandbox(id) else { return Ok(()) };
        self.stop_sandbox(&sandbox.id).await?;
        for container in self.containers_of(&sandbox.id) {
            self.remove(&container.id).await?;
        }
        let _gate = sandbox.gate.lock().await;
        let (dir, cgroups) = (sandbox.dir.clone(), self.cgroups.clone());
        let own_cgroup = sandbox.config.linux.as_ref().is_none_or(|l| l.cgroup_parent.is_empty());
        let cgroup = own_cgroup.then(|| format!("{}/{}", self.config.cgroup_root.trim_end_matches('/'), sandbox.id));
        files::blocking(move || {
            cgroup.map_or(Ok(()), |path| cgroups.remove(&path))?;
            files::remove_folder(&dir.0)
        })
        .await?;
        let removed = self.lock().sandboxes.remove(&sandbox.id);
        if removed.is_some() {
            self.publish(&sandbox.id, &sandbox, v1::ContainerEventType::ContainerDeletedEvent);
        }
        Ok(())
    }

    /// A shim is gone. If nobody asked it to go, its containers have lost their parent and their streams: they are ended, and the sandbox
    /// is no longer ready, so that the kubelet makes a new one.
    pub(super) async fn shim_gone(&self, id: &str) {
        let Ok(sandbox) = self.sandbox(id) else { return };
        if sandbox.state().shim.take().is_none() {
            return;
        }
        tracing::warn!("the shim of pod sandbox {id} died; ending the pod's containers");
        sandbox.state().record.phase = SandboxPhase::Stopped;
        let lost: Vec<_> = self.containers_of(id).into_iter().filter(|c| !matches!(c.phase(), Phase::Exited(..))).collect();
        for container in lost {
            self.lose(&container).await;
        }
        self.publish(id, &sandbox, v1::ContainerEventType::ContainerStoppedEvent);
        if let Err(e) = self.tear_down(&sandbox).await {
            tracing::warn!("{e}");
        }
    }

    /// Ends what may still run of a container without a shim, and writes its end down.
    pub(super) async fn lose(&self, container: &Arc<Container>) {
        let unseen = Exit { code: UNSEEN, at: self.now(), out_of_memory: false, error: None };
        let (cgroups, dir, cgroup) = (self.cgroups.clone(), container.dir.clone(), container.record.cgroup.clone());
        let ended = files::blocking(move || {
            let killed = cgroups.remove(&cgroup);
            // The shim may have seen the end before its own.
            let exit = files::read_json::<Exit>(&dir.exited())?.unwrap_or(unseen);
            files::write_json(&dir.exited(), &exit)?;
            killed?;
            Ok(exit)
        });
        match ended.await {
            Ok(exit) => self.container_ended(&container.id, exit),
            Err(e) => tracing::warn!("ending the orphaned container {}: {e}", container.id),
        }
    }
}
