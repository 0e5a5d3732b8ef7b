//! The Container Runtime Interface (CRI v1, as of Kubernetes 1.36): its messages, and Rust traits over them.
//!
//! The kubelet speaks to [`RuntimeService`], [`ImageService`] and [`StreamingService`]; behind them is the built-in runtime in the
//! same process, or another runtime over gRPC. Never here: how a container is made, and what a pod is.

mod auth;
mod error;
mod remote;
mod service;

/// The protocol's messages and its raw gRPC client and server, generated from `proto/` by `cargo xtask gen`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::unwrap_used, clippy::indexing_slicing)]
#[rustfmt::skip]
pub mod v1 {
    include!("generated/runtime.v1.rs");
}

pub use error::{Error, Result};
pub use remote::Remote;
pub use service::{ContainerEvents, Duplex, DuplexStream, ImageService, RuntimeService, StreamingService};
