//! Removes pods that nobody else will: those of nodes that are gone, terminating ones that never got a node, and the oldest
//! of too many that have ended.

pub mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt as _};
use tokio::time::{Instant, MissedTickBehavior};

use crate::context::Context;
use crate::disrupt::{End, end};
use crate::pods;
use plan::{Cause, Observed, plan};

/// How often it looks (upstream's period).
const PERIOD: Duration = Duration::from_secs(20);
/// A node must be missing for this long before its pods go: the cache may lag, and nodes come back.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Collects until dropped.
pub async fn run(context: Context) {
    let (pods, nodes) = (context.informers.of::<Pod>(), context.informers.of::<Node>());
    pods.synced().await;
    nodes.synced().await;
    let mut tick = tokio::time::interval(PERIOD);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut missing_since: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        tick.tick().await;
        let (all_pods, all_nodes) = (pods.list(), nodes.list());
        let there: BTreeSet<String> = all_nodes.iter().map(|n| n.name_any()).collect();
        let named = all_pods.iter().map(|p| pods::node(p)).filter(|n| !n.is_empty() && !there.contains(*n));
        let missing: BTreeSet<String> = named.map(str::to_owned).collect();
        missing_since.retain(|name, _| missing.contains(name));
        let mut gone = BTreeSet::new();
        for name in missing {
            let since = *missing_since.entry(name.clone()).or_insert_with(Instant::now);
            if since.elapsed() >= QUARANTINE && is_really_gone(&context, &name).await {
                gone.insert(name);
            }
        }
        let seen = Observed { pods: &all_pods, nodes: &all_nodes, gone: &gone };
        for (pod, cause) in plan(&seen) {
            let why = (cause == Cause::Orphaned).then_some(("DeletionByPodGC", "PodGC: node no longer exists"));
            if let Err(error) = end(&context.client, &pod, why, End::Forced, context.now()).await {
                tracing::warn!(pod = %pod.name_any(), ?cause, %error, "removing a pod failed");
            }
        }
    }
}

async fn is_really_gone(context: &Context, name: &str) -> bool {
    let api: Api<Node> = Api::all(context.client.clone());
    matches!(api.get_metadata_opt(name).await, Ok(None))
}
