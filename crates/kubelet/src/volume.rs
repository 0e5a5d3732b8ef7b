//! A pod's volumes on the node: made before its containers, kept up to date while it runs, and taken away after it.

pub mod atomic;
mod empty_dir;
mod host_path;
mod ownership;
mod payload;
pub mod subpath;
pub mod teardown;
pub mod token;

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::downward::Surroundings;
use crate::machine::Machine;
use crate::spec;

/// A volume that containers can mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where it is on the node.
    pub path: PathBuf,
    /// Whether containers may never write to it.
    pub read_only: bool,
    /// The image whose files it shows, instead of a path.
    pub image: Option<String>,
}

/// A volume that could not be made; the text is that of the `FailedMount` event.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume {volume:?} : {message}")]
pub struct Error {
    /// The volume's name.
    pub volume: String,
    /// What went wrong.
    pub message: String,
}

/// All volumes of a pod.
#[derive(Clone, Debug, Default)]
pub struct Volumes {
    /// By name.
    pub mounted: HashMap<String, Mounted>,
    /// When tokens in them must be renewed.
    pub refresh: Option<Duration>,
}

/// Makes the pod's volumes, or brings those that exist up to date.
pub async fn prepare(machine: &Machine, pod: &Pod, around: &Surroundings) -> Result<Volumes, Error> {
    let mut all = Volumes::default();
    for volume in spec::of(pod).volumes.iter().flatten() {
        let failed = |message| Error { volume: volume.name.clone(), message };
        let mounted = one(machine, pod, volume, around, &mut all.refresh).await.map_err(failed)?;
        all.mounted.insert(volume.name.clone(), mounted);
    }
    Ok(all)
}

async fn one(
    machine: &Machine,
    pod: &Pod,
    volume: &Volume,
    around: &Surroundings,
    refresh: &mut Option<Duration>,
) -> Result<Mounted, String> {
    let dir =
        |plugin: &str| machine.config.pod_dir(spec::uid(pod)).join("volumes").join(format!("kubernetes.io~{plugin}")).join(&volume.name);
    let fs_group = ownership::fs_group(pod);
    if let Some(source) = &volume.empty_dir {
        let path = dir("empty-dir");
        empty_dir::prepare(&path, source, pod, fs_group).map_err(|e| e.to_string())?;
        return Ok(Mounted { path, read_only: false, image: None });
    }
    if let Some(source) = &volume.image {
        // The runtime mounts it; the worker sees to it that it is there.
        return Ok(Mounted { path: PathBuf::new(), read_only: true, image: source.reference.clone() });
    }
    if let Some(source) = &volume.host_path {
        host_path::check(source)?;
        return Ok(Mounted { path: PathBuf::from(&source.path), read_only: false, image: None });
    }
    let (plugin, memory) = match volume {
        Volume { config_map: Some(_), .. } => ("configmap", false),
        Volume { secret: Some(_), .. } => ("secret", true),
        Volume { projected: Some(_), .. } => ("projected", true),
        Volume { downward_api: Some(_), .. } => ("downward-api", true),
        _ => return Err(unsupported(volume)),
    };
    let built = payload::build(machine, pod, volume, around).await?;
    if let Some(due) = built.refresh {
        *refresh = Some(refresh.map_or(due, |r| r.min(due)));
    }
    let path = dir(plugin);
    let unique = format!("{:09}", machine.config.prng.below(1_000_000_000));
    let medium = if memory { empty_dir::Medium::Memory(None) } else { empty_dir::Medium::Disk };
    empty_dir::make(&path, &medium).map_err(|e| e.to_string())?;
    let own = |written: &std::path::Path| ownership::apply(written, fs_group, ownership::Access::ReadOnly);
    atomic::write(&path, &built.files, &unique, own).map_err(|e| e.to_string())?;
    Ok(Mounted { path, read_only: true, image: None })
}

fn unsupported(volume: &Volume) -> String {
    let kinds = serde_json::to_value(volume).unwrap_or_default();
    let kind = kinds.as_object().into_iter().flatten().map(|(k, _)| k.as_str()).find(|k| *k != "name").unwrap_or("unknown").to_owned();
    format!("this node does not support volumes of type {kind} yet")
}
