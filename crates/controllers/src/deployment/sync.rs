//! Watches Deployments and their ReplicaSets, and carries plans out.

use std::collections::BTreeMap;
use std::sync::Arc;

use client::{Change, EventType, Informer, ObjectKey, WorkQueue, run_workers};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::core::{Selector, SelectorExt as _};
use kube::{Api, Resource as _, ResourceExt as _};

use super::annotations::REVISION;
use super::conditions::{self, PROGRESSING};
use super::plan::{self, Action, Observed};
use super::{sets, status};
use crate::context::{Context, gone_is_fine, is_already_exists, is_namespace_terminating, is_not_found, message_of};
use crate::ownership::{Claim, adopt, controller_of, controller_ref, is_controlled_by, judge, release};
use crate::pods;

/// Deployments worked on at the same time.
const WORKERS: usize = 8;
const FAILED_CREATE: &str = "ReplicaSetCreateError";

struct Controller {
    context: Context,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    queue: WorkQueue<ObjectKey>,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{doing} for deployment {key}: {source}")]
    Request { doing: &'static str, key: ObjectKey, source: Box<kube::Error> },
    #[error("the name of the new replica set of deployment {0} is taken, trying another")]
    Collision(ObjectKey),
}

/// Serves Deployments until dropped.
pub async fn run(context: Context) {
    let controller = Arc::new(Controller {
        deployments: context.informers.of(),
        sets: context.informers.of(),
        pods: context.informers.of(),
        queue: WorkQueue::default(),
        context,
    });
    controller.deployments.synced().await;
    controller.sets.synced().await;
    controller.pods.synced().await;
    watch(&controller);
    let queue = controller.queue.clone();
    run_workers("deployment", queue, WORKERS, move |key| {
        let controller = controller.clone();
        async move { controller.sync(&key).await }
    })
    .await;
}

fn watch(controller: &Arc<Controller>) {
    let weak = Arc::downgrade(controller);
    controller.deployments.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        controller.queue.add(ObjectKey::of(change.object().as_ref()));
    });
    let weak = Arc::downgrade(controller);
    controller.sets.on_change(move |change| {
        if let Some(controller) = weak.upgrade() {
            controller.set_changed(change);
        }
    });
    let weak = Arc::downgrade(controller);
    controller.pods.on_change(move |change| {
        let Some(controller) = weak.upgrade() else {
            return;
        };
        let pod = change.object();
        // A deployment that recreates waits for the end of its last old pod.
        if matches!(change, Change::Deleted(_)) || pods::is_terminal(pod) {
            controller.pod_ended(pod);
        }
    });
}

impl Controller {
    fn set_changed(&self, change: &Change<ReplicaSet>) {
        let set = change.object();
        let owner = owner_of(set);
        if let Change::Applied { old: Some(old), .. } = change {
            let before = owner_of(old);
            if before != owner {
                before.into_iter().for_each(|key| self.queue.add(key));
            }
        }
        match owner {
            Some(key) => self.queue.add(key),
            None if controller_of(&set.metadata).is_none() => self.wake_adopters(set),
            None => {}
        }
    }

    fn wake_adopters(&self, set: &ReplicaSet) {
        for deployment in self.deployments.list_in(&set.namespace().unwrap_or_default()) {
            if selector(&deployment).is_some_and(|s| s.matches(set.labels())) {
                self.queue.add(ObjectKey::of(deployment.as_ref()));
            }
        }
    }

    fn pod_ended(&self, pod: &Pod) {
        let Some(reference) = controller_of(&pod.metadata).filter(|r| r.kind == "ReplicaSet") else {
            return;
        };
        let key = ObjectKey::new(pod.namespace().unwrap_or_default(), &reference.name);
        let Some(key) = self.sets.get(&key).as_deref().and_then(owner_of) else {
            return;
        };
        let recreates = |d: &Deployment| {
            let strategy = d.spec.as_ref().and_then(|s| s.strategy.as_ref());
            strategy.and_then(|s| s.type_.as_deref()) == Some("Recreate")
        };
        if self.deployments.get(&key).is_some_and(|d| recreates(&d)) {
            self.queue.add(key);
        }
    }

    async fn sync(&self, key: &ObjectKey) -> Result<(), Error> {
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(());
        };
        let Some(selector) = selector(&deployment) else {
            let message = "This deployment is selecting all pods. A non-empty selector is required.";
            self.context.events.event(deployment.as_ref(), EventType::Warning, "SelectingAll", message);
            return Ok(());
        };
        let sets = self.claim(&deployment, &selector).await.map_err(failed("claiming replica sets", key))?;
        let pods = self.pods_of(&sets);
        let sets = sets.iter().map(|set| set.as_ref().clone()).collect();
        let plan = plan::plan(Observed { deployment: &deployment, sets, pods }, self.context.now());
        let mut deployment = deployment.as_ref().clone();
        for action in plan.actions {
            if self.act(key, &mut deployment, action).await? == Next::Stop {
                return Ok(());
            }
        }
        if let Some(wait) = plan.recheck {
            self.queue.add_after(key.clone(), wait);
        }
        Ok(())
    }

    async fn claim(&self, deployment: &Deployment, selector: &Selector) -> Result<Vec<Arc<ReplicaSet>>, kube::Error> {
        let mut own = Vec::new();
        let mut confirmed = false;
        for set in self.sets.list_in(&deployment.namespace().unwrap_or_default()) {
            match judge(&deployment.metadata, &set.metadata, selector.matches(set.labels())) {
                Claim::Keep => own.push(set),
                Claim::Release => release(&self.context.client, set.as_ref(), &deployment.uid().unwrap_or_default()).await?,
                Claim::Adopt => {
                    confirmed = confirmed || self.is_alive(deployment).await?;
                    if confirmed {
                        adopt(&self.context.client, set.as_ref(), &controller_ref(deployment)).await?;
                        own.push(set);
                    }
                }
                Claim::Ignore => {}
            }
        }
        Ok(own)
    }

    async fn is_alive(&self, deployment: &Deployment) -> Result<bool, kube::Error> {
        let live = self.api(deployment).get_opt(&deployment.name_any()).await?;
        Ok(live.is_some_and(|l| l.uid() == deployment.uid() && l.metadata.deletion_timestamp.is_none()))
    }

    fn pods_of(&self, sets: &[Arc<ReplicaSet>]) -> BTreeMap<String, usize> {
        let mut counts: BTreeMap<String, usize> = sets.iter().filter_map(|s| s.uid()).map(|uid| (uid, 0)).collect();
        let Some(namespace) = sets.first().and_then(|s| s.namespace()) else {
            return counts;
        };
        for pod in self.pods.list_in(&namespace).iter().filter(|pod| !pods::is_terminal(pod)) {
            let owner = controller_of(&pod.metadata).map(|r| r.uid.as_str()).unwrap_or_default();
            if let Some(count) = counts.get_mut(owner) {
                *count += 1;
            }
        }
        counts
    }

    fn api(&self, deployment: &Deployment) -> Api<Deployment> {
        Api::namespaced(self.context.client.clone(), &deployment.namespace().unwrap_or_default())
    }

    async fn act(&self, key: &ObjectKey, deployment: &mut Deployment, action: Action) -> Result<Next, Error> {
        let sets: Api<ReplicaSet> = Api::namespaced(self.context.client.clone(), &key.namespace);
        match action {
            Action::Create(set) => return self.create(key, deployment, &sets, *set).await,
            Action::Update { set, from } => {
                let written = sets.replace(&set.name_any(), &PostParams::default(), &set).await;
                written.map_err(failed("scaling a replica set", key))?;
                self.tell_scaled(deployment, &set.name_any(), from, sets::size(&set));
            }
            Action::Delete(set) => {
                let exactly_it = Preconditions { uid: set.uid(), resource_version: set.resource_version() };
                let params = DeleteParams { preconditions: Some(exactly_it), ..DeleteParams::background() };
                gone_is_fine(sets.delete(&set.name_any(), &params).await).map_err(failed("removing a replica set", key))?;
            }
            Action::SetRevision(revision) => {
                // An update and not a patch: the role of Kubernetes' deployment controller has no `patch`.
                let mut noted = deployment.clone();
                noted.annotations_mut().insert(REVISION.to_owned(), revision.to_string());
                let written = self.api(deployment).replace(&key.name, &PostParams::default(), &noted).await;
                // The status written next builds on this version.
                deployment.metadata.resource_version = written.map_err(failed("noting the revision", key))?.resource_version();
            }
            Action::UpdateStatus(status) => self.write_status(key, deployment, *status).await?,
        }
        Ok(Next::GoOn)
    }

    /// Refused if somebody else has written the deployment since it was read: conditions are a list, and theirs would be lost.
    async fn write_status(&self, key: &ObjectKey, deployment: &Deployment, status: DeploymentStatus) -> Result<(), Error> {
        let observed = Deployment { status: Some(status), ..deployment.clone() };
        let written = self.api(deployment).replace_status(&key.name, &PostParams::default(), &observed).await;
        gone_is_fine(written).map_err(failed("writing the status", key))
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        if from == to {
            return;
        }
        let way = if to > from { "up" } else { "down" };
        let message = format!("Scaled {way} replica set {set} from {from} to {to}");
        self.context.events.event(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn create(&self, key: &ObjectKey, deployment: &Deployment, api: &Api<ReplicaSet>, set: ReplicaSet) -> Result<Next, Error> {
        let error = match api.create(&PostParams::default(), &set).await {
            Ok(_) => {
                self.tell_scaled(deployment, &set.name_any(), 0, sets::size(&set));
                return Ok(Next::GoOn);
            }
            Err(error) => error,
        };
        if is_already_exists(&error) {
            let there = api.get_opt(&set.name_any()).await.map_err(failed("reading a replica set", key))?;
            let is_ours = |there: &ReplicaSet| {
                is_controlled_by(&there.metadata, &deployment.uid().unwrap_or_default())
                    && sets::has_template(there, &plan::template(deployment))
            };
            if there.as_ref().is_some_and(is_ours) {
                // Only the cache does not show it yet; its arrival starts the next pass.
                return Ok(Next::Stop);
            }
            let mut status = deployment.status.clone().unwrap_or_default();
            status.collision_count = Some(status.collision_count.unwrap_or(0).saturating_add(1));
            self.write_status(key, deployment, status).await?;
            return Err(Error::Collision(key.clone()));
        }
        if is_namespace_terminating(&error) || is_not_found(&error) {
            return Ok(Next::Stop);
        }
        let message = format!("Failed to create new replica set \"{}\": {}", set.name_any(), message_of(&error));
        self.context.events.event(deployment, EventType::Warning, FAILED_CREATE, message.clone());
        if status::deadline(deployment).is_some() {
            let mut status = deployment.status.clone().unwrap_or_default();
            let condition = conditions::new(PROGRESSING, "False", FAILED_CREATE, message, self.context.now());
            conditions::set(status.conditions.get_or_insert_default(), condition);
            self.write_status(key, deployment, status).await?;
        }
        Err(failed("creating a replica set", key)(error))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    Stop,
}

fn failed(doing: &'static str, key: &ObjectKey) -> impl FnOnce(kube::Error) -> Error {
    let key = key.clone();
    move |source| Error::Request { doing, key, source: Box::new(source) }
}

fn owner_of(set: &ReplicaSet) -> Option<ObjectKey> {
    let reference = controller_of(&set.metadata)?;
    let ours = reference.kind == Deployment::kind(&()) && reference.api_version == Deployment::api_version(&());
    ours.then(|| ObjectKey::new(set.namespace().unwrap_or_default(), &reference.name))
}

/// The deployment's selector; `None` if it would select everything or cannot be read.
fn selector(deployment: &Deployment) -> Option<Selector> {
    let selector: Selector = deployment.spec.as_ref()?.selector.clone().try_into().ok()?;
    (!selector.selects_all()).then_some(selector)
}
