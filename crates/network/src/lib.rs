//! The node's network: namespaces, pod links and addresses, and the service proxy, all by netlink.
//!
//! It never starts `ip`, `nft` or `iptables`, never touches tables, links or routes it did not make, and knows
//! nothing of containers: a pod is an identifier and the path of a network namespace.
#![allow(unsafe_code)] // `unshare` and one `setsockopt` have no safe form; each block says why it is sound.

pub mod conntrack;
pub mod error;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod podnet;
pub mod proxy;
pub mod rt;
mod sysctl;

pub use error::{Error, Result};
pub use netns::Namespace;
