//! From security contexts to what the runtime enforces.

use cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod, SeccompProfile, SecurityContext};

use super::ConfigError;
use crate::spec;

const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The user that an image runs as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageUser {
    /// A number, if the image states one.
    pub uid: Option<i64>,
    /// A name, if the image states one.
    pub name: String,
}

/// The container's context with the pod's where it says nothing itself.
pub fn effective(pod: &Pod, container: &Container) -> SecurityContext {
    let mut own = container.security_context.clone().unwrap_or_default();
    if let Some(pods) = &spec::of(pod).security_context {
        own.run_as_user = own.run_as_user.or(pods.run_as_user);
        own.run_as_group = own.run_as_group.or(pods.run_as_group);
        own.run_as_non_root = own.run_as_non_root.or(pods.run_as_non_root);
        own.seccomp_profile = own.seccomp_profile.or_else(|| pods.seccomp_profile.clone());
        own.app_armor_profile = own.app_armor_profile.or_else(|| pods.app_armor_profile.clone());
        own.se_linux_options = own.se_linux_options.or_else(|| pods.se_linux_options.clone());
    }
    own
}

/// Refuses root where the specification forbids it.
pub fn check_non_root(pod: &Pod, container: &Container, image: &ImageUser) -> Result<(), ConfigError> {
    let context = effective(pod, container);
    if context.run_as_non_root != Some(true) {
        return Ok(());
    }
    let who = format!("(pod: {:?}, container: {})", spec::label(pod), container.name);
    match (context.run_as_user, image.uid, image.name.as_str()) {
        (Some(0), ..) => Err(ConfigError(format!("container's runAsUser breaks non-root policy {who}"))),
        (Some(_), ..) => Ok(()),
        (None, Some(0), _) => Err(ConfigError(format!("container has runAsNonRoot and image will run as root {who}"))),
        (None, Some(_), _) => Ok(()),
        (None, None, "") => Ok(()),
        (None, None, name) => Err(ConfigError(format!(
            "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {who}"
        ))),
    }
}

/// What the runtime is told. `target` is the container whose processes an ephemeral one sees.
pub fn context(
    pod: &Pod,
    container: &Container,
    image: &ImageUser,
    target: Option<&str>,
) -> Result<v1::LinuxContainerSecurityContext, ConfigError> {
    let own = effective(pod, container);
    let pods = spec::of(pod).security_context.as_ref();
    let privileged = own.privileged == Some(true);
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let (masked, read_only): (&[&str], &[&str]) = if unmasked { (&[], &[]) } else { (&MASKED, &READ_ONLY) };
    let texts = |list: &[&str]| list.iter().map(|p| (*p).to_owned()).collect();
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let groups = pods.and_then(|p| p.fs_group).into_iter().chain(pods.iter().flat_map(|p| p.supplemental_groups.iter().flatten().copied()));
    let run_as_user = own.run_as_user.or(image.uid).map(|value| v1::Int64Value { value });
    Ok(v1::LinuxContainerSecurityContext {
        capabilities: Some(v1::Capability {
            add_capabilities: capabilities.add.unwrap_or_default(),
            drop_capabilities: capabilities.drop.unwrap_or_default(),
            ..v1::Capability::default()
        }),
        privileged,
        namespace_options: Some(namespaces(pod, target)),
        run_as_username: if own.run_as_user.is_none() { image.name.clone() } else { String::new() },
        run_as_user,
        run_as_group: own.run_as_group.map(|value| v1::Int64Value { value }),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups.collect(),
        supplemental_groups_policy: groups_policy(pod),
        // Privileged containers and those with CAP_SYS_ADMIN can raise their rights anyway; validation refuses the mix.
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: texts(masked),
        readonly_paths: texts(read_only),
        seccomp: Some(seccomp(own.seccomp_profile.as_ref())),
        apparmor: own.app_armor_profile.as_ref().map(|p| profile(&p.type_, p.localhost_profile.as_deref())),
        selinux_options: own.se_linux_options.as_ref().map(|o| v1::SeLinuxOption {
            user: o.user.clone().unwrap_or_default(),
            role: o.role.clone().unwrap_or_default(),
            r#type: o.type_.clone().unwrap_or_default(),
            level: o.level.clone().unwrap_or_default(),
        }),
        ..v1::LinuxContainerSecurityContext::default()
    })
}

/// The pod's supplemental groups policy in the CRI's numbers.
pub fn groups_policy(pod: &Pod) -> i32 {
    let policy = spec::of(pod).security_context.as_ref().and_then(|p| p.supplemental_groups_policy.as_deref());
    if policy == Some("Strict") { v1::SupplementalGroupsPolicy::Strict as i32 } else { v1::SupplementalGroupsPolicy::Merge as i32 }
}

/// A container without a profile is unconfined, as upstream's default is.
fn seccomp(stated: Option<&SeccompProfile>) -> v1::SecurityProfile {
    stated.map_or_else(|| profile("Unconfined", None), |p| profile(&p.type_, p.localhost_profile.as_deref()))
}

fn profile(type_: &str, localhost: Option<&str>) -> v1::SecurityProfile {
    let profile_type = match type_ {
        "RuntimeDefault" => v1::security_profile::ProfileType::RuntimeDefault,
        "Localhost" => v1::security_profile::ProfileType::Localhost,
        _ => v1::security_profile::ProfileType::Unconfined,
    };
    v1::SecurityProfile { profile_type: profile_type as i32, localhost_ref: localhost.unwrap_or_default().to_owned() }
}

/// Which namespaces the pod has for itself.
pub fn namespaces(pod: &Pod, target: Option<&str>) -> v1::NamespaceOption {
    let spec = spec::of(pod);
    let node_or = |node: Option<bool>, own: v1::NamespaceMode| (if node == Some(true) { v1::NamespaceMode::Node } else { own }) as i32;
    let own_pid = if spec.share_process_namespace == Some(true) { v1::NamespaceMode::Pod } else { v1::NamespaceMode::Container };
    v1::NamespaceOption {
        network: node_or(spec.host_network, v1::NamespaceMode::Pod),
        ipc: node_or(spec.host_ipc, v1::NamespaceMode::Pod),
        pid: if target.is_some() { v1::NamespaceMode::Target as i32 } else { node_or(spec.host_pid, own_pid) },
        target_id: target.unwrap_or_default().to_owned(),
        userns_options: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn made(pod_context: serde_json::Value, own: serde_json::Value) -> (Pod, Container) {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"securityContext": pod_context, "containers": [{"name": "c", "securityContext": own}]}})).unwrap();
        let container = pod.spec.as_ref().unwrap().containers[0].clone();
        (pod, container)
    }

    #[test]
    fn the_containers_word_goes_before_the_pods() {
        let (pod, c) = made(
            json!({"runAsUser": 1000, "runAsGroup": 2, "fsGroup": 7, "supplementalGroups": [8]}),
            json!({"runAsUser": 5, "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "seccompProfile": {"type": "RuntimeDefault"}, "capabilities": {"drop": ["ALL"]}}),
        );
        let got = context(&pod, &c, &ImageUser { uid: Some(9), name: String::new() }, None).unwrap();
        assert_eq!((got.run_as_user.unwrap().value, got.run_as_group.unwrap().value), (5, 2));
        assert_eq!(got.supplemental_groups, [7, 8]);
        assert!(got.no_new_privs && got.readonly_rootfs && got.masked_paths.len() == 12);
        assert_eq!(got.seccomp.unwrap().profile_type, v1::security_profile::ProfileType::RuntimeDefault as i32);
    }

    #[test]
    fn root_is_refused_where_forbidden() {
        let (pod, c) = made(json!({"runAsNonRoot": true}), json!({}));
        let check = |uid: Option<i64>, name: &str| check_non_root(&pod, &c, &ImageUser { uid, name: name.into() }).map_err(|e| e.0);
        assert_eq!(check(Some(0), ""), Err("container has runAsNonRoot and image will run as root (pod: \"p_n(u)\", container: c)".into()));
        assert!(check(None, "nobody").unwrap_err().contains("non-numeric user (nobody)"));
        assert!(check(Some(5), "").is_ok());
    }
}
