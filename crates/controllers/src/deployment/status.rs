//! The status of a Deployment from its ReplicaSets, and what it says about progress.

use std::time::Duration;

use k8s_openapi::api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::arithmetic::{Strategy, replicas};
use super::conditions::{self, AVAILABLE, NEW_SET_AVAILABLE, PROGRESSING, REPLICA_FAILURE, TIMED_OUT};
use super::sets;

/// Counts with absent ones as zero, so that written and computed statuses compare.
pub(super) fn normalised(mut status: DeploymentStatus) -> DeploymentStatus {
    let counts = [
        &mut status.replicas,
        &mut status.updated_replicas,
        &mut status.ready_replicas,
        &mut status.available_replicas,
        &mut status.unavailable_replicas,
    ];
    for count in counts {
        count.get_or_insert(0);
    }
    status.observed_generation.get_or_insert(0);
    status.conditions = status.conditions.filter(|c| !c.is_empty());
    status
}

/// The counts and the Available condition; `before` is the status so far, whose other conditions stay.
pub(super) fn calculate(
    deployment: &Deployment,
    before: &DeploymentStatus,
    all: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) -> DeploymentStatus {
    let sum = |of: fn(&ReplicaSet) -> i32| all.iter().map(|set| of(set)).sum::<i32>();
    let available = sum(sets::available);
    let mut status = DeploymentStatus {
        observed_generation: Some(deployment.metadata.generation.unwrap_or(0)),
        replicas: Some(sum(sets::actual)),
        updated_replicas: Some(new.map_or(0, sets::actual)),
        ready_replicas: Some(sum(sets::ready)),
        available_replicas: Some(available),
        unavailable_replicas: Some((sum(sets::size) - available).max(0)),
        terminating_replicas: terminating(all),
        collision_count: before.collision_count,
        conditions: before.conditions.clone(),
    };
    let wanted = replicas(deployment);
    let enough = available >= wanted - Strategy::of(deployment).max_unavailable(wanted);
    let condition = if enough {
        ("True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
    } else {
        ("False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
    };
    let (value, reason, message) = condition;
    let list = status.conditions.get_or_insert_default();
    conditions::set(list, conditions::new(AVAILABLE, value, reason, message.to_owned(), now));
    status
}

fn terminating(all: &[&ReplicaSet]) -> Option<i32> {
    let mut sum = 0;
    for set in all {
        let status = set.status.as_ref();
        match status.and_then(|s| s.terminating_replicas) {
            Some(count) => sum += count,
            // A set that nobody has looked at yet has no pods either.
            None if status.and_then(|s| s.observed_generation).unwrap_or(0) == 0 => {}
            None => return None,
        }
    }
    Some(sum)
}

/// Adds what a rollout says: progressing, complete, timed out, failing.
pub(super) fn add_progress(
    deployment: &Deployment,
    before: &DeploymentStatus,
    status: &mut DeploymentStatus,
    all: &[&ReplicaSet],
    new: Option<&ReplicaSet>,
    now: Timestamp,
) {
    let old_conditions = before.conditions.clone().unwrap_or_default();
    let done_before = status.replicas == status.updated_replicas && conditions::has_reason(&old_conditions, PROGRESSING, NEW_SET_AVAILABLE);
    let mut list = status.conditions.take().unwrap_or_default();
    let subject = match new {
        Some(set) => format!("ReplicaSet \"{}\"", set.metadata.name.as_deref().unwrap_or_default()),
        None => format!("Deployment \"{}\"", deployment.metadata.name.as_deref().unwrap_or_default()),
    };
    if deadline(deployment).is_none() {
        conditions::remove(&mut list, PROGRESSING);
    } else if !done_before {
        if is_complete(deployment, status) {
            let message = format!("{subject} has successfully progressed.");
            conditions::set(&mut list, conditions::new(PROGRESSING, "True", NEW_SET_AVAILABLE, message, now));
        } else if has_moved(before, status) {
            let message = format!("{subject} is progressing.");
            conditions::renew(&mut list, conditions::new(PROGRESSING, "True", "ReplicaSetUpdated", message, now));
        } else if is_overdue(deployment, &list, now) {
            let message = format!("{subject} has timed out progressing.");
            conditions::set(&mut list, conditions::new(PROGRESSING, "False", TIMED_OUT, message, now));
        }
    }
    let failure = |set: &ReplicaSet| {
        let conditions = set.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
        conditions.iter().find(|c| c.type_ == REPLICA_FAILURE).map(conditions::of_set)
    };
    match new.and_then(failure).or_else(|| all.iter().find_map(|set| failure(set))) {
        Some(failed) => conditions::set(&mut list, failed),
        None => conditions::remove(&mut list, REPLICA_FAILURE),
    }
    status.conditions = Some(list);
}

/// Whether all pods are new, available, and nothing is left over.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = Some(replicas(deployment));
    let count = |c: Option<i32>| Some(c.unwrap_or(0));
    count(status.updated_replicas) == wanted
        && count(status.replicas) == wanted
        && count(status.available_replicas) == wanted
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

fn has_moved(before: &DeploymentStatus, after: &DeploymentStatus) -> bool {
    let n = |c: Option<i32>| c.unwrap_or(0);
    let old_pods = |s: &DeploymentStatus| n(s.replicas) - n(s.updated_replicas);
    n(after.updated_replicas) > n(before.updated_replicas)
        || old_pods(after) < old_pods(before)
        || n(after.ready_replicas) > n(before.ready_replicas)
        || n(after.available_replicas) > n(before.available_replicas)
}

/// The progress deadline; its highest value means none.
pub(super) fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds?;
    (seconds != i32::MAX).then(|| SignedDuration::from_secs(seconds.into()))
}

fn is_overdue(deployment: &Deployment, list: &conditions::Conditions, now: Timestamp) -> bool {
    let Some(deadline) = deadline(deployment) else {
        return false;
    };
    let Some(condition) = conditions::get(list, PROGRESSING) else {
        return false;
    };
    match condition.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => condition.last_update_time.as_ref().is_some_and(|since| now.duration_since(since.0) > deadline),
    }
}

/// When to look again whether the deadline has passed.
pub(super) fn recheck(deployment: &Deployment, status: &DeploymentStatus, now: Timestamp) -> Option<Duration> {
    let deadline = deadline(deployment)?;
    let condition = conditions::get(status.conditions.as_deref().unwrap_or_default(), PROGRESSING)?;
    if is_complete(deployment, status) || condition.reason.as_deref() == Some(TIMED_OUT) {
        return None;
    }
    let passed = now.duration_since(condition.last_update_time.as_ref()?.0);
    let left = deadline.saturating_sub(passed).max(SignedDuration::ZERO);
    Some(left.unsigned_abs().saturating_add(Duration::from_secs(1)))
}
