//! Ends pods that lost their node, and says in their status why.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::context::{is_not_found, time};
use crate::pods;

/// How a pod ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is asked to leave; its kubelet takes it down.
    Graceful,
    /// Nobody is left to take it down: it is marked as failed and removed at once.
    Forced,
}

/// Deletes a pod after writing the condition `DisruptionTarget` with this reason and message, if there is one.
pub async fn end(client: &Client, pod: &Pod, why: Option<(&str, &str)>, how: End, now: Timestamp) -> Result<(), kube::Error> {
    let api: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    let mut status = serde_json::Map::new();
    if let Some((reason, message)) = why {
        let known = pods::condition(pod, "DisruptionTarget").is_some_and(|c| c.status == "True" && c.reason.as_deref() == Some(reason));
        if !known {
            let condition = json!({ "type": "DisruptionTarget", "status": "True", "reason": reason, "message": message,
                "lastTransitionTime": time(now) });
            status.insert("conditions".to_owned(), json!([condition]));
        }
    }
    if how == End::Forced && !pods::is_terminal(pod) {
        status.insert("phase".to_owned(), json!("Failed"));
    }
    if !status.is_empty() {
        let patch = Patch::Strategic(json!({ "metadata": { "uid": pod.uid() }, "status": status }));
        match api.patch_status(&name, &PatchParams::default(), &patch).await {
            Err(error) if is_not_found(&error) => return Ok(()),
            other => other.map(|_| ())?,
        }
    }
    let exactly_it = Preconditions { uid: pod.uid(), resource_version: None };
    let mut params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::default() };
    if how == End::Forced {
        params.grace_period_seconds = Some(0);
    }
    crate::context::gone_is_fine(api.delete(&name, &params).await)
}
