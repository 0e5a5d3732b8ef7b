//! Test clusters: a real `ferry` in a network namespace of its own, the real kubectl and helm, images made on the spot.
//!
//! Everything that is started, mounted or made goes away with the value that made it, also when a test panics; what a killed
//! test left behind is found and removed by the next one. Nothing here reaches out of the machine: nodes have no route out.
//!
//! Never here: Ferry's own code. A test that links what it tests can only see what the code thinks of itself.

// A test fails by a panic, and this crate is only for tests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

pub mod cluster;
mod containerd;
pub mod http;
pub mod https;
pub mod image;
mod leftovers;
pub mod node;
pub mod peers;
pub mod process;
pub mod scenario;
pub mod terminal;
mod wait;

pub use cluster::{Cluster, Options, Runtime};
pub use node::{Node, Place};
pub use process::Output;
pub use wait::{eventually, eventually_within};
