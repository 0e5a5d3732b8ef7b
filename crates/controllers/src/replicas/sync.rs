//! Watches, claims pods, carries plans out and writes statuses.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::core::{Selector, SelectorExt as _};

use super::kinds::Replicator;
use super::plan::{self, Observed, Plan};
use crate::context::{Context, is_namespace_terminating, is_not_found, message_of};
use crate::expectations::Expectations;
use crate::ownership::{Claim, adopt, controller_of, controller_ref, is_controlled_by, judge, release};
use crate::pods;

/// Owners worked on at the same time.
const WORKERS: usize = 8;
/// The first batch of creations; each further batch is twice as large, so that a broken template costs few failures.
const FIRST_BATCH: usize = 4;

struct Controller<R> {
    context: Context,
    owners: Informer<R>,
    pods: Informer<Pod>,
    expectations: Expectations,
    queue: WorkQueue<ObjectKey>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("claiming pods of {owner}: {source}")]
    Claim { owner: ObjectKey, source: Box<kube::Error> },
    #[error("changing the pods of {owner}: {message}")]
    Manage { owner: ObjectKey, message: String },
    #[error("writing the status of {owner}: {source}")]
    Status { owner: ObjectKey, source: Box<kube::Error> },
}

pub(super) async fn run<R: Replicator>(context: Context, what: &'static str) {
    let controller = Arc::new(Controller::<R> {
        owners: context.informers.of(),
        pods: context.informers.of(),
        expectations: Expectations::default(),
        queue: WorkQueue::default(),
        context,
    });
    controller.owners.synced().await;
    controller.pods.synced().await;
    watch(&controller);
    let queue = controller.queue.clone();
    run_workers(what, queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await }
    })
    .await;
}

fn watch<R: Replicator>(controller: &Arc<Controller<R>>) {
    let of_owners = Arc::downgrade(controller);
    controller.owners.on_change(move |change| {
        let Some(controller) = of_owners.upgrade() else {
            return;
        };
        let key = ObjectKey::of(change.object().as_ref());
        if matches!(change, Change::Deleted(_)) {
            controller.expectations.forget(&key);
        }
        controller.queue.add(key);
    });
    let of_pods = Arc::downgrade(controller);
    controller.pods.on_change(move |change| {
        if let Some(controller) = of_pods.upgrade() {
            controller.pod_changed(change);
        }
    });
}

impl<R: Replicator> Controller<R> {
    fn pod_changed(&self, change: &Change<Pod>) {
        let pod = change.object();
        let owner = self.owner_of(pod);
        if let Some(key) = &owner {
            let uid = pod.metadata.uid.as_deref().unwrap_or_default();
            match change {
                Change::Applied { old: None, .. } => self.expectations.creation_observed(key),
                Change::Deleted(_) => self.expectations.deletion_observed(key, uid),
                Change::Applied { .. } => {}
            }
            // A pod that has begun to go is as good as gone.
            if pods::is_terminating(pod) {
                self.expectations.deletion_observed(key, uid);
            }
            self.queue.add(key.clone());
        }
        if let Change::Applied { old: Some(old), .. } = change {
            let before = self.owner_of(old);
            if before != owner {
                before.into_iter().for_each(|key| self.queue.add(key));
            }
        }
        if owner.is_none() && controller_of(&pod.metadata).is_none() && pods::is_active(pod) {
            self.wake_adopters(pod);
        }
    }

    fn owner_of(&self, pod: &Pod) -> Option<ObjectKey> {
        let reference = controller_of(&pod.metadata)?;
        let ours = reference.kind == R::kind(&()) && reference.api_version == R::api_version(&());
        ours.then(|| ObjectKey::new(pod.metadata.namespace.as_deref().unwrap_or_default(), &reference.name))
    }

    fn wake_adopters(&self, pod: &Pod) {
        let labels = pod.metadata.labels.clone().unwrap_or_default();
        for owner in self.owners.list_in(pod.metadata.namespace.as_deref().unwrap_or_default()) {
            if owner.selector().is_ok_and(|s| selects(&s, &labels)) {
                self.queue.add(ObjectKey::of(owner.as_ref()));
            }
        }
    }

    async fn sync(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(owner) = self.owners.get(key) else {
            self.expectations.forget(key);
            return Ok(());
        };
        let owner = owner.as_ref();
        let may_act = self.expectations.satisfied(key) && owner.meta().deletion_timestamp.is_none();
        let Ok(selector) = owner.selector() else {
            tracing::warn!(%key, "the selector cannot be read, leaving the pods alone");
            return Ok(());
        };
        let claim = self.claim(owner, &selector).await;
        let (active, terminating) = claim.map_err(|e| Error::Claim { owner: key.clone(), source: Box::new(e) })?;
        let related = self.related(owner);
        let reports_terminating = R::kind(&()) == "ReplicaSet";
        let terminating = reports_terminating.then_some(terminating);
        let seen = Observed { owner, active: &active, terminating, related: &related };
        let now = self.context.now();
        let mut failure = None;
        if may_act {
            failure = self.carry_out(key, owner, plan::plan(&seen, now)).await.err();
        }
        if let Some(status) = plan::status(&seen, failure.as_deref(), now) {
            let api: Api<R> = Api::namespaced(self.context.client.clone(), &key.namespace);
            let written = api.replace_status(&key.name, &PostParams::default(), &owner.with_status(status)).await;
            match written {
                Err(error) if is_not_found(&error) => return Ok(()),
                other => other.map_err(|e| Error::Status { owner: key.clone(), source: Box::new(e) })?,
            };
        }
        if let Some(message) = failure {
            return Err(Error::Manage { owner: key.clone(), message });
        }
        if let Some(wait) = plan::recheck(&seen, now) {
            self.queue.add_after(key.clone(), wait);
        }
        Ok(())
    }

    /// The owner's active pods after adopting and releasing, and how many are on their way out.
    async fn claim(&self, owner: &R, selector: &Selector) -> Result<(Vec<Arc<Pod>>, usize), kube::Error> {
        let namespace = owner.meta().namespace.clone().unwrap_or_default();
        let mut active = Vec::new();
        let mut terminating = 0;
        let mut confirmed = false;
        for pod in self.pods.list_in(&namespace) {
            let labels = pod.metadata.labels.clone().unwrap_or_default();
            let verdict = judge(owner.meta(), &pod.metadata, selects(selector, &labels));
            if pods::is_terminating(&pod) && !pods::is_terminal(&pod) && verdict == Claim::Keep {
                terminating += 1;
            }
            if !pods::is_active(&pod) {
                continue;
            }
            match verdict {
                Claim::Keep => active.push(pod),
                Claim::Release => release(&self.context.client, pod.as_ref(), owner.meta().uid.as_deref().unwrap_or_default()).await?,
                Claim::Adopt => {
                    confirmed = confirmed || self.is_alive(owner).await?;
                    if confirmed {
                        adopt(&self.context.client, pod.as_ref(), &controller_ref(owner)).await?;
                        active.push(pod);
                    }
                }
                Claim::Ignore => {}
            }
        }
        Ok((active, terminating))
    }

    /// The cache may show an owner that is gone: nothing may be adopted for it.
    async fn is_alive(&self, owner: &R) -> Result<bool, kube::Error> {
        let meta = owner.meta();
        let api: Api<R> = Api::namespaced(self.context.client.clone(), meta.namespace.as_deref().unwrap_or_default());
        let live = api.get_opt(meta.name.as_deref().unwrap_or_default()).await?;
        Ok(live.is_some_and(|l| l.meta().uid == meta.uid && l.meta().deletion_timestamp.is_none()))
    }

    /// Active pods of all sets with the same controller (a Deployment), or of this owner alone.
    fn related(&self, owner: &R) -> Vec<Arc<Pod>> {
        let namespace = owner.meta().namespace.clone().unwrap_or_default();
        let family: Vec<String> = match controller_of(owner.meta()) {
            Some(parent) => {
                let sets = self.owners.list_in(&namespace);
                let siblings = sets.iter().filter(|s| is_controlled_by(s.meta(), &parent.uid));
                siblings.filter_map(|s| s.meta().uid.clone()).collect()
            }
            None => owner.meta().uid.iter().cloned().collect(),
        };
        let is_related = |pod: &Pod| controller_of(&pod.metadata).is_some_and(|r| family.contains(&r.uid));
        self.pods.list_in(&namespace).into_iter().filter(|pod| pods::is_active(pod) && is_related(pod)).collect()
    }

    /// The error is the text that the status and the event show.
    async fn carry_out(&self, key: &ObjectKey, owner: &R, plan: Plan) -> Result<(), String> {
        if plan.create > 0 {
            self.create(key, owner, plan.create).await?;
        }
        if plan.delete.is_empty() { Ok(()) } else { self.delete(key, owner, &plan.delete).await }
    }

    async fn create(&self, key: &ObjectKey, owner: &R, count: usize) -> Result<(), String> {
        let Some(template) = owner.template() else {
            return Err("the pod template is missing".to_owned());
        };
        self.expectations.expect(key, count, []);
        let pod = pods::from_template(template, &key.namespace, &controller_ref(owner));
        let (mut started, mut batch) = (0, FIRST_BATCH);
        while started < count {
            let size = batch.min(count - started);
            let results = join_all((0..size).map(|_| self.create_one(key, owner, &pod))).await;
            started += size;
            batch *= 2;
            if let Some(message) = results.into_iter().filter_map(Result::err).next_back() {
                (started..count).for_each(|_| self.expectations.creation_observed(key));
                return Err(message);
            }
        }
        Ok(())
    }

    async fn create_one(&self, key: &ObjectKey, owner: &R, pod: &Pod) -> Result<(), String> {
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), pod).await {
            Ok(created) => {
                let name = created.metadata.name.unwrap_or_default();
                self.context.events.event(owner, EventType::Normal, "SuccessfulCreate", format!("Created pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.creation_observed(key);
                if is_namespace_terminating(&error) {
                    return Ok(());
                }
                let message = message_of(&error);
                self.context.events.event(owner, EventType::Warning, "FailedCreate", format!("Error creating: {message}"));
                Err(message)
            }
        }
    }

    async fn delete(&self, key: &ObjectKey, owner: &R, victims: &[Arc<Pod>]) -> Result<(), String> {
        let uids = victims.iter().filter_map(|pod| pod.metadata.uid.clone());
        self.expectations.expect(key, 0, uids);
        let results = join_all(victims.iter().map(|pod| self.delete_one(key, owner, pod))).await;
        results.into_iter().collect()
    }

    async fn delete_one(&self, key: &ObjectKey, owner: &R, pod: &Pod) -> Result<(), String> {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(self.context.client.clone(), &key.namespace);
        let exactly_it = kube::api::Preconditions { uid: Some(uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::default() };
        match api.delete(name, &params).await {
            Ok(_) => {
                self.context.events.event(owner, EventType::Normal, "SuccessfulDelete", format!("Deleted pod: {name}"));
                Ok(())
            }
            Err(error) => {
                self.expectations.deletion_observed(key, &uid);
                if is_not_found(&error) {
                    return Ok(());
                }
                let message = message_of(&error);
                self.context.events.event(owner, EventType::Warning, "FailedDelete", format!("Error deleting: {message}"));
                Err(message)
            }
        }
    }
}

/// An empty selector selects nothing here: it would take every pod of the namespace.
fn selects(selector: &Selector, labels: &BTreeMap<String, String>) -> bool {
    !selector.selects_all() && selector.matches(labels)
}
