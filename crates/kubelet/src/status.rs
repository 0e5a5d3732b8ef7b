//! A pod's status as Kubernetes writes it: computed here from what is, written to the API by [`writer`].

mod conditions;
mod containers;
mod patch;
mod phase;
pub mod writer;

pub use conditions::is_own as is_own_condition;

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::plan::Verdicts;
use crate::resources;
use crate::spec::{self, Kind};
use crate::view::View;

/// Why a container does not start, as its waiting state says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `CrashLoopBackOff`, `ErrImagePull`, …
    pub reason: String,
    /// The details.
    pub message: String,
}

/// The phase that something else than the containers' states imposes: rejection, deadline, eviction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imposed {
    /// `DeadlineExceeded`, `OutOfcpu`, …
    pub reason: String,
    /// The details.
    pub message: String,
}

/// How far the pod's life is, for the phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Containers may start.
    Alive,
    /// No container will start any more, but some may still run.
    Ending,
    /// No container runs and none will.
    Ended,
}

/// All that a status is computed from.
pub struct Facts<'a> {
    /// The pod as the API has it.
    pub pod: &'a Pod,
    /// What the runtime has. Containers whose postStart hook still runs are left out.
    pub view: &'a View,
    /// The status before.
    pub old: &'a PodStatus,
    /// Why containers wait, by name.
    pub waiting: &'a HashMap<String, Waiting>,
    /// What probes say.
    pub verdicts: &'a dyn Verdicts,
    /// The node's addresses, the first one primary.
    pub host_ips: &'a [String],
    /// The runtime's name, for container identifiers.
    pub runtime: &'a str,
    /// How far the pod's life is.
    pub stage: Stage,
    /// A failure from outside the containers.
    pub imposed: Option<&'a Imposed>,
    /// The current time.
    pub now: Time,
}

/// Computes the status.
pub fn generate(facts: &Facts<'_>) -> PodStatus {
    let (pod, spec) = (facts.pod, spec::of(facts.pod));
    let mut status = PodStatus {
        qos_class: Some(resources::qos(pod).name().into()),
        start_time: facts.old.start_time.clone().or_else(|| Some(facts.now.clone())),
        observed_generation: pod.metadata.generation,
        container_statuses: some(containers::statuses(facts, Kind::Regular)),
        init_container_statuses: some(containers::statuses(facts, Kind::Init)),
        ephemeral_container_statuses: some(containers::statuses(facts, Kind::Ephemeral)),
        ..kept(facts.old)
    };
    if facts.stage == Stage::Ended {
        containers::end(&mut status);
    }
    if facts.imposed.is_some() && facts.view.containers.is_empty() && facts.old.container_statuses.is_none() {
        // A pod that the node never took has no containers to speak of.
        (status.container_statuses, status.init_container_statuses, status.ephemeral_container_statuses) = (None, None, None);
    }
    let all: Vec<ContainerStatus> = status.init_container_statuses.iter().chain(&status.container_statuses).flatten().cloned().collect();
    set_phase(facts, &mut status, &all);
    set_addresses(facts, &mut status, spec::host_network(spec));
    status.conditions = Some(conditions::generate(facts, &status, &all));
    status
}

fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    Some(list).filter(|l| !l.is_empty())
}

/// The fields that the kubelet does not own.
fn kept(old: &PodStatus) -> PodStatus {
    PodStatus {
        resource_claim_statuses: old.resource_claim_statuses.clone(),
        extended_resource_claim_status: old.extended_resource_claim_status.clone(),
        node_allocatable_resource_claim_statuses: old.node_allocatable_resource_claim_statuses.clone(),
        nominated_node_name: old.nominated_node_name.clone(),
        resize: old.resize.clone(),
        ..PodStatus::default()
    }
}

fn set_phase(facts: &Facts<'_>, status: &mut PodStatus, all: &[ContainerStatus]) {
    let started = facts.view.sandboxes.first().is_some_and(|sandbox| {
        let of_sandbox = |name: &str| facts.view.latest(name).is_some_and(|c| c.created_at >= sandbox.created_at);
        spec::of(facts.pod).containers.iter().any(|c| of_sandbox(&c.name))
    });
    let computed = match facts.imposed {
        Some(_) => "Failed",
        None => phase::of(facts.pod, all, facts.stage != Stage::Alive, started),
    };
    let old = facts.old.phase.as_deref().unwrap_or("Pending");
    let terminal = |phase: &str| matches!(phase, "Succeeded" | "Failed");
    // A terminal phase is final; and it is told only when nothing runs any more.
    let phase = match computed {
        _ if terminal(old) => old,
        now if terminal(now) && facts.stage != Stage::Ended => old,
        now if facts.stage == Stage::Ended && !terminal(now) => "Failed",
        now => now,
    };
    status.phase = Some(phase.to_owned());
    match facts.imposed {
        Some(imposed) if phase == "Failed" && !terminal(old) => {
            status.reason = Some(imposed.reason.clone());
            status.message = Some(imposed.message.clone());
        }
        _ if phase == old => {
            status.reason.clone_from(&facts.old.reason);
            status.message.clone_from(&facts.old.message);
        }
        _ => {}
    }
}

fn set_addresses(facts: &Facts<'_>, status: &mut PodStatus, host_network: bool) {
    let hosts = facts.host_ips.iter().map(|ip| HostIP { ip: ip.clone() });
    status.host_ip = facts.host_ips.first().cloned();
    status.host_ips = some(hosts.collect());
    let mut ips = if host_network { facts.host_ips.to_vec() } else { facts.view.ips() };
    if ips.is_empty() {
        // A pod keeps its last addresses when its sandbox is gone.
        ips = facts.old.pod_ips.iter().flatten().map(|p| p.ip.clone()).collect();
    }
    status.pod_ip = ips.first().cloned();
    status.pod_ips = some(ips.into_iter().map(|ip| PodIP { ip }).collect());
}

#[cfg(test)]
mod tests;
