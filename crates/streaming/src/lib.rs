//! Kubernetes' streaming protocols: exec, attach and port-forward over WebSocket (v1–v5 `channel.k8s.io`) and SPDY/3.1.
//!
//! Never here: what is being streamed. This crate ends in [`Streams`]; who runs the command is the runtime's business.

mod streams;

pub use streams::{ExitStatus, Streams, TerminalSize};
