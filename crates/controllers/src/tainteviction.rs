//! Makes pods leave nodes whose NoExecute taints they don't tolerate, or no longer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use crate::context::Context;
use crate::disrupt::{End, end};
use crate::pods;
use crate::tolerations::{NO_EXECUTE, Stay, stay};

/// Pods worked on at the same time.
const WORKERS: usize = 8;
const REASON: &str = "DeletionByTaintManager";
const MESSAGE: &str = "Taint manager: deleting due to NoExecute taint";

struct Controller {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    /// Since when each pod (by UID) is on borrowed time.
    since: Mutex<HashMap<String, Timestamp>>,
    queue: WorkQueue<ObjectKey>,
}

#[derive(Debug, thiserror::Error)]
#[error("evicting pod {key}: {source}")]
struct Error {
    key: ObjectKey,
    source: Box<kube::Error>,
}

/// Evicts until dropped.
pub async fn run(context: Context) {
    let controller = Arc::new(Controller {
        nodes: context.informers.of(),
        pods: context.informers.of(),
        since: Mutex::default(),
        queue: WorkQueue::default(),
        context,
    });
    controller.nodes.synced().await;
    controller.pods.synced().await;
    watch(&controller);
    let queue = controller.queue.clone();
    run_workers("tainteviction", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await.map_err(|e| Error { key, source: Box::new(e) }) }
    })
    .await;
}

fn watch(controller: &Arc<Controller>) {
    let weak = Arc::downgrade(controller);
    controller.nodes.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        let Change::Applied { old, new } = change else {
            return;
        };
        if old.as_ref().map(|o| no_execute(o)).unwrap_or_default() == no_execute(new) {
            return;
        }
        for pod in controller.pods.list().iter().filter(|p| pods::node(p) == new.name_any()) {
            controller.queue.add(ObjectKey::of(pod.as_ref()));
        }
    });
    let weak = Arc::downgrade(controller);
    controller.pods.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        let pod = change.object();
        match change {
            Change::Deleted(_) => drop(controller.since().remove(&pod.uid().unwrap_or_default())),
            Change::Applied { old, .. } => {
                let facts = |p: &Pod| (pods::node(p).to_owned(), p.spec.as_ref().and_then(|s| s.tolerations.clone()));
                if old.as_ref().is_none_or(|old| facts(old) != facts(pod)) && !pods::node(pod).is_empty() {
                    controller.queue.add(ObjectKey::of(pod.as_ref()));
                }
            }
        }
    });
}

fn no_execute(node: &Node) -> Vec<&Taint> {
    let taints = node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|t| t.effect == NO_EXECUTE).collect()
}

impl Controller {
    fn since(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn sync(&self, key: &ObjectKey) -> Result<(), kube::Error> {
        let Some(pod) = self.pods.get(key) else {
            return Ok(());
        };
        let Some(node) = self.nodes.get(&ObjectKey::new("", pods::node(&pod))) else {
            return Ok(());
        };
        let tolerations = pod.spec.as_ref().and_then(|s| s.tolerations.as_deref()).unwrap_or_default();
        let (uid, now) = (pod.uid().unwrap_or_default(), self.context.now());
        let seconds = match stay(&no_execute(&node), tolerations) {
            Stay::Forever => {
                if self.since().remove(&uid).is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.context.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
                }
                return Ok(());
            }
            Stay::Seconds(seconds) => seconds,
            Stay::No => 0,
        };
        let since = *self.since().entry(uid.clone()).or_insert(now);
        let left = SignedDuration::from_secs(seconds).saturating_sub(now.duration_since(since));
        if left.is_positive() {
            // A moment more than is left, so that rounding does not wake it too early.
            self.queue.add_after(key.clone(), left.unsigned_abs().saturating_add(Duration::from_millis(1)));
            return Ok(());
        }
        if pods::is_terminating(&pod) {
            return Ok(());
        }
        let message = format!("Marking for deletion Pod {key}");
        self.context.events.event(pod.as_ref(), EventType::Normal, "TaintManagerEviction", message);
        end(&self.context.client, &pod, Some((REASON, MESSAGE)), End::Graceful, now).await
    }
}
