//! What to do next for a pod: a pure decision from its specification and what the runtime has.
//!
//! # Expected flow
//! The pod's worker observes, calls [`plan`], acts, and observes again, until the plan is empty.
//! # Guarantees
//! Nothing is started before what must be complete before it; a container that runs as specified is left alone.

mod init;

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::restart;
use crate::spec::{self, Policy};
use crate::view::{RunState, SandboxNeed, Seen, View};

/// What probes say of one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The probe succeeded.
    Success,
    /// The probe failed as often as its threshold says.
    Failure,
}

/// The probes' verdicts, by container identifier.
pub trait Verdicts {
    /// The liveness probe's, if it has run.
    fn liveness(&self, container_id: &str) -> Option<Verdict>;
    /// The startup probe's, if it has run.
    fn startup(&self, container_id: &str) -> Option<Verdict>;
    /// The readiness probe's, if it has run.
    fn readiness(&self, container_id: &str) -> Option<Verdict>;
}

/// Why a container is killed. Probes may shorten its grace period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// The runtime cannot tell its state.
    Unknown,
    /// Anything else.
    Other,
}

/// A container to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    /// The runtime's identifier.
    pub id: String,
    /// The container's name.
    pub name: String,
    /// What the event says.
    pub message: String,
    /// Why.
    pub reason: KillReason,
}

/// What to do about the sandbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SandboxAction {
    /// Use this one.
    Keep(String),
    /// Kill what there is and make one with this attempt number.
    Create(u32),
    /// The pod is over: end it.
    End,
}

/// What to do for a pod now. Indices are into the lists of the specification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The sandbox first.
    pub sandbox: SandboxAction,
    /// Then these are killed,
    pub kill: Vec<Kill>,
    /// then these ephemeral containers started,
    pub start_ephemeral: Vec<usize>,
    /// then these init containers,
    pub start_init: Vec<usize>,
    /// then these.
    pub start: Vec<usize>,
}

/// Decides what to do next for a pod that is to run.
pub fn plan(pod: &Pod, view: &View, verdicts: &dyn Verdicts) -> Plan {
    let spec = spec::of(pod);
    match view.sandbox_need(spec::host_network(spec)) {
        SandboxNeed::Create { attempt } => with_new_sandbox(pod, view, attempt),
        SandboxNeed::Keep(id) => with_sandbox(pod, view, verdicts, id),
    }
}

fn with_new_sandbox(pod: &Pod, view: &View, attempt: u32) -> Plan {
    let spec = spec::of(pod);
    let mut plan =
        Plan { sandbox: SandboxAction::End, kill: Vec::new(), start_ephemeral: Vec::new(), start_init: Vec::new(), start: Vec::new() };
    let once = spec::restart_policy(spec) == Policy::Never;
    if once && attempt != 0 && !view.containers.is_empty() {
        return plan;
    }
    let succeeded = |c: &Container| view.latest(&c.name).is_some_and(|s| s.state == RunState::Exited && s.exit_code == 0);
    let start: Vec<usize> = indices(&spec.containers, |c| !(restart::effective_policy(c, spec) == Policy::OnFailure && succeeded(c)));
    let had_regular = spec.containers.iter().any(|c| view.latest(&c.name).is_some());
    if start.is_empty() && had_regular {
        return plan;
    }
    plan.sandbox = SandboxAction::Create(attempt);
    if spec::init(spec).is_empty() {
        plan.start = start;
    } else {
        plan.start_init = vec![0];
    }
    plan
}

fn with_sandbox(pod: &Pod, view: &View, verdicts: &dyn Verdicts, id: String) -> Plan {
    let spec = spec::of(pod);
    let ephemeral = spec.ephemeral_containers.as_deref().unwrap_or_default();
    let mut plan = Plan {
        sandbox: SandboxAction::Keep(id),
        kill: Vec::new(),
        start_ephemeral: indices(ephemeral, |e| view.latest(&e.name).is_none()),
        start_init: Vec::new(),
        start: Vec::new(),
    };
    match init::plan(pod, view, verdicts, &mut plan) {
        init::Progress::Failed => {
            plan.sandbox = SandboxAction::End;
            plan.start_init.clear();
            return plan;
        }
        init::Progress::Going => return plan,
        init::Progress::Complete => {}
    }
    let mut keep = 0_usize;
    for (index, container) in spec.containers.iter().enumerate() {
        match view.latest(&container.name) {
            Some(seen) if seen.state == RunState::Running => match obsolete(container, pod, seen, verdicts) {
                None => keep += 1,
                Some((kill, restart)) => {
                    plan.kill.push(kill);
                    if restart {
                        plan.start.push(index);
                    }
                }
            },
            seen => {
                if restart::wanted(container, pod, view) {
                    plan.start.push(index);
                    plan.kill.extend(seen.filter(|s| s.state == RunState::Unknown).map(|s| unknown(s, "Container")));
                }
            }
        }
    }
    if keep == 0 && plan.start.is_empty() {
        plan.sandbox = SandboxAction::End;
        plan.start_init.clear();
    }
    plan
}

/// Why a running container must go, and whether another comes in its place.
fn obsolete(container: &Container, pod: &Pod, seen: &Seen, verdicts: &dyn Verdicts) -> Option<(Kill, bool)> {
    let restart = restart::effective_policy(container, spec::of(pod)) != Policy::Never;
    let name = &container.name;
    let (message, reason, restart) = if seen.noted.hash != crate::labels::hash(container) {
        (format!("Container {name} definition changed"), KillReason::Other, true)
    } else if verdicts.liveness(&seen.id) == Some(Verdict::Failure) {
        (format!("Container {name} failed liveness probe"), KillReason::Liveness, restart)
    } else if verdicts.startup(&seen.id) == Some(Verdict::Failure) {
        (format!("Container {name} failed startup probe"), KillReason::Startup, restart)
    } else {
        return None;
    };
    let message = if restart { format!("{message}, will be restarted") } else { message };
    Some((Kill { id: seen.id.clone(), name: name.clone(), message, reason }, restart))
}

fn unknown(seen: &Seen, what: &str) -> Kill {
    let message = format!("{what} is in {:?} state, try killing it before restart", seen.state.word());
    Kill { id: seen.id.clone(), name: seen.name.clone(), message, reason: KillReason::Unknown }
}

fn indices<T>(list: &[T], keep: impl Fn(&T) -> bool) -> Vec<usize> {
    list.iter().enumerate().filter(|(_, item)| keep(item)).map(|(index, _)| index).collect()
}

#[cfg(test)]
pub(crate) mod tests;
