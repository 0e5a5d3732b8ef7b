//! Deployments: replace the pods of one template by those of another, by growing and shrinking ReplicaSets.

mod annotations;
pub mod arithmetic;
mod conditions;
pub mod hash;
pub mod plan;
mod sets;
mod status;
mod sync;

pub use sync::run;
