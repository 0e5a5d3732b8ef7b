//! Watches namespaces, empties those that are being deleted, and finalizes them.

use std::sync::Arc;
use std::time::Duration;

use client::{Change, Informer, ObjectKey, WorkQueue, run_workers};
use http::Request;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::PostParams;
use stdx::Backoff;

use super::content;
use super::plan::{self, FINALIZER};
use crate::context::{Context, gone_is_fine};

/// Namespaces emptied at the same time.
const WORKERS: usize = 10;
/// How long a namespace with content left waits: pods that end wake it up before.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(15));

struct Controller {
    context: Context,
    namespaces: Informer<Namespace>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{doing} namespace {name}: {source}")]
    Request { doing: &'static str, name: String, source: Box<kube::Error> },
    #[error("encoding namespace {name}: {source}")]
    Encode { name: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("content is left in namespace {0}")]
    ContentLeft(String),
}

/// Serves namespaces until dropped.
pub async fn run(context: Context) {
    let namespaces: Informer<Namespace> = context.informers.of();
    let pods: Informer<Pod> = context.informers.of();
    namespaces.synced().await;
    pods.synced().await;
    let queue: WorkQueue<String> = WorkQueue::with_retry(RETRY);
    let work = queue.clone();
    namespaces.on_change(move |change| {
        if let Change::Applied { new, .. } = change
            && new.metadata.deletion_timestamp.is_some()
        {
            work.add(new.metadata.name.clone().unwrap_or_default());
        }
    });
    let (work, known) = (queue.clone(), namespaces.clone());
    pods.on_change(move |change| {
        let Change::Deleted(pod) = change else { return };
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let leaves = known.get(&ObjectKey::new("", namespace.as_str())).is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        if leaves {
            work.add(namespace);
        }
    });
    let controller = Arc::new(Controller { context, namespaces });
    run_workers("namespace", queue, WORKERS, move |name| {
        let controller = controller.clone();
        async move { controller.sync(&name).await }
    })
    .await;
}

impl Controller {
    async fn sync(&self, name: &str) -> Result<(), Error> {
        let failed = |doing: &'static str| move |source| Error::Request { doing, name: name.to_owned(), source: Box::new(source) };
        if self.namespaces.get(&ObjectKey::new("", name)).is_none_or(|n| n.metadata.deletion_timestamp.is_none()) {
            return Ok(());
        }
        // Live, because the pass before this one has changed it.
        let api: Api<Namespace> = Api::all(self.context.client.clone());
        let Some(namespace) = api.get_opt(name).await.map_err(failed("reading"))? else {
            return Ok(());
        };
        if namespace.metadata.deletion_timestamp.is_none() || !has_finalizer(&namespace) {
            return Ok(());
        }
        let found = content::delete_all(&self.context.client, name).await;
        let mut current = namespace;
        if let Some(status) = plan::status(&current, &found, self.context.now()) {
            current.status = Some(status);
            let written = api.replace_status(name, &PostParams::default(), &current).await;
            current = written.map_err(failed("writing the status of"))?;
        }
        if !found.is_empty() {
            return Err(Error::ContentLeft(name.to_owned()));
        }
        self.finalize(name, current).await
    }

    async fn finalize(&self, name: &str, mut namespace: Namespace) -> Result<(), Error> {
        let finalizers = namespace.spec.get_or_insert_default().finalizers.get_or_insert_default();
        finalizers.retain(|f| f != FINALIZER);
        let encode = |source: Box<dyn std::error::Error + Send + Sync>| Error::Encode { name: name.to_owned(), source };
        let body = serde_json::to_vec(&namespace).map_err(|e| encode(e.into()))?;
        let request = Request::put(format!("/api/v1/namespaces/{name}/finalize"))
            .header("content-type", "application/json")
            .body(body)
            .map_err(|e| encode(e.into()))?;
        let written = self.context.client.request::<Namespace>(request).await;
        gone_is_fine(written).map_err(|e| Error::Request { doing: "finalizing", name: name.to_owned(), source: Box::new(e) })
    }
}

fn has_finalizer(namespace: &Namespace) -> bool {
    let finalizers = namespace.spec.as_ref().and_then(|s| s.finalizers.as_deref()).unwrap_or_default();
    finalizers.iter().any(|f| f == FINALIZER)
}
