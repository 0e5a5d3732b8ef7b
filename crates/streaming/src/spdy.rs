//! SPDY/3.1, as much as Kubernetes' peers speak: streams in both directions, headers, ends, resets, pings.
//!
//! Peers built on Go's spdystream never send window updates, so send windows are not honoured here either; the
//! connection's own back-pressure bounds what is under way. Window updates are sent, for peers that do honour them.

mod frame;
mod headers;
mod session;

pub use session::{Role, Session, Stream};
