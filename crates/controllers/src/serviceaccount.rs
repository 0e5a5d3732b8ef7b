//! Every namespace has a service account named `default`.

use std::sync::Arc;

use client::{Change, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::Api;
use kube::api::{ObjectMeta, PostParams};

use crate::context::{Context, is_already_exists, is_namespace_terminating, is_not_found};
use crate::namespace::is_active;

const NAME: &str = "default";
/// Namespaces worked on at the same time.
const WORKERS: usize = 2;

#[derive(Debug, thiserror::Error)]
#[error("creating service account default in namespace {namespace}: {source}")]
struct Error {
    namespace: String,
    source: Box<kube::Error>,
}

/// Serves namespaces until dropped.
pub async fn run(context: Context) {
    let namespaces: Informer<Namespace> = context.informers.of();
    let accounts: Informer<ServiceAccount> = context.informers.of();
    namespaces.synced().await;
    accounts.synced().await;
    let queue: WorkQueue<String> = WorkQueue::default();
    let work = queue.clone();
    namespaces.on_change(move |change| {
        if let Change::Applied { new, .. } = change {
            work.add(new.metadata.name.clone().unwrap_or_default());
        }
    });
    let work = queue.clone();
    accounts.on_change(move |change| match change {
        Change::Deleted(gone) if gone.metadata.name.as_deref() == Some(NAME) => {
            work.add(gone.metadata.namespace.clone().unwrap_or_default());
        }
        _ => {}
    });
    let shared = Arc::new((context, namespaces, accounts));
    run_workers("serviceaccount", queue, WORKERS, move |namespace| {
        let shared = shared.clone();
        async move {
            let (context, namespaces, accounts) = shared.as_ref();
            sync(context, namespaces, accounts, &namespace).await.map_err(|source| Error { namespace, source: Box::new(source) })
        }
    })
    .await;
}

async fn sync(
    context: &Context,
    namespaces: &Informer<Namespace>,
    accounts: &Informer<ServiceAccount>,
    namespace: &str,
) -> Result<(), kube::Error> {
    let wanted = namespaces.get(&ObjectKey::new("", namespace)).is_some_and(|n| is_active(&n));
    if !wanted || accounts.get(&ObjectKey::new(namespace, NAME)).is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(NAME.to_owned()), namespace: Some(namespace.to_owned()), ..Default::default() },
        ..Default::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
    match api.create(&PostParams::default(), &account).await {
        Err(error) if is_already_exists(&error) || is_namespace_terminating(&error) || is_not_found(&error) => Ok(()),
        other => other.map(|_| ()),
    }
}
