//! Init containers in order, and sidecars among them, which go on running (KEP-753).

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{Kill, KillReason, Plan, Verdict, Verdicts, unknown};
use crate::restart;
use crate::spec;
use crate::view::{RunState, Seen, View};

/// How far initialisation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The pod's containers may start.
    Complete,
    /// Something must run or end first.
    Going,
    /// An init container failed for good.
    Failed,
}

/// What the state of one init container means for the one after it.
enum Step {
    /// It is complete (or, for a sidecar, started): the next may start.
    Done,
    /// It is still on its way.
    Wait,
    /// It is started again.
    Restart,
    /// It failed for good.
    Fail,
}

/// Adds what init containers need to `plan`. Walks backwards, because a complete init container may be gone from the runtime:
/// the last one that is known tells how far the pod had got.
pub(super) fn plan(pod: &Pod, view: &View, verdicts: &dyn Verdicts, plan: &mut Plan) -> Progress {
    let spec = spec::of(pod);
    let init = spec::init(spec);
    if init.is_empty() {
        return Progress::Complete;
    }
    let mut complete =
        spec.containers.iter().filter_map(|c| view.latest(&c.name)).any(|s| matches!(s.state, RunState::Created | RunState::Running));
    let mut later_known = complete;
    for (index, container) in init.iter().enumerate().rev() {
        let sidecar = spec::is_sidecar(container);
        let Some(seen) = view.latest(&container.name) else {
            if later_known && sidecar {
                plan.start_init.push(index);
            }
            continue;
        };
        if later_known && !sidecar {
            continue;
        }
        let step = if sidecar { sidecar_step(container, seen, verdicts, plan) } else { ordinary_step(container, pod, seen, view, plan) };
        match step {
            Step::Done if index + 1 == init.len() => complete = true,
            Step::Done if !later_known => plan.start_init.push(index + 1),
            Step::Done | Step::Wait => {}
            Step::Restart => plan.start_init.push(index),
            Step::Fail => return Progress::Failed,
        }
        if sidecar && matches!(step, Step::Done) && replace_if_obsolete(container, seen, verdicts, plan) {
            plan.start_init.push(index);
        }
        later_known = true;
    }
    if !later_known {
        plan.start_init.push(0);
    }
    plan.start_init.reverse();
    if complete { Progress::Complete } else { Progress::Going }
}

fn ordinary_step(container: &Container, pod: &Pod, seen: &Seen, view: &View, plan: &mut Plan) -> Step {
    match seen.state {
        RunState::Created => Step::Restart,
        RunState::Running => Step::Wait,
        RunState::Exited if seen.exit_code == 0 => Step::Done,
        RunState::Exited if restart::wanted(container, pod, view) => Step::Restart,
        RunState::Exited => Step::Fail,
        RunState::Unknown if restart::effective_policy(container, spec::of(pod)) == spec::Policy::Never => Step::Fail,
        RunState::Unknown => {
            plan.kill.push(unknown(seen, "Init container"));
            Step::Restart
        }
    }
}

fn sidecar_step(container: &Container, seen: &Seen, verdicts: &dyn Verdicts, plan: &mut Plan) -> Step {
    match seen.state {
        RunState::Created | RunState::Exited => Step::Restart,
        RunState::Unknown => {
            plan.kill.push(unknown(seen, "Init container"));
            Step::Restart
        }
        RunState::Running if container.startup_probe.is_none() => Step::Done,
        RunState::Running => match verdicts.startup(&seen.id) {
            None => Step::Wait,
            Some(Verdict::Success) => Step::Done,
            Some(Verdict::Failure) => {
                plan.kill.push(failed(container, seen, "startup", KillReason::Startup));
                Step::Restart
            }
        },
    }
}

/// Kills a running sidecar whose definition changed or whose liveness probe failed.
fn replace_if_obsolete(container: &Container, seen: &Seen, verdicts: &dyn Verdicts, plan: &mut Plan) -> bool {
    if seen.noted.hash != crate::labels::hash(container) {
        let message = format!("Init container {} definition changed", container.name);
        plan.kill.push(Kill { id: seen.id.clone(), name: container.name.clone(), message, reason: KillReason::Other });
        return true;
    }
    if container.liveness_probe.is_some() && verdicts.liveness(&seen.id) == Some(Verdict::Failure) {
        plan.kill.push(failed(container, seen, "liveness", KillReason::Liveness));
        return true;
    }
    false
}

fn failed(container: &Container, seen: &Seen, probe: &str, reason: KillReason) -> Kill {
    let message = format!("Init container {} failed {probe} probe", container.name);
    Kill { id: seen.id.clone(), name: container.name.clone(), message, reason }
}
