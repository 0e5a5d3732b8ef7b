//! Keeps cache and queue in step with the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Change, ObjectKey};
use k8s_openapi::api::apps::v1::{ReplicaSet, StatefulSet};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, ReplicationController, Service};
use kube::core::Selector;
use kube::{Resource as _, ResourceExt as _};

use crate::bind::NAME;
use crate::framework::Event;
use crate::pod_info::PodInfo;
use crate::run::Scheduler;

/// Registers all handlers; returns when the caches are filled.
pub(crate) async fn start(scheduler: &Arc<Scheduler>) {
    let all = &scheduler.informers;
    all.of::<Node>().synced().await;
    all.of::<Namespace>().synced().await;
    all.of::<Service>().synced().await;
    all.of::<ReplicaSet>().synced().await;
    all.of::<StatefulSet>().synced().await;
    all.of::<ReplicationController>().synced().await;
    all.of::<Pod>().synced().await;
    let weak = Arc::downgrade(scheduler);
    all.of::<Namespace>().on_change(move |change| {
        let Some(scheduler) = weak.upgrade() else {
            return;
        };
        let (name, labels) = (change.object().name_any(), change.object().metadata.labels.clone().unwrap_or_default());
        let mut state = scheduler.state();
        match change {
            Change::Applied { .. } => _ = state.surroundings.namespaces.insert(name, labels),
            Change::Deleted(_) => _ = state.surroundings.namespaces.remove(&name),
        }
    });
    let weak = Arc::downgrade(scheduler);
    all.of::<Node>().on_change(move |change| {
        if let Some(scheduler) = weak.upgrade() {
            node_changed(&scheduler, change);
        }
    });
    let weak = Arc::downgrade(scheduler);
    all.of::<Pod>().on_change(move |change| {
        if let Some(scheduler) = weak.upgrade() {
            pod_changed(&scheduler, change);
        }
    });
}

fn node_changed(scheduler: &Scheduler, change: &Change<Node>) {
    match change {
        Change::Deleted(node) => scheduler.state().cache.remove_node(&node.name_any()),
        Change::Applied { old, new } => {
            scheduler.state().cache.set_node(new.clone());
            let Some(old) = old else {
                return scheduler.happened(Event::NodeAdded);
            };
            let spec = |n: &Node| n.spec.as_ref().map(|s| (s.taints.clone(), s.unschedulable));
            if spec(old) != spec(new) {
                scheduler.happened(Event::NodeTaints);
            }
            if old.metadata.labels != new.metadata.labels {
                scheduler.happened(Event::NodeLabels);
            }
            let offers = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
            if offers(old) != offers(new) {
                scheduler.happened(Event::NodeAllocatable);
            }
        }
    }
}

fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref().and_then(|s| s.node_name.as_deref()).filter(|n| !n.is_empty())
}

fn has_ended(pod: &Pod) -> bool {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).is_some_and(|p| p == "Succeeded" || p == "Failed")
}

fn is_ours(pod: &Pod) -> bool {
    let named = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref()).filter(|n| !n.is_empty());
    named.is_none_or(|n| n == NAME)
}

fn pod_changed(scheduler: &Scheduler, change: &Change<Pod>) {
    let pod = change.object();
    let uid = pod.uid().unwrap_or_default();
    if let Change::Applied { old: Some(old), .. } = change {
        // A pod of the same name took its place, and its end was missed.
        if old.uid() != pod.uid() {
            leave(scheduler, &old.uid().unwrap_or_default());
        }
    }
    if matches!(change, Change::Deleted(_)) || has_ended(pod) {
        return leave(scheduler, &uid);
    }
    let info = Arc::new(PodInfo::new(pod.clone()));
    if node_of(pod).is_none() {
        let leaving = pod.metadata.deletion_timestamp.is_some();
        if leaving {
            scheduler.queue().remove(&uid);
            scheduler.state().nominated.remove(&uid);
        } else if is_ours(pod) && !scheduler.state().cache.is_assumed(&uid) {
            scheduler.enqueue(info);
        }
        return;
    }
    let shrunk = {
        let mut state = scheduler.state();
        state.nominated.remove(&uid);
        state.cache.set_pod(info);
        match change {
            Change::Applied { old: Some(old), new } if node_of(old).is_some() => Some(facts(old) != facts(new)),
            _ => None,
        }
    };
    scheduler.queue().remove(&uid);
    match shrunk {
        None => scheduler.happened(Event::PodAssigned),
        Some(true) => scheduler.happened(Event::PodChanged),
        Some(false) => {}
    }
}

/// What of a placed pod other pods depend on.
fn facts(pod: &Pod) -> impl PartialEq + use<> {
    let requests = |p: &Pod| crate::resources::pod_requests(p, crate::resources::Absent::Nothing);
    (pod.metadata.labels.clone(), requests(pod), pod.metadata.deletion_timestamp.is_some())
}

fn leave(scheduler: &Scheduler, uid: &str) {
    scheduler.queue().remove(uid);
    let was_placed = {
        let mut state = scheduler.state();
        state.nominated.remove(uid);
        state.cache.remove_pod(uid)
    };
    if was_placed {
        scheduler.happened(Event::PodGone);
    }
}

/// What the pod's services and its controller select with: pods alike are spread by default.
pub(crate) fn default_selector(scheduler: &Scheduler, pod: &Pod) -> Option<Selector> {
    let namespace = pod.namespace().unwrap_or_default();
    let labels = pod.metadata.labels.as_ref()?;
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    for service in scheduler.informers.of::<Service>().list_in(&namespace) {
        let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref()).filter(|s| !s.is_empty());
        if let Some(selector) = selector.filter(|s| s.iter().all(|(k, v)| labels.get(k) == Some(v))) {
            wanted.extend(selector.clone());
        }
    }
    let mut all: Selector = wanted.into_iter().collect();
    let owner = pod.metadata.owner_references.iter().flatten().find(|r| r.controller == Some(true));
    if let Some(owner) = owner {
        let key = ObjectKey::new(namespace, owner.name.as_str());
        let informers = &scheduler.informers;
        let selector = if owner.kind == ReplicaSet::kind(&()) {
            informers.of::<ReplicaSet>().get(&key).and_then(|o| Some(o.spec.as_ref()?.selector.clone()))
        } else if owner.kind == StatefulSet::kind(&()) {
            informers.of::<StatefulSet>().get(&key).and_then(|o| Some(o.spec.as_ref()?.selector.clone()))
        } else {
            None
        };
        let selector: Option<Selector> = selector.and_then(|s| s.try_into().ok());
        if let Some(selector) = selector {
            all.extend(selector);
        }
        if owner.kind == ReplicationController::kind(&()) {
            let controller = informers.of::<ReplicationController>().get(&key);
            if let Some(selector) = controller.and_then(|c| c.spec.as_ref()?.selector.clone()) {
                all.extend(selector.into_iter().collect::<Selector>());
            }
        }
    }
    (!all.selects_all()).then_some(all)
}
