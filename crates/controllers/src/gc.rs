//! The garbage collector: deletes objects whose owners are gone, and carries out foreground and orphaning deletion.

pub mod graph;
mod monitors;
mod plan;
mod resources;
mod sync;

pub use sync::run;
