//! What the container side needs of the image store, and no more.

use std::path::PathBuf;

use async_trait::async_trait;

/// An image that is present and unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolvedImage {
    /// The image's own id: the digest of its configuration (`sha256:…`).
    pub id: String,
    /// What the container's status names as `image_ref`: a repository digest if there is one, else the id.
    pub reference: String,
    /// The parts of the image's configuration that a process start needs.
    pub config: ImageConfig,
    /// Unpacked layers, lowest first, with overlayfs whiteouts. They stay as they are while the image is present.
    pub layers: Vec<PathBuf>,
}

/// The process defaults of an image (OCI image-spec, `config`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`.
    pub cmd: Vec<String>,
    /// `Env`, each `NAME=value`.
    pub env: Vec<String>,
    /// `WorkingDir`; empty means `/`.
    pub working_dir: String,
    /// `User`: a name or number, optionally `:` and a group; empty means root.
    pub user: String,
    /// `StopSignal`, such as `SIGQUIT` or `3`; empty means SIGTERM.
    pub stop_signal: String,
}

/// The image store as the runtime sees it. Its public half is the CRI's image service.
#[async_trait]
pub trait Images: cri::ImageService {
    /// Finds a present image by name, digest or id. [`cri::Error::NotFound`] when it is not on this node; never pulls.
    async fn resolve(&self, image: &str) -> cri::Result<ResolvedImage>;
}
