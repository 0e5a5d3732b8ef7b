//! Every namespace has a ConfigMap `kube-root-ca.crt` with the bundle that pods verify the API server with.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Change, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use kube::runtime::watcher;

use crate::context::{Context, is_already_exists, is_namespace_terminating, is_not_found};
use crate::namespace::is_active;

/// The ConfigMap's name, which every pod's projected token volume refers to.
pub const NAME: &str = "kube-root-ca.crt";
const KEY: &str = "ca.crt";
const DESCRIPTION_KEY: &str = "kubernetes.io/description";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.";
/// Namespaces worked on at the same time.
const WORKERS: usize = 2;

#[derive(Debug, thiserror::Error)]
#[error("publishing the root certificates in namespace {namespace}: {source}")]
struct Error {
    namespace: String,
    source: Box<kube::Error>,
}

struct Controller {
    context: Context,
    namespaces: Informer<Namespace>,
    /// Only the maps of our name: all others would fill memory for nothing.
    maps: Informer<ConfigMap>,
}

/// Serves namespaces until dropped.
pub async fn run(context: Context) {
    let only_ours = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let namespaces: Informer<Namespace> = context.informers.of();
    let maps: Informer<ConfigMap> = Informer::start(Api::all(context.informers.client().clone()), only_ours);
    namespaces.synced().await;
    maps.synced().await;
    let queue: WorkQueue<String> = WorkQueue::default();
    let work = queue.clone();
    namespaces.on_change(move |change| {
        if let Change::Applied { new, .. } = change {
            work.add(new.metadata.name.clone().unwrap_or_default());
        }
    });
    let work = queue.clone();
    maps.on_change(move |change| work.add(change.object().metadata.namespace.clone().unwrap_or_default()));
    let controller = Arc::new(Controller { context, namespaces, maps });
    run_workers("rootca", queue, WORKERS, move |namespace| {
        let controller = controller.clone();
        async move { controller.sync(&namespace).await.map_err(|e| Error { namespace, source: Box::new(e) }) }
    })
    .await;
}

impl Controller {
    async fn sync(&self, namespace: &str) -> Result<(), kube::Error> {
        if !self.namespaces.get(&ObjectKey::new("", namespace)).is_some_and(|n| is_active(&n)) {
            return Ok(());
        }
        let current = self.maps.get(&ObjectKey::new(namespace, NAME));
        let Some(wanted) = plan(current.as_deref(), namespace, &self.context.config.cluster_ca_pem) else {
            return Ok(());
        };
        let api: Api<ConfigMap> = Api::namespaced(self.context.client.clone(), namespace);
        let written = match current {
            Some(_) => api.replace(NAME, &PostParams::default(), &wanted).await,
            None => api.create(&PostParams::default(), &wanted).await,
        };
        match written {
            Err(error) if is_already_exists(&error) || is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
            other => other.map(|_| ()),
        }
    }
}

/// The map to write, or `None` if it is right. Further keys are taken out; labels and other annotations stay.
pub fn plan(current: Option<&ConfigMap>, namespace: &str, pem: &str) -> Option<ConfigMap> {
    let data = Some(BTreeMap::from([(KEY.to_owned(), pem.to_owned())]));
    let described =
        |map: &ConfigMap| map.metadata.annotations.as_ref().is_some_and(|a| a.get(DESCRIPTION_KEY).is_some_and(|d| !d.is_empty()));
    if current.is_some_and(|map| map.data == data && described(map)) {
        return None;
    }
    let mut map = current.cloned().unwrap_or_else(|| ConfigMap {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), namespace: Some(namespace.to_owned()), ..Default::default() },
        ..Default::default()
    });
    map.data = data;
    map.metadata.annotations.get_or_insert_default().insert(DESCRIPTION_KEY.to_owned(), DESCRIPTION.to_owned());
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_map_is_put_right_and_then_left_alone() {
        let made = plan(None, "ns", "PEM").unwrap();
        assert_eq!(plan(Some(&made), "ns", "PEM"), None);
        let mut spoilt = made.clone();
        spoilt.data = Some(BTreeMap::from([(KEY.into(), "x".into()), ("more".into(), "y".into())]));
        spoilt.metadata.labels = Some(BTreeMap::from([("mine".into(), "1".into())]));
        let repaired = plan(Some(&spoilt), "ns", "PEM").unwrap();
        assert_eq!(repaired.data, made.data);
        assert_eq!(repaired.metadata.labels, spoilt.metadata.labels);
        assert!(plan(Some(&made), "ns", "NEW").is_some());
    }
}
