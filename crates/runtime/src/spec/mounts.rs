//! The list of a container's mounts: the usual ones, then the pod's, in an order in which none hides another by accident.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use cri::v1;

use super::{Access, MountSource, MountSpec, Propagation};
use crate::image::ResolvedImage;
use crate::paths::SandboxDir;

/// How the host's cgroup tree looks, for the container's view of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CgroupView {
    /// Folder names of the v1 hierarchies, such as `cpu` or `cpu,cpuacct`.
    V1(Vec<String>),
    V2,
}

/// The default mounts. `view` is the host's cgroup layout.
pub(crate) fn default_mounts(sandbox: &SandboxDir, view: &CgroupView, privileged: bool, host_ipc: bool) -> Vec<MountSpec> {
    let access = if privileged { Access::ReadWrite } else { Access::ReadOnly };
    let cgroup = match view {
        CgroupView::V1(hierarchies) => MountSource::CgroupV1 { hierarchies: hierarchies.clone(), access },
        CgroupView::V2 => MountSource::CgroupV2 { access },
    };
    let shm = if host_ipc { PathBuf::from("/dev/shm") } else { sandbox.shm() };
    let bind = |path: PathBuf| MountSource::Bind { path, access: Access::ReadWrite, propagation: Propagation::Private };
    [
        ("/proc", MountSource::Proc),
        ("/dev", MountSource::Dev),
        ("/dev/pts", MountSource::Devpts),
        ("/dev/mqueue", MountSource::Mqueue),
        ("/sys", MountSource::Sysfs { access }),
        ("/sys/fs/cgroup", cgroup),
        ("/dev/shm", bind(shm)),
        ("/etc/hostname", bind(sandbox.hostname())),
        ("/etc/resolv.conf", bind(sandbox.resolv_conf())),
    ]
    .into_iter()
    .map(|(target, source)| MountSpec { target: target.to_owned(), source })
    .collect()
}

/// Puts the pod's mounts behind the default ones. A pod's mount takes the place of a default one with the same target;
/// among themselves the shallower come first.
pub(crate) fn merge(
    defaults: Vec<MountSpec>,
    asked: &[v1::Mount],
    images: &BTreeMap<String, ResolvedImage>,
) -> cri::Result<Vec<MountSpec>> {
    let mut own = asked.iter().map(|mount| one(mount, images)).collect::<cri::Result<Vec<_>>>()?;
    own.sort_by_key(|mount| Path::new(&mount.target).components().count());
    let mut all: Vec<MountSpec> = defaults.into_iter().filter(|default| own.iter().all(|mount| mount.target != default.target)).collect();
    all.extend(own);
    Ok(all)
}

fn one(mount: &v1::Mount, images: &BTreeMap<String, ResolvedImage>) -> cri::Result<MountSpec> {
    let target = absolute(&mount.container_path)?;
    if !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty() {
        return Err(cri::Error::Unimplemented(format!("mount at {target:?}: ID-mapped mounts are not supported by the built-in runtime")));
    }
    let access = match (mount.readonly, mount.recursive_read_only) {
        (false, false) => Access::ReadWrite,
        (true, false) => Access::ReadOnly,
        (true, true) => Access::RecursiveReadOnly,
        (false, true) => return Err(invalid(&target, "recursive_read_only needs readonly")),
    };
    let propagation = match mount.propagation() {
        v1::MountPropagation::PropagationPrivate => Propagation::Private,
        v1::MountPropagation::PropagationHostToContainer => Propagation::FromHost,
        v1::MountPropagation::PropagationBidirectional => Propagation::Both,
    };
    if access == Access::RecursiveReadOnly && propagation != Propagation::Private {
        return Err(invalid(&target, "recursive_read_only needs private propagation"));
    }
    let image = mount.image.as_ref().filter(|image| !image.image.is_empty());
    let source = match image {
        Some(spec) => {
            let image = images.get(&spec.image).ok_or_else(|| invalid(&target, "its image is not present"))?;
            MountSource::Image { layers: image.layers.clone(), sub_path: mount.image_sub_path.clone() }
        }
        None if mount.host_path.is_empty() => return Err(invalid(&target, "it has no host path")),
        None => MountSource::Bind { path: PathBuf::from(&mount.host_path), access, propagation },
    };
    Ok(MountSpec { target, source })
}

/// A container path in its plain form: absolute, without `.`, and `..` refused.
fn absolute(path: &str) -> cri::Result<String> {
    let mut plain = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::RootDir | Component::CurDir => {}
            Component::Normal(name) => plain.push(name),
            Component::ParentDir | Component::Prefix(_) => return Err(invalid(path, "the path must not go up")),
        }
    }
    let plain = plain.to_string_lossy().into_owned();
    if plain == "/" || plain.contains('\0') {
        return Err(invalid(path, "it cannot be a mount target"));
    }
    Ok(plain)
}

fn invalid(target: &str, why: &str) -> cri::Error {
    cri::Error::InvalidArgument(format!("mount at {target:?}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(target: &str) -> v1::Mount {
        v1::Mount { container_path: target.into(), host_path: "/src".into(), ..Default::default() }
    }

    #[test]
    fn own_mounts_replace_defaults_and_shallow_ones_come_first() {
        let defaults = default_mounts(&SandboxDir("/s".into()), &CgroupView::V2, false, false);
        let all = merge(defaults, &[mount("/data/deep/er"), mount("/etc/resolv.conf/"), mount("data/")], &BTreeMap::new()).unwrap();
        let targets: Vec<&str> = all.iter().map(|m| m.target.as_str()).collect();
        assert_eq!(targets.iter().filter(|t| **t == "/etc/resolv.conf").count(), 1);
        assert_eq!(targets[targets.len() - 3..], ["/data", "/etc/resolv.conf", "/data/deep/er"]);
    }

    #[test]
    fn bad_mounts_are_refused() {
        for target in ["", "/", "/a/../b", "/a\0b"] {
            assert!(merge(vec![], &[mount(target)], &BTreeMap::new()).is_err(), "{target:?}");
        }
        let recursive = v1::Mount { recursive_read_only: true, ..mount("/a") };
        assert!(merge(vec![], &[recursive], &BTreeMap::new()).is_err());
    }
}
