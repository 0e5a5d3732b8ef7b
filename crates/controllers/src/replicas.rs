//! ReplicaSets and ReplicationControllers: keep a number of equal pods running. One generic core serves both kinds.

pub mod kinds;
pub mod plan;
mod rank;
mod sync;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::ReplicationController;

use crate::context::Context;

/// Serves ReplicaSets until dropped.
pub async fn run_replica_sets(context: Context) {
    sync::run::<ReplicaSet>(context, "replicaset").await;
}

/// Serves ReplicationControllers until dropped.
pub async fn run_replication_controllers(context: Context) {
    sync::run::<ReplicationController>(context, "replication").await;
}
