//! Decides which ReplicaSets to make, scale and remove, and what the status is.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::jiff::Timestamp;

use super::annotations::{self, REVISION};
use super::arithmetic::{Strategy, new_set_size, proportion, replicas};
use super::conditions::{self, PAUSED, PROGRESSING, TIMED_OUT};
use super::{hash, sets, status};
use crate::ownership::controller_ref;

/// What was seen.
pub struct Observed<'a> {
    /// The deployment.
    pub deployment: &'a Deployment,
    /// Its ReplicaSets.
    pub sets: Vec<ReplicaSet>,
    /// How many pods that have not ended each ReplicaSet (by UID) has, terminating ones too.
    pub pods: BTreeMap<String, usize>,
}

/// One write. They are done in order; after a failure the rest waits for the next pass.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make the ReplicaSet of the current template.
    Create(Box<ReplicaSet>),
    /// Write a ReplicaSet whose size was `from`.
    Update {
        /// As it shall be.
        set: Box<ReplicaSet>,
        /// The size it had.
        from: i32,
    },
    /// Remove an old, empty ReplicaSet.
    Delete(Box<ReplicaSet>),
    /// Note the current revision on the deployment.
    SetRevision(String),
    /// Write the status.
    UpdateStatus(Box<DeploymentStatus>),
}

/// What to do, and when to look again if nothing happens.
#[derive(Debug, Default)]
pub struct Plan {
    /// The writes.
    pub actions: Vec<Action>,
    /// When to plan again without an event.
    pub recheck: Option<Duration>,
}

/// The room left in a name for `-` and the hash.
const MAX_NAME: usize = 253;

struct Planner<'a> {
    deployment: &'a Deployment,
    strategy: Strategy,
    wanted: i32,
    now: Timestamp,
    /// All sets as they will be, oldest first.
    sets: Vec<ReplicaSet>,
    /// Sizes before this pass of the sets that change.
    changed: BTreeMap<usize, i32>,
    new: Option<usize>,
    created: bool,
    removed: Vec<usize>,
    revision: Option<String>,
    /// The status as written, with conditions as this pass changes them.
    status: DeploymentStatus,
    pods: BTreeMap<String, usize>,
}

/// Plans one step of a deployment.
pub fn plan(seen: Observed<'_>, now: Timestamp) -> Plan {
    let mut planner = Planner::new(seen, now);
    let spec = planner.deployment.spec.as_ref();
    let paused = spec.and_then(|s| s.paused) == Some(true);
    if planner.deployment.metadata.deletion_timestamp.is_some() {
        planner.adopt_new_set();
        return planner.finish(Progress::Unjudged);
    }
    planner.note_pause(paused);
    planner.adopt_new_set();
    if paused || planner.is_scaling() {
        planner.scale();
        if paused {
            planner.clean_up();
        }
        return planner.finish(Progress::Unjudged);
    }
    match planner.strategy {
        Strategy::Recreate => planner.recreate(),
        Strategy::RollingUpdate { .. } => planner.roll(),
    }
    planner.finish(Progress::Judged)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Progress {
    Judged,
    Unjudged,
}

impl<'a> Planner<'a> {
    fn new(seen: Observed<'a>, now: Timestamp) -> Self {
        let Observed { deployment, mut sets, pods } = seen;
        sets.sort_by(sets::oldest_first);
        let template = template(deployment);
        let new = sets.iter().position(|set| sets::has_template(set, &template));
        Self {
            deployment,
            strategy: Strategy::of(deployment),
            wanted: replicas(deployment),
            now,
            sets,
            changed: BTreeMap::new(),
            new,
            created: false,
            removed: Vec::new(),
            revision: None,
            status: deployment.status.clone().unwrap_or_default(),
            pods,
        }
    }

    fn max_size(&self) -> i32 {
        self.wanted.saturating_add(self.strategy.max_surge())
    }

    fn new_set(&self) -> Option<&ReplicaSet> {
        self.new.and_then(|at| self.sets.get(at))
    }

    fn old(&self) -> impl Iterator<Item = (usize, &ReplicaSet)> {
        self.sets.iter().enumerate().filter(|(at, _)| Some(*at) != self.new)
    }

    fn total(&self) -> i32 {
        self.sets.iter().map(sets::size).sum()
    }

    fn condition(&mut self, status: &str, reason: &str, message: String) {
        let condition = conditions::new(PROGRESSING, status, reason, message, self.now);
        conditions::set(self.status.conditions.get_or_insert_default(), condition);
    }

    /// A pause stops the deadline's clock: the condition says so, and says when it goes on.
    fn note_pause(&mut self, paused: bool) {
        let list = self.status.conditions.clone().unwrap_or_default();
        if status::deadline(self.deployment).is_none() || conditions::has_reason(&list, PROGRESSING, TIMED_OUT) {
            return;
        }
        let noted = conditions::has_reason(&list, PROGRESSING, PAUSED);
        match (paused, noted) {
            (true, false) => self.condition("Unknown", PAUSED, "Deployment is paused".to_owned()),
            (false, true) => self.condition("Unknown", "DeploymentResumed", "Deployment is resumed".to_owned()),
            _ => {}
        }
    }

    fn next_revision(&self) -> i64 {
        self.old().filter_map(|(_, set)| annotations::revision(set)).max().unwrap_or(0).saturating_add(1)
    }

    /// Brings an existing set of the current template up to date.
    fn adopt_new_set(&mut self) {
        let revision = self.next_revision();
        let Some(at) = self.new else { return };
        let Some(set) = self.sets.get_mut(at) else {
            return;
        };
        let from = sets::size(set);
        let mut changed = annotations::renew(set, &self.deployment.metadata, revision);
        let min_ready = self.deployment.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0);
        let spec = set.spec.get_or_insert_default();
        if spec.min_ready_seconds.unwrap_or(0) != min_ready {
            spec.min_ready_seconds = Some(min_ready);
            changed = true;
        }
        let name = set.metadata.name.clone().unwrap_or_default();
        let current = annotations::value(&set.metadata, REVISION).map(str::to_owned);
        if changed {
            self.changed.entry(at).or_insert(from);
        }
        self.revision = current;
        let list = self.status.conditions.as_deref().unwrap_or_default();
        if status::deadline(self.deployment).is_some() && conditions::get(list, PROGRESSING).is_none() {
            self.condition("True", "FoundNewReplicaSet", format!("Found new replica set \"{name}\""));
        }
    }

    /// Makes sure that a set of the current template exists.
    fn need_new_set(&mut self) {
        if self.new.is_some() {
            return;
        }
        let revision = self.next_revision();
        let mut set = new_set(self.deployment, self.status.collision_count);
        let size = new_set_size(self.strategy, self.wanted, self.total(), 0);
        sets::set_size(&mut set, size);
        annotations::renew(&mut set, &self.deployment.metadata, revision);
        annotations::set_sizes(&mut set, self.wanted, self.max_size());
        let name = set.metadata.name.clone().unwrap_or_default();
        if status::deadline(self.deployment).is_some() {
            self.condition("True", "NewReplicaSetCreated", format!("Created new replica set \"{name}\""));
        }
        self.revision = Some(revision.to_string());
        self.new = Some(self.sets.len());
        self.sets.push(set);
        self.created = true;
    }

    fn is_scaling(&self) -> bool {
        let active = self.sets.iter().filter(|set| sets::size(set) > 0);
        active.filter_map(annotations::desired).any(|desired| desired != self.wanted)
    }

    /// Gives a set a new size, unless it has it; tells whether the size changed.
    fn resize(&mut self, at: usize, size: i32) -> bool {
        let (wanted, max) = (self.wanted, self.max_size());
        let Some(set) = self.sets.get_mut(at) else {
            return false;
        };
        let from = sets::size(set);
        sets::set_size(set, size);
        let noted = annotations::set_sizes(set, wanted, max);
        if from != size || noted {
            self.changed.entry(at).or_insert(from);
        }
        from != size
    }

    /// Follows a change of the wanted number without moving the rollout itself.
    fn scale(&mut self) {
        if let Some(at) = self.only_active_or_latest() {
            if self.sets.get(at).map(sets::size) != Some(self.wanted) {
                self.resize(at, self.wanted);
            }
        } else if self.new_set().is_some_and(|set| self.is_saturated(set)) {
            for at in self.active_old() {
                self.resize(at, 0);
            }
        } else if matches!(self.strategy, Strategy::RollingUpdate { .. }) {
            self.scale_in_proportion();
        }
    }

    fn only_active_or_latest(&self) -> Option<usize> {
        let active: Vec<usize> = self.sets.iter().enumerate().filter(|(_, set)| sets::size(set) > 0).map(|(at, _)| at).collect();
        match active.as_slice() {
            [] => self.new.or_else(|| self.sets.len().checked_sub(1)),
            [one] => Some(*one),
            _ => None,
        }
    }

    fn is_saturated(&self, set: &ReplicaSet) -> bool {
        sets::size(set) == self.wanted && annotations::desired(set) == Some(self.wanted) && sets::available(set) == self.wanted
    }

    fn active_old(&self) -> Vec<usize> {
        self.old().filter(|(_, set)| sets::size(set) > 0).map(|(at, _)| at).collect()
    }

    fn scale_in_proportion(&mut self) {
        let allowed = if self.wanted > 0 { self.max_size() } else { 0 };
        let mut active: Vec<(usize, ReplicaSet)> = self.sets.iter().cloned().enumerate().filter(|(_, s)| sets::size(s) > 0).collect();
        let to_add = allowed - active.iter().map(|(_, set)| sets::size(set)).sum::<i32>();
        if to_add >= 0 {
            active.sort_by(|a, b| sets::largest_then_newest(&a.1, &b.1));
        } else {
            active.sort_by(|a, b| sets::largest_then_oldest(&a.1, &b.1));
        }
        let mut added = 0;
        let mut sizes = Vec::new();
        for (at, set) in &active {
            let base = annotations::max(set).filter(|n| *n != 0).unwrap_or(self.status.replicas.unwrap_or(0));
            let share = proportion(sets::size(set), self.wanted, self.strategy.max_surge(), base, to_add, added);
            added += share;
            sizes.push((*at, sets::size(set) + share));
        }
        if let Some((_, first)) = sizes.first_mut() {
            *first = (*first + to_add - added).max(0);
        }
        for (at, size) in sizes {
            self.resize(at, size);
        }
    }

    fn roll(&mut self) {
        self.need_new_set();
        let Some(new) = self.new else { return };
        let size = self.sets.get(new).map_or(0, sets::size);
        let target = if size > self.wanted { self.wanted } else { new_set_size(self.strategy, self.wanted, self.total(), size) };
        if size != target && self.resize(new, target) {
            return;
        }
        if self.shrink_old() {
            return;
        }
        if status::is_complete(self.deployment, &self.status) {
            self.clean_up();
        }
    }

    /// Takes from old sets what availability can spare: first pods that are not available, then the oldest.
    fn shrink_old(&mut self) -> bool {
        if self.active_old().is_empty() {
            return false;
        }
        let min_available = self.wanted - self.strategy.max_unavailable(self.wanted);
        let new_unavailable = self.new_set().map_or(0, |set| sets::size(set) - sets::available(set));
        let budget = self.total() - min_available - new_unavailable;
        if budget <= 0 {
            return false;
        }
        let mut cleaned = 0;
        for at in self.active_old() {
            let Some(set) = self.sets.get(at) else {
                continue;
            };
            let unhealthy = (sets::size(set) - sets::available(set)).max(0);
            let take = unhealthy.min(budget - cleaned);
            if take > 0 {
                let size = sets::size(set) - take;
                self.resize(at, size);
                cleaned += take;
            }
        }
        let available: i32 = self.sets.iter().map(sets::available).sum();
        let mut spare = available - min_available;
        let mut shrunk = 0;
        for at in self.active_old() {
            let Some(set) = self.sets.get(at) else {
                continue;
            };
            let take = sets::size(set).min(spare);
            if take > 0 {
                let size = sets::size(set) - take;
                self.resize(at, size);
                spare -= take;
                shrunk += take;
            }
        }
        cleaned + shrunk > 0
    }

    fn recreate(&mut self) {
        let active = self.active_old();
        if !active.is_empty() {
            for at in active {
                self.resize(at, 0);
            }
            return;
        }
        if self.has_old_pods() {
            return;
        }
        self.need_new_set();
        if let Some(new) = self.new
            && self.sets.get(new).map(sets::size) != Some(self.wanted)
        {
            self.resize(new, self.wanted);
        }
        if status::is_complete(self.deployment, &self.status) {
            self.clean_up();
        }
    }

    fn has_old_pods(&self) -> bool {
        let new_uid = self.new_set().and_then(|set| set.metadata.uid.as_ref());
        self.old().any(|(_, set)| sets::actual(set) > 0) || self.pods.iter().any(|(uid, count)| *count > 0 && Some(uid) != new_uid)
    }

    /// Forgets the oldest revisions beyond the history limit.
    fn clean_up(&mut self) {
        let limit = self.deployment.spec.as_ref().and_then(|s| s.revision_history_limit);
        let Some(limit) = limit.filter(|l| *l != i32::MAX) else {
            return;
        };
        let mut old: Vec<(usize, &ReplicaSet)> = self.old().filter(|(_, set)| set.metadata.deletion_timestamp.is_none()).collect();
        let surplus = old.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
        old.sort_by(|a, b| sets::lowest_revision_first(a.1, b.1));
        old.truncate(surplus);
        let is_settled = |set: &ReplicaSet| {
            let observed = set.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
            sets::actual(set) == 0 && sets::size(set) == 0 && set.metadata.generation.unwrap_or(0) <= observed
        };
        let removed: Vec<usize> = old.iter().filter(|(_, set)| is_settled(set)).map(|(at, _)| *at).collect();
        self.removed = removed;
    }

    fn finish(self, progress: Progress) -> Plan {
        let all: Vec<&ReplicaSet> = self.sets.iter().collect();
        let new = self.new_set();
        let mut status = status::calculate(self.deployment, &self.status, &all, new, self.now);
        if progress == Progress::Judged {
            status::add_progress(self.deployment, &self.status, &mut status, &all, new, self.now);
        }
        let mut actions = Vec::new();
        if let Some(set) = new.filter(|_| self.created) {
            actions.push(Action::Create(Box::new(set.clone())));
        }
        for (at, from) in &self.changed {
            let is_created = self.created && self.new == Some(*at);
            if let Some(set) = self.sets.get(*at).filter(|_| !is_created) {
                actions.push(Action::Update { set: Box::new(set.clone()), from: *from });
            }
        }
        for set in self.removed.iter().filter_map(|at| self.sets.get(*at)) {
            actions.push(Action::Delete(Box::new(set.clone())));
        }
        let noted = annotations::value(&self.deployment.metadata, REVISION);
        if let Some(revision) = self.revision.filter(|r| Some(r.as_str()) != noted) {
            actions.push(Action::SetRevision(revision));
        }
        let status = status::normalised(status);
        let recheck = status::recheck(self.deployment, &status, self.now);
        if status != status::normalised(self.deployment.status.clone().unwrap_or_default()) {
            actions.push(Action::UpdateStatus(Box::new(status)));
        }
        Plan { actions, recheck }
    }
}

/// The deployment's pod template.
pub(super) fn template(deployment: &Deployment) -> PodTemplateSpec {
    deployment.spec.as_ref().map(|s| s.template.clone()).unwrap_or_default()
}

fn new_set(deployment: &Deployment, collisions: Option<i32>) -> ReplicaSet {
    let mut template = template(deployment);
    let hash = hash::of(&template, collisions);
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(hash::LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = deployment.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default();
    selector.match_labels.get_or_insert_default().insert(hash::LABEL.to_owned(), hash.clone());
    let name = deployment.metadata.name.clone().unwrap_or_default();
    let room = MAX_NAME.saturating_sub(hash.len() + 1);
    let prefix = name.get(..room).unwrap_or(&name);
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{prefix}-{hash}")),
            namespace: deployment.metadata.namespace.clone(),
            labels: Some(labels),
            owner_references: Some(vec![controller_ref(deployment)]),
            ..Default::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: deployment.spec.as_ref().and_then(|s| s.min_ready_seconds),
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests;
