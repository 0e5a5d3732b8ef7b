//! What the runtime is told of a pod's sandbox.

pub mod dns;
pub mod hosts;

use std::collections::HashMap;

use cri::v1;
use k8s_openapi::api::core::v1::Pod;

use crate::container::security;
use crate::labels;
use crate::machine::Machine;
use crate::resources;
use crate::spec;

/// The longest name that the kernel takes.
const HOSTNAME_MAX: usize = 63;

/// Builds the sandbox's configuration.
pub fn config(machine: &Machine, pod: &Pod, attempt: u32) -> v1::PodSandboxConfig {
    let spec = spec::of(pod);
    let (namespace, name, uid) = (spec::namespace(pod), spec::name(pod), spec::uid(pod));
    let settings = &machine.config;
    v1::PodSandboxConfig {
        metadata: Some(v1::PodSandboxMetadata { name: name.into(), uid: uid.into(), namespace: namespace.into(), attempt }),
        hostname: if spec::host_network(spec) { String::new() } else { kernel_name(pod, &settings.cluster_domain) },
        log_directory: settings.log_dir(namespace, name, uid).to_string_lossy().into_owned(),
        dns_config: Some(dns::config(pod, settings)),
        port_mappings: port_mappings(pod),
        labels: labels::sandbox(pod),
        annotations: pod.metadata.annotations.clone().unwrap_or_default().into_iter().collect(),
        linux: Some(linux(machine, pod)),
        windows: None,
    }
}

fn linux(machine: &Machine, pod: &Pod) -> v1::LinuxPodSandboxConfig {
    let context = spec::of(pod).security_context.clone().unwrap_or_default();
    let number = |value: Option<i64>| value.map(|value| v1::Int64Value { value });
    let privileged = |c: &k8s_openapi::api::core::v1::Container| c.security_context.as_ref().and_then(|s| s.privileged) == Some(true);
    let groups = context.fs_group.into_iter().chain(context.supplemental_groups.iter().flatten().copied());
    v1::LinuxPodSandboxConfig {
        cgroup_parent: machine.cgroup_of(pod),
        security_context: Some(v1::LinuxSandboxSecurityContext {
            namespace_options: Some(security::namespaces(pod, None)),
            run_as_user: number(context.run_as_user),
            run_as_group: number(context.run_as_group),
            supplemental_groups: groups.collect(),
            supplemental_groups_policy: security::groups_policy(pod),
            privileged: spec::all(spec::of(pod)).iter().any(|(_, c)| privileged(c)),
            seccomp: Some(v1::SecurityProfile {
                profile_type: v1::security_profile::ProfileType::RuntimeDefault as i32,
                ..v1::SecurityProfile::default()
            }),
            ..v1::LinuxSandboxSecurityContext::default()
        }),
        sysctls: context.sysctls.into_iter().flatten().map(|s| (s.name, s.value)).collect::<HashMap<_, _>>(),
        overhead: Some(overhead(pod)),
        resources: Some(resources::pod(pod)),
    }
}

fn overhead(pod: &Pod) -> v1::LinuxContainerResources {
    let list = spec::of(pod).overhead.as_ref();
    v1::LinuxContainerResources {
        cpu_shares: resources::amount(list, "cpu").map_or(0, resources::shares),
        memory_limit_in_bytes: resources::amount(list, "memory").map_or(0, |m| m / 1000),
        ..v1::LinuxContainerResources::default()
    }
}

fn port_mappings(pod: &Pod) -> Vec<v1::PortMapping> {
    let spec = spec::of(pod);
    let sidecars = spec::init(spec).iter().filter(|c| spec::is_sidecar(c));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let mapping = |port: &k8s_openapi::api::core::v1::ContainerPort| v1::PortMapping {
        protocol: match port.protocol.as_deref() {
            Some("UDP") => v1::Protocol::Udp,
            Some("SCTP") => v1::Protocol::Sctp,
            _ => v1::Protocol::Tcp,
        } as i32,
        container_port: port.container_port,
        host_port: port.host_port.unwrap_or(0),
        host_ip: port.host_ip.clone().unwrap_or_default(),
    };
    ports.map(mapping).collect()
}

/// The pod's host name and DNS domain; the domain is empty without a subdomain.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> (String, String) {
    let spec = spec::of(pod);
    let stated = |text: &Option<String>| text.clone().filter(|t| !t.is_empty());
    if let Some(name) = stated(&spec.hostname_override) {
        return (short(&name), String::new());
    }
    let name = stated(&spec.hostname).unwrap_or_else(|| spec::name(pod).to_owned());
    let domain = stated(&spec.subdomain).map(|s| format!("{s}.{}.svc.{cluster_domain}", spec::namespace(pod)));
    (short(&name), domain.unwrap_or_default())
}

fn short(name: &str) -> String {
    let cut = name.char_indices().map(|(at, _)| at).take_while(|at| *at <= HOSTNAME_MAX).last().unwrap_or(0);
    let name = if name.len() > HOSTNAME_MAX { name.get(..cut).unwrap_or_default() } else { name };
    name.trim_end_matches(['-', '.']).to_owned()
}

fn kernel_name(pod: &Pod, cluster_domain: &str) -> String {
    let (name, domain) = hostname(pod, cluster_domain);
    let full = spec::of(pod).set_hostname_as_fqdn == Some(true) && !domain.is_empty();
    if full { format!("{name}.{domain}") } else { name }
}
