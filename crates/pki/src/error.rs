//! What can go wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

/// Says what was attempted with which file or name.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("{attempted} {path}: {source}")]
    File {
        /// For example "reading".
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A key or certificate could not be made.
    #[error("issuing a certificate for {name}: {source}")]
    Issue {
        /// The common name.
        name: String,
        /// Why.
        source: rcgen::Error,
    },
    /// A file holds no usable key or certificate.
    #[error("{path} holds no usable {what}: {why}")]
    Unusable {
        /// The file or its description.
        path: String,
        /// What was expected there.
        what: &'static str,
        /// Why it is not that.
        why: String,
    },
    /// TLS settings could not be made.
    #[error("setting up tls: {0}")]
    Tls(#[from] rustls::Error),
}
