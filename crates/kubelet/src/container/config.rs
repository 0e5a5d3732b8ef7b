//! The whole of what the runtime is told of one container.

use std::collections::HashMap;
use std::path::PathBuf;

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};

use super::env::{self, Sources};
use super::mounts::{self, Places};
use super::security::{self, ImageUser};
use super::{ConfigError, expand};
use crate::downward::Surroundings;
use crate::labels;
use crate::machine::Machine;
use crate::resources;
use crate::spec;
use crate::volume::Mounted;

/// What a container is made from beside its specification.
pub struct Making<'a> {
    /// The pod.
    pub pod: &'a Pod,
    /// The container.
    pub container: &'a Container,
    /// How many there were before it.
    pub restart_count: i32,
    /// The image as the runtime names it.
    pub image_ref: &'a str,
    /// The user that the image names.
    pub image_user: &'a ImageUser,
    /// Addresses and allocatable resources.
    pub around: &'a Surroundings,
    /// The pod's volumes.
    pub volumes: &'a HashMap<String, Mounted>,
    /// The container whose processes an ephemeral one sees.
    pub target: Option<&'a str>,
}

/// Builds the configuration; makes the files and directories that it needs.
pub async fn build(machine: &Machine, making: &Making<'_>) -> Result<v1::ContainerConfig, ConfigError> {
    let (pod, container) = (making.pod, making.container);
    security::check_non_root(pod, container, making.image_user)?;
    if !machine.services.has_synced() {
        return Err(ConfigError("services have not yet been read at least once, cannot construct envvars".into()));
    }
    let services = machine.services.list();
    let roots: HashMap<String, PathBuf> = making.volumes.iter().map(|(name, v)| (name.clone(), v.path.clone())).collect();
    let sources = Sources { pod, around: making.around, objects: &machine.objects, services: &services, volumes: &roots };
    let env = env::build(container, &sources).await?;
    let values: HashMap<String, String> = env.iter().map(|(k, v)| (k.clone(), v.clone())).collect();
    let (namespace, name, uid) = (spec::namespace(pod), spec::name(pod), spec::uid(pod));
    let pod_dir = machine.config.pod_dir(uid);
    let places = Places {
        pod_dir: &pod_dir,
        volumes: making.volumes,
        env: &values,
        pod_ips: &making.around.pod_ips,
        domain: &machine.config.cluster_domain,
        unique: &format!("{:08x}", machine.config.prng.next_u64() as u32),
    };
    let mounts = mounts::build(pod, container, &places)?;
    let log_dir = machine.config.log_dir(namespace, name, uid).join(&container.name);
    std::fs::create_dir_all(&log_dir)
        .map_err(|e| ConfigError(format!("create container log directory for container {} failed: {e}", container.name)))?;
    let expanded = |list: &Option<Vec<String>>| list.iter().flatten().map(|text| expand::expand(text, &values)).collect();
    let attempt = u32::try_from(making.restart_count).unwrap_or(0);
    Ok(v1::ContainerConfig {
        metadata: Some(v1::ContainerMetadata { name: container.name.clone(), attempt }),
        image: Some(v1::ImageSpec {
            image: making.image_ref.to_owned(),
            user_specified_image: container.image.clone().unwrap_or_default(),
            ..v1::ImageSpec::default()
        }),
        command: expanded(&container.command),
        args: expanded(&container.args),
        working_dir: container.working_dir.clone().unwrap_or_default(),
        envs: env.into_iter().map(|(key, value)| v1::KeyValue { key, value: value.into_bytes() }).collect(),
        mounts,
        labels: labels::container(pod, &container.name),
        annotations: labels::annotations(pod, container, making.restart_count),
        log_path: format!("{}/{}.log", container.name, making.restart_count),
        stdin: container.stdin == Some(true),
        stdin_once: container.stdin_once == Some(true),
        tty: container.tty == Some(true),
        linux: Some(v1::LinuxContainerConfig {
            resources: Some(resources::container(pod, container, machine.memory)),
            security_context: Some(security::context(pod, container, making.image_user, making.target)?),
        }),
        stop_signal: stop_signal(container),
        ..v1::ContainerConfig::default()
    })
}

fn stop_signal(container: &Container) -> i32 {
    let name = container.lifecycle.as_ref().and_then(|l| l.stop_signal.as_deref()).unwrap_or_default();
    v1::Signal::from_str_name(name).unwrap_or(v1::Signal::RuntimeDefault) as i32
}
