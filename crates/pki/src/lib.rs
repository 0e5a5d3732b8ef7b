//! The cluster's keys and certificates: authorities on disk, certificates issued from them, renewal before they expire
//! without a restart, and kubeconfig files.
//!
//! Never here: who may do what. A certificate names somebody; the API server decides what that means.

mod authority;
mod cluster;
mod error;
mod kubeconfig;
mod serving;

pub use authority::{Authority, Identity, Issued, Use};
pub use cluster::Cluster;
pub use error::Error;
pub use kubeconfig::kubeconfig;
pub use serving::{RotatingCertificate, certificates_from_pem, client_config, trust_only};
