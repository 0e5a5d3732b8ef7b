//! Which devices a container may use: the v1 devices controller.
//!
//! On v2 this needs a BPF program, which is not written yet: there the device nodes that exist in the container's /dev, and the missing
//! `CAP_MKNOD` where it is dropped, are the only limit. [`Devices::Only`] on v2 is therefore logged once per process by the caller.

use std::fs;
use std::path::Path;

use super::Error;
use super::tree::Tree;
use crate::spec::DeviceKind;

/// The devices a container may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Devices {
    /// As its parent cgroup (privileged containers).
    All,
    /// The usual ones (null, zero, full, random, urandom, tty, console, ptmx, pts) and these.
    Only(Vec<DeviceRule>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeviceRule {
    pub(crate) kind: DeviceKind,
    pub(crate) major: u32,
    pub(crate) minor: u32,
    /// Of `r`, `w` and `m`.
    pub(crate) access: String,
}

/// Making any node is allowed, as elsewhere, because opening it is not.
const USUAL: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
];

pub(super) fn apply(tree: &Tree, relative: &Path, devices: &Devices) -> Result<(), Error> {
    let (Devices::Only(own), Tree::V1 { .. }) = (devices, tree) else { return Ok(()) };
    let Some(mount) = tree.of("devices") else {
        return Err(Error::NoController { controller: "devices".into(), file: "devices.deny".into(), value: "a".into() });
    };
    let write = |file: &str, value: &str| {
        let path = mount.join(relative).join(file);
        fs::write(&path, value).map_err(|source| Error::File { action: "writing", path, source })
    };
    write("devices.deny", "a")?;
    for rule in USUAL {
        write("devices.allow", rule)?;
    }
    for rule in own {
        let kind = match rule.kind {
            DeviceKind::Character => 'c',
            DeviceKind::Block => 'b',
        };
        write("devices.allow", &format!("{kind} {}:{} {}", rule.major, rule.minor, rule.access))?;
    }
    Ok(())
}
