//! Empties namespaces that are being deleted, pods first, and lets them go.

mod content;
pub mod plan;
mod sync;

use k8s_openapi::api::core::v1::Namespace;

pub use sync::run;

/// Whether objects may still be made in it.
pub(crate) fn is_active(namespace: &Namespace) -> bool {
    let phase = namespace.status.as_ref().and_then(|s| s.phase.as_deref());
    namespace.metadata.deletion_timestamp.is_none() && phase != Some("Terminating")
}
