//! What the scheduler writes: bindings, conditions, nominations, and the end of victims.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// The name by which pods ask for this scheduler.
pub const NAME: &str = "default-scheduler";

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// Gives the pod its node. The UID keeps a newer pod of the same name safe.
pub async fn bind(client: &Client, pod: &Pod, node: &str) -> Result<(), kube::Error> {
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": pod.name_any(), "namespace": pod.namespace(), "uid": pod.uid() },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let answer: Result<Value, _> = api(client, pod).create_subresource("binding", &pod.name_any(), &PostParams::default(), &binding).await;
    answer.map(|_| ())
}

/// Why a pod has no node.
pub struct Verdict<'a> {
    /// `Unschedulable` or `SchedulerError`.
    pub reason: &'a str,
    /// For people.
    pub message: &'a str,
    /// The node where room is being made; empty takes an old nomination away, `None` leaves it.
    pub nominated: Option<&'a str>,
}

/// Writes the verdict into the pod's status, unless it says so already.
pub async fn report(client: &Client, pod: &Pod, verdict: &Verdict<'_>, now: Timestamp) -> Result<(), kube::Error> {
    let status = pod.status.as_ref();
    let old = status.and_then(|s| s.conditions.as_deref()).unwrap_or_default().iter().find(|c| c.type_ == "PodScheduled");
    let same = old.is_some_and(|c| {
        c.status == "False" && c.reason.as_deref() == Some(verdict.reason) && c.message.as_deref() == Some(verdict.message)
    });
    let old_nomination = status.and_then(|s| s.nominated_node_name.as_deref()).unwrap_or_default();
    let nominated = verdict.nominated.filter(|n| *n != old_nomination);
    if same && nominated.is_none() {
        return Ok(());
    }
    let since = old.filter(|c| c.status == "False").and_then(|c| c.last_transition_time.clone()).unwrap_or_else(|| whole(now));
    let condition = json!({
        "type": "PodScheduled", "status": "False", "reason": verdict.reason, "message": verdict.message,
        "lastProbeTime": null, "lastTransitionTime": since,
    });
    let mut patch = json!({ "metadata": { "uid": pod.uid() }, "status": { "conditions": [condition] } });
    if let (Some(name), Some(status)) = (nominated, patch.get_mut("status").and_then(Value::as_object_mut)) {
        status.insert("nominatedNodeName".to_owned(), if name.is_empty() { Value::Null } else { json!(name) });
    }
    let written = api(client, pod).patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
    written.map(|_| ())
}

/// Deletes a pod that has to make room, and says in its status why.
pub async fn evict(client: &Client, victim: &Pod, now: Timestamp) -> Result<(), kube::Error> {
    let condition = json!({
        "type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler",
        "message": format!("{NAME}: preempting to accommodate a higher priority pod"), "lastTransitionTime": whole(now),
    });
    let patch = json!({ "metadata": { "uid": victim.uid() }, "status": { "conditions": [condition] } });
    let (api, name) = (api(client, victim), victim.name_any());
    if is_gone(api.patch_status(&name, &PatchParams::default(), &Patch::Strategic(&patch)).await)? {
        return Ok(());
    }
    let exactly_it = Preconditions { uid: victim.uid(), resource_version: None };
    let params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::default() };
    is_gone(api.delete(&name, &params).await).map(|_| ())
}

/// Whether the object was not there any more.
fn is_gone<T>(result: Result<T, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(false),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(true),
        Err(error) => Err(error),
    }
}

fn whole(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}
