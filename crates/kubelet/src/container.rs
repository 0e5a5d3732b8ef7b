//! From a container's specification to what the runtime is told.

pub mod config;
pub mod env;
pub mod expand;
pub mod mounts;
pub mod security;

/// Why a container cannot be made from its specification: `CreateContainerConfigError` with this text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);
