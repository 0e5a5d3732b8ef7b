//! The built-in container runtime: sandboxes, containers, their limits and their streams, behind the CRI's Rust traits.
//!
//! Containers are made and watched by one small process per pod, the shim ([`shim_main`]), so they outlive this process.
//! [`images`] keeps and pulls images; [`image`] is all that the container side knows of them.
//!
//! Never here: Kubernetes objects, and how pods reach each other.
#![allow(unsafe_code)] // Namespaces, mounts, seccomp and fork need system calls that no safe crate offers; all are in `sys`.

mod builtin;
mod cgroup;
pub mod image;
pub mod images;
mod network;
mod paths;
mod seccomp;
mod shim;
mod signal;
mod spec;
mod sys;
mod wire;

pub use builtin::{Builtin, Config};
pub use image::{ImageConfig, Images, ResolvedImage};
pub use network::{HostPort, PodIdentity, PodNetwork};
pub use shim::{SHIM_ARGUMENT, shim_main};
