//! Looks at objects live, and deletes, unblocks or orphans them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use client::{WorkQueue, run_workers};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, PropagationPolicy};
use kube::{Api, Client};
use serde_json::json;
use tokio::sync::Notify;

use super::graph::{FOREGROUND, Graph, Identity, Node, ORPHAN, Work};
use super::monitors::Monitors;
use super::plan::{Action, Owner, decide};
use super::resources::{Known, Resources, api_of, discover, group_of};
use crate::context::{Context, gone_is_fine, is_not_found};

/// Objects looked at at the same time.
const WORKERS: usize = 20;
/// Kinds are discovered again at least this often (upstream's period); a change of a CRD makes it sooner.
const DISCOVERY_PERIOD: Duration = Duration::from_secs(30);
/// A new CRD is served a moment after it is written; several in a row make one discovery.
const SETTLE: Duration = Duration::from_millis(500);
/// The wait after a failed discovery.
const DISCOVERY_RETRY: Duration = Duration::from_secs(1);

/// What the watches and the workers share.
pub(super) struct Collector {
    context: Context,
    graph: Mutex<Graph>,
    resources: RwLock<Resources>,
    look_at: WorkQueue<String>,
    orphan: WorkQueue<String>,
    rediscover: Notify,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("{doing} {kind} {namespace}/{name}: {source}")]
    Request { doing: &'static str, kind: String, namespace: String, name: String, source: Box<kube::Error> },
    #[error("kind {kind} of {api_version} is not known")]
    UnknownKind { api_version: String, kind: String },
}

/// Collects until dropped.
pub async fn run(context: Context) {
    let collector = Arc::new(Collector {
        context,
        graph: Mutex::default(),
        resources: RwLock::default(),
        look_at: WorkQueue::default(),
        orphan: WorkQueue::default(),
        rediscover: Notify::new(),
    });
    let looking = collector.clone();
    let orphaning = collector.clone();
    tokio::join!(
        follow_kinds(collector.clone()),
        run_workers("garbagecollector", collector.look_at.clone(), WORKERS, move |uid| {
            let collector = looking.clone();
            async move { collector.look(&uid).await }
        }),
        run_workers("garbagecollector-orphan", collector.orphan.clone(), WORKERS, move |uid| {
            let collector = orphaning.clone();
            async move { collector.make_orphans(&uid).await }
        }),
    );
}

async fn follow_kinds(collector: Arc<Collector>) {
    let mut monitors = Monitors::default();
    loop {
        let wait = match discover(collector.client()).await {
            Ok(found) => {
                *collector.resources.write().unwrap_or_else(PoisonError::into_inner) = found;
                monitors.follow(&collector);
                DISCOVERY_PERIOD
            }
            Err(error) => {
                tracing::debug!(%error, "discovery failed");
                DISCOVERY_RETRY
            }
        };
        if tokio::time::timeout(wait, collector.rediscover.notified()).await.is_ok() {
            tokio::time::sleep(SETTLE).await;
        }
    }
}

impl Collector {
    pub(super) fn client(&self) -> &Client {
        &self.context.client
    }

    pub(super) fn resources(&self) -> Resources {
        self.resources.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn observe(&self, identity: Identity, meta: &ObjectMeta) {
        let work = self.graph().observe(identity, meta);
        self.queue(work);
    }

    pub(super) fn gone(&self, uid: &str) {
        let work = self.graph().remove(uid);
        self.queue(work);
    }

    pub(super) fn kinds_may_have_changed(&self, changed: &Known) {
        if matches!(changed.resource.kind.as_str(), "CustomResourceDefinition" | "APIService") {
            self.rediscover.notify_one();
        }
    }

    fn graph(&self) -> MutexGuard<'_, Graph> {
        self.graph.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue(&self, work: Work) {
        work.look_at.into_iter().for_each(|uid| self.look_at.add(uid));
        work.orphan.into_iter().for_each(|uid| self.orphan.add(uid));
    }

    fn api(&self, identity: &Identity) -> Result<Api<DynamicObject>, Error> {
        let resources = self.resources.read().unwrap_or_else(PoisonError::into_inner);
        api_of(self.client(), &resources, identity)
            .ok_or_else(|| Error::UnknownKind { api_version: identity.api_version.clone(), kind: identity.kind.clone() })
    }

    fn is_namespaced(&self, reference: &OwnerReference) -> Option<bool> {
        let resources = self.resources.read().unwrap_or_else(PoisonError::into_inner);
        let key = (group_of(&reference.api_version).to_owned(), reference.kind.clone());
        resources.get(&key).map(|known| known.is_namespaced)
    }

    /// The object's live metadata; `None` if it is gone or replaced by another of its name.
    async fn live(&self, identity: &Identity) -> Result<Option<ObjectMeta>, Error> {
        let found = self.api(identity)?.get_metadata_opt(&identity.name).await;
        let found = found.map_err(failed("reading", identity))?;
        Ok(found.map(|object| object.metadata).filter(|meta| meta.uid.as_deref() == Some(&identity.uid)))
    }

    async fn look(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.graph().get(uid).cloned() else {
            return Ok(());
        };
        if node.is_leaving && !node.waits_for_dependents {
            return Ok(());
        }
        let Some(live) = self.live(&node.identity).await? else {
            self.gone(uid);
            return Ok(());
        };
        if node.waits_for_dependents {
            return self.release_if_alone(&node, &live).await;
        }
        if live.deletion_timestamp.is_some() && !node.is_observed {
            return Ok(());
        }
        let references = live.owner_references.clone().unwrap_or_default();
        let mut owners = Vec::new();
        for reference in references {
            match self.owner(&node.identity, &reference).await? {
                Some(state) => owners.push((reference, state)),
                // A reference that can never hold: nothing may be concluded from it.
                None => return Ok(()),
            }
        }
        let dependents = self.graph().dependents(uid);
        let finalizers = live.finalizers.clone().unwrap_or_default();
        match decide(&owners, &finalizers, !dependents.is_empty()) {
            Action::Nothing => Ok(()),
            Action::Forget(uids) => self.forget(&node.identity, &live, &uids).await,
            Action::Delete(policy) => {
                if policy == PropagationPolicy::Foreground && dependents.iter().any(|d| d.waits_for_dependents) {
                    // A circle in which each waits for the next would never end.
                    self.unblock(&node.identity, &live).await?;
                    return self.delete(&node.identity, None, policy).await;
                }
                self.delete(&node.identity, live.resource_version, policy).await
            }
        }
    }

    /// The live state of one owner; `None` if the reference is invalid.
    async fn owner(&self, dependent: &Identity, reference: &OwnerReference) -> Result<Option<Owner>, Error> {
        let namespaced = self.is_namespaced(reference);
        if namespaced == Some(true) && dependent.namespace.is_empty() {
            tracing::warn!(kind = %dependent.kind, name = %dependent.name, owner = %reference.name,
                "a cluster-scoped object cannot be owned by a namespaced one");
            return Ok(None);
        }
        let identity = Identity {
            api_version: reference.api_version.clone(),
            kind: reference.kind.clone(),
            namespace: dependent.namespace.clone(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
        };
        let Some(live) = self.live(&identity).await? else {
            return Ok(Some(Owner::Absent));
        };
        let waits = live.deletion_timestamp.is_some() && live.finalizers.iter().flatten().any(|f| f == FOREGROUND);
        let blocks = reference.block_owner_deletion == Some(true);
        Ok(Some(if waits && blocks { Owner::Waiting } else { Owner::Solid }))
    }

    /// An owner that waits goes when no dependent blocks it; until then its dependents are looked at.
    async fn release_if_alone(&self, node: &Node, live: &ObjectMeta) -> Result<(), Error> {
        let dependents = self.graph().dependents(&node.identity.uid);
        let blocks = |d: &&Node| d.owners.iter().any(|r| r.uid == node.identity.uid && r.block_owner_deletion == Some(true));
        let blocking: Vec<&Node> = dependents.iter().filter(blocks).collect();
        if blocking.is_empty() {
            return self.remove_finalizer(&node.identity, live, FOREGROUND).await;
        }
        for dependent in blocking.into_iter().filter(|d| !d.waits_for_dependents) {
            self.look_at.add(dependent.identity.uid.clone());
        }
        Ok(())
    }

    async fn make_orphans(&self, uid: &str) -> Result<(), Error> {
        let Some(node) = self.graph().get(uid).cloned() else {
            return Ok(());
        };
        let dependents = self.graph().dependents(uid);
        for dependent in dependents {
            if let Some(live) = self.live(&dependent.identity).await? {
                self.forget(&dependent.identity, &live, &[uid.to_owned()]).await?;
            }
        }
        match self.live(&node.identity).await? {
            Some(live) => self.remove_finalizer(&node.identity, &live, ORPHAN).await,
            None => Ok(()),
        }
    }

    async fn forget(&self, identity: &Identity, live: &ObjectMeta, owners: &[String]) -> Result<(), Error> {
        let all = live.owner_references.clone().unwrap_or_default();
        let kept: Vec<_> = all.iter().filter(|r| !owners.contains(&r.uid)).cloned().collect();
        if kept.len() == all.len() {
            return Ok(());
        }
        self.patch(identity, live, json!({ "ownerReferences": kept })).await
    }

    async fn unblock(&self, identity: &Identity, live: &ObjectMeta) -> Result<(), Error> {
        let mut all = live.owner_references.clone().unwrap_or_default();
        all.iter_mut().for_each(|r| r.block_owner_deletion = Some(false));
        self.patch(identity, live, json!({ "ownerReferences": all })).await
    }

    async fn remove_finalizer(&self, identity: &Identity, live: &ObjectMeta, name: &str) -> Result<(), Error> {
        let all = live.finalizers.clone().unwrap_or_default();
        let kept: Vec<_> = all.iter().filter(|f| *f != name).cloned().collect();
        if kept.len() == all.len() {
            return Ok(());
        }
        self.patch(identity, live, json!({ "finalizers": kept })).await
    }

    /// A merge patch, which all kinds take; its version makes sure that no change in between is lost.
    async fn patch(&self, identity: &Identity, live: &ObjectMeta, mut metadata: serde_json::Value) -> Result<(), Error> {
        if let Some(metadata) = metadata.as_object_mut() {
            metadata.insert("uid".to_owned(), json!(live.uid));
            metadata.insert("resourceVersion".to_owned(), json!(live.resource_version));
        }
        let patch = Patch::Merge(json!({ "metadata": metadata }));
        let written = self.api(identity)?.patch_metadata(&identity.name, &PatchParams::default(), &patch).await;
        gone_is_fine(written).map_err(failed("patching", identity))
    }

    async fn delete(&self, identity: &Identity, version: Option<String>, policy: PropagationPolicy) -> Result<(), Error> {
        let exactly_it = Preconditions { uid: Some(identity.uid.clone()), resource_version: version };
        let params = DeleteParams { preconditions: Some(exactly_it), propagation_policy: Some(policy), ..DeleteParams::default() };
        match self.api(identity)?.delete(&identity.name, &params).await {
            Err(error) if is_not_found(&error) => {
                self.gone(&identity.uid);
                Ok(())
            }
            other => other.map(|_| ()).map_err(failed("deleting", identity)),
        }
    }
}

fn failed(doing: &'static str, identity: &Identity) -> impl FnOnce(kube::Error) -> Error {
    let Identity { kind, namespace, name, .. } = identity.clone();
    move |source| Error::Request { doing, kind, namespace, name, source: Box::new(source) }
}
