//! Kubernetes' streaming protocols: exec, attach and port-forward over WebSocket (`channel.k8s.io`, v1 to v5) and SPDY/3.1.
//!
//! Servers answer a request with [`remote_command::accept`] or [`port_forward::accept`], and get plain streams. Clients of a
//! SPDY server (a CRI runtime such as containerd) use [`client`].
//!
//! Never here: what is being streamed. This crate ends in [`Streams`]; who runs the command is the runtime's business.

mod channel;
pub mod client;
mod error;
mod handshake;
pub mod port_forward;
pub mod remote_command;
pub mod spdy;
mod streams;
mod websocket;

pub use error::Error;
pub use streams::{ExitStatus, Streams, TerminalSize};
