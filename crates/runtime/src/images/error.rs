//! What can go wrong with an image, always with the image, digest or path concerned.

use std::io;
use std::path::PathBuf;

/// Why an image could not be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference is not one.
    #[error("couldn't parse image name {name:?}: invalid reference format{why}")]
    Reference {
        /// As given.
        name: String,
        /// A hint, empty or starting with a colon.
        why: &'static str,
    },
    /// Neither here nor at the registry.
    #[error("failed to resolve reference {0:?}: not found")]
    NotFound(String),
    /// The registry wants other credentials.
    #[error("failed to pull {image:?}: {url}: {status}: pull access denied, the repository does not exist or needs authorization")]
    Denied {
        /// The image.
        image: String,
        /// What was asked for.
        url: String,
        /// The registry's answer.
        status: u16,
    },
    /// The registry answered something unexpected.
    #[error("failed to pull {image:?}: {url}: unexpected status {status}")]
    Status {
        /// The image.
        image: String,
        /// What was asked for.
        url: String,
        /// The registry's answer.
        status: u16,
    },
    /// The registry cannot be reached.
    #[error("failed to pull {image:?}: {url}: {why}")]
    Unreachable {
        /// The image.
        image: String,
        /// What was asked for.
        url: String,
        /// Why.
        why: String,
    },
    /// A manifest, configuration or archive is malformed.
    #[error("{what} of image {image:?} is malformed: {why}")]
    Malformed {
        /// Which part.
        what: &'static str,
        /// The image or archive.
        image: String,
        /// What is wrong.
        why: String,
    },
    /// The content is not what its digest says.
    #[error("content of {expected} has digest {actual}")]
    Digest {
        /// The digest that was asked for.
        expected: String,
        /// The digest of what came.
        actual: String,
    },
    /// The index has nothing for this machine.
    #[error("no image for platform linux/{arch} in {image:?}")]
    Platform {
        /// The image.
        image: String,
        /// This machine's architecture in OCI terms.
        arch: &'static str,
    },
    /// A layer wants something that an image may not have.
    #[error("layer {layer} is refused: entry {entry:?}: {why}")]
    Layer {
        /// The layer's diff id.
        layer: String,
        /// The entry's path.
        entry: String,
        /// What is wrong.
        why: String,
    },
    /// Something is larger than a bound allows.
    #[error("{what} is larger than the limit of {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// The bound.
        limit: u64,
    },
    /// A file could not be read or written.
    #[error("{attempted} {path}: {source}")]
    Io {
        /// For example "unpacking to".
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Error {
    pub(super) fn io(attempted: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { attempted, path, source }
    }
}
