//! What is told about sandboxes and containers, in the CRI's words.

use std::collections::HashMap;
use std::sync::Arc;

use cri::v1;

use super::container::{Container, Phase};
use super::records::SandboxPhase;
use super::sandbox::{Sandbox, options};
use crate::signal;

/// One sandbox in full.
pub(super) fn sandbox(sandbox: &Arc<Sandbox>) -> v1::PodSandboxStatus {
    let record = sandbox.state().record.clone();
    let mut ips = record.addresses.iter().map(ToString::to_string);
    let network =
        v1::PodSandboxNetworkStatus { ip: ips.next().unwrap_or_default(), additional_ips: ips.map(|ip| v1::PodIp { ip }).collect() };
    v1::PodSandboxStatus {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox_state(record.phase).into(),
        created_at: record.created_at,
        network: Some(network),
        linux: Some(v1::LinuxPodSandboxStatus { namespaces: Some(v1::Namespace { options: Some(options(&sandbox.config)) }) }),
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: String::new(),
    }
}

/// One sandbox in short.
pub(super) fn sandbox_item(sandbox: &Arc<Sandbox>) -> v1::PodSandbox {
    let record = sandbox.state().record.clone();
    v1::PodSandbox {
        id: sandbox.id.clone(),
        metadata: sandbox.config.metadata.clone(),
        state: sandbox_state(record.phase).into(),
        created_at: record.created_at,
        labels: sandbox.config.labels.clone(),
        annotations: sandbox.config.annotations.clone(),
        runtime_handler: String::new(),
    }
}

fn sandbox_state(phase: SandboxPhase) -> v1::PodSandboxState {
    match phase {
        SandboxPhase::Ready => v1::PodSandboxState::SandboxReady,
        SandboxPhase::Starting | SandboxPhase::Stopped => v1::PodSandboxState::SandboxNotready,
    }
}

/// One container in short.
pub(super) fn container_item(container: &Arc<Container>) -> v1::Container {
    let config = container.config();
    v1::Container {
        id: container.id.clone(),
        pod_sandbox_id: container.record.sandbox.clone(),
        metadata: config.metadata.clone(),
        image: config.image.clone(),
        image_ref: container.record.image_reference.clone(),
        state: container_state(&container.phase()).into(),
        created_at: container.record.created_at,
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        image_id: container.record.image_id.clone(),
    }
}

fn container_state(phase: &Phase) -> v1::ContainerState {
    match phase {
        Phase::Created => v1::ContainerState::ContainerCreated,
        Phase::Running(_) => v1::ContainerState::ContainerRunning,
        Phase::Exited(..) => v1::ContainerState::ContainerExited,
    }
}

/// One container in full.
pub(super) fn container(container: &Arc<Container>) -> v1::ContainerStatus {
    let phase = container.phase();
    let (started, exit) = match &phase {
        Phase::Created => (None, None),
        Phase::Running(started) => (Some(started), None),
        Phase::Exited(started, exit) => (started.as_ref(), Some(exit)),
    };
    let reason = exit.map_or("", |exit| match exit {
        exit if exit.error.is_some() => "StartError",
        exit if exit.out_of_memory => "OOMKilled",
        exit if exit.code == 0 => "Completed",
        _ => "Error",
    });
    let user = started.map(|s| v1::LinuxContainerUser {
        uid: s.user.uid.into(),
        gid: s.user.gid.into(),
        supplemental_groups: s.user.groups.iter().map(|g| i64::from(*g)).collect(),
    });
    let config = container.config();
    v1::ContainerStatus {
        id: container.id.clone(),
        metadata: config.metadata.clone(),
        state: container_state(&phase).into(),
        created_at: container.record.created_at,
        started_at: started.map_or(0, |s| s.at),
        finished_at: exit.map_or(0, |e| e.at),
        exit_code: exit.map_or(0, |e| e.code),
        image: config.image.clone(),
        image_ref: container.record.image_reference.clone(),
        reason: reason.to_owned(),
        message: exit.and_then(|e| e.error.clone()).unwrap_or_default(),
        labels: config.labels.clone(),
        annotations: config.annotations.clone(),
        mounts: config.mounts.clone(),
        log_path: container.log_path(&config),
        resources: Some(v1::ContainerResources { linux: config.linux.as_ref().and_then(|l| l.resources.clone()), windows: None }),
        image_id: container.record.image_id.clone(),
        user: Some(v1::ContainerUser { linux: user }),
        stop_signal: signal::to_cri(container.record.stop_signal).into(),
    }
}

/// Whether labels carry every pair of a selector.
pub(super) fn selected(labels: &HashMap<String, String>, selector: &HashMap<String, String>) -> bool {
    selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}
