//! The conditions that the kubelet owns, and those of others kept as they are.

use k8s_openapi::api::core::v1::{ContainerStatus, PodCondition, PodStatus};

use super::Facts;
use crate::spec;
use crate::view::SandboxNeed;

const OWN: [&str; 6] = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled", "AllContainersRestarting"];

struct Verdict {
    status: &'static str,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { status: "True", reason: None, message: None }
    }

    fn no(reason: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: "False", reason: Some(reason), message: Some(message).filter(|m| !m.is_empty()) }
    }
}

/// Whether the kubelet owns conditions of this type.
pub fn is_own(type_: &str) -> bool {
    OWN.contains(&type_)
}

/// All conditions of the new status.
pub(super) fn generate(facts: &Facts<'_>, status: &PodStatus, all: &[ContainerStatus]) -> Vec<PodCondition> {
    let phase = status.phase.as_deref().unwrap_or_default();
    let theirs = facts.pod.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten();
    let mut conditions: Vec<PodCondition> = theirs.filter(|c| !is_own(&c.type_)).cloned().collect();
    let containers = containers_ready(facts, all, phase);
    let ready = ready(facts, &conditions, containers_ready(facts, all, phase));
    let sandbox = match facts.view.sandbox_need(spec::host_network(spec::of(facts.pod))) {
        SandboxNeed::Keep(_) => Verdict::yes(),
        SandboxNeed::Create { .. } => Verdict { status: "False", reason: None, message: None },
    };
    let rows = [
        ("PodReadyToStartContainers", sandbox),
        ("Initialized", initialized(facts, all, phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ];
    conditions.extend(rows.map(|(type_, verdict)| condition(facts, type_, verdict)));
    conditions
}

fn condition(facts: &Facts<'_>, type_: &str, verdict: Verdict) -> PodCondition {
    let old = facts.old.conditions.iter().flatten().find(|c| c.type_ == type_);
    let unchanged = old.filter(|c| c.status == verdict.status);
    PodCondition {
        type_: type_.to_owned(),
        status: verdict.status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: unchanged.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(facts.now.clone())),
        last_probe_time: None,
        observed_generation: facts.pod.metadata.generation,
    }
}

fn initialized(facts: &Facts<'_>, all: &[ContainerStatus], phase: &str) -> Verdict {
    let spec = spec::of(facts.pod);
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in spec::init(spec) {
        let Some(status) = all.iter().find(|s| s.name == container.name) else {
            unknown.push(container.name.as_str());
            continue;
        };
        let done = if spec::is_sidecar(container) { status.started == Some(true) } else { status.ready };
        if !done {
            incomplete.push(container.name.as_str());
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict { status: "True", reason: Some("PodCompleted"), message: None };
    }
    let begun = |s: &ContainerStatus| s.state.as_ref().is_some_and(|t| t.running.is_some() || t.terminated.is_some());
    let any_regular = spec.containers.iter().any(|c| all.iter().any(|s| s.name == c.name && begun(s)));
    let message = messages([("unknown", &unknown), ("incomplete", &incomplete)]);
    if any_regular || message.is_empty() { Verdict::yes() } else { Verdict::no("ContainersNotInitialized", message) }
}

fn containers_ready(facts: &Facts<'_>, all: &[ContainerStatus], phase: &str) -> Verdict {
    let spec = spec::of(facts.pod);
    let sidecars = spec::init(spec).iter().filter(|c| spec::is_sidecar(c));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in sidecars.chain(&spec.containers) {
        match all.iter().find(|s| s.name == container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => return Verdict::no("PodCompleted", ""),
        "Failed" => return Verdict::no("PodFailed", ""),
        _ => {}
    }
    let message = messages([("unknown", &unknown), ("unready", &unready)]);
    if message.is_empty() { Verdict::yes() } else { Verdict::no("ContainersNotReady", message) }
}

fn ready(facts: &Facts<'_>, conditions: &[PodCondition], containers: Verdict) -> Verdict {
    if containers.status != "True" {
        return containers;
    }
    let mut unready = Vec::new();
    for gate in spec::of(facts.pod).readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match conditions.iter().find(|c| c.type_ == *name) {
            None => unready.push(format!("corresponding condition of pod readiness gate {name:?} does not exist.")),
            Some(c) if c.status != "True" => {
                unready.push(format!("the status of pod readiness gate {name:?} is not \"True\", but {}", c.status))
            }
            Some(_) => {}
        }
    }
    if unready.is_empty() { Verdict::yes() } else { Verdict::no("ReadinessGatesNotReady", unready.join(", ")) }
}

/// Lists of names as Go prints them, for those that are not empty.
fn messages(rows: [(&str, &[&str]); 2]) -> String {
    let texts = rows.iter().filter(|(_, names)| !names.is_empty());
    let texts: Vec<String> = texts.map(|(word, names)| format!("containers with {word} status: [{}]", names.join(" "))).collect();
    texts.join(", ")
}
