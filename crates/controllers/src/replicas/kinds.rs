//! What the two kinds have in common.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{PodTemplateSpec, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource;
use kube::core::{ParseExpressionError, Selector};
use serde::Serialize;

/// A kind that keeps replicas of one pod template.
pub trait Replicator: client::Object + Resource<Scope = NamespaceResourceScope> + Serialize {
    /// How many pods it wants; the API server defaults this to 1.
    fn replicas(&self) -> i32;
    /// How long a pod must be ready to count as available, in seconds.
    fn min_ready_seconds(&self) -> i32;
    /// Which pods are its own.
    fn selector(&self) -> Result<Selector, ParseExpressionError>;
    /// What its pods look like.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// The status as last written.
    fn status(&self) -> Status;
    /// The same object with another status.
    fn with_status(&self, status: Status) -> Self;
}

/// The status that both kinds have; absent counts are zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// Pods that exist and are not on their way out.
    pub replicas: i32,
    /// Of these, pods with all the template's labels.
    pub fully_labeled: i32,
    /// Of these, ready pods.
    pub ready: i32,
    /// Of these, pods that have been ready long enough.
    pub available: i32,
    /// Pods on their way out; ReplicationControllers do not report it.
    pub terminating: Option<i32>,
    /// The generation that this status is about.
    pub observed_generation: i64,
    /// `ReplicaFailure` is the only type in use.
    pub conditions: Vec<Condition>,
}

/// A condition of either kind.
#[derive(Clone, Debug, Default, PartialEq)]
#[expect(missing_docs, reason = "the fields are the API's own")]
pub struct Condition {
    pub type_: String,
    pub status: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub last_transition_time: Option<Time>,
}

macro_rules! condition_conversions {
    ($kind:ty) => {
        impl From<&$kind> for Condition {
            fn from(c: &$kind) -> Self {
                Self {
                    type_: c.type_.clone(),
                    status: c.status.clone(),
                    reason: c.reason.clone(),
                    message: c.message.clone(),
                    last_transition_time: c.last_transition_time.clone(),
                }
            }
        }

        impl From<Condition> for $kind {
            fn from(c: Condition) -> Self {
                Self {
                    type_: c.type_,
                    status: c.status,
                    reason: c.reason,
                    message: c.message,
                    last_transition_time: c.last_transition_time,
                }
            }
        }
    };
}

condition_conversions!(ReplicaSetCondition);
condition_conversions!(ReplicationControllerCondition);

impl Replicator for ReplicaSet {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn selector(&self) -> Result<Selector, ParseExpressionError> {
        self.spec.as_ref().map(|s| s.selector.clone()).unwrap_or_default().try_into()
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn status(&self) -> Status {
        let Some(s) = &self.status else {
            return Status::default();
        };
        Status {
            replicas: s.replicas,
            fully_labeled: s.fully_labeled_replicas.unwrap_or(0),
            ready: s.ready_replicas.unwrap_or(0),
            available: s.available_replicas.unwrap_or(0),
            terminating: s.terminating_replicas,
            observed_generation: s.observed_generation.unwrap_or(0),
            conditions: s.conditions.iter().flatten().map(Condition::from).collect(),
        }
    }

    fn with_status(&self, s: Status) -> Self {
        let status = ReplicaSetStatus {
            replicas: s.replicas,
            fully_labeled_replicas: Some(s.fully_labeled),
            ready_replicas: Some(s.ready),
            available_replicas: Some(s.available),
            terminating_replicas: s.terminating,
            observed_generation: Some(s.observed_generation),
            conditions: (!s.conditions.is_empty()).then(|| s.conditions.into_iter().map(Into::into).collect()),
        };
        Self { status: Some(status), ..self.clone() }
    }
}

impl Replicator for ReplicationController {
    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }

    fn min_ready_seconds(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    fn selector(&self) -> Result<Selector, ParseExpressionError> {
        let labels = self.spec.as_ref().and_then(|s| s.selector.clone()).unwrap_or_default();
        Ok(labels.into_iter().collect())
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn status(&self) -> Status {
        let Some(s) = &self.status else {
            return Status::default();
        };
        Status {
            replicas: s.replicas,
            fully_labeled: s.fully_labeled_replicas.unwrap_or(0),
            ready: s.ready_replicas.unwrap_or(0),
            available: s.available_replicas.unwrap_or(0),
            terminating: None,
            observed_generation: s.observed_generation.unwrap_or(0),
            conditions: s.conditions.iter().flatten().map(Condition::from).collect(),
        }
    }

    fn with_status(&self, s: Status) -> Self {
        let status = ReplicationControllerStatus {
            replicas: s.replicas,
            fully_labeled_replicas: Some(s.fully_labeled),
            ready_replicas: Some(s.ready),
            available_replicas: Some(s.available),
            observed_generation: Some(s.observed_generation),
            conditions: (!s.conditions.is_empty()).then(|| s.conditions.into_iter().map(Into::into).collect()),
        };
        Self { status: Some(status), ..self.clone() }
    }
}
