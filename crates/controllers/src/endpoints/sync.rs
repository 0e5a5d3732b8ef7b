//! Watches services and pods, and writes Endpoints.

use std::sync::Arc;

use client::{Change, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use kube::Api;
use kube::api::{DeleteParams, PostParams};

use super::plan::{self, Observed};
use crate::context::{Context, gone_is_fine, is_namespace_terminating};
use crate::endpointslice::{pod_matters, services_of};
use crate::services::{self, TriggerTimes};

/// Services worked on at the same time.
const WORKERS: usize = 4;

struct Controller {
    context: Context,
    services: Informer<Service>,
    pods: Informer<Pod>,
    endpoints: Informer<Endpoints>,
    triggers: TriggerTimes,
    queue: WorkQueue<ObjectKey>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("writing the endpoints of service {key}: {source}")]
    Write { key: ObjectKey, source: Box<kube::Error> },
}

/// Serves Services until dropped.
pub async fn run(context: Context) {
    let controller = Arc::new(Controller {
        services: context.informers.of(),
        pods: context.informers.of(),
        endpoints: context.informers.of(),
        triggers: TriggerTimes::default(),
        queue: WorkQueue::default(),
        context,
    });
    controller.services.synced().await;
    controller.pods.synced().await;
    controller.endpoints.synced().await;
    watch(&controller);
    let queue = controller.queue.clone();
    run_workers("endpoints", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await.map_err(|e| Error::Write { key, source: Box::new(e) }) }
    })
    .await;
}

fn watch(controller: &Arc<Controller>) {
    let weak = Arc::downgrade(controller);
    controller.services.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        controller.queue.add(ObjectKey::of(change.object().as_ref()));
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
    controller.endpoints.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        // Deleted by somebody while the service is still there: made again.
        if let Change::Deleted(gone) = change {
            controller.queue.add(ObjectKey::of(gone.as_ref()));
        }
    });
}

impl Controller {
    async fn sync(&self, key: &ObjectKey) -> Result<(), kube::Error> {
        let api: Api<Endpoints> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let current = self.endpoints.get(key);
        let Some(service) = self.services.get(key) else {
            self.triggers.forget(key);
            // Endpoints go with their service, also those that somebody wrote by hand; only the API server's own are never
            // touched: it looks after them itself.
            let is_api_servers = key.namespace == "default" && key.name == "kubernetes";
            if current.is_some() && !is_api_servers {
                return gone_is_fine(api.delete(&key.name, &DeleteParams::default()).await);
            }
            return Ok(());
        };
        let Some(selector) = services::pod_selector(&service) else {
            return Ok(());
        };
        let pods: Vec<_> = self.pods.list_in(&key.namespace).into_iter().filter(|p| services::selects(selector, p)).collect();
        let trigger = self.triggers.next(key, &service, &pods);
        let seen = Observed { service: &service, pods: &pods, current: current.as_deref(), trigger };
        let Some(wanted) = plan::plan(&seen) else {
            return Ok(());
        };
        let written = match &current {
            Some(_) => api.replace(&key.name, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Err(error) if is_namespace_terminating(&error) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}
