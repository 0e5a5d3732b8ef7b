//! The network in real network namespaces, each test in its own small world. Needs root; touches nothing outside.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests fail as tests do")]

mod pods;
mod services;
mod world;
