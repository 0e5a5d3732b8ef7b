//! Questions about a pod's specification that many parts ask.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, PodSpec};

/// Which list of the specification a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `initContainers`, sidecars among them.
    Init,
    /// `containers`.
    Regular,
    /// `ephemeralContainers`.
    Ephemeral,
}

impl Kind {
    /// The field path that events name.
    pub fn field_path(self, name: &str) -> String {
        match self {
            Self::Init => format!("spec.initContainers{{{name}}}"),
            Self::Regular => format!("spec.containers{{{name}}}"),
            Self::Ephemeral => format!("spec.ephemeralContainers{{{name}}}"),
        }
    }
}

/// A pod's restart policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Restart whatever the exit code.
    Always,
    /// Restart after a failure.
    OnFailure,
    /// Never restart.
    Never,
}

/// An empty specification for pods without one, which the API server never sends.
static EMPTY: PodSpec = PodSpec {
    active_deadline_seconds: None,
    affinity: None,
    automount_service_account_token: None,
    containers: Vec::new(),
    dns_config: None,
    dns_policy: None,
    enable_service_links: None,
    ephemeral_containers: None,
    host_aliases: None,
    host_ipc: None,
    host_network: None,
    host_pid: None,
    host_users: None,
    hostname: None,
    hostname_override: None,
    image_pull_secrets: None,
    init_containers: None,
    node_name: None,
    node_selector: None,
    os: None,
    overhead: None,
    preemption_policy: None,
    priority: None,
    priority_class_name: None,
    readiness_gates: None,
    resource_claims: None,
    resources: None,
    restart_policy: None,
    runtime_class_name: None,
    scheduler_name: None,
    scheduling_gates: None,
    scheduling_group: None,
    security_context: None,
    service_account: None,
    service_account_name: None,
    set_hostname_as_fqdn: None,
    share_process_namespace: None,
    subdomain: None,
    termination_grace_period_seconds: None,
    tolerations: None,
    topology_spread_constraints: None,
    volumes: None,
};

/// The pod's specification.
pub fn of(pod: &Pod) -> &PodSpec {
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The pod's UID.
pub fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

/// The pod's name.
pub fn name(pod: &Pod) -> &str {
    pod.metadata.name.as_deref().unwrap_or_default()
}

/// The pod's namespace.
pub fn namespace(pod: &Pod) -> &str {
    pod.metadata.namespace.as_deref().unwrap_or_default()
}

/// The pod as messages name it: `name_namespace(uid)`.
pub fn label(pod: &Pod) -> String {
    format!("{}_{}({})", name(pod), namespace(pod), uid(pod))
}

/// The pod's restart policy.
pub fn restart_policy(spec: &PodSpec) -> Policy {
    policy(spec.restart_policy.as_deref()).unwrap_or(Policy::Always)
}

/// A restart policy by name.
pub fn policy(name: Option<&str>) -> Option<Policy> {
    match name? {
        "Never" => Some(Policy::Never),
        "OnFailure" => Some(Policy::OnFailure),
        _ => Some(Policy::Always),
    }
}

/// Whether an init container keeps running beside the pod's containers.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// The init containers in order.
pub fn init(spec: &PodSpec) -> &[Container] {
    spec.init_containers.as_deref().unwrap_or_default()
}

/// The ephemeral containers, in the form of ordinary ones.
pub fn ephemeral(spec: &PodSpec) -> Vec<Container> {
    spec.ephemeral_containers.iter().flatten().map(as_container).collect()
}

/// Whether the pod is being deleted.
pub fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod shares the node's network.
pub fn host_network(spec: &PodSpec) -> bool {
    spec.host_network == Some(true)
}

/// Whether the API says that the pod has ended.
pub fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// The phase in the API.
pub fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default()
}

/// A container by name, with the list that it stands in.
pub fn find(spec: &PodSpec, name: &str) -> Option<(Kind, Container)> {
    let regular = spec.containers.iter().find(|c| c.name == name).map(|c| (Kind::Regular, c.clone()));
    let init = || init(spec).iter().find(|c| c.name == name).map(|c| (Kind::Init, c.clone()));
    let ephemeral = || spec.ephemeral_containers.iter().flatten().find(|c| c.name == name).map(|c| (Kind::Ephemeral, as_container(c)));
    regular.or_else(init).or_else(ephemeral)
}

/// All containers of all three lists.
pub fn all(spec: &PodSpec) -> Vec<(Kind, Container)> {
    let init = init(spec).iter().map(|c| (Kind::Init, c.clone()));
    let regular = spec.containers.iter().map(|c| (Kind::Regular, c.clone()));
    init.chain(regular).chain(ephemeral(spec).into_iter().map(|c| (Kind::Ephemeral, c))).collect()
}

fn as_container(e: &EphemeralContainer) -> Container {
    let e = e.clone();
    Container {
        args: e.args,
        command: e.command,
        env: e.env,
        env_from: e.env_from,
        image: e.image,
        image_pull_policy: e.image_pull_policy,
        lifecycle: e.lifecycle,
        liveness_probe: e.liveness_probe,
        name: e.name,
        ports: e.ports,
        readiness_probe: e.readiness_probe,
        resize_policy: e.resize_policy,
        resources: e.resources,
        restart_policy: e.restart_policy,
        restart_policy_rules: e.restart_policy_rules,
        security_context: e.security_context,
        startup_probe: e.startup_probe,
        stdin: e.stdin,
        stdin_once: e.stdin_once,
        termination_message_path: e.termination_message_path,
        termination_message_policy: e.termination_message_policy,
        tty: e.tty,
        volume_devices: e.volume_devices,
        volume_mounts: e.volume_mounts,
        working_dir: e.working_dir,
    }
}
