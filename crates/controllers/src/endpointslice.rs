//! EndpointSlices: the addresses of the pods behind each Service, at most 100 to a slice.

pub mod plan;
mod sync;
mod tracker;

pub use sync::run;
pub(crate) use sync::{pod_matters, services_of};

/// The value of the managed-by label of the slices that this controller owns.
pub const MANAGER: &str = "endpointslice-controller.k8s.io";
/// Says who looks after a slice.
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Names the service of a slice.
pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
