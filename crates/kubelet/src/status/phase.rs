//! The phase of a pod, from its containers' states.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod};

use crate::restart;
use crate::spec;

#[derive(Default)]
struct Count {
    pending_init: usize,
    pending_sidecars: usize,
    failed_init: usize,
    unknown: usize,
    running: usize,
    waiting: usize,
    stopped: usize,
    stopped_for_good: usize,
    succeeded: usize,
}

/// How one container stands.
enum State {
    Running,
    Terminated(i32),
    /// Waiting after having ended with this code.
    Again(i32),
    Waiting,
    None,
}

/// Computes the phase. `ending`: no container will start again. `started`: a regular container has been made in this sandbox.
pub(super) fn of(pod: &Pod, statuses: &[ContainerStatus], ending: bool, started: bool) -> &'static str {
    let spec = spec::of(pod);
    let mut n = Count::default();
    for container in spec::init(spec) {
        if spec::is_sidecar(container) {
            n.sidecar(container, statuses);
        } else {
            match state(container, statuses) {
                State::Terminated(0) | State::Again(0) => {}
                State::Terminated(code) | State::Again(code) => n.failed_init += usize::from(!restart::after_exit(container, spec, code)),
                State::Running | State::Waiting | State::None => n.pending_init += 1,
            }
        }
    }
    for container in &spec.containers {
        match state(container, statuses) {
            State::Running => n.running += 1,
            State::Terminated(code) => {
                n.stopped += 1;
                n.succeeded += usize::from(code == 0);
                n.stopped_for_good += usize::from(!restart::after_exit(container, spec, code));
            }
            State::Again(code) => {
                n.stopped += 1;
                n.stopped_for_good += usize::from(!restart::after_exit(container, spec, code));
            }
            State::Waiting => n.waiting += 1,
            State::None => n.unknown += 1,
        }
    }
    n.phase(ending, started)
}

impl Count {
    fn sidecar(&mut self, container: &Container, statuses: &[ContainerStatus]) {
        match state(container, statuses) {
            State::Running => {
                let started = statuses.iter().find(|s| s.name == container.name).and_then(|s| s.started);
                self.pending_sidecars += usize::from(started != Some(true));
                self.running += 1;
            }
            State::Terminated(_) | State::Again(_) => {}
            State::Waiting => {
                self.pending_sidecars += 1;
                self.waiting += 1;
            }
            State::None => self.unknown += 1,
        }
    }

    fn phase(&self, ending: bool, started: bool) -> &'static str {
        if self.failed_init > 0 {
            return "Failed";
        }
        if self.pending_init > 0 || (self.pending_sidecars > 0 && !started) || self.waiting > 0 {
            return "Pending";
        }
        if self.running > 0 && self.unknown == 0 {
            return "Running";
        }
        if self.running > 0 || self.stopped == 0 || self.unknown > 0 {
            return "Pending";
        }
        if !ending && self.stopped != self.stopped_for_good {
            return "Running";
        }
        if self.stopped == self.succeeded { "Succeeded" } else { "Failed" }
    }
}

fn state(container: &Container, statuses: &[ContainerStatus]) -> State {
    let Some(status) = statuses.iter().find(|s| s.name == container.name) else { return State::None };
    let Some(state) = &status.state else { return State::None };
    if state.running.is_some() {
        return State::Running;
    }
    if let Some(ended) = &state.terminated {
        return State::Terminated(ended.exit_code);
    }
    match status.last_state.as_ref().and_then(|l| l.terminated.as_ref()) {
        Some(ended) => State::Again(ended.exit_code),
        None => State::Waiting,
    }
}
