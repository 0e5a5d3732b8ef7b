//! Writes one pod's status to the API: in order, only changes, the newest wins; and deletes the pod when it is over.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client};
use stdx::Backoff;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::patch;
use crate::spec;

/// How long a failed write waits; a newer status cuts the wait short.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

#[derive(Clone)]
struct Order {
    pod: Arc<Pod>,
    status: PodStatus,
    then: Then,
}

/// What happens once the status is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Keep,
    /// The pod is deleted from the API, if it is being deleted.
    Delete,
}

/// The writer of one pod. Ends with its last order unwritten when dropped.
pub struct Writer {
    orders: watch::Sender<Option<Order>>,
    task: AbortHandle,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// Starts a writer. Must be called inside a tokio runtime.
    pub fn start(client: Client) -> Self {
        let (orders, waiting) = watch::channel(None);
        let task = tokio::spawn(run(client, waiting)).abort_handle();
        Self { orders, task }
    }

    /// Has `status` written; `pod` is the pod as last seen. Replaces what is not written yet.
    pub fn publish(&self, pod: &Arc<Pod>, status: &PodStatus, then: Then) {
        self.orders.send_replace(Some(Order { pod: pod.clone(), status: status.clone(), then }));
    }
}

enum Outcome {
    Done,
    Retry,
}

async fn run(client: Client, mut orders: watch::Receiver<Option<Order>>) {
    let mut base: Option<(u64, PodStatus)> = None;
    while orders.changed().await.is_ok() {
        let mut failures = 0;
        loop {
            let Some(order) = orders.borrow_and_update().clone() else { break };
            if matches!(write(&client, &order, &mut base).await, Outcome::Done) {
                break;
            }
            failures += 1;
            // A newer order is taken at once; an error on the channel ends the outer loop.
            let _ = tokio::time::timeout(RETRY.after(failures), orders.changed()).await;
        }
    }
}

async fn write(client: &Client, order: &Order, base: &mut Option<(u64, PodStatus)>) -> Outcome {
    let (namespace, name) = (spec::namespace(&order.pod), spec::name(&order.pod));
    let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let seen = version(&order.pod);
    // The answer to the last write may be newer than what the watch has brought.
    let known = match base {
        Some((at, status)) if *at >= seen => status.clone(),
        _ => order.pod.status.clone().unwrap_or_default(),
    };
    if let Some(patch) = patch::between(&order.pod, &known, &order.status) {
        match api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await {
            Ok(written) => *base = Some((version(&written), written.status.unwrap_or_default())),
            Err(error) => return failed(&error, namespace, name, "writing the status"),
        }
    }
    if order.then == Then::Keep || !spec::is_deleting(&order.pod) {
        return Outcome::Done;
    }
    let preconditions = Preconditions { uid: order.pod.metadata.uid.clone(), resource_version: None };
    let parameters = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(preconditions), ..DeleteParams::default() };
    match api.delete(name, &parameters).await {
        Ok(_) => Outcome::Done,
        Err(error) => failed(&error, namespace, name, "deleting it"),
    }
}

fn failed(error: &kube::Error, namespace: &str, name: &str, what: &str) -> Outcome {
    match error {
        // The pod is gone, or another one has its name.
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Outcome::Done,
        kube::Error::Api(status) if status.code == 422 => {
            tracing::warn!(pod = name, namespace, %error, "{what}: refused");
            Outcome::Done
        }
        _ => {
            tracing::debug!(pod = name, namespace, %error, "{what}: will retry");
            Outcome::Retry
        }
    }
}

fn version(pod: &Pod) -> u64 {
    pod.metadata.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or(0)
}
