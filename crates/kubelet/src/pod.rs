//! Pods: one worker each, and the registry of all.

mod admit;
mod crash;
mod end;
mod kill;
pub mod registry;
mod start;
mod worker;

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;

use crate::status::Imposed;

/// What is wanted of a pod's worker.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The pod as last seen.
    pub pod: Arc<Pod>,
    /// What is to become of it.
    pub wish: Wish,
}

/// What is to become of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It runs, or ends, as its object says.
    Follow,
    /// The node does not take it.
    Reject(Imposed),
    /// Its object is gone: everything of it goes.
    Remove,
}
