//! After a start: what the last process left, read from its folders and asked from its shims.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use cri::v1;

use super::client::Shim;
use super::container::{Container, Phase};
use super::records::{ContainerRecord, SandboxPhase, SandboxRecord};
use super::sandbox::Sandbox;
use super::{Builtin, files};
use crate::paths::{SHIM_SOCKET, SandboxDir};
use crate::wire::{self, Answer, Call, Exit, Started};

impl Builtin {
    /// Finds every sandbox again. One whose making was cut off is taken away; one whose shim is gone is not ready any more.
    pub(super) async fn recover(&self) -> cri::Result<()> {
        let folder = self.layout.sandboxes();
        let ids = files::blocking(move || names(&folder)).await?;
        for id in ids {
            let Err(e) = self.recover_sandbox(&id).await else { continue };
            let dir = self.layout.sandbox(&id);
            if wire::connect(&dir.0, SHIM_SOCKET).is_ok() {
                tracing::error!("pod sandbox {id} is left as it is: {e}");
                continue;
            }
            // A power cut can tear its files; nothing runs in it any more.
            tracing::warn!("pod sandbox {id} cannot be read and is taken away: {e}");
            files::blocking(move || {
                files::unmount(&dir.shm());
                files::remove_folder(&dir.0)
            })
            .await?;
        }
        Ok(())
    }

    async fn recover_sandbox(&self, id: &str) -> cri::Result<()> {
        let dir = self.layout.sandbox(id);
        let found = files::blocking({
            let dir = dir.clone();
            move || read_sandbox(&dir)
        });
        let Some((record, config, containers)) = found.await? else {
            // Cut off before anything was made but the folder.
            return files::blocking(move || files::remove_folder(&dir.0)).await;
        };
        let connected = wire::connect(&dir.0, SHIM_SOCKET).and_then(Shim::new).ok();
        let mut running = BTreeSet::new();
        let mut heard = None;
        let shim = match connected {
            Some((shim, notices)) => {
                if let (Answer::Running { containers }, _) = shim.ask(Call::State, &[]).await? {
                    running.extend(containers);
                }
                heard = Some(notices);
                Some(shim)
            }
            None => None,
        };
        let phase = record.phase;
        let orphaned = shim.is_none();
        let sandbox = Arc::new(Sandbox::new(id.to_owned(), dir, config, record, shim));
        let mut lost = Vec::new();
        {
            let mut state = self.lock();
            for (id, record, config, started, exit) in containers {
                let phase = match (exit, started) {
                    (Some(exit), started) => Phase::Exited(started, exit),
                    (None, started) if running.contains(&id) => {
                        Phase::Running(started.unwrap_or_else(|| Started { pid: 0, at: record.created_at, user: Default::default() }))
                    }
                    (None, Some(started)) => Phase::Running(started),
                    (None, None) => Phase::Created,
                };
                let is_lost = matches!(phase, Phase::Running(_)) && !running.contains(&id);
                let container = Arc::new(Container::new(id.clone(), &sandbox, config, record, phase));
                if is_lost {
                    lost.push(container.clone());
                }
                state.containers.insert(id, container);
            }
            state.sandboxes.insert(id.to_owned(), sandbox.clone());
        }
        // Only now: news of a container that is not known yet would be lost.
        if let Some(notices) = heard {
            self.listen(id.to_owned(), notices);
        }
        for container in lost {
            self.lose(&container).await;
        }
        match phase {
            SandboxPhase::Starting => self.remove_sandbox(id).await,
            SandboxPhase::Ready if orphaned => self.tear_down(&sandbox).await,
            SandboxPhase::Ready | SandboxPhase::Stopped => Ok(()),
        }
    }
}

type FoundContainer = (String, ContainerRecord, v1::ContainerConfig, Option<Started>, Option<Exit>);
type FoundSandbox = (SandboxRecord, v1::PodSandboxConfig, Vec<FoundContainer>);

fn read_sandbox(dir: &SandboxDir) -> cri::Result<Option<FoundSandbox>> {
    let Some(record) = files::read_json::<SandboxRecord>(&dir.record())? else { return Ok(None) };
    let config = files::read_message(&dir.config())?;
    let mut containers = Vec::new();
    for id in names(&dir.containers())? {
        let found = dir.container(&id);
        match files::read_json::<ContainerRecord>(&found.record())? {
            // Cut off while it was made; nothing can run in it yet.
            None => files::remove_folder(&found.0)?,
            Some(record) => {
                let config = files::read_message(&found.config())?;
                containers.push((id, record, config, files::read_json(&found.started())?, files::read_json(&found.exited())?));
            }
        }
    }
    Ok(Some((record, config, containers)))
}

fn names(folder: &Path) -> cri::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| files::failed("reading", folder, &e))?,
    };
    Ok(entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).filter_map(|e| e.file_name().into_string().ok()).collect())
}
