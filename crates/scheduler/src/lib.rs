//! The scheduler: gives every pending pod a node. kube-scheduler's extension points, plugin names, scores and messages.
//!
//! Never here: any way to the store but through `kube::Client`, and anything that runs a pod.

pub mod bind;
pub mod cache;
pub mod cycle;
pub mod diagnosis;
pub mod framework;
pub mod node_info;
mod node_match;
pub mod plugins;
pub mod pod_info;
pub mod preemption;
pub mod queue;
pub mod resources;
mod run;
mod watches;

pub use run::{Config, run};
