//! The node's own object: registered, kept true, and vouched for by a lease.

mod facts;
mod lease;
mod object;

use std::sync::Arc;
use std::time::Duration;

use client::EventType;
use cri::v1;
use k8s_openapi::api::core::v1::Node;
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::config::Register;
use crate::machine::Machine;
use crate::time;

pub use facts::Facts;

/// How often the node's state is looked at.
const LOOK: Duration = Duration::from_secs(10);
/// How often an unchanged status is written.
const REPORT: Duration = Duration::from_secs(300);
/// The wait before trying again to reach the API or the runtime.
const RETRY: Duration = Duration::from_millis(200);

/// How long a runtime may be silent before the node is not ready, as upstream's: a runtime that is only restarted must not
/// take all the node's pods out of their services.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the node could not be kept up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API refused.
    #[error("{attempt} node {node}: {source}")]
    Api {
        /// What was attempted.
        attempt: &'static str,
        /// The node.
        node: String,
        /// Why.
        source: Box<kube::Error>,
    },
}

/// Registers the node and keeps its status and lease; never returns.
pub async fn run(machine: Arc<Machine>) {
    tokio::join!(keep_status(&machine), lease::keep(&machine));
}

async fn keep_status(machine: &Machine) {
    let api: Api<Node> = Api::all(machine.deps.client.clone());
    while let Err(error) = register(machine, &api).await {
        tracing::warn!(%error, "registering the node, will retry");
        tokio::time::sleep(RETRY).await;
    }
    let mut reported: Option<Instant> = None;
    let mut was_ready = None;
    let mut heard = Heard::default();
    loop {
        let runtime = look(machine, &mut heard).await;
        let result = report(machine, &api, &runtime, &mut reported).await;
        let wait = match result {
            Ok(()) if runtime.ready() => LOOK,
            Ok(()) => RETRY,
            Err(error) => {
                tracing::warn!(%error, "writing the node's status, will retry");
                RETRY
            }
        };
        if was_ready != Some(runtime.ready()) {
            was_ready = Some(runtime.ready());
            let (reason, word) = if runtime.ready() { ("NodeReady", "NodeReady") } else { ("NodeNotReady", "NodeNotReady") };
            if let Ok(node) = api.get(&machine.config.node_name).await {
                machine.events.event(&node, EventType::Normal, reason, format!("Node {} status is now: {word}", machine.config.node_name));
            }
        }
        tokio::time::sleep(wait).await;
    }
}

/// Creates the node, or brings the labels of an existing one up to date.
async fn register(machine: &Machine, api: &Api<Node>) -> Result<(), Error> {
    let config = &machine.config;
    if config.register == Register::No {
        return Ok(());
    }
    let failed = |attempt, source| Error::Api { attempt, node: config.node_name.clone(), source: Box::new(source) };
    let node = object::new(machine);
    match api.create(&PostParams::default(), &node).await {
        Ok(_) => return Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        Err(error) => return Err(failed("creating", error)),
    }
    let patch = json!({ "metadata": { "labels": node.labels(), "annotations": node.annotations() } });
    let patched = api.patch(&config.node_name, &PatchParams::default(), &Patch::Strategic(patch)).await;
    patched.map(|_| ()).map_err(|e| failed("labelling", e))
}

/// What the runtime says of itself.
#[derive(Clone, Debug, Default)]
pub struct RuntimeState {
    /// Why it is not ready; empty when it is.
    pub problems: Vec<String>,
    /// Its name and version, as in `containerd://2.1`.
    pub version: String,
    /// Runtime handlers and what they can do.
    pub handlers: Vec<v1::RuntimeHandler>,
    /// Images on the node.
    pub images: Vec<v1::Image>,
}

impl RuntimeState {
    fn ready(&self) -> bool {
        self.problems.is_empty()
    }
}

/// What the runtime said last, and when.
#[derive(Default)]
struct Heard(Option<(Instant, RuntimeState)>);

impl Heard {
    /// What counts now: what was said, or for a while what was said before.
    fn settle(&mut self, said: Result<RuntimeState, RuntimeState>, now: Instant) -> RuntimeState {
        match (said, &self.0) {
            (Ok(state), _) => {
                self.0 = Some((now, state.clone()));
                state
            }
            (Err(_), Some((at, before))) if now.saturating_duration_since(*at) < SILENCE => before.clone(),
            (Err(silent), _) => silent,
        }
    }
}

async fn look(machine: &Machine, heard: &mut Heard) -> RuntimeState {
    let said = ask(machine).await;
    heard.settle(said, Instant::now())
}

/// What the runtime says of itself, or an `Err` when it is not there to say anything.
async fn ask(machine: &Machine) -> Result<RuntimeState, RuntimeState> {
    let runtime = &machine.deps.runtime;
    let mut state = RuntimeState::default();
    match runtime.version(v1::VersionRequest::default()).await {
        Ok(version) => state.version = format!("{}://{}", version.runtime_name, version.runtime_version),
        Err(error) => {
            state.problems.push(format!("container runtime is down: {error}"));
            return Err(state);
        }
    }
    match runtime.status(v1::StatusRequest { verbose: false }).await {
        Ok(status) => {
            state.handlers = status.runtime_handlers;
            let conditions = status.status.map(|s| s.conditions).unwrap_or_default();
            for condition in conditions.iter().filter(|c| !c.status) {
                let prefix = if condition.r#type == "NetworkReady" {
                    "container runtime network not ready: "
                } else {
                    "container runtime not ready: "
                };
                state
                    .problems
                    .push(format!("{prefix}{}=false reason:{} message:{}", condition.r#type, condition.reason, condition.message));
            }
        }
        Err(error) => {
            state.problems.push(format!("container runtime status check may not have completed yet: {error}"));
            return Err(state);
        }
    }
    state.images = machine.deps.images.list_images(v1::ListImagesRequest::default()).await.map(|l| l.images).unwrap_or_default();
    Ok(state)
}

/// Writes what changed of the status, or its heartbeat when it is due.
async fn report(machine: &Machine, api: &Api<Node>, runtime: &RuntimeState, reported: &mut Option<Instant>) -> Result<(), Error> {
    let name = &machine.config.node_name;
    let failed = |attempt, source| Error::Api { attempt, node: name.clone(), source: Box::new(source) };
    let node = api.get(name).await.map_err(|e| failed("reading", e))?;
    let facts = Facts::read(&machine.config);
    let due = reported.is_none_or(|at| at.elapsed() >= REPORT);
    let status = object::status(machine, &node, &facts, runtime, &time::now(&machine.config.clock));
    let Some(patch) = difference(&node, &status, due) else { return Ok(()) };
    let patched = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(json!({ "status": patch }))).await;
    patched.map_err(|e| failed("writing the status of", e))?;
    *reported = Some(Instant::now());
    Ok(())
}

/// The fields of the new status that differ; heartbeats alone count only when they are `due`. Fields and resources that
/// somebody else added stay.
fn difference(node: &Node, status: &Value, due: bool) -> Option<Value> {
    let old = serde_json::to_value(&node.status).unwrap_or_default();
    let without_beat = |value: &Value| {
        let mut value = value.clone();
        for condition in value.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            condition.remove("lastHeartbeatTime");
        }
        value
    };
    let conditions = |all: &Value| -> Vec<Value> {
        let names = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
        let of = |name: &str| all.as_array().into_iter().flatten().find(|c| c["type"] == name).cloned().unwrap_or(Value::Null);
        names.iter().map(|name| of(name)).collect()
    };
    let mut changed = serde_json::Map::new();
    for (key, new) in status.as_object().into_iter().flatten() {
        let before = old.get(key).unwrap_or(&Value::Null);
        let same = match key.as_str() {
            "conditions" => !due && without_beat(&Value::Array(conditions(before))) == without_beat(&Value::Array(conditions(new))),
            "capacity" | "allocatable" => new.as_object().into_iter().flatten().all(|(k, v)| before.get(k) == Some(v)),
            _ => before == new,
        };
        if !same {
            changed.insert(key.clone(), new.clone());
        }
    }
    // Lists that the API merges by key need their old entries gone.
    if let Some(addresses) = changed.get_mut("addresses").and_then(Value::as_array_mut) {
        addresses.insert(0, json!({ "$patch": "replace" }));
    }
    (!changed.is_empty()).then_some(Value::Object(changed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_silence_of_the_runtime_is_passed_over() {
        let (ready, down) = (
            RuntimeState { version: "x://1".into(), ..RuntimeState::default() },
            RuntimeState { problems: vec!["down".into()], ..RuntimeState::default() },
        );
        let start = Instant::now();
        let mut heard = Heard::default();
        assert!(!heard.settle(Err(down.clone()), start).ready(), "a runtime that never answered is not ready");
        assert!(heard.settle(Ok(ready), start).ready());
        let early = heard.settle(Err(down.clone()), start + SILENCE / 2);
        assert_eq!((early.ready(), early.version.as_str()), (true, "x://1"));
        assert!(!heard.settle(Err(down), start + SILENCE).ready());
    }

    #[test]
    fn only_changes_are_written_and_foreign_resources_stay() {
        let node: Node = serde_json::from_value(json!({"status": {"capacity": {"cpu": "2", "example.com/fake": "5"},
            "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"}]}}))
        .unwrap();
        let same = json!({"capacity": {"cpu": "2"}, "conditions": [{"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:10Z"}]});
        assert_eq!(difference(&node, &same, false), None);
        assert!(difference(&node, &same, true).unwrap().get("capacity").is_none());
        let more = json!({"capacity": {"cpu": "4"}});
        assert_eq!(difference(&node, &more, false), Some(more));
    }
}
