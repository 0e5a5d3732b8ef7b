//! Group ownership of volumes by `fsGroup`.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;

use k8s_openapi::api::core::v1::Pod;

use crate::spec;

/// What the group may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Read.
    ReadOnly,
    /// Read and write.
    ReadWrite,
}

/// The pod's `fsGroup`.
pub(super) fn fs_group(pod: &Pod) -> Option<u32> {
    let group = spec::of(pod).security_context.as_ref()?.fs_group?;
    u32::try_from(group).ok()
}

/// The user that all containers run as, if it is one and the same.
pub(super) fn common_user(pod: &Pod) -> Option<u32> {
    let spec = spec::of(pod);
    let pods = spec.security_context.as_ref().and_then(|c| c.run_as_user);
    let mut users =
        spec.containers.iter().chain(spec::init(spec)).map(|c| c.security_context.as_ref().and_then(|s| s.run_as_user).or(pods));
    let first = users.next()??;
    users.all(|u| u == Some(first)).then_some(first).and_then(|u| u32::try_from(u).ok())
}

/// Gives all below `path` to the group; directories hand it on to what is made in them.
pub(super) fn apply(path: &Path, group: Option<u32>, access: Access) -> io::Result<()> {
    let Some(group) = group else { return Ok(()) };
    let meta = fs::symlink_metadata(path)?;
    lchown(path, None, Some(group))?;
    if meta.file_type().is_symlink() {
        return Ok(());
    }
    let bits = if access == Access::ReadOnly { 0o440 } else { 0o660 };
    let bits = if meta.is_dir() { bits | 0o2110 } else { bits };
    fs::set_permissions(path, fs::Permissions::from_mode(meta.permissions().mode() & 0o7777 | bits))?;
    if meta.is_dir() {
        for entry in fs::read_dir(path)? {
            apply(&entry?.path(), Some(group), access)?;
        }
    }
    Ok(())
}
