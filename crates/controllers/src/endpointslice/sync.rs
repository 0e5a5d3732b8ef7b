//! Watches services, pods and slices, and carries plans out.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, ResourceExt as _};

use super::plan::{self, Action, Observed};
use super::tracker::Tracker;
use super::{MANAGED_BY, MANAGER, SERVICE_NAME};
use crate::context::{Context, gone_is_fine, is_namespace_terminating, message_of};
use crate::pods;
use crate::services::{self, TriggerTimes};

/// Services worked on at the same time.
const WORKERS: usize = 8;

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    slices: Informer<EndpointSlice>,
    tracker: Tracker,
    triggers: TriggerTimes,
    queue: WorkQueue<ObjectKey>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{doing} of service {key}: {source}")]
    Request { doing: &'static str, key: ObjectKey, source: Box<kube::Error> },
}

/// Serves Services until dropped.
pub async fn run(context: Context) {
    let controller = Arc::new(Controller {
        services: context.informers.of(),
        pods: context.informers.of(),
        nodes: context.informers.of(),
        slices: context.informers.of(),
        tracker: Tracker::default(),
        triggers: TriggerTimes::default(),
        queue: WorkQueue::default(),
        context,
    });
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.nodes.synced().await;
    controller.slices.synced().await;
    watch(&controller);
    let queue = controller.queue.clone();
    run_workers("endpointslice", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await }
    })
    .await;
}

fn watch(controller: &Arc<Controller>) {
    let weak = Arc::downgrade(controller);
    controller.services.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        let key = ObjectKey::of(change.object().as_ref());
        if matches!(change, Change::Deleted(_)) {
            controller.tracker.forget(&key);
            controller.triggers.forget(&key);
        }
        controller.queue.add(key);
    });
    let weak = Arc::downgrade(controller);
    controller.pods.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        if pod_matters(change) {
            services_of(change, &controller.services).into_iter().for_each(|key| controller.queue.add(key));
        }
    });
    let weak = Arc::downgrade(controller);
    controller.slices.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        if let Some(key) = service_key(change.object()) {
            if let Change::Deleted(slice) = change {
                controller.tracker.saw_deletion(&key, slice);
            }
            controller.queue.add(key);
        }
    });
}

/// Whether a change of a pod can change endpoints at all: most status updates cannot.
pub(crate) fn pod_matters(change: &Change<Pod>) -> bool {
    let Change::Applied { old: Some(old), new } = change else {
        return true;
    };
    let facts = |pod: &Pod| {
        let spec = pod.spec.as_ref();
        (
            services::addresses(pod).into_iter().map(str::to_owned).collect::<Vec<_>>(),
            (pods::is_ready(pod), pods::is_terminating(pod), pods::is_terminal(pod)),
            pods::node(pod).to_owned(),
            pod.metadata.labels.clone(),
            spec.map(|s| (s.hostname.clone(), s.subdomain.clone())),
            pod.metadata.uid.clone(),
        )
    };
    facts(old) != facts(new)
}

/// The services that select the pod now, or did before the change.
pub(crate) fn services_of(change: &Change<Pod>, services: &Informer<Service>) -> Vec<ObjectKey> {
    let pod = change.object();
    let before = match change {
        Change::Applied { old: Some(old), .. } => Some(old),
        _ => None,
    };
    let selected = |service: &Service| {
        services::pod_selector(service).is_some_and(|s| services::selects(s, pod) || before.is_some_and(|old| services::selects(s, old)))
    };
    let all = services.list_in(&pod.namespace().unwrap_or_default());
    all.iter().filter(|s| selected(s)).map(|s| ObjectKey::of(s.as_ref())).collect()
}

fn service_key(slice: &EndpointSlice) -> Option<ObjectKey> {
    let labels = slice.metadata.labels.as_ref()?;
    let ours = labels.get(MANAGED_BY).is_some_and(|by| by == MANAGER);
    ours.then(|| labels.get(SERVICE_NAME)).flatten().map(|name| ObjectKey::new(slice.namespace().unwrap_or_default(), name))
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(service) = self.services.get(key) else {
            return Ok(());
        };
        let Some(selector) = services::pod_selector(&service) else {
            return Ok(());
        };
        let of_service = |slice: &Arc<EndpointSlice>| service_key(slice).as_ref() == Some(key);
        let slices: Vec<_> = self.slices.list_in(&key.namespace).into_iter().filter(of_service).collect();
        if self.tracker.is_stale(key, &slices) {
            // The event that brings the cache up to date queues the service again.
            return Ok(());
        }
        let slices: Vec<_> = slices.into_iter().filter(|s| s.metadata.deletion_timestamp.is_none()).collect();
        let pods: Vec<_> = self.pods.list_in(&key.namespace).into_iter().filter(|p| services::selects(selector, p)).collect();
        let names: BTreeMap<&str, ()> = pods.iter().map(|p| (pods::node(p), ())).collect();
        let node = |name: &str| Some((name.to_owned(), self.nodes.get(&ObjectKey::new("", name))?));
        let nodes: HashMap<String, Arc<Node>> = names.into_keys().filter_map(node).collect();
        let trigger = self.triggers.next(key, &service, &pods);
        let seen = Observed { service: &service, pods: &pods, nodes: &nodes, slices: &slices, trigger };
        for action in plan::plan(&seen) {
            if let Err(error) = self.act(key, action).await {
                if is_namespace_terminating(&error) {
                    return Ok(());
                }
                let message = format!("Error updating Endpoint Slices for Service {key}: {}", message_of(&error));
                self.context.events.event(service.as_ref(), EventType::Warning, "FailedToUpdateEndpointSlices", message);
                return Err(Error::Request { doing: "writing the slices", key: key.clone(), source: Box::new(error) });
            }
        }
        Ok(())
    }

    async fn act(&self, key: &ObjectKey, action: Action) -> Result<(), kube::Error> {
        let api: Api<EndpointSlice> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match action {
            Action::Create(slice) => {
                let written = api.create(&PostParams::default(), &slice).await?;
                self.tracker.wrote(key, &written);
            }
            Action::Update(slice) => {
                let written = api.replace(&slice.name_any(), &PostParams::default(), &slice).await?;
                self.tracker.wrote(key, &written);
            }
            Action::Delete(slice) => {
                let exactly_it = Preconditions { uid: slice.uid(), resource_version: None };
                let params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::default() };
                // Noted first: the watch may show the deletion before the answer arrives.
                self.tracker.deleted(key, &slice);
                if let Err(error) = gone_is_fine(api.delete(&slice.name_any(), &params).await) {
                    self.tracker.saw_deletion(key, &slice);
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
