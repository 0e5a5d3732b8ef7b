//! Looks at every node on each change and every few seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher;
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::time::Instant;

use super::plan::{self, Evictions, Health};
use crate::context::{Context, gone_is_fine, time};
use crate::pods;

/// Nodes worked on at the same time.
const WORKERS: usize = 8;
/// How often silence is looked for (upstream's `node-monitor-period`).
const PERIOD: Duration = Duration::from_secs(5);
/// At most one node in this time begins to lose its pods (upstream's 0.1 per second).
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);

struct Controller {
    context: Context,
    nodes: Informer<Node>,
    pods: Informer<Pod>,
    leases: Informer<Lease>,
    health: Mutex<HashMap<String, Health>>,
    last_eviction: Mutex<Option<Instant>>,
    queue: WorkQueue<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("{doing} node {name}: {source}")]
struct Error {
    doing: &'static str,
    name: String,
    source: Box<kube::Error>,
}

/// Watches nodes until dropped.
pub async fn run(context: Context) {
    let leases = Api::namespaced(context.informers.client().clone(), "kube-node-lease");
    let controller = Arc::new(Controller {
        nodes: context.informers.of(),
        pods: context.informers.of(),
        leases: Informer::start(leases, watcher::Config::default()),
        health: Mutex::default(),
        last_eviction: Mutex::default(),
        queue: WorkQueue::default(),
        context,
    });
    controller.nodes.synced().await;
    controller.pods.synced().await;
    controller.leases.synced().await;
    let weak = Arc::downgrade(&controller);
    controller.nodes.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        let name = change.object().name_any();
        if matches!(change, Change::Deleted(_)) {
            controller.health.lock().unwrap_or_else(PoisonError::into_inner).remove(&name);
        }
        controller.queue.add(name);
    });
    let ticking = controller.clone();
    let queue = controller.queue.clone();
    let work = run_workers("nodelifecycle", queue, WORKERS, move |name| {
        let controller = controller.clone();
        async move { controller.sync(&name).await }
    });
    tokio::join!(tick(ticking), work);
}

async fn tick(controller: Arc<Controller>) {
    loop {
        tokio::time::sleep(PERIOD).await;
        controller.nodes.list().iter().for_each(|node| controller.queue.add(node.name_any()));
    }
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<(), Error> {
        let Some(node) = self.nodes.get(&ObjectKey::new("", name)) else {
            return Ok(());
        };
        let now = self.context.now();
        let lease = self.leases.get(&ObjectKey::new("kube-node-lease", name));
        let health = {
            let mut all = self.health.lock().unwrap_or_else(PoisonError::into_inner);
            let next = Health::next(all.get(name), &node, lease.as_deref(), now);
            all.insert(name.to_owned(), next.clone());
            next
        };
        let mut node = node.as_ref().clone();
        if health.is_silent(&node, now)
            && let Some(conditions) = plan::silent_conditions(&node, now)
        {
            let message = format!("Node {name} status is now: NodeNotReady");
            self.context.events.event(&node, EventType::Normal, "NodeNotReady", message);
            let patch = json!({ "metadata": { "uid": node.uid() }, "status": { "conditions": conditions } });
            let api: Api<Node> = Api::all(self.context.client.clone());
            let written = api.patch_status(name, &PatchParams::default(), &Patch::Strategic(&patch)).await;
            node = written.map_err(failed("writing the status of", name))?;
        }
        self.taint(name, &node).await?;
        if plan::ready(&node).is_some_and(|c| c.status != "True") {
            self.mark_pods(name).await?;
        }
        Ok(())
    }

    async fn taint(&self, name: &str, node: &Node) -> Result<(), Error> {
        let now = self.context.now();
        let Some(mut taints) = plan::taints(node, self.evictions(node), now) else {
            return Ok(());
        };
        if plan::starts_evicting(node, &taints) && !self.take_turn() {
            match plan::taints(node, Evictions::Later, now) {
                Some(others) => taints = others,
                None => return Ok(()),
            }
        }
        // Taints are one atomic list: the version makes sure that nobody's change in between is lost.
        let patch = json!({ "metadata": { "resourceVersion": node.resource_version() }, "spec": { "taints": taints } });
        let api: Api<Node> = Api::all(self.context.client.clone());
        gone_is_fine(api.patch(name, &PatchParams::default(), &Patch::Merge(&patch)).await).map_err(failed("tainting", name))
    }

    fn evictions(&self, node: &Node) -> Evictions {
        let is_ready = |n: &Node| plan::readiness(n) == "True";
        let anyone = is_ready(node) || self.nodes.list().iter().any(|n| is_ready(n) && n.uid() != node.uid());
        if anyone { Evictions::Allowed } else { Evictions::Stopped }
    }

    fn take_turn(&self) -> bool {
        let mut last = self.last_eviction.lock().unwrap_or_else(PoisonError::into_inner);
        let free = last.is_none_or(|at| at.elapsed() >= EVICTION_INTERVAL);
        if free {
            *last = Some(Instant::now());
        }
        free
    }

    /// Pods of a node that is not ready take no traffic.
    async fn mark_pods(&self, name: &str) -> Result<(), Error> {
        let ready: Vec<_> = self.pods.list().into_iter().filter(|p| pods::node(p) == name && pods::is_ready(p)).collect();
        for pod in ready {
            let condition = json!({ "type": "Ready", "status": "False", "lastTransitionTime": time(self.context.now()) });
            let patch = json!({ "metadata": { "uid": pod.uid() }, "status": { "conditions": [condition] } });
            let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &pod.namespace().unwrap_or_default());
            let written = api.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(&patch)).await;
            gone_is_fine(written).map_err(failed("marking the pods of", name))?;
            self.context.events.event(pod.as_ref(), EventType::Warning, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}

fn failed<'a>(doing: &'static str, name: &'a str) -> impl FnOnce(kube::Error) -> Error + 'a {
    move |source| Error { doing, name: name.to_owned(), source: Box::new(source) }
}
