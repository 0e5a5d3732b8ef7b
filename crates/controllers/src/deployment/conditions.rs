//! The conditions of a Deployment, in the words that `kubectl rollout status` and people read.

use k8s_openapi::api::apps::v1::{DeploymentCondition, ReplicaSetCondition};
use k8s_openapi::jiff::Timestamp;

use crate::context::time;

pub(super) const PROGRESSING: &str = "Progressing";
pub(super) const AVAILABLE: &str = "Available";
pub(super) const REPLICA_FAILURE: &str = "ReplicaFailure";
pub(super) const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub(super) const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";
pub(super) const PAUSED: &str = "DeploymentPaused";

pub(super) type Conditions = Vec<DeploymentCondition>;

pub(super) fn new(type_: &str, status: &str, reason: &str, message: String, now: Timestamp) -> DeploymentCondition {
    DeploymentCondition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(time(now)),
        last_transition_time: Some(time(now)),
    }
}

pub(super) fn get<'a>(conditions: &'a [DeploymentCondition], type_: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|c| c.type_ == type_)
}

pub(super) fn has_reason(conditions: &[DeploymentCondition], type_: &str, reason: &str) -> bool {
    get(conditions, type_).is_some_and(|c| c.reason.as_deref() == Some(reason))
}

/// Sets a condition; one with the same status and reason stays as it is, with its times.
pub(super) fn set(conditions: &mut Conditions, mut new: DeploymentCondition) {
    if let Some(old) = get(conditions, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time.clone();
        }
    }
    remove(conditions, &new.type_);
    conditions.push(new);
}

/// Sets a condition even if it says what it said before: its update time moves.
pub(super) fn renew(conditions: &mut Conditions, mut new: DeploymentCondition) {
    if let Some(old) = get(conditions, &new.type_).filter(|old| old.status == "True") {
        new.last_transition_time = old.last_transition_time.clone();
    }
    remove(conditions, &new.type_);
    conditions.push(new);
}

pub(super) fn remove(conditions: &mut Conditions, type_: &str) {
    conditions.retain(|c| c.type_ != type_);
}

pub(super) fn of_set(condition: &ReplicaSetCondition) -> DeploymentCondition {
    DeploymentCondition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_update_time: condition.last_transition_time.clone(),
        last_transition_time: condition.last_transition_time.clone(),
    }
}
