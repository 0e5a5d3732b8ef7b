//! The statuses of one list of containers.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, ContainerUser,
    LinuxContainerUser, PodStatus, ResourceRequirements, VolumeMountStatus,
};

use super::Facts;
use crate::plan::Verdict;
use crate::quantity;
use crate::resources;
use crate::restart;
use crate::spec::{self, Kind};
use crate::time;
use crate::view::{RunState, Seen};

const LOST: &str = "ContainerStatusUnknown";

/// Computes the statuses of one list, in the API's order: init containers as specified, others by name.
pub(super) fn statuses(facts: &Facts<'_>, kind: Kind) -> Vec<ContainerStatus> {
    let spec = spec::of(facts.pod);
    let owned;
    let containers = match kind {
        Kind::Regular => &spec.containers,
        Kind::Init => spec::init(spec),
        Kind::Ephemeral => {
            owned = spec::ephemeral(spec);
            &owned
        }
    };
    let old = match kind {
        Kind::Regular => &facts.old.container_statuses,
        Kind::Init => &facts.old.init_container_statuses,
        Kind::Ephemeral => &facts.old.ephemeral_container_statuses,
    };
    let old = old.as_deref().unwrap_or_default();
    let mut list: Vec<ContainerStatus> = containers.iter().map(|c| one(facts, kind, c, old.iter().find(|s| s.name == c.name))).collect();
    if kind != Kind::Init {
        list.sort_by(|a, b| a.name.cmp(&b.name));
    }
    list
}

fn one(facts: &Facts<'_>, kind: Kind, container: &Container, old: Option<&ContainerStatus>) -> ContainerStatus {
    let mut instances = facts.view.containers.iter().filter(|c| c.name == container.name);
    let seen = instances.next();
    let mut status = match seen {
        Some(seen) => from_seen(facts, container, seen, old),
        None => unseen(facts, container, old),
    };
    if let Some(previous) = instances.next() {
        status.last_state = Some(state(facts, previous)).filter(|s| s.terminated.is_some());
    } else if seen.is_some() {
        // The runtime may have forgotten the previous instance; the API has not.
        status.last_state = old.and_then(|o| last_of(o, &status));
    }
    wait_or_complete(facts, kind, container, seen, &mut status);
    set_health(facts, kind, container, seen, &mut status);
    status.volume_mounts = old.and_then(|o| o.volume_mounts.clone()).or_else(|| mounts(container));
    status
}

/// The previous state of a container whose previous instance the runtime no longer has.
fn last_of(old: &ContainerStatus, new: &ContainerStatus) -> Option<ContainerState> {
    let replaced = old.container_id != new.container_id;
    let terminated = old.state.clone().filter(|s| s.terminated.is_some());
    terminated.filter(|_| replaced).or_else(|| old.last_state.clone())
}

fn from_seen(facts: &Facts<'_>, container: &Container, seen: &Seen, old: Option<&ContainerStatus>) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: seen.image.clone(),
        image_id: seen.image_ref.clone(),
        container_id: Some(format!("{}://{}", facts.runtime, seen.id)),
        restart_count: seen.noted.restart_count,
        state: Some(match old {
            Some(old) if seen.state == RunState::Unknown && old.state.as_ref().is_some_and(|s| s.running.is_some()) => {
                lost("The container could not be located when the pod was terminated")
            }
            _ => state(facts, seen),
        }),
        resources: in_force(container, seen),
        allocated_resources: container.resources.as_ref().and_then(|r| r.requests.clone()),
        user: seen.user.as_ref().map(|user| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: user.uid,
                gid: user.gid,
                supplemental_groups: Some(user.supplemental_groups.clone()).filter(|g| !g.is_empty()),
            }),
        }),
        ..ContainerStatus::default()
    }
}

/// A container that the runtime does not have: not started yet, or gone.
fn unseen(facts: &Facts<'_>, container: &Container, old: Option<&ContainerStatus>) -> ContainerStatus {
    let has_init = !spec::init(spec::of(facts.pod)).is_empty();
    let default = waiting(if has_init { "PodInitializing" } else { "ContainerCreating" }, "");
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(default),
        ..ContainerStatus::default()
    };
    let Some(old) = old else { return status };
    let old_state = old.state.clone().unwrap_or_default();
    if old_state.terminated.is_some() {
        return ContainerStatus { ready: false, started: None, ..old.clone() };
    }
    status.restart_count = old.restart_count;
    status.last_state.clone_from(&old.last_state);
    let known_end = old.last_state.as_ref().is_some_and(|l| l.terminated.is_some());
    if old_state.running.is_some() && !known_end {
        status.last_state = Some(lost("The container could not be located when the pod was deleted.  The container used to be Running"));
        status.restart_count += i32::from(!spec::is_deleting(facts.pod));
    }
    status
}

fn state(facts: &Facts<'_>, seen: &Seen) -> ContainerState {
    let started_at = time::from_nanos(seen.started_at);
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    match seen.state {
        RunState::Running => ContainerState { running: Some(ContainerStateRunning { started_at }), ..ContainerState::default() },
        RunState::Created | RunState::Unknown => {
            ContainerState { waiting: Some(ContainerStateWaiting::default()), ..ContainerState::default() }
        }
        RunState::Exited => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: seen.exit_code,
                reason: some(&seen.reason),
                message: some(&seen.message),
                started_at,
                finished_at: time::from_nanos(seen.finished_at),
                container_id: Some(format!("{}://{}", facts.runtime, seen.id)),
                signal: None,
            }),
            ..ContainerState::default()
        },
    }
}

fn waiting(reason: &str, message: &str) -> ContainerState {
    let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
    ContainerState { waiting: Some(ContainerStateWaiting { reason: some(reason), message: some(message) }), ..ContainerState::default() }
}

fn lost(message: &str) -> ContainerState {
    ended(LOST, message, 137)
}

fn ended(reason: &str, message: &str, exit_code: i32) -> ContainerState {
    let terminated = ContainerStateTerminated {
        reason: Some(reason.into()),
        message: Some(message.into()),
        exit_code,
        ..ContainerStateTerminated::default()
    };
    ContainerState { terminated: Some(terminated), ..ContainerState::default() }
}

/// A container that ought to start but does not says why it waits; an init container that must have run is complete.
fn wait_or_complete(facts: &Facts<'_>, kind: Kind, container: &Container, seen: Option<&Seen>, status: &mut ContainerStatus) {
    if kind == Kind::Init {
        if seen.is_some_and(|s| s.state == RunState::Exited && s.exit_code == 0 && !spec::is_sidecar(container)) {
            return;
        }
        let begun = spec::of(facts.pod).containers.iter().filter_map(|c| facts.view.latest(&c.name)).any(|s| s.state != RunState::Unknown);
        let waits = status.state.as_ref().is_some_and(|s| s.waiting.is_some());
        if seen.is_none() && begun && waits && !spec::is_sidecar(container) {
            status.state = Some(ended(
                "Completed",
                "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally",
                0,
            ));
            return;
        }
    }
    if facts.stage != super::Stage::Alive || !restart::wanted(container, facts.pod, facts.view) {
        return;
    }
    let Some(why) = facts.waiting.get(&container.name) else { return };
    if status.state.as_ref().is_some_and(|s| s.terminated.is_some()) {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting(&why.reason, &why.message));
}

fn set_health(facts: &Facts<'_>, kind: Kind, container: &Container, seen: Option<&Seen>, status: &mut ContainerStatus) {
    if kind == Kind::Ephemeral {
        return;
    }
    let running = seen.filter(|_| status.state.as_ref().is_some_and(|s| s.running.is_some()));
    let passed = |probe: bool, verdict: Option<Verdict>| !probe || verdict == Some(Verdict::Success);
    let started = running.is_some_and(|s| passed(container.startup_probe.is_some(), facts.verdicts.startup(&s.id)));
    status.started = Some(started);
    status.ready = if kind == Kind::Init && !spec::is_sidecar(container) {
        status.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0)
    } else {
        started && running.is_some_and(|s| passed(container.readiness_probe.is_some(), facts.verdicts.readiness(&s.id)))
    };
}

/// The resources in force: what the specification says, corrected by what the runtime reports.
fn in_force(container: &Container, seen: &Seen) -> Option<ResourceRequirements> {
    let mut stated = container.resources.clone().unwrap_or_default();
    stated.claims = None;
    let Some(actual) = seen.resources.as_ref().filter(|_| seen.state == RunState::Running) else { return Some(stated) };
    if let Some(limits) = &mut stated.limits {
        let cpu = resources::amount(Some(limits), "cpu");
        // Below the kernel's granularity the stated value is kept.
        if cpu.is_some_and(|c| resources::quota(c) != actual.cpu_quota) && actual.cpu_quota > 0 && actual.cpu_period > 0 {
            set(limits, "cpu", quantity::from_milli(actual.cpu_quota.saturating_mul(1000) / actual.cpu_period));
        }
        let memory = resources::amount(Some(limits), "memory").map(|m| m / 1000);
        if memory.is_some_and(|m| m != actual.memory_limit_in_bytes) && actual.memory_limit_in_bytes > 0 {
            set(limits, "memory", quantity::from_bytes(actual.memory_limit_in_bytes));
        }
    }
    if let Some(requests) = &mut stated.requests {
        let cpu = resources::amount(Some(requests), "cpu");
        if cpu.is_some_and(|c| resources::shares(c) != actual.cpu_shares) && actual.cpu_shares > 2 {
            set(requests, "cpu", quantity::from_milli((actual.cpu_shares.saturating_mul(1000) + 1023) / 1024));
        }
    }
    Some(stated)
}

fn set<V>(list: &mut BTreeMap<String, V>, name: &str, value: V) {
    list.insert(name.to_owned(), value);
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let list = container.volume_mounts.iter().flatten().map(|mount| VolumeMountStatus {
        name: mount.name.clone(),
        mount_path: mount.mount_path.clone(),
        read_only: mount.read_only.filter(|ro| *ro),
        recursive_read_only: mount.read_only.filter(|ro| *ro).map(|_| match mount.recursive_read_only.as_deref() {
            Some("Enabled" | "IfPossible") => "Enabled".to_owned(),
            _ => "Disabled".to_owned(),
        }),
        volume_status: None,
    });
    Some(list.collect::<Vec<_>>()).filter(|l| !l.is_empty())
}

/// Once nothing runs any more, every container that had begun has an end.
pub(super) fn end(status: &mut PodStatus) {
    const GONE: &str = "The container could not be located when the pod was terminated";
    let begun = |s: &ContainerStatus| {
        let of = |state: &Option<ContainerState>| state.as_ref().is_some_and(|t| t.running.is_some() || t.terminated.is_some());
        of(&s.state) || of(&s.last_state) || s.container_id.is_some()
    };
    let unended = |s: &ContainerStatus| s.state.as_ref().is_none_or(|t| t.terminated.is_none());
    let regular_begun = status.container_statuses.iter().flatten().any(begun);
    for container in status.container_statuses.iter_mut().flatten().filter(|s| regular_begun && unended(s)) {
        container.state = Some(lost(GONE));
    }
    let init = status.init_container_statuses.as_deref_mut().unwrap_or_default();
    let last = init.iter().rposition(begun).map_or(0, |at| at + 1);
    for container in init.iter_mut().take(last).filter(|s| unended(s)) {
        container.state = Some(lost(GONE));
    }
    for container in status.container_statuses.iter_mut().chain(&mut status.init_container_statuses).flatten() {
        container.started = Some(false);
        let complete = container.state.as_ref().and_then(|s| s.terminated.as_ref()).is_some_and(|t| t.exit_code == 0);
        container.ready = container.ready && complete;
    }
}
