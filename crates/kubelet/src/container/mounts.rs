//! What is mounted into a container: its volumes, `/etc/hosts`, and the termination message file.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::{ConfigError, expand};
use crate::sandbox::hosts;
use crate::spec;
use crate::volume::{Mounted, subpath};

/// Where everything comes from.
pub struct Places<'a> {
    /// The pod's directory on the node.
    pub pod_dir: &'a Path,
    /// The pod's volumes.
    pub volumes: &'a HashMap<String, Mounted>,
    /// The container's environment, for `subPathExpr`.
    pub env: &'a HashMap<String, String>,
    /// Addresses for `/etc/hosts`.
    pub pod_ips: &'a [String],
    /// The cluster's domain.
    pub domain: &'a str,
    /// Distinguishes the files of this container from those of others of its name.
    pub unique: &'a str,
}

/// All mounts of the container; makes the files that they need.
pub fn build(pod: &Pod, container: &Container, places: &Places<'_>) -> Result<Vec<v1::Mount>, ConfigError> {
    if container.volume_devices.as_ref().is_some_and(|d| !d.is_empty()) {
        return Err(ConfigError("this node does not support volumeDevices yet".into()));
    }
    let mut mounts = Vec::new();
    for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
        mounts.push(volume_mount(container, mount, index, places)?);
    }
    let own = |path: &str| container.volume_mounts.iter().flatten().any(|m| m.mount_path == path);
    // A pod in the node's network keeps the image's file only if it mounts its own.
    if !own("/etc/hosts") && (spec::host_network(spec::of(pod)) || !places.pod_ips.is_empty()) {
        let path = places.pod_dir.join("etc-hosts");
        hosts::write(&path, pod, places.pod_ips, places.domain).map_err(|e| ConfigError(format!("writing the hosts file: {e}")))?;
        mounts.push(file("/etc/hosts", &path));
    }
    let message = container.termination_message_path.as_deref().unwrap_or_default();
    if !message.is_empty() {
        let path = places.pod_dir.join("containers").join(&container.name).join(places.unique);
        make_message_file(&path).map_err(|e| ConfigError(format!("making the termination message file: {e}")))?;
        let inside = if message.starts_with('/') { message.to_owned() } else { format!("/{message}") };
        mounts.push(file(&inside, &path));
    }
    Ok(mounts)
}

fn file(container_path: &str, host_path: &Path) -> v1::Mount {
    v1::Mount { container_path: container_path.into(), host_path: host_path.to_string_lossy().into_owned(), ..v1::Mount::default() }
}

/// Any user of the container may write the message.
fn make_message_file(path: &Path) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::File::create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))
}

fn volume_mount(container: &Container, mount: &VolumeMount, index: usize, places: &Places<'_>) -> Result<v1::Mount, ConfigError> {
    let missing = || ConfigError(format!("cannot find volume {:?} to mount into container {:?}", mount.name, container.name));
    let volume = places.volumes.get(&mount.name).ok_or_else(missing)?;
    let sub_path = sub_path(mount, places.env)?;
    let container_path = if mount.mount_path.starts_with('/') { mount.mount_path.clone() } else { format!("/{}", mount.mount_path) };
    let read_only = mount.read_only == Some(true);
    let recursive = read_only && matches!(mount.recursive_read_only.as_deref(), Some("Enabled" | "IfPossible"));
    let mut made = v1::Mount {
        container_path,
        readonly: read_only || volume.read_only,
        recursive_read_only: recursive,
        propagation: match mount.mount_propagation.as_deref() {
            Some("Bidirectional") => v1::MountPropagation::PropagationBidirectional as i32,
            Some("HostToContainer") => v1::MountPropagation::PropagationHostToContainer as i32,
            _ => v1::MountPropagation::PropagationPrivate as i32,
        },
        ..v1::Mount::default()
    };
    if let Some(image) = &volume.image {
        made.image = Some(v1::ImageSpec { image: image.clone(), ..v1::ImageSpec::default() });
        made.image_sub_path = sub_path.unwrap_or_default();
        made.readonly = true;
        return Ok(made);
    }
    let host_path: PathBuf = match &sub_path {
        None => volume.path.clone(),
        Some(sub_path) => {
            let place = places.pod_dir.join("volume-subpaths").join(&mount.name).join(&container.name).join(index.to_string());
            subpath::bind(&volume.path, sub_path, &place).map_err(|error| {
                tracing::warn!(container = container.name, volume = mount.name, %error, "preparing a subPath");
                // The details would tell the user about the node's files.
                ConfigError(format!("failed to prepare subPath for volumeMount {:?} of container {:?}", mount.name, container.name))
            })?
        }
    };
    made.host_path = host_path.to_string_lossy().into_owned();
    Ok(made)
}

fn sub_path(mount: &VolumeMount, env: &HashMap<String, String>) -> Result<Option<String>, ConfigError> {
    let expression = mount.sub_path_expr.as_deref().filter(|e| !e.is_empty());
    let text = match expression {
        Some(expression) => expand::expand_strict(expression, env).map_err(|name| ConfigError(format!("missing value for {name:?}")))?,
        None => mount.sub_path.clone().unwrap_or_default(),
    };
    if text.is_empty() {
        return if expression.is_some() { Err(ConfigError("subPathExpr expands to nothing".into())) } else { Ok(None) };
    }
    if text.starts_with('/') {
        return Err(ConfigError(format!("error SubPath `{text}` must not be an absolute path")));
    }
    if text.split('/').any(|part| part == "..") {
        return Err(ConfigError(format!("unable to provision SubPath `{text}`: must not contain '..'")));
    }
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn subpaths_are_checked() {
        let env = HashMap::from([("A".to_owned(), "x".to_owned()), ("B".to_owned(), "/etc".to_owned())]);
        let of = |value: serde_json::Value| {
            let mut whole = json!({"name": "v", "mountPath": "/v"});
            whole.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
            sub_path(&serde_json::from_value(whole).unwrap(), &env).map_err(|e| e.0)
        };
        assert_eq!(of(json!({})), Ok(None));
        assert_eq!(of(json!({"subPathExpr": "$(A)/y"})), Ok(Some("x/y".into())));
        assert!(of(json!({"subPathExpr": "$(B)"})).is_err());
        assert!(of(json!({"subPathExpr": "$(NO)"})).is_err());
        assert!(of(json!({"subPath": "a/../b"})).is_err());
    }
}
