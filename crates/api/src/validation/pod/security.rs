//! Security contexts of pods and containers.

use std::collections::BTreeSet;

use crate::field::{Error, ErrorList};
use crate::validation::at::At;
use crate::validation::format;

/// User and group ids that the kernel takes.
const MAX_ID: i64 = i32::MAX as i64;
/// The longest name of a kernel parameter, in bytes.
const MAX_SYSCTL: usize = 253;
/// The longest AppArmor profile name, in bytes.
const MAX_APPARMOR: usize = 4095;

fn id(at: &At<'_, '_>, errs: &mut ErrorList) {
    if at.int().is_some_and(|n| !(0..=MAX_ID).contains(&n)) {
        at.invalid(errs, &format::range(0, MAX_ID));
    }
}

pub(super) fn pod(spec: &At<'_, '_>, errs: &mut ErrorList) {
    let at = spec.get("securityContext");
    for field in ["fsGroup", "runAsUser", "runAsGroup"] {
        id(&at.get(field), errs);
    }
    at.get("supplementalGroups").items().for_each(|group| id(&group, errs));
    if spec.get("shareProcessNamespace").is_true() && spec.get("hostPID").is_true() {
        let path = at.path().child("shareProcessNamespace");
        errs.push(Error::invalid(&path, true, "ShareProcessNamespace and HostPID cannot both be enabled"));
    }
    sysctls(&at.get("sysctls"), spec, errs);
    for (field, supported) in [
        ("fsGroupChangePolicy", ["Always", "OnRootMismatch"]),
        ("supplementalGroupsPolicy", ["Merge", "Strict"]),
        ("seLinuxChangePolicy", ["MountOption", "Recursive"]),
    ] {
        if at.get(field).is_set() {
            at.get(field).one_of(errs, &supported);
        }
    }
    seccomp(&at.get("seccompProfile"), errs);
    apparmor(&at.get("appArmorProfile"), errs);
}

fn sysctls(list: &At<'_, '_>, spec: &At<'_, '_>, errs: &mut ErrorList) {
    const REGEX: &str = "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
    let mut seen = BTreeSet::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        let text = name.str();
        if text.is_empty() {
            name.required(errs, "");
        } else if !is_sysctl(text) {
            name.invalid(errs, &format!("must have at most {MAX_SYSCTL} characters and match regex {REGEX}"));
        } else if !seen.insert(text) {
            name.duplicate(errs);
        }
        let dotted = text.replace('/', ".");
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."].iter().any(|p| dotted.starts_with(p)) || dotted == "kernel.sem";
        if spec.get("hostNetwork").is_true() && dotted.starts_with("net.") {
            name.invalid(errs, "may not be specified when 'hostNetwork' is true");
        } else if spec.get("hostIPC").is_true() && ipc {
            name.invalid(errs, "may not be specified when 'hostIPC' is true");
        }
    }
}

fn is_sysctl(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let part = |p: &str| {
        edge(p.chars().next())
            && edge(p.chars().next_back())
            && p.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_'))
    };
    name.len() <= MAX_SYSCTL && name.split(['.', '/']).all(part)
}

fn seccomp(at: &At<'_, '_>, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    kind.required_one_of(errs, &["Localhost", "RuntimeDefault", "Unconfined"], "type is required when seccompProfile is set");
    match (kind.str() == "Localhost", profile.is_set()) {
        (true, false) => profile.required(errs, "must be set when seccomp type is Localhost"),
        (true, true) => super::volume::relative(profile.str(), &profile, errs),
        (false, true) => profile.invalid_shown(errs, at.value().clone(), "can only be set when seccomp type is Localhost"),
        (false, false) => {}
    }
}

fn apparmor(at: &At<'_, '_>, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    let (kind, profile) = (at.get("type"), at.get("localhostProfile"));
    match kind.str() {
        "Localhost" => {
            let text = profile.str();
            if text.trim() != text {
                profile.invalid(errs, "must not be padded with whitespace");
            } else if text.is_empty() {
                profile.required(errs, NEEDED);
            }
            if text.len() > MAX_APPARMOR {
                profile.too_long(errs, MAX_APPARMOR);
            }
        }
        "RuntimeDefault" | "Unconfined" if profile.is_set() => profile.invalid(errs, "can only be set when AppArmor type is Localhost"),
        _ => kind.required_one_of(errs, &["Localhost", "RuntimeDefault", "Unconfined"], "type is required when appArmorProfile is set"),
    }
}

pub(super) fn container(at: &At<'_, '_>, host_users: bool, errs: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    id(&at.get("runAsUser"), errs);
    id(&at.get("runAsGroup"), errs);
    let mount = at.get("procMount");
    if mount.is_set() {
        mount.one_of(errs, &["Default", "Unmasked"]);
        if host_users && mount.str() == "Unmasked" {
            mount.invalid(errs, "`hostUsers` must be false to use `Unmasked`");
        }
    }
    seccomp(&at.get("seccompProfile"), errs);
    if at.get("allowPrivilegeEscalation").value() == &serde_json::Value::Bool(false) {
        if at.get("privileged").is_true() {
            at.invalid(errs, "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let capabilities = at.get("capabilities");
        if capabilities.get("add").items().any(|c| c.str() == "CAP_SYS_ADMIN") {
            at.invalid(errs, "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN");
        }
    }
    apparmor(&at.get("appArmorProfile"), errs);
}

/// What one operating system knows, the other must not be asked for.
pub(super) fn for_os(spec: &At<'_, '_>, os: &str, errs: &mut ErrorList) {
    const POD: &[&str] = &[
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "fsGroup",
        "fsGroupChangePolicy",
        "sysctls",
        "runAsUser",
        "runAsGroup",
        "supplementalGroups",
        "supplementalGroupsPolicy",
        "seLinuxChangePolicy",
    ];
    const CONTAINER: &[&str] = &[
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let (why, pod, container, outside): (_, &[&'static str], &[&'static str], &[&'static str]) = match os {
        "windows" => ("cannot be set for a windows pod", POD, CONTAINER, &["hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"]),
        "linux" => ("windows options cannot be set for a linux pod", &["windowsOptions"], &["windowsOptions"], &[]),
        _ => return,
    };
    let refuse = |at: &At<'_, '_>, fields: &[&'static str], errs: &mut ErrorList| {
        for field in fields {
            let value = at.get(field);
            if value.is_set() && value.value() != &serde_json::Value::Bool(false) {
                value.forbidden(errs, why);
            }
        }
    };
    refuse(&spec.get("securityContext"), pod, errs);
    refuse(spec, outside, errs);
    for list in super::CONTAINERS {
        for c in spec.get(list).items() {
            refuse(&c.get("securityContext"), container, errs);
        }
    }
}
